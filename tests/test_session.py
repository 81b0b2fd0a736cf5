# SPDX-License-Identifier: MIT
"""Sessions without sockets: bytes in, replies out; what ends a connection, what waits, what outlives a connection."""

from __future__ import annotations

import errno
import logging
import os
import select
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

import pytest

from remotec import operations, protocol, session
from remotec.operations import Handle, Waiting
from remotec.protocol import HEADER, LIMITS, Operation, ProtocolError
from remotec.server import CLIENT_GRACE_S, Host, ServeOptions, accelerated
from remotec.session import Connection, Server

ONE_WAY = protocol.FRAME_FLAGS["FRAME_ONE_WAY"]
SESSION = bytes(range(16))
FAST = accelerated()
TABLES = [session.HandleTable] + ([FAST.HandleTable] if FAST else [])


class Reply(NamedTuple):
    operation: int
    error: int
    request_id: int
    payload: bytes


def frame(operation: int, request_id: int, payload: bytes, flags: int = 0) -> bytes:
    return HEADER.build(len(payload), operation, 0, request_id, flags) + payload


def request(operation: Operation, number: int, flags: int = 0, /, **fields: Any) -> bytes:
    return frame(operation.code, number, operation.request.build(**fields), flags)


def hello(request_id: int = 0, **fields: Any) -> bytes:
    usual: Dict[str, Any] = {
        "magic": protocol.MAGIC,
        "version": protocol.VERSION,
        "min_version": protocol.MIN_VERSION,
        "capabilities": 0xFFFF,
        "session": SESSION,
        "client": 1,
        "program": b"test",
    }
    return request(protocol.HELLO, request_id, **{**usual, **fields})


def replies(data: bytes) -> List[Reply]:
    found = []
    while data:
        header = HEADER.parse(data[: HEADER.size])
        assert header.flags == 0 and header.length <= len(data) - HEADER.size
        end = HEADER.size + header.length
        found.append(Reply(header.operation, header.error, header.request_id, data[HEADER.size : end]))
        data = data[end:]
    return found


class Wait:
    """One wait that a connection has asked for; the test says when it's over."""

    def __init__(self, waiting: Waiting, done: Callable[[int], None]) -> None:
        self.waiting, self.done, self.ended = waiting, done, False

    def end(self) -> None:
        self.ended = True


class Peer:
    """A client's end of a connection without a socket."""

    def __init__(self, server: Server, allowed: bool = True, greet: bool = True, **fields: Any) -> None:
        self.late: List[bytes] = []
        self.waits: List[Wait] = []
        self.connection = Connection(server, self.late.append, self.wait, allowed)
        if greet:
            self.say(hello(**fields))

    def wait(self, waiting: Waiting, done: Callable[[int], None]) -> Callable[[], object]:
        self.waits.append(Wait(waiting, done))
        return self.waits[-1].end

    def say(self, *frames: bytes) -> List[Reply]:
        self.connection.feed(b"".join(frames))
        return replies(self.connection.replies(1 << 30))

    def ask(self, operation: Operation, request_id: int = 7, **fields: Any) -> Any:
        (reply,) = self.say(request(operation, request_id, **fields))
        assert (reply.operation, reply.request_id) == (operation.code, request_id)
        if reply.error:
            raise OSError(getattr(errno, reply.payload.decode()), reply.payload.decode())
        return operation.reply.parse(reply.payload)

    def open(self, path: "Path | str", flags: int = 0, request_id: int = 7) -> Any:
        return self.ask(protocol.OPEN, request_id, **opening(path, flags))

    def heard(self) -> List[Reply]:
        """The late replies since it was last asked."""
        found = replies(b"".join(self.late))
        self.late.clear()
        return found


def opening(path: "Path | str", flags: int = 0) -> Dict[str, Any]:
    return {"directory": 0, "flags": flags, "mode": 0, "resolve": 0, "prefetch": 0, "path": os.fsencode(path)}


@pytest.fixture(params=TABLES, ids=lambda table: table.__module__.split(".")[-1])
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    made = Server(table=request.param)
    yield made
    made.close()


@pytest.fixture
def peer(server: Server) -> Peer:
    return Peer(server)


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def refusal(peer: Peer, *frames: bytes) -> Tuple[str, List[Reply]]:
    """Why the connection ends, and what is said before."""
    with pytest.raises(ProtocolError) as caught:
        peer.say(*frames)
    return str(caught.value), replies(caught.value.last_words)


# ---------------------------------------------------------------------------------------------------- HELLO


