/* SPDX-License-Identifier: MIT
 *
 * Receives the calls of the tree and answers them.  Whatever a call waits for, another thread receives the next: a blocking read
 * of one program's holds up nobody.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "copy.h"
#include "protocol.h"
#include "report.h"
#include "run_thread.h"
#include "stats.h"
#include "supervise_serve.h"
#include "sys.h"
#include "trace.h"
#include "translate.h"
#include "transport.h"
#include "walk_ahead.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV	/* Linux 5.19 */
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#ifndef SECCOMP_IOCTL_NOTIF_SET_FLAGS		/* Linux 6.6 */
#define SECCOMP_IOCTL_NOTIF_SET_FLAGS SECCOMP_IOW(4, uint64_t)
#define SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP (1UL << 0)
#endif

enum { MOST_RESTING = 8, RESTART = 512, RESTART_ALWAYS = 513 /* the kernel's ERESTARTSYS, ERESTARTNOINTR */ };

static int listener;
static struct seccomp_notif_sizes sizes;
static _Thread_local struct rc_notice *current;

/* ----------------------------------------------------------------------------------------------- interrupts */

/* Whether a signal waits for the caller that it neither blocks nor ignores: it must see its call end first.  Also true where the
 * caller is gone. */
static bool interrupted(void)
{
	uint64_t pending, blocked;

	if (!current)
		return false;
	if (!rc_notice_valid(current))
		return true;
	if (current->steady)
		return false;
	current->interrupted = !rc_target_signals(current, &pending, &blocked) || pending & ~blocked;
	return current->interrupted;
}

/* ------------------------------------------------------------------------------------------------- answers */

int rc_notice_add(const struct rc_notice *notice, int fd, int number, bool close_on_exec)
{
	struct seccomp_notif_addfd add = {
		.id = notice->n->id, .srcfd = (uint32_t)fd, .newfd = number < 0 ? 0 : (uint32_t)number,
		.flags = number < 0 ? 0 : SECCOMP_ADDFD_FLAG_SETFD, .newfd_flags = close_on_exec ? O_CLOEXEC : 0,
	};
	int there = ioctl(notice->listener, SECCOMP_IOCTL_NOTIF_ADDFD, &add);

	if (there < 0)
		there = -errno;
	close(fd);
	return there;
}

static bool undisturbed;	/* a call that has been received ends by its answer, whatever signals come (Linux 5.19) */

static void answer(const struct seccomp_notif *n, int64_t result)
{
	struct seccomp_notif_resp response = { .id = n->id };

	if (result == RC_LET)
		response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
	else if (result < 0 && result > -4096)
		response.error = (int32_t)result;
	else
		response.val = result;
	/* ENOENT: the caller was killed, or (Linux < 5.19) interrupted. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void rc_notice_again(struct rc_notice *notice)
{
	answer(notice->n, -RESTART_ALWAYS);
}

static const struct rc_abi *abi_of(const struct seccomp_notif *n)
{
	for (size_t i = 0; i < rc_abi_count; i++)
		if (rc_abis[i].audit_arch == n->data.arch)
			return &rc_abis[i];
	return NULL;
}

static int64_t handle(struct rc_notice *notice)
{
	const struct seccomp_data *data = &notice->n->data;
	int64_t a[6] = { 0 }, result;

	notice->abi = abi_of(notice->n);
	if (!notice->abi || data->nr < 0 || data->nr >= notice->abi->numbers || !notice->abi->by_number[data->nr])
		return -ENOSYS;
	notice->call = notice->abi->by_number[data->nr];
	if (!notice->call->handler)
		return RC_LET;
	for (int i = 0; i < 6; i++) {
		int32_t from = notice->call->arguments[i];

		a[i] = from >= 0 && from < 6 ? (int64_t)data->args[from]
		     : from == RC_CWD ? AT_FDCWD : from & 0xfffffff;
	}
	/* SIGCONT takes back a SIGSTOP that has not been seen: nothing has come then, and the kernel would know of no interrupt. */
	do {
		notice->interrupted = false;
		notice->blind = 0;
		result = notice->call->handler(notice, a);
	} while ((result == -EINTR || result == RC_INTERRUPTED) && notice->interrupted && !interrupted());
	/* What was asked of the server in vain, because a signal came: the kernel knows whether to start the call again. */
	if (result == -EINTR && interrupted())
		result = -RESTART;
	return notice->blind && result != RC_ANSWERED ? notice->blind : result;
}

/* What the kernel does to who writes, where one of our threads does it for the program. */
static int64_t write_allowed(int out, int64_t at, size_t count)
{
	struct rlimit limit;
	struct stat st;

	if (fstat(out, &st) || !S_ISREG(st.st_mode) || prlimit((pid_t)current->n->pid, RLIMIT_FSIZE, NULL, &limit) ||
	    limit.rlim_cur == RLIM_INFINITY)
		return (int64_t)count;
	if (at < 0)
		at = fcntl(out, F_GETFL) & O_APPEND ? st.st_size : lseek(out, 0, SEEK_CUR);
	if ((uint64_t)at < limit.rlim_cur)
		return count < limit.rlim_cur - (uint64_t)at ? (int64_t)count : (int64_t)(limit.rlim_cur - (uint64_t)at);
	current->signal = SIGXFSZ;
	return -EFBIG;
}

