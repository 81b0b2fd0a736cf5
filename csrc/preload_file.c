/* SPDX-License-Identifier: MIT
 *
 * The preload tier's remote files: what the table's rows do for a path or descriptor that is remote, and the functions
 * that need more than a row.  The program's pointers are only followed where a bad one gives EFAULT.
 */
#include "preload.h"

#include <limits.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "copy.h"
#include "cwd.h"
#include "notify.h"
#include "layout.h"
#include "lock.h"
#include "lookup.h"
#include "mapping.h"
#include "protocol.h"
#include "translate.h"
#include "transport.h"

/* ---------------------------------------------------------------------------------------------------- open */

/* A descriptor for a handle that the server has just given; closes the handle where none can be had. */
static int adopt(const struct rc_opened *opened, int flags, const struct rc_known *known)
{
	struct rc_placeholder made;
	struct rc_description *d;
	int fd = rc_placeholder_create(opened->handle, opened->kind, opened->stat.size, flags, rc_config.fd_shift, &made);

	if (fd >= 0 && rc_fdtable_insert(fd, &made) < 0) {
		rc_sys_close(fd);
		fd = -ENFILE;
	}
	if (fd < 0) {
		rc_call_close(opened->handle);
		return fd;
	}
	d = rc_fdtable_pin(fd);
	if (d) {		/* else another thread has closed it, which is the program's affair */
		rc_description_opened(d, opened, known);
		rc_fdtable_unpin(d);
	}
	return fd;
}

int rc_remote_open(const struct rc_target *t, int flags, unsigned mode, uint64_t resolve)
{
	struct rc_opened opened;
	struct rc_known known;
	int result;

	rc_debug("open() on remote file %s", t->given);
	result = rc_lookup_open(t->at, flags, mode, resolve, &opened, &known);
	if (!result && sizeof(off_t) < sizeof opened.stat.size && !(flags & RC_LARGE) && S_ISREG(opened.stat.mode) &&
	    opened.kind == RC_KIND_POSITIONED && opened.stat.size > INT32_MAX) {
		rc_call_close(opened.handle);
		result = -EOVERFLOW;
	}
	if (!result)
		result = adopt(&opened, flags, &known);
	if (result < 0)
		rc_debug("failed opening %s: %s", t->given, rc_errno_name(-result));
	else
		rc_debug("opened %s, local %d, remote %llu", t->given, result, (unsigned long long)opened.handle);
	if (result >= 0)
		rc_stats_opened(opened.handle, t->given);
	return result;
}

/* ---------------------------------------------------------------------------------------------------- read */

ssize_t rc_remote_read(struct rc_description *d, int fd, void *buffer, size_t count)
{
	struct iovec part = { buffer, count };

	rc_debug("read() %zd bytes on remote fd %d", count, fd);
	return rc_description_read(d, fd, &part, 1);
}

ssize_t rc_remote_pread(struct rc_description *d, int fd, void *buffer, size_t count, int64_t offset)
{
	struct iovec part = { buffer, count };

	rc_debug("pread() %zd bytes at %lld on remote fd %d", count, (long long)offset, fd);
	return rc_description_pread(d, fd, &part, 1, offset);
}

/* The program's vector, copied to where it can be trusted. */
#define COPY_OF(parts, count) \
	int room = count < 0 || count > IOV_MAX ? 0 : count; \
	struct iovec copy[room + 1]; \
	if (room && rc_copy_in(copy, parts, (size_t)room * sizeof *copy) < 0) \
		return -EFAULT

int rc_remote_eventfd_read(struct rc_description *d, int fd, uint64_t *value)
{
	ssize_t got = rc_remote_read(d, fd, value, sizeof *value);

	return got < 0 ? (int)got : got == sizeof *value ? 0 : -EINVAL;
}

ssize_t rc_remote_readv(struct rc_description *d, int fd, const struct iovec *parts, int count)
{
	COPY_OF(parts, count);
	rc_debug("readv() %d buffers on remote fd %d", count, fd);
	return rc_description_read(d, fd, copy, count);
}

ssize_t rc_remote_preadv(struct rc_description *d, int fd, const struct iovec *parts, int count, int64_t offset)
{
	COPY_OF(parts, count);
	rc_debug("preadv() %d buffers at %lld on remote fd %d", count, (long long)offset, fd);
	return rc_description_pread(d, fd, copy, count, offset);
}

#ifndef RWF_HIPRI
#define RWF_HIPRI 1
#endif

ssize_t rc_remote_preadv2(struct rc_description *d, int fd, const struct iovec *parts, int count, int64_t offset,
			  int flags)
{
	if (flags & ~RWF_HIPRI)		/* RWF_NOWAIT: as a file system says that can't promise it */
		return -EOPNOTSUPP;
	return offset == -1 ? rc_remote_readv(d, fd, parts, count) : rc_remote_preadv(d, fd, parts, count, offset);
}

