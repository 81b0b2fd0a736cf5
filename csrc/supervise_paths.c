/* SPDX-License-Identifier: MIT
 *
 * Handlers of the calls that take a path.  Each asks where it leads and, where that is remote, does what the call does, with
 * the program's memory at arm's length.
 */
#include "supervise_place.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "change.h"
#include "cwd.h"
#include "image.h"
#include "config.h"
#include "layout.h"
#include "lookup.h"
#include "placeholder.h"
#include "protocol.h"
#include "report.h"
#include "stats.h"
#include "supervise_layout.h"
#include "supervise_serve.h"
#include "syscalls_expand.h"
#include "sys.h"
#include "translate.h"

int64_t rc_refuse_call(struct rc_notice *notice, const char *what, int64_t error)
{
	rc_debug("%s() on remote %s: %s", notice->call->name, what, rc_errno_name((int)-error));
	rc_stats_refused((int)error);
	notice->remote = true;
	return error;
}

/* ----------------------------------------------------------------------------------------------- where to */

static int from_route(struct rc_notice *notice, struct rc_place *place)
{
	if (place->route.side == RC_LOCAL)
		return place->route.path[0] ? RC_INSTEAD : 0;
	place->at = (struct rc_location){ RC_NO_HANDLE, place->route.path };
	place->by_default = !place->route.rule;
	rc_notice_remote(notice, -1, RC_NO_HANDLE, place->given);
	return 1;
}

static int place_descriptor(struct rc_notice *notice, int fd, const char *path, struct rc_place *place)
{
	struct rc_description *d;
	int own, side = fd == AT_FDCWD ? rc_cwd_directory(notice, &d, &own) : rc_target_description(notice, fd, &d, &own);

	if (side <= 0)
		return 0;
	place->at = (struct rc_location){ d->handle, path };
	side = d->handle == RC_NO_HANDLE ? -EBADF
	     : strstr(path, "..") ? rc_cwd_route(d->handle, d->kind == RC_CWD_KIND ? own : -1, path, &place->route) : 1;
	if (!side && d->handle != RC_NO_HANDLE)
		side = from_route(notice, place);
	if (side == 1)
		rc_notice_remote(notice, fd < 0 ? -1 : fd, place->at.directory, path);
	close(own);
	return side;
}

/* /dev/stdin, /proc/<pid>/fd/N, /proc/<pid>/cwd: 0 where it is local, 1 where it's a placeholder, -1: not such a name. */
static int place_named(struct rc_notice *notice, int flags, struct rc_place *place)
{
	int process = -1, result;
	bool is_link;

	if (!strncmp(place->given, "/proc/", 6))
		process = rc_target_process(notice);
	else if (strncmp(place->given, "/dev/", 5))
		return -1;
	if (!rc_route_proc_name(place->given, &place->name))
		return rc_route_own_process(&rc_config.routes, place->given, process) ? 0 : -1;
	if (place->name.pid == process)
		place->name.pid = 0;
	if (place->name.pid && rc_route_path(&rc_config.routes, "/", place->given, &place->route) == 0 &&
	    place->route.side == RC_REMOTE)
		return -1;		/* a process of the server's */
	is_link = (flags & RC_READ_LINK) == RC_READ_LINK && !*place->name.rest;
	if (place->name.fd == RC_PROC_EXE) {	/* but for its name a remote program is one of this machine's */
		if (!is_link || rc_image_path(place->name.pid ? (unsigned)place->name.pid : notice->n->pid, NULL) < 0)
			return rc_route_own_process(&rc_config.routes, place->given, process) ? 0 : -1;
		place->is_link = true;
		place->at = (struct rc_location){ RC_NO_HANDLE, place->given };
		rc_notice_remote(notice, -1, RC_NO_HANDLE, place->given);
		return 1;
	}
	if (!*place->name.rest && (flags & AT_SYMLINK_NOFOLLOW) && !is_link)
		return 0;
	result = rc_cwd_find(&place->name, notice->n->pid, &place->named);
	if (result <= 0)
		return result;
	place->is_link = is_link;
	place->extra = *place->name.rest ? 0 : AT_EMPTY_PATH;
	place->at = (struct rc_location){ place->named.handle, place->name.rest };
	if (strstr(place->name.rest, "..")) {
		result = rc_cwd_route(place->named.handle, -1, place->name.rest, &place->route);
		if (result <= 0)
			return result ? result : from_route(notice, place);
	}
	rc_notice_remote(notice, place->name.pid || place->name.fd < 0 ? -1 : place->name.fd, place->named.handle, place->name.rest);
	return 1;
}

