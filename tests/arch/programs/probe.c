/* SPDX-License-Identifier: MIT
 *
 * probe SECTION DIRECTORY: asks libc about the files that tests/arch/tree.py made and prints every answer, so that a run with
 * libremotec.so can be compared with a plain one.  Built with 32-bit and 64-bit off_t and time_t where there are both.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif
#include <unistd.h>

static int read_byte(int fd)
{
	char byte = 0;

	return read(fd, &byte, 1) == 1 ? byte : 0;
}

static const char *name_of(int error)
{
	static const struct {
		int error;
		const char *name;
	} names[] = {
#define NAME(e) { e, #e },
		NAME(EPERM) NAME(ENOENT) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(EBADF) NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES)
		NAME(EFAULT) NAME(EBUSY) NAME(EEXIST) NAME(EXDEV) NAME(ENODEV) NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL)
		NAME(EMFILE) NAME(ENOTTY) NAME(EFBIG) NAME(ESPIPE) NAME(EROFS) NAME(ERANGE) NAME(ENAMETOOLONG)
		NAME(ENOSYS) NAME(ENOTEMPTY) NAME(ELOOP) NAME(EOVERFLOW) NAME(ENODATA) NAME(EOPNOTSUPP) NAME(ENOTCONN)
		NAME(ECONNREFUSED) NAME(EPROTO)
	};
	static char number[16];

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (names[i].error == error)
			return names[i].name;
	snprintf(number, sizeof number, "E%d", error);
	return number;
}

/* Prints what a call gave; the result itself goes back. */
static long long say(const char *what, long long result)
{
	int error = errno;

	if (result < 0)
		printf("%s: %s\n", what, name_of(error));
	else
		printf("%s: %lld\n", what, result);
	errno = 0;
	return result;
}

static uint64_t sum(const void *bytes, size_t count)
{
	uint64_t hash = 14695981039346656037u;

	for (size_t i = 0; i < count; i++)
		hash = (hash ^ ((const uint8_t *)bytes)[i]) * 1099511628211u;
	return hash;
}

/* The name's absolute path; the last few stay valid. */
static const char *directory;

static const char *at(const char *name)
{
	static __thread char paths[8][PATH_MAX];
	static __thread unsigned turn;
	char *path = paths[turn++ % 8];

	if (!*name || *name == '/')
		return name;
	snprintf(path, PATH_MAX, "%s/%s", directory, name);
	return path;
}

static int must_open(const char *path, int flags)
{
	int fd = open(at(path), flags);

	if (fd < 0)
		printf("open %s: %s\n", path, name_of(errno));
	return fd;
}

static char *const names[] = {
	"empty", "one", "text", "data", "big", "sparse", "dir", "dir/inner", "link", "dangling", "loop", "fifo", "old",
	"future", "far", "mode000", "missing", "text/below", "dir/../text", "./text", "linkdir/inner", "\xff\xfename",
	"two-gib", "two-gib-less-one",
};
enum { NAMES = sizeof names / sizeof *names };

static void opens(void)
{
	static const struct {
		const char *name;
		int flags;
	} tried[] = {
		{ "text", O_RDONLY }, { "text", O_RDONLY | O_CLOEXEC }, { "text", O_RDONLY | O_DIRECTORY },
		{ "text", O_RDONLY | O_NOFOLLOW }, { "link", O_RDONLY | O_NOFOLLOW }, { "link", O_RDONLY },
		{ "link", O_PATH | O_NOFOLLOW }, { "dir", O_RDONLY | O_DIRECTORY }, { "dir", O_RDONLY | O_NOFOLLOW },
		{ "linkdir", O_RDONLY | O_DIRECTORY | O_NOFOLLOW }, { "linkdir", O_RDONLY | O_DIRECTORY },
		{ "text", O_RDONLY | O_NONBLOCK }, { "text", O_RDONLY | O_APPEND }, { "text", O_RDONLY | O_SYNC },
		{ "text", O_RDONLY | O_DSYNC }, { "text", O_RDONLY | O_NOCTTY }, { "text", O_CREAT | O_EXCL | O_RDONLY },
		{ "loop", O_RDONLY }, { "dangling", O_RDONLY }, { "missing", O_RDONLY }, { "text/below", O_RDONLY },
		{ "fifo", O_RDONLY | O_NONBLOCK }, { "big", O_RDONLY | O_LARGEFILE }, { "dir", O_RDONLY },
		{ "text/", O_RDONLY }, { "dir/", O_RDONLY }, { "", O_RDONLY }, { "two-gib-less-one", O_RDONLY },
	};

	for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
		int fd = open(at(tried[i].name), tried[i].flags, 0644);

		printf("%s %zu: ", tried[i].name, i);
		if (fd < 0) {
			printf("%s\n", name_of(errno));
			continue;
		}
		printf("open, flags %s%s%s%s, %d\n", fcntl(fd, F_GETFL) & O_NONBLOCK ? "nonblock " : "",
		       fcntl(fd, F_GETFL) & O_APPEND ? "append " : "",
		       (fcntl(fd, F_GETFL) & O_SYNC) == O_SYNC ? "sync " : "",
		       fcntl(fd, F_GETFL) & O_DSYNC ? "dsync" : "", fcntl(fd, F_GETFD));
		close(fd);
	}
	say("a path that is too long", open(memset(calloc(1, 5000), 'x', 4500), O_RDONLY));
	say("a name that is too long", open(memset(calloc(1, 300), 'x', 256), O_RDONLY));
	say("a bad pointer", open((const char *)8, O_RDONLY));
}

