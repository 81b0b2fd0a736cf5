/* SPDX-License-Identifier: MIT
 *
 * Reading ahead: a file that is read in sequence has several PREADs under way on a connection of its own, in a window that grows
 * to what the way to the server holds.  Their replies wait in the socket, and go from there straight into the program's buffer,
 * unless that is small.
 */
#ifndef RC_STREAM_H
#define RC_STREAM_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "lease.h"

struct rc_stream;

/* What a description remembers of its reads. */
struct rc_sequence {
	struct rc_stream *stream;	/* NULL: none */
	int64_t next;			/* where a read would go on from the last */
	uint32_t run;			/* reads in sequence so far */
	uint32_t wanted;		/* how many of them it takes: more, each time that a stream was for nothing */
	struct rc_lease lease;		/* on the file's content */
};

/* For a read at `offset` by whoever has the description to himself: bytes, 0 at the end of the file, -EFAULT; -EAGAIN: ask the server.
 * `size`: of the file, as far as it's known (-1). */
ssize_t rc_stream_read(struct rc_sequence *sequence, uint64_t handle, const struct iovec *into, int count, int64_t offset,
		       int64_t size);
/* A read that the server was asked for brought `got` bytes from `offset` on. */
void rc_stream_note(struct rc_sequence *sequence, int64_t offset, ssize_t got);
/* What comes now is read in sequence from `offset` on. */
void rc_stream_expect(struct rc_sequence *sequence, int64_t offset);
/* posix_fadvise: whether reads in sequence are to be expected. */
void rc_stream_advise(struct rc_sequence *sequence, int advice);
void rc_stream_end(struct rc_sequence *sequence);
/* In the child of a fork: its parent goes on with what there is. */
void rc_stream_after_fork(void);

#endif
