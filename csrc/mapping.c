/* SPDX-License-Identifier: MIT */
#include "oldest.h"

#include "mapping.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "protocol.h"
#include "sys.h"

enum { PAGE = 4096, PIECE = 1024 * 1024, EXTENTS = 128, STREAM_LIMIT = 64 * 1024 * 1024 };
/* Up to SMALL it costs less to fetch zeros than to ask where they are; from LARGE on memory is looked at first. */
enum { SMALL = 128 * 1024, LARGE = 64 * 1024 * 1024 };

/* A placeholder that is being filled. */
struct filling {
	struct rc_description *d;
	int to;				/* the placeholder, opened for writing */
	uint8_t *buffer;		/* PIECE bytes */
	bool early;			/* what OPEN brought will do: nothing was mapped before */
	int64_t fetched, most;		/* bytes, and how many there may be; 0: not looked yet */
};

/* --------------------------------------------------------------------------------------------------- stamps */

/* A memfd's own times are of now: seconds as small as these are never its own. */
enum { STAMP_SECONDS = 0x0fffffff };

static struct rc_time stamp_of(const struct rc_stat *stat)
{
	return (struct rc_time){ .sec = stat->ctime.sec & STAMP_SECONDS, .nsec = stat->ctime.nsec };
}

static bool stamped(const struct rc_identity *identity)
{
	return identity->mtime_sec >= 0 && identity->mtime_sec <= STAMP_SECONDS;
}

static bool same_stamp(const struct rc_identity *identity, struct rc_time stamp)
{
	return identity->mtime_sec == stamp.sec && identity->mtime_nsec == stamp.nsec;
}

/* -------------------------------------------------------------------------------------------------- fetching */

static int put_piece(int to, const uint8_t *data, size_t count, int64_t offset)
{
	while (count) {
		ssize_t put = rc_sys_pwrite(to, data, count, offset);

		if (put < 0)
			return put == -ENOSPC ? -ENOMEM : (int)put;
		data += put;
		count -= (size_t)put;
		offset += put;
	}
	return 0;
}

/* Half of what the kernel could give; no limit where it doesn't say. */
static int64_t memory_for_us(void)
{
	char text[1024], *at;
	int fd = rc_sys_open(AT_FDCWD, "/proc/meminfo", O_RDONLY | O_CLOEXEC, 0);
	ssize_t got = fd < 0 ? fd : (ssize_t)RC_SYS(SYS_read, fd, text, sizeof text - 1, 0, 0, 0);

	if (fd >= 0)
		rc_sys_close(fd);
	text[got > 0 ? got : 0] = '\0';
	at = strstr(text, "MemAvailable:");
	return at ? strtoll(at + sizeof "MemAvailable:" - 1, NULL, 10) * 1024 / 2 : INT64_MAX;
}

/* The server's bytes of [offset, end), over whatever is there.  -EAGAIN: the file ended before. */
static int fetch(struct filling *f, int64_t offset, int64_t end)
{
	struct rc_sequence sequence = { .lease = f->d->known.lease };
	int bad = 0;

	f->fetched += end - offset;
	if (f->fetched > LARGE && !f->most)
		f->most = memory_for_us();
	if (f->fetched > LARGE && f->fetched > f->most)
		return -ENOMEM;
	if (end - offset > PIECE)
		rc_stream_expect(&sequence, offset);
	while (!bad && offset < end) {
		struct iovec into = { f->buffer, end - offset < PIECE ? (size_t)(end - offset) : PIECE };
		ssize_t got = f->early ? rc_known_read(&f->d->known, &into, 1, offset) : -EAGAIN;

		if (got == -EAGAIN)
			got = rc_stream_read(&sequence, f->d->handle, &into, 1, offset, end);
		if (got == -EAGAIN)
			got = rc_call_pread(f->d->handle, &into, 1, offset);
		bad = got > 0 ? put_piece(f->to, f->buffer, (size_t)got, offset) : got ? (int)got : -EAGAIN;
		offset += got > 0 ? got : 0;
	}
	rc_stream_end(&sequence);
	if (bad == -EAGAIN)		/* what is past the end is no page of the file's */
		rc_sys_truncate(f->to, offset);
	return bad;
}

