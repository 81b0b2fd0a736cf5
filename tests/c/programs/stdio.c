/* SPDX-License-Identifier: MIT
 *
 * C streams on files below argv[1], which libc opens and reads by calls of its own; raw system calls; and what a program with a
 * 32-bit off_t is told of a file of 5 GiB.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <wchar.h>

#ifdef PAGE_IS_TAKEN		/* the library's own (csrc/sys.h), before that starts */
static void take_page(void)
{
	register long flags __asm__("r10") = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, fd __asm__("r8") = -1, at __asm__("r9") = 0;
	long result;

	__asm__ volatile("syscall" : "=a"(result)
			 : "a"(SYS_mmap), "D"(PAGE_IS_TAKEN), "S"(4096), "d"(PROT_READ), "r"(flags), "r"(fd), "r"(at)
			 : "rcx", "r11", "memory");
}
__attribute__((section(".preinit_array"), used)) static void (*before)(void) = take_page;
#endif

static char path[4096];

static const char *in_box(const char *box, const char *name)
{
	snprintf(path, sizeof path, "%s/%s", box, name);
	return path;
}

static void read_lines(const char *box)
{
	FILE *file = fopen(in_box(box, "text"), "r");
	size_t room = 0, bytes = 0, lines = 0;
	char *line = NULL, text[200], word[64];
	wchar_t wide[100];
	ssize_t got;
	int number;

	while ((got = getline(&line, &room, file)) > 0) {
		bytes += (size_t)got;
		lines++;
	}
	printf("%zu lines, %zu bytes, eof %d\n", lines, bytes, feof(file));
	printf("%d %s", fseeko(file, -40, SEEK_END), fgets(text, sizeof text, file));
	rewind(file);
	printf("%d ", fscanf(file, "%d %63s", &number, word));
	printf("%d %s %ld\n", number, word, ftell(file));
	ungetc('Z', file);
	printf("%c %ld %zu\n", getc(file), ftell(file), fread(text, 1, 100, file));
	file = freopen(path, "r", file);
	printf("%ls", fgetws(wide, 100, file));
	fclose(file);
	file = fdopen(open(path, O_RDONLY), "r");
	setvbuf(file, NULL, _IOFBF, 100);
	printf("%zu %s", fread(text, 1, 10, file), fgets(text, sizeof text, file));
	printf("%d\n", fileno(file) >= 0);
	fclose(file);
	file = fopen(in_box(box, "missing"), "r");
	printf("%d %d\n", file != NULL, errno == ENOENT);
	free(line);
}

int main(int argc, char **argv)
{
	static char buffer[65536];
	struct stat st;
	int fd;

	setlocale(LC_ALL, "C.UTF-8");
	read_lines(argv[1]);
	(void)argc;
#ifndef NO_RAW_CALLS
	fd = (int)syscall(SYS_openat, AT_FDCWD, in_box(argv[1], "text"), O_RDONLY);
	printf("%d %ld\n", fd >= 0, (long)syscall(SYS_read, fd, buffer, sizeof buffer));
	close(fd);
#endif
	fd = stat(in_box(argv[1], "sparse"), &st);
	printf("%d %d %lld\n", fd, fd ? errno : 0, fd ? 0LL : (long long)st.st_size);
	fd = open(path, O_RDONLY);
	printf("%d %d\n", fd >= 0, fd < 0 ? errno : 0);
	fd = open(in_box(argv[1], "bin"), O_RDONLY);
	printf("%ld %zd %ld\n", (long)lseek(fd, 2999990, SEEK_SET), read(fd, buffer, 100), (long)lseek(fd, 0, SEEK_CUR));
	printf("%zd %d\n", read(fd, (void *)8, 10), errno);
	return 0;
}
