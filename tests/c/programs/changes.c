/* SPDX-License-Identifier: MIT
 *
 * Every call that would change a file, on paths of every kind and on descriptors, and what each is told.  The
 * arguments: a directory that is read-only, with what test_calls.py makes there; a file elsewhere.
 *
 * Not here, since remotec says EROFS (or EBADF) before it looks at them: extended attributes' names, values and flags,
 * times; lchmod of a link, where glibc's answer depends on its version.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#include "older_libc.h"

#define SETFLAGS _IOW('f', 2, long)

static const char *subject = "";

static void say(const char *call, long result)
{
	int error = errno;

	printf("%.40s %s: %s\n", subject, call, result < 0 ? errno_name(error) : "0");
}

#define SAY(...) (errno = 0, say(#__VA_ARGS__, (long)(__VA_ARGS__)))

static const struct timespec now[2] = { { .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_NOW } };
static char longest[5000];

static void opened(const char *path)
{
	static const int flags[] = {
		O_WRONLY, O_RDWR, O_RDONLY | O_TRUNC, O_RDONLY | O_CREAT, O_WRONLY | O_CREAT, O_RDWR | O_CREAT | O_EXCL,
		O_RDONLY | O_CREAT | O_EXCL, O_WRONLY | O_NOFOLLOW, O_CREAT | O_NOFOLLOW, O_TMPFILE | O_RDWR, O_TMPFILE | O_WRONLY,
		O_DIRECTORY | O_WRONLY, O_DIRECTORY | O_TRUNC, O_PATH | O_WRONLY, O_PATH | O_CREAT, O_RDONLY | O_APPEND,
		O_WRONLY | O_APPEND | O_CREAT | O_TRUNC,
		O_WRONLY | O_TRUNC | O_CREAT | O_EXCL,
	};

	for (unsigned i = 0; i < sizeof flags / sizeof *flags; i++) {
		char name[40];
		int fd;

		/* A read-only mount lets these be written to. */
		if ((strstr(path, "fifo") || strstr(path, "null")) && flags[i] & (O_ACCMODE | O_TRUNC) &&
		    !(flags[i] & (O_DIRECTORY | O_PATH)))
			continue;
		errno = 0;
		snprintf(name, sizeof name, "open %#o", flags[i]);
		fd = open(path, flags[i] | O_NONBLOCK, 0600);
		say(name, fd);
		close(fd);
	}
	if (!strstr(path, "fifo") && !strstr(path, "null"))
		SAY(creat(path, 0600));
}

static void by_path(const char *path)
{
	opened(path);
	SAY(access(path, W_OK));
	SAY(access(path, W_OK | R_OK));
	SAY(access(path, W_OK | X_OK));
	SAY(access(path, 8));
	SAY(eaccess(path, W_OK));
#if __GLIBC_PREREQ(2, 33)		/* before that it was made up from the mode */
	SAY(faccessat(AT_FDCWD, path, W_OK, AT_SYMLINK_NOFOLLOW));
#endif
	SAY(faccessat(AT_FDCWD, path, W_OK, AT_EACCESS));
	SAY(mkdir(path, 0700));
	SAY(mkfifo(path, 0600));
	SAY(mknod(path, S_IFREG | 0600, 0));
	SAY(mknod(path, S_IFCHR | 0600, 0));
	SAY(mknod(path, S_IFDIR | 0700, 0));
	SAY(mknod(path, S_IFLNK | 0700, 0));
	SAY(mknod(path, 0600, 0));
	SAY(symlink("to", path));
	SAY(symlink("", path));
	SAY(unlink(path));
	SAY(unlinkat(AT_FDCWD, path, AT_REMOVEDIR));
	SAY(unlinkat(AT_FDCWD, path, 1));
	SAY(rmdir(path));
	SAY(remove(path));
	SAY(chmod(path, 0600));
	SAY(fchmodat(AT_FDCWD, path, 0600, 0));
	SAY(fchmodat(AT_FDCWD, path, 0600, 1));
	SAY(chown(path, 1, 1));
	SAY(chown(path, -1, -1));
	SAY(lchown(path, 1, 1));
	SAY(fchownat(AT_FDCWD, path, 1, 1, AT_SYMLINK_NOFOLLOW));
	SAY(fchownat(AT_FDCWD, path, 1, 1, 1));
	SAY(utime(path, NULL));
	SAY(utimes(path, NULL));
	SAY(lutimes(path, NULL));
	SAY(futimesat(AT_FDCWD, path, NULL));
	SAY(utimensat(AT_FDCWD, path, NULL, 0));
	SAY(utimensat(AT_FDCWD, path, now, AT_SYMLINK_NOFOLLOW));
	SAY(utimensat(AT_FDCWD, path, now, 1));
	SAY(truncate(path, 0));
	SAY(truncate(path, 1 << 20));
	SAY(truncate(path, -1));
	SAY(setxattr(path, "user.a", "b", 1, 0));
	SAY(setxattr(path, "nothing.a", "b", 1, 0));
	SAY(lsetxattr(path, "trusted.a", "b", 1, XATTR_CREATE));
	SAY(removexattr(path, "user.a"));
	SAY(lremovexattr(path, "user.none"));
}

