/* SPDX-License-Identifier: MIT
 *
 * What the preload library tells remotec-run: a datagram, with descriptors (SCM_RIGHTS).
 */
#ifndef RC_CONTROL_H
#define RC_CONTROL_H

#include <stdint.h>
#include <sys/epoll.h>

enum rc_control_what {
	RC_CONTROL_SHARE,		/* this placeholder may be in other processes too */
	/* Of run_epoll.h; the first descriptor is a socket that the result, an int32_t, is to be sent to. */
	RC_CONTROL_EPOLL,		/* the second is the epoll descriptor */
	RC_CONTROL_EPOLL_READ,
	RC_CONTROL_EPOLL_SETTLE,
	RC_CONTROL_SPARE,		/* a connection (run_spares.h), to the descriptor sent */
};
enum { RC_CONTROL_DESCRIPTORS = 2 };

struct rc_control {
	uint32_t what;
	int32_t operation, fd;		/* EPOLL: epoll_ctl's, with its event */
	uint64_t handle;
	struct epoll_event event;
};

#endif
