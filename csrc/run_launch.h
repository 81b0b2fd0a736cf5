/* SPDX-License-Identifier: MIT
 *
 * A program that the supervisor wants another to execute, with arguments that can't be put into that one's memory: it executes
 * a copy of remotec-run with the orders at its end, which carries them out in a memory of its own.
 */
#ifndef RC_RUN_LAUNCH_H
#define RC_RUN_LAUNCH_H

/* A descriptor of such a copy, close-on-exec: it executes `path` with its own arguments, or where `words` (up to a NULL) has any,
 * with these in place of argv[0].  -errno. */
int rc_launch_make(const char *path, const char *const *words);

/* At the start of main: where this is such a copy, carries the orders out and doesn't return. */
void rc_launch(char **arguments);

#endif
