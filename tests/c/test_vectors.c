/* SPDX-License-Identifier: MIT
 *
 * test_vectors [DIRECTORY]: the golden messages of tests/vectors/ on the machine that this was compiled for.
 *
 * A request: its fields are read with the cursor, calls.c is asked for the same thing in this machine's own numbers, and what it
 * would send must be the golden bytes.  A reply: calls.c is given it, and what it understood, written again by
 * code of this file's own, must be the golden bytes.  Lines are "NAME: HEX"; NAME begins with the operation and says request or
 * reply; a message with its header is taken too.
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <linux/fs.h>
#include <linux/openat2.h>

#include "../../csrc/calls.h"
#include "../../csrc/protocol.h"
#include "../../csrc/translate.h"
#include "../../csrc/transport.h"

struct bytes {
	uint8_t *at;
	size_t length;
};

static struct bytes sent, next_reply;
static uint16_t sent_operation;
static int failures, checked;

/* ------------------------------------------------------------- in the place of transport.c: no socket */

static void capture(uint16_t operation, const struct iovec *request, int count)
{
	sent_operation = operation;
	sent.length = 0;
	for (int i = 0; i < count; i++) {
		sent.at = realloc(sent.at, sent.length + request[i].iov_len + 1);
		memcpy(sent.at + sent.length, request[i].iov_base, request[i].iov_len);
		sent.length += request[i].iov_len;
	}
}

int rc_exchange(struct rc_exchange *x)
{
	capture(x->operation, x->request, x->request_count);
	if (!next_reply.at)
		return -ECONNRESET;
	if (x->data) {
		struct rc_reader r = { .at = next_reply.at, .end = next_reply.at + next_reply.length };
		struct rc_blob data = rc_get_blob(&r);
		size_t done = 0;

		for (int i = 0; i < x->data_count && done < data.length; i++) {
			size_t piece = x->data[i].iov_len < data.length - done ? x->data[i].iov_len : data.length - done;

			memcpy(x->data[i].iov_base, data.bytes + done, piece);
			done += piece;
		}
		x->reply_length = done;
		return 0;
	}
	if (next_reply.length > x->reply_size)
		return -EPROTO;
	if (next_reply.length)
		memcpy(x->reply, next_reply.at, next_reply.length);
	x->reply_length = next_reply.length;
	return 0;
}

int rc_send_one_way(uint16_t operation, const struct iovec *request, int count)
{
	capture(operation, request, count);
	return 0;
}

/* In the place of lease.c. */
static uint32_t wish;

uint32_t rc_lease_wish(void)
{
	return wish;
}

void rc_lease_begin(struct rc_lease *lease)
{
	*lease = (struct rc_lease){ 0 };
}

void rc_lease_answered(struct rc_lease *lease, uint64_t handle, bool held)
{
	*lease = (struct rc_lease){ .held = held, .handle = handle };
}

/* ------------------------------------------------- writing again what was understood: not by wire.c */

static uint8_t again[1 << 21];
static size_t again_length;

static void put(uint64_t value, int width)
{
	for (int i = width; i-- > 0;)
		again[again_length++] = (uint8_t)(value >> (8 * i));
}

static void put_blob(const void *bytes, size_t length)
{
	put(length, 4);
	if (length)
		memcpy(again + again_length, bytes, length);
	again_length += length;
}

static void put_time(struct rc_time time)
{
	put((uint64_t)time.sec, 8);
	put(time.nsec, 4);
}

static void put_stat(const struct rc_stat *st)
{
	put(st->mask, 4);
	put(st->blksize, 4);
	put(st->attributes, 8);
	put(st->attributes_mask, 8);
	put(st->nlink, 4);
	put(st->uid, 4);
	put(st->gid, 4);
	put(st->mode, 4);
	put(st->ino, 8);
	put(st->size, 8);
	put(st->blocks, 8);
	put_time(st->atime);
	put_time(st->btime);
	put_time(st->ctime);
	put_time(st->mtime);
	put(st->rdev_major, 4);
	put(st->rdev_minor, 4);
	put(st->dev_major, 4);
	put(st->dev_minor, 4);
	put(st->mnt_id, 8);
	put(st->dio_mem_align, 4);
	put(st->dio_offset_align, 4);
	put(st->subvol, 8);
}

