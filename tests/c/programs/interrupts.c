/* SPDX-License-Identifier: MIT
 *
 * interrupts BOX SERVER: calls that wait for BOX/waiting and BOX/closed, fifos, and BOX/lock, while signals come; SERVER is the same
 * directory as the other side sees it.  Prints what each call says, and whether a handler ran.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "older_libc.h"

enum { PAUSE_US = 30000, TIMES = 6 };

static char fifo[2100], closed[2100], lock[2100], far_fifo[2100], far_closed[2100], far_lock[2100];
static int in, writer, locked;
static volatile sig_atomic_t caught;

static void handler(int number)
{
	(void)number;
	caught = 1;
}

static long read_it(void)
{
	char text[8];

	return read(in, text, sizeof text);
}

static long readv_it(void)
{
	char text[8];
	struct iovec part = { text, sizeof text };

	return readv(in, &part, 1);
}

static long poll_it(void)
{
	return poll(&(struct pollfd){ in, POLLIN, 0 }, 1, -1);
}

static long select_it(void)
{
	fd_set set;

	FD_ZERO(&set);
	FD_SET(in, &set);
	return select(in + 1, &set, NULL, NULL, NULL);
}

static long epoll_it(void)
{
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(0);
	long result = epoll_ctl(set, EPOLL_CTL_ADD, in, &event);
	int error;

	if (!result)
		result = epoll_wait(set, &event, 1, -1);
	error = errno;
	close(set);
	errno = error;
	return result;
}

static long flock_it(void)
{
	int result = flock(locked, LOCK_EX);

	return result ? result : flock(locked, LOCK_UN);
}

static long lockf_it(void)
{
	struct flock range = { .l_type = F_RDLCK };
	int result = fcntl(locked, F_OFD_SETLKW, &range);

	range.l_type = F_UNLCK;
	return result ? result : fcntl(locked, F_OFD_SETLK, &range);
}

static long open_it(void)
{
	char text[8];
	int fd = open(closed, O_RDONLY);
	ssize_t got = fd < 0 ? fd : read(fd, text, sizeof text);

	if (fd >= 0)
		close(fd);
	return got;
}

static const struct {
	const char *name;
	long (*call)(void);
} calls[] = { { "read", read_it }, { "readv", readv_it }, { "poll", poll_it }, { "select", select_it }, { "epoll", epoll_it },
	      { "flock", flock_it }, { "F_OFD_SETLKW", lockf_it }, { "open", open_it } };

/* Another process: signals, and then what is waited for. */
static pid_t disturb(int number, pid_t whom, bool locks, bool opens, bool end)
{
	struct flock range = { .l_type = F_WRLCK };
	int ready[2], held;
	pid_t child;
	char byte;

	if (pipe(ready))
		exit(2);
	child = fork();
	if (child) {
		close(ready[1]);
		if (read(ready[0], &byte, 1) != 1)
			exit(2);
		close(ready[0]);
		return child;
	}
	held = open(far_lock, O_RDWR);
	if ((locks && (flock(held, LOCK_EX) || fcntl(held, F_OFD_SETLK, &range))) || write(ready[1], "", 1) != 1)
		_exit(2);
	for (int i = 0; i < TIMES || !end; i++) {
		usleep(PAUSE_US);
		kill(whom, number);
		if (number != SIGSTOP)
			continue;
		usleep(PAUSE_US);
		kill(whom, SIGCONT);
	}
	_exit(!locks && write(opens ? open(far_closed, O_WRONLY) : writer, "data", 4) != 4);
}

static void wait_in(int which, const char *how, int number, int flags, void (*action)(int), bool ends)
{
	struct sigaction act = { .sa_handler = action, .sa_flags = flags };
	bool locks = calls[which].call == flock_it || calls[which].call == lockf_it;
	int status = 0, error;
	pid_t child;
	long result;

	sigaction(number, &act, NULL);
	caught = 0;
	child = disturb(number, getpid(), locks, calls[which].call == open_it, ends);
	result = calls[which].call();
	error = errno;
	if (!ends)
		kill(child, SIGKILL);
	while (waitpid(child, &status, 0) < 0)
		;
	printf("%s, %s: %ld %s, %s, %d\n", calls[which].name, how, result, result < 0 ? errno_name(error) : "",
	       caught ? "handled" : "not handled", WEXITSTATUS(status));
	if (result == 1)		/* it's there to be read */
		read_it();
}

int main(int count, char **arguments)
{
	if (count != 3)
		return 2;
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	snprintf(fifo, sizeof fifo, "%s/waiting", arguments[1]);
	snprintf(closed, sizeof closed, "%s/closed", arguments[1]);
	snprintf(lock, sizeof lock, "%s/lock", arguments[1]);
	snprintf(far_fifo, sizeof far_fifo, "%s/waiting", arguments[2]);
	snprintf(far_closed, sizeof far_closed, "%s/closed", arguments[2]);
	snprintf(far_lock, sizeof far_lock, "%s/lock", arguments[2]);
	writer = open(far_fifo, O_RDWR);
	in = open(fifo, O_RDONLY | O_NONBLOCK);	/* a server answers a blocking open once there is something to read */
	locked = open(lock, O_RDONLY);
	if (writer < 0 || in < 0 || locked < 0 || fcntl(in, F_SETFL, 0))
		return 2;
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
		bool restarts = calls[i].call != poll_it && calls[i].call != select_it && calls[i].call != epoll_it;

		wait_in((int)i, "interrupted", SIGUSR1, 0, handler, false);
		wait_in((int)i, "SA_RESTART", SIGUSR1, SA_RESTART, handler, restarts);
		wait_in((int)i, "ignored", SIGUSR1, 0, SIG_IGN, true);
		wait_in((int)i, "ignored by default", SIGWINCH, 0, SIG_DFL, true);
	}
	wait_in(0, "stopped and continued", SIGSTOP, 0, SIG_DFL, true);
	return 0;
}
