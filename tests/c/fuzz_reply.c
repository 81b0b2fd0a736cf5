/* SPDX-License-Identifier: MIT
 *
 * Mutated replies at the client: every operation is asked of a server that answers with what begins as its golden reply and is then
 * broken.  Each must return; the sanitizers say whether anything was read or written that isn't its own.
 *
 *   fuzz_reply FRAMES [SEED] < vectors/messages.hex
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "calls.h"
#include "config.h"
#include "protocol.h"
#include "stream.h"
#include "transport.h"
#include "walk_ahead.h"
#include "wire.h"

enum { MOST = 64, LONGEST = 8192, OPERATIONS = 256 };

static struct golden {
	uint8_t bytes[LONGEST];
	size_t length;
} golden[OPERATIONS];
static int listener;
static _Atomic long mutated;
static _Atomic bool walking;	/* through a tree: little comes of it where most of it is broken */
static uint64_t seed = 88172645463325252ull;
static _Thread_local uint64_t state = 88172645463325252ull;

static uint32_t chance(uint32_t below)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return below ? (uint32_t)(state >> 16) % below : 0;
}

static void load(void)
{
	static char line[4 * LONGEST];

	while (fgets(line, sizeof line, stdin)) {
		char *colon = strstr(line, "reply: ");
		struct golden g = { .length = 0 };
		struct rc_reader r;
		unsigned byte;

		if (!colon || line[0] == '#')
			continue;
		for (colon += 7; g.length < LONGEST && sscanf(colon, "%2x", &byte) == 1; colon += 2)
			g.bytes[g.length++] = (uint8_t)byte;
		r = (struct rc_reader){ g.bytes, g.bytes + g.length, false };
		golden[rc_get_header(&r).operation % OPERATIONS] = g;
	}
}

static void mutate(uint8_t *bytes, size_t *length)
{
	static const uint32_t extremes[] = { 0, 1, 3, 4, 0x7fffffff, 0x80000000, 0xffffffff };

	for (uint32_t i = 1 + chance(3); i > 0; i--) {
		size_t at = chance((uint32_t)*length + 1);

		switch (chance(4)) {
		case 0:
			if (*length)
				bytes[at % *length] ^= (uint8_t)(1 << chance(8));
			break;
		case 1:
			*length = at;
			break;
		case 2:
			for (uint32_t more = chance(300); more && *length < LONGEST; more--)
				bytes[(*length)++] = (uint8_t)chance(256);
			break;
		default:
			if (at + 4 <= *length) {
				struct rc_writer w = { bytes + at, bytes + at + 4, false };

				rc_put_u32(&w, extremes[chance(7)]);
			}
		}
	}
}

static bool say(int fd, struct rc_header *header, uint8_t *payload, size_t length, bool spoil)
{
	uint8_t head[RC_HEADER_SIZE];
	struct rc_writer w = { head, head + sizeof head, false };
	struct iovec parts[] = { { head, sizeof head }, { payload, length } };
	struct msghdr message = { .msg_iov = parts, .msg_iovlen = 2 };

	header->length = (uint32_t)length;
	header->flags = 0;
	if (spoil && !chance(40))
		header->length = chance(2) ? chance(2000) : 0xffffffffu - chance(3);
	if (spoil && !chance(12))
		header->error = (uint16_t)(1 + chance(200));
	if (spoil && !chance(60))
		header->operation ^= (uint16_t)(1 << chance(16));
	if (spoil && !chance(60))
		header->request_id += chance(5);
	rc_put_header(&w, header);
	return sendmsg(fd, &message, MSG_NOSIGNAL) == (ssize_t)(sizeof head + length) &&
	       header->length == length;	/* else the connection ends, or the client would wait for the rest */
}

/* OPEN's reply with what a directory's brings: READDIR's, as it is, or of enough names to be opened ahead. */
static size_t with_listing(uint8_t *reply)
{
	const struct golden *entries = &golden[RC_OP_READDIR];
	struct rc_writer kind = { reply + RC_OPEN_REPLY_kind, reply + RC_OPEN_REPLY_SIZE, false };
	struct rc_writer w = { reply + RC_OPEN_REPLY_SIZE, reply + LONGEST, false }, length = w;

	rc_put_u32(&kind, RC_KIND_DIRECTORY);
	if (chance(2)) {
		rc_put_blob(&w, entries->bytes + RC_HEADER_SIZE, entries->length - RC_HEADER_SIZE);
		return (size_t)(w.at - reply);
	}
	rc_put_u32(&w, 0);
	rc_put_u32(&w, chance(2));		/* the end */
	for (char name = 'a'; name < 'a' + 12; name++) {
		rc_put_u64(&w, 100);
		rc_put_u64(&w, (uint64_t)name);
		rc_put_u32(&w, chance(2) ? DT_REG : DT_DIR);
		rc_put_u32(&w, 0);
		rc_put_blob(&w, &name, 1);
		rc_put_blob(&w, NULL, 0);
	}
	rc_put_u32(&length, (uint32_t)(w.at - length.at) - 4);
	return (size_t)(w.at - reply);
}

