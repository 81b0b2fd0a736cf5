/* SPDX-License-Identifier: MIT
 *
 * aio(7): libc's own threads read past every wrapper, so a remote file's requests are carried out by threads of ours, a few at a
 * time.  What aio_error and aio_return read is kept in the program's control block, where libc keeps it too; who waits for
 * both sides' requests at once looks at libc's every few milliseconds.  Under a supervisor libc's threads are seen.
 *
 * The dynamic linker is asked for pthread_create: no version of it is in every libc.
 */
#include "preload.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include "oldest.h"

/* As many threads as glibc's own, each for one request at a time; the longest look away from libc's requests. */
enum { MOST = 20, SLICE_MS = 2, SYNC = 1000 };

#ifdef __GLIBC__
#define ERROR(cb) (cb)->__error_code
#define RESULT(cb) (cb)->__return_value
#else
#define ERROR(cb) (cb)->__err
#define RESULT(cb) (cb)->__ret
#endif

struct request {
	struct request *next;
	struct aiocb *cb;
	struct sigevent event;		/* the program's, once that may take the control block back */
	int64_t offset;
	int operation;			/* LIO_READ, LIO_WRITE or SYNC */
	bool ordered;			/* one after the other: the file has a position of its own */
	bool running;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct request *requests;	/* under the lock; oldest first */
static int workers;			/* under the lock */
static uint32_t finished;		/* futex word: changes with each request that ends */

void rc_aio_after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	requests = NULL;		/* the parent's, as its threads are */
	workers = 0;
}

/* attributes NULL: a thread that nobody waits for.  Signals are the program's other threads' to handle. */
static bool start(void *(*run)(void *), void *of, const pthread_attr_t *attributes)
{
	int (*create)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
	pthread_attr_t detached;
	sigset_t all, before;
	pthread_t thread;
	bool started;

	*(void **)&create = dlsym(RTLD_DEFAULT, "pthread_create");
	if (!create)
		return false;
	pthread_attr_init(&detached);
	pthread_attr_setdetachstate(&detached, PTHREAD_CREATE_DETACHED);
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	started = create(&thread, attributes ? attributes : &detached, run, of) == 0;
	sigprocmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&detached);
	return started;
}

/* --------------------------------------------------------------------------------------------- notification */

static void *call_back(void *of)
{
	struct sigevent event = *(struct sigevent *)of;
	sigset_t none;

	free(of);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	event.sigev_notify_function(event.sigev_value);
	return NULL;
}

static void notify(const struct sigevent *event)
{
	siginfo_t info = { .si_signo = event->sigev_signo, .si_code = SI_ASYNCIO };
	struct sigevent *kept;

	if (event->sigev_notify == SIGEV_SIGNAL) {
		info.si_pid = rc_sys_getpid();
		info.si_uid = (uid_t)RC_SYS(SYS_getuid, 0, 0, 0, 0, 0, 0);
		info.si_value = event->sigev_value;
		RC_SYS(SYS_rt_sigqueueinfo, info.si_pid, info.si_signo, &info, 0, 0, 0);
	} else if (event->sigev_notify == SIGEV_THREAD && (kept = malloc(sizeof *kept))) {
		*kept = *event;
		if (!start(call_back, kept, event->sigev_notify_attributes))
			free(kept);
	}
}

/* ------------------------------------------------------------------------------------------------- requests */

static ssize_t perform(const struct request *r)
{
	const char *call = r->operation == LIO_READ ? "aio_read" : r->operation == LIO_WRITE ? "aio_write" : "aio_fsync";
	int fd = r->cb->aio_fildes;
	struct rc_description *d = rc_fdtable_pin(fd);
	void *buffer = (void *)(uintptr_t)r->cb->aio_buf;
	ssize_t got;

	if (!d || r->operation == LIO_WRITE) {
		got = rc_refuse(call, fd, -EBADF);
	} else if (r->operation == SYNC) {
		got = 0;
	} else {
		rc_debug("%s() on remote fd %d", call, fd);
		got = RC_SPAN(call, NULL, fd, d->handle, rc_remote_pread(d, fd, buffer, r->cb->aio_nbytes, r->offset));
		if (got == -ESPIPE)	/* as glibc's: what has no offset is read where it stands */
			got = RC_SPAN(call, NULL, fd, d->handle, rc_remote_read(d, fd, buffer, r->cb->aio_nbytes));
	}
	if (d)
		rc_fdtable_unpin(d);
	return got;
}