static bool starts_remote(struct rc_notice *notice, int dirfd)
{
	struct rc_description *d;
	int own;

	if ((dirfd == AT_FDCWD ? rc_cwd_directory(notice, &d, &own) : rc_target_description(notice, dirfd, &d, &own)) != 1)
		return false;
	close(own);
	return true;
}

int rc_place(struct rc_notice *notice, int dirfd, uint64_t path, int flags, struct rc_place *place)
{
	ssize_t length = path || !(flags & AT_EMPTY_PATH)
			 ? rc_target_string(notice, path, place->given, sizeof place->given) : 0;

	place->given[length < 0 ? 0 : length] = '\0';
	rc_cwd_restore(notice);
	if (length < 0)		/* what the kernel finds there meanwhile, it would take from a local directory */
		return starts_remote(notice, dirfd) ? (int)length : 0;
	return rc_place_given(notice, dirfd, flags, place);
}

int rc_place_given(struct rc_notice *notice, int dirfd, int flags, struct rc_place *place)
{
	char base[RC_PATH_MAX] = "/";
	int result;

	place->extra = 0;
	place->by_default = false;
	place->is_link = false;
	if (!*place->given && !(flags & AT_EMPTY_PATH))
		return 0;
	if (place->given[0] != '/' && (dirfd != AT_FDCWD || rc_supervise_preloaded || rc_cwd_used)) {
		result = place_descriptor(notice, dirfd, place->given, place);
		if (result || !*place->given)
			return result;
	}
	if (place->given[0] == '/') {
		result = place_named(notice, flags, place);
		if (result != -1)
			return result;
	} else if (!rc_route_may_lead_away(&rc_config.routes, place->given) ||
		   rc_target_directory(notice, dirfd, base, sizeof base) < 0) {
		return 0;
	}
	result = rc_route_path(&rc_config.routes, base, place->given, &place->route);
	if (result < 0)
		return rc_config.routes.default_remote ? result : 0;
	return from_route(notice, place);
}

_Atomic bool rc_cwd_used;

/* `instead` answers what the kernel can't, as the program's path leads out of a remote directory by "..": over place.route.path. */
#define PLACE_OR(dirfd, path, flags, instead) \
	struct rc_place place; \
	int side = rc_place(notice, (int)(dirfd), (uint64_t)(path), (int)(flags), &place); \
	if (side <= 0) \
		return side ? side : RC_LET; \
	if (side == RC_INSTEAD) \
		return instead
#define PLACE(dirfd, path, flags) \
	PLACE_OR(dirfd, path, flags, rc_refuse_call(notice, place.given, -ENOSYS))

/* --------------------------------------------------------------------------------------------------- open */

#if defined(__aarch64__)
enum { LARGE = 0400000 };
#else
enum { LARGE = 0100000 };
#endif

/* Puts a placeholder for what was opened into the program. */
static int64_t adopt(struct rc_notice *notice, const struct rc_opened *opened, int flags,
		     const struct rc_known *known)
{
	struct rc_description *d;
	struct rc_placeholder made;
	/* A descriptor with O_PATH can't be put into another process; the placeholder's kind says the same. */
	int fd = rc_placeholder_create(opened->handle, opened->kind, opened->stat.size, (flags & ~O_PATH) | O_CLOEXEC, 1,
				       &made);

	d = fd < 0 ? NULL : rc_descriptions_get(fd);
	if (!d) {
		rc_call_close(opened->handle);
		if (fd >= 0)
			close(fd);
		return fd < 0 ? fd : -ENFILE;
	}
	rc_description_opened(d, opened, known);
	return rc_notice_add(notice, fd, -1, flags & O_CLOEXEC);
}

static int64_t open_place(struct rc_notice *notice, const struct rc_place *place, int flags, unsigned mode,
			  uint64_t resolve)
{
	struct rc_opened opened;
	struct rc_known known;
	int64_t result;

	rc_debug("open() on remote file %s", place->given);
	result = rc_lookup_open(place->at, flags & ~LARGE, mode, resolve, &opened, &known);
	if (!result && notice->abi->narrow && !(flags & LARGE) && S_ISREG(opened.stat.mode) &&
	    opened.stat.size > INT32_MAX) {
		rc_call_close(opened.handle);
		result = -EOVERFLOW;
	}
	if (!result)
		result = adopt(notice, &opened, flags, &known);
	if (result < 0)
		rc_debug("failed opening %s: %s", place->given, rc_errno_name((int)-result));
	else
		rc_debug("opened %s, local %lld, remote %llu", place->given, (long long)result,
			 (unsigned long long)opened.handle);
	if (result >= 0)
		rc_stats_opened(opened.handle, place->given);
	return result;
}

