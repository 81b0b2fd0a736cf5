/* SPDX-License-Identifier: MIT
 *
 * The table: one row per wrapped libc function.  Included several times with these macros defined:
 *
 *   FD(type, name, params, args, fd, remote)
 *       `remote` where fd is a placeholder (`d` is its description), else the next definition.
 *   PATH(type, name, params, args, dirfd, path, flags, remote)
 *       `remote` where the path is remote (`t` is its rc_target), else the next definition.
 *   RAW_PATH(…, flags, raw, remote)
 *       the same; under a supervisor the local call is the system call `raw`, made through the stub page.
 *   RAW_FD(…, fd, where, raw, remote)
 *       the same for a local descriptor, where `where` holds.
 *   OWN(type, name, params)
 *       written out, because it is variadic, has several descriptors or paths, or changes what a number means.
 *
 * No include guard: a list.  An alias is a row.
 */

/* ------------------------------------------------------------------------------------------- open and close */
OWN(int, open, (const char *path, int flags, ...))
OWN(int, openat, (int dirfd, const char *path, int flags, ...))
PATH(int, creat, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 0,
     rc_remote_open(&t, O_CREAT | O_WRONLY | O_TRUNC, mode, 0))
PATH(int, __open_2, (const char *path, int flags), (path, flags), AT_FDCWD, path, RC_OPEN_AT(flags),
     rc_remote_open(&t, flags, 0, 0))
PATH(int, __openat_2, (int dirfd, const char *path, int flags), (dirfd, path, flags), dirfd, path, RC_OPEN_AT(flags),
     rc_remote_open(&t, flags, 0, 0))
OWN(int, close, (int fd))
OWN(int, __close, (int fd))
OWN(int, close_range, (unsigned first, unsigned last, int flags))
OWN(void, closefrom, (int first))
#ifdef __GLIBC__
OWN(int, open64, (const char *path, int flags, ...))
OWN(int, openat64, (int dirfd, const char *path, int flags, ...))
OWN(int, __open, (const char *path, int flags, ...))
OWN(int, __open64, (const char *path, int flags, ...))
PATH(int, creat64, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 0,
     rc_remote_open(&t, O_CREAT | O_WRONLY | O_TRUNC | RC_LARGE, mode, 0))
PATH(int, __open64_2, (const char *path, int flags), (path, flags), AT_FDCWD, path, RC_OPEN_AT(flags),
     rc_remote_open(&t, flags | RC_LARGE, 0, 0))
PATH(int, __openat64_2, (int dirfd, const char *path, int flags), (dirfd, path, flags), dirfd, path, RC_OPEN_AT(flags),
     rc_remote_open(&t, flags | RC_LARGE, 0, 0))
#endif

/* ----------------------------------------------------------------------------------------------------- read */
OWN(ssize_t, read, (int fd, void *buffer, size_t count))
OWN(ssize_t, __read, (int fd, void *buffer, size_t count))
OWN(ssize_t, __read_chk, (int fd, void *buffer, size_t count, size_t size))
OWN(ssize_t, readv, (int fd, const struct iovec *parts, int count))
RAW_FD(ssize_t, pread, (int fd, void *buffer, size_t count, off_t offset), (fd, buffer, count, offset), fd,
       rc_single_threaded(), (SYS_pread64, fd, buffer, count, offset, 0, 0),
       rc_remote_pread(d, fd, buffer, count, offset))
OWN(ssize_t, __pread_chk, (int fd, void *buffer, size_t count, off_t offset, size_t size))
FD(ssize_t, preadv, (int fd, const struct iovec *parts, int count, off_t offset), (fd, parts, count, offset), fd,
   rc_remote_preadv(d, fd, parts, count, offset))
FD(ssize_t, preadv2, (int fd, const struct iovec *parts, int count, off_t offset, int flags),
   (fd, parts, count, offset, flags), fd, rc_remote_preadv2(d, fd, parts, count, offset, flags))
RAW_FD(off_t, lseek, (int fd, off_t offset, int whence), (fd, offset, whence), fd, true,
       (SYS_lseek, fd, offset, whence, 0, 0, 0), rc_remote_lseek(d, fd, offset, whence, sizeof(off_t) < 8))
#ifdef __GLIBC__
RAW_FD(ssize_t, pread64, (int fd, void *buffer, size_t count, off64_t offset), (fd, buffer, count, offset), fd,
       rc_single_threaded(), (SYS_pread64, fd, buffer, count, offset, 0, 0),
       rc_remote_pread(d, fd, buffer, count, offset))
RAW_FD(ssize_t, __pread64, (int fd, void *buffer, size_t count, off64_t offset), (fd, buffer, count, offset), fd,
       rc_single_threaded(), (SYS_pread64, fd, buffer, count, offset, 0, 0),
       rc_remote_pread(d, fd, buffer, count, offset))
OWN(ssize_t, __pread64_chk, (int fd, void *buffer, size_t count, off64_t offset, size_t size))
FD(ssize_t, preadv64, (int fd, const struct iovec *parts, int count, off64_t offset), (fd, parts, count, offset), fd,
   rc_remote_preadv(d, fd, parts, count, offset))
FD(ssize_t, preadv64v2, (int fd, const struct iovec *parts, int count, off64_t offset, int flags),
   (fd, parts, count, offset, flags), fd, rc_remote_preadv2(d, fd, parts, count, offset, flags))
RAW_FD(off64_t, lseek64, (int fd, off64_t offset, int whence), (fd, offset, whence), fd, true,
       (SYS_lseek, fd, offset, whence, 0, 0, 0), rc_remote_lseek(d, fd, offset, whence, false))
RAW_FD(off64_t, llseek, (int fd, off64_t offset, int whence), (fd, offset, whence), fd, true,
       (SYS_lseek, fd, offset, whence, 0, 0, 0), rc_remote_lseek(d, fd, offset, whence, false))
RAW_FD(off_t, __lseek, (int fd, off_t offset, int whence), (fd, offset, whence), fd, true,
       (SYS_lseek, fd, offset, whence, 0, 0, 0), rc_remote_lseek(d, fd, offset, whence, sizeof(off_t) < 8))
#endif

