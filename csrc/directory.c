/* SPDX-License-Identifier: MIT */
#include "directory.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "layout.h"
#include "protocol.h"
#include "stats.h"
#include "sys.h"
#include "walk_ahead.h"

/* ------------------------------------------------------------------------------------------ kept attributes */

enum { BATCH = 1000, KEPT = 8192, WAYS = 4, NAME = 64, PATHS = 32, READ = 16, WANTED = STATX_BASIC_STATS };

/* A fixed table, replaced in place; a sequence number that is odd while its row is being written. */
static struct kept {
	_Atomic uint32_t sequence;
	uint64_t handle;
	uint32_t fetched_ms;
	char name[NAME];
	bool no_xattrs;
	struct rc_stat stat;
} *kept;

static struct {
	_Atomic uint32_t sequence;
	uint64_t handle;
	char path[256];
} paths[PATHS];

/* Whether attributes pay: a stat of a name in a directory just read without them says yes, another directory's being read when
 * none of the last one's was used says no. */
static _Atomic int wanted = 1;
static _Atomic uint32_t used;
static _Atomic uint64_t last_plain, last_with;	/* the handles last read without, and with */

/* Directories read lately, and how many names of theirs have been asked for in vain since. */
static struct {
	_Atomic uint64_t handle;
	_Atomic uint32_t misses, patience;
} read_lately[READ];
static _Atomic unsigned next_read;

static uint32_t now_ms(void)
{
	return (uint32_t)(rc_sys_monotonic_ns() / 1000000);
}

static uint32_t hash(uint64_t handle, const char *name, size_t length)
{
	uint32_t h = 2166136261u ^ (uint32_t)handle ^ (uint32_t)(handle >> 32);

	for (size_t i = 0; i < length; i++)
		h = (h ^ (uint8_t)name[i]) * 16777619u;
	return h;
}

static bool is_of(const struct kept *row, uint64_t handle, const char *name, size_t length)
{
	return row->handle == handle && !strncmp(row->name, name, length) && !row->name[length];
}

static void keep(uint64_t handle, const struct rc_entry *entry, uint32_t at_ms)
{
	uint32_t at = hash(handle, entry->name, entry->name_length), before;
	struct kept *row = NULL;

	if (!kept || entry->name_length >= NAME)
		return;
	for (uint32_t i = 0; i < WAYS; i++) {		/* its own, else the oldest */
		struct kept *way = &kept[(at + i) % KEPT];

		if (is_of(way, handle, entry->name, entry->name_length)) {
			row = way;
			break;
		}
		if (!row || at_ms - way->fetched_ms > at_ms - row->fetched_ms)
			row = way;
	}
	before = atomic_load(&row->sequence);
	if ((before & 1) || !atomic_compare_exchange_strong(&row->sequence, &before, before + 1))
		return;
	row->handle = handle;
	row->fetched_ms = at_ms;
	memcpy(row->name, entry->name, entry->name_length);
	row->name[entry->name_length] = '\0';
	row->stat = entry->stat;
	row->no_xattrs = entry->flags & RC_ENTRY_NO_XATTRS;
	atomic_store(&row->sequence, before + 2);
}

static bool recall(uint64_t handle, const char *name, struct rc_stat *stat, bool *no_xattrs)
{
	size_t length = strlen(name);
	uint32_t at = hash(handle, name, length);

	for (uint32_t i = 0; kept && length < NAME && i < WAYS; i++) {
		struct kept *row = &kept[(at + i) % KEPT];
		uint32_t before = atomic_load(&row->sequence);
		bool same = !(before & 1) && is_of(row, handle, name, length) &&
			    now_ms() - row->fetched_ms <= (uint32_t)rc_config.max_stale_ms;

		if (same) {
			*stat = row->stat;
			*no_xattrs = row->no_xattrs;
		}
		atomic_thread_fence(memory_order_acquire);
		if (same && atomic_load(&row->sequence) == before)
			return true;
	}
	return false;
}

void rc_attributes_opened(uint64_t handle, const char *server_path)
{
	static _Atomic unsigned next;
	size_t length = strlen(server_path), at;
	uint32_t before;

	while (length > 1 && server_path[length - 1] == '/')
		length--;
	if (length >= sizeof paths[0].path)
		return;
	at = atomic_fetch_add(&next, 1) % PATHS;
	before = atomic_load(&paths[at].sequence);
	if ((before & 1) || !atomic_compare_exchange_strong(&paths[at].sequence, &before, before + 1))
		return;
	paths[at].handle = handle;
	memcpy(paths[at].path, server_path, length);
	paths[at].path[length] = '\0';
	atomic_store(&paths[at].sequence, before + 2);
}

