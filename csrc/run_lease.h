/* SPDX-License-Identifier: MIT
 *
 * remotec-run's ear: one RECALL is always under way, on a connection of its own.
 */
#ifndef RC_RUN_LEASE_H
#define RC_RUN_LEASE_H

#include <stdbool.h>

struct connection;

/* Before the command is started: `line` is that connection, and stays.  able: the server gives leases. */
void rc_run_lease_start(struct connection *line, bool able);
/* Its socket is readable: the socket from now on; -1: the server is gone, and with it every lease. */
int rc_run_lease_attend(void);

/* After a connection that was to stay has ended, for which the server need not be gone: another in its place, and its socket; -1.
 * It takes two seconds at most, in which nobody attends to anything else. */
int rc_run_line_again(struct connection **line);

#endif
