# SPDX-License-Identifier: MIT
"""How many requests a program waits for, counted on the wire; clocks have no part in it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import threading
from collections import Counter
from pathlib import Path
from typing import Dict, Iterator

import pytest

from oracle import Server, command
from remotec import protocol
from remotec.protocol import HEADER

NAMES = {code: operation.name for code, operation in protocol.OPERATIONS.items()}
NOT_WAITED_FOR = {protocol.HELLO.code, protocol.RECALL.code}
ONE_WAY = protocol.FRAME_FLAGS["FRAME_ONE_WAY"]


class CountingRelay:
    """Carries connections, counts the requests whose replies some program waits for."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.counts: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self.server)
            for stream in (near, far):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, requests: bool) -> None:
        pending = bytearray()
        try:
            while data := source.recv(65536):
                if requests:
                    pending += data
                    self._count(pending)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()

    def _count(self, pending: bytearray) -> None:
        while len(pending) >= HEADER.size:
            header = HEADER.parse(bytes(pending[: HEADER.size]))
            if len(pending) < HEADER.size + header.length:
                return
            del pending[: HEADER.size + header.length]
            if not header.flags & ONE_WAY and header.operation not in NOT_WAITED_FOR:
                self.counts[NAMES[header.operation]] += 1


@pytest.fixture(params=["fast", "pure"])
def relay(request: pytest.FixtureRequest, servers: Dict[str, Server]) -> Iterator[CountingRelay]:
    made = CountingRelay(servers[request.param].address)
    yield made
    made.listener.close()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("round-trips")
    (box / "small").write_bytes(bytes(range(256)) * 256)
    (box / "empty").write_bytes(b"")
    (box / "big").write_bytes(bytes(24 * 2**20))
    (box / "link").symlink_to("small")
    (box / "many").mkdir()
    for i in range(2500):
        (box / "many" / str(i)).touch()
    return box


