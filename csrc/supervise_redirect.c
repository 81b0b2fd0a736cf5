/* SPDX-License-Identifier: MIT
 *
 * A call whose path we choose: its name is an argument in a register, and only a tracer may change that, so the calling thread is
 * traced from here to the end of its call.
 */
#include "supervise_place.h"

#include <elf.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "supervise_serve.h"

/* -------------------------------------------------------------------------------------------------- registers */

#if defined(__x86_64__)
enum { RESULT_IS_FIRST = false };
typedef struct user_regs_struct registers;
static long get_registers(pid_t tid, registers *r) { return ptrace(PTRACE_GETREGS, tid, 0, r); }
static long set_registers(pid_t tid, registers *r) { return ptrace(PTRACE_SETREGS, tid, 0, r); }
static uint64_t stack_of(const registers *r) { return r->rsp; }
/* The call is to start again, by the instruction that made it. */
static void rewind_call(registers *r)
{
	r->rax = r->orig_rax;
	r->orig_rax = (unsigned long long)-1;
	r->rip -= 2;
}
static unsigned long long *argument(registers *r, bool narrow, int i)
{
	unsigned long long *wide[] = { &r->rdi, &r->rsi, &r->rdx, &r->r10, &r->r8 };
	unsigned long long *slim[] = { &r->rbx, &r->rcx, &r->rdx, &r->rsi, &r->rdi };

	return (narrow ? slim : wide)[i];
}
#elif defined(__aarch64__)
enum { RESULT_IS_FIRST = true };
typedef struct user_regs_struct registers;
static long get_registers(pid_t tid, registers *r)
{
	struct iovec part = { r, sizeof *r };
	return ptrace(PTRACE_GETREGSET, tid, NT_PRSTATUS, &part);
}
static long set_registers(pid_t tid, registers *r)
{
	struct iovec part = { r, sizeof *r };
	return ptrace(PTRACE_SETREGSET, tid, NT_PRSTATUS, &part);
}
static uint64_t stack_of(const registers *r) { return r->sp; }
static void rewind_call(registers *r) { (void)r; /* this kernel has done it before it stops for a tracer */ }
static unsigned long long *argument(registers *r, bool narrow, int i)
{
	(void)narrow;
	return &r->regs[i];
}
#else
#error "a machine with a table of system calls (syscalls_native.c) needs its registers here"
#endif

/* ----------------------------------------------------------------------------------------------------- tracing */

/* Threads whose call names our file now: it is the kernel's. */
enum { MOST_AT_ONCE = 64 };
static _Atomic uint32_t redirecting[MOST_AT_ONCE];
pthread_mutex_t rc_redirect_waiting = PTHREAD_MUTEX_INITIALIZER;

bool rc_redirected(const struct rc_notice *notice)
{
	for (int i = 0; i < MOST_AT_ONCE; i++)
		if (atomic_load(&redirecting[i]) == notice->n->pid)
			return true;
	return false;
}

static bool enter_slot(uint32_t tid, _Atomic uint32_t **slot)
{
	for (int i = 0; i < MOST_AT_ONCE; i++) {
		uint32_t none = 0;

		*slot = &redirecting[i];
		if (atomic_compare_exchange_strong(*slot, &none, tid))
			return true;
	}
	return false;
}

enum { RED_ZONE = 128, NAME = 64 };

struct redirection {
	pid_t tid;
	bool narrow;
	int path, flags;		/* which arguments they are; flags -1: none */
	unsigned long long before[2];	/* what was in them */
	uint64_t mask;			/* of signals, as the thread has it */
	_Atomic uint32_t *slot;		/* of redirecting[] */
};

/* No signal comes between: its handler would run on a stack that the name lies below. */
static bool block_signals(struct redirection *e)
{
	uint64_t all = ~0ULL;

	return ptrace(PTRACE_GETSIGMASK, e->tid, sizeof e->mask, &e->mask) == 0 &&
	       ptrace(PTRACE_SETSIGMASK, e->tid, sizeof all, &all) == 0;
}

