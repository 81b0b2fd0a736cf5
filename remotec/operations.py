# SPDX-License-Identifier: MIT
"""One short function per operation: the only Python that touches the served files.

A handler takes (session, request) and returns the reply's fields as a tuple, or its bytes; it raises OSError, which
session.py turns into an errno name.  What may have to wait doesn't: for a descriptor to be ready (a fifo's reader, a
poll) it returns a `Waiting`, for a disk a `Blocking`.  Which requests as a whole may block, `may_block` says
beforehand: those are handled in a thread, so a handler changes nothing of its session's but in the `Then` that it
returns.  Everything here acts as on a file system that is mounted read-only.
"""

import ctypes
import errno
import fcntl
import functools
import os
import select
import stat as stat_bits
import struct
import sys
import threading
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

from . import protocol
from .mounts import DISK, MEMORY, SLOW

AT_FDCWD = -100
AT_EMPTY_PATH = protocol.AT_FLAGS["AT_EMPTY_PATH"]
AT_SYMLINK_NOFOLLOW = protocol.AT_FLAGS["AT_SYMLINK_NOFOLLOW"]
AT_EACCESS = protocol.AT_FLAGS["AT_EACCESS"]
RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_CACHED = (
    protocol.RESOLVE[name] for name in ("RESOLVE_BENEATH", "RESOLVE_IN_ROOT", "RESOLVE_CACHED")
)
_BASIC_STATS = 0x7FF
ALL_STAT = 0x1FFF  # STATX_BASIC_STATS | STATX_BTIME | STATX_MNT_ID
MOUNT_INDEX = [field.name for field in protocol.Stat.subcons].index("mnt_id")
_AT_STATX_DONT_SYNC, _STATX_MNT_ID = 0x4000, 0x1000
O_PATH = getattr(os, "O_PATH", 0o10000000)

_libc = ctypes.CDLL(None, use_errno=True)


def _function(name: str, result: Any, *arguments: Any) -> Optional[Callable[..., int]]:
    """libc's function, or None where this libc lacks it."""
    function = getattr(_libc, name, None)
    if function is not None:
        function.restype, function.argtypes = result, arguments
    return function


_statx = _function("statx", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_uint, ctypes.c_void_p)
_llistxattr = _function("llistxattr", ctypes.c_ssize_t, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_size_t)
_getdents64 = _function("getdents64", ctypes.c_ssize_t, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t)
_faccessat = _function("faccessat", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_int)
_syscall = _function("syscall", ctypes.c_long)
_inotify_init1 = _function("inotify_init1", ctypes.c_int, ctypes.c_int)
_inotify_add_watch = _function("inotify_add_watch", ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint32)
_inotify_rm_watch = _function("inotify_rm_watch", ctypes.c_int, ctypes.c_int, ctypes.c_int)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result


def fail(number: int) -> OSError:
    return OSError(number, os.strerror(number))


# ---------------------------------------------------------------------------------------------- translation


def _pairs(table: Dict[str, int], module: Any) -> List[Tuple[int, int]]:
    """(wire, host) of the names that this machine's Python knows, widest first."""
    found = [(wire, getattr(module, name)) for name, wire in table.items() if hasattr(module, name)]
    return sorted(found, key=lambda pair: -pair[0])


_OPEN_FLAGS = _pairs(protocol.OPEN_FLAGS, os)
_WHENCE = dict(_pairs(protocol.WHENCE, os))
_POLL = _pairs(protocol.POLL_EVENTS, select)


def open_flags(wire: int) -> int:
    """The protocol's open flags as this machine's."""
    host = wire & 3
    for bits, flag in _OPEN_FLAGS:
        if wire & bits == bits:
            host |= flag
    return host & ~getattr(os, "O_DIRECT", 0)  # wants aligned buffers: the program's are, ours needn't be


def _translate(bits: int, pairs: "List[Tuple[int, int]]") -> int:
    result = 0
    for one, other in pairs:
        if bits & one:
            result |= other
    return result


# -------------------------------------------------------------------------------------------------- handles


class Handle:
    """An open file description of the server's, held for a client."""

    __slots__ = ("fd", "kind", "flags", "owner", "mount", "speed", "made_up", "lock", "_users", "_closing")

    def __init__(
        self,
        fd: int,
        kind: int,
        flags: int,
        owner: Optional[int],
        mount: int = 0,
        speed: int = MEMORY,
        made_up: bool = False,
    ) -> None:
        self.fd = fd
        self.kind = kind
        self.flags = flags  # the protocol's, as the program opened it
        self.owner = owner  # the client that alone has it; None: the session
        self.mount = mount  # its id
        self.speed = speed  # mounts.MEMORY, DISK or SLOW
        self.made_up = made_up  # a regular file whose content somebody computes while it is read
        self.lock = threading.Lock()  # held where the descriptor's own position is borrowed
        self._users = 0
        self._closing = -1

    def hold(self) -> None:
        """Keeps the descriptor from being closed, and its number from being another file's, until `release`."""
        self._users += 1

    def release(self) -> int:
        """The descriptor, if it is to be closed now; else -1."""
        self._users -= 1
        fd = -1 if self._users else self._closing
        if not self._users:
            self._closing = -1
        return fd

    def close(self) -> int:
        """As release: while somebody holds it, it stays open for them."""
        fd, self.fd = self.fd, -1  # who still waits to read it must not read what gets its number next
        if self._users:
            self._closing, fd = fd, -1
        return fd

    @property
    def nonblocking(self) -> bool:
        return bool(self.flags & protocol.OPEN_FLAGS["O_NONBLOCK"])

    def path(self) -> bytes:
        """Where its file is now, on this machine; ENOENT where it was removed."""
        path = os.readlink(b"/proc/self/fd/%d" % self.fd)
        if path.endswith(b" (deleted)") and os.fstat(self.fd).st_nlink == 0:
            raise fail(errno.ENOENT)
        return path


