/* SPDX-License-Identifier: MIT
 *
 * Structures as Linux lays them out, where libc's may differ or know fewer fields.  Pure.
 */
#ifndef RC_LAYOUT_H
#define RC_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "calls.h"

/* struct statx, the same on every machine. */
struct rc_kernel_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	struct {
		int64_t sec;
		uint32_t nsec;
		int32_t spare;
	} atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mnt_id;
	uint32_t dio_mem_align, dio_offset_align;
	uint64_t subvol;
	uint64_t spares[11];
};
_Static_assert(sizeof(struct rc_kernel_statx) == 256, "as the kernel has it");

void rc_layout_statx(const struct rc_stat *from, struct rc_kernel_statx *to);

/* One entry as getdents64(2) (or, `old`, getdents(2)) has it, on a machine with 8-byte (or, `narrow`, 4-byte) longs, into to[size]:
 * its length; 0 where there is no room; -EOVERFLOW where a number doesn't fit. */
int rc_layout_entry(const struct rc_entry *from, bool old, bool narrow, uint8_t *to, size_t size);

#endif
