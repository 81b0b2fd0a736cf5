/* SPDX-License-Identifier: MIT */
#include "fdtable.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

#include "config.h"
#include "lock.h"
#include "notify.h"
#include "protocol.h"
#include "sys.h"
#include "walk_ahead.h"

enum { CHUNK = 4096, CHUNKS = 256, SLOTS = 65536 };
enum { FREE = 0, CLAIMED, LIVE };

_Atomic uintptr_t rc_fdtable_direct[RC_FDTABLE_DIRECT];
static _Atomic(_Atomic uintptr_t *) chunks[CHUNKS];	/* numbers from RC_FDTABLE_DIRECT on */

/* Reserved whole, touched as far as used: descriptions never move, and are found without a lock. */
static struct rc_description *slots;
static _Atomic unsigned slots_used;			/* slots past this one were never used */
static _Atomic unsigned next_slot;			/* where to look for a free one: reuse comes late */
static _Atomic int unshared;				/* descriptions that only this process has */
static _Atomic int owner;				/* our pid; another one in a vfork child that has our memory */

void rc_fdtable_start(void)
{
	owner = rc_sys_getpid();
	slots = rc_sys_map(SLOTS * sizeof *slots);
}

static bool ours(void)
{
	return rc_sys_getpid() == atomic_load_explicit(&owner, memory_order_relaxed);
}

/* The number's entry; NULL where it has none (and can't get one). */
static _Atomic uintptr_t *entry_of(int fd, bool make)
{
	unsigned at = (unsigned)fd - RC_FDTABLE_DIRECT;
	_Atomic uintptr_t *chunk, *none = NULL;

	if (fd < 0)
		return NULL;
	if (fd < RC_FDTABLE_DIRECT)
		return &rc_fdtable_direct[fd];
	if (at / CHUNK >= CHUNKS)
		return NULL;
	chunk = atomic_load(&chunks[at / CHUNK]);
	if (!chunk && make) {
		chunk = rc_sys_map(CHUNK * sizeof *chunk);
		if (chunk && !atomic_compare_exchange_strong(&chunks[at / CHUNK], &none, chunk)) {
			RC_SYS(SYS_munmap, chunk, CHUNK * sizeof *chunk, 0, 0, 0, 0);
			chunk = none;
		}
	}
	return chunk ? &chunk[at % CHUNK] : NULL;
}

static bool same(const struct rc_description *d, uint64_t ino, uint32_t dev_major, uint32_t dev_minor)
{
	return __atomic_load_n(&d->slot, __ATOMIC_ACQUIRE) == LIVE && d->ino == ino &&
	       d->dev_major == dev_major && d->dev_minor == dev_minor;
}

static struct rc_description *find(const struct rc_placeholder *p)
{
	unsigned used = atomic_load(&slots_used);

	for (unsigned i = 0; i < used; i++)
		if (same(&slots[i], p->ino, p->dev_major, p->dev_minor))
			return &slots[i];
	return NULL;
}

static void raise_used(unsigned to)
{
	unsigned used = atomic_load(&slots_used);

	while (used < to && !atomic_compare_exchange_weak(&slots_used, &used, to))
		;
}

static struct rc_description *make(const struct rc_placeholder *p, bool shared)
{
	for (unsigned tried = 0; slots && tried < SLOTS; tried++) {
		unsigned at = atomic_fetch_add(&next_slot, 1) % (atomic_load(&slots_used) < 1024 ? 1024 : SLOTS);
		struct rc_description *d = &slots[at];
		uint32_t none = FREE;

		if (!__atomic_compare_exchange_n(&d->slot, &none, CLAIMED, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST))
			continue;
		d->handle = memcmp(p->session, rc_config.session, sizeof p->session) ? RC_NO_HANDLE : p->handle;
		d->kind = p->kind;
		d->dev_major = p->dev_major;
		d->dev_minor = p->dev_minor;
		d->shared = shared;
		d->locked = d->readable = d->lost = false;
		d->references = 1;
		d->lock = 0;
		d->sequence = (struct rc_sequence){ 0 };
		d->at_known = false;
		rc_description_found(d);
		d->ino = p->ino;
		__atomic_store_n(&d->slot, LIVE, __ATOMIC_SEQ_CST);
		raise_used(at + 1);
		if (!shared)
			atomic_fetch_add(&unshared, 1);
		return d;
	}
	return NULL;
}

/* False: it's gone, and its slot maybe another's. */
static bool hold(struct rc_description *d)
{
	uint32_t references = __atomic_load_n(&d->references, __ATOMIC_SEQ_CST);

	while (references && !__atomic_compare_exchange_n(&d->references, &references, references + 1, true, __ATOMIC_SEQ_CST,
							  __ATOMIC_SEQ_CST))
		;
	return references != 0;
}

