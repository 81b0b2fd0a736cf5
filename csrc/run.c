/* SPDX-License-Identifier: MIT
 *
 * remotec-run: the parent of the command of `remotec run`.
 *
 * It says HELLO to the server before anything starts, gives the command its environment, closes the handles of descriptors that
 * several processes held when the last of them goes, says so once when the server is lost, and ends as the command ends.
 * The command's descriptors, working directory, signal mask and process group are those of a plain start.
 *
 * Exit status: the command's; 128 + N where signal N ended it; 125 our own failure, 126 not executable, 127 not found.
 */
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cache.h"
#include "calls.h"
#include "config.h"
#include "protocol.h"
#include "report.h"
#include "run_command.h"
#include "run_launch.h"
#include "run_lease.h"
#include "run_pages.h"
#include "run_stats.h"
#include "run_tree.h"
#include "run_watch.h"
#include "stats.h"
#include "sys.h"
#include "transport.h"

static struct {
	const char *server, *tier, *library, *local, *remote, *timeout, *fd_shift, *trace, *max_stale, *cache_size;
	bool debug, stats, execute;
	char **command;
} options = { .tier = "both" };

static char control_directory[64], control_path[80], stats_path[80];

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list arguments;

	fputs("remotec: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(RC_RUN_FAILED);
}

static void parse(int count, char **arguments)
{
	static const struct option known[] = {
		{ "server", required_argument, NULL, 's' },   { "tier", required_argument, NULL, 't' },
		{ "library", required_argument, NULL, 'L' },  { "local", required_argument, NULL, 'l' },
		{ "remote", required_argument, NULL, 'r' },   { "timeout", required_argument, NULL, 'T' },
		{ "fd-shift", required_argument, NULL, 'f' }, { "debug", no_argument, NULL, 'd' },
		{ "stats", no_argument, NULL, 'S' },	      { "trace", required_argument, NULL, 'R' },
		{ "max-stale", required_argument, NULL, 'M' }, { "cache-size", required_argument, NULL, 'C' },
		{ "execute", no_argument, NULL, 'x' },
		{ NULL, 0, NULL, 0 },
	};

	for (int c; (c = getopt_long(count, arguments, "+", known, NULL)) != -1;)
		switch (c) {
		case 's': options.server = optarg; break;
		case 't': options.tier = optarg; break;
		case 'L': options.library = optarg; break;
		case 'l': options.local = optarg; break;
		case 'r': options.remote = optarg; break;
		case 'T': options.timeout = optarg; break;
		case 'f': options.fd_shift = optarg; break;
		case 'd': options.debug = true; break;
		case 'S': options.stats = true; break;
		case 'M': options.max_stale = optarg; break;
		case 'C': options.cache_size = optarg; break;
		case 'R': options.trace = optarg; break;
		case 'x': options.execute = true; break;
		default: exit(RC_RUN_FAILED);
		}
	options.command = arguments + optind;
	if (options.execute && *options.command)
		rc_command_exec(options.command);
	if (!options.server || !options.library || !*options.command)
		fail("usage: remotec-run --server ADDR --library PATH [OPTION]… -- COMMAND [ARG]…");
	if (strcmp(options.tier, "preload") && strcmp(options.tier, "supervisor") && strcmp(options.tier, "both"))
		fail("--tier %s: expected preload, supervisor or both", options.tier);
}

/* --------------------------------------------------------------------------------------------- environment */

