/* SPDX-License-Identifier: MIT
 *
 * The command of `remotec run` is started as a shell would have started it: what we changed of signals is put back.
 */
#ifndef RC_RUN_COMMAND_H
#define RC_RUN_COMMAND_H

#include <sys/signalfd.h>
#include <sys/types.h>

enum { RC_RUN_FAILED = 125, RC_RUN_NOT_EXECUTABLE = 126, RC_RUN_NOT_FOUND = 127 };

/* Blocks the signals that are to be handed on to the command, ignores those that the terminal sends it as well: a signalfd. */
int rc_command_block_signals(void);
void rc_command_hand_on(const struct signalfd_siginfo *info, pid_t command);
/* In the command: as it was. */
void rc_command_signals(void);
/* In the command: becomes it, or ends with a line on stderr and the status that says why. */
__attribute__((noreturn)) void rc_command_exec(char **command);

#endif
