/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "protocol.h"
#include "sys.h"
#include "transport.h"

enum { FIRST_PAUSE_MS = 1, LONGEST_PAUSE_MS = 20 };

static bool is_fault(int number)
{
	return number == SIGSEGV || number == SIGBUS || number == SIGFPE || number == SIGILL || number == SIGTRAP;
}

/* Whether what interrupted us is to begin the call again: every handler that the program has says so, but for those of faults,
 * which don't come to who waits.  Which of them ran can't be known of a wait that has an end. */
static bool begins_again(void)
{
	struct sigaction action;
	int saved = errno, again = 0, over = 0;

	for (int number = 1; number < _NSIG; number++)
		if (!is_fault(number) && sigaction(number, NULL, &action) == 0 && action.sa_handler != SIG_DFL && action.sa_handler != SIG_IGN)
			++*(action.sa_flags & SA_RESTART ? &again : &over);
	errno = saved;
	return again && !over;
}

/* A lock that another has is asked for again and again: whoever waits can be interrupted at any time, and the server keeps nothing
 * for it meanwhile. */
static int ask(struct rc_description *d, uint32_t command, bool wait, struct rc_lock *lock)
{
	struct rc_lock asked = *lock;
	int pause_ms = FIRST_PAUSE_MS;

	for (;;) {
		int result = rc_call_lock(d->handle, command, lock);

		if (result != -EAGAIN || !wait)
			return result;
		*lock = asked;
		if ((rc_sys_poll(NULL, 0, pause_ms) == -EINTR && !begins_again()) || (rc_wait_over && rc_wait_over()))
			return -EINTR;
		if (pause_ms < LONGEST_PAUSE_MS)
			pause_ms *= 2;
	}
}

static int type_to_wire(int type)
{
	return type == F_RDLCK ? (int)RC_LOCK_TYPE_F_RDLCK : type == F_WRLCK ? (int)RC_LOCK_TYPE_F_WRLCK
	     : type == F_UNLCK ? (int)RC_LOCK_TYPE_F_UNLCK : -EINVAL;
}

int rc_lock_range(struct rc_description *d, int fd, bool query, bool wait, struct rc_flock *lock)
{
	struct rc_lock wire = { .start = lock->start, .length = lock->length };
	int type = type_to_wire(lock->type), result;
	struct rc_stat stat;
	int64_t from = 0;

	if (type < 0)
		return type;
	if (d->kind == RC_KIND_PATH)
		return -EBADF;
	if (lock->whence == SEEK_CUR) {
		from = rc_sys_lseek(fd, 0, SEEK_CUR);
	} else if (lock->whence == SEEK_END) {
		result = rc_description_fstat(d, fd, STATX_SIZE, &stat);
		from = result ? result : (int64_t)stat.size;
	} else if (lock->whence != SEEK_SET) {
		return -EINVAL;
	}
	if (from < 0)
		return (int)from;
	wire.type = (uint32_t)type;
	wire.start += from;
	result = ask(d, query ? RC_LOCK_COMMAND_LOCK_QUERY : RC_LOCK_COMMAND_LOCK_SET, wait, &wire);
	d->locked |= !result && !query && type != (int)RC_LOCK_TYPE_F_UNLCK;
	if (result || !query)
		return result;
	lock->type = wire.type == RC_LOCK_TYPE_F_RDLCK ? F_RDLCK : wire.type == RC_LOCK_TYPE_F_WRLCK ? F_WRLCK : F_UNLCK;
	if (lock->type == F_UNLCK)
		return 0;		/* nobody: the rest stays as it was */
	lock->whence = SEEK_SET;
	lock->start = wire.start;
	lock->length = wire.length;
	lock->pid = wire.pid;
	return 0;
}

int rc_lock_whole(struct rc_description *d, int operation)
{
	int kind = operation & ~LOCK_NB, result;
	struct rc_lock wire = { .type = kind == LOCK_SH ? RC_LOCK_TYPE_F_RDLCK : kind == LOCK_EX ? RC_LOCK_TYPE_F_WRLCK
						       : RC_LOCK_TYPE_F_UNLCK };

	if (kind != LOCK_SH && kind != LOCK_EX && kind != LOCK_UN)
		return -EINVAL;
	if (d->kind == RC_KIND_PATH)
		return -EBADF;
	result = ask(d, RC_LOCK_COMMAND_LOCK_WHOLE, !(operation & LOCK_NB), &wire);
	d->locked |= !result && kind != LOCK_UN;
	return result;
}

void rc_lock_release(struct rc_description *d)
{
	static const uint32_t commands[] = { RC_LOCK_COMMAND_LOCK_SET, RC_LOCK_COMMAND_LOCK_WHOLE };

	for (int i = 0; d->locked && i < 2; i++) {
		struct rc_lock wire = { .type = RC_LOCK_TYPE_F_UNLCK };

		rc_call_lock(d->handle, commands[i], &wire);
	}
	d->locked = false;
}