class Waiting(NamedTuple):
    """A reply that has to wait for `fd` to be ready for `events` (select.POLL*), at most timeout_ms (-1: for ever).

    `finish` is then called with the events that came (0: the time is over) and gives the reply, or another Waiting;
    where it won't be, `give_up` is."""

    fd: int
    events: int
    timeout_ms: int
    finish: "Callable[[int], Any]"
    give_up: "Callable[[], object]" = lambda: None


class Deferred(NamedTuple):
    """A reply that waits for something else to happen in the server.

    `begin(done)` is called first, and returns what ends the wait; done(0), called once and on the loop, has `finish`
    give the reply. Where it won't be, `give_up` is called."""

    begin: "Callable[[Callable[[int], None]], Callable[[], object]]"
    finish: "Callable[[int], Any]"
    give_up: "Callable[[], object]"


class Blocking(NamedTuple):
    """A reply that has to wait for a file system: a thread calls `act`, which gives it."""

    mount: int
    act: "Callable[[], Any]"


class Then(NamedTuple):
    """The end of a reply that changes the session: `finish` gives it; where it won't be called, `give_up` is."""

    finish: "Callable[[], Any]"
    give_up: "Callable[[], object]"


class Bytes(NamedTuple):
    """A reply that is one Blob; kept apart so that its bytes are not copied."""

    data: Any


# ---------------------------------------------------------------------------------------------------- paths


