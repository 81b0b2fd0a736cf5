/* SPDX-License-Identifier: MIT */
#include "change.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "route.h"

int rc_change_existing(struct rc_location at, int flags)
{
	struct rc_stat stat;
	int result = rc_call_stat(at, flags & (AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH), STATX_TYPE, &stat);

	return result < 0 ? result : -EROFS;
}

int rc_change_size(struct rc_location at, int flags)
{
	struct rc_stat stat;
	int result = rc_call_stat(at, flags & AT_EMPTY_PATH, STATX_TYPE, &stat);

	if (result)
		return result;
	return S_ISDIR(stat.mode) ? -EISDIR : S_ISREG(stat.mode) ? -EROFS : -EINVAL;
}

/* The errors of the walk to the last component's directory. */
static int walk_to_parent(struct rc_location at)
{
	char parent[RC_PATH_MAX + 2];
	size_t length = strlen(at.path);
	struct rc_stat stat;

	memcpy(parent, at.path, length);
	while (length && parent[length - 1] == '/')
		length--;
	while (length && parent[length - 1] != '/')
		length--;
	strcpy(parent + length, ".");	/* asks for search permission as well */
	at.path = parent;
	return rc_call_stat(at, 0, STATX_TYPE, &stat);
}

int rc_change_new(struct rc_location at)
{
	struct rc_stat stat;
	int result = rc_call_stat(at, AT_SYMLINK_NOFOLLOW, STATX_TYPE, &stat);

	if (!result)
		result = -EEXIST;
	else if (result == -ENOENT)
		result = walk_to_parent(at);
	return result ? result : -EROFS;
}

/* Linux asks for write access before it looks the entry up: removing what isn't there is EROFS too. */
int rc_change_entry(struct rc_location at)
{
	int result = walk_to_parent(at);

	return result ? result : -EROFS;
}
