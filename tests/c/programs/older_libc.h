/* SPDX-License-Identifier: MIT
 *
 * What these programs use and glibc 2.31 hasn't got.
 */
#pragma once
#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#if __GLIBC_PREREQ(2, 32)
#define errno_name(error) strerrorname_np(error)
#else
static inline const char *errno_name(int error)
{
#define NAME(error) [error] = #error,
	static const char *const names[] = {
		NAME(EPERM) NAME(ENOENT) NAME(ESRCH) NAME(EINTR) NAME(EIO) NAME(ENXIO) NAME(E2BIG) NAME(ENOEXEC) NAME(EBADF)
		NAME(ECHILD) NAME(EAGAIN) NAME(ENOMEM) NAME(EACCES) NAME(EFAULT) NAME(ENOTBLK) NAME(EBUSY) NAME(EEXIST) NAME(EXDEV)
		NAME(ENODEV) NAME(ENOTDIR) NAME(EISDIR) NAME(EINVAL) NAME(ENFILE) NAME(EMFILE) NAME(ENOTTY) NAME(ETXTBSY) NAME(EFBIG)
		NAME(ENOSPC) NAME(ESPIPE) NAME(EROFS) NAME(EMLINK) NAME(EPIPE) NAME(EDOM) NAME(ERANGE) NAME(EDEADLK)
		NAME(ENAMETOOLONG) NAME(ENOLCK) NAME(ENOSYS) NAME(ENOTEMPTY) NAME(ELOOP) NAME(ENODATA) NAME(EOVERFLOW) NAME(ENOTSOCK)
		NAME(EOPNOTSUPP) NAME(ETIMEDOUT) NAME(ECANCELED) NAME(ESTALE) NAME(EPROTO)
	};
#undef NAME
	return error > 0 && error < (int)(sizeof names / sizeof *names) && names[error] ? names[error] : "another error";
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

#if !__GLIBC_PREREQ(2, 35)
/* In milliseconds: the kernel's headers may be too old for the call's number, and then the supervisor's table as well. */
static inline int epoll_pwait2(int epoll, struct epoll_event *events, int most, const struct timespec *timeout, const sigset_t *mask)
{
	return epoll_pwait(epoll, events, most, timeout ? (int)(timeout->tv_sec * 1000 + timeout->tv_nsec / 1000000) : -1, mask);
}
#endif
