/* SPDX-License-Identifier: MIT */
#include "description.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/file.h>
#include <unistd.h>

#include "config.h"
#include "notify.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"
#include "translate.h"

enum { MAX_RW_COUNT = 0x7ffff000, MAX_IOV = 1024 };	/* as the kernel has them, on 4 KiB pages */

/* What Linux says of the buffers before it looks at the file: their length together, capped, or -EINVAL. */
static ssize_t check(const struct iovec *into, int count)
{
	size_t sum = 0;

	if (count < 0 || count > MAX_IOV)
		return -EINVAL;
	for (int i = 0; i < count; i++) {
		if (into[i].iov_len > SSIZE_MAX || sum + into[i].iov_len > SSIZE_MAX)
			return -EINVAL;
		sum += into[i].iov_len;
	}
	return sum > MAX_RW_COUNT ? MAX_RW_COUNT : (ssize_t)sum;
}

static int readable(struct rc_description *d, int fd)
{
	int flags;

	if (d->readable)		/* which no description ceases to be */
		return 0;
	flags = rc_sys_fcntl(fd, F_GETFL, 0);
	if (flags < 0)
		return flags;
	if ((flags & O_ACCMODE) == O_WRONLY || (flags & O_PATH) || d->kind == RC_KIND_PATH)
		return -EBADF;
	if (d->kind == RC_KIND_DIRECTORY)
		return -EISDIR;
	d->readable = true;
	return 0;
}

/* ----------------------------------------------------------------------------------------------- the lock */

#define WAITED_FOR 0x80000000u		/* which no thread id has */

/* While a lock is waited for, as long as a read may take: who jumps out of one (siglongjmp) never unlocks. */
static bool has_time(uint64_t *first_ns)
{
	return rc_sys_has_time(first_ns, rc_config.timeout_s * 1000);
}

/* One reader of an offset at a time.  False: go on without it.  This very thread holds it, that is, we are in a signal handler that
 * interrupted its read; or nobody gives it back. */
static bool lock(struct rc_description *d)
{
	uint32_t self = (uint32_t)rc_sys_gettid(), taken = self, seen = 0;
	_Atomic uint32_t *word = (_Atomic uint32_t *)&d->lock;
	uint64_t first_ns = 0;

	while (!atomic_compare_exchange_weak(word, &seen, taken)) {
		if ((seen & ~WAITED_FOR) == self || (seen && !has_time(&first_ns)))
			return false;
		if (seen) {
			taken = self | WAITED_FOR;	/* others may wait too */
			if (seen & WAITED_FOR || atomic_compare_exchange_weak(word, &seen, seen | WAITED_FOR))
				rc_sys_futex_wait(&d->lock, seen | WAITED_FOR, 50);
		}
		seen = 0;
	}
	return true;
}

static void unlock(struct rc_description *d)
{
	if (atomic_exchange((_Atomic uint32_t *)&d->lock, 0) & WAITED_FOR)
		rc_sys_futex_wake(&d->lock, 1);
}

/* Serialises the processes that share the offset: by an flock of a description of our own, since the program's is the very
 * thing that they share, and it may be read-only, which rules out a record lock.  Unlocked before it's closed, so that a
 * copy that a fork takes meanwhile holds nothing.  -errno: go on without it. */
static int lock_offset(int fd)
{
	int own = rc_sys_reopen(fd, O_RDONLY | O_CLOEXEC), locked;
	uint64_t first_ns = 0;

	for (int i = 0; own >= 0; i++) {
		locked = rc_sys_flock(own, LOCK_EX | LOCK_NB);
		if (locked != -EWOULDBLOCK && locked != -EINTR)
			break;
		if (!has_time(&first_ns)) {
			rc_sys_close(own);
			return -ETIMEDOUT;
		}
		rc_sys_pause(i);
	}
	return own;
}

static void unlock_offset(int own)
{
	if (own < 0)
		return;
	rc_sys_flock(own, LOCK_UN);
	rc_sys_close(own);
}

/* ---------------------------------------------------------------------------------------------- functions */

void rc_description_opened(struct rc_description *d, const struct rc_opened *opened, const struct rc_known *known)
{
	d->size = d->kind == RC_KIND_POSITIONED ? (int64_t)opened->stat.size : -1;
	d->known = *known;
	d->sequence.lease = known->lease;
}

void rc_description_found(struct rc_description *d)
{
	rc_lookup_known(d->handle, &d->known);
	d->size = d->known.there && d->kind == RC_KIND_POSITIONED ? (int64_t)d->known.stat.size : -1;
}

void rc_description_release(struct rc_description *d)
{
	rc_stream_end(&d->sequence);
}

