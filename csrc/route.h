/* SPDX-License-Identifier: MIT
 *
 * Which side serves a path.  Pure: strings in, decision out; no I/O, no allocation after rc_routes_parse.
 *
 * With only LOCAL rules everything else is remote; with REMOTE rules everything else is local; with both the
 * longest matching prefix wins.  A prefix matches whole components.  The decision is made on the absolute path
 * with "." and ".." folded lexically; the path that is sent keeps them, so that the server resolves them.
 */
#ifndef RC_ROUTE_H
#define RC_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#define RC_PATH_MAX 4096

struct rc_rule {
	const char *prefix;		/* folded, absolute, no trailing slash; "" is the root */
	size_t length;
	const char *server_path;	/* REMOTE: what replaces the prefix */
	bool remote;
};

struct rc_routes {
	struct rc_rule *rules;		/* longest prefix first */
	size_t count;
	bool default_remote;		/* where no rule matches */
};

enum rc_side {
	RC_LOCAL,
	RC_REMOTE,
};

struct rc_route {
	enum rc_side side;
	const struct rc_rule *rule;	/* that decided, NULL: the default */
	char path[RC_PATH_MAX];		/* RC_REMOTE: the path to send.  RC_LOCAL: "", or the path to use instead of the program's,
					 * which leads out of a remote directory by ".." */
};

/* Parses the two variables (either may be NULL).  0, or -EINVAL and a sentence in *problem: a relative prefix, or the
 * same prefix named local and remote.  The strings are copied, and kept until the process ends. */
int rc_routes_parse(struct rc_routes *routes, const char *local_paths, const char *remote_paths, const char **problem);

/* Decides for `path`, taken from `base` (absolute, as the program sees it) where it is relative.
 * 0, or -ENAMETOOLONG, -ENOENT (empty path). */
int rc_route_path(const struct rc_routes *routes, const char *base, const char *path, struct rc_route *route);

/* Whether a relative path could lead from a local directory to a remote one: by "..", or as its first component is one of a
 * remote prefix.  Saves asking the kernel for the directory's name. */
bool rc_route_may_lead_away(const struct rc_routes *routes, const char *path);

/* Whether a relative path leads, by some "..", out of what the rule for `base` (absolute) covers. */
bool rc_route_leaves(const struct rc_routes *routes, const char *base, const char *path);

/* base + "/" + path with ".", ".." and double slashes folded, into out[size]: its length or -ENAMETOOLONG.  A trailing
 * slash is kept (it means "must be a directory"). */
int rc_path_fold(const char *base, const char *path, char *out, size_t size);

/* A server path as the program sees it: the reverse of a REMOTE rule's mapping.  Length, or -ENAMETOOLONG; -ENOENT
 * where no rule leads there. */
int rc_route_reverse(const struct rc_routes *routes, const char *server_path, char *out, size_t size);

/* What /proc and /dev call a process' descriptor, working directory or program. */
struct rc_proc_name {
	int pid;			/* 0: of who asks */
	int fd;				/* RC_PROC_CWD: its working directory, RC_PROC_EXE: its program */
	const char *rest;		/* what follows, relative to it; "." where that's only a slash */
};
enum { RC_PROC_CWD = -2, RC_PROC_EXE = -3 };

/* Whether `path` (absolute) begins with such a name: "/dev/stdin", "/dev/fd/N", "/proc/<self, thread-self or pid>/fd/N" or its
 * "/cwd" or "/exe", of a thread (".../task/<tid>/...") too. */
bool rc_route_proc_name(const char *path, struct rc_proc_name *name);

/* Whether `path` (absolute) is "/proc/<pid>" or below it, and /proc/self is local: the process asks about itself by its number, as
 * procps does, which on the server is another's. */
bool rc_route_own_process(const struct rc_routes *routes, const char *path, int pid);

#endif
