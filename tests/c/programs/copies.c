/* SPDX-License-Identifier: MIT
 *
 * copies BOX SCRATCH: what is copied from BOX/text into a local file that may not grow, and into a pipe and a socket that nobody
 * reads: the error, and the signal; and advice about files, good and bad.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "older_libc.h"

enum { LIMIT = 10000 };

static char path[2100];
static int in;
static volatile sig_atomic_t caught;

static void handler(int number)
{
	caught = number;
}

static void say(const char *what, const char *how, long result)
{
	printf("%s, %s: %ld %s, signal %d\n", what, how, result, result < 0 ? errno_name(errno) : "", (int)caught);
	fflush(stdout);
}

/* into: the file may grow to LIMIT; at its start, near its limit, at it. */
static const off_t starts[] = { 0, LIMIT - 10, LIMIT };

static long copy(int which, int out)
{
	off_t at = 5;
	loff_t to = lseek(out, 0, SEEK_CUR);

	switch (which) {
	case 0: return sendfile(out, in, NULL, 8000);
	case 1: return sendfile(out, in, &at, 3 * LIMIT);
	case 2: return splice(in, NULL, out, NULL, 100, 0);
	default: return copy_file_range(in, NULL, out, to < 0 ? NULL : &to, 3 * LIMIT, 0);
	}
}

static const char *const copies[] = { "sendfile", "sendfile from", "splice", "copy_file_range" };

static void in_child(const char *what, int which, int out, const char *how, void (*action)(int))
{
	int status;
	pid_t child = fork();

	if (!child) {
		struct sigaction act = { .sa_handler = action, .sa_flags = SA_RESTART };

		sigaction(SIGPIPE, &act, NULL);
		sigaction(SIGXFSZ, &act, NULL);
		alarm(20);
		say(what, how, copy(which, out));
		_exit(0);
	}
	waitpid(child, &status, 0);
	lseek(in, 0, SEEK_SET);
	printf("%s, %s: status %d\n", what, how, status & 127);
	fflush(stdout);
}

static void each_way(const char *what, int which, int out, off_t from)
{
	static const struct { const char *name; void (*action)(int); } ways[] = {
		{ "as usual", SIG_DFL }, { "ignored", SIG_IGN }, { "handled", handler },
	};

	for (int i = 0; i < 3; i++) {
		if (from >= 0 && (ftruncate(out, from) || lseek(out, from, SEEK_SET) < 0))
			exit(2);
		in_child(what, which, out, ways[i].name, ways[i].action);
		if (from >= 0)
			printf("%ld bytes, at %ld\n", (long)lseek(out, 0, SEEK_END), (long)from);
	}
}

static void limited(const char *scratch)
{
	struct rlimit limit = { LIMIT, RLIM_INFINITY }, none = { 0, 0 };
	int out;

	snprintf(path, sizeof path, "%s/grows", scratch);
	out = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
	setrlimit(RLIMIT_CORE, &none);
	setrlimit(RLIMIT_FSIZE, &limit);
	for (size_t i = 0; i < sizeof starts / sizeof *starts; i++)
		for (int which = 0; which < 4; which++) {
			if (which == 2)		/* splice needs a pipe */
				continue;
			printf("%s from %ld:\n", copies[which], (long)starts[i]);
			each_way(copies[which], which, out, starts[i]);
		}
	lseek(in, 0, SEEK_END);
	lseek(out, LIMIT, SEEK_SET);
	in_child("nothing left", 0, out, "as usual", SIG_DFL);
	limit.rlim_cur = RLIM_INFINITY;
	setrlimit(RLIMIT_FSIZE, &limit);
	close(out);
	unlink(path);
}

static void unread(void)
{
	int pair[2];

	if (pipe(pair))
		exit(2);
	close(pair[0]);
	for (int which = 0; which < 3; which++)
		each_way(copies[which], which, pair[1], -1);
	close(pair[1]);
	if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair))
		exit(2);
	close(pair[0]);
	each_way("sendfile to a socket", 0, pair[1], -1);
	close(pair[1]);
}

static void advised(const char *what, int fd)
{
	static const int advices[] = { POSIX_FADV_NORMAL, POSIX_FADV_RANDOM, POSIX_FADV_SEQUENTIAL, POSIX_FADV_WILLNEED,
				       POSIX_FADV_DONTNEED, POSIX_FADV_NOREUSE, 6, -1, 1000 };

	for (size_t i = 0; i < sizeof advices / sizeof *advices; i++)
		printf("%s: advice %d: %d %d %d\n", what, advices[i], posix_fadvise(fd, 0, 0, advices[i]),
		       posix_fadvise(fd, 1, -1, advices[i]), posix_fadvise(fd, LONG_MAX, 1, advices[i]));
	say(what, "readahead", readahead(fd, 0, 100));
	say(what, "readahead of too much", readahead(fd, 0, (size_t)-1));
}

int main(int count, char **arguments)
{
	static const char *const names[] = { "text", "sub", "fifo" };

	if (count != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	snprintf(path, sizeof path, "%s/text", arguments[1]);
	in = open(path, O_RDONLY);
	limited(arguments[2]);
	unread();
	for (int i = 0; i < 3; i++) {
		int fd;

		snprintf(path, sizeof path, "%s/%s", arguments[1], names[i]);
		fd = open(path, O_RDONLY | O_NONBLOCK);
		advised(names[i], fd);
		close(fd);
	}
	snprintf(path, sizeof path, "%s/text", arguments[1]);
	advised("O_PATH", open(path, O_PATH));
	return 0;
}
