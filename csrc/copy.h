/* SPDX-License-Identifier: MIT
 *
 * What sendfile(2), splice(2) and copy_file_range(2) do with a remote file: a copy through memory.
 */
#ifndef RC_COPY_H
#define RC_COPY_H

#include "description.h"

/* From the description (`fd`: a descriptor of it here) to the local descriptor `out`, by way of room[0..room_size).  `at` and `to_at`:
 * where to read and write, which move on; NULL: the descriptors' own offsets.  Bytes written, 0 at the end of the file, -errno where
 * none were. */
ssize_t rc_copy_file(struct rc_description *d, int fd, int64_t *at, int out, int64_t *to_at, size_t size, void *room,
		     size_t room_size);

#endif