def count(relay: CountingRelay, box: Path, work: str) -> "Counter[str]":
    """The requests of a Python program's `work`, less those of a program that does nothing."""

    def run(statement: str) -> "Counter[str]":
        relay.counts.clear()
        program = ["python3", "-S", "-c", "import os, fcntl\n" + statement]
        done = subprocess.run(
            command(relay.address, box, "preload", "--local", "/") + program,
            capture_output=True,
            timeout=60,
            text=True,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return relay.counts.copy()

    idle = run("pass")
    return run(work) - idle


SMALL = """
f = os.open('/box/{}', os.O_RDONLY)
assert len(os.read(f, 65536)) == os.fstat(f).st_size
assert not os.read(f, 9)
os.close(f)
"""


def test_a_process_asks_nothing_until_its_first_remote_call(relay: CountingRelay, box: Path) -> None:
    relay.counts.clear()
    line = "for i in 1 2 3; do env true; done"
    subprocess.run([*command(relay.address, box, "preload"), "sh", "-c", line], check=True, timeout=60)
    assert relay.counts == {}


@pytest.mark.parametrize("name", ["small", "empty"])
def test_a_small_file_is_one_round_trip(relay: CountingRelay, box: Path, name: str) -> None:
    assert count(relay, box, SMALL.format(name)) == {"OPEN": 1}


def test_max_stale_0_asks_for_all_but_leased_content(
    relay: CountingRelay, box: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTEC_MAX_STALE", "0")
    assert count(relay, box, SMALL.format("small")) == {"OPEN": 1, "FSTAT": 1}
    with open(box / "small", "r+b"):  # whoever may write it keeps it from being leased
        assert count(relay, box, SMALL.format("small")) == {"OPEN": 1, "FSTAT": 1, "PREAD": 2}


@pytest.mark.parametrize(
    "call, operation",
    [
        ("os.stat('/box/small')", "STAT"),
        ("os.lstat('/box/link')", "STAT"),
        ("os.access('/box/small', os.R_OK)", "ACCESS"),
        ("os.readlink('/box/link')", "READLINK"),
    ],
)
def test_a_call_on_a_path_is_one_round_trip(
    relay: CountingRelay, box: Path, call: str, operation: str
) -> None:
    assert count(relay, box, call) == {operation: 1}


def test_seeks_duplicates_flags_and_close_are_free(relay: CountingRelay, box: Path) -> None:
    free = (
        "os.lseek(f, 5, 0); os.lseek(f, 5, 1); g = os.dup(f); fcntl.fcntl(f, fcntl.F_GETFL); "
        "fcntl.fcntl(f, fcntl.F_SETFD, 1); os.close(g); os.close(f)"
    )
    assert count(relay, box, "f = os.open('/box/big', os.O_RDONLY); " + free) == {"OPEN": 1}


def test_a_long_read_is_asked_for_in_large_pieces(relay: CountingRelay, box: Path) -> None:
    """6,144 reads of 4 KiB are some requests of 512 KiB, and no byte is asked for that isn't read."""
    loop = "f = os.open('/box/big', os.O_RDONLY)\nwhile os.read(f, 4096): pass"
    counts = count(relay, box, loop)
    assert counts["OPEN"] == 1 and counts["PREAD"] <= 24 * 2 + 6


def test_random_reads_are_not_read_ahead(relay: CountingRelay, box: Path) -> None:
    opened = "f = os.open('/box/big', os.O_RDONLY)\n"
    loop = opened + "for i in range(200): os.pread(f, 4096, i * 7919 % 5000 * 4096)"
    assert count(relay, box, loop) == {"OPEN": 1, "PREAD": 200}


def test_a_listing_with_attributes_is_one_round_trip_for_a_thousand_entries(
    relay: CountingRelay, box: Path
) -> None:
    counts = count(relay, box, "assert sum(e.stat().st_size for e in os.scandir('/box/many')) == 0")
    assert counts["READDIR"] <= 1 + 2500 // 1000 + 1
    assert sum(counts.values()) - counts["READDIR"] <= 2


def run_in(relay: CountingRelay, tree: Path, *words: str) -> "Counter[str]":
    """The requests of a program on `tree`, which it sees as /box; what it prints is a plain run's."""
    relay.counts.clear()
    remotec = command(relay.address, tree, "both", "--local", "/")
    env = {**os.environ, "LC_ALL": "C.UTF-8", "GIT_OPTIONAL_LOCKS": "0", "GIT_CONFIG_COUNT": "1"}
    env.update(GIT_CONFIG_KEY_0="safe.directory", GIT_CONFIG_VALUE_0="*")
    done = subprocess.run([*remotec, *words], capture_output=True, timeout=60, env=env)
    plain = subprocess.run([word.replace("/box", str(tree)) for word in words], capture_output=True, env=env)
    assert (done.returncode, done.stderr) == (plain.returncode, plain.stderr) == (0, b"")
    assert sorted(done.stdout.split(b"\n")) == sorted(plain.stdout.replace(os.fsencode(tree), b"/box").split(b"\n"))
    return relay.counts.copy()


@pytest.fixture(scope="module")
def forest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    forest = tmp_path_factory.mktemp("forest")
    (forest / "small").write_text("small\n")
    (forest / "wide").mkdir()
    for i in range(10_000):
        os.close(os.open(forest / "wide" / f"entry{i}", os.O_CREAT))
    for i in range(50):
        (forest / "fifty" / str(i)).mkdir(parents=True)
        for k in range(100):
            os.close(os.open(forest / "fifty" / str(i) / f"file{k}", os.O_CREAT))
    return forest


def test_cat_of_a_small_file(relay: CountingRelay, forest: Path) -> None:
    assert run_in(relay, forest, "cat", "/box/small") == {"OPEN": 1}


def test_ls_of_ten_thousand_entries(relay: CountingRelay, forest: Path) -> None:
    counts = run_in(relay, forest, "ls", "-l", "/box/wide")
    assert counts["READDIR"] <= 1 + 10_000 // 1000 + 1
    assert sum(counts.values()) - counts["READDIR"] <= 5  # the directory itself: STAT, OPEN, and 3 GETXATTR of ls


def test_find_of_five_thousand_files_in_fifty_directories(relay: CountingRelay, forest: Path) -> None:
    counts = run_in(relay, forest, "find", "/box/fifty", "-type", "f", "-size", "0", "-newermt", "2001-01-01")
    assert counts["READDIR"] <= 2 * 51
    assert sum(counts.values()) <= 51 * 3 + 1, counts


def test_git_status_of_two_thousand_files(relay: CountingRelay, tmp_path: Path) -> None:
    if not shutil.which("git"):
        pytest.skip("not installed: git")
    for i in range(2000):
        path = tmp_path / f"directory{i % 40}" / f"file{i}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{i}\n")
    git = "git init -q . && git add -A && git -c user.name=a -c user.email=a@b commit -qm one && git status"
    subprocess.run(["sh", "-c", git], cwd=tmp_path, check=True)
    counts = run_in(relay, tmp_path, "git", "-C", "/box", "status", "--porcelain")
    assert sum(counts.values()) <= 2000 + 40 * 8, counts
