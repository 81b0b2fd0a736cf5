/* SPDX-License-Identifier: MIT */
#include "calls.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>

#include "protocol.h"
#include "translate.h"
#include "transport.h"

/* A request's fixed-width part; paths and names follow as iovecs of their own, without being copied. */
struct request {
	uint8_t bytes[64];
	struct rc_writer w;
	uint8_t lengths[2][4];
	struct iovec parts[5];
	int count;
};

static void begin(struct request *q)
{
	q->w = (struct rc_writer){ .at = q->bytes, .end = q->bytes + sizeof q->bytes };
	q->count = 1;
}

static void add_blob(struct request *q, const void *bytes, size_t length)
{
	uint8_t *at = q->lengths[q->count / 2];
	struct rc_writer w = { .at = at, .end = at + 4 };

	rc_put_u32(&w, (uint32_t)length);
	q->parts[q->count++] = (struct iovec){ at, 4 };
	q->parts[q->count++] = (struct iovec){ (void *)bytes, length };
}

static const struct iovec *parts_of(struct request *q)
{
	q->parts[0] = (struct iovec){ q->bytes, (size_t)(q->w.at - q->bytes) };
	return q->parts;
}

/* Sends the request; the reply's payload goes to reply[0..size) and *r is set over it. */
static int ask(uint16_t operation, struct request *q, void *reply, size_t size, struct rc_reader *r)
{
	struct rc_exchange x = { .operation = operation, .request = parts_of(q), .request_count = q->count,
				 .reply = reply, .reply_size = size };
	int result = rc_exchange(&x);

	if (!result && r)
		*r = (struct rc_reader){ .at = reply, .end = (uint8_t *)reply + x.reply_length };
	return result;
}

static int checked(const struct rc_reader *r, int64_t value)
{
	return r->failed ? -EPROTO : (int)value;
}

static void tell(uint16_t operation, struct request *q)
{
	rc_send_one_way(operation, parts_of(q), q->count);
}

static void begin_at(struct request *q, struct rc_location at)
{
	begin(q);
	rc_put_u64(&q->w, at.directory);
}

static void add_path(struct request *q, struct rc_location at)
{
	add_blob(q, at.path, strlen(at.path));
}

int rc_call_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, void *room, size_t room_size,
		 struct rc_opened *opened)
{
	int64_t wire_resolve = rc_resolve_to_wire(resolve);
	uint8_t least[RC_OPEN_REPLY_SIZE + 4];
	struct rc_exchange x = { .operation = RC_OP_OPEN, .interruptible = !(flags & (O_NONBLOCK | O_DIRECTORY | O_PATH)),
				 .reply = room_size ? room : least, .reply_size = room_size ? room_size : sizeof least };
	uint32_t wish = flags & (O_ACCMODE | O_PATH | O_DIRECTORY) ? 0 : rc_lease_wish();
	struct request q;
	struct rc_reader r;
	struct rc_blob data;
	int result;

	if (!room_size)			/* the content is known, or of no interest */
		wish &= RC_LEASE_WANTED;
	if (wire_resolve < 0)
		return (int)wire_resolve;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)rc_open_flags_to_wire(flags) | wish);
	rc_put_u32(&q.w, mode);
	rc_put_u32(&q.w, (uint32_t)wire_resolve);
	rc_put_u32(&q.w, (uint32_t)(x.reply_size - sizeof least));
	add_path(&q, at);
	x.request = parts_of(&q);
	x.request_count = q.count;
	rc_lease_begin(&opened->lease);
	result = rc_exchange(&x);
	if (result)
		return result;
	r = (struct rc_reader){ .at = x.reply, .end = (uint8_t *)x.reply + x.reply_length };
	opened->handle = rc_get_u64(&r);
	opened->kind = rc_get_u32(&r);
	rc_lease_answered(&opened->lease, opened->handle, opened->kind & RC_LEASE_HELD);
	opened->kind &= ~RC_LEASE_HELD;
	opened->age_ms = 0;
	rc_get_stat(&r, &opened->stat);
	opened->stat.mask = rc_statx_mask_from_wire(opened->stat.mask);
	data = rc_get_blob(&r);
	opened->data = data.bytes;
	opened->prefetched = data.length;
	return r.failed ? -EPROTO : 0;
}