class _OpenHow(ctypes.Structure):
    _fields_ = [("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64)]


def _openat2_number() -> int:
    if os.uname().machine.startswith("mips"):
        return 5437 if sys.maxsize > 2**32 else 4437
    return 437


_OPENAT2 = _openat2_number()


def openat2(dirfd: int, path: bytes, flags: int, mode: int, resolve: int) -> int:
    """openat2(2); ENOSYS where the kernel lacks it."""
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    assert _syscall
    return _checked(
        _syscall(ctypes.c_long(_OPENAT2), ctypes.c_int(dirfd), ctypes.c_char_p(path), ctypes.byref(how),
                 ctypes.c_size_t(ctypes.sizeof(how)))  # fmt: skip
    )


def check_path(path: bytes) -> None:
    if b"\0" in path:
        raise fail(errno.EINVAL)
    if len(path) >= protocol.LIMITS["MAX_PATH"]:
        raise fail(errno.ENAMETOOLONG)


def look(dirfd: int, path: bytes, flags: int, resolve: int) -> int:
    """The id of the mount where the path leads, without waiting for any file system.

    OSError: EAGAIN, if it takes waiting to know; else what looking it up at once gives."""
    fd = openat2(dirfd, path, flags | O_PATH, 0, resolve | RESOLVE_CACHED)
    try:
        return status(fd, b"", AT_EMPTY_PATH | _AT_STATX_DONT_SYNC, _STATX_MNT_ID)[MOUNT_INDEX]
    finally:
        os.close(fd)


def _can_look() -> bool:
    """Linux 5.12 and later, where no filter forbids it."""
    try:
        return bool(look(AT_FDCWD, b"/", 0, 0))
    except OSError:
        return False


class Located:
    """A path ready for a system call: `dirfd` and `path` for the *at calls.

    Under --root it is an O_PATH descriptor, which the with block closes, and an empty path."""

    __slots__ = ("dirfd", "path", "flags", "_own")

    def __init__(self, session: Any, directory: int, path: bytes, flags: int) -> None:
        self._own = -1
        self.flags = flags
        check_path(path)
        self.dirfd = session.handles.get(directory).fd if directory else AT_FDCWD
        self.path = path
        if not path:
            if not directory or not flags & AT_EMPTY_PATH:
                raise fail(errno.ENOENT)
        elif session.root_fd is not None:
            nofollow = os.O_NOFOLLOW if flags & AT_SYMLINK_NOFOLLOW else 0
            inside = session.inside_root(directory, path)
            self._own = openat2(session.root_fd, inside, O_PATH | nofollow, 0, RESOLVE_IN_ROOT)
            self.dirfd, self.path = self._own, b""
            self.flags |= AT_EMPTY_PATH
        elif not directory and not path.startswith(b"/"):
            self.path = b"/" + path

    def __enter__(self) -> "Located":
        return self

    def __exit__(self, *exc: Any) -> None:
        if self._own >= 0:
            os.close(self._own)

    def name(self) -> bytes:
        """One absolute path for calls that take no dirfd; a symbolic link at its end is the caller's to follow."""
        if not self.path:
            return b"/proc/self/fd/%d" % self.dirfd
        if self.dirfd == AT_FDCWD or self.path.startswith(b"/"):
            return self.path
        return b"/proc/self/fd/%d/%s" % (self.dirfd, self.path)

    def by_name(self, call: Callable[[bytes, bool], Any]) -> Any:
        """call(name(), whether to follow); once more by a descriptor where the way through /proc may be too long."""
        try:
            return call(self.name(), not (self.flags & AT_SYMLINK_NOFOLLOW and self.path))
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.ENAMETOOLONG) or not self.path:
                raise
        flags = O_PATH | os.O_CLOEXEC | (os.O_NOFOLLOW if self.flags & AT_SYMLINK_NOFOLLOW else 0)
        self._own = os.open(self.path, flags, dir_fd=None if self.dirfd == AT_FDCWD else self.dirfd)
        self.dirfd, self.path = self._own, b""
        return call(self.name(), True)


# --------------------------------------------------------------------------------------------------- status

_STATX = struct.Struct("=IIQ IIIH2x QQQQ qI4x qI4x qI4x qI4x IIII QII Q")
_statx_buffer_size = 256


def _statx_call(dirfd: int, path: bytes, flags: int, mask: int) -> Tuple[int, ...]:
    """The fields of protocol.Stat, by statx(2)."""
    buffer = ctypes.create_string_buffer(_statx_buffer_size)
    assert _statx
    _checked(_statx(dirfd, path, flags, mask, buffer))
    fields = _STATX.unpack_from(buffer)
    return (*fields[:3], fields[10], *fields[3:10], *fields[11:])  # attributes_mask comes before nlink


def _from_os_stat(st: os.stat_result) -> Tuple[int, ...]:
    """The same from stat(2), for a kernel or libc without statx."""

    def split(ns: int) -> Tuple[int, int]:
        return divmod(ns, 10**9)

    owner = (st.st_nlink, st.st_uid, st.st_gid, st.st_mode)
    times = (*split(st.st_atime_ns), 0, 0, *split(st.st_ctime_ns), *split(st.st_mtime_ns))
    devices = (os.major(st.st_rdev), os.minor(st.st_rdev), os.major(st.st_dev), os.minor(st.st_dev))
    size = (st.st_ino, st.st_size, st.st_blocks)
    return (0x7FF, st.st_blksize, 0, 0, *owner, *size, *times, *devices, 0, 0, 0, 0)


def status(dirfd: int, path: bytes, flags: int, mask: int) -> Tuple[int, ...]:
    """protocol.Stat's fields of a path relative to dirfd; AT_EMPTY_PATH with an empty path: of dirfd itself."""
    if _statx:
        try:
            return _statx_call(dirfd, path, flags, mask)
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
    if not path:
        return _from_os_stat(os.stat(dirfd))
    return _from_os_stat(
        os.stat(path, dir_fd=None if dirfd == AT_FDCWD else dirfd, follow_symlinks=not flags & AT_SYMLINK_NOFOLLOW)
    )


CAN_LOOK = _can_look()


def stat(session: Any, request: Any) -> Tuple:
    with Located(session, request.directory, request.path, request.flags) as at:
        return (status(at.dirfd, at.path, at.flags, request.mask),)


def fstat(session: Any, request: Any) -> Tuple:
    return (status(session.handles.get(request.handle).fd, b"", AT_EMPTY_PATH, request.mask),)


def access(session: Any, request: Any) -> Tuple:
    mode, flags = request.mode, request.flags
    if mode & ~7:
        raise fail(errno.EINVAL)
    with Located(session, request.directory, request.path, flags) as at:
        assert _faccessat
        if at.path:
            _checked(_faccessat(at.dirfd, at.path, mode, flags & (AT_EACCESS | AT_SYMLINK_NOFOLLOW)))
        else:
            _checked(_faccessat(AT_FDCWD, at.name(), mode, flags & AT_EACCESS))
        if mode & 2:  # a read-only mount asks for permission first
            kind = stat_bits.S_IFMT(status(at.dirfd, at.path, at.flags & ~AT_EACCESS, 3)[7])
            if kind in (stat_bits.S_IFREG, stat_bits.S_IFDIR, stat_bits.S_IFLNK):
                raise fail(errno.EROFS)
    return ()


def readlink(session: Any, request: Any) -> Tuple:
    with Located(session, request.directory, request.path, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH) as at:
        try:
            return (os.readlink(at.path, dir_fd=None if at.dirfd == AT_FDCWD else at.dirfd),)
        except FileNotFoundError:
            if request.path and not at.path:  # of a descriptor, the kernel says so where it's no link
                raise fail(errno.EINVAL) from None
            raise


# ------------------------------------------------------------------------------------------------- open, read

_LEASE_WANTED, _LEASE_WANTED_FOR_REST = (
    protocol.LEASES[name] for name in ("LEASE_WANTED", "LEASE_WANTED_FOR_REST")
)
_POSITIONED_MAGIC_NOT = {0x9FA0, 0x62656572, 0x64626720, 0x74726163, 0x27E0EB, 0x63677270, 0x6165676C, 0x73636673}
"""Regular files that are made up as they are read: procfs, sysfs, debugfs, tracefs, cgroups, pstore, securityfs."""


def _kind_of(fd: int, st: Tuple[int, ...], flags: int) -> int:
    kinds = protocol.HANDLE_KINDS
    if flags & O_PATH:
        return kinds["KIND_PATH"]
    if stat_bits.S_ISDIR(st[7]):
        return kinds["KIND_DIRECTORY"]
    if stat_bits.S_ISREG(st[7]) and (st[9] or _filesystem_magic(fd) not in _POSITIONED_MAGIC_NOT):
        return kinds["KIND_POSITIONED"]
    return kinds["KIND_STREAM"]


def _look(dirfd: int, path: bytes, nofollow: int, resolve: int) -> Optional[Tuple[int, ...]]:
    """The attributes of what open would find; None: nothing."""
    try:
        if not resolve:
            return status(dirfd, path, AT_SYMLINK_NOFOLLOW if nofollow else 0, 0x7FF)
        fd = openat2(dirfd, path, O_PATH | (os.O_NOFOLLOW if nofollow else 0), 0, resolve)
    except FileNotFoundError:
        return None
    try:
        return status(fd, b"", AT_EMPTY_PATH, 0x7FF)
    finally:
        os.close(fd)


def _target(dirfd: int, path: bytes, resolve: int) -> Optional[bytes]:
    """Where a symbolic link leads; None: it's none."""
    flags = O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        if resolve:
            fd = openat2(dirfd, path, flags, 0, resolve)
        else:
            fd = os.open(path, flags, dir_fd=None if dirfd == AT_FDCWD else dirfd)
    except FileNotFoundError:
        return None
    try:
        return os.readlink(b"", dir_fd=fd)
    except FileNotFoundError:  # as the kernel says of a descriptor that is none
        return None
    finally:
        os.close(fd)


def _refuse_change(dirfd: int, path: bytes, wire: int, resolve: int) -> int:
    """What a read-only mount says to flags that would change something; else the flags less what means nothing."""
    creating, host = wire & protocol.OPEN_FLAGS["O_CREAT"], open_flags(wire)
    if creating and host & os.O_DIRECTORY and not host & O_PATH:  # as Linux 6.4 and later say, whatever is there
        raise fail(errno.EINVAL)
    if wire & protocol.OPEN_FLAGS["O_TMPFILE"] == protocol.OPEN_FLAGS["O_TMPFILE"]:
        if not host & 3:
            raise fail(errno.EINVAL)
        found = _look(dirfd, path, 0, resolve)
        raise fail(errno.ENOENT if not found else errno.EROFS if stat_bits.S_ISDIR(found[7]) else errno.ENOTDIR)
    writing = host & 3 or wire & protocol.OPEN_FLAGS["O_TRUNC"]
    if not (creating or writing) or host & O_PATH:
        return host
    exclusive = creating and wire & protocol.OPEN_FLAGS["O_EXCL"]
    head, name = os.path.split(path.rstrip(b"/"))
    parent = os.path.join(head, b".")
    if creating and path.endswith(b"/") and name not in (b"", b".", b".."):
        raise fail(errno.EISDIR if _look(dirfd, parent, 0, resolve) else errno.ENOENT)
    found = _look(dirfd, path, exclusive or host & os.O_NOFOLLOW, resolve)
    if found is None:
        target = creating and _target(dirfd, path, resolve)
        if target:  # what would be made is what the link leads to
            return _refuse_change(dirfd, os.path.join(head, target), wire, resolve)
        raise fail(errno.EROFS if creating and _look(dirfd, parent, 0, resolve) else errno.ENOENT)
    if exclusive:
        raise fail(errno.EEXIST)
    if stat_bits.S_ISDIR(found[7]):
        raise fail(errno.EISDIR)
    if host & os.O_DIRECTORY:
        raise fail(errno.ENOTDIR)
    if stat_bits.S_ISSOCK(found[7]):
        raise fail(errno.ENXIO)
    if stat_bits.S_ISLNK(found[7]):
        raise fail(errno.ELOOP)
    if writing:
        raise fail(errno.EROFS)
    return host & ~(os.O_CREAT | os.O_EXCL)


def open(session: Any, request: Any) -> Any:
    if request.directory and not request.path:
        return _reopen(session, request)
    dirfd, path, resolve = _starting_point(session, request.directory, request.path, request.resolve)
    flags = _refuse_change(dirfd, path, request.flags, resolve) | os.O_CLOEXEC
    if flags & O_PATH:  # openat2, unlike open, doesn't take what then means nothing
        flags &= O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    else:  # a fifo's open must not block us, nor its later reads: those wait for readiness first
        flags |= os.O_NOCTTY | os.O_NONBLOCK
    if resolve:
        return _opened(session, request, openat2(dirfd, path, flags, 0, resolve))
    return _opened(session, request, os.open(path, flags, dir_fd=None if dirfd == AT_FDCWD else dirfd))


def _starting_point(session: Any, directory: int, path: bytes, resolve: int) -> Tuple[int, bytes, int]:
    """dirfd, path and how to resolve it, as openat2 takes them."""
    if session.root_fd is None:
        at = Located(session, directory, path, 0)
        return at.dirfd, at.path, resolve
    check_path(path)
    if resolve & (RESOLVE_BENEATH | RESOLVE_IN_ROOT):  # kept below a directory that is below the root
        return session.handles.get(directory).fd if directory else session.root_fd, path, resolve
    return session.root_fd, session.inside_root(directory, path), resolve | RESOLVE_IN_ROOT


def _reopen(session: Any, request: Any) -> Any:
    """The file of an open handle once more, as open("/proc/self/fd/N") does."""
    if request.flags & 3 or request.flags & protocol.OPEN_FLAGS["O_TRUNC"]:
        raise fail(errno.EROFS)
    old = session.handles.get(request.directory)
    flags = open_flags(request.flags) & ~(os.O_CREAT | os.O_EXCL) | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
    return _opened(session, request, os.open(b"/proc/self/fd/%d" % old.fd, flags & ~os.O_NOFOLLOW))


def _take_lease(session: Any, request: Any, fd: int, st: Tuple[int, ...]) -> bool:
    """A read lease on a regular file that's just been opened; False: none is wanted, or to be had."""
    wanted = request.flags & (_LEASE_WANTED | _LEASE_WANTED_FOR_REST)
    if not wanted or request.flags & 3 or session.listener is None or not session.listener.willing():
        return False
    brought = min(request.prefetch, protocol.LIMITS["MAX_PREFETCH"])
    if not wanted & _LEASE_WANTED and st[protocol.STAT_SIZE_INDEX] <= brought:
        return False
    return session.server.mounts.speed(st[MOUNT_INDEX]) != SLOW and bool(session.server.leases.take(fd))


def _opened(session: Any, request: Any, fd: int) -> Any:
    leased = False
    try:
        st = status(fd, b"", AT_EMPTY_PATH, ALL_STAT)
        host = open_flags(request.flags)
        kind = _kind_of(fd, st, host)
        if kind == protocol.HANDLE_KINDS["KIND_POSITIONED"]:
            os.set_blocking(fd, True)
            leased = _take_lease(session, request, fd, st)
            if leased:  # as it is from here on
                st = status(fd, b"", AT_EMPTY_PATH, ALL_STAT)
        if stat_bits.S_ISFIFO(st[7]) and not host & (os.O_NONBLOCK | O_PATH):
            give_up = functools.partial(os.close, fd)
            return Waiting(fd, select.POLLIN, -1, lambda _: _issue(session, request, fd, kind, st, b""), give_up)
        data = b""
        if kind == protocol.HANDLE_KINDS["KIND_POSITIONED"] and not request.flags & 3:
            most = min(request.prefetch, protocol.LIMITS["MAX_PREFETCH"])
            if 0 < st[protocol.STAT_SIZE_INDEX] <= most:
                speed = session.server.mounts.speed(st[MOUNT_INDEX])
                data = read_at_once(fd, st[protocol.STAT_SIZE_INDEX], 0, speed) or b""
        elif kind == protocol.HANDLE_KINDS["KIND_DIRECTORY"] and request.prefetch:
            data = _listed(session, fd, min(request.prefetch, protocol.LIMITS["MAX_PREFETCH"]))
    except BaseException:
        os.close(fd)
        raise
    return Then(lambda: _issue(session, request, fd, kind, st, data, leased), functools.partial(os.close, fd))


def read_at_once(fd: int, count: int, offset: int, speed: int) -> Optional[bytes]:
    """What pread gives; None where a disk would have to be waited for.  Where that can't be known, it is."""
    buffer = bytearray(count)
    try:
        got = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        if got < count and offset + got < os.fstat(fd).st_size:
            return None
    except BlockingIOError:
        return None
    except OSError as error:
        if error.errno != errno.EOPNOTSUPP:
            raise
        if speed == DISK:
            return None
        got = os.preadv(fd, [buffer], offset)
    del buffer[got:]
    return bytes(buffer)


def _listed(session: Any, fd: int, most: int) -> bytes:
    """What READDIR would reply from the start on, as much as there is room for; nothing where there is hardly any."""
    if most < 4096:
        return b""
    try:
        listed: bytes = session.server.entries(fd, 0, 1000, _BASIC_STATS, most - 512)
        return listed
    except OSError:
        return b""


def _issue(
    session: Any, request: Any, fd: int, kind: int, st: Tuple[int, ...], data: bytes, leased: bool = False
) -> Tuple:
    mount = st[MOUNT_INDEX]
    made_up = kind == protocol.HANDLE_KINDS["KIND_STREAM"] and stat_bits.S_ISREG(st[7])
    flags = request.flags & ~(_LEASE_WANTED | _LEASE_WANTED_FOR_REST)
    handle = Handle(fd, kind, flags, session.client, mount, session.server.mounts.speed(mount), made_up)
    try:
        number = session.add_handle(handle)
    except BaseException:
        session.server.discard(handle)
        raise
    if leased and session.listener.grant(number, handle):
        kind |= protocol.LEASES["LEASE_HELD"]
    return (number, kind, st, data)


def close(session: Any, request: Any) -> Tuple:
    session.close_handle(request.handle)
    return ()


def share(session: Any, request: Any) -> Tuple:
    blob = request.handles
    if len(blob) % 8 or len(blob) // 8 > protocol.LIMITS["MAX_SHARE"]:
        raise fail(errno.EINVAL)
    for (number,) in struct.iter_unpack(">Q", blob):
        try:
            session.handles.get(number).owner = None
        except OSError:
            pass  # closed meanwhile
    return ()


def _readable(session: Any, number: int) -> Handle:
    handle: Handle = session.handles.get(number)
    kinds = protocol.HANDLE_KINDS
    if handle.kind == kinds["KIND_PATH"] or handle.flags & 3 == 1:
        raise fail(errno.EBADF)
    if handle.kind == kinds["KIND_DIRECTORY"]:
        raise fail(errno.EISDIR)
    return handle


def pread(session: Any, request: Any) -> Any:
    handle = _readable(session, request.handle)
    count = min(request.count, protocol.LIMITS["MAX_DATA"])
    if handle.kind == protocol.HANDLE_KINDS["KIND_POSITIONED"] and handle.speed != SLOW and request.offset >= 0:
        data = read_at_once(handle.fd, count, request.offset, handle.speed)
        if data is None:
            return Blocking(handle.mount, lambda: Bytes(os.pread(handle.fd, count, request.offset)))
        return Bytes(data)
    return Bytes(os.pread(handle.fd, count, request.offset))


def read(session: Any, request: Any) -> Any:
    handle = _readable(session, request.handle)
    count = min(request.count, protocol.LIMITS["MAX_DATA"])
    if handle.kind == protocol.HANDLE_KINDS["KIND_WATCH"]:
        return _read_events(session, handle, count)

    def finish(_events: int) -> Any:
        try:
            return Bytes(os.read(handle.fd, count))
        except BlockingIOError:
            if handle.nonblocking:
                raise
            return Waiting(handle.fd, select.POLLIN, -1, finish)

    return finish(0)


def lseek(session: Any, request: Any) -> Tuple:
    handle = session.handles.get(request.handle)
    if handle.kind == protocol.HANDLE_KINDS["KIND_PATH"]:
        raise fail(errno.EBADF)
    if request.whence not in _WHENCE:
        raise fail(errno.EINVAL)
    return (os.lseek(handle.fd, request.offset, _WHENCE[request.whence]),)


def advise(session: Any, request: Any) -> Tuple:
    handle = session.handles.get(request.handle)
    for name, wire in protocol.ADVICE.items():
        if wire == request.advice:
            os.posix_fadvise(handle.fd, request.offset, request.length, getattr(os, name))
            return ()
    raise fail(errno.EINVAL)


def extents(session: Any, request: Any) -> Tuple:
    handle = session.handles.get(request.handle)
    end = request.offset + request.length
    if request.offset < 0 or request.length < 0:
        raise fail(errno.EINVAL)
    with handle.lock:
        return (_extents(handle.fd, request.offset, end, min(request.count, 255)),)


def _extents(fd: int, at: int, end: int, most: int) -> List[Tuple[int, int]]:
    found: List[Tuple[int, int]] = []
    keep = os.lseek(fd, 0, os.SEEK_CUR)
    try:
        while at < end and len(found) < most:
            start = os.lseek(fd, at, os.SEEK_DATA)
            stop = os.lseek(fd, start, os.SEEK_HOLE)
            if start >= end:
                break
            found.append((start, min(stop, end) - start))
            at = stop
    except OSError as error:
        if error.errno != errno.ENXIO:  # no data after `at`
            raise
    finally:
        os.lseek(fd, keep, os.SEEK_SET)
    return found


# ------------------------------------------------------------------------------------------------ directories

_DIRENT = struct.Struct("=QqHB")
_DIRENT_BYTES = 64 * 1024


def readdir(session: Any, request: Any) -> bytes:
    handle = session.handles.get(request.handle)
    if handle.kind == protocol.HANDLE_KINDS["KIND_PATH"]:
        raise fail(errno.EBADF)
    if handle.kind != protocol.HANDLE_KINDS["KIND_DIRECTORY"]:
        raise fail(errno.ENOTDIR)
    with handle.lock:
        listed: bytes = session.server.entries(
            handle.fd, request.offset, request.count, request.mask, protocol.LIMITS["MAX_DATA"]
        )
        return listed


def entries(fd: int, offset: int, most: int, mask: int, room: int) -> bytes:
    """READDIR's reply, built."""
    return protocol.READDIR.reply.build(*_entries(fd, offset, most, mask, room))


def _entries(fd: int, offset: int, most: int, mask: int, room: int) -> Tuple:
    """Its fields: at most `most` entries, and no more once they take `room` bytes."""
    os.lseek(fd, offset, os.SEEK_SET)
    buffer = ctypes.create_string_buffer(_DIRENT_BYTES)
    entries: List[Tuple] = []
    size = 0
    assert _getdents64
    while len(entries) < most and size < room:
        got = _checked(_getdents64(fd, buffer, _DIRENT_BYTES))
        if not got:
            return (1, entries)
        raw, at = buffer.raw, 0
        while at < got and len(entries) < most and size < room:
            ino, offset, length, kind = _DIRENT.unpack_from(raw, at)
            name = raw[at + 19 : raw.index(b"\0", at + 19)]
            attributes = _attributes(fd, name, mask)
            flags = _NO_XATTRS if attributes and _without_xattrs(fd, name) else 0
            entries.append((ino, offset, kind, flags, name, attributes))
            size += len(name) + len(attributes) + 32
            at += length
    return (0, entries)


def _attributes(dirfd: int, name: bytes, mask: int) -> bytes:
    if not mask:
        return b""
    try:
        return protocol.STAT.build(*status(dirfd, name, AT_SYMLINK_NOFOLLOW, mask))
    except OSError:
        return b""  # gone meanwhile, or not ours to look at


_NO_XATTRS = protocol.ENTRY_FLAGS["ENTRY_NO_XATTRS"]


def _without_xattrs(dirfd: int, name: bytes) -> bool:
    """Whether the entry has none; unknown is false, as on a file system without them, whose error programs look at."""
    return _llistxattr is not None and _llistxattr(b"/proc/self/fd/%d/%b" % (dirfd, name), None, 0) == 0


# ------------------------------------------------------------------------------------------------- attributes


def _sized(request: Any, value: bytes) -> Tuple:
    if request.size and len(value) > request.size:
        raise fail(errno.ERANGE)
    return (len(value), value if request.size else b"")


def getxattr(session: Any, request: Any) -> Tuple:
    if not request.name or len(request.name) > protocol.LIMITS["MAX_NAME"] or b"\0" in request.name:
        raise fail(errno.ERANGE)
    with Located(session, request.directory, request.path, request.flags) as at:
        return _sized(request, at.by_name(lambda name, follow: os.getxattr(name, request.name, follow_symlinks=follow)))


def listxattr(session: Any, request: Any) -> Tuple:
    with Located(session, request.directory, request.path, request.flags) as at:
        names = at.by_name(lambda name, follow: os.listxattr(name, follow_symlinks=follow))
    return _sized(request, b"".join(os.fsencode(name) + b"\0" for name in names))


class _Statfs(ctypes.Structure):
    """struct statfs where f_type is a long (not s390x: there it is an int)."""

    _long = ctypes.c_uint if os.uname().machine == "s390x" else ctypes.c_long
    _fields_ = [
        ("type", _long), ("bsize", _long), ("blocks", ctypes.c_uint64), ("bfree", ctypes.c_uint64),
        ("bavail", ctypes.c_uint64), ("files", ctypes.c_uint64), ("ffree", ctypes.c_uint64), ("fsid", ctypes.c_int * 2),
        ("namelen", _long), ("frsize", _long), ("flags", _long), ("spare", _long * 8),
    ]  # fmt: skip


_fstatfs64 = _function("fstatfs64", ctypes.c_int, ctypes.c_int, ctypes.c_void_p)


def _statfs_of(fd: int) -> _Statfs:
    result = _Statfs()
    if _fstatfs64 is None:
        raise fail(errno.ENOSYS)
    _checked(_fstatfs64(fd, ctypes.byref(result)))
    return result


def _filesystem_magic(fd: int) -> int:
    try:
        return int(_statfs_of(fd).type) & 0xFFFFFFFF
    except OSError:
        return 0


def statfs(session: Any, request: Any) -> Tuple:
    with Located(session, request.directory, request.path, request.flags) as at:
        fd = at.dirfd
        if at.path:
            fd = os.open(at.path, O_PATH | os.O_CLOEXEC, dir_fd=None if fd == AT_FDCWD else fd)
        try:
            s = _statfs_of(fd)
        finally:
            if at.path:
                os.close(fd)
    fsid = s.fsid[0] & 0xFFFFFFFF | (s.fsid[1] & 0xFFFFFFFF) << 32
    counts = (s.bsize, s.frsize, s.blocks, s.bfree, s.bavail, s.files, s.ffree)
    return (s.type & 0xFFFFFFFF, *counts, fsid, s.namelen, s.flags & 0xFFFFFFFF)


_PATHCONF = {wire: os.pathconf_names.get(name[1:]) for name, wire in protocol.PATHCONF.items()}


def pathconf(session: Any, request: Any) -> Tuple:
    number = _PATHCONF.get(request.name)
    if number is None:
        raise fail(errno.EINVAL)
    with Located(session, request.directory, request.path, request.flags) as at:
        return (at.by_name(lambda name, _: os.pathconf(name, number)),)


def getpath(session: Any, request: Any) -> Tuple:
    return (session.seen_from_root(session.handles.get(request.handle).path()),)


def describe(session: Any, request: Any) -> Tuple:
    handle = session.handles.get(request.handle)
    st = status(handle.fd, b"", AT_EMPTY_PATH, ALL_STAT)
    try:
        path = session.seen_from_root(handle.path())
    except FileNotFoundError:
        path = b""
    return (handle.kind, handle.flags, st, path)


def set_flags(session: Any, request: Any) -> Tuple:
    handle = session.handles.get(request.handle)
    keep = protocol.OPEN_FLAGS["O_NONBLOCK"] | protocol.OPEN_FLAGS["O_APPEND"]
    handle.flags = handle.flags & ~keep | request.flags & keep
    return ()


def _ioctl_table() -> Dict[int, Tuple[int, int]]:
    """wire -> (this machine's request, bytes that it reads); by the kernel's _IOR rule, which has two layouts."""
    odd = os.uname().machine.startswith(("mips", "ppc", "sparc", "alpha"))
    word = ctypes.sizeof(ctypes.c_long)

    def ior(kind: int, number: int, size: int) -> int:
        return (0x40000000 if odd else 0x80000000) | size << 16 | kind << 8 | number

    def io(kind: int, number: int) -> int:
        return (0x20000000 if odd else 0) | kind << 8 | number

    fionread = 0x467F if os.uname().machine.startswith("mips") else ior(ord("f"), 127, 4) if odd else 0x541B
    host = {
        "FIONREAD": (fionread, 4),
        "FIGETBSZ": (io(0, 2), 4),
        "FS_IOC_GETFLAGS": (ior(ord("f"), 1, word), 4),
        "FS_IOC_GETVERSION": (ior(ord("v"), 1, word), 4),
        "FS_IOC_FSGETXATTR": (ior(ord("X"), 31, 28), 28),
        "BLKGETSIZE64": (ior(0x12, 114, word), 8),
        "BLKSSZGET": (io(0x12, 104), 4),
        "BLKROGET": (io(0x12, 94), 4),
        "BLKPBSZGET": (io(0x12, 123), 4),
    }
    return {protocol.IOCTLS[name]: value for name, value in host.items()}


_IOCTL_BY_WIRE = _ioctl_table()


def ioctl(session: Any, request: Any) -> Tuple:
    """The value's integers big-endian, each of its own width (4 bytes, or 8)."""
    handle = session.handles.get(request.handle)
    try:
        number, size = _IOCTL_BY_WIRE[request.request]
    except KeyError:
        raise fail(errno.ENOTTY) from None
    value = bytearray(32)
    fcntl.ioctl(handle.fd, number - (1 << 32) if number >= 1 << 31 else number, value)
    raw, width = bytes(value[:size]), 8 if size == 8 else 4
    words = [raw[i : i + width] for i in range(0, size, width)]
    return (b"".join(w[::-1] if sys.byteorder == "little" else w for w in words),)


_FLOCK = struct.Struct("@hhqqi")  # struct flock with 64-bit offsets
_LOCK_TYPES = {wire: getattr(fcntl, name) for name, wire in protocol.LOCK_TYPES.items()}
_F_OFD_GETLK, _F_OFD_SETLK = 36, 37  # the same on every architecture; Python names them since 3.9 only


def lock(session: Any, request: Any) -> Tuple:
    handle = session.handles.get(request.handle)
    if request.type not in _LOCK_TYPES:
        raise fail(errno.EINVAL)
    kind = _LOCK_TYPES[request.type]
    if request.command == protocol.LOCK_COMMANDS["LOCK_WHOLE"]:
        whole = {fcntl.F_RDLCK: fcntl.LOCK_SH, fcntl.F_WRLCK: fcntl.LOCK_EX, fcntl.F_UNLCK: fcntl.LOCK_UN}
        fcntl.flock(handle.fd, whole[kind] | fcntl.LOCK_NB)
        return (request.type, 0, 0, 0)
    asked = _FLOCK.pack(kind, 0, request.start, request.length, 0)
    if request.command == protocol.LOCK_COMMANDS["LOCK_SET"]:
        fcntl.fcntl(handle.fd, _F_OFD_SETLK, asked)
        return (request.type, request.start, request.length, 0)
    if request.command != protocol.LOCK_COMMANDS["LOCK_QUERY"]:
        raise fail(errno.EINVAL)
    found, _, start, length, pid = _FLOCK.unpack(fcntl.fcntl(handle.fd, _F_OFD_GETLK, asked))
    return (next(wire for wire, host in _LOCK_TYPES.items() if host == found), start, length, pid)


# ------------------------------------------------------------------------------------------- waiting, watching


_READY = select.POLLIN | select.POLLOUT | select.POLLRDNORM | select.POLLWRNORM


def poll(session: Any, request: Any) -> Any:
    handle = session.handles.get(request.handle)
    events = _translate(request.events, _POLL)
    back = [(host, wire) for wire, host in _POLL]

    def finish(got: int) -> Tuple:
        return (_translate(got, back),)

    if handle.kind == protocol.HANDLE_KINDS["KIND_POSITIONED"]:  # always ready; FUSE would be asked, and may be stuck
        return finish(events & _READY)
    poller = select.poll()
    poller.register(handle.fd, events)
    now = poller.poll(0)
    if now or not request.timeout_ms:
        return finish(now[0][1] if now else 0)
    return Waiting(handle.fd, events, request.timeout_ms, finish)


def watch_open(session: Any, request: Any) -> Tuple:
    if _inotify_init1 is None:
        raise fail(errno.ENOSYS)
    fd = _checked(_inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK))
    return (session.add_handle(Handle(fd, protocol.HANDLE_KINDS["KIND_WATCH"], request.flags & ~3, session.client)),)