static int64_t open_local(struct rc_notice *notice, const char *path, int flags, unsigned mode)
{
	int fd = open(path, flags | O_CLOEXEC, mode);

	return fd < 0 ? -errno : rc_notice_add(notice, fd, -1, flags & O_CLOEXEC);
}

int64_t rc_do_open(struct rc_notice *notice, const int64_t *a)
{
	PLACE_OR(a[0], a[1], a[2] & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0,
		 open_local(notice, place.route.path, (int)a[2], (unsigned)a[3]));
	return open_place(notice, &place, (int)a[2], (unsigned)a[3], 0);
}

int64_t rc_do_openat2(struct rc_notice *notice, const int64_t *a)
{
	struct {
		uint64_t flags, mode, resolve;
	} how;

	if ((size_t)a[3] < sizeof how || rc_target_get(notice, (uint64_t)a[2], &how, sizeof how) < 0)
		return RC_LET;
	PLACE(a[0], a[1], how.flags & O_NOFOLLOW ? AT_SYMLINK_NOFOLLOW : 0);
	return open_place(notice, &place, (int)how.flags | LARGE, (unsigned)how.mode, how.resolve);
}

/* --------------------------------------------------------------------------------------------- attributes */

/* In the protocol's form, which every layout can be made from. */
static int stat_local(const char *path, int flags, unsigned mask, struct rc_stat *to)
{
	struct statx st;

	if (statx(AT_FDCWD, path, flags, mask, &st))
		return -errno;
	*to = (struct rc_stat){
		.mask = st.stx_mask, .blksize = st.stx_blksize, .attributes = st.stx_attributes,
		.attributes_mask = st.stx_attributes_mask, .nlink = st.stx_nlink, .uid = st.stx_uid, .gid = st.stx_gid,
		.mode = st.stx_mode, .ino = st.stx_ino, .size = st.stx_size, .blocks = st.stx_blocks,
		.atime = { st.stx_atime.tv_sec, st.stx_atime.tv_nsec }, .btime = { st.stx_btime.tv_sec, st.stx_btime.tv_nsec },
		.ctime = { st.stx_ctime.tv_sec, st.stx_ctime.tv_nsec }, .mtime = { st.stx_mtime.tv_sec, st.stx_mtime.tv_nsec },
		.rdev_major = st.stx_rdev_major, .rdev_minor = st.stx_rdev_minor, .dev_major = st.stx_dev_major,
		.dev_minor = st.stx_dev_minor,
	};
	return 0;
}

static int64_t stat_instead(struct rc_notice *notice, const struct rc_place *place, const int64_t *a)
{
	struct rc_stat stat;
	int result = stat_local(place->route.path, (int)a[3], STATX_BASIC_STATS, &stat);

	return result ? result : rc_put_stat_as(notice, &stat, (enum rc_layout)a[4], (uint64_t)a[2]);
}

static int64_t put_statx(struct rc_notice *notice, const struct rc_stat *stat, uint64_t to)
{
	struct rc_kernel_statx st;

	rc_layout_statx(stat, &st);
	return rc_target_put(notice, to, &st, sizeof st) == sizeof st ? 0 : -EFAULT;
}

static int64_t statx_instead(struct rc_notice *notice, const struct rc_place *place, const int64_t *a)
{
	struct rc_stat stat;
	int result = stat_local(place->route.path, (int)a[2], (unsigned)a[3], &stat);

	return result ? result : put_statx(notice, &stat, (uint64_t)a[4]);
}

/* fresh: as the server has them now. */
static int stat_place(struct rc_notice *notice, int dirfd, const struct rc_place *place, int flags, unsigned mask, bool fresh,
		      struct rc_stat *stat)
{
	struct rc_description *d;
	int own, result;

	if (*place->given || fresh || rc_target_description(notice, dirfd, &d, &own) != 1)
		return fresh ? rc_call_stat(place->at, flags, mask, stat) : rc_lookup_stat(place->at, flags, mask, stat);
	result = rc_description_fstat(d, own, mask, stat);	/* how glibc has fstat */
	close(own);
	return result;
}

