# SPDX-License-Identifier: MIT
"""What processes of one session were told is shared between them, and never said when it's too old (design §8)."""

from __future__ import annotations

import bisect
import os
import shutil
import subprocess
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Callable, Dict, List, Tuple

import pytest

from oracle import Server, command
from relay import CountingRelay
from test_stats import Run

LONG = ("--max-stale", "60000")  # clocks have no part in what is counted
HEADERS, DIRECTORIES = 20, 6


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("cache")
    (box / "file").write_bytes(b"x" * 50000)
    (box / "empty").touch()
    (box / "link").symlink_to("file")
    os.mkfifo(box / "fifo")
    (box / "null").symlink_to("/dev/null")
    (box / "self").symlink_to("/proc/self")
    for i in range(DIRECTORIES):
        (box / f"i{i}").mkdir()
    for i in range(HEADERS):
        (box / f"i{DIRECTORIES - 1}" / f"h{i}.h").write_text(f"int h{i};\n")
    lines = (f'#include "h{i}.h"\n' for i in range(HEADERS))
    (box / "main.c").write_text("".join(lines))
    package = box / "package"
    package.mkdir()
    (package / "__init__.py").write_text("from package import one, two\n")
    (package / "one.py").write_text("X = 1\n")
    (package / "two.py").write_text("X = 2\n")
    return box


def test_fifty_processes_ask_once_for_a_missing_name(relay: CountingRelay, box: Path, tier: str) -> None:
    run = Run(relay, box, tier, "for i in $(seq 50); do env test -e /box/missing; done; test ! -e /box/missing", *LONG)
    assert (run.status, sum(run.requests.values())) == (0, 1)
    assert (run.stats.missing, run.stats.known_percent) == (50, 98)


def test_a_missing_name_is_missing_for_every_call(relay: CountingRelay, box: Path, tier: str) -> None:
    program = """
import os
def fails(call, *words):
    try: call('/box/missing', *words)
    except FileNotFoundError: return
    raise SystemExit(call.__name__)
fails(os.stat); fails(os.open, os.O_RDONLY); fails(os.getxattr, 'user.x')
assert not os.access('/box/missing', os.R_OK)
fails(os.lstat); fails(os.readlink)
"""
    run = Run(relay, box, tier, f'exec python3 -S -c "{program}"', *LONG)
    assert (run.status, sum(run.requests.values())) == (0, 2)


def test_fifty_cats_of_a_file_bring_it_once(relay: CountingRelay, box: Path, tier: str) -> None:
    run = Run(relay, box, tier, "for i in $(seq 50); do cat /box/file; done | wc -c", *LONG)
    assert (run.out.strip(), run.requests) == ("2500000", {"OPEN": 50})
    assert run.stats.received < 2 * 50000
    assert run.stats.not_again == 49


def test_attributes_links_and_access_are_shared(relay: CountingRelay, box: Path, tier: str) -> None:
    line = "for i in 1 2 3; do stat -c %s /box/link /box/file /box/empty; stat -Lc %s /box/link; ls -l /box/link; done"
    one = Run(relay, box, tier, line.replace("1 2 3", "1"), *LONG)
    run = Run(relay, box, tier, line, *LONG)
    assert run.out == 3 * one.out
    assert run.requests == one.requests
    assert run.stats.remembered > 0


def test_what_no_file_system_keeps_is_asked_each_time(relay: CountingRelay, box: Path, tier: str) -> None:
    """Devices, fifos, files of /proc; named so, or by a link to them."""
    program = """
import os
for i in range(5):
    for name in 'fifo', 'null', 'self/status', 'self':
        os.stat('/box/' + name)
    os.access('/box/self/status', os.R_OK)
    assert not os.path.exists('/server/proc/nothing')
"""
    options = (*LONG, "--remote", "/server=/")
    run = Run(relay, box, tier, f'exec python3 -S -c "{program}"', *options)
    assert (run.status, run.requests["STAT"], run.requests["ACCESS"]) == (0, 25, 5)


@pytest.mark.skipif(not shutil.which("gcc"), reason="no gcc")
def test_a_second_compiler_knows_where_headers_are_not(relay: CountingRelay, box: Path, tier: str) -> None:
    include = " ".join(f"-I /box/i{i}" for i in range(DIRECTORIES))
    once = f"gcc -E {include} /box/main.c > /dev/null"
    one, two = (Run(relay, box, tier, line, *LONG) for line in (once, f"{once}; {once}"))
    missing = HEADERS * (DIRECTORIES - 1)
    assert one.status == two.status == 0
    assert sum(two.requests.values()) - sum(one.requests.values()) <= HEADERS + 10
    assert two.stats.missing - one.stats.missing >= missing


def test_a_second_python_imports_with_what_the_first_was_told(relay: CountingRelay, box: Path, tier: str) -> None:
    once = "PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/box python3 -c 'import package, package.two; print(package.one.X)'"
    one, two = (Run(relay, box, tier, line, *LONG) for line in (once, f"{once}; {once}"))
    assert two.out == "1\n1\n"
    again = two.requests - one.requests
    # Directories that are listed and files that are opened; nothing else.
    assert set(again) <= {"OPEN", "READDIR"}


def test_a_program_is_looked_for_along_path_once(relay: CountingRelay, box: Path, tier: str) -> None:
    twice = "sh -c 'expr 1 > /dev/null; true'; env expr 1 > /dev/null"
    line = f"PATH=/box/i0:/box/i1:/box/none:$PATH; for i in $(seq 20); do {twice}; done"
    one, many = (Run(relay, box, tier, each, *LONG) for each in (line.replace("20", "1"), line))
    assert many.status == 0
    assert many.requests == one.requests


