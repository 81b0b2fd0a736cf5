/* SPDX-License-Identifier: MIT
 *
 * Processes: what must be known of our descriptors before another process can have them (fork, exec, spawn, a message),
 * and the environment that an exec hands on.  A vfork child runs this in its parent's memory: no allocation.
 */
#include "preload.h"

#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/un.h>
#include <unistd.h>

#include "image.h"
#include "mapping.h"
#include "oldest.h"
#include "transport.h"

/* ------------------------------------------------------------------------------------------------- sharing */

/* It may be stopped, as its command is by Ctrl-Z, while others of the tree run on: -EAGAIN.  Who has waited once in vain doesn't
 * for a while. */
static ssize_t send_soon(int out, const struct msghdr *message)
{
	enum { WAIT_MS = 100, DEAF_MS = 1000 };
	static _Atomic uint32_t deaf_until;
	struct timeval wait = { .tv_usec = WAIT_MS * 1000 };
	uint32_t now = (uint32_t)(rc_sys_monotonic_ns() / 1000000), deaf = atomic_load(&deaf_until);
	ssize_t sent = rc_sys_sendmsg(out, message, MSG_NOSIGNAL | MSG_DONTWAIT);

	if (sent != -EAGAIN || (deaf && (int32_t)(deaf - now) > 0))
		return sent;
	RC_SYS(SYS_setsockopt, out, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait, 0);
	for (int i = 0; i < 10 && (!i || sent == -EINTR); i++)
		sent = rc_sys_sendmsg(out, message, MSG_NOSIGNAL);
	if (sent == -EINTR)
		sent = -EAGAIN;
	if (sent == -EAGAIN)
		atomic_store(&deaf_until, (now + DEAF_MS) | 1);
	return sent;
}

/* 0 or -errno: without a remotec-run there's nobody to tell. */
static int tell(const struct rc_control *what, const int *descriptors, size_t count)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec part = { (void *)what, sizeof *what };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(RC_CONTROL_DESCRIPTORS * sizeof(int))];
	} control = { .header = { .cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = &control, .msg_controllen = CMSG_SPACE(count * sizeof(int)) };
	ssize_t sent;
	int out;

	if (!rc_config.control || strlen(rc_config.control) >= sizeof to.sun_path)
		return -ENOENT;
	strcpy(to.sun_path, rc_config.control);
	memcpy(CMSG_DATA(&control.header), descriptors, count * sizeof(int));
	out = (int)RC_SYS(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0, 0, 0);
	if (out < 0)
		return out;
	sent = send_soon(out, &message);
	rc_sys_close(out);
	return sent < 0 ? (int)sent : 0;
}

/* remotec-run gets a copy of the descriptor and watches its inode: it closes the handle when the last one is gone.  False: it
 * couldn't be told.  Where it doesn't listen the handle is closed with the session. */
static bool report(int fd, uint64_t handle)
{
	int told = rc_config.control ? tell(&(struct rc_control){ .what = RC_CONTROL_SHARE, .handle = handle }, &fd, 1) : 0;

	return !told || told == -EAGAIN;
}

/* Asks for something: the socket that the answer comes by, or -errno.  fd: sent with it; -1: none. */
static int ask(const struct rc_control *what, int fd)
{
	int pair[2], descriptors[RC_CONTROL_DESCRIPTORS] = { -1, fd };
	int bad = (int)RC_SYS(SYS_socketpair, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair, 0, 0);

	if (bad)
		return bad;
	descriptors[0] = pair[1];
	bad = tell(what, descriptors, fd < 0 ? 1 : 2);
	rc_sys_close(pair[1]);
	if (bad)
		rc_sys_close(pair[0]);
	return bad ? bad : pair[0];
}

int rc_ask_runner(const struct rc_control *what, int fd)
{
	int from = ask(what, fd);
	int32_t answer;
	long got;

	if (from < 0)
		return from;
	do
		got = RC_SYS(SYS_read, from, &answer, sizeof answer, 0, 0, 0);
	while (got == -EINTR);
	rc_sys_close(from);
	return got == sizeof answer ? answer : got < 0 ? (int)got : -EIO;
}