/* ------------------------------------------------------------------------------- reads that go on meanwhile */
OWN(int, aio_read, (struct aiocb *cb))
OWN(int, aio_write, (struct aiocb *cb))
OWN(int, aio_fsync, (int how, struct aiocb *cb))
OWN(int, aio_cancel, (int fd, struct aiocb *cb))
OWN(int, aio_suspend, (const struct aiocb *const list[], int count, const struct timespec *timeout))
OWN(int, lio_listio, (int mode, rc_aio_list list, int count, struct sigevent *event))
#ifdef __GLIBC__
OWN(int, aio_read64, (struct aiocb64 *cb))
OWN(int, aio_write64, (struct aiocb64 *cb))
OWN(int, aio_fsync64, (int how, struct aiocb64 *cb))
OWN(int, aio_cancel64, (int fd, struct aiocb64 *cb))
OWN(int, aio_suspend64, (const struct aiocb64 *const list[], int count, const struct timespec *timeout))
OWN(int, lio_listio64, (int mode, struct aiocb64 *const list[], int count, struct sigevent *event))
#endif

/* ----------------------------------------------------------------------------------------------- attributes */
RAW_FD(int, fstat, (int fd, struct stat *st), (fd, st), fd, true, (SYS_fstat, fd, st, 0, 0, 0, 0),
       rc_remote_fstat(d, fd, rc_put_struct_stat, st))
RAW_PATH(int, stat, (const char *path, struct stat *st), (path, st), AT_FDCWD, path, 0,
	 (SYS_newfstatat, AT_FDCWD, path, st, 0, 0, 0), rc_remote_stat("stat", &t, 0, rc_put_struct_stat, st))
RAW_PATH(int, lstat, (const char *path, struct stat *st), (path, st), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
	 (SYS_newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW, 0, 0),
	 rc_remote_stat("lstat", &t, AT_SYMLINK_NOFOLLOW, rc_put_struct_stat, st))
RAW_PATH(int, fstatat, (int dirfd, const char *path, struct stat *st, int flags), (dirfd, path, st, flags), dirfd, path,
	 flags, (SYS_newfstatat, dirfd, path, st, flags, 0, 0),
	 rc_remote_stat("fstatat", &t, flags, rc_put_struct_stat, st))
RAW_PATH(int, statx, (int dirfd, const char *path, int flags, unsigned mask, struct statx *st),
	 (dirfd, path, flags, mask, st), dirfd, path, flags, (SYS_statx, dirfd, path, flags, mask, st, 0),
	 rc_remote_statx(&t, flags, mask, st))
RAW_PATH(int, access, (const char *path, int mode), (path, mode), AT_FDCWD, path, 0,
	 (SYS_faccessat, AT_FDCWD, path, mode, 0, 0, 0), rc_remote_access("access", &t, mode, 0))
PATH(int, faccessat, (int dirfd, const char *path, int mode, int flags), (dirfd, path, mode, flags), dirfd, path, flags,
     rc_remote_access("faccessat", &t, mode, flags))
OWN(key_t, ftok, (const char *path, int id))
PATH(int, euidaccess, (const char *path, int mode), (path, mode), AT_FDCWD, path, 0,
     rc_remote_access("euidaccess", &t, mode, AT_EACCESS))
PATH(int, eaccess, (const char *path, int mode), (path, mode), AT_FDCWD, path, 0,
     rc_remote_access("eaccess", &t, mode, AT_EACCESS))
#ifdef __GLIBC__
RAW_FD(int, fstat64, (int fd, struct stat64 *st), (fd, st), fd, true, (SYS_fstat, fd, st, 0, 0, 0, 0),
       rc_remote_fstat(d, fd, rc_put_struct_stat64, st))
RAW_PATH(int, stat64, (const char *path, struct stat64 *st), (path, st), AT_FDCWD, path, 0,
	 (SYS_newfstatat, AT_FDCWD, path, st, 0, 0, 0), rc_remote_stat("stat", &t, 0, rc_put_struct_stat64, st))
RAW_PATH(int, lstat64, (const char *path, struct stat64 *st), (path, st), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
	 (SYS_newfstatat, AT_FDCWD, path, st, AT_SYMLINK_NOFOLLOW, 0, 0),
	 rc_remote_stat("lstat", &t, AT_SYMLINK_NOFOLLOW, rc_put_struct_stat64, st))
RAW_PATH(int, fstatat64, (int dirfd, const char *path, struct stat64 *st, int flags), (dirfd, path, st, flags), dirfd,
	 path, flags, (SYS_newfstatat, dirfd, path, st, flags, 0, 0),
	 rc_remote_stat("fstatat", &t, flags, rc_put_struct_stat64, st))
/* The form of programs linked before glibc 2.33; `version` says which structure, and both have one today. */
FD(int, __fxstat, (int version, int fd, struct stat *st), (version, fd, st), fd,
   rc_remote_fstat(d, fd, rc_put_struct_stat, st))
FD(int, __fxstat64, (int version, int fd, struct stat64 *st), (version, fd, st), fd,
   rc_remote_fstat(d, fd, rc_put_struct_stat64, st))
PATH(int, __xstat, (int version, const char *path, struct stat *st), (version, path, st), AT_FDCWD, path, 0,
     rc_remote_stat("stat", &t, 0, rc_put_struct_stat, st))
PATH(int, __xstat64, (int version, const char *path, struct stat64 *st), (version, path, st), AT_FDCWD, path, 0,
     rc_remote_stat("stat", &t, 0, rc_put_struct_stat64, st))
PATH(int, __lxstat, (int version, const char *path, struct stat *st), (version, path, st), AT_FDCWD, path,
     AT_SYMLINK_NOFOLLOW, rc_remote_stat("lstat", &t, AT_SYMLINK_NOFOLLOW, rc_put_struct_stat, st))
PATH(int, __lxstat64, (int version, const char *path, struct stat64 *st), (version, path, st), AT_FDCWD, path,
     AT_SYMLINK_NOFOLLOW, rc_remote_stat("lstat", &t, AT_SYMLINK_NOFOLLOW, rc_put_struct_stat64, st))
PATH(int, __fxstatat, (int version, int dirfd, const char *path, struct stat *st, int flags),
     (version, dirfd, path, st, flags), dirfd, path, flags,
     rc_remote_stat("fstatat", &t, flags, rc_put_struct_stat, st))