void rc_call_close(uint64_t handle)
{
	struct request q;

	begin(&q);
	rc_put_u64(&q.w, handle);
	tell(RC_OP_CLOSE, &q);
}

void rc_call_share(const uint64_t *handles, size_t count)
{
	enum { AT_ONCE = 256 };
	uint8_t bytes[AT_ONCE * 8];

	while (count) {
		size_t now = count < AT_ONCE ? count : AT_ONCE;
		struct rc_writer w = { .at = bytes, .end = bytes + sizeof bytes };
		struct request q;

		for (size_t i = 0; i < now; i++)
			rc_put_u64(&w, handles[i]);
		begin(&q);
		add_blob(&q, bytes, now * 8);
		tell(RC_OP_SHARE, &q);
		handles += now;
		count -= now;
	}
}

static size_t total(const struct iovec *parts, int count)
{
	size_t sum = 0;

	for (int i = 0; i < count; i++)
		sum += parts[i].iov_len;
	return sum;
}

enum { READ_PARTS = 14 };

/* One READ or PREAD of at most MAX_DATA bytes. */
static ssize_t read_piece(uint16_t operation, uint64_t handle, int64_t offset, const struct iovec *into, int count)
{
	struct rc_exchange x = { .operation = operation, .data = into, .data_count = count,
				 .interruptible = operation == RC_OP_READ, .once = operation == RC_OP_READ };
	struct request q;
	int result;

	begin(&q);
	rc_put_u64(&q.w, handle);
	if (operation == RC_OP_PREAD)
		rc_put_u64(&q.w, (uint64_t)offset);
	rc_put_u32(&q.w, (uint32_t)total(into, count));
	x.request = parts_of(&q);
	x.request_count = q.count;
	result = rc_exchange(&x);
	return result ? result : (ssize_t)x.reply_length;
}

ssize_t rc_call_read(uint64_t handle, const struct iovec *into, int count)
{
	struct iovec parts[READ_PARTS];
	int made = rc_slice(into, count, 0, RC_LIMIT_MAX_DATA, parts, READ_PARTS);

	return read_piece(RC_OP_READ, handle, 0, parts, made);
}

ssize_t rc_call_pread(uint64_t handle, const struct iovec *into, int count, int64_t offset)
{
	size_t want = total(into, count), done = 0;

	do {
		struct iovec parts[READ_PARTS];
		int made = rc_slice(into, count, done, RC_LIMIT_MAX_DATA, parts, READ_PARTS);
		ssize_t got = read_piece(RC_OP_PREAD, handle, offset + (int64_t)done, parts, made);

		if (got < 0)
			return done ? (ssize_t)done : got;
		done += (size_t)got;
		if ((size_t)got < total(parts, made))
			break;
	} while (done < want);
	return (ssize_t)done;
}