/* One that keeps us waiting isn't worth it: remotec-run may be waiting for the server. */
enum { SPARE_MS = 5 };

int rc_ask_for_connection(void)
{
	int from = ask(&(struct rc_control){ .what = RC_CONTROL_SPARE }, -1), fd;
	struct pollfd wait = { .fd = from, .events = POLLIN };

	if (from < 0)
		return from;
	fd = rc_sys_poll(&wait, 1, SPARE_MS) > 0 ? rc_sys_receive_descriptor(from) : -EAGAIN;
	rc_sys_close(from);
	return fd;
}

#ifdef __SANITIZE_ADDRESS__
void __asan_handle_no_return(void);
#endif

void rc_share_all(bool over_exec)
{
	if (rc_fdtable_share_all(report, over_exec) && over_exec)
		rc_transport_before_exec();
#ifdef __SANITIZE_ADDRESS__
	if (over_exec)		/* else the frames of a vfork child stay marked in the memory that is its parent's */
		__asan_handle_no_return();
#endif
}

enum { MOST_CONTROL = 4096 };	/* a message carries at most 253 descriptors */

/* Calls `each` for every descriptor in the message's control data, which the caller vouches for. */
static void descriptors_of(const struct msghdr *message, void (*each)(int fd))
{
	struct msghdr *m = (struct msghdr *)message;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t left = m->msg_controllen - (size_t)((char *)c - (char *)m->msg_control);

		if (c->cmsg_len < CMSG_LEN(0) || c->cmsg_len > left)
			return;		/* the kernel takes none of it */
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
			for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
				each(fd);
			}
	}
}

void rc_share(int fd)
{
	rc_fdtable_share(fd, report);
}

void rc_share_in_message(const struct msghdr *message)
{
	_Alignas(struct cmsghdr) char control[MOST_CONTROL];
	struct msghdr m;

	if (rc_copy_in(&m, message, sizeof m) < 0 || !m.msg_control || !m.msg_controllen ||
	    m.msg_controllen > sizeof control || rc_copy_in(control, m.msg_control, m.msg_controllen) < 0)
		return;			/* the kernel says what is wrong with it */
	m.msg_control = control;
	descriptors_of(&m, rc_share);
}

void rc_forget_in_message(const struct msghdr *message)
{
	descriptors_of(message, rc_fdtable_forget);
}

#define MESSAGES(sendmsg, sendmmsg, recvmsg, recvmmsg, timeout_type) \
	RC_EXPORT ssize_t sendmsg(int fd, const struct msghdr *message, int flags) \
	{ \
		if (!rc_ready()) \
			return rc_pass_##sendmsg()(fd, message, flags); \
		rc_share_in_message(message); \
		return rc_next_##sendmsg(fd, message, flags); \
	} \
	RC_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, rc_messages_flags flags) \
	{ \
		if (!rc_ready()) \
			return rc_pass_##sendmmsg()(fd, messages, count, flags); \
		for (unsigned i = 0; i < count && i < 1024; i++) \
			rc_share_in_message(&messages[i].msg_hdr); \
		return rc_next_##sendmmsg(fd, messages, count, flags); \
	} \
	RC_EXPORT ssize_t recvmsg(int fd, struct msghdr *message, int flags) \
	{ \
		ssize_t got; \
		if (!rc_ready()) \
			return rc_pass_##recvmsg()(fd, message, flags); \
		got = rc_next_##recvmsg(fd, message, flags); \
		if (got >= 0) \
			rc_forget_in_message(message); \
		return got; \
	} \
	RC_EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, rc_messages_flags flags, timeout_type *timeout) \
	{ \
		int got; \
		if (!rc_ready()) \
			return rc_pass_##recvmmsg()(fd, messages, count, flags, timeout); \
		got = rc_next_##recvmmsg(fd, messages, count, flags, timeout); \
		for (int i = 0; i < got; i++) \
			rc_forget_in_message(&messages[i].msg_hdr); \
		return got; \
	}
