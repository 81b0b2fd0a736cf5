/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "calls.h"
#include "config.h"
#include "sys.h"
#include "transport.h"

/* A quarter of the mapping is rows (a listing of ten thousand names takes as many), the rest in equal parts slots for contents of
 * three sizes.  A row may stand at WAYS places, and is at the first that was empty: so many that a full listing finds room, while
 * it's seldom more than two that are looked at. */
enum { PAGE = 4096, WAYS = 16, CLASSES = 3, SMALLEST = 4096, GROWTH = 4, ATTEMPTS = 8, MEBIBYTE = 1 << 20 };
_Static_assert(SMALLEST * GROWTH * GROWTH == RC_CONTENT_MOST, "the largest class holds whatever OPEN brings");

struct row {
	_Atomic uint32_t sequence;
	uint32_t spare;
	struct rc_key key;
	struct rc_fact fact;
};

_Static_assert(sizeof(struct row) == 256, "rows divide pages evenly");

/* Programs of 32 and of 64 bits may meet here, whose structures differ: the second to come then keeps to itself. */
#define LAYOUT ((uint32_t)(sizeof(struct row) << 16 | sizeof(struct rc_stat) << 4 | 1))

struct head {
	uint32_t layout;
	_Atomic uint32_t void_ms;	/* what was asked until then is too old */
	_Atomic uint32_t next[CLASSES];
	uint64_t secret[2];
	struct rc_leases leases;
	struct rc_outage outage;
};
_Static_assert(sizeof(struct head) <= PAGE, "the head fits its page");

/* Where things are: computed from the size alone, so that nothing written into the mapping can lead us out of it. */
static struct {
	struct head *head;
	struct row *rows;
	_Atomic uint32_t *sequences[CLASSES];
	uint8_t *bytes[CLASSES];
	uint32_t sets, slots[CLASSES];
	uint64_t secret[2];
} cache;

static uint32_t capacity(int class)
{
	return class ? GROWTH * capacity(class - 1) : SMALLEST;
}

/* ----------------------------------------------------------------------------------------------- the mapping */

uint32_t rc_cache_now(void)
{
	return (uint32_t)(rc_sys_monotonic_ns() / 1000000);
}

static void lay_out(void *base, size_t size)
{
	size_t rows = size / 4 / sizeof(struct row), share = (size - size / 4 - PAGE) / CLASSES;
	uint8_t *at = (uint8_t *)base + PAGE;

	cache.head = base;
	cache.rows = (struct row *)at;
	cache.sets = (uint32_t)(rows - WAYS + 1);
	at += rows * sizeof(struct row);
	for (int i = 0; i < CLASSES; i++) {
		/* Their sequence numbers take up to a page in front of them. */
		cache.slots[i] = (uint32_t)((share - PAGE) / (capacity(i) + sizeof(uint32_t)));
		cache.sequences[i] = (_Atomic uint32_t *)at;
		cache.bytes[i] = at + (cache.slots[i] * sizeof(uint32_t) + PAGE - 1) / PAGE * PAGE;
		at = cache.bytes[i] + (size_t)cache.slots[i] * capacity(i);
	}
}

static bool begin(void *base, size_t size)
{
	lay_out(base, size);
	memcpy(cache.secret, cache.head->secret, sizeof cache.secret);
	if (cache.head->layout != LAYOUT)
		return false;
	atomic_store(&rc_outage, &cache.head->outage);
	return true;
}

static struct head new_head(void)
{
	struct head head = { .layout = LAYOUT, .void_ms = rc_cache_now() - 1 };

	rc_sys_random(head.secret, sizeof head.secret);
	return head;
}

int rc_cache_create(size_t size)
{
	struct head head = new_head();
	int fd = rc_sys_memfd("remotec-cache", MFD_CLOEXEC);
	ssize_t bad = fd < 0 ? fd : rc_sys_grow(fd, (int64_t)size);

	if (bad >= 0)
		bad = rc_sys_pwrite(fd, &head, sizeof head, 0);
	if (bad < 0 && fd >= 0)
		rc_sys_close(fd);
	return bad < 0 ? (int)bad : fd;
}

static bool map_shared(void)
{
	struct rc_identity identity;
	int fd = rc_config.cache ? rc_sys_open(AT_FDCWD, rc_config.cache, O_RDWR | O_CLOEXEC, 0) : -1;
	void *base = NULL;

	if (fd < 0)
		return false;
	if (rc_sys_identity(fd, &identity) == 0 && identity.size >= MEBIBYTE && identity.size <= SIZE_MAX / 2)
		base = rc_sys_map_shared(fd, (size_t)identity.size);
	rc_sys_close(fd);
	return base && begin(base, (size_t)identity.size);
}

static bool map_own(void)
{
	size_t size = (size_t)rc_config.cache_size * MEBIBYTE;
	struct head *head = rc_sys_map(size);

	if (!head)
		return false;
	*head = new_head();
	return begin(head, size);
}