int64_t rc_call_lseek(uint64_t handle, int64_t offset, int whence)
{
	int wire = rc_whence_to_wire(whence);
	uint8_t reply[RC_LSEEK_REPLY_SIZE];
	struct request q;
	struct rc_reader r;
	int result;

	if (wire < 0)
		return wire;
	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u64(&q.w, (uint64_t)offset);
	rc_put_u32(&q.w, (uint32_t)wire);
	result = ask(RC_OP_LSEEK, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	offset = (int64_t)rc_get_u64(&r);
	return r.failed ? -EPROTO : offset < 0 ? -EOVERFLOW : offset;	/* what is below 0 is an errno, or the supervisor's */
}

static int ask_stat(uint16_t operation, struct request *q, struct rc_stat *stat)
{
	uint8_t reply[RC_STAT_SIZE];
	struct rc_reader r;
	int result = ask(operation, q, reply, sizeof reply, &r);

	if (result)
		return result;
	rc_get_stat(&r, stat);
	stat->mask = rc_statx_mask_from_wire(stat->mask);
	return checked(&r, 0);
}

int rc_call_fstat(uint64_t handle, unsigned mask, struct rc_stat *stat)
{
	struct request q;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u32(&q.w, rc_statx_mask_to_wire(mask));
	return ask_stat(RC_OP_FSTAT, &q, stat);
}

int rc_call_stat(struct rc_location at, int flags, unsigned mask, struct rc_stat *stat)
{
	int64_t wire = rc_at_flags_to_wire(flags);
	struct request q;

	if (wire < 0)
		return (int)wire;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)wire);
	rc_put_u32(&q.w, rc_statx_mask_to_wire(mask));
	add_path(&q, at);
	return ask_stat(RC_OP_STAT, &q, stat);
}

int rc_call_access(struct rc_location at, int mode, int flags)
{
	int64_t wire = rc_at_flags_to_wire(flags);
	struct request q;

	if (wire < 0)
		return (int)wire;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)mode);
	rc_put_u32(&q.w, (uint32_t)wire);
	add_path(&q, at);
	return ask(RC_OP_ACCESS, &q, NULL, 0, NULL);
}

/* A reply that ends in one blob, as much of it as fits in out[0..size). */
static ssize_t take_blob(struct rc_reader *r, void *out, size_t size)
{
	struct rc_blob blob = rc_get_blob(r);

	if (r->failed)
		return -EPROTO;
	if (blob.length > size)
		blob.length = size;
	if (blob.length)
		memcpy(out, blob.bytes, blob.length);
	return (ssize_t)blob.length;
}

ssize_t rc_call_readlink(struct rc_location at, char *target, size_t size)
{
	uint8_t reply[4 + RC_LIMIT_MAX_PATH];
	struct request q;
	struct rc_reader r;
	int result;

	begin_at(&q, at);
	add_path(&q, at);
	result = ask(RC_OP_READLINK, &q, reply, sizeof reply, &r);
	return result ? result : take_blob(&r, target, size);
}

static uint32_t xattr_size(size_t size)
{
	return size < RC_LIMIT_MAX_XATTR ? (uint32_t)size : RC_LIMIT_MAX_XATTR;
}

/* Value or list of names: its whole size where size is 0, ERANGE where it doesn't fit. */
static ssize_t ask_xattr(uint16_t operation, struct request *q, void *value, size_t size)
{
	size_t reply_size = 8 + xattr_size(size);
	uint8_t reply[reply_size];
	struct rc_reader r;
	int result = ask(operation, q, reply, reply_size, &r);
	uint32_t whole;
	ssize_t got;

	if (result)
		return result;
	whole = rc_get_u32(&r);
	got = take_blob(&r, value, size);
	return got < 0 ? got : size == 0 ? (ssize_t)whole : whole > size ? -ERANGE : got;
}

ssize_t rc_call_getxattr(struct rc_location at, int flags, const char *name, void *value, size_t size)
{
	int64_t wire = rc_at_flags_to_wire(flags);
	struct request q;

	if (wire < 0)
		return (ssize_t)wire;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)wire);
	rc_put_u32(&q.w, xattr_size(size));
	add_path(&q, at);
	add_blob(&q, name, strlen(name));
	return ask_xattr(RC_OP_GETXATTR, &q, value, size);
}

ssize_t rc_call_listxattr(struct rc_location at, int flags, char *names, size_t size)
{
	int64_t wire = rc_at_flags_to_wire(flags);
	struct request q;

	if (wire < 0)
		return (ssize_t)wire;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)wire);
	rc_put_u32(&q.w, xattr_size(size));
	add_path(&q, at);
	return ask_xattr(RC_OP_LISTXATTR, &q, names, size);
}