int64_t rc_do_stat(struct rc_notice *notice, const int64_t *a)
{
	int flags = (int)a[3];
	struct rc_stat stat;
	int result;

	PLACE_OR(a[0], a[1], flags, stat_instead(notice, &place, a));
	rc_debug("%s() on remote file %s", notice->call->name, place.given);
	if (flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH))
		return -EINVAL;
	flags |= place.extra;
	result = stat_place(notice, (int)a[0], &place, flags, STATX_BASIC_STATS, false, &stat);
	return result ? result : rc_put_stat_as(notice, &stat, (enum rc_layout)a[4], (uint64_t)a[2]);
}

int64_t rc_do_statx(struct rc_notice *notice, const int64_t *a)
{
	int flags = (int)a[2] & ~AT_STATX_SYNC_TYPE;
	unsigned mask = (unsigned)a[3];
	struct rc_stat stat;
	int result;

	if (mask & STATX__RESERVED)
		return RC_LET;
	PLACE_OR(a[0], a[1], flags, statx_instead(notice, &place, a));
	rc_debug("statx() on remote file %s", place.given);
	if ((flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH)) ||
	    (a[2] & AT_STATX_SYNC_TYPE) == AT_STATX_SYNC_TYPE)
		return -EINVAL;
	flags |= place.extra;
	result = stat_place(notice, (int)a[0], &place, flags, mask, a[2] & AT_STATX_FORCE_SYNC, &stat);
	return result ? result : put_statx(notice, &stat, (uint64_t)a[4]);
}

int64_t rc_do_access(struct rc_notice *notice, const int64_t *a)
{
	PLACE_OR(a[0], a[1], a[3], faccessat(AT_FDCWD, place.route.path, (int)a[2], (int)a[3]) ? -errno : 0);
	rc_debug("faccessat() fd %d path %s", (int)a[0], place.given);
	return rc_lookup_access(place.at, (int)a[2], (int)a[3] | place.extra);
}

int64_t rc_do_readlink(struct rc_notice *notice, const int64_t *a)
{
	size_t size = (size_t)(uint32_t)a[3];
	char target[RC_PATH_MAX];
	ssize_t length;

	if ((int)a[3] <= 0 || !a[1])
		return RC_LET;
	PLACE_OR(a[0], a[1], AT_EMPTY_PATH | RC_READ_LINK, -EINVAL /* a directory */);
	rc_debug("readlink() on remote file %s", place.given);
	size = size < sizeof target ? size : sizeof target;
	length = place.is_link ? rc_cwd_readlink(&place.name, notice->n->pid, &place.named, target, size)
			       : rc_lookup_readlink(place.at, target, size);
	return length < 0 ? length : rc_target_put(notice, (uint64_t)a[2], target, (size_t)length);
}

/* ----------------------------------------------------------------------------------- extended attributes */

/* Name and room for the value, in this thread's memory. */
struct xattr {
	char name[256];
	size_t size;
	uint8_t value[RC_LIMIT_MAX_XATTR];
};

static int xattr_name(struct rc_notice *notice, uint64_t name, struct xattr *x)
{
	ssize_t length = rc_target_string(notice, name, x->name, sizeof x->name);

	return length == -ENAMETOOLONG || !length ? -ERANGE : length < 0 ? (int)length : 0;
}

static int64_t get_value(struct rc_notice *notice, struct rc_location at, int flags, const int64_t *a)
{
	struct xattr *x = notice->memory;
	int bad = xattr_name(notice, (uint64_t)a[0], x);
	ssize_t length;

	if (bad)
		return bad;
	x->size = (size_t)a[2] < sizeof x->value ? (size_t)a[2] : sizeof x->value;
	length = rc_lookup_getxattr(at, flags, x->name, x->value, x->size);
	return length <= 0 || !x->size ? length : rc_target_put(notice, (uint64_t)a[1], x->value, (size_t)length);
}

static int64_t get_names(struct rc_notice *notice, struct rc_location at, int flags, const int64_t *a)
{
	struct xattr *x = notice->memory;
	ssize_t length;

	x->size = (size_t)a[1] < sizeof x->value ? (size_t)a[1] : sizeof x->value;
	length = rc_lookup_listxattr(at, flags, (char *)x->value, x->size);
	return length <= 0 || !x->size ? length : rc_target_put(notice, (uint64_t)a[0], x->value, (size_t)length);
}

int64_t rc_do_getxattr(struct rc_notice *notice, const int64_t *a)
{
	PLACE_OR(AT_FDCWD, a[0], a[4], -EOPNOTSUPP);
	rc_debug("getxattr() on remote file %s", place.given);
	return get_value(notice, place.at, (int)a[4] | place.extra, a + 1);
}

