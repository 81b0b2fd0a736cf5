/* SPDX-License-Identifier: MIT
 *
 * Streams: libc's own reads pass no wrapper, so a FILE on a placeholder must not find it empty.
 *
 * A small regular file is put into its placeholder and the stream is libc's own: everything works, wide characters too.  What is
 * larger, or has no offset, is a cookie stream that reads as it goes, or is told why it can't (EISDIR).  Under a supervisor all
 * streams are libc's own.
 */
#include "preload.h"

#include <string.h>
#include <unistd.h>

#include "mapping.h"
#include "protocol.h"
#include "translate.h"

enum { FILL_OPENED = 16 << 20, FILL_INHERITED = 1 << 20, BUFFER = 128 << 10 };

static bool positioned_up_to(struct rc_description *d, uint64_t most)
{
	struct rc_stat stat;

	return d->kind == RC_KIND_POSITIONED && rc_call_fstat(d->handle, STATX_SIZE, &stat) == 0 && stat.size <= most;
}

#ifdef __GLIBC__
static int fd_of(void *cookie)
{
	return (int)(intptr_t)cookie;
}

static ssize_t cookie_read(void *cookie, char *buffer, size_t count)
{
	return read(fd_of(cookie), buffer, count);
}

static int cookie_seek(void *cookie, off64_t *offset, int whence)
{
	off64_t at = lseek64(fd_of(cookie), *offset, whence);

	if (at < 0)
		return -1;
	*offset = at;
	return 0;
}

static int cookie_close(void *cookie)
{
	return close(fd_of(cookie));
}

/* glibc gives a cookie stream a buffer of 8 KiB whatever it is told later. */
static FILE *cookie_stream(int fd, const char *mode)
{
	static const cookie_io_functions_t functions = { cookie_read, NULL, cookie_seek, cookie_close };
	FILE *stream = fopencookie((void *)(intptr_t)fd, mode, functions);

	if (stream)
		stream->_fileno = fd;
	return stream;
}
#endif

/* The stream of a remote descriptor; the descriptor stays the caller's where there can't be one. */
static FILE *stream_of(struct rc_description *d, int fd, const char *mode)
{
	int result = 0;

	if (rc_config.supervised)
		return rc_next_fdopen(fd, mode);
	/* Native reads would be refused by a supervisor above that isn't this session's. */
	if (positioned_up_to(d, FILL_OPENED) && !rc_raw) {
		result = rc_mapping_fill(d, fd);
		if (!result)
			return rc_next_fdopen(fd, mode);
	}
#ifdef __GLIBC__
	return cookie_stream(fd, mode);
#else
	errno = result ? -result : ENOSYS;
	return NULL;
#endif
}

static int flags_of(const char *mode)
{
	int flags = mode[0] == 'r' ? 0 : mode[0] == 'w' ? O_CREAT | O_TRUNC : mode[0] == 'a' ? O_CREAT | O_APPEND : -EINVAL;

	if (flags < 0)
		return flags;
	flags |= strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
	for (const char *at = mode + 1; *at && *at != ','; at++)
		flags |= *at == 'e' ? O_CLOEXEC : *at == 'x' ? O_EXCL : 0;
	return flags;
}

static FILE *open_stream(const struct rc_target *t, const char *mode, int large)
{
	int flags = flags_of(mode), fd = flags < 0 ? flags : rc_remote_open(t, flags | large, 0666, 0);
	FILE *stream;

	if (rc_finish(fd) < 0)
		return NULL;
	stream = stream_of(rc_fdtable_get(fd), fd, mode);
	if (!stream) {
		int saved = errno;

		close(fd);
		errno = saved;
	}
	return stream;
}

