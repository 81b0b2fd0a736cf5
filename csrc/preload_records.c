/* SPDX-License-Identifier: MIT
 *
 * What libc reads of files whose names it knows itself, by calls that pass no wrapper: who is logged in, login shells, the table of
 * file systems.  Where such a file is remote it's the server's; a change of it is refused.  Under a supervisor libc
 * reads the server's file by itself.
 */
#include "oldest.h"

#include "preload.h"

bool rc_is_remote(const char *path)
{
	struct rc_target t;

	return rc_ready() && !rc_config.supervised && rc_locate(AT_FDCWD, path, 0, &t) == 1;
}

#ifdef __GLIBC__
#include <fstab.h>
#include <limits.h>
#include <mntent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <utmp.h>
#include <utmpx.h>

/* Whether a change of the file has to be refused; errno. */
static bool keeps_unchanged(const char *call, const char *path)
{
	if (!rc_is_remote(path))
		return false;
	rc_debug("%s() on remote file %s: EROFS", call, path);
	rc_stats_refused(-EROFS);
	errno = EROFS;
	return true;
}

/* --------------------------------------------------------------------------------------------- who is logged in */

static char logins[PATH_MAX] = _PATH_UTMP;	/* the program's word; libc has the name of a copy */
static bool copied;

/* libc opens a copy, and goes on with that. */
static void open_logins(void)
{
	char link[RC_FD_LINK];
	struct rc_target t;
	int fd;

	if (copied || !rc_is_remote(logins) || rc_locate(AT_FDCWD, logins, 0, &t) != 1)
		return;
	rc_debug("utmp on remote file %s", logins);
	fd = (int)RC_SPAN("getutent", t.given, -1, t.at.directory, rc_copy_of(&t));
	rc_pass_utmpname()(rc_sys_fd_link(fd, link));	/* of none: a name that leads nowhere */
	rc_pass_setutent()();
	if (fd >= 0)
		rc_sys_close(fd);
	copied = true;
}

static void close_logins(void)
{
	rc_pass_endutent()();
	if (copied)
		rc_pass_utmpname()(logins);
	copied = false;
}

#define LOGINS(type, name, params, args) \
	RC_EXPORT type name params \
	{ \
		open_logins(); \
		return rc_pass_##name() args; \
	}
LOGINS(struct utmp *, getutent, (void), ())
LOGINS(struct utmp *, getutid, (const struct utmp *key), (key))
LOGINS(struct utmp *, getutline, (const struct utmp *key), (key))
LOGINS(int, getutent_r, (struct utmp *to, struct utmp **found), (to, found))
LOGINS(int, getutid_r, (const struct utmp *key, struct utmp *to, struct utmp **found), (key, to, found))
LOGINS(int, getutline_r, (const struct utmp *key, struct utmp *to, struct utmp **found), (key, to, found))
LOGINS(struct utmpx *, getutxent, (void), ())
LOGINS(struct utmpx *, getutxid, (const struct utmpx *key), (key))
LOGINS(struct utmpx *, getutxline, (const struct utmpx *key), (key))