/* As fetch, but holes stay holes: nothing of [offset, end) is there yet. */
static int fetch_extents(struct filling *f, int64_t offset, int64_t end)
{
	struct rc_extent extents[EXTENTS];
	int bad = 0;

	if (end - offset <= SMALL)
		return fetch(f, offset, end);
	while (!bad && offset < end) {
		int count = rc_call_extents(f->d->handle, offset, end - offset, extents, EXTENTS);

		if (count <= 0)
			return count;
		for (int i = 0; i < count && !bad; i++) {
			/* Data of the server's that shares a page with data that is here would be taken for it. */
			int64_t from = extents[i].offset & -PAGE, to;

			if (extents[i].offset < offset || extents[i].length <= 0 || extents[i].offset > end ||
			    extents[i].length > end - extents[i].offset)
				return -EPROTO;
			to = extents[i].offset + extents[i].length;
			bad = fetch(f, from > offset ? from : offset, to);
			offset = to;
		}
	}
	return bad;
}

/* What is missing of [offset, end). */
static int fetch_missing(struct filling *f, int64_t offset, int64_t end)
{
	int bad = 0;

	while (!bad && offset < end) {
		int64_t hole = rc_sys_lseek(f->to, offset, SEEK_HOLE), data;

		if (hole < 0 || hole >= end)
			return hole < 0 ? (int)hole : 0;
		data = rc_sys_lseek(f->to, hole, SEEK_DATA);
		offset = data < 0 || data > end ? end : data;
		bad = fetch_extents(f, hole, offset);
	}
	return bad;
}

/* All that is there, once more. */
static int fetch_again(struct filling *f, int64_t size)
{
	int64_t data = 0, end;
	int bad = 0;

	while (!bad && data < size && (data = rc_sys_lseek(f->to, data, SEEK_DATA)) >= 0) {
		end = rc_sys_lseek(f->to, data, SEEK_HOLE);
		if (end < 0 || end > size)
			end = size;
		bad = fetch(f, data, end);
		data = end;
	}
	return bad;
}

/* --------------------------------------------------------------------------------------------------- filling */

/* Mappings that are there already see the new version too, and what the file has grown by, as those of a local file do. */
static int fill_positioned(struct filling *f, int64_t offset, int64_t end)
{
	struct rc_identity identity;
	struct rc_stat stat;
	struct rc_time stamp;
	int64_t size, before;
	bool used;
	int bad = rc_sys_identity(f->to, &identity);

	if (bad)
		return bad;
	before = (int64_t)identity.size;
	used = before || stamped(&identity);
	f->early = !used;
	bad = rc_description_fstat(f->d, f->to, STATX_SIZE | STATX_CTIME, &stat);
	if (bad)
		return bad;
	stamp = stamp_of(&stat);
	size = (int64_t)stat.size;
	if (before != size)
		bad = size > before ? rc_sys_grow(f->to, size) : rc_sys_truncate(f->to, size);
	if (!bad && used && (before != size || !same_stamp(&identity, stamp)))
		bad = fetch_again(f, size);
	if (!bad && used && before < size)
		bad = fetch_missing(f, before & -PAGE, size);
	end = end > size - (PAGE - 1) ? size : (end + PAGE - 1) & -PAGE;
	if (!bad)
		bad = fetch_missing(f, offset & -PAGE, end);
	return bad ? bad : rc_sys_set_mtime(f->to, stamp.sec, stamp.nsec);
}

/* What has no offset of its own is read to its end, once. */
static int fill_stream(struct filling *f)
{
	struct rc_identity identity;
	int64_t at = 0;
	int bad = rc_sys_identity(f->to, &identity);

	if (bad || stamped(&identity))
		return bad;
	for (;;) {
		struct iovec into = { f->buffer, PIECE };
		ssize_t got = rc_call_read(f->d->handle, &into, 1);

		bad = got > 0 ? put_piece(f->to, f->buffer, (size_t)got, at) : (int)got;
		if (bad)
			return bad;
		if (!got)
			return rc_sys_set_mtime(f->to, 0, 0);
		at += got;
		if (at > STREAM_LIMIT)
			return -EFBIG;
	}
}

