/* SPDX-License-Identifier: MIT
 *
 * Directory streams.  A DIR of a remote directory is ours: it lives in one reserved range of addresses, by which every function
 * here tells it from libc's own without looking into it.  Under a supervisor those of local directories are ours as well, as
 * libc's own system calls would be asked about.
 */
#include "preload.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directory.h"
#include "protocol.h"
#include "translate.h"

#ifndef __GLIBC__
#define dirent64 dirent
#endif

enum { STREAMS = 4096, RECORDS = 32768 };

struct stream {
	_Atomic bool taken;
	int fd;
	int64_t told;			/* what telldir tells: d_off of the entry last given */
	int64_t *narrowed;		/* what it has told where a long doesn't hold that: by the numbers given, from 1 */
	long narrowed_count;
	struct rc_directory directory;
	struct dirent entry;
	struct dirent64 entry64;
	bool local;
	char *records;			/* local: RECORDS bytes as getdents64 filled them, kept with the stream's slot */
	size_t next, end;		/* local: what of them is still to be given */
};

static struct stream *streams;		/* STREAMS of them, reserved when the first is opened */

static struct stream *ours(DIR *dir)
{
	struct stream *s = (struct stream *)dir;

	return streams && s >= streams && s < streams + STREAMS ? s : NULL;
}

static struct stream *new_stream(void)
{
	if (!streams) {
		struct stream *made = rc_sys_map(STREAMS * sizeof *streams);

		if (!made)
			return NULL;
		if (!__sync_bool_compare_and_swap(&streams, NULL, made))
			RC_SYS(SYS_munmap, made, STREAMS * sizeof *streams, 0, 0, 0, 0);
	}
	for (size_t i = 0; i < STREAMS; i++) {
		bool taken = false;

		if (!atomic_load_explicit(&streams[i].taken, memory_order_relaxed) &&
		    atomic_compare_exchange_strong(&streams[i].taken, &taken, true))
			return &streams[i];
	}
	return NULL;
}

/* The stream of a descriptor that is a directory's; NULL and errno. */
static DIR *stream_of(int fd)
{
	struct rc_description *d = rc_fdtable_get(fd);
	struct stream *s;

	if (!d || d->kind != RC_KIND_DIRECTORY) {
		errno = d && d->kind == RC_KIND_PATH ? EBADF : ENOTDIR;
		return NULL;
	}
	s = new_stream();
	if (!s) {
		errno = ENOMEM;
		return NULL;
	}
	s->fd = fd;
	s->local = false;
	s->directory = (struct rc_directory){ .handle = d->handle };
	s->told = rc_sys_lseek(fd, 0, SEEK_CUR);	/* where another stream of this description, or getdents64, was */
	rc_directory_seek(&s->directory, s->told);
	return (DIR *)s;
}

static DIR *open_stream(const struct rc_target *t)
{
	int fd = (int)rc_finish(rc_remote_open(t, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, 0));
	DIR *dir = fd < 0 ? NULL : stream_of(fd);

	if (!dir && fd >= 0) {
		int saved = errno;

		close(fd);
		errno = saved;
	}
	return dir;
}

#if RC_HAVE_RAW
/* What libc's fdopendir looks at as well.  NULL without an errno: libc's own will do. */
static DIR *local_stream(int fd)
{
	struct stream *s;
	struct stat st;
	int flags = rc_sys_fcntl(fd, F_GETFL, 0);

	if (flags < 0 || (flags & O_PATH) || RC_SYS(SYS_fstat, fd, &st, 0, 0, 0, 0) < 0 || !S_ISDIR(st.st_mode))
		return NULL;
	s = new_stream();
	if (s && !s->records)
		s->records = rc_sys_map(RECORDS);
	if (!s || !s->records) {
		if (s)
			atomic_store(&s->taken, false);
		return NULL;
	}
	s->fd = fd;
	s->local = true;
	s->next = s->end = 0;
	s->told = rc_sys_lseek(fd, 0, SEEK_CUR);
	return (DIR *)s;
}

static DIR *open_local(const char *path)
{
	int fd = rc_sys_open(AT_FDCWD, path, O_RDONLY | O_NONBLOCK | O_DIRECTORY | O_CLOEXEC, 0);
	DIR *dir = rc_finish(fd) < 0 ? NULL : local_stream(fd);

	if (fd >= 0 && !dir) {
		rc_sys_close(fd);
		return rc_next_opendir(path);
	}
	return dir;
}

