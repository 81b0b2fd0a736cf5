# SPDX-License-Identifier: MIT
"""The wire protocol, declared once.

Every number, name and layout that crosses the wire stands in this file and nowhere else.  csrc/protocol.h is
generated from it (tools/generate_protocol.py), Cython reads that header, and the Python server parses and
builds messages with the codecs below, which are derived from the construct declarations.  docs/protocol.md
says what the messages mean.

The file never touches a socket or a file, and imports nothing of the package.

All integers are fixed-width and big-endian.  A message is a run of fixed-width fields followed by its
variable-length fields, each of which is a 32-bit length and that many bytes.  Nothing that differs between
machines crosses the wire: errno, open flags and the other constants travel as the protocol's own values and
are translated by name on each side (where a value is a choice, it is the one most Linux machines use).
"""

import struct
from collections import namedtuple
from typing import Any, NamedTuple, Optional, Tuple

from construct import (
    Bytes,
    BytesInteger,
    FormatField,
    GreedyBytes,
    GreedyRange,
    Int16ub,
    Int32sb,
    Int32ub,
    Int64sb,
    Int64ub,
    Prefixed,
    Struct,
)

VERSION = 1
MIN_VERSION = 1
MAGIC = b"remotec\n"
DEFAULT_PORT = 12345

LIMITS = {
    "MAX_REQUEST": 128 * 1024,  # bytes of payload in a request
    "MAX_DATA": 1024 * 1024,  # bytes of file data in one reply
    "MAX_REPLY": 1024 * 1024 + 4096,  # bytes of payload in a reply
    "MAX_HELLO": 512,  # bytes of payload in the reply to HELLO
    "MAX_PREFETCH": 64 * 1024,  # bytes of file data that OPEN may bring
    "MAX_PATH": 4096,  # bytes of one path, as PATH_MAX without its NUL being counted
    "MAX_NAME": 255,
    "MAX_XATTR": 65536,  # bytes of one extended attribute's value, or of a list of names
    "MAX_IN_FLIGHT": 256,  # requests of one connection not yet answered
    "MAX_HANDLES": 65536,  # of one session
    "MAX_SESSIONS": 16384,  # of one server
    "MAX_SHARE": 1024,  # handles named by one SHARE
    "MAX_LEASES": 1024,  # of one session
    "LEASE_TERM": 4000,  # milliseconds that leases count from when the client last asked for recalls
}

# Named capabilities, negotiated by HELLO: a bit that both sides set is in force.
CAPABILITIES = {
    "XATTR": 1 << 0,
    "POLL": 1 << 1,
    "WATCH": 1 << 2,
    "IOCTL": 1 << 3,
    "LEASE": 1 << 4,
}

# ---------------------------------------------------------------------------------------------- constants

