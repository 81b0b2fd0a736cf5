/* SPDX-License-Identifier: MIT */
#include "run_thread.h"

#include <pthread.h>

enum { STACK = 256 * 1024 };

bool rc_thread_start(void *(*run)(void *), void *of)
{
	pthread_attr_t attributes;
	pthread_t thread;
	bool started;

	pthread_attr_init(&attributes);
	pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
	pthread_attr_setstacksize(&attributes, STACK);
	started = pthread_create(&thread, &attributes, run, of) == 0;
	pthread_attr_destroy(&attributes);
	return started;
}
