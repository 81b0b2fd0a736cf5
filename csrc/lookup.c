/* SPDX-License-Identifier: MIT */
#include "lookup.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "directory.h"
#include "stats.h"
#include "sys.h"
#include "walk_ahead.h"

/* -------------------------------------------------------------------------------------------------- places */

struct place {
	struct rc_location at;
	struct rc_key own, parent;
	const char *name;		/* the last component; "" where it's no plain name */
	size_t length;
};

static bool is_word(const char *at, size_t length, const char *word)
{
	return strlen(word) == length && !memcmp(at, word, length);
}

/* Whether a component leads, from the root, to what no file system keeps; but for /dev/shm, which is one of memory. */
static bool is_made_up(const char *at, size_t length)
{
	bool shm = !strncmp(at + length, "/shm/", 5) && !strstr(at, "..");

	return is_word(at, length, "proc") || is_word(at, length, "sys") || (is_word(at, length, "dev") && !shm);
}

/* False: nothing about it is kept. */
static bool find_place(struct rc_location at, int flags, struct place *place)
{
	const char *path = at.path;
	bool absolute = *path == '/' || at.directory == RC_NO_HANDLE, from_root = absolute;

	if (!*path || flags & (AT_EMPTY_PATH | AT_STATX_FORCE_SYNC) || !rc_cache_on())
		return false;
	*place = (struct place){ .at = at, .own = rc_cache_key_of(absolute ? RC_NO_HANDLE : at.directory), .name = "" };
	while (*path == '/')
		path++;
	while (*path) {
		size_t length = strcspn(path, "/");
		bool last = !path[length], up = is_word(path, length, "..");

		if (from_root && is_made_up(path, length))
			return false;
		place->parent = place->own;
		if (last || !is_word(path, length, ".")) {
			place->own = rc_cache_key_in(place->own, path, length);
			from_root = from_root && is_word(path, length, ".") ? from_root : absolute && up;
		}
		if (last) {
			place->name = up || is_word(path, length, ".") ? "" : path;
			place->length = length;
			return true;
		}
		while (path[length] == '/')
			length++;
		path += length;
	}
	place->own = rc_cache_key_in(place->own, "", 0);	/* the root, or with a slash at its end: a directory */
	return true;
}

/* ------------------------------------------------------------------------------------------- what is kept */

static unsigned stat_kind(int flags)
{
	return flags & AT_SYMLINK_NOFOLLOW ? RC_FACT_LSTAT : RC_FACT_STAT;
}

static void keep_stat(const struct place *place, unsigned kind, uint32_t asked_ms, const struct rc_stat *stat)
{
	struct rc_fact fact = { .asked_ms = asked_ms, .stat = *stat };

	if (rc_cache_keeps(stat))
		rc_cache_keep(place->own, kind, &fact);
}

static void keep_missing(const struct place *place, unsigned kind, uint32_t asked_ms, int error)
{
	struct rc_fact fact = { .asked_ms = asked_ms, .error = error };

	if (error == -ENOENT || error == -ENOTDIR)
		rc_cache_keep(place->own, kind, &fact);
}

void rc_lookup_listed(uint64_t directory, const struct rc_entry *entry, uint32_t asked_ms)
{
	struct place place = { .own = rc_cache_key_in(rc_cache_key_of(directory), entry->name, entry->name_length) };
	struct rc_fact fact = { .asked_ms = asked_ms, .stat = entry->stat, .flags = RC_FACT_LISTED };

	if (entry->flags & RC_ENTRY_NO_XATTRS)
		fact.flags |= RC_FACT_NO_XATTRS;
	if (entry->has_stat && rc_cache_keeps(&entry->stat))
		rc_cache_keep(place.own, RC_FACT_LSTAT, &fact);
}

/* ---------------------------------------------------------------------------------------------- recalling */

static bool find_fresh(struct rc_key key, unsigned kind, struct rc_fact *fact)
{
	return rc_cache_find(key, kind, fact) && rc_cache_fresh(fact->asked_ms);
}

