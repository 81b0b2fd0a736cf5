/* SPDX-License-Identifier: MIT */
#include "cwd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "placeholder.h"
#include "protocol.h"
#include "sys.h"

/* Looking up "." asks for the search permission that chdir asks for. */
int rc_cwd_open(struct rc_location at, struct rc_opened *opened)
{
	char path[RC_PATH_MAX];
	size_t length = strlen(at.path);

	if (length + sizeof "/." > sizeof path)
		return -ENAMETOOLONG;
	memcpy(path, at.path, length);
	strcpy(path + length, length ? "/." : ".");
	at.path = path;
	return rc_call_open(at, O_PATH | O_DIRECTORY | O_CLOEXEC, 0, 0, NULL, 0, opened);
}

int rc_cwd_placeholder(uint64_t handle, const char *path)
{
	struct rc_placeholder made;
	int fd = rc_placeholder_create(handle, RC_CWD_KIND, 0, O_RDWR | O_CLOEXEC, 1, &made);
	ssize_t put = fd < 0 ? fd : rc_sys_pwrite(fd, path, strlen(path), 0);

	if (fd >= 0 && put < 0)
		rc_sys_close(fd);
	return put < 0 ? (int)put : fd;
}

ssize_t rc_cwd_entered(int fd, char *path, size_t size)
{
	ssize_t length = fd < 0 ? -ENOENT : rc_sys_pread(fd, path, size - 1, 0);

	if (length <= 0)
		return length ? length : -ENOENT;
	path[length] = '\0';
	return length;
}

ssize_t rc_cwd_path(uint64_t handle, int fd, char *path, size_t size)
{
	char server[RC_PATH_MAX + 64], seen[RC_PATH_MAX];
	ssize_t length = rc_call_getpath(handle, server, sizeof server - 1);

	if (length < 0)
		return length;
	server[length] = '\0';
	length = rc_route_reverse(&rc_config.routes, server, seen, sizeof seen);
	if (length == -ENOENT)		/* a link led to where no rule leads: by the name that the program knows */
		length = rc_cwd_entered(fd, seen, sizeof seen);
	if (length < 0)
		return length;
	if ((size_t)length >= size)
		return -ERANGE;
	memcpy(path, seen, (size_t)length + 1);
	return length + 1;
}

static int descriptor_of(const struct rc_proc_name *name)
{
	return name->fd == RC_PROC_CWD ? RC_CWD_FD : name->fd;
}

int rc_cwd_find(const struct rc_proc_name *name, unsigned own, struct rc_placeholder *found)
{
	if (!rc_placeholder_named(name->pid ? (unsigned)name->pid : own, descriptor_of(name), found))
		return 0;
	if (found->handle == RC_NO_HANDLE && found->kind == RC_CWD_KIND)
		return 0;
	return found->handle == RC_NO_HANDLE || memcmp(found->session, rc_config.session, sizeof found->session) ? -EBADF : 1;
}

ssize_t rc_cwd_readlink(const struct rc_proc_name *name, unsigned own, const struct rc_placeholder *found, char *path, size_t size)
{
	char whole[RC_PATH_MAX], link[RC_FD_LINK];
	int fd = -1;
	ssize_t length;

	if (found->kind == RC_CWD_KIND)
		fd = rc_sys_open(AT_FDCWD, rc_sys_fd_link_of(name->pid ? (unsigned)name->pid : own, descriptor_of(name), link),
				 O_RDONLY | O_CLOEXEC, 0);
	length = rc_cwd_path(found->handle, fd, whole, sizeof whole);
	if (fd >= 0)
		rc_sys_close(fd);
	if (length < 0)
		return length;
	length--;		/* the NUL */
	if ((size_t)length > size)
		length = (ssize_t)size;
	memcpy(path, whole, (size_t)length);
	return length;
}

int rc_cwd_route(uint64_t handle, int fd, const char *path, struct rc_route *route)
{
	char base[RC_PATH_MAX];
	ssize_t length = rc_cwd_path(handle, fd, base, sizeof base);

	if (length < 0)
		return (int)length;
	if (!rc_route_leaves(&rc_config.routes, base, path))
		return 1;
	return rc_route_path(&rc_config.routes, base, path, route);
}
