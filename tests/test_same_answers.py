# SPDX-License-Identifier: MIT
"""_fast answers with the bytes that pure Python does, about paths of every kind, with and without a root; and alone."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import socket
import tempfile
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from remotec import protocol, server
from remotec.client import Client
from remotec.operations import ALL_STAT, AT_FDCWD, CAN_LOOK, look
from remotec.protocol import AT_FLAGS, OPEN_FLAGS, RESOLVE, Operation
from remotec.session import Connection
from test_server import MODES, Served

pytestmark = pytest.mark.skipif("fast" not in MODES, reason="no _fast")

NOFOLLOW, EMPTY_PATH = AT_FLAGS["AT_SYMLINK_NOFOLLOW"], AT_FLAGS["AT_EMPTY_PATH"]
PREFETCH = 1 << 16
Step = Tuple[Operation, Dict[str, Any]]
PATHS = [
    *(b"text empty large dir link linkdir dangling loop absolute up fifo socket missing".split()),
    *(b"text/ dir/ dir/. dir/.. .. . // link/ linkdir/ linkdir/file text/x missing/x dangling/x fifo/".split()),
    *(b"/ /text /missing /.. /../text /dir/../text /out /far /dir/../../secret ../secret out".split()),
    *(b"tight/x named\xff (deleted)/file".split(b" /")),
    *(b"", b"\0", b"text\0", b"/" * 4095, b"/" * 4096, b"dir/" * 1000 + b"file", b"x" * 255, b"x" * 256),
    *(b"/etc/passwd", b"/proc/self/root/missing", b"/proc/version/x"),
]


@pytest.fixture
def box() -> Iterator[Path]:
    """Of short names, so that below the root and above it the longest paths are too long alike."""
    outside = Path(tempfile.mkdtemp(prefix="rc"))
    box = outside / "box"
    (box / "dir").mkdir(parents=True)
    (box / "named (deleted)").mkdir()
    (box / "tight").mkdir()
    (outside / "secret").write_text("secret")
    for name, size in {"text": 3000, "empty": 0, "large": PREFETCH + 1, "dir/file": PREFETCH, "tight/x": 1,
                       "named (deleted)/file": 2}.items():  # fmt: skip
        (box / name).write_bytes(b"x" * size)
    (box / "tight").chmod(0o500)
    links = {"link": "text", "linkdir": "dir", "dangling": "nowhere", "loop": "loop", "absolute": "/dir/file",
             "up": "dir/../text", "out": "../secret", "far": "../../../../../etc/passwd"}  # fmt: skip
    for name, target in links.items():
        (box / name).symlink_to(target)
    os.mkfifo(box / "fifo")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(box / "socket"))
    for i in range(300):
        (box / "dir" / f"entry {i}").touch()
    try:
        os.setxattr(box / "dir" / "entry 7", b"user.colour", b"red")
    except OSError:
        pass
    yield box
    (box / "tight").chmod(0o700)
    shutil.rmtree(outside)


def opening(directory: int, path: bytes, flags: int = 0, prefetch: int = PREFETCH, resolve: int = 0) -> Step:
    fields = {"directory": directory, "flags": flags, "mode": 0, "resolve": resolve, "prefetch": prefetch}
    return protocol.OPEN, {**fields, "path": path}


def asking(directory: int, path: bytes, flags: int = 0, mask: int = ALL_STAT) -> Step:
    return protocol.STAT_PATH, {"directory": directory, "flags": flags, "mask": mask, "path": path}


def listing(handle: int, mask: int, offset: int = 0, count: int = 1000) -> Step:
    return protocol.READDIR, {"handle": handle, "offset": offset, "count": count, "mask": mask}


def script(base: bytes) -> List[Step]:
    """Every question about every path; the handles are those of a session's start: 1, 2, …"""
    steps = [opening(0, base or b"/", OPEN_FLAGS["O_DIRECTORY"]), opening(1, b"text"), opening(1, b"dir", prefetch=0)]
    steps += [opening(1, b".", OPEN_FLAGS["O_PATH"])]
    places = [(directory, before + path) for path in PATHS for directory, before in ((1, b""), (0, base), (0, b"/"))]
    places += [(4, b"text"), (3, b"file"), (3, b"../text"), (2, b"x"), (9999, b"text"), (1 << 32 | 1, b"text")]
    for at in places:
        steps += [asking(*at, flags) for flags in (0, NOFOLLOW, EMPTY_PATH)]
        steps += [(protocol.READLINK, {"directory": at[0], "path": at[1]})]
        for flag in (0, OPEN_FLAGS["O_NOFOLLOW"] | OPEN_FLAGS["O_NONBLOCK"], OPEN_FLAGS["O_DIRECTORY"]):
            if b"fifo" not in at[1] or flag & OPEN_FLAGS["O_NONBLOCK"]:
                above = at[1].endswith(b"..") or set(at[1]) <= set(b"/.")  # others may change it
                steps += [opening(*at, flag, 0 if above else PREFETCH)]
    for flags in OPEN_FLAGS.values():
        steps += [opening(1, path, flags) for path in (b"text", b"dir", b"link", b"missing")]
    for mode in (1, 2, 3):
        steps += [opening(1, path, mode) for path in (b"text", b"dir", b"missing")]
    steps += [opening(1, b"text", prefetch=size) for size in (0, 1, 2999, 3000, 2**32 - 1)]
    steps += [opening(1, path, resolve=bit) for path in (b"text", b"link", b"../text") for bit in RESOLVE.values()]
    steps += [asking(1, b"text", flags) for flags in (*AT_FLAGS.values(), 0x6000, 1, 1 << 31)]
    steps += [asking(1, b"text", 0, mask) for mask in (0, 1, 0x7FF, 0xFFFF, 1 << 31, 2**32 - 1)]
    steps += [asking(handle, b"", EMPTY_PATH) for handle in (0, 1, 2, 3, 4, 77777)]
    steps += [(protocol.FSTAT, {"handle": handle, "mask": 0x7FF}) for handle in (0, 1, 2, 3, 4, 77777)]
    steps += [listing(handle, mask) for handle in (0, 1, 2, 3, 4, 77777) for mask in (0, 0x7FF, 1 << 31)]
    steps += [listing(3, 0x7FF, 0, count) for count in (0, 1, 7, 299, 2**32 - 1)]
    steps += [listing(3, 0, offset) for offset in (-1, 5)]
    return steps + [(protocol.CLOSE, {"handle": handle}) for handle in (2, 2, 0, 77777, 1, 1 << 32 | 2)] + [
        asking(1, b"text"), asking(4, b"text"), opening(4, b"text"), opening(4, b"dir/file"),
    ]  # fmt: skip


