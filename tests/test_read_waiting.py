# SPDX-License-Identifier: MIT
"""Readiness is the server's (poll, select) and so are changes (inotify), in one call with what is local."""

from __future__ import annotations

from pathlib import Path

import pytest

from conftest import Same
from oracle import TIERS

WAITS = """
import os, select, sys, threading
box, server = sys.argv[1:]
fifo = os.open(box + "/pipe", os.O_RDONLY | os.O_NONBLOCK)
writer = os.open(server + "/pipe", os.O_WRONLY)
def later(data): threading.Timer(0.1, lambda: os.write(writer, data)).start()
def ready(*sets, timeout=9): print([[each == fifo for each in one] for one in select.select(*sets, timeout)])
poll = select.poll()
poll.register(fifo, select.POLLIN)
print(poll.poll(50))
later(b"data")
print([(fd == fifo, events) for fd, events in poll.poll(9000)], os.read(fifo, 10), poll.poll(0))
local, other = os.pipe()
ready([fifo, local], [other], [])
later(b"more")
ready([fifo, local], [], [])
file = os.open(box + "/one", os.O_RDONLY)
ready([file, local], [], [])
print(os.read(fifo, 10))
ready([fifo], [], [], timeout=0.05)
os.write(other, b"x")
ready([fifo, local], [], [])
os.read(local, 1)
try:
    select.select([fifo, 60], [], [], 1)
except OSError as error:
    print(error)
os.close(writer)
ready([fifo], [], [])
print(os.read(fifo, 3))
"""

CHANGES = r"""
rm -rf {srv}/watched $HOME/watched; mkdir -p {srv}/watched $HOME/watched
(sleep 0.4; echo a > {srv}/watched/one; mv {srv}/watched/one {srv}/watched/two; rm {srv}/watched/two
 sleep 0.2; echo b > $HOME/watched/here; sleep 0.2; mkdir {srv}/watched/end) &
timeout 2 inotifywait -q -m -e create,moved_to,delete --format '%e %f' {box}/watched $HOME/watched 2>&1
wait; timeout 5 inotifywait -q {box}/missing; echo $?
""".strip()

FOLLOW = r"""
echo start > {srv}/log; (sleep 0.4; echo one >> {srv}/log; sleep 0.2; echo two >> {srv}/log) &
timeout 4 tail -n +1 -f %s {box}/log 2>&1; wait
""".strip()


@pytest.mark.parametrize("tier", TIERS)
def test_readiness_is_the_servers(same: Same, tmp_path: Path, tier: str) -> None:
    script = tmp_path / "waits.py"
    script.write_text(WAITS)
    same(f"rm -f {{srv}}/pipe; mkfifo {{srv}}/pipe; python3 {script} {{box}} {{srv}}", tier)


@pytest.mark.parametrize("tier", TIERS)
def test_changes_are_the_servers(same: Same, tmp_path: Path, tier: str) -> None:
    same(f"export HOME={tmp_path}; {CHANGES}", tier)


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("way", ["", "---disable-inotify"])
def test_a_log_is_followed(same: Same, tier: str, way: str) -> None:
    same(FOLLOW % way, tier)
