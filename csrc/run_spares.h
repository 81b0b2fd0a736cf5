/* SPDX-License-Identifier: MIT
 *
 * Connections on hand: a process that makes its own waits a round trip before its first request goes out.  Where the server is far
 * enough for that to matter (run.c), remotec-run makes them before they are asked for, as many as are being taken.
 */
#ifndef RC_RUN_SPARES_H
#define RC_RUN_SPARES_H

/* Sends a connection by socket `to` (rc_sys_send_descriptor), and closes that. */
void rc_spares_give(int to);

#endif
