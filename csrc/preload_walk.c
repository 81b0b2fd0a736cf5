/* SPDX-License-Identifier: MIT
 *
 * ftw(3) and nftw(3) from a remote root: libc's own would walk past the exported functions.  A directory's names are read at once, so
 * that no descriptor stays open below it.
 */
#include "preload.h"

#include <ftw.h>
#include <search.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifdef __GLIBC__
#define WIDE(name) name##64
#else
#define WIDE(name) name
#endif
typedef struct WIDE(stat) wide_stat;

#ifndef FTW_ACTIONRETVAL	/* glibc's */
enum { FTW_ACTIONRETVAL = 16, FTW_CONTINUE = 0, FTW_SKIP_SUBTREE = 2, FTW_SKIP_SIBLINGS = 3 };
#endif

struct walk;
typedef int visit(const struct walk *w, const char *path, const wide_stat *st, int type, struct FTW *at);

struct walk {
	visit *visit;
	void (*user)(void);
	int flags;
	int start;			/* the directory that paths are relative to: FTW_CHDIR leaves it */
	dev_t device;
	void *known;			/* directories visited, where links are followed */
	char path[RC_PATH_MAX];
};

struct directory {
	dev_t device;
	uint64_t ino;
};

static int by_identity(const void *a, const void *b)
{
	const struct directory *x = a, *y = b;

	return x->ino != y->ino ? (x->ino < y->ino ? -1 : 1) : x->device != y->device ? (x->device < y->device ? -1 : 1) : 0;
}

/* False where the directory was visited already; no memory: visited once more. */
static bool is_new(struct walk *w, const wide_stat *st)
{
	struct directory this = { st->st_dev, st->st_ino }, *kept;

	if (w->flags & FTW_PHYS)
		return true;
	if (tfind(&this, &w->known, by_identity))
		return false;
	kept = malloc(sizeof *kept);
	if (kept) {
		*kept = this;
		tsearch(kept, &w->known, by_identity);
	}
	return true;
}

static int tell(struct walk *w, const wide_stat *st, int type, struct FTW *at)
{
	return w->visit(w, w->path, st, type, at);
}

/* FTW_CHDIR: into the directory of the entry. */
static int enter_parent(struct walk *w, int base)
{
	char parent[RC_PATH_MAX];

	if (!(w->flags & FTW_CHDIR))
		return 0;
	if (fchdir(w->start) < 0)
		return -1;
	memcpy(parent, w->path, (size_t)base);
	parent[base] = '\0';
	return base ? chdir(parent) : 0;
}

static void free_names(char **names)
{
	for (size_t i = 0; names && names[i]; i++)
		free(names[i]);
	free(names);
}

