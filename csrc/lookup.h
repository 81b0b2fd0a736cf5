/* SPDX-License-Identifier: MIT
 *
 * Questions about paths: answered by what the session was told lately (cache.h), else by the server, whose answer is then kept
 * for the next who asks.  As the functions of the same names in calls.h.
 *
 * Only what a file system keeps is kept: attributes, links and small contents of regular files, directories and symbolic links,
 * and that a name isn't there.  Nothing of /proc, /sys and /dev (but of /dev/shm), of devices and fifos, nor of files that are made up as they
 * are read.
 */
#ifndef RC_LOOKUP_H
#define RC_LOOKUP_H

#include "cache.h"
#include "calls.h"

/* What came with OPEN, or is the same as what came with an OPEN before it. */
struct rc_known {
	bool there;
	uint32_t asked_ms, content_asked_ms;
	struct rc_lease lease;
	struct rc_stat stat;
	struct rc_content content;
};

int rc_lookup_open(struct rc_location at, int flags, unsigned mode, uint64_t resolve, struct rc_opened *opened,
		   struct rc_known *known);
/* The same, of a handle that another process of the session has opened. */
void rc_lookup_known(uint64_t handle, struct rc_known *known);
/* Of the content that OPEN brought: bytes, 0 at the file's end, -EFAULT; -EAGAIN: it brought none, or too long ago. */
ssize_t rc_known_read(const struct rc_known *known, const struct iovec *into, int count, int64_t offset);
int rc_lookup_stat(struct rc_location at, int flags, unsigned mask, struct rc_stat *stat);
int rc_lookup_access(struct rc_location at, int mode, int flags);
ssize_t rc_lookup_readlink(struct rc_location at, char *target, size_t size);
ssize_t rc_lookup_getxattr(struct rc_location at, int flags, const char *name, void *value, size_t size);
ssize_t rc_lookup_listxattr(struct rc_location at, int flags, char *names, size_t size);

/* What a READDIR of `directory`, sent at `asked_ms`, said of an entry. */
void rc_lookup_listed(uint64_t directory, const struct rc_entry *entry, uint32_t asked_ms);

#endif
