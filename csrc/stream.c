/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>

#include "config.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"
#include "transport.h"
#include "wire.h"

/* A window of at most 256 MiB under way for each description, in requests of CHUNK bytes; memory holds what the socket's buffer
 * takes in.  STREAMS of them share what the pool of connections can spare.  It starts with FIRST requests, or with more for
 * who reads LARGE pieces, and grows by GROWTH with each reply that didn't queue for much longer than a round trip.  What follows
 * a read of less than SMALL is taken out of the socket with it, since for the next of these that call costs more than a copy. */
enum { CHUNK = RC_LIMIT_MAX_DATA, MOST = RC_LIMIT_MAX_IN_FLIGHT, FIRST = 1, FIRST_LARGE = 8,
       GROWTH = 12, QUEUE_MS = 4, LARGE = 64 * 1024, SMALL = 16 * 1024, STREAMS = 24, FIRST_RUN = 2, LONGEST_RUN = 64,
       AT_ONCE = 64 };
#define NEVER UINT32_MAX

struct request {
	uint32_t id, length;
	int64_t offset;
	uint64_t asked_ms;
};

struct rc_stream {
	_Atomic int taken;
	struct connection *line;
	uint64_t handle;
	int64_t position;		/* of the next byte to come out */
	int64_t ahead;			/* of the next request */
	struct request requests[MOST];	/* a ring, in the order sent */
	unsigned first, count, window;
	uint64_t quickest_ms;		/* from a request to its reply */
	uint32_t left;			/* of the reply that is coming in; 0: its header is still to come */
	uint64_t left_asked_ms;		/* when that reply was asked for */
	uint32_t kept, kept_at;		/* bytes of it in `buffer`, before those that are left */
	struct rc_lease lease;
	bool ending;			/* a reply was short: the file ends there */
	bool begun;			/* with the first read of its description */
	uint8_t buffer[256 * 1024];
};

static struct rc_stream *streams;
static _Atomic bool begins_only;	/* the last that was begun so was given up early */

static uint64_t now_ms(void)
{
	return rc_sys_monotonic_ns() / 1000000;
}

static struct rc_stream *take(void)
{
	if (!streams) {
		struct rc_stream *made = rc_sys_map(STREAMS * sizeof *streams);

		if (!made)
			return NULL;
		if (!__sync_bool_compare_and_swap(&streams, NULL, made))
			RC_SYS(SYS_munmap, made, STREAMS * sizeof *streams, 0, 0, 0, 0);
	}
	for (int i = 0; i < STREAMS; i++) {
		int free = 0;

		if (atomic_compare_exchange_strong(&streams[i].taken, &free, 1))
			return &streams[i];
	}
	return NULL;
}

void rc_stream_end(struct rc_sequence *sequence)
{
	struct rc_stream *s = sequence->stream;

	if (!s)
		return;
	sequence->stream = NULL;
	if (s->begun)
		atomic_store(&begins_only, s->count && s->position < (int64_t)FIRST_LARGE * CHUNK);
	rc_line_give_back(s->line, !s->count && !s->left);
	atomic_store(&s->taken, 0);
}

void rc_stream_advise(struct rc_sequence *sequence, int advice)
{
	if (advice == POSIX_FADV_RANDOM) {
		rc_stream_end(sequence);
		sequence->wanted = NEVER;
	} else if (advice == POSIX_FADV_SEQUENTIAL) {
		sequence->wanted = 1;
	} else if (advice == POSIX_FADV_NORMAL) {
		sequence->wanted = FIRST_RUN;
	}
}

void rc_stream_after_fork(void)
{
	for (int i = 0; streams && i < STREAMS; i++)
		atomic_store(&streams[i].taken, 0);
}

/* Whether to read ahead from a read of `want` bytes on. */
static bool in_sequence(const struct rc_sequence *sequence, int64_t offset, size_t want, int64_t size)
{
	/* Who begins with much of a file goes on with it, but for programs that only want to know what it is. */
	bool begins = !offset && !sequence->next && want >= LARGE && !atomic_load(&begins_only);

	if (size >= 0 && (offset >= size || (want <= RC_LIMIT_MAX_DATA && size - offset <= (int64_t)want)))
		return false;		/* one plain request brings the rest */
	return offset == sequence->next && sequence->run + (begins ? FIRST_RUN : 0) >= sequence->wanted;
}