static void reads(void)
{
	static char buffer[400000];
	struct iovec three[3] = { { buffer, 5 }, { buffer + 100, 0 }, { buffer + 200, 300000 } };
	int fd = must_open("data", O_RDONLY);
	ssize_t n;

	n = say("read 100", read(fd, buffer, 100));
	printf("%llx\n", (long long)sum(buffer, (size_t)n));
	n = say("read the rest", read(fd, buffer, sizeof buffer));
	printf("%llx\n", (long long)sum(buffer, (size_t)n));
	say("read at the end", read(fd, buffer, 10));
	n = say("pread", pread(fd, buffer, 1000, 70000));
	printf("%llx\n", (long long)sum(buffer, (size_t)n));
	say("pread past the end", pread(fd, buffer, 10, 1 << 30));
	say("pread before the start", pread(fd, buffer, 10, -1));
	say("read nothing", read(fd, buffer, 0));
	say("lseek", lseek(fd, 3, SEEK_SET));
	memset(buffer, 0, sizeof buffer);
	n = say("readv", readv(fd, three, 3));
	printf("%llx\n", (long long)sum(buffer, sizeof buffer));
	say("tell", lseek(fd, 0, SEEK_CUR));
	n = say("preadv", preadv(fd, three, 3, 17));
	printf("%llx\n", (long long)sum(buffer, sizeof buffer));
	say("readv of too many", readv(fd, three, 1025));
	say("readv of -1", readv(fd, three, -1));
	say("to a bad pointer", pread(fd, (void *)8, 10, 0));
	say("write", write(fd, "x", 1));
	say("close", close(fd));
	say("read after close", read(fd, buffer, 1));
	fd = must_open("dir", O_RDONLY);
	say("read of a directory", read(fd, buffer, 1));
	close(fd);
	fd = open(at("link"), O_PATH | O_NOFOLLOW);
	say("read of O_PATH", read(fd, buffer, 1));
	close(fd);
}

static void seeks(void)
{
	char byte = 0;
	int fd = must_open("sparse", O_RDONLY);

	say("SET", lseek(fd, 10, SEEK_SET));
	say("CUR", lseek(fd, 5, SEEK_CUR));
	say("END", lseek(fd, -1, SEEK_END));
	say("read", read(fd, &byte, 1));
	printf("%d\n", byte);
	say("past the end", lseek(fd, 100, SEEK_END));
	say("read there", read(fd, &byte, 1));
	say("before the start", lseek(fd, -1, SEEK_SET));
	say("bad whence", lseek(fd, 0, 77));
	say("DATA", lseek(fd, 0, SEEK_DATA));
	say("HOLE", lseek(fd, 0, SEEK_HOLE));
	say("DATA at the end", lseek(fd, 1 << 30, SEEK_DATA));
	close(fd);
	fd = open(at("fifo"), O_RDONLY | O_NONBLOCK);
	say("fifo", lseek(fd, 0, SEEK_CUR));
	close(fd);
}

