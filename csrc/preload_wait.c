/* SPDX-License-Identifier: MIT
 *
 * Waiting for something to happen to remote files: inotify(7), poll(2), select(2).
 */
#include "preload.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "notify.h"
#include "protocol.h"
#include "translate.h"
#include "transport.h"

/* ------------------------------------------------------------------------------------------------- inotify */

static bool is_inotify(int fd)
{
	static const char name[] = "anon_inode:inotify";
	char link[32], target[sizeof name];
	char digits[12], *at = digits + sizeof digits;

	if (fd < 0)
		return false;
	*--at = '\0';
	for (int n = fd;; n /= 10) {
		*--at = (char)('0' + n % 10);
		if (n < 10)
			break;
	}
	strcpy(link, "/proc/self/fd/");
	strcat(link, at);
	return rc_sys_readlink(AT_FDCWD, link, target, sizeof target) == sizeof name - 1 &&
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
		return (int)rc_finish(side < 0 ? side : add_remote(d, fd, &t, mask));
	if (d && d->kind == RC_KIND_WATCH)
		fd = rc_notify_native(d->handle);
	return rc_next_inotify_add_watch(fd, t.instead ? t.instead : path, mask);
}

int rc_remote_unwatch(struct rc_description *d, int wd)
{
	return d->kind == RC_KIND_WATCH ? rc_notify_remove(d->handle, wd) : -EINVAL;
}

/* ------------------------------------------------------------------------------------------ poll and select */

/* A regular file's placeholder is always ready, as the file is.  What may not be (a fifo, a terminal) is asked of the server: a line
 * on which it owes the answer is polled beside the local descriptors. */
enum { MOST_POLLED = 2048, MOST_LINES = 16 };

struct pending {
	nfds_t at;
	struct connection *line;
};

static struct rc_description *waits(int fd)
{
	struct rc_description *d = fd < 0 ? NULL : rc_fdtable_get(fd);

	return d && d->kind == RC_KIND_STREAM && d->handle != RC_NO_HANDLE ? d : NULL;
}

static int ask(struct pending *p, uint64_t handle, int events)
{
	uint8_t frame[RC_HEADER_SIZE + RC_POLL_REQUEST_SIZE];
	struct rc_writer w = { .at = frame, .end = frame + sizeof frame };
	int result = rc_line_take(&p->line);

	if (result)
		return result;
	rc_line_put(p->line, &w, RC_OP_POLL, RC_POLL_REQUEST_SIZE);
	rc_put_u64(&w, handle);
	rc_put_u32(&w, rc_poll_events_to_wire(events));
	rc_put_u32(&w, (uint32_t)-1);
	result = rc_line_send(p->line, frame, sizeof frame);
	if (result)
		rc_line_give_back(p->line, false);
	return result;
}

/* What the server answered; without an answer the line is given up, and the server stops waiting with it. */
static short answer(struct pending *p, bool answered)
{
	uint8_t reply[RC_POLL_REPLY_SIZE];
	struct iovec part = { reply, sizeof reply };
	struct rc_reader r = { .at = reply, .end = reply + sizeof reply };
	struct rc_header header;
	bool usable = answered && rc_line_header(p->line, &header) == 0 && !header.error && header.length == sizeof reply &&
		      rc_line_receive(p->line, &part, 1) == (ssize_t)sizeof reply;

	rc_line_give_back(p->line, usable);
	return usable ? (short)rc_poll_events_from_wire(rc_get_u32(&r)) : answered ? POLLERR : 0;
}

/* The answers of now into ready[]; how many there are. */
static int ready_now(const struct pollfd *set, nfds_t count, short *ready)
{
	int found = 0;

	for (nfds_t i = 0; i < count; i++) {
		struct rc_description *d = waits(set[i].fd);
		int events = d ? rc_call_poll(d->handle, set[i].events, 0) : 0;

		ready[i] = events < 0 ? POLLERR : (short)events;
		found += ready[i] != 0;
	}
	return found;
}

