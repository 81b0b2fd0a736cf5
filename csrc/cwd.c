/* SPDX-License-Identifier: MIT */
#include "cwd.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "config.h"
#include "image.h"
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

/* At the start of a placeholder's content; the path is behind it. */
struct stand {
	uint64_t mount, ino;
	uint32_t dev_major, dev_minor;
};

static bool find_stand(int dirfd, const char *path, struct stand *stand)
{
#ifdef SYS_statx
	enum { INO = 0x100, MNT_ID = 0x1000, DONT_SYNC = 0x4000 };	/* STATX_…, AT_STATX_… */
	struct rc_kernel_statx st;

	if (RC_SYS(SYS_statx, dirfd, path, AT_EMPTY_PATH | DONT_SYNC, INO | MNT_ID, &st, 0) < 0)
		return false;
	*stand = (struct stand){ st.mask & MNT_ID ? st.mnt_id : 0, st.ino, st.dev_major, st.dev_minor };
	return true;
#else
	(void)dirfd;
	(void)path;
	(void)stand;
	return false;
#endif
}

static bool find_own_stand(unsigned tid, struct stand *stand)
{
	char link[RC_FD_LINK];

	return find_stand(AT_FDCWD, tid ? rc_sys_cwd_link_of(tid, link) : ".", stand);
}

static bool read_stand(int fd, struct stand *stand)
{
	return rc_sys_pread(fd, stand, sizeof *stand, 0) == sizeof *stand && stand->ino;
}

void rc_cwd_stand(int fd, unsigned tid)
{
	struct stand now;

	if (find_own_stand(tid, &now))
		rc_sys_pwrite(fd, &now, sizeof now, 0);
}

void rc_cwd_stand_in(int fd, int directory)
{
	struct stand there;

	if (find_stand(directory, "", &there))
		rc_sys_pwrite(fd, &there, sizeof there, 0);
}

bool rc_cwd_left(int fd, unsigned tid)
{
	struct stand then, now;

	return read_stand(fd, &then) && find_own_stand(tid, &now) && memcmp(&then, &now, sizeof now);
}

bool rc_cwd_stands_in(int fd, int directory)
{
	struct stand then, other;

	return read_stand(fd, &then) && find_stand(directory, "", &other) && !memcmp(&then, &other, sizeof other);
}

int rc_cwd_placeholder(uint64_t handle, const char *path)
{
	struct rc_placeholder made;
	int fd = rc_placeholder_create(handle, RC_CWD_KIND, 0, O_RDWR | O_CLOEXEC, 1, &made);
	ssize_t put = fd < 0 ? fd : rc_sys_pwrite(fd, path, strlen(path), sizeof(struct stand));

	if (fd >= 0 && put < 0)
		rc_sys_close(fd);
	return put < 0 ? (int)put : fd;
}

ssize_t rc_cwd_entered(int fd, char *path, size_t size)
{
	ssize_t length = fd < 0 ? -ENOENT : rc_sys_pread(fd, path, size - 1, sizeof(struct stand));

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

static unsigned process_of(const struct rc_proc_name *name, unsigned own)
{
	return name->pid ? (unsigned)name->pid : own;
}

static int open_placeholder(unsigned pid, int fd)
{
	char link[RC_FD_LINK];

	return rc_sys_open(AT_FDCWD, rc_sys_fd_link_of(pid, fd, link), O_RDONLY | O_CLOEXEC, 0);
}

static bool left(unsigned pid)
{
	int fd = open_placeholder(pid, RC_CWD_FD);
	bool result = fd >= 0 && rc_cwd_left(fd, pid);

	if (fd >= 0)
		rc_sys_close(fd);
	return result;
}

int rc_cwd_find(const struct rc_proc_name *name, unsigned own, struct rc_placeholder *found)
{
	unsigned pid = process_of(name, own);

	if (!rc_placeholder_named(pid, descriptor_of(name), found))
		return 0;
	if (found->handle == RC_NO_HANDLE && found->kind == RC_CWD_KIND)
		return 0;
	if (name->fd == RC_PROC_CWD && left(pid))
		return 0;
	return found->handle == RC_NO_HANDLE || memcmp(found->session, rc_config.session, sizeof found->session) ? -EBADF : 1;
}

ssize_t rc_cwd_readlink(const struct rc_proc_name *name, unsigned own, const struct rc_placeholder *found, char *path, size_t size)
{
	char whole[RC_PATH_MAX];
	unsigned pid = process_of(name, own);
	int fd = -1;
	ssize_t length;

	if (name->fd == RC_PROC_EXE) {
		length = rc_image_path(pid, whole);
	} else {
		if (found->kind == RC_CWD_KIND)
			fd = open_placeholder(pid, descriptor_of(name));
		length = rc_cwd_path(found->handle, fd, whole, sizeof whole);
		length -= length > 0;		/* the NUL */
		if (fd >= 0)
			rc_sys_close(fd);
	}
	if (length < 0)
		return length;
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
