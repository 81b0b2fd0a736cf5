/* SPDX-License-Identifier: MIT
 *
 * Reading a directory of the server's: entries in batches, their attributes with them where programs turn out to want them.
 *
 * What came with the entries goes into the cache (cache.h), so that the stat of each name that follows a walk's readdir asks
 * nobody.
 */
#ifndef RC_DIRECTORY_H
#define RC_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "description.h"

struct rc_directory {
	uint64_t handle;
	int64_t next;		/* d_off to go on after */
	bool end;		/* the server has no more after `entries` */
	bool loaded;		/* `entries` is valid */
	unsigned wanted;	/* entries of the next page; 0: of the first */
	uint32_t asked_ms;	/* rc_cache_now, when `entries` was asked for */
	struct rc_entries entries;
	const uint8_t *taken;	/* the last entry that was */
	int64_t taken_next;
	uint8_t *buffer;	/* RC_LIMIT_MAX_REPLY bytes, mapped on first use */
};

/* 1 and the next entry; 0 at the end; -errno. */
int rc_directory_next(struct rc_directory *directory, struct rc_entry *entry);
/* The next one is to be the last one again. */
void rc_directory_put_back(struct rc_directory *directory);
/* Go on after the entry whose d_off is `offset`; 0: from the start. */
void rc_directory_seek(struct rc_directory *directory, int64_t offset);
/* As getdents64(2) of the placeholder fd, or (`old`) getdents(2): bytes put, 0 at the end, -errno.  The position is the
 * placeholder's offset, so that processes that share the description share it. */
ssize_t rc_directory_records(const struct rc_description *d, int fd, bool old, bool narrow, void *bytes, size_t size);
void rc_directory_free(struct rc_directory *directory);

/* For who looks attributes up (lookup.c), in a directory that was read lately: they are no longer known, or were.  True: they have
 * come anew. */
bool rc_directory_missed(uint64_t handle);
void rc_directory_found(uint64_t handle);
bool rc_directory_is_listed(uint64_t handle);

#endif
