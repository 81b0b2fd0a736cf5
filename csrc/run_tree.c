/* SPDX-License-Identifier: MIT */
#include "run_tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "report.h"
#include "run_command.h"
#include "run_lease.h"
#include "run_watch.h"
#include "supervise.h"
#include "supervise_serve.h"
#include "sys.h"
#include "transport.h"

/* What the supervisor tells remotec-run. */
enum news { STARTED, ALONE, REFUSED, STOPPED, ENDED };
struct message {
	enum news news;
	int value;
};

static int tell_fd;

static void tell(enum news news, int value)
{
	struct message message = { news, value };

	/* remotec-run may be gone: nobody to tell then. */
	if (send(tell_fd, &message, sizeof message, MSG_NOSIGNAL) < 0)
		return;
}

static void silence(int from, int to)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = from; null >= 0 && fd <= to; fd++)
		dup2(null, fd);
	close(null);
}

/* Neither the terminal nor a kill of the whole group is meant for us. */
static void ignore_signals(void)
{
	static const int numbers[] = { SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGHUP, SIGTERM, SIGUSR1, SIGUSR2,
				       SIGPIPE, SIGXFSZ };

	for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++)
		signal(numbers[i], SIG_IGN);
}

/* ----------------------------------------------------------------------------------------------- the command */

/* The command itself.  Its descriptors are still those that remotec-run was started with. */
__attribute__((noreturn)) static void become_command(const struct rc_run *run, int link)
{
	int listener;

	rc_command_signals();
	rc_abis_prepare();
	listener = rc_filter_install();
	rc_sys_send_descriptor(link, listener);
	if (listener >= 0)
		close(listener);
	else if (!run->preloaded)
		_exit(RC_RUN_FAILED);
	run->execute(listener >= 0);
	_exit(RC_RUN_FAILED);
}

/* -------------------------------------------------------------------------------------------- the supervisor */

static bool command_over;

/* Children that ended: the command's status is told, the others were adopted and are only buried. */
static void reap(pid_t command, pid_t guard)
{
	int status;
	pid_t who;

	for (;;) {
		pthread_mutex_lock(&rc_redirect_waiting);
		who = waitpid(-1, &status, WNOHANG | WUNTRACED | __WNOTHREAD);
		pthread_mutex_unlock(&rc_redirect_waiting);
		if (who <= 0)
			break;
		if (who != command)
			continue;
		if (WIFSTOPPED(status)) {
			tell(STOPPED, 0);
			continue;
		}
		command_over = true;
		rc_watch_read();
		tell(ENDED, status);
		silence(2, 2);
		kill(guard, SIGUSR1);
	}
}

static void watch_tree(const struct rc_run *run, int listener, pid_t command, pid_t guard)
{
	sigset_t children;
	struct signalfd_siginfo info;
	struct connection *line;
	int inotify = rc_watch_start();
	struct pollfd set[5];

	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	set[0] = (struct pollfd){ signalfd(-1, &children, SFD_CLOEXEC | SFD_NONBLOCK), POLLIN, 0 };
	set[1] = (struct pollfd){ run->control, POLLIN, 0 };
	set[2] = (struct pollfd){ inotify, POLLIN, 0 };
	set[3] = (struct pollfd){ listener, 0, 0 };		/* POLLHUP: nobody is left under the filter */
	/* A connection that stays: the session lives as long as we do. */
	set[4] = (struct pollfd){ rc_line_take(&line) == 0 ? rc_line_socket(line) : -1, POLLIN | POLLRDHUP, 0 };
	reap(command, guard);
	for (;;) {
		if (listener < 0 ? command_over : set[3].revents & POLLHUP)
			break;
		if (poll(set, 5, -1) < 0 && errno != EINTR)
			break;
		if (set[4].revents && (set[4].fd = rc_run_line_again(&line)) < 0 && !command_over)
			fprintf(stderr, "remotec: %s: the server is gone\n", run->server);
		if (set[1].revents)
			rc_watch_control(run->control);
		if (set[2].revents)
			rc_watch_read();
		if (set[0].revents) {
			while (read(set[0].fd, &info, sizeof info) == sizeof info)
				;
			reap(command, guard);
		}
	}
	rc_watch_control(run->control);		/* what the last of them closed by ending */
	rc_watch_read();
	if (listener >= 0)
		rc_watch_end();
	while (!command_over) {		/* it has left the filter by ending: its status is on the way */
		poll(set, 1, -1);
		reap(command, guard);
	}
}

__attribute__((noreturn)) static void supervise(const struct rc_run *run)
{
	pid_t guard = getppid(), command;
	int link[2], listener, bad = 0;

	prctl(PR_SET_NAME, "remotec-super");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link))
		_exit(RC_RUN_FAILED);
	command = fork();
	if (command == 0)
		become_command(run, link[1]);
	ignore_signals();
	close(link[1]);
	listener = command < 0 ? -errno : rc_sys_receive_descriptor(link[0]);
	close(link[0]);
	silence(0, 1);
	rc_transport_after_fork();
	rc_abis_prepare();
	if (listener >= 0)
		bad = rc_supervise_start(listener);
	if (bad || (listener < 0 && !run->preloaded)) {
		tell(REFUSED, bad ? bad : listener);
		kill(command, SIGKILL);
		_exit(0);
	}
	tell(listener < 0 ? ALONE : STARTED, command);
	watch_tree(run, listener, command, guard);
	run->clean();
	_exit(0);
}

