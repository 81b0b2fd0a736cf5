/* SPDX-License-Identifier: MIT
 *
 * Users and groups of the server's /etc: libc reads these files by calls of its own, which pass no wrapper.  Where
 * /etc/passwd is remote its lines are all the users there are (/etc/group's the groups, /etc/shadow's and /etc/gshadow's the
 * passwords); other name services stay this machine's and aren't asked.  Under a supervisor libc reads the server's file by itself.
 */
#include "preload.h"

#ifdef __GLIBC__
#include <gshadow.h>
#include <stdlib.h>
#include <string.h>

/* 0, or ENOMEM. */
static int grow(char **buffer, size_t *size)
{
	char *larger = realloc(*buffer, *size + 4096);

	if (!larger)
		return ENOMEM;
	*buffer = larger;
	*size += 4096;
	return 0;
}

/* The next line, as fgetpwent_r(3), but after ERANGE the same one comes again, for a larger buffer. */
#define LINES(type, next) \
	static int line_##type(FILE *lines, struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		off_t before = ftello(lines); \
		int result = next(lines, to, buffer, size, found); \
		if (result) \
			*found = NULL; \
		if (result == ERANGE) \
			fseeko(lines, before, SEEK_SET); \
		return result; \
	}
LINES(passwd, fgetpwent_r)
LINES(group, fgetgrent_r)
LINES(spwd, fgetspent_r)
LINES(sgrp, fgetsgent_r)

/* By `name`, or by `id` where that is NULL.  As getpwnam_r(3): 0 and NULL in *found where there is none. */
#define FINDS(type, file, name_of, id_type, id_of) \
	static int find_##type(const char *name, id_type id, struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		int saved = errno, result; \
		FILE *lines = fopen(file, "re"); \
		*found = NULL; \
		if (!lines) \
			return errno; \
		do \
			result = line_##type(lines, to, buffer, size, found); \
		while (!result && (name ? strcmp(to->name_of, name) != 0 : to->id_of != id)); \
		fclose(lines); \
		errno = saved; \
		return result == ENOENT ? 0 : result; \
	} \
	/* The answer is libc's own to keep, as its callers know. */ \
	static struct type *keep_##type(const char *name, id_type id) \
	{ \
		static struct type kept; \
		static char *buffer; \
		static size_t size; \
		struct type *found = NULL; \
		int result; \
		do \
			result = size ? find_##type(name, id, &kept, buffer, size, &found) : ERANGE; \
		while (result == ERANGE && !(result = grow(&buffer, &size))); \
		if (result) \
			errno = result; \
		return found; \
	}
FINDS(passwd, "/etc/passwd", pw_name, uid_t, pw_uid)
FINDS(group, "/etc/group", gr_name, gid_t, gr_gid)
FINDS(spwd, "/etc/shadow", sp_namp, long, sp_lstchg)	/* only by name */
FINDS(sgrp, "/etc/gshadow", sg_namp, char *, sg_passwd)		/* the same */

#define BY(call, type, file, key_type, name, id) \
	RC_EXPORT struct type *call(key_type key) \
	{ \
		return rc_is_remote(file) ? keep_##type(name, id) : rc_pass_##call()(key); \
	} \
	RC_EXPORT int call##_r(key_type key, struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		return rc_is_remote(file) ? find_##type(name, id, to, buffer, size, found) \
				       : rc_pass_##call##_r()(key, to, buffer, size, found); \
	}
BY(getpwnam, passwd, "/etc/passwd", const char *, key, 0)
BY(getpwuid, passwd, "/etc/passwd", uid_t, NULL, key)
BY(getgrnam, group, "/etc/group", const char *, key, 0)
BY(getgrgid, group, "/etc/group", gid_t, NULL, key)
BY(getspnam, spwd, "/etc/shadow", const char *, key, 0)
BY(getsgnam, sgrp, "/etc/gshadow", const char *, key, NULL)