static void print_stat(const char *name, const struct stat *st)
{
	printf("%s: ino %llu mode %o nlink %lu uid %u gid %u size %lld blocks %lld blksize %ld dev %u:%u rdev %u:%u "
	       "a %lld.%09ld m %lld.%09ld c %lld.%09ld\n", name, (long long)st->st_ino, (unsigned)st->st_mode,
	       (unsigned long)st->st_nlink, (unsigned)st->st_uid, (unsigned)st->st_gid, (long long)st->st_size,
	       (long long)st->st_blocks, (long)st->st_blksize, major(st->st_dev), minor(st->st_dev), major(st->st_rdev),
	       minor(st->st_rdev), (long long)st->st_atime, (long)st->st_atim.tv_nsec, (long long)st->st_mtime,
	       (long)st->st_mtim.tv_nsec, (long long)st->st_ctime, (long)st->st_ctim.tv_nsec);
}

static void show_stat(const char *name, int result, const struct stat *st)
{
	if (result)
		printf("%s: %s\n", name, name_of(errno));
	else
		print_stat(name, st);
}

static void stats(void)
{
	int here = open(at("."), O_RDONLY | O_DIRECTORY), dir = open(at("dir"), O_RDONLY | O_DIRECTORY);
	struct stat st;

	for (int i = 0; i < NAMES; i++) {
		int fd;

		memset(&st, 0x5a, sizeof st);
		show_stat(names[i], stat(at(names[i]), &st), &st);
		memset(&st, 0x5a, sizeof st);
		show_stat(names[i], lstat(at(names[i]), &st), &st);
		show_stat(names[i], fstatat(here, names[i], &st, AT_SYMLINK_NOFOLLOW), &st);
		fd = open64(at(names[i]), O_RDONLY | O_NONBLOCK);
		if (fd >= 0) {
			memset(&st, 0x5a, sizeof st);
			show_stat("fstat", fstat(fd, &st), &st);
			show_stat("empty path", fstatat(fd, "", &st, AT_EMPTY_PATH), &st);
			close(fd);
		}
	}
	show_stat("relative to a directory", fstatat(dir, "inner", &st, 0), &st);
	say("absolute, whatever the directory", fstatat(-1, "/dev/null", &st, 0));
	say("bad flags", fstatat(here, "text", &st, 0x40000000));
	say("a file as directory", fstatat(open(at("text"), O_RDONLY), "x", &st, 0));
}

/* The 64-bit form, whatever the default is. */
static void stat64s(void)
{
	for (int i = 0; i < NAMES; i++) {
		struct stat64 st;

		memset(&st, 0x5a, sizeof st);
		if (lstat64(at(names[i]), &st))
			printf("%s: %s\n", names[i], name_of(errno));
		else
			printf("%s: ino %llu mode %o nlink %lu size %lld blocks %lld dev %u:%u m %lld.%09ld\n", names[i],
			       (long long)st.st_ino, (unsigned)st.st_mode, (unsigned long)st.st_nlink, (long long)st.st_size,
			       (long long)st.st_blocks, major(st.st_dev), minor(st.st_dev), (long long)st.st_mtime,
			       (long)st.st_mtim.tv_nsec);
	}
}

#ifdef STATX_BASIC_STATS	/* else a libc without statx() */
static void statxs(void)
{
	static const int flags[] = { 0, AT_SYMLINK_NOFOLLOW, AT_STATX_DONT_SYNC, AT_STATX_FORCE_SYNC | AT_NO_AUTOMOUNT };

	for (int i = 0; i < NAMES; i++) {
		struct statx st;

		memset(&st, 0x5a, sizeof st);
		if (statx(AT_FDCWD, at(names[i]), flags[i % 4], STATX_BASIC_STATS | STATX_BTIME, &st))
			printf("%s: %s\n", names[i], name_of(errno));
		else
			printf("%s: mask %x blksize %u attributes %llx nlink %u uid %u gid %u mode %o ino %llu size %llu blocks %llu "
			       "a %lld.%09u b %lld.%09u c %lld.%09u m %lld.%09u dev %u:%u rdev %u:%u\n", names[i],
			       st.stx_mask & (STATX_BASIC_STATS | STATX_BTIME), st.stx_blksize, (long long)st.stx_attributes,
			       st.stx_nlink, st.stx_uid, st.stx_gid, st.stx_mode, (long long)st.stx_ino,
			       (long long)st.stx_size, (long long)st.stx_blocks, (long long)st.stx_atime.tv_sec,
			       st.stx_atime.tv_nsec, (long long)st.stx_btime.tv_sec, st.stx_btime.tv_nsec,
			       (long long)st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec, (long long)st.stx_mtime.tv_sec,
			       st.stx_mtime.tv_nsec, st.stx_dev_major, st.stx_dev_minor, st.stx_rdev_major,
			       st.stx_rdev_minor);
	}
}
#endif

