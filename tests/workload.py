# SPDX-License-Identifier: MIT
"""Asks for everything that there is to ask of the files in a directory, whatever it is told.

    python tests/workload.py DIR

Exit status 3: something was written past the end of a buffer.
"""

import ctypes
import fcntl
import mmap
import os
import select
import struct
import sys

libc = ctypes.CDLL(None, use_errno=True)
CANARY = b"\xa5" * 4096
IOCTLS = {"FIONREAD": (0x541B, 4), "FIGETBSZ": (2, 4), "GETFLAGS": (0x80086601, 8), "FSGETXATTR": (0x801C581F, 28)}


def tried(act, *arguments):
    try:
        return act(*arguments)
    except (OSError, ValueError, OverflowError, UnicodeError):
        return None


def guarded(size, call):
    """call(buffer) has `size` bytes."""
    buffer = ctypes.create_string_buffer(CANARY, size + len(CANARY))
    ctypes.memset(ctypes.addressof(buffer), 0xA5, size + len(CANARY))
    call(buffer)
    if buffer.raw[size:] != CANARY:
        print(f"written past the end of {size} bytes by {call.__name__}", file=sys.stderr, flush=True)
        os._exit(3)


def look_at(path):
    tried(os.stat, path)
    tried(os.lstat, path)
    tried(os.access, path, os.R_OK)
    tried(os.statvfs, path)
    tried(os.listxattr, path)
    tried(os.getxattr, path, "user.x")
    tried(os.pathconf, path, "PC_NAME_MAX")
    tried(os.path.realpath, path)
    raw = os.fsencode(path)

    def readlink(b):
        libc.readlink(raw, b, 16)

    def getxattr(b):
        libc.getxattr(raw, b"user.x", b, 16)

    def listxattr(b):
        libc.listxattr(raw, b, 16)

    for call in (readlink, getxattr, listxattr):
        guarded(16, call)


def read_all(path):
    fd = tried(os.open, path, os.O_RDONLY | os.O_NONBLOCK)
    if fd is None:
        return
    for number, size in IOCTLS.values():
        def ioctl(b, number=number):
            libc.ioctl(fd, ctypes.c_ulong(number), b)

        guarded(size, ioctl)
    tried(os.fstat, fd)
    for _ in range(6):
        def read(b):
            libc.read(fd, b, 1000)

        guarded(1000, read)
    tried(os.lseek, fd, 0, os.SEEK_SET)
    total = 0
    while (data := tried(os.read, fd, 100000)) and total < 8 << 20:
        total += len(data)
    for whence in (os.SEEK_END, os.SEEK_DATA, os.SEEK_HOLE, os.SEEK_CUR):
        tried(os.lseek, fd, 0, whence)

    def pread(b):
        libc.pread(fd, b, 5000, ctypes.c_long(100))

    guarded(5000, pread)
    tried(fcntl.flock, fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    tried(fcntl.lockf, fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    tried(fcntl.fcntl, fd, fcntl.F_GETLK, struct.pack("hhqqi4x", fcntl.F_RDLCK, 0, 0, 0, 0))
    tried(fcntl.fcntl, fd, fcntl.F_SETFL, os.O_NONBLOCK)
    tried(os.posix_fadvise, fd, 0, 0, os.POSIX_FADV_WILLNEED)
    tried(os.readlink, f"/proc/self/fd/{fd}")
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    tried(poll.poll, 50)
    tried(os.close, fd)


def map_it(path):
    """In a process of its own: what can't be fetched is SIGBUS."""
    child = os.fork()
    if not child:
        try:
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as m:
                for at in list(range(0, min(len(m), 1 << 22), 65536)) + [len(m) - 1, len(m) // 2]:
                    m[at]
        except (OSError, ValueError, OverflowError, IndexError):
            pass
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in (0, 7, 135):
        print(f"mapping {path}: status {status}", file=sys.stderr, flush=True)
        os._exit(4)


def list_it(path):
    seen = 0
    tried(os.listdir, path)
    scan = tried(os.scandir, path)
    if scan is not None:
        while seen < 2000:
            try:
                entry = next(scan)
            except (StopIteration, OSError):
                break
            seen += 1
            tried(entry.stat)
        scan.close()
    fd = tried(os.open, path, os.O_RDONLY | os.O_DIRECTORY)
    if fd is not None:
        for size in (64, 4096, 1 << 20):
            for _ in range(20):
                ended = []

                def getdents(b, size=size, ended=ended):
                    got = libc.syscall(217, fd, b, size)
                    ended.append(got <= 0)
                    at = 0
                    while at < got:
                        (length,) = struct.unpack_from("H", b.raw, at + 16)
                        if not length or at + length > got:
                            print(f"a record of {length} bytes at {at} of {got}", file=sys.stderr, flush=True)
                            os._exit(3)
                        at += length

                guarded(size, getdents)
                if ended[0]:
                    break
        tried(os.fchdir, fd)
        tried(os.getcwd)

        def getcwd(b):
            libc.getcwd(b, 40)

        guarded(40, getcwd)
        tried(os.chdir, "..")
        tried(os.getcwd)
        tried(os.chdir, "/")
        tried(os.close, fd)


def watch(path):
    fd = libc.inotify_init1(os.O_NONBLOCK)
    if fd < 0:
        return
    wd = libc.inotify_add_watch(fd, os.fsencode(path), 0xFFF)
    for name in ("text", "one", "many"):
        tried(os.stat, os.path.join(path, name))
        tried(os.close, tried(os.open, os.path.join(path, name), os.O_RDONLY) or -1)

        def read(b):
            libc.read(fd, b, 300)

        guarded(300, read)
    libc.inotify_rm_watch(fd, wd)
    tried(os.close, fd)


def main(root):
    names = tried(os.listdir, root) or []
    for name in sorted({*names, "text", "bin", "sparse", "many", "link", "script"})[:60]:
        path = os.path.join(root, name)
        if "fifo" in name:
            continue
        look_at(path)
        if tried(os.path.isdir, path):
            list_it(path)
        else:
            read_all(path)
            map_it(path)
    list_it(root)
    watch(root)


if __name__ == "__main__":
    main(sys.argv[1])
