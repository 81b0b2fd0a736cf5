# SPDX-License-Identifier: MIT
"""A file system that hangs delays nobody but who asks for it: a FUSE mount whose server stops answering."""

from __future__ import annotations

import os
import select
import signal
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

from remotec import mounts, protocol, workers
from remotec.operations import CAN_LOOK, look
from remotec.protocol import HEADER
from remotec.server import accelerated
from stuck import Stuck
from test_scale import reply
from test_server import MODES, Served, eventually, opened, pread, refusal

SOON_S = 20  # far beyond what anything here takes, and far below for ever


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Stuck]:
    (tmp_path / "mount").mkdir()
    try:
        made = Stuck(tmp_path / "mount", {"file": b"content", "large": os.urandom(300_000)})
    except OSError as error:
        pytest.skip(f"no FUSE mount here: {error}")
    yield made
    made.close()


@pytest.fixture(params=MODES)
def served(request: pytest.FixtureRequest, mount: Stuck, tmp_path: Path) -> Iterator[Served]:
    made = Served(request.param, tmp_path / "log")
    yield made
    mount.flowing.set()
    assert made.process.poll() is not None or made.end() == (0, "")


def at(path: Path) -> Dict[str, Any]:
    return {"directory": 0, "path": os.fsencode(path)}


OPENING = {"mode": 0, "resolve": 0, "prefetch": 1 << 16}


def requests(handle: int, directory: int, mount: Path) -> List[Any]:
    """Everything that a mount can be asked."""
    file = at(mount / "file")
    return [
        (protocol.OPEN, {**file, "flags": 0, **OPENING}),
        (protocol.OPEN, {"directory": handle, "path": b"", "flags": 0, **OPENING}),
        (protocol.OPEN, {"directory": directory, "path": b"large", "flags": 0, **OPENING}),
        (protocol.STAT_PATH, {**file, "flags": 0, "mask": 0xFFF}),
        (protocol.STAT_PATH, {**at(mount), "flags": 0, "mask": 0xFFF}),
        (protocol.STAT_PATH, {"directory": handle, "path": b"", "flags": 0x1000, "mask": 0xFFF}),
        (protocol.ACCESS_PATH, {**file, "mode": 4, "flags": 0}),
        (protocol.READLINK, file),
        (protocol.GETXATTR, {**file, "flags": 0, "size": 100, "name": b"user.x"}),
        (protocol.LISTXATTR, {**file, "flags": 0, "size": 100}),
        (protocol.STATFS, {**file, "flags": 0}),
        (protocol.PATHCONF_PATH, {**file, "flags": 0, "name": 4}),
        (protocol.FSTAT, {"handle": handle, "mask": 0xFFF}),
        (protocol.PREAD, {"handle": handle, "offset": 0, "count": 100}),
        (protocol.PREAD, {"handle": handle, "offset": 0, "count": 1 << 20}),
        (protocol.READ, {"handle": handle, "count": 100}),
        (protocol.DESCRIBE, {"handle": handle}),
        (protocol.READDIR, {"handle": directory, "offset": 0, "count": 100, "mask": 0xFFF}),
    ]


