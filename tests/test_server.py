# SPDX-License-Identifier: MIT
"""The server's sockets: who may connect, where it listens, what a client that misbehaves costs, how it ends."""

from __future__ import annotations

import errno
import os
import resource
import select
import signal
import socket
import stat
import struct
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Tuple

import pytest

from remotec import protocol, server, sockets
from remotec.client import Client, connect
from remotec.peers import Peers, uid_by_table
from remotec.protocol import HEADER, LIMITS, Operation
from remotec.server import ServeError, open_listener

MODES = ["fast", "pure"] if server.accelerated() else ["pure"]
NOBODY = 65534
NONBLOCK = protocol.OPEN_FLAGS["O_NONBLOCK"]
AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


class Served:
    """`remotec serve` on a free port, its messages kept."""

    def __init__(self, mode: str, log: Path, *options: str, files: int = 0, listen: str = "127.0.0.1:0") -> None:
        self.mode, self.log = mode, log

        def limit() -> None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))

        command = [sys.executable, "-m", "remotec", "serve", "--listen", listen, *options]
        with log.open("wb") as said:
            self.process = subprocess.Popen(
                command + ["--pure"] * (mode == "pure"),
                stdout=subprocess.PIPE,
                stderr=said,
                stdin=subprocess.DEVNULL,
                text=True,
                preexec_fn=limit if files else None,
            )
        assert self.process.stdout
        line = self.process.stdout.readline()
        assert line.startswith("listening on "), log.read_text()
        self.address = line.split()[-1]

    def client(self, **fields: Any) -> Client:
        return Client(self.address, **fields)

    def end(self, number: int = signal.SIGTERM) -> Tuple[int, str]:
        """Exit status and messages."""
        self.process.send_signal(number)
        try:
            return self.process.wait(10), self.log.read_text()
        finally:
            self.process.kill()

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def peak_mib(self) -> int:
        with open(f"/proc/{self.process.pid}/status") as status:
            return next(int(line.split()[1]) // 1024 for line in status if line.startswith("VmHWM"))


Serve = Callable[..., Served]


@pytest.fixture(params=MODES)
def serve(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Serve]:
    """serve(option…): a server in each mode; it must end with 0 and without a word."""
    started: List[Served] = []

    def start(*options: str, **fields: Any) -> Served:
        started.append(Served(request.param, tmp_path / f"log{len(started)}", *options, **fields))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            assert each.end() == (0, "")


def eventually(condition: Callable[[], bool]) -> bool:
    for _ in range(500):
        if condition():
            return True
        time.sleep(0.02)
    return False


def at_end(stream: socket.socket) -> bool:
    """Whether the server has closed, with nothing more to say."""
    try:
        return stream.recv(1) == b""
    except ConnectionResetError:
        return True


def opened(client: Client, path: "Path | str", flags: int = 0) -> int:
    fields = {"directory": 0, "flags": flags, "mode": 0, "resolve": 0, "prefetch": 0}
    return int(client.call(protocol.OPEN, **fields, path=os.fsencode(path)).handle)


def pread(client: Client, handle: int, count: int = 1 << 20, offset: int = 0) -> bytes:
    return bytes(client.call(protocol.PREAD, handle=handle, offset=offset, count=count).data)


def data_of(reply: Tuple[Any, bytearray]) -> bytes:
    header, payload = reply
    assert not header.error, payload
    (length,) = struct.unpack_from(">I", payload)
    assert length == len(payload) - 4
    return bytes(payload[4:])


def refusal(operation: Operation, call: Callable[[], Any]) -> str:
    with pytest.raises(OSError) as caught:
        call()
    return errno.errorcode[caught.value.errno or 0]


# ------------------------------------------------------------------------------------------------- listening


@pytest.mark.parametrize(
    "address, problem",
    [
        ("nonsense", "invalid literal"),
        ("127.0.0.1", "invalid literal"),
        ("127.0.0.1:99999", "99999 is no port"),
        ("127.0.0.1:-1", "-1 is no port"),
        ("no-such-host.invalid:0", "cannot listen on"),
        ("unix:/nonexistent/directory/socket", "No such file"),
        ("unix:/" + "x" * 200, "path too long"),
        ("unix:/etc", "in use"),
        ("192.0.2.1:0", "act with your rights"),
        ("0.0.0.0:0", "act with your rights"),
        ("[::]:0", "act with your rights"),
    ],
)
def test_where_it_cannot_listen_it_says_why(address: str, problem: str) -> None:
    with pytest.raises(ServeError, match=problem) as caught:
        open_listener(address, no_auth=False)
    assert address in str(caught.value)


def test_connections_begin_without_pacing() -> None:
    """What began with bbr goes on pacing: the choice is made before there are connections."""
    with socket.socket() as other, open_listener("127.0.0.1:0", False) as listener:
        sockets.avoid_pacing(other)
        choice = other.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16)
        assert listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16) == choice