/* Files past 2 GiB through the interfaces that can and those that can't. */
static void big(void)
{
	char bytes[16] = "";
	struct stat st;
	int fd = open64(at("big"), O_RDONLY);

	printf("open64: %s\n", fd < 0 ? name_of(errno) : "open");
	say("lseek64", lseek64(fd, 4831838208ll, SEEK_SET));
	say("read", read(fd, bytes, 10));
	printf("%.10s\n", bytes);
	say("lseek64 CUR", lseek64(fd, 0, SEEK_CUR));
	say("lseek CUR", lseek(fd, 0, SEEK_CUR));
	say("lseek END", lseek(fd, 0, SEEK_END));
	say("lseek64 CUR", lseek64(fd, 0, SEEK_CUR));
	say("lseek64 END", lseek64(fd, -5, SEEK_END));
	say("pread64", pread64(fd, bytes, 10, 4831838212ll));
	printf("%.10s\n", bytes);
	say("preadv64", preadv64(fd, &(struct iovec){ bytes, 10 }, 1, 4831838213ll));
	printf("%.10s\n", bytes);
	show_stat("fstat", fstat(fd, &st), &st);
	say("lseek64 DATA", lseek64(fd, 0, SEEK_DATA));
	close(fd);
	for (int i = 0; i < 2; i++) {
		static const char *const edge[] = { "two-gib-less-one", "two-gib" };

		fd = open64(at(edge[i]), O_RDONLY);
		show_stat(edge[i], fstat(fd, &st), &st);
		say("END", lseek(fd, 0, SEEK_END));
		say("64 CUR", lseek64(fd, 0, SEEK_CUR));
		say("one more", lseek(fd, 1, SEEK_CUR));
		close(fd);
	}
}

/* Without O_LARGEFILE, which 32-bit programs need. */
static void small(void)
{
	static const char *const tried[] = { "big", "two-gib", "two-gib-less-one" };

	for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
		printf("%s\n", tried[i]);
#ifdef __GLIBC__
		printf("fopen: %s\n", fopen(at(tried[i]), "r") ? "open" : name_of(errno));
#endif
		say("open", open(at(tried[i]), O_RDONLY) >= 0 ? 0 : -1);
		say("openat", openat(AT_FDCWD, at(tried[i]), O_RDONLY) >= 0 ? 0 : -1);
		say("openat64", openat64(AT_FDCWD, at(tried[i]), O_RDONLY) >= 0 ? 0 : -1);
		say("O_LARGEFILE", open(at(tried[i]), O_RDONLY | O_LARGEFILE) >= 0 ? 0 : -1);
		say("O_PATH", open(at(tried[i]), O_PATH) >= 0 ? 0 : -1);
	}
}

/* Counts near 2^31 and 2^32, into a buffer that is really as large: an emulator looks at all of it. */
static void counts(void)
{
	static const uint64_t tried[] = {
		0x7fffffff, 0x7ffff000, 0x7ffff001, 0x80000000, 0x80000001, 0xfffff000, 0xffffffff, 0x100000000, 0x100000001,
	};
	int fd = must_open("text", O_RDONLY);

	for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
		size_t count = (size_t)tried[i];
		char *room = count == tried[i] ? mmap(NULL, count, PROT_READ | PROT_WRITE,
						      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0) : MAP_FAILED;
		struct iovec two[2] = { { room, 100 }, { room + 100, count - 100 } };

		printf("%llx: ", (long long)tried[i]);
		if (room == MAP_FAILED) {
			printf("this machine has no such room\n");
			continue;
		}
		if (count > SSIZE_MAX) {
			/* 64-bit kernels read, 32-bit ones say EINVAL, qemu EFAULT. */
			ssize_t n = pread(fd, room, count, 0);

			printf("%s\n", n > 0 || errno == EINVAL || errno == EFAULT ? "as it likes" : name_of(errno));
		} else {
			say("pread", pread(fd, room, count, 0));
			printf("%llx\n", (long long)sum(room, 30000));
			lseek(fd, 5, SEEK_SET);
			say("read", read(fd, room, count));
			say("readv", preadv(fd, two, 2, 9));
		}
		munmap(room, count);
	}
	say("2^31-1 to a bad pointer", pread(fd, (void *)8, 0x7fffffff, 0));
	close(fd);
}