def answers(client: Client, steps: List[Step], together: int) -> List[bytes]:
    """The replies, header and all; so many requests are under way at a time."""
    found = []
    for i in range(0, len(steps), together):
        some = steps[i : i + together]
        for operation, fields in some:
            client.send(operation, **fields)
        for _ in some:
            header, payload = client.receive()
            found.append(protocol.HEADER.build(*header) + bytes(payload))
    return found


@pytest.mark.parametrize("rooted", [False, True])
def test_both_modes_answer_with_the_same_bytes(box: Path, tmp_path: Path, rooted: bool) -> None:
    steps = script(b"" if rooted else os.fsencode(box) + b"/")
    options = ["--root", str(box)] if rooted else []
    said: List[List[bytes]] = []
    for mode, together in (("pure", 20), ("pure", 20), ("fast", 20), ("fast", 1)):
        served = Served(mode, tmp_path / "log", *options)
        with served.client() as client:
            said.append(answers(client, steps, together))
        assert served.end() == (0, "")
    for step, _, pure, *fast in zip(steps, *said):  # the first moved the times of last access
        assert fast == [pure, pure], (step[0].name, step[1])


# ------------------------------------------------------------------------------------------ what C does alone


def in_process(box: Path, rooted: bool, act: Callable[[Client], None]) -> None:
    """act(client), with a server of this process."""

    async def scene() -> None:
        listener = server.open_listener("127.0.0.1:0", False)
        options = server.ServeOptions(root=os.fsencode(box) if rooted else None)
        host = server.Host(asyncio.get_running_loop(), options, server.accelerated())
        host.listen(listener)

        def talk() -> None:
            with Client(server.name_of(listener)) as client:
                act(client)

        try:
            await asyncio.to_thread(talk)
        finally:
            host.close()

    asyncio.run(scene())