/* ---------------------------------------------------------------------- from the wire's numbers to ours */

struct row {
	uint32_t wire;
	long host;
};
#define ROW(name, wire, host) { (wire), (long)(host) },
static const struct row at_flags[] = { RC_AT_FLAGS(ROW) };
static const struct row resolves[] = { RC_RESOLVE(ROW) };
static const struct row whences[] = { RC_WHENCE(ROW) };
static const struct row names[] = { RC_PATHCONF(ROW) };
static const struct row ioctls[] = { RC_IOCTLS(ROW) };
static const struct row advices[] = { RC_ADVICE(ROW) };
#define COUNT(rows) (sizeof(rows) / sizeof *(rows))

static unsigned long bits_here(const struct row *rows, size_t count, uint32_t wire)
{
	unsigned long here = 0;

	for (size_t i = 0; i < count; i++)
		if (wire & rows[i].wire)
			here |= (unsigned long)rows[i].host;
	return here;
}

static long value_here(const struct row *rows, size_t count, uint32_t wire)
{
	for (size_t i = 0; i < count; i++)
		if (rows[i].wire == wire)
			return rows[i].host;
	return -1;
}

static char *text(struct rc_reader *r)
{
	static char strings[4][8192];
	static unsigned turn;
	struct rc_blob blob = rc_get_blob(r);
	char *string = strings[turn++ % 4];

	snprintf(string, sizeof *strings, "%.*s", (int)blob.length, blob.length ? (const char *)blob.bytes : "");
	return string;
}

/* --------------------------------------------------------------------------- one function per operation */

