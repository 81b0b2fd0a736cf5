/* SPDX-License-Identifier: MIT
 *
 * The versions of functions that every glibc has; a library that asks for newer ones doesn't load on an older system.  To be
 * included before stdio.h and stdlib.h.
 */
#ifndef RC_OLDEST_H
#define RC_OLDEST_H

#include <dlfcn.h>
#include <features.h>

/* Since 2.38 strtol and sscanf know C23's 0b by way of functions of other names. */
#undef __GLIBC_USE_C2X_STRTOL
#define __GLIBC_USE_C2X_STRTOL 0
#undef __GLIBC_USE_C23_STRTOL
#define __GLIBC_USE_C23_STRTOL 0

/* Since 2.34 the dynamic linker's are a part of libc. */
#ifdef __GLIBC__
#if defined(__x86_64__) && defined(__LP64__)
#define RC_OLDEST(name) __asm__(".symver " #name "," #name "@GLIBC_2.2.5")
#elif defined(__aarch64__)
#define RC_OLDEST(name) __asm__(".symver " #name "," #name "@GLIBC_2.17")
#endif
#endif

#ifdef RC_OLDEST
RC_OLDEST(dlsym);
RC_OLDEST(dladdr);
#endif

#endif
