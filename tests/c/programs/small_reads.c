/* SPDX-License-Identifier: MIT
 *
 * Small reads of argv[1]/bin one after the other, among them such as end early or move the offset behind the reader's back.
 * Prints what each gave, and where it left the file.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "older_libc.h"

static int fd;
static char buffer[20000];

static void say(const char *what, long result)
{
	uint64_t hash = 14695981039346656037u;

	for (long i = 0; i < result; i++)
		hash = (hash ^ (uint8_t)buffer[i]) * 1099511628211u;
	printf("%s %ld %s %016llx at %ld\n", what, result, result < 0 ? errno_name(errno) : "", (unsigned long long)hash,
	       (long)lseek(fd, 0, SEEK_CUR));
}

/* `good` bytes of a buffer that ends there. */
static void read_to_an_edge(char *edge, size_t good)
{
	long got = read(fd, edge - good, 6000);

	if (got > 0)
		memcpy(buffer, edge - good, (size_t)got);
	say("edge", got);
}

static void read_elsewhere(void)
{
	pid_t child;

	fflush(stdout);
	child = fork();
	if (!child) {
		say("child", read(fd, buffer, 700));
		fflush(stdout);
		_exit(0);
	}
	waitpid(child, NULL, 0);
}

int main(int argc, char **argv)
{
	static const size_t sizes[] = { 4096, 1, 13, 4095, 5000, 9000, 4096, 16383, 20000, 4096 };
	char path[4096], *edge = mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	int other;

	(void)argc;
	edge += 8192;
	munmap(edge, 8192);
	snprintf(path, sizeof path, "%s/bin", argv[1]);
	fd = open(path, O_RDONLY);
	other = dup(fd);
	for (int i = 0; i < 400; i++) {
		struct iovec parts[] = { { buffer, 10 }, { buffer + 10, 0 }, { buffer + 10, 3000 }, { buffer + 3010, 1000 } };

		say("read", read(fd, buffer, sizes[i % 10]));
		switch (i % 20) {
		case 2: say("readv", readv(fd, parts, 4)); break;
		case 4: read_to_an_edge(edge, i % 3 ? 4096 + (size_t)i : 5); break;
		case 6: say("dup", read(other, buffer, 4096)); break;
		case 8: say("pread", pread(fd, buffer, 4096, 100 + i)); break;
		case 10: say("by number", syscall(SYS_read, fd, buffer, 300)); break;
		case 12: say("moved", syscall(SYS_lseek, fd, 5, SEEK_CUR) - lseek(fd, 0, SEEK_CUR)); break;
		case 14: lseek(fd, i % 40 ? -70000 : 3, SEEK_CUR); break;
		case 16: if (i > 300) read_elsewhere(); break;
		case 18: lseek(other, 300000, SEEK_CUR); break;
		}
	}
	lseek(fd, -10000, SEEK_END);
	for (int i = 0; i < 5; i++)
		say("end", read(fd, buffer, 4096));
	lseek(fd, 7, SEEK_SET);
	say("again", read(fd, buffer, 4096));
	return 0;
}
