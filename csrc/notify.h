/* SPDX-License-Identifier: MIT
 *
 * Change notification of remote files: an inotify instance that has watches on both sides.
 *
 * The program's number becomes an epoll descriptor that holds the kernel's own instance and a connection on which the server
 * owes the next events: poll, select and epoll of it are the kernel's own, and nobody has to run beside the program to
 * carry events over.  Belongs to the process that added the first remote watch: a forked child sees local events only.
 */
#ifndef RC_NOTIFY_H
#define RC_NOTIFY_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "calls.h"
#include "placeholder.h"

/* Turns `fd`, an inotify descriptor of the kernel's, into one of both sides: 0 and *made, of RC_KIND_WATCH; -errno. */
int rc_notify_convert(int fd, struct rc_placeholder *made);
/* inotify_add_watch(2) of a remote path, of a local one (-EBADF where the kernel's instance is gone), inotify_rm_watch(2). */
int rc_notify_add(uint64_t handle, struct rc_location at, uint32_t mask);
int rc_notify_native(uint64_t handle);
int rc_notify_remove(uint64_t handle, int wd);
/* read(2) of it, through the program's descriptor `fd`, whose O_NONBLOCK counts. */
ssize_t rc_notify_read(uint64_t handle, int fd, void *buffer, size_t count);
/* FIONREAD. */
int rc_notify_waiting(uint64_t handle);
/* The last descriptor has been closed; nothing where the handle is no watch. */
void rc_notify_close(uint64_t handle);
void rc_notify_after_fork(void);

#endif