MESSAGES(sendmsg, sendmmsg, recvmsg, recvmmsg, struct timespec)
#ifdef RC_HAVE_TIME64
MESSAGES(__sendmsg64, __sendmmsg64, __recvmsg64, __recvmmsg64, void)
#endif

/* --------------------------------------------------------------------------------------------- environment */

#define SESSION "REMOTEC_SESSION"
enum { KEPT = 16 };
static char *kept[KEPT + 1];		/* "NAME=value", as this process was started; the session first */
static char own_path[RC_PATH_MAX];	/* this library's, for LD_PRELOAD */

static void keep(const char *name, const char *value)
{
	size_t length = strlen(name), count = 0;
	char *text = value ? rc_keep(length + strlen(value) + 2) : NULL;

	if (!text)
		return;
	memcpy(text, name, length);
	text[length] = '=';
	strcpy(text + length + 1, value);
	while (kept[count])
		count++;
	if (count < KEPT)
		kept[count] = text;
}

/* What system() and popen() are to hand on.  As by setenv, which would allocate. */
static char **with_session(char **environment)
{
	size_t count = 0, at = 1;
	char **all;

	while (environment[count])
		count++;
	all = kept[0] ? rc_keep((count + 2) * sizeof *all) : NULL;
	if (!all)
		return environment;
	all[0] = kept[0];
	for (size_t i = 0; i < count; i++)
		if (strncmp(environment[i], SESSION "=", sizeof SESSION))
			all[at++] = environment[i];
	return all;
}

/* The kernel has named a remote program after the descriptor that it was executed from, by a path in /proc. */
static void name_program(void)
{
	const char *executed = (const char *)getauxval(AT_EXECFN);
	char path[RC_IMAGE_PATH];

	if (executed && !strncmp(executed, "/proc/", 6) && rc_image_path(0, path) > 0)
		RC_SYS(SYS_prctl, PR_SET_NAME, strrchr(path, '/') + 1, 0, 0, 0, 0);
}

void rc_process_start(char **environment)
{
	char session[33];
	Dl_info info;

	for (int i = 0; i < 16; i++) {
		session[2 * i] = "0123456789abcdef"[rc_config.session[i] >> 4];
		session[2 * i + 1] = "0123456789abcdef"[rc_config.session[i] & 15];
	}
	session[32] = '\0';
	keep(SESSION, session);
	for (size_t i = 0; rc_config_variables[i]; i++)
		if (strcmp(rc_config_variables[i], SESSION))
			keep(rc_config_variables[i], getenv(rc_config_variables[i]));
	if (!rc_config.session_given)
		environ = with_session(environment);
	name_program();
	if (dladdr((void *)rc_process_start, &info) && info.dli_fname) {
		char here[RC_PATH_MAX] = "/";

		if (info.dli_fname[0] != '/')
			RC_SYS(SYS_getcwd, here, sizeof here, 0, 0, 0, 0);
		if (rc_path_fold(here, info.dli_fname, own_path, sizeof own_path) < 0)
			own_path[0] = '\0';
	}
}

/* Whether the byte can be read; *page is the last one that could be. */
static bool can_read(const char *at, uintptr_t *page)
{
	uintptr_t here = (uintptr_t)at / 4096;
	char byte;

	if (here != *page && rc_copy_in(&byte, at, 1) < 0)
		return false;
	*page = here;
	return true;
}

/* How many strings a program's list has: -EFAULT where it can't be read, or (`whole`) one of them can't. */
static ssize_t count_of(char *const *list, bool whole)
{
	uintptr_t page = UINTPTR_MAX, string_page = UINTPTR_MAX;
	ssize_t count = 0;

	for (const char *entry = (const char *)list; entry; entry += sizeof *list, count++) {
		const char *string;

		if (!can_read(entry, &page) || !can_read(entry + sizeof *list - 1, &page))
			return -EFAULT;
		memcpy(&string, entry, sizeof string);
		if (!string)
			break;
		do
			if (whole && !can_read(string, &string_page))
				return -EFAULT;
		while (whole && *string++);
	}
	return count;
}

