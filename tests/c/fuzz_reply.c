/* SPDX-License-Identifier: MIT
 *
 * Mutated replies at the client: every operation is asked of a server that answers with what begins as its golden reply and is then
 * broken.  Each must return; the sanitizers say whether anything was read or written that isn't its own.
 *
 *   fuzz_reply FRAMES [SEED] < vectors/messages.hex
 */
#include <errno.h>
#include <stdbool.h>
#include <pthread.h>
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
#include "transport.h"
#include "wire.h"

enum { MOST = 64, LONGEST = 8192, OPERATIONS = 256 };

static struct golden {
	uint8_t bytes[LONGEST];
	size_t length;
} golden[OPERATIONS];
static int listener;
static _Atomic long mutated;
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

/* What the client has sent and we haven't looked at: HELLO and a request come together. */
static struct {
	uint8_t bytes[4096];
	size_t at, end;
} sent;

static bool take(int fd, uint8_t *to, size_t count)
{
	while (sent.end - sent.at < count) {
		ssize_t got;

		memmove(sent.bytes, sent.bytes + sent.at, sent.end - sent.at);
		sent.end -= sent.at;
		sent.at = 0;
		got = read(fd, sent.bytes + sent.end, sizeof sent.bytes - sent.end);
		if (got <= 0)
			return false;
		sent.end += (size_t)got;
	}
	memcpy(to, sent.bytes + sent.at, count);
	sent.at += count;
	return true;
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

/* OPEN's reply with what a directory's brings: READDIR's. */
static size_t with_listing(uint8_t *reply)
{
	const struct golden *entries = &golden[RC_OP_READDIR];
	struct rc_writer w = { reply + RC_OPEN_REPLY_SIZE, reply + LONGEST, false };

	rc_put_blob(&w, entries->bytes + RC_HEADER_SIZE, entries->length - RC_HEADER_SIZE);
	return (size_t)(w.at - reply);
}

/* Answers one connection until it's given up. */
static void serve(int fd)
{
	uint8_t request[1024], reply[LONGEST], head[RC_HEADER_SIZE];

	sent.at = sent.end = 0;
	while (take(fd, head, sizeof head)) {
		struct rc_reader r = { head, head + sizeof head, false };
		struct rc_header header = rc_get_header(&r);
		struct golden *g = &golden[header.operation % OPERATIONS];
		size_t length = g->length ? g->length - RC_HEADER_SIZE : 0;
		bool first = header.operation == RC_OP_HELLO, spoil = first ? !chance(50) : chance(16);

		if (header.length > sizeof request || !take(fd, request, header.length))
			break;
		if (header.flags & RC_FRAME_ONE_WAY)
			continue;
		if (length)
			memcpy(reply, g->bytes + RC_HEADER_SIZE, length);
		if (header.operation == RC_OP_OPEN && chance(2))
			length = with_listing(reply);
		if (spoil) {
			mutate(reply, &length);
			mutated++;
		}
		if (!say(fd, &header, reply, length, spoil && !first))
			break;
		if (!first && !chance(12))	/* more than one answer may be left in a connection that was thought sound */
			break;
	}
}

/* The client has one connection at a time, so one thread does: starting one costs the sanitizers more than all the rest. */
static void *server(void *unused)
{
	state = seed ^ 0x9e3779b97f4a7c15ull;
	for (;;) {
		int fd = accept(listener, NULL, NULL);

		if (fd >= 0) {
			serve(fd);
			close(fd);
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
	case 23: rc_call_ioctl(1, FIONREAD, buffer, 4); break;
	case 24: rc_call_watch_remove(1, 1); break;
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
		ask(chance(26));
	unlink(at.sun_path);
	printf("%ld mutated replies taken\n", mutated);
	fflush(stdout);
	_exit(0);
}