static bool has_turn(const struct request *r)
{
	for (const struct request *before = requests; r->ordered && before != r; before = before->next)
		if (before->cb->aio_fildes == r->cb->aio_fildes)
			return false;
	return !r->running;
}

static void remove_request(struct request *r)
{
	struct request **at = &requests;

	while (*at != r)
		at = &(*at)->next;
	*at = r->next;
}

/* Under the lock.  Once the error is there the control block is the program's again. */
static void settle(struct request *r, ssize_t result)
{
	remove_request(r);
	r->event = r->cb->aio_sigevent;
	RESULT(r->cb) = result < 0 ? -1 : result;
	__atomic_store_n(&ERROR(r->cb), result < 0 ? (int)-result : 0, __ATOMIC_SEQ_CST);
}

/* Without the lock. */
static void announce(struct request *r)
{
	__atomic_add_fetch(&finished, 1, __ATOMIC_SEQ_CST);
	rc_sys_futex_wake(&finished, INT_MAX);
	notify(&r->event);
	free(r);
}

static void *work(void *unused)
{
	struct request *r;

	pthread_mutex_lock(&lock);
	for (;;) {
		ssize_t result;

		for (r = requests; r && !has_turn(r); r = r->next)
			;
		if (!r)
			break;
		r->running = true;
		pthread_mutex_unlock(&lock);
		result = perform(r);
		pthread_mutex_lock(&lock);
		settle(r, result);
		pthread_mutex_unlock(&lock);
		announce(r);
		pthread_mutex_lock(&lock);
	}
	workers--;
	pthread_mutex_unlock(&lock);
	return unused;
}

static int submit(struct aiocb *cb, int operation, int64_t offset)
{
	struct rc_description *d = rc_fdtable_get(cb->aio_fildes);
	struct request *r, **end = &requests;
	bool idle;

	if (cb->aio_reqprio < 0 || cb->aio_reqprio > 20 /* glibc's AIO_PRIO_DELTA_MAX */) {
		ERROR(cb) = EINVAL;
		RESULT(cb) = -1;
		return -EINVAL;
	}
	r = malloc(sizeof *r);
	if (!r)
		return -EAGAIN;
	*r = (struct request){ .cb = cb, .offset = offset, .operation = operation, .ordered = d && d->kind != RC_KIND_POSITIONED };
	ERROR(cb) = EINPROGRESS;
	pthread_mutex_lock(&lock);
	while (*end)
		end = &(*end)->next;
	*end = r;
	idle = workers < MOST && start(work, NULL, NULL);
	workers += idle;
	if (!workers) {
		remove_request(r);
		free(r);
		ERROR(cb) = EAGAIN;
		RESULT(cb) = -1;
	}
	idle = workers > 0;
	pthread_mutex_unlock(&lock);
	return idle ? 0 : -EAGAIN;
}

static bool is_remote(int fd)
{
	return !rc_config.supervised && rc_fdtable_get(fd);
}

/* ------------------------------------------------------------------------------------------------- waiting */

static bool in_progress(const struct aiocb *cb)
{
	return __atomic_load_n(&ERROR(cb), __ATOMIC_SEQ_CST) == EINPROGRESS;
}

/* Whatever has become of its descriptor. */
static bool is_ours(const struct aiocb *cb)
{
	const struct request *r;

	pthread_mutex_lock(&lock);
	for (r = requests; r && r->cb != cb; r = r->next)
		;
	pthread_mutex_unlock(&lock);
	return r;
}