def test_nothing_that_is_asked_of_it_holds_up_anybody_else(served: Served, mount: Stuck, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("local")
    with ExitStack() as stack:
        first, other = (stack.enter_context(served.client()) for _ in range(2))
        file, directory = opened(first, mount.where / "file"), opened(first, mount.where)
        local = opened(other, tmp_path / "local")
        asked = requests(file, directory, mount.where)
        clients = [stack.enter_context(served.client(session=first.session, timeout_s=SOON_S)) for _ in asked]
        mount.flowing.clear()
        for client, (operation, fields) in zip(clients, asked):
            client.send(operation, **fields)
            assert pread(other, local) == b"local"
            assert other.call(protocol.STAT_PATH, **at(tmp_path), flags=0, mask=0xFFF).stat.nlink
            other.call(protocol.CLOSE, handle=opened(other, tmp_path / "local"))
            assert refusal(protocol.OPEN, lambda: opened(other, tmp_path / "none")) == "ENOENT"
        mount.flowing.set()
        refusals = {b"EINVAL", b"EOPNOTSUPP", b"ENODATA", b"ENOSYS"}
        for client, (operation, _) in zip(clients, asked):
            header, payload = client.receive()
            assert header.operation == operation.code and (not header.error or bytes(payload) in refusals)


def test_what_it_answers_is_right(served: Served, mount: Stuck) -> None:
    with served.client() as client:
        reply = client.call(protocol.OPEN, **at(mount.where / "file"), flags=0, **OPENING)
        assert (reply.data, reply.stat.size) == (b"content", 7)
        large = opened(client, mount.where / "large")
        assert pread(client, large) == mount.files[1][1]
        assert client.call(protocol.READ, handle=large, count=100).data == mount.files[1][1][:100]
        assert client.call(protocol.READ, handle=large, count=100).data == mount.files[1][1][100:200]
        listing = client.call(protocol.READDIR, handle=opened(client, mount.where), offset=0, count=100, mask=0xFFF)
        assert [entry.name for entry in listing.entries] == [b"file", b"large"]
        assert refusal(protocol.STAT_PATH, lambda: opened(client, mount.where / "none")) == "ENOENT"


def test_through_a_link_it_is_the_same_mount(served: Served, mount: Stuck, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(mount.where)
    with served.client(timeout_s=SOON_S) as client, served.client(timeout_s=SOON_S) as other:
        assert pread(client, opened(client, tmp_path / "link" / "file")) == b"content"
        mount.flowing.clear()
        client.send(protocol.STAT_PATH, **at(tmp_path / "link" / "file"), flags=0, mask=0xFFF)
        assert other.call(protocol.STAT_PATH, **at(tmp_path), flags=0, mask=0xFFF)
        mount.flowing.set()
        assert not client.receive()[0].error


def test_more_who_wait_for_it_than_there_are_threads(served: Served, mount: Stuck, tmp_path: Path) -> None:
    """Its share of the threads is used up; what another file system makes a thread wait for goes on."""
    (tmp_path / "local").mkdir()
    with ExitStack() as stack:
        other = stack.enter_context(served.client(timeout_s=SOON_S))
        local = opened(other, tmp_path / "local")
        clients = [stack.enter_context(served.client(timeout_s=SOON_S)) for _ in range(workers.MOST_THREADS * 2)]
        mount.flowing.clear()
        for client in clients:
            client.send(protocol.STAT_PATH, **at(mount.where / "file"), flags=0, mask=0xFFF)
        for _ in range(3):
            assert other.call(protocol.READDIR, handle=local, offset=0, count=9, mask=0).end == 1
        threads = len(os.listdir(f"/proc/{served.process.pid}/task"))
        assert threads < workers.MOST_OF_A_LANE + workers.KEPT_THREADS + 8
        for client in clients[::2]:
            client.close()  # those that had not begun are forgotten
        mount.flowing.set()
        assert [client.receive()[0].error for client in clients[1::2]] == [0] * (len(clients) // 2)


def test_cancel_ends_the_wait_and_leaves_nothing_open(served: Served, mount: Stuck, tmp_path: Path) -> None:
    (tmp_path / "local").write_text("local")
    with served.client(timeout_s=SOON_S) as client:
        local = opened(client, tmp_path / "local")
        before = served.descriptors()
        for flowing_again in (False, True):
            mount.flowing.clear()
            ids = [client.send(protocol.OPEN, **at(mount.where / "file"), flags=0, **OPENING)]
            ids.append(client.send(protocol.PREAD, handle=local, offset=0, count=9))  # waits behind it
            client.send(protocol.CANCEL, request_id=ids[0], one_way=True)
            answers = [client.receive() for _ in ids]
            assert [header.request_id for header, _ in answers] == ids
            assert answers[0][1] == b"EINTR" and answers[1][1][4:] == b"local"
            if flowing_again:
                mount.flowing.set()
        assert eventually(lambda: served.descriptors() == before)


def test_a_handle_closed_while_a_thread_reads_it(served: Served, mount: Stuck, tmp_path: Path) -> None:
    """Its descriptor's number isn't given to another file before the thread is done."""
    (tmp_path / "other").write_bytes(b"other" * 1000)
    with served.client(timeout_s=SOON_S) as client:
        with served.client(session=client.session, timeout_s=SOON_S) as second:
            handle = opened(client, mount.where / "large")
            before = served.descriptors()
            mount.flowing.clear()
            client.send(protocol.PREAD, handle=handle, offset=0, count=1000)
            time.sleep(0.2)  # the thread has it
            second.call(protocol.CLOSE, handle=handle)
            assert refusal(protocol.PREAD, lambda: pread(second, handle)) == "EBADF"
            others = [opened(second, tmp_path / "other") for _ in range(10)]
            mount.flowing.set()
            header, payload = client.receive()
            assert not header.error and payload[4:] == mount.files[1][1][:1000]
            for each in others:
                second.call(protocol.CLOSE, handle=each)
            assert eventually(lambda: served.descriptors() == before - 1)


def test_a_connection_lost_while_a_thread_opens_for_it(served: Served, mount: Stuck) -> None:
    with served.client() as watcher:
        before = served.descriptors()
        mount.flowing.clear()
        for _ in range(5):
            with served.client() as client:
                client.send(protocol.OPEN, **at(mount.where / "file"), flags=0, **OPENING)
                time.sleep(0.02)
        assert watcher.call(protocol.PING, size=1).data == b"\0"
        mount.flowing.set()
        assert eventually(lambda: served.descriptors() == before)
        assert watcher.call(protocol.STATUS).all_handles == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_server_ends_while_it_hangs(served: Served, mount: Stuck, number: int) -> None:
    with served.client() as client:
        opened(client, mount.where / "file")
        mount.flowing.clear()
        client.send(protocol.STAT_PATH, **at(mount.where / "file"), flags=0, mask=0xFFF)
        time.sleep(0.1)
        # The kernel itself says goodbye for an open file as the process goes, and FUSE must take that.
        threading.Timer(1, mount.flowing.set).start()
        assert served.end(number) == (0, "")


def test_a_mount_made_later_is_known_at_once(served: Served, mount: Stuck, tmp_path: Path) -> None:
    (tmp_path / "later").mkdir()
    with served.client(timeout_s=SOON_S) as client, served.client(timeout_s=SOON_S) as other:
        assert opened(client, tmp_path / "later")
        later = Stuck(tmp_path / "later", {"file": b"later"})
        try:
            handle = opened(client, tmp_path / "later" / "file")
            later.flowing.clear()
            client.send(protocol.PREAD, handle=handle, offset=0, count=9)
            assert other.call(protocol.PING, size=1).data == b"\0"
            later.flowing.set()
            assert client.receive()[1][4:] == b"later"
        finally:
            later.close()


def test_what_waits_behind_it_is_bounded(served: Served, mount: Stuck) -> None:
    """Megabytes of requests behind one that hangs: the server takes what one request may have and no more."""
    with served.client(timeout_s=SOON_S) as client, served.client(timeout_s=SOON_S) as other:
        before = served.peak_mib()
        mount.flowing.clear()
        client.send(protocol.STAT_PATH, **at(mount.where / "file"), flags=0, mask=0xFFF)
        frame = HEADER.build(100_000, 999, 0, 7, 0) + bytes(100_000)
        left = memoryview(frame * 200)
        client.stream.setblocking(False)
        while left and select.select([], [client.stream], [], 0.5)[1]:
            left = left[client.stream.send(left) :]
        assert left  # it stopped reading
        assert other.call(protocol.PING, size=1).data == b"\0"
        assert served.peak_mib() - before < 5
        mount.flowing.set()
        client.stream.settimeout(SOON_S)
        client.stream.sendall(left)
        assert client.receive()[0].operation == protocol.STAT_PATH.code
        assert {reply(client.stream)[1] for _ in range(200)} == {b"ENOSYS"}


def test_the_mount_table_knows_what_is_mounted_and_is_asked_by_many_threads(mount: Stuck) -> None:
    table = mounts.Mounts()
    try:
        ids = {path: look(-100, os.fsencode(path), 0, 0) for path in ("/proc", str(mount.where))}
        assert table.speed(ids["/proc"]) == mounts.MEMORY and table.speed(ids[str(mount.where)]) == mounts.SLOW
        assert table.speed(1 << 40) == mounts.SLOW  # unknown: the worst that there is
        wrong: List[BaseException] = []

        def ask() -> None:
            try:
                for _ in range(3000):
                    assert table.speed(ids["/proc"]) == mounts.MEMORY
            except BaseException as error:
                wrong.append(error)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not wrong
    finally:
        table.close()


@pytest.mark.skipif(not CAN_LOOK, reason="Linux before 5.12")
def test_what_would_have_to_be_waited_for_is_said_beforehand(mount: Stuck) -> None:
    mount.flowing.clear()
    for each in [look, *([accelerated().look] if accelerated() else [])]:
        assert each(-100, os.fsencode(mount.where), 0, 0)
        with pytest.raises(BlockingIOError):
            each(-100, os.fsencode(mount.where / "new"), 0, 0)
