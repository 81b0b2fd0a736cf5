/* SPDX-License-Identifier: MIT
 *
 * Changes of remote files by a path: refused as a read-only mount refuses them, that is with EROFS, but after the errors
 * that Linux finds before it asks whether it may write (fs/namei.c, fs/open.c).
 */
#include "preload.h"

#include <string.h>

#include "protocol.h"

int rc_change_existing(const char *call, const struct rc_target *t, int flags)
{
	struct rc_stat stat;
	int result = rc_call_stat(t->at, (flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH)) | t->extra, STATX_TYPE, &stat);

	return rc_refuse_path(call, t, result < 0 ? result : -EROFS);
}

int rc_change_size(const struct rc_target *t)
{
	struct rc_stat stat;
	int result = rc_call_stat(t->at, t->extra, STATX_TYPE, &stat);

	if (!result)
		result = S_ISDIR(stat.mode) ? -EISDIR : S_ISREG(stat.mode) ? -EROFS : -EINVAL;
	return rc_refuse_path("truncate", t, result);
}

/* The errors of the walk to the last component's directory. */
static int walk_to_parent(const struct rc_target *t)
{
	char parent[RC_PATH_MAX + 2];
	size_t length = strlen(t->at.path);
	struct rc_stat stat;

	memcpy(parent, t->at.path, length);
	while (length && parent[length - 1] == '/')
		length--;
	while (length && parent[length - 1] != '/')
		length--;
	strcpy(parent + length, ".");	/* asks for search permission as well */
	return rc_call_stat((struct rc_location){ t->at.directory, parent }, 0, STATX_TYPE, &stat);
}

int rc_change_new(const char *call, const struct rc_target *t)
{
	struct rc_stat stat;
	int result = rc_call_stat(t->at, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stat);

	if (!result)
		result = -EEXIST;
	else if (result == -ENOENT)
		result = walk_to_parent(t);
	return rc_refuse_path(call, t, result ? result : -EROFS);
}

/* Linux asks for write access before it looks the entry up: removing what isn't there is EROFS too. */
int rc_change_entry(const char *call, const struct rc_target *t)
{
	int result = walk_to_parent(t);

	return rc_refuse_path(call, t, result ? result : -EROFS);
}

int rc_rename(int old_dirfd, const char *old, int new_dirfd, const char *new_path)
{
	struct rc_target t;
	int result, from = rc_locate(old_dirfd, old, AT_SYMLINK_NOFOLLOW, &t), to;

	if (from < 0)
		return from;
	if (from && (result = walk_to_parent(&t)) < 0)
		return rc_refuse_path("rename", &t, result);
	to = rc_locate(new_dirfd, new_path, AT_SYMLINK_NOFOLLOW, &t);
	if (to < 0)
		return to;
	if (!from && !to)
		return 1;
	if (to && (result = walk_to_parent(&t)) < 0)
		return rc_refuse_path("rename", &t, result);
	return rc_refuse_path("rename", &t, from && to ? -EROFS : -EXDEV);
}

int rc_link(int old_dirfd, const char *old, int new_dirfd, const char *new_path, int flags)
{
	struct rc_target t;
	struct rc_stat stat;
	int result, from, to;

	from = rc_locate(old_dirfd, old, (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) | (flags & AT_EMPTY_PATH), &t);
	if (from < 0)
		return from;
	if (from) {
		result = rc_call_stat(t.at, (flags & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW) | t.extra |
				      (flags & AT_EMPTY_PATH), STATX_TYPE, &stat);
		if (result < 0)
			return rc_refuse_path("link", &t, result);
	}
	to = rc_locate(new_dirfd, new_path, AT_SYMLINK_NOFOLLOW, &t);
	if (to < 0)
		return to;
	if (to) {
		result = rc_change_new("link", &t);
		return from || result != -EROFS ? result : -EXDEV;
	}
	return from ? rc_refuse_path("link", &t, -EXDEV) : 1;
}

/* Two paths: written out, since the table's rows have one. */
#define TWO_PATHS(name, params, args, decide) \
	RC_EXPORT int name params \
	{ \
		int result; \
		if (!rc_ready()) \
			return rc_pass_##name() args; \
		result = decide; \
		return result == 1 ? rc_next_##name args : (int)rc_finish(result); \
	}
TWO_PATHS(rename, (const char *old, const char *to), (old, to), rc_rename(AT_FDCWD, old, AT_FDCWD, to))
TWO_PATHS(renameat, (int old_dirfd, const char *old, int to_dirfd, const char *to), (old_dirfd, old, to_dirfd, to),
	  rc_rename(old_dirfd, old, to_dirfd, to))
TWO_PATHS(renameat2, (int old_dirfd, const char *old, int to_dirfd, const char *to, unsigned flags),
	  (old_dirfd, old, to_dirfd, to, flags), rc_rename(old_dirfd, old, to_dirfd, to))
TWO_PATHS(link, (const char *old, const char *to), (old, to), rc_link(AT_FDCWD, old, AT_FDCWD, to, 0))
TWO_PATHS(linkat, (int old_dirfd, const char *old, int to_dirfd, const char *to, int flags),
	  (old_dirfd, old, to_dirfd, to, flags), rc_link(old_dirfd, old, to_dirfd, to, flags))
