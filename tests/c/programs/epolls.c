/* SPDX-License-Identifier: MIT
 *
 * epolls BOX SERVER: epoll(7) in each of its ways, of BOX/waiting and BOX/other, fifos, beside local descriptors; SERVER is the same
 * directory as the other side sees it.  Prints what each call says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/select.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "older_libc.h"

enum { LONG = 9000, SHORT = 60, MOST = 8 };

static const char *box, *server;
static int in, out;		/* the fifo, as the program has it, and its writer */

static const char *path_of(const char *where, const char *name)
{
	static char paths[2][2100];
	static int turn;

	turn = !turn;
	snprintf(paths[turn], sizeof paths[turn], "%s/%s", where, name);
	return paths[turn];
}

static const char *failure(long result)
{
	return result < 0 ? errno_name(errno) : "";
}

static int control(int set, int operation, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	return epoll_ctl(set, operation, fd, &event);
}

static int add(int set, int fd, uint32_t events, uint64_t data)
{
	int result = control(set, EPOLL_CTL_ADD, fd, events, data);

	if (result)
		printf("  add %llu: %s\n", (unsigned long long)data, failure(result));
	return result;
}

static int by_data(const void *one, const void *other)
{
	const struct epoll_event *a = one, *b = other;

	return a->data.u64 < b->data.u64 ? -1 : a->data.u64 > b->data.u64;
}

static void print(const char *what, struct epoll_event *events, int result)
{
	printf("%s: %d %s", what, result, failure(result));
	if (result > 0)
		qsort(events, (size_t)result, sizeof *events, by_data);
	for (int i = 0; i < result; i++)
		printf(" %x of %llx", events[i].events, (unsigned long long)events[i].data.u64);
	printf("\n");
}

static void show(const char *what, int set, int most, int timeout_ms)
{
	struct epoll_event events[MOST];

	print(what, events, epoll_wait(set, events, most, timeout_ms));
}

/* Once `count` members are ready for just these events: what the server says of each arrives when it does. */
static void show_all(const char *what, int set, int count, uint32_t wanted)
{
	struct epoll_event events[MOST];
	int result = 0, all = 0;

	for (int tries = 0; tries < LONG && all < count; tries++) {
		all = 0;
		result = epoll_wait(set, events, MOST, 0);
		for (int i = 0; i < result; i++)
			all += events[i].events == wanted;
		if (all < count)
			usleep(1000);
	}
	print(what, events, result);
}

static void get(size_t count)
{
	char text[64];
	ssize_t got = read(in, text, count);

	printf("  read: %.*s %zd %s\n", got > 0 ? (int)got : 0, text, got, failure(got));
}

static void put(const char *text)
{
	if (write(out, text, strlen(text)) < 0)
		exit(2);
}

static void begin(const char *what, int flags)
{
	printf("%s\n", what);
	in = open(path_of(box, "waiting"), O_RDONLY | O_NONBLOCK);
	out = open(path_of(server, "waiting"), O_WRONLY);
	if (in < 0 || out < 0 || fcntl(in, F_SETFL, flags))
		exit(2);
}

/* Both ends are closed: what is left in the fifo goes with its last reader, which a server closes a moment later. */
static void emptied(void)
{
	int fd, tries = LONG;

	close(out);
	while (tries-- && (fd = open(path_of(server, "waiting"), O_WRONLY | O_NONBLOCK)) >= 0) {
		close(fd);
		usleep(1000);
	}
	if (tries < 0)
		printf("it's still open\n");
}

static void end(int set)
{
	close(in);
	close(set);
	emptied();
}

/* ---------------------------------------------------------------------------------------------------- errors */