int rc_call_readdir(uint64_t handle, int64_t offset, unsigned count, unsigned mask,
		    void *buffer, size_t size, struct rc_entries *entries)
{
	struct request q;
	int result;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u64(&q.w, (uint64_t)offset);
	rc_put_u32(&q.w, count);
	rc_put_u32(&q.w, rc_statx_mask_to_wire(mask));
	result = ask(RC_OP_READDIR, &q, buffer, size, &entries->rest);
	if (result)
		return result;
	entries->end = rc_get_u32(&entries->rest) != 0;
	return checked(&entries->rest, 0);
}

int rc_call_take_entries(const void *reply, size_t length, struct rc_entries *entries)
{
	entries->rest = (struct rc_reader){ .at = reply, .end = (const uint8_t *)reply + length };
	entries->end = rc_get_u32(&entries->rest) != 0;
	return checked(&entries->rest, 0);
}

/* As Linux takes one from a file system: anything else is none, and a path it would be. */
static bool is_name(struct rc_blob name)
{
	return name.length && name.length < RC_LIMIT_MAX_PATH && !memchr(name.bytes, '/', name.length) &&
	       !memchr(name.bytes, '\0', name.length);
}

bool rc_next_entry(struct rc_entries *entries, struct rc_entry *entry)
{
	struct rc_reader *r = &entries->rest;
	struct rc_blob name, stat;

	if (r->failed || r->at == r->end)
		return false;
	entry->ino = rc_get_u64(r);
	entry->offset = (int64_t)rc_get_u64(r);
	entry->type = rc_get_u32(r);
	entry->flags = rc_get_u32(r);
	name = rc_get_blob(r);
	stat = rc_get_blob(r);
	entry->name = (const char *)name.bytes;
	entry->name_length = name.length;
	entry->has_stat = stat.length == RC_STAT_SIZE;
	if (entry->has_stat) {
		struct rc_reader inner = { .at = stat.bytes, .end = stat.bytes + stat.length };

		rc_get_stat(&inner, &entry->stat);
	}
	r->failed |= !is_name(name);
	return !r->failed;
}

int rc_call_statfs(struct rc_location at, int flags, struct rc_statfs *statfs)
{
	int64_t wire = rc_at_flags_to_wire(flags);
	uint8_t reply[RC_STATFS_REPLY_SIZE];
	uint64_t *fields[] = { &statfs->type, &statfs->bsize, &statfs->frsize, &statfs->blocks, &statfs->bfree,
			       &statfs->bavail, &statfs->files, &statfs->ffree, &statfs->fsid, &statfs->namelen,
			       &statfs->mount_flags };
	struct request q;
	struct rc_reader r;
	int result;

	if (wire < 0)
		return (int)wire;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)wire);
	add_path(&q, at);
	result = ask(RC_OP_STATFS, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	for (size_t i = 0; i < sizeof fields / sizeof *fields; i++)
		*fields[i] = rc_get_u64(&r);
	return checked(&r, 0);
}