/* Attributes or an error, as lstat or stat would say. */
static bool find_status(struct rc_key key, unsigned kind, struct rc_fact *fact)
{
	struct rc_fact other;
	bool is_new = find_fresh(key, RC_FACT_STAT, &other), found = find_fresh(key, RC_FACT_LSTAT, fact);

	/* What was there when it was last asked about was so for lstat too. */
	if (found && is_new && (int32_t)(other.asked_ms - fact->asked_ms) > 0 && (kind == RC_FACT_STAT || fact->error))
		found = false;
	if (kind == RC_FACT_LSTAT || (found && (fact->error || !S_ISLNK(fact->stat.mode))))
		return found;
	*fact = other;
	return is_new;
}

/* That the path still is the directory that the handle stands for: one question instead of one for each of its names. */
static bool confirm(const struct place *place, struct rc_fact *directory)
{
	uint32_t asked_ms = rc_cache_now();
	char path[RC_PATH_MAX];
	size_t length = (size_t)(place->name - place->at.path);
	struct rc_stat stat;

	if (asked_ms - directory->asked_ms > RC_CONFIRM_MS || length >= sizeof path || !rc_directory_is_listed(directory->number))
		return false;
	memcpy(path, place->at.path, length);
	path[length] = '\0';
	if (rc_call_stat((struct rc_location){ place->at.directory, path }, 0, STATX_BASIC_STATS, &stat) ||
	    stat.ino != directory->stat.ino || stat.dev_major != directory->stat.dev_major ||
	    stat.dev_minor != directory->stat.dev_minor)
		return false;
	directory->asked_ms = asked_ms;
	rc_cache_keep(place->parent, RC_FACT_DIRECTORY, directory);
	return true;
}

/* The handle that the directory part of the path was opened as a moment ago; RC_NO_HANDLE: none that we know. */
static uint64_t opened_parent(const struct place *place)
{
	struct rc_fact fact;

	if (!*place->name)
		return RC_NO_HANDLE;
	if (place->at.directory != RC_NO_HANDLE && place->name == place->at.path)
		return place->at.directory;
	if (!rc_cache_find(place->parent, RC_FACT_DIRECTORY, &fact))
		return RC_NO_HANDLE;
	return rc_cache_fresh(fact.asked_ms) || confirm(place, &fact) ? fact.number : RC_NO_HANDLE;
}

/* What is known of the file, by its path or by what its directory was opened as. */
static bool recall(const struct place *place, int flags, struct rc_fact *fact)
{
	unsigned kind = stat_kind(flags);
	struct rc_key key;
	uint64_t handle;

	if (find_status(place->own, kind, fact)) {
		if (fact->flags & RC_FACT_LISTED)
			rc_directory_found(place->at.directory);
		return true;
	}
	handle = opened_parent(place);
	if (handle == RC_NO_HANDLE)
		return false;
	key = rc_cache_key_in(rc_cache_key_of(handle), place->name, place->length);
	if (!find_status(key, kind, fact) && !(rc_directory_missed(handle) && find_status(key, kind, fact)))
		return false;
	rc_directory_found(handle);
	return true;
}

static void count(const struct rc_fact *fact)
{
	rc_count(fact->error ? RC_COUNT_KNOWN_MISSING
		 : fact->flags & RC_FACT_LISTED ? RC_COUNT_FROM_LISTING : RC_COUNT_REMEMBERED, 1);
}

/* The answer to a question of whatever kind about a file that is known to be missing; 0: it isn't. */
static int known_missing(const struct place *place, int flags)
{
	struct rc_fact fact;

	if (!find_status(place->own, stat_kind(flags), &fact) || !fact.error)
		return 0;
	count(&fact);
	return fact.error;
}

/* The same, by what was kept or by a listing. */
static int surely_missing(const struct place *place, int flags)
{
	uint32_t asked_ms;
	int result = known_missing(place, flags);

	if (result)
		return result;
	result = rc_walk_missing(place->at, &asked_ms);
	if (result)
		keep_missing(place, stat_kind(flags), asked_ms, result);
	return result;
}

/* The server has said so. */
static void note_missing(const struct place *place, int flags, uint32_t asked_ms, int error)
{
	keep_missing(place, stat_kind(flags), asked_ms, error);
	if (error == -ENOENT)
		rc_walk_asked(place->at);
}

/* --------------------------------------------------------------------------------------------------- rooms */

/* For replies with a file's content, before they are known to be worth keeping: a few stay mapped. */
enum { ROOMS = 4 };
static _Atomic uintptr_t rooms[ROOMS];

