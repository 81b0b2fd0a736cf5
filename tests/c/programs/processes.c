/* SPDX-License-Identifier: MIT
 *
 * What processes, threads and signal handlers may do with the descriptors of argv[1], a file of 100,000 lines of "seq":
 * prints results that don't depend on timing.  With "child" as argv[2] it says what it was handed instead.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "older_libc.h"

static const char *file, *self;
static int shared_fd;
extern char **environ;

static void show(const char *what, long value)
{
	printf("%s %ld%s%s\n", what, value, value < 0 ? " " : "", value < 0 ? errno_name(errno) : "");
	fflush(stdout);
}

static int wait_for(pid_t child)
{
	int status = -1;

	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	return status;
}

/* Four processes read one description: together they see each byte once. */
static void each_byte_once(void)
{
	int fd = open(file, O_RDONLY);
	long *sums = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0), bytes = 0, sum = 0;
	pid_t children[4];

	for (int i = 0; i < 4; i++) {
		children[i] = fork();
		if (!children[i]) {
			unsigned char part[777];
			ssize_t got;

			while ((got = read(fd, part, sizeof part)) > 0)
				for (ssize_t j = 0; j < got; j++) {
					sums[2 * i]++;
					sums[2 * i + 1] += part[j];
				}
			_exit(got < 0);
		}
	}
	for (int i = 0; i < 4; i++) {
		show("reader ended", wait_for(children[i]));
		bytes += sums[2 * i];
		sum += sums[2 * i + 1];
	}
	printf("bytes %ld sum %ld at %ld\n", bytes, sum, (long)lseek(fd, 0, SEEK_CUR));
	close(fd);
}

static void vfork_child(void)
{
	int fd = open(file, O_RDONLY), other = open(file, O_RDONLY | O_CLOEXEC);
	char text[8] = "";
	pid_t child = vfork();

	if (!child) {
		char number[2][16];

		dup2(fd, 0);
		snprintf(number[0], 16, "%d", fd);
		snprintf(number[1], 16, "%d", other);
		execl(self, self, file, "child", number[0], number[1], (char *)NULL);
		_exit(9);
	}
	show("vfork child", wait_for(child));
	show("offset moved", lseek(fd, 0, SEEK_CUR));
	show("mine still reads", read(fd, text, 4));
	show("the other reads", read(other, text, 4));
	show("closed", close(fd) + close(other));
}

static void spawned(char *const *environment)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC);
	posix_spawn_file_actions_t actions;
	char *argv[] = { (char *)self, (char *)file, "child", "-1", "-1", NULL };
	pid_t child;
	int error, status;

	lseek(fd, 10, SEEK_SET);
	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, fd, 0);
	error = posix_spawn(&child, self, &actions, NULL, argv, environment);
	status = error ? -1 : wait_for(child);
	show("posix_spawn", error);	/* after what the child has to say */
	show("spawned child", status);
	close(fd);
}

/* In a process that was exec'd: descriptor 0 is remote, argv[3] is open, argv[4] was close-on-exec. */
static int child(char **argv)
{
	char text[16] = "";
	struct stat st;

	printf("child read %zd", read(0, text, 6));
	printf(" %.6s", text);
	if (atoi(argv[3]) >= 0) {
		printf(", shared %ld", (long)lseek(atoi(argv[3]), 0, SEEK_CUR));
		printf(", close-on-exec %d", fcntl(atoi(argv[4]), F_GETFD));
	}
	printf(", can open %d\n", stat(file, &st));
	return 0;
}

static void passed(void)
{
	int pair[2], fd = open(file, O_RDONLY), got = -1;
	char byte = 'x', text[8] = "";
	ssize_t sent;
	struct iovec part = { &byte, 1 };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof fd)];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof control };

	socketpair(AF_UNIX, SOCK_STREAM, 0, pair);
	if (!fork()) {
		recvmsg(pair[1], &message, 0);
		memcpy(&got, CMSG_DATA(&control.header), sizeof got);
		printf("received %zd", read(got, text, 6));
		printf(" %.6s\n", text);
		fflush(stdout);
		_exit(0);
	}
	lseek(fd, 4, SEEK_SET);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	sent = sendmsg(pair[0], &message, 0);
	close(fd);
	wait(NULL);
	show("sent", sent);		/* after what the receiver has to say */
	close(pair[0]);
	close(pair[1]);
}

static volatile sig_atomic_t handled;

static void handler(int signal)
{
	int saved = errno;
	char text[32];

	(void)signal;
	if (pread(shared_fd, text, 4, 0) == 4 && !memcmp(text, "1\n2\n", 4) && read(shared_fd, text, 1) == 1)
		handled++;
	errno = saved;
}