PATH(int, __fxstatat64, (int version, int dirfd, const char *path, struct stat64 *st, int flags),
     (version, dirfd, path, st, flags), dirfd, path, flags,
     rc_remote_stat("fstatat", &t, flags, rc_put_struct_stat64, st))
#endif
PATH(ssize_t, getxattr, (const char *path, const char *name, void *value, size_t size), (path, name, value, size),
     AT_FDCWD, path, 0, rc_remote_getxattr("getxattr", &t, 0, name, value, size))
PATH(ssize_t, lgetxattr, (const char *path, const char *name, void *value, size_t size), (path, name, value, size),
     AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_remote_getxattr("lgetxattr", &t, AT_SYMLINK_NOFOLLOW, name, value, size))
FD(ssize_t, fgetxattr, (int fd, const char *name, void *value, size_t size), (fd, name, value, size), fd,
   rc_remote_fgetxattr(d, fd, name, value, size))
PATH(ssize_t, listxattr, (const char *path, char *names, size_t size), (path, names, size), AT_FDCWD, path, 0,
     rc_remote_listxattr("listxattr", &t, 0, names, size))
PATH(ssize_t, llistxattr, (const char *path, char *names, size_t size), (path, names, size), AT_FDCWD, path,
     AT_SYMLINK_NOFOLLOW, rc_remote_listxattr("llistxattr", &t, AT_SYMLINK_NOFOLLOW, names, size))
FD(ssize_t, flistxattr, (int fd, char *names, size_t size), (fd, names, size), fd,
   rc_remote_flistxattr(d, fd, names, size))
RAW_PATH(ssize_t, readlink, (const char *path, char *target, size_t size), (path, target, size), AT_FDCWD, path,
	 RC_READ_LINK, (SYS_readlinkat, AT_FDCWD, path, target, size, 0, 0),
	 rc_remote_readlink(&t, target, size))
RAW_PATH(ssize_t, readlinkat, (int dirfd, const char *path, char *target, size_t size), (dirfd, path, target, size),
	 dirfd, path, RC_READ_LINK | AT_EMPTY_PATH, (SYS_readlinkat, dirfd, path, target, size, 0, 0),
	 rc_remote_readlink(&t, target, size))
#ifdef __GLIBC__
/* The checked forms: an overflow is libc's to report. */
PATH(ssize_t, __readlink_chk, (const char *path, char *target, size_t size, size_t room), (path, target, size, room),
     AT_FDCWD, path, RC_READ_LINK,
     size > room ? rc_next___readlink_chk(path, target, size, room) : rc_remote_readlink(&t, target, size))
PATH(ssize_t, __readlinkat_chk, (int dirfd, const char *path, char *target, size_t size, size_t room),
     (dirfd, path, target, size, room), dirfd, path, RC_READ_LINK | AT_EMPTY_PATH,
     size > room ? rc_next___readlinkat_chk(dirfd, path, target, size, room) : rc_remote_readlink(&t, target, size))
#endif

/* ---------------------------------------------------------------------------------------------- descriptors */
OWN(int, dup, (int fd))
OWN(int, dup2, (int fd, int to))
OWN(int, __dup2, (int fd, int to))
OWN(int, dup3, (int fd, int to, int flags))
OWN(int, fcntl, (int fd, int command, ...))
#ifdef __GLIBC__
OWN(int, fcntl64, (int fd, int command, ...))
OWN(int, __fcntl, (int fd, int command, ...))
#endif
OWN(int, ioctl, (int fd, rc_ioctl_request request, ...))
OWN(ssize_t, sendmsg, (int fd, const struct msghdr *message, int flags))
OWN(int, sendmmsg, (int fd, struct mmsghdr *messages, unsigned count, rc_messages_flags flags))
OWN(ssize_t, recvmsg, (int fd, struct msghdr *message, int flags))
OWN(int, recvmmsg, (int fd, struct mmsghdr *messages, unsigned count, rc_messages_flags flags, struct timespec *timeout))
FD(int, flock, (int fd, int operation), (fd, operation), fd, rc_remote_flock(d, fd, operation))
FD(int, lockf, (int fd, int command, off_t length), (fd, command, length), fd,
   rc_remote_lockf(d, fd, command, length))
/* posix_fadvise returns its error. */
FD(int, posix_fadvise, (int fd, off_t offset, off_t length, int advice), (fd, offset, length, advice), fd,
   -rc_description_advise(d, offset, length, advice))
FD(ssize_t, readahead, (int fd, off64_t offset, size_t count), (fd, offset, count), fd,
   rc_description_readahead(d, offset, (int64_t)count))
#ifdef __GLIBC__
FD(int, lockf64, (int fd, int command, off64_t length), (fd, command, length), fd,
   rc_remote_lockf(d, fd, command, length))
FD(int, posix_fadvise64, (int fd, off64_t offset, off64_t length, int advice), (fd, offset, length, advice), fd,
   -rc_description_advise(d, offset, length, advice))
#endif

/* --------------------------------------------- writes to a descriptor, which was opened for reading: as Linux */
#define BAD(name) ((void)d, rc_refuse(name, fd, -EBADF))
FD(ssize_t, write, (int fd, const void *buffer, size_t count), (fd, buffer, count), fd, BAD("write"))
FD(ssize_t, __write, (int fd, const void *buffer, size_t count), (fd, buffer, count), fd, BAD("write"))
FD(ssize_t, pwrite, (int fd, const void *buffer, size_t count, off_t offset), (fd, buffer, count, offset), fd,
   BAD("pwrite"))
FD(ssize_t, writev, (int fd, const struct iovec *parts, int count), (fd, parts, count), fd, BAD("writev"))
FD(ssize_t, pwritev, (int fd, const struct iovec *parts, int count, off_t offset), (fd, parts, count, offset), fd,
   BAD("pwritev"))
FD(ssize_t, pwritev2, (int fd, const struct iovec *parts, int count, off_t offset, int flags),
   (fd, parts, count, offset, flags), fd, BAD("pwritev2"))