int rc_call_pathconf(struct rc_location at, int flags, int name, int64_t *value)
{
	int64_t wire = rc_at_flags_to_wire(flags);
	int wire_name = rc_pathconf_to_wire(name), result;
	uint8_t reply[RC_PATHCONF_REPLY_SIZE];
	struct request q;
	struct rc_reader r;

	if (wire < 0 || wire_name < 0)
		return -EINVAL;
	begin_at(&q, at);
	rc_put_u32(&q.w, (uint32_t)wire);
	rc_put_u32(&q.w, (uint32_t)wire_name);
	add_path(&q, at);
	result = ask(RC_OP_PATHCONF, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	*value = (int64_t)rc_get_u64(&r);
	return checked(&r, 0);
}

static int ask_handle(uint16_t operation, uint64_t handle, void *reply, size_t size, struct rc_reader *r)
{
	struct request q;

	begin(&q);
	rc_put_u64(&q.w, handle);
	return ask(operation, &q, reply, size, r);
}

ssize_t rc_call_getpath(uint64_t handle, char *path, size_t size)
{
	uint8_t reply[4 + RC_LIMIT_MAX_PATH + 64];
	struct rc_reader r;
	int result = ask_handle(RC_OP_GETPATH, handle, reply, sizeof reply, &r);

	return result ? result : take_blob(&r, path, size);
}

int rc_call_describe(uint64_t handle, struct rc_description_facts *facts, char *path, size_t size)
{
	uint8_t reply[RC_DESCRIBE_REPLY_SIZE + 4 + RC_LIMIT_MAX_PATH + 64];
	struct rc_reader r;
	int result = ask_handle(RC_OP_DESCRIBE, handle, reply, sizeof reply, &r);
	ssize_t got;

	if (result)
		return result;
	facts->kind = rc_get_u32(&r);
	facts->flags = rc_open_flags_from_wire(rc_get_u32(&r));
	rc_get_stat(&r, &facts->stat);
	got = take_blob(&r, path, size ? size - 1 : 0);
	if (got >= 0 && size)
		path[got] = '\0';
	return got < 0 ? (int)got : 0;
}

int rc_call_set_flags(uint64_t handle, int flags)
{
	struct request q;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u32(&q.w, (uint32_t)rc_open_flags_to_wire(flags));
	return ask(RC_OP_SET_FLAGS, &q, NULL, 0, NULL);
}

ssize_t rc_call_ioctl(uint64_t handle, unsigned long request, void *value)
{
	int wire = rc_ioctl_to_wire(request), result;
	uint8_t reply[4 + RC_IOCTL_MAX], words[RC_IOCTL_MAX];
	struct request q;
	struct rc_reader r;
	ssize_t got;

	if (wire < 0)
		return wire;
	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u32(&q.w, (uint32_t)wire);
	result = ask(RC_OP_IOCTL, &q, reply, sizeof reply, &r);
	got = result ? result : take_blob(&r, words, sizeof words);
	if (got < 0)
		return got;
	if (got != rc_ioctl_size(request))		/* the program has room for no more */
		return -EPROTO;
	r = (struct rc_reader){ .at = words, .end = words + got };
	if (got == 8)
		memcpy(value, &(uint64_t){ rc_get_u64(&r) }, 8);
	else for (ssize_t i = 0; i < got / 4; i++)
		memcpy((char *)value + 4 * i, &(uint32_t){ rc_get_u32(&r) }, 4);
	return got;
}

void rc_call_advise(uint64_t handle, int64_t offset, int64_t length, int advice)
{
	int wire = rc_advice_to_wire(advice);
	struct request q;

	if (wire < 0)
		return;
	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u64(&q.w, (uint64_t)offset);
	rc_put_u64(&q.w, (uint64_t)length);
	rc_put_u32(&q.w, (uint32_t)wire);
	tell(RC_OP_ADVISE, &q);
}

int rc_call_poll(uint64_t handle, int events, int timeout_ms)
{
	uint8_t reply[RC_POLL_REPLY_SIZE];
	struct rc_exchange x = { .operation = RC_OP_POLL, .interruptible = true, .reply = reply,
				 .reply_size = sizeof reply };
	struct request q;
	struct rc_reader r;
	int result;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u32(&q.w, rc_poll_events_to_wire(events));
	rc_put_u32(&q.w, (uint32_t)timeout_ms);
	x.request = parts_of(&q);
	x.request_count = q.count;
	result = rc_exchange(&x);
	if (result)
		return result;
	r = (struct rc_reader){ .at = reply, .end = reply + x.reply_length };
	result = rc_poll_events_from_wire(rc_get_u32(&r));
	return checked(&r, result);
}

int rc_call_watch_open(int flags, uint64_t *handle)
{
	uint8_t reply[RC_WATCH_OPEN_REPLY_SIZE];
	struct request q;
	struct rc_reader r;
	int result;

	begin(&q);
	rc_put_u32(&q.w, (uint32_t)rc_open_flags_to_wire(flags));
	result = ask(RC_OP_WATCH_OPEN, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	*handle = rc_get_u64(&r);
	return checked(&r, 0);
}

int rc_call_watch_add(uint64_t handle, struct rc_location at, uint32_t mask)
{
	uint8_t reply[RC_WATCH_ADD_REPLY_SIZE];
	struct request q;
	struct rc_reader r;
	int result;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u64(&q.w, at.directory);
	rc_put_u32(&q.w, rc_watch_events_to_wire(mask));
	add_path(&q, at);
	result = ask(RC_OP_WATCH_ADD, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	result = (int32_t)rc_get_u32(&r);
	return checked(&r, result < 0 ? -EPROTO : result);
}

int rc_call_watch_remove(uint64_t handle, int wd)
{
	struct request q;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u32(&q.w, (uint32_t)wd);
	return ask(RC_OP_WATCH_REMOVE, &q, NULL, 0, NULL);
}

int rc_call_extents(uint64_t handle, int64_t offset, int64_t length, struct rc_extent *extents, int count)
{
	uint8_t reply[4096];
	struct request q;
	struct rc_reader r;
	int result, made = 0, most = (int)(sizeof reply / 16);

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u64(&q.w, (uint64_t)offset);
	rc_put_u64(&q.w, (uint64_t)length);
	rc_put_u32(&q.w, (uint32_t)(count < most ? count : most));
	result = ask(RC_OP_EXTENTS, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	for (; made < count && r.at != r.end && !r.failed; made++) {
		extents[made].offset = (int64_t)rc_get_u64(&r);
		extents[made].length = (int64_t)rc_get_u64(&r);
	}
	return checked(&r, made);
}

int rc_call_lock(uint64_t handle, uint32_t command, struct rc_lock *lock)
{
	uint8_t reply[RC_LOCK_REPLY_SIZE];
	struct request q;
	struct rc_reader r;
	int result;

	begin(&q);
	rc_put_u64(&q.w, handle);
	rc_put_u32(&q.w, command);
	rc_put_u32(&q.w, lock->type);
	rc_put_u64(&q.w, (uint64_t)lock->start);
	rc_put_u64(&q.w, (uint64_t)lock->length);
	result = ask(RC_OP_LOCK, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	lock->type = rc_get_u32(&r);
	lock->start = (int64_t)rc_get_u64(&r);
	lock->length = (int64_t)rc_get_u64(&r);
	lock->pid = (int32_t)rc_get_u32(&r);
	return checked(&r, 0);
}

int rc_call_status(struct rc_status *status)
{
	uint8_t reply[RC_STATUS_REPLY_SIZE];
	struct request q;
	struct rc_reader r;
	int result;

	begin(&q);
	result = ask(RC_OP_STATUS, &q, reply, sizeof reply, &r);
	if (result)
		return result;
	status->sessions = rc_get_u32(&r);
	status->connections = rc_get_u32(&r);
	status->handles = rc_get_u32(&r);
	status->all_handles = rc_get_u32(&r);
	status->requests = rc_get_u64(&r);
	status->bytes = rc_get_u64(&r);
	return checked(&r, 0);
}

int rc_call_ping(void *buffer, size_t size)
{
	struct iovec into = { buffer, size };
	struct rc_exchange x = { .operation = RC_OP_PING, .data = &into, .data_count = 1 };
	struct request q;
	int result;

	begin(&q);
	rc_put_u32(&q.w, (uint32_t)size);
	x.request = parts_of(&q);
	x.request_count = q.count;
	result = rc_exchange(&x);
	return result ? result : (int)x.reply_length;
}
