# SPDX-License-Identifier: MIT
"""Each operation against a tree, beside the same system call made here."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import select
import socket
import stat
import struct
import threading
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from remotec import mounts, operations, protocol
from remotec.operations import ALL_STAT, Blocking, Bytes, Then, Waiting
from remotec.protocol import AT_FLAGS, HANDLE_KINDS, LIMITS, OPEN_FLAGS, RESOLVE, Operation
from remotec.session import Server, Session

NOFOLLOW, EMPTY_PATH, EACCESS = (AT_FLAGS[n] for n in ("AT_SYMLINK_NOFOLLOW", "AT_EMPTY_PATH", "AT_EACCESS"))
LINKS = ["link", "linkdir", "dangling", "loop", "absolute", "up", "astray", "again", "into"]


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree with files of each kind, and something beside it that a root must hide."""
    outside = tmp_path_factory.mktemp("operations")
    (outside / "secret").write_text("secret")
    box = outside / "box"
    (box / "dir" / "deeper").mkdir(parents=True)
    (box / "text").write_text("0123456789" * 1000)
    (box / "empty").touch()
    (box / "dir" / "file").write_text("below")
    (box / "tight").mkdir(mode=0o500)
    (box / "program").write_text("#!/bin/sh\n")
    (box / "program").chmod(0o755)
    (box / "with space").touch()
    (box / os.fsdecode(b"caf\xe9")).touch()
    targets = ["text", "dir", "nowhere", "loop", "/dir/file", "dir/../text", "no/where", "astray", "dir/new/"]
    for name, target in zip(LINKS, targets):
        (box / name).symlink_to(target)
    os.mkfifo(box / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(os.path.relpath(box / "socket"))
    with open(box / "sparse", "wb") as sparse:
        sparse.truncate(50 << 20)
        for at in (0, 10 << 20, 40 << 20):
            os.pwrite(sparse.fileno(), b"data", at)
    for i in range(1500):
        (box / "dir" / "deeper" / f"entry {i}").touch()
    (box / "out").symlink_to("../secret")
    (box / "far").symlink_to("../../../../../../../../etc/passwd")
    return box


def session_of(server: Server) -> Session:
    held = server.session(bytes(16))
    held.client = 1
    return held


@pytest.fixture
def plain() -> Iterator[Session]:
    """A session of a server that serves everything."""
    server = Server()
    yield session_of(server)
    server.close()


@pytest.fixture
def rooted(box: Path) -> Iterator[Session]:
    """One of a server whose root is the box."""
    server = Server(os.fsencode(box))
    yield session_of(server)
    server.close()


@pytest.fixture(params=["plain", "rooted"])
def view(request: pytest.FixtureRequest, box: Path) -> "View":
    return View(request.getfixturevalue(request.param), b"" if request.param == "rooted" else os.fsencode(box))


class View:
    """The box as a session sees it: all of it under `prefix`."""

    def __init__(self, session: Session, prefix: bytes) -> None:
        self.session, self.prefix = session, prefix

    def __call__(self, operation: Operation, **fields: Any) -> Any:
        return call(self.session, operation, **fields)

    def at(self, name: "str | bytes") -> Dict[str, Any]:
        """The location of a name in the box."""
        return {"directory": 0, "path": self.prefix + b"/" + os.fsencode(name)}

    def stat(self, name: str, flags: int, mask: int = ALL_STAT) -> Dict[str, Any]:
        return facts(self(protocol.STAT_PATH, **self.at(name), flags=flags, mask=mask).stat)

    def outcome(self, operation: Operation, **fields: Any) -> Any:
        return outcome(self, operation, **fields)

    def opening(self, name: "str | bytes", flags: int = 0, **fields: Any) -> Dict[str, Any]:
        return {**self.at(name), "flags": flags, **OPENING, **fields}

    def open(self, name: "str | bytes", flags: int = 0, **fields: Any) -> Any:
        return self(protocol.OPEN, **self.opening(name, flags, **fields))


OPENING = {"mode": 0, "resolve": 0, "prefetch": 0}


def call(session: Session, operation: Operation, **fields: Any) -> Any:
    """The operation's reply, having gone over the wire's layouts both ways."""
    request = operation.request.parse(operation.request.build(**fields))
    operations.may_block(session, operation.code, request)
    result = operations.HANDLERS[operation.code](session, request)
    while isinstance(result, (Blocking, Then)):
        result = result.finish() if isinstance(result, Then) else result.act()
    if isinstance(result, Waiting):
        return result
    if isinstance(result, Bytes):
        return result.data
    return operation.reply.parse(result if isinstance(result, bytes) else operation.reply.build(*result))


def outcome(act: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """What it gives, or the errno's name."""
    try:
        return act(*arguments, **named)
    except OSError as error:
        return errno.errorcode[error.errno or 0]


def opened_here(path: "str | bytes | Path", flags: int = os.O_RDONLY) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


NAMES = "text empty dir fifo socket sparse tight missing text/below dir/file dir/. dir/../text".split()
NAMES += [*LINKS, "linkdir/file", "dir/", "link/", "", "with space", "n" * 256, "d/" * 2047 + "d"]


def box_path(box: Path, name: str) -> str:
    """The same place on this machine; unlike Path, a last slash counts."""
    return f"{box}/{name}"


# ------------------------------------------------------------------------------------------------------ stat


def facts(st: Any) -> Dict[str, Any]:
    """Of a reply's Stat, in os.stat_result's words."""
    return {
        "st_mode": st.mode, "st_ino": st.ino, "st_nlink": st.nlink, "st_uid": st.uid, "st_gid": st.gid,
        "st_size": st.size, "st_blocks": st.blocks, "st_blksize": st.blksize,
        "st_dev": os.makedev(st.dev_major, st.dev_minor), "st_rdev": os.makedev(st.rdev_major, st.rdev_minor),
        "st_atime_ns": st.atime_sec * 10**9 + st.atime_nsec, "st_mtime_ns": st.mtime_sec * 10**9 + st.mtime_nsec,
        "st_ctime_ns": st.ctime_sec * 10**9 + st.ctime_nsec,
    }  # fmt: skip


def facts_here(path: "str | Path | bytes", flags: int = 0) -> Dict[str, Any]:
    result = os.stat(path, follow_symlinks=not flags & NOFOLLOW)
    return {name: getattr(result, name) for name in facts(protocol.STAT.parse(bytes(protocol.STAT.size)))}


@pytest.mark.parametrize("flags", [0, NOFOLLOW])
@pytest.mark.parametrize("name", NAMES)
def test_stat(view: View, box: Path, name: str, flags: int) -> None:
    if view.prefix == b"" and name == "absolute":
        pytest.skip("leads elsewhere: the confinement tests")
    assert outcome(view.stat, name, flags) == outcome(facts_here, box_path(box, name), flags)


def test_stat_without_statx_is_the_same(plain: Session, box: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a kernel or a libc that lacks it."""
    def lacks(*_: Any) -> int:
        ctypes.set_errno(errno.ENOSYS)
        return -1

    view = View(plain, os.fsencode(box))
    for replacement in (None, lacks):
        monkeypatch.setattr(operations, "_statx", replacement)
        for name in ("text", "link", "fifo", "missing"):
            for flags in (0, NOFOLLOW):
                assert outcome(view.stat, name, flags, 0x7FF) == outcome(facts_here, box / name, flags)
        opened = view.open("text")
        assert facts(view(protocol.FSTAT, handle=opened.handle, mask=0x7FF).stat) == facts_here(box / "text")
        assert opened.stat.mask == 0x7FF


def test_fstat_and_an_empty_path_are_the_handle_itself(view: View, box: Path) -> None:
    for name in ("text", "dir", "fifo"):
        handle = view.open(name, OPEN_FLAGS["O_NONBLOCK"]).handle
        here = facts_here(box / name)
        assert facts(view(protocol.FSTAT, handle=handle, mask=ALL_STAT).stat) == here
        ask = {"directory": handle, "path": b"", "mask": ALL_STAT}
        assert facts(view(protocol.STAT_PATH, flags=EMPTY_PATH, **ask).stat) == here
        assert view.outcome(protocol.STAT_PATH, flags=0, **ask) == "ENOENT"


def test_paths_start_at_the_directory_they_are_given(view: View, box: Path) -> None:
    directory = view.open("dir").handle
    for path in (b"file", b"./file", b"../text", b"deeper/../file", b"../linkdir/file"):
        there = view(protocol.STAT_PATH, directory=directory, path=path, flags=0, mask=ALL_STAT).stat
        assert there.ino == os.stat(os.path.join(os.fsencode(box / "dir"), path)).st_ino
    absolute = {**view.at("text"), "directory": directory}
    assert view(protocol.STAT_PATH, **absolute, flags=0, mask=ALL_STAT).stat.ino == os.stat(box / "text").st_ino
    file = view.open("text").handle
    assert view.outcome(protocol.STAT_PATH, directory=file, path=b"x", flags=0, mask=1) == "ENOTDIR"


def test_calls_that_know_no_directory_start_at_it_all_the_same(view: View, box: Path) -> None:
    """getxattr, pathconf and inotify take one path."""
    directory = view.open("dir").handle
    for path, name in ((b"file", "dir/file"), (b"../text", "text"), (b"missing", "dir/missing")):
        at = {"directory": directory, "path": path, "flags": 0}
        here = outcome(os.listxattr, box / name)
        there = view.outcome(protocol.LISTXATTR, **at, size=65536)
        assert there == here if isinstance(here, str) else there.names.count(b"\0") == len(here)
        access = view.outcome(protocol.ACCESS_PATH, **at, mode=os.R_OK)
        assert access == ("ENOENT" if isinstance(here, str) else ())


def test_a_path_without_anywhere_to_start_starts_at_the_servers_root(plain: Session, box: Path) -> None:
    relative = os.fsencode(box / "text").lstrip(b"/")
    assert inode(plain, 0, relative) == os.stat(box / "text").st_ino


@pytest.mark.parametrize("operation", [o for o in protocol.OPERATIONS.values() if "path" in o.request.fields])
def test_a_path_with_a_nul_is_einval_and_one_too_long_is_enametoolong(
    view: View, box: Path, operation: Operation
) -> None:
    usual = dict.fromkeys(operation.request.fields, 0)
    usual["name"] = b"user.x" if operation is protocol.GETXATTR else 0
    fields = {name: usual[name] for name in operation.request.fields}
    if operation is protocol.WATCH_ADD:
        fields["handle"] = view(protocol.WATCH_OPEN, flags=0).handle
    good = os.fsencode(view.prefix + b"/text")
    for path, name in ((good + b"\0", "EINVAL"), (b"/" + b"x/" * 2048, "ENAMETOOLONG")):
        assert view.outcome(operation, **{**fields, "path": path}) == name


# ---------------------------------------------------------------------------------------------------- access


@pytest.mark.parametrize("mode", range(8))
@pytest.mark.parametrize("name", ["text", "program", "dir", "fifo", "missing", "link", "dangling", "loop"])
def test_access(view: View, box: Path, name: str, mode: int) -> None:
    for flags in (0, EACCESS, NOFOLLOW):
        follow = {"follow_symlinks": not flags & NOFOLLOW}
        here = outcome(os.stat, box / name, **follow)
        if isinstance(here, os.stat_result):
            here = ()
            if not os.access(box / name, mode, effective_ids=bool(flags & EACCESS), **follow):
                here = "EACCES"
            elif mode & os.W_OK and name != "fifo":
                here = "EROFS"
        assert view.outcome(protocol.ACCESS_PATH, **view.at(name), mode=mode, flags=flags) == here


def test_access_is_for_the_mode_s_three_bits(view: View) -> None:
    assert view.outcome(protocol.ACCESS_PATH, **view.at("text"), mode=8, flags=0) == "EINVAL"


# -------------------------------------------------------------------------------------------------- readlink


@pytest.mark.parametrize("name", [*LINKS, "text", "dir", "missing", "fifo", "link/x", ""])
def test_readlink(view: View, box: Path, name: str) -> None:
    here = outcome(lambda: os.readlink(os.fsencode(box_path(box, name))))
    assert outcome(lambda: view(protocol.READLINK, **view.at(name)).target) == here


def test_readlink_of_a_handle(view: View) -> None:
    path = OPEN_FLAGS["O_PATH"] | OPEN_FLAGS["O_NOFOLLOW"]
    link, text = view.open("link", path), view.open("text", path)
    assert link.kind == text.kind == HANDLE_KINDS["KIND_PATH"]
    assert view(protocol.READLINK, directory=link.handle, path=b"").target == b"text"
    assert view.outcome(protocol.READLINK, directory=text.handle, path=b"") == "ENOENT"
    assert view.outcome(protocol.READLINK, directory=0, path=b"") == "ENOENT"


# ------------------------------------------------------------------------------------------------------ open


FLAGS = ["", "O_DIRECTORY", "O_NOFOLLOW", "O_PATH", "O_PATH O_NOFOLLOW", "O_NOATIME", "O_PATH O_CREAT", "O_SYNC"]


@pytest.mark.parametrize("flags", FLAGS)
@pytest.mark.parametrize("name", "text dir link linkdir dangling loop missing socket link/ up".split())
def test_open(view: View, box: Path, name: str, flags: str) -> None:
    words = flags.split()
    here = outcome(lambda: opened_here(box_path(box, name), sum(getattr(os, word) for word in words)))
    there = view.outcome(protocol.OPEN, **view.opening(name, sum(OPEN_FLAGS[word] for word in words)))
    if isinstance(here, str):
        assert there == here
    else:
        assert there.stat.ino == os.fstat(here).st_ino
        assert view(protocol.FSTAT, handle=there.handle, mask=ALL_STAT).stat.ino == there.stat.ino
        os.close(here)


CHANGES: List[Tuple[str, str, str]] = [
    ("text", "O_WRONLY", "EROFS"),
    ("text", "O_RDWR", "EROFS"),
    ("text", "O_TRUNC", "EROFS"),
    ("link", "O_WRONLY", "EROFS"),
    ("fifo", "O_WRONLY", "EROFS"),
    ("text", "O_CREAT O_EXCL", "EEXIST"),
    ("dangling", "O_CREAT O_EXCL", "EEXIST"),
    ("link", "O_WRONLY O_NOFOLLOW", "ELOOP"),
    ("loop", "O_WRONLY", "ELOOP"),
    ("dir", "O_WRONLY", "EISDIR"),
    ("dir", "O_CREAT", "EISDIR"),
    ("new", "O_CREAT", "EROFS"),
    ("new", "O_CREAT O_WRONLY O_EXCL", "EROFS"),
    ("dir/new", "O_CREAT", "EROFS"),
    ("missing/new", "O_CREAT", "ENOENT"),
    ("text/new", "O_CREAT", "ENOTDIR"),
    ("missing", "O_WRONLY", "ENOENT"),
    ("dir", "O_TMPFILE O_RDWR", "EROFS"),
    ("dir", "O_CREAT O_DIRECTORY", "EINVAL"),
    ("nothing/new", "O_CREAT O_DIRECTORY", "EINVAL"),
    ("missing", "O_TMPFILE O_RDWR", "ENOENT"),
    ("text", "O_TMPFILE O_RDWR", "ENOTDIR"),
    ("text", "O_DIRECTORY O_WRONLY", "ENOTDIR"),
    ("socket", "O_WRONLY", "ENXIO"),
    ("missing/", "O_CREAT", "EISDIR"),
    ("text/", "O_CREAT O_WRONLY", "EISDIR"),
    ("missing/new/", "O_CREAT", "ENOENT"),
    ("text/new/", "O_CREAT", "ENOTDIR"),
    ("dir/.", "O_CREAT O_EXCL", "EEXIST"),
    ("dangling", "O_CREAT", "EROFS"),
    ("dangling", "O_WRONLY", "ENOENT"),
    ("astray", "O_CREAT O_WRONLY", "ENOENT"),
    ("again", "O_CREAT", "ENOENT"),
    ("into", "O_CREAT", "EISDIR"),
    ("text", "O_TMPFILE", "EINVAL"),
]


@pytest.mark.parametrize("name, flags, expected", CHANGES)
def test_what_would_change_something_is_refused(view: View, box: Path, name: str, flags: str, expected: str) -> None:
    every = {**OPEN_FLAGS, **protocol.ACCESS_MODES}
    before = sorted(os.listdir(box)), os.stat(box / "text").st_size
    wire = sum(every[word] for word in flags.split())
    assert view.outcome(protocol.OPEN, **view.opening(name, wire, mode=0o644)) == expected
    directory = view(protocol.OPEN, **view.at("."), flags=OPEN_FLAGS["O_PATH"], **OPENING).handle
    relative = {"directory": directory, "path": os.fsencode(name), "flags": wire, **OPENING}
    assert view.outcome(protocol.OPEN, **relative) == expected
    assert (sorted(os.listdir(box)), os.stat(box / "text").st_size) == before


def test_o_creat_of_what_is_there_opens_it(view: View) -> None:
    assert view.open("text", OPEN_FLAGS["O_CREAT"]).kind == HANDLE_KINDS["KIND_POSITIONED"]


@pytest.mark.parametrize(
    "path, kind",
    [("text", "POSITIONED"), ("empty", "POSITIONED"), ("dir", "DIRECTORY"), ("fifo", "STREAM")],
)
def test_kinds(view: View, path: str, kind: str) -> None:
    assert view.open(path, OPEN_FLAGS["O_NONBLOCK"]).kind == HANDLE_KINDS[f"KIND_{kind}"]


@pytest.mark.parametrize("path", ["/dev/null", "/dev/zero", "/proc/version", "/proc/self/status"])
def test_what_is_made_up_as_it_is_read_is_a_stream(plain: Session, path: str) -> None:
    assert View(plain, b"").open(path[1:]).kind == HANDLE_KINDS["KIND_STREAM"]


def test_prefetch_brings_a_whole_file_or_nothing(view: View, box: Path) -> None:
    text = (box / "text").read_bytes()
    assert view.open("text", prefetch=len(text)).data == text
    assert view.open("text", prefetch=len(text) - 1).data == b""
    assert view.open("empty", prefetch=100).data == b""
    assert view.open("dir", prefetch=100).data == b""
    assert view.open("sparse", prefetch=2**32 - 1).data == b""  # beyond MAX_PREFETCH


@pytest.mark.parametrize(
    "number, speed, data",
    [
        (errno.EOPNOTSUPP, mounts.MEMORY, b"below"),
        (errno.EOPNOTSUPP, mounts.DISK, b""),
        (errno.EOPNOTSUPP, mounts.SLOW, b"below"),  # a thread is waiting anyway
        (errno.EAGAIN, mounts.DISK, b""),
    ],
)
def test_prefetch_where_reading_without_waiting_fails(
    plain: Session, box: Path, monkeypatch: pytest.MonkeyPatch, number: int, speed: int, data: bytes
) -> None:
    """A disk that can't say what it has in memory isn't read; nor is what it hasn't."""
    monkeypatch.setattr(plain.server.mounts, "speed", lambda _: speed)
    really = os.preadv

    def preadv(fd: int, buffers: Any, offset: int, flags: int = 0) -> int:
        if flags:
            raise OSError(number, "")
        return really(fd, buffers, offset)

    monkeypatch.setattr(os, "preadv", preadv)
    assert View(plain, os.fsencode(box)).open("dir/file", prefetch=99).data == data


def test_opening_again_by_the_handle(view: View, box: Path) -> None:
    first = view.open("text", OPEN_FLAGS["O_PATH"]).handle
    again = {"directory": first, "path": b"", **OPENING}
    second = view(protocol.OPEN, flags=0, **again)
    assert view(protocol.PREAD, handle=second.handle, offset=0, count=5) == b"01234"
    assert view.outcome(protocol.OPEN, flags=1, **again) == "EROFS"
    assert view.outcome(protocol.OPEN, flags=OPEN_FLAGS["O_TRUNC"], **again) == "EROFS"
    assert view.outcome(protocol.OPEN, flags=OPEN_FLAGS["O_DIRECTORY"], **again) == "ENOTDIR"


def test_a_fifo_s_open_waits_for_its_writer_and_leaves_nothing_when_it_is_given_up(view: View, box: Path) -> None:
    before = open_descriptors()
    waiting = view.open("fifo")
    assert isinstance(waiting, Waiting)
    waiting.give_up()
    assert open_descriptors() == before
    waiting = view.open("fifo")
    number, kind, _, data = waiting.finish(select.POLLIN)
    assert (kind, data) == (HANDLE_KINDS["KIND_STREAM"], b"") and view.session.handles.get(number)


def test_a_failed_open_leaves_no_descriptor(view: View, monkeypatch: pytest.MonkeyPatch) -> None:
    before = open_descriptors()
    monkeypatch.setitem(LIMITS, "MAX_HANDLES", 0)
    assert view.outcome(protocol.OPEN, **view.opening("text")) == "ENFILE"
    monkeypatch.setattr(operations, "status", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        view.open("text")
    assert open_descriptors() == before


@pytest.mark.parametrize("resolve", list(RESOLVE))
@pytest.mark.parametrize("path", [b"file", b"../text", b"/dir/file", b"../linkdir/file", b"deeper/../file"])
def test_resolve_is_openat2s(view: View, box: Path, path: bytes, resolve: str) -> None:
    if view.prefix == b"" and path.startswith(b"/"):
        pytest.skip("another root, another place")
    here = opened_here(box / "dir", os.O_PATH)
    directory = view.open("dir", OPEN_FLAGS["O_PATH"]).handle
    asked = {"directory": directory, "path": path, "flags": 0, "mode": 0, "prefetch": 0}
    expected = outcome(lambda: operations.openat2(here, path, 0, 0, RESOLVE[resolve]))
    there = view.outcome(protocol.OPEN, **asked, resolve=RESOLVE[resolve])
    if isinstance(expected, str):
        assert there == expected
    else:
        assert there.stat.ino == os.fstat(expected).st_ino
        os.close(expected)
    os.close(here)


# ------------------------------------------------------------------------------------------------------ read


def test_reading_what_cannot_be_read(view: View) -> None:
    handle = view.open("dir").handle
    assert view.outcome(protocol.READ, handle=handle, count=1) == "EISDIR"
    assert view.outcome(protocol.PREAD, handle=handle, count=1, offset=0) == "EISDIR"
    handle = view.open("text", OPEN_FLAGS["O_PATH"]).handle
    for operation, more in (
        (protocol.READ, {"count": 1}),
        (protocol.PREAD, {"count": 1, "offset": 0}),
        (protocol.LSEEK, {"offset": 0, "whence": 0}),
        (protocol.READDIR, READDIR),
    ):
        assert view.outcome(operation, handle=handle, **more) == "EBADF"
    fifo = view.open("fifo", OPEN_FLAGS["O_NONBLOCK"]).handle
    assert view.outcome(protocol.PREAD, handle=fifo, count=1, offset=0) == "ESPIPE"
    assert view(protocol.READ, handle=fifo, count=1) == b""  # no writer: the end


def test_read_and_lseek_move_the_servers_position(view: View) -> None:
    handle = view.open("text").handle
    assert view(protocol.READ, handle=handle, count=3) == b"012"
    assert view(protocol.LSEEK, handle=handle, offset=4, whence=protocol.WHENCE["SEEK_CUR"]).offset == 7
    assert view(protocol.READ, handle=handle, count=3) == b"789"
    assert view(protocol.LSEEK, handle=handle, offset=-2, whence=protocol.WHENCE["SEEK_END"]).offset == 9998
    assert view(protocol.READ, handle=handle, count=2**32 - 1) == b"89"
    assert view(protocol.READ, handle=handle, count=1) == b""


@pytest.mark.parametrize("whence", [*protocol.WHENCE, "none"])
@pytest.mark.parametrize("offset", [0, 5, 10 << 20, (50 << 20) - 1, 60 << 20, -1, 2**62])
def test_lseek(view: View, box: Path, offset: int, whence: str) -> None:
    fd, handle = opened_here(box / "sparse"), view.open("sparse").handle
    host, wire = (getattr(os, whence), protocol.WHENCE[whence]) if whence != "none" else (99, 99)
    here = outcome(lambda: os.lseek(fd, offset, host))
    assert outcome(lambda: view(protocol.LSEEK, handle=handle, offset=offset, whence=wire).offset) == here
    os.close(fd)


def test_extents_are_where_data_is(view: View, box: Path) -> None:
    handle = view.open("sparse").handle

    def ask(offset: int, length: int, count: int = 255) -> List[Tuple[int, int]]:
        asked = {"handle": handle, "offset": offset, "length": length, "count": count}
        return [tuple(each) for each in view(protocol.EXTENTS, **asked).extents]

    whole = ask(0, 2**63 - 1)
    fd = opened_here(box / "sparse")
    assert [start for start, _ in whole] == [0, 10 << 20, 40 << 20]
    for start, length in whole:
        assert os.lseek(fd, start, os.SEEK_HOLE) == start + length
    os.close(fd)
    assert ask(0, 2**63 - 1, 2) == whole[:2]
    assert ask(10 << 20, 3) == [(10 << 20, 3)]
    assert ask(11 << 20, 1 << 20) == ask(60 << 20, 5) == ask(0, 0) == []
    assert outcome(lambda: ask(-1, 5)) == outcome(lambda: ask(5, -1)) == "EINVAL"
    fifo = view.open("fifo", OPEN_FLAGS["O_NONBLOCK"]).handle
    more = {"offset": 0, "length": 1, "count": 1}
    assert view.outcome(protocol.EXTENTS, handle=fifo, **more) == "ESPIPE"


@pytest.mark.parametrize("advice", list(protocol.ADVICE))
def test_advice(view: View, advice: str) -> None:
    handle = view.open("text").handle
    view(protocol.ADVISE, handle=handle, offset=0, length=100, advice=protocol.ADVICE[advice])
    fields = {"handle": handle, "offset": 0}
    assert view.outcome(protocol.ADVISE, **fields, length=-1, advice=0) == "EINVAL"
    assert view.outcome(protocol.ADVISE, **fields, length=0, advice=77) == "EINVAL"


# ------------------------------------------------------------------------------------------------ directories

READDIR = {"offset": 0, "count": 1000, "mask": 0}


def entries_of(view: View, name: str, count: int, mask: int = 0) -> List[Any]:
    handle, offset, found = view.open(name).handle, 0, []
    while True:
        reply = view(protocol.READDIR, handle=handle, offset=offset, count=count, mask=mask)
        found += reply.entries
        assert len(reply.entries) <= count
        if reply.end:
            return found
        offset = reply.entries[-1].offset


@pytest.mark.parametrize("count", [1, 7, 1000, 2**32 - 1])
@pytest.mark.parametrize("name", ["dir/deeper", ".", "tight"])
def test_readdir_gives_each_entry_once(view: View, box: Path, name: str, count: int) -> None:
    here = {os.fsencode(e.name): e.inode() for e in os.scandir(box / name)}
    for own in (".", ".."):
        here[os.fsencode(own)] = os.stat(box / name / own).st_ino
    found = entries_of(view, name, count)
    assert len(found) == len(here) and {entry.name: entry.ino for entry in found} == here


def test_readdir_with_attributes(view: View, box: Path) -> None:
    types = {stat.S_IFREG: 8, stat.S_IFDIR: 4, stat.S_IFLNK: 10, stat.S_IFIFO: 1, stat.S_IFSOCK: 12}
    for entry in entries_of(view, ".", 1000, mask=ALL_STAT):
        if entry.name in (b".", b".."):
            continue
        here = facts_here(os.path.join(os.fsencode(box), entry.name), NOFOLLOW)
        assert facts(protocol.STAT.parse(entry.stat)) == here
        assert entry.type == types[stat.S_IFMT(here["st_mode"])]


def test_readdir_leaves_out_the_attributes_of_what_goes_meanwhile(plain: Session, tmp_path: Path) -> None:
    (tmp_path / "here").touch()
    gone = os.open(tmp_path, os.O_RDONLY)
    assert operations._attributes(gone, b"here", 0x7FF) and operations._attributes(gone, b"gone", 0x7FF) == b""
    os.close(gone)


def test_entries_say_whether_they_have_extended_attributes(view: View, box: Path) -> None:
    try:
        os.setxattr(box / "text", "user.remotec", b"value")
    except OSError:
        pytest.skip("no extended attributes here")
    flags = {entry.name: entry.flags for entry in entries_of(view, ".", 1000, mask=1)}
    assert flags[b"text"] == 0 and flags[b"empty"] == protocol.ENTRY_FLAGS["ENTRY_NO_XATTRS"]
    os.removexattr(box / "text", "user.remotec")


def test_readdir_of_what_is_no_directory(view: View) -> None:
    handle = view.open("text").handle
    assert view.outcome(protocol.READDIR, handle=handle, **READDIR) == "ENOTDIR"


# ---------------------------------------------------------------------------------------- attributes and limits


@pytest.fixture
def coloured(box: Path) -> Iterator[None]:
    try:
        os.setxattr(box / "text", "user.colour", b"gr\0een")
        os.setxattr(box / "dir", "user.big", b"x" * 3000)
    except OSError:
        pytest.skip("no extended attributes here")
    yield
    os.removexattr(box / "text", "user.colour")
    os.removexattr(box / "dir", "user.big")


@pytest.mark.usefixtures("coloured")
@pytest.mark.parametrize("name", ["text", "dir", "link", "linkdir", "missing", "empty", "fifo", "dangling"])
@pytest.mark.parametrize("key", [b"user.colour", b"user.big", b"user.none", b"nonsense"])
def test_getxattr(view: View, box: Path, name: str, key: bytes) -> None:
    for flags in (0, NOFOLLOW):
        here = outcome(os.getxattr, box / name, key, follow_symlinks=not flags)
        there = view.outcome(protocol.GETXATTR, **view.at(name), flags=flags, name=key, size=65536)
        assert there == (here if isinstance(here, str) else (len(here), here))


def test_names_that_only_proc_makes_too_long(view: View, box: Path) -> None:
    """getxattr, listxattr and pathconf take no directory; links are forty at most, a path 4095 bytes."""
    directory = view(protocol.OPEN, **view.at("."), flags=OPEN_FLAGS["O_PATH"], **OPENING).handle
    path = b"./" * 2040 + b"text"
    asked: Dict[str, Any] = {"directory": directory, "path": path, "flags": 0}
    assert view(protocol.LISTXATTR, **asked, size=0).size == len(os.listxattr(box / "text"))
    assert view.outcome(protocol.GETXATTR, **asked, size=0, name=b"user.none") == "ENODATA"
    assert view(protocol.PATHCONF_PATH, **asked, name=protocol.PATHCONF["_PC_NAME_MAX"]).value == 255
    assert view.outcome(protocol.LISTXATTR, **{**asked, "path": path + b"x"}, size=0) == "ENOENT"


@pytest.mark.usefixtures("coloured")
def test_the_room_for_an_xattr(view: View) -> None:
    asked = {**view.at("text"), "flags": 0, "name": b"user.colour"}
    assert tuple(view(protocol.GETXATTR, **asked, size=0)) == (6, b"")
    assert tuple(view(protocol.GETXATTR, **asked, size=6)) == (6, b"gr\0een")
    assert view.outcome(protocol.GETXATTR, **asked, size=5) == "ERANGE"
    names = view(protocol.LISTXATTR, **view.at("text"), flags=0, size=1000)
    assert b"user.colour" in names.names.split(b"\0") and len(names.names) == names.size
    assert view(protocol.LISTXATTR, **view.at("text"), flags=0, size=0).size == names.size
    assert view.outcome(protocol.LISTXATTR, **view.at("text"), flags=0, size=1) == "ERANGE"
    handle = view.open("text").handle
    asked = {"directory": handle, "path": b"", "flags": EMPTY_PATH, "name": b"user.colour"}
    assert view(protocol.GETXATTR, **asked, size=99).value == b"gr\0een"


@pytest.mark.parametrize("key", [b"", b"user." + b"x" * 251, b"user.colour\0"])
def test_names_that_no_xattr_has(view: View, key: bytes) -> None:
    assert view.outcome(protocol.GETXATTR, **view.at("text"), flags=0, name=key, size=9) == "ERANGE"


@pytest.mark.parametrize("name", ["text", "dir", "link", "missing", "fifo"])
def test_statfs(view: View, box: Path, name: str) -> None:
    there = view.outcome(protocol.STATFS, **view.at(name), flags=0)
    here = outcome(lambda: os.statvfs(box / name))
    if isinstance(here, str):
        assert there == here
        return
    assert (there.bsize, there.frsize, there.blocks, there.files) == (
        here.f_bsize, here.f_frsize, here.f_blocks, here.f_files)  # fmt: skip
    assert there.namelen == here.f_namemax and there.type
    assert there.mount_flags & 0x1F == here.f_flag & 0x1F  # statvfs leaves out ST_VALID


@pytest.mark.parametrize("name", list(protocol.PATHCONF))
def test_pathconf(view: View, box: Path, name: str) -> None:
    for path in ("text", "dir", "missing"):
        number = os.pathconf_names.get(name[1:])
        here = "EINVAL" if number is None else outcome(os.pathconf, box / path, number)
        if path == "missing" and number is not None and view.prefix == b"":
            here = "ENOENT"  # libc doesn't look at the path for all of them
        there = view.outcome(protocol.PATHCONF_PATH, **view.at(path), flags=0, name=protocol.PATHCONF[name])
        assert there == (here if isinstance(here, str) else (here,))


def test_pathconf_of_a_name_that_is_none(view: View) -> None:
    assert view.outcome(protocol.PATHCONF_PATH, **view.at("text"), flags=0, name=999) == "EINVAL"


# --------------------------------------------------------------------------------------------- what a handle is


def test_getpath_follows_the_file(plain: Session, tmp_path: Path) -> None:
    for session, prefix in ((plain, tmp_path), (session_of(Server(os.fsencode(tmp_path))), Path("/"))):
        view = View(session, os.fsencode("" if prefix == Path("/") else prefix))
        (tmp_path / "old").write_text("x")
        handle = view.open("old", OPEN_FLAGS["O_NONBLOCK"]).handle
        assert view(protocol.GETPATH, handle=handle).path == os.fsencode(prefix / "old")
        (tmp_path / "old").rename(tmp_path / "new (deleted)")
        assert view(protocol.GETPATH, handle=handle).path == os.fsencode(prefix / "new (deleted)")
        described = view(protocol.DESCRIBE, handle=handle)
        assert (described.kind, described.flags) == (HANDLE_KINDS["KIND_POSITIONED"], OPEN_FLAGS["O_NONBLOCK"])
        assert described.path == os.fsencode(prefix / "new (deleted)") and described.stat.size == 1
        (tmp_path / "new (deleted)").unlink()
        assert view.outcome(protocol.GETPATH, handle=handle) == "ENOENT"
        assert view(protocol.DESCRIBE, handle=handle).path == b""
    session.server.close()


def test_set_flags_changes_two_of_them(view: View) -> None:
    handle = view.open("text", OPEN_FLAGS["O_NOATIME"]).handle
    append, nonblock = OPEN_FLAGS["O_APPEND"], OPEN_FLAGS["O_NONBLOCK"]
    for flags in (append | nonblock | OPEN_FLAGS["O_DIRECTORY"] | 1, 0):
        view(protocol.SET_FLAGS, handle=handle, flags=flags)
        expected = OPEN_FLAGS["O_NOATIME"] | flags & (append | nonblock)
        assert view(protocol.DESCRIBE, handle=handle).flags == expected


@pytest.mark.skipif(os.uname().machine not in ("x86_64", "aarch64"), reason="numbers of its own")
@pytest.mark.parametrize(
    "name, number, size", [("FIGETBSZ", 2, 4), ("FIONREAD", 0x541B, 4), ("FS_IOC_GETFLAGS", 0x80086601, 4),
                           ("FS_IOC_GETVERSION", 0x80087601, 4), ("FS_IOC_FSGETXATTR", 0x801C581F, 28),
                           ("BLKGETSIZE64", 0x80081272, 8), ("BLKSSZGET", 0x1268, 4), ("BLKROGET", 0x125E, 4),
                           ("BLKPBSZGET", 0x127B, 4)],
)  # fmt: skip
@pytest.mark.parametrize("path", ["text", "dir", "fifo"])
def test_ioctl(view: View, box: Path, path: str, name: str, number: int, size: int) -> None:
    fd = opened_here(box / path)
    form = "Q" if size == 8 else f"{size // 4}I"

    def here() -> Tuple[int, ...]:
        return struct.unpack("=" + form, fcntl.ioctl(fd, number, bytes(32))[:size])

    def there() -> Tuple[int, ...]:
        asked = {"handle": view.open(path, OPEN_FLAGS["O_NONBLOCK"]).handle, "request": protocol.IOCTLS[name]}
        return struct.unpack(">" + form, view(protocol.IOCTL, **asked).value)

    assert outcome(there) == outcome(here)
    os.close(fd)


def test_an_ioctl_that_is_not_forwarded_is_enotty(view: View) -> None:
    assert view.outcome(protocol.IOCTL, handle=view.open("text").handle, request=99) == "ENOTTY"


# ---------------------------------------------------------------------------------------------------- locks

READ_LOCK, WRITE_LOCK, UNLOCK = (protocol.LOCK_TYPES[name] for name in ("F_RDLCK", "F_WRLCK", "F_UNLCK"))
QUERY, SET, WHOLE = (protocol.LOCK_COMMANDS[name] for name in ("LOCK_QUERY", "LOCK_SET", "LOCK_WHOLE"))


def lock(view: View, handle: int, command: int, kind: int, start: int = 0, length: int = 0) -> Any:
    return view(protocol.LOCK, handle=handle, command=command, type=kind, start=start, length=length)


def test_range_locks_are_real_ones_and_belong_to_the_handle(view: View, box: Path) -> None:
    one, two = view.open("text").handle, view.open("text").handle
    assert tuple(lock(view, one, SET, READ_LOCK, 10, 20)) == (READ_LOCK, 10, 20, 0)
    with open(box / "text", "r+b") as here:
        blocked = struct.pack("@hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
        kind, _, start, length, pid = struct.unpack("@hhqqi4x", fcntl.fcntl(here, 36, blocked))
        assert (kind, start, length, pid) == (fcntl.F_RDLCK, 10, 20, -1)
        fcntl.fcntl(here, 37, struct.pack("@hhqqi4x", fcntl.F_WRLCK, 0, 100, 5, 0))
        assert outcome(lambda: lock(view, two, SET, READ_LOCK, 0, 0)) == "EAGAIN"
        found = lock(view, two, QUERY, READ_LOCK, 0, 0)
        assert (found.type, found.start, found.length, found.pid) == (WRITE_LOCK, 100, 5, -1)
    assert lock(view, two, QUERY, READ_LOCK, 0, 0).type == UNLOCK
    assert lock(view, two, QUERY, WRITE_LOCK, 0, 0).type == READ_LOCK
    assert outcome(lambda: lock(view, two, SET, WRITE_LOCK, 0, 5)) == "EBADF"  # it isn't open for writing
    view(protocol.CLOSE, handle=one)
    assert lock(view, two, QUERY, WRITE_LOCK, 0, 0).type == UNLOCK


def test_whole_locks_are_flock(view: View, box: Path) -> None:
    handle = view.open("text").handle
    with open(box / "text", "rb") as here:
        lock(view, handle, WHOLE, WRITE_LOCK)
        with pytest.raises(BlockingIOError):
            fcntl.flock(here, fcntl.LOCK_SH | fcntl.LOCK_NB)
        lock(view, handle, WHOLE, UNLOCK)
        fcntl.flock(here, fcntl.LOCK_SH | fcntl.LOCK_NB)
        assert outcome(lambda: lock(view, handle, WHOLE, WRITE_LOCK)) == "EAGAIN"
        lock(view, handle, WHOLE, READ_LOCK)


def test_locks_that_there_are_not(view: View) -> None:
    handle = view.open("text").handle
    assert outcome(lambda: lock(view, handle, SET, 9)) == "EINVAL"
    assert outcome(lambda: lock(view, handle, 9, READ_LOCK)) == "EINVAL"
    assert outcome(lambda: lock(view, handle, SET, READ_LOCK, -5, 2)) == "EINVAL"


# ---------------------------------------------------------------------------------------- polling and watching


def poll(view: View, handle: int, events: int, timeout_ms: int = 0) -> Any:
    result = view(protocol.POLL, handle=handle, events=events, timeout_ms=timeout_ms)
    return result if isinstance(result, Waiting) else result.events


def test_poll_is_poll(view: View, box: Path) -> None:
    events = protocol.POLL_EVENTS
    both = events["POLLIN"] | events["POLLOUT"]
    for name in ("text", "dir"):
        assert poll(view, view.open(name).handle, both) == both
    assert poll(view, view.open("text").handle, events["POLLPRI"]) == 0
    assert poll(view, view.open("text", OPEN_FLAGS["O_PATH"]).handle, both) == events["POLLNVAL"]
    fifo = view.open("fifo", OPEN_FLAGS["O_NONBLOCK"]).handle
    writer = opened_here(box / "fifo", os.O_WRONLY)
    assert poll(view, fifo, both) == 0
    waiting = poll(view, fifo, events["POLLIN"], 500)
    assert waiting[1:3] == (select.POLLIN, 500) and waiting.finish(0) == (0,)
    os.write(writer, b"x")
    assert poll(view, fifo, both, -1) == events["POLLIN"]
    os.close(writer)
    assert view(protocol.READ, handle=fifo, count=9) == b"x"
    assert poll(view, fifo, 0, -1) == events["POLLHUP"]


def watch_events(view: View, handle: int) -> List[Tuple[int, int, bytes]]:
    data, found = view(protocol.READ, handle=handle, count=4096), []
    while data:
        length = int.from_bytes(data[12:16], "big")
        event = protocol.WATCH_EVENT.parse(data[: 16 + length])
        found.append((event.wd, event.mask, event.name))
        data = data[16 + length :]
    return found


def test_watches(plain: Session, tmp_path: Path) -> None:
    view = View(plain, os.fsencode(tmp_path))
    masks = protocol.WATCH_EVENTS
    watch = view(protocol.WATCH_OPEN, flags=OPEN_FLAGS["O_NONBLOCK"]).handle
    wd = view(protocol.WATCH_ADD, handle=watch, **view.at("."), mask=masks["IN_CREATE"] | masks["IN_DELETE"]).wd
    assert view.outcome(protocol.READ, handle=watch, count=4096) == "EAGAIN"
    (tmp_path / "file").touch()
    (tmp_path / "dir").mkdir()
    (tmp_path / "file").unlink()
    assert watch_events(view, watch) == [
        (wd, masks["IN_CREATE"], b"file"),
        (wd, masks["IN_CREATE"] | masks["IN_ISDIR"], b"dir"),
        (wd, masks["IN_DELETE"], b"file"),
    ]
    view(protocol.WATCH_REMOVE, handle=watch, wd=wd)
    assert watch_events(view, watch) == [(wd, masks["IN_IGNORED"], b"")]
    assert view.outcome(protocol.WATCH_REMOVE, handle=watch, wd=wd) == "EINVAL"
    assert view.outcome(protocol.READ, handle=watch, count=1) in ("EAGAIN", "EINVAL")
    view(protocol.SET_FLAGS, handle=watch, flags=0)
    waiting = view(protocol.READ, handle=watch, count=4096)
    assert isinstance(waiting, Waiting) and isinstance(waiting.finish(0), Waiting)
    directory = view.open(".").handle
    for operation, fields in (
        (protocol.WATCH_ADD, {**view.at("."), "mask": masks["IN_CREATE"]}),
        (protocol.WATCH_REMOVE, {"wd": 1}),
    ):
        assert view.outcome(operation, handle=directory, **fields) == "EINVAL"


def test_a_link_itself_can_be_watched(tmp_path: Path) -> None:
    """With a root too, where the path is a descriptor by then."""
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    for server, prefix in ((Server(), tmp_path), (Server(os.fsencode(tmp_path)), "")):
        view, masks = View(session_of(server), os.fsencode(prefix)), protocol.WATCH_EVENTS
        watch = view(protocol.WATCH_OPEN, flags=OPEN_FLAGS["O_NONBLOCK"]).handle
        followed = view(protocol.WATCH_ADD, handle=watch, **view.at("link"), mask=masks["IN_ATTRIB"]).wd
        itself = {**view.at("link"), "mask": masks["IN_ATTRIB"] | masks["IN_DONT_FOLLOW"]}
        own = view(protocol.WATCH_ADD, handle=watch, **itself).wd
        assert own != followed
        os.utime(tmp_path / "link", (0, 0), follow_symlinks=False)
        os.utime(tmp_path / "file", (0, 0))
        assert watch_events(view, watch) == [(own, masks["IN_ATTRIB"], b""), (followed, masks["IN_ATTRIB"], b"")]
        server.close()


# ----------------------------------------------------------------------------------------------- confinement

ESCAPES = [b"/../secret", b"../secret", b"/dir/../../secret", b"/out", b"out", b"/linkdir/../../secret"]


def inode(session: Session, directory: int, path: bytes, flags: int = 0) -> Any:
    asked = {"directory": directory, "path": path, "flags": flags, "mask": ALL_STAT}
    return outcome(lambda: call(session, protocol.STAT_PATH, **asked).stat.ino)


@pytest.mark.parametrize("path", ESCAPES)
def test_nothing_leads_out_of_the_root(rooted: Session, box: Path, path: bytes) -> None:
    """`..` ends at the root, and so do links with more of them than there are directories."""
    root = View(rooted, b"")
    deeper = root.open("dir/deeper").handle
    for directory in (0, root.open(".").handle):
        assert inode(rooted, directory, path) == "ENOENT"
        assert root.outcome(protocol.OPEN, directory=directory, path=path, flags=0, **OPENING) == "ENOENT"
    up = b"../" * 9
    assert inode(rooted, deeper, up + b"text") == os.stat(box / "text").st_ino
    assert inode(rooted, deeper, up + b"secret") == "ENOENT"


def test_absolute_links_start_at_the_root(rooted: Session, box: Path) -> None:
    assert inode(rooted, 0, b"/absolute") == os.stat(box / "dir" / "file").st_ino
    assert inode(rooted, 0, b"/far") == "ENOENT"
    assert inode(rooted, 0, b"/etc/passwd") == "ENOENT"


def test_the_parent_of_the_root_is_the_root(rooted: Session, box: Path) -> None:
    for path in (b"/", b"/..", b"/../..", b"/dir/..", b"."):
        assert inode(rooted, 0, path) == os.stat(box).st_ino


@pytest.mark.parametrize("flags", [0, 1, OPEN_FLAGS["O_CREAT"], OPEN_FLAGS["O_CREAT"] | OPEN_FLAGS["O_EXCL"]])
def test_open_does_not_tell_what_is_outside(rooted: Session, box: Path, flags: int) -> None:
    """A file that is there outside, and one that isn't, are the same: nothing is there."""
    def ask(path: bytes) -> Any:
        return outcome(lambda: call(rooted, protocol.OPEN, directory=0, path=path, flags=flags, **OPENING))

    present, absent = os.fsencode(box.parent / "secret"), os.fsencode(box.parent / "nothing")
    assert ask(present) == ask(absent) == "ENOENT"
    assert ask(b"/../secret") == ask(b"/nothing") == ("EROFS" if flags & OPEN_FLAGS["O_CREAT"] else "ENOENT")
    assert ask(b"/text") != "ENOENT"


def test_links_of_proc_lead_nowhere(box: Path) -> None:
    """/proc/self/root would lead out of any root that has a /proc."""
    server = Server(b"/proc")
    session = session_of(server)
    for path in (b"/self/root/etc", b"/self/cwd", b"/self/fd/0"):
        assert inode(session, 0, path) in ("ELOOP", "ENOENT", "EXDEV")
    server.close()


@pytest.mark.parametrize("operation", [protocol.ACCESS_PATH, protocol.STATFS, protocol.GETXATTR, protocol.LISTXATTR,
                                       protocol.PATHCONF_PATH, protocol.READLINK, protocol.WATCH_ADD],
                         ids=lambda operation: operation.name)  # fmt: skip
@pytest.mark.parametrize("path", ESCAPES)
def test_no_operation_leads_out(rooted: Session, operation: Operation, path: bytes) -> None:
    fields: Dict[str, Any] = dict.fromkeys(operation.request.fields, 0)
    fields.update({"path": path, "name": b"user.x" if operation is protocol.GETXATTR else 3})
    if operation is protocol.WATCH_ADD:
        fields.update(handle=call(rooted, protocol.WATCH_OPEN, flags=0).handle, mask=2)
    fields = {name: fields[name] for name in operation.request.fields}
    there = outcome(lambda: call(rooted, operation, **fields))
    assert there == "ENOENT" or (operation is protocol.READLINK and there.target == b"../secret")


def test_a_directory_moved_out_of_the_root_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "root" / "dir").mkdir(parents=True)
    (tmp_path / "root" / "file").write_text("another file")
    (tmp_path / "root" / "dir" / "file").write_text("the file")
    server = Server(os.fsencode(tmp_path / "root"))
    session = session_of(server)
    directory = View(session, b"").open("dir").handle
    (tmp_path / "root" / "dir").rename(tmp_path / "dir")
    assert inode(session, directory, b"file") == "ENOENT"
    assert inode(session, directory, b"../root/file") == "ENOENT"
    assert outcome(lambda: call(session, protocol.GETPATH, handle=directory)) == "ENOENT"
    server.close()


def test_a_root_that_is_renamed_is_still_the_root(tmp_path: Path) -> None:
    (tmp_path / "root" / "dir").mkdir(parents=True)
    (tmp_path / "root" / "dir" / "file").touch()
    server = Server(os.fsencode(tmp_path / "root"))
    session = session_of(server)
    directory = View(session, b"").open("dir").handle
    (tmp_path / "root").rename(tmp_path / "elsewhere")
    expected = os.stat(tmp_path / "elsewhere" / "dir" / "file").st_ino
    assert inode(session, directory, b"file") == inode(session, 0, b"/dir/file") == expected
    assert call(session, protocol.GETPATH, handle=directory).path == b"/dir"
    server.close()


def test_a_race_with_links_never_leads_out(tmp_path: Path) -> None:
    """A directory in the path is a link that leads out, now and then."""
    root = tmp_path / "root"
    for directory in (root / "real", tmp_path / "outside", root / "swap"):
        directory.mkdir(parents=True)
    (root / "real" / "file").write_text("inside")
    (tmp_path / "outside" / "file").write_text("outside")
    (root / "swap").rmdir()
    server = Server(os.fsencode(root))
    session = session_of(server)
    root_view = View(session, b"")
    over = threading.Event()

    def swap() -> None:
        while not over.is_set():
            for target in ("real", "../outside", str(tmp_path / "outside")):
                (root / "new").symlink_to(target)
                (root / "new").rename(root / "swap")

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        outside, seen = os.stat(tmp_path / "outside" / "file").st_ino, set()
        for _ in range(3000):
            seen.add(inode(session, 0, b"/swap/file"))
            there = root_view.outcome(protocol.OPEN, **root_view.opening("swap/file", prefetch=100))
            if not isinstance(there, str):
                assert there.data == b"inside"
                call(session, protocol.CLOSE, handle=there.handle)
    finally:
        over.set()
        thread.join()
        server.close()
    assert outside not in seen and os.stat(root / "real" / "file").st_ino in seen