static bool start(struct rc_sequence *sequence, uint64_t handle, int64_t offset, unsigned window)
{
	struct rc_stream *s = take();

	if (!s)
		return false;
	if (rc_line_take_ahead(&s->line) < 0) {
		atomic_store(&s->taken, 0);
		return false;
	}
	s->handle = handle;
	s->lease = sequence->lease;
	s->position = s->ahead = offset;
	s->first = s->count = s->left = s->kept = 0;
	s->window = window;
	s->quickest_ms = UINT32_MAX;
	s->begun = !sequence->run;
	s->ending = false;
	sequence->stream = s;
	return true;
}

/* Whether the window has room for a request.  What lies past the end of the file as it was is asked for no further than once. */
static bool has_room(const struct rc_stream *s, int64_t size)
{
	return s->count < s->window && !s->ending && (size < 0 || s->ahead < size || !s->count);
}

/* Sends requests until it has none, a stack's worth of them at once. */
static int ask_ahead(struct rc_stream *s, int64_t size)
{
	enum { FRAME = RC_HEADER_SIZE + RC_PREAD_REQUEST_SIZE };
	uint64_t now = now_ms();
	int bad = 0;

	while (!bad && has_room(s, size)) {
		uint8_t frames[AT_ONCE * FRAME];
		struct rc_writer w = { .at = frames, .end = frames + sizeof frames };

		for (int i = 0; i < AT_ONCE && has_room(s, size); i++) {
			struct request *q = &s->requests[(s->first + s->count) % MOST];

			*q = (struct request){ .length = CHUNK, .offset = s->ahead, .asked_ms = now };
			if (size > s->ahead && size - s->ahead < CHUNK)
				q->length = (uint32_t)(size - s->ahead);
			q->id = rc_line_put(s->line, &w, RC_OP_PREAD, RC_PREAD_REQUEST_SIZE);
			rc_put_u64(&w, s->handle);
			rc_put_u64(&w, (uint64_t)q->offset);
			rc_put_u32(&w, q->length);
			s->ahead += q->length;
			rc_count(RC_COUNT_READ_AHEAD, q->length);
			s->count++;
		}
		bad = rc_line_send(s->line, frames, (size_t)(w.at - frames));
	}
	return bad;
}

/* What is in the socket for longer than data may be kept is not used. */
static bool stale(const struct rc_stream *s, uint64_t asked_ms)
{
	bool is_new = rc_config.max_stale_ms && now_ms() - asked_ms <= (uint64_t)rc_config.max_stale_ms;

	return !is_new && !rc_lease_holds(&s->lease);
}

/* The header of the oldest request's reply.  -EAGAIN where the stream is of no more use. */
static int next_reply(struct rc_stream *s)
{
	struct request *q = &s->requests[s->first];
	uint8_t bytes[4];
	struct rc_reader r = { .at = bytes, .end = bytes + sizeof bytes };
	struct rc_header header;
	uint64_t took_ms;

	/* What follows a short reply was asked for where that didn't reach, and the file may have grown meanwhile. */
	if (stale(s, q->asked_ms) || q->offset != s->position)
		return -EAGAIN;
	/* Replies that overtook one another, an error: asked for plainly, it will be what it is. */
	if (rc_line_header(s->line, &header) < 0 || header.operation != RC_OP_PREAD || header.request_id != q->id ||
	    header.error || header.length < sizeof bytes || rc_line_receive_all(s->line, bytes, sizeof bytes) < 0)
		return -EAGAIN;
	s->left = rc_get_u32(&r);
	if (header.length != (uint64_t)s->left + 4 || s->left > q->length)
		return -EAGAIN;
	if (s->left < q->length) {
		s->ending = true;
		rc_count(RC_COUNT_READ_AHEAD, 0 - (uint64_t)(q->length - s->left));	/* there is no more */
	}
	s->left_asked_ms = q->asked_ms;
	s->first = (s->first + 1) % MOST;
	s->count--;
	/* Where requests wait for one another the way to the server is full: more of them would only wait longer. */
	took_ms = now_ms() - q->asked_ms;
	if (took_ms < s->quickest_ms)
		s->quickest_ms = took_ms;
	if (took_ms <= 2 * s->quickest_ms + QUEUE_MS)
		s->window = s->window + GROWTH < MOST ? s->window + GROWTH : MOST;
	return 0;
}

static bool has_some(const struct rc_stream *s)
{
	return s->kept || s->left;
}

