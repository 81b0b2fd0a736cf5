/* SPDX-License-Identifier: MIT
 *
 * A remote program, brought here to be executed: an anonymous file with its content, or what its first line says.
 */
#ifndef RC_IMAGE_H
#define RC_IMAGE_H

#include <stdbool.h>

#include "calls.h"
#include "route.h"

struct rc_image {
	int fd;				/* executable content, close-on-exec, at a high number; -1: a script, or not asked for */
	char interpreter[256];		/* a script's, as its first line has it; "": no script */
	char argument[256];		/* "", or the one argument that the line gives it */
};

/* What execve(2) says of the file: 0 and *image, or -errno (EACCES: not a regular file, or no right to execute it; ENOEXEC).
 * `content`: it is asked for.  A script's interpreter is the caller's to find. */
int rc_image_load(struct rc_location at, bool content, struct rc_image *image);

/* The path, as programs see it, of the remote program that a process executes (pid 0: this one), with a NUL: its length without
 * that.  -ENOENT: none, or its path is too long to be known.  path NULL: only that is asked. */
enum { RC_IMAGE_PATH = 256 };
int rc_image_path(unsigned pid, char path[RC_IMAGE_PATH]);

#endif
