/* SPDX-License-Identifier: MIT */
#include "directory.h"

#include <errno.h>
#include <stdatomic.h>

#include "layout.h"
#include "lookup.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"
#include "walk_ahead.h"

/* --------------------------------------------------------------------------------------------- attributes */

enum { FIRST_PAGE = 1000, LARGEST_PAGE = 8000, READ = 16, WANTED = STATX_BASIC_STATS };

/* Whether attributes pay: a stat of a name in a directory just read without them says yes, another directory's being read when
 * none of the last one's was used says no. */
static _Atomic int wanted = 1;
static _Atomic uint32_t used;
static _Atomic uint32_t last_plain, last_with;	/* the marks of the handles last read without, and with */

/* Directories read lately, and how many names of theirs have been asked for in vain since. */
static struct {
	_Atomic uint32_t mark, misses, patience;
} read_lately[READ];
static _Atomic unsigned next_read;

/* A handle in 32 bits, for guesses that may err: not every machine loads 64 at once.  0: none. */
static uint32_t mark_of(uint64_t handle)
{
	return (uint32_t)handle ^ (uint32_t)(handle >> 32) * 0x9e3779b1u;
}

static void fetch_all(uint64_t handle);

/* A program that goes through the names of a directory asks for them all in the end: once it has asked for some, they come together. */
bool rc_directory_missed(uint64_t handle)
{
	if (mark_of(handle) == atomic_load(&last_plain))
		atomic_store(&wanted, 1);
	for (int i = 0; i < READ; i++) {
		if (atomic_load(&read_lately[i].mark) != mark_of(handle))
			continue;
		if (atomic_fetch_add(&read_lately[i].misses, 1) + 1 < atomic_load(&read_lately[i].patience))
			return false;
		atomic_store(&read_lately[i].misses, 0);
		atomic_store(&read_lately[i].patience, 8 * atomic_load(&read_lately[i].patience));
		fetch_all(handle);
		return true;
	}
	return false;
}

bool rc_directory_is_listed(uint64_t handle)
{
	for (int i = 0; i < READ; i++)
		if (atomic_load(&read_lately[i].mark) == mark_of(handle))
			return true;
	return false;
}

static void read_now(uint64_t handle)
{
	unsigned at;

	if (rc_directory_is_listed(handle))
		return;
	at = atomic_fetch_add(&next_read, 1) % READ;
	atomic_store(&read_lately[at].mark, mark_of(handle));
	atomic_store(&read_lately[at].misses, 0);
	atomic_store(&read_lately[at].patience, 2);
}

/* After a use: the next time that they're too old, they come together at once again. */
void rc_directory_found(uint64_t handle)
{
	for (int i = 0; i < READ; i++)
		if (atomic_load(&read_lately[i].mark) == mark_of(handle))
			atomic_store(&read_lately[i].patience, 2);
	atomic_fetch_add(&used, 1);
}

/* ---------------------------------------------------------------------------------------------- entries */

static void keep_all(uint64_t handle, struct rc_entries entries, uint32_t asked_ms)
{
	struct rc_entry entry;

	while (rc_next_entry(&entries, &entry))
		rc_lookup_listed(handle, &entry, asked_ms);
}

static void fetch_all(uint64_t handle)
{
	void *buffer = rc_sys_map(RC_LIMIT_MAX_REPLY);
	uint32_t asked_ms = rc_cache_now();
	struct rc_entries entries;

	if (!buffer)
		return;
	if (rc_call_readdir(handle, 0, FIRST_PAGE, WANTED, buffer, RC_LIMIT_MAX_REPLY, &entries) == 0)
		keep_all(handle, entries, asked_ms);
	RC_SYS(SYS_munmap, buffer, RC_LIMIT_MAX_REPLY, 0, 0, 0, 0);
}

static int load(struct rc_directory *directory)
{
	uint32_t before = atomic_load(&last_with);
	unsigned count = directory->wanted ? directory->wanted : FIRST_PAGE, mask;
	uint32_t age_ms;
	size_t came;
	int bad;

	if (before && before != mark_of(directory->handle) && !atomic_exchange(&used, 0))
		atomic_store(&wanted, 0);
	mask = rc_cache_on() && atomic_load(&wanted) ? WANTED : 0;
	if (!directory->buffer)
		directory->buffer = rc_sys_map(RC_LIMIT_MAX_REPLY);
	if (!directory->buffer)
		return -ENOMEM;
	directory->asked_ms = rc_cache_now();
	came = directory->next ? 0 : rc_walk_listing(directory->handle, directory->buffer, RC_LIMIT_MAX_REPLY, &age_ms);
	if (came) {
		bad = rc_call_take_entries(directory->buffer, came, &directory->entries);
		directory->asked_ms -= age_ms;
		mask = WANTED;
	} else {
		/* Who reads on reads it all: the further he has come, the fewer round trips are to go. */
		directory->wanted = 2 * count < LARGEST_PAGE ? 2 * count : LARGEST_PAGE;
		bad = rc_call_readdir(directory->handle, directory->next, count, mask, directory->buffer, RC_LIMIT_MAX_REPLY,
				      &directory->entries);
		if (!bad && !directory->entries.end && directory->entries.rest.at == directory->entries.rest.end)
			return -EPROTO;		/* one would ask for ever */
	}
	if (bad)
		return bad;
	if (!came && !directory->next)
		rc_walk_listed(directory->handle, directory->entries);
	directory->loaded = true;
	directory->end = directory->entries.end;
	read_now(directory->handle);
	atomic_store(mask ? &last_with : &last_plain, mark_of(directory->handle));
	if (mask)
		keep_all(directory->handle, directory->entries, directory->asked_ms);
	else
		atomic_store(&last_with, 0);
	return 0;
}

