/* SPDX-License-Identifier: MIT
 *
 * What libc and the kernel's headers here may be too old to name.  System calls' numbers from 424 on are the same on every
 * architecture that this runs on (the kernel's include/uapi/asm-generic/unistd.h), counted from where its numbers begin.
 */
#ifndef RC_NUMBERS_H
#define RC_NUMBERS_H

#include <sys/syscall.h>
#include <unistd.h>

#ifdef __NR_Linux		/* mips */
#define RC_FIRST_NUMBER __NR_Linux
#else
#define RC_FIRST_NUMBER 0
#endif

#ifndef SYS_clone3
#define SYS_clone3 (RC_FIRST_NUMBER + 435)
#endif
#ifndef SYS_close_range
#define SYS_close_range (RC_FIRST_NUMBER + 436)
#endif
#ifndef SYS_openat2
#define SYS_openat2 (RC_FIRST_NUMBER + 437)
#endif
#ifndef SYS_pidfd_getfd
#define SYS_pidfd_getfd (RC_FIRST_NUMBER + 438)
#endif
#ifndef SYS_faccessat2
#define SYS_faccessat2 (RC_FIRST_NUMBER + 439)
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr (RC_FIRST_NUMBER + 442)
#endif
#ifndef SYS_landlock_restrict_self
#define SYS_landlock_restrict_self (RC_FIRST_NUMBER + 446)
#endif
#ifndef SYS_cachestat
#define SYS_cachestat (RC_FIRST_NUMBER + 451)
#endif
#ifndef SYS_fchmodat2
#define SYS_fchmodat2 (RC_FIRST_NUMBER + 452)
#endif
#ifndef SYS_listxattrat
#define SYS_listxattrat (RC_FIRST_NUMBER + 465)
#endif

#ifndef SEEK_DATA
#define SEEK_DATA 3
#define SEEK_HOLE 4
#endif

#endif
