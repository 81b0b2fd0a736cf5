/* SPDX-License-Identifier: MIT
 *
 * executes BOX: executes remote programs and scripts where that is hard: beside other threads, from a thread that isn't the
 * first, while signals come, of what is missing (and goes on), and by a descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static char box[2000], path[2100];
extern char **environ;

static const char *in_box(const char *name)
{
	snprintf(path, sizeof path, "%s/%s", box, name);
	return path;
}

static void handler(int number)
{
	(void)number;
}

static void *spin(void *unused)
{
	for (;;)
		usleep(100);
	return unused;
}

static void *execute(void *name)
{
	char *arguments[] = { "x", "-d", box, NULL };

	execv(in_box(name), arguments);
	_exit(99);
}

static void say(const char *what, pid_t child)
{
	int status;

	waitpid(child, &status, 0);
	printf("%s: %x\n", what, status);
	fflush(stdout);
}

int main(int count, char **arguments)
{
	static const char *const hopeless[] = { "missing", "text", "many", "bad", "many/x/y" };
	char *none[] = { "none", "a", NULL };
	pthread_t thread;
	pid_t child;
	int failed = 0;

	if (count != 2)
		return 2;
	strcpy(box, arguments[1]);
	setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	for (int i = 0; i < 5; i++) {
		int result = execv(in_box(hopeless[i]), none);
		printf("%s: %d %s\n", hopeless[i], result, strerror(errno));
	}
	if ((child = fork()) == 0) {
		pthread_create(&thread, NULL, spin, NULL);
		pthread_create(&thread, NULL, execute, "elf");
		pause();
	}
	say("from another thread", child);
	if ((child = fork()) == 0) {
		int fd = open(in_box("elf"), O_RDONLY | O_CLOEXEC);

		fexecve(fd, (char *[]){ "y", "-d", box, NULL }, environ);
		_exit(98);
	}
	say("by a descriptor", child);
	if ((child = vfork()) == 0) {
		execv(in_box("script"), none);
		_exit(97);
	}
	say("after vfork", child);
	printf("the same path as before: %s\n", path + strlen(box));
	signal(SIGWINCH, handler);
	for (int i = 0; i < 40; i++) {
		int status;

		if ((child = fork()) == 0) {
			execv(in_box(i % 2 ? "true" : "quiet"), none);
			_exit(96);
		}
		while (waitpid(child, &status, WNOHANG) == 0) {
			kill(child, SIGWINCH);
			usleep(50);
		}
		failed += status != 0;
	}
	printf("%d of 40 failed\n", failed);
	return 0;
}
