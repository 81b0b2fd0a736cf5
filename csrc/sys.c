/* SPDX-License-Identifier: MIT */
#include "sys.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__) && !defined(__ILP32__)
#define HAVE_STUB 1
/* syscall; ret */
static const unsigned char stub_code[] = { 0x0f, 0x05, 0xc3 };

static long (*stub)(void);

long rc_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	register long r10 __asm__("r10") = d;
	register long r8 __asm__("r8") = e;
	register long r9 __asm__("r9") = f;
	long result;

	/* The call's return address must not land in the red zone. */
	if (stub)
		__asm__ volatile("lea -128(%%rsp), %%rsp\n\tcall *%[stub]\n\tlea 128(%%rsp), %%rsp"
				 : "=a"(result)
				 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9), [stub] "b"(stub)
				 : "rcx", "r11", "memory", "cc");
	else
		__asm__ volatile("syscall"
				 : "=a"(result)
				 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
				 : "rcx", "r11", "memory");
	return result;
}

#elif defined(__aarch64__)
#define HAVE_STUB 1
/* svc #0; ret */
static const unsigned char stub_code[] = { 0x01, 0x00, 0x00, 0xd4, 0xc0, 0x03, 0x5f, 0xd6 };

static long (*stub)(void);

long rc_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	register long x3 __asm__("x3") = d;
	register long x4 __asm__("x4") = e;
	register long x5 __asm__("x5") = f;

	if (stub)
		__asm__ volatile("blr %[stub]"
				 : "+r"(x0)
				 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5), [stub] "r"(stub)
				 : "x30", "memory", "cc");
	else
		__asm__ volatile("svc #0"
				 : "+r"(x0)
				 : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
				 : "memory", "cc");
	return x0;
}

#else
#include "oldest.h"

/* libc's own, not the syscall() that libremotec.so exports. */
long rc_syscall(long number, long a, long b, long c, long d, long e, long f)
{
	static long (*next)(long, ...);
	int saved = errno;
	long result;

	if (!next)
		next = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	result = next(number, a, b, c, d, e, f);
	if (result == -1)
		result = -errno;
	errno = saved;
	return result;
}
#endif

int rc_stub_install(void)
{
#ifdef HAVE_STUB
	long at = RC_SYS(SYS_mmap, RC_STUB_ADDRESS, RC_STUB_SIZE, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);

	if (at < 0 && at > -4096)
		return (int)at;
	if ((unsigned long)at != RC_STUB_ADDRESS) {	/* a kernel before MAP_FIXED_NOREPLACE took it as a hint */
		RC_SYS(SYS_munmap, at, RC_STUB_SIZE, 0, 0, 0, 0);
		return -EEXIST;
	}
	memcpy((void *)at, stub_code, sizeof stub_code);
	__builtin___clear_cache((char *)at, (char *)at + sizeof stub_code);
	at = RC_SYS(SYS_mprotect, RC_STUB_ADDRESS, RC_STUB_SIZE, PROT_READ | PROT_EXEC, 0, 0, 0);
	if (at == 0)
		stub = (long (*)(void))RC_STUB_ADDRESS;
	return (int)at;
#else
	return -ENOSYS;
#endif
}

#ifdef SYS_statx
enum { FORCE_SYNC = 0x2000, DONT_SYNC = 0x4000 };	/* AT_STATX_… */
enum { IDENTITY = 0x347, SIZE = 0x200 };		/* STATX_TYPE, MODE, NLINK, MTIME, INO, SIZE */

/* What the kernel knows of it: whoever serves the file needn't be asked, and might be us. */
static int identity_by_statx(int fd, struct rc_identity *identity)
{
	struct rc_kernel_statx st;
	long result = RC_SYS(SYS_statx, fd, "", AT_EMPTY_PATH | DONT_SYNC, IDENTITY, &st, 0);

	if (result < 0)
		return (int)result;
	*identity = (struct rc_identity){ st.ino, st.dev_major, st.dev_minor, st.nlink, st.mode, st.size, st.mtime.sec,
					  st.mtime.nsec };
	return 0;
}
#endif

