/* SPDX-License-Identifier: MIT
 *
 * Working directories of programs that the preload library isn't in: the placeholder of cwd.h is put into them from outside.
 * The kernel's own directory stays where it was, since every call that starts from it comes here first.
 */
#include "supervise_place.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cwd.h"
#include "protocol.h"
#include "report.h"
#include "supervise_serve.h"
#include "syscalls_expand.h"
#include "sys.h"

/* Puts `fd` at RC_CWD_FD in the program, for which its limit must be above that for a moment. */
static int put_there(struct rc_notice *notice, int fd)
{
	int process = rc_target_process(notice), there;
	struct rlimit before, raised;

	if (process < 0 || prlimit(process, RLIMIT_NOFILE, NULL, &before)) {
		close(fd);
		return -ESRCH;
	}
	raised = before;
	if (before.rlim_cur <= RC_CWD_FD)
		raised.rlim_cur = RC_CWD_FD + 1;
	if (raised.rlim_cur != before.rlim_cur && prlimit(process, RLIMIT_NOFILE, &raised, NULL)) {
		close(fd);
		return -EMFILE;
	}
	there = rc_notice_add(notice, fd, RC_CWD_FD, false);
	if (raised.rlim_cur != before.rlim_cur)
		prlimit(process, RLIMIT_NOFILE, &before, NULL);
	return there < 0 ? there : 0;
}

/* Programs whose placeholder is being closed with a range: our copy of it, until their next call with a path. */
enum { LOST = 64 };
static struct {
	int process, fd;
} lost[LOST];
static _Atomic int lost_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void keep(int process, int fd)
{
	bool kept = false;

	pthread_mutex_lock(&lock);
	for (int i = 0; i < LOST && !kept; i++)
		if (!lost[i].process) {
			lost[i].process = process;
			lost[i].fd = fd;
			atomic_fetch_add(&lost_count, 1);
			kept = true;
		}
	pthread_mutex_unlock(&lock);
	if (!kept)
		close(fd);
}

void rc_cwd_restore(struct rc_notice *notice)
{
	int process, fd = -1;

	if (!atomic_load(&lost_count))
		return;
	process = rc_target_process(notice);
	pthread_mutex_lock(&lock);
	for (int i = 0; i < LOST; i++)
		if (lost[i].process == process) {
			fd = lost[i].fd;
			lost[i].process = 0;
			atomic_fetch_sub(&lost_count, 1);
			break;
		} else if (lost[i].process && kill(lost[i].process, 0) && errno == ESRCH) {
			close(lost[i].fd);
			lost[i].process = 0;
			atomic_fetch_sub(&lost_count, 1);
		}
	pthread_mutex_unlock(&lock);
	if (fd >= 0)
		put_there(notice, fd);
}

static int64_t enter(struct rc_notice *notice, struct rc_location at, const char *path)
{
	struct rc_opened opened;
	int fd, result = rc_cwd_open(at, &opened);

	if (result)
		return result;
	fd = rc_cwd_placeholder(opened.handle, path);
	if (fd < 0) {
		rc_call_close(opened.handle);
		return fd;
	}
	rc_cwd_stand(fd, notice->n->pid);
	rc_descriptions_get(fd);	/* closed with its last copy */
	atomic_store(&rc_cwd_used, true);
	rc_debug("working directory is remote file %s", path);
	return put_there(notice, fd);
}

/* The placeholder that the caller has, of the present or the past. */
static bool placeholder(struct rc_notice *notice, struct rc_description **d, int *own)
{
	if (!(rc_supervise_preloaded || atomic_load(&rc_cwd_used)) || rc_target_description(notice, RC_CWD_FD, d, own) != 1)
		return false;
	if ((*d)->kind == RC_CWD_KIND && (*d)->handle != RC_NO_HANDLE)
		return true;
	close(*own);
	return false;
}

int rc_cwd_directory(struct rc_notice *notice, struct rc_description **d, int *own)
{
	if (!placeholder(notice, d, own))
		return 0;
	if (!rc_cwd_left(*own, notice->n->pid))
		return 1;
	close(*own);
	return 0;
}

static int become_local(struct rc_notice *notice)
{
	int made = rc_cwd_placeholder(RC_NO_HANDLE, "/");

	return made < 0 ? made : put_there(notice, made);
}

/* Before the kernel's own directory changes, maybe back to what it was. */
static int settle(struct rc_notice *notice)
{
	struct rc_description *d;
	int own, result = 0;

	if (placeholder(notice, &d, &own)) {
		if (rc_cwd_left(own, notice->n->pid))
			result = become_local(notice);
		close(own);
	}
	return result;
}

/* From the remote directory of placeholder `own` to the local one `to`.  Where the kernel's own directory isn't that already, its
 * change says it all. */
static int64_t leave(struct rc_notice *notice, int own, int to)
{
	if (!rc_cwd_stands_in(own, to) || faccessat(to, ".", X_OK, AT_EACCESS))
		return RC_LET;
	return become_local(notice);
}

