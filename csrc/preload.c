/* SPDX-License-Identifier: MIT
 *
 * The preload tier: starts, decides for each wrapped call which side serves it, and expands the table.
 * What is done for a remote file stands in preload_file.c and its neighbours.
 */
#include "preload.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cwd.h"
#include "image.h"
#include "protocol.h"
#include "translate.h"
#include "transport.h"

/* ------------------------------------------------------------------------------------ the next definitions */

#define FD(type, name, params, args, fd, remote) type (*rc_next_##name) params;
#define PATH(type, name, params, args, dirfd, path, flags, remote) type (*rc_next_##name) params;
#define RAW_PATH(type, name, params, args, dirfd, path, flags, raw, remote) type (*rc_next_##name) params;
#define RAW_FD(type, name, params, args, fd, where, raw, remote) type (*rc_next_##name) params;
#define OWN(type, name, params) type (*rc_next_##name) params;
#include "wrappers.h"
#undef FD
#undef PATH
#undef RAW_PATH
#undef RAW_FD
#undef OWN

#define SLOT(name) { #name, (void **)(void *)&rc_next_##name },
static const struct rc_wanted wrapped[] = {
#define FD(type, name, params, args, fd, remote) SLOT(name)
#define PATH(type, name, params, args, dirfd, path, flags, remote) SLOT(name)
#define RAW_PATH(type, name, params, args, dirfd, path, flags, raw, remote) SLOT(name)
#define RAW_FD(type, name, params, args, fd, where, raw, remote) SLOT(name)
#define OWN(type, name, params) SLOT(name)
#include "wrappers.h"
#undef FD
#undef PATH
#undef RAW_PATH
#undef RAW_FD
#undef OWN
};

/* ------------------------------------------------------------------------------------------------ starting */

_Atomic int rc_state;
bool rc_raw;

static const char *alone;	/* glibc's own flag, since 2.32 */

bool rc_single_threaded(void)
{
	return alone && *alone;
}

void rc_in_child(void)
{
	rc_sys_end_moment();
	rc_transport_after_fork();
	rc_fdtable_after_fork();
	rc_aio_after_fork();
}

static void before_fork(void)
{
	rc_share_all(false);
	rc_sys_begin_moment();
}

bool rc_start(void)
{
	int cold = RC_COLD, saved = errno;

	if (!environ)		/* a sanitizer's start, before libc's own */
		return false;
	if (!atomic_compare_exchange_strong(&rc_state, &cold, RC_STARTING))
		return cold == RC_READY;
	rc_find_next(wrapped, sizeof wrapped / sizeof *wrapped);
	alone = rc_find_any("__libc_single_threaded");
	rc_config_load(environ);
	rc_report_start(rc_config.debug);
	rc_fdtable_start();
	rc_transport_prepare();
	rc_spare_connection = rc_config.spares ? rc_ask_for_connection : NULL;
	/* Not only under our own supervisor: that of a `remotec run` above knows nothing of this session's descriptors. */
	rc_raw = RC_HAVE_RAW && RC_SYS(SYS_prctl, PR_GET_SECCOMP, 0, 0, 0, 0, 0) == 2 /* SECCOMP_MODE_FILTER */ && rc_stub_install() == 0;
	/* Where the supervisor would be asked for what we do ourselves, it does it all; valgrind makes calls from a page of its own. */
	if (rc_config.supervised && (!rc_raw || rc_sys_is_watched)) {
		atomic_store(&rc_state, RC_OFF);
		errno = saved;
		return false;
	}
	/* By way of that page: the supervisor might take the file's path for a remote one. */
	rc_stats_start(rc_config.stats, RC_TIER_PRELOAD);
	rc_process_start(environ);
	pthread_atfork(before_fork, rc_sys_end_moment, rc_in_child);
	atomic_store(&rc_state, RC_READY);
	if (rc_config.problem)
		rc_debug("remotec: %s", rc_config.problem);
	rc_stdio_start();
	errno = saved;
	return true;
}

__attribute__((constructor)) static void start_early(void)
{
	rc_ready();
}

/* -------------------------------------------------------------------------------------------------- routes */

static bool name_of(int dirfd, char *base, size_t size)
{
	char link[RC_FD_LINK];
	ssize_t length;

	if (dirfd == AT_FDCWD)
		return RC_SYS(SYS_getcwd, base, size, 0, 0, 0, 0) > 0 && base[0] == '/';
	if (dirfd < 0)
		return false;
	length = rc_sys_readlink(AT_FDCWD, rc_sys_fd_link(dirfd, link), base, size - 1);
	if (length <= 0)
		return false;
	base[length] = '\0';
	return base[0] == '/';
}

