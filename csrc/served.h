/* SPDX-License-Identifier: MIT
 *
 * What the fast server (remotec/_fast.pyx) asks of the system about the files that it serves, and the protocol's layouts that it
 * answers with.  Nothing here knows a session or Python, and nothing judges what a client may ask.
 */
#ifndef RC_SERVED_H
#define RC_SERVED_H

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "numbers.h"
#include "protocol.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

enum {
#define X(name, wire, host) WIRE_##name = wire,
	RC_ERRNO(X) RC_OPEN_FLAGS(X) RC_RESOLVE(X)
#undef X
};

/* ------------------------------------------------------------------------------------------------ layouts */

static inline uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static inline uint32_t get32(const uint8_t *at)
{
	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static inline uint64_t get64(const uint8_t *at)
{
	return (uint64_t)get32(at) << 32 | get32(at + 4);
}

static inline uint8_t *put16(uint8_t *at, uint16_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

static inline uint8_t *put32(uint8_t *at, uint32_t value)
{
	return put16(put16(at, (uint16_t)(value >> 16)), (uint16_t)value);
}

static inline uint8_t *put64(uint8_t *at, uint64_t value)
{
	return put32(put32(at, (uint32_t)(value >> 32)), (uint32_t)value);
}

static inline uint8_t *put_bytes(uint8_t *at, const void *bytes, uint32_t count)
{
	memcpy(put32(at, count), bytes, count);
	return at + 4 + count;
}

static inline uint8_t *put_time(uint8_t *at, int64_t sec, uint32_t nsec)
{
	return put32(put64(at, (uint64_t)sec), nsec);
}

/* statx's mount id and what follows it, which older headers lack, are at the kernel's own offsets. */
static inline uint64_t mount_in(const struct statx *st)
{
	uint64_t mount;

	memcpy(&mount, (const uint8_t *)st + 0x90, sizeof mount);
	return mount;
}

/* A Stat layout; its end, or NULL with errno. */
static inline uint8_t *put_stat(uint8_t *at, int dirfd, const char *path, int flags, uint32_t mask)
{
	uint32_t memory, offset;
	uint64_t subvolume;
	struct statx st;

	memset(&st, 0, sizeof st);
	if (statx(dirfd, path, flags, mask, &st))
		return NULL;
	at = put32(put32(at, st.stx_mask), st.stx_blksize);
	at = put64(put64(at, st.stx_attributes), st.stx_attributes_mask);
	at = put32(put32(put32(put32(at, st.stx_nlink), st.stx_uid), st.stx_gid), st.stx_mode);
	at = put64(put64(put64(at, st.stx_ino), st.stx_size), st.stx_blocks);
	at = put_time(at, st.stx_atime.tv_sec, st.stx_atime.tv_nsec);
	at = put_time(at, st.stx_btime.tv_sec, st.stx_btime.tv_nsec);
	at = put_time(at, st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec);
	at = put_time(at, st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec);
	at = put32(put32(put32(put32(at, st.stx_rdev_major), st.stx_rdev_minor), st.stx_dev_major), st.stx_dev_minor);
	memcpy(&memory, (uint8_t *)&st + 0x98, sizeof memory);
	memcpy(&offset, (uint8_t *)&st + 0x9c, sizeof offset);
	memcpy(&subvolume, (uint8_t *)&st + 0xa0, sizeof subvolume);
	return put64(put32(put32(put64(at, mount_in(&st)), memory), offset), subvolume);
}

/* -------------------------------------------------------------------------------------------- what waits */

static inline int is_cached(int fd, uint64_t offset, uint64_t length)
{
	struct { uint64_t offset, length; } range = { offset, length };
	struct { uint64_t cached, dirty, writeback, evicted, recently_evicted; } found;
	uint64_t pages = ((offset + length + 4095) >> 12) - (offset >> 12);

	if (syscall(SYS_cachestat, fd, &range, &found, 0))
		return 0;
	return found.cached + 1 >= pages;	/* pages may be larger than 4096 */
}

/* What is in the page cache of the wanted range; EAGAIN where some isn't and reading would wait for a disk. */
static inline ssize_t read_cached(int fd, void *to, size_t count, int64_t offset)
{
	struct iovec part = { to, count };
	struct stat st;
	ssize_t got = preadv2(fd, &part, 1, offset, RWF_NOWAIT);

	if (got < 0 && errno == EOPNOTSUPP) {	/* tmpfs, and others */
		if (fstat(fd, &st))
			return -1;
		if (offset < st.st_size && !is_cached(fd, offset, count < (uint64_t)(st.st_size - offset)
							  ? count : (uint64_t)(st.st_size - offset))) {
			errno = EAGAIN;
			return -1;
		}
		return pread(fd, to, count, offset);
	}
	if (got >= 0 && (size_t)got < count) {	/* the end of the file, or of what is cached */
		if (fstat(fd, &st))
			return -1;
		if (offset + got < st.st_size) {
			errno = EAGAIN;
			return -1;
		}
	}
	return got;
}

static inline int set_blocking(int fd)
{
	int off = 0;

	return ioctl(fd, FIONBIO, &off);
}

static inline int64_t size_of(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? -1 : (int64_t)st.st_size;
}

/* ------------------------------------------------------------------------------------------------- paths */

enum {
	LONGEST_FD_PATH = 32,
	LONGEST_PLACE = 2 * RC_LIMIT_MAX_PATH + 2,	/* a directory's own path, and one from there */
};

/* A path as openat2 takes it, and what was found there. */
struct place {
	int dirfd;
	const char *path;
	uint64_t resolve;
	uint64_t mount, size;
	uint32_t mode;
};

static inline int open_resolved(const struct place *place, int flags)
{
	struct { uint64_t flags, mode, resolve; } how = { (unsigned)flags | O_CLOEXEC, 0, place->resolve };

	return (int)syscall(SYS_openat2, place->dirfd, place->path, &how, sizeof how);
}

/* An O_PATH descriptor of what is there, with its mount, mode and size, or -errno: without waiting for any file system. */
static inline int look_at(struct place *place, int nofollow)
{
	uint64_t resolve = place->resolve;
	struct statx st;
	int fd, failed;

	place->mount = 0;
	place->resolve |= WIRE_RESOLVE_CACHED;
	fd = open_resolved(place, O_PATH | (nofollow ? O_NOFOLLOW : 0));
	failed = errno;
	place->resolve = resolve;
	if (fd < 0)
		return -failed;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0x1000 | STATX_TYPE | STATX_SIZE, &st)) {
		failed = errno;
		close(fd);
		return -failed;
	}
	place->mount = mount_in(&st);
	place->mode = st.stx_mode;
	place->size = st.stx_size;
	return fd;
}