def test_hello_brings_limits_and_common_capabilities(server: Server) -> None:
    peer = Peer(server, greet=False)
    unknown = 1 << 40
    wanted = protocol.CAPABILITIES["XATTR"] | protocol.CAPABILITIES["LEASE"] | unknown
    (reply,) = peer.say(hello(5, capabilities=wanted))
    assert (reply.operation, reply.error, reply.request_id) == (protocol.HELLO.code, 0, 5)
    said = protocol.HELLO.reply.parse(reply.payload)
    assert said.version == protocol.VERSION and said.capabilities == protocol.CAPABILITIES["XATTR"]
    assert said[1:4] == (LIMITS["MAX_DATA"], LIMITS["MAX_REQUEST"], LIMITS["MAX_IN_FLIGHT"])
    assert len(reply.payload) <= LIMITS["MAX_HELLO"]


def test_hello_and_the_first_requests_travel_together(server: Server) -> None:
    peer = Peer(server, greet=False)
    said = peer.say(hello(), request(protocol.PING, 1, size=2), request(protocol.PING, 2, size=0))
    assert [(reply.operation, reply.error) for reply in said] == [(1, 0), (2, 0), (2, 0)]


@pytest.mark.parametrize(
    "newest, oldest, chosen", [(1, 1, 1), (9, 1, 1), (9, 0, 1), (9, 2, None), (0, 0, None), (2**32 - 1, 1, 1)]
)
def test_the_newest_common_version_is_chosen(server: Server, newest: int, oldest: int, chosen: Optional[int]) -> None:
    peer = Peer(server, greet=False)
    greeting = hello(3, version=newest, min_version=oldest)
    if chosen:
        assert protocol.HELLO.reply.parse(peer.say(greeting)[0].payload).version == chosen
    else:
        _, said = refusal(peer, greeting, request(protocol.PING, 4, size=0))
        assert said == [Reply(1, protocol.ERRNO["EPROTONOSUPPORT"], 3, b"EPROTONOSUPPORT")]
        assert not server.sessions


def test_who_is_not_allowed_is_told_so_and_gets_no_session(server: Server) -> None:
    why, said = refusal(Peer(server, allowed=False, greet=False), hello(9))
    assert said == [Reply(1, protocol.ERRNO["EACCES"], 9, b"EACCES")] and "another user" in why
    assert not server.sessions


@pytest.mark.parametrize(
    "first",
    [
        request(protocol.PING, 1, size=0),
        request(protocol.CANCEL, 1, request_id=2),
        hello(magic=b"remotec\r"),
        frame(protocol.HELLO.code, 0, hello()[HEADER.size :] + b"\0"),
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\xff" * 100,
    ],
    ids="PING CANCEL magic length HTTP SSH ones".split(),
)
def test_whoever_does_not_begin_with_hello_gets_no_answer(server: Server, first: bytes) -> None:
    _, said = refusal(Peer(server, greet=False), first)
    assert said == []


def test_a_second_hello_is_an_unknown_operation(peer: Peer) -> None:
    assert [reply.payload for reply in peer.say(hello(2))] == [b"ENOSYS"]
    assert peer.ask(protocol.PING, size=1).data == b"\0"


def test_more_sessions_than_the_limit_are_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "MAX_SESSIONS", 2)
    Peer(server)
    Peer(server, session=bytes(16))
    Peer(server, client=99)  # of the first session
    _, said = refusal(Peer(server, greet=False), hello(session=b"x" * 16))
    assert [reply.payload for reply in said] == [b"EUSERS"]


# --------------------------------------------------------------------------------------------------- frames


def test_frames_may_come_byte_by_byte(server: Server) -> None:
    frames = [hello(1), request(protocol.PING, 2, size=5), request(protocol.STATUS, 3), frame(999, 4, b"x")]
    whole = Peer(server, greet=False).say(*frames)
    peer = Peer(server, greet=False)
    pieces = [reply for byte in b"".join(frames) for reply in peer.say(bytes([byte]))]
    assert [each[:3] for each in pieces] == [each[:3] for each in whole]
    assert [each.request_id for each in pieces] == [1, 2, 3, 4]


def test_replies_stop_where_there_are_enough(peer: Peer) -> None:
    peer.connection.feed(b"".join(request(protocol.PING, i, size=1000) for i in range(100)))
    sizes = [len(peer.connection.replies(5000)) for _ in range(21)]
    assert sizes == [5 * 1020] * 20 + [0]


