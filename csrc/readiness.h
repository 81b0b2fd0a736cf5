/* SPDX-License-Identifier: MIT
 *
 * Waiting for descriptors of both sides at once (poll(2), select(2)).  A regular file's placeholder is always ready, as the file
 * is.  What may not be (a fifo, a terminal) is asked of the server: a line on which it owes the answer is polled beside the
 * local descriptors.
 */
#ifndef RC_READINESS_H
#define RC_READINESS_H

#include <poll.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

/* What waits for local descriptors, as ppoll(2) does: how many are ready, or -errno. */
typedef int rc_local_poll(struct pollfd *set, nfds_t count, const struct timespec *timeout, const void *context);

/* poll(2) of set[], whose entries are remote where handles[] says so (RC_NO_HANDLE: a local descriptor). */
int rc_ready_poll(struct pollfd *set, const uint64_t *handles, nfds_t count, const struct timespec *timeout,
		  rc_local_poll *local, const void *context);

/* select(2)'s sets, of `count` descriptors in words of the machine, as entries of set[], which has room for `count` of them: how
 * many; and what came of them back into the sets: select's result, or -EBADF.  A set may be NULL. */
struct rc_select {
	int count;
	unsigned long *sets[3];		/* to read, to write, urgent */
};
nfds_t rc_ready_select_begin(const struct rc_select *s, struct pollfd *set);
int rc_ready_select_end(const struct rc_select *s, const struct pollfd *set, nfds_t used);

#endif
