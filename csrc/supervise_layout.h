/* SPDX-License-Identifier: MIT
 *
 * The structures that calls fill, as the kernel lays them out for each kind of program.
 */
#ifndef RC_SUPERVISE_LAYOUT_H
#define RC_SUPERVISE_LAYOUT_H

#include "supervise.h"

/* 0; -EOVERFLOW where a number doesn't fit; -EFAULT. */
int rc_put_stat_as(const struct rc_notice *notice, const struct rc_stat *from, enum rc_layout layout, uint64_t to);
int rc_put_statfs_as(const struct rc_notice *notice, const struct rc_statfs *from, enum rc_layout layout, uint64_t to);

#endif