/* One that fills at a time, in whichever process: a lock of this very description, which goes with it. */
static void lock(int to)
{
#ifdef __GLIBC__
	struct flock64 whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
#else
	struct flock whole = { .l_type = F_WRLCK, .l_whence = SEEK_SET };
#endif

	while (rc_sys_fcntl(to, F_OFD_SETLKW, (long)&whole) == -EINTR)
		;
}

/* What the kernel fetches by itself it only has to look at again. */
bool rc_mapping_paged(int fd)
{
	struct rc_placeholder p;

	return rc_placeholder_identify(fd, &p) == 1 && p.paged;
}

static int fill(struct rc_description *d, int fd, int64_t offset, int64_t end)
{
	if (rc_mapping_paged(fd))
		return rc_sys_refresh(fd);

	struct filling f = { .d = d, .to = rc_sys_reopen(fd, O_RDWR | O_CLOEXEC) };
	int bad = -ENOMEM, attempts = 3;

	if (f.to < 0)
		return f.to;
	f.buffer = rc_sys_map(PIECE);
	if (f.buffer) {
		lock(f.to);
		do	/* again where the file shrank meanwhile */
			bad = d->kind == RC_KIND_POSITIONED ? fill_positioned(&f, offset, end) : fill_stream(&f);
		while (bad == -EAGAIN && --attempts);
		if (bad == -ENOMEM && f.early)		/* what it has taken already */
			rc_sys_truncate(f.to, 0);
		RC_SYS(SYS_munmap, f.buffer, PIECE, 0, 0, 0, 0);
	}
	rc_sys_close(f.to);
	return bad == -EAGAIN ? -EIO : bad;
}

int rc_mapping_prepare(struct rc_description *d, int fd, size_t length, int protection, int flags, int64_t offset)
{
	if (d->kind == RC_KIND_PATH)
		return -EBADF;
	/* The kernel says EINVAL or EOVERFLOW, and below EACCES. */
	if (!length || offset < 0 || offset % PAGE || length > (uint64_t)(INT64_MAX - offset))
		return 0;
	if (d->kind != RC_KIND_POSITIONED)
		return (protection & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE ? -EACCES : -ENODEV;
	if ((protection & PROT_WRITE) && (flags & MAP_TYPE) != MAP_PRIVATE)
		return 0;
	return fill(d, fd, offset, offset + (int64_t)length);
}

int rc_mapping_fill(struct rc_description *d, int fd)
{
	if (d->kind != RC_KIND_POSITIONED && d->kind != RC_KIND_STREAM)
		return -ENODEV;
	return fill(d, fd, 0, INT64_MAX);
}

/* --------------------------------------------------------------------------------------------- what is mapped */

/* A line of /proc/<pid>/maps: start-end rights offset major:minor inode name */
static bool parse(const char *line, uint64_t address, struct rc_placeholder *found, int64_t *offset)
{
	unsigned long long start, end, at, ino;
	unsigned major, minor;
	int name = 0;

	if (sscanf(line, "%llx-%llx %*4s %llx %x:%x %llu %n", &start, &end, &at, &major, &minor, &ino, &name) < 6 || !name ||
	    address < start || address >= end || !rc_placeholder_parse(line + name, found))
		return false;
	found->ino = ino;
	found->dev_major = major;
	found->dev_minor = minor;
	*offset = (int64_t)(at + (address - start));
	return true;
}

bool rc_mapping_at(int pid, uint64_t address, struct rc_placeholder *found, int64_t *offset)
{
	char path[32] = "/proc/self/maps", text[4096], line[256];
	size_t length = 0;
	bool is = false;
	ssize_t got;
	int fd;

	if (pid)
		snprintf(path, sizeof path, "/proc/%d/maps", pid);
	fd = rc_sys_open(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return false;
	while (!is && (got = (ssize_t)RC_SYS(SYS_read, fd, text, sizeof text, 0, 0, 0)) > 0)
		for (ssize_t i = 0; !is && i < got; i++) {
			line[length] = text[i] == '\n' ? '\0' : text[i];
			if (text[i] == '\n') {
				is = parse(line, address, found, offset);
				length = 0;
			} else if (length < sizeof line - 1) {
				length++;
			}
		}
	rc_sys_close(fd);
	return is;
}
