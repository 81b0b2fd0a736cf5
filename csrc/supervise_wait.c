/* SPDX-License-Identifier: MIT
 *
 * Handlers of the calls that wait: poll(2), select(2) and epoll(7) of what may not be ready on the server, and inotify(7).
 */
#include "supervise_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "notify.h"
#include "protocol.h"
#include "readiness.h"
#include "report.h"
#include "run_epoll.h"
#include "run_thread.h"
#include "run_watch.h"
#include "supervise_serve.h"
#include "syscalls_expand.h"
#include "sys.h"
#include "transport.h"

/* ---------------------------------------------------------------------------------------------------- time */

enum { MOST = 2048, NS = 1000000000 };
enum { FOREVER_S = INT32_MAX };		/* what can be counted in nanoseconds */

/* A struct timespec or timeval of the caller's: 1 where it gives one, 0 where not, -errno. */
static int get_time(struct rc_notice *notice, uint64_t from, enum rc_time_form form, struct timespec *to)
{
	bool slim = notice->abi->narrow && form != RC_TIMESPEC64;
	int64_t wide[2];
	int32_t narrow[2];

	if (!from)
		return 0;
	if (rc_target_get(notice, from, slim ? (void *)narrow : (void *)wide, slim ? sizeof narrow : sizeof wide) < 0)
		return -EFAULT;
	to->tv_sec = slim ? narrow[0] : wide[0];
	to->tv_nsec = slim ? narrow[1] : wide[1];
	if (form == RC_TIMEVAL) {		/* any number of microseconds is taken */
		if (__builtin_add_overflow(to->tv_sec, to->tv_nsec / 1000000, &to->tv_sec))
			return -EINVAL;
		to->tv_nsec = to->tv_nsec % 1000000 * 1000;
	}
	if (to->tv_sec > FOREVER_S)
		to->tv_sec = FOREVER_S;
	return to->tv_sec < 0 || to->tv_nsec < 0 || to->tv_nsec >= NS ? -EINVAL : 1;
}

/* Linux leaves what remains of the time there. */
static void put_time(struct rc_notice *notice, uint64_t at, enum rc_time_form form, int64_t ns)
{
	bool slim = notice->abi->narrow && form != RC_TIMESPEC64;
	int64_t wide[2];

	ns = ns < 0 ? 0 : ns;
	wide[0] = ns / NS;
	wide[1] = ns % NS / (form == RC_TIMEVAL ? 1000 : 1);
	int32_t narrow[2] = { (int32_t)wide[0], (int32_t)wide[1] };

	rc_target_put(notice, at, slim ? (void *)narrow : (void *)wide, slim ? sizeof narrow : sizeof wide);
}

/* ---------------------------------------------------------------------------------------------------- poll */

/* In pieces, between which it's seen whether a signal came for the caller. */
static int poll_local(struct pollfd *set, nfds_t count, const struct timespec *timeout, const void *unused)
{
	int64_t end = timeout ? (int64_t)rc_sys_monotonic_ns() + (int64_t)timeout->tv_sec * NS + timeout->tv_nsec : INT64_MAX;
	int ready;

	(void)unused;
	for (;;) {
		int64_t left = end - (int64_t)rc_sys_monotonic_ns(), piece = (int64_t)RC_WAIT_CHECK_MS * 1000000;

		piece = left < 0 ? 0 : left < piece ? left : piece;
		ready = ppoll(set, count, &(struct timespec){ 0, piece }, NULL);
		if (ready < 0 && errno != EINTR)
			return -errno;
		if (ready > 0 || left <= 0)
			return ready < 0 ? 0 : ready;
		if (rc_wait_over())
			return RC_INTERRUPTED;
	}
}