/* The client's connections, of which it has one for each call that is under way and one to read ahead on. */
static struct connection_from {
	int fd;
	size_t length;			/* of what has come and isn't a whole request yet */
	uint8_t bytes[8192];
} connections[MOST];
static int connected;

/* Answers a request; false: the connection has come to its end. */
static bool answer(int fd, struct rc_header header)
{
	static uint8_t reply[LONGEST];
	struct golden *g = &golden[header.operation % OPERATIONS];
	size_t length = g->length ? g->length - RC_HEADER_SIZE : 0;
	bool first = header.operation == RC_OP_HELLO, spoil = first ? !chance(50) : walking ? !chance(16) : chance(16);
	struct rc_writer handle = { reply, reply + 8, false };

	if (header.flags & RC_FRAME_ONE_WAY)
		return true;
	if (length)
		memcpy(reply, g->bytes + RC_HEADER_SIZE, length);
	if (header.operation == RC_OP_OPEN) {
		length = chance(2) ? with_listing(reply) : length;
		rc_put_u64(&handle, 2 + chance(1000));
	}
	if (spoil) {
		mutate(reply, &length);
		mutated++;
	}
	if (!say(fd, &header, reply, length, spoil && !first))
		return false;
	return first || walking || chance(12);	/* more than one answer may be left in a connection that was thought sound */
}

/* Takes what has come, and answers it. */
static bool serve(struct connection_from *c)
{
	ssize_t got = read(c->fd, c->bytes + c->length, sizeof c->bytes - c->length);
	size_t at = 0;

	if (got <= 0)
		return false;
	c->length += (size_t)got;
	while (c->length - at >= RC_HEADER_SIZE) {
		struct rc_reader r = { c->bytes + at, c->bytes + c->length, false };
		struct rc_header header = rc_get_header(&r);

		if (header.length > sizeof c->bytes - RC_HEADER_SIZE)
			return false;
		if (c->length - at - RC_HEADER_SIZE < header.length)
			break;
		at += RC_HEADER_SIZE + header.length;
		if (!answer(c->fd, header))
			return false;
	}
	c->length -= at;
	memmove(c->bytes, c->bytes + at, c->length);
	return true;
}

/* One thread for all connections: starting one for each costs the sanitizers more than all the rest. */
static void *server(void *unused)
{
	state = seed ^ 0x9e3779b97f4a7c15ull;
	for (;;) {
		struct pollfd set[MOST + 1] = { { .fd = connected < MOST ? listener : -1, .events = POLLIN } };

		for (int i = 0; i < connected; i++)
			set[1 + i] = (struct pollfd){ .fd = connections[i].fd, .events = POLLIN };
		if (poll(set, 1 + (nfds_t)connected, -1) < 0)
			continue;
		for (int i = connected - 1; i >= 0; i--)
			if (set[1 + i].revents && !serve(&connections[i])) {
				close(connections[i].fd);
				connections[i] = connections[--connected];
			}
		if (set[0].revents) {
			connections[connected].fd = accept(listener, NULL, NULL);
			connections[connected].length = 0;
			connected += connections[connected].fd >= 0;
		}
	}
	return unused;
}

static void read_entries(struct rc_entries *entries)
{
	struct rc_entry entry;

	while (rc_next_entry(entries, &entry))
		state ^= entry.ino + entry.name_length + (entry.name_length ? (uint8_t)entry.name[0] : 0);
}

/* A file in sequence: the replies that were asked for ahead are stream.c's to parse. */
static void read_ahead(const struct iovec *part)
{
	struct rc_sequence sequence = { 0 };
	int64_t offset = 0;
	ssize_t got;

	rc_stream_expect(&sequence, 0);
	do {
		got = rc_stream_read(&sequence, 1, part, 1, offset, chance(2) ? -1 : (int64_t)chance(9000));
		offset += got;
	} while (got > 0 && offset < 10000);
	rc_stream_end(&sequence);
}