static void put(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

/* The dynamic linker looks for the library by its path: whatever the rules say, that one is local. */
static void put_local_paths(void)
{
	char *joined;

	if (asprintf(&joined, "%s:%s", options.library, options.local ? options.local : "") < 0)
		fail("out of memory");
	put("LOCAL_PATHS", strchr(options.library, ':') ? options.local : joined);	/* a colon can't be written there */
	free(joined);
}

/* Our own, from which rc_config is read; it is the command's too, where the library is to be loaded. */
static void set_environment(void)
{
	uint8_t bytes[16];
	char session[33];

	rc_sys_random(bytes, sizeof bytes);
	for (int i = 0; i < 16; i++)
		sprintf(session + 2 * i, "%02x", bytes[i]);
	put("REMOTE_SERVER", options.server);
	put_local_paths();
	put("REMOTE_PATHS", options.remote);
	put("REMOTE_FD_SHIFT", options.fd_shift ? options.fd_shift : "0");
	put("LIBREMOTEC_DEBUG", options.debug ? "1" : NULL);
	put("REMOTEC_SESSION", session);
	put("REMOTEC_CONTROL", control_path);
	put("REMOTEC_STATS", options.stats || options.trace ? stats_path : NULL);
	put("REMOTEC_TIER", options.tier);
	put("REMOTEC_TIMEOUT", options.timeout);
	if (options.max_stale)
		put("REMOTEC_MAX_STALE", options.max_stale);
	if (options.cache_size)
		put("REMOTEC_CACHE_SIZE", options.cache_size);
	put("REMOTEC_SPARES", NULL);
	put("REMOTEC_CACHE", NULL);
	put("REMOTEC_PAGES", NULL);
}

static struct rlimit files;		/* the command's; ours is as high as it may be: each call that waits for the server takes some */

static void raise_limit(void)
{
	struct rlimit raised;

	getrlimit(RLIMIT_NOFILE, &files);
	raised = (struct rlimit){ files.rlim_max, files.rlim_max };
	setrlimit(RLIMIT_NOFILE, &raised);
}

static char **plain_environment;

/* By this program once more, with the library in it: where the command is the server's, the library knows how to start it. */
static void execute_preloaded(char **command)
{
	size_t count = 0;

	while (command[count])
		count++;
	char *words[count + 4];
	words[0] = (char *)"remotec-run";
	words[1] = (char *)"--execute";
	words[2] = (char *)"--";
	memcpy(words + 3, command, (count + 1) * sizeof *command);
	execv("/proc/self/exe", words);
	rc_command_exec(command);
}

/* In the command: with the supervisor alone its environment is what it would have been without us. */
static void execute(bool supervised)
{
	const char *before = getenv("LD_PRELOAD");
	char *preload;

	setrlimit(RLIMIT_NOFILE, &files);
	if (!strcmp(options.tier, "supervisor")) {
		environ = plain_environment;
		rc_command_exec(options.command);
	}
	if (!supervised && !strcmp(options.tier, "both")) {
		fputs("remotec: no supervisor tier here: going on with the preload tier alone\n", stderr);
		put("REMOTEC_TIER", "preload");
	}
	if (asprintf(&preload, before && *before ? "%s:%s" : "%s", options.library, before) < 0)
		_exit(RC_RUN_FAILED);
	put("LD_PRELOAD", preload);
	free(preload);
	if (supervised)
		rc_command_exec(options.command);
	execute_preloaded(options.command);
}

/* A copy: setenv changes the vector in place. */
static void keep_environment(void)
{
	size_t count = 0;

	while (environ[count])
		count++;
	plain_environment = calloc(count + 1, sizeof *plain_environment);
	if (!plain_environment)
		fail("out of memory");
	memcpy(plain_environment, environ, count * sizeof *plain_environment);
}

/* ------------------------------------------------------------------------------------------------- control */

static void remove_control(void)
{
	unlink(control_path);
	unlink(stats_path);
	rmdir(control_directory);
}

/* Inside another run /tmp may be a server's; /dev isn't. */
static bool make_control_directory(void)
{
	const char *const places[] = { getenv("XDG_RUNTIME_DIR"), "/tmp", "/dev/shm" };

	for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
		if (!places[i] || strlen(places[i]) > 30)
			continue;
		snprintf(control_directory, sizeof control_directory, "%s/remotec-XXXXXX", places[i]);
		if (mkdtemp(control_directory))
			return true;
	}
	return false;
}

/* The socket that processes of the tree tell of descriptors that others may hold; only our user can reach it. */
static int open_control(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (s < 0 || !make_control_directory())
		fail("%s: %s", control_directory, strerror(errno));
	snprintf(control_path, sizeof control_path, "%s/control", control_directory);
	snprintf(stats_path, sizeof stats_path, "%s/stats", control_directory);
	strcpy(at.sun_path, control_path);
	if (bind(s, (struct sockaddr *)&at, sizeof at))
		fail("%s: %s", control_path, strerror(errno));
	return s;
}

/* In a descriptor that stays open as long as we are there: nothing to remove, and no file system that could be full. */
static void open_cache(void)
{
	static char path[64];
	int fd = rc_config.cache_size ? rc_cache_create((size_t)rc_config.cache_size << 20) : -1;

	if (fd < 0)		/* each process keeps its own */
		return;
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
	put("REMOTEC_CACHE", path);
	rc_config.cache = path;
}

/* As long as we are there placeholders can be made in it; those that there are last longer. */
static void open_pages(void)
{
	static char path[64];
	int fd = rc_pages_start();

	if (fd < 0) {		/* mappings are filled first */
		rc_debug("no mount for pages: %s", strerror(-fd));
		return;
	}
	snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)getpid(), fd);
	put("REMOTEC_PAGES", path);
	rc_config.pages = path;
}

/* ------------------------------------------------------------------------------------------- preload alone */

