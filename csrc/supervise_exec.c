/* SPDX-License-Identifier: MIT
 *
 * Executing what is remote: the program's own execve(2) is made to name a file of ours, which holds the remote program, or orders
 * for a launcher where its arguments are others too (a script's are its interpreter's).
 *
 * The name is an argument in a register, and only a tracer may change that: the calling thread is traced from here to the end
 * of its call.  A program that is being traced already can't execute what is remote.
 */
#include "supervise_place.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <unistd.h>

#include "config.h"
#include "image.h"
#include "report.h"
#include "run_launch.h"
#include "supervise_serve.h"
#include "syscalls_expand.h"

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
static _Atomic uint32_t executing[MOST_AT_ONCE];
pthread_mutex_t rc_exec_waiting = PTHREAD_MUTEX_INITIALIZER;

static _Atomic uint32_t *executing_slot(uint32_t tid)
{
	for (int i = 0; i < MOST_AT_ONCE; i++)
		if (atomic_load(&executing[i]) == tid)
			return &executing[i];
	return NULL;
}

static bool enter_slot(uint32_t tid, _Atomic uint32_t **slot)
{
	for (int i = 0; i < MOST_AT_ONCE; i++) {
		uint32_t none = 0;

		*slot = &executing[i];
		if (atomic_compare_exchange_strong(*slot, &none, tid))
			return true;
	}
	return false;
}

enum { RED_ZONE = 128, NAME = 64 };

struct exec {
	pid_t tid;
	bool narrow;
	int path, flags;		/* which arguments they are; flags -1: none */
	unsigned long long before[2];	/* what was in them */
	uint64_t mask;			/* of signals, as the thread has it */
};

/* No signal comes between: its handler would run on a stack that the name lies below. */
static bool block_signals(struct exec *e)
{
	uint64_t all = ~0ULL;

	return ptrace(PTRACE_GETSIGMASK, e->tid, sizeof e->mask, &e->mask) == 0 &&
	       ptrace(PTRACE_SETSIGMASK, e->tid, sizeof all, &all) == 0;
}

/* Below the stack, where a signal's frame would go: nothing of the program's is there. */
static long redirect(struct exec *e, const char *name)
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
static void restore(const struct exec *e, bool returned)
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

static void leave(struct exec *e, bool redirected, int status)
{
	int event = status >> 16, number = WSTOPSIG(status);

	if (redirected)
		ptrace(PTRACE_SETSIGMASK, e->tid, sizeof e->mask, &e->mask);
	ptrace(PTRACE_DETACH, e->tid, 0, event || number == (SIGTRAP | 0x80) ? 0 : number);
}

/* From the stop that ends the notified call to the end of the one that takes its place. */
static void follow(struct exec *e, const char *name)
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
			/* The new program, the end of a call that failed, or a stop of the process, after which it comes anew. */
			if (redirected && status >> 16 != PTRACE_EVENT_EXEC)
				restore(e, entered);
			leave(e, redirected, status);
			return;
		}
		ptrace(PTRACE_SYSCALL, who, 0, 0);
	}
}

/* Makes the caller execute `fd`, and closes that. */
static int64_t execute(struct rc_notice *notice, int fd)
{
	bool at = notice->call->arguments[0] == 0;	/* execveat */
	struct exec e = { .tid = (pid_t)notice->n->pid, .narrow = notice->abi->narrow, .path = at, .flags = at ? 4 : -1 };
	_Atomic uint32_t *slot;
	int64_t result = RC_ANSWERED;
	char name[NAME];

	snprintf(name, sizeof name, "/proc/%d/fd/%d", getpid(), fd);
	if (!enter_slot(notice->n->pid, &slot)) {
		close(fd);
		return -EAGAIN;
	}
	pthread_mutex_lock(&rc_exec_waiting);
	if (ptrace(PTRACE_SEIZE, e.tid, 0, PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEEXEC) < 0) {
		result = rc_refuse_call(notice, "file of a traced program", -ENOSYS);
	} else {
		ptrace(PTRACE_INTERRUPT, e.tid, 0, 0);
		rc_notice_again(notice);
		follow(&e, name);
	}
	pthread_mutex_unlock(&rc_exec_waiting);
	atomic_store(slot, 0);
	close(fd);
	return result;
}

/* ------------------------------------------------------------------------------------------- what to execute */

enum { MOST_INTERPRETERS = 4 };

/* Whether a script's interpreter is there, so that the program's own call fails where it isn't. */
static int check_interpreter(struct rc_notice *notice, const struct rc_image *script)
{
	struct rc_image image = *script;
	struct rc_place place;

	for (int depth = 0; depth < MOST_INTERPRETERS; depth++) {
		int side;

		strcpy(place.given, image.interpreter);
		side = rc_place_given(notice, AT_FDCWD, 0, &place);
		if (side < 0)
			return side;
		if (side != 1 || place.by_default)
			return faccessat(AT_FDCWD, side == RC_INSTEAD ? place.route.path : image.interpreter, X_OK, AT_EACCESS)
			       ? -errno : 0;
		side = rc_image_load(place.at, NULL, &image);
		if (side < 0 || !*image.interpreter)
			return side;
	}
	return -ELOOP;
}

/* As the kernel names a script that a descriptor leads to. */
static void script_name(const struct rc_place *place, int dirfd, char *name, size_t size)
{
	if (dirfd == AT_FDCWD || *place->given == '/')
		snprintf(name, size, "%s", place->given);
	else
		snprintf(name, size, "/dev/fd/%d%s%s", dirfd, *place->given ? "/" : "", place->given);
}

/* A program that only the default makes remote stays local: such a rule is about files, as the original's was. */
int64_t rc_do_execve(struct rc_notice *notice, const int64_t *a)
{
	const char *none[] = { NULL }, *slash;
	char name[RC_PATH_MAX + 32];
	struct rc_image image;
	struct rc_place place;
	int side, fd;

	if (executing_slot(notice->n->pid))
		return RC_LET;
	side = rc_place(notice, (int)a[0], (uint64_t)a[1], (int)a[2], &place);
	if (side == 1 && place.by_default)
		notice->remote = false;
	if (side <= 0 || (side == 1 && place.by_default))
		return side < 0 ? side : RC_LET;
	rc_notice_slow(notice);
	notice->steady = true;
	if (side == RC_INSTEAD) {
		fd = rc_launch_make(place.route.path, none);
		return fd < 0 ? fd : execute(notice, fd);
	}
	rc_debug("execve() on remote file %s", place.given);
	if (place.extra || ((a[2] & AT_EMPTY_PATH) && !*place.given))
		place.at.path = "";
	slash = strrchr(place.given, '/');
	fd = rc_image_load(place.at, *place.at.path ? slash ? slash + 1 : place.given : "program", &image);
	if (fd == 0 && *image.interpreter) {
		const char *words[] = { image.interpreter, name, NULL, NULL };

		script_name(&place, (int)a[0], name, sizeof name);
		if (*image.argument) {
			words[1] = image.argument;
			words[2] = name;
		}
		fd = check_interpreter(notice, &image);
		if (fd == 0)
			fd = rc_launch_make(image.interpreter, words);
	} else if (fd == 0) {
		fd = image.fd;
	}
	return fd < 0 ? rc_refuse_call(notice, place.given, fd) : execute(notice, fd);
}
