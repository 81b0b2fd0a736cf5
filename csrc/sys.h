/* SPDX-License-Identifier: MIT
 *
 * System calls made for ourselves: straight to the kernel, past libc's exported names (which this library
 * itself wraps), past thread cancellation, and without touching errno.  Every rc_sys_* returns the result or
 * -errno.
 *
 * Under a supervisor the calls go through a page at a fixed address whose instruction pointer the seccomp
 * filter lets pass (supervise.c); elsewhere straight into the kernel.
 */
#ifndef RC_SYS_H
#define RC_SYS_H

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <sys/uio.h>

#include "numbers.h"

/* Where the page with the system call instruction lives in every process of a supervised tree. */
#define RC_STUB_ADDRESS 0x567000000000ul		/* above where programs are loaded, and nothing of the sanitizers' */
#define RC_STUB_SIZE 4096ul

/* Maps the page and sends every later rc_syscall through it.  0, or -errno (the address is taken). */
int rc_stub_install(void);

long rc_syscall(long number, long a, long b, long c, long d, long e, long f);

#define RC_SYS(number, a, b, c, d, e, f) \
	rc_syscall((number), (long)(a), (long)(b), (long)(c), (long)(d), (long)(e), (long)(f))

/* struct statx, the same on every machine; not every libc declares it. */
struct rc_kernel_statx {
	uint32_t mask, blksize;
	uint64_t attributes;
	uint32_t nlink, uid, gid;
	uint16_t mode, spare;
	uint64_t ino, size, blocks, attributes_mask;
	struct {
		int64_t sec;
		uint32_t nsec;
		int32_t spare;
	} atime, btime, ctime, mtime;
	uint32_t rdev_major, rdev_minor, dev_major, dev_minor;
	uint64_t mnt_id;
	uint32_t dio_mem_align, dio_offset_align;
	uint64_t subvol;
	uint64_t spares[11];
};
_Static_assert(sizeof(struct rc_kernel_statx) == 256, "as the kernel has it");

/* What the kernel says a descriptor is, the same on every architecture. */
struct rc_identity {
	uint64_t ino;
	uint32_t dev_major, dev_minor;
	uint32_t nlink;
	uint32_t mode;
	uint64_t size;
	int64_t mtime_sec;
	uint32_t mtime_nsec;
};

int rc_sys_identity(int fd, struct rc_identity *identity);
/* Has the file's server asked for its attributes, whatever is known of them. */
int rc_sys_refresh(int fd);
int rc_sys_close(int fd);
int rc_sys_dup_from(int fd, int lowest, int close_on_exec);
/* RLIMIT_NOFILE, whose soft part is raised to the hard one for a moment: numbers above it are ours.  A moment is one system call or
 * a spawn; meanwhile no other thread does it, and none forks (begin false: this one is in its moment already). */
bool rc_sys_begin_moment(void);
void rc_sys_end_moment(void);
struct rc_sys_limit {
	uint64_t soft, hard;		/* 0, 0: they can't be had */
	bool raised;			/* it isn't where that is so already */
	bool ours;			/* the moment began with this */
};
void rc_sys_raise_limit(struct rc_sys_limit *before);
/* pid: of a child that has inherited it; 0: this process, which ends the moment. */
void rc_sys_restore_limit(int pid, const struct rc_sys_limit *before);
/* The first free number at or above `lowest`, even above the soft limit of RLIMIT_NOFILE, which is raised around this one call;
 * where the hard limit is not above `lowest`, half of it instead. */
