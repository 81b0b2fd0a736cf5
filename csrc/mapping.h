/* SPDX-License-Identifier: MIT
 *
 * The content of a placeholder: what a mapping, libc's stdio or the kernel sees of a remote file past us.
 *
 * A large file's may be fetched by the kernel itself (placeholder.h); then it's only made to look at the file again.
 *
 * Of others only the kernel knows what a placeholder holds, as several processes of both tiers may fill it: SEEK_DATA says which
 * pages are the file's, its size is the file's, and its modification time says of which version (a stamp made of the file's
 * ctime).  What the file has as a hole stays one.  Who fills holds a record lock on the placeholder.
 */
#ifndef RC_MAPPING_H
#define RC_MAPPING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "description.h"
#include "placeholder.h"

/* Before mmap(2) of the placeholder, with its arguments: fetches what lacks of [offset, offset + length), and again what
 * another version of the file has left there.  0: the kernel is to go on, be it to refuse; -errno (ENOMEM: more than memory holds,
 * EIO: it changed each time that it was tried). */
int rc_mapping_prepare(struct rc_description *d, int fd, size_t length, int protection, int flags, int64_t offset);

/* Whether the kernel fetches the placeholder by itself: then its handle is needed for as long as there is a mapping. */
bool rc_mapping_paged(int fd);

/* The placeholder that a process (0: this one) has mapped at `address`, and the file's offset there.  False: none. */
bool rc_mapping_at(int pid, uint64_t address, struct rc_placeholder *found, int64_t *offset);

/* The whole file, for who reads the placeholder itself.  `fd` may be any descriptor of ours that is to have the content. */
int rc_mapping_fill(struct rc_description *d, int fd);

#endif
