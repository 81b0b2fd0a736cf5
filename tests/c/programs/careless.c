/* SPDX-License-Identifier: MIT
 *
 * What programs do to one another's descriptors, to themselves and to the kernel: careless DIRECTORY, which holds
 * f0, f1 and f2 (a MiB of the digit each) and `huge` (3 GiB, a hole).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { MIB = 1 << 20, PIECE = 65536 };

static const char *directory;
static char path[4096];

static const char *name(const char *of)
{
	snprintf(path, sizeof path, "%s/%s", directory, of);
	return path;
}

static int open_digit(int digit)
{
	char own[4096];

	snprintf(own, sizeof own, "%s/f%d", directory, digit);
	return open(own, O_RDONLY);
}

static void show(const char *what, long result)
{
	printf("%s %ld%s%s\n", what, result, result < 0 ? " " : "", result < 0 ? strerror(errno) : "");
	fflush(stdout);
}

static int all(const char *bytes, ssize_t count, char digit)
{
	for (ssize_t i = 0; i < count; i++)
		if (bytes[i] != digit)
			return 0;
	return 1;
}

/* One thread reads a number, another puts other files in its place, a third reads files of its own. */
static volatile int stop;
static int number;

static void *read_number(void *bad)
{
	char *bytes = malloc(PIECE);

	while (!stop) {
		ssize_t got = read(number, bytes, PIECE);

		if (got < 0 || (got && !all(bytes, got, bytes[0])) || (got && bytes[0] != '0' && bytes[0] != '1'))
			++*(long *)bad;
		if (!got)
			lseek(number, 0, SEEK_SET);
	}
	free(bytes);
	return NULL;
}

static void *read_own(void *bad)
{
	char *bytes = malloc(PIECE);

	while (!stop) {
		int fd = open_digit(2);
		ssize_t got, sum = 0;

		while ((got = read(fd, bytes, PIECE)) > 0 && all(bytes, got, '2'))
			sum += got;
		*(long *)bad += sum != MIB;
		close(fd);
	}
	free(bytes);
	return NULL;
}

static void replaced(void)
{
	long bad[3] = { 0 };
	pthread_t readers[3];

	number = open_digit(0);
	pthread_create(&readers[0], NULL, read_number, &bad[0]);
	pthread_create(&readers[1], NULL, read_own, &bad[1]);
	pthread_create(&readers[2], NULL, read_own, &bad[2]);
	for (int i = 0; i < 300; i++) {
		int fd = open_digit(i % 2);

		dup2(fd, number);
		close(fd);
		usleep(rand() % 3000);
	}
	stop = 1;
	for (int i = 0; i < 3; i++)
		pthread_join(readers[i], NULL);
	show("of what is replaced: wrong", bad[0]);
	show("of others: wrong", bad[1] + bad[2]);
	close(number);
}

/* A child that reads on from where its parent is, and puts the offset back. */
static int read_and_go_back(void *fd)
{
	char bytes[PIECE];
	off_t at = lseek(*(int *)fd, 0, SEEK_CUR);
	ssize_t got = read(*(int *)fd, bytes, sizeof bytes);

	lseek(*(int *)fd, at, SEEK_SET);
	return got != sizeof bytes;
}

static pid_t begin(int how, int *fd)
{
	struct clone_args arguments = { .exit_signal = SIGCHLD };
	static char stack[1 << 20];
	pid_t child;

	if (how == 0)
		return clone(read_and_go_back, stack + sizeof stack, SIGCHLD, fd);
	child = how == 1 ? (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments) : fork();
	if (!child)
		syscall(SYS_exit_group, read_and_go_back(fd));
	return child;
}

