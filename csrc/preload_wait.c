/* SPDX-License-Identifier: MIT
 *
 * Waiting for something to happen to remote files: inotify(7), epoll(7), poll(2), select(2).
 */
#include "preload.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "notify.h"
#include "protocol.h"
#include "readiness.h"

/* ------------------------------------------------------------------------------------------------- inotify */

static bool is_inotify(int fd)
{
	static const char name[] = "anon_inode:inotify";
	char link[RC_FD_LINK], target[sizeof name];

	return fd >= 0 && rc_sys_readlink(AT_FDCWD, rc_sys_fd_link(fd, link), target, sizeof target) == sizeof name - 1 &&
	       !memcmp(target, name, sizeof name - 1);
}

static int add_remote(struct rc_description *d, int fd, const struct rc_target *t, uint32_t mask)
{
	struct rc_placeholder made;
	uint64_t handle = d ? d->handle : RC_NO_HANDLE;
	int result;

	rc_debug("inotify_add_watch() on remote file %s", t->given);
	if (d && d->kind != RC_KIND_WATCH)
		return -EINVAL;
	if (!d) {
		if (rc_sys_fcntl(fd, F_GETFD, 0) < 0)
			return -EBADF;
		if (!is_inotify(fd))
			return -EINVAL;
		result = rc_notify_convert(fd, &made);
		if (result)
			return result;
		if (rc_fdtable_insert(fd, &made) < 0)
			return -ENFILE;
		handle = made.handle;
	}
	return rc_notify_add(handle, t->at, mask);
}

RC_EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	struct rc_description *d;
	struct rc_target t;
	int side;

	if (!rc_ready())
		return rc_pass_inotify_add_watch()(fd, path, mask);
	d = rc_fdtable_get(fd);
	side = rc_locate(AT_FDCWD, path, mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0, &t);
	if (side)
		return (int)rc_finish(side < 0 ? side : RC_SPAN("inotify_add_watch", t.given, fd, t.at.directory,
								add_remote(d, fd, &t, mask)));
	rc_count_local();
	if (d && d->kind == RC_KIND_WATCH)
		fd = rc_notify_native(d->handle);
	return rc_next_inotify_add_watch(fd, t.instead ? t.instead : path, mask);
}

int rc_remote_unwatch(struct rc_description *d, int wd)
{
	return d->kind == RC_KIND_WATCH ? rc_notify_remove(d->handle, wd) : -EINVAL;
}

/* --------------------------------------------------------------------------------------------------- epoll */

/* What may not be ready is remotec-run's to show (run_epoll.h).  It hears from us once this process has something in a set:
 * before that, what we read and close is in none. */
static void was_read(uint64_t handle)
{
	rc_ask_runner(&(struct rc_control){ .what = RC_CONTROL_EPOLL_READ, .handle = handle }, -1);
}

static void settle(void)
{
	if (__builtin_expect(rc_stream_was_read != NULL, 0))
		rc_ask_runner(&(struct rc_control){ .what = RC_CONTROL_EPOLL_SETTLE }, -1);
}

int rc_remote_epoll(struct rc_description *d, int epoll, int operation, int fd, struct epoll_event *event)
{
	struct rc_control what = { .what = RC_CONTROL_EPOLL, .operation = operation, .fd = fd, .handle = d->handle };

	rc_debug("epoll_ctl() on remote fd %d", fd);
	if (operation != EPOLL_CTL_DEL && rc_copy_in(&what.event, event, sizeof what.event) < 0)
		return -EFAULT;
	if (rc_sys_fcntl(epoll, F_GETFD, 0) < 0)
		return -EBADF;
	if (d->kind == RC_KIND_POSITIONED)		/* though a placeholder of run_pages.h's could be waited for */
		return -EPERM;
	if (d->kind != RC_KIND_STREAM || !rc_config.control)
		return (int)RC_SYS(SYS_epoll_ctl, epoll, operation, fd, event, 0, 0);
	rc_share(fd);		/* it's remotec-run then who sees its last descriptor's end */
	rc_stream_was_read = was_read;
	return rc_ask_runner(&what, epoll);
}

