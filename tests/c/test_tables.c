/* SPDX-License-Identifier: MIT
 *
 * Every translated table on the machine that this was compiled for: each name that it has goes out and comes back, each that it
 * lacks gives the documented result, and the numbers are the ones that the man pages and the kernel's headers say.
 * With an argument it prints the tables instead ("TABLE NAME WIRE HOST", - for a name that this machine lacks), which
 * tests/arch/constants.py holds against what is known of the machine.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/openat2.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../../csrc/protocol.h"
#include "../../csrc/translate.h"

/* These are the same on every Linux, and the code relies on it. */
#define SAME(name) _Static_assert((name) == RC_WIRE_##name, #name)
SAME(O_RDONLY);
SAME(O_WRONLY);
SAME(O_RDWR);
SAME(S_IFMT);
SAME(S_IFSOCK);
SAME(S_IFLNK);
SAME(S_IFREG);
SAME(S_IFBLK);
SAME(S_IFDIR);
SAME(S_IFCHR);
SAME(S_IFIFO);
SAME(F_OK);
SAME(X_OK);
SAME(W_OK);
SAME(R_OK);
SAME(DT_UNKNOWN);
SAME(DT_FIFO);
SAME(DT_CHR);
SAME(DT_DIR);
SAME(DT_BLK);
SAME(DT_REG);
SAME(DT_LNK);
SAME(DT_SOCK);

static int failures;

