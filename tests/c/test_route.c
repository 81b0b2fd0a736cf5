/* SPDX-License-Identifier: MIT
 *
 * Which side serves a path, and what is sent.
 */
#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int failures;

/* want: "L" local by the program's own path, "L:PATH" local by another, "R:PATH" remote, or an errno's number. */
static void check(const struct rc_routes *routes, const char *base, const char *path, const char *want)
{
	static struct rc_route route;
	char got[RC_PATH_MAX + 8];
	int bad = rc_route_path(routes, base, path, &route);

	if (bad < 0)
		snprintf(got, sizeof got, "%d", -bad);
	else
		snprintf(got, sizeof got, "%c%s%s", route.side == RC_REMOTE ? 'R' : 'L', route.path[0] ? ":" : "", route.path);
	if (strcmp(got, want)) {
		printf("%s from %s: %s, not %s\n", path, base, got, want);
		failures++;
	}
}

/* fd -1: no such name. */
static void expect_name(const char *path, int pid, int fd, const char *rest)
{
	struct rc_proc_name name = { .rest = "" };
	bool is = rc_route_proc_name(path, &name);

	if (is != (fd != -1) || (is && (name.pid != pid || name.fd != fd || strcmp(name.rest, rest)))) {
		printf("%s: %d, %d, %d, %s\n", path, is, name.pid, name.fd, name.rest);
		failures++;
	}
}

static struct rc_routes parsed(const char *local, const char *remote)
{
	struct rc_routes routes;
	const char *problem = "";

	if (rc_routes_parse(&routes, local, remote, &problem)) {
		printf("%s %s: %s\n", local, remote, problem);
		failures++;
	}
	return routes;
}

static void expect(const char *what, int got, int want)
{
	if (got != want) {
		printf("%s: %d, not %d\n", what, got, want);
		failures++;
	}
}

int main(void)
{
	struct rc_routes box = parsed(NULL, "/box=/srv/dir:/logs"), original = parsed("/dev:/usr/lib", NULL);
	struct rc_routes both = parsed("/box/private:/tmp", "/box=/srv"), wrong;
	const char *problem;
	char path[64];

	check(&box, "/", "/box", "R:/srv/dir");
	check(&box, "/", "/box/a//b/", "R:/srv/dir/a//b/");
	check(&box, "/", "/boxer", "L");
	check(&box, "/", "/logs/x", "R:/logs/x");
	check(&box, "/home", "../box/a", "R:/srv/dir/a");
	check(&box, "/", "/box/sub/../text", "R:/srv/dir/sub/../text");
	check(&box, "/", "/box/..", "L:/");
	check(&box, "/", "/box/../etc/passwd", "L:/etc/passwd");
	check(&box, "/", "/box/../box/link", "R:/srv/dir/link");
	check(&box, "/", "/etc/../etc/passwd", "L");
	check(&box, "/box", "../etc", "L:/etc");
	check(&box, "/box/a", "b/../../c", "R:/srv/dir/c");
	check(&box, "/", "", "2");
	check(&original, "/", "/dev/null", "L");
	check(&original, "/", "/usr/library", "R:/usr/library");
	check(&original, "/usr/lib", "x", "L");
	check(&original, "/", "/", "R:/");
	check(&both, "/", "/box/private/key", "L");
	check(&both, "/", "/box/public", "R:/srv/public");
	check(&both, "/", "/other", "L");
	expect("the same prefix twice", rc_routes_parse(&wrong, "/a:/b", "/b", &problem), -EINVAL);
	expect("a relative prefix", rc_routes_parse(&wrong, "a", NULL, &problem), -EINVAL);
	expect("reverse", rc_route_reverse(&box, "/srv/dir/x", path, sizeof path) == 6 && !strcmp(path, "/box/x"), 1);
	expect("reverse of another", rc_route_reverse(&box, "/srv/other", path, sizeof path), -ENOENT);
	expect("stays", rc_route_leaves(&box, "/box/a", "../b"), 0);
	expect("leaves", rc_route_leaves(&box, "/box/a", "../../b"), 1);
	expect("leaves and comes back", rc_route_leaves(&box, "/box", "../box/b"), 1);
	expect("may lead away", rc_route_may_lead_away(&box, "logs/x"), 1);
	expect("can't lead away", rc_route_may_lead_away(&box, "other/x"), 0);
	expect_name("/proc/self/fd/7", 0, 7, "");
	expect_name("/proc/thread-self/fd/7/", 0, 7, ".");
	expect_name("//proc/./12/fd/7//x/../y", 12, 7, "x/../y");
	expect_name("/proc/12/task/13/cwd/x", 12, RC_PROC_CWD, "x");
	expect_name("/proc/self/exe", 0, RC_PROC_EXE, "");
	expect_name("/dev/stdin", 0, 0, "");
	expect_name("/dev/fd/255", 0, 255, "");
	expect_name("/dev/fd/x", 0, -1, "");
	expect_name("/dev/fd", 0, -1, "");
	expect_name("/dev/stdinx", 0, -1, "");
	expect_name("/proc/self/fdinfo/7", 0, -1, "");
	expect_name("/proc/0/fd/7", 0, -1, "");
	expect_name("/proc/self", 0, -1, "");
	expect_name("/proc", 0, -1, "");
	expect_name("/", 0, -1, "");
	expect("itself by number", rc_route_own_process(&box, "/proc/12/stat", 12), 1);
	expect("another process", rc_route_own_process(&box, "/proc/12/stat", 1), 0);
	expect("no process", rc_route_own_process(&box, "/proc/self", -1), 0);
	return failures != 0;
}
