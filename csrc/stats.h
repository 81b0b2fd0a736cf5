/* SPDX-License-Identifier: MIT
 *
 * What a run has cost: counters in one mapping that the whole process tree shares, so that nothing is lost with a process that is
 * killed or executes another program.  Where nobody asked, all of it is one predictable branch.
 */
#ifndef RC_STATS_H
#define RC_STATS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "route.h"
#include "sys.h"

enum rc_tier { RC_TIER_PRELOAD, RC_TIER_SUPERVISOR, RC_TIERS };
enum rc_fate { RC_CALL_LOCAL, RC_CALL_REMOTE, RC_CALL_REFUSED, RC_FATES };

enum rc_counter {
	RC_COUNT_ROUND_TRIPS,		/* requests whose replies were waited for */
	RC_COUNT_SENT_AHEAD,		/* requests whose replies were to be taken later */
	RC_COUNT_CONNECTIONS,		/* that a program waited for */
	RC_COUNT_ON_HAND,		/* … that had been made before it wanted one */
	RC_COUNT_RECEIVED,		/* bytes, headers and all */
	RC_COUNT_SENT,
	RC_COUNT_WAITED_NS,
	RC_COUNT_FROM_LISTING,		/* questions that what came with a directory's names answered */
	RC_COUNT_FROM_OPEN,		/* … that what came with OPEN answered */
	RC_COUNT_REMEMBERED,		/* … that had been asked a moment before, by any process */
	RC_COUNT_KNOWN_MISSING,		/* … the same, about what isn't there */
	RC_COUNT_SAME_CONTENT,		/* files opened whose content had come before */
	RC_COUNT_READ_AHEAD,		/* bytes asked for before the program did */
	RC_COUNT_READ_AHEAD_USED,
	RC_COUNT_LEASES,		/* files opened whose content the server vouches for */
	RC_COUNT_RECALLS,
	RC_COUNT_REFUSALS,
	RC_COUNTERS
};

/* 64 bits in two words: not every machine counts wider without a lock. */
struct rc_count {
	_Atomic uint32_t low, high;
};

enum { RC_STATS_NAME = 28, RC_STATS_PATH = 112, RC_STATS_REFUSALS = 64, RC_STATS_SLOWEST = 16, RC_STATS_OPENED = 1024,
       RC_TRACE_INTRODUCED = 4096 };

struct rc_stats {
	struct rc_count calls[RC_TIERS][RC_FATES], counts[RC_COUNTERS];
	struct rc_refusal {
		_Atomic uint32_t state;		/* 0: free; then claimed; then its name and errno stand */
		_Atomic uint32_t times;
		int32_t error;
		char name[RC_STATS_NAME];
	} refusals[RC_STATS_REFUSALS];
	struct rc_slow {
		_Atomic uint32_t us;		/* UINT32_MAX: being written */
		int32_t fd;			/* -1: none */
		char name[RC_STATS_NAME], path[RC_STATS_PATH];
	} slowest[RC_STATS_SLOWEST];
	/* What handles were opened as, the last of each slot.  The sequence is odd while a row is being written. */
	struct rc_opened_as {
		_Atomic uint32_t sequence;
		uint64_t handle;
		char path[RC_STATS_PATH];
	} opened[RC_STATS_OPENED];
	/* For trace.c: where to, "" where nobody asked; that nothing is to come any more; hashes of process and name. */
	uint64_t began_ns;
	char trace[RC_PATH_MAX];
	_Atomic uint32_t trace_over, introduced[RC_TRACE_INTRODUCED];
};

/* NULL: nobody asked. */
extern struct rc_stats *rc_stats;
#define rc_stats_on() __builtin_expect(rc_stats != NULL, 0)

extern enum rc_tier rc_stats_tier;
extern const char *const rc_tier_names[RC_TIERS];

/* Maps the file at `path` (NULL: none), as the tier that this process counts for. */
void rc_stats_start(const char *path, enum rc_tier tier);
uint64_t rc_stats_get(const struct rc_count *count);

void rc_stats_add(enum rc_counter counter, uint64_t n);
static inline void rc_count(enum rc_counter counter, uint64_t n)
{
	if (rc_stats_on())
		rc_stats_add(counter, n);
}

/* Around a wait for the server. */
static inline uint64_t rc_stats_clock(void)
{
	return rc_stats_on() ? rc_sys_monotonic_ns() : 0;
}

static inline void rc_stats_waited(uint64_t since_ns)
{
	if (rc_stats_on())
		rc_stats_add(RC_COUNT_WAITED_NS, rc_sys_monotonic_ns() - since_ns);
}

/* A call that is answered with `error`, since remote files haven't got it. */
void rc_stats_refused(int error);
/* `handle` is what the program named `path`. */
void rc_stats_opened(uint64_t handle, const char *path);

/* A call of the program's that stayed local. */
void rc_stats_local(void);
#define rc_count_local() do { if (rc_stats_on()) rc_stats_local(); } while (0)

/* A call of the program's that concerns a remote file.  fd: -1, none; path: NULL or "", that of `handle`, where it's known. */
struct rc_span {
	const char *name, *path;
	int fd, pid, tid;		/* 0: this process and thread */
	uint64_t handle, began_ns;
	uint64_t before[RC_COUNTERS];	/* of this thread, when it began */
};
void rc_span_start(struct rc_span *span, const char *name, const char *path, int fd, uint64_t handle);
void rc_span_finish(const struct rc_span *span, int64_t result);
/* What this thread has counted since it began. */
uint64_t rc_span_spent(const struct rc_span *span, enum rc_counter counter);

static inline void rc_span_begin(struct rc_span *span, const char *name, const char *path, int fd, uint64_t handle)
{
	if (rc_stats_on())
		rc_span_start(span, name, path, fd, handle);
}

/* Returns `result`. */
static inline int64_t rc_span_end(const struct rc_span *span, int64_t result)
{
	if (rc_stats_on())
		rc_span_finish(span, result);
	return result;
}

#endif