int64_t rc_do_listxattr(struct rc_notice *notice, const int64_t *a)
{
	PLACE_OR(AT_FDCWD, a[0], a[3], -EOPNOTSUPP);
	rc_debug("listxattr() on remote file %s", place.given);
	return get_names(notice, place.at, (int)a[3] | place.extra, a + 1);
}

static int own_handle(struct rc_notice *notice, int64_t fd, struct rc_location *at)
{
	struct rc_place place;
	int side = place_descriptor(notice, (int)fd, "", &place);

	*at = place.at;
	return side;
}

int64_t rc_do_fgetxattr(struct rc_notice *notice, const int64_t *a)
{
	struct rc_location at;
	int side = own_handle(notice, a[0], &at);

	if (side <= 0)
		return side ? side : RC_LET;
	rc_debug("fgetxattr() on remote fd %d", (int)a[0]);
	return get_value(notice, at, AT_EMPTY_PATH, a + 1);
}

int64_t rc_do_flistxattr(struct rc_notice *notice, const int64_t *a)
{
	struct rc_location at;
	int side = own_handle(notice, a[0], &at);

	if (side <= 0)
		return side ? side : RC_LET;
	rc_debug("flistxattr() on remote fd %d", (int)a[0]);
	return get_names(notice, at, AT_EMPTY_PATH, a + 1);
}

int64_t rc_do_statfs(struct rc_notice *notice, const int64_t *a)
{
	struct rc_statfs statfs;
	int result;

	PLACE(AT_FDCWD, a[0], 0);
	rc_debug("statfs() on remote file %s", place.given);
	result = rc_call_statfs(place.at, place.extra, &statfs);
	return result ? result : rc_put_statfs_as(notice, &statfs, (enum rc_layout)a[2], (uint64_t)a[1]);
}

int64_t rc_do_fstatfs(struct rc_notice *notice, const int64_t *a)
{
	struct rc_statfs statfs;
	struct rc_location at;
	int side = own_handle(notice, a[0], &at), result;

	if (side <= 0)
		return side ? side : RC_LET;
	rc_debug("fstatfs() on remote fd %d", (int)a[0]);
	result = rc_call_statfs(at, AT_EMPTY_PATH, &statfs);
	return result ? result : rc_put_statfs_as(notice, &statfs, (enum rc_layout)a[2], (uint64_t)a[1]);
}

/* ------------------------------------------------------------------------------------------------ changes */

int64_t rc_do_change_existing(struct rc_notice *notice, const int64_t *a)
{
	if (!a[1])		/* utimensat and futimesat of a descriptor itself */
		return rc_do_refuse_fd(notice, (const int64_t[]){ a[0], EROFS });
	PLACE(a[0], a[1], a[2]);
	return rc_refuse_call(notice, place.given, rc_change_existing(place.at, (int)a[2] | place.extra));
}

static int64_t truncate_to(struct rc_notice *notice, int64_t path, int64_t size)
{
	PLACE(AT_FDCWD, path, 0);
	return rc_refuse_call(notice, place.given, rc_change_size(place.at, place.extra, size));
}

int64_t rc_do_truncate(struct rc_notice *notice, const int64_t *a)
{
	return truncate_to(notice, a[0], notice->abi->narrow ? (int32_t)a[1] : a[1]);
}

int64_t rc_do_truncate64(struct rc_notice *notice, const int64_t *a)
{
	return truncate_to(notice, a[0], rc_offset_of(notice, a + 1));
}

int64_t rc_do_change_new(struct rc_notice *notice, const int64_t *a)
{
	PLACE(a[0], a[1], AT_SYMLINK_NOFOLLOW);
	return rc_refuse_call(notice, place.given, rc_change_new(place.at, a[2]));
}

int64_t rc_do_mknod(struct rc_notice *notice, const int64_t *a)
{
	PLACE(a[0], a[1], AT_SYMLINK_NOFOLLOW);
	return rc_refuse_call(notice, place.given, rc_change_node(place.at, (unsigned)a[2]));
}

/* Why a path is none: 0 if it's one. */
static int unnamed(struct rc_notice *notice, int64_t path)
{
	char first;

	return rc_target_get(notice, (uint64_t)path, &first, 1) < 0 ? -EFAULT : first ? 0 : -ENOENT;
}

