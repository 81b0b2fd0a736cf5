/* SPDX-License-Identifier: MIT */
#include "directory.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>

#include "config.h"
#include "layout.h"
#include "protocol.h"
#include "sys.h"

/* ------------------------------------------------------------------------------------------ kept attributes */

enum { KEPT = 4096, NAME = 64, PATHS = 32, WANTED = STATX_BASIC_STATS };

/* A fixed table, replaced in place; a sequence number that is odd while its row is being written. */
static struct kept {
	_Atomic uint32_t sequence;
	uint64_t handle;
	uint32_t fetched_ms;
	char name[NAME];
	struct rc_stat stat;
} *kept;

static struct {
	_Atomic uint32_t sequence;
	uint64_t handle;
	char path[256];
} paths[PATHS];

/* Whether attributes pay: a stat of a name in a directory just read without them says yes, a directory read to its end without
 * any such stat says no. */
static _Atomic int wanted = 1;
static _Atomic uint32_t used;
static _Atomic uint64_t last_plain;		/* the handle last read without attributes */

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

static void keep(uint64_t handle, const struct rc_entry *entry, uint32_t at_ms)
{
	struct kept *row;
	uint32_t before;

	if (!kept || entry->name_length >= NAME)
		return;
	row = &kept[hash(handle, entry->name, entry->name_length) % KEPT];
	before = atomic_load(&row->sequence);
	if ((before & 1) || !atomic_compare_exchange_strong(&row->sequence, &before, before + 1))
		return;
	row->handle = handle;
	row->fetched_ms = at_ms;
	memcpy(row->name, entry->name, entry->name_length);
	row->name[entry->name_length] = '\0';
	row->stat = entry->stat;
	atomic_store(&row->sequence, before + 2);
}

static bool recall(uint64_t handle, const char *name, struct rc_stat *stat)
{
	struct kept *row = &kept[hash(handle, name, strlen(name)) % KEPT];
	uint32_t before = atomic_load(&row->sequence);
	bool same = !(before & 1) && row->handle == handle && !strcmp(row->name, name) &&
		    now_ms() - row->fetched_ms <= (uint32_t)rc_config.max_stale_ms;

	if (same)
		*stat = row->stat;
	atomic_thread_fence(memory_order_acquire);
	return same && atomic_load(&row->sequence) == before;
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

bool rc_attributes_lookup(struct rc_location at, bool follow, unsigned mask, struct rc_stat *stat)
{
	const char *name = at.path, *slash = strrchr(name, '/');
	uint64_t handle = at.directory;

	if (!kept && !atomic_load(&last_plain))
		return false;
	if (!handle && slash) {
		handle = handle_of(name, slash == name ? 1 : (size_t)(slash - name));
		name = slash + 1;
	} else if (slash) {
		return false;
	}
	if (!handle || !*name || !strcmp(name, ".") || !strcmp(name, "..") || (mask & ~(unsigned)WANTED))
		return false;
	if (handle == atomic_load(&last_plain))
		atomic_store(&wanted, 1);
	if (!kept || !recall(handle, name, stat) || (follow && S_ISLNK(stat->mode)))
		return false;
	atomic_fetch_add(&used, 1);
	return true;
}

/* ---------------------------------------------------------------------------------------------- entries */

static int load(struct rc_directory *directory)
{
	unsigned mask = rc_config.max_stale_ms && atomic_load(&wanted) ? WANTED : 0;
	uint32_t asked_ms = now_ms();
	struct rc_entries all;
	struct rc_entry entry;
	int bad;

	if (!directory->buffer)
		directory->buffer = rc_sys_map(RC_LIMIT_MAX_REPLY);
	if (!directory->buffer)
		return -ENOMEM;
	bad = rc_call_readdir(directory->handle, directory->next, 1000, mask, directory->buffer, RC_LIMIT_MAX_REPLY,
			      &directory->entries);
	if (bad)
		return bad;
	directory->loaded = true;
	directory->end = directory->entries.end;
	if (!mask) {
		atomic_store(&last_plain, directory->handle);
		return 0;
	}
	if (!kept)
		kept = rc_sys_map(KEPT * sizeof *kept);
	atomic_store(&used, 0);
	all = directory->entries;
	while (rc_next_entry(&all, &entry))
		if (entry.has_stat)
			keep(directory->handle, &entry, asked_ms);
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
	/* Read with attributes, and nobody asked for one: the next directory goes without. */
	if (directory->loaded && directory->end && kept && !atomic_load(&used))
		atomic_store(&wanted, 0);
	*directory = (struct rc_directory){ 0 };
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
	rc_directory_free(&directory);
	if (at == (uint8_t *)bytes)
		return result;
	rc_sys_lseek(fd, offset, SEEK_SET);
	return at - (uint8_t *)bytes;
}