static void errors(void)
{
	static const char *const names[] = { "waiting", "text", "many", "zero", "null", "random", "closed" };
	static const int operations[] = { EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL,
					  EPOLL_CTL_DEL, 77 };
	struct epoll_event event = { .events = EPOLLIN };
	int set = epoll_create1(EPOLL_CLOEXEC), local[2];

	if (pipe(local))
		exit(2);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		int fd = open(path_of(box, names[i]), O_RDONLY | O_NONBLOCK), sets[] = { -1, 399, local[0], fd, set };

		if (!strcmp(names[i], "closed"))
			close(fd);
		for (size_t k = 0; k < sizeof sets / sizeof *sets; k++)
			for (size_t o = 0; o < sizeof operations / sizeof *operations; o++) {
				int result = epoll_ctl(sets[k], operations[o], fd, &event);

				printf("%s, set %zu, operation %d: %d %s\n", names[i], k, operations[o], result, failure(result));
			}
		for (int operation = 1; operation <= 3; operation++) {
			long result = syscall(SYS_epoll_ctl, set, operation, fd, NULL);

			printf("%s, no event, operation %d: %ld %s\n", names[i], operation, result, failure(result));
			result = syscall(SYS_epoll_ctl, set, operation, fd, 8);
			printf("%s, bad event, operation %d: %ld %s\n", names[i], operation, result, failure(result));
		}
		close(fd);
	}
	begin("exclusive", O_NONBLOCK);
	printf("%d", control(set, EPOLL_CTL_ADD, in, EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT, 1));
	printf(" %s\n", failure(-1));
	printf("%d", control(set, EPOLL_CTL_ADD, in, EPOLLIN | EPOLLEXCLUSIVE | EPOLLET, 1));
	printf(" %d", control(set, EPOLL_CTL_MOD, in, EPOLLIN, 1));
	printf(" %s\n", failure(-1));
	show("no room", set, 0, 0);
	show("less", set, -1, 0);
	end(set);
}

/* ------------------------------------------------------------------------------------------------------ ways */

static void level(int flags)
{
	int set = epoll_create1(0);

	begin(flags ? "level" : "level, of one that blocks", flags);
	add(set, in, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 0x123456789abcdef0);
	show("nothing", set, MOST, 0);
	show("nothing for a while", set, MOST, SHORT);
	put("data");
	show("data", set, MOST, LONG);
	show("still", set, MOST, 0);
	get(1);
	show("the rest", set, MOST, 0);
	get(9);
	show("nothing left", set, MOST, 0);
	show("nothing left for a while", set, MOST, SHORT);
	put("more");
	show("more", set, MOST, LONG);
	printf("modify: %d\n", control(set, EPOLL_CTL_MOD, in, 0, 7));
	show("no events", set, MOST, SHORT);
	printf("modify: %d\n", control(set, EPOLL_CTL_MOD, in, EPOLLIN | EPOLLRDNORM, 8));
	show("events", set, MOST, SHORT);
	close(out);
	show_all("and hung up", set, 1, EPOLLIN | EPOLLRDNORM | EPOLLHUP);
	get(9);
	show("hung up", set, MOST, 0);
	get(9);
	show("still hung up", set, MOST, 0);
	out = open(path_of(server, "waiting"), O_WRONLY);
	put("again");
	show_all("a new writer", set, 1, EPOLLIN | EPOLLRDNORM);
	get(9);
	printf("delete: %d\n", control(set, EPOLL_CTL_DEL, in, 0, 0));
	put("x");
	show("deleted", set, MOST, SHORT);
	end(set);
}

static void edge(void)
{
	int set = epoll_create1(0);

	begin("edge", O_NONBLOCK);
	put("before");
	add(set, in, EPOLLIN | EPOLLET, 1);
	show("at first", set, MOST, LONG);
	show("once", set, MOST, SHORT);
	get(9);
	get(9);
	show("nothing", set, MOST, SHORT);
	put("data");
	show("data", set, MOST, LONG);
	show("once", set, MOST, SHORT);
	get(9);
	put("more");
	show("more", set, MOST, LONG);
	get(9);
	get(9);
	close(out);
	show("hung up", set, MOST, LONG);
	get(9);
	show("once", set, MOST, 3 * SHORT);
	out = open(path_of(server, "waiting"), O_WRONLY);
	put("new");
	show("a new writer", set, MOST, LONG);
	get(9);
	end(set);
}

static void once(void)
{
	int set = epoll_create1(0);

	begin("once", O_NONBLOCK);
	add(set, in, EPOLLIN | EPOLLONESHOT, 1);
	put("data");
	show("data", set, MOST, LONG);
	show("once", set, MOST, SHORT);
	get(9);
	put("more");
	show("still", set, MOST, SHORT);
	control(set, EPOLL_CTL_MOD, in, EPOLLIN | EPOLLONESHOT, 2);
	show("again", set, MOST, LONG);
	end(set);
}

