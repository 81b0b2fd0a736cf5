/* SPDX-License-Identifier: MIT
 *
 * What a change of a remote path is answered: what a read-only mount says, that is EROFS, but after the errors that Linux finds
 * before it asks whether it may write (fs/namei.c, fs/open.c).  Each returns -errno.
 */
#ifndef RC_CHANGE_H
#define RC_CHANGE_H

#include <stdbool.h>

#include "calls.h"

/* Attributes of what is there; flags: AT_SYMLINK_NOFOLLOW, AT_EMPTY_PATH. */
int rc_change_existing(struct rc_location at, int flags);
/* truncate. */
int rc_change_size(struct rc_location at, int flags);
/* A new entry: mkdir (`directory`), mknod, symlink, the new name of a link. */
int rc_change_new(struct rc_location at, bool directory);
/* An entry that goes: unlink, rmdir (AT_REMOVEDIR). */
int rc_change_entry(struct rc_location at, int flags);
/* Either name of a rename. */
int rc_change_name(struct rc_location at);
/* The flags of renameat2 and linkat: 0 or -EINVAL. */
int rc_change_name_flags(unsigned flags);
int rc_change_link_flags(int flags);

#endif