/* The lines one after the other, as getpwent(3).  As there, one walk in a process. */
#define EACH(type, file, set, get, end) \
	static FILE *type##_lines; \
	static void close_##type(void) \
	{ \
		if (type##_lines) \
			fclose(type##_lines); \
		type##_lines = NULL; \
	} \
	static int next_##type(struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		*found = NULL; \
		if (!type##_lines && !(type##_lines = fopen(file, "re"))) \
			return errno; \
		return line_##type(type##_lines, to, buffer, size, found); \
	} \
	RC_EXPORT int get##_r(struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		return rc_is_remote(file) ? next_##type(to, buffer, size, found) : rc_pass_##get##_r()(to, buffer, size, found); \
	} \
	RC_EXPORT struct type *get(void) \
	{ \
		static struct type kept; \
		static char *buffer; \
		static size_t size; \
		struct type *found = NULL; \
		int result, saved = errno; \
		if (!rc_is_remote(file)) \
			return rc_pass_##get()(); \
		do \
			result = size ? next_##type(&kept, buffer, size, &found) : ERANGE; \
		while (result == ERANGE && !(result = grow(&buffer, &size))); \
		errno = result && result != ENOENT ? result : saved; \
		return found; \
	} \
	RC_EXPORT void set(void) \
	{ \
		if (rc_is_remote(file)) \
			close_##type(); \
		else \
			rc_pass_##set()(); \
	} \
	RC_EXPORT void end(void) \
	{ \
		close_##type(); \
		rc_pass_##end()(); \
	}
EACH(passwd, "/etc/passwd", setpwent, getpwent, endpwent)
EACH(group, "/etc/group", setgrent, getgrent, endgrent)
EACH(spwd, "/etc/shadow", setspent, getspent, endspent)
EACH(sgrp, "/etc/gshadow", setsgent, getsgent, endsgent)

static bool has_member(const struct group *group, const char *user)
{
	for (char **member = group->gr_mem; *member; member++)
		if (!strcmp(*member, user))
			return true;
	return false;
}

/* The next line, into a buffer that grows as it must: 0 or errno. */
static int read_group(FILE *lines, struct group *to, char **buffer, size_t *size)
{
	struct group *found;
	int result;

	do
		result = *size ? line_group(lines, to, *buffer, *size, &found) : ERANGE;
	while (result == ERANGE && !(result = grow(buffer, size)));
	return result;
}

/* *groups, allocated: `group`, and those that the user is a member of, as often as the file has them.  How many, or -1 and
 * errno. */
static int groups_of(const char *user, gid_t group, gid_t **groups)
{
	FILE *lines = fopen("/etc/group", "re");
	int result = lines ? 0 : errno, count = 0;
	struct group at = { .gr_gid = group };
	char *buffer = NULL;
	size_t size = 0;

	*groups = NULL;
	while (!result) {
		gid_t *more = realloc(*groups, ((size_t)count + 1) * sizeof **groups);

		if (more) {
			*groups = more;
			more[count++] = at.gr_gid;
		}
		do
			result = more ? read_group(lines, &at, &buffer, &size) : ENOMEM;
		while (!result && (at.gr_gid == group || !has_member(&at, user)));
	}
	free(buffer);
	if (lines)
		fclose(lines);
	if (result == ENOENT && *groups)
		return count;			/* the last line */
	free(*groups);
	*groups = NULL;
	errno = result;
	return -1;
}

RC_EXPORT int getgrouplist(const char *user, gid_t group, gid_t *groups, int *room)
{
	gid_t *all;
	int count, most = *room, saved = errno;

	if (!rc_is_remote("/etc/group"))
		return rc_pass_getgrouplist()(user, group, groups, room);
	count = groups_of(user, group, &all);
	if (count < 0) {		/* as libc's, where there is no such file */
		count = 1;
		all = NULL;
	}
	for (int i = 0; i < count && i < most; i++)
		groups[i] = all ? all[i] : group;
	free(all);
	*room = count;
	errno = saved;
	return count > most ? -1 : count;
}

RC_EXPORT int initgroups(const char *user, gid_t group)
{
	gid_t *all;
	int count, result;

	if (!rc_is_remote("/etc/group"))
		return rc_pass_initgroups()(user, group);
	count = groups_of(user, group, &all);
	result = setgroups(count < 0 ? 1 : (size_t)count, count < 0 ? &group : all);
	free(all);
	return result;
}
#endif
