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
/* Its socket is readable.  False: the server is gone, and with it every lease. */
bool rc_run_lease_attend(void);

#endif
