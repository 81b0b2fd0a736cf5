/* SPDX-License-Identifier: MIT
 *
 * Calls every form of the read-side functions on argv[1] (a regular file) and prints what each gave, so that a plain run
 * and one through remotec can be compared (x86_64, glibc).  errno must stay what it was where a call succeeds.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "older_libc.h"

int __open_2(const char *, int);
int __open64_2(const char *, int);
int __openat_2(int, const char *, int);
int __openat64_2(int, const char *, int);
ssize_t __read_chk(int, void *, size_t, size_t);
ssize_t __pread_chk(int, void *, size_t, off_t, size_t);
ssize_t __pread64_chk(int, void *, size_t, off64_t, size_t);

/* What programs of before glibc 2.33 (2.28) are linked with. */
int old_stat(int, const char *, struct stat *);
int old_fstat(int, int, struct stat *);
int old_lstat(int, const char *, struct stat *);
int old_fstatat(int, int, const char *, struct stat *, int);
long old_llseek(int, long, int);
__asm__(".symver old_stat, __xstat@GLIBC_2.2.5");
__asm__(".symver old_fstat, __fxstat@GLIBC_2.2.5");
__asm__(".symver old_lstat, __lxstat@GLIBC_2.2.5");
__asm__(".symver old_fstatat, __fxstatat@GLIBC_2.4");
__asm__(".symver old_llseek, llseek@GLIBC_2.2.5");

static char buffer[64];

static void say(const char *what, long long result)
{
	int error = errno;

	printf("%s: %lld", what, result);
	if (result < 0)
		printf(" %s", errno_name(error));
	else if (error != 77)
		printf(" errno touched: %d", error);
	printf(" [%.*s]\n", result > 0 && result < 20 ? (int)result : 0, buffer);
	memset(buffer, 0, sizeof buffer);
	errno = 77;
}
#define SAY(call) say(#call, (long long)(call))

static void opened(const char *what, int fd)
{
	say(what, fd < 0 ? -1 : 0);
	if (fd >= 0) {
		SAY(read(fd, buffer, 5));
		SAY(close(fd));
		SAY(close(fd));
	}
}
#define OPENED(call) opened(#call, call)

static void attributes(const char *what, int result, const struct stat *st)
{
	say(what, result);
	if (!result)
		printf("  %llu %lld %o %lld.%09ld %lu\n", (unsigned long long)st->st_ino, (long long)st->st_size, st->st_mode,
		       (long long)st->st_mtime, st->st_mtim.tv_nsec, (unsigned long)st->st_nlink);
}

