/* SPDX-License-Identifier: MIT
 *
 * Processes: what must be known of our descriptors before another process can have them (fork, exec, spawn, a message),
 * and the environment that an exec hands on.  A vfork child runs this in its parent's memory: no allocation.
 */
#include "preload.h"

#include <dlfcn.h>
#include <sched.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "transport.h"

/* ------------------------------------------------------------------------------------------------- sharing */

/* remotec-run gets a copy of the descriptor and watches its inode: it closes the handle when the last one is gone. */
static void report(int fd, uint64_t handle)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	struct iovec part = { &handle, sizeof handle };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof fd)];
	} control = { .header = { .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS } };
	struct msghdr message = { .msg_name = &to, .msg_namelen = sizeof to, .msg_iov = &part, .msg_iovlen = 1,
				  .msg_control = &control, .msg_controllen = sizeof control };
	int out;

	if (!rc_config.control || strlen(rc_config.control) >= sizeof to.sun_path)
		return;
	strcpy(to.sun_path, rc_config.control);
	memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
	out = (int)RC_SYS(SYS_socket, AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, 0, 0, 0);
	if (out < 0)
		return;
	while (rc_sys_sendmsg(out, &message, MSG_NOSIGNAL) == -EINTR)
		;
	rc_sys_close(out);
}

void rc_share_all(bool over_exec)
{
	if (rc_fdtable_share_all(report, over_exec) && over_exec)
		rc_transport_before_exec();
}

enum { MOST_CONTROL = 4096 };	/* a message carries at most 253 descriptors */

/* Calls `each` for every descriptor in the message's control data, which the caller vouches for. */
static void descriptors_of(const struct msghdr *message, void (*each)(int fd))
{
	struct msghdr *m = (struct msghdr *)message;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS && c->cmsg_len >= CMSG_LEN(0))
			for (size_t at = 0; at + sizeof(int) <= c->cmsg_len - CMSG_LEN(0); at += sizeof(int)) {
				int fd;

				memcpy(&fd, CMSG_DATA(c) + at, sizeof fd);
				each(fd);
			}
}

static void share_one(int fd)
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
	descriptors_of(&m, share_one);
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
	RC_EXPORT int sendmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags) \
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
	RC_EXPORT int recvmmsg(int fd, struct mmsghdr *messages, unsigned count, int flags, timeout_type *timeout) \
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

enum { KEPT = 16 };
static char *kept[KEPT + 1];		/* "NAME=value", as this process was started */
static char own_path[RC_PATH_MAX];	/* this library's, for LD_PRELOAD */

