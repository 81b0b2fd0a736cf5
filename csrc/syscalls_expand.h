/* SPDX-License-Identifier: MIT
 *
 * How a row of syscalls.h becomes a struct rc_syscall.  The number is kept as the text that the kernel header's macro expands
 * to: a macro that isn't there stays its own name, which begins with no digit.
 */
#include <errno.h>
#include <fcntl.h>

#include "supervise.h"

#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define NUMBER(name) TEXT(__NR_##name)

#define CWD RC_CWD
#define K(value) RC_CONSTANT(value)
#define CALL(name, test, handler, ...) { #name, NUMBER(name), RC_TEST_##test, rc_do_##handler, { __VA_ARGS__ } },
#define LET(name) { #name, NUMBER(name), RC_TEST_LET, 0, { 0 } },

/* Every handler that the table names. */
#define HANDLERS(H) \
	H(open) H(openat2) H(stat) H(statx) H(access) H(readlink) H(getxattr) H(listxattr) H(statfs) H(chdir) H(getcwd) \
	H(execve) H(refuse_path) H(refuse_either) H(mount) H(fanotify_mark) H(read) H(readv) H(pread) H(preadv) H(lseek) H(llseek) \
	H(fstat) H(fstatfs) H(fgetxattr) \
	H(flistxattr) H(getdents) H(getdents64) H(fchdir) H(fcntl) H(ioctl) H(flock) H(mmap) H(mremap) H(old_mmap) H(advise) \
	H(sendfile) H(splice) H(io_submit) H(refuse_fd) H(sync) H(change_existing) H(truncate) H(truncate64) H(change_new) \
	H(mknod) H(symlink) H(change_entry) \
	H(readahead) H(rename) H(link) H(close_range) H(keep_cwd) H(poll) H(ppoll) \
	H(select) H(old_select) H(pselect) H(epoll_ctl) H(epoll_wait) H(inotify_add_watch) H(inotify_rm_watch) H(none)
#define DECLARE(name) rc_handler rc_do_##name;
HANDLERS(DECLARE)
#undef DECLARE