#define SET_END(set, end, name_it, put, append, type) \
	RC_EXPORT void set(void) \
	{ \
		close_logins(); \
		open_logins(); \
		rc_pass_##set()(); \
	} \
	RC_EXPORT void end(void) \
	{ \
		close_logins(); \
	} \
	RC_EXPORT int name_it(const char *path) \
	{ \
		size_t length = strlen(path); \
		close_logins(); \
		if (length < sizeof logins) \
			memcpy(logins, path, length + 1); \
		return length < sizeof logins ? rc_pass_##name_it()(path) : -1; \
	} \
	RC_EXPORT struct type *put(const struct type *entry) \
	{ \
		return keeps_unchanged(#put, logins) ? NULL : rc_pass_##put()(entry); \
	} \
	RC_EXPORT void append(const char *path, const struct type *entry) \
	{ \
		if (!keeps_unchanged(#append, path)) \
			rc_pass_##append()(path, entry); \
	}
SET_END(setutent, endutent, utmpname, pututline, updwtmp, utmp)
SET_END(setutxent, endutxent, utmpxname, pututxline, updwtmpx, utmpx)

/* login(3) and logout(3) are left: libraries have functions of these names of their own. */
RC_EXPORT void logwtmp(const char *line, const char *name, const char *host)
{
	if (!keeps_unchanged("logwtmp", _PATH_WTMP))
		rc_pass_logwtmp()(line, name, host);
}

/* Who logged in here: this machine's number, the server's name for it. */
RC_EXPORT int getlogin_r(char *name, size_t size)
{
	char text[16] = "", room[2048], *end;
	int fd, result;
	struct passwd user, *found = NULL;

	if (!rc_is_remote("/etc/passwd"))
		return rc_pass_getlogin_r()(name, size);
	fd = rc_sys_open(AT_FDCWD, "/proc/self/loginuid", O_RDONLY | O_CLOEXEC, 0);
	if (fd >= 0) {
		RC_SYS(SYS_read, fd, text, sizeof text - 1, 0, 0, 0);
		rc_sys_close(fd);
	}
	uid_t uid = (uid_t)strtoul(text, &end, 10);
	result = end == text || uid == (uid_t)-1 ? ENXIO : getpwuid_r(uid, &user, room, sizeof room, &found);
	if (!result)
		result = !found ? ENOENT : strlen(found->pw_name) >= size ? ERANGE : 0;
	if (!result)
		strcpy(name, found->pw_name);
	else
		errno = result;
	return result;
}

RC_EXPORT int __getlogin_r_chk(char *name, size_t size, size_t room)
{
	return size <= room && rc_is_remote("/etc/passwd") ? getlogin_r(name, size)
							   : rc_pass___getlogin_r_chk()(name, size, room);
}

RC_EXPORT char *getlogin(void)
{
	static char name[LOGIN_NAME_MAX];

	if (!rc_is_remote("/etc/passwd"))
		return rc_pass_getlogin()();
	return getlogin_r(name, sizeof name) ? NULL : name;
}

RC_EXPORT char *cuserid(char *name)
{
	static char kept[L_cuserid];
	struct passwd *user;

	if (!rc_is_remote("/etc/passwd"))
		return rc_pass_cuserid()(name);
	user = getpwuid(geteuid());
	if (!user) {
		if (name)
			*name = '\0';
		return name;
	}
	return strncpy(name ? name : kept, user->pw_name, L_cuserid - 1);
}

RC_EXPORT int getpw(uid_t uid, char *line)
{
	struct passwd *user;

	if (!rc_is_remote("/etc/passwd"))
		return rc_pass_getpw()(uid, line);
	user = getpwuid(uid);
	return user ? -(sprintf(line, "%s:%s:%lu:%lu:%s:%s:%s", user->pw_name, user->pw_passwd, (unsigned long)user->pw_uid,
				(unsigned long)user->pw_gid, user->pw_gecos, user->pw_dir, user->pw_shell) < 0) : -1;
}

RC_EXPORT int lckpwdf(void)
{
	return keeps_unchanged("lckpwdf", "/etc/.pwd.lock") ? -1 : rc_pass_lckpwdf()();
}

/* ----------------------------------------------------------------------------------------------- login shells */

static FILE *shells;
static const char *const *usual;	/* where there is no such file */

static void close_shells(void)
{
	if (shells)
		fclose(shells);
	shells = NULL;
	usual = NULL;
}

/* From the first `/` to a blank or a comment. */
static char *next_shell(void)
{
	static const char *const built_in[] = { "/bin/sh", "/bin/csh", NULL };
	static char *line;
	static size_t size;

	if (!shells && !usual && !(shells = fopen("/etc/shells", "re")))
		usual = built_in;
	if (usual)
		return *usual ? (char *)(uintptr_t)*usual++ : NULL;
	while (getline(&line, &size, shells) > 0) {
		char *at = line + strcspn(line, "#/");

		at[strcspn(at, "# \t\r\f\v\n")] = '\0';
		if (*at == '/' && at[1])
			return at;
	}
	return NULL;
}

RC_EXPORT char *getusershell(void)
{
	return rc_is_remote("/etc/shells") ? next_shell() : rc_pass_getusershell()();
}

RC_EXPORT void setusershell(void)
{
	close_shells();
	if (!rc_is_remote("/etc/shells"))
		rc_pass_setusershell()();
}

RC_EXPORT void endusershell(void)
{
	close_shells();
	rc_pass_endusershell()();
}

/* --------------------------------------------------------------------------------------- file systems */

static FILE *table;

static struct fstab *next_fstab(void)
{
	static const char *const kinds[] = { FSTAB_RW, FSTAB_RQ, FSTAB_RO, FSTAB_SW, FSTAB_XX };
	static struct mntent entry;
	static struct fstab kept;
	static char room[8192];

	if ((!table && !(table = setmntent(_PATH_FSTAB, "r"))) || !getmntent_r(table, &entry, room, sizeof room))
		return NULL;
	kept = (struct fstab){ entry.mnt_fsname, entry.mnt_dir, entry.mnt_type, entry.mnt_opts, "??", entry.mnt_freq,
			       entry.mnt_passno };
	for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
		if (hasmntopt(&entry, kinds[i])) {
			kept.fs_type = kinds[i];
			break;
		}
	return &kept;
}

RC_EXPORT void endfsent(void)
{
	if (table)
		endmntent(table);
	table = NULL;
	rc_pass_endfsent()();
}

RC_EXPORT int setfsent(void)
{
	if (!rc_is_remote(_PATH_FSTAB))
		return rc_pass_setfsent()();
	endfsent();
	table = setmntent(_PATH_FSTAB, "r");
	return table != NULL;
}

RC_EXPORT struct fstab *getfsent(void)
{
	return rc_is_remote(_PATH_FSTAB) ? next_fstab() : rc_pass_getfsent()();
}

#define FSTAB_BY(name, field) \
	RC_EXPORT struct fstab *name(const char *key) \
	{ \
		struct fstab *found = NULL; \
		if (!rc_is_remote(_PATH_FSTAB)) \
			return rc_pass_##name()(key); \
		if (setfsent()) \
			while ((found = next_fstab()) && strcmp(found->field, key) != 0) \
				; \
		return found; \
	}
FSTAB_BY(getfsspec, fs_spec)
FSTAB_BY(getfsfile, fs_file)
#endif
