/* SPDX-License-Identifier: MIT
 *
 * What a change of a remote path is answered: what a read-only mount says, that is EROFS, but after the errors that Linux finds
 * before it asks whether it may write (fs/namei.c, fs/open.c).  Each returns -errno.
 */
#ifndef RC_CHANGE_H
#define RC_CHANGE_H

#include <stdbool.h>
#include <stdint.h>

#include "calls.h"

/* Attributes of what is there; flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH. */
int rc_change_existing(struct rc_location at, int flags);
/* truncate. */
int rc_change_size(struct rc_location at, int flags, int64_t size);
/* A new entry: mkdir (`directory`), symlink, the new name of a link; mknod. */
int rc_change_new(struct rc_location at, bool directory);
int rc_change_node(struct rc_location at, unsigned mode);
/* An entry that goes: unlink, rmdir (AT_REMOVEDIR). */
int rc_change_entry(struct rc_location at, int flags);
/* Either name of a rename: 0, or what is wrong; *named: it has a name of its own.  Then, of both: */
int rc_change_name(struct rc_location at, unsigned flags, bool *named);
int rc_change_rename(bool from_named, bool to_named, unsigned flags);
/* The flags of linkat: 0 or -EINVAL. */
int rc_change_link_flags(int flags);

#endif
