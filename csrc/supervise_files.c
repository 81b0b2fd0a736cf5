/* SPDX-License-Identifier: MIT
 *
 * Handlers of the calls that take a descriptor.  Each borrows a copy of it, so that what the rules say of an offset is said of
 * the program's own; what isn't a placeholder is the kernel's.
 */
#include "supervise_place.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config.h"
#include "copy.h"
#include "directory.h"
#include "lock.h"
#include "mapping.h"
#include "protocol.h"
#include "report.h"
#include "run_watch.h"
#include "supervise_layout.h"
#include "syscalls_expand.h"
#include "sys.h"
#include "translate.h"

/* The description behind fd, with a copy of the descriptor in `own` that `leave` closes. */
#define BORROW(fd) \
	struct rc_description *d; \
	int own, side = rc_target_description(notice, (int)(fd), &d, &own); \
	if (side <= 0) \
		return RC_LET; \
	if (d->handle == RC_NO_HANDLE) \
		return leave(own, -EBADF); \
	rc_notice_remote(notice, (int)(fd), d->handle, "")

static int64_t leave(int own, int64_t result)
{
	close(own);
	return result;
}

/* ---------------------------------------------------------------------------------------------------- read */

enum { MAX_RW_COUNT = 0x7ffff000 };

static ssize_t read_some(struct rc_description *d, int own, void *memory, size_t count, int64_t offset)
{
	struct iovec into = { memory, count };

	return offset < 0 ? rc_description_read(d, own, &into, 1) : rc_description_pread(d, own, &into, 1, offset);
}

/* By way of this thread's memory, as much at a time as it holds.  offset < 0: the description's own, which moves on by what
 * arrived in the program and no further. */
static ssize_t read_into(struct rc_notice *notice, struct rc_description *d, int own, const struct iovec *to, int count,
			 size_t size, int64_t offset)
{
	size_t done = 0;

	do {
		struct iovec rest[count ? count : 1];
		size_t piece = size - done < RC_NOTICE_MEMORY ? size - done : RC_NOTICE_MEMORY;
		ssize_t got = read_some(d, own, notice->memory, piece, offset < 0 ? -1 : offset + (int64_t)done), put;

		if (got <= 0)
			return done ? (ssize_t)done : got;
		put = rc_target_scatter(notice, rest, rc_slice(to, count, done, SIZE_MAX, rest, count), notice->memory, (size_t)got);
		if (put < got && offset < 0 && d->kind == RC_KIND_POSITIONED)
			rc_sys_lseek(own, (put < 0 ? 0 : put) - got, SEEK_CUR);
		if (put < 0)
			return done ? (ssize_t)done : put;
		done += (size_t)put;
		if (put < got || (size_t)got < piece || d->kind != RC_KIND_POSITIONED)
			break;
	} while (done < size);
	return (ssize_t)done;
}

static int64_t read_plain(struct rc_notice *notice, const int64_t *a, int64_t offset)
{
	size_t count = (size_t)a[2];
	struct iovec to = { (void *)(uintptr_t)a[1], count < MAX_RW_COUNT ? count : MAX_RW_COUNT };

	BORROW(a[0]);
	rc_debug("%s() %zd bytes on remote fd %d", offset < 0 ? "read" : "pread", (ssize_t)count, (int)a[0]);
	if ((ssize_t)count < 0 || (notice->abi->narrow && (int32_t)count < 0))
		return leave(own, -EINVAL);
	return leave(own, read_into(notice, d, own, &to, 1, to.iov_len, offset));
}

int64_t rc_do_read(struct rc_notice *notice, const int64_t *a)
{
	return read_plain(notice, a, -1);
}

int64_t rc_do_pread(struct rc_notice *notice, const int64_t *a)
{
	int64_t offset = rc_offset_of(notice, a + 3);

	return offset < 0 ? RC_LET /* EINVAL, whatever the descriptor */ : read_plain(notice, a, offset);
}

static int64_t read_vector(struct rc_notice *notice, const int64_t *a, int64_t offset)
{
	int count = (int)a[2];
	size_t size = 0;

	BORROW(a[0]);
	if (count < 0 || count > IOV_MAX)
		return leave(own, -EINVAL);
	struct iovec to[count + 1];

	if (rc_target_vector(notice, (uint64_t)a[1], count, to) < 0)
		return leave(own, -EFAULT);
	for (int i = 0; i < count; i++) {
		if (to[i].iov_len > SSIZE_MAX || (notice->abi->narrow && to[i].iov_len > INT32_MAX))
			return leave(own, -EINVAL);
		if (to[i].iov_len > MAX_RW_COUNT - size)
			to[i].iov_len = MAX_RW_COUNT - size;
		size += to[i].iov_len;
	}
	return leave(own, read_into(notice, d, own, to, count, size, offset));
}

