# SPDX-License-Identifier: MIT
"""Many at once: what an idle connection costs, who is served beside thousands of them, how it ends. No timings."""

from __future__ import annotations

import os
import resource
import select
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from remotec import protocol, server, session, sockets
from remotec.client import Client, connect
from remotec.protocol import HEADER, LIMITS
from test_server import MODES, Served, at_end, data_of, eventually, hello, opened, pread

IDLE, ACTIVE = 5000, 200
IDLE_KIB = 64  # that an idle connection may cost the server


@pytest.fixture(autouse=True, scope="module")
def descriptors() -> Iterator[None]:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < IDLE + ACTIVE + 500:
        pytest.skip(f"no more than {before[1]} descriptors here")
    resource.setrlimit(resource.RLIMIT_NOFILE, (before[1], before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


@pytest.fixture(params=MODES)
def served(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Served]:
    made = Served(request.param, tmp_path / "log", "--listen", f"unix:{tmp_path / 'socket'}")
    yield made
    if made.process.poll() is None:
        assert made.end() == (0, "")


def resident_kib(served: Served) -> int:
    with open(f"/proc/{served.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def storm(served: Served, stack: ExitStack, count: int) -> List[socket.socket]:
    """So many connect and greet before any of them listens."""
    streams = [stack.enter_context(connect(served.address)) for _ in range(count)]
    for stream in streams:
        stream.sendall(hello())
    return streams


def reply(stream: socket.socket) -> Tuple[Any, bytes]:
    def exactly(count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = stream.recv(count - len(data))
            assert more, "closed"
            data += more
        return data

    header = HEADER.parse(exactly(HEADER.size))
    return header, exactly(header.length)


def ping(size: int) -> bytes:
    return HEADER.build(4, protocol.PING.code, 0, 1, 0) + size.to_bytes(4, "big")


def test_thousands_idle_and_hundreds_active(served: Served, tmp_path: Path) -> None:
    contents = [bytes([i]) * (5000 + i) for i in range(ACTIVE)]
    for i, content in enumerate(contents):
        (tmp_path / str(i)).write_bytes(content)
    with ExitStack() as stack:
        watcher = stack.enter_context(served.client())
        before = resident_kib(served)
        idle = storm(served, stack, IDLE)
        assert not any(reply(stream)[0].error for stream in idle)
        for stream in idle:  # each has had its buffers used
            stream.sendall(ping(100_000))
            assert len(reply(stream)[1]) == 100_004
        assert (resident_kib(served) - before) / IDLE < IDLE_KIB
        assert watcher.call(protocol.STATUS).connections == IDLE + 1

        active = [stack.enter_context(served.client()) for _ in range(ACTIVE)]
        handles = [opened(client, tmp_path / str(i)) for i, client in enumerate(active)]
        fields: Dict[str, Any] = {"offset": 0, "count": 1 << 20}
        for _ in range(5):
            for client, handle in zip(active, handles):
                client.send(protocol.PREAD, handle=handle, **fields)
                client.send(protocol.READDIR, handle=0, offset=0, count=1, mask=0)  # no such handle
            for client, content in zip(active, contents):
                assert data_of(client.receive()) == content
                assert client.receive()[1] == b"EBADF"
        status = watcher.call(protocol.STATUS)
        assert (status.connections, status.all_handles) == (IDLE + ACTIVE + 1, ACTIVE)
        assert served.end() == (0, "")
        assert not (tmp_path / "socket").exists()
        assert all(at_end(stream) for stream in idle)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_storm_of_connections_that_go_again_leaves_nothing(served: Served, number: int) -> None:
    with served.client() as watcher:
        before = served.descriptors()
        for _ in range(3):
            with ExitStack() as stack:
                storm(served, stack, 500)
        assert eventually(lambda: served.descriptors() == before)
        assert eventually(lambda: watcher.call(protocol.STATUS).sessions == 1)
        assert served.end(number) == (0, "")


def test_readers_that_are_slow_cost_no_more_than_their_share(served: Served, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    with ExitStack() as stack:
        other = stack.enter_context(served.client())
        handle = opened(other, tmp_path / "file")
        before = resident_kib(served)
        slow = [stack.enter_context(served.client(session=other.session)) for _ in range(10)]
        for client in slow:
            client.stream.setblocking(False)
            request = protocol.PREAD.request.build(handle, 0, 20_000)
            left = (HEADER.build(len(request), protocol.PREAD.code, 0, 1, 0) + request) * 5000
            while left and select.select([], [client.stream], [], 0.2)[1]:
                left = left[client.stream.send(left) :]
        for _ in range(100):
            assert len(pread(other, handle, 4096)) == 4096
        limit = (server.OUTPUT_LIMIT + LIMITS["MAX_REQUEST"] + LIMITS["MAX_DATA"]) // 1024
        assert (resident_kib(served) - before) / len(slow) < limit


# ------------------------------------------------------------------------------------------------- strangers


@pytest.mark.parametrize("length", [session.LONGEST_HELLO + 1, LIMITS["MAX_REQUEST"], 0xFFFFFFFF])
def test_a_stranger_has_no_room_to_fill(served: Served, length: int) -> None:
    """Closed as soon as the header is there: nothing of the rest is kept."""
    stream = connect(served.address)
    stream.sendall(HEADER.build(length, protocol.HELLO.code, 0, 0, 0))
    assert at_end(stream)
    stream.close()


def test_a_greeting_that_comes_byte_by_byte_has_ten_seconds_in_all(monkeypatch: pytest.MonkeyPatch) -> None:
    import asyncio

    async def scene() -> None:
        monkeypatch.setattr(server, "HELLO_TIMEOUT_S", 0.3)
        for fast in {server.accelerated(), None}:
            host = server.Host(asyncio.get_running_loop(), server.ServeOptions(), fast)
            ours, theirs = socket.socketpair()
            host.start(theirs, True, "")
            with pytest.raises(OSError):
                for byte in hello():
                    await asyncio.sleep(0.02)
                    ours.send(bytes([byte]))
            assert not host.links
            host.close()
            ours.close()

    asyncio.run(scene())


def test_whoever_vanishes_without_a_word_is_noticed() -> None:
    """A peer whose machine is gone: the kernel asks, and says so."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as ours:
        theirs, _ = listener.accept()
        with theirs:
            sockets.tune(theirs)
            assert theirs.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 300
            assert theirs.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert ours


def test_one_client_with_every_request_at_once(served: Served) -> None:
    """A storm of CANCELs, one-way requests and unknown operations on many connections of one session."""
    with ExitStack() as stack:
        clients = [stack.enter_context(served.client(session=bytes(16))) for _ in range(20)]
        for client in clients:
            for i in range(200):
                client.send(protocol.CANCEL, request_id=i, one_way=True)
                client.send(protocol.CLOSE, handle=i, one_way=True)
            client.stream.sendall(HEADER.build(0, 999, 0, 7, 0) * 200)
        for client in clients:
            assert {reply(client.stream)[1] for _ in range(200)} == {b"ENOSYS"}
            assert client.call(protocol.PING, size=1).data == b"\0"


def test_many_connections_open_read_and_close_in_one_session(served: Served, tmp_path: Path) -> None:
    """Handles come and go under each other's feet: a read gives its own file, or EBADF, never another's bytes."""
    files = [tmp_path / f"file{i}" for i in range(8)]
    for i, file in enumerate(files):
        file.write_bytes(bytes([i]) * 40_000)
    with ExitStack() as stack:
        clients: List[Client] = [stack.enter_context(served.client(session=bytes(16))) for _ in range(16)]
        for _ in range(30):
            handles = {}
            for i, client in enumerate(clients):
                handles[opened(client, files[i % 8])] = i % 8
            wanted = list(handles.items())
            for i, client in enumerate(clients):
                for handle, _ in wanted:
                    client.send(protocol.PREAD, handle=handle, offset=0, count=40_000)
                client.send(protocol.CLOSE, handle=wanted[(i * 7) % 16][0], one_way=True)
            for client in clients:
                for _, which in wanted:
                    header, payload = client.receive()
                    assert payload == b"EBADF" or payload[4:] == bytes([which]) * 40_000
        assert eventually(lambda: clients[0].call(protocol.STATUS).all_handles == 0)


def test_several_take_much_at_once(served: Served, tmp_path: Path) -> None:
    """Threads send where sockets are full: each gets its own bytes, in its order, whoever else goes away."""
    piece, pieces, readers = 1 << 20, 24, 4
    files = [tmp_path / f"large{i}" for i in range(readers)]
    for i, file in enumerate(files):
        file.write_bytes(b"".join(bytes([i, at]) * (piece // 2) for at in range(pieces)))
    descriptors = served.descriptors()

    def threads() -> int:
        return len(os.listdir(f"/proc/{served.process.pid}/task"))

    def read(i: int, client: Client) -> int:
        most = 0
        for at in range(pieces):
            assert data_of(client.receive()) == bytes([i, at]) * (piece // 2)
            if at % 8 == 7:
                assert client.receive()[0].operation == protocol.PING.code
            if i == 0 and at == pieces // 2:
                client.close()
                break
            most = max(most, threads())
        return most

    with ExitStack() as stack:
        clients = [stack.enter_context(served.client(session=bytes(16))) for _ in range(readers)]
        handles = [opened(client, file) for client, file in zip(clients, files)]
        before = threads()
        for client, handle in zip(clients, handles):
            for at in range(pieces):
                client.send(protocol.PREAD, handle=handle, offset=at * piece, count=piece)
                if at % 8 == 7:
                    client.send(protocol.PING, size=at)
        pool = stack.enter_context(ThreadPoolExecutor(readers))
        most = max(pool.map(read, range(readers), clients))
        assert served.mode == "pure" or len(os.sched_getaffinity(0)) == 1 or most > before
    assert eventually(lambda: served.descriptors() == descriptors)
