/* SPDX-License-Identifier: MIT */
#include "run_spares.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "config.h"
#include "run_thread.h"
#include "sys.h"
#include "transport.h"

/* The server gives up who says nothing for ten seconds. */
enum { MOST = 8, LIFE_S = 5 };

static struct {
	int fd;
	time_t until;		/* of the monotonic clock, seconds */
} spares[MOST];			/* oldest first */
static unsigned count, wanted;	/* wanted: grows with those that come in vain, shrinks with those that nobody takes */
static bool started;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed;

static time_t now_s(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec;
}

static void drop_old(void)
{
	unsigned old = 0;

	while (old < count && spares[old].until <= now_s())
		close(spares[old++].fd);
	count -= old;
	memmove(spares, spares + old, count * sizeof *spares);
	if (old)
		wanted /= 2;
}

/* Until there is something to do, under the lock. */
static void wait_for_work(void)
{
	for (drop_old(); count >= wanted; drop_old()) {
		struct timespec until = { .tv_sec = count ? spares[0].until : now_s() + LIFE_S };

		pthread_cond_timedwait(&changed, &lock, &until);
	}
}

static void *make(void *unused)
{
	(void)unused;
	pthread_mutex_lock(&lock);
	for (;;) {
		int fd;

		wait_for_work();
		pthread_mutex_unlock(&lock);
		fd = rc_transport_dial(rc_config.timeout_s * 1000);
		pthread_mutex_lock(&lock);
		if (fd < 0) {
			wanted = 0;
		} else {
			spares[count].fd = fd;
			spares[count++].until = now_s() + LIFE_S;
		}
	}
	return NULL;
}

static void start(void)
{
	pthread_condattr_t monotonic;

	pthread_condattr_init(&monotonic);
	pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
	pthread_cond_init(&changed, &monotonic);
	pthread_condattr_destroy(&monotonic);
	started = rc_thread_start(make, NULL);
}

/* The youngest, or -EAGAIN. */
static int take(void)
{
	int fd = -EAGAIN;

	pthread_mutex_lock(&lock);
	if (!started)
		start();
	drop_old();
	if (count)
		fd = spares[--count].fd;
	else if (wanted < MOST)
		wanted = wanted ? 2 * wanted : 1;
	pthread_cond_signal(&changed);
	pthread_mutex_unlock(&lock);
	return fd;
}

void rc_spares_give(int to)
{
	int fd = take();

	rc_sys_send_descriptor(to, fd);
	close(to);
	if (fd >= 0)
		close(fd);
}