static void copied(void)
{
	for (int how = 0; how < 3; how++) {
		int fd = open(name("huge"), O_RDONLY), wrong = 0, status = 0;
		uint64_t at[2] = { 0 };
		char bytes[PIECE];

		for (int i = 0; i < 40; i++) {
			wrong += read(fd, bytes, sizeof bytes) != sizeof bytes || lseek(fd, 0, SEEK_CUR) != (i + 1) * PIECE;
			/* The marks that the hole has. */
			memcpy(&at[0], bytes, sizeof at[0]);
			wrong += i < 32 && at[0] != (uint64_t)i + 1;
			if (i == 5) {
				waitpid(begin(how, &fd), &status, 0);
				wrong += status != 0;
			}
		}
		show("after a child by other means: wrong", wrong);
		close(fd);
	}
}

static void spawned(void)
{
	char *words[] = { "true", NULL };
	posix_spawn_file_actions_t actions;
	pid_t child;

	posix_spawn_file_actions_init(&actions);
	errno = 0;
	show("to open what isn't there", posix_spawn_file_actions_addopen(&actions, 0, name("missing"), O_RDONLY, 0));
	show("spawned", posix_spawn(&child, "/bin/true", &actions, NULL, words, environ));
	show("to open as no number", posix_spawn_file_actions_addopen(&actions, -1, name("f0"), O_RDONLY, 0));
	posix_spawn_file_actions_destroy(&actions);
}

static void *read_pieces(void *of)
{
	int *fd = of, bad = 0;
	char bytes[PIECE];

	for (int i = 0; i < 50; i++) {
		ssize_t got = pread(*fd, bytes, sizeof bytes, rand() % (MIB - PIECE));

		bad += got != sizeof bytes || !all(bytes, got, '1');
	}
	return (void *)(intptr_t)bad;
}

static void full(void)
{
	struct rlimit limit, before;
	pthread_t readers[4];
	int first, fd, bad = 0;

	getrlimit(RLIMIT_NOFILE, &before);
	limit = before;
	limit.rlim_cur = 64;
	setrlimit(RLIMIT_NOFILE, &limit);
	fd = open_digit(1);
	for (first = fd; open("/dev/null", O_RDONLY) >= 0;)
		;
	show("no more", open("/dev/null", O_RDONLY));
	for (int i = 0; i < 4; i++)
		pthread_create(&readers[i], NULL, read_pieces, &fd);
	for (int i = 0; i < 4; i++) {
		void *wrong;

		pthread_join(readers[i], &wrong);
		bad += (int)(intptr_t)wrong;
	}
	show("with all numbers taken: wrong", bad);
	for (int i = fd; i < 64; i++)
		close(i);
	setrlimit(RLIMIT_NOFILE, &before);
}

static void control(void)
{
	_Alignas(struct cmsghdr) char bytes[CMSG_SPACE(sizeof(int))] = { 0 };
	struct iovec part = { "x", 1 };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = bytes, .msg_controllen = sizeof bytes };
	struct cmsghdr *c = CMSG_FIRSTHDR(&message);
	int pair[2];

	socketpair(AF_UNIX, SOCK_DGRAM, 0, pair);
	*c = (struct cmsghdr){ .cmsg_len = SIZE_MAX, .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS };
	show("control data that is longer than it is", sendmsg(pair[0], &message, 0));
	c->cmsg_len = CMSG_LEN(0) - 1;
	show("and shorter", sendmsg(pair[0], &message, 0));
	close(pair[0]);
	close(pair[1]);
}

static void much(void)
{
	enum { PARTS = 1024, EACH = 4 << 20 };
	static struct iovec parts[PARTS];
	char *bytes = malloc(EACH);
	int fd = open(name("huge"), O_RDONLY);

	for (int i = 0; i < PARTS; i++)
		parts[i] = (struct iovec){ bytes, EACH };
	show("of 4 GiB", preadv(fd, parts, PARTS, 0));
	close(fd);
	free(bytes);
}

int main(int count, char **words)
{
	directory = words[count - 1];
	replaced();
	copied();
	spawned();
	full();
	control();
	much();
	return 0;
}
