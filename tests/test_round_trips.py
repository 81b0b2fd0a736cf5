# SPDX-License-Identifier: MIT
"""How many requests a program waits for, counted on the wire; clocks have no part in it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path
from typing import Dict, Optional

import pytest

from oracle import TIERS, Server, command, shell
from relay import CountingRelay, FarRelay


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read ahead, and that a file has ended, is used however slow this machine is just now."""
    monkeypatch.setenv("REMOTEC_MAX_STALE", "60000")


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("round-trips")
    (box / "small").write_bytes(bytes(range(256)) * 256)
    (box / "empty").write_bytes(b"")
    (box / "medium").write_bytes(bytes(700_000))
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


@pytest.mark.usefixtures("patient")
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


@pytest.mark.usefixtures("patient")
def test_a_long_read_is_asked_for_in_large_pieces(relay: CountingRelay, box: Path) -> None:
    """6,144 reads of 4 KiB are some requests of 1 MiB, and no byte is asked for that isn't read."""
    loop = "f = os.open('/box/big', os.O_RDONLY)\nwhile os.read(f, 4096): pass"
    counts = count(relay, box, loop)
    assert counts["OPEN"] == 1 and counts["PREAD"] <= 24 + 4


@pytest.mark.usefixtures("patient")
def test_who_begins_with_a_large_read_is_read_ahead_for_at_once(relay: CountingRelay, box: Path) -> None:
    """Of 24 MiB, and of some hundred KiB, whose rest is one request; that the file ends there is known from OPEN."""
    loop = "f = os.open('/box/{}', os.O_RDONLY)\nwhile os.read(f, 131072): pass"
    assert count(relay, box, loop.format("medium")) == {"OPEN": 1, "PREAD": 1}
    counts = count(relay, box, loop.format("big"))
    assert counts["OPEN"] == 1 and counts["PREAD"] <= 24 + 1


@pytest.mark.usefixtures("patient")
def test_a_file_read_whole_is_two_round_trips(relay: CountingRelay, box: Path) -> None:
    assert count(relay, box, "assert len(open('/box/medium', 'rb').read()) == 700_000") == {"OPEN": 1, "PREAD": 1}


def test_random_reads_are_not_read_ahead(relay: CountingRelay, box: Path) -> None:
    opened = "f = os.open('/box/big', os.O_RDONLY)\n"
    loop = opened + "for i in range(200): os.pread(f, 4096, i * 7919 % 5000 * 4096)"
    assert count(relay, box, loop) == {"OPEN": 1, "PREAD": 200}


@pytest.mark.usefixtures("patient")
def test_a_listing_with_attributes_comes_in_pages_that_grow(relay: CountingRelay, box: Path) -> None:
    counts = count(relay, box, "assert sum(e.stat().st_size for e in os.scandir('/box/many')) == 0")
    assert counts["READDIR"] <= 2  # 1,000 and the rest
    assert sum(counts.values()) - counts["READDIR"] <= 2


def run_in(relay: CountingRelay, tree: Path, *words: str, tier: str = "both") -> "Counter[str]":
    """The requests of a program on `tree`, which it sees as /box; what it prints is a plain run's."""
    relay.counts.clear()
    remotec = command(relay.address, tree, tier, "--local", "/", "--max-stale", "60000")
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


@pytest.mark.parametrize("tier", TIERS)
def test_ls_of_ten_thousand_entries(relay: CountingRelay, forest: Path, tier: str) -> None:
    counts = run_in(relay, forest, "ls", "-l", "/box/wide", tier=tier)
    assert counts["READDIR"] <= 4  # 1,000, 2,000, 4,000, and the rest
    assert sum(counts.values()) - counts["READDIR"] <= 5  # the directory itself: STAT, OPEN, and 3 GETXATTR of ls


def test_find_of_five_thousand_files_in_fifty_directories(relay: CountingRelay, forest: Path) -> None:
    counts = run_in(relay, forest, "find", "/box/fifty", "-type", "f", "-size", "0", "-newermt", "2001-01-01")
    assert counts["READDIR"] <= 2 * 51
    assert sum(counts.values()) <= 51 * 3 + 1, counts


def run_far(servers: Dict[str, Server], tree: Path, line: str, patience_s: Optional[float], tier: str) -> bytes:
    """What --stats says of a line that prints what it prints in a plain run."""
    relay = FarRelay(servers["fast"].address)
    relay.patience_s = patience_s
    plain = shell(line, tree)
    remote = shell(line, tree, command(relay.address, tree, tier, "--stats"))
    assert (plain.status, plain.stderr) == (0, b"")
    assert (remote.status, remote.stdout) == (plain.status, plain.stdout), remote.stderr
    return remote.stderr


@pytest.mark.parametrize("tier", ["preload", "both"], indirect=True)
def test_a_far_server_has_a_connection_on_hand(servers: Dict[str, Server], forest: Path, tier: str) -> None:
    """For each process but the first, whatever environment it has."""
    line = "for i in 1 2 3 4 5; do cat {box}/small; sleep 0.1; env -i cat {box}/small; sleep 0.1; done"
    found = re.search(rb"connections: (\d+) waited for, (\d+) on hand", run_far(servers, forest, line, None, tier))
    assert found
    waited, on_hand = map(int, found.groups())
    assert on_hand >= 8 and waited <= 5  # on a machine that is busy one more may come before its own


@pytest.mark.parametrize("tier", ["preload", "both"], indirect=True)
def test_one_that_has_ended_meanwhile_is_no_harm(servers: Dict[str, Server], box: Path, tier: str) -> None:
    line = (
        "for i in 1 2 3; do sleep 0.3; md5sum {box}/small {box}/big; sleep 0.3; ls -l {box}/many | md5sum; "
        "sleep 0.3; (exec 3< {box}/medium; sleep 0.3; wc -c <&3); done"
    )
    assert b" on hand" in run_far(servers, box, line, 0.1, tier)


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
