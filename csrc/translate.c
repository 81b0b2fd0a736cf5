/* SPDX-License-Identifier: MIT */
#include "translate.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* The kernel's headers, which a libc may come without: their names are then absent. */
#if __has_include(<linux/openat2.h>)
#include <linux/fs.h>
#include <linux/openat2.h>
#endif

#include "protocol.h"

struct row {
	uint32_t wire;
	long host;
};

#define ROW(name, wire, host) { (wire), (long)(host) },

static const struct {
	const char *name;
	uint16_t wire;
	int host;
} errors[] = {
#define ERROR_ROW(name, wire, host) { #name, (wire), (host) },
	RC_ERRNO(ERROR_ROW)
};

static const struct row open_flags[] = { RC_OPEN_FLAGS(ROW) };
static const struct row resolve_flags[] = { RC_RESOLVE(ROW) };
static const struct row at_flags[] = { RC_AT_FLAGS(ROW) };
static const struct row whences[] = { RC_WHENCE(ROW) };
static const struct row poll_events[] = { RC_POLL_EVENTS(ROW) };
static const struct row watch_events[] = { RC_WATCH_EVENTS(ROW) };
static const struct row pathconf_names[] = { RC_PATHCONF(ROW) };
static const struct row ioctls[] = { RC_IOCTLS(ROW) };
static const struct row advices[] = { RC_ADVICE(ROW) };
static const struct row families[] = { RC_ADDRESS_FAMILIES(ROW) };
static const struct row socket_types[] = { RC_SOCKET_TYPES(ROW) };
static const struct row socket_flags[] = { RC_SOCKET_FLAGS(ROW) };
static const struct row socket_levels[] = { RC_SOCKET_LEVELS(ROW) };
static const struct row socket_options[] = { RC_SOCKET_OPTIONS(ROW) };

#define COUNT(table) (sizeof(table) / sizeof *(table))

int rc_errno_from_wire(uint16_t code, const char *name, size_t length)
{
	for (size_t i = 0; i < COUNT(errors); i++)
		if (code ? errors[i].wire == code
			 : strlen(errors[i].name) == length && !memcmp(errors[i].name, name, length))
			return errors[i].host == RC_ABSENT ? EIO : errors[i].host;
	return EIO;
}

uint16_t rc_errno_to_wire(int error)
{
	for (size_t i = 0; i < COUNT(errors); i++)
		if (errors[i].host == error)
			return errors[i].wire;
	return rc_errno_to_wire(EIO);
}

const char *rc_errno_name(int error)
{
	for (size_t i = 0; i < COUNT(errors); i++)
		if (errors[i].host == error)
			return errors[i].name;
	return "E?";
}

/* Flag sets: a name is set where all of its bits are; names of several bits (O_SYNC, O_TMPFILE) contain others. */
static uint32_t bits_to_wire(const struct row *table, size_t count, unsigned long bits, unsigned long *left)
{
	uint32_t wire = 0;

	*left = bits;
	for (size_t i = 0; i < count; i++) {
		unsigned long host = (unsigned long)table[i].host;

		if (table[i].host != RC_ABSENT && host && (bits & host) == host) {
			wire |= table[i].wire;
			*left &= ~host;
		}
	}
	return wire;
}

static unsigned long bits_from_wire(const struct row *table, size_t count, uint32_t wire)
{
	unsigned long bits = 0;

	for (size_t i = 0; i < count; i++)
		if ((wire & table[i].wire) == table[i].wire && table[i].host != RC_ABSENT)
			bits |= (unsigned long)table[i].host;
	return bits;
}

static int value_to_wire(const struct row *table, size_t count, unsigned long value)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].host != RC_ABSENT && (unsigned long)table[i].host == value)
			return (int)table[i].wire;
	return -EINVAL;
}

static int value_from_wire(const struct row *table, size_t count, uint32_t wire)
{
	for (size_t i = 0; i < count; i++)
		if (table[i].wire == wire && table[i].host != RC_ABSENT)
			return (int)table[i].host;
	return -EINVAL;
}

int64_t rc_open_flags_to_wire(int flags)
{
	unsigned long left;
	uint32_t wire = bits_to_wire(open_flags, COUNT(open_flags), (unsigned)flags & ~O_ACCMODE, &left);

	/* What has no name is ours (O_CLOEXEC, O_LARGEFILE) or ignored by open(2) as well. */
	return wire | (uint32_t)(flags & O_ACCMODE);
}

