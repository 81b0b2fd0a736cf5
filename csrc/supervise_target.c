/* SPDX-License-Identifier: MIT
 *
 * The calling program, seen from outside: its memory, its descriptors, its directory.
 */
#include "supervise.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "lock.h"
#include "placeholder.h"
#include "protocol.h"
#include "run_watch.h"
#include "supervise_serve.h"
#include "sys.h"

#ifndef PIDFD_THREAD
#define PIDFD_THREAD O_EXCL		/* Linux 6.9 */
#endif

/* -------------------------------------------------------------------------------------------------- memory */

enum { PAGE = 4096 };

bool rc_notice_valid(const struct rc_notice *notice)
{
	uint64_t id = notice->n->id;

	return ioctl(notice->listener, SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

int rc_target_get(const struct rc_notice *notice, uint64_t from, void *to, size_t count)
{
	struct iovec own = { to, count }, theirs = { (void *)(uintptr_t)from, count };

	if (!count)
		return 0;
	return process_vm_readv((pid_t)notice->n->pid, &own, 1, &theirs, 1, 0) == (ssize_t)count ? 0 : -EFAULT;
}

ssize_t rc_target_put(const struct rc_notice *notice, uint64_t to, const void *from, size_t count)
{
	struct iovec theirs = { (void *)(uintptr_t)to, count };

	return rc_target_scatter(notice, &theirs, 1, from, count);
}

/* A page at a time: what follows the string may not be there. */
ssize_t rc_target_string(const struct rc_notice *notice, uint64_t from, char *to, size_t size)
{
	size_t done = 0;

	while (done < size) {
		size_t piece = PAGE - (from + done) % PAGE;
		char *end;

		if (piece > size - done)
			piece = size - done;
		if (rc_target_get(notice, from + done, to + done, piece) < 0)
			return -EFAULT;
		end = memchr(to + done, '\0', piece);
		if (end)
			return end - to;
		done += piece;
	}
	return -ENAMETOOLONG;
}

int rc_target_vector(const struct rc_notice *notice, uint64_t from, int count, struct iovec *to)
{
	struct narrow {
		uint32_t base, length;
	} *narrow = (void *)to;

	if (!notice->abi->narrow)
		return rc_target_get(notice, from, to, (size_t)count * sizeof *to);
	if (rc_target_get(notice, from, narrow, (size_t)count * sizeof *narrow) < 0)
		return -EFAULT;
	for (int i = count; i-- > 0;) {		/* in place: each lies at or before where it goes */
		struct narrow one = narrow[i];

		to[i] = (struct iovec){ (void *)(uintptr_t)one.base, (int32_t)one.length < 0 ? SIZE_MAX : one.length };
	}
	return 0;
}

ssize_t rc_target_scatter(const struct rc_notice *notice, const struct iovec *to, int count, const void *from, size_t size)
{
	struct iovec theirs[64];
	size_t done = 0;

	for (int i = 0; i < count && done < size;) {
		struct iovec own = { (char *)from + done, 0 };
		int parts = 0;
		ssize_t put;

		for (; i < count && parts < 64 && own.iov_len < size - done; i++) {
			size_t take = to[i].iov_len < size - done - own.iov_len ? to[i].iov_len : size - done - own.iov_len;

			theirs[parts++] = (struct iovec){ to[i].iov_base, take };
			own.iov_len += take;
		}
		put = process_vm_writev((pid_t)notice->n->pid, &own, 1, theirs, (unsigned long)parts, 0);
		if (put < 0)
			return done ? (ssize_t)done : -EFAULT;
		done += (size_t)put;
		if ((size_t)put < own.iov_len)
			break;
	}
	return done || !size ? (ssize_t)done : -EFAULT;
}

/* --------------------------------------------------------------------------------------------- descriptors */

/* Of the threads that a worker answered lately. */
enum { KNOWN = 16 };
static _Thread_local struct {
	uint32_t tid;
	int pidfd;
} known[KNOWN];

static int thread_group(uint32_t tid)
{
	char path[40], line[256];
	int group = -ESRCH;
	FILE *status;

	snprintf(path, sizeof path, "/proc/%u/status", tid);
	status = fopen(path, "re");
	if (!status)
		return errno == ENOENT ? -ESRCH : -errno;
	while (fgets(line, sizeof line, status))
		if (sscanf(line, "Tgid: %d", &group) == 1)
			break;
	fclose(status);
	return group;
}

/* A pidfd of the calling thread itself, so that a number used again is never taken for it; before Linux 6.9 there are only
 * those of processes, and *once says that it must not be kept. */
static int open_process(uint32_t tid, bool *once)
{
	static _Atomic bool no_threads;
	int pidfd = atomic_load(&no_threads) ? -1 : (int)syscall(SYS_pidfd_open, tid, PIDFD_THREAD);
	int group;

	*once = false;
	if (pidfd >= 0)
		return pidfd;
	if (!atomic_load(&no_threads) && errno == EINVAL)
		atomic_store(&no_threads, true);
	group = thread_group(tid);
	*once = group != (int)tid;
	pidfd = group < 0 ? group : (int)syscall(SYS_pidfd_open, group, 0);
	return pidfd >= 0 ? pidfd : group < 0 ? group : -errno;
}

static void forget(unsigned slot)
{
	if (known[slot].tid)
		close(known[slot].pidfd);
	known[slot].tid = 0;
}

void rc_target_forget(void)
{
	for (unsigned slot = 0; slot < KNOWN; slot++)
		forget(slot);
}

static int borrow(struct rc_notice *notice, int fd)
{
	unsigned slot = notice->n->pid % KNOWN;

	for (int attempt = 0; attempt < 2; attempt++) {
		bool once = false;
		int got;

		if (known[slot].tid != notice->n->pid) {
			int pidfd = open_process(notice->n->pid, &once);

			if (pidfd < 0)
				return pidfd;
			forget(slot);
			known[slot].tid = notice->n->pid;
			known[slot].pidfd = pidfd;
		}
		got = (int)syscall(SYS_pidfd_getfd, known[slot].pidfd, fd, 0);
		if (got < 0)
			got = -errno;
		if (once || got == -ESRCH)
			forget(slot);
		if (got != -ESRCH)
			return got;
	}
	return -ESRCH;
}

static bool is_shortage(int error)
{
	return error == -EMFILE || error == -ENFILE || error == -ENOMEM;
}

int rc_target_borrow(struct rc_notice *notice, int fd)
{
	int got = borrow(notice, fd);

	if (is_shortage(got)) {
		rc_target_forget();
		got = borrow(notice, fd);
	}
	if (is_shortage(got))
		notice->blind = got;
	return got;
}

int rc_target_process(const struct rc_notice *notice)
{
	return thread_group(notice->n->pid);
}

bool rc_target_signals(const struct rc_notice *notice, uint64_t *pending, uint64_t *blocked)
{
	unsigned long long value;
	char path[40], line[256];
	FILE *status;

	snprintf(path, sizeof path, "/proc/%u/status", notice->n->pid);
	status = fopen(path, "re");
	if (!status)
		return false;
	*pending = *blocked = 0;
	while (fgets(line, sizeof line, status)) {
		if (sscanf(line, "SigPnd: %llx", &value) == 1 || sscanf(line, "ShdPnd: %llx", &value) == 1)
			*pending |= value;
		else if (sscanf(line, "SigBlk: %llx", &value) == 1)
			*blocked = value;
	}
	fclose(status);
	return true;
}

bool rc_target_closes_on_exec(const struct rc_notice *notice, int fd)
{
	char path[48], line[128];
	unsigned flags = 0;
	FILE *info;

	snprintf(path, sizeof path, "/proc/%u/fdinfo/%d", notice->n->pid, fd);
	info = fopen(path, "re");
	while (info && fgets(line, sizeof line, info))
		if (sscanf(line, "flags: %o", &flags) == 1)
			break;
	if (info)
		fclose(info);
	return flags & O_CLOEXEC;
}

int rc_target_description(struct rc_notice *notice, int fd, struct rc_description **d, int *own)
{
	if (fd < 0)
		return -EBADF;
	if (!rc_descriptions_any())
		return 0;
	*own = rc_target_borrow(notice, fd);
	if (*own < 0)
		return *own == -EBADF ? -EBADF : 0;	/* a program that nobody may look into has none of ours */
	*d = rc_descriptions_get(*own);
	if (*d)
		return 1;
	close(*own);
	return 0;
}

ssize_t rc_target_directory(const struct rc_notice *notice, int dirfd, char *path, size_t size)
{
	char link[48];
	ssize_t length;

	if (dirfd == AT_FDCWD)
		snprintf(link, sizeof link, "/proc/%u/cwd", notice->n->pid);
	else
		snprintf(link, sizeof link, "/proc/%u/fd/%d", notice->n->pid, dirfd);
	length = readlink(link, path, size - 1);
	if (length < 0)
		return -errno;
	path[length] = '\0';
	return path[0] == '/' ? length : -ENOTDIR;
}

/* -------------------------------------------------------------------------------------------- descriptions */

enum { BUCKETS = 4096 };

static struct entry {
	struct entry *next;
	struct rc_description description;
} *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static _Atomic size_t known_count;
bool rc_supervise_preloaded;

bool rc_descriptions_any(void)
{
	return rc_supervise_preloaded || atomic_load(&known_count) != 0;
}

static struct rc_description *find(uint64_t ino, uint32_t dev_major, uint32_t dev_minor)
{
	for (struct entry *e = buckets[ino % BUCKETS]; e; e = e->next)
		if (e->description.ino == ino && e->description.dev_major == dev_major &&
		    e->description.dev_minor == dev_minor)
			return &e->description;
	return NULL;
}

static struct rc_description *insert(const struct rc_placeholder *p)
{
	struct entry *e = calloc(1, sizeof *e);
	bool ours = !memcmp(p->session, rc_config.session, sizeof p->session);

	if (!e)
		return NULL;
	e->description = (struct rc_description){
		.handle = ours ? p->handle : RC_NO_HANDLE, .kind = p->kind, .ino = p->ino,
		.dev_major = p->dev_major, .dev_minor = p->dev_minor,
		/* The preload library reads it too, in processes of its own. */
		.shared = rc_supervise_preloaded,
	};
	rc_description_found(&e->description);
	e->next = buckets[p->ino % BUCKETS];
	buckets[p->ino % BUCKETS] = e;
	atomic_fetch_add(&known_count, 1);
	return &e->description;
}

struct rc_description *rc_descriptions_get(int fd)
{
	struct rc_identity identity;
	struct rc_placeholder p;
	struct rc_description *d;
	bool first = false;

	if (rc_sys_identity(fd, &identity) < 0 || !S_ISREG(identity.mode) || identity.nlink)
		return NULL;
	pthread_mutex_lock(&lock);
	d = find(identity.ino, identity.dev_major, identity.dev_minor);
	if (!d && rc_placeholder_identify(fd, &p) == 1) {
		d = insert(&p);
		first = d != NULL;
	}
	pthread_mutex_unlock(&lock);
	if (first)
		rc_watch(fd);
	return d;
}

void rc_descriptions_drop(uint64_t ino)
{
	struct entry **at, *gone;

	pthread_mutex_lock(&lock);
	for (at = &buckets[ino % BUCKETS]; *at && (*at)->description.ino != ino; at = &(*at)->next)
		;
	gone = *at;
	if (gone)
		*at = gone->next;
	pthread_mutex_unlock(&lock);
	if (!gone)
		return;
	rc_lock_release(&gone->description);
	rc_description_release(&gone->description);
	free(gone);
	atomic_fetch_sub(&known_count, 1);
}