@pytest.mark.parametrize("operation", [0, max(protocol.OPERATIONS) + 1, 999, 65535])
@pytest.mark.parametrize("payload", [b"", b"anything at all"])
def test_an_unknown_operation_is_enosys_and_the_connection_lives(peer: Peer, operation: int, payload: bytes) -> None:
    said = peer.say(frame(operation, 8, payload))
    assert said == [Reply(operation, protocol.ERRNO["ENOSYS"], 8, b"ENOSYS")]
    assert peer.ask(protocol.PING, size=0).data == b""


@pytest.mark.parametrize("operation", [each for each in protocol.OPERATIONS.values() if each is not protocol.HELLO])
def test_a_malformed_request_is_told_so_and_ends_the_connection(peer: Peer, operation: Operation) -> None:
    good = request(protocol.PING, 3, size=1)
    _, said = refusal(peer, good, frame(operation.code, 4, b"\xff" * 5), good)
    assert said[0] == Reply(protocol.PING.code, 0, 3, b"\0\0\0\1\0")
    told = [] if operation is protocol.CANCEL else [Reply(operation.code, protocol.ERRNO["EPROTO"], 4, b"EPROTO")]
    assert said[1:] == told


def test_a_request_that_is_too_long_is_refused_before_it_is_there(peer: Peer) -> None:
    longest = LIMITS["MAX_REQUEST"]
    assert peer.say(HEADER.build(longest, 999, 0, 1, 0), bytes(longest))[0].payload == b"ENOSYS"
    why, said = refusal(peer, HEADER.build(longest + 1, 999, 0, 1, 0))
    assert why == f"a request of {longest + 1} bytes" and said == []


def test_one_way_requests_have_no_reply_whatever_happens(peer: Peer, tmp_path: Path) -> None:
    handle = peer.open("/dev/null").handle
    said = peer.say(
        request(protocol.CLOSE, 1, ONE_WAY, handle=handle),
        request(protocol.CLOSE, 2, ONE_WAY, handle=handle),
        frame(999, 3, b"", ONE_WAY),
    )
    assert said == []
    with pytest.raises(OSError, match="EBADF"):
        peer.ask(protocol.FSTAT, handle=handle, mask=1)


def test_flags_without_a_name_are_ignored(peer: Peer) -> None:
    (reply,) = peer.say(request(protocol.PING, 1, 0xFFFFFFFE, size=1))
    assert reply.payload == b"\0\0\0\1\0"


# --------------------------------------------------------------------------------------------------- errors


@pytest.mark.parametrize(
    "raised, code, name",
    [
        (OSError(errno.ENOENT, "x"), "ENOENT", b"ENOENT"),
        (OSError(errno.EWOULDBLOCK, "x"), "EAGAIN", b"EAGAIN"),
        (OSError(errno.EDEADLK, "x"), "EDEADLK", b"EDEADLK"),
        (OSError(errno.ENOTSUP, "x"), "EOPNOTSUPP", b"EOPNOTSUPP"),
        (OSError(54321, "x"), "EIO", b"EIO"),
        (OSError("no number"), "EIO", b"EIO"),
        (KeyError("unforeseen"), "EREMOTEIO", b"EREMOTEIO"),
    ],
)
def test_errors_travel_by_name(
    peer: Peer,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    raised: Exception,
    code: str,
    name: bytes,
) -> None:
    def handler(_session: Any, _request: Any) -> Any:
        raise raised

    monkeypatch.setitem(operations.HANDLERS, protocol.PING.code, handler)
    with caplog.at_level(logging.ERROR):
        assert peer.say(request(protocol.PING, 1, size=0)) == [Reply(2, protocol.ERRNO[code], 1, name)]
    assert ("unforeseen" in caplog.text) == (code == "EREMOTEIO")
    assert peer.ask(protocol.STATUS).sessions == 1


# -------------------------------------------------------------------------------------------------- waiting


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    os.mkfifo(tmp_path / "fifo")
    return tmp_path / "fifo"


NONBLOCK = protocol.OPEN_FLAGS["O_NONBLOCK"]


def waiting_read(peer: Peer, fifo: Path, request_id: int = 10) -> int:
    """The handle of a fifo, which a READ waits for."""
    handle = int(peer.open(fifo, NONBLOCK).handle)
    peer.ask(protocol.SET_FLAGS, handle=handle, flags=0)
    writer = os.open(fifo, os.O_RDWR)
    assert peer.say(request(protocol.READ, request_id, handle=handle, count=100)) == []
    os.close(writer)
    return handle