int64_t rc_do_readv(struct rc_notice *notice, const int64_t *a)
{
	return read_vector(notice, a, -1);
}

#ifndef RWF_HIPRI
#define RWF_HIPRI 1
#endif

int64_t rc_do_preadv(struct rc_notice *notice, const int64_t *a)
{
	int64_t offset = rc_offset_of(notice, a + 3);

	if (a[5] & ~RWF_HIPRI) {	/* RWF_NOWAIT: as a file system says that can't promise it */
		BORROW(a[0]);
		return leave(own, -EOPNOTSUPP);
	}
	/* Only preadv2 has -1 for the description's own offset. */
	if (offset < 0 && !(offset == -1 && !strcmp(notice->call->name, "preadv2")))
		return RC_LET;
	return read_vector(notice, a, offset);
}

/* --------------------------------------------------------------------------------------------------- lseek */

int64_t rc_do_lseek(struct rc_notice *notice, const int64_t *a)
{
	int64_t offset = notice->abi->narrow ? (int32_t)a[1] : a[1], result;

	BORROW(a[0]);
	rc_debug("lseek() offset %lld from %d", (long long)offset, (int)a[2]);
	result = leave(own, rc_description_lseek(d, own, offset, (int)a[2]));
	return notice->abi->narrow && result > INT32_MAX ? -EOVERFLOW : result;
}

int64_t rc_do_llseek(struct rc_notice *notice, const int64_t *a)
{
	int64_t offset = (int64_t)((uint64_t)a[1] << 32 | (uint32_t)a[2]), result;

	BORROW(a[0]);
	rc_debug("lseek() offset %lld from %d", (long long)offset, (int)a[4]);
	result = leave(own, rc_description_lseek(d, own, offset, (int)a[4]));
	if (result >= 0 && rc_target_put(notice, (uint64_t)a[3], &result, sizeof result) != sizeof result)
		result = -EFAULT;
	return result < 0 ? result : 0;
}

/* ----------------------------------------------------------------------------------- attributes, directories */

int64_t rc_do_fstat(struct rc_notice *notice, const int64_t *a)
{
	struct rc_stat stat;
	int64_t result;

	BORROW(a[0]);
	rc_debug("fstat() on remote fd %d", (int)a[0]);
	result = leave(own, rc_description_fstat(d, own, STATX_BASIC_STATS, &stat));
	return result ? result : rc_put_stat_as(notice, &stat, (enum rc_layout)a[2], (uint64_t)a[1]);
}

static int64_t get_records(struct rc_notice *notice, const int64_t *a, bool old)
{
	size_t size = (size_t)(uint32_t)a[2];
	int64_t before;
	ssize_t result;

	BORROW(a[0]);
	rc_debug("%s() on remote fd %d", notice->call->name, (int)a[0]);
	before = rc_sys_lseek(own, 0, SEEK_CUR);
	if (size > RC_NOTICE_MEMORY)
		size = RC_NOTICE_MEMORY;
	result = rc_directory_records(d, own, old, notice->abi->narrow, notice->memory, size);
	if (result > 0 && rc_target_put(notice, (uint64_t)a[1], notice->memory, (size_t)result) != result) {
		rc_sys_lseek(own, before, SEEK_SET);
		result = -EFAULT;
	}
	return leave(own, result);
}

int64_t rc_do_getdents(struct rc_notice *notice, const int64_t *a)
{
	return get_records(notice, a, true);
}

int64_t rc_do_getdents64(struct rc_notice *notice, const int64_t *a)
{
	return get_records(notice, a, false);
}

/* ------------------------------------------------------------------------------------------ content by others */

static _Atomic bool mapped;		/* whether any program ever mapped one of ours by way of us */