int64_t rc_remote_lseek(struct rc_description *d, int fd, int64_t offset, int whence, bool narrow)
{
	int64_t result;

	rc_debug("lseek() offset %lld from %d on remote fd %d", (long long)offset, whence, fd);
	result = rc_description_lseek(d, fd, offset, whence);
	return narrow && result > INT32_MAX ? -EOVERFLOW : result;
}

#define READ(name) \
	RC_EXPORT ssize_t name(int fd, void *buffer, size_t count) \
	{ \
		struct rc_description *d; \
		if (!rc_ready()) \
			return rc_pass_##name()(fd, buffer, count); \
		d = rc_fdtable_pin(fd); \
		if (__builtin_expect(!d, 1)) { \
			rc_count_local(); \
			if (__builtin_expect(rc_raw, 0) && rc_single_threaded()) \
				return rc_finish(RC_SYS(SYS_read, fd, buffer, count, 0, 0, 0)); \
			return rc_next_##name(fd, buffer, count); \
		} \
		return rc_finish(RC_SPAN_ON("read", fd, d, rc_remote_read(d, fd, buffer, count))); \
	}
READ(read)
READ(__read)

RC_EXPORT ssize_t readv(int fd, const struct iovec *parts, int count)
{
	struct rc_description *d;

	if (!rc_ready())
		return rc_pass_readv()(fd, parts, count);
	d = rc_fdtable_pin(fd);
	if (d)
		return rc_finish(RC_SPAN_ON("readv", fd, d, rc_remote_readv(d, fd, parts, count)));
	rc_count_local();
	return rc_raw && rc_single_threaded() ? rc_finish(RC_SYS(SYS_readv, fd, parts, count, 0, 0, 0))
					      : rc_next_readv(fd, parts, count);
}

/* The checked forms: an overflow is libc's to report. */
RC_EXPORT ssize_t __read_chk(int fd, void *buffer, size_t count, size_t size)
{
	struct rc_description *d;

	if (!rc_ready())
		return rc_pass___read_chk()(fd, buffer, count, size);
	d = count <= size ? rc_fdtable_pin(fd) : NULL;
	if (d)
		return rc_finish(RC_SPAN_ON("read", fd, d, rc_remote_read(d, fd, buffer, count)));
	rc_count_local();
	return rc_next___read_chk(fd, buffer, count, size);
}

#define PREAD_CHECKED(name, offset_type) \
	RC_EXPORT ssize_t name(int fd, void *buffer, size_t count, offset_type offset, size_t size) \
	{ \
		struct rc_description *d; \
		if (!rc_ready()) \
			return rc_pass_##name()(fd, buffer, count, offset, size); \
		d = count <= size ? rc_fdtable_pin(fd) : NULL; \
		if (d) \
			return rc_finish(RC_SPAN_ON("pread", fd, d, rc_remote_pread(d, fd, buffer, count, offset))); \
		rc_count_local(); \
		return rc_next_##name(fd, buffer, count, offset, size); \
	}
PREAD_CHECKED(__pread_chk, off_t)
#ifdef __GLIBC__
PREAD_CHECKED(__pread64_chk, off64_t)
#endif

/* ---------------------------------------------------------------------------------------------- attributes */

int rc_put_struct_statx(const struct rc_stat *from, void *to)
{
	struct rc_kernel_statx st;

	rc_layout_statx(from, &st);
	return rc_copy_out(to, &st, sizeof st);
}

#define FITS(field, value) (st.field = (__typeof__(st.field))(value), (int64_t)st.field == (int64_t)(value))

/* EOVERFLOW where a value doesn't fit this form. */
#define PUT_STAT(function, type) \
	int function(const struct rc_stat *from, void *to) \
	{ \
		type st; \
		memset(&st, 0, sizeof st); \
		st.st_dev = makedev(from->dev_major, from->dev_minor); \
		st.st_rdev = makedev(from->rdev_major, from->rdev_minor); \
		st.st_mode = (mode_t)from->mode; \
		st.st_uid = from->uid; \
		st.st_gid = from->gid; \
		st.st_blksize = (__typeof__(st.st_blksize))from->blksize; \
		st.st_atim.tv_nsec = (int32_t)from->atime.nsec; \
		st.st_mtim.tv_nsec = (int32_t)from->mtime.nsec; \
		st.st_ctim.tv_nsec = (int32_t)from->ctime.nsec; \
		if (!FITS(st_nlink, from->nlink) || !FITS(st_ino, from->ino) || !FITS(st_size, from->size) || \
		    !FITS(st_blocks, from->blocks) || !FITS(st_atim.tv_sec, from->atime.sec) || \
		    !FITS(st_mtim.tv_sec, from->mtime.sec) || !FITS(st_ctim.tv_sec, from->ctime.sec)) \
			return -EOVERFLOW; \
		return rc_copy_out(to, &st, sizeof st); \
	}
