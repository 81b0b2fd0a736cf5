/* SPDX-License-Identifier: MIT
 *
 * Waiting for something to happen to remote files: inotify(7).
 */
#include "preload.h"

#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "notify.h"
#include "protocol.h"

/* ------------------------------------------------------------------------------------------------- inotify */

static bool is_inotify(int fd)
{
	static const char name[] = "anon_inode:inotify";
	char link[32], target[sizeof name];
	char digits[12], *at = digits + sizeof digits;

	if (fd < 0)
		return false;
	*--at = '\0';
	for (int n = fd;; n /= 10) {
		*--at = (char)('0' + n % 10);
		if (n < 10)
			break;
	}
	strcpy(link, "/proc/self/fd/");
	strcat(link, at);
	return rc_sys_readlink(AT_FDCWD, link, target, sizeof target) == sizeof name - 1 &&
	       !memcmp(target, name, sizeof name - 1);
}

static int add_remote(struct rc_description *d, int fd, const struct rc_target *t, uint32_t mask)
{
	struct rc_placeholder made;
	uint64_t handle = d ? d->handle : RC_NO_HANDLE;
	int result;

	rc_debug("inotify_add_watch() on remote file %s", t->given);
	if (d && d->kind != RC_KIND_WATCH)
		return -EINVAL;
	if (!d) {
		if (rc_sys_fcntl(fd, F_GETFD, 0) < 0)
			return -EBADF;
		if (!is_inotify(fd))
			return -EINVAL;
		result = rc_notify_convert(fd, &made);
		if (result)
			return result;
		if (rc_fdtable_insert(fd, &made) < 0)
			return -ENFILE;
		handle = made.handle;
	}
	return rc_notify_add(handle, t->at, mask);
}

RC_EXPORT int inotify_add_watch(int fd, const char *path, uint32_t mask)
{
	struct rc_description *d;
	struct rc_target t;
	int side;

	if (!rc_ready())
		return rc_pass_inotify_add_watch()(fd, path, mask);
	d = rc_fdtable_get(fd);
	side = rc_locate(AT_FDCWD, path, mask & IN_DONT_FOLLOW ? AT_SYMLINK_NOFOLLOW : 0, &t);
	if (side)
		return (int)rc_finish(side < 0 ? side : add_remote(d, fd, &t, mask));
	if (d && d->kind == RC_KIND_WATCH)
		fd = rc_notify_native(d->handle);
	return rc_next_inotify_add_watch(fd, t.instead ? t.instead : path, mask);
}

int rc_remote_unwatch(struct rc_description *d, int wd)
{
	return d->kind == RC_KIND_WATCH ? rc_notify_remove(d->handle, wd) : -EINVAL;
}