@pytest.mark.parametrize("options", [("--max-stale", "0"), ("--cache-size", "0")])
def test_nothing_is_kept_where_nobody_wants_it(
    relay: CountingRelay, box: Path, tier: str, options: Tuple[str, str]
) -> None:
    line = "for i in 1 2 3; do test -e /box/missing; stat -c %s /box/file; done; exec cat /box/file"
    with open(box / "file", "r+b"):  # so that there is no lease on it
        run = Run(relay, box, tier, line, *options)
    assert run.requests["STAT"] == 6
    assert run.requests["PREAD"] >= 1
    assert run.stats.remembered == run.stats.missing == 0


# ------------------------------------------------------------------------------------------------------- age

ROUNDS, READERS, LOOKS = 1000, 2, 7
READER = f"""
import os, sys, time
def read(name):
    with open('/box/' + name) as file: return file.read()
def target():
    assert os.lstat('/box/link').st_size
    return os.readlink('/box/link')
looks = {{
    'content': lambda: read('content'),
    'size': lambda: str(os.stat('/box/dir/sized').st_size),
    'listed': lambda: str([e.stat(follow_symlinks=False).st_size for e in os.scandir('/box/dir')][0]),
    'there': lambda: str(os.path.exists('/box/flip')),
    'opened': lambda: str(os.access('/box/flip', os.R_OK)),
    'link': target,
    'current': lambda: read('current/which'),
}}
seen = []
for i in range({ROUNDS}):
    for name, look in looks.items():
        start = time.monotonic_ns()
        state = look()
        seen.append((name, state, start, time.monotonic_ns()))
with open(sys.argv[1], 'w') as out:
    for row in seen: print(*row, file=out)
"""


class Writer(threading.Thread):
    """Changes files of the server's until told to stop; `history`: per thing, its states and when each came about."""

    def __init__(self, box: Path) -> None:
        super().__init__(daemon=True)
        self.box = box
        self.over = threading.Event()
        self.history: "Dict[str, List[Tuple[str, int, int]]]" = defaultdict(list)
        self.begun: "Dict[str, List[int]]" = defaultdict(list)
        (box / "dir").mkdir()
        (box / "dir" / "sized").touch()
        for i in range(2):
            (box / f"v{i}").mkdir()
            (box / f"v{i}" / "which").write_text(f"{i}")
        self.step(0)

    def put(self, names: str, state: str, change: Callable[[], object]) -> None:
        before = time.monotonic_ns()
        change()
        for name in names.split():
            self.history[name].append((state, before, time.monotonic_ns()))
            self.begun[name].append(before)

    def replace(self, name: str, make: Callable[[Path], object]) -> None:
        make(self.box / "new")
        os.rename(self.box / "new", self.box / name)

    def step(self, i: int) -> None:
        sized, flip = self.box / "dir" / "sized", self.box / "flip"
        self.put("content", f"{i}", lambda: self.replace("content", lambda new: new.write_text(f"{i}")))
        self.put("size listed", f"{i}", lambda: os.truncate(sized, i))
        self.put("there opened", str(i % 2 == 0), flip.touch if i % 2 == 0 else flip.unlink)
        self.put("link", f"to{i}", lambda: self.replace("link", lambda new: new.symlink_to(f"to{i}")))
        self.put("current", f"{i % 2}", lambda: self.replace("current", lambda new: new.symlink_to(f"v{i % 2}")))

    def run(self) -> None:
        i = 1
        while not self.over.is_set():
            self.step(i)
            time.sleep((i * 7919 % 13) / 2000)  # at every pace, beside what counts as new
            i += 1

    def was(self, name: str, state: str, start: int, end: int) -> bool:
        """Whether the thing may have been in that state at some time from start to end."""
        rows = self.history[name]
        last = bisect.bisect_right(self.begun[name], end)
        for number in reversed(range(last)):
            until = rows[number + 1][2] if number + 1 < len(rows) else end
            if until < start:
                break
            if rows[number][0] == state:
                return True
        return False


@pytest.mark.parametrize("max_stale_ms", [0, 20])
def test_nothing_older_than_may_be_is_ever_seen(
    servers: Dict[str, Server], tmp_path: Path, tier: str, max_stale_ms: int
) -> None:
    """14,000 looks of two readers, while files are replaced, resized, created and removed."""
    box = tmp_path / "box"
    box.mkdir()
    reader = tmp_path / "reader.py"
    reader.write_text(READER)
    writer = Writer(box)
    writer.start()
    outputs = [tmp_path / f"seen{i}" for i in range(READERS)]
    line = " ".join(f'python3 -S {reader} {output} & pids="$pids $!";' for output in outputs)
    line += " for pid in $pids; do wait $pid || exit; done"
    options = ("--max-stale", str(max_stale_ms))
    done = subprocess.run(
        [*command(servers["fast"].address, box, tier, *options), "sh", "-c", line],
        timeout=300,
    )
    writer.over.set()
    writer.join()
    assert done.returncode == 0
    seen = [row.split() for output in outputs for row in output.read_text().splitlines()]
    assert len(seen) == READERS * ROUNDS * LOOKS
    slack = 10**6 if max_stale_ms else 0  # the cache counts in whole milliseconds
    wrong = [
        row
        for row in seen
        if not writer.was(row[0], row[1], int(row[2]) - max_stale_ms * 10**6 - slack, int(row[3]))
    ]
    assert not wrong, wrong[:10]
