# SPDX-License-Identifier: MIT
"""`remotec run --stats`: what it counts is what went over the wire, of the whole process tree."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Dict, Iterator, List, NamedTuple, Tuple

import pytest

from oracle import Server, command
from relay import CountingRelay

SIZE = 24 * 2**20


class Stats(NamedTuple):
    """What --stats printed."""

    calls: Dict[str, Tuple[int, ...]]  # by tier: local, remote, refused
    refused: List[str]
    round_trips: int
    ahead: int
    received: int
    sent: int
    used: int
    wasted: int
    not_again: int
    known_percent: int
    by_listings: int
    by_open: int
    remembered: int
    missing: int
    slowest: List[str]


def parse(text: str) -> Stats:
    def numbers(pattern: str) -> "tuple[int, ...]":
        found = re.search("^remotec: " + pattern.replace("N", "([0-9,]+)"), text, re.MULTILINE)
        assert found, text
        return tuple(int(each.replace(",", "")) for each in found.groups())

    rows = re.findall(r"^remotec:   (preload|supervisor) +(\d+) +(\d+) +(\d+)$", text, re.MULTILINE)
    refused = re.search("^remotec: refused: (.*)$", text, re.MULTILINE)
    return Stats(
        {tier: tuple(map(int, counts)) for tier, *counts in rows},
        refused.group(1).split(", ") if refused else [],
        *numbers("round trips: N, and N requests sent ahead; waited "),
        *numbers("bytes: N received, N sent; read ahead: N used, N wasted; N files not sent again$"),
        *numbers("answered without asking: N %: N by listings, N by what came with open, N asked before, "
                 "N known to be missing$"),
        re.findall(r"^remotec: (?:slowest:|        ) +[0-9.]+ ms  (.*)$", text, re.MULTILINE),
    )


@pytest.fixture(params=["fast", "pure"])
def relay(request: pytest.FixtureRequest, servers: Dict[str, Server]) -> Iterator[CountingRelay]:
    made = CountingRelay(servers[request.param].address)
    yield made
    made.listener.close()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("stats")
    (box / "small").write_bytes(b"small\n")
    (box / "big").write_bytes(bytes(SIZE))
    (box / "many").mkdir()
    for i in range(300):
        (box / "many" / str(i)).touch()
    return box


class Run:
    """A shell line under --stats in one tier; `requests`: those that went over the wire."""

    def __init__(self, relay: CountingRelay, box: Path, tier: str, line: str, *options: str) -> None:
        relay.counts.clear()
        words = [*command(relay.address, box, tier, "--stats", *options), "sh", "-c", line]
        done = subprocess.run(words, capture_output=True, timeout=60, text=True)
        self.requests = relay.counts.copy()
        self.status, self.out, self.err = done.returncode, done.stdout, done.stderr
        self.stats = parse(done.stderr)


def test_a_small_file_is_one_round_trip(relay: CountingRelay, box: Path, tier: str) -> None:
    run = Run(relay, box, tier, "exec cat /box/small", "--max-stale", "60000")
    assert (run.status, run.out) == (0, "small\n")
    assert (run.stats.round_trips, run.stats.ahead, run.requests) == (1, 0, {"OPEN": 1})
    assert run.stats.by_open >= 2
    assert any(re.match("open(at)? /box/small$", each) for each in run.stats.slowest)


def test_a_whole_process_tree_is_counted(relay: CountingRelay, box: Path, tier: str) -> None:
    line = f"""
        cat /box/small; (cat /box/small); env -i cat /box/small & wait
        {sys.executable} -S -c "import os, signal; os.stat('/box/big'); os.kill(os.getpid(), signal.SIGKILL)"
        find /box/many -newer /box/small | wc -l
        head -c 20000000 /box/big | wc -c
        exec cat /box/small
    """
    run = Run(relay, box, tier, line, "--max-stale", "60000")
    assert (run.status, run.out.splitlines()[-3:]) == (0, ["301", "20000000", "small"])
    assert run.stats.round_trips + run.stats.ahead == sum(run.requests.values())
    assert run.stats.received > 20000000 > run.stats.sent > 0
    assert run.stats.by_listings >= 299
    assert 0 < run.stats.used <= 20000000 and run.stats.wasted > 0
    assert set(run.stats.calls) == {"preload", "supervisor"} if tier == "both" else {tier}


def test_calls_are_remote_local_or_refused(relay: CountingRelay, box: Path, tier: str) -> None:
    program = (
        "import os\n"
        "for i in range(50): os.stat('/')\n"
        "for i in range(20): os.stat('/box/small')\n"
        "for i in range(3):\n"
        " try: os.mkdir('/box/new')\n"
        " except OSError: pass\n"
        "for i in range(2):\n"
        " try: os.mkdir('/box/small')\n"
        " except OSError: pass\n"
    )
    idle = Run(relay, box, tier, f"exec {sys.executable} -S -c 'import os'")
    run = Run(relay, box, tier, f'exec {sys.executable} -S -c "{program}"')
    by = "preload" if tier == "both" else tier
    local, remote, refused = (many - few for many, few in zip(run.stats.calls[by], idle.stats.calls[by]))
    assert (remote, refused, run.stats.refused) == (22, 3, ["3 mkdir EROFS"])
    assert 50 <= local < 60
    assert run.stats.round_trips == sum(run.requests.values())


def test_reading_ahead_that_is_used_is_not_wasted(relay: CountingRelay, box: Path, tier: str) -> None:
    run = Run(relay, box, tier, "exec dd if=/box/big bs=64k status=none of=/dev/null")
    assert 0 <= SIZE - run.stats.used < 2**20 and run.stats.wasted == 0
    assert run.stats.received > SIZE


@pytest.mark.parametrize("line, status", [("cat /box/small /box/none; exit 7", 7), ("kill -TERM $$", 143)])
def test_output_and_status_are_the_command_s(
    servers: Dict[str, Server], box: Path, tier: str, line: str, status: int
) -> None:
    def run(*options: str) -> "subprocess.CompletedProcess[str]":
        words = [*command(servers["fast"].address, box, tier, *options), "sh", "-c", line]
        return subprocess.run(words, capture_output=True, timeout=60, text=True)

    plain, counted = run(), run("--stats")
    assert plain.returncode == counted.returncode == status
    assert plain.stdout == counted.stdout
    assert "remotec:" not in plain.stderr
    assert counted.stderr.startswith(plain.stderr + "remotec: calls ")