int64_t rc_do_symlink(struct rc_notice *notice, const int64_t *a)
{
	int bad = unnamed(notice, a[0]);

	PLACE(a[1], a[2], AT_SYMLINK_NOFOLLOW);
	return rc_refuse_call(notice, place.given, bad ? bad : rc_change_new(place.at, false));
}

int64_t rc_do_change_entry(struct rc_notice *notice, const int64_t *a)
{
	PLACE(a[0], a[1], AT_SYMLINK_NOFOLLOW);
	return rc_refuse_call(notice, place.given, rc_change_entry(place.at, (int)a[2]));
}

/* rc_place, of a call that has a second path; a path that leads out of a remote directory by ".." is refused. */
static int place_one(struct rc_notice *notice, int64_t dirfd, int64_t path, int flags, struct rc_place *place)
{
	int side = rc_place(notice, (int)dirfd, (uint64_t)path, flags, place);

	return side == RC_INSTEAD ? (int)rc_refuse_call(notice, place->given, -ENOSYS) : side;
}

int64_t rc_do_rename(struct rc_notice *notice, const int64_t *a)
{
	bool named = true, to_named = true;
	struct rc_place place;
	int from = place_one(notice, a[0], a[1], AT_SYMLINK_NOFOLLOW, &place), to, result;

	if (from < 0)
		return from;
	if (from && (result = rc_change_name(place.at, (unsigned)a[4], &named)))
		return rc_refuse_call(notice, place.given, result);
	to = place_one(notice, a[2], a[3], AT_SYMLINK_NOFOLLOW, &place);
	if (to < 0)
		return to;
	if (!from && !to)
		return RC_LET;
	if ((result = unnamed(notice, a[1])) || (result = unnamed(notice, a[3])))
		return result;
	if (to && (result = rc_change_name(place.at, (unsigned)a[4], &to_named)))
		return rc_refuse_call(notice, place.given, result);
	return rc_refuse_call(notice, place.given, from && to ? rc_change_rename(named, to_named, (unsigned)a[4]) : -EXDEV);
}

int64_t rc_do_link(struct rc_notice *notice, const int64_t *a)
{
	int flags = a[4] & AT_SYMLINK_FOLLOW ? 0 : AT_SYMLINK_NOFOLLOW, to, from;
	struct rc_place place;
	struct rc_stat stat;
	int64_t result;

	flags |= (int)a[4] & AT_EMPTY_PATH;
	from = place_one(notice, a[0], a[1], flags, &place);
	if (from < 0)
		return from;
	if (from && ((result = rc_change_link_flags((int)a[4])) ||
		     (result = rc_call_stat(place.at, flags | place.extra, STATX_TYPE, &stat)) < 0))
		return rc_refuse_call(notice, place.given, result);
	to = place_one(notice, a[2], a[3], AT_SYMLINK_NOFOLLOW, &place);
	if (to < 0)
		return to;
	if (!from && !to)
		return RC_LET;
	result = rc_change_link_flags((int)a[4]);
	return rc_refuse_call(notice, place.given, result ? result : to ? rc_change_new(place.at, false) : -EXDEV);
}

int64_t rc_do_refuse_path(struct rc_notice *notice, const int64_t *a)
{
	PLACE(a[0], a[1], a[2]);
	return rc_refuse_call(notice, place.given, -a[3]);
}

int64_t rc_do_refuse_either(struct rc_notice *notice, const int64_t *a)
{
	struct rc_place place;
	int side = place_one(notice, a[0], a[1], (int)a[4], &place);

	if (side == 0)
		side = place_one(notice, a[2], a[3], (int)a[4], &place);
	return side < 0 ? side : side ? rc_refuse_call(notice, place.given, -a[5]) : RC_LET;
}

/* What is mounted is a path where it's a part of the tree. */
int64_t rc_do_mount(struct rc_notice *notice, const int64_t *a)
{
	const int64_t source = a[2] & (MS_BIND | MS_MOVE) ? a[0] : 0;
	const int64_t both[] = { AT_FDCWD, a[1], AT_FDCWD, source, 0, ENOSYS };

	return rc_do_refuse_either(notice, both);
}

/* The mask before them is two arguments on a narrow machine; no path is the directory's descriptor itself. */
int64_t rc_do_fanotify_mark(struct rc_notice *notice, const int64_t *a)
{
	const int64_t *at = notice->abi->narrow ? a + 1 : a;

	PLACE(at[0], at[1], AT_EMPTY_PATH);
	return rc_refuse_call(notice, place.given, -ENOSYS);
}