static void *take_room(void)
{
	for (int i = 0; i < ROOMS; i++) {
		uintptr_t room = atomic_load(&rooms[i]) ? atomic_exchange(&rooms[i], 0) : 0;

		if (room)
			return (void *)room;
	}
	return rc_sys_map(RC_OPEN_ROOM);
}

static void leave_room(void *room)
{
	for (int i = 0; room && i < ROOMS; i++) {
		uintptr_t none = 0;

		if (atomic_compare_exchange_strong(&rooms[i], &none, (uintptr_t)room))
			return;
	}
	if (room)
		RC_SYS(SYS_munmap, room, RC_OPEN_ROOM, 0, 0, 0, 0);
}

/* --------------------------------------------------------------------------------------------------- calls */

static bool same_time(struct rc_time a, struct rc_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

static bool same_file(const struct rc_stat *a, const struct rc_stat *b)
{
	return a->ino == b->ino && a->dev_major == b->dev_major && a->dev_minor == b->dev_minor && a->size == b->size &&
	       same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

/* Keeps what has come, for this description and (`place`) for the next who opens it. */
static void keep_opened(const struct place *place, int flags, const struct rc_opened *opened, const struct rc_fact *before,
			struct rc_known *known)
{
	struct rc_fact fact = { .asked_ms = known->asked_ms, .stat = opened->stat };

	known->lease = opened->lease;
	if (opened->kind == RC_KIND_STREAM || !rc_cache_keeps(&opened->stat))
		return;
	known->there = true;
	known->stat = opened->stat;
	known->content_asked_ms = known->asked_ms;
	if (opened->kind == RC_KIND_POSITIONED && opened->prefetched == opened->stat.size)
		known->content = rc_cache_keep_content(opened->data, opened->prefetched);
	if (before && same_file(&before->stat, &opened->stat)) {
		known->content = before->content;
		known->content_asked_ms = before->asked_ms;
		known->lease.held = false;		/* which is younger than that content */
		rc_count(RC_COUNT_SAME_CONTENT, 1);
	}
	if (!rc_cache_on())
		return;
	fact.number = opened->handle;
	fact.content = known->content;
	if (!(flags & O_PATH)) {
		struct rc_fact by_handle = fact;

		by_handle.asked_ms = known->content_asked_ms;
		rc_cache_keep(rc_cache_key_of(opened->handle), RC_FACT_OPENED, &by_handle);
	}
	if (!place)
		return;
	if (!(flags & O_PATH))
		keep_stat(place, stat_kind(flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0), known->asked_ms, &opened->stat);
	if (opened->kind == RC_KIND_DIRECTORY) {
		fact.flags = RC_FACT_CONFIRMABLE;
		rc_cache_keep(place->own, RC_FACT_DIRECTORY, &fact);
	} else if (known->content.sequence && !before) {
		rc_cache_keep(place->own, RC_FACT_OPENED, &fact);
	}
}

int rc_lookup_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, struct rc_opened *opened,
		   struct rc_known *known)
{
	int at_flags = flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0, result;
	bool takes = (rc_cache_on() || rc_lease_wish()) && !(flags & (O_ACCMODE | O_PATH)), keyed;
	struct rc_fact before;
	struct place place;
	void *room = NULL;

	keyed = !resolve && find_place(at, at_flags, &place);
	known->there = known->lease.held = false;
	known->content.sequence = 0;
	result = keyed && !(flags & O_CREAT) ? surely_missing(&place, at_flags) : 0;
	if (result)
		return result;
	known->asked_ms = rc_cache_now();
	/* What is about to be too old isn't counted on. */
	if (!takes || flags & O_DIRECTORY || !keyed || !rc_cache_find(place.own, RC_FACT_OPENED, &before) ||
	    known->asked_ms - before.asked_ms > (uint32_t)rc_config.max_stale_ms / 2 ||
	    rc_cache_read(before.content, NULL, 0, 0) < 0)
		before.content.sequence = 0;
	if (takes && !before.content.sequence)
		room = take_room();
	result = rc_walk_open(at, flags, mode, resolve, room, room ? RC_OPEN_ROOM : 0, opened);
	known->asked_ms -= opened->age_ms;
	if (!result && (rc_cache_on() || opened->lease.held))
		keep_opened(keyed ? &place : NULL, flags, opened, before.content.sequence ? &before : NULL, known);
	else if (result && keyed && !(flags & (O_CREAT | O_DIRECTORY)))	/* which may be no directory, but there */
		note_missing(&place, at_flags, known->asked_ms, result);
	opened->data = NULL;
	leave_room(room);
	return result;
}

void rc_lookup_known(uint64_t handle, struct rc_known *known)
{
	struct rc_fact fact;

	known->lease.held = false;
	known->there = handle != RC_NO_HANDLE && rc_cache_on() && rc_cache_find(rc_cache_key_of(handle), RC_FACT_OPENED, &fact);
	if (!known->there)
		return;
	known->asked_ms = known->content_asked_ms = fact.asked_ms;
	known->stat = fact.stat;
	known->content = fact.content;
}

ssize_t rc_known_read(const struct rc_known *known, const struct iovec *into, int count, int64_t offset)
{
	ssize_t got = -EAGAIN;

	if (!known->there)
		return -EAGAIN;
	if (S_ISREG(known->stat.mode) && offset >= (int64_t)known->stat.size && rc_cache_fresh(known->asked_ms))
		got = 0;
	else if (known->content.sequence && (rc_cache_fresh(known->content_asked_ms) || rc_lease_holds(&known->lease)))
		got = rc_cache_read(known->content, into, count, offset);
	if (got >= 0)
		rc_count(RC_COUNT_FROM_OPEN, 1);
	return got;
}

int rc_lookup_stat(struct rc_location at, int flags, unsigned mask, struct rc_stat *stat)
{
	struct place place;
	struct rc_fact fact;
	bool keyed = find_place(at, flags, &place);
	uint32_t asked_ms;
	int result;

	if (keyed && recall(&place, flags, &fact) && (fact.error || !(mask & ~fact.stat.mask))) {
		count(&fact);
		*stat = fact.stat;
		stat->mask &= ~STATX_BTIME | mask;	/* a file system tells it only when asked */
		return fact.error;
	}
	result = keyed ? rc_walk_stat(at, !(flags & AT_SYMLINK_NOFOLLOW), mask, stat, &asked_ms) : -EAGAIN;
	if (result == -EAGAIN || (!result && !rc_cache_keeps(stat))) {
		asked_ms = rc_cache_now();
		result = rc_call_stat(at, flags, keyed ? mask | STATX_BASIC_STATS : mask, stat);
	}
	if (keyed && !result)
		keep_stat(&place, stat_kind(flags), asked_ms, stat);
	else if (keyed)
		keep_missing(&place, stat_kind(flags), asked_ms, result);
	return result;
}

int rc_lookup_access(struct rc_location at, int mode, int flags)
{
	unsigned kind = RC_FACT_ACCESS | (unsigned)(mode | (flags & AT_EACCESS ? 8 : 0) | (flags & AT_SYMLINK_NOFOLLOW ? 16 : 0)) << 8;
	struct rc_fact status, fact = { 0 };
	struct place place;
	bool sound = !(mode & ~(R_OK | W_OK | X_OK)) && !(flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW));
	bool keyed = sound && find_place(at, flags, &place), known = keyed && recall(&place, flags, &status);

	if (known && (status.error || mode == F_OK)) {
		count(&status);
		return status.error;
	}
	if (known && find_fresh(place.own, kind, &fact)) {
		rc_count(RC_COUNT_REMEMBERED, 1);
		return fact.error;
	}
	fact = (struct rc_fact){ .asked_ms = rc_cache_now() };
	fact.error = keyed && !known ? surely_missing(&place, flags) : 0;
	if (fact.error)
		return fact.error;
	fact.error = rc_call_access(at, mode, flags);
	if (known && (!fact.error || fact.error == -EACCES || fact.error == -EROFS))
		rc_cache_keep(place.own, kind, &fact);
	else if (keyed)
		note_missing(&place, flags, fact.asked_ms, fact.error);
	return fact.error;
}