ERRNO = {
    name: number
    for number, name in enumerate(
        """EPERM ENOENT ESRCH EINTR EIO ENXIO E2BIG ENOEXEC EBADF ECHILD EAGAIN ENOMEM EACCES EFAULT ENOTBLK
        EBUSY EEXIST EXDEV ENODEV ENOTDIR EISDIR EINVAL ENFILE EMFILE ENOTTY ETXTBSY EFBIG ENOSPC ESPIPE EROFS
        EMLINK EPIPE EDOM ERANGE EDEADLK ENAMETOOLONG ENOLCK ENOSYS ENOTEMPTY ELOOP - ENOMSG EIDRM ECHRNG
        EL2NSYNC EL3HLT EL3RST ELNRNG EUNATCH ENOCSI EL2HLT EBADE EBADR EXFULL ENOANO EBADRQC EBADSLT EDEADLOCK
        EBFONT ENOSTR ENODATA ETIME ENOSR ENONET ENOPKG EREMOTE ENOLINK EADV ESRMNT ECOMM EPROTO EMULTIHOP
        EDOTDOT EBADMSG EOVERFLOW ENOTUNIQ EBADFD EREMCHG ELIBACC ELIBBAD ELIBSCN ELIBMAX ELIBEXEC EILSEQ
        ERESTART ESTRPIPE EUSERS ENOTSOCK EDESTADDRREQ EMSGSIZE EPROTOTYPE ENOPROTOOPT EPROTONOSUPPORT
        ESOCKTNOSUPPORT EOPNOTSUPP EPFNOSUPPORT EAFNOSUPPORT EADDRINUSE EADDRNOTAVAIL ENETDOWN ENETUNREACH
        ENETRESET ECONNABORTED ECONNRESET ENOBUFS EISCONN ENOTCONN ESHUTDOWN ETOOMANYREFS ETIMEDOUT
        ECONNREFUSED EHOSTDOWN EHOSTUNREACH EALREADY EINPROGRESS ESTALE EUCLEAN ENOTNAM ENAVAIL EISNAM
        EREMOTEIO EDQUOT ENOMEDIUM EMEDIUMTYPE ECANCELED ENOKEY EKEYEXPIRED EKEYREVOKED EKEYREJECTED
        EOWNERDEAD ENOTRECOVERABLE ERFKILL EHWPOISON EINIT EREMDEV""".split(),
        start=1,
    )
    if name != "-"
}
"""errno name -> the code in a frame's error field.  EWOULDBLOCK is EAGAIN and ENOTSUP is EOPNOTSUPP on every
Linux; EDEADLOCK is a number of its own on some.  The name itself travels too, as the reply's payload, so that
a side with a shorter list can still say what happened."""

