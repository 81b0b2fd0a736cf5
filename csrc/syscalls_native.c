/* SPDX-License-Identifier: MIT
 *
 * The table with this machine's numbers, and the kinds of programs that its kernel runs.
 */
#include "syscalls_expand.h"

#include <asm/unistd.h>
#include <linux/audit.h>
#include <stdlib.h>

const struct rc_syscall rc_calls_native[] = {
#include "syscalls.h"
};
const size_t rc_calls_native_count = sizeof rc_calls_native / sizeof *rc_calls_native;

struct rc_abi rc_abis[] = {
#if defined(__x86_64__)
	{ .audit_arch = AUDIT_ARCH_X86_64, .calls = rc_calls_native,
	  .count = sizeof rc_calls_native / sizeof *rc_calls_native },
	{ .audit_arch = AUDIT_ARCH_I386, .narrow = true },
#elif defined(__aarch64__)
	{ .audit_arch = AUDIT_ARCH_AARCH64, .calls = rc_calls_native,
	  .count = sizeof rc_calls_native / sizeof *rc_calls_native },
#else
	{ .audit_arch = 0 },		/* no tier here: the filter isn't installed */
#endif
};
const size_t rc_abi_count = sizeof rc_abis / sizeof *rc_abis;

static void index_calls(struct rc_abi *abi)
{
	for (size_t i = 0; i < abi->count; i++) {
		const char *number = abi->calls[i].number;
		int n = *number >= '0' && *number <= '9' ? atoi(number) : -1;

		if (n >= abi->numbers)
			abi->numbers = n + 1;
	}
	abi->by_number = calloc((size_t)abi->numbers + 1, sizeof *abi->by_number);
	for (size_t i = 0; i < abi->count && abi->by_number; i++) {
		const char *number = abi->calls[i].number;

		/* The last row for a number wins. */
		if (*number >= '0' && *number <= '9')
			abi->by_number[atoi(number)] = &abi->calls[i];
	}
}

void rc_abis_prepare(void)
{
#if defined(__x86_64__)
	rc_abis[1].calls = rc_calls_i386;
	rc_abis[1].count = rc_calls_i386_count;
#endif
	for (size_t i = 0; i < rc_abi_count; i++)
		index_calls(&rc_abis[i]);
}