/* True where that was the last, and the handle ours to CLOSE.  Not `seen`: what there was may still be there, unknown to us. */
static bool drop(struct rc_description *d, bool seen)
{
	bool shared = d->shared;

	if (__atomic_sub_fetch(&d->references, 1, __ATOMIC_SEQ_CST))
		return false;
	if (!shared)
		atomic_fetch_sub(&unshared, 1);
	if (!shared && seen)
		rc_lock_release(d);
	rc_description_release(d);
	__atomic_store_n(&d->slot, FREE, __ATOMIC_SEQ_CST);
	return !shared && seen;
}

/* The number's reference is `d`'s, which the caller has taken; what was there before has one less. */
static void point(_Atomic uintptr_t *entry, struct rc_description *d)
{
	struct rc_description *before;
	uintptr_t value;

	if (!entry || !d)
		return;
	value = atomic_exchange(entry, (uintptr_t)d);
	if (value <= RC_FD_LOCAL)
		return;
	before = (struct rc_description *)value;
	before->lost |= before != d;	/* else another thread has looked at the same time */
	drop(before, before == d);
}

struct rc_description *rc_fdtable_resolve(int fd)
{
	_Atomic uintptr_t *entry = entry_of(fd, true);
	uintptr_t value = entry ? atomic_load_explicit(entry, memory_order_relaxed) : RC_FD_UNKNOWN;
	struct rc_description *d = (struct rc_description *)value;
	struct rc_placeholder found;
	struct rc_identity identity;

	if (value == RC_FD_LOCAL)
		return NULL;
	if (value != RC_FD_UNKNOWN) {
		if (rc_sys_identity(fd, &identity) == 0 && same(d, identity.ino, identity.dev_major, identity.dev_minor))
			return d;
		if (ours())		/* closed or replaced where we couldn't see it */
			rc_fdtable_forget(fd);
	}
	switch (rc_placeholder_identify(fd, &found)) {
	case 0:
		if (entry && ours())
			atomic_store(entry, RC_FD_LOCAL);
		return NULL;
	case 1:
		d = find(&found);
		if (d && !ours())
			return d;
		if (!d || !hold(d))
			d = make(&found, true);
		if (ours())
			point(entry, d);
		return d;
	default:
		return NULL;
	}
}

void rc_fdtable_forget(int fd)
{
	_Atomic uintptr_t *entry = entry_of(fd, false);
	uintptr_t value = entry ? atomic_exchange(entry, RC_FD_UNKNOWN) : RC_FD_UNKNOWN;

	if (value > RC_FD_LOCAL && ours()) {
		((struct rc_description *)value)->lost = true;
		drop((struct rc_description *)value, false);
	}
}

struct rc_description *rc_fdtable_resolve_pinned(int fd)
{
	struct rc_description *d;

	while ((d = rc_fdtable_resolve(fd))) {
		_Atomic uintptr_t *entry = entry_of(fd, false);

		if (!hold(d))
			continue;
		if (!entry || !ours() || atomic_load(entry) == (uintptr_t)d)
			return d;
		rc_fdtable_unpin(d);		/* its number was closed meanwhile, or is another's */
	}
	return NULL;
}

void rc_fdtable_unpin(struct rc_description *d)
{
	uint64_t handle = d->handle;

	if (drop(d, !d->lost))
		rc_fdtable_close_handle(handle);
}

void rc_fdtable_close_handle(uint64_t handle)
{
	rc_notify_close(handle);
	rc_call_close(handle);
}

void rc_fdtable_replaced(int fd, struct rc_description *before)
{
	_Atomic uintptr_t *entry = entry_of(fd, false);
	uintptr_t value = before ? (uintptr_t)before : RC_FD_LOCAL;

	if (!entry || !ours())
		return;
	if (atomic_compare_exchange_strong(entry, &value, RC_FD_UNKNOWN) && before)
		drop(before, true);
	if (before)
		before->lost = false;	/* who looked before us couldn't see how it went */
}

void rc_fdtable_forget_range(unsigned first, unsigned last)
{
	unsigned end = RC_FDTABLE_DIRECT + CHUNK * CHUNKS;

	for (unsigned fd = first; fd <= last && fd < end; fd++) {
		if (fd >= RC_FDTABLE_DIRECT && !atomic_load(&chunks[(fd - RC_FDTABLE_DIRECT) / CHUNK]))
			fd |= CHUNK - 1;	/* chunks begin at multiples of CHUNK */
		else
			rc_fdtable_forget((int)fd);
	}
}

