/* SPDX-License-Identifier: MIT */
#include "trace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>

#include "text.h"
#include "translate.h"

/* ---------------------------------------------------------------------------------------------- the file */

/* Whether a write can't run into RLIMIT_FSIZE, which would kill the program. */
static bool allowed(int fd)
{
	enum { MARGIN = 1 << 20 };	/* others append too */
	struct {
		uint64_t soft, hard;
	} limit;
	struct rc_identity identity;

	return RC_SYS(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit, 0, 0) == 0 && rc_sys_identity(fd, &identity) == 0 &&
	       (limit.soft >> 63 || identity.size + MARGIN <= limit.soft);
}

/* Opened each time: a descriptor that stayed would have to be hidden from the program.  The lock is for who ends the array. */
static void append(const struct rc_text *text)
{
	int fd = rc_sys_open(AT_FDCWD, rc_stats->trace, O_WRONLY | O_APPEND | O_CLOEXEC, 0);

	if (fd < 0)
		return;
	if (allowed(fd)) {
		while (RC_SYS(SYS_flock, fd, LOCK_SH, 0, 0, 0, 0) == -EINTR)
			;
		if (!atomic_load(&rc_stats->trace_over))
			RC_SYS(SYS_write, fd, text->bytes, text->length, 0, 0, 0);
	}
	rc_sys_close(fd);
}

/* ------------------------------------------------------------------------------------------------- events */

static void add_member(struct rc_text *text, const char *name, int64_t value)
{
	rc_text_add(text, ",\"");
	rc_text_add(text, name);
	rc_text_add(text, "\":");
	rc_text_signed(text, value);
}

static void add_text(struct rc_text *text, const char *name, const char *value)
{
	rc_text_add(text, ",\"");
	rc_text_add(text, name);
	rc_text_add(text, "\":");
	rc_text_json(text, value);
}

/* Microseconds, to the nanosecond. */
static void add_time(struct rc_text *text, const char *name, uint64_t ns)
{
	add_member(text, name, (int64_t)(ns / 1000));
	rc_text_put(text, '.');
	for (unsigned unit = 100; unit; unit /= 10)
		rc_text_put(text, (char)('0' + ns / unit % 10));
}

static void put_name(struct rc_text *text, int pid, const char *name)
{
	rc_text_add(text, "{\"name\":\"process_name\",\"ph\":\"M\"");
	add_member(text, "pid", pid);
	rc_text_add(text, ",\"args\":{\"name\":");
	rc_text_json(text, name);
	rc_text_add(text, "}}");
}

/* What ps calls it; "" where it's gone. */
static void name_of(int pid, char name[32])
{
	struct rc_text path = { .length = 0 };
	ssize_t got = -1;
	int fd;

	rc_text_add(&path, "/proc/");
	rc_text_number(&path, (uint64_t)pid, 10);
	rc_text_add(&path, "/comm");
	rc_text_put(&path, '\0');
	fd = rc_sys_open(AT_FDCWD, path.bytes, O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		got = RC_SYS(SYS_read, fd, name, 31, 0, 0, 0);
		rc_sys_close(fd);
	}
	name[got > 0 ? got - 1 : 0] = '\0';		/* a newline ends it */
}

/* Says what the process is called, once for each name that it has. */
static void introduce(int pid)
{
	struct rc_text text = { .length = 0 };
	uint32_t hash = 2166136261u ^ (uint32_t)pid;
	char name[32];

	name_of(pid, name);
	for (const char *at = name; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 16777619u;
	if (!*name || atomic_exchange(&rc_stats->introduced[(uint32_t)pid % RC_TRACE_INTRODUCED], hash) == hash)
		return;
	rc_text_add(&text, ",\n");
	put_name(&text, pid, name);
	append(&text);
}

void rc_trace_span(const struct rc_span *span, const char *name, const char *path, bool refused, int64_t result, uint64_t ns)
{
	struct rc_text text = { .length = 0 };
	int pid = span->pid ? span->pid : rc_sys_getpid();

	introduce(pid);
	rc_text_add(&text, ",\n{\"name\":\"");
	rc_text_add(&text, name);
	rc_text_add(&text, "\",\"ph\":\"X\"");
	add_time(&text, "ts", span->began_ns - rc_stats->began_ns);
	add_time(&text, "dur", ns);
	add_member(&text, "pid", pid);
	add_member(&text, "tid", span->tid ? span->tid : rc_sys_gettid());
	rc_text_add(&text, ",\"args\":{\"route\":");
	rc_text_json(&text, refused ? "refused" : "remote");
	add_text(&text, "tier", rc_tier_names[rc_stats_tier]);
	if (result < 0)
		add_text(&text, "result", rc_errno_name((int)-result));
	else
		add_member(&text, "result", result);
	add_member(&text, "round_trips", (int64_t)rc_span_spent(span, RC_COUNT_ROUND_TRIPS));
	add_member(&text, "received", (int64_t)rc_span_spent(span, RC_COUNT_RECEIVED));
	add_member(&text, "sent", (int64_t)rc_span_spent(span, RC_COUNT_SENT));
	if (span->fd >= 0)
		add_member(&text, "fd", span->fd);
	if (*path)
		add_text(&text, "path", path);
	rc_text_add(&text, "}}");
	append(&text);
}
