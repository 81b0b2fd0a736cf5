/* SPDX-License-Identifier: MIT
 *
 * This machine's constants <-> the protocol's, by name.  Pure.  The tables are expansions of protocol.h.
 */
#ifndef RC_TRANSLATE_H
#define RC_TRANSLATE_H

#include <stddef.h>
#include <stdint.h>

/* Wire code (and, where the code is not in our list, the name that came with it) -> this machine's errno;
 * EIO where this machine has no such error. */
int rc_errno_from_wire(uint16_t code, const char *name, size_t length);
uint16_t rc_errno_to_wire(int error);
const char *rc_errno_name(int error);	/* "ENOENT"; "E?" where it has none */

/* -EINVAL where a flag that matters has no name on the wire. */
int64_t rc_open_flags_to_wire(int flags);
int rc_open_flags_from_wire(uint32_t flags);
int64_t rc_at_flags_to_wire(int flags);
int64_t rc_resolve_to_wire(uint64_t resolve);
int rc_whence_to_wire(int whence);
uint32_t rc_statx_mask_to_wire(unsigned mask);
unsigned rc_statx_mask_from_wire(uint32_t mask);
uint32_t rc_poll_events_to_wire(int events);
int rc_poll_events_from_wire(uint32_t events);
uint32_t rc_watch_events_to_wire(uint32_t mask);
uint32_t rc_watch_events_from_wire(uint32_t mask);
int rc_pathconf_to_wire(int name);
int rc_ioctl_to_wire(unsigned long request);
int rc_ioctl_size(unsigned long request);	/* bytes that the kernel would write */
int rc_advice_to_wire(int advice);

/* Reserved for sockets: no operation carries them yet.  -EINVAL where there is no such name, on the wire or here.  A type is one of
 * socket(2), with SOCK_NONBLOCK or without; SOCK_CLOEXEC stays here.  An option is one of SOL_SOCKET. */
int rc_address_family_to_wire(int family);
int rc_address_family_from_wire(uint32_t family);
int rc_socket_type_to_wire(int type);
int rc_socket_type_from_wire(uint32_t type);
int rc_socket_level_to_wire(int level);
int rc_socket_level_from_wire(uint32_t level);
int rc_socket_option_to_wire(int option);
int rc_socket_option_from_wire(uint32_t option);

#endif
