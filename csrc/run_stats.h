/* SPDX-License-Identifier: MIT
 *
 * What --stats says at the end, and where it is counted.
 */
#ifndef RC_RUN_STATS_H
#define RC_RUN_STATS_H

/* The file that rc_stats_start maps, in this process and those of the tree.  0 or -errno. */
int rc_run_stats_create(const char *path);
/* What the tree has done so far, on stderr. */
void rc_run_stats_print(void);

#endif
