/* SPDX-License-Identifier: MIT
 *
 * What is asked about file systems: statfs(2), statvfs(3), pathconf(3).
 */
#include "preload.h"

#include <string.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define FITS(field, value) (st.field = (__typeof__(st.field))(value), (uint64_t)st.field == (uint64_t)(value))
#define COUNTS(from) \
	(FITS(f_blocks, from->blocks) && FITS(f_bfree, from->bfree) && FITS(f_bavail, from->bavail) && \
	 FITS(f_files, from->files) && FITS(f_ffree, from->ffree))

#define PUT_STATFS(function, form) \
	int function(const struct rc_statfs *from, void *to) \
	{ \
		form st; \
		memset(&st, 0, sizeof st); \
		st.f_type = (__typeof__(st.f_type))from->type; \
		st.f_bsize = (__typeof__(st.f_bsize))from->bsize; \
		st.f_frsize = (__typeof__(st.f_frsize))from->frsize; \
		st.f_namelen = (__typeof__(st.f_namelen))from->namelen; \
		st.f_flags = (__typeof__(st.f_flags))from->mount_flags; \
		memcpy(&st.f_fsid, (int32_t[]){ (int32_t)from->fsid, (int32_t)(from->fsid >> 32) }, sizeof st.f_fsid); \
		return COUNTS(from) ? rc_copy_out(to, &st, sizeof st) : -EOVERFLOW; \
	}
PUT_STATFS(rc_put_struct_statfs, struct statfs)

/* The kernel's flag that says that there are flags is libc's own affair. */
enum { FLAGS_VALID = 0x20 };

/* f_type follows f_namemax since glibc 2.39 and musl 1.2.4; before that it's one of the spare words. */
#define PUT_STATVFS(function, form) \
	int function(const struct rc_statfs *from, void *to) \
	{ \
		uint32_t type = (uint32_t)from->type; \
		form st; \
		memset(&st, 0, sizeof st); \
		st.f_bsize = (unsigned long)from->bsize; \
		st.f_frsize = (unsigned long)(from->frsize ? from->frsize : from->bsize); \
		st.f_favail = (__typeof__(st.f_favail))from->ffree; \
		st.f_fsid = (unsigned long)from->fsid; \
		st.f_flag = (unsigned long)from->mount_flags & ~(unsigned long)FLAGS_VALID; \
		st.f_namemax = (unsigned long)from->namelen; \
		memcpy((char *)&st + offsetof(form, f_namemax) + sizeof st.f_namemax, &type, sizeof type); \
		return COUNTS(from) ? rc_copy_out(to, &st, sizeof st) : -EOVERFLOW; \
	}
PUT_STATVFS(rc_put_struct_statvfs, struct statvfs)
#ifdef __GLIBC__
PUT_STATFS(rc_put_struct_statfs64, struct statfs64)
PUT_STATVFS(rc_put_struct_statvfs64, struct statvfs64)
#endif

int rc_remote_statfs(const char *call, const struct rc_target *t, rc_put_statfs *put, void *to)
{
	struct rc_statfs statfs;
	int result;

	rc_debug("%s() on remote file %s", call, t->given);
	result = rc_call_statfs(t->at, t->extra, &statfs);
	return result < 0 ? result : put(&statfs, to);
}

int rc_remote_fstatfs(const char *call, struct rc_description *d, int fd, rc_put_statfs *put, void *to)
{
	struct rc_statfs statfs;
	int result;

	rc_debug("%s() on remote fd %d", call, fd);
	result = rc_call_statfs((struct rc_location){ d->handle, "" }, AT_EMPTY_PATH, &statfs);
	return result < 0 ? result : put(&statfs, to);
}

/* ------------------------------------------------------------------------------------------------ pathconf */

RC_EXPORT long pathconf(const char *path, int name)
{
	struct rc_target t;
	int64_t value;
	int side;

	if (!rc_ready())
		return rc_pass_pathconf()(path, name);
	side = rc_locate(AT_FDCWD, path, 0, &t);
	if (side == 0) {
		rc_count_local();
		return rc_next_pathconf(t.instead ? t.instead : path, name);
	}
	if (side > 0) {
		rc_debug("pathconf() on remote file %s", t.given);
		side = (int)RC_SPAN("pathconf", t.given, -1, t.at.directory, rc_call_pathconf(t.at, t.extra, name, &value));
	}
	return rc_finish(side) < 0 ? -1 : (long)value;
}

RC_EXPORT long fpathconf(int fd, int name)
{
	struct rc_description *d;
	int64_t value;
	int result;

	if (!rc_ready())
		return rc_pass_fpathconf()(fd, name);
	d = rc_fdtable_pin(fd);
	if (!d) {
		rc_count_local();
		return rc_next_fpathconf(fd, name);
	}
	rc_debug("fpathconf() on remote fd %d", fd);
	result = (int)RC_SPAN_ON("fpathconf", fd, d,
				 rc_call_pathconf((struct rc_location){ d->handle, "" }, AT_EMPTY_PATH, name, &value));
	return rc_finish(result) < 0 ? -1 : (long)value;
}
