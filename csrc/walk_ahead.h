/* SPDX-License-Identifier: MIT
 *
 * Opening ahead: a program that goes through a tree opens what the listings it reads name, one after the other.  Once two files
 * (or two directories) of a listing have been opened, the rest of them are asked for before the program does, many at once, on
 * a connection of its own: a small file's OPEN brings its content, a directory's its listing.
 *
 * What has come is handed out for rc_config.max_stale_ms, once, and to the same flags only; then its handle is closed again: with
 * the next walk, and where a thread can be spared for it (rc_walk_keep_tidy) soon after the last.  How much is asked for grows
 * with what is used, and shrinks with what isn't.  Nothing here waits for another thread's request, but
 * for the reply to the very OPEN that the caller wants.
 */
#ifndef RC_WALK_AHEAD_H
#define RC_WALK_AHEAD_H

#include "calls.h"

/* As rc_call_open.  opened->age_ms says how long ago the server was asked. */
int rc_walk_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, void *room, size_t room_size,
		 struct rc_opened *opened);

/* The first entries of a directory, with attributes, where its OPEN brought them: bytes of a READDIR reply in buffer, once;
 * 0: ask the server. */
size_t rc_walk_listing(uint64_t handle, void *buffer, size_t size, uint32_t *age_ms);
/* A program has read these entries of a directory's. */
void rc_walk_listed(uint64_t handle, struct rc_entries entries);

/* What lstat or (follow) stat says of a path, from a listing of its directory: a program that asks about several names of one,
 * which it doesn't read, is answered by a listing of it that is asked for here.  0 or -ENOENT, and when that was asked for (rc_cache_now);
 * -EAGAIN: ask the server. */
int rc_walk_stat(struct rc_location at, bool follow, unsigned mask, struct rc_stat *stat, uint32_t *asked_ms);

/* -ENOENT where a listing that is there, or coming, says that nothing is; and when that was asked for.  0: ask the server. */
int rc_walk_missing(struct rc_location at, uint32_t *asked_ms);
/* The server has said ENOENT: where that happens more often the directory's listing is asked for, for those that come next. */
void rc_walk_missed(struct rc_location at);

/* For a thread of its own, which it keeps: what nobody came for is given up within two seconds, walk or no walk. */
__attribute__((noreturn)) void rc_walk_keep_tidy(void);

/* In the child of a fork: what is under way is its parent's. */
void rc_walk_after_fork(void);

#endif
