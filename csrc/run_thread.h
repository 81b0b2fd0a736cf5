/* SPDX-License-Identifier: MIT
 *
 * Threads of remotec-run that nobody waits for.
 */
#ifndef RC_RUN_THREAD_H
#define RC_RUN_THREAD_H

#include <stdbool.h>

/* False: there can't be one. */
bool rc_thread_start(void *(*run)(void *), void *of);

#endif