/* NULL and errno. */
static char **names_in(struct walk *w)
{
	int fd = openat(w->start, w->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	size_t count = 0, room = 64;
	char **names = dir ? malloc(room * sizeof *names) : NULL;
	struct dirent *entry;

	if (!names) {
		if (dir)
			closedir(dir);
		else if (fd >= 0)
			close(fd);
		return NULL;
	}
	while ((entry = readdir(dir))) {
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		if (count + 1 == room) {
			char **larger = realloc(names, (room *= 2) * sizeof *names);

			if (!larger)
				break;
			names = larger;
		}
		names[count] = strdup(entry->d_name);
		if (!names[count++])
			break;
	}
	names[count] = NULL;
	closedir(dir);
	return names;
}

static int walk_entry(struct walk *w, struct FTW *at, bool root);

static int walk_directory(struct walk *w, const wide_stat *st, struct FTW *at)
{
	size_t length = strlen(w->path);
	char **names = names_in(w);
	int result = 0;

	if (!names)
		return errno == EACCES ? tell(w, st, FTW_DNR, at) : -1;
	if (!(w->flags & FTW_DEPTH))
		result = tell(w, st, FTW_D, at);
	if (result == FTW_SKIP_SUBTREE && w->flags & FTW_ACTIONRETVAL) {
		free_names(names);
		return 0;
	}
	for (size_t i = 0; names[i] && !result; i++) {
		bool slash = length && w->path[length - 1] != '/';
		struct FTW below = { .base = (int)(length + slash), .level = at->level + 1 };

		if (length + slash + strlen(names[i]) >= sizeof w->path) {
			errno = ENAMETOOLONG;
			result = -1;
			break;
		}
		strcpy(w->path + length, slash ? "/" : "");
		strcpy(w->path + length + slash, names[i]);
		result = walk_entry(w, &below, false);
		w->path[length] = '\0';
	}
	free_names(names);
	if (result == FTW_SKIP_SIBLINGS && w->flags & FTW_ACTIONRETVAL)
		result = 0;
	if (!result && w->flags & FTW_DEPTH)
		result = enter_parent(w, at->base) < 0 ? -1 : tell(w, st, FTW_DP, at);
	return result;
}

static int walk_entry(struct walk *w, struct FTW *at, bool root)
{
	int follow = w->flags & FTW_PHYS ? AT_SYMLINK_NOFOLLOW : 0, result;
	wide_stat st;

	memset(&st, 0, sizeof st);
	if (enter_parent(w, at->base) < 0)
		return -1;
	if (WIDE(fstatat)(w->start, w->path, &st, follow) < 0) {
		int error = errno;

		if (!follow && WIDE(fstatat)(w->start, w->path, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISLNK(st.st_mode) &&
		    error == ENOENT)
			return tell(w, &st, FTW_SLN, at);
		errno = error;
		return root || (error != EACCES && error != ENOENT) ? -1 : tell(w, &st, FTW_NS, at);
	}
	if (root)
		w->device = st.st_dev;
	if (w->flags & FTW_MOUNT && st.st_dev != w->device)
		return 0;
	if (!S_ISDIR(st.st_mode))
		return tell(w, &st, S_ISLNK(st.st_mode) ? FTW_SL : FTW_F, at);
	if (!is_new(w, &st))
		return 0;
	result = walk_directory(w, &st, at);
	return result == FTW_SKIP_SUBTREE && w->flags & FTW_ACTIONRETVAL ? 0 : result;
}

static int walk(const char *root, visit *visit, void (*user)(void), int flags)
{
	struct walk w = { .visit = visit, .user = user, .flags = flags, .start = AT_FDCWD };
	struct FTW at = { 0 };
	int result, saved;

	if (strlen(root) >= sizeof w.path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(w.path, root);
	for (size_t length = strlen(root); length > 1 && w.path[length - 1] == '/'; length--)
		w.path[length - 1] = '\0';
	if (strrchr(w.path, '/') && w.path[1])
		at.base = (int)(strrchr(w.path, '/') + 1 - w.path);
	if (flags & FTW_CHDIR && (w.start = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
		return -1;
	result = walk_entry(&w, &at, true);
	if (result && flags & FTW_ACTIONRETVAL && (result == FTW_SKIP_SUBTREE || result == FTW_SKIP_SIBLINGS))
		result = 0;
	saved = errno;
	if (flags & FTW_CHDIR) {
		if (fchdir(w.start) < 0 && !result)
			result = -1;
		close(w.start);
	}
	while (w.known) {
		struct directory *one = *(struct directory **)w.known;

		tdelete(one, &w.known, by_identity);
		free(one);
	}
	errno = saved;
	return result;
}

/* The narrow forms of 32-bit machines; elsewhere one structure. */
static const struct stat *narrow(const wide_stat *from, struct stat *to)
{
	memset(to, 0, sizeof *to);
	to->st_dev = from->st_dev;
	to->st_ino = (ino_t)from->st_ino;
	to->st_mode = from->st_mode;
	to->st_nlink = from->st_nlink;
	to->st_uid = from->st_uid;
	to->st_gid = from->st_gid;
	to->st_rdev = from->st_rdev;
	to->st_size = (off_t)from->st_size;
	to->st_blksize = from->st_blksize;
	to->st_blocks = (blkcnt_t)from->st_blocks;
	to->st_atim = from->st_atim;
	to->st_mtim = from->st_mtim;
	to->st_ctim = from->st_ctim;
	return to;
}

typedef int ftw_function(const char *, const struct stat *, int);
typedef int nftw_function(const char *, const struct stat *, int, struct FTW *);

/* ftw's types are fewer. */
static int plain_type(int type)
{
	return type == FTW_SL ? FTW_F : type == FTW_DP ? FTW_D : type == FTW_SLN ? FTW_NS : type;
}

static int visit_ftw(const struct walk *w, const char *path, const wide_stat *st, int type, struct FTW *at)
{
	struct stat copy;

	(void)at;
	return ((ftw_function *)w->user)(path, narrow(st, &copy), plain_type(type));
}

static int visit_nftw(const struct walk *w, const char *path, const wide_stat *st, int type, struct FTW *at)
{
	struct stat copy;

	return ((nftw_function *)w->user)(path, narrow(st, &copy), type, at);
}

static bool starts_remote(const char *root)
{
	struct rc_target t;

	return rc_ready() && (rc_locate(AT_FDCWD, root, 0, &t) != 0 || t.instead);
}

RC_EXPORT int ftw(const char *root, int (*function)(const char *, const struct stat *, int), int descriptors)
{
	return starts_remote(root) ? walk(root, visit_ftw, (void (*)(void))function, 0)
				   : rc_pass_ftw()(root, function, descriptors);
}

RC_EXPORT int nftw(const char *root, int (*function)(const char *, const struct stat *, int, struct FTW *),
		   int descriptors, int flags)
{
	return starts_remote(root) ? walk(root, visit_nftw, (void (*)(void))function, flags)
				   : rc_pass_nftw()(root, function, descriptors, flags);
}

#ifdef __GLIBC__
static int visit_ftw64(const struct walk *w, const char *path, const wide_stat *st, int type, struct FTW *at)
{
	(void)at;
	return ((int (*)(const char *, const struct stat64 *, int))w->user)(path, st, plain_type(type));
}

static int visit_nftw64(const struct walk *w, const char *path, const wide_stat *st, int type, struct FTW *at)
{
	return ((int (*)(const char *, const struct stat64 *, int, struct FTW *))w->user)(path, st, type, at);
}

RC_EXPORT int ftw64(const char *root, int (*function)(const char *, const struct stat64 *, int), int descriptors)
{
	return starts_remote(root) ? walk(root, visit_ftw64, (void (*)(void))function, 0)
				   : rc_pass_ftw64()(root, function, descriptors);
}

RC_EXPORT int nftw64(const char *root, int (*function)(const char *, const struct stat64 *, int, struct FTW *),
		     int descriptors, int flags)
{
	return starts_remote(root) ? walk(root, visit_nftw64, (void (*)(void))function, flags)
				   : rc_pass_nftw64()(root, function, descriptors, flags);
}
#endif

#ifdef __GLIBC__
/* ----------------------------------------------------------------------------------------------------- fts(3) */

/* libc's fts walks by calls of its own; the programs that use one mostly carry their own.  Refused, never a local tree's. */
static bool any_remote(char *const *paths)
{
	struct rc_target t;

	for (; !rc_config.supervised && *paths; paths++)
		if (rc_locate(AT_FDCWD, *paths, 0, &t) != 0)
			return rc_refuse_path("fts_open", &t, -ENOSYS);
	return false;
}

#define FTS_OPEN(name) \
	RC_EXPORT void *name(char *const *paths, int options, int (*compare)(const void **, const void **)) \
	{ \
		if (rc_ready() && any_remote(paths)) { \
			errno = ENOSYS; \
			return NULL; \
		} \
		return rc_pass_##name()(paths, options, compare); \
	}
FTS_OPEN(fts_open)
FTS_OPEN(fts64_open)
#endif