#define CHECK(condition, ...)                                                     \
	do {                                                                      \
		if (!(condition)) {                                               \
			failures++;                                               \
			printf("%s:%d: " #condition ": ", __FILE__, __LINE__);    \
			printf(__VA_ARGS__);                                      \
			printf("\n");                                             \
		}                                                                 \
	} while (0)

struct row {
	const char *name;
	uint32_t wire;
	long host;
};

#define ROW(name, wire, host) { #name, (wire), (long)(host) },

static const struct row errors[] = { RC_ERRNO(ROW) };
static const struct row open_flags[] = { RC_OPEN_FLAGS(ROW) };
static const struct row resolve_flags[] = { RC_RESOLVE(ROW) };
static const struct row at_flags[] = { RC_AT_FLAGS(ROW) };
static const struct row whences[] = { RC_WHENCE(ROW) };
static const struct row statx_masks[] = { RC_STATX_MASK(ROW) };
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

static int64_t errno_out(long host) { return rc_errno_to_wire((int)host); }
static int64_t open_out(long host) { return rc_open_flags_to_wire((int)host); }
static int64_t resolve_out(long host) { return rc_resolve_to_wire((uint64_t)host); }
static int64_t at_out(long host) { return rc_at_flags_to_wire((int)host); }
static int64_t whence_out(long host) { return rc_whence_to_wire((int)host); }
static int64_t statx_out(long host) { return rc_statx_mask_to_wire((unsigned)host); }
static int64_t poll_out(long host) { return rc_poll_events_to_wire((int)host); }
static int64_t watch_out(long host) { return rc_watch_events_to_wire((uint32_t)host); }
static int64_t pathconf_out(long host) { return rc_pathconf_to_wire((int)host); }
static int64_t ioctl_out(long host) { return rc_ioctl_to_wire((unsigned long)host); }
static int64_t advice_out(long host) { return rc_advice_to_wire((int)host); }
static int64_t family_out(long host) { return rc_address_family_to_wire((int)host); }
static int64_t type_out(long host) { return rc_socket_type_to_wire((int)host); }
static int64_t type_flag_out(long host) { return rc_socket_type_to_wire(SOCK_STREAM | (int)host) & ~1; }
static int64_t level_out(long host) { return rc_socket_level_to_wire((int)host); }
static int64_t option_out(long host) { return rc_socket_option_to_wire((int)host); }

static int64_t errno_in(uint32_t wire) { return rc_errno_from_wire((uint16_t)wire, "", 0); }
static int64_t open_in(uint32_t wire) { return rc_open_flags_from_wire(wire); }
static int64_t statx_in(uint32_t wire) { return rc_statx_mask_from_wire(wire); }
static int64_t poll_in(uint32_t wire) { return rc_poll_events_from_wire(wire); }
static int64_t watch_in(uint32_t wire) { return rc_watch_events_from_wire(wire); }
static int64_t family_in(uint32_t wire) { return rc_address_family_from_wire(wire); }
static int64_t type_in(uint32_t wire) { return rc_socket_type_from_wire(wire); }
static int64_t type_flag_in(uint32_t wire) { return rc_socket_type_from_wire(1 | wire) & ~SOCK_STREAM; }
static int64_t level_in(uint32_t wire) { return rc_socket_level_from_wire(wire); }
static int64_t option_in(uint32_t wire) { return rc_socket_option_from_wire(wire); }

static const struct table {
	const char *name;
	const struct row *rows;
	size_t count;
	int64_t (*out)(long host);
	int64_t (*in)(uint32_t wire);	/* NULL: such values only go out */
	bool sets;			/* of bits, where one name may bring others with it: O_SYNC brings O_DSYNC */
} tables[] = {
#define COUNT(rows) rows, sizeof(rows) / sizeof *(rows)
	{ "ERRNO", COUNT(errors), errno_out, errno_in },
	{ "OPEN_FLAGS", COUNT(open_flags), open_out, open_in, true },
	{ "RESOLVE", COUNT(resolve_flags), resolve_out, NULL },
	{ "AT_FLAGS", COUNT(at_flags), at_out, NULL },
	{ "WHENCE", COUNT(whences), whence_out, NULL },
	{ "STATX_MASK", COUNT(statx_masks), statx_out, statx_in },
	{ "POLL_EVENTS", COUNT(poll_events), poll_out, poll_in, true },
	{ "WATCH_EVENTS", COUNT(watch_events), watch_out, watch_in },
	{ "PATHCONF", COUNT(pathconf_names), pathconf_out, NULL },
	{ "IOCTLS", COUNT(ioctls), ioctl_out, NULL },
	{ "ADVICE", COUNT(advices), advice_out, NULL },
	{ "ADDRESS_FAMILIES", COUNT(families), family_out, family_in },
	{ "SOCKET_TYPES", COUNT(socket_types), type_out, type_in },
	{ "SOCKET_FLAGS", COUNT(socket_flags), type_flag_out, type_flag_in },
	{ "SOCKET_LEVELS", COUNT(socket_levels), level_out, level_in },
	{ "SOCKET_OPTIONS", COUNT(socket_options), option_out, option_in },
};
enum { TABLES = sizeof tables / sizeof *tables };

/* A request number or mask may be negative as a long: only the rows' own marker means "not here". */
static int absent(const struct row *row)
{
	return row->host == RC_ABSENT;
}

/* The first row with the same host value: what an alias goes out as. */
static const struct row *canonical(const struct table *table, const struct row *row)
{
	for (size_t i = 0; i < table->count; i++)
		if (table->rows[i].host == row->host)
			return &table->rows[i];
	return row;
}

static void there_and_back(void)
{
	for (size_t t = 0; t < TABLES; t++) {
		const struct table *table = &tables[t];

		for (size_t i = 0; i < table->count; i++) {
			const struct row *row = &table->rows[i];
			const struct row *first = canonical(table, row);
			uint32_t host = (uint32_t)row->host, in;
			int64_t out;

			if (absent(row)) {
				/* An errno that this machine lacks is EIO, a bit is not set; statx's pass as they are. */
				if (table->out == errno_out)
					CHECK(errno_in(row->wire) == EIO, "%s", row->name);
				else if (table->in == poll_in || table->in == watch_in)
					CHECK(table->in(row->wire) == 0, "%s", row->name);
				else if (table->in && !table->sets && table->in != statx_in)
					CHECK(table->in(row->wire) == -EINVAL, "%s", row->name);
				continue;
			}
			out = table->out(row->host);
			CHECK(table->sets ? out > 0 && (out & first->wire) == first->wire : out == first->wire,
			      "%s: %lx goes out as %llx", row->name, row->host, (long long)out);
			if (!table->in)
				continue;
			in = (uint32_t)table->in(row->wire);
			CHECK(table->sets ? (in & host) == host : in == host, "%s: %x comes in as %x", row->name, row->wire, in);
		}
	}
}

/* A name that only travelled as text, because the sender's list is longer than the receiver's or the other way round. */
static void errors_by_name(void)
{
	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		int expected = absent(&errors[i]) ? EIO : (int)errors[i].host;

		CHECK(rc_errno_from_wire(0, errors[i].name, strlen(errors[i].name)) == expected, "%s", errors[i].name);
		if (!absent(&errors[i]))
			CHECK(!strcmp(rc_errno_name(expected), canonical(&tables[0], &errors[i])->name), "%s",
			      errors[i].name);
	}
	CHECK(rc_errno_from_wire(60000, "", 0) == EIO, "a code that nobody has");
	CHECK(rc_errno_from_wire(0, "ENOSUCHNAME", 11) == EIO, "a name that nobody has");
	CHECK(rc_errno_from_wire(0, "ENOEN", 5) == EIO, "a name cut off");
	CHECK(rc_errno_to_wire(99999) == 5, "an errno that the wire lacks");
}