int rc_open_flags_from_wire(uint32_t flags)
{
	return (int)(bits_from_wire(open_flags, COUNT(open_flags), flags & ~3u) | (flags & 3));
}

static int64_t exactly(const struct row *table, size_t count, unsigned long bits)
{
	unsigned long left;
	uint32_t wire = bits_to_wire(table, count, bits, &left);

	return left ? -EINVAL : (int64_t)wire;
}

int64_t rc_at_flags_to_wire(int flags)
{
	return exactly(at_flags, COUNT(at_flags), (unsigned)flags);
}

int64_t rc_resolve_to_wire(uint64_t resolve)
{
	if (resolve >> 32)
		return -EINVAL;
	return exactly(resolve_flags, COUNT(resolve_flags), (unsigned long)resolve);
}

int rc_whence_to_wire(int whence)
{
	return value_to_wire(whences, COUNT(whences), (unsigned)whence);
}

/* statx's mask is the kernel's own on every architecture; a name that our headers lack passes as it is. */
uint32_t rc_statx_mask_to_wire(unsigned mask)
{
	return mask;
}

unsigned rc_statx_mask_from_wire(uint32_t mask)
{
	return mask;
}

uint32_t rc_poll_events_to_wire(int events)
{
	unsigned long left;

	return bits_to_wire(poll_events, COUNT(poll_events), (unsigned)events, &left);
}

int rc_poll_events_from_wire(uint32_t events)
{
	return (int)bits_from_wire(poll_events, COUNT(poll_events), events);
}

uint32_t rc_watch_events_to_wire(uint32_t mask)
{
	unsigned long left;

	return bits_to_wire(watch_events, COUNT(watch_events), mask, &left);
}

uint32_t rc_watch_events_from_wire(uint32_t mask)
{
	return (uint32_t)bits_from_wire(watch_events, COUNT(watch_events), mask);
}

int rc_pathconf_to_wire(int name)
{
	return value_to_wire(pathconf_names, COUNT(pathconf_names), (unsigned)name);
}

int rc_ioctl_to_wire(unsigned long request)
{
	/* Requests are 32 bits wide; a program may have passed a sign-extended one. */
	for (size_t i = 0; i < COUNT(ioctls); i++)
		if ((uint32_t)ioctls[i].host == (uint32_t)request)
			return (int)ioctls[i].wire;
	return -ENOTTY;
}

int rc_ioctl_size(unsigned long request)
{
	return (uint32_t)request == (uint32_t)RC_HOST_BLKGETSIZE64 ? 8 : (uint32_t)request == (uint32_t)RC_HOST_FS_IOC_FSGETXATTR ? 28 : 4;
}

int rc_advice_to_wire(int advice)
{
	return value_to_wire(advices, COUNT(advices), (unsigned)advice);
}

int rc_address_family_to_wire(int family)
{
	return value_to_wire(families, COUNT(families), (unsigned)family);
}

int rc_address_family_from_wire(uint32_t family)
{
	return value_from_wire(families, COUNT(families), family);
}

enum { TYPE_BITS = 0xf };	/* the kernel's SOCK_TYPE_MASK: the rest are flags */

int rc_socket_type_to_wire(int type)
{
	int wire = value_to_wire(socket_types, COUNT(socket_types), (unsigned)type & TYPE_BITS);
	int64_t flags = exactly(socket_flags, COUNT(socket_flags), (unsigned)type & ~TYPE_BITS & ~SOCK_CLOEXEC);

	return wire < 0 || flags < 0 ? -EINVAL : wire | (int)flags;
}

int rc_socket_type_from_wire(uint32_t type)
{
	int host = value_from_wire(socket_types, COUNT(socket_types), type & TYPE_BITS);

	if (host >= 0)
		host |= (int)bits_from_wire(socket_flags, COUNT(socket_flags), type & ~(uint32_t)TYPE_BITS);
	return host >= 0 && (uint32_t)rc_socket_type_to_wire(host) == type ? host : -EINVAL;
}

int rc_socket_level_to_wire(int level)
{
	return value_to_wire(socket_levels, COUNT(socket_levels), (unsigned)level);
}

int rc_socket_level_from_wire(uint32_t level)
{
	return value_from_wire(socket_levels, COUNT(socket_levels), level);
}

int rc_socket_option_to_wire(int option)
{
	return value_to_wire(socket_options, COUNT(socket_options), (unsigned)option);
}

int rc_socket_option_from_wire(uint32_t option)
{
	return value_from_wire(socket_options, COUNT(socket_options), option);
}
