/* SPDX-License-Identifier: MIT
 *
 * Changes of remote files by a path, which are refused as a read-only mount refuses them (change.h).
 */
#include "preload.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>

#include "change.h"
#include "protocol.h"

int rc_refuse_change(const char *call, const struct rc_target *t, int flags)
{
	return rc_refuse_path(call, t, rc_change_existing(t->at, flags | t->extra));
}

int rc_refuse_size(const struct rc_target *t, int64_t size)
{
	return rc_refuse_path("truncate", t, rc_change_size(t->at, t->extra, size));
}

int rc_refuse_new(const char *call, const struct rc_target *t, bool directory)
{
	return rc_refuse_path(call, t, rc_change_new(t->at, directory));
}

int rc_refuse_node(const char *call, const struct rc_target *t, unsigned mode)
{
	return rc_refuse_path(call, t, rc_change_node(t->at, mode));
}

int rc_refuse_symlink(const char *call, const char *target, const struct rc_target *t)
{
	return rc_refuse_path(call, t, *target ? rc_change_new(t->at, false) : -ENOENT);
}

int rc_refuse_entry(const char *call, const struct rc_target *t, int flags)
{
	return rc_refuse_path(call, t, rc_change_entry(t->at, flags));
}

/* rc_locate, of a call that has a second path: a path that leads out of a remote directory by ".." is none that libc could take. */
static int locate(const char *call, int dirfd, const char *path, int flags, struct rc_target *t)
{
	int side = rc_locate(dirfd, path, flags, t);

	return side || !t->instead ? side : rc_refuse_path(call, t, -ENOSYS);
}

/* 1: both are local.  *t: the one that was looked at last. */
static int change_name(int old_dirfd, const char *old, int new_dirfd, const char *new_path, unsigned flags, struct rc_target *t)
{
	bool named = true, to_named = true;
	int from = locate("rename", old_dirfd, old, AT_SYMLINK_NOFOLLOW, t), to, result;

	if (from < 0)
		return from;
	if (from && (result = rc_change_name(t->at, flags, &named)))
		return rc_refuse_path("rename", t, result);
	to = locate("rename", new_dirfd, new_path, AT_SYMLINK_NOFOLLOW, t);
	if (to < 0)
		return to;
	if (!from && !to)
		return 1;
	if (!*old || !*new_path)
		return -ENOENT;
	if (to && (result = rc_change_name(t->at, flags, &to_named)))
		return rc_refuse_path("rename", t, result);
	return rc_refuse_path("rename", t, from && to ? rc_change_rename(named, to_named, flags) : -EXDEV);
}

static int add_name(int old_dirfd, const char *old, int new_dirfd, const char *new_path, int flags, struct rc_target *t)
{
	struct rc_stat stat;
	int result, from, to;

	from = locate("link", old_dirfd, old, (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) | (flags & AT_EMPTY_PATH), t);
	if (from < 0)
		return from;
	if (from) {
		result = rc_change_link_flags(flags);
		if (!result)
			result = rc_call_stat(t->at, (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) | t->extra |
				      (flags & AT_EMPTY_PATH), STATX_TYPE, &stat);
		if (result < 0)
			return rc_refuse_path("link", t, result);
	}
	to = locate("link", new_dirfd, new_path, AT_SYMLINK_NOFOLLOW, t);
	if (to < 0)
		return to;
	if (to)
		return (result = rc_change_link_flags(flags)) ? result : rc_refuse_new("link", t, false);
	return from ? rc_refuse_path("link", t, -EXDEV) : 1;
}

/* 1: neither is remote; else `error`.  *t: the one that was looked at last. */
static int refuse_either(const char *call, int dirfd, const char *path, int other_dirfd, const char *other, int flags, int error,
			 struct rc_target *t)
{
	int side = locate(call, dirfd, path, flags, t);

	if (side == 0)
		side = locate(call, other_dirfd, other, flags, t);
	return side < 0 ? side : side ? rc_refuse_path(call, t, error) : 1;
}