static char *find(char *const *environment, const char *assignment)
{
	size_t length = strcspn(assignment, "=") + 1;

	for (; environment && *environment; environment++)
		if (!strncmp(*environment, assignment, length))
			return *environment;
	return NULL;
}

/* Whether an LD_PRELOAD has us: by our file's name, since the program may have reached it another way. */
static bool has_us(const char *value)
{
	const char *slash = strrchr(own_path, '/'), *name = slash ? slash + 1 : own_path;

	return strstr(value, name) != NULL;
}

static size_t preload_size(char *const *envp)
{
	const char *theirs = find(envp, "LD_PRELOAD=");

	return sizeof "LD_PRELOAD=:" + strlen(own_path) + (theirs ? strlen(theirs) : 0);
}

/* envp, with what is missing of LD_PRELOAD and our variables, in to[count_of(envp) + KEPT + 2]. */
static char *const *complete(char *const *envp, char **to, char *preload)
{
	char *theirs = find(envp, "LD_PRELOAD=");
	size_t count = 0;
	bool add = own_path[0] && !(theirs && has_us(theirs));

	for (size_t i = 0; envp && envp[i]; i++)
		if (!add || envp[i] != theirs)
			to[count++] = envp[i];
	if (add) {
		strcpy(preload, "LD_PRELOAD=");
		strcat(preload, own_path);
		if (theirs && theirs[sizeof "LD_PRELOAD=" - 1])
			strcat(strcat(preload, ":"), theirs + sizeof "LD_PRELOAD=" - 1);
		to[count++] = preload;
	}
	for (size_t i = 0; kept[i]; i++)
		if (!find(envp, kept[i]))
			to[count++] = kept[i];
	to[count] = NULL;
	return to;
}

/* On the stack, as it may be a vfork child's.  What can't be read is handed on for the kernel to say so. */
#define COMPLETE(envp) \
	ssize_t variables = count_of(envp, true); \
	char *room[(variables < 0 ? 0 : variables) + KEPT + 2], preload[variables < 0 ? 1 : preload_size(envp)]; \
	char *const *environment = variables < 0 ? (envp) : complete(envp, room, preload)

/* ---------------------------------------------------------------------------------------------------- exec */

enum { MOST_INTERPRETERS = 4, SCRIPT_ARGUMENTS = 2 * (MOST_INTERPRETERS + 1) };

/* A program to be executed, found on whichever side it is. */
struct program {
	char path[RC_PATH_MAX];			/* a local one to execute */
	int fd;					/* behind it, to be closed where the exec fails; -1 */
	char words[MOST_INTERPRETERS][2][256];	/* of the remote scripts on the way */
	char scripts[MOST_INTERPRETERS][RC_PATH_MAX];
	int depth;
};

static int load_image(const struct rc_target *t, int flags, struct rc_image *image)
{
	bool itself = t->extra || (flags & AT_EMPTY_PATH);
	int bad = rc_image_load(itself ? (struct rc_location){ t->at.directory, "" } : t->at, true, image);

	return bad ? rc_refuse_path("execve", t, bad) : 0;
}

/* 0: it's local as it stands, or only the default makes it remote: such a rule is about files, as the original's was.  1: remote,
 * and *p is what to execute.  -errno. */
