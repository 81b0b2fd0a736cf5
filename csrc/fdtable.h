/* SPDX-License-Identifier: MIT
 *
 * The preload tier's cache of the kernel's truth: descriptor number -> description, or "local", or "not looked yet".
 *
 * Only a cache.  A remote entry is checked against the kernel (inode of the placeholder) each time it is used; a number
 * whose meaning may have changed (dup2, close, a received descriptor) is set back to unknown, never asserted, so that
 * a vfork child that shares our memory cannot do harm.  Lock-free; safe in signal handlers and after fork.
 */
#ifndef RC_FDTABLE_H
#define RC_FDTABLE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "description.h"
#include "placeholder.h"

#define RC_FDTABLE_DIRECT 4096

enum { RC_FD_UNKNOWN = 0, RC_FD_LOCAL = 1 };	/* other values: a struct rc_description pointer */
extern _Atomic uintptr_t rc_fdtable_direct[RC_FDTABLE_DIRECT];

void rc_fdtable_start(void);
struct rc_description *rc_fdtable_resolve(int fd);

/* What most calls find out without a system call; false says nothing. */
static inline bool rc_fdtable_is_local(int fd)
{
	return (unsigned)fd < RC_FDTABLE_DIRECT &&
	       atomic_load_explicit(&rc_fdtable_direct[fd], memory_order_relaxed) == RC_FD_LOCAL;
}

/* The description that fd stands for, or NULL: a local descriptor (or a bad one: the kernel will say). */
static inline struct rc_description *rc_fdtable_get(int fd)
{
	return rc_fdtable_is_local(fd) ? 0 : rc_fdtable_resolve(fd);
}

/* The same, which stays what it is until it is unpinned, whoever closes the number meanwhile: for who waits for the server. */
struct rc_description *rc_fdtable_resolve_pinned(int fd);
static inline struct rc_description *rc_fdtable_pin(int fd)
{
	return rc_fdtable_is_local(fd) ? 0 : rc_fdtable_resolve_pinned(fd);
}
void rc_fdtable_unpin(struct rc_description *d);
/* The number has been given to another description: it was that of `before`, which is pinned, or of a local one (NULL). */
void rc_fdtable_replaced(int fd, struct rc_description *before);

/* A number's meaning may have changed. */
void rc_fdtable_forget(int fd);
void rc_fdtable_forget_range(unsigned first, unsigned last);
/* We made this placeholder: the number stands for this handle, which is ours alone. */
int rc_fdtable_insert(int fd, const struct rc_placeholder *placeholder);
/* The program is about to close fd: true where this was the last descriptor of a handle that only this process had, which
 * is then ours to CLOSE (*handle) once the kernel's close has been done.  Of one that is pinned, the last unpin does that. */
bool rc_fdtable_close(int fd, uint64_t *handle);
void rc_fdtable_close_handle(uint64_t handle);
/* The same for a whole range, which needs no look at what was never used: each such handle goes to `closed`. */
void rc_fdtable_close_range(unsigned first, unsigned last, void (*closed)(uint64_t handle));
/* Tells who closes shared handles; false: it couldn't be told, and the handle stays this process's on the server. */
typedef bool rc_share_report(int fd, uint64_t handle);
/* Every handle may be in another process from now on; reports each that was not shared before.  over_exec: only those
 * that an exec keeps.  Whether there are any at all. */
bool rc_fdtable_share_all(rc_share_report *report, bool over_exec);
/* One of them: its descriptor is being sent away. */
void rc_fdtable_share(int fd, rc_share_report *report);
/* At the process' end: the locks of descriptions that nobody else has.  Whoever waits for its end finds them free. */
void rc_fdtable_release_locks(void);
void rc_fdtable_after_fork(void);

#endif