FD(int, ftruncate, (int fd, off_t length), (fd, length), fd, rc_refuse("ftruncate", fd, rc_description_refusal(d, -EINVAL)))
FD(int, fallocate, (int fd, int mode, off_t offset, off_t length), (fd, mode, offset, length), fd, BAD("fallocate"))
FD(int, fsync, (int fd), (fd), fd, rc_description_sync(d))
FD(int, fdatasync, (int fd), (fd), fd, rc_description_sync(d))
FD(int, syncfs, (int fd), (fd), fd, rc_description_refusal(d, 0))
FD(int, sync_file_range, (int fd, off64_t offset, off64_t length, unsigned flags), (fd, offset, length, flags), fd,
   ((void)d, 0))
/* This one returns its error. */
OWN(int, posix_fallocate, (int fd, off_t offset, off_t length))
#ifdef __GLIBC__
FD(ssize_t, pwrite64, (int fd, const void *buffer, size_t count, off64_t offset), (fd, buffer, count, offset), fd,
   BAD("pwrite"))
FD(ssize_t, __pwrite64, (int fd, const void *buffer, size_t count, off64_t offset), (fd, buffer, count, offset), fd,
   BAD("pwrite"))
FD(ssize_t, pwritev64, (int fd, const struct iovec *parts, int count, off64_t offset), (fd, parts, count, offset), fd,
   BAD("pwritev"))
FD(ssize_t, pwritev64v2, (int fd, const struct iovec *parts, int count, off64_t offset, int flags),
   (fd, parts, count, offset, flags), fd, BAD("pwritev2"))
FD(int, ftruncate64, (int fd, off64_t length), (fd, length), fd, rc_refuse("ftruncate", fd, rc_description_refusal(d, -EINVAL)))
FD(int, fallocate64, (int fd, int mode, off64_t offset, off64_t length), (fd, mode, offset, length), fd,
   BAD("fallocate"))
OWN(int, posix_fallocate64, (int fd, off64_t offset, off64_t length))
#endif
#undef BAD

/* --------------------------------------------------------------------- changes of what a descriptor stands for */
#define READ_ONLY(name) rc_refuse(name, fd, rc_description_refusal(d, -EROFS))
FD(int, fchmod, (int fd, mode_t mode), (fd, mode), fd, READ_ONLY("fchmod"))
FD(int, fchown, (int fd, uid_t owner, gid_t group), (fd, owner, group), fd, READ_ONLY("fchown"))
FD(int, futimens, (int fd, const struct timespec times[2]), (fd, times), fd, READ_ONLY("futimens"))
FD(int, futimes, (int fd, const struct timeval times[2]), (fd, times), fd, READ_ONLY("futimes"))
FD(int, fsetxattr, (int fd, const char *name, const void *value, size_t size, int flags),
   (fd, name, value, size, flags), fd, READ_ONLY("fsetxattr"))
FD(int, fremovexattr, (int fd, const char *name), (fd, name), fd, READ_ONLY("fremovexattr"))
#undef READ_ONLY

/* ---------------------------------------------------------------- what would read the placeholder's emptiness */
OWN(ssize_t, sendfile, (int out, int in, off_t *offset, size_t count))
OWN(ssize_t, splice, (int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags))
OWN(ssize_t, copy_file_range,
    (int in, off64_t *in_offset, int out, off64_t *out_offset, size_t count, unsigned flags))
FD(ssize_t, vmsplice, (int fd, const struct iovec *parts, size_t count, unsigned flags), (fd, parts, count, flags), fd,
   ((void)d, rc_refuse("vmsplice", fd, -EBADF)))
FD(int, eventfd_read, (int fd, uint64_t *value), (fd, value), fd, rc_remote_eventfd_read(d, fd, value))
OWN(void *, mremap, (void *at, size_t size, size_t new_size, int flags, ...))
OWN(void *, mmap, (void *at, size_t length, int protection, int flags, int fd, off_t offset))
#ifdef __GLIBC__
OWN(ssize_t, sendfile64, (int out, int in, off64_t *offset, size_t count))
OWN(void *, mmap64, (void *at, size_t length, int protection, int flags, int fd, off64_t offset))
#endif

/* --------------------------------------------------------------------------------------- changes by a path */
PATH(int, chmod, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, 0, rc_refuse_change("chmod", &t, 0))
PATH(int, lchmod, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_change("lchmod", &t, AT_SYMLINK_NOFOLLOW))
PATH(int, fchmodat, (int dirfd, const char *path, mode_t mode, int flags), (dirfd, path, mode, flags), dirfd, path,
     flags, rc_refuse_change("fchmodat", &t, flags))
PATH(int, chown, (const char *path, uid_t owner, gid_t group), (path, owner, group), AT_FDCWD, path, 0,
     rc_refuse_change("chown", &t, 0))
PATH(int, lchown, (const char *path, uid_t owner, gid_t group), (path, owner, group), AT_FDCWD, path,
     AT_SYMLINK_NOFOLLOW, rc_refuse_change("lchown", &t, AT_SYMLINK_NOFOLLOW))
PATH(int, fchownat, (int dirfd, const char *path, uid_t owner, gid_t group, int flags),
     (dirfd, path, owner, group, flags), dirfd, path, flags, rc_refuse_change("fchownat", &t, flags))
PATH(int, utime, (const char *path, const struct utimbuf *times), (path, times), AT_FDCWD, path, 0,
     rc_refuse_change("utime", &t, 0))
PATH(int, utimes, (const char *path, const struct timeval times[2]), (path, times), AT_FDCWD, path, 0,
     rc_refuse_change("utimes", &t, 0))
PATH(int, lutimes, (const char *path, const struct timeval times[2]), (path, times), AT_FDCWD, path,
     AT_SYMLINK_NOFOLLOW, rc_refuse_change("lutimes", &t, AT_SYMLINK_NOFOLLOW))
PATH(int, futimesat, (int dirfd, const char *path, const struct timeval times[2]), (dirfd, path, times), dirfd,
     path, AT_EMPTY_PATH, rc_refuse_change("futimesat", &t, 0))
/* A NULL path is dirfd itself: how glibc's futimens asks the kernel. */
PATH(int, utimensat, (int dirfd, const char *path, const struct timespec times[2], int flags),
     (dirfd, path, times, flags), dirfd, path, path ? flags : flags | AT_EMPTY_PATH,
     rc_refuse_change("utimensat", &t, flags))
