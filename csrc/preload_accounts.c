/* SPDX-License-Identifier: MIT
 *
 * Users and groups of the server's /etc: libc reads these files by calls of its own, which pass no wrapper.  Where /etc/passwd is
 * remote its lines are all the users there are; other name services stay this machine's and aren't asked.  Under a supervisor libc
 * reads the server's file by itself.
 */
#include "preload.h"

#ifdef __GLIBC__
#include <stdlib.h>
#include <string.h>

static bool is_remote(const char *path)
{
	struct rc_target t;

	return rc_ready() && !rc_config.supervised && rc_locate(AT_FDCWD, path, 0, &t) == 1;
}

/* By `name`, or by `id` where that is NULL.  As getpwnam_r(3): 0 and NULL in *found where there is none. */
#define FINDS(type, file, next, name_of, id_type, id_of) \
	static int find_##type(const char *name, id_type id, struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		int saved = errno, result; \
		FILE *stream = fopen(file, "re"); \
		*found = NULL; \
		if (!stream) \
			return errno; \
		do \
			result = next(stream, to, buffer, size, found); \
		while (!result && (name ? strcmp(to->name_of, name) != 0 : to->id_of != id)); \
		if (result) \
			*found = NULL; \
		fclose(stream); \
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
		int result = size ? find_##type(name, id, &kept, buffer, size, &found) : ERANGE; \
		while (result == ERANGE) { \
			char *larger = realloc(buffer, size + 4096); \
			if (!larger) { \
				result = ENOMEM; \
				break; \
			} \
			buffer = larger; \
			size += 4096; \
			result = find_##type(name, id, &kept, buffer, size, &found); \
		} \
		if (result) \
			errno = result; \
		return found; \
	}
FINDS(passwd, "/etc/passwd", fgetpwent_r, pw_name, uid_t, pw_uid)
FINDS(group, "/etc/group", fgetgrent_r, gr_name, gid_t, gr_gid)

#define BY(call, type, file, key_type, name, id) \
	RC_EXPORT struct type *call(key_type key) \
	{ \
		return is_remote(file) ? keep_##type(name, id) : rc_pass_##call()(key); \
	} \
	RC_EXPORT int call##_r(key_type key, struct type *to, char *buffer, size_t size, struct type **found) \
	{ \
		return is_remote(file) ? find_##type(name, id, to, buffer, size, found) \
				       : rc_pass_##call##_r()(key, to, buffer, size, found); \
	}
BY(getpwnam, passwd, "/etc/passwd", const char *, key, 0)
BY(getpwuid, passwd, "/etc/passwd", uid_t, NULL, key)
BY(getgrnam, group, "/etc/group", const char *, key, 0)
BY(getgrgid, group, "/etc/group", gid_t, NULL, key)
#endif