/* The kernel maps the placeholder itself, which gets what the mapping covers first. */
static int64_t map(struct rc_notice *notice, int fd, uint64_t length, int protection, int flags, int64_t offset)
{
	int64_t result;

	BORROW(fd);
	rc_debug("mmap() on remote fd %d", fd);
	mapped = true;
	rc_notice_slow(notice);
	result = leave(own, rc_mapping_prepare(d, own, (size_t)length, protection, flags, offset));
	return result < 0 ? rc_refuse_call(notice, "descriptor", result) : RC_LET;
}

/* (length, protection, flags, descriptor, offset, the offset's unit as a power of 2) */
int64_t rc_do_mmap(struct rc_notice *notice, const int64_t *a)
{
	bool narrow = notice->abi->narrow;

	return a[2] & MAP_ANONYMOUS ? RC_LET
	     : map(notice, (int)a[3], narrow ? (uint32_t)a[0] : (uint64_t)a[0], (int)a[1], (int)a[2],
		   (narrow ? (int64_t)(uint32_t)a[4] : a[4]) * ((int64_t)1 << a[5]));
}

int64_t rc_do_old_mmap(struct rc_notice *notice, const int64_t *a)
{
	uint32_t arguments[6];		/* address, length, protection, flags, descriptor, offset */

	if (rc_target_get(notice, (uint64_t)a[0], arguments, sizeof arguments) < 0 || (arguments[3] & MAP_ANONYMOUS))
		return RC_LET;
	return map(notice, (int)arguments[4], arguments[1], (int)arguments[2], (int)arguments[3], arguments[5]);
}

/* A mapping of ours that grows would cover what hasn't been fetched, and there may be no descriptor any more to fetch it by. */
int64_t rc_do_mremap(struct rc_notice *notice, const int64_t *a)
{
	uint64_t at = notice->abi->narrow ? (uint32_t)a[0] : (uint64_t)a[0];
	struct rc_placeholder p;
	int64_t offset;

	if (!mapped || (uint64_t)a[2] <= (uint64_t)a[1] || !rc_mapping_at((int)notice->n->pid, at, &p, &offset) ||
	    p.paged)
		return RC_LET;
	return rc_refuse_call(notice, "mapping", -ENOMEM);
}

int64_t rc_do_sendfile(struct rc_notice *notice, const int64_t *a)
{
	bool narrow = notice->abi->narrow && a[4] == RC_LAYOUT_STAT;
	int64_t offset = 0, result;
	int32_t short_offset;
	int out;

	BORROW(a[1]);
	rc_debug("sendfile() on remote fd %d", (int)a[1]);
	rc_notice_slow(notice);
	if (a[2] && narrow && rc_target_get(notice, (uint64_t)a[2], &short_offset, sizeof short_offset) == 0)
		offset = short_offset;
	else if (a[2] && (narrow || rc_target_get(notice, (uint64_t)a[2], &offset, sizeof offset) < 0))
		return leave(own, -EFAULT);
	out = rc_target_borrow(notice, (int)a[0]);
	if (out < 0)
		return leave(own, out);
	result = offset < 0 || a[3] < 0 ? -EINVAL
	       : d->kind == RC_KIND_DIRECTORY ? -EINVAL
	       : rc_copy_file(d, own, a[2] ? &offset : NULL, out, NULL, true, (size_t)a[3], notice->memory, RC_NOTICE_MEMORY);
	close(out);
	if (result >= 0 && a[2]) {
		short_offset = (int32_t)offset;
		if (narrow ? rc_target_put(notice, (uint64_t)a[2], &short_offset, sizeof short_offset) < 0
			   : rc_target_put(notice, (uint64_t)a[2], &offset, sizeof offset) < 0)
			result = -EFAULT;
	}
	return leave(own, result);
}

/* splice and copy_file_range: (in, *in_offset, out, *out_offset, length).  A pipe fills up: what fits is what was asked for. */
int64_t rc_do_splice(struct rc_notice *notice, const int64_t *a)
{
	bool is_pipe = !strcmp(notice->call->name, "splice");
	int64_t from = 0, to = 0, result;
	struct rc_identity identity;
	int out;

	BORROW(a[0]);
	rc_debug("%s() on remote fd %d", notice->call->name, (int)a[0]);
	rc_notice_slow(notice);
	if ((a[1] && rc_target_get(notice, (uint64_t)a[1], &from, sizeof from) < 0) ||
	    (a[3] && rc_target_get(notice, (uint64_t)a[3], &to, sizeof to) < 0))
		return leave(own, -EFAULT);
	out = rc_target_borrow(notice, (int)a[2]);
	if (out < 0)
		return leave(own, out);
	result = from < 0 || to < 0 || (is_pipe && (rc_sys_identity(out, &identity) < 0 || !S_ISFIFO(identity.mode))) ? -EINVAL
	       : rc_copy_file(d, own, a[1] ? &from : NULL, out, a[3] ? &to : NULL, false,
			      is_pipe && (size_t)a[4] > 65536 ? 65536 : (size_t)a[4], notice->memory, RC_NOTICE_MEMORY);
	close(out);
	if (result >= 0 && ((a[1] && rc_target_put(notice, (uint64_t)a[1], &from, sizeof from) < 0) ||
			    (a[3] && rc_target_put(notice, (uint64_t)a[3], &to, sizeof to) < 0)))
		result = -EFAULT;
	return leave(own, result);
}

