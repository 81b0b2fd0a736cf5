/* SPDX-License-Identifier: MIT
 *
 * The working directory.  Where it's remote the kernel's own is a removed directory, and descriptor RC_CWD_FD says what it is:
 * children and programs that are executed find it there.
 */
#include "preload.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cwd.h"
#include "protocol.h"
#include "transport.h"

static void drop(int fd)
{
	uint64_t handle;
	bool last = rc_fdtable_close(fd, &handle);

	rc_sys_close(fd);
	if (last)
		rc_call_close(handle);
}

struct rc_description *rc_cwd(void)
{
	static _Atomic bool known;
	struct rc_description *d = rc_fdtable_get(RC_CWD_FD);

	if (!d || d->kind != RC_CWD_KIND || d->handle == RC_NO_HANDLE)
		return NULL;
	/* What an exec left us: the program before may have gone on to a local directory without this library. */
	if (!atomic_load_explicit(&known, memory_order_relaxed)) {
		atomic_store(&known, true);
		if (rc_cwd_left(RC_CWD_FD, 0)) {
			drop(RC_CWD_FD);
			return NULL;
		}
	}
	return d;
}

int rc_cwd_nowhere(void)
{
	char name[] = "/tmp/remotec-XXXXXXXX";
	uint8_t random[8];
	long made = -EEXIST;
	int fd;

	for (int attempt = 0; made == -EEXIST && attempt < 16; attempt++) {
		rc_sys_random(random, sizeof random);
		for (int i = 0; i < 8; i++)
			name[sizeof name - 9 + i] = (char)('a' + random[i] % 26);
		made = RC_SYS(SYS_mkdirat, AT_FDCWD, name, 0700, 0, 0, 0);
	}
	if (made < 0)
		return (int)made;
	fd = rc_sys_open(AT_FDCWD, name, O_PATH | O_DIRECTORY | O_CLOEXEC, 0);
	RC_SYS(SYS_unlinkat, AT_FDCWD, name, AT_REMOVEDIR, 0, 0, 0);
	return rc_sys_raise(fd, rc_transport_floor());
}

static void park(void)
{
	int nowhere = rc_cwd_nowhere();

	if (nowhere < 0)
		return;
	RC_SYS(SYS_fchdir, nowhere, 0, 0, 0, 0, 0);
	rc_sys_close(nowhere);
}

/* The number is ours to take unless the program has put something of its own there.  At no time is nothing there for another thread
 * to find. */
static int place(int made)
{
	struct rc_description *before = rc_fdtable_get(RC_CWD_FD);
	int there = rc_sys_fcntl(RC_CWD_FD, F_GETFD, 0), placed;
	uint64_t handle;
	bool last;

	if (there >= 0 && !(before && before->kind == RC_CWD_KIND))
		return -EMFILE;
	last = there >= 0 && rc_fdtable_close(RC_CWD_FD, &handle);
	placed = there >= 0 ? rc_sys_dup_to(made, RC_CWD_FD, 0) : rc_sys_dup_high(made, RC_CWD_FD, 0);
	rc_fdtable_forget(RC_CWD_FD);		/* which it may have looked at meanwhile */
	if (last)
		rc_call_close(handle);
	if (placed >= 0 && placed != RC_CWD_FD) {
		rc_sys_close(placed);
		placed = -EMFILE;
	}
	return placed < 0 ? placed : rc_fdtable_get(placed) ? placed : -ENFILE;
}

int rc_cwd_make(struct rc_location at, const char *path)
{
	struct rc_placeholder found;
	struct rc_opened opened;
	int made, result = rc_cwd_open(at, &opened);

	if (result)
		return result;
	made = rc_sys_raise(rc_cwd_placeholder(opened.handle, path), rc_transport_floor());
	if (made < 0 || rc_placeholder_identify(made, &found) != 1 || rc_fdtable_insert(made, &found) < 0) {
		rc_call_close(opened.handle);
		if (made >= 0)
			rc_sys_close(made);
		return made < 0 ? made : -ENFILE;
	}
	return made;
}

static int enter(struct rc_location at, const char *path)
{
	bool was_local = !rc_cwd();
	int made = rc_cwd_make(at, path), placed;

	if (made < 0)
		return made;
	placed = place(made);
	drop(made);
	if (placed < 0)
		return placed;
	if (was_local)
		park();
	rc_cwd_stand(RC_CWD_FD, 0);
	rc_debug("working directory is remote file %s", path);
	return 0;
}

static void leave(void)
{
	if (rc_cwd())
		drop(RC_CWD_FD);
}

int rc_cwd_entered_by(int dirfd, const char *path, char *out, size_t size)
{
	char base[RC_PATH_MAX] = "/";

	if (*path != '/') {
		if (dirfd != AT_FDCWD || rc_cwd())
			rc_cwd_entered(dirfd == AT_FDCWD ? RC_CWD_FD : dirfd, base, sizeof base);
		else if (RC_SYS(SYS_getcwd, base, sizeof base, 0, 0, 0, 0) < 0)
			strcpy(base, "/");
	}
	return rc_path_fold(base, path, out, size);
}

RC_EXPORT int chdir(const char *path)
{
	char by[RC_PATH_MAX];
	struct rc_target t;
	int side, result;

	if (!rc_ready())
		return rc_pass_chdir()(path);
	side = rc_locate(AT_FDCWD, path, 0, &t);
	if (side == 0) {
		if (t.instead)
			path = t.instead;
		rc_count_local();
		result = rc_raw ? (int)rc_finish(RC_SYS(SYS_chdir, path, 0, 0, 0, 0, 0)) : rc_next_chdir(path);
		if (result == 0)
			leave();
		return result;
	}
	result = side < 0 ? side : rc_cwd_entered_by(AT_FDCWD, t.given, by, sizeof by);
	if (result >= 0)
		result = (int)RC_SPAN("chdir", t.given, -1, t.at.directory, enter(t.at, by));
	return (int)rc_finish(result);
}