PATH(int, setxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags), AT_FDCWD, path, 0, rc_refuse_change("setxattr", &t, 0))
PATH(int, lsetxattr, (const char *path, const char *name, const void *value, size_t size, int flags),
     (path, name, value, size, flags), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_change("lsetxattr", &t, AT_SYMLINK_NOFOLLOW))
PATH(int, removexattr, (const char *path, const char *name), (path, name), AT_FDCWD, path, 0,
     rc_refuse_change("removexattr", &t, 0))
PATH(int, lremovexattr, (const char *path, const char *name), (path, name), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_change("lremovexattr", &t, AT_SYMLINK_NOFOLLOW))
PATH(int, truncate, (const char *path, off_t length), (path, length), AT_FDCWD, path, 0, rc_refuse_size(&t, length))
#ifdef __GLIBC__
PATH(int, truncate64, (const char *path, off64_t length), (path, length), AT_FDCWD, path, 0, rc_refuse_size(&t, length))
#endif
PATH(int, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_new("mkdir", &t, true))
PATH(int, mkdirat, (int dirfd, const char *path, mode_t mode), (dirfd, path, mode), dirfd, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_new("mkdirat", &t, true))
PATH(int, mkfifo, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_node("mkfifo", &t, S_IFIFO))
PATH(int, mkfifoat, (int dirfd, const char *path, mode_t mode), (dirfd, path, mode), dirfd, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_node("mkfifoat", &t, S_IFIFO))
PATH(int, mknod, (const char *path, mode_t mode, dev_t device), (path, mode, device), AT_FDCWD, path,
     AT_SYMLINK_NOFOLLOW, rc_refuse_node("mknod", &t, mode))
PATH(int, mknodat, (int dirfd, const char *path, mode_t mode, dev_t device), (dirfd, path, mode, device), dirfd, path,
     AT_SYMLINK_NOFOLLOW, rc_refuse_node("mknodat", &t, mode))
#ifdef __GLIBC__	/* programs linked before glibc 2.33 */
PATH(int, __xmknod, (int version, const char *path, mode_t mode, dev_t *device), (version, path, mode, device), AT_FDCWD,
     path, AT_SYMLINK_NOFOLLOW, rc_refuse_node("mknod", &t, mode))
PATH(int, __xmknodat, (int version, int dirfd, const char *path, mode_t mode, dev_t *device),
     (version, dirfd, path, mode, device), dirfd, path, AT_SYMLINK_NOFOLLOW, rc_refuse_node("mknodat", &t, mode))
#endif
PATH(int, symlink, (const char *target, const char *path), (target, path), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_symlink("symlink", target, &t))
PATH(int, symlinkat, (const char *target, int dirfd, const char *path), (target, dirfd, path), dirfd, path,
     AT_SYMLINK_NOFOLLOW, rc_refuse_symlink("symlinkat", target, &t))
PATH(int, unlink, (const char *path), (path), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, rc_refuse_entry("unlink", &t, 0))
PATH(int, unlinkat, (int dirfd, const char *path, int flags), (dirfd, path, flags), dirfd, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_entry("unlinkat", &t, flags))
PATH(int, rmdir, (const char *path), (path), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, rc_refuse_entry("rmdir", &t, AT_REMOVEDIR))
PATH(int, remove, (const char *path), (path), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, rc_refuse_entry("remove", &t, AT_REMOVEDIR))
OWN(int, mkstemp, (char *path))
OWN(int, mkostemp, (char *path, int flags))
OWN(int, mkstemps, (char *path, int suffix))
OWN(int, mkostemps, (char *path, int suffix, int flags))
OWN(char *, mkdtemp, (char *path))
OWN(char *, mktemp, (char *path))
OWN(char *, tempnam, (const char *directory, const char *prefix))
#ifdef __GLIBC__
OWN(int, mkstemp64, (char *path))
OWN(int, mkostemp64, (char *path, int flags))
OWN(int, mkstemps64, (char *path, int suffix))
OWN(int, mkostemps64, (char *path, int suffix, int flags))
#endif
OWN(int, rename, (const char *old, const char *to))
OWN(int, renameat, (int old_dirfd, const char *old, int to_dirfd, const char *to))
OWN(int, renameat2, (int old_dirfd, const char *old, int to_dirfd, const char *to, unsigned flags))
OWN(int, link, (const char *old, const char *to))
OWN(int, linkat, (int old_dirfd, const char *old, int to_dirfd, const char *to, int flags))

/* --------------------------------------------------------- the same for programs built with _TIME_BITS=64 */
#ifdef RC_HAVE_TIME64
FD(int, __fstat64_time64, (int fd, void *st), (fd, st), fd, rc_remote_fstat(d, fd, rc_put_struct_stat_time64, st))
PATH(int, __stat64_time64, (const char *path, void *st), (path, st), AT_FDCWD, path, 0,
     rc_remote_stat("stat", &t, 0, rc_put_struct_stat_time64, st))
PATH(int, __lstat64_time64, (const char *path, void *st), (path, st), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_remote_stat("lstat", &t, AT_SYMLINK_NOFOLLOW, rc_put_struct_stat_time64, st))
PATH(int, __fstatat64_time64, (int dirfd, const char *path, void *st, int flags), (dirfd, path, st, flags), dirfd, path,
     flags, rc_remote_stat("fstatat", &t, flags, rc_put_struct_stat_time64, st))
OWN(int, __fcntl_time64, (int fd, int command, ...))
OWN(int, __ioctl_time64, (int fd, unsigned long request, ...))
OWN(ssize_t, __sendmsg64, (int fd, const struct msghdr *message, int flags))
OWN(int, __sendmmsg64, (int fd, struct mmsghdr *messages, unsigned count, int flags))
OWN(ssize_t, __recvmsg64, (int fd, struct msghdr *message, int flags))
OWN(int, __aio_suspend_time64, (const struct aiocb64 *const list[], int count, const struct timespec_of_64 *timeout))
OWN(int, __recvmmsg64, (int fd, struct mmsghdr *messages, unsigned count, int flags, void *timeout))
FD(int, __futimens64, (int fd, const void *times), (fd, times), fd, rc_refuse("futimens", fd, rc_description_refusal(d, -EROFS)))
FD(int, __futimes64, (int fd, const void *times), (fd, times), fd, rc_refuse("futimes", fd, rc_description_refusal(d, -EROFS)))
PATH(int, __utime64, (const char *path, const void *times), (path, times), AT_FDCWD, path, 0,
     rc_refuse_change("utime", &t, 0))
