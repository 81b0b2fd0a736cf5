/* SPDX-License-Identifier: MIT */
#include "notify.h"

#include <errno.h>
#include <limits.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>

#include "cache.h"
#include "config.h"
#include "protocol.h"
#include "sys.h"
#include "translate.h"
#include "transport.h"
#include "wire.h"

/* The server's watch descriptors begin here, so that they aren't taken for the kernel's own. */
enum { FREE, CLAIMED, STANDS };
enum { INSTANCES = 64, BASE = 1 << 20, AT_ONCE = 16384, WIRE_EVENT = RC_WATCH_EVENT_SIZE + 4 };

struct instance {
	_Atomic uint32_t state;		/* FREE, CLAIMED, or STANDS: then `handle` may be read */
	uint64_t handle;
	uint32_t lock;
	int kernel, group, signal;	/* inotify, a copy of the program's epoll, an eventfd: there is something in `events` */
	struct connection *line;	/* NULL: none; it owes a reply to the READ that was sent last */
	size_t first, end;		/* of `events`, in inotify(7)'s form */
	_Alignas(struct inotify_event) char events[AT_ONCE * 2];
};

static struct instance *instances;

static struct instance *find(uint64_t handle)
{
	for (int i = 0; instances && i < INSTANCES; i++)
		if (atomic_load_explicit(&instances[i].state, memory_order_acquire) == STANDS && instances[i].handle == handle)
			return &instances[i];
	return NULL;
}

static struct instance *claim(uint64_t handle)
{
	if (!instances) {
		struct instance *made = rc_sys_map(INSTANCES * sizeof *instances);

		if (!made)
			return NULL;
		if (!__sync_bool_compare_and_swap(&instances, NULL, made))
			RC_SYS(SYS_munmap, made, INSTANCES * sizeof *instances, 0, 0, 0, 0);
	}
	for (int i = 0; i < INSTANCES; i++) {
		uint32_t state = FREE;

		if (atomic_compare_exchange_strong(&instances[i].state, &state, CLAIMED)) {
			instances[i].handle = handle;
			atomic_store(&instances[i].state, STANDS);
			return &instances[i];
		}
	}
	return NULL;
}

static void lock(struct instance *n)
{
	while (__atomic_exchange_n(&n->lock, 1, __ATOMIC_ACQUIRE))
		rc_sys_futex_wait(&n->lock, 1, 100);
}

static void unlock(struct instance *n)
{
	__atomic_store_n(&n->lock, 0, __ATOMIC_RELEASE);
	rc_sys_futex_wake(&n->lock, 1);
}

static int include(struct instance *n, int fd)
{
	struct epoll_event event = { .events = EPOLLIN };

	return (int)RC_SYS(SYS_epoll_ctl, n->group, EPOLL_CTL_ADD, fd, &event, 0, 0);
}

static void hang_up(struct instance *n)
{
	if (n->line)
		rc_line_give_back(n->line, false);
	n->line = NULL;
}

/* Asks for the next events. */
static int ask(struct instance *n)
{
	uint8_t frame[RC_HEADER_SIZE + RC_READ_REQUEST_SIZE];
	struct rc_writer w = { .at = frame, .end = frame + sizeof frame };
	int result = 0;

	if (!n->line) {
		result = rc_line_take(&n->line);
		if (result) {
			n->line = NULL;
			return result;
		}
		result = include(n, rc_line_socket(n->line));
	}
	rc_line_put(n->line, &w, RC_OP_READ, RC_READ_REQUEST_SIZE);
	rc_put_u64(&w, n->handle);
	rc_put_u32(&w, AT_ONCE);
	if (!result)
		result = rc_line_send(n->line, frame, sizeof frame);
	if (result)
		hang_up(n);
	return result;
}

static bool readable(int fd, int timeout_ms)
{
	struct pollfd one = { .fd = fd, .events = POLLIN };

	return rc_sys_poll(&one, 1, timeout_ms) > 0;
}