def _watch(session: Any, number: int) -> Handle:
    handle: Handle = session.handles.get(number)
    if handle.kind != protocol.HANDLE_KINDS["KIND_WATCH"]:
        raise fail(errno.EINVAL)
    return handle


_IN_DONT_FOLLOW = protocol.WATCH_EVENTS["IN_DONT_FOLLOW"]


def watch_add(session: Any, request: Any) -> Tuple:
    handle = _watch(session, request.handle)
    mask = request.mask
    nofollow = AT_SYMLINK_NOFOLLOW if mask & _IN_DONT_FOLLOW else 0
    with Located(session, request.directory, request.path, AT_EMPTY_PATH | nofollow) as at:
        if not at.path:  # its name is a link of /proc's
            mask &= ~_IN_DONT_FOLLOW
        assert _inotify_add_watch
        return (_checked(_inotify_add_watch(handle.fd, at.name(), mask)),)


def watch_remove(session: Any, request: Any) -> Tuple:
    assert _inotify_rm_watch
    _checked(_inotify_rm_watch(_watch(session, request.handle).fd, request.wd))
    return ()


_INOTIFY = struct.Struct("=iIII")


def _read_events(session: Any, handle: Handle, count: int) -> Any:
    def finish(_events: int) -> Any:
        try:
            raw = os.read(handle.fd, max(count, 16))
        except BlockingIOError:
            if handle.nonblocking:
                raise
            return Waiting(handle.fd, select.POLLIN, -1, finish)
        out, at = [], 0
        while at < len(raw):
            wd, mask, cookie, length = _INOTIFY.unpack_from(raw, at)
            at += _INOTIFY.size
            out.append(protocol.WATCH_EVENT.build(wd, mask, cookie, raw[at : at + length].rstrip(b"\0")))
            at += length
        return Bytes(b"".join(out))

    return finish(0)


