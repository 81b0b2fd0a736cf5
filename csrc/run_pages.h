/* SPDX-License-Identifier: MIT
 *
 * Placeholders whose content the kernel fetches by itself, page by page, as it does for any file system: files in a mount of our
 * own (FUSE), which nobody sees, as it's nowhere in the tree of directories.  A process beside remotec-run serves it, for as long
 * as there is a descriptor or mapping of one of them.
 *
 * That is what a mapping needs which is too large to be filled first: system calls wait for its pages as the program does, a
 * child of fork has them too, and the memory that they take is given back when it's short.
 */
#ifndef RC_RUN_PAGES_H
#define RC_RUN_PAGES_H

/* The mount's root, to be kept open as long as there may be new placeholders (`REMOTEC_PAGES`, config.h); -errno where there
 * can't be such a mount (no /dev/fuse; neither the right to mount nor user namespaces). */
int rc_pages_start(void);

#endif