def test_what_waits_is_answered_when_it_is_ready_and_others_meanwhile(peer: Peer, fifo: Path) -> None:
    handle = peer.open(fifo, NONBLOCK).handle
    peer.ask(protocol.SET_FLAGS, handle=handle, flags=0)
    writer = os.open(fifo, os.O_WRONLY)
    assert peer.say(request(protocol.READ, 10, handle=handle, count=100)) == []
    assert peer.ask(protocol.PING, 11, size=1).data == b"\0"
    (wait,) = peer.waits
    assert wait.waiting.events == select.POLLIN and wait.waiting.timeout_ms == -1
    wait.done(select.POLLIN)  # nothing there after all: it waits again
    assert peer.heard() == [] and len(peer.waits) == 2
    os.write(writer, b"text")
    peer.waits[1].done(select.POLLIN)
    assert peer.heard() == [Reply(protocol.READ.code, 0, 10, b"\0\0\0\4text")]
    os.close(writer)


def test_cancel_ends_a_wait_with_eintr_once(peer: Peer, fifo: Path) -> None:
    waiting_read(peer, fifo)
    cancel = request(protocol.CANCEL, 99, request_id=10)
    assert peer.say(cancel, cancel) == []
    assert peer.waits[0].ended
    assert peer.heard() == [Reply(protocol.READ.code, protocol.ERRNO["EINTR"], 10, b"EINTR")]


def test_cancel_of_what_does_not_wait_is_nothing(peer: Peer) -> None:
    assert peer.say(request(protocol.CANCEL, 1, request_id=5), request(protocol.CANCEL, 2, ONE_WAY, request_id=2)) == []
    assert peer.heard() == []


def test_an_id_may_be_used_again_after_its_reply_but_not_before(peer: Peer, fifo: Path) -> None:
    first, second = peer.open("/dev/null", request_id=3), peer.open("/dev/null", request_id=3)
    assert first.handle != second.handle  # each was carried out: nothing is answered from memory
    handle = waiting_read(peer, fifo, 10)
    why, said = refusal(peer, request(protocol.READ, 10, handle=handle, count=1))
    assert "second request 10" in why
    assert said == [Reply(protocol.READ.code, protocol.ERRNO["EPROTO"], 10, b"EPROTO")]


def test_no_more_than_the_limit_wait_and_the_others_leave_nothing_open(
    peer: Peer, fifo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "MAX_IN_FLIGHT", 3)
    before = open_descriptors()
    said = peer.say(*(request(protocol.OPEN, i, **opening(fifo)) for i in range(5)))
    assert [(reply.request_id, reply.payload) for reply in said] == [(3, b"EBUSY"), (4, b"EBUSY")]
    assert open_descriptors() == before + 3
    assert peer.say(request(protocol.OPEN, 9, ONE_WAY, **opening(fifo))) == []
    assert open_descriptors() == before + 3
    peer.say(request(protocol.CANCEL, 0, request_id=1))
    assert open_descriptors() == before + 2
    peer.connection.closed()
    assert open_descriptors() == before
    assert all(wait.ended for wait in peer.waits)


def test_an_open_that_waited_gives_a_handle(peer: Peer, fifo: Path) -> None:
    assert peer.say(request(protocol.OPEN, 5, **opening(fifo))) == []
    peer.waits[0].done(select.POLLIN)
    (reply,) = peer.heard()
    opened = protocol.OPEN.reply.parse(reply.payload)
    assert (reply.request_id, opened.kind) == (5, protocol.HANDLE_KINDS["KIND_STREAM"])
    assert peer.ask(protocol.DESCRIBE, handle=opened.handle).path == os.fsencode(fifo)


def test_a_read_that_waits_while_its_handle_is_closed_never_reads_another_file(
    peer: Peer, fifo: Path, tmp_path: Path
) -> None:
    """The descriptor's number is used again at once."""
    handle = waiting_read(peer, fifo)
    (tmp_path / "secret").write_text("not asked for")
    peer.ask(protocol.CLOSE, handle=handle)
    peer.open(tmp_path / "secret")
    peer.waits[0].done(select.POLLIN)
    assert [reply.payload for reply in peer.heard()] == [b"EBADF"]


# -------------------------------------------------------------------------------------------------- handles


def test_a_closed_number_is_not_another_file(peer: Peer) -> None:
    numbers = []
    for _ in range(5):
        numbers.append(peer.open("/dev/null").handle)
        peer.ask(protocol.CLOSE, handle=numbers[-1])
    assert len(set(numbers)) == 5
    for number in numbers:
        with pytest.raises(OSError, match="EBADF"):
            peer.ask(protocol.CLOSE, handle=number)


