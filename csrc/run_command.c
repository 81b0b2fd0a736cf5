/* SPDX-License-Identifier: MIT */
#include "run_command.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* SIGCHLD is for our own use. */
static const int handed_on[] = { SIGCHLD, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGALRM, SIGINT, SIGQUIT };
static const int of_the_terminal[] = { SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU };
enum { HANDED_ON = sizeof handed_on / sizeof *handed_on, OF_THE_TERMINAL = sizeof of_the_terminal / sizeof *of_the_terminal };

static sigset_t mask_before;
static struct sigaction before[OF_THE_TERMINAL];

int rc_command_block_signals(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < HANDED_ON; i++)
		sigaddset(&set, handed_on[i]);
	sigprocmask(SIG_BLOCK, &set, &mask_before);
	for (int i = 0; i < OF_THE_TERMINAL; i++)
		sigaction(of_the_terminal[i], &ignore, &before[i]);
	return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

void rc_command_hand_on(const struct signalfd_siginfo *info, pid_t command)
{
	int number = (int)info->ssi_signo;
	bool has_it = (number == SIGINT || number == SIGQUIT) && info->ssi_code == SI_KERNEL;	/* a key: the whole group's */

	if (number != SIGCHLD && !has_it)
		kill(command, number);
}

void rc_command_signals(void)
{
	for (int i = 0; i < OF_THE_TERMINAL; i++)
		sigaction(of_the_terminal[i], &before[i], NULL);
	sigprocmask(SIG_SETMASK, &mask_before, NULL);
}

void rc_command_exec(char **command)
{
	execvp(command[0], command);
	fprintf(stderr, "remotec: %s: %s\n", command[0], strerror(errno));
	_exit(errno == ENOENT ? RC_RUN_NOT_FOUND : RC_RUN_NOT_EXECUTABLE);
}