ACCESS_MODES = {"O_RDONLY": 0, "O_WRONLY": 1, "O_RDWR": 2}
OPEN_FLAGS = {
    "O_CREAT": 0x40,
    "O_EXCL": 0x80,
    "O_NOCTTY": 0x100,
    "O_TRUNC": 0x200,
    "O_APPEND": 0x400,
    "O_NONBLOCK": 0x800,
    "O_DSYNC": 0x1000,
    "O_ASYNC": 0x2000,
    "O_DIRECT": 0x4000,
    "O_DIRECTORY": 0x10000,
    "O_NOFOLLOW": 0x20000,
    "O_NOATIME": 0x40000,
    "O_SYNC": 0x101000,
    "O_PATH": 0x200000,
    "O_TMPFILE": 0x410000,
}
"""A name is set where all of its bits are.  O_CLOEXEC and O_LARGEFILE are the client's own business."""
RESOLVE = {
    "RESOLVE_NO_XDEV": 0x01,
    "RESOLVE_NO_MAGICLINKS": 0x02,
    "RESOLVE_NO_SYMLINKS": 0x04,
    "RESOLVE_BENEATH": 0x08,
    "RESOLVE_IN_ROOT": 0x10,
    "RESOLVE_CACHED": 0x20,
}
AT_FLAGS = {
    "AT_SYMLINK_NOFOLLOW": 0x100,
    "AT_EACCESS": 0x200,
    "AT_SYMLINK_FOLLOW": 0x400,
    "AT_NO_AUTOMOUNT": 0x800,
    "AT_EMPTY_PATH": 0x1000,
    "AT_STATX_FORCE_SYNC": 0x2000,
    "AT_STATX_DONT_SYNC": 0x4000,
}
"""AT_EACCESS has AT_REMOVEDIR's number on Linux: which of them is meant follows from the operation."""
WHENCE = {"SEEK_SET": 0, "SEEK_CUR": 1, "SEEK_END": 2, "SEEK_DATA": 3, "SEEK_HOLE": 4}
ACCESS = {"F_OK": 0, "X_OK": 1, "W_OK": 2, "R_OK": 4}
MODE = {
    "S_IFMT": 0o170000,
    "S_IFSOCK": 0o140000,
    "S_IFLNK": 0o120000,
    "S_IFREG": 0o100000,
    "S_IFBLK": 0o060000,
    "S_IFDIR": 0o040000,
    "S_IFCHR": 0o020000,
    "S_IFIFO": 0o010000,
}
DIRENT_TYPES = {
    "DT_UNKNOWN": 0,
    "DT_FIFO": 1,
    "DT_CHR": 2,
    "DT_DIR": 4,
    "DT_BLK": 6,
    "DT_REG": 8,
    "DT_LNK": 10,
    "DT_SOCK": 12,
}
STATX_MASK = {
    "STATX_TYPE": 0x1,
    "STATX_MODE": 0x2,
    "STATX_NLINK": 0x4,
    "STATX_UID": 0x8,
    "STATX_GID": 0x10,
    "STATX_ATIME": 0x20,
    "STATX_MTIME": 0x40,
    "STATX_CTIME": 0x80,
    "STATX_INO": 0x100,
    "STATX_SIZE": 0x200,
    "STATX_BLOCKS": 0x400,
    "STATX_BTIME": 0x800,
    "STATX_MNT_ID": 0x1000,
    "STATX_DIOALIGN": 0x2000,
    "STATX_MNT_ID_UNIQUE": 0x4000,
    "STATX_SUBVOL": 0x8000,
}
POLL_EVENTS = {
    "POLLIN": 0x1,
    "POLLPRI": 0x2,
    "POLLOUT": 0x4,
    "POLLERR": 0x8,
    "POLLHUP": 0x10,
    "POLLNVAL": 0x20,
    "POLLRDNORM": 0x40,
    "POLLRDBAND": 0x80,
    "POLLWRNORM": 0x100,
    "POLLWRBAND": 0x200,
    "POLLRDHUP": 0x2000,
}
WATCH_EVENTS = {
    "IN_ACCESS": 0x1,
    "IN_MODIFY": 0x2,
    "IN_ATTRIB": 0x4,
    "IN_CLOSE_WRITE": 0x8,
    "IN_CLOSE_NOWRITE": 0x10,
    "IN_OPEN": 0x20,
    "IN_MOVED_FROM": 0x40,
    "IN_MOVED_TO": 0x80,
    "IN_CREATE": 0x100,
    "IN_DELETE": 0x200,
    "IN_DELETE_SELF": 0x400,
    "IN_MOVE_SELF": 0x800,
    "IN_UNMOUNT": 0x2000,
    "IN_Q_OVERFLOW": 0x4000,
    "IN_IGNORED": 0x8000,
    "IN_ONLYDIR": 0x1000000,
    "IN_DONT_FOLLOW": 0x2000000,
    "IN_EXCL_UNLINK": 0x4000000,
    "IN_MASK_CREATE": 0x10000000,
    "IN_MASK_ADD": 0x20000000,
    "IN_ISDIR": 0x40000000,
    "IN_ONESHOT": 0x80000000,
}
PATHCONF = {
    name: number
    for number, name in enumerate(
        """_PC_LINK_MAX _PC_MAX_CANON _PC_MAX_INPUT _PC_NAME_MAX _PC_PATH_MAX _PC_PIPE_BUF _PC_CHOWN_RESTRICTED
        _PC_NO_TRUNC _PC_VDISABLE _PC_SYNC_IO _PC_ASYNC_IO _PC_PRIO_IO _PC_SOCK_MAXBUF _PC_FILESIZEBITS
        _PC_REC_INCR_XFER_SIZE _PC_REC_MAX_XFER_SIZE _PC_REC_MIN_XFER_SIZE _PC_REC_XFER_ALIGN _PC_ALLOC_SIZE_MIN
        _PC_SYMLINK_MAX _PC_2_SYMLINKS""".split()
    )
}
IOCTLS = {
    "FIONREAD": 1,
    "FIGETBSZ": 2,
    "FS_IOC_GETFLAGS": 3,
    "FS_IOC_GETVERSION": 4,
    "FS_IOC_FSGETXATTR": 5,
    "BLKGETSIZE64": 6,
    "BLKSSZGET": 7,
    "BLKROGET": 8,
    "BLKPBSZGET": 9,
}
"""The ioctl requests that are forwarded; each reads one value and has no argument going out."""
ADVICE = {
    "POSIX_FADV_NORMAL": 0,
    "POSIX_FADV_RANDOM": 1,
    "POSIX_FADV_SEQUENTIAL": 2,
    "POSIX_FADV_WILLNEED": 3,
    "POSIX_FADV_DONTNEED": 4,
    "POSIX_FADV_NOREUSE": 5,
}

