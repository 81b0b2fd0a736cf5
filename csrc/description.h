/* SPDX-License-Identifier: MIT
 *
 * An open file description on the server and the rules of its offset, for both tiers.
 *
 * Each function takes `fd`, a descriptor in THIS process of the placeholder's description (the program's own number in
 * the preload tier, a borrowed copy in the supervisor): the offset of a KIND_POSITIONED file is that description's,
 * and processes that share it see each byte once (an flock on the placeholder serialises them where it may be
 * shared, a futex the threads of this process; a signal handler in the middle of its own thread's read goes first).
 */
#ifndef RC_DESCRIPTION_H
#define RC_DESCRIPTION_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "calls.h"
#include "lookup.h"
#include "protocol.h"
#include "stream.h"

struct rc_description {
	uint64_t handle;
	uint32_t kind;
	uint64_t ino;			/* of the placeholder's memfd */
	uint32_t dev_major, dev_minor;
	bool shared;			/* another process may hold it: we never CLOSE it */
	bool locked;			/* this process has locked it, and may not have unlocked it again */
	bool lost;			/* a descriptor of it went where we couldn't see how: there may be more of them */
	uint32_t references;		/* entries of fdtable.c that point here, and calls that have it pinned */
	int64_t size;			/* when it was opened; -1: not known */
	struct rc_known known;		/* what OPEN brought */
	struct rc_sequence sequence;	/* of reads: for who has `lock` */
	int64_t at;			/* where its last read ended, which may be long ago */
	bool at_known;			/* nobody has moved it since, as far as that is known here */
	bool readable;			/* it has been seen to be open for reading */
	uint32_t lock;			/* futex word: 0, or the thread id of the reader and whether it is waited for */
	uint32_t slot;			/* fdtable.c's: whether the slot is in use (a 32-bit machine may lack
					 * wider atomic words) */
};

void rc_description_opened(struct rc_description *d, const struct rc_opened *opened, const struct rc_known *known);
/* It was found by its placeholder: another process has opened it. */
void rc_description_found(struct rc_description *d);
/* Its last descriptor here is gone. */
void rc_description_release(struct rc_description *d);

/* Who keeps what is shown of streams (run_epoll.h): told after each read of one.  NULL: nobody here. */
extern void (*rc_stream_was_read)(uint64_t handle);

ssize_t rc_description_read(struct rc_description *d, int fd, const struct iovec *into, int count);
ssize_t rc_description_pread(struct rc_description *d, int fd, const struct iovec *into, int count, int64_t offset);
int64_t rc_description_lseek(struct rc_description *d, int fd, int64_t offset, int whence);
/* fcntl(2), of the commands that neither the kernel does right for a placeholder nor lock.h does. */
int rc_description_fcntl(const struct rc_description *d, int command, int64_t argument);
/* Whether Linux does the command for a descriptor of O_PATH. */
bool rc_description_fcntl_allowed(const struct rc_description *d, int command);
/* What a change of the file behind a descriptor is refused with: `error`, but for one of O_PATH, which is none to Linux. */
static inline int rc_description_refusal(const struct rc_description *d, int error)
{
	return d->kind == RC_KIND_PATH ? -EBADF : error;
}
/* fsync(2) and fdatasync: nothing of ours can be unwritten. */
int rc_description_sync(const struct rc_description *d);
/* ioctl(2) that tells of a file: bytes in value[RC_IOCTL_MAX], in this machine's form; -ENOTTY where it isn't forwarded, -EROFS
 * where it would change the file. */
ssize_t rc_description_ioctl(struct rc_description *d, int fd, unsigned long request, void *value);
/* posix_fadvise and readahead: 0 or -errno. */
int rc_description_advise(struct rc_description *d, int64_t offset, int64_t length, int advice);
int rc_description_readahead(struct rc_description *d, int64_t offset, int64_t count);
int rc_description_fstat(struct rc_description *d, int fd, unsigned mask, struct rc_stat *stat);

#endif
