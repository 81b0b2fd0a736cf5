/* SPDX-License-Identifier: MIT
 *
 * What the preload tier's files share.
 *
 * wrappers.h is the table of the wrapped functions.  Its expansion in preload.c is the only place where a result becomes -1
 * and errno; everything below returns a value >= 0 or -errno.  A family of functions is a preload_*.c file with its
 * functions declared here, and rows in the table.
 *
 * Our own code never calls a wrapped function by name: core code makes raw system calls, and the next definition of `name`
 * is rc_next_name.
 */
#ifndef RC_PRELOAD_H
#define RC_PRELOAD_H

#include <aio.h>
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <glob.h>
#include <grp.h>
#include <nl_types.h>
#include <poll.h>
#include <pwd.h>
#include <shadow.h>
#include <signal.h>
#include <spawn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>
#include <utime.h>
#include <wordexp.h>

#include "calls.h"
#include "config.h"
#include "control.h"
#include "description.h"
#include "fdtable.h"
#include "report.h"
#include "route.h"
#include "stats.h"
#include "sys.h"

/* What glibc and musl declare otherwise. */
#ifdef __GLIBC__
typedef unsigned long rc_ioctl_request;
typedef int rc_messages_flags;
typedef struct aiocb *const *rc_aio_list;
#else
typedef int rc_ioctl_request;
typedef unsigned rc_messages_flags;
typedef struct aiocb *restrict const *rc_aio_list;
#endif

struct file_handle;
struct fstab;
struct sgrp;
struct utmp;
struct utmpx;
struct mount_attr;
struct timespec_of_64;
struct statx;
struct statfs;
struct statfs64;
struct statvfs;
struct statvfs64;

/* glibc's second set of names where time_t may have 32 or 64 bits: what a program built with _TIME_BITS=64 calls. */
#if defined(__GLIBC__) && defined(__TIMESIZE) && __TIMESIZE == 32
#define RC_HAVE_TIME64 1
#endif

#define RC_EXPORT __attribute__((visibility("default")))

/* Under a supervisor local calls go through the stub page, which its filter lets pass; only where the kernel's structures
 * are libc's. */
#if (defined(__x86_64__) && !defined(__ILP32__)) || defined(__aarch64__)
#define RC_HAVE_RAW 1
#else
#define RC_HAVE_RAW 0
#endif
extern bool rc_raw;

/* ---------------------------------------------------------------------------------------------- starting */

enum { RC_COLD, RC_STARTING, RC_READY, RC_OFF };	/* off: for good, every call passes */
extern _Atomic int rc_state;

/* False while we start ourselves: what is called then (by the resolver, by an allocator) is local. */
bool rc_start(void);
static inline bool rc_ready(void)
{
	return __builtin_expect(atomic_load_explicit(&rc_state, memory_order_acquire) == RC_READY, 1) || rc_start();
}

/* Fills each *next that is NULL with the next definition of `name` (preload_next.c), or one that fails with ENOSYS. */
struct rc_wanted {
	const char *name;
	void **next;
};
void rc_find_next(const struct rc_wanted *list, size_t count);
void *rc_find_any(const char *name);	/* the first definition in any object, as with RTLD_DEFAULT; NULL: there is none */