/* -------------------------------------------------------------------------------------------------- together */

static void mixed(void)
{
	int set = epoll_create1(0), local[2], counter = eventfd(0, EFD_NONBLOCK), other, seen = 0;
	struct epoll_event event;
	uint64_t one = 1;

	begin("beside local ones", O_NONBLOCK);
	other = open(path_of(box, "other"), O_RDONLY | O_NONBLOCK);
	if (pipe(local) || other < 0)
		exit(2);
	add(set, local[0], EPOLLIN, 1);
	add(set, counter, EPOLLIN | EPOLLOUT, 2);
	add(set, in, EPOLLIN, 3);
	add(set, other, EPOLLIN, 4);
	show("one is ready", set, MOST, SHORT);
	put("data");
	control(set, EPOLL_CTL_MOD, counter, EPOLLIN, 2);
	show("the remote one", set, MOST, LONG);
	if (write(local[1], "x", 1) != 1 || write(counter, &one, sizeof one) != sizeof one)
		exit(2);
	show("three", set, MOST, LONG);
	for (int i = 0; i < 6; i++)
		if (epoll_wait(set, &event, 1, 0) == 1)
			seen |= 1 << event.data.u64;
	printf("one at a time: %x\n", seen);
	get(9);
	show("the local ones", set, MOST, 0);
	close(local[0]);
	close(local[1]);
	close(counter);
	close(other);
	show("closed", set, MOST, 0);
	end(set);
}

static void duplicates(void)
{
	int set = epoll_create1(0), again = dup(set), second, high;

	begin("duplicates", O_NONBLOCK);
	second = dup(in);
	high = fcntl(set, F_DUPFD_CLOEXEC, 300);
	add(set, in, EPOLLIN, 1);
	add(again, second, EPOLLIN, 2);
	printf("twice: %d", control(high, EPOLL_CTL_ADD, in, EPOLLIN, 3));
	printf(" %s\n", failure(-1));
	put("data");
	show_all("both", high, 2, EPOLLIN);
	close(set);
	printf("delete: %d\n", control(again, EPOLL_CTL_DEL, in, 0, 0));
	show("one", again, MOST, 0);
	close(second);
	show("closed, but for a duplicate", again, MOST, 0);
	second = dup(in);
	printf("another number: %d\n", control(again, EPOLL_CTL_ADD, second, EPOLLIN, 4));
	close(again);
	close(second);
	end(high);
}

static void closed(void)
{
	int set = epoll_create1(0), number;

	for (int i = 0; i < 3; i++) {
		begin("closed", O_NONBLOCK);
		number = in;
		add(set, in, EPOLLIN, (uint64_t)i);
		put("data");
		if (i == 1)
			close(out);
		show_all("data", set, 1, EPOLLIN | (i == 1 ? EPOLLHUP : 0));
		if (i == 2)
			dup2(0, in);
		close(in);
		show("closed", set, MOST, 0);
		show("for a while", set, MOST, SHORT);
		emptied();
	}
	begin("the number again", O_NONBLOCK);
	printf("%d\n", in == number);
	add(set, in, EPOLLIN, 9);
	close(set);
	set = epoll_create1(0);
	put("data");
	show("another set", set, MOST, SHORT);
	add(set, in, EPOLLIN, 10);
	show("in both", set, MOST, LONG);
	end(set);
}

static void poll_set(int set, int timeout_ms)
{
	struct pollfd polled = { set, POLLIN, 0 };
	int result = poll(&polled, 1, timeout_ms);

	printf("poll: %d %x\n", result, polled.revents);
}

static void nested(void)
{
	int set = epoll_create1(0), outer = epoll_create1(0);
	struct timeval time = { 0 };
	fd_set sets;

	begin("nested", O_NONBLOCK);
	add(set, in, EPOLLIN, 1);
	add(outer, set, EPOLLIN, 2);
	show("nothing", outer, MOST, 0);
	poll_set(set, 0);
	put("data");
	show("outer", outer, MOST, LONG);
	show("inner", set, MOST, 0);
	poll_set(set, LONG);
	FD_ZERO(&sets);
	FD_SET(set, &sets);
	printf("select: %d\n", select(set + 1, &sets, NULL, NULL, &time));
	get(9);
	show("nothing left", outer, MOST, 0);
	poll_set(set, 0);
	close(outer);
	end(set);
}