/* What these numbers are is written here once more by hand: a table that is wrong both ways would agree with itself. */
static void named_cases(void)
{
	static const struct {
		int host;
		uint16_t wire;
	} errnos[] = {
		{ EPERM, 1 }, { ENOENT, 2 }, { EIO, 5 }, { EBADF, 9 }, { EAGAIN, 11 }, { EWOULDBLOCK, 11 }, { EACCES, 13 },
		{ EEXIST, 17 }, { EXDEV, 18 }, { ENOTDIR, 20 }, { EISDIR, 21 }, { EINVAL, 22 }, { ESPIPE, 29 }, { EROFS, 30 },
		{ ERANGE, 34 }, { EDEADLK, 35 }, { ENAMETOOLONG, 36 }, { ENOLCK, 37 }, { ENOSYS, 38 }, { ENOTEMPTY, 39 },
		{ ELOOP, 40 }, { ENODATA, 61 }, { EPROTO, 71 }, { EOVERFLOW, 75 }, { EOPNOTSUPP, 95 }, { ENOTSUP, 95 },
		{ ECONNRESET, 104 }, { ETIMEDOUT, 110 }, { ECONNREFUSED, 111 }, { ESTALE, 116 }, { EREMOTEIO, 121 },
		{ EDQUOT, 122 }, { EHWPOISON, 133 },
#if EDEADLOCK != EDEADLK
		{ EDEADLOCK, 58 },
#endif
	};

	for (size_t i = 0; i < sizeof errnos / sizeof *errnos; i++) {
		CHECK(rc_errno_to_wire(errnos[i].host) == errnos[i].wire, "errno %d", errnos[i].host);
		CHECK(rc_errno_from_wire(errnos[i].wire, "", 0) == errnos[i].host, "code %d", errnos[i].wire);
	}
	CHECK(rc_errno_from_wire(58, "", 0) == EDEADLOCK, "EDEADLOCK is %d here", EDEADLOCK);
	CHECK(rc_open_flags_to_wire(O_RDONLY) == 0 && rc_open_flags_to_wire(O_WRONLY) == 1 &&
	      rc_open_flags_to_wire(O_RDWR) == 2, "access modes");
	CHECK(rc_open_flags_to_wire(O_CREAT) == 0x40, "O_CREAT");
	CHECK(rc_open_flags_to_wire(O_EXCL) == 0x80, "O_EXCL");
	CHECK(rc_open_flags_to_wire(O_NOCTTY) == 0x100, "O_NOCTTY");
	CHECK(rc_open_flags_to_wire(O_TRUNC) == 0x200, "O_TRUNC");
	CHECK(rc_open_flags_to_wire(O_APPEND) == 0x400, "O_APPEND");
	CHECK(rc_open_flags_to_wire(O_NONBLOCK) == 0x800, "O_NONBLOCK");
	CHECK(rc_open_flags_to_wire(O_DSYNC) == 0x1000, "O_DSYNC");
	CHECK(rc_open_flags_to_wire(O_SYNC) == 0x101000, "O_SYNC");
	CHECK(rc_open_flags_to_wire(O_DIRECT) == 0x4000, "O_DIRECT");
	CHECK(rc_open_flags_to_wire(O_DIRECTORY) == 0x10000, "O_DIRECTORY");
	CHECK(rc_open_flags_to_wire(O_NOFOLLOW) == 0x20000, "O_NOFOLLOW");
	CHECK(rc_open_flags_to_wire(O_NOATIME) == 0x40000, "O_NOATIME");
	CHECK(rc_open_flags_to_wire(O_PATH) == 0x200000, "O_PATH");
	CHECK(rc_open_flags_to_wire(O_TMPFILE) == 0x410000, "O_TMPFILE");
	CHECK(rc_open_flags_to_wire(O_CLOEXEC) == 0, "O_CLOEXEC stays here");
	CHECK(rc_open_flags_to_wire(O_LARGEFILE) == 0, "O_LARGEFILE stays here");
	CHECK(rc_open_flags_from_wire(0x30000) == (O_DIRECTORY | O_NOFOLLOW), "directory, nofollow");
	CHECK(rc_open_flags_from_wire(0x4c1) == (O_WRONLY | O_CREAT | O_EXCL | O_APPEND), "append, create");
	CHECK(rc_at_flags_to_wire(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) == 0x1100, "AT_*");
	CHECK(rc_at_flags_to_wire(1 << 30) == -EINVAL, "an unknown AT_ flag");
	CHECK(rc_resolve_to_wire((uint64_t)1 << 40) == -EINVAL, "an unknown RESOLVE_ flag");
	CHECK(rc_resolve_to_wire(RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS) == 0x14, "RESOLVE_*");
	CHECK(rc_whence_to_wire(SEEK_DATA) == 3 && rc_whence_to_wire(SEEK_HOLE) == 4, "whence");
	CHECK(rc_whence_to_wire(77) == -EINVAL, "an unknown whence");
	/* On mips POLLWRNORM is POLLOUT: it goes out as both. */
	CHECK(rc_poll_events_to_wire(POLLIN | POLLOUT | POLLHUP | POLLRDHUP) ==
	      (0x2015u | (POLLWRNORM == POLLOUT ? 0x100u : 0)), "poll");
	CHECK(rc_poll_events_from_wire(0x104) == (POLLOUT | POLLWRNORM), "POLLWRNORM");
	CHECK(rc_watch_events_to_wire(IN_CREATE | IN_DELETE | IN_ONESHOT) == 0x80000300u, "inotify");
	CHECK(rc_ioctl_to_wire(FIONREAD) == 1 && rc_ioctl_to_wire(FIGETBSZ) == 2, "ioctl");
	CHECK(rc_ioctl_to_wire((unsigned long)(long)(int)FS_IOC_GETFLAGS) == 3, "a sign-extended request");
	CHECK(rc_ioctl_to_wire(0x12345678) == -ENOTTY, "an unknown request");
	CHECK(rc_pathconf_to_wire(_PC_NAME_MAX) == 3, "pathconf");
	CHECK(rc_advice_to_wire(POSIX_FADV_DONTNEED) == 4 && rc_advice_to_wire(POSIX_FADV_NOREUSE) == 5, "fadvise");
	CHECK(rc_advice_to_wire(77) == -EINVAL, "an unknown advice");
	CHECK(rc_address_family_to_wire(AF_INET6) == 10 && rc_address_family_from_wire(1) == AF_UNIX, "AF_*");
	CHECK(rc_address_family_to_wire(77) == -EINVAL && rc_address_family_from_wire(77) == -EINVAL, "an unknown family");
	CHECK(rc_socket_type_to_wire(SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC) == 0x801, "SOCK_CLOEXEC stays here");
	CHECK(rc_socket_type_from_wire(0x802) == (SOCK_DGRAM | SOCK_NONBLOCK), "SOCK_*");
	CHECK(rc_socket_type_to_wire(SOCK_STREAM | 1 << 30) == -EINVAL && rc_socket_type_to_wire(0) == -EINVAL, "an unknown type");
	CHECK(rc_socket_type_from_wire(0x401) == -EINVAL && rc_socket_type_from_wire(0) == -EINVAL, "an unknown type back");
	CHECK(rc_socket_level_to_wire(SOL_SOCKET) == 1 && rc_socket_level_to_wire(IPPROTO_TCP) == 6, "levels");
	CHECK(rc_socket_level_to_wire(7777) == -EINVAL && rc_socket_level_from_wire(7777) == -EINVAL, "an unknown level");
	CHECK(rc_socket_option_to_wire(SO_REUSEADDR) == 2 && rc_socket_option_to_wire(SO_PEERCRED) == 17 &&
	      rc_socket_option_to_wire(SO_RCVTIMEO) == 20 && rc_socket_option_to_wire(SO_DOMAIN) == 39, "SO_*");
	CHECK(rc_socket_option_to_wire(7777) == -EINVAL && rc_socket_option_from_wire(7777) == -EINVAL, "an unknown option");
}

