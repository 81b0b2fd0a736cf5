# SPDX-License-Identifier: MIT
"""`remotec run --trace`: a file of Chrome's trace format, with the spans of every process of the tree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, Dict, List

import pytest

from oracle import Server, command

Event = Dict[str, Any]
WORK = """
import os, signal
f = os.open('small', os.O_RDONLY, dir_fd=os.open('/box', os.O_PATH))
os.lseek(f, 1, 0); os.read(f, 100); os.read(f, 100)
for call in (os.stat, os.mkdir):
    try: call('/box/no "such"\\n\\udce9')
    except OSError: pass
os.stat('/'); os.open('/dev/null', os.O_RDONLY)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("trace")
    (box / "small").write_bytes(b"small\n")
    return box


class Trace:
    def __init__(self, file: Path) -> None:
        self.events: List[Event] = json.loads(file.read_text())
        self.names = {each["pid"]: each["args"]["name"] for each in self.events if each["ph"] == "M"}
        self.spans = [each for each in self.events if each["ph"] == "X"]

    def of(self, name: str) -> List[Event]:
        return [each for each in self.spans if self.names[each["pid"]] == name]


def run(server: Server, box: Path, tier: str, file: Path, *words: str) -> "subprocess.CompletedProcess[str]":
    words = (*command(server.address, box, tier, "--max-stale", "60000", "--trace", str(file)), *words)
    return subprocess.run(words, capture_output=True, timeout=60, text=True)


def canonical(name: str) -> str:
    """The call that a libc's function of this name may be made of."""
    made_of = {"openat": "open", "newfstatat": "stat", "statx": "stat", "fstatat": "stat", "mkdirat": "mkdir"}
    return made_of.get(name, name)


def test_each_remote_call_is_a_span(servers: Dict[str, Server], box: Path, tier: str, tmp_path: Path) -> None:
    python = os.path.realpath(sys.executable)
    done = run(servers["fast"], box, tier, tmp_path / "trace", python, "-IS", "-c", WORK)
    assert (done.returncode, done.stdout, done.stderr) == (128 + 9, "", "")
    trace = Trace(tmp_path / "trace")
    spans = trace.of(os.path.basename(python)[:15])
    assert spans == trace.spans
    odd = '/box/no "such"\n\ufffd'
    seen = [(canonical(each["name"]), each["args"]["result"], each["args"].get("path")) for each in spans]
    assert [each[:1] + each[2:] for each in seen] == [
        ("open", "/box"),
        ("open", "small"),
        ("lseek", "small"),
        ("read", "small"),
        ("read", "small"),
        ("stat", odd),
        ("mkdir", odd),
    ]
    opened = seen[1][1]
    assert [each[1] for each in seen[2:]] == [1, 5, 0, "ENOENT", "EROFS"]
    assert [each["args"].get("fd") for each in spans[2:5]] == [opened] * 3
    assert [each["args"]["route"] for each in spans] == ["remote"] * 6 + ["refused"]
    assert [each["args"]["round_trips"] for each in spans[:6]] == [1, 1, 0, 0, 0, 1]
    assert {each["args"]["tier"] for each in spans} == {"preload" if tier == "both" else tier}
    times = [(each["ts"], each["ts"] + each["dur"]) for each in spans]
    assert times == sorted(times) and all(end <= begin for (_, end), (begin, _) in zip(times, times[1:]))


def test_many_processes_and_threads_append(servers: Dict[str, Server], box: Path, tier: str, tmp_path: Path) -> None:
    program = (
        "import os, threading\n"
        "def work():\n"
        " for i in range(20): os.stat('/box/small')\n"
        "threads = [threading.Thread(target=work) for i in range(3)]\n"
        "[each.start() for each in threads]; [each.join() for each in threads]\n"
        "os.execvp('cat', ['cat', '/box/small'])\n"
    )
    line = f'for i in 1 2 3 4; do {sys.executable} -S -c "{program}" & done; wait'
    done = run(servers["pure"], box, tier, tmp_path / "trace", "sh", "-c", line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "small\n" * 4, "")
    trace = Trace(tmp_path / "trace")
    stats = [each for each in trace.spans if canonical(each["name"]) == "stat" and each["args"]["path"] == "/box/small"]
    threads = Counter((each["pid"], each["tid"]) for each in stats if "fd" not in each["args"])
    assert len({pid for pid, _ in threads}) == 4
    assert sorted(threads.values()) == [20] * 12
    assert {trace.names[pid] for pid, _ in threads} == {"cat"}  # its name in the end


def test_what_outlives_the_command_leaves_the_file_alone(
    servers: Dict[str, Server], box: Path, tier: str, tmp_path: Path
) -> None:
    line = f"(sleep 0.5; cat /box/small > {tmp_path}/late) > /dev/null 2>&1 & cat /box/small"
    done = run(servers["fast"], box, tier, tmp_path / "trace", "sh", "-c", line)
    assert (done.returncode, done.stdout) == (0, "small\n")
    before = (tmp_path / "trace").read_bytes()
    assert Trace(tmp_path / "trace").of("cat")
    deadline = time.monotonic() + 20
    while not (tmp_path / "late").exists() or (tmp_path / "late").read_bytes() != b"small\n":
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert (tmp_path / "trace").read_bytes() == before


def test_a_limit_of_file_size_is_the_program_s_own(
    servers: Dict[str, Server], box: Path, tier: str, tmp_path: Path
) -> None:
    line = "cat /box/small; ulimit -f 0; cat /box/small | cat"
    done = run(servers["fast"], box, tier, tmp_path / "trace", "sh", "-c", line)
    assert (done.returncode, done.stdout, done.stderr) == (0, "small\n" * 2, "")
    assert Trace(tmp_path / "trace").of("cat")


def test_a_file_that_cannot_be_written(servers: Dict[str, Server], box: Path, tmp_path: Path) -> None:
    file = tmp_path / "none" / "trace"
    done = run(servers["fast"], box, "preload", file, "true")
    assert done.returncode == 125
    assert done.stderr == f"remotec: --trace {file}: No such file or directory\n"