/* -------------------------------------------------------------------------------------------------- the guard */

static pid_t parent_of(const char *pid)
{
	char path[300], text[512], *end;
	FILE *stat;
	pid_t parent = 0;

	snprintf(path, sizeof path, "/proc/%s/stat", pid);
	stat = fopen(path, "re");
	if (!stat)
		return 0;
	if (fgets(text, sizeof text, stat) && (end = strrchr(text, ')')))	/* the name may hold anything */
		sscanf(end + 1, " %*c %d", &parent);
	fclose(stat);
	return parent;
}

/* Kills our children, and what becomes our child by that, until there is none. */
static void end_tree(void)
{
	while (waitpid(-1, NULL, WNOHANG) >= 0) {
		DIR *proc = opendir("/proc");
		struct dirent *entry;

		while (proc && (entry = readdir(proc)))
			if (*entry->d_name >= '1' && *entry->d_name <= '9' && parent_of(entry->d_name) == getpid())
				kill(atoi(entry->d_name), SIGKILL);
		if (proc)
			closedir(proc);
		waitpid(-1, NULL, 0);
	}
}

__attribute__((noreturn)) static void guard(const struct rc_run *run)
{
	sigset_t ours;
	int status = 0, number;
	pid_t supervisor, who;

	prctl(PR_SET_NAME, "remotec-guard");
	prctl(PR_SET_CHILD_SUBREAPER, 1);
	sigemptyset(&ours);
	sigaddset(&ours, SIGCHLD);
	sigaddset(&ours, SIGUSR1);
	sigprocmask(SIG_BLOCK, &ours, NULL);
	supervisor = fork();
	if (supervisor == 0)
		supervise(run);
	ignore_signals();
	signal(SIGUSR1, SIG_DFL);	/* blocked, and waited for */
	rc_transport_after_fork();
	close(tell_fd);
	close(run->control);
	silence(0, 1);
	while ((who = waitpid(supervisor, &status, WNOHANG)) == 0)
		if (sigwait(&ours, &number) == 0 && number == SIGUSR1)
			silence(2, 2);
	if (who == supervisor && WIFEXITED(status) && WEXITSTATUS(status) == 0)
		_exit(0);
	fprintf(stderr, "remotec: the supervisor was killed: the command and what it started are ended\n");
	end_tree();
	run->clean();
	_exit(0);
}

/* ------------------------------------------------------------------------------------------------ remotec-run */

static bool is_stopped(pid_t pid)
{
	char path[40], text[512] = "", *end;
	FILE *stat;

	snprintf(path, sizeof path, "/proc/%d/stat", pid);
	stat = fopen(path, "re");
	if (!stat)
		return false;
	end = fgets(text, sizeof text, stat) ? strrchr(text, ')') : NULL;
	fclose(stat);
	return end && (end[2] == 'T' || end[2] == 't');
}

/* Hands signals on, hears of recalls, and waits for news.  False: the supervisor is gone without a last word. */
static bool attend(int news, int signals, int line, int *status, bool *alone, int *refused)
{
	struct pollfd set[3] = { { news, POLLIN, 0 }, { -1, POLLIN, 0 }, { line, POLLIN | POLLRDHUP, 0 } };
	struct message message;
	pid_t command = 0;

	for (;;) {
		struct signalfd_siginfo info;

		if (poll(set, 3, -1) < 0 && errno != EINTR)
			return false;
		if (set[2].revents)
			set[2].fd = rc_run_lease_attend();	/* -1: the supervisor says so */
		while (command && read(signals, &info, sizeof info) == sizeof info)
			rc_command_hand_on(&info, command);
		if (!set[0].revents)
			continue;
		if (recv(news, &message, sizeof message, MSG_DONTWAIT) != sizeof message)
			return false;
		switch (message.news) {
		case ALONE:
			*alone = true;
			/* fall through */
		case STARTED:
			command = message.value;
			set[1].fd = signals;	/* those that came before wait there */
			break;
		case REFUSED:
			*refused = message.value;
			return true;
		case STOPPED:
			if (is_stopped(command)) {
				raise(SIGSTOP);
				kill(command, SIGCONT);
			}
			break;
		case ENDED:
			*status = message.value;
			return true;
		}
	}
}

int rc_run_tree(const struct rc_run *run, int *status, bool *alone)
{
	int pair[2], refused = 0, signals;
	pid_t child;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair))
		return -errno;
	rc_supervise_preloaded = run->preloaded;
	signals = rc_command_block_signals();
	child = fork();
	if (child < 0)
		return -errno;
	tell_fd = pair[1];
	if (child == 0) {
		close(pair[0]);
		guard(run);
	}
	close(pair[1]);
	*alone = false;
	if (attend(pair[0], signals, rc_line_socket(run->line), status, alone, &refused))
		return refused;
	waitpid(child, NULL, 0);	/* it ends the tree first */
	*status = RC_RUN_FAILED << 8;
	return 0;
}