/* A tree: what is opened ahead is walk_ahead.c's to parse. */
static void walk(uint8_t *room, size_t size, struct rc_location at, int flags, int depth)
{
	struct rc_opened opened;
	struct rc_entries entries;
	struct rc_entry entry;
	struct {
		char name[8];
		int flags;
	} found[12];
	uint32_t age_ms;
	size_t length;
	int count = 0;

	if (rc_walk_open(at, flags, 0, 0, room, size, &opened))
		return;
	length = rc_walk_listing(opened.handle, room, size, &age_ms);
	if (!length || rc_call_take_entries(room, length, &entries))
		return;
	while (count < 12 && rc_next_entry(&entries, &entry))
		if (entry.name_length && entry.name_length < sizeof found[0].name) {
			memset(&found[count], 0, sizeof found[0]);
			memcpy(found[count].name, entry.name, entry.name_length);
			found[count++].flags = entry.type == DT_DIR ? O_DIRECTORY : 0;
		}
	for (int i = 0; depth && i < count; i++)
		walk(room, size, (struct rc_location){ opened.handle, found[i].name }, found[i].flags, depth - 1);
}

static void ask(uint32_t which)
{
	static uint8_t buffer[RC_LIMIT_MAX_REPLY], room[RC_OPEN_ROOM];
	struct rc_location at = { 1, "name" };
	struct rc_opened opened;
	struct rc_description_facts facts;
	struct rc_entries entries;
	struct rc_extent extents[8];
	struct rc_statfs statfs;
	struct rc_status status;
	struct rc_stat stat;
	struct rc_lock lock = { 0 };
	struct iovec part = { buffer, chance(70000) };
	uint64_t handle;
	int64_t value;

	switch (which) {
	case 0:		/* a directory's brings its listing */
		if (rc_call_open(at, 0, 0, 0, room, sizeof room, &opened) == 0 &&
		    rc_call_take_entries(opened.data, opened.prefetched, &entries) == 0)
			read_entries(&entries);
		break;
	case 1: rc_call_open(at, 0, 0, 0, NULL, 0, &opened); break;
	case 2: rc_call_read(1, &part, 1); break;
	case 3: rc_call_pread(1, &part, 1, 0); break;
	case 4: rc_call_lseek(1, 0, 0); break;
	case 5: rc_call_fstat(1, 0x7ff, &stat); break;
	case 6: rc_call_stat(at, 0, 0x7ff, &stat); break;
	case 7: rc_call_access(at, 0, 0); break;
	case 8: rc_call_readlink(at, (char *)buffer, chance(5000)); break;
	case 9: rc_call_getxattr(at, 0, "user.a", buffer, chance(5000)); break;
	case 10: rc_call_listxattr(at, 0, (char *)buffer, chance(5000)); break;
	case 11:
		if (rc_call_readdir(1, 0, 100, 0x7ff, buffer, sizeof buffer, &entries) == 0)
			read_entries(&entries);
		break;
	case 12: rc_call_statfs(at, 0, &statfs); break;
	case 13: rc_call_pathconf(at, 0, 3, &value); break;
	case 14: rc_call_getpath(1, (char *)buffer, chance(5000)); break;
	case 15: rc_call_describe(1, &facts, (char *)buffer, chance(5000)); break;
	case 16: rc_call_set_flags(1, 0); break;
	case 17: rc_call_poll(1, 1, 0); break;
	case 18: rc_call_watch_open(0, &handle); break;
	case 19: rc_call_watch_add(1, at, 1); break;
	case 20: rc_call_extents(1, 0, 1 << 20, extents, 8); break;
	case 21: rc_call_status(&status); break;
	case 22: rc_call_lock(1, 0, &lock); break;
	case 23: rc_call_ioctl(1, FIONREAD, buffer); break;
	case 24: rc_call_watch_remove(1, 1); break;
	case 25: read_ahead(&part); break;
	case 26:
		walking = true;
		walk(room, sizeof room, (struct rc_location){ 1, "name" }, O_DIRECTORY, 2);
		walking = false;
		break;
	default: rc_call_ping(buffer, chance(5000)); break;
	}
}

int main(int argc, char **argv)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	char *environment[] = { NULL, "REMOTEC_TIMEOUT=1", NULL };
	char address[128];
	pthread_t thread;
	long frames = argc > 1 ? atol(argv[1]) : 1000000;

	if (argc > 2)
		state = seed = strtoull(argv[2], NULL, 10) | 1;
	load();
	snprintf(at.sun_path, sizeof at.sun_path, "/tmp/remotec-fuzz-%d", (int)getpid());
	snprintf(address, sizeof address, "REMOTE_SERVER=unix:%s", at.sun_path);
	environment[0] = address;
	listener = socket(AF_UNIX, SOCK_STREAM, 0);
	if (bind(listener, (struct sockaddr *)&at, sizeof at) || listen(listener, MOST))
		return 1;
	pthread_create(&thread, NULL, server, NULL);
	rc_config_load(environment);
	if (rc_transport_prepare())
		return 1;
	while (mutated < frames)
		ask(chance(28));
	unlink(at.sun_path);
	printf("%ld mutated replies taken\n", mutated);
	fflush(stdout);
	_exit(0);
}
