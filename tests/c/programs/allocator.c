/* SPDX-License-Identifier: MIT
 *
 * A library with an allocator that reads its configuration in the first call, under a lock that a second call would wait for
 * for ever, as jemalloc's does: that of $READS, and which link it is.  That call
 * comes before other libraries have begun.  It maps the file, too, by a mmap() of its own that is made of syscall(), as tcmalloc's.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

static _Alignas(16) char memory[64 << 20];
static size_t used;

static void say(const char *text)
{
	(void)!write(1, text, strlen(text));
}

static void configure(void)
{
	char text[100] = "";
	int fd = open(getenv("READS"), O_RDONLY | O_CLOEXEC);

	(void)!read(fd, text, 6);
	close(fd);
	(void)!readlink(getenv("READS"), text + 6, sizeof text - 7);
	say(text);
	say("\n");
}

void *memalign(size_t alignment, size_t size)
{
	static bool locked;
	char *at;

	if (!used++) {
		locked = true;
		configure();
		locked = false;
	}
	if (locked) {
		say("waits for itself\n");
		_exit(1);
	}
	at = (char *)(((uintptr_t)memory + used + 16 + alignment - 1) / alignment * alignment);
	used = (size_t)(at - memory) + size;
	((size_t *)at)[-1] = size;
	return at;
}

void *malloc(size_t size)
{
	return memalign(16, size);
}

void *calloc(size_t count, size_t size)
{
	return malloc(count * size);
}

void *realloc(void *old, size_t size)
{
	size_t had = old ? ((size_t *)old)[-1] : 0;

	return memcpy(malloc(size), old ? old : "", had < size ? had : size);
}

void free(void *at)
{
	(void)at;
}

void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
	return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}

__attribute__((constructor)) static void start(void)
{
	int fd;
	char *at;

	free(malloc(1));
	fd = open(getenv("READS"), O_RDONLY | O_CLOEXEC);
	at = mmap(NULL, 6, PROT_READ, MAP_PRIVATE, fd, 0);
	(void)!write(1, at == MAP_FAILED ? "none" : at, 4);
	close(fd);
}