int rc_sys_dup_high(int fd, int lowest, int close_on_exec);
/* dup3(2), likewise. */
int rc_sys_dup_to(int fd, int to, int flags);
/* The same in place of fd, close-on-exec; fd itself, or the error that it is, where that can't be. */
int rc_sys_raise(int fd, int lowest);
int rc_sys_fcntl(int fd, int command, long argument);
int64_t rc_sys_lseek(int fd, int64_t offset, int whence);
#ifdef O_LARGEFILE
#define RC_LARGE O_LARGEFILE
#else
#define RC_LARGE 0
#endif
int rc_sys_open(int dirfd, const char *path, int flags, unsigned mode);
/* "/proc/<pid>/fd/N", or "/proc/self/fd/N", for a descriptor that there may be (>= 0): returns `link`. */
enum { RC_FD_LINK = sizeof "/proc/2147483647/fd/2147483647" };
char *rc_sys_fd_link_of(unsigned pid, int fd, char link[RC_FD_LINK]);
char *rc_sys_cwd_link_of(unsigned pid, char link[RC_FD_LINK]);
char *rc_sys_exe_link_of(unsigned pid, char link[RC_FD_LINK]);
char *rc_sys_fd_link(int fd, char link[RC_FD_LINK]);
/* The same file once more, by that name: a description of its own. */
int rc_sys_reopen(int fd, int flags);
ssize_t rc_sys_readlink(int dirfd, const char *path, char *target, size_t size);
int rc_sys_memfd(const char *name, unsigned flags);
/* Zeroed memory of our own, reserved and not yet used; NULL where there is none. */
void *rc_sys_map(size_t size);
/* Zeroed memory for what is kept until the process ends, without the program's allocator, in which we may have been called.
 * NULL: there is none.  For one thread at a time: while we start. */
void *rc_keep(size_t size);
char *rc_keep_string(const char *text, size_t length);
/* The file's first bytes, shared with all that map them; NULL. */
void *rc_sys_map_shared(int fd, size_t size);
int rc_sys_truncate(int fd, int64_t size);
int rc_sys_grow(int fd, int64_t size);	/* the same; EFBIG where that would be more than the process may write, without SIGXFSZ */
int rc_sys_set_mtime(int fd, int64_t sec, uint32_t nsec);
ssize_t rc_sys_pwrite(int fd, const void *data, size_t count, int64_t offset);
ssize_t rc_sys_pread(int fd, void *data, size_t count, int64_t offset);
ssize_t rc_sys_recvmsg(int fd, struct msghdr *message, int flags);
ssize_t rc_sys_sendmsg(int fd, const struct msghdr *message, int flags);
/* A descriptor, or the -errno that is there instead, to or from another process by a Unix socket. */
void rc_sys_send_descriptor(int link, int fd);
int rc_sys_receive_descriptor(int link);
/* Where this thread serves others: called before it may sleep until somebody else has done something. */
extern void (*rc_before_waiting)(void);
int rc_sys_poll(struct pollfd *set, unsigned count, int timeout_ms);
int rc_sys_flock(int fd, int operation);
int rc_sys_getpid(void);
int rc_sys_gettid(void);
int rc_sys_futex_wait(uint32_t *word, uint32_t value, int timeout_ms);
int rc_sys_futex_wake(uint32_t *word, int count);
int rc_sys_random(void *bytes, size_t count);
/* After attempt 0, 1, … at what another thread or process has for a moment, but for which it may wait for a processor. */
enum { RC_SYS_YIELDS = 64 };
void rc_sys_pause(int attempt);		/* from RC_SYS_YIELDS on a millisecond */
uint64_t rc_sys_monotonic_ns(void);
/* Before a wait begins anew, which starts the kernel's own time-out from zero: whether there is time left, counted from when this
 * was asked first (*first_ns: 0 until then).  timeout_ms 0: always. */
bool rc_sys_has_time(uint64_t *first_ns, int timeout_ms);
uint64_t rc_sys_boot_ns(void);			/* … that goes on while the machine sleeps */

/* valgrind runs the program: it would report what the cheapest question about a pointer asks the kernel. */
extern bool rc_sys_is_watched;

/* Copies between this process's own buffers where one side came from the program and may be a bad pointer:
 * 0, or -EFAULT with nothing harmed. */
int rc_copy_in(void *to, const void *from, size_t count);
int rc_copy_out(void *to, const void *from, size_t count);
/* As far as the buffer is good: how many bytes. */
size_t rc_copy_most(void *to, const void *from, size_t count);
/* How many bytes from there on can be read and written, which stay as they are; 0 where the kernel doesn't tell. */
size_t rc_writable(void *at, size_t count);
/* A NUL-terminated string of at most size-1 bytes: its length, -EFAULT, or -ENAMETOOLONG. */
ssize_t rc_copy_string(char *to, const char *from, size_t size);

#endif
