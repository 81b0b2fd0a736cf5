/* SPDX-License-Identifier: MIT */
#include "run_launch.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "route.h"
#include "run_command.h"
#include "sys.h"

/* The orders: strings one after the other, the path first. */
enum { MOST_ORDERS = 16, MOST_BYTES = RC_PATH_MAX * 4 };
struct trailer {
	char magic[8];
	uint32_t bytes, strings;
};
static const char magic[8] = { 'r', 'e', 'm', 'o', 't', 'e', 'c', '!' };

static int copy_self(int to)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct stat st;
	int bad = self < 0 || fstat(self, &st) ? -errno : 0;

	for (off_t at = 0; !bad && at < st.st_size;)
		if (sendfile(to, self, &at, (size_t)(st.st_size - at)) <= 0)
			bad = -EIO;
	if (self >= 0)
		close(self);
	return bad;
}

static int put(int to, const void *bytes, size_t count)
{
	return write(to, bytes, count) == (ssize_t)count ? 0 : -EIO;
}

int rc_launch_make(const char *path, const char *const *words)
{
	struct trailer trailer = { .bytes = (uint32_t)strlen(path) + 1, .strings = 1 };
	int fd = rc_sys_memfd("remotec-launch", MFD_CLOEXEC), bad;

	if (fd < 0)
		return fd;
	memcpy(trailer.magic, magic, sizeof magic);
	bad = copy_self(fd);
	if (!bad)
		bad = put(fd, path, trailer.bytes);
	for (; !bad && *words; words++) {
		bad = put(fd, *words, strlen(*words) + 1);
		trailer.bytes += (uint32_t)strlen(*words) + 1;
		trailer.strings++;
	}
	if (!bad)
		bad = trailer.strings > MOST_ORDERS || trailer.bytes > MOST_BYTES ? -E2BIG : put(fd, &trailer, sizeof trailer);
	if (!bad)
		return fd;
	close(fd);
	return bad;
}

static uint32_t read_orders(char *bytes, uint32_t *strings)
{
	int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	struct trailer trailer = { .bytes = 0 };
	struct stat st;
	off_t end;

	if (self < 0)
		return 0;
	end = fstat(self, &st) ? 0 : st.st_size - (off_t)sizeof trailer;
	if (end <= 0 || pread(self, &trailer, sizeof trailer, end) != sizeof trailer ||
	    memcmp(trailer.magic, magic, sizeof magic) || trailer.bytes > MOST_BYTES || trailer.strings > MOST_ORDERS ||
	    pread(self, bytes, trailer.bytes, end - trailer.bytes) != trailer.bytes)
		trailer.bytes = 0;
	close(self);
	*strings = trailer.strings;
	return trailer.bytes;
}

static void carry_out(char *orders, uint32_t strings, char **arguments)
{
	size_t count = 0, words = strings - 1;

	while (arguments[count])
		count++;
	char *all[count + words + 1];
	char **to = all, *word = orders;

	for (size_t i = 0; i < words; i++)
		*to++ = word += strlen(word) + 1;
	for (size_t i = words ? 1 : 0; i < count; i++)
		*to++ = arguments[i];
	*to = NULL;
	execv(orders, all);
	fprintf(stderr, "remotec: %s: %s\n", orders, strerror(errno));
	_exit(errno == ENOENT ? RC_RUN_NOT_FOUND : RC_RUN_NOT_EXECUTABLE);
}

void rc_launch(char **arguments)
{
	static char orders[MOST_BYTES];
	const char *started_as = (const char *)getauxval(AT_EXECFN);
	uint32_t strings;

	/* The name that supervise_exec.c gives it; nobody starts remotec-run itself by that. */
	if (started_as && !strncmp(started_as, "/proc/", 6) && read_orders(orders, &strings))
		carry_out(orders, strings, arguments);
}