PATH(int, __utimes64, (const char *path, const void *times), (path, times), AT_FDCWD, path, 0,
     rc_refuse_change("utimes", &t, 0))
PATH(int, __lutimes64, (const char *path, const void *times), (path, times), AT_FDCWD, path, AT_SYMLINK_NOFOLLOW,
     rc_refuse_change("lutimes", &t, AT_SYMLINK_NOFOLLOW))
PATH(int, __futimesat64, (int dirfd, const char *path, const void *times), (dirfd, path, times), dirfd,
     path, AT_EMPTY_PATH, rc_refuse_change("futimesat", &t, 0))
PATH(int, __utimensat64, (int dirfd, const char *path, const void *times, int flags), (dirfd, path, times, flags), dirfd,
     path, path ? flags : flags | AT_EMPTY_PATH, rc_refuse_change("utimensat", &t, flags))
#endif

/* ----------------------------------------------------------------------------------------------- processes */
OWN(pid_t, _Fork, (void))
OWN(void, _exit, (int status))
OWN(void, _Exit, (int status))
OWN(int, clone, (int (*start)(void *), void *stack, int flags, void *argument, ...))
OWN(void *, dlopen, (const char *path, int flags))
OWN(nl_catd, catopen, (const char *path, int flags))
#ifdef __GLIBC__
OWN(void *, dlmopen, (Lmid_t space, const char *path, int flags))
#endif
OWN(int, execve, (const char *path, char *const argv[], char *const envp[]))
OWN(int, execv, (const char *path, char *const argv[]))
OWN(int, execvp, (const char *file, char *const argv[]))
OWN(int, execvpe, (const char *file, char *const argv[], char *const envp[]))
OWN(int, execl, (const char *path, const char *argument, ...))
OWN(int, execle, (const char *path, const char *argument, ...))
OWN(int, execlp, (const char *file, const char *argument, ...))
OWN(int, fexecve, (int fd, char *const argv[], char *const envp[]))
OWN(int, execveat, (int dirfd, const char *path, char *const argv[], char *const envp[], int flags))
OWN(int, posix_spawn, (pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		       const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]))
OWN(int, posix_spawnp, (pid_t *pid, const char *file, const posix_spawn_file_actions_t *actions,
			const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]))
OWN(int, posix_spawn_file_actions_init, (posix_spawn_file_actions_t *actions))
OWN(int, posix_spawn_file_actions_destroy, (posix_spawn_file_actions_t *actions))
OWN(int, posix_spawn_file_actions_addchdir_np, (posix_spawn_file_actions_t *actions, const char *path))
OWN(int, posix_spawn_file_actions_addfchdir_np, (posix_spawn_file_actions_t *actions, int fd))
OWN(int, posix_spawn_file_actions_addopen,
    (posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, mode_t mode))
OWN(int, system, (const char *command))
OWN(int, daemon, (int stay, int keep))
OWN(FILE *, popen, (const char *command, const char *mode))
OWN(long, syscall, (long number, ...))

/* ------------------------------------------------------------------- not there yet: refused, never local data */
#define ABSENT(name) rc_refuse_path(name, &t, -ENOSYS)
OWN(int, chdir, (const char *path))
OWN(int, fchdir, (int fd))
OWN(char *, getcwd, (char *buffer, size_t size))
OWN(char *, getwd, (char *buffer))
OWN(char *, get_current_dir_name, (void))
#ifdef __GLIBC__
OWN(char *, __getcwd_chk, (char *buffer, size_t size, size_t room))
OWN(char *, __getwd_chk, (char *buffer, size_t room))
#endif
PATH(int, chroot, (const char *path), (path), AT_FDCWD, path, 0, ABSENT("chroot"))
#undef ABSENT

/* ----------------------------------------------- mounting and the like: none of it can be done to another machine's file */
OWN(int, mount, (const char *source, const char *path, const char *type, unsigned long flags, const void *data))
OWN(int, pivot_root, (const char *path, const char *old))
PATH(int, umount, (const char *path), (path), AT_FDCWD, path, 0, rc_refuse_path("umount", &t, -EINVAL))
PATH(int, umount2, (const char *path, int flags), (path, flags), AT_FDCWD, path, 0, rc_refuse_path("umount2", &t, -EINVAL))
PATH(int, swapon, (const char *path, int flags), (path, flags), AT_FDCWD, path, 0, rc_refuse_path("swapon", &t, -EINVAL))
PATH(int, swapoff, (const char *path), (path), AT_FDCWD, path, 0, rc_refuse_path("swapoff", &t, -EINVAL))
PATH(int, acct, (const char *path), (path), AT_FDCWD, path, 0, rc_refuse_path("acct", &t, -EROFS))
PATH(int, quotactl, (int command, const char *path, int id, char *data), (command, path, id, data), AT_FDCWD, path, 0,
     rc_refuse_path("quotactl", &t, -ENOTBLK))
#ifdef __GLIBC__
OWN(int, move_mount, (int from_dirfd, const char *from, int dirfd, const char *path, unsigned flags))
PATH(int, open_tree, (int dirfd, const char *path, unsigned flags), (dirfd, path, flags), dirfd, path, AT_EMPTY_PATH,
     rc_refuse_path("open_tree", &t, -ENOSYS))
PATH(int, fspick, (int dirfd, const char *path, unsigned flags), (dirfd, path, flags), dirfd, path, AT_EMPTY_PATH,
     rc_refuse_path("fspick", &t, -EINVAL))
PATH(int, mount_setattr, (int dirfd, const char *path, unsigned flags, struct mount_attr *attributes, size_t size),
     (dirfd, path, flags, attributes, size), dirfd, path, AT_EMPTY_PATH, rc_refuse_path("mount_setattr", &t, -EINVAL))
PATH(int, fanotify_mark, (int group, unsigned flags, uint64_t mask, int dirfd, const char *path),
     (group, flags, mask, dirfd, path), dirfd, path, path ? 0 : AT_EMPTY_PATH,
     rc_refuse_path("fanotify_mark", &t, -ENOSYS))