/* The handle that the directory part of `path` was last opened as; RC_NO_HANDLE: none that we know. */
static uint64_t handle_of(const char *path, size_t length)
{
	while (length > 1 && path[length - 1] == '/')
		length--;
	for (size_t i = 0; i < PATHS; i++) {
		uint32_t before = atomic_load(&paths[i].sequence);
		bool same = !(before & 1) && !strncmp(paths[i].path, path, length) && !paths[i].path[length];
		uint64_t handle = paths[i].handle;

		atomic_thread_fence(memory_order_acquire);
		if (same && atomic_load(&paths[i].sequence) == before)
			return handle;
	}
	return RC_NO_HANDLE;
}

static void fetch_all(uint64_t handle);

/* A program that goes through the names of a directory asks for them all in the end: once it has asked for some, they come together. */
static void missed(uint64_t handle)
{
	for (int i = 0; i < READ; i++) {
		if (atomic_load(&read_lately[i].handle) != handle)
			continue;
		if (atomic_fetch_add(&read_lately[i].misses, 1) + 1 < atomic_load(&read_lately[i].patience))
			return;
		atomic_store(&read_lately[i].misses, 0);
		atomic_store(&read_lately[i].patience, 8 * atomic_load(&read_lately[i].patience));
		fetch_all(handle);
		return;
	}
}

static void read_now(uint64_t handle)
{
	unsigned at;

	for (int i = 0; i < READ; i++)
		if (atomic_load(&read_lately[i].handle) == handle)
			return;
	at = atomic_fetch_add(&next_read, 1) % READ;
	atomic_store(&read_lately[at].handle, handle);
	atomic_store(&read_lately[at].misses, 0);
	atomic_store(&read_lately[at].patience, 2);
}

/* After a use: the next time that they're too old, they come together at once again. */
static void was_useful(uint64_t handle)
{
	for (int i = 0; i < READ; i++)
		if (atomic_load(&read_lately[i].handle) == handle)
			atomic_store(&read_lately[i].patience, 2);
	atomic_fetch_add(&used, 1);
}

static bool look_up(struct rc_location at, bool follow, struct rc_stat *stat, bool *no_xattrs)
{
	const char *name = at.path, *slash = strrchr(name, '/');
	uint64_t handle = at.directory;
	bool found;

	if (!atomic_load(&last_with) && !atomic_load(&last_plain))
		return false;
	if (!handle && slash) {
		handle = handle_of(name, slash == name ? 1 : (size_t)(slash - name));
		name = slash + 1;
	} else if (slash) {
		return false;
	}
	if (!handle || !*name || !strcmp(name, ".") || !strcmp(name, ".."))
		return false;
	if (handle == atomic_load(&last_plain))
		atomic_store(&wanted, 1);
	found = recall(handle, name, stat, no_xattrs);
	if (!found && rc_config.max_stale_ms) {
		missed(handle);
		found = recall(handle, name, stat, no_xattrs);
	}
	if (!found || (follow && S_ISLNK(stat->mode)))
		return false;
	was_useful(handle);
	return true;
}

bool rc_attributes_lookup(struct rc_location at, bool follow, unsigned mask, struct rc_stat *stat)
{
	bool no_xattrs;

	if (mask & ~(unsigned)WANTED || !look_up(at, follow, stat, &no_xattrs))
		return false;
	rc_count(RC_COUNT_FROM_LISTING, 1);
	return true;
}

bool rc_attributes_no_xattrs(struct rc_location at, bool follow, const char *name)
{
	static const char *const spaces[] = { "security.", "system.posix_acl_", "trusted.", "user." };
	struct rc_stat stat;
	bool no_xattrs = false, known = !name;

	for (size_t i = 0; !known && i < sizeof spaces / sizeof *spaces; i++)
		known = !strncmp(name, spaces[i], strlen(spaces[i]));
	if (!known || !look_up(at, follow, &stat, &no_xattrs) || !no_xattrs || S_ISLNK(stat.mode))
		return false;
	rc_count(RC_COUNT_FROM_LISTING, 1);
	return true;
}

/* ---------------------------------------------------------------------------------------------- entries */

static void keep_all(uint64_t handle, struct rc_entries entries, uint32_t asked_ms)
{
	struct rc_entry entry;

	if (!kept) {
		struct kept *made = rc_sys_map(KEPT * sizeof *kept);

		if (made && !__sync_bool_compare_and_swap(&kept, NULL, made))
			RC_SYS(SYS_munmap, made, KEPT * sizeof *kept, 0, 0, 0, 0);
	}
	while (rc_next_entry(&entries, &entry))
		if (entry.has_stat)
			keep(handle, &entry, asked_ms);
}