LOCK_TYPES = {"F_RDLCK": 0, "F_WRLCK": 1, "F_UNLCK": 2}
LOCK_COMMANDS = {
    "LOCK_QUERY": 0,  # who is in the way (F_OFD_GETLK)
    "LOCK_SET": 1,  # a range, never waiting (F_OFD_SETLK)
    "LOCK_WHOLE": 2,  # flock: its own kind of lock
}

# Reserved for sockets: declared and translated, but no operation carries them yet.
ADDRESS_FAMILIES = {
    "AF_UNSPEC": 0,
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
    "AF_VSOCK": 40,
}
SOCKET_TYPES = {"SOCK_STREAM": 1, "SOCK_DGRAM": 2, "SOCK_RAW": 3, "SOCK_RDM": 4, "SOCK_SEQPACKET": 5}
SOCKET_FLAGS = {"SOCK_NONBLOCK": 0x800}
"""Added to a type, as socket(2) has it.  SOCK_CLOEXEC is the client's own business."""
SOCKET_LEVELS = {"IPPROTO_IP": 0, "SOL_SOCKET": 1, "IPPROTO_TCP": 6, "IPPROTO_UDP": 17, "IPPROTO_IPV6": 41}
SOCKET_OPTIONS = {
    "SO_DEBUG": 1,
    "SO_REUSEADDR": 2,
    "SO_TYPE": 3,
    "SO_ERROR": 4,
    "SO_DONTROUTE": 5,
    "SO_BROADCAST": 6,
    "SO_SNDBUF": 7,
    "SO_RCVBUF": 8,
    "SO_KEEPALIVE": 9,
    "SO_OOBINLINE": 10,
    "SO_PRIORITY": 12,
    "SO_LINGER": 13,
    "SO_REUSEPORT": 15,
    "SO_PASSCRED": 16,
    "SO_PEERCRED": 17,
    "SO_RCVLOWAT": 18,
    "SO_SNDLOWAT": 19,
    "SO_RCVTIMEO": 20,
    "SO_SNDTIMEO": 21,
    "SO_BINDTODEVICE": 25,
    "SO_TIMESTAMP": 29,
    "SO_ACCEPTCONN": 30,
    "SO_PEERSEC": 31,
    "SO_PROTOCOL": 38,
    "SO_DOMAIN": 39,
}
"""Of SOL_SOCKET.  An option that 32-bit machines have in two layouts (SO_RCVTIMEO) has one name here."""

FRAME_FLAGS = {"FRAME_ONE_WAY": 1}  # request: do what it says and send no reply, not even an error

ENTRY_FLAGS = {"ENTRY_NO_XATTRS": 1}  # the entry itself has no extended attributes

# OPEN's, beside its flags and its kind.
LEASES = {
    "LEASE_WANTED": 0x80000000,  # request flags: a read lease, whatever the file's length
    "LEASE_WANTED_FOR_REST": 0x40000000,  # … where the reply doesn't bring all of the content
    "LEASE_HELD": 0x20000000,  # reply kind: the server will say so before the content changes (RECALL)
}
HANDLE_KINDS = {
    "KIND_POSITIONED": 1,  # a regular file: the client keeps the offset and reads with PREAD
    "KIND_STREAM": 2,  # pipe, terminal, device, /proc file: the server keeps the position, READ and LSEEK
    "KIND_DIRECTORY": 3,  # READDIR with the client's cookie; other operations take it as their directory
    "KIND_PATH": 4,  # O_PATH: names a file, reads nothing
    "KIND_WATCH": 5,  # made by WATCH_OPEN; READ gives WatchEvent records
}
NO_HANDLE = 0  # "no directory": the path starts from the server's root; a server never issues it

