/* SPDX-License-Identifier: MIT
 *
 * The supervisor as the runner sees it.
 */
#ifndef RC_SUPERVISE_SERVE_H
#define RC_SUPERVISE_SERVE_H

#include <pthread.h>
#include <stdbool.h>

/* The tree has the preload library as well: descriptors that it made are to be looked for. */
extern bool rc_supervise_preloaded;

/* Held by who waits for children: a thread that traces one (supervise_redirect.c) waits for stops of its own. */
extern pthread_mutex_t rc_redirect_waiting;

/* Starts threads that answer the listener's calls for as long as this process lives.  0 or -errno. */
int rc_supervise_start(int listener);

#endif
