/* SPDX-License-Identifier: MIT */
#include "run_epoll.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "description.h"
#include "protocol.h"
#include "run_thread.h"
#include "run_watch.h"
#include "sys.h"
#include "translate.h"
#include "transport.h"
#include "wire.h"

/* A hung up fifo that may have a new writer is looked at so often: poll(2) knows of no event for that. */
enum { HANGUP_CHECK_MS = 100 };
enum { MOST_LINES = 16, NS_PER_MS = 1000000 };

/* One for each handle.  The kernel tells the members of an epoll instance apart by their descriptor's number too: for each
 * number that programs have it by there is a duplicate of `near`. */
struct number {
	int of_program, own;
};

static struct stand_in {
	struct stand_in *next;
	uint64_t handle;
	int near, far;			/* the pipe; far: -1, hung up */
	bool readable;			/* there is a byte in it */
	bool looked_at;			/* by who has just read: what was asked before counts no more */
	bool asked_to_read;
	unsigned reads, line;
	uint32_t asked;			/* the request on that line that the server owes an answer to; 0: none */
	struct number *numbers;
	size_t count;
} *all;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic bool any;

/* Each carries as many requests at a time as a server takes.  They are given back by the pump only. */
static struct connection *lines[MOST_LINES];
static int nudge = -1;			/* for the pump: there is something new to look at */

static struct stand_in *find(uint64_t handle)
{
	struct stand_in *s = all;

	while (s && s->handle != handle)
		s = s->next;
	return s;
}

/* --------------------------------------------------------------------------------------------- what it shows */

static void nudge_pump(void)
{
	uint64_t one = 1;

	if (write(nudge, &one, sizeof one) < 0)
		return;		/* it has been told enough */
}

static void set_readable(struct stand_in *s, bool readable)
{
	char byte = 0;

	if (readable != s->readable && (readable ? write(s->far, &byte, 1) : read(s->near, &byte, 1)) == 1)
		s->readable = readable;
}

