/* SPDX-License-Identifier: MIT */
#include "copy.h"

#include <unistd.h>

#include "protocol.h"
#include "sys.h"

ssize_t rc_copy_file(struct rc_description *d, int fd, int64_t *at, int out, int64_t *to_at, size_t size, void *room,
		     size_t room_size)
{
	size_t done = 0;

	while (done < size) {
		struct iovec piece = { room, size - done < room_size ? size - done : room_size };
		ssize_t got = at ? rc_description_pread(d, fd, &piece, 1, *at) : rc_description_read(d, fd, &piece, 1), put;

		if (got <= 0)
			return done ? (ssize_t)done : got;
		put = to_at ? rc_sys_pwrite(out, room, (size_t)got, *to_at)
			    : (ssize_t)RC_SYS(SYS_write, out, room, got, 0, 0, 0);
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
