/* SPDX-License-Identifier: MIT
 *
 * Random system calls with random and edge arguments, on remote and local files, from many short-lived programs, beside an
 * innocent one that goes on checking its own files:
 *   fuzz_syscalls SEED PROGRAMS WILD INNOCENT SCRATCH
 * WILD and INNOCENT are remote directories, SCRATCH a local one.  WILD has known, dir/, fifo and the program true; INNOCENT has
 * known, of PATTERN.  Exit status 0: the innocent one saw only what it should, and nothing hung.  What a wild
 * program gets, or dies of, is its own affair.
 *
 * Nothing outside of WILD and SCRATCH is ever named to a call that changes something, and no call is made that concerns another
 * process or the machine.
 */
#define _GNU_SOURCE
#include "programs/older_libc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <linux/fs.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CALLS = 300, PAGE = 4096, AREA = 64 * PAGE, PATTERN = 200003, LONGEST_S = 2, PATHS = 32, PATH = 8192 };

/* Arguments by letter: d descriptor, p path that is only looked at, q path that may be changed, b buffer, n size, o offset, v
 * iovec array, P pollfd array, c count, f flags, t timeout in ms, T timespec, s small number, m type of a node, C and I command
 * of fcntl and ioctl, D number for a new descriptor, A argument list.  A wide offset of a narrow machine is two words. */
#define TEXT(x) TEXT_OF(x)
#define TEXT_OF(x) #x
#define CALL(name, arguments) { #name, TEXT(__NR_##name), arguments },
static const struct call {
	const char *name, *number, *arguments;
} table[] = {
	CALL(open, "qfs") CALL(openat, "dqfs") CALL(openat2, "dqbn") CALL(creat, "qs") CALL(stat, "pb") CALL(lstat, "pb")
	CALL(newfstatat, "dpbf") CALL(oldstat, "pb") CALL(oldlstat, "pb") CALL(stat64, "pb") CALL(lstat64, "pb")
	CALL(fstatat64, "dpbf") CALL(statx, "dpffb") CALL(access, "ps") CALL(faccessat, "dps") CALL(faccessat2, "dpsf")
	CALL(readlink, "pbn") CALL(readlinkat, "dpbn") CALL(getxattr, "ppbn") CALL(lgetxattr, "ppbn") CALL(listxattr, "pbn")
	CALL(llistxattr, "pbn") CALL(statfs, "pb") CALL(statfs64, "pnb") CALL(chdir, "q") CALL(getcwd, "bn")
	CALL(execve, "qAA") CALL(execveat, "dqAAf") CALL(name_to_handle_at, "dpbbf")
	CALL(read, "dbn") CALL(readv, "dvc") CALL(pread64, "dbnoo") CALL(preadv, "dvcoo") CALL(preadv2, "dvcoof")
	CALL(lseek, "dos") CALL(_llseek, "doobs") CALL(fstat, "db") CALL(oldfstat, "db") CALL(fstat64, "db")
	CALL(fstatfs, "db") CALL(fstatfs64, "dnb") CALL(fgetxattr, "dpbn") CALL(flistxattr, "dbn") CALL(getdents, "dbn")
	CALL(getdents64, "dbn") CALL(fchdir, "d") CALL(close_range, "DDs") CALL(fcntl, "dCb") CALL(fcntl64, "dCb")
	CALL(ioctl, "dIb") CALL(flock, "ds") CALL(mmap, "0nssdo") CALL(mmap2, "0nssdo") CALL(fadvise64, "doos")
	CALL(fadvise64_64, "doos") CALL(readahead, "don") CALL(sendfile, "ddbn") CALL(sendfile64, "ddbn")
	CALL(splice, "dbdbns") CALL(copy_file_range, "dbdbn0") CALL(tee, "ddns") CALL(io_submit, "bcb") CALL(cachestat, "dbbf")
	CALL(open_by_handle_at, "dbf") CALL(poll, "Pct") CALL(ppoll, "PcTbs") CALL(ppoll_time64, "PcTbs")
	CALL(select, "cbbbT") CALL(_newselect, "cbbbT") CALL(pselect6, "cbbbTb") CALL(pselect6_time64, "cbbbTb")
	CALL(inotify_add_watch, "dpf") CALL(inotify_rm_watch, "ds") CALL(chmod, "qs") CALL(fchmodat, "dqs") CALL(fchmodat2, "dqsf")
	CALL(chown, "q00") CALL(lchown, "q00") CALL(fchownat, "dq00f") CALL(utime, "qb") CALL(utimes, "qb")
	CALL(futimesat, "dqb") CALL(utimensat, "dqbf") CALL(utimensat_time64, "dqbf") CALL(setxattr, "qpbns")
	CALL(lsetxattr, "qpbns") CALL(removexattr, "qp") CALL(lremovexattr, "qp") CALL(truncate, "qo") CALL(truncate64, "qoo")
	CALL(mkdir, "qs") CALL(mkdirat, "dqs") CALL(mknod, "qm0") CALL(mknodat, "dqm0") CALL(symlink, "qq")
	CALL(symlinkat, "qdq") CALL(unlink, "q") CALL(unlinkat, "dqf") CALL(rmdir, "q") CALL(rename, "qq") CALL(renameat, "dqdq")
	CALL(renameat2, "dqdqs") CALL(link, "qq") CALL(linkat, "dqdqf") CALL(fchmod, "ds") CALL(fchown, "d00")
	CALL(fsetxattr, "dpbns") CALL(fremovexattr, "dp") CALL(close, "d") CALL(dup, "d") CALL(dup2, "dD") CALL(dup3, "dDf")
	CALL(write, "dbn") CALL(pwrite64, "dbnoo") CALL(writev, "dvc") CALL(ftruncate, "do") CALL(fallocate, "dsoo")
	CALL(fsync, "d") CALL(fdatasync, "d") CALL(sync_file_range, "doos") CALL(epoll_ctl, "dsdb") CALL(vmsplice, "dvcs")
	CALL(io_uring_setup, "sb") CALL(epoll_wait, "dbct") CALL(recvmsg, "dbs") CALL(sendmsg, "dbs") CALL(vfork_none, "")
	CALL(getxattrat, "dpfpbn") CALL(file_getattr, "dpbnf") CALL(kcmp, "00sdd") CALL(memfd_create, "ps") CALL(pidfd_getfd, "dds")
};