# ------------------------------------------------------------------------------------------------- layouts

Blob = Prefixed(Int32ub, GreedyBytes)

Header = Struct(
    "length" / Int32ub,  # bytes of payload after the header
    "operation" / Int16ub,
    "error" / Int16ub,  # reply: 0, or a code of ERRNO; request: 0
    "request_id" / Int32ub,  # chosen by the client, unique among its unanswered requests on the connection
    "flags" / Int32ub,  # FRAME_FLAGS
)

Stat = Struct(
    "mask" / Int32ub,
    "blksize" / Int32ub,
    "attributes" / Int64ub,
    "attributes_mask" / Int64ub,
    "nlink" / Int32ub,
    "uid" / Int32ub,
    "gid" / Int32ub,
    "mode" / Int32ub,
    "ino" / Int64ub,
    "size" / Int64ub,
    "blocks" / Int64ub,
    "atime_sec" / Int64sb,
    "atime_nsec" / Int32ub,
    "btime_sec" / Int64sb,
    "btime_nsec" / Int32ub,
    "ctime_sec" / Int64sb,
    "ctime_nsec" / Int32ub,
    "mtime_sec" / Int64sb,
    "mtime_nsec" / Int32ub,
    "rdev_major" / Int32ub,
    "rdev_minor" / Int32ub,
    "dev_major" / Int32ub,
    "dev_minor" / Int32ub,
    "mnt_id" / Int64ub,
    "dio_mem_align" / Int32ub,
    "dio_offset_align" / Int32ub,
    "subvol" / Int64ub,
)

DirectoryEntry = Struct(
    "ino" / Int64ub,
    "offset" / Int64sb,  # d_off: the cookie that READDIR takes to go on after this entry
    "type" / Int32ub,  # DIRENT_TYPES
    "flags" / Int32ub,  # ENTRY_FLAGS, where attributes were asked for
    "name" / Blob,
    "stat" / Blob,  # a Stat, or empty where it was not asked for or could not be had
)

WatchEvent = Struct(
    "wd" / Int32sb,
    "mask" / Int32ub,  # WATCH_EVENTS
    "cookie" / Int32ub,
    "name" / Blob,
)


