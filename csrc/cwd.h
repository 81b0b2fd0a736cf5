/* SPDX-License-Identifier: MIT
 *
 * A remote working directory: a placeholder of the directory at a number that programs don't come by, which the kernel hands on
 * to children and over exec.  Its content is the path by which the program entered it.  In the preload tier the kernel's own
 * working directory is then a removed directory, so that nothing relative finds a local file by accident.  Elsewhere it stays
 * where it was, and the placeholder says where that is: in another one, the program has been to a local directory since.  A
 * placeholder without a handle says that the directory is local again, where nobody could close the number.
 */
#ifndef RC_CWD_H
#define RC_CWD_H

#include <stddef.h>
#include <sys/types.h>

#include "calls.h"
#include "placeholder.h"
#include "route.h"

#define RC_CWD_FD 2047
#define RC_CWD_KIND 9			/* of the placeholder: none of the protocol's */

/* Among the flags of what asks where a path leads: readlink(2), which wants the text of a link of /proc. */
#define RC_READ_LINK (0x40000000 | AT_SYMLINK_NOFOLLOW)

/* Opens the directory for chdir(2), whose rights it asks for: 0 and *opened, or -errno. */
int rc_cwd_open(struct rc_location at, struct rc_opened *opened);
/* A placeholder of it, entered by `path` (absolute): a descriptor here, anywhere, or -errno. */
int rc_cwd_placeholder(uint64_t handle, const char *path);
/* Has placeholder `fd` say where the kernel's own directory of thread `tid` (0: the caller) is. */
void rc_cwd_stand(int fd, unsigned tid);
/* … that it is the one that descriptor `directory` is open on. */
void rc_cwd_stand_in(int fd, int directory);
/* Whether that is another one by now: the placeholder is of the past. */
bool rc_cwd_left(int fd, unsigned tid);
/* Whether it is the one that descriptor `directory` is open on. */
bool rc_cwd_stands_in(int fd, int directory);
/* The path that placeholder `fd` was entered by: its length, or -errno. */
ssize_t rc_cwd_entered(int fd, char *path, size_t size);
/* A path relative to the directory `handle`, with a ".." in it: 1 where it stays in what the rules make remote there, and can be
 * sent as it is; else as rc_route_path, over the absolute path. */
int rc_cwd_route(uint64_t handle, int fd, const char *path, struct rc_route *route);
/* Whether a name of /proc leads to what is remote, where `own` (0: this one) is the process that asks: 1 and *found, of which
 * session, handle and kind are told; 0; -EBADF: another session's. */
int rc_cwd_find(const struct rc_proc_name *name, unsigned own, struct rc_placeholder *found);
/* What readlink(2) says of such a name: the length. */
ssize_t rc_cwd_readlink(const struct rc_proc_name *name, unsigned own, const struct rc_placeholder *found, char *path,
			size_t size);
/* What getcwd(2) says of it: its length with the NUL, or -errno (ENOENT: removed, ERANGE). */
ssize_t rc_cwd_path(uint64_t handle, int fd, char *path, size_t size);

#endif