/* struct dirent is what the kernel writes on these machines. */
static struct dirent *next_local(struct stream *s)
{
	struct dirent *entry;

	if (s->next == s->end) {
		long got = RC_SYS(SYS_getdents64, s->fd, s->records, RECORDS, 0, 0, 0);

		if (rc_finish(got == -ENOENT ? 0 : got) <= 0)	/* removed meanwhile: the end */
			return NULL;
		s->next = 0;
		s->end = (size_t)got;
	}
	entry = (struct dirent *)(void *)(s->records + s->next);
	s->next += entry->d_reclen;
	s->told = entry->d_off;
	return entry;
}
#else
#define local_stream(fd) NULL
#define open_local(path) rc_next_opendir(path)
#define next_local(s) NULL
#endif

RC_EXPORT DIR *opendir(const char *path)
{
	struct rc_target t;
	DIR *dir;
	int side;

	if (!rc_ready())
		return rc_pass_opendir()(path);
	side = rc_locate(AT_FDCWD, path, 0, &t);
	if (side == 0 && t.instead)
		path = t.instead;
	if (side == 0) {
		rc_count_local();
		return rc_raw ? open_local(path) : rc_next_opendir(path);
	}
	if (rc_finish(side) < 0)
		return NULL;
	(void)RC_SPAN("opendir", t.given, -1, t.at.directory, rc_result_of(dir = open_stream(&t)));
	return dir;
}

RC_EXPORT DIR *fdopendir(int fd)
{
	DIR *dir;

	if (!rc_ready())
		return rc_pass_fdopendir()(fd);

	if (rc_fdtable_get(fd))
		return stream_of(fd);
	dir = rc_raw ? local_stream(fd) : NULL;
	return dir ? dir : rc_next_fdopendir(fd);
}

/* 1: an entry; 0: the end; -errno. */
static int next_entry(struct stream *s, struct rc_entry *entry)
{
	int result = rc_directory_next(&s->directory, entry);

	if (result > 0) {
		s->told = entry->offset;
		rc_sys_lseek(s->fd, s->told, SEEK_SET);
	}
	return result > 0 && entry->name_length >= sizeof s->entry.d_name ? -EOVERFLOW : result;
}

#define READDIR(function, record, member) \
	RC_EXPORT record *function(DIR *dir) \
	{ \
		struct stream *s = ours(dir); \
		struct rc_entry from; \
		int result; \
		if (!s) \
			return rc_pass_##function()(dir); \
		if (s->local) \
			return (record *)next_local(s); \
		result = (int)RC_SPAN("readdir", NULL, s->fd, s->directory.handle, next_entry(s, &from)); \
		if (rc_finish(result) <= 0) \
			return NULL; \
		s->member.d_ino = from.ino; \
		s->member.d_off = (__typeof__(s->member.d_off))from.offset; \
		s->member.d_type = (unsigned char)from.type; \
		s->member.d_reclen = (unsigned short)((offsetof(record, d_name) + from.name_length + 8) & ~(size_t)7); \
		memcpy(s->member.d_name, from.name, from.name_length); \
		s->member.d_name[from.name_length] = '\0'; \
		if ((uint64_t)s->member.d_ino != from.ino) { \
			errno = EOVERFLOW; \
			return NULL; \
		} \
		return &s->member; \
	}
READDIR(readdir, struct dirent, entry)
#ifdef __GLIBC__
READDIR(readdir64, struct dirent64, entry64)
#endif

#define READDIR_R(name, type, plain) \
	RC_EXPORT int name(DIR *dir, type *entry, type **result) \
	{ \
		int saved = errno, error; \
		type *found; \
		if (!ours(dir)) \
			return rc_pass_##name()(dir, entry, result); \
		errno = 0; \
		found = plain(dir); \
		error = errno; \
		errno = saved; \
		if (found) \
			memcpy(entry, found, offsetof(type, d_name) + strlen(found->d_name) + 1); \
		*result = found ? entry : NULL; \
		return error; \
	}
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
READDIR_R(readdir_r, struct dirent, readdir)
#ifdef __GLIBC__
READDIR_R(readdir64_r, struct dirent64, readdir64)
#endif

enum { NARROW = sizeof(long) < sizeof(int64_t) };