FD(int, open_by_handle_at, (int fd, struct file_handle *handle, int flags), (fd, handle, flags), fd,
   ((void)d, rc_refuse("open_by_handle_at", fd, -ESTALE)))
#endif

/* --------------------------------------------------------------------------------------------- directories */
OWN(DIR *, opendir, (const char *path))
OWN(DIR *, fdopendir, (int fd))
OWN(struct dirent *, readdir, (DIR *dir))
OWN(int, readdir_r, (DIR *dir, struct dirent *entry, struct dirent **result))
OWN(void, seekdir, (DIR *dir, long offset))
OWN(void, rewinddir, (DIR *dir))
OWN(long, telldir, (DIR *dir))
OWN(int, dirfd, (DIR *dir))
OWN(int, closedir, (DIR *dir))
OWN(int, scandir, (const char *path, struct dirent ***list, int (*select)(const struct dirent *),
		   int (*compare)(const struct dirent **, const struct dirent **)))
OWN(int, ftw, (const char *root, int (*function)(const char *, const struct stat *, int), int descriptors))
OWN(int, nftw, (const char *root, int (*function)(const char *, const struct stat *, int, struct FTW *),
		int descriptors, int flags))
#ifdef __GLIBC__
OWN(struct dirent64 *, readdir64, (DIR *dir))
OWN(int, readdir64_r, (DIR *dir, struct dirent64 *entry, struct dirent64 **result))
OWN(int, scandir64, (const char *path, struct dirent64 ***list, int (*select)(const struct dirent64 *),
		     int (*compare)(const struct dirent64 **, const struct dirent64 **)))
OWN(int, scandirat, (int dirfd, const char *path, struct dirent ***list, int (*select)(const struct dirent *),
		     int (*compare)(const struct dirent **, const struct dirent **)))
OWN(int, scandirat64, (int dirfd, const char *path, struct dirent64 ***list, int (*select)(const struct dirent64 *),
		       int (*compare)(const struct dirent64 **, const struct dirent64 **)))
OWN(int, ftw64, (const char *root, int (*function)(const char *, const struct stat64 *, int), int descriptors))
OWN(int, nftw64, (const char *root, int (*function)(const char *, const struct stat64 *, int, struct FTW *),
		  int descriptors, int flags))
OWN(void *, fts_open, (char *const *paths, int options, int (*compare)(const void **, const void **)))
OWN(void *, fts64_open, (char *const *paths, int options, int (*compare)(const void **, const void **)))
PATH(int, name_to_handle_at, (int dirfd, const char *path, struct file_handle *handle, int *mount, int flags),
     (dirfd, path, handle, mount, flags), dirfd, path, flags & AT_EMPTY_PATH,
     rc_refuse_path("name_to_handle_at", &t, -EOPNOTSUPP))
OWN(int, glob, (const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found))
OWN(int, wordexp, (const char *words, wordexp_t *to, int flags))
#if __SIZEOF_LONG__ == 8
OWN(int, glob64, (const char *pattern, int flags, int (*failed)(const char *, int), glob64_t *found))
#endif
FD(ssize_t, getdents64, (int fd, void *buffer, size_t size), (fd, buffer, size), fd,
   rc_remote_getdents(d, fd, buffer, size))
FD(ssize_t, getdirentries64, (int fd, char *buffer, size_t size, off64_t *base), (fd, buffer, size, base), fd,
   rc_remote_getdirentries(d, fd, buffer, size, base))
#if __SIZEOF_LONG__ == 8
FD(ssize_t, getdirentries, (int fd, char *buffer, size_t size, off_t *base), (fd, buffer, size, base), fd,
   rc_remote_getdirentries(d, fd, buffer, size, base))
#else	/* its entries are of another form */
FD(ssize_t, getdirentries, (int fd, char *buffer, size_t size, off_t *base), (fd, buffer, size, base), fd,
   ((void)d, rc_refuse("getdirentries", fd, -ENOSYS)))
#endif
#endif

/* -------------------------------------------------------------------------------------------------- waiting */
OWN(int, inotify_add_watch, (int fd, const char *path, uint32_t mask))
FD(int, inotify_rm_watch, (int fd, int wd), (fd, wd), fd, rc_remote_unwatch(d, wd))
RAW_FD(int, epoll_ctl, (int epoll, int operation, int fd, struct epoll_event *event), (epoll, operation, fd, event), fd, true,
       (SYS_epoll_ctl, epoll, operation, fd, event, 0, 0), rc_remote_epoll(d, epoll, operation, fd, event))
OWN(int, epoll_wait, (int epoll, struct epoll_event *events, int most, int timeout_ms))
OWN(int, epoll_pwait, (int epoll, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask))
OWN(int, poll, (struct pollfd *set, nfds_t count, int timeout_ms))
OWN(int, ppoll, (struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask))
OWN(int, select, (int count, fd_set *in, fd_set *out, fd_set *urgent, struct timeval *timeout))
OWN(int, pselect, (int count, fd_set *in, fd_set *out, fd_set *urgent, const struct timespec *timeout,
		   const sigset_t *mask))
#ifdef __GLIBC__
OWN(int, __poll, (struct pollfd *set, nfds_t count, int timeout_ms))
OWN(int, __poll_chk, (struct pollfd *set, nfds_t count, int timeout_ms, size_t room))
OWN(int, __ppoll_chk, (struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t room))
OWN(int, epoll_pwait2,
    (int epoll, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask))
#endif

/* ------------------------------------------------------------------------------------------------- streams */
OWN(FILE *, fopen, (const char *path, const char *mode))
OWN(FILE *, freopen, (const char *path, const char *mode, FILE *stream))
OWN(FILE *, fdopen, (int fd, const char *mode))
OWN(int, fclose, (FILE *stream))
#ifdef __GLIBC__
OWN(FILE *, setmntent, (const char *path, const char *mode))
OWN(int, endmntent, (FILE *stream))
OWN(FILE *, fopen64, (const char *path, const char *mode))
OWN(FILE *, freopen64, (const char *path, const char *mode, FILE *stream))
#endif

