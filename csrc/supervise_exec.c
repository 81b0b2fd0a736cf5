/* SPDX-License-Identifier: MIT
 *
 * Executing what is remote: the program's own execve(2) is made to name a file of ours, which holds the remote program, or orders
 * for a launcher where its arguments are others too (a script's are its interpreter's).  A program that is being traced can't
 * execute what is remote.
 */
#include "supervise_place.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "image.h"
#include "report.h"
#include "run_launch.h"
#include "syscalls_expand.h"

/* ------------------------------------------------------------------------------------------- what to execute */

enum { MOST_INTERPRETERS = 4 };

/* Whether a script's interpreter is there, so that the program's own call fails where it isn't. */
static int check_interpreter(struct rc_notice *notice, const struct rc_image *script)
{
	struct rc_image image = *script;
	struct rc_place place;

	for (int depth = 0; depth < MOST_INTERPRETERS; depth++) {
		int side;

		strcpy(place.given, image.interpreter);
		side = rc_place_given(notice, AT_FDCWD, 0, &place);
		if (side < 0)
			return side;
		if (side != 1 || place.by_default)
			return faccessat(AT_FDCWD, side == RC_INSTEAD ? place.route.path : image.interpreter, X_OK, AT_EACCESS)
			       ? -errno : 0;
		side = rc_image_load(place.at, false, &image);
		if (side < 0 || !*image.interpreter)
			return side;
	}
	return -ELOOP;
}

/* As the kernel names a script that a descriptor leads to. */
static void script_name(const struct rc_place *place, int dirfd, char *name, size_t size)
{
	if (dirfd == AT_FDCWD || *place->given == '/')
		snprintf(name, size, "%s", place->given);
	else
		snprintf(name, size, "/dev/fd/%d%s%s", dirfd, *place->given ? "/" : "", place->given);
}

/* Makes the caller execute `fd`, and closes that. */
static int64_t execute(struct rc_notice *notice, int fd)
{
	bool at = notice->call->arguments[0] == 0;	/* execveat */

	return rc_redirect(notice, at ? 1 : 0, at ? 4 : -1, fd);
}

/* A program that only the default makes remote stays local: such a rule is about files, as the original's was. */
int64_t rc_do_execve(struct rc_notice *notice, const int64_t *a)
{
	const char *none[] = { NULL };
	char name[RC_PATH_MAX + 32];
	struct rc_image image;
	struct rc_place place;
	int side, fd;

	if (rc_redirected(notice))
		return RC_LET;
	side = rc_place(notice, (int)a[0], (uint64_t)a[1], (int)a[2], &place);
	if (side == 1 && place.by_default)
		notice->remote = false;
	if (side <= 0 || (side == 1 && place.by_default))
		return side < 0 ? side : RC_LET;
	rc_notice_slow(notice);
	notice->steady = true;
	if (side == RC_INSTEAD) {
		fd = rc_launch_make(place.route.path, none);
		return fd < 0 ? fd : execute(notice, fd);
	}
	rc_debug("execve() on remote file %s", place.given);
	if (place.extra || ((a[2] & AT_EMPTY_PATH) && !*place.given))
		place.at.path = "";
	fd = rc_image_load(place.at, true, &image);
	if (fd == 0 && *image.interpreter) {
		const char *words[] = { image.interpreter, name, NULL, NULL };

		script_name(&place, (int)a[0], name, sizeof name);
		if (*image.argument) {
			words[1] = image.argument;
			words[2] = name;
		}
		fd = check_interpreter(notice, &image);
		if (fd == 0)
			fd = rc_launch_make(image.interpreter, words);
	} else if (fd == 0) {
		fd = image.fd;
	}
	return fd < 0 ? rc_refuse_call(notice, place.given, fd) : execute(notice, fd);
}