PUT_STAT(rc_put_struct_stat, struct stat)
#ifdef __GLIBC__
PUT_STAT(rc_put_struct_stat64, struct stat64)
#endif
#ifdef RC_HAVE_TIME64
struct timespec_time64 {
	int64_t tv_sec;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	int32_t spare;
#endif
	int32_t tv_nsec;
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
	int32_t spare;
#endif
};

/* `struct stat` under _TIME_BITS=64, the same on all of these machines. */
struct stat_time64 {
	dev_t st_dev;
	ino64_t st_ino;
	mode_t st_mode;
	nlink_t st_nlink;
	uid_t st_uid;
	gid_t st_gid;
	dev_t st_rdev;
	off64_t st_size;
	blksize_t st_blksize;
	blkcnt64_t st_blocks;
	struct timespec_time64 st_atim, st_mtim, st_ctim;
};
PUT_STAT(rc_put_struct_stat_time64, struct stat_time64)
#endif

int rc_remote_fstat(struct rc_description *d, int fd, rc_put_stat *put, void *to)
{
	struct rc_stat stat;
	int result;

	rc_debug("fstat() on remote fd %d", fd);
	result = rc_description_fstat(d, fd, STATX_BASIC_STATS, &stat);
	return result < 0 ? result : put(&stat, to);
}

static int stat_of(const struct rc_target *t, int flags, unsigned mask, struct rc_stat *stat)
{
	struct rc_description *d = !*t->at.path && t->fd >= 0 ? rc_fdtable_pin(t->fd) : NULL;
	int result;

	if (!d)
		return rc_lookup_stat(t->at, flags | t->extra, mask, stat);
	result = rc_description_fstat(d, t->fd, mask, stat);		/* how glibc has fstat */
	rc_fdtable_unpin(d);
	return result;
}

int rc_remote_stat(const char *call, const struct rc_target *t, int flags, rc_put_stat *put, void *to)
{
	struct rc_stat stat;
	int result;

	rc_debug("%s() on remote file %s", call, t->given);
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
		return -EINVAL;
	result = stat_of(t, flags, STATX_BASIC_STATS, &stat);
	return result < 0 ? result : put(&stat, to);
}

int rc_remote_statx(const struct rc_target *t, int flags, unsigned mask, void *to)
{
	struct rc_stat stat;
	int result;

	rc_debug("statx() on remote file %s", t->given);
	if (mask & 0x80000000u)		/* STATX__RESERVED */
		return -EINVAL;
	result = stat_of(t, flags, mask, &stat);
	return result < 0 ? result : rc_put_struct_statx(&stat, to);
}

int rc_remote_access(const char *call, const struct rc_target *t, int mode, int flags)
{
	if (t->fd >= 0)
		rc_debug("%s() fd %d path %s", call, t->fd, t->given);
	else
		rc_debug("%s() on remote file %s", call, t->given);
	if ((mode & ~(R_OK | W_OK | X_OK)) || (flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)))
		return -EINVAL;
	return rc_lookup_access(t->at, mode, flags | t->extra);
}

/* A value of at most size bytes, fetched beside the program's buffer. */
static ssize_t hand_over(ssize_t got, const void *from, void *to, size_t size)
{
	return got > 0 && size && rc_copy_out(to, from, (size_t)got) < 0 ? -EFAULT : got;
}

static ssize_t get_xattr(struct rc_location at, int flags, const char *name, void *value, size_t size)
{
	size_t room = size < RC_LIMIT_MAX_XATTR ? size : RC_LIMIT_MAX_XATTR;
	char copy[RC_LIMIT_MAX_NAME + 1], got[room + 1];
	ssize_t length = rc_copy_string(copy, name, sizeof copy);

	if (length <= 0)		/* what getxattr(2) says of a name that is empty or too long */
		return length == -EFAULT ? -EFAULT : -ERANGE;
	return hand_over(rc_lookup_getxattr(at, flags, copy, got, room), got, value, size);
}

static ssize_t list_xattr(struct rc_location at, int flags, char *names, size_t size)
{
	size_t room = size < RC_LIMIT_MAX_XATTR ? size : RC_LIMIT_MAX_XATTR;
	char got[room + 1];

	return hand_over(rc_lookup_listxattr(at, flags, got, room), got, names, size);
}