class Codec:
    """Parses and builds one message layout, as its construct declaration says, at struct's speed.

    `layout` must be fixed-width integers and Bytes (nested Structs of them too), then any number of Blobs or one
    GreedyRange.  `fields` names what `parse` returns and `build` takes, in order; a nested Struct or a
    GreedyRange's element is a (named) tuple of its own.

    >>> PREAD.request.parse(PREAD.request.build(handle=7, offset=0, count=9)).count
    9
    """

    fields: Tuple[str, ...]
    tuple: Any  # the named tuple's class

    def __init__(self, layout: Struct, name: str = "Message") -> None:
        self.layout = layout
        self.fixed = ">"
        self.offsets: "dict[str, int]" = {}  # of the fixed-width fields; of a nested Struct, its start
        self.blobs: "list[str]" = []
        self.repeated: "Optional[Codec]" = None
        self._slices: "list[Tuple[int, int, Any]]" = []  # (first slot, end slot, tuple class or None)
        slots = 0
        for field in layout.subcons:
            inner = field.subcon
            if isinstance(inner, Struct):
                nested = Codec(inner, field.name.capitalize())
                assert not nested.blobs and nested.repeated is None
                self.offsets[field.name] = struct.calcsize(self.fixed)
                self.fixed += nested.fixed[1:]
                count = len(nested.fields)
                self._slices.append((slots, slots + count, nested.tuple._make))
                slots += count
            elif inner is Blob:
                self.blobs.append(field.name)
            elif isinstance(inner, GreedyRange):
                self.repeated = Codec(inner.subcon, field.name.capitalize())
            else:
                self.offsets[field.name] = struct.calcsize(self.fixed)
                self.fixed += _format_of(inner)
                self._slices.append((slots, slots + 1, None))
                slots += 1
        self.fields = tuple(field.name for field in layout.subcons)
        self.tuple = namedtuple(name, self.fields)  # type: ignore[misc]
        self._struct = struct.Struct(self.fixed)
        self._nested = any(make for _, _, make in self._slices)
        self.size = self._struct.size

    def parse(self, payload: Any) -> Any:
        """The message in `payload` (bytes-like, whole) as a named tuple; ProtocolError where it doesn't fit."""
        values, end = self._parse_at(payload, 0)
        if end != len(payload):
            raise ProtocolError(f"{len(payload) - end} bytes too many")
        return values

    def _parse_at(self, payload: Any, at: int) -> "Tuple[Any, int]":
        end = at + self.size
        if len(payload) < end:
            raise ProtocolError(f"{len(payload) - at} bytes where {self.size} are needed")
        slots = self._struct.unpack_from(payload, at)
        if self._nested:
            values = [make(slots[i:j]) if make else slots[i] for i, j, make in self._slices]
        else:
            values = list(slots)
        for _ in self.blobs:
            if len(payload) < end + 4:
                raise ProtocolError("a length is cut off")
            (length,) = _LENGTH.unpack_from(payload, end)
            end += 4
            if length > len(payload) - end:
                raise ProtocolError(f"a field of {length} bytes where {len(payload) - end} are left")
            values.append(bytes(payload[end : end + length]))
            end += length
        if self.repeated is not None:
            elements = []
            while end < len(payload):
                element, end = self.repeated._parse_at(payload, end)
                elements.append(element)
            values.append(elements)
        return self.tuple._make(values), end

    def build(self, *args: Any, **fields: Any) -> bytes:
        """The message's bytes; raises struct.error where a number doesn't fit its field."""
        values = self.tuple(*args, **fields)
        parts = []
        if self._nested:
            slots: "list[Any]" = []
            for value, (_, _, make) in zip(values, self._slices):
                if make:
                    slots.extend(value)
                else:
                    slots.append(value)
            parts.append(self._struct.pack(*slots))
        else:
            parts.append(self._struct.pack(*values[: len(self._slices)]))
        for value in values[len(self._slices) : len(self._slices) + len(self.blobs)]:
            parts.append(_LENGTH.pack(len(value)))
            parts.append(value)
        if self.repeated is not None:
            parts.extend(self.repeated.build(*element) for element in values[-1])
        return b"".join(parts)


_LENGTH = struct.Struct(">I")


def _format_of(field: Any) -> str:
    """The struct code of one fixed-width field."""
    if isinstance(field, FormatField):
        return str(field.fmtstr[1:])
    if isinstance(field, Bytes) and not isinstance(field, BytesInteger):
        return f"{field.length}s"
    raise TypeError(f"{field!r} has no fixed width")


class ProtocolError(Exception):
    """The peer's bytes are not this protocol; the connection cannot go on."""

    last_words = b""  # what is to be sent before it's closed


HEADER = Codec(Header, "Header")
STAT = Codec(Stat, "Stat")
STAT_SIZE_INDEX = [field.name for field in Stat.subcons].index("size")
DIRECTORY_ENTRY = Codec(DirectoryEntry, "DirectoryEntry")
WATCH_EVENT = Codec(WatchEvent, "WatchEvent")

# ---------------------------------------------------------------------------------------------- operations


class Operation(NamedTuple):
    code: int
    name: str
    request: Codec
    reply: Codec


