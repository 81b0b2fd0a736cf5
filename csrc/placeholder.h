/* SPDX-License-Identifier: MIT
 *
 * The kernel descriptor that stands for a server handle: a memfd whose name says which one.
 *
 * Name: "remotec:<session, 32 hex digits>:<handle, hex>:<kind, one digit>", as "/proc/self/fd/N" shows it behind
 * "/memfd:".  It is re-opened through /proc/self/fd with the access mode that the program asked for, so that F_GETFL
 * tells the truth; a KIND_POSITIONED placeholder's own offset is the file's.
 *
 * That of a large file is one of the mount of run_pages.h where there is one, by the same name with a "p" behind it: the kernel
 * fetches what is mapped of it.
 */
#ifndef RC_PLACEHOLDER_H
#define RC_PLACEHOLDER_H

#include <stdbool.h>
#include <stdint.h>

struct rc_placeholder {
	uint8_t session[16];
	uint64_t handle;
	uint32_t kind;
	uint64_t ino;		/* of the memfd: tells whether a number still is what it was */
	uint32_t dev_major, dev_minor;
	bool paged;		/* of the mount, rather than a memfd */
};

/* A new placeholder at any free number >= lowest (raising the soft limit around the call where needed; `lowest` 0: the
 * lowest free number).  size: the file's, where that is known.  open_flags: the program's (access mode, O_APPEND, O_NONBLOCK,
 * O_CLOEXEC… are set on it).
 * Returns the descriptor or -errno. */
int rc_placeholder_create(uint64_t handle, uint32_t kind, uint64_t size, int open_flags, int lowest,
			  struct rc_placeholder *made);

/* What the descriptor is: 1 and *found; 0: an ordinary local descriptor; -EBADF.  `other_session` placeholders are
 * found too: compare the session. */
int rc_placeholder_identify(int fd, struct rc_placeholder *found);

/* What /proc says of a process' descriptor (pid 0: this one's), of which `ino` and what follows aren't told: 1, or 0. */
int rc_placeholder_named(unsigned pid, int fd, struct rc_placeholder *found);

/* Parses what readlink of /proc/<pid>/fd/<n> gives. */
bool rc_placeholder_parse(const char *link, struct rc_placeholder *found);

#endif