int main(int argc, char **argv)
{
	const char *f = argv[argc - 1];
	struct iovec parts[2] = { { buffer, 3 }, { buffer + 3, 4 } };
	struct stat st = { 0 };
	struct stat64 st64 = { 0 };
	struct statx sx = { 0 };
	char missing[4200];
	int fd;

	errno = 77;
	snprintf(missing, sizeof missing, "%s.missing", f);
	OPENED(open(f, O_RDONLY));
	OPENED(open64(f, O_RDONLY));
	OPENED(openat(AT_FDCWD, f, O_RDONLY));
	OPENED(openat64(AT_FDCWD, f, O_RDONLY));
	OPENED(openat(-7, f, O_RDONLY));
	OPENED(__open_2(f, O_RDONLY));
	OPENED(__open64_2(f, O_RDONLY));
	OPENED(__openat_2(AT_FDCWD, f, O_RDONLY));
	OPENED(__openat64_2(AT_FDCWD, f, O_RDONLY));
	OPENED(open(f, O_PATH));
	OPENED(open(f, O_RDONLY | O_DIRECTORY));
	OPENED(open(missing, O_RDONLY));
	OPENED(open("", O_RDONLY));
	OPENED(open((char *)8, O_RDONLY));
	OPENED(syscall(SYS_openat, AT_FDCWD, f, O_RDONLY));

	fd = open(f, O_RDONLY);
	SAY(read(fd, buffer, 3));
	SAY(__read_chk(fd, buffer, 3, sizeof buffer));
	SAY(readv(fd, parts, 2));
	SAY(readv(fd, parts, -1));
	SAY(readv(fd, parts, 2000));
	SAY(readv(fd, (struct iovec *)8, 2));
	SAY(read(fd, (char *)8, 10));
	SAY(read(fd, NULL, 0));
	SAY(lseek(fd, 0, SEEK_CUR));
	SAY(pread(fd, buffer, 4, 2));
	SAY(pread64(fd, buffer, 4, 3));
	SAY(__pread_chk(fd, buffer, 4, 4, sizeof buffer));
	SAY(__pread64_chk(fd, buffer, 4, 5, sizeof buffer));
	SAY(preadv(fd, parts, 2, 1));
	SAY(preadv64(fd, parts, 2, 1));
	SAY(preadv2(fd, parts, 2, 1, 0));
	SAY(preadv2(fd, parts, 2, -1, 0));
	SAY(pread(fd, buffer, 4, -1));
	SAY(pread(fd, buffer, 4, 1ll << 40));
	SAY(lseek(fd, 2, SEEK_SET));
	SAY(lseek64(fd, 2, SEEK_CUR));
	SAY(lseek64(fd, -3, SEEK_END));
	SAY(read(fd, buffer, 10));
	SAY(read(fd, buffer, 10));
	SAY(lseek(fd, -1, SEEK_SET));
	SAY(lseek(fd, 0, 99));
	SAY(lseek(fd, 0, SEEK_DATA));
	SAY(lseek(fd, 1ll << 40, SEEK_DATA));
	SAY(lseek(fd, 0, SEEK_HOLE) > 0);
	SAY(write(fd, "x", 1));
	SAY(pwrite(fd, "x", 1, 0));
	SAY(ftruncate(fd, 0));
	SAY(fsync(fd));
	SAY(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
	SAY(fcntl(fd, F_SETFL, O_NONBLOCK));
	SAY(fcntl(fd, F_GETFL) & (O_ACCMODE | O_APPEND | O_NONBLOCK));
	SAY(fcntl(fd, F_GETFD));
	SAY(fcntl(fd, F_SETFD, FD_CLOEXEC));
	SAY(fcntl(fd, F_GETFD));
	SAY(isatty(fd));
	errno = 77;
	SAY(dup2(fd, 0));
	SAY(lseek(0, 1, SEEK_SET));
	SAY(read(fd, buffer, 3));
	SAY(close(0));
	SAY(open(f, O_RDONLY) == 0 || 1);

	attributes("fstat", fstat(fd, &st), &st);
	attributes("fstat64", fstat64(fd, &st64), (struct stat *)&st64);
	attributes("stat", stat(f, &st), &st);
	attributes("stat64", stat64(f, &st64), (struct stat *)&st64);
	attributes("lstat", lstat(f, &st), &st);
	attributes("lstat64", lstat64(f, &st64), (struct stat *)&st64);
	attributes("fstatat", fstatat(AT_FDCWD, f, &st, 0), &st);
	attributes("fstatat64", fstatat64(AT_FDCWD, f, &st64, AT_SYMLINK_NOFOLLOW), (struct stat *)&st64);
	attributes("fstatat empty", fstatat(fd, "", &st, AT_EMPTY_PATH), &st);
	attributes("fstatat below a file", fstatat(fd, "x", &st, 0), &st);
	attributes("fstatat bad flags", fstatat(AT_FDCWD, f, &st, 0x40000000), &st);
	attributes("stat missing", stat(missing, &st), &st);
	attributes("stat bad buffer", stat(f, (struct stat *)8), &st);
	attributes("fstat bad buffer", fstat(fd, (struct stat *)8), &st);
	attributes("statx", statx(AT_FDCWD, f, 0, STATX_BASIC_STATS, &sx), &st);
	printf("%llu %u\n", (unsigned long long)sx.stx_size, sx.stx_mask);
	attributes("statx fd", statx(fd, "", AT_EMPTY_PATH, STATX_ALL, &sx), &st);
	printf("%llu %lld\n", (unsigned long long)sx.stx_size, (long long)sx.stx_btime.tv_sec);
	attributes("__xstat", old_stat(1, f, &st), &st);
	attributes("__fxstat", old_fstat(1, fd, &st), &st);
	attributes("__lxstat", old_lstat(1, f, &st), &st);
	attributes("__fxstatat", old_fstatat(1, AT_FDCWD, f, &st, 0), &st);
	SAY(old_llseek(fd, 0, SEEK_CUR));
	SAY(access(f, R_OK));
	SAY(access(f, 8));
	SAY(access(missing, F_OK));
	SAY(faccessat(AT_FDCWD, f, R_OK, AT_EACCESS));
	SAY(faccessat(AT_FDCWD, f, R_OK, 0x40000000));
	SAY(euidaccess(f, R_OK));
	SAY(eaccess(f, R_OK));
	SAY(getxattr(f, "user.none", buffer, 9));
	SAY(getxattr(missing, "user.none", buffer, 9));
	SAY(getxattr(f, "", buffer, 9));
	SAY(lgetxattr(f, "user.none", buffer, 9));
	SAY(fgetxattr(fd, "user.none", buffer, 9));
	SAY(readlink(f, buffer, 9));
	SAY(syscall(SYS_read, fd, buffer, 4));
	SAY(syscall(SYS_pread64, fd, buffer, 4, 1));
	SAY(syscall(SYS_lseek, fd, 1, SEEK_SET));
	SAY(syscall(SYS_fstat, fd, &st));
	SAY(syscall(SYS_close, fd));
	SAY(syscall(SYS_read, fd, buffer, 4));
	return 0;
}
