/* SPDX-License-Identifier: MIT */
#include "run_extents.h"

#include <errno.h>
#include <pthread.h>

enum { WINDOWS = 64, PAGE = 4096 };

/* [from, to) of a file: all its data there. */
struct window {
	uint64_t handle;
	int64_t from, to;		/* equal: none */
	int count;
	struct rc_extent extents[RC_EXTENTS];
};

static struct window windows[WINDOWS];
static unsigned next_window, forgotten;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static int parts_of(const struct window *w, int64_t offset, int64_t end, struct rc_extent *parts)
{
	int made = 0;

	for (int i = 0; i < w->count; i++) {
		int64_t from = w->extents[i].offset, to = from + w->extents[i].length;

		from = from < offset ? offset : from;
		to = to > end ? end : to;
		if (from < to)
			parts[made++] = (struct rc_extent){ from, to - from };
	}
	return made;
}

/* From offset on, as far as one answer goes.  The size comes last: where a file has shrunk meanwhile there is no hole. */
static int ask(uint64_t handle, int64_t offset, struct window *w)
{
	struct rc_stat stat;
	int bad;

	*w = (struct window){ .handle = handle, .from = offset, .to = offset };
	w->count = rc_call_extents(handle, offset, INT64_MAX - offset, w->extents, RC_EXTENTS);
	if (w->count < 0)
		return w->count;
	for (int i = 0; i < w->count; i++) {
		const struct rc_extent *e = &w->extents[i];

		if (e->offset < w->to || e->length <= 0 || e->length > INT64_MAX - PAGE - e->offset)
			return -EPROTO;
		w->to = e->offset + e->length;
	}
	if (w->count == RC_EXTENTS)
		return 0;
	bad = rc_call_fstat(handle, STATX_SIZE, &stat);
	/* The kernel asks for whole pages. */
	if (!bad && stat.size < INT64_MAX - PAGE)
		w->to = ((int64_t)stat.size + PAGE - 1) & -PAGE;
	return bad;
}

int rc_extents_within(uint64_t handle, int64_t offset, int64_t end, struct rc_extent *parts)
{
	struct window fresh;
	unsigned before;
	int made = -ENOENT;

	pthread_mutex_lock(&lock);
	for (int i = 0; made < 0 && i < WINDOWS; i++)
		if (windows[i].handle == handle && windows[i].from <= offset && end <= windows[i].to)
			made = parts_of(&windows[i], offset, end, parts);
	before = forgotten;
	pthread_mutex_unlock(&lock);
	if (made >= 0)
		return made;
	made = ask(handle, offset, &fresh);
	if (made < 0)
		return made;
	if (end > fresh.to)
		return -ENOENT;
	pthread_mutex_lock(&lock);
	if (before == forgotten)
		windows[next_window++ % WINDOWS] = fresh;
	pthread_mutex_unlock(&lock);
	return parts_of(&fresh, offset, end, parts);
}

void rc_extents_forget(uint64_t handle)
{
	pthread_mutex_lock(&lock);
	for (int i = 0; i < WINDOWS; i++)
		if (windows[i].handle == handle)
			windows[i].to = windows[i].from;
	forgotten++;
	pthread_mutex_unlock(&lock);
}