RC_EXPORT void seekdir(DIR *dir, long told)
{
	struct stream *s = ours(dir);
	int64_t offset = told;

	if (!s) {
		rc_pass_seekdir()(dir, told);
		return;
	}
	if (NARROW && told)
		offset = told > 0 && told <= s->narrowed_count ? s->narrowed[told - 1] : s->told;
	s->told = offset;
	rc_sys_lseek(s->fd, offset, SEEK_SET);
	if (s->local)
		s->next = s->end = 0;
	else
		rc_directory_seek(&s->directory, offset);
}

RC_EXPORT void rewinddir(DIR *dir)
{
	if (ours(dir))
		seekdir(dir, 0);
	else
		rc_pass_rewinddir()(dir);
}

static long tell_narrow(struct stream *s)
{
	long n = s->narrowed_count;

	if (n && s->narrowed[n - 1] == s->told)
		return n;
	if (!(n & (n - 1))) {		/* full, as its size is the next power of two */
		int64_t *more = realloc(s->narrowed, (size_t)(n ? 2 * n : 1) * sizeof *more);

		if (!more)
			return -1;
		s->narrowed = more;
	}
	s->narrowed[n] = s->told;
	return s->narrowed_count = n + 1;
}

RC_EXPORT long telldir(DIR *dir)
{
	struct stream *s = ours(dir);

	if (!s)
		return rc_pass_telldir()(dir);
	return NARROW && s->told ? tell_narrow(s) : (long)s->told;
}

RC_EXPORT int dirfd(DIR *dir)
{
	struct stream *s = ours(dir);

	return s ? s->fd : rc_pass_dirfd()(dir);
}

RC_EXPORT int closedir(DIR *dir)
{
	struct stream *s = ours(dir);
	int fd;

	if (!s)
		return rc_pass_closedir()(dir);
	fd = s->fd;
	if (!s->local)
		rc_directory_free(&s->directory);
	free(s->narrowed);
	s->narrowed = NULL;
	s->narrowed_count = 0;
	atomic_store(&s->taken, false);
	return close(fd);
}

/* ------------------------------------------------------------------------------------------ made of the above */

typedef int comparison(const void *, const void *);

#define SCAN(function, type, readdir_function) \
	static int function(DIR *dir, type ***list, int (*select)(const type *), int (*compare)(const type **, const type **)) \
	{ \
		size_t count = 0, room = 0; \
		type **found = NULL, *entry; \
		int saved = errno; \
		errno = 0; \
		while ((entry = readdir_function(dir))) { \
			size_t size = offsetof(type, d_name) + strlen(entry->d_name) + 1; \
			type *copy; \
			if (select && !select(entry)) \
				continue; \
			if (count == room) { \
				type **larger = realloc(found, (room = room ? 2 * room : 64) * sizeof *found); \
				if (!larger) \
					break; \
				found = larger; \
			} \
			copy = malloc(size); \
			if (!copy) \
				break; \
			found[count++] = memcpy(copy, entry, size); \
			errno = 0; \
		} \
		if (errno) { \
			int error = errno; \
			while (count) \
				free(found[--count]); \
			free(found); \
			closedir(dir); \
			errno = error; \
			return -1; \
		} \
		closedir(dir); \
		errno = saved; \
		if (compare && count) \
			qsort(found, count, sizeof *found, (comparison *)(void (*)(void))compare); \
		*list = found ? found : malloc(1); \
		return (int)count; \
	}
SCAN(scan, struct dirent, readdir)

