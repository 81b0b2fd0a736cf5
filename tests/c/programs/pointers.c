/* SPDX-License-Identifier: MIT
 *
 * Each call that reads, with each of its pointers leading nowhere, on what is in argv[1]: the kernel says EFAULT, or doesn't
 * look.  Prints what each says, and where one is the end of the program, that.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "older_libc.h"

static int known, directory, out;
static char text_path[512], directory_path[512], missing_path[512], program_path[512], buffer[8192];
static char *edge;			/* what follows can't be read or written */

/* Arguments: k the file, d the directory, o a local file; K, D, M paths of those and of nothing, P and L of a program that is
 * there or local; b a buffer, n its size; v iovec, h open_how; a a list of strings, e one of which can't be read, u the
 * environment, without which a sanitizer would have no options; numbers. */
#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define CALL(name, arguments) { #name, TEXT(__NR_##name), arguments },
static const struct {
	const char *name, *number, *arguments;
} calls[] = {
	CALL(open, "K0") CALL(open, "M0") CALL(openat, "dK0") CALL(openat2, "dKhs") CALL(stat, "Kb") CALL(lstat, "Kb")
	CALL(stat, "Mb") CALL(newfstatat, "dKb0") CALL(newfstatat, "0Db0") CALL(stat64, "Kb") CALL(lstat64, "Db")
	CALL(fstatat64, "dKb0") CALL(statx, "dK01b") CALL(access, "K0") CALL(access, "M0") CALL(faccessat, "dK0")
	CALL(faccessat2, "dK00") CALL(readlink, "Kbn") CALL(readlinkat, "dKbn") CALL(getxattr, "Kxbn") CALL(lgetxattr, "Kxbn")
	CALL(fgetxattr, "kxbn") CALL(listxattr, "Kbn") CALL(llistxattr, "Kbn") CALL(flistxattr, "kbn")
	CALL(chdir, "D") CALL(read, "kbn") CALL(readv, "kv1") CALL(pread64, "kbn0") CALL(preadv, "kv10")
	CALL(preadv2, "kv1000") CALL(fstat, "kb") CALL(fstat, "db") CALL(fstat64, "kb") CALL(fstatfs, "kb")
	CALL(getdents64, "dbn") CALL(sendfile, "okb1") CALL(splice, "kbob10") CALL(inotify_add_watch, "oM1")
	CALL(getcwd, "bn") CALL(poll, "b20") CALL(write, "obn") CALL(write, "kbn")
	CALL(execve, "Lau") CALL(execve, "Lae") CALL(execve, "Pau") CALL(execve, "Pae") CALL(execve, "Peu")
	CALL(execveat, "dPau0") CALL(execveat, "dPae0")
};

static long good(char letter)
{
	static struct { void *base; size_t length; } vector = { buffer, 100 };
	static uint64_t how[3];
	static char *list[] = { "A=b", "LD_BIND_NOW=1", NULL };
	static char *unreadable[] = { "A=b", NULL, NULL };

	unreadable[1] = edge - 3;
	switch (letter) {
	case 'k': return known;
	case 'd': return directory;
	case 'o': return out;
	case 'K': return (long)text_path;
	case 'D': return (long)directory_path;
	case 'M': return (long)missing_path;
	case 'P': return (long)program_path;
	case 'L': return (long)"/bin/true";
	case 'a': return (long)list;
	case 'e': return (long)unreadable;
	case 'u': return (long)environ;
	case 'x': return (long)"user.none";
	case 'n': return 100;
	case 's': return sizeof how;
	case 'b': return (long)memset(buffer, 0, sizeof buffer);
	case 'v': return (long)&vector;
	case 'h': return (long)&how;
	default: return letter - '0';
	}
}

static void make(int which, long number, const long *a, const char *bad)
{
	pid_t child = fork();
	int status;

	if (!child) {
		long result;

		alarm(10);
		result = syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);

		printf("%s %s %s: %ld %s\n", calls[which].name, calls[which].arguments, bad, result,
		       result < 0 ? errno_name(errno) : "");
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, &status, 0);
	if (status)
		printf("%s %s %s: status %x\n", calls[which].name, calls[which].arguments, bad, status);
	fflush(stdout);
}

int main(int argc, char **argv)
{
	(void)argc;
	edge = (char *)mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + 4096;
	munmap(edge, 4096);
	snprintf(text_path, sizeof text_path, "%s/one", argv[1]);
	snprintf(directory_path, sizeof directory_path, "%s/sub", argv[1]);
	snprintf(missing_path, sizeof missing_path, "%s/nowhere/x", argv[1]);
	snprintf(program_path, sizeof program_path, "%s/true", argv[1]);
	known = open(text_path, O_RDONLY);
	directory = open(directory_path, O_RDONLY | O_DIRECTORY);
	out = memfd_create("out", 0);
	for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
		for (int j = 0; calls[i].arguments[j] && *calls[i].number <= '9'; j++) {
			const struct { const char *name; void *at; } bad[] = {
				{ "NULL", NULL }, { "low", (void *)9 }, { "high", (void *)(UINTPTR_MAX - 20) }, { "edge", edge - 2 },
			};
			char name[32];
			long a[6] = { 0 };

			if (!strchr("KDMPabuvxh", calls[i].arguments[j]))
				continue;
			memset(edge - 4096, '/', 4096);
			for (int k = 0; calls[i].arguments[k]; k++)
				a[k] = good(calls[i].arguments[k]);
			for (size_t k = 0; k < sizeof bad / sizeof *bad; k++) {
				if (calls[i].arguments[j] == 'u' && !bad[k].at)
					continue;
				a[j] = (long)bad[k].at;
				snprintf(name, sizeof name, "argument %d %s", j + 1, bad[k].name);
				make((int)i, atol(calls[i].number), a, name);
			}
		}
	return 0;
}
