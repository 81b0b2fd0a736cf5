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
#include "control.h"
#include "placeholder.h"
#include "protocol.h"
#include "run_epoll.h"
#include "run_spares.h"
#include "supervise.h"

enum { BUCKETS = 4096, UNWATCHED = 0 };	/* no wd: they begin with 1 */

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

static void add(int wd, const struct rc_placeholder *p)
{
	struct watch *new = malloc(sizeof *new);

	if (!new)
		return;			/* closed with the session */
	*new = (struct watch){ buckets[wd % BUCKETS], wd, p->handle, p->ino, p->kind };
	buckets[wd % BUCKETS] = new;
	atomic_fetch_add(&streams, p->kind == RC_KIND_STREAM);
}

/* The handle that `fd` is a placeholder of; RC_NO_HANDLE: of none of this session's. */
static uint64_t watch_placeholder(int fd)
{
	struct rc_placeholder found;
	char link[32];
	int wd;

	if (rc_placeholder_identify(fd, &found) != 1 || memcmp(found.session, rc_config.session, sizeof found.session))
		return RC_NO_HANDLE;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	pthread_mutex_lock(&lock);
	wd = inotify_add_watch(inotify, link, IN_DELETE_SELF);
	if (wd < 0)			/* there is no room for one more */
		add(UNWATCHED, &found);
	else if (!*find(wd))
		add(wd, &found);
	pthread_mutex_unlock(&lock);
	return found.handle;
}

void rc_watch(int fd)
{
	watch_placeholder(fd);
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
	rc_epoll_gone(watch->handle);
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

void rc_watch_end(void)
{
	pthread_mutex_lock(&lock);
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct watch *watch = buckets[i]; watch; watch = watch->next)
			rc_call_close(watch->handle);
	pthread_mutex_unlock(&lock);
}

/* The descriptors that came with a message; -1: none. */
static void take(struct msghdr *message, int descriptors[RC_CONTROL_DESCRIPTORS])
{
	struct cmsghdr *c = CMSG_FIRSTHDR(message);
	size_t size = c && c->cmsg_type == SCM_RIGHTS ? c->cmsg_len - CMSG_LEN(0) : 0;

	for (size_t i = 0; i < RC_CONTROL_DESCRIPTORS; i++) {
		descriptors[i] = -1;
		if ((i + 1) * sizeof(int) <= size)
			memcpy(&descriptors[i], CMSG_DATA(c) + i * sizeof(int), sizeof(int));
	}
}

static void shared(uint64_t handle, int fd)
{
	/* Another thread may have put another file in the number's place meanwhile. */
	if (watch_placeholder(fd) != handle) {
		pthread_mutex_lock(&lock);
		add(UNWATCHED, &(struct rc_placeholder){ .handle = handle });
		pthread_mutex_unlock(&lock);
	}
	close(fd);
}

void rc_watch_control(int control)
{
	for (;;) {
		union {
			struct cmsghdr header;
			char space[CMSG_SPACE(RC_CONTROL_DESCRIPTORS * sizeof(int))];
		} ancillary;
		int descriptors[RC_CONTROL_DESCRIPTORS];
		struct rc_control told = { 0 };
		struct iovec part = { &told, sizeof told };
		struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1, .msg_control = &ancillary,
					  .msg_controllen = sizeof ancillary };

		if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) < 0)
			return;
		take(&message, descriptors);
		if (told.what == RC_CONTROL_SHARE)
			shared(told.handle, descriptors[0]);
		else if (told.what == RC_CONTROL_SPARE)
			rc_spares_give(descriptors[0]);
		else
			rc_epoll_asked(&told, descriptors);
	}
}
