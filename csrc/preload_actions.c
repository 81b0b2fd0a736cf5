/* SPDX-License-Identifier: MIT
 *
 * What a spawned child is to open and where it's to start (posix_spawn_file_actions_init(3)), in the preload tier alone: libc does
 * it in the child, with the local file of that name.  What is remote is opened at once instead, and the child takes the descriptor.
 */
#include "preload.h"

#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "cwd.h"
#include "transport.h"

/* Descriptors of ours that some actions count on, until they are destroyed. */
enum { KEPT_ACTIONS = 256 };
enum role {
	OPENED,				/* a file */
	SPENT,				/* one that a child has had: the next gets another, with an offset of its own */
	HERE,				/* where the child is once all is done */
	PASSED,				/* where it isn't any more; or nowhere */
	FAILED,				/* none: what couldn't be had, and its errno for flags */
};
static struct kept {
	_Atomic(const void *) actions;
	int fd, flags;			/* of open(2) */
	enum role role;
} kept[KEPT_ACTIONS];

static bool keep(const void *actions, int fd, enum role role, int flags)
{
	for (int i = 0; i < KEPT_ACTIONS; i++) {
		const void *none = NULL;

		if (atomic_load_explicit(&kept[i].actions, memory_order_relaxed) ||
		    !atomic_compare_exchange_strong(&kept[i].actions, &none, actions))
			continue;
		kept[i].fd = fd;
		kept[i].role = role;
		kept[i].flags = flags;
		return true;
	}
	return false;
}

static bool is_of(const struct kept *k, const void *actions)
{
	return atomic_load_explicit(&k->actions, memory_order_relaxed) == actions;
}

static void pass_on(const void *actions)
{
	for (int i = 0; i < KEPT_ACTIONS; i++)
		if (is_of(&kept[i], actions) && kept[i].role == HERE)
			kept[i].role = PASSED;
}

int rc_actions_directory(const posix_spawn_file_actions_t *actions)
{
	for (int i = 0; actions && i < KEPT_ACTIONS; i++)
		if (is_of(&kept[i], actions) && kept[i].role == HERE)
			return kept[i].fd;
	return AT_FDCWD;
}

static int open_again(const struct kept *k)
{
	char link[RC_FD_LINK];
	int fd = open(rc_sys_fd_link(k->fd, link), (k->flags & ~O_NOFOLLOW) | O_CLOEXEC), result;
	struct rc_sys_limit limit;

	if (fd < 0)
		return errno;
	rc_sys_raise_limit(&limit);
	result = dup3(fd, k->fd, O_CLOEXEC) < 0 ? errno : 0;
	rc_sys_restore_limit(0, &limit);
	close(fd);
	return result;
}

int rc_actions_begin(const posix_spawn_file_actions_t *actions)
{
	int result = 0, saved = errno;

	for (int i = 0; actions && !result && i < KEPT_ACTIONS; i++) {
		if (!is_of(&kept[i], actions))
			continue;
		if (kept[i].role == FAILED)
			result = kept[i].flags;
		else if (kept[i].role == SPENT)
			result = open_again(&kept[i]);
		else if (kept[i].role == OPENED)
			kept[i].role = SPENT;
	}
	errno = saved;
	return result;
}

bool rc_actions_move(const posix_spawn_file_actions_t *actions)
{
	for (int i = 0; actions && i < KEPT_ACTIONS; i++)
		if (is_of(&kept[i], actions) && (kept[i].role == HERE || kept[i].role == PASSED))
			return true;
	return false;
}

static void give_up(const void *actions)
{
	int saved = errno;

	for (int i = 0; actions && i < KEPT_ACTIONS; i++) {
		if (!is_of(&kept[i], actions))
			continue;
		close(kept[i].fd);
		kept[i].role = PASSED;
		atomic_store(&kept[i].actions, NULL);
	}
	errno = saved;
}

/* Whoever never destroyed what was there before. */
RC_EXPORT int posix_spawn_file_actions_init(posix_spawn_file_actions_t *actions)
{
	if (rc_ready())
		give_up(actions);
	return rc_pass_posix_spawn_file_actions_init()(actions);
}

RC_EXPORT int posix_spawn_file_actions_destroy(posix_spawn_file_actions_t *actions)
{
	if (rc_ready())
		give_up(actions);
	return rc_pass_posix_spawn_file_actions_destroy()(actions);
}

/* -ENOMEM: the descriptor is closed. */
static int keep_or_close(const void *actions, int fd, enum role role, int flags)
{
	if (keep(actions, fd, role, flags))
		return 0;
	close(fd);
	return -ENOMEM;
}

