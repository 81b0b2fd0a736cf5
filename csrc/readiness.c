/* SPDX-License-Identifier: MIT */
#include "readiness.h"

#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <string.h>

#include "calls.h"
#include "protocol.h"
#include "sys.h"
#include "translate.h"
#include "transport.h"
#include "wire.h"

enum { MOST_LINES = 16, WORD = sizeof(unsigned long) * CHAR_BIT };

struct pending {
	nfds_t at;
	struct connection *line;
};

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
	struct rc_reader r = { .at = reply, .end = reply + sizeof reply };
	struct rc_header header;
	bool usable = answered && rc_line_header(p->line, &header) == 0 && !header.error && header.length == sizeof reply &&
		      rc_line_receive_all(p->line, reply, sizeof reply) == 0;

	rc_line_give_back(p->line, usable);
	return usable ? (short)rc_poll_events_from_wire(rc_get_u32(&r)) : answered ? POLLERR : 0;
}

/* The answers of now into ready[]; how many there are. */
static int ready_now(const struct pollfd *set, const uint64_t *handles, nfds_t count, short *ready)
{
	int found = 0;

	for (nfds_t i = 0; i < count; i++) {
		int events = handles[i] == RC_NO_HANDLE ? 0 : rc_call_poll(handles[i], set[i].events, 0);

		ready[i] = events < 0 ? POLLERR : (short)events;
		found += ready[i] != 0;
	}
	return found;
}

int rc_ready_poll(struct pollfd *set, const uint64_t *handles, nfds_t count, const struct timespec *timeout,
		  rc_local_poll *local, const void *context)
{
	static const struct timespec at_once;
	struct pollfd copy[count];
	struct pending pending[MOST_LINES];
	short ready[count];
	int lines = 0, result, found = ready_now(set, handles, count, ready);

	memcpy(copy, set, sizeof copy);
	for (nfds_t i = 0; i < count; i++) {
		if (handles[i] == RC_NO_HANDLE)
			continue;
		copy[i].fd = -1;
		copy[i].revents = 0;
		if (found || (timeout && !timeout->tv_sec && !timeout->tv_nsec) || lines == MOST_LINES)
			continue;
		pending[lines] = (struct pending){ .at = i };
		if (ask(&pending[lines], handles[i], set[i].events)) {
			ready[i] = POLLERR;
			found++;
			continue;
		}
		copy[i] = (struct pollfd){ .fd = rc_line_socket(pending[lines++].line), .events = POLLIN };
	}
	result = local(copy, count, found ? &at_once : timeout, context);
	for (int i = 0; i < lines; i++) {
		nfds_t at = pending[i].at;

		ready[at] = answer(&pending[i], result >= 0 && copy[at].revents);
		copy[at].revents = 0;
	}
	if (result < 0)
		return result;
	result = 0;
	for (nfds_t i = 0; i < count; i++) {
		set[i].revents = copy[i].revents | ready[i];
		result += set[i].revents != 0;
	}
	return result;
}

/* -------------------------------------------------------------------------------------------------- select */

/* Which events a set asks for, and which mean that it has them. */
static const struct {
	short asked, had;
} kinds[3] = { { POLLIN, POLLIN | POLLHUP | POLLERR }, { POLLOUT, POLLOUT | POLLERR }, { POLLPRI, POLLPRI } };

static bool is_in(const unsigned long *set, int fd)
{
	return set && set[fd / WORD] >> fd % WORD & 1;
}

nfds_t rc_ready_select_begin(const struct rc_select *s, struct pollfd *set)
{
	nfds_t used = 0;

	for (int fd = 0; fd < s->count; fd++) {
		short events = 0;

		for (int k = 0; k < 3; k++)
			if (is_in(s->sets[k], fd))
				events |= kinds[k].asked;
		if (events)
			set[used++] = (struct pollfd){ .fd = fd, .events = events };
	}
	return used;
}

int rc_ready_select_end(const struct rc_select *s, const struct pollfd *set, nfds_t used)
{
	int result = 0;

	for (nfds_t i = 0; i < used; i++)
		if (set[i].revents & POLLNVAL)
			return -EBADF;
	for (nfds_t i = 0; i < used; i++) {
		int fd = set[i].fd;

		for (int k = 0; k < 3; k++) {
			if (!is_in(s->sets[k], fd))
				continue;
			if (set[i].revents & kinds[k].had)
				result++;
			else
				s->sets[k][fd / WORD] &= ~(1ul << fd % WORD);
		}
	}
	return result;
}