static void accesses(void)
{
	for (int i = 0; i < NAMES; i++) {
		char what[64];

		for (int mode = 0; mode < 8; mode++) {
			int result;

			snprintf(what, sizeof what, "%s %d", names[i], mode);
			result = access(at(names[i]), mode);
			/* The server's files are as on a read-only file system, which comes first; the plain ones aren't. */
			if (mode & W_OK && (!result || errno == EACCES || errno == EROFS))
				printf("%s: yes, or EACCES, or EROFS\n", what);
			else
				say(what, result);
		}
		say("eaccess", faccessat(AT_FDCWD, at(names[i]), R_OK, AT_EACCESS));
		say("nofollow", faccessat(AT_FDCWD, at(names[i]), F_OK, AT_SYMLINK_NOFOLLOW));
	}
	say("bad mode", access(at("text"), 8));
}

static void links(void)
{
	char target[PATH_MAX];
	static const char *const tried[] = { "link", "dangling", "loop", "text", "dir", "missing", "long-link", "" };

	for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
		ssize_t n = say(tried[i], readlink(at(tried[i]), target, sizeof target));

		if (n > 0)
			printf("%.*s\n", (int)n, target);
		n = readlinkat(AT_FDCWD, at(tried[i]), target, 3);
		if (n > 0)
			printf("%.*s\n", (int)n, target);
	}
#ifdef __GLIBC__	/* musl doesn't ask the kernel */
	say("size 0", readlink(at("link"), target, 0));
#endif
	for (size_t i = 0; i < sizeof tried / sizeof *tried; i++) {
		char *whole = realpath(at(tried[i]), NULL);

		printf("realpath %s: %s\n", tried[i], whole ? strrchr(whole, '/') : name_of(errno));
		free(whole);
	}
}

static void xattrs(void)
{
	char value[256];
	ssize_t n;
	int fd;

	n = say("getxattr", getxattr(at("text"), "user.colour", value, sizeof value));
	if (n > 0)
		printf("%.*s\n", (int)n, value);
	say("its size", getxattr(at("text"), "user.colour", NULL, 0));
	say("too small", getxattr(at("text"), "user.colour", value, 1));
	say("missing", getxattr(at("text"), "user.nothing", value, sizeof value));
	say("no namespace", getxattr(at("text"), "nothing", value, sizeof value));
	say("of a link", lgetxattr(at("link"), "user.colour", value, sizeof value));
	say("of a missing file", getxattr(at("missing"), "user.colour", value, sizeof value));
	n = say("listxattr", listxattr(at("text"), value, sizeof value));
	if (n > 0)
		printf("%llx\n", (long long)sum(value, (size_t)n));
	say("listxattr of none", listxattr(at("one"), value, sizeof value));
	fd = must_open("text", O_RDONLY);
	say("fgetxattr", fgetxattr(fd, "user.colour", value, sizeof value));
	say("flistxattr", flistxattr(fd, value, sizeof value));
	close(fd);
}

static void changes(void)
{
	struct timespec times[2] = { { 1, 0 }, { 2, 0 } };
	int fd;

	say("O_WRONLY of a missing directory", open(at("nowhere/x"), O_WRONLY | O_CREAT, 0600));
	say("mkdir over", mkdir(at("dir"), 0700));
	say("unlink below a file", unlink(at("text/below")));
	say("mkdir below a file", mkdir(at("text/below"), 0700));
	say("mkdir in nothing", mkdir(at("nowhere/x"), 0700));
	say("symlink over", symlink("x", at("text")));
	say("link over", link(at("text"), at("link")));
	fd = must_open("text", O_RDONLY);
	say("write", write(fd, "x", 1));
	say("pwrite", pwrite(fd, "x", 1, 0));
	say("ftruncate", ftruncate(fd, 0));
	say("chmod of missing", chmod(at("missing"), 0600));
	say("utimensat of missing", utimensat(AT_FDCWD, at("missing"), times, 0));
	close(fd);
}