OPERATIONS: "dict[int, Operation]" = {}


def _operation(code: int, name: str, request: Struct, reply: Struct) -> Operation:
    title = name.title().replace("_", "")
    operation = Operation(code, name, Codec(request, f"{title}Request"), Codec(reply, f"{title}Reply"))
    assert code not in OPERATIONS
    OPERATIONS[code] = operation
    return operation


# `directory` with `path`: the path is resolved from that handle, or from the server's root where it is NO_HANDLE.
# AT_EMPTY_PATH with an empty path means the handle itself.

HELLO = _operation(
    1,
    "HELLO",
    Struct(
        "magic" / Bytes(8),
        "version" / Int32ub,
        "min_version" / Int32ub,
        "capabilities" / Int64ub,
        "session" / Bytes(16),  # random; whoever knows it belongs to the session
        "client" / Int64ub,  # random; one per process image, the same on all its connections
        "program" / Blob,
    ),
    Struct(
        "version" / Int32ub,
        "max_data" / Int32ub,
        "max_request" / Int32ub,
        "max_in_flight" / Int32ub,
        "capabilities" / Int64ub,
        "server" / Blob,
    ),
)
PING = _operation(2, "PING", Struct("size" / Int32ub), Struct("data" / Blob))
OPEN = _operation(
    3,
    "OPEN",
    Struct(
        "directory" / Int64ub,
        "flags" / Int32ub,  # ACCESS_MODES | OPEN_FLAGS
        "mode" / Int32ub,
        "resolve" / Int32ub,  # RESOLVE
        "prefetch" / Int32ub,  # how many of the file's first bytes the reply may bring
        "path" / Blob,
    ),
    Struct("handle" / Int64ub, "kind" / Int32ub, "stat" / Stat, "data" / Blob),
)
CLOSE = _operation(4, "CLOSE", Struct("handle" / Int64ub), Struct())
SHARE = _operation(5, "SHARE", Struct("handles" / Blob), Struct())
READ = _operation(6, "READ", Struct("handle" / Int64ub, "count" / Int32ub), Struct("data" / Blob))
PREAD = _operation(
    7, "PREAD", Struct("handle" / Int64ub, "offset" / Int64sb, "count" / Int32ub), Struct("data" / Blob)
)
LSEEK = _operation(
    8, "LSEEK", Struct("handle" / Int64ub, "offset" / Int64sb, "whence" / Int32ub), Struct("offset" / Int64sb)
)
FSTAT = _operation(9, "FSTAT", Struct("handle" / Int64ub, "mask" / Int32ub), Struct("stat" / Stat))
STAT_PATH = _operation(
    10,
    "STAT",
    Struct("directory" / Int64ub, "flags" / Int32ub, "mask" / Int32ub, "path" / Blob),
    Struct("stat" / Stat),
)
ACCESS_PATH = _operation(
    11,
    "ACCESS",
    Struct("directory" / Int64ub, "mode" / Int32ub, "flags" / Int32ub, "path" / Blob),
    Struct(),
)
READLINK = _operation(12, "READLINK", Struct("directory" / Int64ub, "path" / Blob), Struct("target" / Blob))
GETXATTR = _operation(
    13,
    "GETXATTR",
    Struct("directory" / Int64ub, "flags" / Int32ub, "size" / Int32ub, "path" / Blob, "name" / Blob),
    Struct("size" / Int32ub, "value" / Blob),
)
LISTXATTR = _operation(
    14,
    "LISTXATTR",
    Struct("directory" / Int64ub, "flags" / Int32ub, "size" / Int32ub, "path" / Blob),
    Struct("size" / Int32ub, "names" / Blob),
)
READDIR = _operation(
    15,
    "READDIR",
    Struct(
        "handle" / Int64ub,
        "offset" / Int64sb,  # 0, or the d_off of the last entry that was taken
        "count" / Int32ub,  # entries at the most
        "mask" / Int32ub,  # STATX_MASK of the attributes wanted with each entry, 0 for none
    ),
    Struct("end" / Int32ub, "entries" / GreedyRange(DirectoryEntry)),
)
STATFS = _operation(
    16,
    "STATFS",
    Struct("directory" / Int64ub, "flags" / Int32ub, "path" / Blob),
    Struct(
        "type" / Int64ub,
        "bsize" / Int64ub,
        "frsize" / Int64ub,
        "blocks" / Int64ub,
        "bfree" / Int64ub,
        "bavail" / Int64ub,
        "files" / Int64ub,
        "ffree" / Int64ub,
        "fsid" / Int64ub,
        "namelen" / Int64ub,
        "mount_flags" / Int64ub,
    ),
)
PATHCONF_PATH = _operation(
    17,
    "PATHCONF",
    Struct("directory" / Int64ub, "flags" / Int32ub, "name" / Int32ub, "path" / Blob),
    Struct("value" / Int64sb),  # -1: no limit
)
GETPATH = _operation(18, "GETPATH", Struct("handle" / Int64ub), Struct("path" / Blob))
DESCRIBE = _operation(
    19,
    "DESCRIBE",
    Struct("handle" / Int64ub),
    Struct("kind" / Int32ub, "flags" / Int32ub, "stat" / Stat, "path" / Blob),
)
SET_FLAGS = _operation(20, "SET_FLAGS", Struct("handle" / Int64ub, "flags" / Int32ub), Struct())
IOCTL = _operation(21, "IOCTL", Struct("handle" / Int64ub, "request" / Int32ub), Struct("value" / Blob))
ADVISE = _operation(
    22,
    "ADVISE",
    Struct("handle" / Int64ub, "offset" / Int64sb, "length" / Int64sb, "advice" / Int32ub),
    Struct(),
)
POLL = _operation(
    23,
    "POLL",
    Struct("handle" / Int64ub, "events" / Int32ub, "timeout_ms" / Int32sb),
    Struct("events" / Int32ub),
)
CANCEL = _operation(24, "CANCEL", Struct("request_id" / Int32ub), Struct())
WATCH_OPEN = _operation(25, "WATCH_OPEN", Struct("flags" / Int32ub), Struct("handle" / Int64ub))
WATCH_ADD = _operation(
    26,
    "WATCH_ADD",
    Struct("handle" / Int64ub, "directory" / Int64ub, "mask" / Int32ub, "path" / Blob),
    Struct("wd" / Int32sb),
)
WATCH_REMOVE = _operation(27, "WATCH_REMOVE", Struct("handle" / Int64ub, "wd" / Int32sb), Struct())
STATUS = _operation(
    28,
    "STATUS",
    Struct(),
    Struct(
        "sessions" / Int32ub,
        "connections" / Int32ub,
        "handles" / Int32ub,  # of this session
        "all_handles" / Int32ub,
        "requests" / Int64ub,  # answered since the server started
        "bytes" / Int64ub,  # of file data sent since then
    ),
)
EXTENTS = _operation(
    29,
    "EXTENTS",
    Struct("handle" / Int64ub, "offset" / Int64sb, "length" / Int64sb, "count" / Int32ub),
    Struct("extents" / GreedyRange(Struct("offset" / Int64sb, "length" / Int64sb))),
)
# The lock belongs to the handle's open file description.  Who must wait asks again: EAGAIN.
LOCK = _operation(
    30,
    "LOCK",
    Struct("handle" / Int64ub, "command" / Int32ub, "type" / Int32ub, "start" / Int64sb, "length" / Int64sb),
    Struct("type" / Int32ub, "start" / Int64sb, "length" / Int64sb, "pid" / Int32sb),
)
# Answered when a lease is to be given up, or after a while; the next one says that what the last reply named has been.
RECALL = _operation(31, "RECALL", Struct(), Struct("handles" / Blob))