/* -------------------------------------------------------------------------------- processes, threads, signals */

static void forked(void)
{
	int set = epoll_create1(0), status, over[2];
	pid_t child;
	char byte;

	begin("another process", O_NONBLOCK);
	add(set, in, EPOLLIN, 1);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		show("in the child", set, MOST, LONG);
		get(2);
		show("the rest", set, MOST, 0);
		add(set, dup(in), EPOLLIN, 2);
		fflush(stdout);
		_exit(0);
	}
	put("data");
	waitpid(child, &status, 0);
	show_all("here", set, 2, EPOLLIN);
	get(9);
	show("nothing left", set, MOST, 0);
	put("more");
	show_all("more", set, 2, EPOLLIN);
	close(in);
	show("closed", set, MOST, SHORT);
	end(set);
	/* As a daemon does: who added it is gone. */
	pipe(over);
	set = epoll_create1(0);
	begin("an orphan", O_NONBLOCK);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		add(set, in, EPOLLIN, 3);
		if (fork())
			_exit(0);
		usleep(SHORT * 1000);
		show("the orphan", set, MOST, LONG);
		get(9);
		show("nothing left", set, MOST, 0);
		fflush(stdout);
		_exit(0);
	}
	close(in);
	waitpid(child, &status, 0);
	put("data");
	close(over[1]);
	read(over[0], &byte, 1);	/* until the orphan has ended, too */
	close(over[0]);
	end(set);
}

static void *wait_for_it(void *of)
{
	show("in the thread", *(int *)of, MOST, LONG);
	return NULL;
}

static void threads(void)
{
	int set = epoll_create1(0);
	pthread_t thread;

	begin("a thread that waits already", O_NONBLOCK);
	pthread_create(&thread, NULL, wait_for_it, &set);
	usleep(SHORT * 1000);
	add(set, in, EPOLLIN | EPOLLET, 1);
	usleep(SHORT * 1000);
	put("data");
	pthread_join(thread, NULL);
	end(set);
}

static volatile sig_atomic_t caught;

static void handler(int number)
{
	caught = number;
}

static void signals(void)
{
	struct sigaction act = { .sa_handler = handler, .sa_flags = SA_RESTART };
	struct timespec time = { 0, SHORT * 1000000 };
	struct epoll_event event;
	int set = epoll_create1(0), status, result;
	sigset_t blocked, none;
	pid_t child;

	begin("signals", O_NONBLOCK);
	add(set, in, EPOLLIN, 1);
	sigaction(SIGUSR1, &act, NULL);
	sigemptyset(&none);
	sigemptyset(&blocked);
	sigaddset(&blocked, SIGUSR1);
	fflush(stdout);
	child = fork();
	if (child == 0) {
		for (;;) {		/* the first may come before it waits */
			usleep(SHORT * 1000);
			kill(getppid(), SIGUSR1);
		}
	}
	show("interrupted", set, MOST, LONG);
	kill(child, SIGKILL);
	printf("caught: %d\n", caught == SIGUSR1);
	waitpid(child, &status, 0);
	caught = 0;
	sigprocmask(SIG_BLOCK, &blocked, NULL);
	raise(SIGUSR1);
	show("blocked", set, MOST, SHORT);
	result = epoll_pwait(set, &event, 1, LONG, &none);
	printf("unblocked: %d %s, caught %d\n", result, failure(result), caught == SIGUSR1);
	result = epoll_pwait(set, &event, 1, SHORT, &blocked);
	printf("blocked: %d\n", result);
	result = epoll_pwait2(set, &event, 1, &time, &blocked);
	printf("nanoseconds: %d\n", result);
	put("data");
	result = epoll_pwait2(set, &event, 1, NULL, &none);
	printf("ready: %d %x\n", result, event.events);
	sigprocmask(SIG_UNBLOCK, &blocked, NULL);
	end(set);
}

int main(int count, char **arguments)
{
	if (count != 3)
		return 2;
	box = arguments[1];
	server = arguments[2];
	errors();
	level(O_NONBLOCK);
	level(0);
	edge();
	once();
	mixed();
	duplicates();
	closed();
	nested();
	forked();
	threads();
	signals();
	return 0;
}