static int poll_mixed(struct pollfd *set, nfds_t count, const struct timespec *timeout, const sigset_t *mask)
{
	static const struct timespec at_once;
	struct pollfd copy[count];
	struct pending pending[MOST_LINES];
	short ready[count];
	int lines = 0, result, found = ready_now(set, count, ready), saved;

	rc_debug("poll() of %u descriptors, some remote", (unsigned)count);
	memcpy(copy, set, sizeof copy);
	for (nfds_t i = 0; i < count; i++) {
		struct rc_description *d = waits(set[i].fd);

		if (!d)
			continue;
		copy[i].fd = -1;
		copy[i].revents = 0;
		if (found || (timeout && !timeout->tv_sec && !timeout->tv_nsec) || lines == MOST_LINES)
			continue;
		pending[lines] = (struct pending){ .at = i };
		if (ask(&pending[lines], d->handle, set[i].events)) {
			ready[i] = POLLERR;
			found++;
			continue;
		}
		copy[i] = (struct pollfd){ .fd = rc_line_socket(pending[lines++].line), .events = POLLIN };
	}
	result = rc_next_ppoll(copy, count, found ? &at_once : timeout, mask);
	saved = errno;
	for (int i = 0; i < lines; i++) {
		nfds_t at = pending[i].at;

		ready[at] = answer(&pending[i], result >= 0 && copy[at].revents);
		copy[at].revents = 0;
	}
	errno = saved;
	if (result < 0)
		return result;
	result = 0;
	for (nfds_t i = 0; i < count; i++) {
		set[i].revents = copy[i].revents | ready[i];
		result += set[i].revents != 0;
	}
	return result;
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
RC_EXPORT int __poll_chk(struct pollfd *set, nfds_t count, int timeout_ms, size_t room)
{
	return room / sizeof *set >= count && any_waits(set, count) ? poll_for(set, count, timeout_ms)
								    : rc_pass___poll_chk()(set, count, timeout_ms, room);
}
#endif

static bool is_set(int fd, const fd_set *set)
{
	return set && ((const unsigned char *)set)[fd / 8] >> fd % 8 & 1;
}

/* The sets are read as what may be bad pointers. */
static bool any_selected(int count, const fd_set *in, const fd_set *out, const fd_set *urgent)
{
	const fd_set *sets[] = { in, out, urgent };
	size_t bytes = count < 0 ? 0 : ((size_t)count + 7) / 8;

	if (!rc_ready() || count > FD_SETSIZE || __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__)
		return false;
	for (int i = 0; i < 3; i++) {
		fd_set set;

		if (sets[i] && rc_copy_in(&set, sets[i], bytes) < 0)
			return false;
		for (int fd = 0; sets[i] && fd < count; fd++)
			if (is_set(fd, &set) && waits(fd))
				return true;
	}
	return false;
}

static int select_mixed(int count, fd_set *in, fd_set *out, fd_set *urgent, const struct timespec *timeout,
			const sigset_t *mask)
{
	struct pollfd set[FD_SETSIZE];
	nfds_t used = 0;
	int result;

	for (int fd = 0; fd < count; fd++) {
		int events = (is_set(fd, in) ? POLLIN : 0) | (is_set(fd, out) ? POLLOUT : 0) | (is_set(fd, urgent) ? POLLPRI : 0);

		if (events)
			set[used++] = (struct pollfd){ .fd = fd, .events = (short)events };
	}
	result = poll_mixed(set, used, timeout, mask);
	if (result < 0)
		return result;
	result = 0;
	for (nfds_t i = 0; i < used; i++) {
		int fd = set[i].fd, got = set[i].revents;
		struct {
			fd_set *set;
			int events;
		} kinds[] = { { in, POLLIN | POLLHUP | POLLERR }, { out, POLLOUT | POLLERR }, { urgent, POLLPRI } };

		if (got & POLLNVAL)
			return (int)rc_finish(-EBADF);
		for (int k = 0; k < 3; k++) {
			if (!is_set(fd, kinds[k].set))
				continue;
			if (got & kinds[k].events)
				result++;
			else
				FD_CLR(fd, kinds[k].set);
		}
	}
	return result;
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