int rc_sys_identity(int fd, struct rc_identity *identity)
{
	long result = -ENOSYS;
#if __SIZEOF_LONG__ == 8 && !defined(__mips__)
	struct stat st;
#else
	struct stat64 st;
#endif

#ifdef SYS_statx
	result = identity_by_statx(fd, identity);
	if (result == 0 || result == -EBADF)
		return (int)result;
#endif
	/* A kernel before 4.11, or a sandbox of that time. */
#if __SIZEOF_LONG__ == 8 && !defined(__mips__)
	result = RC_SYS(SYS_fstat, fd, &st, 0, 0, 0, 0);
#elif defined(SYS_fstat64)
	result = RC_SYS(SYS_fstat64, fd, &st, 0, 0, 0, 0);
#endif
	if (result < 0)
		return (int)result;
	*identity = (struct rc_identity){ st.st_ino, major(st.st_dev), minor(st.st_dev), (uint32_t)st.st_nlink,
					  st.st_mode, (uint64_t)st.st_size, st.st_mtim.tv_sec,
					  (uint32_t)st.st_mtim.tv_nsec };
	return 0;
}

int rc_sys_refresh(int fd)
{
#ifdef SYS_statx
	struct rc_kernel_statx st;

	return (int)RC_SYS(SYS_statx, fd, "", AT_EMPTY_PATH | FORCE_SYNC, SIZE, &st, 0);
#else
	return -ENOSYS;
#endif
}

int rc_sys_close(int fd)
{
	return (int)RC_SYS(SYS_close, fd, 0, 0, 0, 0, 0);
}

int rc_sys_fcntl(int fd, int command, long argument)
{
#ifdef SYS_fcntl64
	return (int)RC_SYS(SYS_fcntl64, fd, command, argument, 0, 0, 0);
#else
	return (int)RC_SYS(SYS_fcntl, fd, command, argument, 0, 0, 0);
#endif
}

int rc_sys_dup_from(int fd, int lowest, int close_on_exec)
{
	return rc_sys_fcntl(fd, close_on_exec ? F_DUPFD_CLOEXEC : F_DUPFD, lowest);
}

int64_t rc_sys_lseek(int fd, int64_t offset, int whence)
{
#ifdef SYS__llseek
	int64_t at = 0;
	long result = RC_SYS(SYS__llseek, fd, (uint64_t)offset >> 32, offset & 0xffffffff, &at, whence, 0);

	return result < 0 ? result : at;
#else
	return RC_SYS(SYS_lseek, fd, offset, whence, 0, 0, 0);
#endif
}

static _Atomic int raising;		/* the thread whose moment it is */
enum { MOMENT_ATTEMPTS = RC_SYS_YIELDS + 1000 };

void rc_sys_pause(int attempt)
{
	if (attempt < RC_SYS_YIELDS)
		RC_SYS(SYS_sched_yield, 0, 0, 0, 0, 0, 0);
	else
		rc_sys_poll(NULL, 0, 1);
}

bool rc_sys_begin_moment(void)
{
	int self = rc_sys_gettid(), other = 0;

	for (int i = 0; !atomic_compare_exchange_strong(&raising, &other, self); i++) {
		if (other == self)	/* a signal handler in the middle of it */
			return false;
		/* Nobody ends that of a thread that was killed, or that a fork left behind in the parent. */
		if ((RC_SYS(SYS_tgkill, rc_sys_getpid(), other, 0, 0, 0, 0) == -ESRCH || i == MOMENT_ATTEMPTS) &&
		    atomic_compare_exchange_strong(&raising, &other, self))
			return true;
		other = 0;
		rc_sys_pause(i);
	}
	return true;
}

void rc_sys_end_moment(void)
{
	atomic_store(&raising, 0);
}

void rc_sys_raise_limit(struct rc_sys_limit *before)
{
	uint64_t limit[2] = { 0, 0 }, raised[2];
	bool ours = rc_sys_begin_moment();

	RC_SYS(SYS_prlimit64, 0, RLIMIT_NOFILE, NULL, limit, 0, 0);
	*before = (struct rc_sys_limit){ .soft = limit[0], .hard = limit[1], .ours = ours };
	raised[0] = raised[1] = before->hard;
	before->raised = before->soft < before->hard && RC_SYS(SYS_prlimit64, 0, RLIMIT_NOFILE, raised, NULL, 0, 0) == 0;
}