static int from_route(struct rc_target *t)
{
	if (t->route.side == RC_LOCAL) {
		t->instead = t->route.path[0] ? t->route.path : NULL;
		return 0;
	}
	t->at = (struct rc_location){ RC_NO_HANDLE, t->route.path };
	t->by_default = !t->route.rule;
	return 1;
}

/* `fd`: the placeholder, -1 where it's another process'. */
static int from_handle(struct rc_target *t, uint64_t handle, uint32_t kind, int fd, const char *path)
{
	int result = 1;

	t->fd = fd;
	t->at = (struct rc_location){ handle, path };
	if (handle == RC_NO_HANDLE)
		return -EBADF;		/* another session's: its server is not ours to ask */
	if (strstr(path, ".."))
		result = rc_cwd_route(handle, kind == RC_CWD_KIND ? fd : -1, path, &t->route);
	return result ? result : from_route(t);
}

/* /dev/stdin, /proc/<pid>/fd/N, /proc/<pid>/cwd: 0 where it is local, 1 where it's a placeholder, -1: not such a name. */
static int find_named(struct rc_target *t, int flags)
{
	int result, pid, fd;
	bool is_link;

	if (strncmp(t->given, "/dev/", 5) && strncmp(t->given, "/proc/", 6))
		return -1;
	pid = rc_sys_getpid();
	if (!rc_route_proc_name(t->given, &t->name))
		return rc_route_own_process(&rc_config.routes, t->given, pid) ? 0 : -1;
	if (t->name.pid && t->name.pid != pid &&
	    rc_route_path(&rc_config.routes, "/", t->given, &t->route) == 0 && t->route.side == RC_REMOTE)
		return -1;		/* a process of the server's */
	if (t->name.pid == pid)
		t->name.pid = 0;
	is_link = (flags & RC_READ_LINK) == RC_READ_LINK && !*t->name.rest;
	if (t->name.fd == RC_PROC_EXE) {	/* but for its name a remote program is one of this machine's */
		t->is_link = is_link && rc_image_path((unsigned)t->name.pid, NULL) > 0;
		t->at = (struct rc_location){ RC_NO_HANDLE, t->given };
		return t->is_link ? 1 : rc_route_own_process(&rc_config.routes, t->given, pid) ? 0 : -1;
	}
	if (!*t->name.rest && (flags & AT_SYMLINK_NOFOLLOW) && !is_link)
		return 0;
	result = rc_cwd_find(&t->name, 0, &t->named);
	if (result <= 0)
		return result;
	t->is_link = is_link;
	t->extra = *t->name.rest ? 0 : AT_EMPTY_PATH;
	fd = t->name.pid ? -1 : t->name.fd == RC_PROC_CWD ? RC_CWD_FD : t->name.fd;
	return from_handle(t, t->named.handle, t->named.kind, fd, t->name.rest);
}

static int from_base(struct rc_target *t, const char *base)
{
	int result = rc_route_path(&rc_config.routes, base, t->given, &t->route);

	if (result < 0)
		return rc_config.routes.default_remote ? result : 0;
	return from_route(t);
}

/* Apart, as what most calls don't need would be on their stack, which may be a small one. */
static __attribute__((noinline)) int from_directory(struct rc_target *t, int dirfd)
{
	char base[RC_PATH_MAX];

	return name_of(dirfd, base, sizeof base) ? from_base(t, base) : 0;
}

int rc_locate(int dirfd, const char *path, int flags, struct rc_target *t)
{
	bool may_be_null = (flags & AT_EMPTY_PATH) && !(flags & RC_READ_LINK);
	ssize_t length = path || !may_be_null ? rc_copy_string(t->given, path, sizeof t->given) : 0;
	struct rc_description *d = NULL;
	int result;

	t->instead = NULL;
	t->is_link = false;
	t->given[length < 0 ? 0 : length] = '\0';
	if (length < 0)
		return 0;		/* EFAULT or ENAMETOOLONG: the kernel says it */
	t->extra = 0;
	t->fd = -1;
	t->by_default = false;
	if (t->given[0] != '/')
		d = dirfd == AT_FDCWD ? rc_cwd() : rc_fdtable_get(dirfd);
	if (!length && !(flags & AT_EMPTY_PATH))
		return 0;		/* ENOENT, whatever dirfd is */
	if (d)
		return from_handle(t, d->handle, d->kind, dirfd == AT_FDCWD ? RC_CWD_FD : dirfd, t->given);
	if (!length)
		return 0;
	if (t->given[0] != '/')
		return rc_route_may_lead_away(&rc_config.routes, t->given) ? from_directory(t, dirfd) : 0;
	result = find_named(t, flags);
	return result == -1 ? from_base(t, "/") : result;
}