/* The child takes `fd` as `to`, or (-1) goes to the directory that it is.  libc's own take no number above the limit. */
static int add(posix_spawn_file_actions_t *actions, int fd, int to)
{
	struct rc_sys_limit limit;
	int bad;

	rc_sys_raise_limit(&limit);
	bad = to < 0 ? rc_pass_posix_spawn_file_actions_addfchdir_np()(actions, fd)
		     : posix_spawn_file_actions_adddup2(actions, fd, to);
	rc_sys_restore_limit(0, &limit);
	return -bad;
}

static int open_now(posix_spawn_file_actions_t *actions, int fd, const struct rc_target *t, int flags, mode_t mode)
{
	int opened = rc_remote_open(t, flags | O_CLOEXEC, mode, 0), high, bad;

	if (opened < 0)
		return opened;
	high = rc_sys_dup_high(opened, rc_transport_floor(), true);	/* where no other action comes by */
	if (high >= 0 && rc_fdtable_get(high)) {
		close(opened);
		opened = high;
	}
	bad = keep_or_close(actions, opened, OPENED, flags);
	return bad ? bad : add(actions, opened, fd);
}

/* What went wrong is posix_spawn's to say, as libc finds it out in the child. */
static int settle(const void *actions, int result)
{
	return result >= 0 || keep(actions, -1, FAILED, -result) ? 0 : -result;
}

RC_EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags,
					       mode_t mode)
{
	struct rc_target t;
	int side, saved = errno, result;

	if (!rc_ready() || rc_config.supervised || fd < 0)
		return rc_pass_posix_spawn_file_actions_addopen()(actions, fd, path, flags, mode);
	side = rc_locate(rc_actions_directory(actions), path, 0, &t);
	if (side == 0)
		return rc_pass_posix_spawn_file_actions_addopen()(actions, fd, t.instead ? t.instead : path, flags, mode);
	result = side < 0 ? side : open_now(actions, fd, &t, flags, mode);
	errno = saved;
	return settle(actions, result);
}

/* In the child as where a process is after chdir(2): see cwd.h. */
static int start_in(posix_spawn_file_actions_t *actions, struct rc_location at, const char *by)
{
	int made = rc_cwd_make(at, by), nowhere, bad;

	if (made < 0)
		return made;
	nowhere = rc_cwd_nowhere();
	if (nowhere < 0) {
		close(made);
		return nowhere;
	}
	rc_cwd_stand_in(made, nowhere);
	pass_on(actions);
	bad = keep_or_close(actions, made, HERE, 0);
	if (bad) {
		close(nowhere);
		return bad;
	}
	bad = keep_or_close(actions, nowhere, PASSED, 0);
	if (!bad)
		bad = add(actions, made, RC_CWD_FD);
	return bad ? bad : add(actions, nowhere, -1);
}

RC_EXPORT int posix_spawn_file_actions_addchdir_np(posix_spawn_file_actions_t *actions, const char *path)
{
	int side, saved = errno, result;
	char by[RC_PATH_MAX];
	struct rc_target t;

	if (!rc_ready() || rc_config.supervised)
		return rc_pass_posix_spawn_file_actions_addchdir_np()(actions, path);
	side = rc_locate(rc_actions_directory(actions), path, 0, &t);
	if (side == 0) {
		pass_on(actions);
		return rc_pass_posix_spawn_file_actions_addchdir_np()(actions, t.instead ? t.instead : path);
	}
	result = side < 0 ? side : rc_cwd_entered_by(rc_actions_directory(actions), t.given, by, sizeof by);
	if (result >= 0)
		result = (int)RC_SPAN("posix_spawn_file_actions_addchdir_np", t.given, -1, t.at.directory,
				      start_in(actions, t.at, by));
	errno = saved;
	return settle(actions, result);
}

RC_EXPORT int posix_spawn_file_actions_addfchdir_np(posix_spawn_file_actions_t *actions, int fd)
{
	struct rc_description *d = rc_ready() && !rc_config.supervised ? rc_fdtable_get(fd) : NULL;
	int saved = errno, result;
	char by[RC_PATH_MAX];

	if (!d) {
		pass_on(actions);
		return rc_pass_posix_spawn_file_actions_addfchdir_np()(actions, fd);
	}
	if (rc_cwd_path(d->handle, -1, by, sizeof by) < 0)
		strcpy(by, "/");
	result = d->kind != RC_KIND_DIRECTORY && d->kind != RC_KIND_PATH ? -ENOTDIR
	       : (int)RC_SPAN("posix_spawn_file_actions_addfchdir_np", by, fd, d->handle,
			      start_in(actions, (struct rc_location){ d->handle, "." }, by));
	errno = saved;
	return settle(actions, result);
}
