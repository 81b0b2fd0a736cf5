/* SPDX-License-Identifier: MIT
 *
 * What these programs use and glibc 2.31 hasn't got.
 */
#pragma once
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#if __GLIBC_PREREQ(2, 32)
#define errno_name(error) strerrorname_np(error)
#else
/* The error's number. */
static inline const char *errno_name(int error)
{
	static _Thread_local char number[16];

	snprintf(number, sizeof number, "%d", error);
	return number;
}
#endif

#if !__GLIBC_PREREQ(2, 34)
#undef SYS_close_range
#define SYS_close_range 436

static inline int close_range(unsigned first, unsigned last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

static inline void closefrom(int first)
{
	close_range((unsigned)first, UINT_MAX, 0);
}
#endif
