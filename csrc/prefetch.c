/* SPDX-License-Identifier: MIT */
#include "prefetch.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"

enum { SLOTS = 128, FREE = 0, TAKEN, KEPT };

struct rc_prefetch {
	_Atomic int state;
	_Atomic int readers;		/* of the content: it isn't given up under them */
	uint64_t handle, asked_ms;
	struct rc_stat stat;
	const uint8_t *data;
	size_t length;			/* the whole file, or nothing of it */
	uint8_t room[RC_OPEN_ROOM];
};

static struct rc_prefetch *slots;
static _Atomic unsigned next;

static uint64_t now_ms(void)
{
	return rc_sys_monotonic_ns() / 1000000;
}

struct rc_prefetch *rc_prefetch_begin(void **room, size_t *size)
{
	*room = NULL;
	*size = 0;
	if (!rc_config.max_stale_ms)
		return NULL;
	if (!slots) {
		struct rc_prefetch *made = rc_sys_map(SLOTS * sizeof *slots);

		if (!made)
			return NULL;
		if (!__sync_bool_compare_and_swap(&slots, NULL, made))
			RC_SYS(SYS_munmap, made, SLOTS * sizeof *slots, 0, 0, 0, 0);
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		struct rc_prefetch *slot = &slots[(atomic_load(&next) + i) % SLOTS];
		int none = FREE;

		if (atomic_load(&slot->readers) || !atomic_compare_exchange_strong(&slot->state, &none, TAKEN))
			continue;
		slot->asked_ms = now_ms();
		*room = slot->room;
		*size = sizeof slot->room;
		return slot;
	}
	return NULL;
}

bool rc_prefetch_keep(struct rc_prefetch *slot, const struct rc_opened *opened)
{
	bool whole = opened->prefetched && opened->prefetched == opened->stat.size;

	if (opened->kind != RC_KIND_DIRECTORY && (opened->kind != RC_KIND_POSITIONED || !(whole || opened->stat.size == 0))) {
		rc_prefetch_end(slot);
		return false;
	}
	slot->asked_ms -= opened->age_ms;
	slot->handle = opened->handle;
	slot->stat = opened->stat;
	slot->data = opened->data;
	slot->length = opened->prefetched;
	atomic_store(&slot->state, KEPT);
	return true;
}

void rc_prefetch_end(struct rc_prefetch *slot)
{
	if (!slot)
		return;
	atomic_store(&next, (unsigned)(slot - slots));	/* the warm one first */
	atomic_store(&slot->state, FREE);
}

/* True, and to be left with leave(): the content stays. */
static bool enter(struct rc_prefetch *slot, uint64_t handle)
{
	if (!slot)
		return false;
	atomic_fetch_add(&slot->readers, 1);
	if (atomic_load(&slot->state) == KEPT && slot->handle == handle &&
	    now_ms() - slot->asked_ms <= (uint64_t)rc_config.max_stale_ms)
		return true;
	atomic_fetch_sub(&slot->readers, 1);
	return false;
}

static void leave(struct rc_prefetch *slot)
{
	atomic_fetch_sub(&slot->readers, 1);
}

ssize_t rc_prefetch_read(struct rc_prefetch *slot, uint64_t handle, const struct iovec *into, int count, int64_t offset)
{
	size_t done = 0;

	if (!enter(slot, handle))
		return -EAGAIN;
	for (int i = 0; i < count && (uint64_t)offset + done < slot->length; i++) {
		size_t left = slot->length - (size_t)offset - done;
		size_t take = into[i].iov_len < left ? into[i].iov_len : left;

		if (take && rc_copy_out(into[i].iov_base, slot->data + offset + done, take) < 0) {
			leave(slot);
			return done ? (ssize_t)done : -EFAULT;
		}
		done += take;
	}
	leave(slot);
	rc_count(RC_COUNT_FROM_OPEN, 1);
	return (ssize_t)done;
}

bool rc_prefetch_stat(struct rc_prefetch *slot, uint64_t handle, unsigned mask, struct rc_stat *stat)
{
	if (!enter(slot, handle))
		return false;
	*stat = slot->stat;
	leave(slot);
	if (mask & ~stat->mask)
		return false;
	rc_count(RC_COUNT_FROM_OPEN, 1);
	return true;
}