static ssize_t take_kept(struct rc_stream *s, const struct iovec *into, int count)
{
	size_t copied = 0, now;

	for (int i = 0; i < count; i++) {
		now = rc_copy_most(into[i].iov_base, s->buffer + s->kept_at + copied, into[i].iov_len);
		copied += now;
		if (now < into[i].iov_len)
			break;
	}
	s->kept_at += (uint32_t)copied;
	s->kept -= (uint32_t)copied;
	return copied ? (ssize_t)copied : -EFAULT;
}

/* At most `want` bytes of the reply that is coming in, which has some: how many, or -errno. */
static ssize_t take_some(struct rc_stream *s, const struct iovec *into, int count, size_t skip, size_t want)
{
	struct iovec parts[9];
	size_t have = s->kept ? s->kept : s->left, take = 0, more = 0;
	int used = rc_slice(into, count, skip, want < have ? want : have, parts, 8);
	ssize_t got;

	if (s->kept)
		return take_kept(s, parts, used);
	for (int i = 0; i < used; i++)
		take += parts[i].iov_len;
	if (want < SMALL)
		more = s->left - take < sizeof s->buffer ? s->left - take : sizeof s->buffer;
	if (more)
		parts[used++] = (struct iovec){ s->buffer, more };
	got = rc_line_receive(s->line, parts, used, !more);
	if (got < 0)
		return got;
	s->left -= (uint32_t)got;
	if ((size_t)got <= take)
		return got;
	s->kept = (uint32_t)((size_t)got - take);
	s->kept_at = 0;
	return (ssize_t)take;
}

static ssize_t take_out(struct rc_stream *s, const struct iovec *into, int count, size_t want, int64_t size)
{
	size_t done = 0;

	if (has_some(s) && stale(s, s->left_asked_ms))		/* the program paused in the middle of a reply */
		return -EAGAIN;
	while (done < want) {
		ssize_t got;

		if (!has_some(s)) {
			if ((s->ending && !s->count) || (done && s->position == size))
				break;
			if (s->count < s->window - s->window / 16 && ask_ahead(s, size) < 0)
				return done ? (ssize_t)done : -EAGAIN;
			if (!s->count || next_reply(s) < 0)
				return done ? (ssize_t)done : -EAGAIN;
			if (!s->left)
				break;
		}
		got = take_some(s, into, count, done, want - done);
		if (got < 0)
			return done ? (ssize_t)done : got == -EFAULT ? got : -EAGAIN;
		done += (size_t)got;
		s->position += got;
		rc_count(RC_COUNT_READ_AHEAD_USED, (uint64_t)got);
	}
	return (ssize_t)done;
}

/* Asked for all at once, what a far server can send before the next requests reach it; not where it may be too old by then. */
static unsigned first_window(const struct rc_sequence *sequence, size_t want)
{
	return want < LARGE ? FIRST : rc_lease_holds(&sequence->lease) ? MOST : FIRST_LARGE;
}

ssize_t rc_stream_read(struct rc_sequence *sequence, uint64_t handle, const struct iovec *into, int count, int64_t offset,
		       int64_t size)
{
	struct rc_stream *s = sequence->stream;
	size_t want = 0;
	ssize_t got;

	if (!rc_config.max_stale_ms && !rc_lease_holds(&sequence->lease))
		return -EAGAIN;
	for (int i = 0; i < count; i++)
		want += into[i].iov_len;
	if (s && s->position != offset) {	/* it was for nothing, or for less than it brought */
		rc_stream_end(sequence);
		sequence->wanted = sequence->wanted < LONGEST_RUN ? 4 * sequence->wanted : LONGEST_RUN;
		sequence->run = 0;
		return -EAGAIN;
	}
	if (!s) {
		if (!sequence->wanted)
			sequence->wanted = FIRST_RUN;
		if (!in_sequence(sequence, offset, want, size) ||
		    !start(sequence, handle, offset, first_window(sequence, want)))
			return -EAGAIN;
		s = sequence->stream;
	}
	got = take_out(s, into, count, want, size);
	if (got == -EAGAIN || (got >= 0 && s->ending && !s->count && !has_some(s))) {
		sequence->stream = NULL;
		rc_line_give_back(s->line, got >= 0);
		atomic_store(&s->taken, 0);
		sequence->run = 0;
	}
	return got;
}

void rc_stream_expect(struct rc_sequence *sequence, int64_t offset)
{
	sequence->next = offset;
	sequence->run = sequence->wanted = FIRST_RUN;
}

void rc_stream_note(struct rc_sequence *sequence, int64_t offset, ssize_t got)
{
	if (got <= 0)
		return;
	sequence->run = offset == sequence->next ? sequence->run + 1 : 1;
	sequence->next = offset + got;
}