static const struct call *calls[sizeof table / sizeof *table];
static long numbers[sizeof table / sizeof *table];
static unsigned call_count;

/* --------------------------------------------------------------------------------------------------- chance */

static _Thread_local uint64_t state;

static uint64_t any(void)		/* xorshift64* */
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

static unsigned below(unsigned limit)
{
	return (unsigned)(any() >> 33) % limit;
}

/* --------------------------------------------------------------------------------------------------- arguments */

static char *area;			/* AREA bytes; before and behind it is nothing */
static char *constant;			/* a page that can't be written */
static char changed[PATHS][PATH], looked_at[PATHS][PATH];
static unsigned changed_count, looked_at_count;

static char *somewhere(void)
{
	switch (below(12)) {
	case 0: return NULL;
	case 1: return (char *)(uintptr_t)any();
	case 2: return (char *)UINTPTR_MAX - below(100);
	case 3: return constant + below(PAGE);
	case 4: return area + AREA - below(64);				/* the end comes soon */
	case 5: return area + AREA;
	case 6: return area - below(64);
	default: return area + below(AREA);
	}
}

static char *path(char (*paths)[PATH], unsigned count)
{
	char *at;

	if (!below(10)) {
		at = somewhere();
		/* Not what some call has left there: only a path that can't be read is wanted, or one without an end. */
		if (at >= area && at < area + AREA)
			memset(at, 'x', (size_t)(area + AREA - at));
		return at;
	}
	if (below(4))
		return paths[below(count)];
	at = area + AREA - strlen(paths[0]) - 1;		/* to the last byte of the area */
	return strcpy(at, paths[0]);
}

static uint64_t size(void)
{
	static const uint64_t edges[] = { 0, 1, 2, 7, 8, 16, 24, 88, 256, 4095, 4096, 4097, 65536, 1 << 20, INT32_MAX,
					  1ULL << 31, UINT32_MAX, 1ULL << 32, INT64_MAX, UINT64_MAX, UINT64_MAX - 4095 };

	return below(3) ? edges[below(sizeof edges / sizeof *edges)] : below(100000);
}

static long vector(void)
{
	struct iovec *v = (void *)((uintptr_t)(area + below(AREA - 64 * sizeof *v)) & ~7UL);

	if (!below(8))
		return (long)somewhere();
	for (int i = 0; i < 32; i++)
		v[i] = (struct iovec){ somewhere(), below(9) ? below(5000) : (size_t)size() };
	return (long)v;
}

