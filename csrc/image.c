/* SPDX-License-Identifier: MIT */
#include "image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cwd.h"
#include "mapping.h"
#include "protocol.h"
#include "sys.h"

enum { HEAD = 256, LOWEST = 2048 + 512 };

/* Linux's own reading of the line (fs/binfmt_script.c): a word, and the rest without blanks around it. */
static int parse_script(char *head, size_t length, struct rc_image *image)
{
	char *end = memchr(head, '\n', length), *at = head + 2, *word;

	if (!end)
		end = head + length;
	*end = '\0';
	at += strspn(at, " \t");
	word = at;
	at += strcspn(at, " \t");
	if (at == word)
		return -ENOEXEC;
	memcpy(image->interpreter, word, (size_t)(at - word));
	image->interpreter[at - word] = '\0';
	at += strspn(at, " \t");
	while (end > at && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	memcpy(image->argument, at, (size_t)(end - at));
	image->argument[end - at] = '\0';
	return 0;
}

/* The kernel keeps a program's path in the name of its file: PREFIX and that, or PREFIX alone where it is too long. */
#define PREFIX "remotec-exe:"
#define SHOWN "/memfd:" PREFIX			/* by /proc/<pid>/exe, and DELETED after it */
#define DELETED " (deleted)"
enum { MEMFD_NAME = 249 };

static int make_file(uint64_t handle)
{
	char name[MEMFD_NAME + 1] = PREFIX, path[RC_PATH_MAX];
	ssize_t size = rc_cwd_path(handle, -1, path, sizeof path);

	if (size > 0 && (size_t)size <= sizeof name - strlen(PREFIX))
		memcpy(name + strlen(PREFIX), path, (size_t)size);
	return rc_sys_memfd(name, MFD_CLOEXEC);
}

int rc_image_path(unsigned pid, char path[RC_IMAGE_PATH])
{
	char link[RC_FD_LINK], shown[strlen(SHOWN) + MEMFD_NAME + sizeof DELETED];
	ssize_t length = rc_sys_readlink(AT_FDCWD, rc_sys_exe_link_of(pid, link), shown, sizeof shown);

	length -= (ssize_t)strlen(SHOWN DELETED);
	if (length <= 0 || length >= RC_IMAGE_PATH || memcmp(shown, SHOWN "/", strlen(SHOWN "/")) ||
	    memcmp(shown + strlen(SHOWN) + length, DELETED, strlen(DELETED)))
		return -ENOENT;
	if (path) {
		memcpy(path, shown + strlen(SHOWN), (size_t)length);
		path[length] = '\0';
	}
	return (int)length;
}

static int fill(const struct rc_opened *opened)
{
	struct rc_description d = { .handle = opened->handle, .kind = opened->kind };
	int fd = make_file(opened->handle), high, bad;

	if (fd < 0)
		return fd;
	bad = rc_mapping_fill(&d, fd);
	high = bad ? bad : rc_sys_dup_high(fd, LOWEST, 1);
	rc_sys_close(fd);
	return high;
}

int rc_image_load(struct rc_location at, bool content, struct rc_image *image)
{
	char head[HEAD + 1] = "";
	struct iovec part = { head, HEAD };
	struct rc_opened opened;
	struct rc_known known;
	ssize_t got;
	int result = rc_lookup_open(at, O_RDONLY | O_NONBLOCK | O_CLOEXEC, 0, 0, &opened, &known);

	image->fd = -1;
	*image->interpreter = '\0';
	if (result)
		return result;
	result = S_ISREG(opened.stat.mode)
		 ? rc_call_access((struct rc_location){ opened.handle, "" }, X_OK, AT_EMPTY_PATH | AT_EACCESS) : -EACCES;
	got = result ? result : rc_cache_read(known.content, &part, 1, 0);
	if (got == -EAGAIN)
		got = rc_call_pread(opened.handle, &part, 1, 0);
	if (got >= 0 && (got < 4 || (memcmp(head, "\177ELF", 4) && memcmp(head, "#!", 2))))
		got = -ENOEXEC;
	if (got < 0) {
		result = (int)got;
	} else if (head[0] == '#') {
		result = parse_script(head, (size_t)got, image);
	} else if (content) {
		image->fd = fill(&opened);
		result = image->fd < 0 ? image->fd : 0;
	}
	rc_call_close(opened.handle);
	return result;
}
