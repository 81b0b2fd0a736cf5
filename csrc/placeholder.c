/* SPDX-License-Identifier: MIT */
#include "placeholder.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "config.h"
#include "protocol.h"
#include "sys.h"

#define LINK_START "/memfd:remotec:"
enum { HEX_SESSION = 32, NAME_SIZE = 96, PATH_SIZE = 64 + NAME_SIZE };
/* Smaller files are fetched whole sooner than asked for in parts. */
enum { PAGED_FROM = 16 * 1024 * 1024 };

static char *put_hex(char *to, uint64_t value, int digits)
{
	if (!digits)
		for (digits = 1; digits < 16 && value >> (4 * digits); digits++)
			;
	for (int i = digits; i-- > 0;)
		*to++ = "0123456789abcdef"[value >> (4 * i) & 15];
	return to;
}

static char *put_text(char *to, const char *text)
{
	size_t length = strlen(text);

	memcpy(to, text, length);
	return to + length;
}

static int open_memory(const char *name, int open_flags)
{
	int memory = rc_sys_memfd(name, MFD_CLOEXEC), opened;

	if (memory < 0)
		return memory;
	opened = rc_sys_reopen(memory, open_flags);
	rc_sys_close(memory);
	return opened;
}

/* In the mount, and without a name from then on. */
static int open_paged(const char *name, int open_flags)
{
	char path[PATH_SIZE], *at;
	int fd;

	if (!rc_config.pages || strlen(rc_config.pages) + NAME_SIZE > sizeof path)
		return -ENOENT;
	at = put_text(path, rc_config.pages);
	at = put_text(at, "/memfd:");
	at = put_text(at, name);
	strcpy(at, "p");
	fd = rc_sys_open(AT_FDCWD, path, open_flags, 0);
	if (fd >= 0)
		RC_SYS(SYS_unlinkat, AT_FDCWD, path, 0, 0, 0, 0);
	return fd;
}

int rc_placeholder_create(uint64_t handle, uint32_t kind, uint64_t size, int open_flags, int lowest,
			  struct rc_placeholder *made)
{
	char name[NAME_SIZE], *at = put_text(name, "remotec:");
	struct rc_identity identity;
	int opened = -ENOENT, placed, bad;

	for (int i = 0; i < 16; i++)
		at = put_hex(at, rc_config.session[i], 2);
	*at++ = ':';
	at = put_hex(at, handle, 0);
	*at++ = ':';
	*at++ = (char)('0' + kind);
	*at = '\0';
	/* O_PATH would make a descriptor that poll and F_GETFL call bad; a directory's flags mean nothing to a memfd. */
	open_flags &= O_ACCMODE | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_SYNC | O_DSYNC | O_NOATIME | O_PATH;
	if (kind == RC_KIND_POSITIONED && size >= PAGED_FROM)
		opened = open_paged(name, open_flags);
	made->paged = opened >= 0;
	if (!made->paged)
		opened = open_memory(name, open_flags);
	if (opened < 0)
		return opened;
	bad = rc_sys_identity(opened, &identity);
	if (bad) {
		rc_sys_close(opened);
		return bad;
	}
	placed = opened;
	if (opened < lowest || lowest == 0) {
		/* The memfd had the lowest free number, which is free again now. */
		placed = rc_sys_dup_high(opened, lowest, open_flags & O_CLOEXEC);
		if (placed >= 0 && (lowest || placed < opened)) {
			rc_sys_close(opened);
		} else if (placed >= 0) {
			rc_sys_close(placed);
			placed = opened;
		} else {
			rc_sys_close(opened);
			return placed;
		}
	}
	memcpy(made->session, rc_config.session, sizeof made->session);
	made->handle = handle;
	made->kind = kind;
	made->ino = identity.ino;
	made->dev_major = identity.dev_major;
	made->dev_minor = identity.dev_minor;
	return placed;
}

static int digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool rc_placeholder_parse(const char *link, struct rc_placeholder *found)
{
	if (strncmp(link, LINK_START, sizeof LINK_START - 1))
		return false;
	link += sizeof LINK_START - 1;
	for (int i = 0; i < 16; i++, link += 2) {
		int high = digit(link[0]), low = high < 0 ? -1 : digit(link[1]);

		if (low < 0)
			return false;
		found->session[i] = (uint8_t)(high << 4 | low);
	}
	if (*link++ != ':')
		return false;
	found->handle = 0;
	for (int d; (d = digit(*link)) >= 0; link++)
		found->handle = found->handle << 4 | (uint64_t)d;
	if (*link++ != ':')
		return false;
	found->kind = 0;
	for (; *link >= '0' && *link <= '9'; link++)
		found->kind = found->kind * 10 + (uint32_t)(*link - '0');
	found->paged = *link == 'p';
	link += found->paged;
	return !strcmp(link, " (deleted)") || !*link;
}

int rc_placeholder_named(unsigned pid, int fd, struct rc_placeholder *found)
{
	char link[RC_FD_LINK], target[NAME_SIZE + 32];
	ssize_t length = rc_sys_readlink(AT_FDCWD, rc_sys_fd_link_of(pid, fd, link), target, sizeof target - 1);

	if (length < 0)
		return 0;
	target[length] = '\0';
	return rc_placeholder_parse(target, found);
}

int rc_placeholder_identify(int fd, struct rc_placeholder *found)
{
	struct rc_identity identity;
	int bad = rc_sys_identity(fd, &identity);

	if (bad)
		return -EBADF;
	if (!S_ISREG(identity.mode) || identity.nlink)	/* a memfd is a regular file without a name */
		return 0;
	if (!rc_placeholder_named(0, fd, found))
		return 0;
	found->ino = identity.ino;
	found->dev_major = identity.dev_major;
	found->dev_minor = identity.dev_minor;
	return 1;
}
