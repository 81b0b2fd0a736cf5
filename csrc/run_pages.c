/* SPDX-License-Identifier: MIT */
#include "run_pages.h"

#include <errno.h>

#include "numbers.h"

#ifdef SYS_fsopen		/* kernel headers of Linux 5.2 */
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/mount.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "calls.h"
#include "config.h"
#include "placeholder.h"
#include "protocol.h"
#include "run_extents.h"
#include "sys.h"
#include "transport.h"

/* ------------------------------------------------------------------------------------------------- the mount */

static int set(int context, const char *name, const char *value)
{
	return syscall(SYS_fsconfig, context, value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG, name, value, 0) ? -errno : 0;
}

/* A mount that is attached nowhere, with us as its user; `device` is what it is to be served by. */
static int mount_of(int device, bool own_namespace)
{
	char number[12], uid[12], gid[12];
	int context = (int)syscall(SYS_fsopen, "fuse", FSOPEN_CLOEXEC), root, bad;

	if (context < 0)
		return -errno;
	snprintf(number, sizeof number, "%d", device);
	snprintf(uid, sizeof uid, "%d", (int)geteuid());
	snprintf(gid, sizeof gid, "%d", (int)getegid());
	bad = set(context, "fd", number);
	bad = bad ? bad : set(context, "rootmode", "40000");
	bad = bad ? bad : set(context, "user_id", uid);
	bad = bad ? bad : set(context, "group_id", gid);
	/* A privileged program may become another user; what isn't privileged can't, and isn't let in by this from outside the
	 * namespace. */
	if (!bad && !own_namespace)
		bad = set(context, "allow_other", NULL);
	if (!bad && syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		bad = -errno;
	root = bad ? bad : (int)syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	if (!bad && root < 0)
		root = -errno;
	close(context);
	return root;
}

static int put_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	ssize_t put = fd < 0 ? -1 : write(fd, text, strlen(text));
	int bad = put < 0 ? -errno : 0;

	if (fd >= 0)
		close(fd);
	return bad;
}

/* Where only root may mount, we are root of a namespace of our own: outside of it nothing changes. */
static int enter_namespace(void)
{
	char uids[24], gids[24];
	int bad;

	snprintf(uids, sizeof uids, "0 %d 1", (int)geteuid());
	snprintf(gids, sizeof gids, "0 %d 1", (int)getegid());
	if (unshare(CLONE_NEWUSER | CLONE_NEWNS))
		return -errno;
	bad = put_text("/proc/self/setgroups", "deny");
	bad = bad ? bad : put_text("/proc/self/uid_map", uids);
	return bad ? bad : put_text("/proc/self/gid_map", gids);
}

/* The device must have been opened in the namespace of the mount. */
static int mount_pages(int *device, bool own_namespace)
{
	int root = own_namespace ? enter_namespace() : 0;

	*device = root ? -1 : open("/dev/fuse", O_RDWR | O_CLOEXEC);
	if (*device < 0)
		return root ? root : -errno;
	root = mount_of(*device, own_namespace);
	if (root < 0)
		close(*device);
	return root;
}

/* ----------------------------------------------------------------------------------------------- the requests */

/* A file's inode number, here and in the kernel; no memfd has one as large.  ROOT is FUSE_ROOT_ID. */
static const uint64_t NODE = UINT64_C(1) << 62;
/* Requests are small: nothing is written.  Replies are at most a READ's. */
enum { REQUEST = FUSE_MIN_READ_BUFFER, MOST_PAGES = 256, PAGE = 4096, REPLY = MOST_PAGES * PAGE, MOST_THREADS = 32 };

struct reply {
	struct fuse_out_header header;
	union {
		struct fuse_init_out init;
		struct fuse_entry_out entry;
		struct fuse_attr_out attr;
		uint8_t data[REPLY];
	};
};

static int device;
static _Atomic int threads, waiting;

static void start_thread(void);

/* Who asks the server may wait: somebody else takes the next request. */
static void before_waiting(void)
{
	if (atomic_load(&waiting) == 0 && atomic_load(&threads) < MOST_THREADS)
		start_thread();
}