/* This architecture's own numbers, where it is known for them (asm/errno.h, asm/fcntl.h). */
static void own_numbers(void)
{
#if defined(__mips__)
	CHECK(rc_errno_from_wire(35, "", 0) == 45, "EDEADLK");
	CHECK(rc_errno_from_wire(58, "", 0) == 56, "EDEADLOCK");
	CHECK(rc_errno_from_wire(40, "", 0) == 90, "ELOOP");
	CHECK(rc_errno_from_wire(75, "", 0) == 79, "EOVERFLOW");
	CHECK(rc_errno_from_wire(122, "", 0) == 1133, "EDQUOT");
	CHECK(rc_open_flags_from_wire(0x40 | 0x80 | 0x400 | 0x800) == (0x100 | 0x400 | 0x8 | 0x80), "open flags");
	CHECK(rc_socket_type_from_wire(1) == 2 && rc_socket_type_from_wire(2) == 1, "stream and datagram change places");
	CHECK(rc_socket_type_from_wire(0x805) == (0x80 | 5), "SOCK_NONBLOCK");
	CHECK(rc_socket_level_from_wire(1) == 0xffff, "SOL_SOCKET");
	CHECK(rc_socket_option_from_wire(2) == 4 && rc_socket_option_from_wire(3) == 0x1008, "SO_REUSEADDR, SO_TYPE");
	CHECK(rc_socket_option_from_wire(16) == 17 && rc_socket_option_from_wire(17) == 18, "SO_PASSCRED, SO_PEERCRED");
	CHECK(rc_socket_option_to_wire(17) == 16 && rc_socket_option_to_wire(0x1006) == 20, "SO_PASSCRED, SO_RCVTIMEO");
#elif defined(__powerpc__)
	CHECK(rc_socket_option_from_wire(16) == 20 && rc_socket_option_from_wire(17) == 21, "SO_PASSCRED, SO_PEERCRED");
	CHECK(rc_socket_option_from_wire(18) == 16 && rc_socket_option_from_wire(19) == 17, "SO_RCVLOWAT, SO_SNDLOWAT");
	CHECK(rc_socket_option_from_wire(20) == 18 && rc_socket_option_from_wire(21) == 19, "SO_RCVTIMEO, SO_SNDTIMEO");
	CHECK(rc_socket_type_from_wire(0x801) == 0x801 && rc_socket_level_from_wire(1) == 1, "the rest as most have it");
	CHECK(rc_errno_from_wire(58, "", 0) == 58, "EDEADLOCK");
	CHECK(rc_errno_from_wire(35, "", 0) == 35, "EDEADLK");
	CHECK(rc_open_flags_from_wire(0x10000 | 0x20000 | 0x4000) == (0x4000 | 0x8000 | 0x20000), "open flags");
#elif defined(__arm__) || defined(__aarch64__)
	CHECK(rc_errno_from_wire(58, "", 0) == 35, "EDEADLOCK");
	CHECK(rc_open_flags_from_wire(0x10000 | 0x20000 | 0x4000) == (0x4000 | 0x8000 | 0x10000), "open flags");
#else
	CHECK(rc_errno_from_wire(58, "", 0) == 35, "EDEADLOCK");
	CHECK(rc_open_flags_from_wire(0x10000 | 0x20000 | 0x4000) == (0x10000 | 0x20000 | 0x4000), "open flags");
#endif
}