static void keep(const char *name, const char *value)
{
	size_t length = strlen(name), count = 0;
	char *text = value ? malloc(length + strlen(value) + 2) : NULL;

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

void rc_process_start(char *const *environment)
{
	char session[33];
	Dl_info info;

	(void)environment;
	for (int i = 0; i < 16; i++) {
		session[2 * i] = "0123456789abcdef"[rc_config.session[i] >> 4];
		session[2 * i + 1] = "0123456789abcdef"[rc_config.session[i] & 15];
	}
	session[32] = '\0';
	/* system() and popen() hand on environ itself. */
	setenv("REMOTEC_SESSION", session, 1);
	for (size_t i = 0; rc_config_variables[i]; i++)
		keep(rc_config_variables[i], getenv(rc_config_variables[i]));
	if (dladdr((void *)rc_process_start, &info) && info.dli_fname) {
		char here[RC_PATH_MAX] = "/";

		if (info.dli_fname[0] != '/')
			RC_SYS(SYS_getcwd, here, sizeof here, 0, 0, 0, 0);
		if (rc_path_fold(here, info.dli_fname, own_path, sizeof own_path) < 0)
			own_path[0] = '\0';
	}
}

static size_t count_of(char *const *list)
{
	size_t count = 0;

	while (list && list[count])
		count++;
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

/* envp, with what is missing of LD_PRELOAD and our variables, into to[count_of(envp) + KEPT + 2]. */
static void complete(char *const *envp, char **to, char *preload)
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
}

/* On the stack, as it may be a vfork child's. */
#define COMPLETE(envp) \
	char *environment[count_of(envp) + KEPT + 2], preload[preload_size(envp)]; \
	complete(envp, environment, preload)

/* ---------------------------------------------------------------------------------------------------- exec */

/* 0: a local program, or one that only the default makes remote: such a rule is about files, as the original's was. */
static int check_program(int dirfd, const char *path, int flags)
{
	struct rc_target t;
	int side = rc_locate(dirfd, path, flags, &t);

	if (side <= 0 || t.by_default)
		return side;
	return rc_refuse_path("execve", &t, -ENOSYS);
}

static int exec_path(const char *path, char *const argv[], char *const envp[])
{
	COMPLETE(envp);
	int bad = check_program(AT_FDCWD, path, 0);

	if (bad)
		return (int)rc_finish(bad);
	rc_share_all(true);
	return rc_next_execve(path, argv, environment);
}

static int exec_file(const char *file, char *const argv[], char *const envp[])
{
	COMPLETE(envp);

	if (strchr(file, '/'))
		return exec_path(file, argv, envp);
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
	COMPLETE(envp);
	int bad = check_program(dirfd, path, flags);

	if (bad)
		return (int)rc_finish(bad);
	rc_share_all(true);
	return rc_next_execveat(dirfd, path, argv, environment, flags);
}

RC_EXPORT int fexecve(int fd, char *const argv[], char *const envp[])
{
	if (!rc_ready())
		return rc_pass_fexecve()(fd, argv, envp);
	COMPLETE(envp);
	if (rc_fdtable_get(fd))
		return (int)rc_finish(rc_refuse("fexecve", fd, -ENOSYS));
	rc_share_all(true);
	return rc_next_fexecve(fd, argv, environment);
}

RC_EXPORT int execveat(int dirfd, const char *path, char *const argv[], char *const envp[], int flags)
{
	return rc_ready() ? exec_at(dirfd, path, argv, envp, flags) : rc_pass_execveat()(dirfd, path, argv, envp, flags);
}

/* ------------------------------------------------------------------------------------------- spawn and fork */

#define SPAWN(name, is_path) \
	RC_EXPORT int name(pid_t *pid, const char *path, const posix_spawn_file_actions_t *actions, \
			   const posix_spawnattr_t *attributes, char *const argv[], char *const envp[]) \
	{ \
		int bad; \
		if (!rc_ready()) \
			return rc_pass_##name()(pid, path, actions, attributes, argv, envp); \
		COMPLETE(envp); \
		bad = is_path ? check_program(AT_FDCWD, path, 0) : 0; \
		if (bad) \
			return -bad; \
		rc_share_all(false);	/* an action may give away what is close-on-exec */ \
		return rc_next_##name(pid, path, actions, attributes, argv, environment); \
	}
SPAWN(posix_spawn, true)
SPAWN(posix_spawnp, strchr(path, '/'))

/* libc would open the local file of that name in the child. */
RC_EXPORT int posix_spawn_file_actions_addopen(posix_spawn_file_actions_t *actions, int fd, const char *path, int flags,
					       mode_t mode)
{
	struct rc_target t;

	if (!rc_ready())
		return rc_pass_posix_spawn_file_actions_addopen()(actions, fd, path, flags, mode);
	if (rc_locate(AT_FDCWD, path, 0, &t) == 1 && !t.by_default)
		return -rc_refuse_path("posix_spawn_file_actions_addopen", &t, -ENOSYS);
	return rc_next_posix_spawn_file_actions_addopen(actions, fd, path, flags, mode);
}

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
	if (!(flags & CLONE_VM))
		rc_share_all(false);
	return rc_next_clone(start, stack, flags, argument, rest[0], rest[1], rest[2]);
}