int rc_directory_next(struct rc_directory *directory, struct rc_entry *entry)
{
	for (;;) {
		int bad;

		directory->taken = directory->entries.rest.at;
		directory->taken_next = directory->next;
		if (directory->loaded && rc_next_entry(&directory->entries, entry)) {
			directory->next = entry->offset;
			return 1;
		}
		if (directory->loaded && directory->entries.rest.failed)
			return -EPROTO;
		if (directory->loaded && directory->end)
			return 0;
		bad = load(directory);
		if (bad)
			return bad;
	}
}

void rc_directory_put_back(struct rc_directory *directory)
{
	directory->entries.rest.at = directory->taken;
	directory->next = directory->taken_next;
}

void rc_directory_seek(struct rc_directory *directory, int64_t offset)
{
	directory->next = offset;
	directory->loaded = false;
	directory->end = false;
}

void rc_directory_free(struct rc_directory *directory)
{
	if (directory->buffer)
		RC_SYS(SYS_munmap, directory->buffer, RC_LIMIT_MAX_REPLY, 0, 0, 0, 0);
	*directory = (struct rc_directory){ 0 };
}

/* ---------------------------------------------------------------------------------------------------- records */

/* What is left of the pages that the last calls of getdents64 took from, for the next ones. */
enum { KEPT = 4, BUSY = 1 };
static struct {
	_Atomic int state;		/* 0 or BUSY; nobody waits for one that is */
	struct rc_directory directory;
} kept[KEPT];
static _Atomic unsigned next_kept;

static struct rc_directory take_kept(uint64_t handle, int64_t offset)
{
	struct rc_directory found = { .handle = handle };

	for (int i = 0; offset && i < KEPT && !found.buffer; i++) {
		struct rc_directory *directory = &kept[i].directory;

		if (atomic_exchange(&kept[i].state, BUSY))
			continue;
		if (directory->handle == handle && directory->next == offset) {
			found = *directory;
			*directory = (struct rc_directory){ 0 };
		}
		atomic_store(&kept[i].state, 0);
	}
	if (!found.buffer || !rc_cache_fresh(found.asked_ms))
		rc_directory_seek(&found, offset);
	return found;
}

static void keep(struct rc_directory *directory)
{
	unsigned at = 0;

	while (at < KEPT && kept[at].directory.handle)
		at++;
	if (at == KEPT)
		at = atomic_fetch_add(&next_kept, 1) % KEPT;
	if (!rc_cache_on() || atomic_exchange(&kept[at].state, BUSY)) {
		rc_directory_free(directory);
		return;
	}
	rc_directory_free(&kept[at].directory);
	kept[at].directory = *directory;
	atomic_store(&kept[at].state, 0);
}

/* Where a directory was seen to end: who reads it to its end by getdents64 asks once more after the last entry. */
static void note_end(uint64_t handle, int64_t offset, uint32_t asked_ms)
{
	struct rc_fact fact = { .asked_ms = asked_ms, .number = (uint64_t)offset };

	if (rc_cache_on())
		rc_cache_keep(rc_cache_key_of(handle), RC_FACT_END, &fact);
}

static bool ends_at(uint64_t handle, int64_t offset)
{
	struct rc_fact fact;

	return offset && rc_cache_on() && rc_cache_find(rc_cache_key_of(handle), RC_FACT_END, &fact) &&
	       rc_cache_fresh(fact.asked_ms) && fact.number == (uint64_t)offset;
}

ssize_t rc_directory_records(const struct rc_description *d, int fd, bool old, bool narrow, void *bytes, size_t size)
{
	uint8_t *at = bytes, *end = at + size;
	int64_t offset = rc_sys_lseek(fd, 0, SEEK_CUR);
	uint32_t asked_ms = rc_cache_now();
	struct rc_directory directory;
	struct rc_entry entry;
	bool more = false;
	int result;

	if (d->kind != RC_KIND_DIRECTORY)
		return d->kind == RC_KIND_PATH ? -EBADF : -ENOTDIR;
	if (ends_at(d->handle, offset)) {
		rc_count(RC_COUNT_FROM_LISTING, 1);
		return 0;
	}
	directory = take_kept(d->handle, offset);
	while ((result = rc_directory_next(&directory, &entry)) > 0) {
		int length = rc_layout_entry(&entry, old, narrow, at, (size_t)(end - at));

		if (length <= 0) {
			result = length ? length : -EINVAL;
			rc_directory_put_back(&directory);
			more = true;
			break;
		}
		at += length;
		offset = entry.offset;
	}
	if (!result)
		note_end(d->handle, offset, asked_ms);
	if (more)
		keep(&directory);
	else
		rc_directory_free(&directory);
	if (at == (uint8_t *)bytes)
		return result;
	rc_sys_lseek(fd, offset, SEEK_SET);
	return at - (uint8_t *)bytes;
}