static void write_failed(int error)
{
	current->signal = error == -EPIPE ? SIGPIPE : 0;
}

/* It is to see its signal before it goes on; where it would begin the call anew for that, only then. */
static void finish(const struct rc_notice *notice, int64_t result)
{
	if (notice->signal && undisturbed && rc_notice_valid(notice))
		syscall(SYS_tkill, notice->n->pid, notice->signal);
	if (result != RC_ANSWERED)
		answer(notice->n, result);
	if (notice->signal && !undisturbed)
		syscall(SYS_tkill, notice->n->pid, notice->signal);
}

/* ------------------------------------------------------------------------------------------------- threads */

/* One thread at a time receives: the kernel wakes all that wait for a call, whichever takes it.  It answers what it can at once,
 * which is also what the server answers while it's looked for awake (transport.c); before it waits for anything it hands the
 * receiving on to one that rests, or to a new one. */
static sem_t baton;
static _Atomic int resting;

static void start_thread(void);

void rc_notice_slow(struct rc_notice *notice)
{
	if (notice->slow)
		return;
	notice->slow = true;
	if (atomic_fetch_sub(&resting, 1) > 0) {
		sem_post(&baton);
	} else {
		atomic_fetch_add(&resting, 1);
		start_thread();
	}
}

static void before_waiting(void)
{
	if (current)
		rc_notice_slow(current);
}

void rc_notice_remote(struct rc_notice *notice, int fd, uint64_t handle, const char *path)
{
	notice->remote = true;
	notice->fd = fd;
	notice->handle = handle;
	if (rc_stats_on())
		strcpy(notice->path, path);
}

/* False: enough others rest. */
static bool rest(void)
{
	if (atomic_fetch_add(&resting, 1) >= MOST_RESTING) {
		if (atomic_fetch_sub(&resting, 1) > MOST_RESTING)
			return false;
		atomic_fetch_add(&resting, 1);
	}
	while (sem_wait(&baton))
		;
	return true;
}

/* Counted before the answer, after which the run may be over. */
static int64_t handle_counted(struct rc_notice *notice)
{
	struct rc_span span;
	int64_t result;

	notice->remote = false;
	notice->fd = -1;
	notice->handle = RC_NO_HANDLE;
	notice->path[0] = '\0';
	rc_span_begin(&span, NULL, notice->path, -1, RC_NO_HANDLE);
	result = handle(notice);
	if (!notice->remote) {
		rc_count_local();
		return result;
	}
	span.name = notice->call->name;
	span.fd = notice->fd;
	span.handle = notice->handle;
	span.tid = (int)notice->n->pid;
	span.pid = rc_trace_on() ? rc_target_process(notice) : 0;
	if (span.pid < 0)
		span.pid = span.tid;		/* gone */
	rc_span_end(&span, result == RC_LET || result == RC_ANSWERED ? 0 : result == -RESTART ? -EINTR : result);
	return result;
}

static void *serve(void *unused)
{
	struct seccomp_notif *n = calloc(1, sizes.seccomp_notif > sizeof *n ? sizes.seccomp_notif : sizeof *n);
	struct rc_notice notice = { .n = n, .listener = listener, .memory = rc_sys_map(RC_NOTICE_MEMORY) };

	(void)unused;
	while (n && notice.memory) {
		int64_t result;

		memset(n, 0, sizes.seccomp_notif);
		if (ioctl(listener, SECCOMP_IOCTL_NOTIF_RECV, n) < 0) {
			if (errno != EINTR && errno != ENOENT)
				break;
			continue;
		}
		notice.slow = notice.steady = false;
		notice.signal = 0;
		current = &notice;
		result = handle_counted(&notice);
		current = NULL;
		finish(&notice, result);
		if (notice.slow) {		/* many may be slow at once, each with descriptors that it keeps */
			rc_target_forget();
			if (!rest())
				break;
		}
	}
	if (notice.memory)
		munmap(notice.memory, RC_NOTICE_MEMORY);
	free(n);
	rc_target_forget();
	return NULL;
}

/* Without one more, calls wait until a thread is through with the server. */
static void start_thread(void)
{
	if (!rc_thread_start(serve, NULL))
		sem_post(&baton);
}

static void *keep_tidy(void *unused)
{
	(void)unused;
	rc_walk_keep_tidy();
}

int rc_supervise_start(int from)
{
	listener = from;
	if (syscall(SYS_seccomp, SECCOMP_GET_NOTIF_SIZES, 0, &sizes) < 0)
		return -errno;
	/* On one processor with its caller: the answer needs no wake-up of another. */
	ioctl(listener, SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
	rc_transport_alone = true;
	rc_wait_over = interrupted;
	rc_before_waiting = before_waiting;
	rc_write_allowed = write_allowed;
	rc_write_failed = write_failed;
	/* EFAULT: the kernel knows what it is asked for, and then looks for the program. */
	undisturbed = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER |
			      SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV, NULL) < 0 && errno == EFAULT;
	sem_init(&baton, 0, 0);
	start_thread();
	rc_thread_start(keep_tidy, NULL);
	return 0;
}
