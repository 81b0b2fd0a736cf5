/* SPDX-License-Identifier: MIT
 *
 * remotec run --trace FILE: each call on a remote file as an event of Chrome's trace format (JSON array, "X" events with ts and
 * dur in µs; Perfetto opens it).  Every process of the tree appends for itself, an event by one write(2); remotec-run begins and
 * ends the array (run_stats.c).
 */
#ifndef RC_TRACE_H
#define RC_TRACE_H

#include <stdbool.h>
#include <stdint.h>

#include "stats.h"

#define rc_trace_on() (rc_stats_on() && rc_stats->trace[0])

/* name and path: as they are to be shown; ns: how long it took. */
void rc_trace_span(const struct rc_span *span, const char *name, const char *path, bool refused, int64_t result, uint64_t ns);

#endif