def test_handles_end_at_the_limit_and_nothing_is_left_open(
    server: Server, peer: Peer, monkeypatch: pytest.MonkeyPatch
) -> None:
    if type(peer.connection.session.handles) is session.HandleTable:  # type: ignore[union-attr]
        monkeypatch.setitem(LIMITS, "MAX_HANDLES", 20)
    else:  # a constant there: fill the table with what isn't open
        table = peer.connection.session.handles  # type: ignore[union-attr]
        for _ in range(LIMITS["MAX_HANDLES"] - 20):
            table.add(Handle(1 << 30, protocol.HANDLE_KINDS["KIND_PATH"], 0, 5))
    before = open_descriptors()
    handles = [peer.open("/dev/null").handle for _ in range(20)]
    with pytest.raises(OSError, match="ENFILE"):
        peer.open("/dev/null")
    assert open_descriptors() == before + 20
    for handle in handles:
        peer.ask(protocol.CLOSE, handle=handle)
    assert open_descriptors() == before
    if len(peer.connection.session.handles):  # type: ignore[union-attr]
        server.sessions.clear()  # those weren't descriptors


def test_tables_agree_about_their_numbers() -> None:
    """The same additions and removals: the same numbers, in both."""
    made = [table() for table in TABLES]
    handles = [Handle(1000 + i, protocol.HANDLE_KINDS["KIND_POSITIONED"], 0, None) for i in range(100)]
    numbers: List[List[int]] = []
    for table in made:
        given = [table.add(handle) for handle in handles[:50]]
        removed = [table.remove(number) for number in given[10:40]]
        assert removed == handles[10:40]
        given += [table.add(handle) for handle in handles[50:]]
        numbers.append(given + table.numbers())
        assert len(table) == 70 and [table.get(number) for number in given[50:]] == handles[50:]
    assert all(each == numbers[0] for each in numbers) and 0 not in numbers[0]


def test_share_makes_handles_the_sessions(server: Server, peer: Peer) -> None:
    own, shared = peer.open("/dev/null").handle, peer.open("/dev/null").handle
    blob = b"".join(number.to_bytes(8, "big") for number in (shared, 12345, 0))
    peer.ask(protocol.SHARE, handles=blob)
    held = peer.connection.session
    assert held
    held.close_handles(owner=1)
    other = Peer(server, client=2)
    assert other.ask(protocol.FSTAT, handle=shared, mask=1).stat.mode
    with pytest.raises(OSError, match="EBADF"):
        other.ask(protocol.FSTAT, handle=own, mask=1)


@pytest.mark.parametrize("size", [1, 7, 8 * (LIMITS["MAX_SHARE"] + 1)])
def test_share_of_what_is_no_list_of_handles_is_einval(peer: Peer, size: int) -> None:
    with pytest.raises(OSError, match="EINVAL"):
        peer.ask(protocol.SHARE, handles=bytes(size))


def test_a_session_sees_no_other_sessions_handles(server: Server, peer: Peer) -> None:
    handle = peer.open("/dev/null").handle
    stranger = Peer(server, session=b"y" * 16)
    with pytest.raises(OSError, match="EBADF"):
        stranger.ask(protocol.FSTAT, handle=handle, mask=1)
    assert stranger.ask(protocol.STATUS)[:4] == (2, 2, 0, 1)
    assert peer.ask(protocol.STATUS)[:4] == (2, 2, 1, 1)


def test_status_counts_requests_and_file_data(server: Server, peer: Peer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(1000))
    handle = peer.open(tmp_path / "file").handle
    before = peer.ask(protocol.STATUS)
    peer.ask(protocol.PREAD, handle=handle, offset=0, count=700)
    after = peer.ask(protocol.STATUS)
    assert (after.requests - before.requests, after.bytes - before.bytes) == (2, 700)


# --------------------------------------------------------------------------------- what outlives a connection


class Timer:
    def __init__(self, when: float, act: Callable[[], None]) -> None:
        self.when, self.act, self.cancelled = when, act, False

    def cancel(self) -> None:
        self.cancelled = True


