/* SPDX-License-Identifier: MIT
 *
 * Record locks and flock(2) of remote files: the server's own, held by the handle's open file description.
 */
#ifndef RC_LOCK_H
#define RC_LOCK_H

#include "description.h"

/* struct flock, in none of its sizes. */
struct rc_flock {
	int type, whence;		/* F_RDLCK …, SEEK_SET … */
	int64_t start, length;
	int pid;
};

/* `query`: who is in the way goes to *lock; else sets it, waiting for it where `wait` says so (EINTR where a signal comes).  `fd`: a
 * descriptor of the description.  0 or -errno. */
int rc_lock_range(struct rc_description *d, int fd, bool query, bool wait, struct rc_flock *lock);
/* operation: LOCK_SH, LOCK_EX, LOCK_UN, with LOCK_NB. */
int rc_lock_whole(struct rc_description *d, int operation);
/* Before the last close of a description, and before its process' end: CLOSE isn't waited for, and who asks for the lock next must
 * find it free. */
void rc_lock_release(struct rc_description *d);

#endif