/* Reads a request's fields, makes the call, and writes again what the reply said.  False: calls.c has no such call. */
static bool play(unsigned operation, struct rc_reader *r)
{
	static _Alignas(uint64_t) uint8_t buffer[1 << 21];
	struct iovec into = { buffer, sizeof buffer };
	struct rc_location at = { 0 };
	uint64_t handle, directory;
	uint32_t flags, mode, mask, count;
	int64_t offset, value;
	ssize_t n;

	again_length = 0;
	switch (operation) {
	case RC_OP_PING:
		n = rc_call_ping(buffer, rc_get_u32(r));
		put_blob(buffer, n > 0 ? (size_t)n : 0);
		return true;
	case RC_OP_OPEN: {
		struct rc_opened opened = { 0 };
		uint64_t resolve;

		at.directory = rc_get_u64(r);
		flags = rc_get_u32(r);
		wish = (uint32_t)flags & (RC_LEASE_WANTED | RC_LEASE_WANTED_FOR_REST);
		mode = rc_get_u32(r);
		resolve = bits_here(resolves, COUNT(resolves), rc_get_u32(r));
		count = rc_get_u32(r);
		at.path = text(r);
		rc_call_open(at, rc_open_flags_from_wire(flags), mode, resolve, buffer, RC_OPEN_REPLY_SIZE + 4 + count, &opened);
		put(opened.handle, 8);
		put(opened.kind | (opened.lease.held ? RC_LEASE_HELD : 0), 4);
		put_stat(&opened.stat);
		put_blob(opened.data, opened.prefetched);
		return true;
	}
	case RC_OP_CLOSE:
		rc_call_close(rc_get_u64(r));
		return true;
	case RC_OP_SHARE: {
		struct rc_blob blob = rc_get_blob(r);
		struct rc_reader inner = { .at = blob.bytes, .end = blob.bytes + blob.length };
		uint64_t handles[RC_LIMIT_MAX_SHARE];
		size_t most = blob.length / 8;

		for (size_t i = 0; i < most; i++)
			handles[i] = rc_get_u64(&inner);
		rc_call_share(handles, most);
		return true;
	}
	case RC_OP_READ:
		handle = rc_get_u64(r);
		into.iov_len = rc_get_u32(r);
		n = rc_call_read(handle, &into, 1);
		put_blob(buffer, n > 0 ? (size_t)n : 0);
		return true;
	case RC_OP_PREAD:
		handle = rc_get_u64(r);
		offset = (int64_t)rc_get_u64(r);
		into.iov_len = rc_get_u32(r);
		n = rc_call_pread(handle, &into, 1, offset);
		put_blob(buffer, n > 0 ? (size_t)n : 0);
		return true;
	case RC_OP_LSEEK:
		handle = rc_get_u64(r);
		offset = (int64_t)rc_get_u64(r);
		put((uint64_t)rc_call_lseek(handle, offset, (int)value_here(whences, COUNT(whences), rc_get_u32(r))), 8);
		return true;
	case RC_OP_FSTAT: {
		struct rc_stat st = { 0 };

		handle = rc_get_u64(r);
		rc_call_fstat(handle, rc_statx_mask_from_wire(rc_get_u32(r)), &st);
		put_stat(&st);
		return true;
	}
	case RC_OP_STAT: {
		struct rc_stat st = { 0 };

		at.directory = rc_get_u64(r);
		flags = rc_get_u32(r);
		mask = rc_get_u32(r);
		at.path = text(r);
		rc_call_stat(at, (int)bits_here(at_flags, COUNT(at_flags), flags), rc_statx_mask_from_wire(mask), &st);
		put_stat(&st);
		return true;
	}
	case RC_OP_ACCESS:
		at.directory = rc_get_u64(r);
		mode = rc_get_u32(r);
		flags = rc_get_u32(r);
		at.path = text(r);
		rc_call_access(at, (int)mode, (int)bits_here(at_flags, COUNT(at_flags), flags));
		return true;
	case RC_OP_READLINK:
		at.directory = rc_get_u64(r);
		at.path = text(r);
		n = rc_call_readlink(at, (char *)buffer, sizeof buffer);
		put_blob(buffer, n > 0 ? (size_t)n : 0);
		return true;
	case RC_OP_GETXATTR:
	case RC_OP_LISTXATTR:
		at.directory = rc_get_u64(r);
		flags = (uint32_t)bits_here(at_flags, COUNT(at_flags), rc_get_u32(r));
		count = rc_get_u32(r);
		at.path = text(r);
		n = operation == RC_OP_GETXATTR ? rc_call_getxattr(at, (int)flags, text(r), buffer, count)
						: rc_call_listxattr(at, (int)flags, (char *)buffer, count);
		put(n > 0 ? (uint64_t)n : 0, 4);	/* the size, which is also that of what came, where it fits */
		put_blob(buffer, n > 0 && count ? (size_t)n : 0);
		return true;
	case RC_OP_READDIR: {
		struct rc_entries entries = { .rest = { .failed = true } };
		struct rc_entry entry;

		handle = rc_get_u64(r);
		offset = (int64_t)rc_get_u64(r);
		count = rc_get_u32(r);
		mask = rc_get_u32(r);
		if (rc_call_readdir(handle, offset, count, rc_statx_mask_from_wire(mask), buffer, sizeof buffer, &entries))
			return true;
		put(entries.end, 4);
		while (rc_next_entry(&entries, &entry)) {
			put(entry.ino, 8);
			put((uint64_t)entry.offset, 8);
			put(entry.type, 4);
			put(entry.flags, 4);
			put_blob(entry.name, entry.name_length);
			put(entry.has_stat ? RC_STAT_SIZE : 0, 4);
			if (entry.has_stat)
				put_stat(&entry.stat);
		}
		return true;
	}
	case RC_OP_STATFS: {
		struct rc_statfs st = { 0 };

		at.directory = rc_get_u64(r);
		flags = rc_get_u32(r);
		at.path = text(r);
		rc_call_statfs(at, (int)bits_here(at_flags, COUNT(at_flags), flags), &st);
		put(st.type, 8);
		put(st.bsize, 8);
		put(st.frsize, 8);
		put(st.blocks, 8);
		put(st.bfree, 8);
		put(st.bavail, 8);
		put(st.files, 8);
		put(st.ffree, 8);
		put(st.fsid, 8);
		put(st.namelen, 8);
		put(st.mount_flags, 8);
		return true;
	}
	case RC_OP_PATHCONF:
		at.directory = rc_get_u64(r);
		flags = rc_get_u32(r);
		count = rc_get_u32(r);
		at.path = text(r);
		value = 0;
		rc_call_pathconf(at, (int)bits_here(at_flags, COUNT(at_flags), flags),
				 (int)value_here(names, COUNT(names), count), &value);
		put((uint64_t)value, 8);
		return true;
	case RC_OP_GETPATH:
		n = rc_call_getpath(rc_get_u64(r), (char *)buffer, sizeof buffer);
		put_blob(buffer, n > 0 ? (size_t)n : 0);
		return true;
	case RC_OP_DESCRIBE: {
		struct rc_description_facts facts = { 0 };

		rc_call_describe(rc_get_u64(r), &facts, (char *)buffer, sizeof buffer);
		put(facts.kind, 4);
		put((uint64_t)rc_open_flags_to_wire(facts.flags), 4);
		put_stat(&facts.stat);
		put_blob(buffer, strlen((char *)buffer));
		return true;
	}
	case RC_OP_SET_FLAGS:
		handle = rc_get_u64(r);
		rc_call_set_flags(handle, rc_open_flags_from_wire(rc_get_u32(r)));
		return true;
	case RC_OP_IOCTL:
		handle = rc_get_u64(r);
		n = rc_call_ioctl(handle, (unsigned long)value_here(ioctls, COUNT(ioctls), rc_get_u32(r)), buffer);
		put(n > 0 ? (uint64_t)n : 0, 4);
		if (n == 8)
			put(*(uint64_t *)buffer, 8);
		else for (ssize_t word = 0; word < n / 4; word++)
			put(((uint32_t *)buffer)[word], 4);
		return true;
	case RC_OP_ADVISE:
		handle = rc_get_u64(r);
		offset = (int64_t)rc_get_u64(r);
		value = (int64_t)rc_get_u64(r);
		rc_call_advise(handle, offset, value, (int)value_here(advices, COUNT(advices), rc_get_u32(r)));
		return true;
	case RC_OP_POLL:
		handle = rc_get_u64(r);
		mask = rc_get_u32(r);
		n = rc_call_poll(handle, rc_poll_events_from_wire(mask), (int32_t)rc_get_u32(r));
		put(n > 0 ? rc_poll_events_to_wire((int)n) : 0, 4);
		return true;
	case RC_OP_WATCH_OPEN:
		handle = 0;
		rc_call_watch_open(rc_open_flags_from_wire(rc_get_u32(r)), &handle);
		put(handle, 8);
		return true;
	case RC_OP_WATCH_ADD:
		handle = rc_get_u64(r);
		directory = rc_get_u64(r);
		mask = rc_get_u32(r);
		at = (struct rc_location){ directory, text(r) };
		put((uint32_t)rc_call_watch_add(handle, at, rc_watch_events_from_wire(mask)), 4);
		return true;
	case RC_OP_WATCH_REMOVE:
		handle = rc_get_u64(r);
		rc_call_watch_remove(handle, (int32_t)rc_get_u32(r));
		return true;
	case RC_OP_STATUS: {
		struct rc_status status = { 0 };

		rc_call_status(&status);
		put(status.sessions, 4);
		put(status.connections, 4);
		put(status.handles, 4);
		put(status.all_handles, 4);
		put(status.requests, 8);
		put(status.bytes, 8);
		return true;
	}
	case RC_OP_EXTENTS: {
		struct rc_extent extents[256];
		int most;

		handle = rc_get_u64(r);
		offset = (int64_t)rc_get_u64(r);
		value = (int64_t)rc_get_u64(r);
		count = rc_get_u32(r);
		most = rc_call_extents(handle, offset, value, extents, count < 256 ? (int)count : 256);
		for (int i = 0; i < most; i++) {
			put((uint64_t)extents[i].offset, 8);
			put((uint64_t)extents[i].length, 8);
		}
		return true;
	}
	case RC_OP_LOCK: {
		struct rc_lock lock;
		uint32_t command;

		handle = rc_get_u64(r);
		command = rc_get_u32(r);
		lock.type = rc_get_u32(r);
		lock.start = (int64_t)rc_get_u64(r);
		lock.length = (int64_t)rc_get_u64(r);
		rc_call_lock(handle, command, &lock);
		put(lock.type, 4);
		put((uint64_t)lock.start, 8);
		put((uint64_t)lock.length, 8);
		put((uint32_t)lock.pid, 4);
		return true;
	}
	default:
		return false;
	}
}