# ------------------------------------------------------------------------------------- which requests may block

_NEVER = {
    operation.code
    for operation in (
        protocol.PING, protocol.CLOSE, protocol.SHARE, protocol.SET_FLAGS, protocol.POLL, protocol.WATCH_OPEN,
        protocol.WATCH_REMOVE, protocol.STATUS, protocol.RECALL,
    )  # fmt: skip
}
_LONG = {protocol.READDIR.code, protocol.EXTENTS.code}  # of many steps each
_OPEN_NOFOLLOW = protocol.OPEN_FLAGS["O_NOFOLLOW"] | protocol.OPEN_FLAGS["O_EXCL"]


def may_block(session: Any, code: int, request: Any) -> Optional[int]:
    """The id of the mount that a request may have to wait for; None if it won't, so that the loop can handle it.

    It answers at once itself, and by the state of this moment: who puts a stuck file system where a path led an
    instant ago can make the server wait."""
    if code in _NEVER:
        return None
    path = getattr(request, "path", None)
    try:
        if path:
            return _mount_ahead(session, code, request)
        handle = session.handles.get(request.handle if path is None else request.directory)
    except OSError:
        return None  # the handler will say so
    own_position = handle.made_up or handle.kind == protocol.HANDLE_KINDS["KIND_POSITIONED"]
    if handle.speed == SLOW or code in _LONG or (code == protocol.READ.code and own_position):
        return int(handle.mount)
    return None


