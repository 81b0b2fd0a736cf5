/* SPDX-License-Identifier: MIT
 *
 * records DIRECTORY...: getdents64 into buffers of many sizes, of several descriptors in turn, one of which goes back now and then
 * to where it was: what each call gives, down to the last byte that counts.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "older_libc.h"

struct record {
	uint64_t ino;
	int64_t offset;
	uint16_t length;
	uint8_t type;
	char name[];
};

static const unsigned sizes[] = { 0, 20, 24, 300, 48, 4096, 1, 700, 32768, 100 };
enum { SIZES = sizeof sizes / sizeof *sizes };
static char bytes[32768];

/* One call; where it ended, or -1: there is no more.  Where one that failed leaves the offset is the file system's affair. */
static off64_t take(const char *of, int fd, unsigned size)
{
	long got = syscall(SYS_getdents64, fd, bytes, size);
	off64_t at = lseek64(fd, 0, SEEK_CUR);

	if (got < 0)
		printf("%s, %u: %s\n", of, size, errno_name(errno));
	else
		printf("%s, %u: %ld, at %lld\n", of, size, got, (long long)at);
	for (long i = 0; i < got;) {
		struct record *r = (struct record *)(bytes + i);

		printf("\t%llu %lld %u %u %s\n", (unsigned long long)r->ino, (long long)r->offset, r->length, r->type, r->name);
		i += r->length;
	}
	return got ? at : -1;
}

int main(int argc, char **argv)
{
	for (int i = 1; i < argc; i++) {
		int first = open(argv[i], O_RDONLY | O_DIRECTORY), same = dup(first), other = open(argv[i], O_RDONLY | O_DIRECTORY);
		off64_t before = 0, at = 0;
		unsigned turn = 0, back = 0;

		printf("%s\n", argv[i]);
		while (at >= 0) {
			at = take(turn % 3 ? "first" : "its duplicate", turn % 3 ? first : same, sizes[turn % SIZES]);
			if (turn % 2)
				take("other", other, sizes[turn / 2 % SIZES]);
			if (turn % 16 == 5 && back++ < 5)
				lseek64(first, before, SEEK_SET);
			if (turn % 16 == 0)
				before = at;
			turn++;
		}
		lseek64(other, 0, SEEK_SET);
		while (take("other, anew", other, 600) >= 0)
			;
	}
	return 0;
}