static int find_program(int dirfd, const char *path, int flags, struct program *p)
{
	struct rc_target t;
	int side = rc_locate(dirfd, path, flags, &t);

	p->fd = -1;
	p->depth = 0;
	if (side == 0 && t.instead) {
		strcpy(p->path, t.instead);
		return 1;
	}
	if (side == 0 || t.by_default)
		rc_count_local();
	if (side <= 0 || t.by_default)
		return side < 0 ? side : 0;
	for (;;) {
		struct rc_image image;
		int bad;

		rc_debug("execve() on remote file %s", t.given);
		bad = (int)RC_SPAN("execve", t.given, -1, t.at.directory, load_image(&t, flags, &image));
		if (bad)
			return bad;
		if (image.fd >= 0) {
			p->fd = image.fd;
			rc_sys_fd_link(image.fd, p->path);
			return 1;
		}
		if (p->depth == MOST_INTERPRETERS)
			return -ELOOP;
		strcpy(p->words[p->depth][0], image.interpreter);
		strcpy(p->words[p->depth][1], image.argument);
		strcpy(p->scripts[p->depth], t.given);
		p->depth++;
		side = rc_locate(AT_FDCWD, image.interpreter, 0, &t);
		if (side < 0)
			return side;
		if (side == 0 || t.by_default) {
			strcpy(p->path, t.instead ? t.instead : image.interpreter);
			return 1;
		}
		flags = 0;
	}
}

/* The program's arguments with the interpreters' before them: to[count_of(argv) + SCRIPT_ARGUMENTS + 1]. */
static void arguments_of(struct program *p, char *const *argv, char **to)
{
	size_t count = 0;

	for (int i = p->depth; i-- > 0;) {
		to[count++] = p->words[i][0];
		if (*p->words[i][1])
			to[count++] = p->words[i][1];
	}
	if (p->depth) {
		to[count++] = p->scripts[0];
		argv += argv && *argv;
	}
	while (argv && *argv)
		to[count++] = *argv++;
	to[count] = NULL;
}

static int exec_program(struct program *p, char *const argv[], char *const envp[])
{
	ssize_t count = count_of(argv, false);
	char *arguments[(count < 0 ? 0 : count) + SCRIPT_ARGUMENTS + 1];
	int saved;

	if (count < 0) {
		if (p->fd >= 0)
			rc_sys_close(p->fd);
		return (int)rc_finish(count);
	}
	arguments_of(p, argv, arguments);
	rc_share_all(true);
	rc_next_execve(p->path, arguments, envp);
	saved = errno;
	if (p->fd >= 0)
		rc_sys_close(p->fd);
	errno = saved;
	return -1;
}

static int exec_path(const char *path, char *const argv[], char *const envp[])
{
	struct program p;
	COMPLETE(envp);
	int side = find_program(AT_FDCWD, path, 0, &p);

	if (side)
		return side < 0 ? (int)rc_finish(side) : exec_program(&p, argv, environment);
	rc_share_all(true);
	return rc_next_execve(path, argv, environment);
}

/* Whether a search along $PATH comes by a remote directory, which libc's own search would not see. */
static bool searches_remote(const char *list)
{
	char directory[RC_PATH_MAX];
	struct rc_target t;

	while (list && *list) {
		size_t length = strcspn(list, ":");

		if (length && length < sizeof directory) {
			memcpy(directory, list, length);
			directory[length] = '\0';
			if (rc_locate(AT_FDCWD, directory, 0, &t) == 1 && !t.by_default)
				return true;
		}
		list += length + (list[length] == ':');
	}
	return false;
}

static int exec_by_shell(const char *path, char *const argv[], char *const envp[])
{
	ssize_t count = count_of(argv, false);
	char *arguments[(count < 0 ? 0 : count) + 3];

	if (count < 0)
		return (int)rc_finish(count);
	arguments[0] = (char *)"/bin/sh";
	arguments[1] = (char *)path;
	for (ssize_t i = 1; i <= count; i++)
		arguments[i + 1] = argv[i];
	arguments[count < 1 ? 2 : count + 1] = NULL;
	return exec_path("/bin/sh", arguments, envp);
}