static long poll_set(void)
{
	struct pollfd *set = (void *)((uintptr_t)(area + below(AREA - 64 * sizeof *set)) & ~7UL);

	if (!below(8))
		return (long)somewhere();
	for (int i = 0; i < 32; i++)
		set[i] = (struct pollfd){ (int)below(20), (short)any(), 0 };
	return (long)set;
}

static long descriptor(void)
{
	switch (below(16)) {
	case 0: return AT_FDCWD;
	case 1: return -1;
	case 2: return (long)any();
	case 3: return INT32_MAX;
	default: return 3 + below(18);
	}
}

/* Not those that make signals go to others. */
static long fcntl_command(void)
{
	static const int known[] = { F_DUPFD, F_DUPFD_CLOEXEC, F_GETFD, F_SETFD, F_GETFL, F_SETFL, F_GETLK, F_SETLK, F_OFD_GETLK,
				     F_OFD_SETLK, F_GETOWN, F_GETLEASE, F_GETPIPE_SZ, F_SETPIPE_SZ, F_ADD_SEALS, F_GET_SEALS,
				     1036, 1037, 12, 13 };	/* F_GET_RW_HINT, F_SET_RW_HINT, F_GETLK64, F_SETLK64 */

	return known[below(sizeof known / sizeof *known)];
}

/* Those that change nothing but the descriptor. */
static long ioctl_command(void)
{
	static const unsigned long known[] = { FIONREAD, FIONBIO, FIOCLEX, FIONCLEX, TCGETS, TIOCGWINSZ, FIOQSIZE, FIGETBSZ,
					       FS_IOC_GETFLAGS, BLKGETSIZE64 };

	return (long)known[below(sizeof known / sizeof *known)];
}

static long timeout(void)
{
	uint64_t *words = (void *)((uintptr_t)(area + below(AREA - 16)) & ~7UL);

	if (!below(8))
		return (long)somewhere();
	words[0] = 0;
	words[1] = below(3) ? below(1000) : any();
	return (long)words;
}

static long argument(char letter)
{
	static char *const words[] = { "a", "b", NULL };
	static const int types[] = { S_IFREG, S_IFIFO, S_IFREG | 0644, 0 };

	switch (letter) {
	case 'd': return descriptor();
	case 'D': return 3 + below(40);
	case 'p': return (long)path(looked_at, looked_at_count);
	case 'q': return (long)path(changed, changed_count);
	case 'b': return (long)somewhere();
	case 'n': return (long)size();
	case 'o': return (long)(below(2) ? size() : below(PATTERN));
	case 'v': return vector();
	case 'P': return poll_set();
	case 'c': return below(6) ? (long)below(33) : (long)size();
	case 'f': return below(3) ? 1L << below(26) | (below(2) ? 1L << below(26) : 0) : below(2) ? 0 : (long)any();
	case 't': return below(20);
	case 'T': return timeout();
	case 's': return below(4) ? below(16) : below(2) ? (long)below(010000) : (long)any();
	case 'm': return types[below(4)];
	case 'A': return below(20) ? (long)words : (long)somewhere();
	case 'C': return fcntl_command();
	case 'I': return ioctl_command();
	default: return 0;
	}
}

/* --------------------------------------------------------------------------------------------------- wild ones */

static void *be_wild(void *seed)
{
	state = *(uint64_t *)seed | 1;
	for (int i = 0; i < CALLS; i++) {
		unsigned which = below(call_count);
		long a[6] = { 0 };

		for (int j = 0; calls[which]->arguments[j]; j++)
			a[j] = argument(calls[which]->arguments[j]);
		syscall(numbers[which], a[0], a[1], a[2], a[3], a[4], a[5]);
	}
	return NULL;
}

static pthread_t second;

/* Whatever waits is to go on, in both threads. */
static void interrupted(int signal)
{
	if (syscall(SYS_gettid) == getpid() && second)
		pthread_kill(second, signal);
}

static int in(const char *directory, const char *name, int flags)
{
	char whole[512];

	snprintf(whole, sizeof whole, "%s/%s", directory, name);
	return open(whole, flags, 0644);
}

static void limit(int what, rlim_t most)
{
	struct rlimit limits = { most, most };

	setrlimit(what, &limits);
}