static void dups(void)
{
	char a[8] = "", b[8] = "";
	int fd = must_open("text", O_RDONLY), two = dup(fd), three = fcntl(fd, F_DUPFD_CLOEXEC, 100), status;
	pid_t child;

	say("read", read(fd, a, 3));
	say("read by its copy", read(two, b, 3));
	printf("%s %s\n", a, b);
	say("three", three >= 100);
	say("FD_CLOEXEC", fcntl(three, F_GETFD));
	say("set", fcntl(two, F_SETFD, FD_CLOEXEC));
	say("offset", lseek(three, 0, SEEK_CUR));
	say("dup2", dup2(three, 50));
	say("dup3 onto itself", dup3(50, 50, 0));
	say("close", close(fd));
	fflush(stdout);
	child = fork();
	if (!child) {
		read(50, a, 4);
		printf("child: %.4s\n", a);
		fflush(stdout);
		_exit(7);
	}
	waitpid(child, &status, 0);
	say("child's status", WEXITSTATUS(status));
	say("moved on by the child", lseek(two, 0, SEEK_CUR));
	say("F_SETFL", fcntl(two, F_SETFL, O_NONBLOCK | O_APPEND));
	printf("nonblock %d append %d\n", (fcntl(three, F_GETFL) & O_NONBLOCK) != 0, (fcntl(three, F_GETFL) & O_APPEND) != 0);
	close(0);
	say("the lowest number", open("/dev/null", O_RDONLY));
	say("dup2 to 0", dup2(50, 0));
	say("read from 0", read(0, a, 4));
	say("bad dup2", dup2(999, 5));
}