static bool is_mapped(void)
{
	enum { COLD, STARTING, READY, OFF };
	static _Atomic int state;
	int now = atomic_load_explicit(&state, memory_order_acquire);

	/* Whoever comes while another thread starts goes without. */
	if (now == COLD && atomic_compare_exchange_strong(&state, &now, STARTING)) {
		now = rc_config.cache_size && (map_shared() || map_own()) ? READY : OFF;
		atomic_store(&state, now);
	}
	return now == READY;
}

bool rc_cache_on(void)
{
	return rc_config.max_stale_ms && is_mapped();
}

struct rc_leases *rc_cache_leases(void)
{
	return is_mapped() ? &cache.head->leases : NULL;
}

/* procfs and its like neither count blocks nor say which files are immutable; a file system that keeps files does one of them,
 * if only for an empty file. */
bool rc_cache_keeps(const struct rc_stat *stat)
{
	return (S_ISREG(stat->mode) || S_ISDIR(stat->mode) || S_ISLNK(stat->mode)) &&
	       (stat->blocks || stat->attributes_mask & STATX_ATTR_IMMUTABLE);
}

/* ------------------------------------------------------------------------------------------------------ age */

bool rc_cache_fresh(uint32_t asked_ms)
{
	uint32_t now = rc_cache_now(), age = now - asked_ms;

	return rc_cache_on() && age <= (uint32_t)rc_config.max_stale_ms && age < now - atomic_load(&cache.head->void_ms);
}

void rc_cache_void(void)
{
	if (is_mapped())
		atomic_store(&cache.head->void_ms, rc_cache_now());
}

/* --------------------------------------------------------------------------------- keys: SipHash-1-3, 128 bits */

struct sip {
	uint64_t v[4];
};

static uint64_t turned(uint64_t x, int by)
{
	return x << by | x >> (64 - by);
}

static void mix(struct sip *s)
{
	uint64_t *v = s->v;

	v[0] += v[1], v[1] = turned(v[1], 13) ^ v[0], v[0] = turned(v[0], 32);
	v[2] += v[3], v[3] = turned(v[3], 16) ^ v[2];
	v[0] += v[3], v[3] = turned(v[3], 21) ^ v[0];
	v[2] += v[1], v[1] = turned(v[1], 17) ^ v[2], v[2] = turned(v[2], 32);
}

static void absorb(struct sip *s, uint64_t word)
{
	s->v[3] ^= word;
	mix(s);
	s->v[0] ^= word;
}