/* set[] with the caller's descriptors: RC_LET where none of them is a remote one that may not be ready. */
static int64_t poll_set(struct rc_notice *notice, struct pollfd *set, nfds_t count, const struct timespec *timeout)
{
	struct pollfd own[count ? count : 1];
	uint64_t handles[count ? count : 1];
	bool any = false;
	int64_t result;

	for (nfds_t i = 0; i < count; i++) {
		struct rc_description *d;

		own[i] = set[i];
		handles[i] = RC_NO_HANDLE;
		if (set[i].fd < 0)
			continue;
		own[i].fd = rc_target_borrow(notice, set[i].fd);
		if (own[i].fd < 0) {
			own[i].fd = INT_MAX;		/* POLLNVAL */
			continue;
		}
		d = rc_descriptions_get(own[i].fd);
		if (d && d->kind == RC_KIND_STREAM && d->handle != RC_NO_HANDLE) {
			handles[i] = d->handle;
			any = true;
		}
	}
	if (any) {
		rc_notice_slow(notice);
		rc_debug("%s() of %u descriptors, some remote", notice->call->name, (unsigned)count);
	}
	result = any ? rc_ready_poll(own, handles, count, timeout, poll_local, NULL) : RC_LET;
	for (nfds_t i = 0; i < count; i++) {
		if (set[i].fd >= 0 && own[i].fd != INT_MAX)
			close(own[i].fd);
		set[i].revents = own[i].revents;
	}
	return result;
}

/* Only the kernel can put a signal mask in force for the time of the call. */
static bool has_mask(struct rc_notice *notice, uint64_t mask)
{
	uint64_t theirs, now, pending;

	return mask && rc_target_get(notice, mask, &theirs, sizeof theirs) == 0 &&
	       rc_target_signals(notice, &pending, &now) && now != theirs;
}

static int64_t poll_for(struct rc_notice *notice, uint64_t at, uint64_t count, const struct timespec *timeout, uint64_t mask)
{
	struct pollfd set[count ? count : 1];
	int64_t result;

	if (rc_target_get(notice, at, set, count * sizeof *set) < 0)
		return RC_LET;
	result = poll_set(notice, set, count, timeout);
	if (result == RC_LET)
		return RC_LET;
	if (has_mask(notice, mask))
		return rc_refuse_call(notice, "descriptors with a signal mask", -ENOSYS);
	if (result >= 0 && count && rc_target_put(notice, at, set, count * sizeof *set) < 0)
		return -EFAULT;
	return result;
}

int64_t rc_do_poll(struct rc_notice *notice, const int64_t *a)
{
	int ms = (int)a[2];
	struct timespec timeout = { ms / 1000, ms % 1000 * 1000000L };

	if (!rc_watch_streams() || (uint64_t)a[1] > MOST)
		return RC_LET;
	return poll_for(notice, (uint64_t)a[0], (uint64_t)a[1], ms < 0 ? NULL : &timeout, 0);
}

int64_t rc_do_ppoll(struct rc_notice *notice, const int64_t *a)
{
	uint64_t now = rc_sys_monotonic_ns();
	struct timespec timeout;
	int64_t result;
	int has;

	if (!rc_watch_streams() || (uint64_t)a[1] > MOST)
		return RC_LET;
	has = get_time(notice, (uint64_t)a[2], (enum rc_time_form)a[4], &timeout);
	if (has < 0)
		return RC_LET;
	result = poll_for(notice, (uint64_t)a[0], (uint64_t)a[1], has ? &timeout : NULL, (uint64_t)a[3]);
	if (has && result != RC_LET)
		put_time(notice, (uint64_t)a[2], (enum rc_time_form)a[4], (int64_t)timeout.tv_sec * NS + timeout.tv_nsec -
			 (int64_t)(rc_sys_monotonic_ns() - now));
	return result;
}

