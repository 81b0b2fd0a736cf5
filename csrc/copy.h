/* SPDX-License-Identifier: MIT
 *
 * What sendfile(2), splice(2) and copy_file_range(2) do with a remote file: a copy through memory.
 */
#ifndef RC_COPY_H
#define RC_COPY_H

#include "description.h"

/* From the description (`fd`: a descriptor of it here) to the local descriptor `out`, by way of room[0..room_size).  `at`,
 * `to_at`: where to read and write, which move on; NULL: the descriptors' own offsets.  `persist`: what a write to a file leaves
 * is tried once more, as by sendfile: so a limit's signal comes.  Bytes written, 0 at the end of the file, -errno where none were. */
ssize_t rc_copy_file(struct rc_description *d, int fd, int64_t *at, int out, int64_t *to_at, bool persist, size_t size,
		     void *room, size_t room_size);

/* Where a thread of ours writes in a program's stead (the supervisor): how much of `count` bytes that program may write at `at`
 * of `out` (< 0: at its offset), or -errno; and what a write's error means for it: EPIPE has a signal. */
extern int64_t (*rc_write_allowed)(int out, int64_t at, size_t count);
extern void (*rc_write_failed)(int error);

#endif
