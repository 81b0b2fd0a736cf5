/* SPDX-License-Identifier: MIT
 *
 * Placeholders that more than one process may hold: each is watched by its inode, and its handle closed on the server when the
 * last descriptor and mapping of it is gone, in whichever process (inotify(7), IN_IGNORED).
 */
#ifndef RC_RUN_WATCH_H
#define RC_RUN_WATCH_H

#include <stdbool.h>

/* The inotify descriptor, to be polled, or -errno. */
int rc_watch_start(void);
/* `fd` stays the caller's.  A descriptor that is no placeholder of this session is left alone. */
void rc_watch(int fd);
/* Whether any of them may be unready on the server (a fifo, a device): else nothing of ours is worth a poll. */
bool rc_watch_streams(void);
/* What the inotify descriptor has to say: when it returns, the locks of all that was gone before are free. */
void rc_watch_read(void);
/* No process of the tree is left: only threads of ours, which wait for the server in their stead, may hold one still. */
void rc_watch_end(void);
/* What processes of the tree have sent to the control socket (control.h). */
void rc_watch_control(int control);

#endif