/* True when the command has ended, and how. A stopped one stops us too, so that the shell above sees it. */
static bool reap(pid_t child, int *status)
{
	while (waitpid(child, status, WNOHANG | WUNTRACED) == child) {
		if (!WIFSTOPPED(*status))
			return true;
		raise(SIGSTOP);
		kill(child, SIGCONT);
	}
	return false;
}

static bool read_signals(int signals, pid_t child, int *status)
{
	struct signalfd_siginfo info;
	bool ended = false;

	while (read(signals, &info, sizeof info) == sizeof info) {
		if (info.ssi_signo == SIGCHLD)
			ended = reap(child, status) || ended;
		else
			rc_command_hand_on(&info, child);
	}
	return ended;
}

/* The command's wait status. */
static int run_alone(int control, struct connection *line)
{
	int inotify = rc_watch_start(), signals = rc_command_block_signals(), status = 0;
	struct pollfd set[4];
	pid_t child;

	if (signals < 0 || inotify < 0)
		fail("%s", strerror(errno));
	child = fork();
	if (child < 0)
		fail("fork: %s", strerror(errno));
	if (child == 0) {
		rc_command_signals();
		execute(false);
	}
	set[0] = (struct pollfd){ signals, POLLIN, 0 };
	set[1] = (struct pollfd){ control, POLLIN, 0 };
	set[2] = (struct pollfd){ inotify, POLLIN, 0 };
	set[3] = (struct pollfd){ rc_line_socket(line), POLLIN | POLLRDHUP, 0 };
	for (;;) {
		if (poll(set, 4, -1) < 0 && errno != EINTR)
			fail("poll: %s", strerror(errno));
		if (set[3].revents && (set[3].fd = rc_run_lease_attend()) < 0)
			fprintf(stderr, "remotec: %s: the server is gone\n", options.server);
		if (set[1].revents)
			rc_watch_control(control);
		if (set[2].revents)
			rc_watch_read();
		if (set[0].revents && read_signals(signals, child, &status))
			break;
	}
	rc_watch_control(control);
	rc_watch_read();
	return status;
}

/* ---------------------------------------------------------------------------------------------- every tier */

static const char *why_no_filter(int error)
{
	return error == -EBUSY ? "another supervisor is above this process" : strerror(-error);
}

static int run(int control, struct connection *line)
{
	struct rc_run tree = { .server = options.server, .control = control, .line = line, .preloaded = !strcmp(options.tier, "both"),
			       .execute = execute, .clean = remove_control };
	bool alone = false;
	int status = 0, bad;

	if (!strcmp(options.tier, "preload")) {
		status = run_alone(control, line);
	} else {
		bad = rc_run_tree(&tree, &status, &alone);
		if (bad)
			fail("--tier %s: %s", options.tier, why_no_filter(bad));
	}
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

/* From where on a connection on hand is worth asking for: it takes two round trips to be greeted on a new one. */
enum { FAR_US = 2000 };

int main(int count, char **arguments)
{
	struct rc_server_info info;
	struct connection *line;
	char problem[160] = "";
	int control, bad, result;
	uint64_t began_ns;

	rc_launch(arguments);
	/* Python, which starts us, ignores these two, and an exec hands that on. */
	signal(SIGPIPE, SIG_DFL);
	signal(SIGXFSZ, SIG_DFL);
	parse(count, arguments);
	raise_limit();
	control = open_control();
	atexit(remove_control);
	if ((options.stats || options.trace) && (bad = rc_run_stats_create(stats_path)))
		fail("%s: %s", stats_path, strerror(-bad));
	keep_environment();
	set_environment();
	rc_config_load(environ);
	if (rc_config.error)
		fail("%s", rc_config.problem);
	open_cache();
	rc_report_start(rc_config.debug);
	bad = rc_transport_prepare();
	began_ns = rc_sys_monotonic_ns();
	if (!bad)
		bad = rc_hello(&info, problem, sizeof problem);
	if (!bad)
		bad = rc_line_take(&line);	/* a connection that stays: the session lives as long as we do */
	if (bad)
		fail("%s: %s", options.server, *problem ? problem : strerror(-bad));
	if (rc_sys_monotonic_ns() - began_ns > FAR_US * 1000)
		put("REMOTEC_SPARES", "1");
	rc_stats_start(rc_config.stats, RC_TIER_SUPERVISOR);
	if (options.trace) {
		bad = rc_run_trace_begin(options.trace);
		if (bad)
			fail("--trace %s: %s", options.trace, strerror(-bad));
		atexit(rc_run_trace_end);
	}
	rc_run_lease_start(line, info.capabilities & RC_CAPABILITY_LEASE);
	open_pages();
	result = run(control, line);
	if (options.stats)
		rc_run_stats_print();
	return result;
}