static struct rc_location handle_itself(const struct rc_description *d)
{
	return (struct rc_location){ d->handle, "" };
}

/* As libc makes it of its own stat. */
RC_EXPORT key_t ftok(const char *path, int id)
{
	struct rc_stat stat;
	struct rc_target t;
	int side;

	if (!rc_ready())
		return rc_pass_ftok()(path, id);
	side = rc_locate(AT_FDCWD, path, 0, &t);
	if (side == 0) {
		rc_count_local();
		return rc_next_ftok(t.instead ? t.instead : path, id);
	}
	if (side > 0) {
		rc_debug("ftok() on remote file %s", t.given);
		side = (int)RC_SPAN("ftok", t.given, -1, t.at.directory, rc_lookup_stat(t.at, t.extra, STATX_BASIC_STATS, &stat));
	}
	if (rc_finish(side) < 0)
		return -1;
	return (key_t)((stat.ino & 0xffff) | (stat.dev_minor & 0xff) << 16 | ((unsigned)id & 0xff) << 24);
}

ssize_t rc_remote_getxattr(const char *call, const struct rc_target *t, int flags, const char *name, void *value,
			   size_t size)
{
	rc_debug("%s() on remote file %s", call, t->given);
	return get_xattr(t->at, flags | t->extra, name, value, size);
}

ssize_t rc_remote_fgetxattr(struct rc_description *d, int fd, const char *name, void *value, size_t size)
{
	rc_debug("fgetxattr() on remote fd %d", fd);
	return d->kind == RC_KIND_PATH ? -EBADF : get_xattr(handle_itself(d), AT_EMPTY_PATH, name, value, size);
}

ssize_t rc_remote_listxattr(const char *call, const struct rc_target *t, int flags, char *names, size_t size)
{
	rc_debug("%s() on remote file %s", call, t->given);
	return list_xattr(t->at, flags | t->extra, names, size);
}

ssize_t rc_remote_flistxattr(struct rc_description *d, int fd, char *names, size_t size)
{
	rc_debug("flistxattr() on remote fd %d", fd);
	return d->kind == RC_KIND_PATH ? -EBADF : list_xattr(handle_itself(d), AT_EMPTY_PATH, names, size);
}

ssize_t rc_remote_readlink(const struct rc_target *t, char *target, size_t size)
{
	char got[RC_LIMIT_MAX_PATH];
	size_t room = size < sizeof got ? size : sizeof got;

	rc_debug("readlink() on remote file %s", t->given);
	if (!size || size > INT_MAX)
		return -EINVAL;
	return hand_over(t->is_link ? rc_cwd_readlink(&t->name, 0, &t->named, got, room)
				    : rc_lookup_readlink(t->at, got, room), got, target, room);
}

/* --------------------------------------------------------------------------------------------------- close */

/* Our sockets, and what says where the working directory is. */
static bool protected(int fd)
{
	return (fd >= rc_transport_floor() && rc_transport_owns(fd)) || (fd == RC_CWD_FD && rc_cwd());
}

/* The lowest such number at or above `from`; -1. */
static int next_protected(int from)
{
	return from <= RC_CWD_FD && rc_cwd() ? RC_CWD_FD : rc_transport_next(from);
}

static int close_any(int fd, int (*next)(int))
{
	uint64_t handle;
	bool last = rc_fdtable_close(fd, &handle);
	int result = next(fd);

	if (last)
		rc_fdtable_close_handle(handle);
	return result;
}

static int close_reported(int fd, int (*next)(int))
{
	struct rc_description *d = rc_fdtable_get(fd);

	if (!d) {
		rc_count_local();
		return next(fd);
	}
	rc_debug("close() on remote fd %d", fd);
	return (int)rc_finish(RC_SPAN("close", NULL, fd, d->handle, rc_result(close_any(fd, next))));
}

