/* SPDX-License-Identifier: MIT
 *
 * What OPEN brought of a small file: its attributes and, where it is small, its content.  Both are good for rc_config.max_stale_ms
 * from before OPEN was asked, for reads at any offset, the end of the file included.
 *
 * A fixed pool, without locks that are waited for: who finds a slot busy asks the server.
 */
#ifndef RC_PREFETCH_H
#define RC_PREFETCH_H

#include "calls.h"

struct rc_prefetch;

/* A slot for an OPEN that is about to be asked, and the room for its reply; NULL: none, and *room and *size are none. */
struct rc_prefetch *rc_prefetch_begin(void **room, size_t *size);
/* The reply is in.  What it brought is good for `opened`'s handle until rc_prefetch_end; false: it isn't worth keeping, and gone. */
bool rc_prefetch_keep(struct rc_prefetch *slot, const struct rc_opened *opened);
void rc_prefetch_end(struct rc_prefetch *slot);

/* Bytes copied, 0 at the end of the file, -EFAULT; -EAGAIN: ask the server. */
ssize_t rc_prefetch_read(struct rc_prefetch *slot, uint64_t handle, const struct iovec *into, int count, int64_t offset);
bool rc_prefetch_stat(struct rc_prefetch *slot, uint64_t handle, unsigned mask, struct rc_stat *stat);

#endif