/* --------------------------------------------------------------------------------------------- file systems */
PATH(int, statfs, (const char *path, struct statfs *to), (path, to), AT_FDCWD, path, 0,
     rc_remote_statfs("statfs", &t, rc_put_struct_statfs, to))
FD(int, fstatfs, (int fd, struct statfs *to), (fd, to), fd,
   rc_remote_fstatfs("fstatfs", d, fd, rc_put_struct_statfs, to))
PATH(int, statvfs, (const char *path, struct statvfs *to), (path, to), AT_FDCWD, path, 0,
     rc_remote_statfs("statvfs", &t, rc_put_struct_statvfs, to))
FD(int, fstatvfs, (int fd, struct statvfs *to), (fd, to), fd,
   rc_remote_fstatfs("fstatvfs", d, fd, rc_put_struct_statvfs, to))
/* -1 is a value of theirs: there is no limit. */
OWN(long, pathconf, (const char *path, int name))
OWN(long, fpathconf, (int fd, int name))
OWN(char *, realpath, (const char *path, char *resolved))
#ifdef __GLIBC__
PATH(int, statfs64, (const char *path, struct statfs64 *to), (path, to), AT_FDCWD, path, 0,
     rc_remote_statfs("statfs", &t, rc_put_struct_statfs64, to))
FD(int, fstatfs64, (int fd, struct statfs64 *to), (fd, to), fd,
   rc_remote_fstatfs("fstatfs", d, fd, rc_put_struct_statfs64, to))
PATH(int, statvfs64, (const char *path, struct statvfs64 *to), (path, to), AT_FDCWD, path, 0,
     rc_remote_statfs("statvfs", &t, rc_put_struct_statvfs64, to))
FD(int, fstatvfs64, (int fd, struct statvfs64 *to), (fd, to), fd,
   rc_remote_fstatfs("fstatvfs", d, fd, rc_put_struct_statvfs64, to))
OWN(char *, canonicalize_file_name, (const char *path))
OWN(char *, __realpath_chk, (const char *path, char *resolved, size_t room))
#endif

/* -------------------------------------------------------------------------------------------------- accounts */
#ifdef __GLIBC__
OWN(struct passwd *, getpwnam, (const char *key))
OWN(struct passwd *, getpwuid, (uid_t key))
OWN(struct group *, getgrnam, (const char *key))
OWN(struct group *, getgrgid, (gid_t key))
OWN(int, getpwnam_r, (const char *key, struct passwd *to, char *buffer, size_t size, struct passwd **found))
OWN(int, getpwuid_r, (uid_t key, struct passwd *to, char *buffer, size_t size, struct passwd **found))
OWN(int, getgrnam_r, (const char *key, struct group *to, char *buffer, size_t size, struct group **found))
OWN(int, getgrgid_r, (gid_t key, struct group *to, char *buffer, size_t size, struct group **found))
OWN(struct spwd *, getspnam, (const char *key))
OWN(int, getspnam_r, (const char *key, struct spwd *to, char *buffer, size_t size, struct spwd **found))
OWN(void, setpwent, (void))
OWN(struct passwd *, getpwent, (void))
OWN(int, getpwent_r, (struct passwd *to, char *buffer, size_t size, struct passwd **found))
OWN(void, endpwent, (void))
OWN(void, setgrent, (void))
OWN(struct group *, getgrent, (void))
OWN(int, getgrent_r, (struct group *to, char *buffer, size_t size, struct group **found))
OWN(void, endgrent, (void))
OWN(void, setspent, (void))
OWN(struct spwd *, getspent, (void))
OWN(int, getspent_r, (struct spwd *to, char *buffer, size_t size, struct spwd **found))
OWN(void, endspent, (void))
OWN(int, getgrouplist, (const char *user, gid_t group, gid_t *groups, int *room))
OWN(int, initgroups, (const char *user, gid_t group))
OWN(struct sgrp *, getsgnam, (const char *key))
OWN(int, getsgnam_r, (const char *key, struct sgrp *to, char *buffer, size_t size, struct sgrp **found))
OWN(void, setsgent, (void))
OWN(struct sgrp *, getsgent, (void))
OWN(int, getsgent_r, (struct sgrp *to, char *buffer, size_t size, struct sgrp **found))
OWN(void, endsgent, (void))
OWN(int, getpw, (uid_t uid, char *line))
OWN(char *, cuserid, (char *name))
OWN(char *, getlogin, (void))
OWN(int, getlogin_r, (char *name, size_t size))
OWN(int, __getlogin_r_chk, (char *name, size_t size, size_t room))
OWN(int, lckpwdf, (void))

/* --------------------------------------------------------------------------- files whose names libc knows itself */
OWN(struct utmp *, getutent, (void))
OWN(struct utmp *, getutid, (const struct utmp *key))
OWN(struct utmp *, getutline, (const struct utmp *key))
OWN(int, getutent_r, (struct utmp *to, struct utmp **found))
OWN(int, getutid_r, (const struct utmp *key, struct utmp *to, struct utmp **found))
OWN(int, getutline_r, (const struct utmp *key, struct utmp *to, struct utmp **found))
OWN(void, setutent, (void))
OWN(void, endutent, (void))
OWN(int, utmpname, (const char *path))
OWN(struct utmp *, pututline, (const struct utmp *entry))
OWN(void, updwtmp, (const char *path, const struct utmp *entry))
OWN(struct utmpx *, getutxent, (void))
OWN(struct utmpx *, getutxid, (const struct utmpx *key))
OWN(struct utmpx *, getutxline, (const struct utmpx *key))
OWN(void, setutxent, (void))
OWN(void, endutxent, (void))
OWN(int, utmpxname, (const char *path))
OWN(struct utmpx *, pututxline, (const struct utmpx *entry))
OWN(void, updwtmpx, (const char *path, const struct utmpx *entry))
OWN(void, logwtmp, (const char *line, const char *name, const char *host))
OWN(char *, getusershell, (void))
OWN(void, setusershell, (void))
OWN(void, endusershell, (void))
OWN(int, setfsent, (void))
OWN(void, endfsent, (void))
OWN(struct fstab *, getfsent, (void))
OWN(struct fstab *, getfsspec, (const char *key))
OWN(struct fstab *, getfsfile, (const char *key))
#endif