static void *reader(void *sums)
{
	static char buffers[4][300000];
	static int next;
	char *buffer = buffers[__atomic_fetch_add(&next, 1, __ATOMIC_SEQ_CST)];
	uint64_t *mine = sums;

	for (int i = 0; i < 10; i++) {
		int fd = open(at("data"), O_RDONLY);
		ssize_t n = read(fd, buffer, 300000);

		*mine = *mine * 31 + (n < 0 ? (uint64_t)errno : sum(buffer, (size_t)n));
		close(fd);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t all[4];
	uint64_t sums[4] = { 0 };

	for (int i = 0; i < 4; i++)
		pthread_create(&all[i], NULL, reader, &sums[i]);
	for (int i = 0; i < 4; i++) {
		pthread_join(all[i], NULL);
		printf("%llx\n", (long long)sums[i]);
	}
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void directories(void)
{
	char *lines[512];
	size_t count = 0;
	struct dirent *entry;
	long middle = -1;
	DIR *dir = opendir(at("many"));

	if (!dir) {
		printf("opendir: %s\n", name_of(errno));
		return;
	}
	while ((errno = 0, entry = readdir(dir)) && count < 512) {
		if (asprintf(&lines[count++], "%s %d %llu", entry->d_name, entry->d_type, (long long)entry->d_ino) < 0)
			return;
		if (count == 150)
			middle = telldir(dir);
	}
	printf("end: %s, %zu entries\n", errno ? name_of(errno) : "0", count);
	seekdir(dir, middle);
	for (size_t left = 150; left < count; left++)
		if (!readdir(dir))
			printf("after seekdir: end too early\n");
	printf("then %s\n", readdir(dir) ? "more" : "end");
	rewinddir(dir);
	printf("rewound: %s\n", readdir(dir) ? "more" : "end");
	closedir(dir);
	qsort(lines, count, sizeof *lines, by_name);
	for (size_t i = 0; i < count; i++)
		puts(lines[i]);
	printf("opendir of a file: %s\n", opendir(at("text")) ? "open" : name_of(errno));
	printf("opendir of nothing: %s\n", opendir(at("missing")) ? "open" : name_of(errno));
}

static void streams(void)
{
	char line[256];
	FILE *f = fopen(at("text"), "r");
	int c = 0, d = 0;

	if (!f) {
		printf("fopen: %s\n", name_of(errno));
		return;
	}
	for (int i = 0; i < 3 && fgets(line, sizeof line, f); i++)
		fputs(line, stdout);
	printf("%ld\n", ftell(f));
	say("fseek", fseek(f, -4, SEEK_END));
	while ((c = getc(f)) != EOF)
		d = d * 3 + c;
	printf("%d eof %d error %d\n", d, feof(f) != 0, ferror(f));
	rewind(f);
	say("fread", (long long)fread(line, 1, 100, f));
	fclose(f);
	printf("fopen of nothing: %s\n", fopen(at("missing"), "r") ? "open" : name_of(errno));
#ifdef __GLIBC__	/* musl's streams take a whole copy of the file, of 1 GiB at most */
	f = fopen64(at("big"), "r");
	if (f) {
		say("fseeko64", fseeko64(f, 4831838208ll, SEEK_SET));
		say("fread", (long long)fread(line, 1, 10, f));
		printf("%.10s %lld\n", line, (long long)ftello64(f));
		fclose(f);
	}
#endif
}

static void filesystems(void)
{
	struct statfs st;
	struct statvfs vfs;
	int fd = must_open("text", O_RDONLY);

	memset(&st, 0, sizeof st);
	say("statfs", statfs(at("text"), &st));
	printf("type %lx bsize %ld namelen %ld\n", (unsigned long)st.f_type & 0xffffffff, (long)st.f_bsize, (long)st.f_namelen);
	say("fstatfs", fstatfs(fd, &st));
	say("statvfs", statvfs(at("dir"), &vfs));
	printf("namemax %lu frsize %lu\n", vfs.f_namemax, vfs.f_frsize);
	say("statfs of nothing", statfs(at("missing"), &st));
	say("_PC_NAME_MAX", pathconf(at("text"), _PC_NAME_MAX));
#ifdef __GLIBC__	/* musl has one constant for all */
	say("_PC_LINK_MAX", fpathconf(fd, _PC_LINK_MAX));
#endif
	close(fd);
}

static void cwd(void)
{
	char where[PATH_MAX];
	struct stat st;
	int back = open(at("."), O_RDONLY | O_DIRECTORY);

	say("chdir", chdir(at("dir")));
	printf("%s\n", getcwd(where, sizeof where) ? strrchr(where, '/') : name_of(errno));
	show_stat("inner", stat("inner", &st), &st);
	show_stat("../text", stat("../text", &st), &st);
	say("fchdir", fchdir(back));
	say("open", open("text", O_RDONLY) >= 0);
	say("chdir to a file", chdir("text"));
	say("chdir to nothing", chdir("missing"));
}

static void maps(void)
{
	int fd = must_open("data", O_RDONLY);
	char *at = mmap(NULL, 300000, PROT_READ, MAP_PRIVATE, fd, 0);

	printf("private: %s\n", at == MAP_FAILED ? name_of(errno) : "mapped");
	if (at != MAP_FAILED)
		printf("%llx\n", (long long)sum(at, 300000));
	at = mmap(NULL, 65536, PROT_READ, MAP_SHARED, fd, 65536);
	printf("shared: %s\n", at == MAP_FAILED ? name_of(errno) : "mapped");
	if (at != MAP_FAILED)
		printf("%llx\n", (long long)sum(at, 65536));
	close(fd);
}

static void controls(void)
{
	int value = -1, fd = must_open("text", O_RDONLY);
	struct pollfd wait = { .fd = fd, .events = POLLIN | POLLOUT };

	say("FIONREAD", ioctl(fd, FIONREAD, &value));
	printf("%d\n", value);
	say("TCGETS", isatty(fd));
	say("poll", poll(&wait, 1, 1000));
	printf("in %d out %d nval %d\n", (wait.revents & POLLIN) != 0, (wait.revents & POLLOUT) != 0, (wait.revents & POLLNVAL) != 0);
	say("posix_fadvise", posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL));
	say("bad advice", posix_fadvise(fd, 0, 0, 77));
	close(fd);
}

static void say_number(const char *what, bool good, unsigned long long number)
{
	if (good)
		printf("%s: %llu\n", what, number);
	else
		printf("%s: %s\n", what, name_of(errno));
}

/* tests/test_arch.py: of a server whose numbers have more than 32 bits; no plain run knows the answers. */
static void inodes(void)
{
	struct stat st;
	struct stat64 st64;
	struct dirent *entry;
	struct dirent64 *entry64;
	int fd = must_open("dir/only", O_RDONLY), got;
	DIR *dir;

	got = stat(at("dir/only"), &st);
	say_number("stat", !got, st.st_ino);
	got = stat64(at("dir/only"), &st64);
	say_number("stat64", !got, st64.st_ino);
	got = fstat(fd, &st);
	say_number("fstat", !got, st.st_ino);
	dir = opendir(at("dir"));
	while (errno = 0, (entry = readdir(dir)) && entry->d_name[0] == '.')
		;
	say_number("readdir", entry, entry ? entry->d_ino : 0);
	closedir(dir);
	dir = opendir(at("dir"));
	while ((entry64 = readdir64(dir)) && entry64->d_name[0] == '.')
		;
	say_number("readdir64", entry64, entry64 ? entry64->d_ino : 0);
	closedir(dir);
}

static void say_lock(const char *what, int result, const struct flock *lock)
{
	if (result)
		printf("%s: %s\n", what, name_of(errno));
	else if (lock->l_type == F_UNLCK)
		printf("%s: free\n", what);
	else
		printf("%s: %s from %lld, %lld bytes, whence %d, %s\n", what, lock->l_type == F_RDLCK ? "read" : "write",
		       (long long)lock->l_start, (long long)lock->l_len, lock->l_whence, lock->l_pid ? "somebody's" : "nobody's");
	errno = 0;
}

static void locks(void)
{
	struct flock read = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = 10, .l_len = 20 }, ask;
	struct flock64 far = { .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_start = (int64_t)1 << 40, .l_len = 7 }, ask64;
	/* Its own for each build of this program: they run at the same time. */
	const char *file = sizeof(off_t) == 4 ? "text" : sizeof(time_t) == 4 ? "other" : "data";
	int fd = open64(at(file), O_RDONLY), ready[2], over[2];
	char byte;
	pid_t child;

	say("write lock of a descriptor for reading", fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_WRLCK }));
	say("bad type", fcntl(fd, F_SETLK, &(struct flock){ .l_type = 77 }));
	say("bad whence", fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_RDLCK, .l_whence = 77 }));
	say("before the start", fcntl(fd, F_SETLK, &(struct flock){ .l_type = F_RDLCK, .l_start = -1 }));
	if (pipe(ready) || pipe(over))
		return;
	fflush(stdout);
	child = fork();
	if (!child) {
		int own = open64(at(file), O_RDONLY);

		byte = fcntl(own, F_SETLK, &read) || fcntl(own, F_SETLK64, &far) || flock(own, LOCK_SH) ? 'n' : 'y';
		write(ready[1], &byte, 1);
		close(over[1]);
		read_byte(over[0]);
		_exit(0);
	}
	if (read_byte(ready[0]) != 'y')
		printf("the child got no lock\n");
	ask = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_len = 100 };
	say_lock("F_GETLK", fcntl(fd, F_GETLK, &ask), &ask);
	ask = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 30, .l_len = 100 };
	say_lock("beside it", fcntl(fd, F_GETLK, &ask), &ask);
	ask = (struct flock){ .l_type = F_RDLCK, .l_whence = SEEK_SET, .l_len = 100 };
	say_lock("for reading", fcntl(fd, F_GETLK, &ask), &ask);
	lseek(fd, 12, SEEK_SET);
	ask = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_CUR, .l_start = -1, .l_len = 1 };
	say_lock("from here", fcntl(fd, F_GETLK, &ask), &ask);
	ask = (struct flock){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100 };
	say_lock("to the end", fcntl(fd, F_GETLK, &ask), &ask);
	ask64 = (struct flock64){ .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = 100 };
	say("F_GETLK64", fcntl(fd, F_GETLK64, &ask64));
	printf("%d %lld %lld\n", ask64.l_type == F_RDLCK, (long long)ask64.l_start, (long long)ask64.l_len);
	say("F_SETLK beside a reader", fcntl(fd, F_SETLK, &read));
	say("F_SETLKW", fcntl(fd, F_SETLKW, &read));
	say("LOCK_SH", flock(fd, LOCK_SH | LOCK_NB));
	say("LOCK_EX", flock(fd, LOCK_EX | LOCK_NB));
	say("LOCK_UN", flock(fd, LOCK_UN));
	say("bad flock", flock(fd, 77));
	close(over[1]);
	close(over[0]);
	waitpid(child, NULL, 0);
	say("LOCK_EX then", flock(fd, LOCK_EX | LOCK_NB));
	say("LOCK_UN at last", flock(fd, LOCK_UN));	/* a handle that a fork has shared stays with its session */
	close(fd);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*run)(void);
	} sections[] = {
		{ "opens", opens }, { "reads", reads }, { "seeks", seeks }, { "stats", stats }, { "stat64s", stat64s },
#ifdef STATX_BASIC_STATS
		{ "statxs", statxs },
#endif
		{ "big", big }, { "small", small }, { "counts", counts }, { "accesses", accesses }, { "links", links },
		{ "xattrs", xattrs }, { "changes", changes }, { "dups", dups }, { "threads", threads },
		{ "directories", directories }, { "streams", streams }, { "filesystems", filesystems }, { "cwd", cwd },
		{ "maps", maps }, { "controls", controls }, { "locks", locks },
	};

	if (argc == 1) {
		for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
			puts(sections[i].name);
		return 0;
	}
	if (argc != 3) {
		fputs("usage: probe SECTION DIRECTORY\n", stderr);
		return 2;
	}
	directory = argv[2];
	if (!strcmp(argv[1], "inodes")) {
		inodes();
		return 0;
	}
	for (size_t i = 0; i < sizeof sections / sizeof *sections; i++)
		if (!strcmp(sections[i].name, argv[1])) {
			sections[i].run();
			return 0;
		}
	return 2;
}