/* HELLO and CANCEL are transport.c's own: with the cursors, field by field. */
static void copy_fields(const struct bytes *message, const char *fields)
{
	static uint8_t bytes[4096];
	struct rc_reader r = { .at = message->at, .end = message->at + message->length };
	struct rc_writer w = { .at = bytes, .end = bytes + sizeof bytes };
	struct rc_blob blob;

	for (; *fields; fields++)
		switch (*fields) {
		case '4':
			rc_put_u32(&w, rc_get_u32(&r));
			break;
		case '8':
			rc_put_u64(&w, rc_get_u64(&r));
			break;
		default:
			blob = rc_get_blob(&r);
			rc_put_blob(&w, blob.bytes, blob.length);
		}
	again_length = r.failed || w.failed ? 0 : (size_t)(w.at - bytes);
	memcpy(again, bytes, again_length);
}

/* --------------------------------------------------------------------------------------------- the files */

struct vector {
	char name[128];
	unsigned operation;
	bool reply;
	struct bytes payload;
};

static struct vector vectors[4096];
static size_t vector_count;

static void compare(const struct vector *v, const uint8_t *got, size_t length)
{
	checked++;
	if (length == v->payload.length && !memcmp(got, v->payload.at, length))
		return;
	failures++;
	printf("%s\n  golden: ", v->name);
	for (size_t i = 0; i < v->payload.length; i++)
		printf("%02x", v->payload.at[i]);
	printf("\n  got:    ");
	for (size_t i = 0; i < length; i++)
		printf("%02x", got[i]);
	printf("\n");
}