/* A handler reads the descriptor while the same thread is inside a read of it. */
static void signals(void)
{
	struct itimerval often = { { 0, 500 }, { 0, 500 } }, never = { { 0, 0 }, { 0, 0 } };
	struct sigaction action = { .sa_handler = handler, .sa_flags = SA_RESTART };
	long bytes = 0, failed = 0;
	char part[512];
	ssize_t got;

	shared_fd = open(file, O_RDONLY);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	while ((got = read(shared_fd, part, sizeof part)) > 0)
		bytes += got;
	failed = got;
	setitimer(ITIMER_REAL, &never, NULL);
	show("read failed", failed);
	printf("all bytes: %d\n", bytes + handled == lseek(shared_fd, 0, SEEK_END));
	close(shared_fd);
}

static void *hammer(void *result)
{
	for (int i = 0; i < 300; i++) {
		int fd = open(file, O_RDONLY);
		char text[8] = "";

		if (fd < 0 || pread(fd, text, 4, 0) != 4 || memcmp(text, "1\n2\n", 4) || close(fd))
			++*(int *)result;
	}
	return NULL;
}

static void threads(void)
{
	pthread_t ids[8];
	int wrong[9] = { 0 };

	for (int i = 0; i < 8; i++)
		pthread_create(&ids[i], NULL, hammer, &wrong[i]);
	for (int i = 0; i < 10; i++) {
		pid_t one = fork();

		if (!one) {
			int mine = 0;

			alarm(20);
			hammer(&mine);
			_exit(mine != 0);
		}
		wrong[8] += wait_for(one) != 0;
	}
	for (int i = 0; i < 9; i++) {
		if (i < 8)
			pthread_join(ids[i], NULL);
		wrong[0] += i ? wrong[i] : 0;
	}
	show("threads and forks: wrong", wrong[0]);
}

static void *hammer_a_little(void *result)
{
	for (int i = 0; i < 40; i++) {
		int fd = open(file, O_RDONLY);
		struct stat st;
		char text[8];

		if (fd < 0 || fstat(fd, &st) || pread(fd, text, 4, st.st_size - 4) != 4 || memcmp(text, "000\n", 4) || close(fd))
			++*(int *)result;
	}
	return NULL;
}

/* 64 threads and, meanwhile, 64 processes, while another waits for what never comes. */
static void crowd(void)
{
	enum { MANY = 64 };
	pthread_t ids[MANY];
	pid_t children[MANY], waiting;
	int wrong[MANY] = { 0 }, all = 0, status;
	char fifo[4096];

	snprintf(fifo, sizeof fifo, "%.*sfifo", (int)(strrchr(file, '/') + 1 - file), file);
	waiting = fork();
	if (!waiting)
		_exit(open(fifo, O_RDONLY) >= 0);
	for (int i = 0; i < MANY; i++)
		pthread_create(&ids[i], NULL, hammer_a_little, &wrong[i]);
	for (int i = 0; i < MANY; i++)
		if (!(children[i] = fork())) {
			int mine = 0;

			hammer_a_little(&mine);
			_exit(mine != 0);
		}
	for (int i = 0; i < MANY; i++) {
		pthread_join(ids[i], NULL);
		all += wrong[i] + (wait_for(children[i]) != 0);
	}
	show("a crowd: wrong", all);
	kill(waiting, SIGKILL);
	show("it waited", waitpid(waiting, &status, 0) == waiting && WIFSIGNALED(status));
}

static void *look_around(void *result)
{
	struct stat st;
	char text[2];

	*(int *)result = open("/dev/null", O_RDONLY) < 0 || stat("/proc/self/exe", &st) || access("/", R_OK) ||
			 readlink("/proc/self/exe", text, sizeof text) < 0;
	return NULL;
}

/* On the smallest stack that a thread can have. */
static void narrow(void)
{
	pthread_attr_t attributes;
	pthread_t id;
	int wrong = 1;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, 16384);
	if (!pthread_create(&id, &attributes, look_around, &wrong))
		pthread_join(id, NULL);
	show("on a small stack: wrong", wrong);
}

static void ranges(void)
{
	int a = open(file, O_RDONLY), b = dup(a), c = fcntl(a, F_DUPFD, b + 1);
	char text[8];

	show("dup reads", read(c, text, 2) + read(b, text, 2));
	show("offset", lseek(a, 0, SEEK_CUR));
	show("close_range", close_range((unsigned)b, (unsigned)c, 0));
	show("gone", read(b, text, 1));
	show("here", read(a, text, 1));
	closefrom(3);
	show("gone", read(a, text, 1));
	show("and again", open(file, O_RDONLY) < 0);
}

int main(int argc, char **argv)
{
	char *bare[] = { "A=b", NULL };

	self = argv[0];
	file = argv[1];
	if (argc > 2)
		return child(argv);
	each_byte_once();
	vfork_child();
	spawned(environ);
	spawned(bare);
	passed();
	signals();
	threads();
	crowd();
	narrow();
	ranges();
	return 0;
}