/* A descriptor of what the caller means by an absolute path that is local; -1. */
static int open_local(const struct rc_notice *notice, const char *path)
{
	static const char own[] = "/proc/self/";
	char there[RC_PATH_MAX + 40];

	if (strncmp(path, own, sizeof own - 1))
		snprintf(there, sizeof there, "/proc/%u/root%s", notice->n->pid, path);
	else
		snprintf(there, sizeof there, "/proc/%u/%s", notice->n->pid, path + sizeof own - 1);
	return open(there, O_PATH | O_DIRECTORY | O_CLOEXEC);
}

static void entered_by(struct rc_notice *notice, const char *path, char *out, size_t size)
{
	char base[RC_PATH_MAX] = "/";
	struct rc_description *d;
	int own;

	if (*path != '/') {
		if (rc_cwd_directory(notice, &d, &own)) {
			rc_cwd_entered(own, base, sizeof base);
			close(own);
		} else if (rc_target_directory(notice, AT_FDCWD, base, sizeof base) < 0) {
			strcpy(base, "/");
		}
	}
	if (rc_path_fold(base, path, out, size) < 0)
		strcpy(out, "/");
}

int64_t rc_do_chdir(struct rc_notice *notice, const int64_t *a)
{
	char by[RC_PATH_MAX];
	struct rc_description *d;
	struct rc_place place;
	int64_t result;
	int side, own, to;

	if (rc_redirected(notice))
		return RC_LET;
	result = settle(notice);
	if (result)
		return result;
	side = rc_place(notice, AT_FDCWD, (uint64_t)a[0], 0, &place);
	if (side < 0)
		return side;
	if (side == 1) {
		entered_by(notice, place.given, by, sizeof by);
		return enter(notice, place.at, by);
	}
	if ((side == 0 && place.given[0] != '/') || !rc_cwd_directory(notice, &d, &own))
		return RC_LET;
	to = open_local(notice, side == RC_INSTEAD ? place.route.path : place.given);
	result = to >= 0 ? leave(notice, own, to) : side == RC_INSTEAD ? -errno : RC_LET;
	close(own);
	/* The kernel would take a relative path from the directory that it still has. */
	if (side == RC_INSTEAD && result == RC_LET)
		return rc_redirect(notice, 0, -1, to);
	if (to >= 0)
		close(to);
	return result;
}

int64_t rc_do_fchdir(struct rc_notice *notice, const int64_t *a)
{
	char by[RC_PATH_MAX];
	struct rc_description *d;
	int64_t result = settle(notice);
	int own, to, side;

	if (result)
		return result;
	side = rc_target_description(notice, (int)a[0], &d, &own);
	if (side == 1) {
		rc_notice_remote(notice, (int)a[0], d->handle, "");
		if (rc_cwd_path(d->handle, -1, by, sizeof by) < 0)
			strcpy(by, "/");
		result = d->kind != RC_KIND_DIRECTORY && d->kind != RC_KIND_PATH ? -ENOTDIR
		       : enter(notice, (struct rc_location){ d->handle, "." }, by);
		close(own);
		return result;
	}
	if (side < 0 || !rc_cwd_directory(notice, &d, &own))
		return RC_LET;
	to = rc_target_borrow(notice, (int)a[0]);
	result = to >= 0 ? leave(notice, own, to) : RC_LET;
	if (to >= 0)
		close(to);
	close(own);
	return result;
}

/* Also where it would only be closed on exec: it isn't to be. */
int64_t rc_do_close_range(struct rc_notice *notice, const int64_t *a)
{
	struct rc_description *d;
	int own;

	if ((uint32_t)a[0] <= RC_CWD_FD && (uint32_t)a[1] >= RC_CWD_FD && rc_cwd_directory(notice, &d, &own))
		keep(rc_target_process(notice), own);
	return RC_LET;
}

/* As where it isn't open. */
int64_t rc_do_keep_cwd(struct rc_notice *notice, const int64_t *a)
{
	struct rc_description *d;
	int own;

	(void)a;
	if (!rc_cwd_directory(notice, &d, &own))
		return RC_LET;
	close(own);
	return -EBADF;
}

int64_t rc_do_getcwd(struct rc_notice *notice, const int64_t *a)
{
	char path[RC_PATH_MAX];
	struct rc_description *d;
	ssize_t length;
	int own;

	rc_cwd_restore(notice);
	if (!rc_cwd_directory(notice, &d, &own))
		return RC_LET;
	rc_notice_remote(notice, -1, d->handle, "");
	length = rc_cwd_path(d->handle, own, path, sizeof path);
	close(own);
	if (length > 0 && (uint64_t)length > (uint64_t)a[1])
		length = -ERANGE;
	return length < 0 ? length : rc_target_put(notice, (uint64_t)a[0], path, (size_t)length) == length ? length : -EFAULT;
}
