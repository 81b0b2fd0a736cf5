/* SPDX-License-Identifier: MIT
 *
 * Where a path argument of a notified call leads.
 */
#ifndef RC_SUPERVISE_PLACE_H
#define RC_SUPERVISE_PLACE_H

#include "placeholder.h"
#include "supervise.h"

struct rc_place {
	char given[RC_PATH_MAX];	/* as the program wrote it */
	struct rc_location at;
	struct rc_route route;
	int extra;			/* AT_EMPTY_PATH where the path named a descriptor of the program's own */
	bool by_default;		/* no rule named it */
	bool is_link;			/* what is asked is where `named`, a link of /proc, leads */
	struct rc_proc_name name;	/* is_link */
	struct rc_placeholder named;
};

/* Local, but by place->route.path: what the program wrote leads out of a remote directory by "..". */
enum { RC_INSTEAD = 2 };

/* Whether any program of the tree has had a remote working directory. */
extern _Atomic bool rc_cwd_used;

/* 1 where the caller's directory is remote, with its description and a copy of the placeholder in *own, to be closed; 0. */
int rc_cwd_directory(struct rc_notice *notice, struct rc_description **d, int *own);
/* A program that closed a whole range of numbers closed the one that says where it is: puts it back. */
void rc_cwd_restore(struct rc_notice *notice);

/* 1 and *place: remote.  0: local, or wrong in a way that the kernel will say.  RC_INSTEAD.  -errno.  flags: AT_EMPTY_PATH,
 * AT_SYMLINK_NOFOLLOW. */
int rc_place(struct rc_notice *notice, int dirfd, uint64_t path, int flags, struct rc_place *place);
/* The same of place->given. */
int rc_place_given(struct rc_notice *notice, int dirfd, int flags, struct rc_place *place);

/* The caller's call starts again with a path that leads to `fd`, which is closed, and without flags: which arguments these are, -1
 * where it has none.  RC_ANSWERED, or -errno (ENOSYS: somebody else traces the caller). */
int64_t rc_redirect(struct rc_notice *notice, int path, int flags, int fd);
/* Whether this is that call: the kernel's own. */
bool rc_redirected(const struct rc_notice *notice);

/* What refuses a call says so where --debug is on: returns `error`. */
int64_t rc_refuse_call(struct rc_notice *notice, const char *what, int64_t error);

/* An offset in two arguments from a[i] on, low word first, on a narrow machine; in one elsewhere. */
static inline int64_t rc_offset_of(const struct rc_notice *notice, const int64_t *a)
{
	return notice->abi->narrow ? (int64_t)((uint64_t)(uint32_t)a[0] | (uint64_t)a[1] << 32) : a[0];
}

#endif