/* Flag sets of more than one bit, all pairs: what goes out means what came in. */
static void pairs(void)
{
	for (size_t i = 0; i < sizeof open_flags / sizeof *open_flags; i++)
		for (size_t j = 0; j < sizeof open_flags / sizeof *open_flags; j++) {
			long both = open_flags[i].host | open_flags[j].host;

			if (absent(&open_flags[i]) || absent(&open_flags[j]))
				continue;
			CHECK(rc_open_flags_to_wire((int)both | O_RDWR) ==
			      (int64_t)(open_flags[i].wire | open_flags[j].wire | 2u), "%s %s", open_flags[i].name,
			      open_flags[j].name);
			CHECK(rc_open_flags_from_wire(open_flags[i].wire | open_flags[j].wire | 1) == ((int)both | O_WRONLY),
			      "%s %s back", open_flags[i].name, open_flags[j].name);
		}
}

int main(int argc, char **argv)
{
	(void)argv;
	if (argc > 1) {
		for (size_t t = 0; t < TABLES; t++)
			for (size_t i = 0; i < tables[t].count; i++) {
				const struct row *row = &tables[t].rows[i];

				printf("%s %s %u ", tables[t].name, row->name, row->wire);
				if (absent(row))
					puts("-");
				else
					printf("%u\n", (uint32_t)row->host);
			}
		return 0;
	}
	there_and_back();
	errors_by_name();
	named_cases();
	own_numbers();
	pairs();
	if (failures)
		printf("%d failed\n", failures);
	return failures != 0;
}