/* One event in inotify(7)'s form, its name filled up with NULs. */
static void keep(struct instance *n, struct rc_reader *r)
{
	int32_t wd = (int32_t)rc_get_u32(r);
	struct inotify_event event = { .wd = wd < 0 || wd > INT_MAX - BASE ? -1 : wd + BASE };
	struct rc_blob name;

	event.mask = rc_watch_events_from_wire(rc_get_u32(r));
	event.cookie = rc_get_u32(r);
	name = rc_get_blob(r);
	event.len = name.length ? (uint32_t)((name.length + sizeof event) & ~(sizeof event - 1)) : 0;
	if (r->failed || n->end + sizeof event + event.len > sizeof n->events)
		return;
	memcpy(n->events + n->end, &event, sizeof event);
	memset(n->events + n->end + sizeof event, 0, event.len);
	memcpy(n->events + n->end + sizeof event, name.bytes, name.length);
	n->end += sizeof event + event.len;
}

/* Takes the reply that has come, and asks for more.  What doesn't come whole is lost with the line, and said to be. */
static int take(struct instance *n)
{
	struct inotify_event lost = { .wd = -1, .mask = IN_Q_OVERFLOW };
	uint8_t reply[4 + 2 * AT_ONCE];
	struct rc_header header;
	uint64_t one = 1;
	int result = rc_line_header(n->line, &header);

	n->first = n->end = 0;
	if (!result)
		result = header.length > sizeof reply ? -EPROTO : rc_line_receive_all(n->line, reply, header.length);
	if (!result && !header.error) {
		struct rc_reader r = { .at = reply, .end = reply + header.length };
		struct rc_blob events = rc_get_blob(&r);

		r = (struct rc_reader){ .at = events.bytes, .end = events.bytes + events.length };
		while (!r.failed && r.at < r.end)
			keep(n, &r);
	} else {
		hang_up(n);
		memcpy(n->events, &lost, sizeof lost);
		n->end = sizeof lost;
	}
	rc_cache_void();	/* who hears of this may ask any process of the session what it means */
	if (n->end)
		RC_SYS(SYS_write, n->signal, &one, sizeof one, 0, 0, 0);
	return header.error && !result ? 0 : ask(n);
}

/* As many whole events as fit. */
static ssize_t deliver(struct instance *n, char *to, size_t count)
{
	size_t end = n->first;
	uint64_t signals;

	while (end < n->end) {
		struct inotify_event event;

		memcpy(&event, n->events + end, sizeof event);
		if (end + sizeof event + event.len - n->first > count)
			break;
		end += sizeof event + event.len;
	}
	if (end == n->first)
		return -EINVAL;		/* inotify(7): the buffer is too small for the next event */
	count = end - n->first;
	if (rc_copy_out(to, n->events + n->first, count) < 0)
		return -EFAULT;
	n->first = end;
	if (n->first == n->end)
		RC_SYS(SYS_read, n->signal, &signals, sizeof signals, 0, 0, 0);
	return (ssize_t)count;
}

/* -EAGAIN where there is nothing. */
static ssize_t read_now(struct instance *n, void *buffer, size_t count)
{
	ssize_t got;

	if (n->first == n->end && n->line && readable(rc_line_socket(n->line), 0))
		take(n);
	if (n->first < n->end)
		return deliver(n, buffer, count);
	got = RC_SYS(SYS_read, n->kernel, buffer, count, 0, 0, 0);
	return got == -EBADF ? -EAGAIN : got;
}

ssize_t rc_notify_read(uint64_t handle, int fd, void *buffer, size_t count)
{
	struct instance *n = find(handle);
	struct pollfd one = { .fd = fd, .events = POLLIN };
	ssize_t got;

	for (;;) {
		if (!n)
			return -EBADF;
		lock(n);
		got = read_now(n, buffer, count);
		unlock(n);
		if (got != -EAGAIN || rc_sys_fcntl(fd, F_GETFL, 0) & O_NONBLOCK)
			return got;
		got = rc_sys_poll(&one, 1, -1);
		if (got < 0)
			return got;
	}
}

