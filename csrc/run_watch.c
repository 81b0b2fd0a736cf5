/* SPDX-License-Identifier: MIT */
#include "run_watch.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "config.h"
#include "placeholder.h"
#include "protocol.h"
#include "supervise.h"

enum { BUCKETS = 4096 };

static struct watch {
	struct watch *next;
	int wd;
	uint64_t handle, ino;
	uint32_t kind;
} *buckets[BUCKETS];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_mutex_t reading = PTHREAD_MUTEX_INITIALIZER;	/* when it's free, what has been read has been done */
static int inotify = -1;
static _Atomic int streams;

bool rc_watch_streams(void)
{
	return atomic_load(&streams) > 0;
}

int rc_watch_start(void)
{
	inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	return inotify < 0 ? -errno : inotify;
}

static struct watch **find(int wd)
{
	struct watch **at = &buckets[wd % BUCKETS];

	while (*at && (*at)->wd != wd)
		at = &(*at)->next;
	return at;
}

void rc_watch(int fd)
{
	struct rc_placeholder found;
	struct watch *new;
	char link[32];
	int wd;

	if (rc_placeholder_identify(fd, &found) != 1 || memcmp(found.session, rc_config.session, sizeof found.session))
		return;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	pthread_mutex_lock(&lock);
	wd = inotify_add_watch(inotify, link, IN_DELETE_SELF);
	/* Where there is no room for one more, the handle is closed with the session. */
	if (wd >= 0 && !*find(wd) && (new = malloc(sizeof *new))) {
		*new = (struct watch){ buckets[wd % BUCKETS], wd, found.handle, found.ino, found.kind };
		buckets[wd % BUCKETS] = new;
		atomic_fetch_add(&streams, found.kind == RC_KIND_STREAM);
	}
	pthread_mutex_unlock(&lock);
}

static void gone(int wd)
{
	struct watch **at, *watch;

	pthread_mutex_lock(&lock);
	at = find(wd);
	watch = *at;
	if (watch)
		*at = watch->next;
	pthread_mutex_unlock(&lock);
	if (!watch)
		return;
	atomic_fetch_sub(&streams, watch->kind == RC_KIND_STREAM);
	rc_descriptions_drop(watch->ino);
	rc_call_close(watch->handle);
	free(watch);
}

void rc_watch_read(void)
{
	char bytes[16384] __attribute__((aligned(8)));
	ssize_t got;

	pthread_mutex_lock(&reading);
	while ((got = read(inotify, bytes, sizeof bytes)) > 0)
		for (char *at = bytes; at < bytes + got;) {
			struct inotify_event *event = (void *)at;

			if (event->mask & IN_IGNORED)
				gone(event->wd);
			at += sizeof *event + event->len;
		}
	pthread_mutex_unlock(&reading);
}

static void take(const struct cmsghdr *c)
{
	for (size_t at = 0; c->cmsg_type == SCM_RIGHTS && at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
		int fd;

		memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
		rc_watch(fd);
		close(fd);
	}
}

void rc_watch_control(int control)
{
	for (;;) {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(8 * sizeof(int))];
		} ancillary;
		uint64_t handle;
		struct iovec part = { &handle, sizeof handle };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary,
					  .msg_controllen = sizeof ancillary };

		if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) < 0)
			return;
		for (struct cmsghdr *c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
			take(c);
	}
}