int64_t rc_do_advise(struct rc_notice *notice, const int64_t *a)
{
	bool wide_length = notice->call->arguments[5] == 5;	/* of a narrow machine's two calls, which have the advice last */
	int64_t length = !notice->abi->narrow ? a[2] : wide_length ? rc_offset_of(notice, a + 3) : a[3];
	int advice = (int)a[!notice->abi->narrow ? 3 : wide_length ? 5 : 4];

	BORROW(a[0]);
	return leave(own, rc_description_advise(d, rc_offset_of(notice, a + 1), length, advice));
}

int64_t rc_do_readahead(struct rc_notice *notice, const int64_t *a)
{
	BORROW(a[0]);
	return leave(own, rc_description_readahead(d, rc_offset_of(notice, a + 1), notice->abi->narrow ? a[3] : a[2]));
}

/* Requests to the kernel's asynchronous I/O, each with its descriptor inside (struct iocb, the same on every machine). */
int64_t rc_do_io_submit(struct rc_notice *notice, const int64_t *a)
{
	enum { DESCRIPTOR_AT = 20, MOST = 1024 };

	for (int64_t i = 0; i < a[0] && i < MOST; i++) {
		size_t word = notice->abi->narrow ? 4 : 8;
		uint64_t request = 0;
		struct rc_description *d;
		int own;
		uint32_t fd;

		if (rc_target_get(notice, (uint64_t)a[1] + (uint64_t)i * word, &request, word) < 0 ||
		    rc_target_get(notice, request + DESCRIPTOR_AT, &fd, sizeof fd) < 0)
			break;
		if (rc_target_description(notice, (int)fd, &d, &own) > 0)
			return leave(own, rc_refuse_call(notice, "descriptor", -EINVAL));
	}
	return RC_LET;
}

/* --------------------------------------------------------------------------------------- what else it can do */

/* struct flock as the kernel has it for each command of each kind of program. */
struct flock_wide {
	int16_t type, whence;
	int64_t start, length;
	int32_t pid;
};
#pragma pack(push, 4)
struct flock_narrow {
	int16_t type, whence;
	int32_t start, length, pid;
};
struct flock64_narrow {
	int16_t type, whence;
	int64_t start, length;
	int32_t pid;
};
#pragma pack(pop)

/* Who asks for a lock may know that its holder has ended, or has closed its file: before we do, unless we look. */
static int lock_range(struct rc_description *d, int own, bool query, bool wait, struct rc_flock *lock)
{
	rc_watch_read();
	return rc_lock_range(d, own, query, wait, lock);
}

#define LOCK(function, form) \
	static int64_t function(struct rc_notice *notice, struct rc_description *d, int own, bool query, bool wait, uint64_t at) \
	{ \
		struct rc_flock lock; \
		form given; \
		int result; \
		if (rc_target_get(notice, at, &given, sizeof given) < 0) \
			return -EFAULT; \
		lock = (struct rc_flock){ given.type, given.whence, given.start, given.length, given.pid }; \
		result = lock_range(d, own, query, wait, &lock); \
		if (result || !query) \
			return result; \
		given.type = (int16_t)lock.type; \
		given.whence = (int16_t)lock.whence; \
		given.start = (__typeof__(given.start))lock.start; \
		given.length = (__typeof__(given.length))lock.length; \
		given.pid = lock.pid; \
		if (given.start != lock.start || given.length != lock.length) \
			return -EOVERFLOW; \
		return rc_target_put(notice, at, &given, sizeof given) == sizeof given ? 0 : -EFAULT; \
	}