/* Below the stack, where a signal's frame would go: nothing of the program's is there. */
static long redirect(struct redirection *e, const char *name)
{
	struct iovec own = { (void *)name, strlen(name) + 1 }, theirs;
	registers r;

	if (get_registers(e->tid, &r) < 0)
		return -1;
	rewind_call(&r);
	theirs = (struct iovec){ (void *)(uintptr_t)((stack_of(&r) - RED_ZONE - NAME) & ~7ULL), own.iov_len };
	if (process_vm_writev(e->tid, &own, 1, &theirs, 1, 0) != (ssize_t)own.iov_len)
		return -1;
	e->before[0] = *argument(&r, e->narrow, e->path);
	*argument(&r, e->narrow, e->path) = (uintptr_t)theirs.iov_base;
	if (e->flags >= 0) {
		e->before[1] = *argument(&r, e->narrow, e->flags);
		*argument(&r, e->narrow, e->flags) = 0;
	}
	return set_registers(e->tid, &r) < 0 || !block_signals(e) ? -1 : 0;
}

/* A result has come into what was the first argument, where a machine has them in one register. */
static void restore(const struct redirection *e, bool returned)
{
	registers r;

	if (get_registers(e->tid, &r) < 0)
		return;
	if (!returned || e->path || !RESULT_IS_FIRST)
		*argument(&r, e->narrow, e->path) = e->before[0];
	if (e->flags >= 0)
		*argument(&r, e->narrow, e->flags) = e->before[1];
	set_registers(e->tid, &r);
}

static void leave(struct redirection *e, bool redirected, int status)
{
	int event = status >> 16, number = WSTOPSIG(status);

	atomic_store(e->slot, 0);	/* the thread's next call is its own */
	if (redirected)
		ptrace(PTRACE_SETSIGMASK, e->tid, sizeof e->mask, &e->mask);
	ptrace(PTRACE_DETACH, e->tid, 0, event || number == (SIGTRAP | 0x80) ? 0 : number);
}

/* From the stop that ends the notified call to the end of the one that takes its place. */
static void follow(struct redirection *e, const char *name)
{
	bool redirected = false, entered = false;
	int status;
	pid_t who;

	for (;;) {
		who = waitpid(-1, &status, __WALL | __WNOTHREAD);
		if (who < 0 && errno == EINTR)
			continue;
		if (who < 0 || !WIFSTOPPED(status))
			return;			/* killed */
		e->tid = who;			/* a thread that executes becomes its process */
		if (!redirected && status >> 16 == PTRACE_EVENT_STOP && redirect(e, name) == 0) {
			redirected = true;
		} else if (redirected && !entered && WSTOPSIG(status) == (SIGTRAP | 0x80)) {
			entered = true;
		} else {
			/* The new program, the call's end, or a stop of the process, after which it comes anew. */
			if (redirected && status >> 16 != PTRACE_EVENT_EXEC)
				restore(e, entered);
			leave(e, redirected, status);
			return;
		}
		ptrace(PTRACE_SYSCALL, who, 0, 0);
	}
}

int64_t rc_redirect(struct rc_notice *notice, int path, int flags, int fd)
{
	struct redirection e = { .tid = (pid_t)notice->n->pid, .narrow = notice->abi->narrow, .path = path, .flags = flags };
	int64_t result = RC_ANSWERED;
	char name[NAME];

	snprintf(name, sizeof name, "/proc/%d/fd/%d", getpid(), fd);
	if (!enter_slot(notice->n->pid, &e.slot)) {
		close(fd);
		return -EAGAIN;
	}
	rc_notice_slow(notice);		/* the call that takes its place is notified too */
	pthread_mutex_lock(&rc_redirect_waiting);
	if (ptrace(PTRACE_SEIZE, e.tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC) < 0) {
		result = rc_refuse_call(notice, "path of a traced program", -ENOSYS);
	} else {
		ptrace(PTRACE_INTERRUPT, e.tid, 0, 0);
		rc_notice_again(notice);
		follow(&e, name);
	}
	pthread_mutex_unlock(&rc_redirect_waiting);
	atomic_compare_exchange_strong(e.slot, &(uint32_t){ notice->n->pid }, 0);	/* not another's, who has it by now */
	close(fd);
	return result;
}
