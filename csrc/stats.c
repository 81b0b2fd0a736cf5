/* SPDX-License-Identifier: MIT */
#include "stats.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "trace.h"

struct rc_stats *rc_stats;
enum rc_tier rc_stats_tier;
const char *const rc_tier_names[RC_TIERS] = { "preload", "supervisor" };
/* The same counters for what this thread did.  initial-exec: reaching it never allocates. */
static _Thread_local uint64_t spent[RC_COUNTERS] __attribute__((tls_model("initial-exec")));

void rc_stats_start(const char *path, enum rc_tier of)
{
	struct rc_identity identity;
	int fd;

	rc_stats_tier = of;
	if (!path)
		return;
	fd = rc_sys_open(AT_FDCWD, path, O_RDWR | O_CLOEXEC, 0);
	if (fd < 0)
		return;
	if (rc_sys_identity(fd, &identity) == 0 && identity.size == sizeof *rc_stats)
		rc_stats = rc_sys_map_shared(fd, sizeof *rc_stats);
	rc_sys_close(fd);
}

static void add(struct rc_count *count, uint64_t n)
{
	uint32_t low = (uint32_t)n, high = (uint32_t)(n >> 32);

	high += atomic_fetch_add_explicit(&count->low, low, memory_order_relaxed) > UINT32_MAX - low;
	if (high)
		atomic_fetch_add_explicit(&count->high, high, memory_order_relaxed);
}

uint64_t rc_stats_get(const struct rc_count *count)
{
	return (uint64_t)count->high << 32 | count->low;
}

void rc_stats_add(enum rc_counter counter, uint64_t n)
{
	add(&rc_stats->counts[counter], n);
	spent[counter] += n;
}

void rc_stats_local(void)
{
	add(&rc_stats->calls[rc_stats_tier][RC_CALL_LOCAL], 1);
}

void rc_stats_refused(int error)
{
	switch (error) {
	case -ENOENT: case -ENOTDIR: case -ELOOP: case -ENAMETOOLONG: case -EACCES: case -EEXIST: case -EISDIR: case -EBADF:
		return;			/* a plain run's would have been the same */
	default:
		rc_count(RC_COUNT_REFUSALS, 1);
	}
}

/* ------------------------------------------------------------------------------------------------- names */

static bool cut(char *name, const char *suffix)
{
	size_t length = strlen(name), size = strlen(suffix);
	bool there = length > size && !strcmp(name + length - size, suffix);

	if (there)
		name[length - size] = '\0';
	return there;
}

/* "open" of __open64_2, "lstat" of __lxstat: the forms of a call are one to whoever reads about it. */
static void plain_name(const char *symbol, char name[RC_STATS_NAME])
{
	char *x;

	while (*symbol == '_')
		symbol++;
	strncpy(name, symbol, RC_STATS_NAME - 1);
	name[RC_STATS_NAME - 1] = '\0';
	while (cut(name, "_chk") || cut(name, "_2") || cut(name, "_time64") || cut(name, "64"))
		;
	x = strstr(name, "xstat");
	if (x)
		memmove(x, x + 1, strlen(x));
}

/* The end of a path says more than its start. */
static void keep_path(const char *path, char to[RC_STATS_PATH])
{
	static const char more[] = "...";
	size_t length = strlen(path);

	if (length < RC_STATS_PATH) {
		memcpy(to, path, length + 1);
		return;
	}
	memcpy(to, more, sizeof more - 1);
	memcpy(to + sizeof more - 1, path + length - (RC_STATS_PATH - sizeof more), RC_STATS_PATH - sizeof more + 1);
}

void rc_stats_opened(uint64_t handle, const char *path)
{
	struct rc_opened_as *row;
	uint32_t before;

	if (!rc_stats_on())
		return;
	row = &rc_stats->opened[handle % RC_STATS_OPENED];
	before = atomic_load(&row->sequence);
	if ((before & 1) || !atomic_compare_exchange_strong(&row->sequence, &before, before + 1))
		return;
	row->handle = handle;
	keep_path(path, row->path);
	atomic_store(&row->sequence, before + 2);
}

static bool opened_as(uint64_t handle, char path[RC_STATS_PATH])
{
	struct rc_opened_as *row = &rc_stats->opened[handle % RC_STATS_OPENED];
	uint32_t before = atomic_load(&row->sequence);
	bool same = handle && !(before & 1) && row->handle == handle;

	if (same)
		memcpy(path, row->path, RC_STATS_PATH);
	atomic_thread_fence(memory_order_acquire);
	return same && atomic_load(&row->sequence) == before;
}

/* ------------------------------------------------------------------------------------------------- spans */

static void note_refusal(const char *name, int error)
{
	enum { FREE, CLAIMED, STANDS };

	for (int i = 0; i < RC_STATS_REFUSALS; i++) {
		struct rc_refusal *row = &rc_stats->refusals[i];
		uint32_t state = FREE;

		if (atomic_compare_exchange_strong(&row->state, &state, CLAIMED)) {
			row->error = error;
			memcpy(row->name, name, sizeof row->name);
			atomic_store(&row->state, STANDS);
		} else if (state != STANDS || row->error != error || strcmp(row->name, name)) {
			continue;	/* one that is being written at this moment may get a second row */
		}
		atomic_fetch_add(&row->times, 1);
		return;
	}
}

/* In place of the least slow one. */
static void note_time(uint64_t ns, const char *name, const char *path, int fd)
{
	uint32_t us = ns / 1000 < UINT32_MAX ? (uint32_t)(ns / 1000) : UINT32_MAX - 1, least;
	struct rc_slow *row;

	do {
		row = &rc_stats->slowest[0];
		for (int i = 1; i < RC_STATS_SLOWEST; i++)
			if (rc_stats->slowest[i].us < row->us)
				row = &rc_stats->slowest[i];
		least = row->us;
		if (us <= least)
			return;
	} while (!atomic_compare_exchange_strong(&row->us, &least, UINT32_MAX));
	row->fd = fd;
	memcpy(row->name, name, sizeof row->name);
	memcpy(row->path, path, sizeof row->path);
	atomic_store(&row->us, us);
}

void rc_span_start(struct rc_span *span, const char *name, const char *path, int fd, uint64_t handle)
{
	*span = (struct rc_span){ .name = name, .path = path, .fd = fd, .handle = handle,
				  .began_ns = rc_sys_monotonic_ns() };
	memcpy(span->before, spent, sizeof spent);
}

uint64_t rc_span_spent(const struct rc_span *span, enum rc_counter counter)
{
	return spent[counter] - span->before[counter];
}

void rc_span_finish(const struct rc_span *span, int64_t result)
{
	uint64_t ns = rc_sys_monotonic_ns() - span->began_ns;
	bool refused = rc_span_spent(span, RC_COUNT_REFUSALS) || result == -EROFS || result == -ENOSYS;
	char name[RC_STATS_NAME], path[RC_STATS_PATH] = "";

	plain_name(span->name, name);
	if (span->path && *span->path)
		keep_path(span->path, path);
	else if (!opened_as(span->handle, path))
		*path = '\0';
	add(&rc_stats->calls[rc_stats_tier][refused ? RC_CALL_REFUSED : RC_CALL_REMOTE], 1);
	if (refused && result < 0)
		note_refusal(name, (int)-result);
	note_time(ns, name, path, span->fd);
	if (rc_trace_on())
		rc_trace_span(span, name, span->path && *span->path ? span->path : path, refused, result, ns);
}
