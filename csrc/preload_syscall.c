/* SPDX-License-Identifier: MIT
 *
 * syscall(2): the same calls by number.  Each goes to the wrapper of its name, so that nothing is decided twice.
 * On 32-bit machines those that split an offset over two arguments are refused for a placeholder.
 */
#include "preload.h"

#include <sched.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/sendfile.h>
#include <sys/swap.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "protocol.h"
#include "transport.h"

int pivot_root(const char *path, const char *old);
int fanotify_mark(int group, unsigned flags, uint64_t mask, int dirfd, const char *path);
/* glibc declares these since 2.34, musl the others only since lately. */
int close_range(unsigned first, unsigned last, int flags);
int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags);
#ifndef __GLIBC__
int statx(int dirfd, const char *path, int flags, unsigned mask, struct statx *st);
int renameat2(int old_dirfd, const char *old, int to_dirfd, const char *to, unsigned flags);
ssize_t preadv2(int fd, const struct iovec *parts, int count, off_t offset, int flags);
#endif

/* linux/openat2.h isn't everywhere. */
struct open_how_v0 {
	uint64_t flags, mode, resolve;
};

static int64_t open_by_how(int dirfd, const char *path, const void *how, size_t size, bool *local)
{
	struct open_how_v0 copy;
	struct rc_target t;
	int side;

	*local = size < sizeof copy || size > 4096 || rc_copy_in(&copy, how, sizeof copy) < 0;
	if (*local)
		return 0;
	side = rc_locate(dirfd, path, copy.flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0, &t);
	*local = side == 0;
	return side != 1 ? side : RC_SPAN("openat2", t.given, -1, t.at.directory,
					  rc_remote_open(&t, (int)copy.flags, (unsigned)copy.mode, copy.resolve));
}

/* A remote descriptor among those that io_submit(2) is to use; -1. */
static int submitted(const void *requests, long count)
{
	enum { DESCRIPTOR_AT = 20, MOST = 1024 };	/* in struct iocb */
	const char *request;
	int fd;

	for (long i = 0; i < count && i < MOST; i++) {
		if (rc_copy_in(&request, (const char *)requests + (size_t)i * sizeof request, sizeof request) < 0 ||
		    rc_copy_in(&fd, request + DESCRIPTOR_AT, sizeof fd) < 0)
			break;
		if (rc_fdtable_get(fd))
			return fd;
	}
	return -1;
}

static long after_fork(long child)
{
	if (child == 0)
		rc_in_child();
	return child;
}

#define TEXT(i) ((const char *)a[i])
#define AT(i) ((void *)a[i])
#define INT(i) ((int)a[i])

#define REFUSE_FD(fd, error) \
	refused = fd; \
	if (rc_fdtable_get(refused)) \
		return (long)rc_finish(RC_SPAN("syscall", NULL, refused, RC_NO_HANDLE, rc_refuse("syscall", refused, error))); \
	break

