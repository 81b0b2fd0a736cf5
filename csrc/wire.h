/* SPDX-License-Identifier: MIT
 *
 * Big-endian put and get on bounds-checked cursors.  Pure: no I/O, no allocation.  A cursor that once failed
 * stays failed and yields zeros, so that a message is written or read in a row and checked once at its end.
 */
#ifndef RC_WIRE_H
#define RC_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct rc_writer {
	uint8_t *at, *end;
	bool failed;
};

struct rc_reader {
	const uint8_t *at, *end;
	bool failed;
};

struct rc_blob {
	const uint8_t *bytes;
	size_t length;
};

void rc_put_u16(struct rc_writer *w, uint16_t value);
void rc_put_u32(struct rc_writer *w, uint32_t value);
void rc_put_u64(struct rc_writer *w, uint64_t value);
void rc_put_bytes(struct rc_writer *w, const void *bytes, size_t count);
void rc_put_blob(struct rc_writer *w, const void *bytes, size_t count);

uint16_t rc_get_u16(struct rc_reader *r);
uint32_t rc_get_u32(struct rc_reader *r);
uint64_t rc_get_u64(struct rc_reader *r);
struct rc_blob rc_get_blob(struct rc_reader *r);

struct rc_header {
	uint32_t length;
	uint16_t operation, error;
	uint32_t request_id, flags;
};

void rc_put_header(struct rc_writer *w, const struct rc_header *header);
struct rc_header rc_get_header(struct rc_reader *r);

/* A file's attributes as the protocol carries them, in host byte order; mask says which are there. */
struct rc_time {
	int64_t sec;
	uint32_t nsec;
};

struct rc_stat {
	uint32_t mask, blksize;
	uint64_t attributes, attributes_mask;
	uint32_t nlink, uid, gid, mode;
	uint64_t ino, size, blocks;
	struct rc_time atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mnt_id;
	uint32_t dio_mem_align, dio_offset_align;
	uint64_t subvol;
};

void rc_get_stat(struct rc_reader *r, struct rc_stat *stat);

/* At most `want` bytes, from byte `skip` of the buffers on, as at most `most` iovecs: how many. */
int rc_slice(const struct iovec *from, int count, size_t skip, size_t want, struct iovec *to, int most);

#endif