static void add(char (*paths)[PATH], unsigned *count, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(paths[(*count)++], PATH, format, arguments);
	va_end(arguments);
}

static void name_paths(const char *remote, const char *local)
{
	static const char *const names[] = { "known", "dir", "fifo", "new", "dir/new", "true", "missing/x" };

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		add(changed, &changed_count, "%s/%s", remote, names[i]);
		add(changed, &changed_count, "%s/%s", local, names[i]);
		add(changed, &changed_count, "%s", names[i]);
	}
	add(changed, &changed_count, "%s", "");
	memcpy(looked_at, changed, sizeof changed);
	looked_at_count = changed_count;
	add(looked_at, &looked_at_count, "/");
	add(looked_at, &looked_at_count, "..");
	add(looked_at, &looked_at_count, "%s/dir/../../..", remote);
	add(looked_at, &looked_at_count, "/proc/self/fd/%d", 3 + (int)below(9));
	add(looked_at, &looked_at_count, "%s%0*d", remote, PATH - 1000, 0);
	memset(looked_at[looked_at_count], '/', PATH - 1);
	memcpy(looked_at[looked_at_count++], remote, strlen(remote));
}

static void wild(uint64_t seed, const char *remote, const char *local)
{
	struct sigaction action = { .sa_handler = interrupted, .sa_flags = seed % 8 ? 0 : SA_RESTART };
	struct itimerval often = { { 0, 7000 }, { 0, 7000 } };
	uint64_t seeds[2] = { seed * 0x9e3779b97f4a7c15ULL, seed * 0xc2b2ae3d27d4eb4fULL };
	char inner[PATH];
	int pair[2];

	for (int fd = 0; fd < 3; fd++)
		dup2(open("/dev/null", O_RDWR), fd);
	closefrom(3);
	limit(RLIMIT_FSIZE, 1 << 20);
	limit(RLIMIT_CORE, 0);
	limit(RLIMIT_AS, 1 << 30);
	signal(SIGXFSZ, SIG_IGN);
	signal(SIGPIPE, SIG_IGN);
	snprintf(inner, sizeof inner, "%s/dir", local);
	mkdir(local, 0755);
	mkdir(inner, 0755);
	snprintf(inner, sizeof inner, "%s/fifo", local);
	mkfifo(inner, 0644);
	name_paths(remote, local);
	if (chdir(seed % 3 ? local : remote))
		_exit(2);
	/* From 3 on. */
	in(remote, "known", O_RDONLY | O_NONBLOCK);
	in(remote, "dir", O_RDONLY | O_DIRECTORY);
	in(remote, "fifo", O_RDONLY | O_NONBLOCK);
	in(remote, "known", O_PATH);
	in(local, "known", O_RDWR | O_CREAT);
	in(local, "dir", O_RDONLY | O_DIRECTORY);
	in(local, "fifo", O_RDWR | O_NONBLOCK);
	if (pipe2(pair, O_NONBLOCK) || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair))
		_exit(2);
	epoll_create1(0);
	memfd_create("local", 0);
	inotify_init1(IN_NONBLOCK);
	in(remote, "known", O_RDONLY | O_NONBLOCK);
	sigaction(SIGALRM, &action, NULL);
	setitimer(ITIMER_REAL, &often, NULL);
	pthread_create(&second, NULL, be_wild, &seeds[1]);
	be_wild(&seeds[0]);
	pthread_join(second, NULL);
	_exit(0);
}

/* ------------------------------------------------------------------------------------------------ the innocent */

static volatile unsigned *checks;	/* of both processes */

static void wrong(const char *what)
{
	printf("the innocent program: %s: %s\n", what, strerror(errno));
	fflush(stdout);
	_exit(3);
}

static unsigned char pattern(size_t at)
{
	return (unsigned char)("0123456789abcdefghijklmnopqrstuvwxyz-"[at % 37] ^ (at / 4096 % 3));
}

static void check_known(int fd, const char *what)
{
	unsigned char part[5000];
	size_t at = 0;
	ssize_t got;

	while ((got = read(fd, part, sizeof part)) > 0)
		for (ssize_t i = 0; i < got; i++)
			if (part[i] != pattern(at++))
				wrong(what);
	if (got < 0 || at != PATTERN)
		wrong(what);
}