void rc_sys_restore_limit(int pid, const struct rc_sys_limit *before)
{
	uint64_t limit[2] = { before->soft, before->hard };

	if (before->raised)
		RC_SYS(SYS_prlimit64, pid, RLIMIT_NOFILE, limit, NULL, 0, 0);
	if (!pid && before->ours)
		rc_sys_end_moment();
}

int rc_sys_dup_high(int fd, int lowest, int close_on_exec)
{
	struct rc_sys_limit limit;
	int made = rc_sys_dup_from(fd, lowest, close_on_exec);

	if (made != -EINVAL && made != -EMFILE)
		return made;
	rc_sys_raise_limit(&limit);
	if (limit.hard)
		made = rc_sys_dup_from(fd, limit.hard <= (uint64_t)lowest ? (int)(limit.hard / 2) : lowest, close_on_exec);
	rc_sys_restore_limit(0, &limit);
	return made;
}

int rc_sys_dup_to(int fd, int to, int flags)
{
	struct rc_sys_limit limit;
	int made = (int)RC_SYS(SYS_dup3, fd, to, flags, 0, 0, 0);

	if (made != -EBADF)
		return made;
	rc_sys_raise_limit(&limit);
	made = (int)RC_SYS(SYS_dup3, fd, to, flags, 0, 0, 0);
	rc_sys_restore_limit(0, &limit);
	return made;
}

int rc_sys_raise(int fd, int lowest)
{
	int high = fd < 0 ? fd : rc_sys_dup_high(fd, lowest, 1);

	if (high < 0)
		return fd;
	rc_sys_close(fd);
	return high;
}

int rc_sys_open(int dirfd, const char *path, int flags, unsigned mode)
{
	return (int)RC_SYS(SYS_openat, dirfd, path, flags | RC_LARGE, mode, 0, 0);
}

static char *put_text(char *to, const char *text)
{
	size_t length = strlen(text);

	memcpy(to, text, length);
	return to + length;
}

static char *put_decimal(char *to, unsigned value)
{
	if (value > 9)
		to = put_decimal(to, value / 10);
	*to++ = (char)('0' + value % 10);
	return to;
}

static char *put_process(char *to, unsigned pid)
{
	to = put_text(to, "/proc/");
	return pid ? put_decimal(to, pid) : put_text(to, "self");
}

char *rc_sys_fd_link_of(unsigned pid, int fd, char link[RC_FD_LINK])
{
	*put_decimal(put_text(put_process(link, pid), "/fd/"), (unsigned)fd) = '\0';
	return link;
}

char *rc_sys_cwd_link_of(unsigned pid, char link[RC_FD_LINK])
{
	*put_text(put_process(link, pid), "/cwd") = '\0';
	return link;
}

char *rc_sys_exe_link_of(unsigned pid, char link[RC_FD_LINK])
{
	*put_text(put_process(link, pid), "/exe") = '\0';
	return link;
}

char *rc_sys_fd_link(int fd, char link[RC_FD_LINK])
{
	return rc_sys_fd_link_of(0, fd, link);
}

int rc_sys_reopen(int fd, int flags)
{
	char link[RC_FD_LINK];

	return rc_sys_open(AT_FDCWD, rc_sys_fd_link(fd, link), flags, 0);
}

ssize_t rc_sys_readlink(int dirfd, const char *path, char *target, size_t size)
{
	return RC_SYS(SYS_readlinkat, dirfd, path, target, size, 0, 0);
}

int rc_sys_memfd(const char *name, unsigned flags)
{
	return (int)RC_SYS(SYS_memfd_create, name, flags, 0, 0, 0, 0);
}

