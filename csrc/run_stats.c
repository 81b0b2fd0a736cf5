/* SPDX-License-Identifier: MIT */
#include "run_stats.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "stats.h"
#include "translate.h"

enum { SHOWN = 5 };

int rc_run_stats_create(const char *path)
{
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600), bad;

	if (fd < 0)
		return -errno;
	bad = ftruncate(fd, sizeof *rc_stats) ? -errno : 0;
	close(fd);
	return bad;
}

/* ---------------------------------------------------------------------------------------------------- trace */

int rc_run_trace_begin(const char *file)
{
	FILE *to = fopen(file, "we");
	char *path = to ? realpath(file, NULL) : NULL;
	int bad = path ? strlen(path) < sizeof rc_stats->trace ? 0 : -ENAMETOOLONG : -errno;

	if (to) {
		fprintf(to, "[\n{\"name\":\"process_name\",\"ph\":\"M\",\"pid\":%d,\"args\":{\"name\":\"remotec-run\"}}", getpid());
		if (fclose(to) && !bad)
			bad = -errno;
	}
	if (path && !bad) {
		rc_stats->began_ns = rc_sys_monotonic_ns();
		strcpy(rc_stats->trace, path);
	}
	free(path);
	return bad;
}

/* A process that holds the lock is about to write; one that is stopped there isn't waited for. */
void rc_run_trace_end(void)
{
	enum { ATTEMPTS = 100, PAUSE_US = 10000 };
	FILE *to = fopen(rc_stats->trace, "ae");

	if (!to)
		return;
	for (int i = 0; i < ATTEMPTS && flock(fileno(to), LOCK_EX | LOCK_NB) && errno == EWOULDBLOCK; i++)
		usleep(PAUSE_US);
	atomic_store(&rc_stats->trace_over, 1);
	fputs("\n]\n", to);
	fclose(to);
}

/* ---------------------------------------------------------------------------------------------------- stats */

static unsigned long long count_of(enum rc_counter counter)
{
	return rc_stats_get(&rc_stats->counts[counter]);
}

/* "1,234,567": the caller's room is for one number. */
static const char *grouped(unsigned long long value, char text[32])
{
	char *at = text + 31;
	int digits = 0;

	*at = '\0';
	do {
		if (digits && digits % 3 == 0)
			*--at = ',';
		*--at = (char)('0' + value % 10);
		digits++;
	} while (value /= 10);
	return at;
}

static void print_calls(void)
{
	fprintf(stderr, "remotec: calls           local     remote    refused\n");
	for (int tier = 0; tier < RC_TIERS; tier++) {
		const struct rc_count *calls = rc_stats->calls[tier];
		unsigned long long local = rc_stats_get(&calls[RC_CALL_LOCAL]), remote = rc_stats_get(&calls[RC_CALL_REMOTE]),
				   refused = rc_stats_get(&calls[RC_CALL_REFUSED]);

		if (local || remote || refused)
			fprintf(stderr, "remotec:   %-10s %10llu %10llu %10llu\n", rc_tier_names[tier], local, remote, refused);
	}
}

/* A row may have been written twice at the same time: together they are one. */
static void print_refusals(void)
{
	struct rc_refusal *rows = rc_stats->refusals;
	const char *before = "remotec: refused:";

	for (int i = 0; i < RC_STATS_REFUSALS; i++) {
		unsigned times = rows[i].times;

		if (!times)
			continue;
		for (int k = i + 1; k < RC_STATS_REFUSALS; k++)
			if (rows[k].error == rows[i].error && !strcmp(rows[k].name, rows[i].name))
				times += atomic_exchange(&rows[k].times, 0);
		fprintf(stderr, "%s %u %s %s", before, times, rows[i].name, rc_errno_name(rows[i].error));
		before = ",";
	}
	if (*before == ',')
		fputc('\n', stderr);
}

static void print_network(void)
{
	unsigned long long used = count_of(RC_COUNT_READ_AHEAD_USED), asked = count_of(RC_COUNT_READ_AHEAD);
	unsigned long long by_listing = count_of(RC_COUNT_FROM_LISTING), by_open = count_of(RC_COUNT_FROM_OPEN),
			   before = count_of(RC_COUNT_REMEMBERED), missing = count_of(RC_COUNT_KNOWN_MISSING),
			   known = by_listing + by_open + before + missing, trips = count_of(RC_COUNT_ROUND_TRIPS);
	char received[32], sent[32], taken[32], wasted[32];

	fprintf(stderr, "remotec: round trips: %llu, and %llu requests sent ahead; waited %.1f ms\n",
		trips, count_of(RC_COUNT_SENT_AHEAD), (double)count_of(RC_COUNT_WAITED_NS) / 1e6);
	fprintf(stderr, "remotec: bytes: %s received, %s sent; read ahead: %s used, %s wasted; %llu files not sent again\n",
		grouped(count_of(RC_COUNT_RECEIVED), received), grouped(count_of(RC_COUNT_SENT), sent),
		grouped(used, taken), grouped(asked > used ? asked - used : 0, wasted), count_of(RC_COUNT_SAME_CONTENT));
	if (count_of(RC_COUNT_ON_HAND))
		fprintf(stderr, "remotec: connections: %llu waited for, %llu on hand\n", count_of(RC_COUNT_CONNECTIONS),
			count_of(RC_COUNT_ON_HAND));
	if (count_of(RC_COUNT_LEASES))
		fprintf(stderr, "remotec: leases: %llu files, %llu recalled\n", count_of(RC_COUNT_LEASES), count_of(RC_COUNT_RECALLS));
	fprintf(stderr, "remotec: answered without asking: %llu %%: %llu by listings, %llu by what came with open, %llu asked before, "
		"%llu known to be missing\n", known ? 100 * known / (known + trips) : 0, by_listing, by_open, before, missing);
}

static uint32_t time_of(const struct rc_slow *row)
{
	return row->us == UINT32_MAX ? 0 : row->us;	/* its process was killed while it wrote */
}

static int slower_first(const void *a, const void *b)
{
	uint32_t x = time_of(a), y = time_of(b);

	return (x < y) - (x > y);
}

static void print_slowest(void)
{
	struct rc_slow rows[RC_STATS_SLOWEST];

	memcpy(rows, rc_stats->slowest, sizeof rows);
	qsort(rows, RC_STATS_SLOWEST, sizeof *rows, slower_first);
	for (int i = 0; i < SHOWN && time_of(&rows[i]); i++) {
		fprintf(stderr, "remotec: %s %10.2f ms  %s", i ? "        " : "slowest:", rows[i].us / 1e3, rows[i].name);
		if (rows[i].fd >= 0)
			fprintf(stderr, " fd %d", rows[i].fd);
		fprintf(stderr, "%s%s\n", *rows[i].path ? " " : "", rows[i].path);
	}
}

void rc_run_stats_print(void)
{
	print_calls();
	print_refusals();
	print_network();
	print_slowest();
}
