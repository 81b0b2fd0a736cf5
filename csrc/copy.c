/* SPDX-License-Identifier: MIT */
#include "copy.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "protocol.h"
#include "sys.h"
#include "transport.h"

#ifndef RWF_NOWAIT
#define RWF_NOWAIT 8
#endif

int64_t (*rc_write_allowed)(int out, int64_t at, size_t count);
void (*rc_write_failed)(int error);

/* A write in another process's stead (rc_wait_over) is over when that process is, or a signal comes for it: its pipe may stay
 * full for ever. */
static ssize_t write_for(int out, const char *from, size_t count)
{
	struct rc_identity identity;
	size_t done = 0;

	if (!rc_wait_over || rc_sys_identity(out, &identity) < 0 || (!S_ISFIFO(identity.mode) && !S_ISSOCK(identity.mode)))
		return (ssize_t)RC_SYS(SYS_write, out, from, count, 0, 0, 0);
	while (done < count) {
		struct iovec piece = { (void *)(from + done), count - done };
		struct pollfd room = { out, POLLOUT, 0 };
		ssize_t put = (ssize_t)RC_SYS(SYS_pwritev2, out, &piece, 1, -1, -1, RWF_NOWAIT);

		if (put > 0) {
			done += (size_t)put;
			continue;
		}
		if (put == -EPIPE)
			rc_write_failed(-EPIPE);
		if (put != -EAGAIN || rc_sys_fcntl(out, F_GETFL, 0) & O_NONBLOCK)
			return done ? (ssize_t)done : put;
		rc_sys_poll(&room, 1, RC_WAIT_CHECK_MS);
		if (rc_wait_over())	/* room or not: it may be there since the caller is gone */
			return done ? (ssize_t)done : -EINTR;
	}
	return (ssize_t)done;
}

/* to_at NULL: at the descriptor's own offset. */
static ssize_t write_some(int out, const int64_t *to_at, const char *from, size_t count)
{
	int64_t allowed = rc_write_allowed ? rc_write_allowed(out, to_at ? *to_at : -1, count) : (int64_t)count;

	return allowed < 0 ? (ssize_t)allowed
	     : to_at ? rc_sys_pwrite(out, from, (size_t)allowed, *to_at) : write_for(out, from, (size_t)allowed);
}

ssize_t rc_copy_file(struct rc_description *d, int fd, int64_t *at, int out, int64_t *to_at, bool persist, size_t size,
		     void *room, size_t room_size)
{
	struct rc_identity identity;
	size_t done = 0;

	while (done < size) {
		struct iovec piece = { room, size - done < room_size ? size - done : room_size };
		ssize_t got = at ? rc_description_pread(d, fd, &piece, 1, *at) : rc_description_read(d, fd, &piece, 1), put;

		if (got <= 0)
			return done ? (ssize_t)done : got;
		put = write_some(out, to_at, room, (size_t)got);
		/* A pipe would have to be waited for again. */
		if (persist && put > 0 && put < got && rc_sys_identity(out, &identity) == 0 && S_ISREG(identity.mode)) {
			ssize_t more = write_some(out, to_at, (char *)room + put, (size_t)(got - put));

			put += more > 0 ? more : 0;
		}
		if (put < got && !at && d->kind == RC_KIND_POSITIONED)
			rc_sys_lseek(fd, (put < 0 ? 0 : put) - got, SEEK_CUR);
		if (put < 0)
			return done ? (ssize_t)done : put;
		if (at)
			*at += put;
		if (to_at)
			*to_at += put;
		done += (size_t)put;
		if (put < got || (size_t)got < piece.iov_len)
			break;
	}
	return (ssize_t)done;
}