static bool some_are_ours(const struct aiocb *const list[], int count)
{
	for (int i = 0; i < count; i++)
		if (list[i] && is_ours(list[i]))
			return true;
	return false;
}

/* Until one of them has ended; `until_ns`: of the monotonic clock, UINT64_MAX: for ever. */
static int wait_for_one(const struct aiocb *const list[], int count, uint64_t until_ns)
{
	for (;;) {
		uint32_t seen = __atomic_load_n(&finished, __ATOMIC_SEQ_CST);
		int result, others = 0, most_ms = -1;
		uint64_t now = until_ns == UINT64_MAX ? 0 : rc_sys_monotonic_ns();

		for (int i = 0; i < count; i++) {
			if (list[i] && !in_progress(list[i]))
				return 0;
			others += list[i] && !is_ours(list[i]);
		}
		if (now && now >= until_ns)
			return -EAGAIN;
		if (now)
			most_ms = (until_ns - now) / 1000000 < INT_MAX ? (int)((until_ns - now + 999999) / 1000000) : INT_MAX;
		if (others && (most_ms < 0 || most_ms > SLICE_MS))
			most_ms = SLICE_MS;
		result = rc_sys_futex_wait(&finished, seen, most_ms);
		if (result == -EINTR)
			return result;
	}
}

static int wait_for_all(const struct aiocb *const list[], int count)
{
	int result = 0;

	for (int i = 0; i < count && result != -EINTR; i++)
		while (in_progress(list[i]) && result != -EINTR)
			result = wait_for_one(&list[i], 1, UINT64_MAX);
	return result == -EINTR ? result : 0;
}

/* What lio_listio's own event waits for. */
struct batch {
	struct sigevent event;
	int count;
	const struct aiocb *list[];
};

static void *watch(void *of)
{
	struct batch *batch = of;

	while (wait_for_all(batch->list, batch->count) < 0)
		;
	notify(&batch->event);
	free(batch);
	return NULL;
}

typedef int local_call(struct aiocb *cb);

static int list_io(int mode, struct aiocb *const list[], int count, const struct sigevent *event,
		   int64_t (*offset_of)(const struct aiocb *), local_call *read_local, local_call *write_local)
{
	struct batch *batch = malloc(sizeof *batch + (size_t)count * sizeof *batch->list);
	bool failed = false;
	int result = 0;

	if (!batch)
		return -EAGAIN;
	batch->count = 0;
	for (int i = 0; i < count; i++) {
		struct aiocb *cb = list[i];
		int operation = cb ? cb->aio_lio_opcode : LIO_NOP;

		if (operation == LIO_NOP)
			continue;
		if (operation != LIO_READ && operation != LIO_WRITE) {
			ERROR(cb) = EINVAL;
			RESULT(cb) = -1;
			failed = true;
		} else if (is_remote(cb->aio_fildes) ? submit(cb, operation, offset_of(cb)) < 0
						     : (operation == LIO_READ ? read_local : write_local)(cb) < 0) {
			failed = true;
		} else {
			batch->list[batch->count++] = cb;
		}
	}
	if (mode == LIO_NOWAIT && event && event->sigev_notify != SIGEV_NONE) {
		batch->event = *event;
		if (start(watch, batch, NULL))
			return failed ? -EIO : 0;
		result = -EAGAIN;
	} else if (mode == LIO_WAIT) {
		result = wait_for_all(batch->list, batch->count);
		for (int i = 0; !result && i < batch->count; i++)
			failed |= ERROR(batch->list[i]) != 0;
	}
	free(batch);
	return result ? result : failed ? -EIO : 0;
}

/* Not begun: ended.  As aio_cancel's result. */
static int cancel(int fd, struct aiocb *cb)
{
	struct request *r, *next, *ended = NULL;
	int result = AIO_ALLDONE;

	pthread_mutex_lock(&lock);
	for (r = requests; r; r = next) {
		next = r->next;
		if (r->cb->aio_fildes != fd || (cb && r->cb != cb))
			continue;
		if (r->running) {
			result = AIO_NOTCANCELED;
			continue;
		}
		if (result == AIO_ALLDONE)
			result = AIO_CANCELED;
		settle(r, -ECANCELED);
		r->next = ended;
		ended = r;
	}
	pthread_mutex_unlock(&lock);
	for (r = ended; r; r = next) {
		next = r->next;
		announce(r);
	}
	return result;
}