static unsigned operation_of(const char *name)
{
	static const struct {
		const char *name;
		unsigned code;
	} operations[] = {
#define OPERATION(name, code) { #name, code },
		RC_OPERATIONS(OPERATION)
	};
	size_t longest = 0;
	unsigned found = 0;

	for (size_t i = 0; i < COUNT(operations); i++) {
		size_t length = strlen(operations[i].name);

		if (length > longest && !strncasecmp(name, operations[i].name, length)) {
			longest = length;
			found = operations[i].code;
		}
	}
	return found;
}

static void add_line(const char *file, char *line)
{
	struct vector *v = &vectors[vector_count];
	char *colon = strchr(line, ':');
	uint8_t *bytes;
	size_t length = 0;

	if (*line == '#' || !colon || vector_count == COUNT(vectors))
		return;
	*colon = '\0';
	bytes = malloc(strlen(colon + 1));
	for (const char *c = colon + 1; isxdigit((unsigned char)c[*c == ' ']) && isxdigit((unsigned char)c[(*c == ' ') + 1]);) {
		unsigned byte;

		c += *c == ' ';
		sscanf(c, "%2x", &byte);
		bytes[length++] = (uint8_t)byte;
		c += 2;
	}
	snprintf(v->name, sizeof v->name, "%.100s", line);
	v->operation = operation_of(line);
	if (!v->operation)
		v->operation = operation_of(file);
	v->reply = strstr(line, "rep") || strstr(line, "REP");
	if (!v->operation || (!v->reply && !strstr(line, "req") && !strstr(line, "REQ")))
		return;
	v->payload = (struct bytes){ bytes, length };
	if (length >= RC_HEADER_SIZE) {
		struct rc_reader r = { .at = bytes, .end = bytes + RC_HEADER_SIZE };
		struct rc_header header = rc_get_header(&r);

		if (header.length == length - RC_HEADER_SIZE && header.operation == v->operation) {
			uint8_t copy[RC_HEADER_SIZE];
			struct rc_writer w = { .at = copy, .end = copy + sizeof copy };

			rc_put_header(&w, &header);
			if (memcmp(copy, bytes, sizeof copy)) {
				failures++;
				printf("%s: the header\n", v->name);
			}
			if (header.error)
				return;
			v->payload = (struct bytes){ bytes + RC_HEADER_SIZE, length - RC_HEADER_SIZE };
		}
	}
	vector_count++;
}