#define SCANDIR(name, type, function, base, parameters, ...) \
	RC_EXPORT int name parameters \
	{ \
		struct rc_target t; \
		int side; \
		DIR *dir; \
		if (!rc_ready()) \
			return rc_pass_##name()(__VA_ARGS__); \
		side = rc_locate(base, path, 0, &t); \
		if (side == 0) { \
			if (t.instead) \
				path = t.instead; \
			rc_count_local(); \
			return rc_next_##name(__VA_ARGS__); \
		} \
		if (rc_finish(side) < 0) \
			return -1; \
		(void)RC_SPAN(#name, t.given, -1, t.at.directory, rc_result_of(dir = open_stream(&t))); \
		return dir ? function(dir, list, select, compare) : -1; \
	}
#define LISTING(type) \
	const char *path, type ***list, int (*select)(const type *), int (*compare)(const type **, const type **)
SCANDIR(scandir, struct dirent, scan, AT_FDCWD, (LISTING(struct dirent)), path, list, select, compare)
#ifdef __GLIBC__
SCAN(scan64, struct dirent64, readdir64)
SCANDIR(scandir64, struct dirent64, scan64, AT_FDCWD, (LISTING(struct dirent64)), path, list, select, compare)
SCANDIR(scandirat, struct dirent, scan, dirfd, (int dirfd, LISTING(struct dirent)), dirfd, path, list, select, compare)
SCANDIR(scandirat64, struct dirent64, scan64, dirfd, (int dirfd, LISTING(struct dirent64)), dirfd, path, list, select,
	compare)

static int glob_lstat(const char *path, struct stat *st)
{
	return lstat(path, st);
}

static int glob_stat(const char *path, struct stat *st)
{
	return stat(path, st);
}

/* libc's glob takes directory functions from the caller: ours, which pass local directories on. */
RC_EXPORT int glob(const char *pattern, int flags, int (*failed)(const char *, int), glob_t *found)
{
	if (!rc_ready() || (flags & GLOB_ALTDIRFUNC))
		return rc_pass_glob()(pattern, flags, failed, found);
	found->gl_opendir = (void *(*)(const char *))(void (*)(void))opendir;
	found->gl_readdir = (struct dirent *(*)(void *))(void (*)(void))readdir;
	found->gl_closedir = (void (*)(void *))(void (*)(void))closedir;
	found->gl_lstat = glob_lstat;
	found->gl_stat = glob_stat;
	return rc_next_glob(pattern, flags | GLOB_ALTDIRFUNC, failed, found);
}

#if __SIZEOF_LONG__ == 8
RC_EXPORT int glob64(const char *pattern, int flags, int (*failed)(const char *, int), glob64_t *found)
{
	return glob(pattern, flags, failed, (glob_t *)found);	/* one structure on these machines */
}
#endif

/* wordexp(3)'s own glob isn't ours: what would look for names on the server is refused.  Words are expanded with letters in
 * place of their patterns to see where they lead; those of a command's output can't be known. */
static bool looks_for_remote_names(const char *words)
{
	char *plain = strdup(words);
	struct rc_target t;
	wordexp_t expanded;
	bool remote = false, pattern = words[strcspn(words, "*?[")];
	int result;

	for (char *at = plain; at && *(at += strcspn(at, "*?[")); at++)
		*at = 'x';
	result = plain ? rc_next_wordexp(plain, &expanded, WRDE_NOCMD) : WRDE_NOSPACE;
	free(plain);
	if (result)
		return result == WRDE_CMDSUB ? pattern : false;
	for (size_t i = 0; i < expanded.we_wordc && !remote; i++) {
		const char *word = expanded.we_wordv[i];

		remote = (pattern || word[strcspn(word, "*?[")]) && rc_locate(AT_FDCWD, word, 0, &t) == 1;
	}
	wordfree(&expanded);
	return remote;
}

RC_EXPORT int wordexp(const char *words, wordexp_t *to, int flags)
{
	if (!rc_ready() || rc_config.supervised || !words[strcspn(words, "*?[$`")] || !looks_for_remote_names(words))
		return rc_pass_wordexp()(words, to, flags);
	rc_debug("wordexp() on remote file %s: ENOSYS", words);
	rc_stats_refused(-ENOSYS);
	return WRDE_NOSYS;
}
#endif

/* ---------------------------------------------------------------------------------------------- getdents64 */

ssize_t rc_remote_getdents(struct rc_description *d, int fd, void *user, size_t size)
{
	char bytes[32768];
	int64_t before = rc_sys_lseek(fd, 0, SEEK_CUR);
	ssize_t result;

	rc_debug("getdents64() on remote fd %d", fd);
	result = rc_directory_records(d, fd, false, false, bytes, size < sizeof bytes ? size : sizeof bytes);
	if (result > 0 && rc_copy_out(user, bytes, (size_t)result)) {
		rc_sys_lseek(fd, before, SEEK_SET);
		return -EFAULT;
	}
	return result;
}

ssize_t rc_remote_getdirentries(struct rc_description *d, int fd, void *user, size_t size, void *base)
{
	off64_t before = rc_sys_lseek(fd, 0, SEEK_CUR);
	ssize_t result = rc_remote_getdents(d, fd, user, size);

	return result < 0 || !rc_copy_out(base, &before, sizeof before) ? result : -EFAULT;
}