static void fetch_all(uint64_t handle)
{
	void *buffer = rc_sys_map(RC_LIMIT_MAX_REPLY);
	uint32_t asked_ms = now_ms();
	struct rc_entries entries;

	if (!buffer)
		return;
	if (rc_call_readdir(handle, 0, BATCH, WANTED, buffer, RC_LIMIT_MAX_REPLY, &entries) == 0)
		keep_all(handle, entries, asked_ms);
	RC_SYS(SYS_munmap, buffer, RC_LIMIT_MAX_REPLY, 0, 0, 0, 0);
}

static int load(struct rc_directory *directory)
{
	uint64_t before = atomic_load(&last_with);
	uint32_t asked_ms = now_ms(), age_ms;
	unsigned mask;
	size_t came;
	int bad;

	if (before && before != directory->handle && !atomic_exchange(&used, 0))
		atomic_store(&wanted, 0);
	mask = rc_config.max_stale_ms && atomic_load(&wanted) ? WANTED : 0;
	if (!directory->buffer)
		directory->buffer = rc_sys_map(RC_LIMIT_MAX_REPLY);
	if (!directory->buffer)
		return -ENOMEM;
	came = directory->next ? 0 : rc_walk_listing(directory->handle, directory->buffer, RC_LIMIT_MAX_REPLY, &age_ms);
	if (came) {
		bad = rc_call_take_entries(directory->buffer, came, &directory->entries);
		asked_ms -= age_ms;
		mask = WANTED;
	} else {
		bad = rc_call_readdir(directory->handle, directory->next, BATCH, mask, directory->buffer, RC_LIMIT_MAX_REPLY,
				      &directory->entries);
	}
	if (bad)
		return bad;
	if (!came && !directory->next)
		rc_walk_listed(directory->handle, directory->entries);
	directory->loaded = true;
	directory->end = directory->entries.end;
	read_now(directory->handle);
	atomic_store(mask ? &last_with : &last_plain, directory->handle);
	if (mask)
		keep_all(directory->handle, directory->entries, asked_ms);
	else
		atomic_store(&last_with, 0);
	return 0;
}

int rc_directory_next(struct rc_directory *directory, struct rc_entry *entry)
{
	for (;;) {
		int bad;

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

/* Where a directory was seen to end: who reads it to its end by getdents64 asks once more after the last entry. */
static struct {
	_Atomic uint32_t sequence;
	uint64_t handle;
	int64_t offset;
	uint32_t seen_ms;
} ends[READ];

static void note_end(uint64_t handle, int64_t offset)
{
	unsigned at = hash(handle, "", 0) % READ;
	uint32_t before = atomic_load(&ends[at].sequence);

	if ((before & 1) || !atomic_compare_exchange_strong(&ends[at].sequence, &before, before + 1))
		return;
	ends[at].handle = handle;
	ends[at].offset = offset;
	ends[at].seen_ms = now_ms();
	atomic_store(&ends[at].sequence, before + 2);
}

static bool ends_at(uint64_t handle, int64_t offset)
{
	unsigned at = hash(handle, "", 0) % READ;
	uint32_t before = atomic_load(&ends[at].sequence);
	bool same = !(before & 1) && ends[at].handle == handle && ends[at].offset == offset && offset &&
		    now_ms() - ends[at].seen_ms < (uint32_t)rc_config.max_stale_ms;

	atomic_thread_fence(memory_order_acquire);
	return same && atomic_load(&ends[at].sequence) == before;
}

ssize_t rc_directory_records(const struct rc_description *d, int fd, bool old, bool narrow, void *bytes, size_t size)
{
	struct rc_directory directory = { .handle = d->handle };
	uint8_t *at = bytes, *end = at + size;
	int64_t offset = rc_sys_lseek(fd, 0, SEEK_CUR);
	struct rc_entry entry;
	int result;

	if (d->kind != RC_KIND_DIRECTORY)
		return d->kind == RC_KIND_PATH ? -EBADF : -ENOTDIR;
	if (ends_at(d->handle, offset)) {
		rc_count(RC_COUNT_FROM_LISTING, 1);
		return 0;
	}
	rc_directory_seek(&directory, offset);
	while ((result = rc_directory_next(&directory, &entry)) > 0) {
		int length = rc_layout_entry(&entry, old, narrow, at, (size_t)(end - at));

		if (length <= 0) {
			result = length ? length : -EINVAL;
			break;
		}
		at += length;
		offset = entry.offset;
	}
	if (!result)
		note_end(d->handle, offset);
	rc_directory_free(&directory);
	if (at == (uint8_t *)bytes)
		return result;
	rc_sys_lseek(fd, offset, SEEK_SET);
	return at - (uint8_t *)bytes;
}