static ssize_t fetch_into(struct rc_description *d, bool held, const struct iovec *into, int count, int64_t offset)
{
	ssize_t got = rc_known_read(&d->known, into, count, offset);

	if (got == -EAGAIN && d->size >= 0 && offset >= d->size && rc_lease_holds(&d->known.lease))
		return 0;
	if (got == -EAGAIN && held)
		got = rc_stream_read(&d->sequence, d->handle, into, count, offset, d->size);
	if (got != -EAGAIN)
		return got;
	got = rc_call_pread(d->handle, into, count, offset);
	if (held)
		rc_stream_note(&d->sequence, offset, got);
	return got;
}

/* As Linux reads a file into a buffer that isn't all there: as much as fits before that. */
static ssize_t fetch(struct rc_description *d, bool held, const struct iovec *into, int count, int64_t offset)
{
	ssize_t got = fetch_into(d, held, into, count, offset);
	size_t fits = 0;
	int used = 0;

	if (got != -EFAULT)
		return got;
	struct iovec good[count];
	for (; used < count && (!used || good[used - 1].iov_len == into[used - 1].iov_len); used++) {
		good[used] = (struct iovec){ into[used].iov_base, rc_writable(into[used].iov_base, into[used].iov_len) };
		fits += good[used].iov_len;
	}
	return fits ? fetch_into(d, held, good, used, offset) : got;
}

/* A regular file: the placeholder's own offset says where, and moves on by what was read.  Who goes on from his last read needn't
 * ask where that ended: the move tells whether it was still so. */
static ssize_t read_positioned(struct rc_description *d, int fd, const struct iovec *into, int count)
{
	bool held = lock(d), guess = held && !d->shared && __atomic_load_n(&d->at_known, __ATOMIC_RELAXED);
	int own = held && d->shared ? lock_offset(fd) : -1;
	int64_t offset, at;
	ssize_t got, move;

	for (;; guess = false) {
		offset = guess ? d->at : rc_sys_lseek(fd, 0, SEEK_CUR);
		got = offset < 0 ? (ssize_t)offset : fetch(d, held, into, count, offset);
		move = got > 0 ? got : 0;
		if (!move && !guess)
			break;
		at = rc_sys_lseek(fd, move, SEEK_CUR);
		if (at == offset + move || at < 0)
			break;
		/* Moved meanwhile, by a signal handler's read or another thread's lseek: as if we had started after it. */
		rc_sys_lseek(fd, -move, SEEK_CUR);
	}
	unlock_offset(own);
	if (held) {
		d->at = offset + move;
		__atomic_store_n(&d->at_known, got >= 0, __ATOMIC_RELAXED);
		unlock(d);
	}
	return got;
}

void (*rc_stream_was_read)(uint64_t handle);

static ssize_t read_stream(struct rc_description *d, const struct iovec *into, int count)
{
	ssize_t got = rc_call_read(d->handle, into, count);

	if (__builtin_expect(rc_stream_was_read != NULL, 0))
		rc_stream_was_read(d->handle);
	return got;
}

static ssize_t read_into(struct rc_description *d, int fd, const struct iovec *into, int count)
{
	if (d->kind == RC_KIND_WATCH)	/* its events aren't divided: the first buffer takes them */
		return rc_notify_read(d->handle, fd, into[0].iov_base, into[0].iov_len);
	return d->kind == RC_KIND_POSITIONED ? read_positioned(d, fd, into, count)
					     : read_stream(d, into, count);
}

ssize_t rc_description_read(struct rc_description *d, int fd, const struct iovec *into, int count)
{
	ssize_t bad = readable(d, fd), length = check(into, count);

	if (bad == -EBADF)
		return bad;
	if (length < 0)
		return length;
	if (bad == -EISDIR && rc_sys_lseek(fd, 0, SEEK_CUR) > INT64_MAX - length)
		return -EINVAL;
	if (bad)
		return bad;
	if (length < MAX_RW_COUNT)
		return length ? read_into(d, fd, into, count) : 0;
	struct iovec most[count];
	return read_into(d, fd, most, rc_slice(into, count, 0, (size_t)length, most, count));
}

ssize_t rc_description_pread(struct rc_description *d, int fd, const struct iovec *into, int count, int64_t offset)
{
	ssize_t bad, length;

	if (offset < 0)
		return -EINVAL;
	bad = readable(d, fd);
	length = check(into, count);
	if (bad == -EBADF)
		return bad;
	if (length < 0)
		return length;
	if (bad)
		return bad;
	if (length < MAX_RW_COUNT)
		return length ? fetch(d, false, into, count, offset) : 0;
	struct iovec most[count];
	return fetch(d, false, most, rc_slice(into, count, 0, (size_t)length, most, count), offset);
}