class Loop:
    """An event loop whose time the test moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: List[Timer] = []

    def call_later(self, delay: float, act: Callable[..., None], *arguments: Any) -> Timer:
        self.timers.append(Timer(self.now + delay, lambda: act(*arguments)))
        return self.timers[-1]

    def pass_time(self, seconds: float) -> None:
        end = self.now + seconds
        while due := sorted((t for t in self.timers if t.when <= end and not t.cancelled), key=lambda t: t.when):
            self.timers.remove(due[0])
            self.now = due[0].when
            due[0].act()
        self.now = end

    def create_future(self) -> None:
        pass

    def add_reader(self, *_: Any) -> None:
        pass

    remove_reader = call_soon_threadsafe = add_reader


class Hosted:
    """A server's host on such a loop, and connections to it."""

    def __init__(self, grace_s: float) -> None:
        self.loop = Loop()
        self.host = Host(self.loop, ServeOptions(grace_s=grace_s), None)  # type: ignore[arg-type]
        self.server = self.host.server

    def connect(self, **fields: Any) -> Peer:
        return Peer(self.server, **fields)

    def lose(self, peer: Peer) -> None:
        self.host.gone(peer)

    def handles(self) -> int:
        return sum(len(each.handles) for each in self.server.sessions.values())


@pytest.fixture
def hosted() -> Iterator[Hosted]:
    made = Hosted(grace_s=60)
    yield made
    made.host.close()


def test_a_client_that_comes_back_in_time_finds_its_handles(hosted: Hosted, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text")
    peer = hosted.connect()
    handle = peer.open(tmp_path / "file").handle
    hosted.lose(peer)
    hosted.loop.pass_time(CLIENT_GRACE_S - 0.1)
    again = hosted.connect()
    hosted.loop.pass_time(1000)
    assert again.ask(protocol.PREAD, handle=handle, offset=0, count=9).data == b"text"


def test_a_client_that_does_not_come_back_is_forgotten_with_its_session(hosted: Hosted) -> None:
    peer = hosted.connect()
    peer.open("/dev/null")
    hosted.lose(peer)
    hosted.loop.pass_time(CLIENT_GRACE_S - 0.1)
    assert hosted.handles() == 1
    hosted.loop.pass_time(0.2)
    assert not hosted.server.sessions


def test_a_shared_handle_stays_for_the_sessions_grace(hosted: Hosted) -> None:
    peer = hosted.connect()
    own, shared = peer.open("/dev/null").handle, peer.open("/dev/null").handle
    peer.ask(protocol.SHARE, handles=shared.to_bytes(8, "big"))
    hosted.lose(peer)
    hosted.loop.pass_time(59)
    later = hosted.connect(client=2)
    assert later.ask(protocol.FSTAT, handle=shared, mask=1).stat.mode
    with pytest.raises(OSError, match="EBADF"):
        later.ask(protocol.FSTAT, handle=own, mask=1)
    hosted.lose(later)
    hosted.loop.pass_time(61)
    assert not hosted.server.sessions


def test_grace_begins_anew_with_each_loss(hosted: Hosted) -> None:
    """Lost at 0, back at 58, lost at 59: the session goes at 119, not at 60."""
    peer = hosted.connect()
    peer.ask(protocol.SHARE, handles=peer.open("/dev/null").handle.to_bytes(8, "big"))
    hosted.lose(peer)
    hosted.loop.pass_time(58)
    peer = hosted.connect()
    hosted.loop.pass_time(1)
    hosted.lose(peer)
    hosted.loop.pass_time(59.5)
    assert hosted.handles() == 1
    hosted.loop.pass_time(1)
    assert not hosted.server.sessions


def test_a_client_with_another_connection_left_keeps_its_handles(hosted: Hosted) -> None:
    one, two = hosted.connect(), hosted.connect()
    one.open("/dev/null")
    hosted.lose(one)
    hosted.loop.pass_time(1000)
    assert hosted.handles() == 1
    hosted.lose(two)
    hosted.loop.pass_time(1000)
    assert hosted.handles() == 0


def test_a_session_without_handles_goes_at_once(hosted: Hosted) -> None:
    peer = hosted.connect()
    hosted.lose(peer)
    hosted.loop.pass_time(0)
    assert not hosted.server.sessions


def test_a_lost_connection_gives_up_what_it_waited_for(hosted: Hosted, fifo: Path) -> None:
    peer = hosted.connect()
    waiting_read(peer, fifo)
    hosted.lose(peer)
    assert peer.waits[0].ended and peer.connection.waiting == {}


def test_a_connection_lost_before_hello_is_nothing(hosted: Hosted) -> None:
    hosted.lose(hosted.connect(greet=False))
    assert hosted.loop.timers == []