static uint64_t squeeze(struct sip *s)
{
	for (int i = 0; i < 3; i++)
		mix(s);
	return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

struct rc_key rc_cache_key_in(struct rc_key directory, const char *name, size_t length)
{
	struct sip s = { { cache.secret[0] ^ 0x736f6d6570736575, cache.secret[1] ^ 0x646f72616e646f6d ^ 0xee,
			   cache.secret[0] ^ 0x6c7967656e657261, cache.secret[1] ^ 0x7465646279746573 } };
	struct rc_key key;
	uint64_t word;

	absorb(&s, directory.half[0]);
	absorb(&s, directory.half[1]);
	for (size_t left = length; left >= 8; left -= 8, name += 8) {
		memcpy(&word, name, 8);
		absorb(&s, word);
	}
	word = (uint64_t)length << 56;
	for (size_t i = 0; i < length % 8; i++)
		word |= (uint64_t)(uint8_t)name[i] << 8 * i;
	absorb(&s, word);
	s.v[2] ^= 0xee;
	key.half[0] = squeeze(&s);
	s.v[1] ^= 0xdd;
	key.half[1] = squeeze(&s);
	return key;
}

struct rc_key rc_cache_key_of(uint64_t handle)
{
	return (struct rc_key){ { handle, 0 } };
}

/* ----------------------------------------------------------------------------------------------------- rows */

static bool same(struct rc_key a, struct rc_key b)
{
	return a.half[0] == b.half[0] && a.half[1] == b.half[1];
}

/* Once it isn't, it never is again. */
static bool is_empty(const struct row *row)
{
	return !row->key.half[0] && !row->key.half[1];
}

static struct row *ways_of(struct rc_key *key, unsigned kind)
{
	key->half[1] ^= (uint64_t)kind << 32 | kind;
	return &cache.rows[(uint32_t)(key->half[0] ^ key->half[1] ^ key->half[0] >> 32) % cache.sets];
}

bool rc_cache_find(struct rc_key key, unsigned kind, struct rc_fact *fact)
{
	struct row *ways = ways_of(&key, kind);

	for (int i = 0; i < WAYS; i++) {
		struct row *row = &ways[i];
		uint32_t before = atomic_load_explicit(&row->sequence, memory_order_acquire);

		if (before & 1)
			continue;
		if (is_empty(row))
			break;
		if (!same(row->key, key))
			continue;
		*fact = row->fact;
		atomic_thread_fence(memory_order_acquire);
		if (atomic_load_explicit(&row->sequence, memory_order_relaxed) == before)
			return true;
	}
	return false;
}

/* Nobody else writes there until release(): true, and an odd number stands in *sequence. */
static bool claim(_Atomic uint32_t *sequence, uint32_t *claimed)
{
	uint32_t before = atomic_load(sequence);

	if ((before & 1) || !atomic_compare_exchange_strong(sequence, &before, before + 1))
		return false;
	atomic_thread_fence(memory_order_release);	/* what is written comes after the odd number, for all that look */
	*claimed = before + 1;
	return true;
}

static void release(_Atomic uint32_t *sequence, uint32_t claimed)
{
	atomic_store_explicit(sequence, claimed + 1, memory_order_release);
}

/* How readily a row gives way to another: those that have nothing more to say first, and a listing's, of which there are so many that
 * they'd push out, above all, the older one that says which directory they are of; then the oldest. */
static uint64_t readiness(const struct row *row, uint32_t now)
{
	enum { CHEAP = 32 };
	int32_t age = (int32_t)(now - row->fact.asked_ms);
	int lasts = row->fact.flags & RC_FACT_CONFIRMABLE ? RC_CONFIRM_MS : rc_config.max_stale_ms;
	bool cheap = row->fact.flags & RC_FACT_LISTED || age > lasts;

	return (uint64_t)cheap << CHEAP | (age > 0 ? (uint32_t)age : 0);
}

void rc_cache_keep(struct rc_key key, unsigned kind, const struct rc_fact *fact)
{
	struct row *ways = ways_of(&key, kind), *row = NULL;
	uint64_t readiest = 0;
	uint32_t claimed;

	for (int i = 0; i < WAYS; i++) {
		uint64_t ready;

		if (atomic_load(&ways[i].sequence) & 1)
			continue;
		if (is_empty(&ways[i]) || same(ways[i].key, key)) {
			row = &ways[i];
			break;
		}
		ready = readiness(&ways[i], fact->asked_ms);
		if (!row || ready > readiest) {
			row = &ways[i];
			readiest = ready;
		}
	}
	if (!row || !claim(&row->sequence, &claimed))
		return;
	/* A reply that was long on its way says nothing new. */
	if (!same(row->key, key) || (int32_t)(fact->asked_ms - row->fact.asked_ms) >= 0) {
		row->key = key;
		row->fact = *fact;
	}
	release(&row->sequence, claimed);
}

/* ------------------------------------------------------------------------------------------------- contents */

enum { EMPTY = UINT32_MAX };

struct rc_content rc_cache_keep_content(const void *bytes, size_t length)
{
	struct rc_content none = { 0 };
	int class = 0;

	if (!length)
		return (struct rc_content){ .slot = EMPTY, .sequence = 1 };
	while (class < CLASSES && capacity(class) < length)
		class++;
	if (class == CLASSES || !cache.slots[class])
		return none;
	for (int i = 0; i < ATTEMPTS; i++) {
		uint32_t at = atomic_fetch_add(&cache.head->next[class], 1) % cache.slots[class], claimed;

		if (!claim(&cache.sequences[class][at], &claimed))
			continue;
		memcpy(cache.bytes[class] + (size_t)at * capacity(class), bytes, length);
		release(&cache.sequences[class][at], claimed);
		return (struct rc_content){ .slot = at * CLASSES + (uint32_t)class, .sequence = claimed + 1,
					    .length = (uint32_t)length };
	}
	return none;
}

ssize_t rc_cache_read(struct rc_content content, const struct iovec *into, int count, int64_t offset)
{
	uint32_t class = content.slot % CLASSES, at = content.slot / CLASSES;
	const uint8_t *bytes;
	size_t done = 0;
	int bad = 0;

	if (!content.sequence)
		return -EAGAIN;
	if (content.slot == EMPTY)
		return 0;
	if (at >= cache.slots[class] || content.length > capacity((int)class) ||
	    atomic_load_explicit(&cache.sequences[class][at], memory_order_acquire) != content.sequence)
		return -EAGAIN;
	bytes = cache.bytes[class] + (size_t)at * capacity((int)class);
	for (int i = 0; !bad && i < count && (uint64_t)offset + done < content.length; i++) {
		size_t left = content.length - (size_t)offset - done;
		size_t take = into[i].iov_len < left ? into[i].iov_len : left;

		bad = take ? rc_copy_out(into[i].iov_base, bytes + offset + done, take) : 0;
		if (!bad)
			done += take;
	}
	atomic_thread_fence(memory_order_acquire);
	if (atomic_load_explicit(&cache.sequences[class][at], memory_order_relaxed) != content.sequence)
		return -EAGAIN;
	return bad && !done ? -EFAULT : (ssize_t)done;
}