/* a: descriptors, three sets, time; `form` of the time; where the signal mask's address is, and its size. */
static int64_t select_for(struct rc_notice *notice, const int64_t *a, enum rc_time_form form, uint64_t mask)
{
	enum { WORDS = MOST / (8 * sizeof(unsigned long)) };
	unsigned long sets[3][WORDS];
	struct rc_select s = { .count = (int)a[0] };
	size_t word = notice->abi->narrow ? 4 : 8, bytes = ((size_t)(int)a[0] + 8 * word - 1) / (8 * word) * word;
	uint64_t now = rc_sys_monotonic_ns();
	struct timespec timeout;
	struct pollfd set[MOST];
	nfds_t used;
	int64_t result;
	int has;

	if (!rc_watch_streams() || s.count < 0 || s.count > MOST)
		return RC_LET;
	memset(sets, 0, sizeof sets);
	for (int k = 0; k < 3; k++)
		if (a[1 + k]) {
			if (rc_target_get(notice, (uint64_t)a[1 + k], sets[k], bytes) < 0)
				return RC_LET;
			s.sets[k] = sets[k];
		}
	has = get_time(notice, (uint64_t)a[4], form, &timeout);
	if (has < 0)
		return RC_LET;
	used = rc_ready_select_begin(&s, set);
	result = poll_set(notice, set, used, has ? &timeout : NULL);
	if (result == RC_LET)
		return RC_LET;
	if (has_mask(notice, mask))
		return rc_refuse_call(notice, "descriptors with a signal mask", -ENOSYS);
	if (result >= 0)
		result = rc_ready_select_end(&s, set, used);
	for (int k = 0; result >= 0 && k < 3; k++)
		if (s.sets[k] && bytes && rc_target_put(notice, (uint64_t)a[1 + k], sets[k], bytes) < 0)
			result = -EFAULT;
	if (has)
		put_time(notice, (uint64_t)a[4], form, (int64_t)timeout.tv_sec * NS + timeout.tv_nsec -
			 (int64_t)(rc_sys_monotonic_ns() - now));
	return result;
}

int64_t rc_do_select(struct rc_notice *notice, const int64_t *a)
{
	return select_for(notice, a, RC_TIMEVAL, 0);
}

/* The first select of 32-bit programs has its arguments in memory. */
int64_t rc_do_old_select(struct rc_notice *notice, const int64_t *a)
{
	int32_t given[5];
	int64_t each[5];

	if (rc_target_get(notice, (uint64_t)a[0], given, sizeof given) < 0)
		return RC_LET;
	for (int i = 0; i < 5; i++)
		each[i] = i ? (int64_t)(uint32_t)given[i] : given[i];
	return select_for(notice, each, RC_TIMEVAL, 0);
}

int64_t rc_do_pselect(struct rc_notice *notice, const int64_t *a)
{
	struct rc_notice *n = notice;
	uint64_t wide = 0;
	uint32_t narrow = 0;

	/* The sixth argument is the address of the mask's address and size. */
	if (a[5] && (n->abi->narrow ? rc_target_get(n, (uint64_t)a[5], &narrow, sizeof narrow)
				    : rc_target_get(n, (uint64_t)a[5], &wide, sizeof wide)) < 0)
		return RC_LET;
	return select_for(notice, a, strstr(n->call->name, "time64") ? RC_TIMESPEC64 : RC_TIMESPEC,
			  n->abi->narrow ? narrow : wide);
}

/* --------------------------------------------------------------------------------------------------- epoll */

static int64_t control(struct rc_notice *notice, const struct rc_description *d, const int64_t *a)
{
	int epoll, operation = (int)a[1], fd = (int)a[2];
	struct epoll_event event = { 0 };
	int64_t result;

	if (d->handle == RC_NO_HANDLE)
		return -EBADF;
	if (d->kind != RC_KIND_STREAM && d->kind != RC_KIND_POSITIONED)
		return RC_LET;
	rc_notice_remote(notice, fd, d->handle, "");
	rc_debug("epoll_ctl() on remote fd %d", fd);
	if (operation != EPOLL_CTL_DEL && rc_target_get(notice, (uint64_t)a[3], &event, sizeof event) < 0)
		return -EFAULT;
	epoll = rc_target_borrow(notice, (int)a[0]);
	if (epoll < 0)
		return -EBADF;
	notice->steady = true;
	/* A regular file is no stream, though a placeholder of run_pages.h's could be waited for. */
	result = d->kind == RC_KIND_POSITIONED ? -EPERM : rc_epoll_control(d->handle, epoll, operation, fd, &event);
	close(epoll);
	return result;
}