int rc_notify_waiting(uint64_t handle)
{
	struct instance *n = find(handle);
	int local = 0, remote;

	if (!n)
		return -EBADF;
	lock(n);
	if (n->first == n->end && n->line && readable(rc_line_socket(n->line), 0))
		take(n);
	remote = (int)(n->end - n->first);
	unlock(n);
	if (RC_SYS(SYS_ioctl, n->kernel, FIONREAD, &local, 0, 0, 0) < 0)
		local = 0;
	return remote ? remote : local;
}

static void release(struct instance *n)
{
	hang_up(n);
	rc_sys_close(n->kernel);
	rc_sys_close(n->group);
	rc_sys_close(n->signal);
	atomic_store(&n->state, FREE);
}

/* High, where programs don't come by. */
static int raised(int fd)
{
	int made = fd < 0 ? fd : rc_sys_dup_high(fd, rc_transport_floor(), 1);

	if (fd >= 0)
		rc_sys_close(fd);
	return made;
}

int rc_notify_convert(int fd, struct rc_placeholder *made)
{
	int flags = rc_sys_fcntl(fd, F_GETFL, 0), closing = rc_sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC, result;
	struct rc_identity identity;
	struct instance *n;
	uint64_t handle;

	if (flags < 0)
		return flags;
	result = rc_call_watch_open(0, &handle);
	if (result)
		return result;
	n = claim(handle);
	if (!n) {
		rc_call_close(handle);
		return -EMFILE;
	}
	n->lock = 0;
	n->line = NULL;
	n->first = n->end = 0;
	n->kernel = rc_sys_dup_high(fd, rc_transport_floor(), 1);
	n->group = raised((int)RC_SYS(SYS_epoll_create1, 0, 0, 0, 0, 0, 0));
	n->signal = raised((int)RC_SYS(SYS_eventfd2, 0, O_NONBLOCK, 0, 0, 0, 0));
	result = n->kernel < 0 ? n->kernel : n->group < 0 ? n->group : n->signal < 0 ? n->signal : ask(n);
	if (!result)
		result = include(n, n->kernel);
	if (!result)
		result = include(n, n->signal);
	if (!result)
		result = rc_sys_identity(n->group, &identity);
	if (!result)
		result = rc_sys_dup_to(n->group, fd, closing ? O_CLOEXEC : 0);
	if (result < 0) {
		release(n);
		rc_call_close(handle);
		return result;
	}
	rc_config.max_stale_ms = 0;	/* who is told of a change must then see it: nothing fetched ahead counts any more */
	rc_sys_fcntl(n->kernel, F_SETFL, O_NONBLOCK);	/* the program's flag is on its own descriptor now */
	rc_sys_fcntl(fd, F_SETFL, flags & O_NONBLOCK);
	memcpy(made->session, rc_config.session, sizeof made->session);
	made->handle = handle;
	made->kind = RC_KIND_WATCH;
	made->ino = identity.ino;
	made->dev_major = identity.dev_major;
	made->dev_minor = identity.dev_minor;
	return 0;
}

int rc_notify_add(uint64_t handle, struct rc_location at, uint32_t mask)
{
	int wd = rc_call_watch_add(handle, at, mask);

	return wd < 0 ? wd : wd > INT_MAX - BASE ? -EPROTO : wd + BASE;
}

int rc_notify_native(uint64_t handle)
{
	struct instance *n = find(handle);

	return n ? n->kernel : -EBADF;
}

int rc_notify_remove(uint64_t handle, int wd)
{
	return wd >= BASE ? rc_call_watch_remove(handle, wd - BASE)
			  : (int)RC_SYS(SYS_inotify_rm_watch, rc_notify_native(handle), wd, 0, 0, 0, 0);
}

void rc_notify_close(uint64_t handle)
{
	struct instance *n = find(handle);

	if (n)
		release(n);
}

void rc_notify_after_fork(void)
{
	for (int i = 0; instances && i < INSTANCES; i++) {
		instances[i].line = NULL;
		instances[i].lock = 0;
	}
}
