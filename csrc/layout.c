/* SPDX-License-Identifier: MIT */
#include "layout.h"

#include <errno.h>
#include <string.h>

void rc_layout_statx(const struct rc_stat *from, struct rc_kernel_statx *to)
{
	*to = (struct rc_kernel_statx){
		.mask = from->mask, .blksize = from->blksize, .attributes = from->attributes, .nlink = from->nlink,
		.uid = from->uid, .gid = from->gid, .mode = (uint16_t)from->mode, .ino = from->ino, .size = from->size,
		.blocks = from->blocks, .attributes_mask = from->attributes_mask,
		.atime = { .sec = from->atime.sec, .nsec = from->atime.nsec },
		.btime = { .sec = from->btime.sec, .nsec = from->btime.nsec },
		.ctime = { .sec = from->ctime.sec, .nsec = from->ctime.nsec },
		.mtime = { .sec = from->mtime.sec, .nsec = from->mtime.nsec },
		.rdev_major = from->rdev_major, .rdev_minor = from->rdev_minor, .dev_major = from->dev_major,
		.dev_minor = from->dev_minor, .mnt_id = from->mnt_id, .dio_mem_align = from->dio_mem_align,
		.dio_offset_align = from->dio_offset_align, .subvol = from->subvol,
	};
}

/* The old form has the type in its last byte, and longs for inode and offset. */
int rc_layout_entry(const struct rc_entry *from, bool old, bool narrow, uint8_t *to, size_t size)
{
	size_t word = old && narrow ? 4 : 8, name = 2 * word + 2 + !old;
	size_t length = (name + from->name_length + 1 + old + word - 1) & ~(word - 1);
	uint16_t record = (uint16_t)length;

	if (length > size)
		return 0;
	if (word == 4 && from->ino >> 32)
		return -EOVERFLOW;
	memset(to, 0, length);
	if (word == 4) {
		uint32_t ino = (uint32_t)from->ino, offset = (uint32_t)from->offset;

		memcpy(to, &ino, 4);
		memcpy(to + 4, &offset, 4);
	} else {
		memcpy(to, &from->ino, 8);
		memcpy(to + 8, &from->offset, 8);
	}
	memcpy(to + 2 * word, &record, 2);
	memcpy(to + name, from->name, from->name_length);
	to[old ? length - 1 : name - 1] = (uint8_t)from->type;
	return (int)length;
}