def is_known_missing(path: Path) -> bool:
    """Whether the kernel remembers that there's no such file, as it does on disks."""
    try:
        return path.exists() or look(AT_FDCWD, os.fsencode(path), 0, 0) < 0
    except OSError as error:
        return error.errno == errno.ENOENT


@pytest.mark.skipif(not CAN_LOOK, reason="Linux before 5.12")
@pytest.mark.parametrize("rooted", [False, True])
def test_what_a_walk_asks_costs_no_python(box: Path, monkeypatch: pytest.MonkeyPatch, rooted: bool) -> None:
    handled: List[str] = []
    plain = Connection.handle

    def handle(self: Connection, operation: int, *others: Any) -> bytes:
        handled.append(protocol.OPERATIONS[operation].name)
        return plain(self, operation, *others)

    monkeypatch.setattr(Connection, "handle", handle)
    base = b"/" if rooted else os.fsencode(box) + b"/"
    later = time.time_ns() + 10**10  # to note a link's first access is a reason to wait
    os.utime(box / "linkdir", ns=(later, 0), follow_symlinks=False)

    def walk(client: Client) -> None:
        top = client.call(protocol.OPEN, **opening(0, base, OPEN_FLAGS["O_DIRECTORY"])[1]).handle
        assert handled == ["HELLO", "OPEN"]
        del handled[:]
        for directory, before in ((top, b""), (0, base)):
            text = client.call(protocol.OPEN, **opening(directory, before + b"text", OPEN_FLAGS["O_NOFOLLOW"])[1])
            assert text.data == b"x" * 3000
            below = client.call(protocol.STAT_PATH, **asking(directory, before + b"linkdir/file")[1])
            assert below.stat.size == PREFETCH
            assert client.call(protocol.READLINK, directory=directory, path=before + b"link").target == b"text"
            if is_known_missing(box / "missing"):
                with pytest.raises(FileNotFoundError):
                    client.call(protocol.STAT_PATH, **asking(directory, before + b"missing")[1])
            client.call(protocol.FSTAT, handle=top, mask=ALL_STAT)
            client.send(protocol.CLOSE, one_way=True, handle=text.handle)
        client.call(protocol.CLOSE, handle=top)
        assert handled == []
        assert client.call(protocol.STATUS).handles == 0

    in_process(box, rooted, walk)


def test_a_directory_moved_out_of_the_root_or_removed_leads_nowhere(box: Path, tmp_path: Path) -> None:
    for mode in MODES:
        served = Served(mode, tmp_path / "log", "--root", str(box))
        with served.client() as client:
            for name in ("moved", "removed"):
                (box / name).mkdir()
                (box / name / "file").write_text("x")
                step = opening(0, os.fsencode(name), OPEN_FLAGS["O_DIRECTORY"])
                handle = client.call(step[0], **step[1]).handle
                step = asking(handle, b"file")
                assert client.call(step[0], **step[1]).stat.size == 1
                if name == "moved":
                    (box / name).rename(box.parent / name)
                else:
                    shutil.rmtree(box / name)
                for operation, fields in (step, opening(handle, b"file"), asking(handle, b"../secret")):
                    with pytest.raises(FileNotFoundError):
                        client.call(operation, **fields)
            box.rename(box.parent / "renamed")
            assert client.call(protocol.STAT_PATH, **asking(0, b"text")[1]).stat.size == 3000
            (box.parent / "renamed").rename(box)
            shutil.rmtree(box.parent / "moved")
        assert served.end() == (0, "")