/* Nothing of it is asked for again, but by who says so (mapping.c): then all of it is compared with what it was, and pages of
 * another version are dropped.  (The kernel compares size and mtime; here that is the file's ctime.) */
static const uint64_t ALWAYS = UINT64_C(1) << 30;

static struct fuse_attr attributes(uint64_t node, const struct rc_stat *stat)
{
	return (struct fuse_attr){
		.ino = node, .mode = node == FUSE_ROOT_ID ? S_IFDIR | 0777 : S_IFREG | 0777, .size = stat->size,
		.mtime = (uint64_t)stat->ctime.sec, .mtimensec = stat->ctime.nsec, .blksize = PAGE,
	};
}

static ssize_t init(const struct fuse_init_in *in, struct fuse_init_out *out)
{
	*out = (struct fuse_init_out){
		.major = FUSE_KERNEL_VERSION, .minor = in->minor < FUSE_KERNEL_MINOR_VERSION ? in->minor : FUSE_KERNEL_MINOR_VERSION,
		.max_readahead = REPLY, .max_write = PAGE, .max_pages = MOST_PAGES, .time_gran = 1,
		.max_background = 2 * MOST_THREADS, .congestion_threshold = MOST_THREADS,
		.flags = in->flags & (FUSE_ASYNC_READ | FUSE_AUTO_INVAL_DATA | FUSE_MAX_PAGES | FUSE_PARALLEL_DIROPS),
	};
	return sizeof *out;
}

/* Any handle of the session has a file, without the server being asked: it's empty until it is mapped. */
static ssize_t lookup(const char *name, struct fuse_entry_out *out)
{
	const struct rc_stat nothing = { .size = 0 };
	char link[256] = "/";
	struct rc_placeholder p;

	strncat(link, name, sizeof link - 2);
	if (!rc_placeholder_parse(link, &p) || !p.paged || p.kind != RC_KIND_POSITIONED || p.handle >= NODE ||
	    memcmp(p.session, rc_config.session, sizeof p.session))
		return -ENOENT;
	*out = (struct fuse_entry_out){ .nodeid = NODE | p.handle, .entry_valid = ALWAYS, .attr_valid = ALWAYS,
					.attr = attributes(NODE | p.handle, &nothing) };
	return sizeof *out;
}

static ssize_t getattr(uint64_t node, struct fuse_attr_out *out)
{
	struct rc_stat stat = { .size = 0 };
	int bad = 0;

	if (node != FUSE_ROOT_ID) {
		rc_extents_forget(node & ~NODE);
		bad = rc_call_fstat(node & ~NODE, STATX_SIZE | STATX_CTIME, &stat);
	}
	*out = (struct fuse_attr_out){ .attr_valid = ALWAYS, .attr = attributes(node, &stat) };
	return bad ? bad : (ssize_t)sizeof *out;
}

/* Fewer bytes than asked for: the file ends there. */
static ssize_t fetch(uint64_t handle, uint8_t *data, size_t size, int64_t offset)
{
	size_t done = 0;

	while (done < size) {
		struct iovec into = { data + done, size - done };
		ssize_t got = rc_call_pread(handle, &into, 1, offset + (int64_t)done);

		if (got <= 0)
			return got < 0 ? got : (ssize_t)done;
		done += (size_t)got;
	}
	return (ssize_t)done;
}

static ssize_t read_pages(uint64_t node, const struct fuse_read_in *in, uint8_t *data)
{
	struct rc_extent parts[RC_EXTENTS];
	int64_t offset = (int64_t)in->offset;
	uint64_t handle = node & ~NODE;
	int count;

	if (in->size > REPLY || offset < 0 || offset > INT64_MAX - REPLY)
		return -EINVAL;
	count = rc_extents_within(handle, offset, offset + in->size, parts);
	if (count < 0)
		return fetch(handle, data, in->size, offset);
	memset(data, 0, in->size);
	for (int i = 0; i < count; i++) {
		int64_t at = parts[i].offset - offset;
		ssize_t got = fetch(handle, data + at, (size_t)parts[i].length, parts[i].offset);

		if (got < parts[i].length)
			return got < 0 ? got : (ssize_t)at + got;
	}
	return in->size;
}

