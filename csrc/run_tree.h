/* SPDX-License-Identifier: MIT
 *
 * The processes of a supervised run:
 *
 *   remotec-run        what the shell sees: hands signals on, stops and ends as the command does
 *    └ guard           does nothing, unless the supervisor is killed: then it ends what is left of the tree, and says so
 *       └ supervisor   answers the calls of everything below, until the last of it has ended
 *          └ command   under the filter
 *
 * The supervisor is an ancestor of all that it looks into, as Yama wants it, and stays one: what loses its parent becomes its
 * child.  Once the command has ended, remotec-run ends; guard and supervisor go on for the daemons that it left.
 */
#ifndef RC_RUN_TREE_H
#define RC_RUN_TREE_H

#include <signal.h>
#include <stdbool.h>

struct connection;

struct rc_run {
	const char *server;		/* as the user named it */
	int control;			/* the control socket */
	struct connection *line;	/* run_lease.h's */
	bool preloaded;			/* the library is loaded too: without a filter, go on with it alone */
	void (*execute)(bool supervised);	/* becomes the command, with the environment that it is to have */
	void (*clean)(void);		/* by the last one that goes */
};

/* The command's wait status; -errno where the filter can't be installed, and the command hasn't been started (unless
 * `preloaded`, where it has been, without one, and *alone tells). */
int rc_run_tree(const struct rc_run *run, int *status, bool *alone);

#endif
