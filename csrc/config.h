/* SPDX-License-Identifier: MIT
 *
 * What the environment says, read once at start.
 *
 *   REMOTE_SERVER       HOST[:PORT] or unix:PATH; default 127.0.0.1:12345
 *   LOCAL_PATHS         colon-separated prefixes that stay local          (route.h)
 *   REMOTE_PATHS        colon-separated PREFIX[=SERVER_PATH]: remote, and then everything else is local
 *   REMOTE_FD_SHIFT     the lowest number of a remote descriptor; default 2048; 0: the lowest free one
 *   LIBREMOTEC_DEBUG    1: a line on stderr per forwarded call
 *   REMOTEC_SESSION     32 hex digits: the session to belong to; default: a new random one
 *   REMOTEC_CONTROL     path of remotec-run's datagram socket
 *   REMOTEC_STATS       path of the file that counters are kept in (stats.h)
 *   REMOTEC_TIER        preload, supervisor or both (set by remotec-run)
 *   REMOTEC_MAX_STALE   milliseconds that what is known of files may be old; default 1000; 0: nothing is kept
 *   REMOTEC_CACHE       path of the mapping that it is kept in for the whole tree (cache.h); default: each process has its own
 *   REMOTEC_CACHE_SIZE  MiB of it, at most 1024; default 64; 0: none
 *   REMOTEC_PAGES       path of the mount whose files are placeholders that the kernel fetches (run_pages.h)
 *   REMOTEC_SPARES      1: remotec-run may have a connection on hand (run_spares.h); set by it where the server is far
 *   REMOTEC_TIMEOUT     seconds to wait for a server that has stopped answering; default 30
 */
#ifndef RC_CONFIG_H
#define RC_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "route.h"

struct rc_config {
	const char *server;
	struct rc_routes routes;
	int fd_shift;
	bool debug;
	bool supervised;	/* the supervisor of this session sees what the library does not */
	uint8_t session[16];
	bool session_given;
	const char *control;	/* NULL: no remotec-run above us */
	bool spares;		/* it may have a connection on hand (run_spares.h) */
	const char *stats;	/* NULL: nobody asked for any */
	int timeout_s;
	int max_stale_ms;
	const char *cache;	/* NULL: of our own */
	int cache_size;		/* MiB */
	const char *pages;	/* NULL: there is no such mount */
	int error;		/* 0, or the -errno that every remote call returns: the rules contradict one another… */
	const char *problem;	/* …and the sentence that says so */
};

extern struct rc_config rc_config;

/* Fills rc_config from `environment` (NULL-terminated, as environ); copies what it keeps. */
void rc_config_load(char *const *environment);
/* The variables above by name, NULL-terminated: what an exec must hand on. */
extern const char *const rc_config_variables[];

#endif
