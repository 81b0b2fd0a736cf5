/* SPDX-License-Identifier: MIT
 *
 * The table as a filter in the kernel: by ABI, then by number in a binary search over runs of numbers with the same test.
 *
 * Calls from the stub page (sys.h) are the preload library's own, which has decided already: they pass.
 */
#include "supervise.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>

#include "cwd.h"
#include "sys.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

enum { MOST = 4096 };

struct program {
	struct sock_filter code[MOST];
	unsigned length;
};

static unsigned emit(struct program *p, uint16_t code, uint32_t k, uint8_t when, uint8_t unless)
{
	if (p->length < MOST)
		p->code[p->length] = (struct sock_filter){ code, when, unless, k };
	return p->length++;
}

#define LOAD(p, field) emit(p, BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field), 0, 0)
#define RETURN(p, value) emit(p, BPF_RET | BPF_K, value, 0, 0)

/* The machines that have a table are little-endian. */
#define HIGH_WORD 4

static void load_high(struct program *p, size_t offset)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset + HIGH_WORD, 0, 0);
}

/* Asks, unless the call comes from the stub page. */
static void ask(struct program *p)
{
	load_high(p, offsetof(struct seccomp_data, instruction_pointer));
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)(RC_STUB_ADDRESS >> 32), 0, 3);
	LOAD(p, instruction_pointer);
	emit(p, BPF_ALU | BPF_AND | BPF_K, ~(uint32_t)(RC_STUB_SIZE - 1), 0, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, (uint32_t)RC_STUB_ADDRESS, 1, 0);
	RETURN(p, SECCOMP_RET_USER_NOTIF);
	RETURN(p, SECCOMP_RET_ALLOW);
}

/* Of fcntl's commands, those about the file: the rest are the descriptor's, and the kernel's own. */
static void ask_fcntl(struct program *p)
{
	static const uint32_t kernels[] = { F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC, F_SETOWN, F_GETOWN,
					    F_SETSIG, F_GETSIG, F_SETOWN_EX, F_GETOWN_EX };

	LOAD(p, args[1]);
	for (size_t i = 0; i < sizeof kernels / sizeof *kernels; i++) {
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, kernels[i], 0, 1);
		RETURN(p, SECCOMP_RET_ALLOW);
	}
	ask(p);
}

static void ask_map(struct program *p)
{
	LOAD(p, args[3]);
	emit(p, BPF_JMP | BPF_JSET | BPF_K, MAP_ANONYMOUS, 0, 1);
	RETURN(p, SECCOMP_RET_ALLOW);
	ask(p);
}

/* The descriptor that stands for a remote working directory (cwd.h) is nobody's to close or put another in place of. */
static void ask_over(struct program *p, size_t argument)
{
	emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)argument, 0, 0);
	emit(p, BPF_JMP | BPF_JEQ | BPF_K, RC_CWD_FD, 1, 0);
	RETURN(p, SECCOMP_RET_ALLOW);
	ask(p);
}

static enum rc_test test_of(const struct rc_abi *abi, int number)
{
	return number >= abi->numbers || !abi->by_number[number] ? RC_TEST_NOT : abi->by_number[number]->test;
}

static void leaf(struct program *p, enum rc_test test)
{
	switch (test) {
	case RC_TEST_LET: RETURN(p, SECCOMP_RET_ALLOW); break;
	case RC_TEST_NOT: RETURN(p, SECCOMP_RET_ERRNO | ENOSYS); break;
	case RC_TEST_ASK: ask(p); break;
	case RC_TEST_MAP: ask_map(p); break;
	case RC_TEST_FCNTL: ask_fcntl(p); break;
	case RC_TEST_CLOSE: ask_over(p, offsetof(struct seccomp_data, args[0])); break;
	case RC_TEST_DUP: ask_over(p, offsetof(struct seccomp_data, args[1])); break;
	}
}

/* runs[from..to): where a run of numbers with one test begins. */
static void search(struct program *p, const struct rc_abi *abi, const int *runs, int from, int to)
{
	int middle = (from + to) / 2;
	unsigned jump;

	if (to - from == 1) {
		leaf(p, test_of(abi, runs[from]));
		return;
	}
	emit(p, BPF_JMP | BPF_JGE | BPF_K, (uint32_t)runs[middle], 0, 1);
	jump = emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
	search(p, abi, runs, from, middle);
	if (jump < MOST)
		p->code[jump].k = p->length - jump - 1;
	search(p, abi, runs, middle, to);
}

static void search_abi(struct program *p, const struct rc_abi *abi)
{
	int runs[1024], count = 0;

	for (int number = 0; number <= abi->numbers && count < 1024; number++)
		if (!number || test_of(abi, number) != test_of(abi, number - 1))
			runs[count++] = number;
	LOAD(p, nr);
	search(p, abi, runs, 0, count);
}

static void build(struct program *p)
{
	for (size_t i = 0; i < rc_abi_count; i++) {
		unsigned jump;

		LOAD(p, arch);
		emit(p, BPF_JMP | BPF_JEQ | BPF_K, rc_abis[i].audit_arch, 1, 0);
		jump = emit(p, BPF_JMP | BPF_JA, 0, 0, 0);
		search_abi(p, &rc_abis[i]);
		if (jump < MOST)
			p->code[jump].k = p->length - jump - 1;
	}
	RETURN(p, SECCOMP_RET_ALLOW);		/* another architecture's */
}

static long install(const struct sock_fprog *program, unsigned long flags)
{
	return RC_SYS(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER | flags, program, 0, 0, 0);
}

int rc_filter_install(void)
{
	struct program *p;
	struct sock_fprog program;
	long listener;

	if (!rc_abis[0].audit_arch)
		return -ENOSYS;
	p = calloc(1, sizeof *p);
	if (!p)
		return -ENOMEM;
	build(p);
	if (p->length > MOST) {
		free(p);
		return -E2BIG;
	}
	program = (struct sock_fprog){ (unsigned short)p->length, p->code };
	/* A call that has been received is over before its caller sees a signal, as a file system's calls are. */
	listener = install(&program, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	if (listener == -EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		listener = install(&program, SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV);
	if (listener == -EINVAL)		/* Linux < 5.19 */
		listener = install(&program, 0);
	if (listener == -EACCES && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0)
		listener = install(&program, 0);
	free(p);
	return (int)listener;
}