/* Where a descriptor's file is, seen from the directory `root` (see session.py); the length without a NUL, or -1. */
static inline ssize_t path_below(int root, int fd, char *to, size_t size)
{
	static const char deleted[] = " (deleted)";
	size_t tail = sizeof deleted - 1;
	char link[LONGEST_FD_PATH], above[RC_LIMIT_MAX_PATH];
	ssize_t head, length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", root);
	head = readlink(link, above, sizeof above);
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, to, size);
	if (head <= 0 || length <= 0 || head == (ssize_t)sizeof above || length == (ssize_t)size)
		return -1;
	if ((size_t)length > tail && !memcmp(to + length - tail, deleted, tail))	/* or is that its name? */
		return -1;
	while (head && above[head - 1] == '/')
		head--;
	if (length < head || memcmp(to, above, head) || (length > head && to[head] != '/'))
		return -1;
	memmove(to, to + head, length - head);
	return length - head;
}

/* ------------------------------------------------------------------------------------------- directories */

enum { DIRENT_BYTES = 64 * 1024, DIRENT_NAME = 19 };

/* Whether the entry has no extended attributes; unknown is false. */
static inline int is_without_xattrs(int dirfd, const char *name)
{
	long size = syscall(SYS_listxattrat, dirfd, name, AT_SYMLINK_NOFOLLOW, NULL, 0);
	char path[LONGEST_FD_PATH + RC_LIMIT_MAX_PATH];

	if (size < 0 && errno == ENOSYS) {	/* before Linux 6.13; this takes three times as long */
		int length = snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dirfd, name);

		size = length < (int)sizeof path ? llistxattr(path, NULL, 0) : -1;
	}
	return size == 0;
}

/* READDIR's reply from an offset on: at most `most` entries, and no more once they take `room` bytes.
 * `to` has room for that, one entry of DIRENT_BYTES and the fixed part.  Its end, or NULL with errno. */
static inline uint8_t *put_entries(uint8_t *to, int fd, int64_t offset, uint32_t most, uint32_t mask, size_t room,
				   uint8_t *buffer)
{
	uint8_t *start = to + RC_READDIR_REPLY_SIZE, *at = start;
	uint32_t entries = 0, end = 0;

	if (lseek(fd, offset, SEEK_SET) < 0)
		return NULL;
	while (!end && entries < most && (size_t)(at - start) < room) {
		long got = syscall(SYS_getdents64, fd, buffer, DIRENT_BYTES);

		if (got < 0)
			return NULL;
		end = !got;
		for (const uint8_t *dirent = buffer; dirent < buffer + got && entries < most && (size_t)(at - start) < room;) {
			const char *name = (const char *)dirent + DIRENT_NAME;
			uint8_t *flags, *stat, *stat_end = NULL;
			uint16_t length;
			uint64_t ino;

			memcpy(&ino, dirent, sizeof ino);
			memcpy(&offset, dirent + 8, sizeof offset);
			memcpy(&length, dirent + 16, sizeof length);
			flags = put32(put64(put64(at, ino), (uint64_t)offset), dirent[18]);
			stat = put_bytes(put32(flags, 0), name, (uint32_t)strlen(name));
			if (mask)	/* none: it's gone meanwhile, or not ours to look at */
				stat_end = put_stat(stat + 4, fd, name, AT_SYMLINK_NOFOLLOW, mask);
			put32(stat, stat_end ? RC_STAT_SIZE : 0);
			if (stat_end && is_without_xattrs(fd, name))
				put32(flags, RC_ENTRY_NO_XATTRS);
			at = stat_end ? stat_end : stat + 4;
			dirent += length;
			entries++;
		}
	}
	put32(to, end);
	return at;
}

#endif