static int entries(const char *directory)
{
	DIR *open_directory = opendir(directory);
	int count = 0;

	if (!open_directory)
		wrong("opendir");
	while (readdir(open_directory))
		count++;
	closedir(open_directory);
	return count;
}

static void innocent(const char *remote, const char *local, int until)
{
	struct pollfd over = { until, POLLIN, 0 };
	int expected = entries(remote);
	char text[64], back[64];

	while (poll(&over, 1, 0) == 0) {
		int fd = in(remote, "known", O_RDONLY), own = in(local, "innocent", O_RDWR | O_CREAT | O_TRUNC);
		struct stat st;

		if (fd < 0 || own < 0)
			wrong("open");
		if (fstat(fd, &st) || st.st_size != PATTERN)
			wrong("fstat");
		check_known(fd, "read");
		if (lseek(fd, 0, SEEK_SET))
			wrong("lseek");
		check_known(fd, "read again");
		if (close(fd) || in(remote, "missing", O_RDONLY) >= 0 || errno != ENOENT)
			wrong("close");
		if (entries(remote) != expected)
			wrong("readdir");
		memset(text, 0, sizeof text);
		snprintf(text, sizeof text, "check %u", *checks);
		if (pwrite(own, text, sizeof text, 100) != sizeof text || pread(own, back, sizeof back, 100) != sizeof back ||
		    memcmp(text, back, sizeof text) || close(own))
			wrong("its local file");
		++*checks;
	}
	_exit(0);
}

/* ------------------------------------------------------------------------------------------------------ both */

static void prepare(void)
{
	for (size_t i = 0; i < sizeof table / sizeof *table; i++)
		if (*table[i].number >= '0' && *table[i].number <= '9') {
			numbers[call_count] = atol(table[i].number);
			calls[call_count++] = &table[i];
		}
	area = (char *)mmap(NULL, AREA + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) + PAGE;
	mprotect(area, AREA, PROT_READ | PROT_WRITE);
	constant = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

/* False: it had to be killed. */
static bool wait_for(pid_t child, int *status)
{
	struct timespec longest = { LONGEST_S, 0 };
	sigset_t children;

	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	while (waitpid(child, status, WNOHANG) == 0)
		if (sigtimedwait(&children, NULL, &longest) < 0 && errno == EAGAIN) {
			kill(child, SIGKILL);
			waitpid(child, status, 0);
			return false;
		}
	return true;
}

static int open_up(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)at;
	if (type == FTW_D || type == FTW_DNR)
		chmod(path, 0700);
	return 0;
}

static int discard(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)type, (void)at;
	remove(path);
	return 0;
}

int main(int argc, char **argv)
{
	unsigned long seed = argc == 6 ? strtoul(argv[1], NULL, 10) : 0, programs = argc == 6 ? strtoul(argv[2], NULL, 10) : 0;
	unsigned long ended = 0, died = 0, killed = 0, before;
	const char *remote = argv[3], *safe = argv[4], *local = argv[5];
	sigset_t children;
	int until[2], status;
	pid_t good;

	if (!programs)
		return 2;
	state = seed * 77 + 1;
	checks = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	prepare();
	sigemptyset(&children);
	sigaddset(&children, SIGCHLD);
	sigprocmask(SIG_BLOCK, &children, NULL);
	if (pipe2(until, O_CLOEXEC))
		return 2;
	good = fork();
	if (!good) {
		close(until[1]);
		innocent(safe, local, until[0]);
	}
	close(until[0]);
	for (unsigned long i = 0; i < programs; i++) {
		char own[PATH];
		pid_t bad;

		alarm(60);		/* what hangs is a failure */
		snprintf(own, sizeof own, "%s/%lu", local, i);
		bad = fork();
		if (!bad)
			wild(seed + i, remote, own);
		killed += !wait_for(bad, &status);
		ended += WIFEXITED(status);
		died += !WIFEXITED(status);
		nftw(own, open_up, 16, FTW_PHYS);
		nftw(own, discard, 16, FTW_PHYS | FTW_DEPTH);
	}
	/* The innocent one goes on after all of them. */
	for (before = *checks; *checks < before + 3 && waitpid(good, &status, WNOHANG) == 0; usleep(10000))
		;
	if (*checks < before + 3)
		return 3;
	close(until[1]);
	waitpid(good, &status, 0);
	printf("%lu programs: %lu ended, %lu died, of which %lu waited for ever; %u checks\n", programs, ended, died, killed, *checks);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 4;
}