#define CLOSE(name) \
	RC_EXPORT int name(int fd) \
	{ \
		if (!rc_ready()) \
			return rc_pass_##name()(fd); \
		if (__builtin_expect(fd >= 0 && protected(fd), 0)) { \
			errno = EBADF; \
			return -1; \
		} \
		return __builtin_expect(rc_debug_on || rc_stats, 0) ? close_reported(fd, rc_next_##name) \
								    : close_any(fd, rc_next_##name); \
	}
CLOSE(close)
CLOSE(__close)

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC 4
#endif

static int close_between_ours(unsigned first, unsigned last, int flags)
{
	rc_fdtable_close_range(first, last, rc_fdtable_close_handle);
	return rc_next_close_range(first, last, flags);
}

/* As close_range, but what is ours stays. */
static int close_between(unsigned first, unsigned last, int flags)
{
	unsigned from = first;
	int result = 0;

	if ((flags & CLOSE_RANGE_CLOEXEC) || first > last)
		return rc_next_close_range(first, last, flags);
	for (unsigned fd = first; fd <= last && !result; fd++) {
		int next = fd > INT_MAX ? -1 : next_protected((int)fd);

		if (next < 0 || (unsigned)next > last)
			break;
		if ((unsigned)next > from)
			result = close_between_ours(from, (unsigned)next - 1, flags);
		fd = (unsigned)next;
		from = fd + 1;
	}
	return !result && from <= last ? close_between_ours(from, last, flags) : result;
}

RC_EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	return rc_ready() ? close_between(first, last, flags) : rc_pass_close_range()(first, last, flags);
}

RC_EXPORT void closefrom(int first)
{
	if (!rc_ready())
		rc_pass_closefrom()(first);
	else if (close_between(first < 0 ? 0 : (unsigned)first, UINT_MAX, 0) < 0)
		for (int fd = first < 0 ? 0 : first; fd < 65536; fd++)	/* a kernel without close_range */
			if (!protected(fd))
				rc_sys_close(fd);
}

/* --------------------------------------------------------------------------------------- dup, fcntl, ioctl */

/* A number has come to stand for what fd stands for: count it, where it's remote. */
static int duplicated(int fd, int made)
{
	if (made >= 0 && rc_fdtable_get(fd)) {
		rc_fdtable_forget(made);
		rc_fdtable_get(made);
	}
	return made;
}

RC_EXPORT int dup(int fd)
{
	return rc_ready() ? duplicated(fd, rc_next_dup(fd)) : rc_pass_dup()(fd);
}

/* What `to` stood for is closed by it, and at no moment is it nothing: another thread may read it. */
static int replace(int fd, int to, int flags, int (*next)(int, int, int))
{
	struct rc_description *before;
	int made;

	if (to >= 0 && protected(to)) {
		errno = EBADF;
		return -1;
	}
	if (fd == to || rc_sys_fcntl(fd, F_GETFD, 0) < 0)
		return next(fd, to, flags);
	before = rc_fdtable_pin(to);
	made = next(fd, to, flags);
	if (made >= 0)
		rc_fdtable_replaced(to, before);
	if (before)
		rc_fdtable_unpin(before);
	return duplicated(fd, made);
}

static int next_dup2(int fd, int to, int flags)
{
	(void)flags;
	return rc_next_dup2(fd, to);
}

static int next_dup3(int fd, int to, int flags)
{
	return rc_next_dup3(fd, to, flags);
}

RC_EXPORT int dup2(int fd, int to)
{
	return rc_ready() ? replace(fd, to, 0, next_dup2) : rc_pass_dup2()(fd, to);
}

RC_EXPORT int __dup2(int fd, int to)
{
	return rc_ready() ? replace(fd, to, 0, next_dup2) : rc_pass___dup2()(fd, to);
}

RC_EXPORT int dup3(int fd, int to, int flags)
{
	return rc_ready() ? replace(fd, to, flags, next_dup3) : rc_pass_dup3()(fd, to, flags);
}

#define LOCK(function, form) \
	static int function(struct rc_description *d, int fd, bool query, bool wait, void *argument) \
	{ \
		struct rc_flock lock; \
		form given; \
		int result; \
		rc_debug("fcntl() lock on remote fd %d", fd); \
		if (rc_copy_in(&given, argument, sizeof given) < 0) \
			return -EFAULT; \
		lock = (struct rc_flock){ given.l_type, given.l_whence, given.l_start, given.l_len, given.l_pid }; \
		result = rc_lock_range(d, fd, query, wait, &lock); \
		if (result || !query) \
			return result; \
		given.l_type = (short)lock.type; \
		given.l_whence = (short)lock.whence; \
		given.l_start = (__typeof__(given.l_start))lock.start; \
		given.l_len = (__typeof__(given.l_len))lock.length; \
		given.l_pid = lock.pid; \
		if (given.l_start != lock.start || given.l_len != lock.length) \
			return -EOVERFLOW; \
		return rc_copy_out(argument, &given, sizeof given); \
	}
#ifdef __GLIBC__
LOCK(lock_wide, struct flock64)
#else
LOCK(lock_wide, struct flock)
#endif
#if F_GETLK64 != F_GETLK
LOCK(lock_narrow, struct flock)
#endif

int rc_remote_lockf(struct rc_description *d, int fd, int command, int64_t length)
{
	struct rc_flock lock = { command == F_ULOCK ? F_UNLCK : F_WRLCK, SEEK_CUR, 0, length, 0 };

	rc_debug("lockf() on remote fd %d", fd);
	if (command == F_TEST) {
		int result = rc_lock_range(d, fd, true, false, &lock);

		return result ? result : lock.type == F_UNLCK ? 0 : -EACCES;
	}
	if (command != F_ULOCK && command != F_LOCK && command != F_TLOCK)
		return -EINVAL;
	return rc_lock_range(d, fd, false, command == F_LOCK, &lock);
}

int rc_remote_flock(struct rc_description *d, int fd, int operation)
{
	rc_debug("flock() on remote fd %d", fd);
	return rc_lock_whole(d, operation);
}

/* What the kernel answers right for a placeholder is asked of it; -ENOSYS then means that. */
static int64_t remote_fcntl(struct rc_description *d, int fd, int command, long argument)
{
	int result;

	if (!rc_description_fcntl_allowed(d, command))
		return -EBADF;
	switch (command) {
	case F_GETFD:
	case F_SETFD:
	case F_GETFL:
	case F_GETOWN:
	case F_SETOWN:
	case F_GETSIG:
	case F_SETSIG:
	case F_GETOWN_EX:
	case F_SETOWN_EX:
		return rc_sys_fcntl(fd, command, argument);
	case F_DUPFD:
	case F_DUPFD_CLOEXEC:
		return duplicated(fd, rc_sys_fcntl(fd, command, argument));
	case F_SETFL:
		result = rc_sys_fcntl(fd, command, argument & ~O_DIRECT);
		if (result < 0 || d->kind != RC_KIND_STREAM)
			return result;		/* a regular file's flags change nothing on the server */
		return rc_call_set_flags(d->handle, (int)argument);
#if F_GETLK64 != F_GETLK
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
		return lock_narrow(d, fd, command == F_GETLK, command == F_SETLKW, (void *)argument);
#endif
	case F_GETLK64:
	case F_SETLK64:
	case F_SETLKW64:
		return lock_wide(d, fd, command == F_GETLK64, command == F_SETLKW64, (void *)argument);
#ifdef F_OFD_GETLK
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return lock_wide(d, fd, command == F_OFD_GETLK, command == F_OFD_SETLKW, (void *)argument);
#endif
	default:
		result = rc_description_fcntl(d, command, argument);
		return result < 0 ? rc_refuse("fcntl", fd, result) : result;
	}
}

#define FCNTL(name) \
	RC_EXPORT int name(int fd, int command, ...) \
	{ \
		struct rc_description *d; \
		va_list arguments; \
		long argument; \
		va_start(arguments, command); \
		argument = va_arg(arguments, long); \
		va_end(arguments); \
		if (!rc_ready()) \
			return rc_pass_##name()(fd, command, argument); \
		d = rc_fdtable_pin(fd); \
		if (d) \
			return (int)rc_finish(RC_SPAN_ON("fcntl", fd, d, remote_fcntl(d, fd, command, argument))); \
		rc_count_local(); \
		return rc_next_##name(fd, command, argument); \
	}
FCNTL(fcntl)
#ifdef __GLIBC__
FCNTL(fcntl64)
FCNTL(__fcntl)
#endif
#ifdef RC_HAVE_TIME64
FCNTL(__fcntl_time64)
#endif

int rc_remote_ioctl(struct rc_description *d, int fd, unsigned long request, void *argument)
{
	uint8_t value[RC_IOCTL_MAX];
	ssize_t got;
	int on = 0, flags;

	rc_debug("ioctl() %lx on remote fd %d", request, fd);
	switch (request) {
	case FIOCLEX:
	case FIONCLEX:
		return rc_sys_fcntl(fd, F_SETFD, request == FIOCLEX ? FD_CLOEXEC : 0);
	case FIONBIO:
		if (rc_copy_in(&on, argument, sizeof on) < 0)
			return -EFAULT;
		flags = rc_sys_fcntl(fd, F_GETFL, 0);
		return (int)remote_fcntl(d, fd, F_SETFL, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
	}
	if (request == FIONREAD && d->kind == RC_KIND_WATCH) {
		on = rc_notify_waiting(d->handle);
		return on < 0 ? on : rc_copy_out(argument, &on, sizeof on);
	}
	got = rc_description_ioctl(d, fd, request, value);
	return got < 0 ? (int)got : rc_copy_out(argument, value, (size_t)got);
}

#define IOCTL(name) \
	RC_EXPORT int name(int fd, rc_ioctl_request request, ...) \
	{ \
		struct rc_description *d; \
		va_list arguments; \
		void *argument; \
		va_start(arguments, request); \
		argument = va_arg(arguments, void *); \
		va_end(arguments); \
		if (!rc_ready()) \
			return rc_pass_##name()(fd, request, argument); \
		d = rc_fdtable_pin(fd); \
		if (d) \
			return (int)rc_finish(RC_SPAN_ON("ioctl", fd, d, rc_remote_ioctl(d, fd, request, argument))); \
		rc_count_local(); \
		return rc_raw ? (int)rc_finish(RC_SYS(SYS_ioctl, fd, request, argument, 0, 0, 0)) \
			      : rc_next_##name(fd, request, argument); \
	}
IOCTL(ioctl)
#ifdef RC_HAVE_TIME64
IOCTL(__ioctl_time64)
#endif

#define POSIX_FALLOCATE(name, offset_type) \
	RC_EXPORT int name(int fd, offset_type offset, offset_type length) \
	{ \
		struct rc_description *d; \
		if (!rc_ready()) \
			return rc_pass_##name()(fd, offset, length); \
		d = rc_fdtable_pin(fd); \
		if (d) \
			return (int)-RC_SPAN_ON(#name, fd, d, rc_refuse("posix_fallocate", fd, -EBADF)); \
		rc_count_local(); \
		return rc_next_##name(fd, offset, length); \
	}
POSIX_FALLOCATE(posix_fallocate, off_t)
#ifdef __GLIBC__
POSIX_FALLOCATE(posix_fallocate64, off64_t)
#endif

/* ------------------------------------------------------------------------ copies inside the kernel, mappings */

enum { COPY_ROOM = 256 * 1024, PIPE_FULL = 65536 };

/* Offsets in the program's memory, as they come and go; `is_pipe`: no more than fits. */
static ssize_t copy_out(const char *call, struct rc_description *d, int in, off64_t *in_offset, int out, off64_t *out_offset,
			size_t count, bool is_pipe)
{
	int64_t from = 0, to = 0;
	struct rc_identity identity;
	ssize_t result;
	void *room;

	rc_debug("%s() on remote fd %d", call, in);
	if (rc_fdtable_get(out))
		return rc_refuse(call, out, -EBADF);
	if ((in_offset && rc_copy_in(&from, in_offset, sizeof from) < 0) ||
	    (out_offset && rc_copy_in(&to, out_offset, sizeof to) < 0))
		return -EFAULT;
	if (from < 0 || to < 0 || (ssize_t)count < 0 || d->kind == RC_KIND_DIRECTORY ||
	    (is_pipe && (rc_sys_identity(out, &identity) < 0 || !S_ISFIFO(identity.mode))))
		return -EINVAL;
	room = rc_sys_map(COPY_ROOM);
	if (!room)
		return -ENOMEM;
	result = rc_copy_file(d, in, in_offset ? &from : NULL, out, out_offset ? &to : NULL, !strcmp(call, "sendfile"),
			      is_pipe && count > PIPE_FULL ? PIPE_FULL : count, room, COPY_ROOM);
	RC_SYS(SYS_munmap, room, COPY_ROOM, 0, 0, 0, 0);
	if (result >= 0 && ((in_offset && rc_copy_out(in_offset, &from, sizeof from) < 0) ||
			    (out_offset && rc_copy_out(out_offset, &to, sizeof to) < 0)))
		return -EFAULT;
	return result;
}

static ssize_t copy_remote(const char *call, struct rc_description *d, int in, off64_t *in_offset, int out, off64_t *out_offset,
			   size_t count, bool is_pipe)
{
	return (ssize_t)RC_SPAN_ON(call, in, d, copy_out(call, d, in, in_offset, out, out_offset, count, is_pipe));
}

RC_EXPORT ssize_t sendfile(int out, int in, off_t *offset, size_t count)
{
	struct rc_description *d;
	off64_t wide = 0;
	off_t narrow = 0;
	ssize_t result;

	if (!rc_ready())
		return rc_pass_sendfile()(out, in, offset, count);
	d = rc_fdtable_pin(in);
	if (!d) {
		rc_count_local();
		return rc_next_sendfile(out, in, offset, count);
	}
	if (offset && rc_copy_in(&narrow, offset, sizeof narrow) < 0) {
		rc_fdtable_unpin(d);
		return rc_finish(-EFAULT);
	}
	wide = narrow;
	result = copy_remote("sendfile", d, in, offset ? &wide : NULL, out, NULL, count, false);
	narrow = (off_t)wide;
	if (result >= 0 && offset && rc_copy_out(offset, &narrow, sizeof narrow) < 0)
		result = -EFAULT;
	return rc_finish(result);
}

#ifdef __GLIBC__
RC_EXPORT ssize_t sendfile64(int out, int in, off64_t *offset, size_t count)
{
	struct rc_description *d;

	if (!rc_ready())
		return rc_pass_sendfile64()(out, in, offset, count);
	d = rc_fdtable_pin(in);
	if (d)
		return rc_finish(copy_remote("sendfile", d, in, offset, out, NULL, count, false));
	rc_count_local();
	return rc_next_sendfile64(out, in, offset, count);
}
#endif

#define COPY(name, is_pipe) \
	RC_EXPORT ssize_t name(int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags) \
	{ \
		struct rc_description *d; \
		if (!rc_ready()) \
			return rc_pass_##name()(in, in_offset, out, out_offset, count, flags); \
		d = rc_fdtable_pin(in); \
		if (d) \
			return rc_finish(copy_remote(#name, d, in, in_offset, out, out_offset, count, is_pipe)); \
		rc_count_local(); \
		return rc_next_##name(in, in_offset, out, out_offset, count, flags); \
	}
COPY(splice, true)
COPY(copy_file_range, false)

static _Atomic bool mapped;		/* whether there ever was a mapping of one of ours */

static int prepare(struct rc_description *d, int fd, size_t length, int protection, int flags, int64_t offset)
{
	int bad;

	rc_debug("mmap() on remote fd %d", fd);
	atomic_store_explicit(&mapped, true, memory_order_relaxed);
	bad = rc_mapping_prepare(d, fd, length, protection, flags, offset);
	if (bad || !rc_mapping_paged(fd))
		return bad ? rc_refuse("mmap", fd, bad) : 0;
	rc_share(fd);		/* its last descriptor's end isn't the end of it */
	return 1;
}

int rc_prepare_mapping(int fd, size_t length, int protection, int flags, int64_t offset)
{
	struct rc_description *d = flags & MAP_ANONYMOUS || fd < 0 ? NULL : rc_fdtable_pin(fd);

	if (d)
		return (int)RC_SPAN_ON("mmap", fd, d, prepare(d, fd, length, protection, flags, offset));
	if (!(flags & MAP_ANONYMOUS))
		rc_count_local();
	return 0;
}

#if RC_HAVE_RAW
#define RAW_MMAP(...) (void *)(intptr_t)rc_finish(RC_SYS(SYS_mmap, __VA_ARGS__))
#else
#define RAW_MMAP(...) MAP_FAILED
#endif

#define MMAP(name, offset_type) \
	RC_EXPORT void *name(void *at, size_t length, int protection, int flags, int fd, offset_type offset) \
	{ \
		int done; \
		if (!rc_ready()) \
			return rc_pass_##name()(at, length, protection, flags, fd, offset); \
		done = rc_prepare_mapping(fd, length, protection, flags, offset); \
		if (rc_finish(done) < 0) \
			return MAP_FAILED; \
		return done && rc_raw ? RAW_MMAP(at, length, protection, flags, fd, offset) \
				      : rc_next_##name(at, length, protection, flags, fd, offset); \
	}
MMAP(mmap, off_t)
#ifdef __GLIBC__
MMAP(mmap64, off64_t)
#endif

/* Before a mapping grows: what it will cover must be there.  1: it's one of ours; 0: it isn't; ENOMEM: ours, and closed. */
static int grow_mapping(const void *at, size_t size)
{
	struct rc_placeholder p;
	int64_t offset;

	if (!rc_mapping_at(0, (uintptr_t)at, &p, &offset))
		return 0;
	if (p.paged)
		return 1;
	for (int fd = 0; fd < RC_FDTABLE_DIRECT; fd++) {
		uintptr_t entry = atomic_load_explicit(&rc_fdtable_direct[fd], memory_order_relaxed);
		struct rc_description *d = entry > RC_FD_LOCAL ? (struct rc_description *)entry : NULL;
		bool ours;
		int bad = 0;

		if (!d || d->ino != p.ino || !(d = rc_fdtable_pin(fd)))
			continue;
		ours = d->ino == p.ino;
		if (ours)
			bad = prepare(d, fd, size, PROT_READ, MAP_PRIVATE, offset);
		rc_fdtable_unpin(d);
		if (ours)
			return bad < 0 ? bad : 1;
	}
	return rc_refuse("mremap", -1, -ENOMEM);
}

RC_EXPORT void *mremap(void *at, size_t size, size_t new_size, int flags, ...)
{
	va_list arguments;
	void *to;
	int ours = 0;

	va_start(arguments, flags);
	to = va_arg(arguments, void *);
	va_end(arguments);
	if (!rc_ready())
		return rc_pass_mremap()(at, size, new_size, flags, to);
	if (new_size > size && atomic_load_explicit(&mapped, memory_order_relaxed))
		ours = grow_mapping(at, new_size);
	if (rc_finish(ours) < 0)
		return MAP_FAILED;
	return ours ? (void *)(intptr_t)rc_finish(RC_SYS(SYS_mremap, at, size, new_size, flags, to, 0))
		    : rc_next_mremap(at, size, new_size, flags, to);
}