RC_EXPORT long syscall(long number, ...)
{
	va_list arguments;
	struct rc_target t;
	bool local;
	int refused;
	int64_t result;
	uint64_t flags;
	long a[6];

	va_start(arguments, number);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(arguments, long);
	va_end(arguments);
	if (!rc_ready())
		return rc_pass_syscall()(number, a[0], a[1], a[2], a[3], a[4], a[5]);
	switch (number) {
#ifdef SYS_open
	case SYS_open: return open(TEXT(0), INT(1), (mode_t)a[2]);
	case SYS_creat: return creat(TEXT(0), (mode_t)a[1]);
	case SYS_access: return access(TEXT(0), INT(1));
	case SYS_readlink: return readlink(TEXT(0), AT(1), (size_t)a[2]);
	case SYS_dup2: return dup2(INT(0), INT(1));
	case SYS_unlink: return unlink(TEXT(0));
	case SYS_rmdir: return rmdir(TEXT(0));
	case SYS_mkdir: return mkdir(TEXT(0), (mode_t)a[1]);
	case SYS_rename: return rename(TEXT(0), TEXT(1));
	case SYS_link: return link(TEXT(0), TEXT(1));
	case SYS_symlink: return symlink(TEXT(0), TEXT(1));
	case SYS_chmod: return chmod(TEXT(0), (mode_t)a[1]);
	case SYS_chown: return chown(TEXT(0), (uid_t)a[1], (gid_t)a[2]);
	case SYS_lchown: return lchown(TEXT(0), (uid_t)a[1], (gid_t)a[2]);
	case SYS_mknod: return mknod(TEXT(0), (mode_t)a[1], (dev_t)a[2]);
	case SYS_poll: return poll(AT(0), (nfds_t)a[1], INT(2));
	case SYS_getdents:
		REFUSE_FD(INT(0), -ENOSYS);
	case SYS_fork:
		rc_share_all(false);
		return after_fork(rc_next_syscall(number));
#endif
	case SYS_openat: return openat(INT(0), TEXT(1), INT(2), (mode_t)a[3]);
	case SYS_openat2:
		result = open_by_how(INT(0), TEXT(1), AT(2), (size_t)a[3], &local);
		if (!local)
			return (long)rc_finish(result);
		break;
	case SYS_read: return read(INT(0), AT(1), (size_t)a[2]);
	case SYS_write: return write(INT(0), AT(1), (size_t)a[2]);
	case SYS_readv: return readv(INT(0), AT(1), INT(2));
	case SYS_writev: return writev(INT(0), AT(1), INT(2));
	case SYS_close: return close(INT(0));
	case SYS_close_range: return close_range((unsigned)a[0], (unsigned)a[1], INT(2));
	case SYS_dup: return dup(INT(0));
	case SYS_dup3: return dup3(INT(0), INT(1), INT(2));
	case SYS_fcntl: return fcntl(INT(0), INT(1), a[2]);
#ifdef SYS_fcntl64
	case SYS_fcntl64: return fcntl(INT(0), INT(1), a[2]);
#endif
	case SYS_ioctl: return ioctl(INT(0), (unsigned long)a[1], AT(2));
	case SYS_statx: return statx(INT(0), TEXT(1), INT(2), (unsigned)a[3], AT(4));
	case SYS_faccessat: return faccessat(INT(0), TEXT(1), INT(2), 0);
	case SYS_faccessat2: return faccessat(INT(0), TEXT(1), INT(2), INT(3));
	case SYS_getxattr: return getxattr(TEXT(0), TEXT(1), AT(2), (size_t)a[3]);
	case SYS_lgetxattr: return lgetxattr(TEXT(0), TEXT(1), AT(2), (size_t)a[3]);
	case SYS_fgetxattr: return fgetxattr(INT(0), TEXT(1), AT(2), (size_t)a[3]);
	case SYS_listxattr: return listxattr(TEXT(0), AT(1), (size_t)a[2]);
	case SYS_llistxattr: return llistxattr(TEXT(0), AT(1), (size_t)a[2]);
	case SYS_flistxattr: return flistxattr(INT(0), AT(1), (size_t)a[2]);
	case SYS_readlinkat: return readlinkat(INT(0), TEXT(1), AT(2), (size_t)a[3]);
	case SYS_unlinkat: return unlinkat(INT(0), TEXT(1), INT(2));
	case SYS_mkdirat: return mkdirat(INT(0), TEXT(1), (mode_t)a[2]);
	case SYS_symlinkat: return symlinkat(TEXT(0), INT(1), TEXT(2));
	case SYS_linkat: return linkat(INT(0), TEXT(1), INT(2), TEXT(3), INT(4));
#ifdef SYS_renameat
	case SYS_renameat: return renameat(INT(0), TEXT(1), INT(2), TEXT(3));
#endif
	case SYS_renameat2: return renameat2(INT(0), TEXT(1), INT(2), TEXT(3), (unsigned)a[4]);
	case SYS_fchmodat: return fchmodat(INT(0), TEXT(1), (mode_t)a[2], 0);
	case SYS_fchmodat2: return fchmodat(INT(0), TEXT(1), (mode_t)a[2], INT(3));
	case SYS_fchmod: return fchmod(INT(0), (mode_t)a[1]);
	case SYS_fchown: return fchown(INT(0), (uid_t)a[1], (gid_t)a[2]);
	case SYS_fchownat: return fchownat(INT(0), TEXT(1), (uid_t)a[2], (gid_t)a[3], INT(4));
	case SYS_mknodat: return mknodat(INT(0), TEXT(1), (mode_t)a[2], (dev_t)a[3]);
	case SYS_setxattr: return setxattr(TEXT(0), TEXT(1), AT(2), (size_t)a[3], INT(4));
	case SYS_lsetxattr: return lsetxattr(TEXT(0), TEXT(1), AT(2), (size_t)a[3], INT(4));
	case SYS_fsetxattr: return fsetxattr(INT(0), TEXT(1), AT(2), (size_t)a[3], INT(4));
	case SYS_removexattr: return removexattr(TEXT(0), TEXT(1));
	case SYS_lremovexattr: return lremovexattr(TEXT(0), TEXT(1));
	case SYS_fremovexattr: return fremovexattr(INT(0), TEXT(1));
	case SYS_fdatasync: return fdatasync(INT(0));
	case SYS_syncfs: return syncfs(INT(0));
	case SYS_mremap: return (long)mremap(AT(0), (size_t)a[1], (size_t)a[2], INT(3), AT(4));
	case SYS_inotify_add_watch: return inotify_add_watch(INT(0), TEXT(1), (uint32_t)a[2]);
	case SYS_inotify_rm_watch: return inotify_rm_watch(INT(0), INT(1));
	case SYS_getcwd:	/* its length */
		if (!rc_cwd() || !a[0])
			break;
		return getcwd(AT(0), (size_t)a[1]) ? (long)strlen(AT(0)) + 1 : -1;
	case SYS_chroot: return chroot(TEXT(0));
	case SYS_mount: return mount(TEXT(0), TEXT(1), TEXT(2), (unsigned long)a[3], AT(4));
	case SYS_umount2: return umount2(TEXT(0), INT(1));
	case SYS_pivot_root: return pivot_root(TEXT(0), TEXT(1));
	case SYS_swapon: return swapon(TEXT(0), INT(1));
	case SYS_swapoff: return swapoff(TEXT(0));
	case SYS_acct: return acct(TEXT(0));
	case SYS_quotactl: return quotactl(INT(0), TEXT(1), INT(2), AT(3));
#ifdef __GLIBC__
	case SYS_name_to_handle_at: return name_to_handle_at(INT(0), TEXT(1), AT(2), AT(3), INT(4));
	case SYS_open_by_handle_at: return open_by_handle_at(INT(0), AT(1), INT(2));
	case SYS_open_tree:
	case SYS_fspick:
	case SYS_mount_setattr:
		if (rc_locate(INT(0), TEXT(1), AT_EMPTY_PATH, &t) == 1)
			return (long)rc_finish(rc_refuse_path("syscall", &t, number == SYS_open_tree ? -ENOSYS : -EINVAL));
		break;
	case SYS_move_mount:
		if (rc_locate(INT(0), TEXT(1), AT_EMPTY_PATH, &t) == 1 || rc_locate(INT(2), TEXT(3), AT_EMPTY_PATH, &t) == 1)
			return (long)rc_finish(rc_refuse_path("syscall", &t, -ENOSYS));
		break;
#endif
	case SYS_landlock_restrict_self:	/* which may forbid to connect later (xz) */
		rc_transport_answers();
		break;
	case SYS_io_submit:
		REFUSE_FD(submitted(AT(2), a[1]), -EINVAL);
	case SYS_cachestat:
		REFUSE_FD(INT(0), -EOPNOTSUPP);
	case SYS_chdir: return chdir(TEXT(0));
	case SYS_fchdir: return fchdir(INT(0));
	case SYS_getdents64: return getdents64(INT(0), AT(1), (size_t)a[2]);
	case SYS_sendmsg: return sendmsg(INT(0), AT(1), INT(2));
	case SYS_recvmsg: return recvmsg(INT(0), AT(1), INT(2));
	case SYS_execve: return execve(TEXT(0), AT(1), AT(2));
	case SYS_execveat: return execveat(INT(0), TEXT(1), AT(2), AT(3), INT(4));
	case SYS_copy_file_range:
		return copy_file_range(INT(0), AT(1), INT(2), AT(3), (size_t)a[4], (unsigned)a[5]);
	case SYS_splice: return splice(INT(0), AT(1), INT(2), AT(3), (size_t)a[4], (unsigned)a[5]);
	case SYS_epoll_ctl: return epoll_ctl(INT(0), INT(1), INT(2), AT(3));
#ifdef SYS_epoll_wait
	case SYS_epoll_wait: return epoll_wait(INT(0), AT(1), INT(2), INT(3));
#endif
	case SYS_flock: return flock(INT(0), INT(1));
	case SYS_fsync: return fsync(INT(0));
	case SYS_clone:		/* the flags come first except where they don't matter to us */
		if (a[0] & CLONE_VM)
			break;
		rc_share_all(false);
		return after_fork(rc_next_syscall(number, a[0], a[1], a[2], a[3], a[4]));
	case SYS_clone3:	/* the flags are first in its struct */
		if (rc_copy_in(&flags, AT(0), sizeof flags) < 0 || flags & CLONE_VM)
			break;
		rc_share_all(false);
		return after_fork(rc_next_syscall(number, a[0], a[1]));
#if __SIZEOF_LONG__ == 8
	case SYS_fstat: return fstat(INT(0), AT(1));
#ifdef SYS_stat
	case SYS_stat: return stat(TEXT(0), AT(1));
	case SYS_lstat: return lstat(TEXT(0), AT(1));
#endif
#ifdef SYS_newfstatat
	case SYS_newfstatat: return fstatat(INT(0), TEXT(1), AT(2), INT(3));
#endif
	case SYS_statfs: return statfs(TEXT(0), AT(1));
	case SYS_fstatfs: return fstatfs(INT(0), AT(1));
	case SYS_utimensat:	/* libc refuses a descriptor without a path, which the kernel takes */
		if (!a[1] && rc_fdtable_get(INT(0)))
			return futimens(INT(0), AT(2));
		if (!a[1])
			break;
		return utimensat(INT(0), TEXT(1), AT(2), INT(3));
#ifdef SYS_utime
	case SYS_utime: return utime(TEXT(0), AT(1));
	case SYS_utimes: return utimes(TEXT(0), AT(1));
	case SYS_futimesat:
		if (!a[1] && rc_fdtable_get(INT(0)))
			return futimes(INT(0), AT(2));
		if (!a[1])
			break;
		return futimesat(INT(0), TEXT(1), AT(2));
#endif
#ifdef SYS_select
	case SYS_select: return select(INT(0), AT(1), AT(2), AT(3), AT(4));
#endif
	case SYS_ppoll:
		if (a[3])	/* a mask of the kernel's size */
			break;
		return ppoll(AT(0), (nfds_t)a[1], AT(2), NULL);
	case SYS_fadvise64: return (long)rc_finish(-posix_fadvise(INT(0), a[1], a[2], INT(3)));
	case SYS_readahead: return readahead(INT(0), a[1], (size_t)a[2]);
#ifdef __GLIBC__
	case SYS_fanotify_mark: return fanotify_mark(INT(0), (unsigned)a[1], (uint64_t)a[2], INT(3), TEXT(4));
#endif
	case SYS_lseek: return lseek(INT(0), a[1], INT(2));
	case SYS_pread64: return pread(INT(0), AT(1), (size_t)a[2], a[3]);
	case SYS_pwrite64: return pwrite(INT(0), AT(1), (size_t)a[2], a[3]);
	case SYS_preadv: return preadv(INT(0), AT(1), INT(2), a[3]);
	case SYS_preadv2: return preadv2(INT(0), AT(1), INT(2), a[3], INT(5));
	case SYS_ftruncate: return ftruncate(INT(0), a[1]);
	case SYS_truncate: return truncate(TEXT(0), a[1]);
	case SYS_sendfile: return sendfile(INT(0), INT(1), AT(2), (size_t)a[3]);
	case SYS_mmap:		/* not by way of mmap(): tcmalloc's, which may be the next one, is made of this */
		if (rc_finish(rc_prepare_mapping(INT(4), (size_t)a[1], INT(2), INT(3), a[5])) < 0)
			return -1;
		break;
#else
	case SYS_statfs64: return statfs64(TEXT(0), AT(2));
	case SYS_fstatfs64: return fstatfs64(INT(0), AT(2));
	case SYS_stat64: return stat64(TEXT(0), AT(1));
	case SYS_lstat64: return lstat64(TEXT(0), AT(1));
	case SYS_fstat64: return fstat64(INT(0), AT(1));
	case SYS_fstatat64: return fstatat64(INT(0), TEXT(1), AT(2), INT(3));
	case SYS_pread64:
	case SYS_pwrite64:
	case SYS_preadv:
	case SYS_preadv2:
	case SYS__llseek:
	case SYS_lseek:
		REFUSE_FD(INT(0), -ENOSYS);
#endif
	}
	return rc_next_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