RC_EXPORT int epoll_wait(int epoll, struct epoll_event *events, int most, int timeout_ms)
{
	if (!rc_ready())
		return rc_pass_epoll_wait()(epoll, events, most, timeout_ms);
	settle();
#if RC_HAVE_RAW
	if (rc_raw && rc_single_threaded())
		return (int)rc_finish(RC_SYS(SYS_epoll_pwait, epoll, events, most, timeout_ms, NULL, 0));
#endif
	return rc_next_epoll_wait(epoll, events, most, timeout_ms);
}

RC_EXPORT int epoll_pwait(int epoll, struct epoll_event *events, int most, int timeout_ms, const sigset_t *mask)
{
	if (!rc_ready())
		return rc_pass_epoll_pwait()(epoll, events, most, timeout_ms, mask);
	settle();
	return rc_next_epoll_pwait(epoll, events, most, timeout_ms, mask);
}

#ifdef __GLIBC__
RC_EXPORT int epoll_pwait2(int epoll, struct epoll_event *events, int most, const struct timespec *timeout,
			   const sigset_t *mask)
{
	if (!rc_ready())
		return rc_pass_epoll_pwait2()(epoll, events, most, timeout, mask);
	settle();
	return rc_next_epoll_pwait2(epoll, events, most, timeout, mask);
}
#endif

/* ------------------------------------------------------------------------------------------ poll and select */

enum { MOST_POLLED = 2048 };

static struct rc_description *waits(int fd)
{
	struct rc_description *d = fd < 0 ? NULL : rc_fdtable_get(fd);

	return d && d->kind == RC_KIND_STREAM && d->handle != RC_NO_HANDLE ? d : NULL;
}

static int poll_local(struct pollfd *set, nfds_t count, const struct timespec *timeout, const void *mask)
{
	int result = rc_next_ppoll(set, count, timeout, mask);

	return result < 0 ? -errno : result;
}

static int poll_both(struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	uint64_t handles[count];
	int saved = errno, result;

	rc_debug("poll() of %u descriptors, some remote", (unsigned)count);
	for (nfds_t i = 0; i < count; i++) {
		struct rc_description *d = waits(set[i].fd);

		handles[i] = d ? d->handle : RC_NO_HANDLE;
	}
	result = rc_ready_poll(set, handles, count, timeout, poll_local, mask);
	errno = saved;
	return (int)rc_finish(result);
}

static int poll_mixed(struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	return (int)rc_finish(RC_SPAN("poll", NULL, -1, RC_NO_HANDLE, rc_result(poll_both(set, count, timeout, mask))));
}

/* glibc declares poll()'s array as written only, which its input isn't. */
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
/* Read as what may be a bad pointer: the kernel says so then. */
static bool any_waits(const struct pollfd *set, nfds_t count)
{
	struct pollfd some[64];

	if (!rc_ready() || count > MOST_POLLED)
		return false;
	for (nfds_t at = 0; at < count; at += sizeof some / sizeof *some) {
		nfds_t here = count - at < sizeof some / sizeof *some ? count - at : sizeof some / sizeof *some;

		if (rc_copy_in(some, set + at, here * sizeof *some) < 0)
			return false;
		for (nfds_t i = 0; i < here; i++)
			if (waits(some[i].fd))
				return true;
	}
	return false;
}

static int poll_for(struct pollfd *set, nfds_t count, int timeout_ms)
{
	struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000L };

	return poll_mixed(set, count, timeout_ms < 0 ? NULL : &timeout, NULL);
}

RC_EXPORT int poll(struct pollfd *set, nfds_t count, int timeout_ms)
{
	return any_waits(set, count) ? poll_for(set, count, timeout_ms) : rc_pass_poll()(set, count, timeout_ms);
}