#define FOPEN(name, flag) \
	RC_EXPORT FILE *name(const char *path, const char *mode) \
	{ \
		struct rc_target t; \
		FILE *stream; \
		int side; \
		if (!rc_ready()) \
			return rc_pass_##name()(path, mode); \
		side = rc_locate(AT_FDCWD, path, 0, &t); \
		if (side == 0) { \
			rc_count_local(); \
			return rc_next_##name(path, mode); \
		} \
		if (rc_finish(side) < 0) \
			return NULL; \
		(void)RC_SPAN(#name, t.given, -1, t.at.directory, rc_result_of(stream = open_stream(&t, mode, flag))); \
		return stream; \
	}
FOPEN(fopen, 0)
#ifdef __GLIBC__
FOPEN(fopen64, RC_LARGE)
#endif

RC_EXPORT FILE *fdopen(int fd, const char *mode)
{
	struct rc_description *d;

	if (!rc_ready())
		return rc_pass_fdopen()(fd, mode);
	d = rc_fdtable_get(fd);
	return d ? stream_of(d, fd, mode) : rc_next_fdopen(fd, mode);
}

/* libc's fclose closes the number past us. */
RC_EXPORT int fclose(FILE *stream)
{
	uint64_t handle;
	bool last;
	int fd, result, saved = errno;

	if (!rc_ready())
		return rc_pass_fclose()(stream);
	fd = fileno(stream);
	errno = saved;			/* a stream in memory has no number, and says so */
	last = fd >= 0 && rc_fdtable_get(fd) && rc_fdtable_close(fd, &handle);
	if (fd >= 0 && !last)
		rc_fdtable_forget(fd);
	result = rc_next_fclose(stream);
	if (last)
		rc_call_close(handle);
	return result;
}

/* By the placeholder's own name in /proc libc opens it once more, under the number that the stream has. */
static FILE *reopen_stream(const struct rc_target *t, const char *mode, FILE *stream, int large,
			   FILE *(*next)(const char *, const char *, FILE *))
{
	char link[RC_FD_LINK];
	int flags = flags_of(mode), fd = flags < 0 ? flags : rc_remote_open(t, flags | large | O_CLOEXEC, 0666, 0), bad;
	struct rc_description *d;
	FILE *result = NULL;

	if (rc_finish(fd) < 0)
		return NULL;
	d = rc_fdtable_get(fd);
	bad = d->kind == RC_KIND_POSITIONED ? rc_mapping_fill(d, fd) : rc_refuse("freopen", fd, -ENOSYS);
	if (!rc_finish(bad)) {
		result = next(rc_sys_fd_link(fd, link), mode, stream);
		if (result) {
			rc_fdtable_forget(fileno(result));
			rc_fdtable_get(fileno(result));
		}
	}
	bad = errno;
	close(fd);
	errno = bad;
	return result;
}

#define FREOPEN(name, flag) \
	RC_EXPORT FILE *name(const char *path, const char *mode, FILE *stream) \
	{ \
		struct rc_target t; \
		int side, fd; \
		if (!rc_ready()) \
			return rc_pass_##name()(path, mode, stream); \
		fd = fileno(stream); \
		if (fd >= 0) \
			rc_fdtable_forget(fd);	/* libc closes it past us */ \
		side = path ? rc_locate(AT_FDCWD, path, 0, &t) : 0; \
		if (side == 0) \
			return rc_next_##name(path, mode, stream); \
		if (rc_finish(side) < 0) \
			return NULL; \
		(void)RC_SPAN(#name, t.given, -1, t.at.directory, \
			      rc_result_of(stream = reopen_stream(&t, mode, stream, flag, rc_next_##name))); \
		return stream; \
	}
FREOPEN(freopen, 0)
#ifdef __GLIBC__
FREOPEN(freopen64, RC_LARGE)
#endif

#ifdef __GLIBC__
/* fopen and fclose in libc's words, which pass no wrapper. */
RC_EXPORT FILE *setmntent(const char *path, const char *mode)
{
	struct rc_target t;
	char with[8] = "";

	if (!rc_ready() || rc_locate(AT_FDCWD, path, 0, &t) == 0 || strlen(mode) > sizeof with - 2)
		return rc_pass_setmntent()(path, mode);
	return fopen(path, strcat(strcpy(with, mode), "e"));
}

RC_EXPORT int endmntent(FILE *stream)
{
	if (stream)
		fclose(stream);
	return 1;
}
#endif

/* Standard input that a shell has redirected from a remote file. */
void rc_stdio_start(void)
{
	struct rc_description *d = rc_config.supervised ? NULL : rc_fdtable_get(0);

	if (!d)
		return;
	if (positioned_up_to(d, FILL_INHERITED) && rc_mapping_fill(d, 0) == 0)
		return;
#ifdef __GLIBC__
	FILE *stream = cookie_stream(0, "r");

	if (stream)
		stdin = stream;
#endif
}
