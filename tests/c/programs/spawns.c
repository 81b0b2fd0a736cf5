/* SPDX-License-Identifier: MIT
 *
 * What a spawned program is given to read and where it starts, by file actions.  The arguments: a directory with what the tests'
 * tree has.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "older_libc.h"

extern char **environ;

static const char *box;
static posix_spawn_file_actions_t actions;

static const char *path_of(const char *name)
{
	static char path[4200];

	snprintf(path, sizeof path, "%s/%s", box, name);
	return path;
}

static void say(const char *what, int error)
{
	if (error)
		printf("  %s: %s\n", what, errno_name(error));
}

#define ADD(call) say(#call, call)

static void run(const char *what, const char *program, const char *script)
{
	char *arguments[] = { (char *)program, script ? "-c" : NULL, (char *)script, NULL };
	int status = -1, error;
	pid_t child;

	printf("== %s\n", what);
	fflush(stdout);
	error = posix_spawnp(&child, program, &actions, NULL, arguments, environ);
	if (!error)
		waitpid(child, &status, 0);
	printf("%s %x\n", error ? errno_name(error) : "0", status);
	fflush(stdout);
}

static void begin(void)
{
	posix_spawn_file_actions_init(&actions);
}

static void end(void)
{
	posix_spawn_file_actions_destroy(&actions);
}

static void opened(void)
{
	begin();
	ADD(posix_spawn_file_actions_addopen(&actions, 0, path_of("text"), O_RDONLY, 0));
	ADD(posix_spawn_file_actions_adddup2(&actions, 0, 7));
	run("a file", "sh", "head -n 2; tail -n 1 <&7");
	run("the same again", "sh", "read x; echo $x");
	ADD(posix_spawn_file_actions_addopen(&actions, 0, path_of("many"), O_RDONLY | O_DIRECTORY, 0));
	run("a directory", "sh", "cat; ls /dev/fd/0/ | head -n 3");
	end();
}

static void directories(void)
{
	begin();
	ADD(posix_spawn_file_actions_addchdir_np(&actions, path_of("many")));
	run("a directory", "sh", "pwd; ls | head -n 3; cd ..; pwd; ls -d text; cd /; pwd; ls -d usr");
	run("by its path", "/bin/pwd", NULL);
	ADD(posix_spawn_file_actions_addopen(&actions, 0, "../text", O_RDONLY, 0));
	run("a file from there", "sh", "head -n 1; ls | tail -n 1");
	ADD(posix_spawn_file_actions_addchdir_np(&actions, ".."));
	run("and on", "sh", "pwd; ls -d text");
	ADD(posix_spawn_file_actions_addchdir_np(&actions, "/usr"));
	run("and to another", "sh", "pwd; ls -d lib; /bin/pwd");
	end();
	begin();
	ADD(posix_spawn_file_actions_addchdir_np(&actions, "/usr"));
	ADD(posix_spawn_file_actions_addopen(&actions, 0, path_of("text"), O_RDONLY, 0));
	run("the other way round", "sh", "pwd; head -n 1");
	end();
}

static void by_descriptor(void)
{
	int fd = open(path_of("many"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	begin();
	ADD(posix_spawn_file_actions_addfchdir_np(&actions, fd));
	run("a descriptor's", "sh", "pwd; ls | head -n 3");
	close(fd);
	end();
}

static int count(void)
{
	int open = 0;

	for (int fd = 0; fd < 3000; fd++)
		open += fcntl(fd, F_GETFD) >= 0;
	return open;
}

int main(int argc, char **argv)
{
	int before = count();

	box = argv[argc - 1];
	opened();
	directories();
	by_descriptor();
	for (int i = 0; i < 600; i++) {		/* more than are kept at once */
		if (i)
			end();
		begin();
		ADD(posix_spawn_file_actions_addopen(&actions, 0, path_of("text"), O_RDONLY, 0));
	}
	run("the last of many", "head", NULL);
	end();
	printf("open: %d\n", count() - before);
	return 0;
}