static void *map(size_t size, int flags, int fd)
{
	int protection = PROT_READ | PROT_WRITE;
	long at;

#if defined(__s390x__)		/* takes its arguments in memory */
	unsigned long arguments[] = { 0, size, (unsigned long)protection, (unsigned long)flags, (unsigned long)fd, 0 };

	at = RC_SYS(SYS_mmap, arguments, 0, 0, 0, 0, 0);
#elif defined(SYS_mmap2)	/* SYS_mmap is missing, or another call, there */
	at = RC_SYS(SYS_mmap2, NULL, size, protection, flags, fd, 0);
#else
	at = RC_SYS(SYS_mmap, NULL, size, protection, flags, fd, 0);
#endif
	return at < 0 && at > -4096 ? NULL : (void *)at;
}

void *rc_sys_map(size_t size)
{
	return map(size, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1);
}

enum { KEPT_AT_ONCE = 16384 };

void *rc_keep(size_t size)
{
	static char *room;
	static size_t left;
	char *kept;

	size = (size + 15) & ~(size_t)15;
	if (size > left) {
		size_t fresh = size < KEPT_AT_ONCE ? KEPT_AT_ONCE : size;

		kept = rc_sys_map(fresh);
		if (!kept)
			return NULL;
		room = kept;
		left = fresh;
	}
	kept = room;
	room += size;
	left -= size;
	return kept;
}

char *rc_keep_string(const char *text, size_t length)
{
	char *kept = rc_keep(length + 1);

	return kept ? memcpy(kept, text, length) : NULL;
}

void *rc_sys_map_shared(int fd, size_t size)
{
	return map(size, MAP_SHARED, fd);
}

int rc_sys_truncate(int fd, int64_t size)
{
#if __SIZEOF_LONG__ == 8
	return (int)RC_SYS(SYS_ftruncate, fd, size, 0, 0, 0, 0);
#else
	long low = (long)(size & 0xffffffff), high = (long)(size >> 32);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
	long first = high, second = low;
#else
	long first = low, second = high;
#endif

#if defined(__arm__) || defined(__mips__) || defined(__powerpc__)	/* pairs of registers begin at an even one */
	return (int)RC_SYS(SYS_ftruncate64, fd, 0, first, second, 0, 0);
#else
	return (int)RC_SYS(SYS_ftruncate64, fd, first, second, 0, 0, 0);
#endif
#endif
}

int rc_sys_grow(int fd, int64_t size)
{
	struct { uint64_t now, most; } limit;

	if (RC_SYS(SYS_prlimit64, 0, RLIMIT_FSIZE, NULL, &limit, 0, 0) == 0 && (uint64_t)size > limit.now)
		return -EFBIG;
	return rc_sys_truncate(fd, size);
}

int rc_sys_set_mtime(int fd, int64_t sec, uint32_t nsec)
{
	enum { OMIT = 0x3ffffffe };	/* UTIME_OMIT */
#ifdef SYS_utimensat
	struct { long sec, nsec; } times[2] = { { 0, OMIT }, { (long)sec, (long)nsec } };

	return (int)RC_SYS(SYS_utimensat, fd, NULL, times, 0, 0, 0);
#else
	struct { int64_t sec, nsec; } times[2] = { { 0, OMIT }, { sec, nsec } };

	return (int)RC_SYS(SYS_utimensat_time64, fd, NULL, times, 0, 0, 0);
#endif
}

ssize_t rc_sys_pwrite(int fd, const void *data, size_t count, int64_t offset)
{
	struct iovec piece = { (void *)data, count };

	/* Its offset is two longs on every architecture, without alignment rules. */
	return RC_SYS(SYS_pwritev, fd, &piece, 1, offset & ULONG_MAX, __SIZEOF_LONG__ == 8 ? 0 : offset >> 32, 0);
}

ssize_t rc_sys_pread(int fd, void *data, size_t count, int64_t offset)
{
	struct iovec piece = { data, count };

	return RC_SYS(SYS_preadv, fd, &piece, 1, offset & ULONG_MAX, __SIZEOF_LONG__ == 8 ? 0 : offset >> 32, 0);
}

ssize_t rc_sys_recvmsg(int fd, struct msghdr *message, int flags)
{
	return RC_SYS(SYS_recvmsg, fd, message, flags, 0, 0, 0);
}

