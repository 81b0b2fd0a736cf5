/* SPDX-License-Identifier: MIT
 *
 * Working directories, from remote to local and back, by every way there is: says after each step where it is and what it finds
 * there.  Arguments: a remote directory, a local one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *remote, *local, *self;

/* Names, not paths: those of the two sides differ between a run and its model. */
static void look(const char *step)
{
	static const char *const names[] = { "only-local", "text", "sub", "below", ".", "..", "../text", "../only-local", NULL };
	char path[4096], *last;

	last = getcwd(path, sizeof path) ? strrchr(path, '/') : NULL;
	printf("%s: %s", step, last && strcmp(path, remote) && strcmp(path, local) ? last : last ? path : strerror(errno));
	for (int i = 0; names[i]; i++) {
		struct stat st;

		printf(" %d", stat(names[i], &st) == 0 ? S_ISDIR(st.st_mode) ? 2 : 1 : -errno);
	}
	last = readlink("/proc/self/cwd", path, sizeof path - 1) < 0 ? "" : "link";
	printf(" %s\n", last);
	fflush(stdout);
}

static void go(const char *path)
{
	char step[64];
	int result = chdir(path);

	snprintf(step, sizeof step, "chdir %s %s", !strcmp(path, remote) ? "remote" : strrchr(path, '/') ? strrchr(path, '/') + 1 : path,
		 result ? strerror(errno) : "");
	look(step);
}

static void go_to(const char *what, int fd)
{
	char step[64];

	snprintf(step, sizeof step, "fchdir %s %s", what, fchdir(fd) ? strerror(errno) : "");
	look(step);
}

static void in_child(const char *step, int executes)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (child == 0) {
		look(step);
		if (executes)
			execl(self, self, remote, local, "look", (char *)NULL);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

static char shared[4096];
static _Atomic int over;

/* Another thread looks on while this one's chdir fails and succeeds: it's in one of the two, or in neither by its name. */
static void *look_on(void *bad)
{
	while (!over) {
		struct stat st;
		int in_local = stat("only-local", &st) == 0, in_remote = stat("text", &st) == 0;

		if (in_local && in_remote)	/* between the two calls it may have gone from local to remote, not the other way */
			(*(int *)bad)++;
	}
	return NULL;
}

int main(int count, char **argument)
{
	int here, there, closed, bad = 0;
	pthread_t other;

	self = argument[0];
	remote = argument[1];
	local = argument[2];
	if (count > 3) {
		look("executed");
		return 0;
	}
	go(local);
	here = open(".", O_RDONLY);
	go(remote);
	there = open(".", O_RDONLY | O_DIRECTORY);
	closed = open("text", O_RDONLY);
	go("sub");
	in_child("child", 1);
	go("..");
	go("missing");
	go("text");
	go(local);			/* where the kernel may have been all the while */
	in_child("child", 1);
	go(remote);
	snprintf(shared, sizeof shared, "%s/missing", local);
	go(shared);
	snprintf(shared, sizeof shared, "%s/only-local", local);
	go(shared);
	snprintf(shared, sizeof shared, "%s/locked", local);
	go(shared);
	snprintf(shared, sizeof shared, "%s/below", local);
	go(shared);			/* where it wasn't */
	in_child("child", 1);
	go("..");
	go_to("remote", there);
	go_to("file", closed);
	go_to("nothing", 999);
	go_to("local", here);
	go_to("remote", there);
	go(shared);
	go("missing");
	go_to("remote", there);
	go("/proc/self/cwd");
	go("/");
	go_to("remote", there);
	snprintf(shared, sizeof shared, "/proc/self/fd/%d", here);
	printf("by its link: %d\n", chdir(shared));
	look("link");
	go_to("remote", there);
	chdir((char *)8);
	look("nowhere");

	go(remote);
	pthread_create(&other, NULL, look_on, &bad);
	for (int i = 0; i < 50; i++) {
		snprintf(shared, sizeof shared, "%s/missing", local);
		if (chdir(shared) == 0 || chdir("sub") || chdir(remote))
			bad++;
	}
	over = 1;
	pthread_join(other, NULL);
	printf("bad %d\n", bad);
	return 0;
}