int rc_refuse(const char *call, int fd, int error)
{
	rc_debug("%s() on remote fd %d: %s", call, fd, rc_errno_name(-error));
	rc_stats_refused(error);
	return error;
}

int rc_refuse_path(const char *call, const struct rc_target *t, int error)
{
	rc_debug("%s() on remote file %s: %s", call, t->given, rc_errno_name(-error));
	rc_stats_refused(error);
	return error;
}

/* ------------------------------------------------------------------------------------- the table, expanded */

#define RC_OPEN_AT(flags) ((flags) & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0)

#define FD_WITH(type, name, params, args, fd, local, remote) \
	RC_EXPORT type name params \
	{ \
		struct rc_description *d; \
		if (!rc_ready()) \
			return rc_pass_##name() args; \
		d = rc_fdtable_pin(fd); \
		if (__builtin_expect(!d, 1)) { \
			rc_count_local(); \
			local; \
		} \
		return (type)rc_finish(RC_SPAN_ON(#name, fd, d, remote)); \
	}
#define FD(type, name, params, args, fd, remote) \
	FD_WITH(type, name, params, args, fd, return rc_next_##name args, remote)
#define PATH_WITH(type, name, params, args, dirfd, path, flags, local, remote) \
	RC_EXPORT type name params \
	{ \
		struct rc_target t; \
		int side; \
		if (!rc_ready()) \
			return rc_pass_##name() args; \
		side = rc_locate(dirfd, path, flags, &t); \
		if (side == 0) { \
			if (__builtin_expect(t.instead != NULL, 0)) \
				path = t.instead; \
			rc_count_local(); \
			local; \
		} \
		return (type)rc_finish(side < 0 ? side : RC_SPAN(#name, t.given, -1, t.at.directory, remote)); \
	}
#define PATH(type, name, params, args, dirfd, path, flags, remote) \
	PATH_WITH(type, name, params, args, dirfd, path, flags, return rc_next_##name args, remote)
#if RC_HAVE_RAW
#define RAW_PATH(type, name, params, args, dirfd, path, flags, raw, remote) \
	PATH_WITH(type, name, params, args, dirfd, path, flags, \
		  return rc_raw ? (type)rc_finish(RC_SYS raw) : rc_next_##name args, remote)
#define RAW_FD(type, name, params, args, fd, where, raw, remote) \
	FD_WITH(type, name, params, args, fd, \
		return rc_raw && where ? (type)rc_finish(RC_SYS raw) : rc_next_##name args, remote)
#else
#define RAW_FD(type, name, params, args, fd, where, raw, remote) FD(type, name, params, args, fd, remote)
#define RAW_PATH(type, name, params, args, dirfd, path, flags, raw, remote) \
	PATH(type, name, params, args, dirfd, path, flags, remote)
#endif
#define OWN(type, name, params)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wnonnull-compare"
#include "wrappers.h"
#pragma GCC diagnostic pop

/* --------------------------------------------------------- open: variadic, so that the table can't spell them */

/* The mode is there only with these flags. */
#define MODE_OF(flags, last) \
	unsigned mode = 0; \
	if ((flags & O_CREAT) || (flags & O_TMPFILE) == O_TMPFILE) { \
		va_list arguments; \
		va_start(arguments, last); \
		mode = va_arg(arguments, unsigned); \
		va_end(arguments); \
	}

#define OPEN(name, flag, dirfd, params, last, args) \
	RC_EXPORT int name params \
	{ \
		struct rc_target t; \
		int side; \
		MODE_OF(flags, last) \
		if (!rc_ready()) \
			return rc_pass_##name() args; \
		side = rc_locate(dirfd, path, RC_OPEN_AT(flags), &t); \
		if (side == 0 && t.instead) \
			path = t.instead; \
		if (side == 0) { \
			rc_count_local(); \
			return rc_raw ? (int)rc_finish(rc_sys_open(dirfd, path, flags | (flag), mode)) \
				      : rc_next_##name args; \
		} \
		return (int)rc_finish(side < 0 ? side : RC_SPAN(#name, t.given, -1, t.at.directory, \
								rc_remote_open(&t, flags | (flag), mode, 0))); \
	}
OPEN(open, 0, AT_FDCWD, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(openat, 0, dirfd, (int dirfd, const char *path, int flags, ...), flags, (dirfd, path, flags, mode))
#ifdef __GLIBC__
OPEN(open64, RC_LARGE, AT_FDCWD, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(openat64, RC_LARGE, dirfd, (int dirfd, const char *path, int flags, ...), flags, (dirfd, path, flags, mode))
OPEN(__open, 0, AT_FDCWD, (const char *path, int flags, ...), flags, (path, flags, mode))
OPEN(__open64, RC_LARGE, AT_FDCWD, (const char *path, int flags, ...), flags, (path, flags, mode))
#endif
