/* SPDX-License-Identifier: MIT */
#include "supervise_layout.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/sysmacros.h>

/* asm/stat.h and asm/statfs.h of i386, whose longs have four bytes and whose structures no others than four-byte alignment. */
#pragma pack(push, 4)
struct old_stat {
	uint16_t st_dev, st_ino, st_mode, st_nlink, st_uid, st_gid, st_rdev;
	uint16_t pad;
	uint32_t st_size;
	int32_t atime, mtime, ctime;
};
struct narrow_stat {
	uint32_t st_dev, st_ino;
	uint16_t st_mode, st_nlink, st_uid, st_gid;
	uint32_t st_rdev, st_size, st_blksize, st_blocks;
	int32_t atime;
	uint32_t atime_nsec;
	int32_t mtime;
	uint32_t mtime_nsec;
	int32_t ctime;
	uint32_t ctime_nsec, unused[2];
};
struct narrow_stat64 {
	uint64_t st_dev;
	uint32_t pad0, ino_again, st_mode, st_nlink, st_uid, st_gid;
	uint64_t st_rdev;
	uint32_t pad1;
	int64_t st_size;
	uint32_t st_blksize;
	uint64_t st_blocks;
	int32_t atime;
	uint32_t atime_nsec;
	int32_t mtime;
	uint32_t mtime_nsec;
	int32_t ctime;
	uint32_t ctime_nsec;
	uint64_t st_ino;
};
struct narrow_statfs {
	uint32_t type, bsize, blocks, bfree, bavail, files, ffree;
	int32_t fsid[2];
	uint32_t namelen, frsize, flags, spare[4];
};
struct narrow_statfs64 {
	uint32_t type, bsize;
	uint64_t blocks, bfree, bavail, files, ffree;
	int32_t fsid[2];
	uint32_t namelen, frsize, flags, spare[4];
};
#pragma pack(pop)
_Static_assert(sizeof(struct old_stat) == 32 && sizeof(struct narrow_stat) == 64 && sizeof(struct narrow_stat64) == 96,
	       "as the kernel has them");
_Static_assert(sizeof(struct narrow_statfs) == 64 && sizeof(struct narrow_statfs64) == 84, "as the kernel has them");

#define FITS(field, value) (st.field = (__typeof__(st.field))(value), (int64_t)st.field == (int64_t)(value))

#define COMMON(from) \
	(FITS(st_ino, from->ino) && FITS(st_nlink, from->nlink) && FITS(st_size, from->size) && \
	 FITS(atime, from->atime.sec) && FITS(mtime, from->mtime.sec) && FITS(ctime, from->ctime.sec))

#define NANOSECONDS(from) \
	st.atime_nsec = from->atime.nsec; \
	st.mtime_nsec = from->mtime.nsec; \
	st.ctime_nsec = from->ctime.nsec

/* As the kernel packs a device number of 32 bits. */
static uint32_t device(uint32_t major, uint32_t minor)
{
	return (minor & 0xff) | major << 8 | (minor & ~0xffu) << 12;
}

static int put(const struct rc_notice *notice, uint64_t to, const void *from, size_t size)
{
	return rc_target_put(notice, to, from, size) == (ssize_t)size ? 0 : -EFAULT;
}

static int put_old(const struct rc_notice *notice, const struct rc_stat *from, uint64_t to)
{
	struct old_stat st = { .st_dev = (uint16_t)device(from->dev_major, from->dev_minor), .st_mode = (uint16_t)from->mode,
			       .st_uid = (uint16_t)from->uid, .st_gid = (uint16_t)from->gid,
			       .st_rdev = (uint16_t)device(from->rdev_major, from->rdev_minor) };

	return from->size <= INT32_MAX && COMMON(from) ? put(notice, to, &st, sizeof st) : -EOVERFLOW;
}

