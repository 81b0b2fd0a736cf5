/* SPDX-License-Identifier: MIT
 *
 * by_number FOLDER: system calls by syscall(2).  by_number FOLDER change: those that change something.  by_number FOLDER submit:
 * a read for the kernel to do meanwhile.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "older_libc.h"

static void tell(const char *name, long result)
{
	printf("%s %ld %s\n", name, result, result < 0 ? errno_name(errno) : "");
}

#define DO(call, ...) tell(#call, syscall(SYS_##call, __VA_ARGS__))

static void changes(int fd, int folder)
{
	struct timespec times[2] = { { 1, 2 }, { 3, 4 } };

	DO(fchmod, fd, 0600);
	DO(fchown, fd, 1, 1);
	DO(fchownat, folder, "text", 1, 1, 0);
	DO(fchmodat, folder, "text", 0600);
	DO(mknodat, folder, "new", S_IFREG | 0600, 0);
	DO(utimensat, folder, "text", times, 0);
	DO(utimensat, fd, NULL, times, 0);
	DO(setxattr, "text", "user.a", "b", 1, 0);
	DO(lsetxattr, "text", "user.a", "b", 1, 0);
	DO(fsetxattr, fd, "user.a", "b", 1, 0);
	DO(removexattr, "text", "user.a");
	DO(lremovexattr, "text", "user.a");
	DO(fremovexattr, fd, "user.a");
#ifdef SYS_chown
	DO(chown, "text", 1, 1);
	DO(lchown, "link", 1, 1);
	DO(mknod, "new", S_IFREG | 0600, 0);
	DO(utime, "text", NULL);
	DO(utimes, "text", NULL);
	DO(futimesat, folder, "text", NULL);
#endif
	DO(acct, "text");
}

static void submit(int fd)
{
	char bytes[8];
	struct iocb request = { .aio_fildes = (uint32_t)fd, .aio_lio_opcode = IOCB_CMD_PREAD, .aio_nbytes = sizeof bytes,
				.aio_buf = (uintptr_t)bytes };
	struct iocb *list[] = { &request };
	aio_context_t context = 0;

	DO(io_setup, 1, &context);
	DO(io_submit, context, 1, list);
}

int main(int count, char **arguments)
{
	struct timespec now = { 0, 0 };
	char name[] = "/tmp/remotec-test-XXXXXX";
	struct statfs file_system;
	struct pollfd one;
	char here[4096];
	int fd, folder, fifo, local;
	fd_set set;

	if (count < 2 || chdir(arguments[1]))
		return 2;
	fd = open("text", O_RDONLY);
	folder = open(".", O_RDONLY | O_DIRECTORY);
	if (count > 2) {
		if (!strcmp(arguments[2], "submit"))
			submit(fd);
		else
			changes(fd, folder);
		return 0;
	}
	DO(statfs, "text", &file_system);
	printf("%lx %lu\n", (long)file_system.f_type, (unsigned long)file_system.f_blocks);
	memset(&file_system, 0, sizeof file_system);
	DO(fstatfs, fd, &file_system);
	printf("%lx %lu\n", (long)file_system.f_type, (unsigned long)file_system.f_blocks);
	printf("%ld %s\n", syscall(SYS_getcwd, here, sizeof here) - (long)strlen(here), here);
	fifo = open("fifo", O_RDONLY | O_NONBLOCK);
	one = (struct pollfd){ fifo, POLLIN, 0 };
	DO(ppoll, &one, 1, &now, NULL, 8);
#ifdef SYS_poll
	DO(poll, &one, 1, 0);
	FD_ZERO(&set);
	FD_SET(fifo, &set);
	DO(select, fifo + 1, &set, NULL, NULL, &(struct timeval){ 0, 0 });
#endif
	DO(fdatasync, fd);
	DO(fadvise64, fd, 0, 0, 99);
	DO(fadvise64, fd, 0, 0, 0);
	DO(readahead, fd, 0, 100);
	DO(inotify_rm_watch, fd, 1);
	tell("inotify_add_watch", syscall(SYS_inotify_add_watch, inotify_init1(0), "missing", IN_MODIFY));
	/* A local file's stays as it is. */
	local = mkstemp(name);
	DO(fchmod, local, 0640);
	DO(utimensat, local, NULL, NULL, 0);
	DO(statfs, "/proc/self", &file_system);
	printf("%lx\n", (long)file_system.f_type);
	unlink(name);
	return 0;
}
