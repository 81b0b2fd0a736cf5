/* SPDX-License-Identifier: MIT
 *
 * Read leases: the content of a file that the server says nobody will change before we have been told.  What has been fetched
 * of such a file counts however old it is, and with --max-stale 0 too.
 *
 * remotec-run listens to the server for its whole tree (run_lease.h) and writes into the mapping that all share (cache.h) which
 * leases have been recalled, and when the server was last heard.  A lease counts for RC_LIMIT_LEASE_TERM ms from when it was
 * asked for, or from when what was answered last was sent: the server lets nobody write for longer than that.
 *
 * Recalls are counted, and each leaves its number in one of a few slots, that of its handle.  A lease is gone once its handle's
 * slot has a number that is newer than the lease: nothing is lost where a recall overtakes the reply that it's about, and
 * another handle's in the same slot only costs a lease.
 */
#ifndef RC_LEASE_H
#define RC_LEASE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

enum { RC_LEASE_SLOTS = 512 };

/* In the mapping. */
struct rc_leases {
	_Atomic uint32_t listening;		/* remotec-run is */
	_Atomic uint32_t heard_ms;		/* when that was sent which the server answered last */
	_Atomic uint32_t recalls;
	_Atomic uint32_t recalled[RC_LEASE_SLOTS];
};

/* Of one open file description. */
struct rc_lease {
	bool held;
	uint32_t asked_ms, recalls;		/* when OPEN was sent, and how many there had been by then */
	uint64_t handle;
};

/* What OPEN is to ask for: RC_LEASE_WANTED, RC_LEASE_WANTED_FOR_REST, or 0, there can't be any. */
uint32_t rc_lease_wish(void);
/* Before OPEN is sent, and when its reply has come. */
void rc_lease_begin(struct rc_lease *lease);
void rc_lease_answered(struct rc_lease *lease, uint64_t handle, bool held);
/* Whether what has been fetched since OPEN is the file's content, at this moment. */
bool rc_lease_holds(const struct rc_lease *lease);

/* remotec-run's. */
void rc_lease_listen(bool listening);
uint32_t rc_lease_now(void);
void rc_lease_recall(uint64_t handle);
void rc_lease_recall_all(void);
void rc_lease_heard(uint32_t sent_ms);

#endif