int64_t rc_do_epoll_ctl(struct rc_notice *notice, const int64_t *a)
{
	struct rc_description *d;
	int64_t result;
	int own;

	if (rc_target_description(notice, (int)a[2], &d, &own) <= 0)
		return RC_LET;
	result = control(notice, d, a);
	close(own);
	return result;
}

/* What is waited for is the kernel's. */
int64_t rc_do_epoll_wait(struct rc_notice *notice, const int64_t *a)
{
	(void)notice, (void)a;
	rc_epoll_settle();
	return RC_LET;
}

/* ------------------------------------------------------------------------------------------------- inotify */

/* A descriptor with remote watches becomes a pipe, each event a packet in it, which a thread fills from both sides: reading,
 * polling, duplicating and handing it on are the kernel's own then.  The pipe's inode says which it is. */
static struct watched {
	struct watched *next;
	uint64_t handle, ino;
	int both, pipe;			/* notify.h's descriptor, the end that is written */
} *all_watched;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool any_watched;

enum { PIPE_SIZE = 1 << 20, BATCH = 16384 };

static uint64_t find_watched(int own)
{
	uint64_t handle = RC_NO_HANDLE;
	struct stat st;

	if (fstat(own, &st) || !S_ISFIFO(st.st_mode))
		return RC_NO_HANDLE;
	pthread_mutex_lock(&lock);
	for (struct watched *w = all_watched; w; w = w->next)
		if (w->ino == st.st_ino)
			handle = w->handle;
	pthread_mutex_unlock(&lock);
	return handle;
}

static void end_watched(struct watched *gone)
{
	struct watched **at;

	pthread_mutex_lock(&lock);
	for (at = &all_watched; *at != gone; at = &(*at)->next)
		;
	*at = gone->next;
	pthread_mutex_unlock(&lock);
	close(gone->both);
	close(gone->pipe);
	rc_notify_close(gone->handle);
	rc_call_close(gone->handle);
	free(gone);
}

static bool pass_on(int pipe, const char *events, size_t count)
{
	struct inotify_event event;

	for (size_t at = 0; at < count; at += sizeof event + event.len) {
		memcpy(&event, events + at, sizeof event);
		if (write(pipe, events + at, sizeof event + event.len) < 0)
			return false;
	}
	return true;
}

/* Until nobody can read it any more. */
static void *pump(void *of)
{
	struct watched *w = of;
	struct pollfd set[2] = { { w->both, POLLIN, 0 }, { w->pipe, 0, 0 } };
	char events[BATCH];

	for (;;) {
		ssize_t got;

		if (poll(set, 2, -1) < 0 && errno != EINTR)
			break;
		if (set[1].revents)
			break;
		got = set[0].revents ? rc_notify_read(w->handle, w->both, events, sizeof events) : -EAGAIN;
		if (got == -EAGAIN)
			continue;
		if (got <= 0 || !pass_on(w->pipe, events, (size_t)got))
			break;
	}
	end_watched(w);
	return NULL;
}

static bool is_inotify(int fd)
{
	char link[40], target[40];
	ssize_t length;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	length = readlink(link, target, sizeof target - 1);
	target[length < 0 ? 0 : length] = '\0';
	return !strcmp(target, "anon_inode:inotify");
}