static void show(struct stand_in *s, int events)
{
	bool readable = events & POLLIN, hung = events & (POLLHUP | POLLERR | POLLNVAL);

	if (s->far < 0 && (!hung || (readable && !s->readable)))
		s->far = rc_sys_reopen(s->near, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
	set_readable(s, readable);
	if (hung && s->far >= 0) {
		close(s->far);
		s->far = -1;
	}
}

/* ------------------------------------------------------------------------------------------ what is asked for it */

static void put_cancel(struct rc_writer *w, uint32_t id)
{
	struct rc_header header = { .length = RC_CANCEL_REQUEST_SIZE, .operation = RC_OP_CANCEL, .request_id = id + 1,
				    .flags = RC_FRAME_ONE_WAY };

	rc_put_header(w, &header);
	rc_put_u32(w, id);
}

/* What it doesn't show yet, for as long as that takes; of one that is hung up, what there is now. */
static void ask(struct stand_in *s)
{
	uint8_t frames[2 * RC_HEADER_SIZE + RC_CANCEL_REQUEST_SIZE + RC_POLL_REQUEST_SIZE];
	struct rc_writer w = { .at = frames, .end = frames + sizeof frames };
	struct connection *line = lines[s->line];

	if (!line)
		return;
	if (s->asked)
		put_cancel(&w, s->asked);
	s->asked_to_read = !s->readable;
	s->asked = rc_line_put(line, &w, RC_OP_POLL, RC_POLL_REQUEST_SIZE);
	rc_put_u64(&w, s->handle);
	rc_put_u32(&w, rc_poll_events_to_wire(s->readable ? 0 : POLLIN));
	rc_put_u32(&w, s->far < 0 ? 0 : (uint32_t)-1);
	rc_line_send(line, frames, (size_t)(w.at - frames));	/* where that fails, the pump sees it */
}

static void ask_for_more(struct stand_in *s)
{
	if (s->far >= 0)
		ask(s);
}

static void answered(struct stand_in *s, int events)
{
	s->asked = 0;
	if (s->looked_at)
		return;
	show(s, s->asked_to_read || !s->readable ? events : events | POLLIN);
	ask_for_more(s);
}

/* --------------------------------------------------------------------------------------------------- the pump */

static bool take_answer(unsigned at)
{
	uint8_t reply[RC_LIMIT_MAX_NAME];		/* or the name of an error */
	struct connection *line = lines[at];
	struct rc_reader r = { .at = reply };
	struct rc_header header;
	int events;

	if (rc_line_header(line, &header) < 0 || header.length > sizeof reply ||
	    rc_line_receive_all(line, reply, header.length) < 0)
		return false;
	r.end = reply + header.length;
	events = header.error ? POLLERR : rc_poll_events_from_wire(rc_get_u32(&r));
	pthread_mutex_lock(&lock);
	for (struct stand_in *s = all; s; s = s->next)
		if (s->line == at && s->asked == header.request_id)
			answered(s, events);
	pthread_mutex_unlock(&lock);
	return true;
}

/* Reading says what is wrong. */
static void lose(unsigned at)
{
	pthread_mutex_lock(&lock);
	rc_line_give_back(lines[at], false);
	lines[at] = NULL;
	for (struct stand_in *s = all; s; s = s->next)
		if (s->line == at) {
			s->asked = 0;
			show(s, POLLERR);
		}
	pthread_mutex_unlock(&lock);
}

static bool is_hung(const struct stand_in *s)
{
	return s->far < 0 && !s->readable && lines[s->line];
}

static void *pump(void *unused)
{
	struct pollfd set[1 + MOST_LINES] = { { nudge, POLLIN, 0 } };
	uint64_t checked_ns = 0, nudges;

	(void)unused;
	for (;;) {
		bool hung = false;

		pthread_mutex_lock(&lock);
		for (struct stand_in *s = all; s; s = s->next)
			hung |= is_hung(s);
		for (unsigned i = 0; i < MOST_LINES; i++)
			set[1 + i] = (struct pollfd){ lines[i] ? rc_line_socket(lines[i]) : -1, POLLIN, 0 };
		pthread_mutex_unlock(&lock);
		if (poll(set, 1 + MOST_LINES, hung ? HANGUP_CHECK_MS : -1) < 0)
			continue;
		while (read(nudge, &nudges, sizeof nudges) > 0)
			;
		for (unsigned i = 0; i < MOST_LINES; i++)
			if (set[1 + i].revents && !take_answer(i))
				lose(i);
		if (!hung || rc_sys_monotonic_ns() - checked_ns < (uint64_t)HANGUP_CHECK_MS * NS_PER_MS)
			continue;
		checked_ns = rc_sys_monotonic_ns();
		pthread_mutex_lock(&lock);
		for (struct stand_in *s = all; s; s = s->next)
			if (is_hung(s) && !s->asked && !s->looked_at)
				ask(s);
		pthread_mutex_unlock(&lock);
	}
	return NULL;
}

/* ------------------------------------------------------------------------------------------- making, and its end */

/* With no lock held: a new connection takes its time. */
static void connect_line(unsigned at)
{
	struct connection *line;
	bool there;

	pthread_mutex_lock(&lock);
	there = lines[at];
	pthread_mutex_unlock(&lock);
	if (there || rc_line_take(&line))
		return;
	pthread_mutex_lock(&lock);
	if (lines[at])
		rc_line_give_back(line, true);
	else
		lines[at] = line;
	pthread_mutex_unlock(&lock);
	nudge_pump();
}

/* The first line that has room; MOST_LINES: none. */
static unsigned choose_line(void)
{
	unsigned used[MOST_LINES] = { 0 }, at = 0;

	for (struct stand_in *s = all; s; s = s->next)
		used[s->line]++;
	while (at < MOST_LINES && used[at] >= RC_LIMIT_MAX_IN_FLIGHT)
		at++;
	return at;
}

/* Whether epoll takes such a file: a wait of a millisecond for nothing is refused if it doesn't. */
static int check(uint64_t handle)
{
	struct rc_stat stat;
	int result = rc_call_fstat(handle, STATX_TYPE, &stat);

	if (result)
		return result;
	if (S_ISREG(stat.mode))		/* of /proc: a pipe can't show what there is to see */
		return -EPERM;
	result = rc_call_poll(handle, 0, 1);
	return result < 0 ? result : 0;
}

/* With the lock held. */
static int insert(uint64_t handle)
{
	unsigned line = choose_line();
	struct stand_in *s;
	int ends[2], result;

	if (find(handle))
		return 0;
	if (line == MOST_LINES)
		return -ENOSPC;
	if (nudge < 0) {
		nudge = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
		if (nudge < 0)
			return -errno;
		if (!rc_thread_start(pump, NULL)) {
			close(nudge);
			nudge = -1;
			return -ENOMEM;
		}
	}
	s = malloc(sizeof *s);
	if (!s)
		return -ENOMEM;
	if (pipe2(ends, O_CLOEXEC | O_NONBLOCK)) {
		result = -errno;
		free(s);
		return result;
	}
	*s = (struct stand_in){ .next = all, .handle = handle, .near = ends[0], .far = ends[1], .line = line };
	all = s;
	atomic_store(&any, true);
	rc_stream_was_read = rc_epoll_read;
	return 0;
}

static int make(uint64_t handle)
{
	int result = check(handle);

	if (result)
		return result;
	pthread_mutex_lock(&lock);
	result = insert(handle);
	pthread_mutex_unlock(&lock);
	if (!result)
		rc_epoll_read(handle);
	return result;
}

/* The duplicate for that number; -ENOENT: there is no stand-in at all. */
static int own_number(uint64_t handle, int fd)
{
	struct stand_in *s = find(handle);
	struct number *numbers;
	int own;

	if (!s)
		return -ENOENT;
	for (size_t i = 0; i < s->count; i++)
		if (s->numbers[i].of_program == fd)
			return s->numbers[i].own;
	numbers = realloc(s->numbers, (s->count + 1) * sizeof *numbers);
	if (!numbers)
		return -ENOMEM;
	s->numbers = numbers;
	own = fcntl(s->near, F_DUPFD_CLOEXEC, 0);
	if (own < 0)
		return -errno;
	numbers[s->count++] = (struct number){ fd, own };
	return own;
}

int rc_epoll_control(uint64_t handle, int epoll, int operation, int fd, struct epoll_event *event)
{
	for (;;) {
		int own, result;

		pthread_mutex_lock(&lock);
		own = own_number(handle, fd);
		result = own < 0 ? own : epoll_ctl(epoll, operation, own, event) ? -errno : 0;
		pthread_mutex_unlock(&lock);
		if (own != -ENOENT)
			return result;
		result = make(handle);
		if (result)
			return result;
	}
}

void rc_epoll_read(uint64_t handle)
{
	struct stand_in *s;
	unsigned line, reads;
	int events;

	if (!atomic_load(&any))
		return;
	pthread_mutex_lock(&lock);
	s = find(handle);
	if (!s) {
		pthread_mutex_unlock(&lock);
		return;
	}
	/* Shown anew if there is more: as new to EPOLLET, since nobody knows whether it is. */
	set_readable(s, false);
	s->looked_at = true;
	reads = ++s->reads;
	line = s->line;
	pthread_mutex_unlock(&lock);
	connect_line(line);
	events = rc_call_poll(handle, POLLIN, 0);
	pthread_mutex_lock(&lock);
	s = find(handle);
	if (s && s->reads == reads) {		/* else another has read since, and looks too */
		s->looked_at = false;
		if (events != -EINTR)
			show(s, events < 0 ? POLLERR : events);
		ask_for_more(s);
		if (is_hung(s))
			nudge_pump();
	}
	pthread_mutex_unlock(&lock);
}

static void cancel(const struct stand_in *s)
{
	uint8_t frame[RC_HEADER_SIZE + RC_CANCEL_REQUEST_SIZE];
	struct rc_writer w = { .at = frame, .end = frame + sizeof frame };

	put_cancel(&w, s->asked);
	if (s->asked && lines[s->line])
		rc_line_send(lines[s->line], frame, sizeof frame);
}

void rc_epoll_gone(uint64_t handle)
{
	struct stand_in **at = &all, *gone;

	if (!atomic_load(&any))
		return;
	pthread_mutex_lock(&lock);
	while (*at && (*at)->handle != handle)
		at = &(*at)->next;
	gone = *at;
	if (gone) {
		*at = gone->next;
		cancel(gone);
		close(gone->near);
		if (gone->far >= 0)
			close(gone->far);
		for (size_t i = 0; i < gone->count; i++)
			close(gone->numbers[i].own);
		free(gone->numbers);
		free(gone);
	}
	pthread_mutex_unlock(&lock);
}

void rc_epoll_settle(void)
{
	if (atomic_load(&any))
		rc_watch_read();
}

/* ------------------------------------------------------------------------------------- for the preload library */

struct errand {
	struct rc_control message;
	int answer, epoll;
};

static void *run_errand(void *of)
{
	struct errand *e = of;
	struct rc_control *m = &e->message;
	int32_t result = 0;

	if (m->what == RC_CONTROL_EPOLL)
		result = rc_epoll_control(m->handle, e->epoll, m->operation, m->fd, &m->event);
	else if (m->what == RC_CONTROL_EPOLL_READ)
		rc_epoll_read(m->handle);
	else
		rc_epoll_settle();
	send(e->answer, &result, sizeof result, MSG_NOSIGNAL);
	close(e->answer);
	if (e->epoll >= 0)
		close(e->epoll);
	free(e);
	return NULL;
}

/* In a thread: it waits for the server.  Where there can't be one the socket is closed, and says so. */
void rc_epoll_asked(const struct rc_control *message, const int descriptors[RC_CONTROL_DESCRIPTORS])
{
	struct errand *e = malloc(sizeof *e);

	if (e) {
		*e = (struct errand){ *message, descriptors[0], descriptors[1] };
		if (rc_thread_start(run_errand, e))
			return;
		free(e);
	}
	for (int i = 0; i < RC_CONTROL_DESCRIPTORS; i++)
		if (descriptors[i] >= 0)
			close(descriptors[i]);
}