ssize_t rc_sys_sendmsg(int fd, const struct msghdr *message, int flags)
{
	return RC_SYS(SYS_sendmsg, fd, message, flags, 0, 0, 0);
}

void rc_sys_send_descriptor(int link, int fd)
{
	struct iovec part = { &fd, sizeof fd };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof fd)];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET,
				  .cmsg_type = SCM_RIGHTS } };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	if (fd >= 0) {
		memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
		message.msg_control = &control;
		message.msg_controllen = sizeof control;
	}
	rc_sys_sendmsg(link, &message, MSG_NOSIGNAL);
}

int rc_sys_receive_descriptor(int link)
{
	int value = -EIO;
	struct iovec part = { &value, sizeof value };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof value)];
	} control;
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &control,
				  .msg_controllen = sizeof control };
	struct cmsghdr *c;

	if (rc_sys_recvmsg(link, &message, MSG_CMSG_CLOEXEC) <= 0)
		return -EIO;
	c = CMSG_FIRSTHDR(&message);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(&value, CMSG_DATA(c), sizeof value);
	else if (value >= 0)		/* there was no number free for it here */
		value = -EMFILE;
	return value;
}

void (*rc_before_waiting)(void);

static void before_waiting(void)
{
	if (rc_before_waiting)
		rc_before_waiting();
}

int rc_sys_poll(struct pollfd *set, unsigned count, int timeout_ms)
{
	if (timeout_ms)
		before_waiting();
#ifdef SYS_poll
	return (int)RC_SYS(SYS_poll, set, count, timeout_ms, 0, 0, 0);
#else
	struct timespec timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };

	return (int)RC_SYS(SYS_ppoll, set, count, timeout_ms < 0 ? NULL : &timeout, NULL, 0, 0);
#endif
}

int rc_sys_flock(int fd, int operation)
{
	int result = (int)RC_SYS(SYS_flock, fd, operation | LOCK_NB, 0, 0, 0, 0);

	if (result != -EWOULDBLOCK || operation & LOCK_NB)
		return result;
	before_waiting();
	return (int)RC_SYS(SYS_flock, fd, operation, 0, 0, 0, 0);
}

int rc_sys_getpid(void)
{
	return (int)RC_SYS(SYS_getpid, 0, 0, 0, 0, 0, 0);
}

int rc_sys_gettid(void)
{
	return (int)RC_SYS(SYS_gettid, 0, 0, 0, 0, 0, 0);
}

enum { WAIT_PRIVATE = 0 | 128, WAKE_PRIVATE = 1 | 128 };	/* linux/futex.h's, which musl comes without */

#ifdef SYS_futex
#define FUTEX_NUMBER SYS_futex
#else
#define FUTEX_NUMBER SYS_futex_time64
#endif

int rc_sys_futex_wait(uint32_t *word, uint32_t value, int timeout_ms)
{
	struct { long sec, nsec; } timeout = { timeout_ms / 1000, timeout_ms % 1000 * 1000000l };

	before_waiting();
	return (int)RC_SYS(FUTEX_NUMBER, word, WAIT_PRIVATE, value, timeout_ms < 0 ? NULL : &timeout, 0, 0);
}

int rc_sys_futex_wake(uint32_t *word, int count)
{
	return (int)RC_SYS(FUTEX_NUMBER, word, WAKE_PRIVATE, count, 0, 0, 0);
}

int rc_sys_random(void *bytes, size_t count)
{
	long got = RC_SYS(SYS_getrandom, bytes, count, 0, 0, 0, 0);
	int fd;

	if (got == (long)count)
		return 0;
	fd = rc_sys_open(AT_FDCWD, "/dev/urandom", O_RDONLY | O_CLOEXEC, 0);
	if (fd < 0)
		return fd;
	got = RC_SYS(SYS_read, fd, bytes, count, 0, 0, 0);
	rc_sys_close(fd);
	return got == (long)count ? 0 : -EIO;
}

uint64_t rc_sys_monotonic_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);	/* the vDSO's: neither errno nor a system call */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