RC_EXPORT int ppoll(struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	return any_waits(set, count) ? poll_mixed(set, count, timeout, mask)
				     : rc_pass_ppoll()(set, count, timeout, mask);
}

#ifdef __GLIBC__
RC_EXPORT int __poll(struct pollfd *set, nfds_t count, int timeout_ms)
{
	return any_waits(set, count) ? poll_for(set, count, timeout_ms) : rc_pass___poll()(set, count, timeout_ms);
}

RC_EXPORT int __ppoll_chk(struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask, size_t room)
{
	return room / sizeof *set >= count && any_waits(set, count)
		       ? poll_mixed(set, count, timeout, mask) : rc_pass___ppoll_chk()(set, count, timeout, mask, room);
}

RC_EXPORT int __poll_chk(struct pollfd *set, nfds_t count, int timeout_ms, size_t room)
{
	return room / sizeof *set >= count && any_waits(set, count) ? poll_for(set, count, timeout_ms)
								    : rc_pass___poll_chk()(set, count, timeout_ms, room);
}
#endif

static unsigned long *words(const fd_set *set)
{
	return (unsigned long *)set;
}

/* The sets are read as what may be bad pointers. */
static bool any_selected(int count, const fd_set *in, const fd_set *out, const fd_set *urgent)
{
	const fd_set *sets[] = { in, out, urgent };
	size_t word = sizeof(unsigned long), bytes = count < 0 ? 0 : ((size_t)count + 8 * word - 1) / (8 * word) * word;

	if (!rc_ready() || count > FD_SETSIZE)
		return false;
	for (int i = 0; i < 3; i++) {
		fd_set set;

		if (sets[i] && rc_copy_in(&set, sets[i], bytes) < 0)
			return false;
		for (int fd = 0; sets[i] && fd < count; fd++)
			if (FD_ISSET(fd, &set) && waits(fd))
				return true;
	}
	return false;
}

static int select_mixed(int count, fd_set *in, fd_set *out, fd_set *urgent, const struct timespec *timeout,
			const sigset_t *mask)
{
	struct rc_select s = { count, { words(in), words(out), words(urgent) } };
	struct pollfd set[FD_SETSIZE];
	nfds_t used = rc_ready_select_begin(&s, set);
	int result = poll_mixed(set, used, timeout, mask);

	return result < 0 ? result : (int)rc_finish(rc_ready_select_end(&s, set, used));
}

RC_EXPORT int pselect(int count, fd_set *in, fd_set *out, fd_set *urgent, const struct timespec *timeout,
		      const sigset_t *mask)
{
	return any_selected(count, in, out, urgent) ? select_mixed(count, in, out, urgent, timeout, mask)
						    : rc_pass_pselect()(count, in, out, urgent, timeout, mask);
}

/* Linux leaves what remains of the time in *timeout. */
RC_EXPORT int select(int count, fd_set *in, fd_set *out, fd_set *urgent, struct timeval *timeout)
{
	struct timespec wanted;
	int64_t left;
	int result;

	if (!any_selected(count, in, out, urgent))
		return rc_pass_select()(count, in, out, urgent, timeout);
	if (!timeout)
		return select_mixed(count, in, out, urgent, NULL, NULL);
	wanted = (struct timespec){ timeout->tv_sec, timeout->tv_usec * 1000L };
	left = (int64_t)rc_sys_monotonic_ns() + (int64_t)wanted.tv_sec * 1000000000 + wanted.tv_nsec;
	result = select_mixed(count, in, out, urgent, &wanted, NULL);
	left -= (int64_t)rc_sys_monotonic_ns();
	left = left < 0 ? 0 : left / 1000;
	*timeout = (struct timeval){ .tv_sec = (time_t)(left / 1000000), .tv_usec = (suseconds_t)(left % 1000000) };
	return result;
}
