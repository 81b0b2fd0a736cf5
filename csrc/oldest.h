/* SPDX-License-Identifier: MIT
 *
 * For who calls the dynamic linker: the versions of its functions that every glibc has.  glibc 2.34 gave them new ones when
 * libdl became a part of libc; a library that asks for those doesn't load on an older system.
 */
#ifndef RC_OLDEST_H
#define RC_OLDEST_H

#include <dlfcn.h>

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
