/* SPDX-License-Identifier: MIT
 *
 * inside_libc FOLDER: what libc does for a path or a descriptor by system calls of its own.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <nl_types.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ipc.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern int __poll(struct pollfd *set, nfds_t count, int timeout_ms);
extern int __ppoll_chk(struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t room);
extern char *__getwd_chk(char *buffer, size_t room);

static void tell(const char *what, long result)
{
	printf("%s: %ld %s\n", what, result, result < 0 ? strerror(errno) : "");
	errno = 0;
}

static void directory(void)
{
	int fd = open("many", O_RDONLY | O_DIRECTORY);
	char bytes[1000];
	off64_t base = -1, first = -1;
	unsigned names = 0, sum = 0;
	ssize_t got;

	while ((got = getdirentries64(fd, bytes, sizeof bytes, &base)) > 0) {
		if (first < 0)
			first = base;
		for (ssize_t at = 0; at < got; names++) {
			const struct dirent64 *entry = (const struct dirent64 *)(bytes + at);

			for (const char *c = entry->d_name; *c; c++)
				sum += (unsigned char)*c;
			at += entry->d_reclen;
		}
	}
	printf("getdirentries: %u names, %x, from %ld, at the end %zd\n", names, sum, (long)first, got);
	tell("getdirentries of a file", getdirentries64(open("text", O_RDONLY), bytes, sizeof bytes, &base));
}

static void waiting(void)
{
	struct pollfd one = { open("fifo", O_RDONLY | O_NONBLOCK), POLLIN, 0 };
	struct timespec now = { 0, 0 };

	printf("__poll: %d", __poll(&one, 1, 0));
	printf(" %x\n", one.revents);
	printf("__ppoll_chk: %d", __ppoll_chk(&one, 1, &now, NULL, sizeof one));
	printf(" %x\n", one.revents);
}

static void demon(int stay)
{
	char here[4096], word[2] = "";
	int status, ends[2];

	fflush(stdout);
	if (pipe(ends) == 0 && fork() == 0) {
		int out = dup(1);

		close(ends[0]);
		if (daemon(stay, 0) == 0)
			dprintf(out, "daemon: in %s, %d, %zd\n", getcwd(here, sizeof here), access("text", F_OK),
				read(0, word, 1));
		_exit(0);
	}
	close(ends[1]);
	wait(&status);
	printf("%zd\n", read(ends[0], word, 1));	/* once the demon has ended */
}

int main(int count, char **arguments)
{
	char here[4096], path[4096];
	uint64_t value = 0;
	nl_catd catalogue;
	struct iovec part = { here, 1 };
	int fd, ends[2];

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (count < 2 || chdir(arguments[1]) || pipe(ends))
		return 2;
	printf("getwd: %s\n", __getwd_chk(here, sizeof here));
	tell("ftok", ftok("text", 0x7f));
	tell("ftok", ftok("link", 0xf1) & 0x7fffffff);
	tell("ftok", ftok("missing", 1));
	fd = open("text", O_RDONLY);
	tell("eventfd_read", eventfd_read(fd, &value));
	printf("%lx, at %ld\n", (unsigned long)value, (long)lseek(fd, 0, SEEK_CUR));
	tell("tee", tee(fd, ends[1], 10, 0));
	tell("vmsplice", vmsplice(fd, &part, 1, 0));
	directory();
	waiting();
	catalogue = catopen(realpath("catalogue", path), 0);
	printf("catopen: %s\n", catgets(catalogue, 1, 1, "none"));
	printf("catopen: %d\n", catopen("/nowhere/at/all", 0) == (nl_catd)-1);
	demon(1);
	demon(0);
	return 0;
}
