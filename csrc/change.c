/* SPDX-License-Identifier: MIT */
#include "change.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "route.h"

int rc_change_existing(struct rc_location at, int flags)
{
	struct rc_stat stat;
	int result;

	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH))
		return -EINVAL;
	result = rc_call_stat(at, flags, STATX_TYPE, &stat);
	return result < 0 ? result : -EROFS;
}

int rc_change_size(struct rc_location at, int flags, int64_t size)
{
	struct rc_stat stat;
	int result = size < 0 ? -EINVAL : rc_call_stat(at, flags & AT_EMPTY_PATH, STATX_TYPE, &stat);

	if (result)
		return result;
	return S_ISDIR(stat.mode) ? -EISDIR : S_ISREG(stat.mode) ? -EROFS : -EINVAL;
}

/* Of a path without the slashes behind its last component. */
static size_t bare_length(const char *path)
{
	size_t length = strlen(path);

	while (length && path[length - 1] == '/')
		length--;
	return length;
}

/* Where the last component begins. */
static size_t last_component(const char *path)
{
	size_t length = bare_length(path);

	while (length && path[length - 1] != '/')
		length--;
	return length;
}

/* The errors of the walk to the last component's directory. */
static int walk_to_parent(struct rc_location at)
{
	char parent[RC_PATH_MAX + 2];
	size_t length = last_component(at.path);
	struct rc_stat stat;

	memcpy(parent, at.path, length);
	strcpy(parent + length, ".");	/* asks for search permission as well */
	at.path = parent;
	return rc_call_stat(at, 0, STATX_TYPE, &stat);
}

/* Linux looks for the name without the slashes behind it: a link is there, wherever it leads. */
int rc_change_new(struct rc_location at, bool directory)
{
	char bare[RC_PATH_MAX + 2];
	size_t length = bare_length(at.path);
	bool slash = length && at.path[length];
	struct rc_stat stat;
	int result;

	if (slash) {
		memcpy(bare, at.path, length);
		bare[length] = '\0';
		at.path = bare;
	}
	result = rc_call_stat(at, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stat);
	if (!result)
		return -EEXIST;
	if (result == -ENOENT)
		result = walk_to_parent(at);
	return result ? result : slash && !directory ? -ENOENT : -EROFS;
}

int rc_change_node(struct rc_location at, unsigned mode)
{
	switch (mode & S_IFMT) {
	case 0: case S_IFREG: case S_IFCHR: case S_IFBLK: case S_IFIFO: case S_IFSOCK:
		return rc_change_new(at, false);
	case S_IFDIR:
		return -EPERM;
	}
	return -EINVAL;
}

/* Only what has a name of its own can be removed or renamed. */
enum last { NAME, DOT, DOTS };

static enum last kind_of_last(struct rc_location at)
{
	const char *last = at.path + last_component(at.path);
	size_t length = bare_length(last);

	return length > 2 || last[0] != '.' ? NAME : length == 1 ? DOT : last[1] == '.' ? DOTS : NAME;
}

/* Linux asks for write access before it looks the entry up: removing what isn't there is EROFS too. */
int rc_change_entry(struct rc_location at, int flags)
{
	int result = flags & ~AT_REMOVEDIR ? -EINVAL : walk_to_parent(at);
	enum last last = kind_of_last(at);

	return result ? result : last == NAME ? -EROFS : !flags ? -EISDIR : last == DOT ? -EINVAL : -ENOTEMPTY;
}

enum { NOREPLACE = 1, EXCHANGE = 2, WHITEOUT = 4 };	/* RENAME_…: not every libc names them */

int rc_change_name(struct rc_location at, unsigned flags, bool *named)
{
	bool wrong = flags & ~(unsigned)(NOREPLACE | EXCHANGE | WHITEOUT) || (flags & EXCHANGE && flags & ~(unsigned)EXCHANGE);

	*named = kind_of_last(at) == NAME;
	return wrong ? -EINVAL : walk_to_parent(at);
}

int rc_change_rename(bool from_named, bool to_named, unsigned flags)
{
	return !from_named ? -EBUSY : to_named ? -EROFS : flags & NOREPLACE ? -EEXIST : -EBUSY;
}

int rc_change_link_flags(int flags)
{
	return flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH) ? -EINVAL : 0;
}