def _mount_ahead(session: Any, code: int, request: Any) -> Optional[int]:
    """The mount that looking up the request's path may have to wait for; None: all of that is in memory."""
    mounts, look = session.server.mounts, session.server.look
    if not CAN_LOOK:
        return 0 if mounts.speed(0) == SLOW else None
    resolve = 0
    if code == protocol.OPEN.code:
        nofollow, resolve = request.flags & _OPEN_NOFOLLOW, request.resolve
    elif code == protocol.WATCH_ADD.code:
        nofollow = request.mask & _IN_DONT_FOLLOW
    else:
        nofollow = code == protocol.READLINK.code or request.flags & AT_SYMLINK_NOFOLLOW
    dirfd, path, resolve = _starting_point(session, request.directory, request.path, resolve)
    try:
        mount = look(dirfd, path, os.O_NOFOLLOW if nofollow else 0, resolve)
        long = code == protocol.OPEN.code and request.prefetch and request.flags & protocol.OPEN_FLAGS["O_DIRECTORY"]
        return mount if long or mounts.speed(mount) == SLOW else None
    except BlockingIOError:
        pass
    # What of it is in memory ends on the mount that must be asked.
    mount = session.handles.get(request.directory).mount if request.directory else 0
    ends = [at for at, byte in enumerate(path) if byte == 0x2F]
    first, last = 0, len(ends)
    while first < last:
        middle = (first + last) // 2
        try:
            mount = look(dirfd, path[: ends[middle]] or b"/", 0, resolve)
            first = middle + 1
        except OSError:
            last = middle
    return int(mount)