/* Makes the caller's `fd`, of which `own` is a copy, one of both sides; `own` is used up. */
static int convert(struct rc_notice *notice, int fd, int own, uint64_t *handle)
{
	int flags = fcntl(own, F_GETFL), pair[2] = { -1, -1 }, result;
	struct watched *w = calloc(1, sizeof *w);
	struct rc_placeholder made;
	struct stat st;

	fcntl(own, F_SETFL, flags | O_NONBLOCK);	/* the pump's own reading */
	result = !w ? -ENOMEM : pipe2(pair, O_DIRECT | O_CLOEXEC) || fstat(pair[0], &st) ? -errno : 0;
	if (!result)
		result = rc_notify_convert(own, &made);
	if (result) {
		for (int i = 0; i < 2 && pair[i] >= 0; i++)
			close(pair[i]);
		close(own);
		free(w);
		return result;
	}
	fcntl(pair[1], F_SETPIPE_SZ, PIPE_SIZE);
	fcntl(pair[0], F_SETFL, flags & O_NONBLOCK);
	*w = (struct watched){ .handle = made.handle, .ino = st.st_ino, .both = own, .pipe = pair[1] };
	*handle = made.handle;
	pthread_mutex_lock(&lock);
	w->next = all_watched;
	all_watched = w;
	atomic_store(&any_watched, true);
	pthread_mutex_unlock(&lock);
	result = rc_notice_add(notice, pair[0], fd, rc_target_closes_on_exec(notice, fd));
	if (result >= 0 && rc_thread_start(pump, w))
		return 0;
	end_watched(w);
	return result < 0 ? result : -ENOMEM;
}

/* A path that the kernel is to watch, from here. */
static int64_t watch_local(struct rc_notice *notice, int own, uint64_t handle, struct rc_place *place, uint32_t mask)
{
	char beside[RC_PATH_MAX + 32];
	const char *path = *place->route.path ? place->route.path : place->given;
	int result;

	if (*path != '/') {
		snprintf(beside, sizeof beside, "/proc/%u/cwd/%s", notice->n->pid, path);
		path = beside;
	}
	result = inotify_add_watch(handle == RC_NO_HANDLE ? own : rc_notify_native(handle), path, mask);
	return result < 0 ? -errno : result;
}

int64_t rc_do_inotify_add_watch(struct rc_notice *notice, const int64_t *a)
{
	uint32_t mask = (uint32_t)a[2];
	struct rc_place place = { .route.path = "" };
	uint64_t handle;
	int64_t result;
	int side = rc_place(notice, AT_FDCWD, (uint64_t)a[1], mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0, &place), own;

	if (side < 0 || (side == 0 && !atomic_load(&any_watched)))
		return side < 0 ? side : RC_LET;
	own = rc_target_borrow(notice, (int)a[0]);
	if (own < 0)
		return RC_LET;
	handle = find_watched(own);
	if (side != 1) {
		result = side || handle != RC_NO_HANDLE ? watch_local(notice, own, handle, &place, mask) : RC_LET;
		close(own);
		return result;
	}
	rc_debug("inotify_add_watch() on remote file %s", place.given);
	rc_notice_slow(notice);
	if (handle == RC_NO_HANDLE) {
		if (!is_inotify(own)) {
			close(own);
			return -EINVAL;
		}
		result = convert(notice, (int)a[0], own, &handle);
		if (result)
			return result;
	} else {
		close(own);
	}
	return rc_notify_add(handle, place.at, mask);
}

int64_t rc_do_inotify_rm_watch(struct rc_notice *notice, const int64_t *a)
{
	uint64_t handle;
	int own;

	if (!atomic_load(&any_watched))
		return RC_LET;
	own = rc_target_borrow(notice, (int)a[0]);
	if (own < 0)
		return RC_LET;
	handle = find_watched(own);
	close(own);
	return handle == RC_NO_HANDLE ? RC_LET : rc_notify_remove(handle, (int)a[1]);
}
