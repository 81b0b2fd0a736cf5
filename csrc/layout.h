/* SPDX-License-Identifier: MIT
 *
 * Structures as Linux lays them out, where libc's may differ or know fewer fields.  Pure.
 */
#ifndef RC_LAYOUT_H
#define RC_LAYOUT_H

#include <stddef.h>
#include <stdint.h>

#include "calls.h"
#include "sys.h"

void rc_layout_statx(const struct rc_stat *from, struct rc_kernel_statx *to);

/* One entry as getdents64(2) (or, `old`, getdents(2)) has it, on a machine with 8-byte (or, `narrow`, 4-byte) longs, into to[size]:
 * its length; 0 where there is no room; -EOVERFLOW where a number doesn't fit. */
int rc_layout_entry(const struct rc_entry *from, bool old, bool narrow, uint8_t *to, size_t size);

#endif
