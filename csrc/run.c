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
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "config.h"
#include "placeholder.h"
#include "sys.h"
#include "transport.h"

enum { FAILED = 125, NOT_EXECUTABLE = 126, NOT_FOUND = 127 };

static struct {
	const char *server, *tier, *library, *local, *remote, *timeout, *fd_shift;
	bool debug, stats;
	char **command;
} options = { .tier = "preload" };

static char control_directory[64], control_path[80];

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...)
{
	va_list arguments;

	fputs("remotec: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(FAILED);
}

static void parse(int count, char **arguments)
{
	static const struct option known[] = {
		{ "server", required_argument, NULL, 's' },   { "tier", required_argument, NULL, 't' },
		{ "library", required_argument, NULL, 'L' },  { "local", required_argument, NULL, 'l' },
		{ "remote", required_argument, NULL, 'r' },   { "timeout", required_argument, NULL, 'T' },
		{ "fd-shift", required_argument, NULL, 'f' }, { "debug", no_argument, NULL, 'd' },
		{ "stats", no_argument, NULL, 'S' },	      { NULL, 0, NULL, 0 },
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
		default: exit(FAILED);
		}
	options.command = arguments + optind;
	if (!options.server || !options.library || !*options.command)
		fail("usage: remotec-run --server ADDR --library PATH [OPTION]… -- COMMAND [ARG]…");
	if (!strcmp(options.tier, "supervisor"))
		fail("--tier supervisor: this version has the preload tier only");
	if (!strcmp(options.tier, "both"))
		fputs("remotec: this version has no supervisor tier: going on with the preload tier alone\n", stderr);
	options.tier = "preload";
}

/* --------------------------------------------------------------------------------------------- environment */

static void put(const char *name, const char *value)
{
	if (value)
		setenv(name, value, 1);
	else
		unsetenv(name);
}

/* The command's, and our own (rc_config is read from it). */
static void set_environment(void)
{
	const char *before = getenv("LD_PRELOAD");
	uint8_t bytes[16];
	char session[33], *preload;

	rc_sys_random(bytes, sizeof bytes);
	for (int i = 0; i < 16; i++)
		sprintf(session + 2 * i, "%02x", bytes[i]);
	if (asprintf(&preload, before && *before ? "%s:%s" : "%s", options.library, before) < 0)
		fail("out of memory");
	put("LD_PRELOAD", preload);
	free(preload);
	put("REMOTE_SERVER", options.server);
	put("LOCAL_PATHS", options.local);
	put("REMOTE_PATHS", options.remote);
	put("REMOTE_FD_SHIFT", options.fd_shift ? options.fd_shift : "0");
	put("LIBREMOTEC_DEBUG", options.debug ? "1" : NULL);
	put("REMOTEC_SESSION", session);
	put("REMOTEC_CONTROL", control_path);
	put("REMOTEC_TIER", options.tier);
	put("REMOTEC_TIMEOUT", options.timeout);
}

/* ------------------------------------------------------------------------------------------------- control */

static void remove_control(void)
{
	unlink(control_path);
	rmdir(control_directory);
}

/* The socket that processes of the tree tell of descriptors that others may hold; only our user can reach it. */
static int open_control(void)
{
	struct sockaddr_un at = { .sun_family = AF_UNIX };
	const char *runtime = getenv("XDG_RUNTIME_DIR");
	int s = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (!runtime || strlen(runtime) > 30 || access(runtime, W_OK))
		runtime = "/tmp";
	snprintf(control_directory, sizeof control_directory, "%s/remotec-XXXXXX", runtime);
	if (s < 0 || !mkdtemp(control_directory))
		fail("%s: %s", control_directory, strerror(errno));
	snprintf(control_path, sizeof control_path, "%s/control", control_directory);
	strcpy(at.sun_path, control_path);
	if (bind(s, (struct sockaddr *)&at, sizeof at))
		fail("%s: %s", control_path, strerror(errno));
	return s;
}

/* ------------------------------------------------------------------------------------------------ watching */

static struct watch {
	int wd;
	uint64_t handle;
} *watches;
static size_t watch_count, watch_room;

static void watch_placeholder(int inotify, int fd)
{
	struct rc_placeholder found;
	char link[32];
	int wd;

	if (rc_placeholder_identify(fd, &found) != 1 || memcmp(found.session, rc_config.session, sizeof found.session))
		return;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	wd = inotify_add_watch(inotify, link, IN_DELETE_SELF);
	for (size_t i = 0; i < watch_count; i++)
		if (watches[i].wd == wd)
			return;
	if (watch_count == watch_room) {
		size_t room = watch_room ? 2 * watch_room : 64;
		struct watch *larger = realloc(watches, room * sizeof *watches);

		if (!larger)
			return;		/* closed with the session then */
		watches = larger;
		watch_room = room;
	}
	if (wd >= 0)
		watches[watch_count++] = (struct watch){ wd, found.handle };
}

static void read_control(int control, int inotify)
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
		struct cmsghdr *c;

		if (recvmsg(control, &message, MSG_CMSG_CLOEXEC) < 0)
			return;
		for (c = CMSG_FIRSTHDR(&message); c; c = CMSG_NXTHDR(&message, c))
			for (size_t at = 0; c->cmsg_type == SCM_RIGHTS && at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0);
			     at += sizeof(int)) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
				watch_placeholder(inotify, fd);
				close(fd);
			}
	}
}

