/* SPDX-License-Identifier: MIT */
#include "wire.h"

#include <string.h>

#include "protocol.h"

static uint8_t *claim(struct rc_writer *w, size_t count)
{
	uint8_t *at = w->at;

	if (w->failed || count > (size_t)(w->end - w->at)) {
		w->failed = true;
		return NULL;
	}
	w->at += count;
	return at;
}

static void put_number(struct rc_writer *w, uint64_t value, size_t width)
{
	uint8_t *at = claim(w, width);

	if (at)
		for (size_t i = width; i-- > 0; value >>= 8)
			at[i] = (uint8_t)value;
}

void rc_put_u16(struct rc_writer *w, uint16_t value)
{
	put_number(w, value, 2);
}

void rc_put_u32(struct rc_writer *w, uint32_t value)
{
	put_number(w, value, 4);
}

void rc_put_u64(struct rc_writer *w, uint64_t value)
{
	put_number(w, value, 8);
}

void rc_put_bytes(struct rc_writer *w, const void *bytes, size_t count)
{
	uint8_t *at = claim(w, count);

	if (at && count)
		memcpy(at, bytes, count);
}

void rc_put_blob(struct rc_writer *w, const void *bytes, size_t count)
{
	rc_put_u32(w, (uint32_t)count);
	rc_put_bytes(w, bytes, count);
}

static const uint8_t *take(struct rc_reader *r, size_t count)
{
	const uint8_t *at = r->at;

	if (r->failed || count > (size_t)(r->end - r->at)) {
		r->failed = true;
		return NULL;
	}
	r->at += count;
	return at;
}

static uint64_t get_number(struct rc_reader *r, size_t width)
{
	const uint8_t *at = take(r, width);
	uint64_t value = 0;

	if (at)
		for (size_t i = 0; i < width; i++)
			value = value << 8 | at[i];
	return value;
}

uint16_t rc_get_u16(struct rc_reader *r)
{
	return (uint16_t)get_number(r, 2);
}

uint32_t rc_get_u32(struct rc_reader *r)
{
	return (uint32_t)get_number(r, 4);
}

uint64_t rc_get_u64(struct rc_reader *r)
{
	return get_number(r, 8);
}

struct rc_blob rc_get_blob(struct rc_reader *r)
{
	struct rc_blob blob = { 0 };

	blob.length = rc_get_u32(r);
	blob.bytes = take(r, blob.length);
	if (!blob.bytes)
		blob.length = 0;
	return blob;
}

void rc_put_header(struct rc_writer *w, const struct rc_header *header)
{
	rc_put_u32(w, header->length);
	rc_put_u16(w, header->operation);
	rc_put_u16(w, header->error);
	rc_put_u32(w, header->request_id);
	rc_put_u32(w, header->flags);
}

struct rc_header rc_get_header(struct rc_reader *r)
{
	struct rc_header header;

	header.length = rc_get_u32(r);
	header.operation = rc_get_u16(r);
	header.error = rc_get_u16(r);
	header.request_id = rc_get_u32(r);
	header.flags = rc_get_u32(r);
	return header;
}

static struct rc_time get_time(struct rc_reader *r)
{
	struct rc_time time;

	time.sec = (int64_t)rc_get_u64(r);
	time.nsec = rc_get_u32(r);
	return time;
}

void rc_get_stat(struct rc_reader *r, struct rc_stat *stat)
{
	stat->mask = rc_get_u32(r);
	stat->blksize = rc_get_u32(r);
	stat->attributes = rc_get_u64(r);
	stat->attributes_mask = rc_get_u64(r);
	stat->nlink = rc_get_u32(r);
	stat->uid = rc_get_u32(r);
	stat->gid = rc_get_u32(r);
	stat->mode = rc_get_u32(r);
	stat->ino = rc_get_u64(r);
	stat->size = rc_get_u64(r);
	stat->blocks = rc_get_u64(r);
	stat->atime = get_time(r);
	stat->btime = get_time(r);
	stat->ctime = get_time(r);
	stat->mtime = get_time(r);
	stat->rdev_major = rc_get_u32(r);
	stat->rdev_minor = rc_get_u32(r);
	stat->dev_major = rc_get_u32(r);
	stat->dev_minor = rc_get_u32(r);
	stat->mnt_id = rc_get_u64(r);
	stat->dio_mem_align = rc_get_u32(r);
	stat->dio_offset_align = rc_get_u32(r);
	stat->subvol = rc_get_u64(r);
}

int rc_slice(const struct iovec *from, int count, size_t skip, size_t want, struct iovec *to, int most)
{
	int made = 0;

	for (int i = 0; i < count && want && made < most; i++) {
		size_t take;

		if (skip >= from[i].iov_len) {
			skip -= from[i].iov_len;
			continue;
		}
		take = from[i].iov_len - skip < want ? from[i].iov_len - skip : want;
		to[made++] = (struct iovec){ (char *)from[i].iov_base + skip, take };
		want -= take;
		skip = 0;
	}
	return made;
}