bool rc_sys_has_time(uint64_t *first_ns, int timeout_ms)
{
	uint64_t now_ns = rc_sys_monotonic_ns();

	if (!*first_ns)
		*first_ns = now_ns;
	return !timeout_ms || now_ns - *first_ns < (uint64_t)timeout_ms * 1000000;
}

uint64_t rc_sys_boot_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_BOOTTIME, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

enum { SIGNAL_SET = _NSIG / 8 };	/* the kernel's: 16 bytes on mips, 8 elsewhere */

bool rc_sys_is_watched;

static bool readable_watched(uintptr_t address)
{
	char byte;
	struct iovec here = { &byte, 1 }, there = { (void *)address, 1 };

	return RC_SYS(SYS_process_vm_readv, rc_sys_getpid(), &here, 1, &there, 1, 0) != -EFAULT;
}

/* Whether the aligned bytes around `address` can be read: the kernel copies the set before it looks at `how`. */
static bool readable(uintptr_t address)
{
	if (rc_sys_is_watched)
		return readable_watched(address);
	address &= ~(uintptr_t)(SIGNAL_SET - 1);	/* 0 would mean: no set */
	return address && RC_SYS(SYS_rt_sigprocmask, -1, address, NULL, SIGNAL_SET, 0, 0) != -EFAULT;
}

int rc_copy_in(void *to, const void *from, size_t count)
{
	uintptr_t at = (uintptr_t)from, end = at + count;

	if (end < at)
		return -EFAULT;
	for (; at < end; at = (at | 4095) + 1)
		if (!readable(at))
			return -EFAULT;
	memcpy(to, from, count);
	return 0;
}

/* Whether SIGNAL_SET bytes can be written there: the kernel puts the present set into them. */
static bool writable(uintptr_t address)
{
	return address && RC_SYS(SYS_rt_sigprocmask, SIG_BLOCK, NULL, address, SIGNAL_SET, 0, 0) != -EFAULT;
}

/* Page by page; process_vm_writev costs as much as ten of these questions, and knows what lies around a bad page. */
size_t rc_copy_most(void *to, const void *from, size_t count)
{
	const uintptr_t start = (uintptr_t)to, end = start + count;
	uintptr_t at = start, stop;

	for (; count >= SIGNAL_SET && at < end; at = stop) {
		stop = (at | 4095) + 1 < end ? (at | 4095) + 1 : end;
		if (end - at < SIGNAL_SET)
			at = end - SIGNAL_SET;		/* what is there already is written again */
		if (!writable(at))
			break;
		memcpy((void *)at, (const char *)from + (at - start), stop - at);
	}
	if (at != end) {
		struct iovec here = { (char *)from + (at - start), end - at }, there = { (void *)at, end - at };
		long done = RC_SYS(SYS_process_vm_writev, rc_sys_getpid(), &here, 1, &there, 1, 0);

		if (done > 0 && rc_sys_is_watched)	/* who watches hasn't seen that */
			memcpy((void *)at, here.iov_base, (size_t)done);
		if (done > 0)
			at += (size_t)done;
		else if (done < 0 && done != -EFAULT && readable(at) && readable(end - 1)) {
			memcpy((void *)at, here.iov_base, here.iov_len);	/* not allowed: as good as can be */
			at = end;
		}
	}
	return at - start;
}

size_t rc_writable(void *at, size_t count)
{
	struct iovec itself = { at, count };
	long good = RC_SYS(SYS_process_vm_writev, rc_sys_getpid(), &itself, 1, &itself, 1, 0);

	return good < 0 ? 0 : (size_t)good;
}

int rc_copy_out(void *to, const void *from, size_t count)
{
	return rc_copy_most(to, from, count) == count ? 0 : -EFAULT;
}

ssize_t rc_copy_string(char *to, const char *from, size_t size)
{
	for (size_t i = 0; i < size; i++) {
		uintptr_t at = (uintptr_t)from + i;

		if ((i == 0 || at % 4096 == 0) && !readable(at))
			return -EFAULT;
		to[i] = from[i];
		if (!to[i])
			return (ssize_t)i;
	}
	return -ENAMETOOLONG;
}
