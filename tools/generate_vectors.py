#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes tests/vectors/messages.hex: golden requests and replies of every operation, headers included.

They are made by construct from the declarations in remotec/protocol.py, not by the codecs that the server
uses, so that the codecs, _fast and the C code can all be held against them.  A line is "NAME: HEX"; NAME
begins with the operation and ends in request or reply.

    tools/generate_vectors.py           write the file
    tools/generate_vectors.py --check   exit 1 if it is not what would be written
"""

import sys
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from remotec import protocol as p  # noqa: E402

TARGET = ROOT / "tests" / "vectors" / "messages.hex"
HANDLE = 0x0123456789ABCDEF
STAT = {
    "mask": 0x17FF,
    "blksize": 4096,
    "attributes": 0x10,
    "attributes_mask": 0x203874,
    "nlink": 3,
    "uid": 1000,
    "gid": 0xFFFFFFFE,
    "mode": 0o100644,
    "ino": 0x8000000000000001,
    "size": 5 << 30,
    "blocks": 10485768,
    "atime_sec": 1700000000,
    "atime_nsec": 999999999,
    "btime_sec": -1,
    "btime_nsec": 1,
    "ctime_sec": 4102444800,
    "ctime_nsec": 0,
    "mtime_sec": -2208988800,
    "mtime_nsec": 500000000,
    "rdev_major": 8,
    "rdev_minor": 0x10001,
    "dev_major": 254,
    "dev_minor": 1,
    "mnt_id": 0x1234567890,
    "dio_mem_align": 512,
    "dio_offset_align": 4096,
    "subvol": 0,
}
SMALL = {**STAT, "nlink": 1, "gid": 1000, "ino": 131, "size": 7, "blocks": 8}
ENTRY = {"ino": 77, "offset": -2, "type": p.DIRENT_TYPES["DT_REG"], "flags": 1, "name": b"a name", "stat": b""}
FLAGS = p.OPEN_FLAGS
EMPTY: Dict[str, Any] = {}

# operation, what is special about it, the request's fields, the reply's
CASES: List[Tuple[str, str, Dict[str, Any], Dict[str, Any]]] = [
    (
        "HELLO",
        "",
        {
            "magic": p.MAGIC,
            "version": 1,
            "min_version": 1,
            "capabilities": sum(p.CAPABILITIES.values()),
            "session": bytes(range(16)),
            "client": HANDLE,
            "program": b"cat",
        },
        {
            "version": 1,
            "max_data": 1 << 20,
            "max_request": 1 << 17,
            "max_in_flight": 64,
            "capabilities": 7,
            "server": b"remotec 1.0",
        },
    ),
    ("PING", "", {"size": 5}, {"data": b"\0\1\2\xfe\xff"}),
    ("PING", "of nothing", {"size": 0}, {"data": b""}),
    (
        "OPEN",
        "",
        {"directory": 0, "flags": 0, "mode": 0, "resolve": 0, "prefetch": 100, "path": b"/etc/hostname"},
        {"handle": HANDLE, "kind": 1, "stat": STAT, "data": b"a host\n"},
    ),
    (
        "OPEN",
        "with flags",
        {
            "directory": 7,
            "flags": FLAGS["O_CREAT"] | FLAGS["O_EXCL"] | FLAGS["O_APPEND"] | FLAGS["O_NONBLOCK"] | 2,
            "mode": 0o4755,
            "resolve": p.RESOLVE["RESOLVE_IN_ROOT"] | p.RESOLVE["RESOLVE_NO_SYMLINKS"],
            "prefetch": 0,
            "path": b"sub/\xff\xfe",
        },
        {"handle": 1, "kind": 2, "stat": STAT, "data": b""},
    ),
    (
        "OPEN",
        "of a directory",
        {
            "directory": 7,
            "flags": FLAGS["O_DIRECTORY"] | FLAGS["O_NOFOLLOW"] | FLAGS["O_NOATIME"] | FLAGS["O_DIRECT"],
            "mode": 0,
            "resolve": 0,
            "prefetch": 0,
            "path": b"",
        },
        {"handle": 2**64 - 1, "kind": 3, "stat": STAT, "data": b""},
    ),
    (
        "OPEN",
        "for writing",
        {
            "directory": 0,
            "flags": FLAGS["O_TMPFILE"] | FLAGS["O_SYNC"] | FLAGS["O_NOCTTY"] | FLAGS["O_TRUNC"] | 1,
            "mode": 0o600,
            "resolve": 0,
            "prefetch": 0,
            "path": b"/tmp",
        },
        {"handle": 3, "kind": 1, "stat": STAT, "data": b""},
    ),
    ("CLOSE", "", {"handle": HANDLE}, EMPTY),
    ("SHARE", "", {"handles": HANDLE.to_bytes(8, "big") + b"\0\0\0\0\0\0\0\x09"}, EMPTY),
    ("READ", "", {"handle": HANDLE, "count": 65536}, {"data": bytes(range(256))}),
    ("READ", "at the end", {"handle": 1, "count": 1}, {"data": b""}),
    ("PREAD", "", {"handle": HANDLE, "offset": (5 << 30) + 1, "count": 4096}, {"data": b"some data"}),
    ("PREAD", "at the last offset", {"handle": 9, "offset": 2**63 - 1, "count": 1}, {"data": b""}),
    (
        "LSEEK",
        "",
        {"handle": HANDLE, "offset": -5, "whence": p.WHENCE["SEEK_END"]},
        {"offset": (5 << 30) - 5},
    ),
    (
        "LSEEK",
        "to data",
        {"handle": 1, "offset": 1 << 40, "whence": p.WHENCE["SEEK_DATA"]},
        {"offset": 2**63 - 1},
    ),
    ("LSEEK", "to a hole", {"handle": 1, "offset": 0, "whence": p.WHENCE["SEEK_HOLE"]}, {"offset": 0}),
    ("FSTAT", "", {"handle": HANDLE, "mask": 0xFFF}, {"stat": STAT}),
    (
        "STAT",
        "",
        {"directory": 5, "flags": p.AT_FLAGS["AT_SYMLINK_NOFOLLOW"], "mask": 0x17FF, "path": b"some/file"},
        {"stat": STAT},
    ),
    (
        "STAT",
        "of the directory itself",
        {
            "directory": 5,
            "flags": p.AT_FLAGS["AT_EMPTY_PATH"]
            | p.AT_FLAGS["AT_STATX_DONT_SYNC"]
            | p.AT_FLAGS["AT_NO_AUTOMOUNT"],
            "mask": 1,
            "path": b"",
        },
        {"stat": dict.fromkeys(STAT, 0)},
    ),
    ("ACCESS", "", {"directory": 0, "mode": 5, "flags": p.AT_FLAGS["AT_EACCESS"], "path": b"/bin/sh"}, EMPTY),
    ("READLINK", "", {"directory": 0, "path": b"/proc/self/exe"}, {"target": b"/usr/bin/python3"}),
    (
        "GETXATTR",
        "",
        {"directory": 0, "flags": 0, "size": 100, "path": b"/file", "name": b"user.colour"},
        {"size": 5, "value": b"gr\0en"},
    ),
    (
        "LISTXATTR",
        "",
        {"directory": 3, "flags": p.AT_FLAGS["AT_SYMLINK_NOFOLLOW"], "size": 65536, "path": b"file"},
        {"size": 14, "names": b"user.a\0user.b\0"},
    ),
    (
        "READDIR",
        "",
        {"handle": HANDLE, "offset": -2, "count": 1000, "mask": 0x7FF},
        {
            "end": 1,
            "entries": [
                ENTRY,
                dict(ENTRY, name=b".", stat=p.Stat.build(STAT)),
                dict(ENTRY, ino=2**64 - 1, type=4),
            ],
        },
    ),
    ("READDIR", "of nothing", {"handle": 1, "offset": 0, "count": 1, "mask": 0}, {"end": 0, "entries": []}),
    (
        "STATFS",
        "",
        {"directory": 0, "flags": 0, "path": b"/"},
        {
            "type": 0xEF53,
            "bsize": 4096,
            "frsize": 4096,
            "blocks": 1 << 33,
            "bfree": 1 << 32,
            "bavail": (1 << 32) - 1,
            "files": 2**63,
            "ffree": 5,
            "fsid": 0x1122334455667788,
            "namelen": 255,
            "mount_flags": 4128,
        },
    ),
    (
        "PATHCONF",
        "",
        {"directory": 0, "flags": 0, "name": p.PATHCONF["_PC_LINK_MAX"], "path": b"/"},
        {"value": 65000},
    ),
    (
        "PATHCONF",
        "without a limit",
        {"directory": 0, "flags": 0, "name": p.PATHCONF["_PC_2_SYMLINKS"], "path": b"/"},
        {"value": -1},
    ),
    ("GETPATH", "", {"handle": HANDLE}, {"path": b"/a/path \xc3\xa9"}),
    (
        "DESCRIBE",
        "",
        {"handle": HANDLE},
        {"kind": 1, "flags": FLAGS["O_APPEND"] | FLAGS["O_DIRECTORY"] | 2, "stat": STAT, "path": b"/a"},
    ),
    ("SET_FLAGS", "", {"handle": HANDLE, "flags": FLAGS["O_NONBLOCK"] | FLAGS["O_APPEND"]}, EMPTY),
    ("IOCTL", "", {"handle": HANDLE, "request": p.IOCTLS["FIONREAD"]}, {"value": b"\0\0\1\0"}),
    (
        "ADVISE",
        "",
        {"handle": HANDLE, "offset": 1 << 33, "length": -1, "advice": p.ADVICE["POSIX_FADV_DONTNEED"]},
        EMPTY,
    ),
    (
        "ADVISE",
        "of no reuse",
        {"handle": 1, "offset": 0, "length": 0, "advice": p.ADVICE["POSIX_FADV_NOREUSE"]},
        EMPTY,
    ),
    (
        "POLL",
        "",
        {"handle": HANDLE, "events": p.POLL_EVENTS["POLLIN"] | p.POLL_EVENTS["POLLRDHUP"], "timeout_ms": -1},
        {"events": p.POLL_EVENTS["POLLIN"] | p.POLL_EVENTS["POLLHUP"]},
    ),
    ("CANCEL", "", {"request_id": 0xFFFFFFFE}, EMPTY),
    ("WATCH_OPEN", "", {"flags": FLAGS["O_NONBLOCK"]}, {"handle": HANDLE}),
    (
        "WATCH_ADD",
        "",
        {
            "handle": HANDLE,
            "directory": 0,
            "mask": p.WATCH_EVENTS["IN_CREATE"] | p.WATCH_EVENTS["IN_ONESHOT"] | p.WATCH_EVENTS["IN_ONLYDIR"],
            "path": b"/watched",
        },
        {"wd": 1},
    ),
    ("WATCH_REMOVE", "", {"handle": HANDLE, "wd": -1}, EMPTY),
    (
        "STATUS",
        "",
        EMPTY,
        {"sessions": 1, "connections": 2, "handles": 3, "all_handles": 4, "requests": 2**40, "bytes": 2**63},
    ),
    (
        "EXTENTS",
        "",
        {"handle": HANDLE, "offset": 0, "length": 2**63 - 1, "count": 64},
        {"extents": [{"offset": 0, "length": 4096}, {"offset": 5 << 30, "length": 1}]},
    ),
    (
        "LOCK",
        "",
        {"handle": HANDLE, "command": p.LOCK_COMMANDS["LOCK_QUERY"], "type": 1, "start": 1 << 30, "length": 510},
        {"type": 0, "start": (1 << 30) + 2, "length": 510, "pid": -1},
    ),
    (
        "OPEN",
        "with a lease",
        {
            "directory": 0,
            "flags": p.LEASES["LEASE_WANTED_FOR_REST"] | FLAGS["O_NONBLOCK"],
            "mode": 0,
            "resolve": 0,
            "prefetch": 65536,
            "path": b"/large",
        },
        {"handle": 4, "kind": 1 | p.LEASES["LEASE_HELD"], "stat": STAT, "data": b""},
    ),
    ("RECALL", "", EMPTY, {"handles": HANDLE.to_bytes(8, "big")}),
    (
        "OPEN",
        "of a small file",
        {"directory": 0, "flags": 0, "mode": 0, "resolve": 0, "prefetch": 65536, "path": b"/etc/hostname"},
        {"handle": 1, "kind": p.HANDLE_KINDS["KIND_POSITIONED"], "stat": SMALL, "data": b"a host\n"},
    ),
]


def text() -> str:
    return "\n".join(lines()) + "\n"


def lines() -> Iterator[str]:
    yield "# GENERATED from remotec/protocol.py by tools/generate_vectors.py: do not edit."
    operations = {operation.name: operation for operation in p.OPERATIONS.values()}
    for request_id, (name, special, request, reply) in enumerate(CASES, start=1):
        operation = operations[name]
        for kind, layout, fields in (
            ("request", operation.request.layout, request),
            ("reply", operation.reply.layout, reply),
        ):
            payload = layout.build(fields)
            header = p.Header.build(
                {
                    "length": len(payload),
                    "operation": operation.code,
                    "error": 0,
                    "request_id": request_id * 2,
                    "flags": 0,
                }
            )
            yield f"{' '.join(filter(None, [name, special, kind]))}: {(header + payload).hex()}"


if __name__ == "__main__":
    if sys.argv[1:] == ["--check"]:
        sys.exit(0 if TARGET.read_text() == text() else f"{TARGET} is stale: run tools/generate_vectors.py")
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(text())