/* The size of the reply behind its header, or -errno.  What the kernel needn't ask us at all (OPEN, FLUSH, ACCESS …) it learns
 * by ENOSYS, once. */
static ssize_t perform(const struct fuse_in_header *request, struct reply *reply)
{
	const void *in = request + 1;

	switch (request->opcode) {
	case FUSE_INIT: return init(in, &reply->init);
	case FUSE_LOOKUP: return lookup(in, &reply->entry);
	case FUSE_GETATTR: return getattr(request->nodeid, &reply->attr);
	case FUSE_READ: return read_pages(request->nodeid, in, reply->data);
	case FUSE_UNLINK: return 0;		/* a placeholder has no name, as a memfd has none */
	default: return -ENOSYS;
	}
}

static void *serve(void *unused)
{
	/* The kernel writes whole requests, each of its own size: its strings and structures are there. */
	struct {
		struct fuse_in_header header;
		uint8_t rest[REQUEST - sizeof(struct fuse_in_header)];
	} request;
	struct reply *reply = rc_sys_map(sizeof *reply);

	(void)unused;
	while (reply) {
		ssize_t got, size;

		atomic_fetch_add(&waiting, 1);
		got = read(device, &request, sizeof request);
		atomic_fetch_sub(&waiting, 1);
		if (got < 0 && errno != EINTR && errno != ENOENT && errno != EAGAIN)
			_exit(0);			/* ENODEV: nobody has a descriptor or mapping any more */
		if (got < (ssize_t)sizeof request.header || request.header.opcode == FUSE_FORGET ||
		    request.header.opcode == FUSE_BATCH_FORGET)
			continue;			/* ENOENT: the request was withdrawn */
		size = perform(&request.header, reply);
		reply->header = (struct fuse_out_header){ .unique = request.header.unique };
		if (size < 0)
			reply->header.error = (int32_t)size;
		reply->header.len = (uint32_t)sizeof reply->header + (size < 0 ? 0 : (uint32_t)size);
		/* ENOENT: who waited for it was killed. */
		if (write(device, reply, reply->header.len) < 0 && errno == ENODEV)
			_exit(0);
	}
	return NULL;
}

static void start_thread(void)
{
	pthread_t thread;

	/* Without one more, the next request waits until this one has been answered. */
	if (pthread_create(&thread, NULL, serve, NULL) == 0) {
		pthread_detach(thread);
		atomic_fetch_add(&threads, 1);
	}
}

/* ------------------------------------------------------------------------------------------------ the process */

/* Whoever waits for the end of what we were started with doesn't wait for us, and a signal to that group isn't for us. */
static void stand_apart(void)
{
	int null = open("/dev/null", O_RDWR);

	setsid();
	for (int fd = 0; null >= 0 && fd <= 2; fd++)
		dup2(null, fd);
	device = dup2(device, 3);
	if (syscall(SYS_close_range, 4, ~0u, 0))
		for (int fd = 4; fd < 1024; fd++)
			close(fd);
}

__attribute__((noreturn)) static void serve_pages(int link)
{
	int root = mount_pages(&device, false);

	if (root == -EPERM)
		root = mount_pages(&device, true);
	rc_sys_send_descriptor(link, root);
	if (root < 0)
		_exit(0);
	prctl(PR_SET_NAME, "remotec-pages");
	rc_transport_after_fork();
	rc_before_waiting = before_waiting;
	stand_apart();
	atomic_store(&threads, 1);
	serve(NULL);
	_exit(0);
}

int rc_pages_start(void)
{
	int link[2], root;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link))
		return -errno;
	child = fork();
	if (child == 0)
		serve_pages(link[1]);
	root = child < 0 ? -errno : 0;
	close(link[1]);
	if (!root)
		root = rc_sys_receive_descriptor(link[0]);
	close(link[0]);
	return root;
}

#else

int rc_pages_start(void)
{
	return -ENOSYS;
}

#endif