int rc_fdtable_insert(int fd, const struct rc_placeholder *placeholder)
{
	struct rc_description *d;

	rc_fdtable_forget(fd);
	d = make(placeholder, false);
	point(entry_of(fd, true), d);
	return d ? 0 : -ENFILE;
}

bool rc_fdtable_close(int fd, uint64_t *handle)
{
	_Atomic uintptr_t *entry = entry_of(fd, false);
	uintptr_t value = entry ? atomic_load_explicit(entry, memory_order_relaxed) : RC_FD_UNKNOWN;
	struct rc_description *d;

	if (value <= RC_FD_LOCAL) {	/* never looked at: if it is a placeholder, it isn't ours alone */
		if (value)
			atomic_store_explicit(entry, RC_FD_UNKNOWN, memory_order_relaxed);
		return false;
	}
	d = rc_fdtable_resolve(fd);
	if (!d || !ours())
		return false;
	value = atomic_exchange(entry, RC_FD_UNKNOWN);
	if (value <= RC_FD_LOCAL)
		return false;			/* another thread has closed it */
	d = (struct rc_description *)value;
	*handle = d->handle;
	return drop(d, true);
}

void rc_fdtable_close_range(unsigned first, unsigned last, void (*closed)(uint64_t handle))
{
	unsigned end = RC_FDTABLE_DIRECT + CHUNK * CHUNKS;

	for (unsigned fd = first; fd <= last && fd < end; fd++) {
		_Atomic uintptr_t *entry = entry_of((int)fd, false);
		uint64_t handle;

		if (!entry)
			fd |= CHUNK - 1;	/* chunks begin at multiples of CHUNK */
		else if (atomic_load_explicit(entry, memory_order_relaxed) <= RC_FD_LOCAL)
			atomic_store_explicit(entry, RC_FD_UNKNOWN, memory_order_relaxed);
		else if (rc_fdtable_close((int)fd, &handle))
			closed(handle);
	}
}

void rc_fdtable_release_locks(void)
{
	unsigned used = atomic_load(&slots_used);

	for (unsigned i = 0; ours() && i < used; i++)
		if (__atomic_load_n(&slots[i].slot, __ATOMIC_ACQUIRE) == LIVE && !slots[i].shared)
			rc_lock_release(&slots[i]);
}

/* Whether the server is to be told: not where another process was told of it already; a watch stays with the process whose
 * connection it uses (notify.h). */
static bool share(int fd, struct rc_description *d, rc_share_report *report)
{
	if (d->shared || d->kind == RC_KIND_WATCH)
		return false;
	d->shared = true;
	atomic_fetch_sub(&unshared, 1);
	return report(fd, d->handle);
}

void rc_fdtable_share(int fd, rc_share_report *report)
{
	struct rc_description *d = rc_fdtable_get(fd);

	if (d && share(fd, d, report))
		rc_call_share(&d->handle, 1);
}

bool rc_fdtable_share_all(rc_share_report *report, bool over_exec)
{
	uint64_t handles[256];
	size_t count = 0;
	bool any = false;

	if (atomic_load(&slots_used) == 0)
		return false;
	for (int fd = 0; fd < RC_FDTABLE_DIRECT + CHUNK * CHUNKS; fd++) {
		_Atomic uintptr_t *entry = entry_of(fd, false);
		uintptr_t value = entry ? atomic_load_explicit(entry, memory_order_relaxed) : 0;
		struct rc_description *d;

		if (!entry) {
			fd |= CHUNK - 1;
			continue;
		}
		if (value <= RC_FD_LOCAL || (over_exec && (rc_sys_fcntl(fd, F_GETFD, 0) & FD_CLOEXEC)))
			continue;
		any = true;
		d = rc_fdtable_resolve(fd);	/* not what has taken the number's place where we couldn't see it */
		if (!d || !share(fd, d, report))
			continue;
		handles[count++] = d->handle;
		if (count == 256) {
			rc_call_share(handles, count);
			count = 0;
		}
	}
	if (count)
		rc_call_share(handles, count);
	return any;
}

void rc_fdtable_after_fork(void)
{
	unsigned used = atomic_load(&slots_used);

	atomic_store(&owner, rc_sys_getpid());
	rc_stream_after_fork();
	rc_walk_after_fork();
	rc_notify_after_fork();
	for (unsigned i = 0; i < used; i++) {
		slots[i].lock = 0;
		slots[i].sequence.stream = NULL;
		slots[i].shared = true;		/* also what another thread opened while we forked */
	}
	atomic_store(&unshared, 0);
}
