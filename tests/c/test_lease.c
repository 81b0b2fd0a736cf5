/* SPDX-License-Identifier: MIT
 *
 * Leases by themselves: when they count, and that a recall is never missed.
 */
#include "lease.h"

#include <stdio.h>
#include <unistd.h>

#include "cache.h"
#include "config.h"
#include "protocol.h"

static int failures;

#define EXPECT(condition) \
	do { \
		if (!(condition)) { \
			printf("%d: not so: %s\n", __LINE__, #condition); \
			failures++; \
		} \
	} while (0)

enum { HANDLE = 7, TERM = RC_LIMIT_LEASE_TERM };

static struct rc_lease granted(uint64_t handle)
{
	struct rc_lease lease;

	rc_lease_begin(&lease);
	rc_lease_answered(&lease, handle, true);
	return lease;
}

static void test_nobody_listens(void)
{
	struct rc_lease lease = granted(HANDLE);

	EXPECT(rc_lease_wish() == 0 && !rc_lease_holds(&lease));
	rc_lease_listen(true);
	EXPECT(rc_lease_holds(&lease));
	rc_config.max_stale_ms = 1000;
	EXPECT(rc_lease_wish() == RC_LEASE_WANTED_FOR_REST);
	rc_config.max_stale_ms = 0;
	EXPECT(rc_lease_wish() == RC_LEASE_WANTED);
	rc_lease_answered(&lease, HANDLE, false);
	EXPECT(!rc_lease_holds(&lease));
}

static void test_recalls(void)
{
	struct rc_lease before = granted(HANDLE), other = granted(HANDLE + 1), late, after;

	rc_lease_begin(&late);
	rc_lease_recall(HANDLE);
	EXPECT(!rc_lease_holds(&before) && rc_lease_holds(&other));
	rc_lease_answered(&late, HANDLE, true);		/* overtaken */
	EXPECT(!rc_lease_holds(&late));
	after = granted(HANDLE);
	EXPECT(rc_lease_holds(&after));
	/* Whatever else is recalled, none of these comes back. */
	for (uint64_t i = 0; i < 3 * RC_LEASE_SLOTS; i++)
		rc_lease_recall(i);
	EXPECT(!rc_lease_holds(&before) && !rc_lease_holds(&late) && !rc_lease_holds(&after));
}

static void test_the_term(void)
{
	struct rc_lease lease = granted(HANDLE);
	uint32_t now = rc_lease_now();

	lease.asked_ms = now - TERM + 1000;
	EXPECT(rc_lease_holds(&lease));
	lease.asked_ms = now - TERM;
	EXPECT(!rc_lease_holds(&lease));
	rc_lease_heard(now - 1000);
	EXPECT(rc_lease_holds(&lease));
	rc_lease_heard(now - TERM);
	EXPECT(!rc_lease_holds(&lease));
	rc_lease_heard(now);
	EXPECT(rc_lease_holds(&lease));
	rc_lease_listen(false);
	EXPECT(!rc_lease_holds(&lease));
}

int main(void)
{
	char path[64];
	int fd = rc_cache_create(1 << 20);

	EXPECT(fd >= 0);
	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	rc_config.cache = path;
	rc_config.cache_size = 1;
	test_nobody_listens();
	test_recalls();
	test_the_term();
	return failures != 0;
}