static int put_narrow(const struct rc_notice *notice, const struct rc_stat *from, uint64_t to)
{
	struct narrow_stat st = { .st_dev = device(from->dev_major, from->dev_minor), .st_mode = (uint16_t)from->mode,
				  .st_uid = from->uid > 0xffff ? 65534 : (uint16_t)from->uid,
				  .st_gid = from->gid > 0xffff ? 65534 : (uint16_t)from->gid,
				  .st_rdev = device(from->rdev_major, from->rdev_minor), .st_blksize = from->blksize };

	NANOSECONDS(from);
	return from->size <= INT32_MAX && COMMON(from) && FITS(st_blocks, from->blocks) ? put(notice, to, &st, sizeof st)
											 : -EOVERFLOW;
}

static int put_stat64(const struct rc_notice *notice, const struct rc_stat *from, uint64_t to)
{
	struct narrow_stat64 st = { .st_dev = device(from->dev_major, from->dev_minor), .ino_again = (uint32_t)from->ino,
				    .st_mode = from->mode, .st_uid = from->uid, .st_gid = from->gid,
				    .st_rdev = device(from->rdev_major, from->rdev_minor), .st_blksize = from->blksize,
				    .st_blocks = from->blocks };

	NANOSECONDS(from);
	return COMMON(from) ? put(notice, to, &st, sizeof st) : -EOVERFLOW;
}

static int put_wide(const struct rc_notice *notice, const struct rc_stat *from, uint64_t to)
{
	struct stat st = { .st_dev = makedev(from->dev_major, from->dev_minor), .st_ino = from->ino, .st_mode = from->mode,
			   .st_nlink = from->nlink, .st_uid = from->uid, .st_gid = from->gid,
			   .st_rdev = makedev(from->rdev_major, from->rdev_minor), .st_size = (off_t)from->size,
			   .st_blksize = (__typeof__(st.st_blksize))from->blksize, .st_blocks = (blkcnt_t)from->blocks,
			   .st_atim = { (time_t)from->atime.sec, (long)from->atime.nsec },
			   .st_mtim = { (time_t)from->mtime.sec, (long)from->mtime.nsec },
			   .st_ctim = { (time_t)from->ctime.sec, (long)from->ctime.nsec } };

	return put(notice, to, &st, sizeof st);
}

int rc_put_stat_as(const struct rc_notice *notice, const struct rc_stat *from, enum rc_layout layout, uint64_t to)
{
	if (layout == RC_LAYOUT_OLD)
		return put_old(notice, from, to);
	if (layout == RC_LAYOUT_STAT64)
		return put_stat64(notice, from, to);
	return notice->abi->narrow ? put_narrow(notice, from, to) : put_wide(notice, from, to);
}

#define STATFS(form) \
	form st; \
	memset(&st, 0, sizeof st); \
	if (!FITS(blocks, from->blocks) || !FITS(bfree, from->bfree) || !FITS(bavail, from->bavail) || \
	    !FITS(files, from->files) || !FITS(ffree, from->ffree)) \
		return -EOVERFLOW; \
	st.type = (uint32_t)from->type; \
	st.bsize = (uint32_t)from->bsize; \
	st.frsize = (uint32_t)from->frsize; \
	st.namelen = (uint32_t)from->namelen; \
	st.flags = (uint32_t)from->mount_flags; \
	memcpy(st.fsid, &from->fsid, sizeof st.fsid); \
	return put(notice, to, &st, sizeof st)

int rc_put_statfs_as(const struct rc_notice *notice, const struct rc_statfs *from, enum rc_layout layout, uint64_t to)
{
	if (layout == RC_LAYOUT_STAT64) {
		STATFS(struct narrow_statfs64);
	}
	if (notice->abi->narrow) {
		STATFS(struct narrow_statfs);
	}
	struct statfs wide = { .f_type = (long)from->type, .f_bsize = (long)from->bsize, .f_blocks = from->blocks,
			       .f_bfree = from->bfree, .f_bavail = from->bavail, .f_files = from->files,
			       .f_ffree = from->ffree, .f_namelen = (long)from->namelen,
			       .f_frsize = (long)from->frsize, .f_flags = (long)from->mount_flags };

	memcpy(&wide.f_fsid, &from->fsid, sizeof wide.f_fsid);
	return put(notice, to, &wide, sizeof wide);
}