/* As libc's: what can't be executed at all is looked for further on, what isn't a program is a shell's. */
static int exec_along_path(const char *file, const char *list, char *const argv[], char *const envp[])
{
	char path[RC_PATH_MAX];
	bool denied = false;

	while (list) {
		size_t length = strcspn(list, ":"), name = strlen(file);

		if (length + name + 2 <= sizeof path) {
			memcpy(path, list, length);
			path[length] = '/';
			strcpy(path + length + !!length, file);
			exec_path(path, argv, envp);
			if (errno == ENOEXEC)
				exec_by_shell(path, argv, envp);
			denied = denied || errno == EACCES;
			if (errno != ENOENT && errno != ENOTDIR && errno != EACCES && errno != ENODEV && errno != ESTALE)
				return -1;
		}
		list = list[length] ? list + length + 1 : NULL;
	}
	errno = denied ? EACCES : ENOENT;
	return -1;
}

static int exec_file(const char *file, char *const argv[], char *const envp[])
{
	COMPLETE(envp);

	if (strchr(file, '/')) {
		exec_path(file, argv, envp);
		return errno == ENOEXEC ? exec_by_shell(file, argv, envp) : -1;
	}
	if (*file && searches_remote(getenv("PATH")))
		return exec_along_path(file, getenv("PATH"), argv, envp);
	rc_share_all(true);
	return rc_next_execvpe(file, argv, environment);
}

RC_EXPORT int execve(const char *path, char *const argv[], char *const envp[])
{
	return rc_ready() ? exec_path(path, argv, envp) : rc_pass_execve()(path, argv, envp);
}

RC_EXPORT int execv(const char *path, char *const argv[])
{
	return rc_ready() ? exec_path(path, argv, environ) : rc_pass_execv()(path, argv);
}

RC_EXPORT int execvp(const char *file, char *const argv[])
{
	return rc_ready() ? exec_file(file, argv, environ) : rc_pass_execvp()(file, argv);
}

RC_EXPORT int execvpe(const char *file, char *const argv[], char *const envp[])
{
	return rc_ready() ? exec_file(file, argv, envp) : rc_pass_execvpe()(file, argv, envp);
}

/* The forms with a list: gathered into a vector first. */
#define GATHER(first) \
	va_list counted, arguments; \
	size_t count = 1; \
	va_start(counted, first); \
	va_copy(arguments, counted); \
	while (va_arg(counted, char *)) \
		count++; \
	va_end(counted); \
	char *argv[count + 1]; \
	argv[0] = (char *)first; \
	for (size_t i = 1; i <= count; i++) \
		argv[i] = va_arg(arguments, char *)

RC_EXPORT int execl(const char *path, const char *argument, ...)
{
	GATHER(argument);
	va_end(arguments);
	return execve(path, argv, environ);
}

RC_EXPORT int execlp(const char *file, const char *argument, ...)
{
	GATHER(argument);
	va_end(arguments);
	return execvpe(file, argv, environ);
}

RC_EXPORT int execle(const char *path, const char *argument, ...)
{
	char *const *envp;

	GATHER(argument);
	envp = va_arg(arguments, char *const *);
	va_end(arguments);
	return execve(path, argv, envp);
}

static int exec_at(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	struct program p;
	COMPLETE(envp);
	int side = find_program(dirfd, path, flags, &p);

	if (side)
		return side < 0 ? (int)rc_finish(side) : exec_program(&p, argv, environment);
	rc_share_all(true);
	return rc_next_execveat(dirfd, path, argv, environment, flags);
}

RC_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	if (!rc_ready())
		return rc_pass_fexecve()(fd, argv, envp);
	if (rc_fdtable_get(fd))
		return exec_at(fd, "", argv, envp, AT_EMPTY_PATH);
	COMPLETE(envp);
	rc_share_all(true);
	return rc_next_fexecve(fd, argv, environment);
}

RC_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	return rc_ready() ? exec_at(dirfd, path, argv, envp, flags) : rc_pass_execveat()(dirfd, path, argv, envp, flags);
}

/* ------------------------------------------------------------------------------------------- spawn and fork */

typedef int spawner(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, const posix_spawnattr_t *attributes,
		    char *const argv[], char *const envp[]);