def test_a_port_that_is_taken(tmp_path: Path) -> None:
    with open_listener("127.0.0.1:0", False) as taken:
        with pytest.raises(ServeError, match="Address already in use"):
            open_listener(server.name_of(taken), False)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "localhost", ""])
def test_loopback_by_any_name(host: str) -> None:
    try:
        listener = open_listener(f"{host}:0", False)
    except ServeError as error:
        pytest.skip(str(error))
    with listener:
        name = server.name_of(listener)
        assert name.startswith(("127.0.0.1:", "[::1]:")) and not name.endswith(":0")


def test_a_unix_socket_is_its_owners_and_goes_with_the_server(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    served = serve("--listen", f"unix:{path}")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with Client(f"unix:{path}") as client:
        assert pread(client, opened(client, "/proc/self/comm", NONBLOCK))
    assert served.end() == (0, "")
    assert not path.exists()


def test_a_unix_socket_left_behind_is_replaced_and_a_live_one_is_not(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(path))
    first = serve(listen=f"unix:{path}")
    with pytest.raises(ServeError, match="in use"):
        open_listener(f"unix:{path}", False)
    first.client().close()


def test_a_file_in_the_place_of_the_unix_socket_is_never_removed(tmp_path: Path) -> None:
    """connect() to a plain file is refused like one to a socket that nobody listens on."""
    (tmp_path / "file").write_text("precious")
    with pytest.raises(ServeError, match="in use"):
        open_listener(f"unix:{tmp_path / 'file'}", False)
    assert (tmp_path / "file").read_text() == "precious"


@pytest.mark.parametrize("mode", MODES)
def test_another_address_needs_no_auth_and_warns(mode: str, tmp_path: Path) -> None:
    served = Served(mode, tmp_path / "log", "--no-auth", listen="0.0.0.0:0")
    with Client("127.0.0.1:" + served.address.rpartition(":")[2]) as client:
        assert client.call(protocol.PING, size=0).data == b""
    status, said = served.end()
    assert status == 0 and "whoever can reach it acts with the full rights" in said and said.count("\n") == 1


def test_start_fails_with_status_1_and_one_line(tmp_path: Path) -> None:
    with open_listener("127.0.0.1:0", False) as taken:
        command = [sys.executable, "-m", "remotec", "serve", "--listen=127.0.0.1:0", "--listen", server.name_of(taken)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (1, "")
    assert "Address already in use" in done.stderr and done.stderr.count("\n") == 1


def test_a_root_that_is_none_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for root in ("missing", "file"):
        command = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0", "--root", str(tmp_path / root)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (1, "")
        assert str(tmp_path / root) in done.stderr and done.stderr.count("\n") == 1


# --------------------------------------------------------------------------------------------- who may connect


def loopback_pair(family: int, host: str) -> Tuple[socket.socket, socket.socket]:
    try:
        with socket.create_server((host, 0), family=family) as listener:
            client = socket.create_connection(listener.getsockname()[:2])
            return client, listener.accept()[0]
    except OSError as error:
        pytest.skip(str(error))


@pytest.fixture
def peers() -> Iterator[Peers]:
    peers = Peers()
    yield peers
    peers.close()


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_the_kernel_names_the_peer_of_a_loopback_connection(
    family: int, host: str, peers: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, stream = loopback_pair(family, host)
    with client, stream:
        assert peers.uid(stream) == os.getuid()
        assert uid_by_table(stream) == os.getuid()

        def refused(*_: Any) -> int:
            raise OSError(errno.EPERM, "")

        with monkeypatch.context() as patch:
            patch.setattr(peers, "_by_diag", refused)
            assert peers.uid(stream) == os.getuid()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        name, peer = stream.getsockname(), stream.getpeername()
        client.close()

        class Gone:
            family = stream.family
            getsockname, getpeername = staticmethod(lambda: name), staticmethod(lambda: peer)

        assert peers.uid(Gone()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_who_has_hung_up_already_is_nobody(family: int, host: str, peers: Peers) -> None:
    """Not user 0, as the kernel has it: whoever it was could have said something to root's server before."""
    client, stream = loopback_pair(family, host)
    with stream:
        client.sendall(b"said before")
        client.close()
        assert peers.uid(stream) is None
        assert uid_by_table(stream) is None


def test_an_answer_to_another_question_is_none(peers: Peers, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel's answer about a connection of nobody's, where the one about ours is awaited."""
    peers.close()
    asked: List[socket.socket] = []

    class Late(socket.socket):
        def recv(self, size: int, flags: int = 0) -> bytes:
            answer = bytearray(super().recv(size, flags))
            answer[8] ^= 1  # its serial number
            answer[16 + 4 + 48 + 12] ^= 1  # its user
            asked.append(self)
            return bytes(answer)

    client, stream = loopback_pair(socket.AF_INET, "127.0.0.1")
    with client, stream:
        monkeypatch.setattr(socket, "socket", Late)
        assert [peers.uid(stream), peers.uid(stream)] == [os.getuid()] * 2
        assert len({*asked}) == 2 and asked[0].fileno() == -1


def as_nobody(act: Callable[[], str]) -> str:
    """What `act` says in a process of another user."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            said = act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writer, said.encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        said = file.read().decode()
    os.waitpid(child, 0)
    return said


def try_hello(address: str) -> str:
    try:
        with Client(address, timeout_s=10) as client:
            client.call(protocol.PING, size=0)
            return "served"
    except OSError as error:
        return errno.errorcode[error.errno or 0]


@AS_ROOT
def test_another_user_is_refused(serve: Serve, tmp_path: Path) -> None:
    for directory in (tmp_path, tmp_path.parent, tmp_path.parent.parent):
        directory.chmod(0o755)
    path = tmp_path / "socket"
    served = serve("--listen", f"unix:{path}", "--listen", "[::1]:0")
    assert served.process.stdout
    others = [served.process.stdout.readline().split()[-1] for _ in range(2)]
    path.chmod(0o777)  # it is the kernel's word that counts, not the socket's mode
    for address in (served.address, *others):
        assert try_hello(address) == "served"
        assert as_nobody(lambda: try_hello(address)) == "EACCES"  # noqa: B023


@AS_ROOT
@pytest.mark.parametrize("mode", MODES)
def test_another_user_is_served_without_authentication(mode: str, tmp_path: Path) -> None:
    served = Served(mode, tmp_path / "log", "--no-auth")
    assert as_nobody(lambda: try_hello(served.address)) == "served"
    assert served.end()[0] == 0


def test_a_refused_peers_further_requests_are_not_looked_at(serve: Serve) -> None:
    served = serve()
    stream = connect(served.address)
    stream.sendall(b"GET / HTTP/1.0\r\n\r\n" * 1000)
    assert at_end(stream)
    stream.close()


def test_whoever_does_not_say_hello_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a loop whose timers are the test's."""
    import asyncio

    async def scene() -> None:
        loop = asyncio.get_running_loop()
        host = server.Host(loop, server.ServeOptions(), None)
        monkeypatch.setattr(server, "HELLO_TIMEOUT_S", 0.05)
        silent, theirs = socket.socketpair()
        greeted, also_theirs = socket.socketpair()
        silent.settimeout(10)
        host.start(theirs, True, "")
        host.start(also_theirs, True, "")
        greeted.sendall(hello())
        assert await asyncio.to_thread(silent.recv, 1) == b""
        assert len(host.links) == 1
        host.close()
        assert not host.links
        silent.close()
        greeted.close()

    asyncio.run(scene())


def hello() -> bytes:
    payload = protocol.HELLO.request.build(protocol.MAGIC, 1, 1, 0, os.urandom(16), 1, b"test")
    return HEADER.build(len(payload), protocol.HELLO.code, 0, 0, 0) + payload


# ----------------------------------------------------------------------------------------------------- limits


def test_more_connections_than_the_limit_are_closed(tmp_path: Path) -> None:
    for mode in MODES:
        served = Served(mode, tmp_path / mode, "--max-connections", "3")
        clients = [served.client() for _ in range(3)]
        with pytest.raises(OSError):
            served.client()
        clients.pop().close()
        assert eventually(lambda: try_hello(served.address) == "served")  # noqa: B023
        for client in clients:
            assert client.call(protocol.PING, size=1).data == b"\0"
            client.close()
        status, said = served.end()
        assert status == 0 and "more than 3 connections" in said and "Traceback" not in said


def test_without_descriptors_it_says_so_and_goes_on(tmp_path: Path) -> None:
    for mode in MODES:
        served = Served(mode, tmp_path / mode, files=50)
        with ExitStack() as stack:
            client = stack.enter_context(served.client())
            handles = []
            with pytest.raises(OSError) as caught:
                for _ in range(100):
                    handles.append(opened(client, "/dev/null"))
            assert caught.value.errno == errno.EMFILE and len(handles) > 20
            waiting = connect(served.address)  # the kernel takes it; the server can't yet
            stack.enter_context(waiting)
            waiting.sendall(hello())
            assert eventually(lambda: "accept: Too many open files" in served.log.read_text())  # noqa: B023
            for handle in handles:
                client.call(protocol.CLOSE, handle=handle)
            assert HEADER.parse(waiting.recv(HEADER.size)).error == 0
        status, said = served.end()
        assert status == 0 and "Traceback" not in said


@pytest.mark.parametrize("what", ["PING", "PREAD", "small PREAD"])
def test_a_client_that_does_not_read_costs_bounded_memory(serve: Serve, tmp_path: Path, what: str) -> None:
    """Some kilobytes ask for a gigabyte of replies; others are served meanwhile, and it all comes in the end."""
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    count, size = (20_000, 30_000) if what == "small PREAD" else (1000, 1 << 20)
    served = serve()
    with served.client() as greedy, served.client() as other:
        handle = opened(greedy, tmp_path / "file")
        before = served.peak_mib()
        fields: Dict[str, Any] = {"size": size} if what == "PING" else {"handle": handle, "offset": 0, "count": size}
        operation = protocol.PING if what == "PING" else protocol.PREAD
        sent = send_what_it_takes(greedy, operation, count, fields)
        for _ in range(100):
            assert other.call(protocol.PING, size=10).data == bytes(10)
        assert served.peak_mib() - before < 40
        expected = bytes(size) if what == "PING" else (tmp_path / "file").read_bytes()[:size]
        for _ in range(sent):
            assert data_of(greedy.receive()) == expected
        assert served.peak_mib() - before < 40


def send_what_it_takes(client: Client, operation: Operation, count: int, fields: Dict[str, Any]) -> int:
    """Sends so many requests, or fewer if the server stops reading; how many."""
    payload = operation.request.build(**fields)
    frame = HEADER.build(len(payload), operation.code, 0, 1, 0) + payload
    left = memoryview(frame * count)
    client.stream.setblocking(False)
    while left and select.select([], [client.stream], [], 0.5)[1]:
        left = left[client.stream.send(left) :]
    client.stream.settimeout(30)
    rest = len(left) % len(frame)
    if rest:  # the frame that was begun: somebody must read for it to go out
        sent = count - len(left) // len(frame)
        received = data_of(client.receive())
        assert received is not None
        client.stream.sendall(left[:rest])
        return sent - 1
    return count - len(left) // len(frame)


# ------------------------------------------------------------------------------------------- moving the bytes


def test_a_burst_before_a_malformed_frame_is_answered(serve: Serve) -> None:
    served = serve()
    good = [HEADER.build(4, protocol.PING.code, 0, i, 0) + b"\0\0\0\1" for i in range(3)]
    bad = HEADER.build(3, protocol.PING.code, 0, 77, 0) + b"bad"
    with served.client() as client:
        client.stream.sendall(good[0] + good[1] + bad + good[2])
        assert [data_of(client.receive()) for _ in range(2)] == [b"\0", b"\0"]
        header, payload = client.receive()
        assert (header.request_id, header.error, payload) == (77, protocol.ERRNO["EPROTO"], b"EPROTO")
        assert at_end(client.stream)


def test_a_reply_does_not_wait_for_a_further_request(serve: Serve, tmp_path: Path) -> None:
    """Behind it comes, in the same segment, what has no reply of its own."""
    (tmp_path / "file").write_text("text")
    served = serve()
    with served.client() as client:
        handle = opened(client, tmp_path / "file")
        read, close = protocol.PREAD.request.build(handle, 0, 9), protocol.CLOSE.request.build(handle)
        frames = HEADER.build(len(read), protocol.PREAD.code, 0, 5, 0) + read
        client.stream.sendall(frames + HEADER.build(len(close), protocol.CLOSE.code, 0, 6, 1) + close)
        assert data_of(client.receive()) == b"text"


def test_the_replies_before_a_request_that_is_too_long_are_sent(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    served = serve()
    with served.client() as client:
        read = protocol.PREAD.request.build(opened(client, tmp_path / "file"), 0, 9)
        frames = HEADER.build(len(read), protocol.PREAD.code, 0, 5, 0) + read
        client.stream.sendall(frames + HEADER.build(1 << 30, protocol.PING.code, 0, 6, 0))
        assert data_of(client.receive()) == b"text"
        assert at_end(client.stream)


def test_the_last_words_reach_a_client_that_is_slow(serve: Serve) -> None:
    """The malformed frame stands behind more replies than the socket holds."""
    served = serve()
    with served.client() as client:
        for _ in range(6):
            client.send(protocol.PING, size=1 << 20)
        client.stream.sendall(HEADER.build(3, protocol.PING.code, 0, 77, 0) + b"bad")
        time.sleep(0.2)
        for _ in range(6):
            assert len(data_of(client.receive())) == 1 << 20
        assert client.receive()[1] == b"EPROTO"
        assert at_end(client.stream)


def test_data_that_is_not_in_memory_is_read_all_the_same(serve: Serve, tmp_path: Path) -> None:
    content = os.urandom(4 << 20)
    file = tmp_path / "file"
    file.write_bytes(content)
    served = serve()
    with served.client() as client, served.client() as other:
        handle = opened(client, file)
        for count in (4096, 1 << 20):
            fd = os.open(file, os.O_RDONLY)
            os.fsync(fd)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
            ids = [client.send(protocol.PREAD, handle=handle, offset=at, count=count) for at in (0, 2 << 20)]
            ids.append(client.send(protocol.PING, size=1))
            assert other.call(protocol.PING, size=1).data == b"\0"
            came = {}
            for _ in ids:
                header, payload = client.receive()
                came[header.request_id] = data_of((header, payload))
            assert [came[number] for number in ids] == [content[:count], content[2 << 20 :][:count], b"\0"]


def test_a_file_cut_off_while_it_is_sent_ends_the_connection_only(serve: Serve, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * (1 << 20))
    served = serve()
    with served.client() as client:
        handle = opened(client, file)
        sent = 20
        for _ in range(sent):
            client.send(protocol.PREAD, handle=handle, offset=0, count=1 << 20)
        time.sleep(0.2)
        os.truncate(file, 100)
        sizes = []
        try:
            for _ in range(sent):
                sizes.append(len(data_of(client.receive())))
        except ConnectionResetError:
            pass  # as the document says: in the middle of a frame
        assert set(sizes) <= {1 << 20, 100}
    with served.client() as client:
        assert pread(client, opened(client, file)) == b"x" * 100


def test_a_handle_closed_by_another_connection_while_its_data_goes_out(serve: Serve, tmp_path: Path) -> None:
    """The descriptor's number is used again at once, for a file with something else in it."""
    (tmp_path / "file").write_bytes(b"f" * (1 << 20))
    (tmp_path / "other").write_bytes(b"o" * (1 << 20))
    served = serve()
    with served.client() as client:
        with served.client(session=client.session) as second:
            handle = opened(client, tmp_path / "file")
            ids = [client.send(protocol.PREAD, handle=handle, offset=0, count=1 << 20) for _ in range(12)]
            time.sleep(0.2)
            second.call(protocol.CLOSE, handle=handle)
            for _ in range(5):
                opened(second, tmp_path / "other")
        for number in ids:
            header, payload = client.receive()
            assert header.request_id == number
            assert payload == b"EBADF" or payload[4:] == b"f" * (1 << 20)


def test_a_late_reply_waits_for_the_data_before_it(serve: Serve, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "file").write_bytes(os.urandom(1 << 20))
    served = serve()
    with served.client() as client:
        pipe = opened(client, tmp_path / "fifo", NONBLOCK)
        client.call(protocol.SET_FLAGS, handle=pipe, flags=0)
        with open(tmp_path / "fifo", "wb", buffering=0) as writer:
            late = client.send(protocol.READ, handle=pipe, count=100)
            handle = opened_after(client, tmp_path / "file")
            ids = [client.send(protocol.PREAD, handle=handle, offset=0, count=1 << 20) for _ in range(8)]
            time.sleep(0.2)
            writer.write(b"late")
            time.sleep(0.2)
            came = {}
            for _ in range(9):
                header, payload = client.receive()
                came[header.request_id] = data_of((header, payload))
        assert came[late] == b"late"
        assert all(came[number] == (tmp_path / "file").read_bytes() for number in ids)


def opened_after(client: Client, path: Path) -> int:
    """OPEN while something else waits on the connection."""
    fields = {"directory": 0, "flags": 0, "mode": 0, "resolve": 0, "prefetch": 0, "path": os.fsencode(path)}
    number = client.send(protocol.OPEN, **fields)
    header, payload = client.receive()
    assert header.request_id == number
    return int(protocol.OPEN.reply.parse(payload).handle)


# ------------------------------------------------------------------------------------------------- waiting


def test_poll_waits_for_its_event_its_time_or_its_cancel(serve: Serve, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    events = protocol.POLL_EVENTS
    served = serve()
    with served.client() as client:
        pipe = opened(client, tmp_path / "fifo", NONBLOCK)
        with open(tmp_path / "fifo", "wb", buffering=0) as writer:
            asked = {"handle": pipe, "events": events["POLLIN"]}
            before = served.descriptors()
            assert client.call(protocol.POLL, **asked, timeout_ms=0).events == 0
            assert client.call(protocol.POLL, **asked, timeout_ms=30).events == 0
            number = client.send(protocol.POLL, **asked, timeout_ms=-1)
            client.send(protocol.CANCEL, request_id=number, one_way=True)
            header, payload = client.receive()
            assert (header.request_id, payload) == (number, b"EINTR")
            number = client.send(protocol.POLL, **asked, timeout_ms=60_000)
            writer.write(b"x")
            header, payload = client.receive()
            assert header.request_id == number
            assert protocol.POLL.reply.parse(payload).events == events["POLLIN"]
            assert client.call(protocol.POLL, **asked, timeout_ms=0).events == events["POLLIN"]
            assert served.descriptors() == before
        nothing = opened(client, tmp_path / "fifo", protocol.OPEN_FLAGS["O_PATH"])
        ask = {"handle": nothing, "events": 1, "timeout_ms": -1}
        assert client.call(protocol.POLL, **ask).events == events["POLLNVAL"]


def test_many_waits_at_once_and_none_is_left_when_the_connection_goes(serve: Serve, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    served = serve()
    with served.client() as client:
        pipe = opened(client, tmp_path / "fifo", NONBLOCK)
        client.call(protocol.SET_FLAGS, handle=pipe, flags=0)
        with open(tmp_path / "fifo", "wb", buffering=0):
            before = served.descriptors()
            for _ in range(LIMITS["MAX_IN_FLIGHT"] + 3):
                client.send(protocol.READ, handle=pipe, count=1)
            refused = [client.receive()[1] for _ in range(3)]
            assert refused == [b"EBUSY"] * 3
            assert served.descriptors() == before + LIMITS["MAX_IN_FLIGHT"]
            with served.client(session=client.session, client=client.client) as second:
                client.close()
                assert eventually(lambda: served.descriptors() == before)
                second.call(protocol.CLOSE, handle=pipe)


# ------------------------------------------------------------------------------------------ a life's length


def reset(client: Client) -> None:
    """The connection breaks, as by a cut line: no goodbye."""
    client.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()


def test_a_session_is_resumed_after_its_connection_broke(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("0123456789")
    served = serve()
    client = served.client()
    handle = opened(client, tmp_path / "file")
    assert client.call(protocol.READ, handle=handle, count=3).data == b"012"
    fields = {"handle": handle, "command": protocol.LOCK_COMMANDS["LOCK_WHOLE"], "start": 0, "length": 0}
    client.call(protocol.LOCK, **fields, type=protocol.LOCK_TYPES["F_WRLCK"])
    reset(client)
    with served.client(session=client.session, client=client.client) as again:
        assert again.call(protocol.READ, handle=handle, count=3).data == b"345"
        with served.client() as stranger:
            own = opened(stranger, tmp_path / "file")
            lock = {**fields, "handle": own, "type": protocol.LOCK_TYPES["F_RDLCK"]}
            assert refusal(protocol.LOCK, lambda: stranger.call(protocol.LOCK, **lock)) == "EAGAIN"


def test_without_grace_everything_goes_at_once(serve: Serve) -> None:
    served = serve("--grace", "0")
    with served.client() as watcher:
        client = served.client()
        shared = opened(client, "/dev/null")
        client.call(protocol.SHARE, handles=shared.to_bytes(8, "big"))
        reset(client)
        assert eventually(lambda: tuple(watcher.call(protocol.STATUS)[:4]) == (1, 1, 0, 0))


def test_nothing_may_be_changed_read_only_or_not(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("as it was")
    for options in ((), ("--read-only",)):
        served = serve(*options)
        with served.client() as client:
            for flags in (1, 2, protocol.OPEN_FLAGS["O_TRUNC"]):
                assert refusal(protocol.OPEN, lambda: opened(client, tmp_path / "file", flags)) == "EROFS"  # noqa: B023
            create = protocol.OPEN_FLAGS["O_CREAT"]
            assert refusal(protocol.OPEN, lambda: opened(client, tmp_path / "new", create)) == "EROFS"  # noqa: B023
    assert (tmp_path / "file").read_text() == "as it was" and not (tmp_path / "new").exists()


def test_a_root_is_all_that_there_is(serve: Serve, tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root" / "file").write_text("inside")
    (tmp_path / "outside").write_text("outside")
    with serve("--root", str(tmp_path / "root")).client() as client:
        assert pread(client, opened(client, "/file")) == b"inside"
        for path in ("/../outside", str(tmp_path / "outside"), "/etc/passwd"):
            assert refusal(protocol.OPEN, lambda: opened(client, path)) == "ENOENT"  # noqa: B023


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_whatever_is_going_on(serve: Serve, tmp_path: Path, number: int) -> None:
    os.mkfifo(tmp_path / "fifo")
    served = serve("--listen", f"unix:{tmp_path / 'socket'}")
    with served.client() as idle, served.client() as waiting, served.client() as greedy:
        pipe = opened(waiting, tmp_path / "fifo", NONBLOCK)
        waiting.send(protocol.POLL, handle=pipe, events=1, timeout_ms=-1)
        for _ in range(30):
            greedy.send(protocol.PING, size=1 << 20)
        assert served.end(number) == (0, "")
        assert at_end(idle.stream)
        assert not (tmp_path / "socket").exists()


def test_a_loop_for_each_kind_of_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without uvloop, asyncio's; without _fast, pure Python."""
    made = server.new_loop()
    made.close()
    monkeypatch.setitem(sys.modules, "uvloop", None)
    made = server.new_loop()
    assert type(made).__module__.startswith("asyncio")
    made.close()
    monkeypatch.setitem(sys.modules, "remotec._fast", None)
    monkeypatch.delattr("remotec._fast", raising=False)
    found: Optional[Any] = server.accelerated()
    assert found is None
