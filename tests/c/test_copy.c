/* SPDX-License-Identifier: MIT
 *
 * Copies into buffers that are partly bad, beside the kernel's own: how many bytes, and nothing outside of the buffer.
 */
#include "sys.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { PAGE = 4096, PAGES = 6, BAD = 3 };

static const size_t sizes[] = { 0, 1, 7, 8, 9, 100, PAGE - 1, PAGE, PAGE + 5, 2 * PAGE + 3, 3 * PAGE };
static const int offsets[] = { 0, 1, 3, 8, 2000, PAGE - 9, PAGE - 8, PAGE - 4, PAGE - 1 };

static char *new_area(void)
{
	char *area = mmap(NULL, PAGES * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	memset(area, 'u', PAGES * PAGE);
	mprotect(area + BAD * PAGE, PAGE, PROT_READ);
	return area;
}

int main(void)
{
	static char from[PAGES * PAGE];
	char *ours = new_area(), *kernels = new_area();
	int failures = 0, file = memfd_create("from", 0);

	for (size_t i = 0; i < sizeof from; i++)
		from[i] = (char)(i * 7 + i / 251);
	if (write(file, from, sizeof from) != sizeof from)
		return 2;
	for (int page = 0; page < PAGES; page++)
		for (size_t o = 0; o < sizeof offsets / sizeof *offsets; o++)
			for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
				size_t at = (size_t)page * PAGE + (size_t)offsets[o], count = sizes[s];

				if (at + count > PAGES * PAGE)
					continue;
				size_t got = rc_copy_most(ours + at, from, count);
				ssize_t want = pread(file, kernels + at, count, 0);

				if (got != (size_t)(want < 0 ? 0 : want) || memcmp(ours, kernels, PAGES * PAGE)) {
					printf("%zu bytes at %zu: %zu, not %zd\n", count, at, got, want);
					failures++;
				}
			}
	if (rc_copy_out(NULL, from, 8) != -EFAULT || rc_copy_out((void *)(uintptr_t)-4, from, 100) != -EFAULT ||
	    rc_copy_out(ours, from, 100) != 0)
		failures++;
	printf("%d failed\n", failures);
	return failures != 0;
}
