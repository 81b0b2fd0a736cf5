/* SPDX-License-Identifier: MIT
 *
 * One function per operation: put the request, exchange, get the reply.  Every one returns a value >= 0, or -errno in
 * this machine's numbers.  Flags, modes, masks and whence are this machine's; translation happens here and nowhere
 * above.  `directory` is a server handle or RC_NO_HANDLE; paths are bytes, NUL-terminated, the server's.
 * No function here knows about descriptors of the client.
 */
#ifndef RC_CALLS_H
#define RC_CALLS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lease.h"
#include "wire.h"

#ifndef STATX_BASIC_STATS	/* a libc without statx(): the kernel's numbers */
#define STATX_TYPE 0x1u
#define STATX_CTIME 0x80u
#define STATX_SIZE 0x200u
#define STATX_BASIC_STATS 0x7ffu
#define STATX_BTIME 0x800u
#endif
#ifndef STATX_ATTR_IMMUTABLE
#define STATX_ATTR_IMMUTABLE 0x10
#endif

struct rc_opened {
	uint64_t handle;
	uint32_t kind;			/* RC_KIND_* */
	struct rc_stat stat;
	const uint8_t *data;		/* of the file, from its start, in the room given */
	size_t prefetched;		/* how much of it */
	struct rc_lease lease;		/* on the content; since before `stat` and `data` were read */
	uint32_t age_ms;		/* how long before this call the server was asked: walk_ahead.h */
};

struct rc_location {
	uint64_t directory;
	const char *path;
};

/* `room` holds the whole reply where the file's content is wanted with it: RC_OPEN_ROOM bytes, or none (NULL, 0). */
#define RC_OPEN_ROOM (RC_OPEN_REPLY_SIZE + 4 + RC_LIMIT_MAX_PREFETCH)
int rc_call_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, void *room, size_t room_size,
		 struct rc_opened *opened);
void rc_call_close(uint64_t handle);				/* one-way */
void rc_call_share(const uint64_t *handles, size_t count);	/* one-way */
ssize_t rc_call_read(uint64_t handle, const struct iovec *into, int count);
ssize_t rc_call_pread(uint64_t handle, const struct iovec *into, int count, int64_t offset);
int64_t rc_call_lseek(uint64_t handle, int64_t offset, int whence);
int rc_call_fstat(uint64_t handle, unsigned mask, struct rc_stat *stat);
int rc_call_stat(struct rc_location at, int flags, unsigned mask, struct rc_stat *stat);
int rc_call_access(struct rc_location at, int mode, int flags);
ssize_t rc_call_readlink(struct rc_location at, char *target, size_t size);
ssize_t rc_call_getxattr(struct rc_location at, int flags, const char *name, void *value, size_t size);
ssize_t rc_call_listxattr(struct rc_location at, int flags, char *names, size_t size);

/* Entries as they came: *entries is walked with rc_next_entry; buffer must hold RC_LIMIT_MAX_REPLY bytes at the most. */
struct rc_entry {
	uint64_t ino;
	int64_t offset;
	uint32_t type;			/* DT_* */
	uint32_t flags;			/* RC_ENTRY_* */
	const char *name;		/* not NUL-terminated */
	size_t name_length;
	bool has_stat;
	struct rc_stat stat;
};
struct rc_entries {
	struct rc_reader rest;
	bool end;			/* nothing comes after these */
};
int rc_call_readdir(uint64_t handle, int64_t offset, unsigned count, unsigned mask,
		    void *buffer, size_t size, struct rc_entries *entries);
/* A READDIR's reply that came with something else. */
int rc_call_take_entries(const void *reply, size_t length, struct rc_entries *entries);
bool rc_next_entry(struct rc_entries *entries, struct rc_entry *entry);

struct rc_statfs {
	uint64_t type, bsize, frsize, blocks, bfree, bavail, files, ffree, fsid, namelen, mount_flags;
};
int rc_call_statfs(struct rc_location at, int flags, struct rc_statfs *statfs);
int rc_call_pathconf(struct rc_location at, int flags, int name, int64_t *value);
ssize_t rc_call_getpath(uint64_t handle, char *path, size_t size);

struct rc_description_facts {
	uint32_t kind;
	int flags;
	struct rc_stat stat;
};
int rc_call_describe(uint64_t handle, struct rc_description_facts *facts, char *path, size_t size);
int rc_call_set_flags(uint64_t handle, int flags);
enum { RC_IOCTL_MAX = 64 };
/* The bytes of value[RC_IOCTL_MAX]: words of 4 bytes or one of 8, in this machine's order. */
ssize_t rc_call_ioctl(uint64_t handle, unsigned long request, void *value);
void rc_call_advise(uint64_t handle, int64_t offset, int64_t length, int advice);	/* one-way */
int rc_call_poll(uint64_t handle, int events, int timeout_ms);				/* revents */
int rc_call_watch_open(int flags, uint64_t *handle);
int rc_call_watch_add(uint64_t handle, struct rc_location at, uint32_t mask);
int rc_call_watch_remove(uint64_t handle, int wd);
struct rc_extent {
	int64_t offset, length;
};
int rc_call_extents(uint64_t handle, int64_t offset, int64_t length, struct rc_extent *extents, int count);
struct rc_lock {
	uint32_t type;			/* RC_LOCK_TYPE_* */
	int64_t start, length;
	int32_t pid;			/* out: who holds it */
};
int rc_call_lock(uint64_t handle, uint32_t command, struct rc_lock *lock);	/* -EAGAIN: somebody else has it */
struct rc_status {
	uint32_t sessions, connections, handles, all_handles;
	uint64_t requests, bytes;
};
int rc_call_status(struct rc_status *status);
int rc_call_ping(void *buffer, size_t size);

#endif
