/* SPDX-License-Identifier: MIT
 *
 * epoll(7) of what may not be ready on the server: a fifo, a terminal.
 *
 * An epoll instance is the kernel's, and so is who waits there.  What goes into it is a stand-in of remotec-run's, the read end
 * of a pipe, with the program's own data and flags; a thread keeps it readable, hung up or neither, as the server says the stream
 * is.  Time-outs, signal masks, EPOLLET, EPOLLONESHOT, whoever waits already, and an epoll descriptor that is duplicated,
 * inherited or waited for itself: all that is the kernel's own.
 */
#ifndef RC_RUN_EPOLL_H
#define RC_RUN_EPOLL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "control.h"

/* epoll_ctl(2) of a stream, which the program has as `fd`; `epoll`: a copy of its epoll descriptor.  0 or -errno. */
int rc_epoll_control(uint64_t handle, int epoll, int operation, int fd, struct epoll_event *event);
/* Something has read from it: returns when the stand-in shows what there is since. */
void rc_epoll_read(uint64_t handle);
/* Its last descriptor is gone: it leaves every set that it's in. */
void rc_epoll_gone(uint64_t handle);
/* Before a program waits: what it has closed has left its sets. */
void rc_epoll_settle(void);
/* One of these, asked for by the preload library; the descriptors are used up. */
void rc_epoll_asked(const struct rc_control *message, const int descriptors[RC_CONTROL_DESCRIPTORS]);

#endif
