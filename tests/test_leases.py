# SPDX-License-Identifier: MIT
"""Read leases: what was fetched counts until the server says that somebody is about to write, and no longer."""

from __future__ import annotations

import os
import re
import signal
import socket
import struct
import subprocess
import threading
import time
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Tuple

import pytest

from oracle import Server, command
from relay import CountingRelay
from remotec import leases, protocol
from remotec.session import Server as Sessions
from test_session import Peer, opening, request
from test_stats import Run

pytestmark = pytest.mark.skipif(not leases.possible(), reason="no leases here")

EXACT = ("--max-stale", "0")
TERM_S = protocol.LIMITS["LEASE_TERM"] / 1000


@pytest.fixture(params=["fast", "pure"])
def mode(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def relay(mode: str, servers: Dict[str, Server]) -> Iterator[CountingRelay]:
    made = CountingRelay(servers[mode].address)
    yield made
    made.listener.close()


class Reader:
    """A program that reads all of /box/NAME again, through one descriptor, whenever it's asked to."""

    PROGRAM = """
import os, resource, sys
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
files = {}
for line in sys.stdin:
    name = line.strip()
    if name not in files:
        files[name] = os.open('/box/' + name, os.O_RDONLY)
    print(os.pread(files[name], 100, 0).decode() + '|', flush=True)
"""

    def __init__(self, address: str, box: Path, tier: str, *options: str) -> None:
        self.process = subprocess.Popen(
            [*command(address, box, tier, *options), "python3", "-S", "-c", self.PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def read(self, name: str = "file") -> str:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip("|\n")

    def end(self) -> str:
        """What it wrote to its stderr."""
        return self.process.communicate(timeout=30)[1]


def write(path: Path, text: str) -> float:
    """Overwrites the file in place; how long that took."""
    began = time.monotonic()
    with open(path, "r+") as file:
        file.write(text)
        file.truncate()
    return time.monotonic() - began


def eventually(true: Callable[[], Any]) -> Any:
    for _ in range(200):
        found = true()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError("never")


# ------------------------------------------------------------------------------------------- what it's good for


def test_a_file_is_read_again_and_again_with_one_question(relay: CountingRelay, tmp_path: Path, tier: str) -> None:
    (tmp_path / "file").write_text("content")
    program = "f = open('/box/file', 'rb', 0)\nfor i in range(100): assert f.seek(0) == 0 and f.read(99) == b'content'"
    run = Run(relay, tmp_path, tier, f'exec python3 -S -c "{program}"', *EXACT)
    assert run.status == 0
    assert (run.requests["OPEN"], run.requests["PREAD"]) == (1, 0)
    assert "remotec: leases: 1 files, 0 recalled" in run.err


@pytest.mark.parametrize("max_stale_ms", [0, 1])
def test_a_large_file_is_read_ahead_however_slowly(
    relay: CountingRelay, tmp_path: Path, tier: str, max_stale_ms: int
) -> None:
    """Without a lease, what is in the window for longer than max-stale is thrown away."""
    size = 24 * 2**20
    (tmp_path / "file").write_bytes(bytes(size))
    program = "import time\nwhile f.read(65536): time.sleep(0.002)"
    line = f'exec python3 -S -c "f = open(\'/box/file\', \'rb\', 0)\n{program}"'
    run = Run(relay, tmp_path, tier, line, "--max-stale", str(max_stale_ms))
    assert run.status == 0
    assert run.stats.wasted == 0 and size - run.stats.used < 2**20
    assert run.requests["PREAD"] < 2 * size // 2**19


def test_nobody_asks_for_a_lease_on_what_is_read_at_once(relay: CountingRelay, tmp_path: Path, tier: str) -> None:
    (tmp_path / "file").write_text("content")
    assert "leases:" not in Run(relay, tmp_path, tier, "exec cat /box/file").err


# --------------------------------------------------------------------------------------------------- recalling


def test_a_writer_is_seen_at_once(servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str) -> None:
    (tmp_path / "file").write_text("first")
    reader = Reader(servers[mode].address, tmp_path, tier, *EXACT, "--stats")
    assert [reader.read(), reader.read()] == ["first"] * 2
    for text in ("second", "", "and another"):
        write(tmp_path / "file", text)
        assert [reader.read(), reader.read()] == [text] * 2
    assert "remotec: leases: 1 files, 1 recalled" in reader.end()


def test_a_truncation_is_seen_at_once(servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str) -> None:
    (tmp_path / "file").write_text("first")
    reader = Reader(servers[mode].address, tmp_path, tier, *EXACT)
    assert reader.read() == "first"
    os.truncate(tmp_path / "file", 2)
    assert reader.read() == "fi"


def test_a_file_that_somebody_may_write_has_no_lease(
    servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str
) -> None:
    (tmp_path / "file").write_text("first")
    with open(tmp_path / "file", "r+b", buffering=0) as file:
        reader = Reader(servers[mode].address, tmp_path, tier, *EXACT, "--stats")
        for text in (b"one  ", b"two  ", b"three"):
            os.pwrite(file.fileno(), text, 0)
            assert reader.read() == text.decode()
    assert "leases:" not in reader.end()


def test_more_files_than_there_are_leases(servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str) -> None:
    count = protocol.LIMITS["MAX_LEASES"] + 50
    for i in range(count):
        (tmp_path / str(i)).write_text(f"{i}")
    reader = Reader(servers[mode].address, tmp_path, tier, *EXACT, "--stats")
    assert [reader.read(str(i)) for i in range(count)] == [str(i) for i in range(count)]
    for i in range(0, count, 7):
        write(tmp_path / str(i), f"new {i}")
    assert [reader.read(str(i)) for i in range(count)] == [f"new {i}" if i % 7 == 0 else str(i) for i in range(count)]
    found = re.search("leases: ([0-9]+) files, ([0-9]+) recalled", reader.end())
    assert found and int(found[1]) == count - 50 and int(found[2]) == len(range(0, count - 50, 7))


def test_every_session_is_recalled(servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str) -> None:
    (tmp_path / "file").write_text("first")
    readers = [Reader(servers[mode].address, tmp_path, tier, *EXACT) for _ in range(3)]
    assert [reader.read() for reader in readers] == ["first"] * 3
    write(tmp_path / "file", "second")
    assert [reader.read() for reader in readers] == ["second"] * 3
    for reader in readers:
        reader.end()


# ------------------------------------------------------------------------------------- clients that don't answer


@pytest.mark.parametrize("number, mode", [(signal.SIGSTOP, "fast"), (signal.SIGKILL, "pure")])
def test_a_writer_waits_no_longer_than_the_term_for_a_client_that_is_silent(
    servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str, number: int
) -> None:
    """remotec-run, which listens for the whole tree, is silent; the program itself runs on and never sees what was."""
    (tmp_path / "file").write_text("first")
    reader = Reader(servers[mode].address, tmp_path, tier, *EXACT)
    assert reader.read() == "first"
    os.kill(reader.process.pid, number)
    took: List[float] = []
    writer = threading.Thread(target=lambda: took.append(write(tmp_path / "file", "second")))
    writer.start()
    while writer.is_alive():
        assert reader.read() in ("first", "second")
        time.sleep(0.05)
    assert took[0] < 3 * TERM_S
    assert reader.read() == "second"
    if number == signal.SIGSTOP:
        os.kill(reader.process.pid, signal.SIGCONT)
    for text in ("third", "fourth"):
        write(tmp_path / "file", text)
        assert reader.read() == text
    reader.process.communicate(timeout=30)


class Cutter(CountingRelay):
    """Can let go of the connection on which somebody listens for recalls."""

    def __init__(self, address: str) -> None:
        self.own = threading.local()
        self.listening: "socket.socket | None" = None
        super().__init__(address)

    def ask(self, source: socket.socket, target: socket.socket) -> None:
        self.own.source = source
        super().ask(source, target)

    def _count(self, pending: bytearray) -> None:
        head = bytes(pending[: protocol.HEADER.size])
        if len(head) == protocol.HEADER.size and protocol.HEADER.parse(head).operation == protocol.RECALL.code:
            self.listening = self.own.source
        super()._count(pending)

    def cut(self) -> None:
        assert self.listening
        self.listening.shutdown(socket.SHUT_RDWR)


def test_with_the_listener_s_connection_all_leases_are_gone(
    servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str
) -> None:
    relay = Cutter(servers[mode].address)
    (tmp_path / "file").write_text("first")
    reader = Reader(relay.address, tmp_path, tier, *EXACT)
    assert reader.read() == reader.read() == "first"
    before = relay.counts["PREAD"]
    relay.cut()
    assert eventually(lambda: reader.read() == "first" and relay.counts["PREAD"] > before)
    assert write(tmp_path / "file", "second") < 3 * TERM_S
    assert reader.read() == "second"
    reader.process.communicate(timeout=30)
    relay.listener.close()


# ------------------------------------------------------------------------------- the server's side, without clocks


class Clock:
    """The loop's clock and timers; time passes when the test says so."""

    def __init__(self) -> None:
        self.time = 100.0
        self.timers: List[Timer] = []

    def later(self, seconds: float, function: Callable[[], None]) -> "Timer":
        self.timers.append(Timer(self.time + seconds, function))
        return self.timers[-1]

    def now(self) -> float:
        return self.time

    def advance(self, seconds: float) -> None:
        until = self.time + seconds
        while due := [timer for timer in self.timers if timer.at <= until and not timer.over]:
            first = min(due, key=lambda timer: timer.at)
            first.over = True
            self.time = max(self.time, first.at)
            first.function()
        self.time = until


class Timer:
    def __init__(self, at: float, function: Callable[[], None]) -> None:
        self.at, self.function, self.over = at, function, False

    def cancel(self) -> None:
        self.over = True


WANTED, REST, HELD = (protocol.LEASES[name] for name in ("LEASE_WANTED", "LEASE_WANTED_FOR_REST", "LEASE_HELD"))


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(clock: Clock) -> Iterator[Sessions]:
    made = Sessions()
    made.leases = leases.Leases(clock.later, clock.now)
    before = signal.signal(signal.SIGIO, lambda *_: made.leases.check())  # type: ignore[union-attr]
    yield made
    made.close()
    assert made.leases.count == 0
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    made = tmp_path / "file"
    made.write_bytes(bytes(100))
    return made


def opened(peer: Peer, path: Path, flags: int = WANTED, prefetch: int = 0) -> Tuple[int, bool]:
    """The handle, and whether it has a lease."""
    reply = peer.ask(protocol.OPEN, 9, **{**opening(path, flags), "prefetch": prefetch})
    assert reply.kind & ~HELD == protocol.HANDLE_KINDS["KIND_POSITIONED"]
    return reply.handle, bool(reply.kind & HELD)


def listen(peer: Peer, number: int) -> "List[int] | None":
    """What a RECALL is answered with at once; None: it waits."""
    said = peer.say(request(protocol.RECALL, number))
    return recalled(said) if said else None


def recalled(said: List[Any]) -> List[int]:
    (reply,) = said
    assert (reply.operation, reply.error) == (protocol.RECALL.code, 0)
    return [number for (number,) in struct.iter_unpack(">Q", protocol.RECALL.reply.parse(reply.payload).handles)]


class Breaker(threading.Thread):
    """Opens the file for writing, as soon as it may."""

    def __init__(self, path: Path) -> None:
        super().__init__(daemon=True)
        self.path = path
        self.start()

    def run(self) -> None:
        os.close(os.open(self.path, os.O_WRONLY))

    def waits(self) -> bool:
        """Where it's at its open(2), and stays there."""
        for _ in range(100):
            self.join(0.1)
            if not self.is_alive() or self._is_opening():
                break
        self.join(0.1)
        return self.is_alive()

    def _is_opening(self) -> bool:
        try:
            where = Path(f"/proc/self/task/{self.native_id}/wchan").read_text()
        except OSError:
            return True
        return "lease" in where or where == "0"  # which is what nobody may know is

    def goes_on(self) -> bool:
        self.join(10)
        return not self.is_alive()


def test_who_does_not_listen_has_no_lease(sessions: Sessions, file: Path) -> None:
    peer = Peer(sessions)
    assert not opened(peer, file)[1]
    assert listen(peer, 1) is None
    assert opened(peer, file)[1] and not opened(peer, file, 0)[1]


def test_a_lease_for_the_rest_is_for_what_open_does_not_bring(sessions: Sessions, file: Path) -> None:
    peer = Peer(sessions)
    listen(peer, 1)
    assert [opened(peer, file, REST, prefetch)[1] for prefetch in (0, 99, 100, 65536)] == [True, True, False, False]


def test_a_second_listener_is_refused(sessions: Sessions) -> None:
    first, second = Peer(sessions), Peer(sessions, client=2)
    assert listen(first, 1) is None
    with pytest.raises(OSError, match="EBUSY"):
        second.ask(protocol.RECALL, 1)


def test_a_server_without_leases_does_not_know_recall(file: Path) -> None:
    peer = Peer(Sessions())
    with pytest.raises(OSError, match="ENOSYS"):
        peer.ask(protocol.RECALL, 1)
    assert not opened(peer, file)[1]


def test_the_writer_waits_for_the_acknowledgement(sessions: Sessions, file: Path) -> None:
    peer = Peer(sessions)
    listen(peer, 1)
    handle, leased = opened(peer, file)
    writer = Breaker(file)
    assert recalled(eventually(peer.heard)) == [handle]
    assert leased and writer.waits()
    assert listen(peer, 2) is None
    assert writer.goes_on()
    assert opened(peer, file)[1]


def test_a_recall_while_nobody_listens_is_the_next_answer(sessions: Sessions, clock: Clock, file: Path) -> None:
    peer = Peer(sessions)
    listen(peer, 1)
    handle = opened(peer, file)[0]
    clock.advance(leases.BEAT_S)
    assert recalled(peer.heard()) == []
    writer = Breaker(file)
    assert writer.waits() and listen(peer, 2) == [handle]
    assert writer.waits() and listen(peer, 3) is None
    assert writer.goes_on()


def test_closing_the_handle_lets_the_writer_go_on(sessions: Sessions, file: Path) -> None:
    peer = Peer(sessions)
    listen(peer, 1)
    handle = opened(peer, file)[0]
    writer = Breaker(file)
    assert recalled(eventually(peer.heard)) == [handle] and writer.waits()
    peer.ask(protocol.CLOSE, 3, handle=handle)
    assert writer.goes_on()


def test_a_client_without_leases_is_left_in_peace(sessions: Sessions, clock: Clock, file: Path) -> None:
    peer = Peer(sessions)
    listen(peer, 1)
    clock.advance(1000)
    assert peer.heard() == []
    handle, leased = opened(peer, file)
    assert leased
    peer.ask(protocol.CLOSE, 3, handle=handle)
    clock.advance(1000)
    assert peer.heard() == []


@pytest.mark.parametrize("how", ["silent", "closed", "told"])
def test_the_writer_waits_for_the_term_at_most(sessions: Sessions, clock: Clock, file: Path, how: str) -> None:
    """And whoever comes back is told first of all that it has lost."""
    peer = Peer(sessions)
    listen(peer, 1)
    handle = opened(peer, file)[0]
    other = file.with_name("other")
    other.touch()
    lost = opened(peer, other)[0]
    if how == "told":
        writer = Breaker(file)
        assert recalled(eventually(peer.heard)) == [handle]
    elif how == "closed":
        peer.connection.closed()
    else:
        clock.advance(leases.BEAT_S)
        assert recalled(peer.heard()) == []
    if how != "told":
        writer = Breaker(file)
    clock.advance(TERM_S)
    assert writer.waits()
    clock.advance(leases.MARGIN_S + 0.1)
    assert writer.goes_on() and Breaker(other).goes_on()
    late = Peer(sessions)
    assert not opened(late, file)[1]
    assert listen(late, 2) == ([lost] if how == "told" else [handle, lost])
    assert listen(late, 3) is None
    assert opened(late, file)[1]


def test_opening_more_does_not_make_the_writer_wait_longer(sessions: Sessions, clock: Clock, file: Path) -> None:
    peer = Peer(sessions)
    listen(peer, 1)
    opened(peer, file)
    clock.advance(leases.BEAT_S)
    writer = Breaker(file)
    writer.waits()
    other = file.with_name("other")
    other.touch()
    for _ in range(20):
        opened(peer, other)
        clock.advance(TERM_S / 10)
    assert writer.goes_on()


def test_no_more_leases_than_there_may_be(
    sessions: Sessions, clock: Clock, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "MOST", 3)
    one, two = Peer(sessions), Peer(sessions, session=bytes(15) + b"2")
    for peer in (one, two):
        listen(peer, 1)
    handles = [opened(peer, file) for peer in (one, one, two, two)]
    assert [leased for _, leased in handles] == [True, True, True, False]
    one.ask(protocol.CLOSE, 3, handle=handles[0][0])
    assert opened(two, file)[1]


def test_a_lease_that_is_broken_before_it_is_granted_is_none(
    sessions: Sessions, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread opens the file; the loop hears of it later."""
    peer = Peer(sessions)
    listen(peer, 1)
    writers: List[Breaker] = []

    def take(fd: int) -> bool:
        taken = leases.Leases.take(fd)
        writers.append(Breaker(file))
        assert writers[0].waits()
        return taken

    monkeypatch.setattr(sessions.leases, "take", take)
    assert not opened(peer, file)[1]
    assert writers[0].goes_on()


# ------------------------------------------------------------------------------------------------------ a race

READERS, OPENS, READS = 2, 1250, 4
RACER = f"""
import os, sys, time
seen = []
for i in range({OPENS}):
    f = os.open('/box/' + sys.argv[2], os.O_RDONLY)
    for k in range({READS}):
        start = time.monotonic_ns()
        state = os.read(f, 4096)[:20].decode().strip()
        seen.append((state, start, time.monotonic_ns()))
        if sys.argv[2] == 'small': os.lseek(f, 0, 0)
    os.close(f)
with open(sys.argv[1], 'w') as out:
    for row in seen: print(*row, file=out)
"""


class Writer(threading.Thread):
    """Writes a number all over the file again and again, in place; `states`: when each may have come and gone."""

    def __init__(self, file: Path, records: int) -> None:
        super().__init__(daemon=True)
        self.file, self.records = file, records
        self.over = threading.Event()
        self.began: List[int] = []
        self.ended: List[int] = []
        file.write_bytes(b"")
        self.step()

    def step(self) -> None:
        number = len(self.began)
        self.began.append(time.monotonic_ns())
        fd = os.open(self.file, os.O_WRONLY)
        os.pwrite(fd, b"%-4096d" % number * self.records, 0)
        os.close(fd)
        self.ended.append(time.monotonic_ns())

    def run(self) -> None:
        while not self.over.is_set():
            self.step()
            time.sleep((len(self.began) * 7919 % 13) / 2000)

    def was(self, state: int, start: int, end: int) -> bool:
        """Whether the file may have had that number somewhere in it at some time from start to end."""
        gone = self.ended[state + 1] if state + 1 < len(self.ended) else end
        return self.began[state] <= end and gone >= start


@pytest.mark.parametrize("name, records", [("small", 1), ("large", 64)])
def test_no_byte_is_older_than_the_read(
    servers: Dict[str, Server], tmp_path: Path, tier: str, mode: str, name: str, records: int
) -> None:
    """10,000 reads of leased files, some of them read ahead, beside somebody who writes them in place."""
    box = tmp_path / "box"
    box.mkdir()
    racer = tmp_path / "racer.py"
    racer.write_text(RACER)
    writer = Writer(box / name, records)
    writer.start()
    outputs = [tmp_path / f"seen{i}" for i in range(READERS)]
    line = " ".join(f'python3 -S {racer} {output} {name} & pids="$pids $!";' for output in outputs)
    line += " for pid in $pids; do wait $pid || exit; done"
    done = subprocess.run(
        [*command(servers[mode].address, box, tier, *EXACT, "--stats"), "sh", "-c", line],
        timeout=300,
        stderr=subprocess.PIPE,
        text=True,
    )
    writer.over.set()
    writer.join()
    assert done.returncode == 0
    seen = [row.split() for output in outputs for row in output.read_text().splitlines()]
    assert len(seen) == READERS * OPENS * READS
    wrong = [row for row in seen if not writer.was(*map(int, row))]
    assert not wrong, wrong[:10]
    found = re.search("leases: ([0-9]+) files, ([0-9]+) recalled", done.stderr)
    assert found and int(found[1]) > OPENS / 2 and int(found[2]) > 0