static ssize_t copy_target(char *target, size_t size, const char *from, size_t length)
{
	if (length < size)
		size = length;
	memcpy(target, from, size);
	return (ssize_t)size;
}

ssize_t rc_lookup_readlink(struct rc_location at, char *target, size_t size)
{
	struct rc_fact status, fact;
	char whole[RC_LIMIT_MAX_PATH];
	struct place place;
	bool keyed = find_place(at, 0, &place), known = keyed && recall(&place, AT_SYMLINK_NOFOLLOW, &status);
	ssize_t length;

	if (known && (status.error || !S_ISLNK(status.stat.mode))) {
		count(&status);
		return status.error ? status.error : -EINVAL;
	}
	if (known && find_fresh(place.own, RC_FACT_TARGET, &fact) && fact.target.length <= sizeof fact.target.bytes) {
		rc_count(RC_COUNT_REMEMBERED, 1);
		return copy_target(target, size, fact.target.bytes, fact.target.length);
	}
	fact = (struct rc_fact){ .asked_ms = rc_cache_now() };
	length = rc_call_readlink(at, whole, sizeof whole);
	if (length < 0) {
		if (keyed)
			keep_missing(&place, RC_FACT_LSTAT, fact.asked_ms, (int)length);
		return length;
	}
	if (known && (size_t)length <= sizeof fact.target.bytes) {
		fact.target.length = (uint32_t)length;
		memcpy(fact.target.bytes, whole, (size_t)length);
		rc_cache_keep(place.own, RC_FACT_TARGET, &fact);
	}
	return copy_target(target, size, whole, (size_t)length);
}