RC_EXPORT int fchdir(int fd)
{
	struct rc_description *d;
	char by[RC_PATH_MAX];
	ssize_t length;
	int result;

	if (!rc_ready())
		return rc_pass_fchdir()(fd);
	d = rc_fdtable_get(fd);
	if (!d) {
		rc_count_local();
		result = rc_raw ? (int)rc_finish(RC_SYS(SYS_fchdir, fd, 0, 0, 0, 0, 0)) : rc_next_fchdir(fd);
		if (result == 0)
			leave();
		return result;
	}
	length = rc_cwd_path(d->handle, -1, by, sizeof by);
	if (length < 0)
		strcpy(by, "/");
	result = d->kind != RC_KIND_DIRECTORY && d->kind != RC_KIND_PATH ? -ENOTDIR
	       : (int)RC_SPAN("fchdir", by, fd, d->handle, enter((struct rc_location){ d->handle, "." }, by));
	return (int)rc_finish(result);
}

/* ------------------------------------------------------------------------------------------------- getcwd */

RC_EXPORT char *getcwd(char *buffer, size_t size)
{
	char path[RC_PATH_MAX];
	struct rc_description *d;
	ssize_t length;

	if (!rc_ready())
		return rc_pass_getcwd()(buffer, size);
	d = rc_cwd();
	if (!d) {
		rc_count_local();
		return rc_next_getcwd(buffer, size);
	}
	if (buffer && !size) {
		errno = EINVAL;
		return NULL;
	}
	length = (ssize_t)RC_SPAN("getcwd", NULL, -1, RC_NO_HANDLE, rc_cwd_path(d->handle, RC_CWD_FD, path, sizeof path));
	if (length > 0 && size && (size_t)length > size)
		length = -ERANGE;
	if (rc_finish(length) < 0)
		return NULL;
	if (!buffer)
		buffer = malloc(size ? size : (size_t)length);
	return buffer ? memcpy(buffer, path, (size_t)length) : NULL;
}

#ifdef __GLIBC__
RC_EXPORT char *__getcwd_chk(char *buffer, size_t size, size_t room)
{
	if (!rc_ready() || size > room || !rc_cwd())
		return rc_pass___getcwd_chk()(buffer, size, room);
	return getcwd(buffer, size);
}

RC_EXPORT char *__getwd_chk(char *buffer, size_t room)
{
	return rc_ready() && rc_cwd() ? getcwd(buffer, room < PATH_MAX ? room : PATH_MAX) : rc_pass___getwd_chk()(buffer, room);
}
#endif

/* libc's own chdir passes no wrapper; the child's working directory is `/` all the same. */
RC_EXPORT int daemon(int stay, int keep)
{
	int result;

	if (!rc_ready())
		return rc_pass_daemon()(stay, keep);
	result = rc_next_daemon(1, keep);
	return result == 0 && !stay ? chdir("/") : result;
}

RC_EXPORT char *getwd(char *buffer)
{
	return rc_ready() && rc_cwd() ? getcwd(buffer, PATH_MAX) : rc_pass_getwd()(buffer);
}

/* $PWD where it names the directory, as libc has it. */
RC_EXPORT char *get_current_dir_name(void)
{
	const char *said = getenv("PWD");
	struct stat here, there;

	if (!rc_ready() || !rc_cwd())
		return rc_pass_get_current_dir_name()();
	if (said && *said == '/' && stat(".", &here) == 0 && stat(said, &there) == 0 && here.st_dev == there.st_dev &&
	    here.st_ino == there.st_ino)
		return strdup(said);
	return getcwd(NULL, 0);
}

/* ----------------------------------------------------------------------------------------------- realpath */

/* The server resolves it, in one walk of its own. */
static int resolve(const struct rc_target *t, char *path, size_t size)
{
	char server[RC_PATH_MAX + 64];
	struct rc_opened opened;
	int result = rc_call_open(t->at, O_PATH | O_CLOEXEC, 0, 0, NULL, 0, &opened);
	ssize_t length;

	rc_debug("realpath() on remote file %s", t->given);
	if (result)
		return result;
	length = rc_call_getpath(opened.handle, server, sizeof server - 1);
	rc_call_close(opened.handle);
	if (length < 0)
		return (int)length;
	server[length] = '\0';
	result = rc_route_reverse(&rc_config.routes, server, path, size);
	/* A link leads to where no rule leads: the name that the program has for it is the only one. */
	return result == -ENOENT ? rc_cwd_entered_by(AT_FDCWD, t->given, path, size) : result;
}

RC_EXPORT char *realpath(const char *path, char *resolved)
{
	char found[RC_PATH_MAX];
	struct rc_target t;
	int side;

	if (!rc_ready() || !path)
		return rc_pass_realpath()(path, resolved);
	side = rc_locate(AT_FDCWD, path, 0, &t);
	if (side == 0) {
		rc_count_local();
		return rc_next_realpath(t.instead ? t.instead : path, resolved);
	}
	if (rc_finish(side < 0 ? side : RC_SPAN("realpath", t.given, -1, t.at.directory, resolve(&t, found, sizeof found))) < 0)
		return NULL;
	return resolved ? strcpy(resolved, found) : strdup(found);
}

#ifdef __GLIBC__
RC_EXPORT char *canonicalize_file_name(const char *path)
{
	return realpath(path, NULL);
}

RC_EXPORT char *__realpath_chk(const char *path, char *resolved, size_t room)
{
	return room < PATH_MAX ? rc_pass___realpath_chk()(path, resolved, room) : realpath(path, resolved);
}
#endif