/* `name` isn't there. */
static void by_two_paths(const char *path, const char *name, const char *local)
{
	SAY(rename(path, name));
	SAY(rename(name, path));
	SAY(rename(path, path));
	SAY(renameat2(AT_FDCWD, path, AT_FDCWD, name, RENAME_NOREPLACE));
	SAY(renameat2(AT_FDCWD, path, AT_FDCWD, name, RENAME_EXCHANGE));
	SAY(renameat2(AT_FDCWD, path, AT_FDCWD, name, RENAME_EXCHANGE | RENAME_NOREPLACE));
	SAY(renameat2(AT_FDCWD, path, AT_FDCWD, name, 1 << 9));
	SAY(link(path, name));
	SAY(link(name, path));
	SAY(link(local, path));
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, name, AT_SYMLINK_FOLLOW));
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, name, 1));
	SAY(linkat(AT_FDCWD, path, AT_FDCWD, path, 0));
	SAY(rename("", path));
	SAY(rename(path, ""));
	SAY(rename(path, local));
	SAY(rename(local, path));
	SAY(renameat2(AT_FDCWD, name, AT_FDCWD, path, RENAME_NOREPLACE));
	SAY(renameat2(AT_FDCWD, path, AT_FDCWD, name, RENAME_NOREPLACE));
}