int64_t rc_description_lseek(struct rc_description *d, int fd, int64_t offset, int whence)
{
	int64_t at;
	bool held;

	if (d->kind == RC_KIND_PATH)
		return -EBADF;
	if (d->kind != RC_KIND_POSITIONED && d->kind != RC_KIND_DIRECTORY)
		return rc_call_lseek(d->handle, offset, whence);
	if (whence == SEEK_SET || whence == SEEK_CUR) {
		if (whence == SEEK_SET || offset)
			__atomic_store_n(&d->at_known, false, __ATOMIC_RELAXED);
		return rc_sys_lseek(fd, offset, whence);
	}
	held = lock(d);
	at = rc_call_lseek(d->handle, offset, whence);
	if (at >= 0) {
		__atomic_store_n(&d->at_known, false, __ATOMIC_RELAXED);
		at = rc_sys_lseek(fd, at, SEEK_SET);
	}
	if (held)
		unlock(d);
	return at;
}

int rc_description_fstat(struct rc_description *d, int fd, unsigned mask, struct rc_stat *stat)
{
	(void)fd;
	if (d->known.there && !(mask & ~d->known.stat.mask) && rc_cache_fresh(d->known.asked_ms)) {
		*stat = d->known.stat;
		stat->mask &= ~STATX_BTIME | mask;	/* as in rc_lookup_stat */
		rc_count(RC_COUNT_FROM_OPEN, 1);
		return 0;
	}
	return rc_call_fstat(d->handle, mask, stat);
}

/* Whether it's a fifo, terminal or other stream of one of these types. */
static bool is_stream_of(const struct rc_description *d, mode_t one, mode_t other)
{
	struct rc_stat stat;

	return d->kind == RC_KIND_STREAM && rc_call_fstat(d->handle, STATX_TYPE, &stat) == 0 &&
	       ((stat.mode & S_IFMT) == one || (stat.mode & S_IFMT) == other);
}

int rc_description_advise(struct rc_description *d, int64_t offset, int64_t length, int advice)
{
	if (d->kind == RC_KIND_PATH)
		return -EBADF;
	if (is_stream_of(d, S_IFIFO, S_IFIFO))
		return -ESPIPE;
	if (length < 0 || rc_advice_to_wire(advice) < 0)
		return -EINVAL;
	if (d->kind != RC_KIND_POSITIONED)
		return 0;
	if (lock(d)) {
		rc_stream_advise(&d->sequence, advice);
		unlock(d);
	}
	rc_call_advise(d->handle, offset, length, advice);
	return 0;
}

int rc_description_readahead(struct rc_description *d, int64_t offset, int64_t count)
{
	return d->kind == RC_KIND_PATH ? -EBADF
	     : d->kind != RC_KIND_POSITIONED ? -EINVAL
	     : rc_description_advise(d, offset, count, POSIX_FADV_WILLNEED);
}

bool rc_description_fcntl_allowed(const struct rc_description *d, int command)
{
	return d->kind != RC_KIND_PATH || command == F_DUPFD || command == F_DUPFD_CLOEXEC || command == F_GETFD ||
	       command == F_SETFD || command == F_GETFL;
}

int rc_description_fcntl(const struct rc_description *d, int command, int64_t argument)
{
	switch (command) {
	case F_GETLEASE:
		return F_UNLCK;		/* as on a file system that gives none: F_SETLEASE is EINVAL there */
	case F_NOTIFY:			/* as Linux without it; taking nothing back is no error */
		return !(argument & ~(int64_t)DN_MULTISHOT) ? 0 : d->kind == RC_KIND_DIRECTORY ? -EINVAL : -ENOTDIR;
	case F_GETPIPE_SZ:
	case F_SETPIPE_SZ:
		return is_stream_of(d, S_IFIFO, S_IFIFO) ? -EINVAL : -EBADF;
	case F_ADD_SEALS:
		return -EPERM;
	default:
		return -EINVAL;
	}
}

int rc_description_sync(const struct rc_description *d)
{
	return d->kind == RC_KIND_PATH ? -EBADF : is_stream_of(d, S_IFIFO, S_IFCHR) ? -EINVAL : 0;
}

/* FIONREAD of a regular file, whose position the server doesn't know. */
static ssize_t bytes_left(struct rc_description *d, int fd, void *value)
{
	int64_t at = rc_sys_lseek(fd, 0, SEEK_CUR), left;
	struct rc_stat stat;
	int result = rc_description_fstat(d, fd, STATX_SIZE, &stat), number;

	if (result < 0)
		return result;
	left = (int64_t)stat.size - at;
	number = left > INT_MAX ? INT_MAX : (int)left;
	memcpy(value, &number, sizeof number);
	return sizeof number;
}

ssize_t rc_description_ioctl(struct rc_description *d, int fd, unsigned long request, void *value)
{
	bool positioned = d->kind == RC_KIND_POSITIONED;

	if (d->kind == RC_KIND_PATH)
		return -EBADF;
	if (positioned && request == FIONREAD)
		return bytes_left(d, fd, value);
	if ((positioned || d->kind == RC_KIND_DIRECTORY) &&
	    ((uint32_t)request == (uint32_t)FS_IOC_SETFLAGS || (uint32_t)request == (uint32_t)FS_IOC_FSSETXATTR))
		return -EROFS;
	return rc_call_ioctl(d->handle, request, value);
}
