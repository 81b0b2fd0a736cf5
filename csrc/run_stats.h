/* SPDX-License-Identifier: MIT
 *
 * What --stats says at the end, and where it is counted; the two ends of --trace's file.
 */
#ifndef RC_RUN_STATS_H
#define RC_RUN_STATS_H

/* The file that rc_stats_start maps, in this process and those of the tree.  0 or -errno. */
int rc_run_stats_create(const char *path);
/* Creates the file, as the user named it, and has all that is done from now on written to it.  0 or -errno. */
int rc_run_trace_begin(const char *file);
/* What is written is valid JSON from here on. */
void rc_run_trace_end(void);
/* What the tree has done so far, on stderr. */
void rc_run_stats_print(void);

#endif