/* Two paths: written out, since the table's rows have one. */
#define TWO_PATHS(name, params, args, decide) \
	RC_EXPORT int name params \
	{ \
		struct rc_target t; \
		struct rc_span span; \
		int result; \
		if (!rc_ready()) \
			return rc_pass_##name() args; \
		rc_span_begin(&span, #name, t.given, -1, RC_NO_HANDLE); \
		result = decide; \
		if (result == 1) { \
			rc_count_local(); \
			return rc_next_##name args; \
		} \
		return (int)rc_finish(rc_span_end(&span, result)); \
	}
TWO_PATHS(rename, (const char *old, const char *to), (old, to), change_name(AT_FDCWD, old, AT_FDCWD, to, 0, &t))
TWO_PATHS(renameat, (int old_dirfd, const char *old, int to_dirfd, const char *to), (old_dirfd, old, to_dirfd, to),
	  change_name(old_dirfd, old, to_dirfd, to, 0, &t))
TWO_PATHS(renameat2, (int old_dirfd, const char *old, int to_dirfd, const char *to, unsigned flags),
	  (old_dirfd, old, to_dirfd, to, flags), change_name(old_dirfd, old, to_dirfd, to, flags, &t))
TWO_PATHS(link, (const char *old, const char *to), (old, to), add_name(AT_FDCWD, old, AT_FDCWD, to, 0, &t))
TWO_PATHS(linkat, (int old_dirfd, const char *old, int to_dirfd, const char *to, int flags),
	  (old_dirfd, old, to_dirfd, to, flags), add_name(old_dirfd, old, to_dirfd, to, flags, &t))

/* What is mounted is a path where it's a part of the tree. */
TWO_PATHS(mount, (const char *source, const char *path, const char *type, unsigned long flags, const void *data),
	  (source, path, type, flags, data),
	  refuse_either("mount", AT_FDCWD, path, AT_FDCWD, flags & (MS_BIND | MS_MOVE) ? source : NULL, 0, -ENOSYS, &t))
TWO_PATHS(pivot_root, (const char *path, const char *old), (path, old),
	  refuse_either("pivot_root", AT_FDCWD, path, AT_FDCWD, old, 0, -EINVAL, &t))
#ifdef __GLIBC__
TWO_PATHS(move_mount, (int from_dirfd, const char *from, int dirfd, const char *path, unsigned flags),
	  (from_dirfd, from, dirfd, path, flags),
	  refuse_either("move_mount", from_dirfd, from, dirfd, path, AT_EMPTY_PATH, -ENOSYS, &t))
#endif

/* ------------------------------------------------------------------------ names that libc makes and opens itself */

#define TEMPLATE(type, name, params, args, failed) \
	RC_EXPORT type name params \
	{ \
		struct rc_target t; \
		int side; \
		if (!rc_ready()) \
			return rc_pass_##name() args; \
		side = rc_locate(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &t); \
		if (side == 0 && !t.instead) { \
			rc_count_local(); \
			return rc_next_##name args; \
		} \
		(void)rc_finish(side < 0 ? side : side == 0 ? rc_refuse_path(#name, &t, -ENOSYS) \
				: RC_SPAN(#name, t.given, -1, t.at.directory, rc_refuse_new(#name, &t, false))); \
		return failed; \
	}
TEMPLATE(int, mkstemp, (char *path), (path), -1)
TEMPLATE(int, mkostemp, (char *path, int flags), (path, flags), -1)
TEMPLATE(int, mkstemps, (char *path, int suffix), (path, suffix), -1)
TEMPLATE(int, mkostemps, (char *path, int suffix, int flags), (path, suffix, flags), -1)
TEMPLATE(char *, mkdtemp, (char *path), (path), NULL)
#ifdef __GLIBC__
TEMPLATE(int, mkstemp64, (char *path), (path), -1)
TEMPLATE(int, mkostemp64, (char *path, int flags), (path, flags), -1)
TEMPLATE(int, mkstemps64, (char *path, int suffix), (path, suffix), -1)
TEMPLATE(int, mkostemps64, (char *path, int suffix, int flags), (path, suffix, flags), -1)
#endif

/* ----------------------------------------------------------------- names that libc only makes, of what isn't there */

static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";

/* The last six characters; false: errno. */
static bool find_free(char *path)
{
	char *end = path + strlen(path) - 6;
	int saved = errno;
	uint8_t random[6];
	struct stat st;

	for (int attempt = 0; attempt < 1000; attempt++) {
		rc_sys_random(random, sizeof random);
		for (int i = 0; i < 6; i++)
			end[i] = letters[random[i] % (sizeof letters - 1)];
		if (lstat(path, &st) && errno != EOVERFLOW) {
			if (errno != ENOENT)
				return false;
			errno = saved;
			return true;
		}
	}
	errno = EEXIST;
	return false;
}

static bool is_remote(const char *path)
{
	struct rc_target t;

	return rc_ready() && rc_locate(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW, &t) == 1;
}

RC_EXPORT char *mktemp(char *path)
{
	size_t length;

	if (!is_remote(path))
		return rc_pass_mktemp()(path);
	length = strlen(path);
	if (length < 6 || strcmp(path + length - 6, "XXXXXX")) {
		errno = EINVAL;
		*path = '\0';
	} else if (!find_free(path)) {
		*path = '\0';
	}
	return path;
}

static bool is_directory(const char *path)
{
	struct stat st;

	return path && *path && stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

RC_EXPORT char *tempnam(const char *directory, const char *prefix)
{
	const char *of_all = secure_getenv("TMPDIR"), *chosen = is_directory(of_all) ? of_all : directory;
	char *path;

	if (!is_directory(chosen) || !is_remote(chosen))
		return rc_pass_tempnam()(directory, prefix);
	if (asprintf(&path, "%s/%.5sXXXXXX", chosen, prefix && *prefix ? prefix : "file") < 0)
		return NULL;
	if (find_free(path))
		return path;
	free(path);
	return NULL;
}