/* ------------------------------------------------------------------------------------- extended attributes */

/* Whether READDIR's word that a file has none covers the name (NULL: all of them). */
static bool is_listed_name(const char *name)
{
	static const char *const spaces[] = { "security.", "system.posix_acl_", "trusted.", "user." };

	for (size_t i = 0; name && i < sizeof spaces / sizeof *spaces; i++)
		if (!strncmp(name, spaces[i], strlen(spaces[i])))
			return true;
	return !name;
}

struct xattr {
	bool keyed, known;		/* known: and the file's attributes are kept, so that this may be, too */
	struct rc_key key;
	struct place place;
	uint32_t asked_ms;
	unsigned kind;
};

/* True: *error is the answer.  `name`: NULL where all are asked for. */
static bool recall_xattr(struct xattr *x, struct rc_location at, int flags, const char *name, int *error)
{
	struct rc_fact fact;

	x->asked_ms = rc_cache_now();
	x->kind = RC_FACT_XATTR | (unsigned)(flags & AT_SYMLINK_NOFOLLOW);
	x->keyed = find_place(at, flags, &x->place);
	x->known = x->keyed && recall(&x->place, flags, &fact);
	if (!x->known)
		return false;
	*error = fact.error ? fact.error : name ? -ENODATA : 0;
	if (fact.error || (fact.flags & RC_FACT_NO_XATTRS && !S_ISLNK(fact.stat.mode) && is_listed_name(name))) {
		count(&fact);
		return true;
	}
	x->key = rc_cache_key_in(x->place.own, name ? name : "", name ? strlen(name) : 0);
	if (!find_fresh(x->key, x->kind, &fact))
		return false;
	*error = fact.error;
	rc_count(RC_COUNT_REMEMBERED, 1);
	return true;
}

static void keep_xattr(const struct xattr *x, const char *name, ssize_t result)
{
	struct rc_fact fact = { .asked_ms = x->asked_ms, .error = (int32_t)result };

	if (x->known && (result == -ENODATA || result == -EOPNOTSUPP || (!name && !result)))
		rc_cache_keep(x->key, x->kind, &fact);
	else if (x->keyed && result < 0)
		keep_missing(&x->place, stat_kind((int)x->kind), x->asked_ms, (int)result);
}

ssize_t rc_lookup_getxattr(struct rc_location at, int flags, const char *name, void *value, size_t size)
{
	struct xattr x;
	ssize_t result;
	int error;

	if (recall_xattr(&x, at, flags, name, &error))
		return error;
	result = rc_call_getxattr(at, flags, name, value, size);
	keep_xattr(&x, name, result);
	return result;
}

ssize_t rc_lookup_listxattr(struct rc_location at, int flags, char *names, size_t size)
{
	struct xattr x;
	ssize_t result;
	int error;

	if (recall_xattr(&x, at, flags, NULL, &error))
		return error;
	result = rc_call_listxattr(at, flags, names, size);
	keep_xattr(&x, NULL, result);
	return result;
}
