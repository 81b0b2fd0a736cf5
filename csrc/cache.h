/* SPDX-License-Identifier: MIT
 *
 * What the session was told lately of the server's files, in one bounded mapping that the whole process tree shares, so that
 * processes that live for a moment profit from what their siblings asked.  With the library alone it is the process's own.
 *
 * Readers take no lock and never wait: a row has a sequence number that is odd while it's being written, and what was copied
 * while it changed is no answer.  A writer claims a row by compare-and-swap; one that is killed in the middle leaves an odd
 * number, and so a row that nobody uses any more.
 *
 * A path is known by a keyed hash of 128 bits, chained over its components from the root, or from the handle that it starts at:
 * a directory that is renamed keeps what is known by its handle, and nothing is ever known by a handle that wasn't asked by it.
 * Nothing here asks the server; lookup.h does.
 */
#ifndef RC_CACHE_H
#define RC_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lease.h"
#include "protocol.h"
#include "wire.h"

struct rc_key {
	uint64_t half[2];
};

/* A file's content, in the mapping until others need the room. */
struct rc_content {
	uint32_t slot, sequence, length;	/* sequence 0: none */
};
enum { RC_CONTENT_MOST = RC_LIMIT_MAX_PREFETCH };

enum rc_fact_kind {
	RC_FACT_LSTAT = 1,	/* stat, or error: what lstat would say */
	RC_FACT_STAT,		/* … stat */
	RC_FACT_TARGET,		/* of a symbolic link */
	RC_FACT_ACCESS,		/* error, or 0; with the mode in the higher bits */
	RC_FACT_XATTR,		/* error: of one name, or 0: there are none */
	RC_FACT_OPENED,		/* stat and content, as OPEN brought them */
	RC_FACT_DIRECTORY,	/* stat and handle that a path was opened as */
	RC_FACT_END,		/* offset at which a directory has no more entries */
};

enum { RC_FACT_NO_XATTRS = 1, RC_FACT_LISTED = 2, RC_FACT_CONFIRMABLE = 4 };
/* For how long what is CONFIRMABLE is worth asking whether it's still so. */
enum { RC_CONFIRM_MS = 60000 };

struct rc_fact {
	uint32_t asked_ms;	/* when the request was sent (rc_cache_now) */
	int32_t error;		/* 0 or -errno */
	uint32_t flags;		/* RC_FACT_* */
	struct rc_content content;
	uint64_t number;	/* handle or offset */
	union {
		struct rc_stat stat;
		struct {
			uint32_t length;
			char bytes[196];
		} target;
	};
};

/* False: nothing is kept, for there is no room given, or nothing may be old (rc_config.max_stale_ms). */
bool rc_cache_on(void);
/* A mapping of `size` bytes for the tree of a command to be started: a descriptor of it, or -errno. */
int rc_cache_create(size_t size);

/* Where the mapping says which leases stand; NULL: there is none. */
struct rc_leases *rc_cache_leases(void);

uint32_t rc_cache_now(void);
/* Whether the file is of a kind, and on a file system, whose answers may be kept. */
bool rc_cache_keeps(const struct rc_stat *stat);
/* Whether what was asked then may still be said now. */
bool rc_cache_fresh(uint32_t asked_ms);
/* Nothing that was asked until now is to be said any more: the session is about to be told of a change. */
void rc_cache_void(void);

/* RC_NO_HANDLE: the root. */
struct rc_key rc_cache_key_of(uint64_t handle);
struct rc_key rc_cache_key_in(struct rc_key directory, const char *name, size_t length);

/* `kind`: of enum rc_fact_kind, and the call's own detail above its lowest 8 bits.  What is found may be too old. */
bool rc_cache_find(struct rc_key key, unsigned kind, struct rc_fact *fact);
void rc_cache_keep(struct rc_key key, unsigned kind, const struct rc_fact *fact);

/* A copy of `bytes`; sequence 0: there is no room for it. */
struct rc_content rc_cache_keep_content(const void *bytes, size_t length);
/* Bytes copied, 0 at its end, -EFAULT; -EAGAIN: it's gone. */
ssize_t rc_cache_read(struct rc_content content, const struct iovec *into, int count, int64_t offset);

#endif