static void read_directory(const char *directory)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;
	static char line[1 << 20];

	if (!dir) {
		printf("%s: %s\n", directory, strerror(errno));
		exit(2);
	}
	while ((entry = readdir(dir))) {
		char path[4096];
		const char *end = strrchr(entry->d_name, '.');
		FILE *file;

		if (!end || strcmp(end, ".hex"))
			continue;
		snprintf(path, sizeof path, "%s/%s", directory, entry->d_name);
		file = fopen(path, "r");
		while (file && fgets(line, sizeof line, file))
			add_line(entry->d_name, line);
		if (file)
			fclose(file);
	}
	closedir(dir);
}

static const struct vector *request_of(const struct vector *reply)
{
	const struct vector *best = NULL;
	size_t most = 0;

	/* The one whose name has the most in common with the reply's: "read of nothing request" with "read of nothing reply". */
	for (size_t i = 0; i < vector_count; i++) {
		size_t common = 0;

		if (vectors[i].operation != reply->operation || vectors[i].reply)
			continue;
		while (reply->name[common] && reply->name[common] == vectors[i].name[common])
			common++;
		if (!best || common > most) {
			best = &vectors[i];
			most = common;
		}
	}
	return best;
}

static void check_vector(const struct vector *v)
{
	const struct vector *request = v->reply ? request_of(v) : v;
	struct rc_reader r;

	if (v->operation == RC_OP_HELLO || v->operation == RC_OP_CANCEL || v->operation == RC_OP_RECALL) {
		copy_fields(&v->payload, v->operation == RC_OP_CANCEL ? v->reply ? "" : "4"
					 : v->operation == RC_OP_RECALL ? v->reply ? "b" : ""
					 : v->reply ? "44448b" : "8448888b");
		compare(v, again, again_length);
		return;
	}
	if (!request) {
		printf("%s: no request belongs to it\n", v->name);
		failures++;
		return;
	}
	next_reply = v->reply ? v->payload : (struct bytes){ NULL, 0 };
	if (v->reply && !next_reply.at)
		next_reply.at = (uint8_t *)"";
	r = (struct rc_reader){ .at = request->payload.at, .end = request->payload.at + request->payload.length };
	sent.length = 0;
	sent_operation = 0;
	if (!play(v->operation, &r)) {
		printf("%s: no such call\n", v->name);
		failures++;
		return;
	}
	if (v->reply)
		compare(v, again, again_length);
	else
		compare(v, sent.at, sent.length);
	if (sent_operation != v->operation) {
		printf("%s: sent as operation %u\n", v->name, sent_operation);
		failures++;
	}
}

int main(int argc, char **argv)
{
	const char *operations_seen[RC_OP_COUNT][2] = { 0 };

	read_directory(argc > 1 ? argv[1] : "tests/vectors");
	for (size_t i = 0; i < vector_count; i++) {
		check_vector(&vectors[i]);
		operations_seen[vectors[i].operation][vectors[i].reply] = vectors[i].name;
	}
#define SEEN(name, code)                                                                        \
	if (!operations_seen[code][0] || !operations_seen[code][1]) {                           \
		printf(#name ": no golden request or no golden reply\n");                       \
		failures++;                                                                     \
	}
	RC_OPERATIONS(SEEN)
	printf("%d messages, %d failed\n", checked, failures);
	return failures != 0;
}
