# SPDX-License-Identifier: MIT
"""Many short processes under one `remotec run`: what they leave behind on either side is counted.

`python tests/soak.py` is the long run (`make soak`); test_soak.py the short one. A leak is an AssertionError.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple

from oracle import Server, command
from remotec import protocol
from remotec.client import Client

FILES = 50
MOST_PIDFDS = 16 * 9  # supervise_target.c, KNOWN; supervise.c, MOST_RESTING and one that receives
# Reads how many processes to start; says "done" when they have ended.  $1 is what /box stands for.
LOOP = r"""
one() {
    local f=f$(($1 % 50))
    case $(($1 % 5)) in
    0) exec cat /box/$f ;;
    1) exec cmp -s /box/$f "$srv/$f" ;;
    2) exec grep -q needle /box/$f ;;
    3) exec test -r /box/$f ;;
    4) exec head -c 3 < /box/$f 3< /box/$f ;;
    esac
}
srv=$1
while read -r count; do
    for ((i = 0; i < count; i += 8)); do
        for ((j = i; j < i + 8; j++)); do (one $j > /dev/null) || echo wrong & done
        # One that waits for ever, and is killed.
        ((i % 400)) || { cat /box/fifo & victim=$!; sleep 0.01; kill -9 $victim; }
        wait
    done 2> /dev/null
    echo done
done
"""
MIB = 2**20


class Count(NamedTuple):
    """What is held at one moment, by whom."""

    handles: int
    server_fds: int
    server_memory: int
    our_fds: int
    pidfds: int  # of callers, each thread of the supervisor's keeps some
    our_memory: int
    memfds: int
    processes: int


class Leak(AssertionError):
    pass


def make_files(box: Path) -> None:
    for i in range(FILES):
        (box / f"f{i}").write_text("needle in a haystack\n" * (1 + 40 * i))
    os.mkfifo(box / "fifo")


def family(mark: str) -> Dict[int, str]:
    """The processes that were started with `mark` in their environment, and their names."""
    found = {}
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and mark.encode() in (entry / "environ").read_bytes():
                found[int(entry.name)] = (entry / "comm").read_text().strip()
        except OSError:
            continue  # it has just ended, or isn't ours
    return found


def descriptors(pid: int) -> List[str]:
    found = []
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            found.append(os.readlink(f"/proc/{pid}/fd/{name}"))
        except OSError:
            continue
    return found


def memory(pid: int) -> int:
    """Of its own: what it shares is programs, and the cache, which fills up to the size that it's given."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


def count(server: Server, mark: str) -> Count:
    everyone = family(mark)
    ours = [pid for pid, name in everyone.items() if name.startswith("remotec-")]
    links = {pid: descriptors(pid) for pid in everyone}
    pidfds = sum("pidfd" in link for pid in ours for link in links[pid])
    with Client(server.address) as client:
        handles = client.call(protocol.STATUS).all_handles
    return Count(
        handles,
        len(descriptors(server.process.pid)),
        memory(server.process.pid),
        sum(len(links[pid]) for pid in ours) - pidfds,
        pidfds,
        sum(memory(pid) for pid in ours),
        sum("/memfd:remotec:" in link for found in links.values() for link in found),
        len(everyone),
    )


def settled(server: Server, mark: str) -> Count:
    """What is held when nothing more is on its way; a killed client's handles are, for server.CLIENT_GRACE_S."""
    for _ in range(60):
        now = count(server, mark)
        if now.handles == now.memfds == 0:
            break
        time.sleep(0.25)
    return now


def soak(tier: str, rounds: int, each: int, spare: int, say: Callable[[str], object] = lambda text: None) -> None:
    """`rounds` times `each` processes.  The first half may fill caches; the second adds at most `spare` bytes."""
    mark = f"REMOTEC_SOAK={uuid.uuid4()}"
    with tempfile.TemporaryDirectory(prefix="soak-") as scratch:
        box, runtime = Path(scratch, "box"), Path(scratch, "run")
        box.mkdir()
        runtime.mkdir()
        make_files(box)
        server = Server("fast")
        name, _, value = mark.partition("=")
        process = subprocess.Popen(
            [*command(server.address, box, tier), "bash", "-c", LOOP, "bash", str(box)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, name: value, "XDG_RUNTIME_DIR": str(runtime)},
        )
        try:
            assert process.stdin and process.stdout
            counts = []
            for i in range(rounds):
                started = time.monotonic()
                print(each, file=process.stdin, flush=True)
                line = process.stdout.readline()
                assert line == "done\n", f"{tier}: a program got something else than it should: {line!r}"
                now = settled(server, mark)
                counts.append(now)
                say(f"{tier:10} {(i + 1) * each:6} {time.monotonic() - started:6.1f} s  {now}")
            compare(counts, tier, spare)
            process.stdin.close()
            assert process.wait(30) == 0
            for _ in range(50):  # the guard ends after remotec-run has
                if not family(mark):
                    break
                time.sleep(0.1)
            left = {"processes": family(mark), "files": os.listdir(runtime), "handles": settled(server, mark).handles}
            if any(left.values()):
                raise Leak(f"{tier}: left after the run: {left}")
        finally:
            process.kill()
            process.wait()
            status = server.stop()
        assert status == 0


def compare(counts: List[Count], tier: str, spare: int) -> None:
    half = len(counts) // 2
    for field, most in (
        ("handles", 0),
        ("memfds", 0),
        ("processes", 0),
        ("server_fds", 4),
        ("our_fds", 4),
        ("server_memory", spare),
        ("our_memory", spare),
    ):
        before = [getattr(each, field) for each in counts[:half]]
        after = getattr(counts[-1], field)
        allowed = most if field in ("handles", "memfds") else max(before) + most
        if after > allowed:
            raise Leak(f"{tier}: {field}: {after} at the end, {before} before")
    if counts[-1].pidfds > MOST_PIDFDS:
        raise Leak(f"{tier}: {counts[-1].pidfds} pidfds")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--processes", type=int, default=20000)
    parser.add_argument("--tier", action="append", choices=["preload", "supervisor", "both"])
    options = parser.parse_args()
    for tier in options.tier or ["both", "supervisor"]:
        soak(tier, 10, options.processes // 10, 2 * MIB, lambda text: print(text, flush=True))
    return 0


if __name__ == "__main__":
    sys.exit(main())
