/* SPDX-License-Identifier: MIT
 *
 * What the user can see of our work: a debug line per forwarded call (LIBREMOTEC_DEBUG=1).  Counters are stats.h's.
 * A line is one write(2) to descriptor 2 through our own copy of it; nothing is printed unless asked for.
 */
#ifndef RC_REPORT_H
#define RC_REPORT_H

#include <stdbool.h>

/* printf-style (%s %d %u %lld %zd %x); async-signal-safe; a no-op unless debug is on. Adds "remotec: " no prefix: the
 * original's words, then a newline.  Keeps errno. */
#define rc_debug(...) do { if (__builtin_expect(rc_debug_on, 0)) rc_debug_line(__VA_ARGS__); } while (0)
extern bool rc_debug_on;
void rc_debug_line(const char *format, ...) __attribute__((format(printf, 1, 2)));
void rc_report_start(bool debug);

#endif