static int spawn(spawner *next, pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions,
		 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	struct rc_sys_limit limit = { .hard = 0 };
	pid_t child = 0;
	int result;

	if (rc_actions_move(actions))		/* the child's limit is ours while it takes RC_CWD_FD */
		rc_sys_raise_limit(&limit);
	result = next(&child, path, actions, attributes, argv, envp);
	if (child > 0)
		rc_sys_restore_limit(child, &limit);
	rc_sys_restore_limit(0, &limit);
	if (!result && pid)
		*pid = child;
	return result;
}

static int spawn_program(struct program *p, pid_t *pid, const posix_spawn_file_actions_t *actions,
			 const posix_spawnattr_t *attributes, char *const argv[], char *const envp[])
{
	ssize_t count = count_of(argv, false);
	char *arguments[(count < 0 ? 0 : count) + SCRIPT_ARGUMENTS + 1];
	int result = EFAULT;

	if (count >= 0) {
		arguments_of(p, argv, arguments);
		rc_share_all(false);
		result = spawn(rc_next_posix_spawn, pid, p->path, actions, attributes, arguments, envp);
	}
	if (p->fd >= 0)
		rc_sys_close(p->fd);
	return result;
}

/* The first program of that name along $PATH, where a directory of it is remote: 1, 0 (libc's search will do) or -errno. */
static int find_along_path(const char *file, struct program *p)
{
	const char *list = getenv("PATH");
	char path[RC_PATH_MAX];
	int result = -ENOENT;

	if (!searches_remote(list))
		return 0;
	while (list && result == -ENOENT) {
		size_t length = strcspn(list, ":");

		if (length + strlen(file) + 2 <= sizeof path) {
			memcpy(path, list, length);
			path[length] = '/';
			strcpy(path + length + !!length, file);
			result = find_program(AT_FDCWD, path, 0, p);
			if (result == 0 && access(path, X_OK) == 0) {
				strcpy(p->path, path);
				return 1;
			}
			if (result == 0)
				result = -ENOENT;
		}
		list = list[length] ? list + length + 1 : NULL;
	}
	return result;
}