/* ----------------------------------------------------------------------------------------- what is exported */

/* The two forms of a control block differ in the offset alone, which is behind all else that is looked at. */
#define OURS(cb) ((struct aiocb *)(cb))

#define TRANSFER(name, type, operation) \
	RC_EXPORT int name(struct type *cb) \
	{ \
		if (!rc_ready() || !is_remote(cb->aio_fildes)) \
			return rc_pass_##name()(cb); \
		return (int)rc_finish(submit(OURS(cb), operation, cb->aio_offset)); \
	}
#define FORMS(type, suffix, list_type) \
	TRANSFER(aio_read##suffix, type, LIO_READ) \
	TRANSFER(aio_write##suffix, type, LIO_WRITE) \
	RC_EXPORT int aio_fsync##suffix(int how, struct type *cb) \
	{ \
		if (!rc_ready() || !is_remote(cb->aio_fildes)) \
			return rc_pass_aio_fsync##suffix()(how, cb); \
		return (int)rc_finish(how != O_SYNC && how != O_DSYNC ? -EINVAL : submit(OURS(cb), SYNC, 0)); \
	} \
	RC_EXPORT int aio_cancel##suffix(int fd, struct type *cb) \
	{ \
		if (!rc_ready() || !is_remote(fd)) \
			return rc_pass_aio_cancel##suffix()(fd, cb); \
		return (int)rc_finish(cb && cb->aio_fildes != fd ? -EINVAL : cancel(fd, OURS(cb))); \
	} \
	static int64_t offset_of_##type(const struct aiocb *cb) \
	{ \
		return ((const struct type *)cb)->aio_offset; \
	} \
	RC_EXPORT int lio_listio##suffix(int mode, list_type list, int count, struct sigevent *event) \
	{ \
		bool any = false; \
		for (int i = 0; rc_ready() && i < count; i++) \
			any |= list[i] && is_remote(list[i]->aio_fildes); \
		if (!any || (mode != LIO_WAIT && mode != LIO_NOWAIT)) \
			return rc_pass_lio_listio##suffix()(mode, list, count, event); \
		return (int)rc_finish(list_io(mode, (struct aiocb *const *)list, count, event, offset_of_##type, \
					      (local_call *)rc_next_aio_read##suffix, \
					      (local_call *)rc_next_aio_write##suffix)); \
	}
#ifdef RC_HAVE_TIME64
/* struct timespec of _TIME_BITS=64. */
struct timespec_of_64 {
	int64_t tv_sec;
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	int32_t unused, tv_nsec;
#else
	int32_t tv_nsec, unused;
#endif
};
#endif
#define SUSPEND(name, type, time_type) \
	RC_EXPORT int name(const struct type *const list[], int count, const time_type *timeout) \
	{ \
		const struct aiocb *const *blocks = (const struct aiocb *const *)list; \
		if (!rc_ready() || !some_are_ours(blocks, count)) \
			return rc_pass_##name()(list, count, timeout); \
		return (int)rc_finish(wait_for_one(blocks, count, timeout ? rc_sys_monotonic_ns() + \
						   (uint64_t)timeout->tv_sec * 1000000000u + (uint64_t)timeout->tv_nsec \
						   : UINT64_MAX)); \
	}
FORMS(aiocb, , rc_aio_list)
SUSPEND(aio_suspend, aiocb, struct timespec)
#ifdef __GLIBC__
FORMS(aiocb64, 64, struct aiocb64 *const *)
SUSPEND(aio_suspend64, aiocb64, struct timespec)
#endif
#ifdef RC_HAVE_TIME64
SUSPEND(__aio_suspend_time64, aiocb64, struct timespec_of_64)
#endif
