/* SPDX-License-Identifier: MIT
 *
 * The table with the numbers of 32-bit programs on x86_64.
 */
#if defined(__x86_64__)
#include "syscalls_expand.h"

#ifdef __NR_read
#error A header has the numbers of 64-bit programs: those that 32-bit ones have not would be taken for theirs.
#endif
#include <asm/unistd_32.h>

const struct rc_syscall rc_calls_i386[] = {
#include "syscalls.h"
	/* The first mmap and select have their arguments in memory, where the filter can't look. */
	{ "old_select", NUMBER(select), RC_TEST_ASK, rc_do_old_select, { 0 } },
	{ "old_mmap", NUMBER(mmap), RC_TEST_ASK, rc_do_old_mmap, { 0 } },
};
const size_t rc_calls_i386_count = sizeof rc_calls_i386 / sizeof *rc_calls_i386;
#endif
