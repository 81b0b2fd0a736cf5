/* SPDX-License-Identifier: MIT
 *
 * Where the server's files have data, as far as it has been asked: what lies in a hole needn't be moved.  For the threads of
 * run_pages.c.
 */
#ifndef RC_RUN_EXTENTS_H
#define RC_RUN_EXTENTS_H

#include <stdint.h>

#include "calls.h"

enum { RC_EXTENTS = 128 };

/* The parts of [offset, end) that are data, in order, into parts[RC_EXTENTS]: how many; -errno: all of it may be. */
int rc_extents_within(uint64_t handle, int64_t offset, int64_t end, struct rc_extent *parts);
/* What was asked until now is of the past. */
void rc_extents_forget(uint64_t handle);

#endif