LOCK(lock_wide, struct flock_wide)
LOCK(lock_narrow, struct flock_narrow)
LOCK(lock64_narrow, struct flock64_narrow)

/* Linux's numbers of the commands that only narrow programs have, and libc's headers name only there. */
enum { NARROW_GETLK64 = 12, NARROW_SETLK64, NARROW_SETLKW64 };

int64_t rc_do_fcntl(struct rc_notice *notice, const int64_t *a)
{
	int64_t result;

	BORROW(a[0]);
	if (!rc_description_fcntl_allowed(d, (int)a[1]))
		return leave(own, -EBADF);
	switch ((int)a[1]) {
	case F_SETFL:
		result = d->kind == RC_KIND_STREAM ? rc_call_set_flags(d->handle, (int)a[2]) : 0;
		return leave(own, result < 0 ? result : RC_LET);
	case F_GETLK:
	case F_SETLK:
	case F_SETLKW:
		return leave(own, (notice->abi->narrow ? lock_narrow : lock_wide)
			     (notice, d, own, a[1] == F_GETLK, a[1] == F_SETLKW, (uint64_t)a[2]));
	case NARROW_GETLK64:
	case NARROW_SETLK64:
	case NARROW_SETLKW64:
		return leave(own, notice->abi->narrow ? lock64_narrow(notice, d, own, a[1] == NARROW_GETLK64,
								     a[1] == NARROW_SETLKW64, (uint64_t)a[2]) : -EINVAL);
	case F_OFD_GETLK:
	case F_OFD_SETLK:
	case F_OFD_SETLKW:
		return leave(own, (notice->abi->narrow ? lock64_narrow : lock_wide)
			     (notice, d, own, a[1] == F_OFD_GETLK, a[1] == F_OFD_SETLKW, (uint64_t)a[2]));
	default:
		result = rc_description_fcntl(d, (int)a[1], a[2]);
		return leave(own, result < 0 ? rc_refuse_call(notice, "descriptor", result) : result);
	}
}

/* A 32-bit program's number of a request whose argument is declared long, as this machine writes it. */
static unsigned long request_of(const struct rc_notice *notice, int64_t given)
{
	uint32_t request = (uint32_t)given;

	if (notice->abi->narrow && _IOC_SIZE(request) == sizeof(uint32_t))
		request = (uint32_t)_IOC(_IOC_DIR(request), _IOC_TYPE(request), _IOC_NR(request), sizeof(long));
	return request;
}

int64_t rc_do_ioctl(struct rc_notice *notice, const int64_t *a)
{
	unsigned long request = request_of(notice, a[1]);
	uint8_t value[RC_IOCTL_MAX];
	ssize_t got;
	int on, flags, result = 0;

	BORROW(a[0]);
	rc_debug("ioctl() %lx on remote fd %d", request, (int)a[0]);
	switch (request) {
	case FIOCLEX:
	case FIONCLEX:
		return leave(own, RC_LET);
	case FIONBIO:
		if (rc_target_get(notice, (uint64_t)a[2], &on, sizeof on) < 0)
			return leave(own, -EFAULT);
		flags = fcntl(own, F_GETFL);
		if (d->kind == RC_KIND_STREAM)
			result = rc_call_set_flags(d->handle, on ? flags | O_NONBLOCK : flags & ~O_NONBLOCK);
		return leave(own, result < 0 ? result : RC_LET);
	}
	got = leave(own, rc_description_ioctl(d, own, request, value));
	if (got < 0)
		return got;
	return rc_target_put(notice, (uint64_t)a[2], value, (size_t)got) == got ? 0 : -EFAULT;
}

int64_t rc_do_flock(struct rc_notice *notice, const int64_t *a)
{
	BORROW(a[0]);
	rc_debug("flock() on remote fd %d", (int)a[0]);
	rc_watch_read();
	return leave(own, rc_lock_whole(d, (int)a[1]));
}

int64_t rc_do_refuse_fd(struct rc_notice *notice, const int64_t *a)
{
	BORROW(a[0]);
	return leave(own, rc_refuse_call(notice, "descriptor", rc_description_refusal(d, (int)-a[1])));
}

int64_t rc_do_sync(struct rc_notice *notice, const int64_t *a)
{
	BORROW(a[0]);
	return leave(own, rc_description_sync(d));
}

int64_t rc_do_none(struct rc_notice *notice, const int64_t *a)
{
	(void)notice, (void)a;
	return -ENOSYS;
}