# ------------------------------------------------------------------------------------------------------ others


def ping(session: Any, request: Any) -> Any:
    return Bytes(bytes(min(request.size, protocol.LIMITS["MAX_DATA"])))


def recall(session: Any, request: Any) -> Any:
    if session.server.leases is None:
        raise fail(errno.ENOSYS)
    if session.listener is None:
        session.listener = session.server.leases.listener()
    return session.listener.listen()


def get_status(session: Any, request: Any) -> Tuple:
    status: Tuple[int, ...] = session.status()
    return status


HANDLERS: Dict[int, Callable[[Any, Any], Any]] = {
    operation.code: handler
    for operation, handler in (
        (protocol.PING, ping),
        (protocol.OPEN, open),
        (protocol.CLOSE, close),
        (protocol.SHARE, share),
        (protocol.READ, read),
        (protocol.PREAD, pread),
        (protocol.LSEEK, lseek),
        (protocol.FSTAT, fstat),
        (protocol.STAT_PATH, stat),
        (protocol.ACCESS_PATH, access),
        (protocol.READLINK, readlink),
        (protocol.GETXATTR, getxattr),
        (protocol.LISTXATTR, listxattr),
        (protocol.READDIR, readdir),
        (protocol.STATFS, statfs),
        (protocol.PATHCONF_PATH, pathconf),
        (protocol.GETPATH, getpath),
        (protocol.DESCRIBE, describe),
        (protocol.SET_FLAGS, set_flags),
        (protocol.IOCTL, ioctl),
        (protocol.ADVISE, advise),
        (protocol.LOCK, lock),
        (protocol.POLL, poll),
        (protocol.WATCH_OPEN, watch_open),
        (protocol.WATCH_ADD, watch_add),
        (protocol.WATCH_REMOVE, watch_remove),
        (protocol.STATUS, get_status),
        (protocol.EXTENTS, extents),
        (protocol.RECALL, recall),
    )
}
"""HELLO and CANCEL are the session's own (session.py)."""