static void by_descriptor(const char *path, int flags)
{
	struct stat st;
	char name[80];
	int fd = open(path, flags | O_NONBLOCK);
	long bits = 0;

	snprintf(name, sizeof name, "%#o of %s", flags, subject);
	subject = name;
	SAY(fstat(fd, &st));
	SAY(fchmod(fd, 0600));
	SAY(fchown(fd, 1, 1));
	SAY(fchownat(fd, "", 1, 1, AT_EMPTY_PATH));
	SAY(fchmodat(fd, "", 0600, 0));
	SAY(futimens(fd, NULL));
	SAY(futimes(fd, NULL));
	SAY(utimensat(fd, "", NULL, AT_EMPTY_PATH));
	SAY(fallocate(fd, 0, 0, 1));
	SAY(-posix_fallocate(fd, 0, 1) < 0 ? (errno = posix_fallocate(fd, 0, 1), -1) : 0);
	SAY(fsetxattr(fd, "user.a", "b", 1, 0));
	SAY(fremovexattr(fd, "user.a"));
	SAY(write(fd, "x", 1));
	SAY(write(fd, "x", 0));
	SAY(fsync(fd));
	SAY(fdatasync(fd));
	SAY(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	SAY(mmap(NULL, 4096, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	SAY(mmap(NULL, 4096, PROT_NONE, MAP_SHARED, fd, 0) == MAP_FAILED ? -1 : 0);
	SAY(flock(fd, 0));
	SAY(fcntl(fd, F_GETLEASE));
	SAY(fcntl(fd, F_NOTIFY, 0));
	SAY(fcntl(fd, F_GET_SEALS));
	SAY(fcntl(fd, F_ADD_SEALS, 0));
	SAY(fcntl(fd, 9999));
	SAY(fcntl(fd, F_SETFL, O_APPEND));
	SAY(fcntl(fd, F_SETFL, O_ASYNC));
	SAY(fcntl(fd, F_SETFL, O_NOATIME));
	SAY(fcntl(fd, F_SETFL, 0));
	SAY(openat(fd, "new", O_CREAT | O_WRONLY, 0600));
	SAY(openat(fd, ".", O_TMPFILE | O_WRONLY, 0600));
	SAY(mkdirat(fd, "new", 0600));
	SAY(mkdirat(fd, "", 0600));
	SAY(mkfifoat(fd, "new", 0600));
	SAY(symlinkat("to", fd, "new"));
	SAY(unlinkat(fd, "file", 0));
	SAY(renameat(fd, "file", fd, "new"));
	SAY(linkat(fd, "file", fd, "new", 0));
	SAY(linkat(fd, "", fd, "new", AT_EMPTY_PATH));
	if (!(flags & O_PATH)) {	/* in the supervisor's tier a placeholder is never the kernel's O_PATH */
		SAY(ftruncate(fd, 0));
		SAY(ftruncate(fd, -1));
		SAY(syncfs(fd));
		SAY(fcntl(fd, F_GETOWN));
		SAY(fcntl(fd, F_GETSIG));
	}
	if (!strstr(subject, "fifo")) {
		SAY(pwrite(fd, "x", 1, 0));
		SAY(fcntl(fd, F_GETPIPE_SZ));
		SAY(fcntl(fd, F_SETPIPE_SZ, 4096));
	}
	if (strstr(subject, "text"))
		SAY(ioctl(fd, SETFLAGS, &bits));
	if (!strstr(subject, "dir") || flags)
		SAY(fcntl(fd, F_NOTIFY, DN_CREATE));
	close(fd);
}

int main(int count, char **argument)
{
	static const char *names[] = {
		"text", "missing", "dir", "link", "linkdir", "dangling", "loop", "fifo", "text/x", "missing/x", "loop/x",
		"dangling/x", "text/", "missing/", "dir/", "link/", "linkdir/", "dangling/", "fifo/", "dir/.", "dir/..", "linkdir/.", "missing/.",
		"text/.", "dir/file", "dir/missing", "linkdir/file", "linkdir/missing", "null", "socket",
		"dir//file", "dir/../text", "dir/../missing", "name256", "path4096", "",
	};
	static const char *kinds[] = { "text", "dir", "fifo", "null", "link" };
	static const int flags[] = { O_RDONLY, O_PATH, O_PATH | O_NOFOLLOW };
	char other[4200], path[9000];

	(void)count;
	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	memset(longest, 'x', sizeof longest - 1);
	snprintf(other, sizeof other, "%s/missing-too", argument[1]);
	for (unsigned i = 0; i < sizeof names / sizeof *names; i++) {
		subject = names[i];
		snprintf(path, sizeof path, "%s/%s", argument[1], names[i]);
		if (strcmp(names[i], "name256") == 0)
			snprintf(path, sizeof path, "%s/%.256s", argument[1], longest);
		if (strcmp(names[i], "path4096") == 0)
			snprintf(path, sizeof path, "%s/%.4096s", argument[1], longest);
		by_path(*names[i] ? path : "");
		if (*names[i] && strcmp(names[i], "path4096"))
			by_two_paths(path, other, argument[2]);
	}
	for (unsigned i = 0; i < sizeof kinds / sizeof *kinds; i++) {
		for (unsigned j = 0; j < sizeof flags / sizeof *flags; j++) {
			subject = kinds[i];
			snprintf(path, sizeof path, "%s/%s", argument[1], kinds[i]);
			by_descriptor(path, flags[j]);
		}
	}
	return 0;
}