/* A placeholder whose last descriptor and mapping are gone, in whichever process. */
static void read_inotify(int inotify)
{
	char bytes[16384] __attribute__((aligned(8)));
	ssize_t got;

	while ((got = read(inotify, bytes, sizeof bytes)) > 0)
		for (char *at = bytes; at < bytes + got;) {
			struct inotify_event *event = (void *)at;

			for (size_t i = 0; (event->mask & IN_IGNORED) && i < watch_count; i++)
				if (watches[i].wd == event->wd) {
					rc_call_close(watches[i].handle);
					watches[i] = watches[--watch_count];
					break;
				}
			at += sizeof *event + event->len;
		}
}

/* ------------------------------------------------------------------------------------------------- command */

static sigset_t mask_before;
static struct sigaction interrupt_before, quit_before;

static pid_t start(void)
{
	pid_t child = fork();

	if (child < 0)
		fail("fork: %s", strerror(errno));
	if (child)
		return child;
	sigaction(SIGINT, &interrupt_before, NULL);
	sigaction(SIGQUIT, &quit_before, NULL);
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
	execvp(options.command[0], options.command);
	fprintf(stderr, "remotec: %s: %s\n", options.command[0], strerror(errno));
	_exit(errno == ENOENT ? NOT_FOUND : NOT_EXECUTABLE);
}

/* True when the command has ended, and how. A stopped one stops us too, so that the shell above sees it. */
static bool reap(pid_t child, int *status)
{
	pid_t who;

	while ((who = waitpid(child, status, WNOHANG | WUNTRACED)) == child) {
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
			kill(child, (int)info.ssi_signo);
	}
	return ended;
}

static void print_stats(void)
{
	struct rc_status status;

	if (rc_call_status(&status) == 0)
		fprintf(stderr, "remotec: the server answered %llu requests and sent %llu bytes since it started; this session has %u files open\n",
			(unsigned long long)status.requests, (unsigned long long)status.bytes, status.handles);
}

static int run(int control)
{
	sigset_t ours;
	int inotify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK), signals, status = 0;
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	struct pollfd set[4];
	pid_t child;

	sigemptyset(&ours);
	for (size_t i = 0; i < 5; i++)
		sigaddset(&ours, (const int[]){ SIGCHLD, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2 }[i]);
	sigprocmask(SIG_BLOCK, &ours, &mask_before);
	/* The terminal sends these to the command as well: it decides. */
	sigaction(SIGINT, &ignore, &interrupt_before);
	sigaction(SIGQUIT, &ignore, &quit_before);
	signals = signalfd(-1, &ours, SFD_CLOEXEC | SFD_NONBLOCK);
	if (signals < 0 || inotify < 0)
		fail("%s", strerror(errno));
	child = start();
	set[0] = (struct pollfd){ signals, POLLIN, 0 };
	set[1] = (struct pollfd){ control, POLLIN, 0 };
	set[2] = (struct pollfd){ inotify, POLLIN, 0 };
	set[3] = (struct pollfd){ rc_transport_next(0), POLLRDHUP, 0 };
	for (;;) {
		if (poll(set, 4, -1) < 0 && errno != EINTR)
			fail("poll: %s", strerror(errno));
		if (set[3].revents) {
			fprintf(stderr, "remotec: %s: the server is gone\n", options.server);
			set[3].fd = -1;
		}
		if (set[1].revents)
			read_control(control, inotify);
		if (set[2].revents)
			read_inotify(inotify);
		if (set[0].revents && read_signals(signals, child, &status))
			break;
	}
	read_control(control, inotify);
	read_inotify(inotify);
	return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int main(int count, char **arguments)
{
	struct rc_server_info info;
	struct rc_status status;
	char problem[160] = "";
	int control, bad, result;

	parse(count, arguments);
	control = open_control();
	atexit(remove_control);
	set_environment();
	rc_config_load(environ);
	if (rc_config.error)
		fail("%s", rc_config.problem);
	bad = rc_transport_prepare();
	if (!bad)
		bad = rc_hello(&info, problem, sizeof problem);
	if (!bad)
		bad = rc_call_status(&status);	/* a connection that stays: the session lives as long as we do */
	if (bad)
		fail("%s: %s", options.server, *problem ? problem : strerror(-bad));
	result = run(control);
	if (options.stats)
		print_stats();
	return result;
}