#define SPAWN(name, find) \
	RC_EXPORT int name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, \
			   const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) \
	{ \
		struct program p; \
		int side, bad; \
		if (!rc_ready()) \
			return rc_pass_##name()(pid, path, actions, attributes, argv, envp); \
		COMPLETE(envp); \
		bad = rc_actions_begin(actions); \
		if (bad) \
			return bad; \
		side = find; \
		if (side) \
			return side < 0 ? -side : spawn_program(&p, pid, actions, attributes, argv, environment); \
		rc_share_all(false);	/* an action may give away what is close-on-exec */ \
		return spawn(rc_next_##name, pid, path, actions, attributes, argv, environment); \
	}
SPAWN(posix_spawn, find_program(rc_actions_directory(actions), path, 0, &p))
SPAWN(posix_spawnp, strchr(path, '/') ? find_program(rc_actions_directory(actions), path, 0, &p) : find_along_path(path, &p))

RC_EXPORT int system(const char *command)
{
	if (!rc_ready())
		return rc_pass_system()(command);
	rc_share_all(true);
	return rc_next_system(command);
}

RC_EXPORT FILE *popen(const char *command, const char *mode)
{
	if (!rc_ready())
		return rc_pass_popen()(command, mode);
	rc_share_all(true);
	return rc_next_popen(command, mode);
}

/* exit() calls neither of the two below. */
__attribute__((destructor)) static void end(void)
{
	if (atomic_load(&rc_state) == RC_READY)
		rc_fdtable_release_locks();
}

#define EXIT(name) \
	RC_EXPORT __attribute__((noreturn)) void name(int status) \
	{ \
		end(); \
		for (;;) \
			rc_pass_##name()(status); \
	}
EXIT(_exit)
EXIT(_Exit)

/* The one fork that runs no atfork handlers. */
RC_EXPORT pid_t _Fork(void)
{
	pid_t child;

	if (!rc_ready())
		return rc_pass__Fork()();
	rc_share_all(false);
	child = rc_next__Fork();
	if (child == 0)
		rc_in_child();
	return child;
}

struct beginning {
	int (*start)(void *);
	void *argument;
};

static int begin(void *of)
{
	const struct beginning *b = of;

	rc_in_child();
	return b->start(b->argument);
}

RC_EXPORT int clone(int (*start)(void *), void *stack, int flags, void *argument, ...)
{
	va_list arguments;
	void *rest[3];

	va_start(arguments, argument);
	for (int i = 0; i < 3; i++)
		rest[i] = va_arg(arguments, void *);
	va_end(arguments);
	if (!rc_ready())
		return rc_pass_clone()(start, stack, flags, argument, rest[0], rest[1], rest[2]);
	if (flags & CLONE_VM || !start || !stack)
		return rc_next_clone(start, stack, flags, argument, rest[0], rest[1], rest[2]);
	rc_share_all(false);		/* a process with a copy of our memory, `beginning` included */
	return rc_next_clone(begin, stack, flags, &(struct beginning){ start, argument }, rest[0], rest[1], rest[2]);
}

/* ------------------------------------------------------------------------------------------------- libraries */

int rc_copy_of(const struct rc_target *t)
{
	struct rc_opened opened;
	struct rc_description d;
	int fd, bad = rc_call_open(t->at, O_RDONLY | O_CLOEXEC, 0, 0, NULL, 0, &opened);

	if (bad)
		return bad;
	d = (struct rc_description){ .handle = opened.handle, .kind = opened.kind };
	fd = rc_sys_memfd(strrchr(t->given, '/') + 1, MFD_CLOEXEC);
	bad = fd < 0 ? fd : rc_mapping_fill(&d, fd);
	rc_call_close(opened.handle);
	if (bad < 0 && fd >= 0)
		rc_sys_close(fd);
	return bad < 0 ? bad : fd;
}

/* libc's and the dynamic linker's own calls are not seen: they get the file's content.  A descriptor of that and its name, to be
 * opened instead of *path; < 0: *path as it is, or a name that leads nowhere where that would be a local file's. */
static int stand_in_for(const char *call, const char **path, char *name)
{
	static const char nowhere[] = "/proc/self/fd/-1";
	struct rc_target t;
	int fd;

	if (!rc_ready() || !*path || !strchr(*path, '/') || rc_config.supervised || rc_locate(AT_FDCWD, *path, 0, &t) != 1 ||
	    t.by_default)
		return -1;
	rc_debug("%s() on remote file %s", call, t.given);
	fd = (int)RC_SPAN(call, t.given, -1, t.at.directory, rc_copy_of(&t));
	if (fd >= 0)
		*path = rc_sys_fd_link(fd, name);
	else if (RC_SYS(SYS_faccessat, AT_FDCWD, *path, F_OK, 0, 0, 0) == 0)
		*path = nowhere;
	return fd;			/* libc says what is wrong where there is no copy */
}

#define DLOPEN(name, params, ...) \
	RC_EXPORT void *name params \
	{ \
		char local[RC_FD_LINK]; \
		int fd = stand_in_for(#name, &path, local); \
		void *library = rc_pass_##name()(__VA_ARGS__); \
		if (fd >= 0) \
			rc_sys_close(fd); \
		return library; \
	}
DLOPEN(dlopen, (const char *path, int flags), path, flags)
#ifdef __GLIBC__
DLOPEN(dlmopen, (Lmid_t space, const char *path, int flags), space, path, flags)
#endif

/* A catalogue by its path; one of the system's, by name, is this machine's. */
RC_EXPORT nl_catd catopen(const char *path, int flags)
{
	char local[RC_FD_LINK];
	int fd = stand_in_for("catopen", &path, local);
	nl_catd catalogue = rc_pass_catopen()(path, flags);

	if (fd >= 0)
		rc_sys_close(fd);
	return catalogue;
}
