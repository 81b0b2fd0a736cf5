/* SPDX-License-Identifier: MIT */
#include "lease.h"

#include "cache.h"
#include "config.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"

uint32_t rc_lease_now(void)
{
	return (uint32_t)(rc_sys_boot_ns() / 1000000);
}

static unsigned slot_of(uint64_t handle)
{
	return (uint32_t)(handle ^ handle >> 32 ^ handle >> 9) % RC_LEASE_SLOTS;
}

static bool listening(const struct rc_leases *shared)
{
	return shared && atomic_load(&shared->listening);
}

/* With a max-stale the first second needs none, and whoever writes on the server needn't wait for us. */
uint32_t rc_lease_wish(void)
{
	if (!listening(rc_cache_leases()))
		return 0;
	return rc_config.max_stale_ms ? RC_LEASE_WANTED_FOR_REST : RC_LEASE_WANTED;
}

void rc_lease_begin(struct rc_lease *lease)
{
	const struct rc_leases *shared = rc_cache_leases();

	lease->held = false;
	lease->asked_ms = rc_lease_now();
	lease->recalls = shared ? atomic_load(&shared->recalls) : 0;
}

void rc_lease_answered(struct rc_lease *lease, uint64_t handle, bool held)
{
	lease->handle = handle;
	lease->held = held;
	if (held)
		rc_count(RC_COUNT_LEASES, 1);
}

bool rc_lease_holds(const struct rc_lease *lease)
{
	const struct rc_leases *shared = lease->held ? rc_cache_leases() : NULL;
	uint32_t now;

	/* Whether it counts still, before whether it was recalled: recalls are written down before that the server was heard. */
	if (!listening(shared))
		return false;
	now = rc_lease_now();
	if (now - lease->asked_ms >= RC_LIMIT_LEASE_TERM && now - atomic_load(&shared->heard_ms) >= RC_LIMIT_LEASE_TERM)
		return false;
	return (int32_t)(atomic_load(&shared->recalled[slot_of(lease->handle)]) - lease->recalls) <= 0;
}

void rc_lease_listen(bool on)
{
	struct rc_leases *shared = rc_cache_leases();

	if (shared)
		atomic_store(&shared->listening, on);
}

void rc_lease_recall(uint64_t handle)
{
	struct rc_leases *shared = rc_cache_leases();

	if (!shared)
		return;
	atomic_store(&shared->recalled[slot_of(handle)], atomic_fetch_add(&shared->recalls, 1) + 1);
	rc_count(RC_COUNT_RECALLS, 1);
}

void rc_lease_recall_all(void)
{
	struct rc_leases *shared = rc_cache_leases();
	uint32_t number = shared ? atomic_fetch_add(&shared->recalls, 1) + 1 : 0;

	for (int i = 0; shared && i < RC_LEASE_SLOTS; i++)
		atomic_store(&shared->recalled[i], number);
}

void rc_lease_heard(uint32_t sent_ms)
{
	struct rc_leases *shared = rc_cache_leases();

	if (shared)
		atomic_store(&shared->heard_ms, sent_ms);
}