/* The next definitions.  rc_pass_x is for use before RC_READY, when rc_next_x may not be there yet. */
#define NEXT_OF(type, name, params) \
	extern type (*rc_next_##name) params; \
	static inline __typeof__(&*rc_next_##name) rc_pass_##name(void) \
	{ \
		if (!rc_next_##name) \
			rc_find_next(&(struct rc_wanted){ #name, (void **)(void *)&rc_next_##name }, 1); \
		return rc_next_##name; \
	}
#define FD(type, name, params, args, fd, remote) NEXT_OF(type, name, params)
#define PATH(type, name, params, args, dirfd, path, flags, remote) NEXT_OF(type, name, params)
#define RAW_PATH(type, name, params, args, dirfd, path, flags, raw, remote) NEXT_OF(type, name, params)
#define RAW_FD(type, name, params, args, fd, where, raw, remote) NEXT_OF(type, name, params)
#define OWN(type, name, params) NEXT_OF(type, name, params)
#include "wrappers.h"
#undef FD
#undef PATH
#undef RAW_PATH
#undef RAW_FD
#undef OWN

static inline int64_t rc_finish(int64_t result)
{
	if (result >= 0)
		return result;
	errno = (int)-result;
	return -1;
}

/* `work`, a call's result or -errno, counted as a call on a remote file; its value. */
#define RC_SPAN(name, path, fd, handle, work) \
	({ \
		struct rc_span span_; \
		rc_span_begin(&span_, name, path, fd, handle); \
		rc_span_end(&span_, work); \
	})

/* RC_SPAN of a call on a pinned description, which is let go. */
#define RC_SPAN_ON(name, fd, d, work) \
	({ \
		int64_t done_ = RC_SPAN(name, NULL, fd, (d)->handle, work); \
		rc_fdtable_unpin(d); \
		done_; \
	})

/* The result of what returns a pointer, or -1, and errno. */
static inline int64_t rc_result_of(const void *made)
{
	return made ? 0 : -errno;
}

static inline int64_t rc_result(int64_t result)
{
	return result < 0 ? -errno : result;
}

/* -------------------------------------------------------------------------------------------------- paths */

struct rc_target {
	struct rc_location at;
	int extra;			/* AT_EMPTY_PATH where the path named one of our own descriptors */
	int fd;				/* the placeholder that the path starts from or names; -1: none */
	bool by_default;		/* no rule named it: remote because nothing else is said */
	bool is_link;			/* what is asked is where `named`, a link of /proc, leads */
	struct rc_proc_name name;	/* is_link */
	struct rc_placeholder named;
	const char *instead;		/* local, by another path than the program's; NULL: by its own */
	char given[RC_PATH_MAX];	/* the program's own words */
	struct rc_route route;
};

/* 0: local (the kernel says EFAULT and the like); 1: remote, *target filled; -errno.
 * flags: AT_SYMLINK_NOFOLLOW and AT_EMPTY_PATH matter; RC_READ_LINK for readlink, which may ask for /proc/self/fd/N. */
int rc_locate(int dirfd, const char *path, int flags, struct rc_target *target);

/* The placeholder of a remote working directory; NULL: it's local (preload_cwd.c). */
struct rc_description *rc_cwd(void);

/* What isn't there for a remote file: the errno, and a debug line that says so. */
int rc_refuse(const char *call, int fd, int error);
int rc_refuse_path(const char *call, const struct rc_target *t, int error);

/* ----------------------------------------------------------------------- files: preload.c, preload_file.c */

int rc_remote_open(const struct rc_target *t, int flags, unsigned mode, uint64_t resolve);
/* A read can be a thread's end by cancellation in libc's own call only: where there are no threads, ours will do. */
bool rc_single_threaded(void);
ssize_t rc_remote_read(struct rc_description *d, int fd, void *buffer, size_t count);
int rc_remote_eventfd_read(struct rc_description *d, int fd, uint64_t *value);
ssize_t rc_remote_readv(struct rc_description *d, int fd, const struct iovec *parts, int count);
ssize_t rc_remote_pread(struct rc_description *d, int fd, void *buffer, size_t count, int64_t offset);
ssize_t rc_remote_preadv(struct rc_description *d, int fd, const struct iovec *parts, int count, int64_t offset);
ssize_t rc_remote_preadv2(struct rc_description *d, int fd, const struct iovec *parts, int count, int64_t offset,
			  int flags);
int64_t rc_remote_lseek(struct rc_description *d, int fd, int64_t offset, int whence, bool narrow);

/* A mapping is of the placeholder itself, which gets what it covers first.  0: a local descriptor's, or none's; 1: a supervisor needn't
 * look at it, now or later; -errno. */
int rc_prepare_mapping(int fd, size_t length, int protection, int flags, int64_t offset);

/* `put` writes the attributes to the program's buffer in one of its forms. */
typedef int rc_put_stat(const struct rc_stat *from, void *to);
rc_put_stat rc_put_struct_stat, rc_put_struct_stat64, rc_put_struct_stat_time64, rc_put_struct_statx;
int rc_remote_fstat(struct rc_description *d, int fd, rc_put_stat *put, void *to);
int rc_remote_stat(const char *call, const struct rc_target *t, int flags, rc_put_stat *put, void *to);
int rc_remote_statx(const struct rc_target *t, int flags, unsigned mask, void *to);
int rc_remote_access(const char *call, const struct rc_target *t, int mode, int flags);
ssize_t rc_remote_getxattr(const char *call, const struct rc_target *t, int flags, const char *name, void *value,
			   size_t size);
ssize_t rc_remote_fgetxattr(struct rc_description *d, int fd, const char *name, void *value, size_t size);
ssize_t rc_remote_listxattr(const char *call, const struct rc_target *t, int flags, char *names, size_t size);
ssize_t rc_remote_flistxattr(struct rc_description *d, int fd, char *names, size_t size);
ssize_t rc_remote_readlink(const struct rc_target *t, char *target, size_t size);
/* `put` as above. */
typedef int rc_put_statfs(const struct rc_statfs *from, void *to);
rc_put_statfs rc_put_struct_statfs, rc_put_struct_statfs64, rc_put_struct_statvfs, rc_put_struct_statvfs64;
int rc_remote_statfs(const char *call, const struct rc_target *t, rc_put_statfs *put, void *to);
int rc_remote_fstatfs(const char *call, struct rc_description *d, int fd, rc_put_statfs *put, void *to);
int rc_remote_flock(struct rc_description *d, int fd, int operation);
int rc_remote_lockf(struct rc_description *d, int fd, int command, int64_t length);
int rc_remote_ioctl(struct rc_description *d, int fd, unsigned long request, void *argument);

/* --------------------------------------------------------------------- changes, all refused: preload_change.c */

/* As a read-only mount refuses: what Linux finds before it asks whether it may write comes first. */
int rc_refuse_change(const char *call, const struct rc_target *t, int flags);	/* chmod, utimes, setxattr … */
int rc_refuse_size(const struct rc_target *t, int64_t size);			/* truncate */
int rc_refuse_new(const char *call, const struct rc_target *t, bool directory);	/* mkdir, link */
int rc_refuse_node(const char *call, const struct rc_target *t, unsigned mode);	/* mknod, mkfifo */
int rc_refuse_symlink(const char *call, const char *target, const struct rc_target *t);
int rc_refuse_entry(const char *call, const struct rc_target *t, int flags);	/* unlink, rmdir: AT_REMOVEDIR */

/* -------------------------------------------------------------------------- processes: preload_process.c */

void rc_process_start(char **environment);
/* Has remotec-run do something (control.h): what comes of it, or -errno.  fd: sent with it; -1: none. */
int rc_ask_runner(const struct rc_control *what, int fd);
/* rc_spare_connection, of remotec-run's. */
int rc_ask_for_connection(void);
void rc_share_all(bool over_exec);
void rc_share(int fd);
void rc_in_child(void);
void rc_share_in_message(const struct msghdr *message);
void rc_forget_in_message(const struct msghdr *message);

/* The remote directory that a spawned child is in once the actions are done, else AT_FDCWD (preload_actions.c). */
int rc_actions_directory(const posix_spawn_file_actions_t *actions);
/* Before each spawn with them: 0, or the errno that it fails with. */
int rc_actions_begin(const posix_spawn_file_actions_t *actions);
/* Whether they lead to a remote directory, if not to stay: RC_CWD_FD is taken on the way. */
bool rc_actions_move(const posix_spawn_file_actions_t *actions);

/* --------------------------------------------------------------------- working directory: preload_cwd.c */

/* A placeholder of the directory, close-on-exec, for RC_CWD_FD of a process that has entered it by `path`; or -errno. */
int rc_cwd_make(struct rc_location at, const char *path);
/* A removed directory, where nothing relative leads anywhere: a descriptor, close-on-exec, or -errno. */
int rc_cwd_nowhere(void);
/* The absolute path that chdir(path) enters by, from `dirfd`, AT_FDCWD or a placeholder of a working directory; -errno. */
int rc_cwd_entered_by(int dirfd, const char *path, char *out, size_t size);

/* ------------------------------------------------------------------------------ directories: preload_dir.c */

ssize_t rc_remote_getdents(struct rc_description *d, int fd, void *user, size_t size);
ssize_t rc_remote_getdirentries(struct rc_description *d, int fd, void *user, size_t size, void *base);

/* ------------------------------------------------------------------------------- waiting: preload_wait.c */

int rc_remote_unwatch(struct rc_description *d, int wd);
int rc_remote_epoll(struct rc_description *d, int epoll, int operation, int fd, struct epoll_event *event);

/* -------------------------------------------------- what libc reads itself: preload_records.c, preload_accounts.c */

/* Whether libc would read this machine's file of that name in place of the server's. */
bool rc_is_remote(const char *path);
/* A descriptor of a copy of the file; -errno. */
int rc_copy_of(const struct rc_target *t);

/* ----------------------------------------------------------------------------------- aio(7): preload_aio.c */

void rc_aio_after_fork(void);

/* ---------------------------------------------------------------------------- streams: preload_stdio.c */

void rc_stdio_start(void);

#endif
