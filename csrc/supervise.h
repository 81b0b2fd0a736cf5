/* SPDX-License-Identifier: MIT
 *
 * The supervisor tier: system calls of a whole process tree, answered at the kernel boundary (seccomp user notification,
 * seccomp_unotify(2)).  What can't be known of a program's memory and descriptors is asked of the kernel each time.
 *
 *   syscalls.h, syscalls_*.c   the table, and its expansions by machine
 *   supervise_filter.c         the table as a BPF program in the kernel
 *   supervise.c                threads that receive calls and answer them; the life of the tree
 *   supervise_target.c         the calling program: its memory, descriptors, working directory
 *   supervise_paths.c, _files.c, _cwd.c, _exec.c, _wait.c   one handler per call: with a path, a descriptor, the working
 *                              directory, a program, readiness
 */
#ifndef RC_SUPERVISE_H
#define RC_SUPERVISE_H

#include <linux/seccomp.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "description.h"
#include "route.h"

struct rc_notice;
/* A handler's answer: the call's result, -errno, or one of these: the kernel is to go on with it; it has been answered. */
enum { RC_LET = INT32_MIN, RC_ANSWERED };
/* The kernel's ERESTARTNOHAND: EINTR where a handler runs, the call anew where none does. */
enum { RC_INTERRUPTED = -514 };
typedef int64_t rc_handler(struct rc_notice *notice, const int64_t *a);

enum rc_test { RC_TEST_LET, RC_TEST_ASK, RC_TEST_MAP, RC_TEST_FCNTL, RC_TEST_CLOSE, RC_TEST_DUP, RC_TEST_NOT };
enum rc_layout { RC_LAYOUT_STAT, RC_LAYOUT_STAT64, RC_LAYOUT_OLD };	/* struct stat, and a narrow machine's others */

enum rc_time_form { RC_TIMEVAL, RC_TIMESPEC, RC_TIMESPEC64 };		/* the last is the same for narrow programs */

struct rc_syscall {
	const char *name, *number;	/* as the kernel header spells it; not a digit first: this machine has none */
	enum rc_test test;
	rc_handler *handler;
	int32_t arguments[6];		/* 0 to 5: the call's; others RC_CONSTANT */
};
#define RC_CONSTANT(value) (0x10000000 | (value))
#define RC_CWD RC_CONSTANT(0x8000000)

/* One kind of program that this kernel runs. */
struct rc_abi {
	uint32_t audit_arch;
	bool narrow;			/* 32-bit: arguments, pointers and structures */
	const struct rc_syscall *calls;
	size_t count;
	const struct rc_syscall **by_number;
	int numbers;
};
extern struct rc_abi rc_abis[];
extern const size_t rc_abi_count;
#if defined(__x86_64__)
extern const struct rc_syscall rc_calls_i386[];
extern const size_t rc_calls_i386_count;
#endif
extern const struct rc_syscall rc_calls_native[];
extern const size_t rc_calls_native_count;

/* Fills by_number.  Once, before anything else here. */
void rc_abis_prepare(void);

/* Puts the filter on the calling thread, for it and all that descends from it: the listener's descriptor, or -errno (EBUSY: a
 * supervisor is above us already; EINVAL, ENOSYS: the kernel has no such thing). */
int rc_filter_install(void);

/* A call that waits for our answer. */
struct rc_notice {
	const struct seccomp_notif *n;
	const struct rc_abi *abi;
	const struct rc_syscall *call;
	int listener;
	void *memory;			/* of this thread, RC_NOTICE_MEMORY bytes */
	bool slow;			/* another thread has taken over the receiving */
	bool interrupted;		/* a signal was seen to come */
	int blind;			/* -errno: for lack of something a descriptor of the caller's couldn't be looked at; 0 */
	bool steady;			/* the call can't be interrupted, but by the caller's death */
	int signal;			/* the caller's, with the answer; 0 */
	bool remote;			/* a path or descriptor of the call's is */
	int fd;				/* that descriptor; -1 */
	uint64_t handle;		/* what it or the path starts from stands for */
	char path[RC_PATH_MAX];		/* as the program wrote it, where counting */
};
enum { RC_NOTICE_MEMORY = 4 << 20 };

/* What comes now may take long, or wait for another program: but for the server, which sys.h's rc_before_waiting is for. */
void rc_notice_slow(struct rc_notice *notice);
/* Answers: the kernel is to start the call again, after what interrupts the caller now. */
void rc_notice_again(struct rc_notice *notice);
/* The call concerns a remote file. */
void rc_notice_remote(struct rc_notice *notice, int fd, uint64_t handle, const char *path);
/* Whether the caller still waits: what we read of it was of this very call. */
bool rc_notice_valid(const struct rc_notice *notice);
/* Puts `fd` into the caller as its lowest free descriptor, or (number >= 0) as that one, and closes it here: its number there, or
 * -errno. */
int rc_notice_add(const struct rc_notice *notice, int fd, int number, bool close_on_exec);

/* The caller's memory: 0 or -EFAULT; put may have done a part, whose size it returns. */
int rc_target_get(const struct rc_notice *notice, uint64_t from, void *to, size_t count);
ssize_t rc_target_put(const struct rc_notice *notice, uint64_t to, const void *from, size_t count);
ssize_t rc_target_string(const struct rc_notice *notice, uint64_t from, char *to, size_t size);
/* An iovec array of the caller's ABI. */
int rc_target_vector(const struct rc_notice *notice, uint64_t from, int count, struct iovec *to);
ssize_t rc_target_scatter(const struct rc_notice *notice, const struct iovec *to, int count, const void *from, size_t size);

/* A copy of the caller's descriptor: its number here, or -errno (EBADF).  Where that says nothing about the descriptor, the call
 * fails with it: `blind`. */
int rc_target_borrow(struct rc_notice *notice, int fd);
/* What the caller's descriptor stands for: 1 with *d and a copy in *own, to be closed; 0: local; -EBADF. */
int rc_target_description(struct rc_notice *notice, int fd, struct rc_description **d, int *own);
/* Before a thread ends: what it keeps of callers. */
void rc_target_forget(void);
int rc_target_process(const struct rc_notice *notice);
/* The caller's signals as bits from 1 on: those that wait for it, those that it blocks.  False: it's gone. */
bool rc_target_signals(const struct rc_notice *notice, uint64_t *pending, uint64_t *blocked);
bool rc_target_closes_on_exec(const struct rc_notice *notice, int fd);
/* The absolute path of the caller's directory (AT_FDCWD or a descriptor): its length, or -errno. */
ssize_t rc_target_directory(const struct rc_notice *notice, int dirfd, char *path, size_t size);

/* The description of a placeholder that one of the tree holds; made on first sight, shared by all. */
struct rc_description *rc_descriptions_get(int fd);
/* Its last descriptor is gone. */
void rc_descriptions_drop(uint64_t ino);
/* How many there are: with none, no descriptor of any program is one of ours. */
bool rc_descriptions_any(void);

#endif
