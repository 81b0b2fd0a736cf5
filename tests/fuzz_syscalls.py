# SPDX-License-Identifier: MIT
"""Programs of random system calls, each beside one that must not notice (c/fuzz_syscalls.c)."""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Iterator, List

from oracle import Server, command
from remotec import protocol
from remotec.client import Client

SOURCE = Path(__file__).parent / "c" / "fuzz_syscalls.c"
COMPILERS = {"native": ["gcc"], "i386": ["i686-linux-gnu-gcc", "-static"]}
PATTERN = bytes(b"0123456789abcdefghijklmnopqrstuvwxyz-"[i % 37] ^ (i // 4096 % 3) for i in range(200003))
BATCH = 200


def missing(build: str) -> str:
    """The compiler that isn't there; "" where it is."""
    return "" if shutil.which(COMPILERS[build][0]) else COMPILERS[build][0]


def make_files(box: Path) -> None:
    for name in ("wild/dir", "innocent"):
        (box / name).mkdir(parents=True)
    for name in ("wild", "innocent"):
        (box / name / "known").write_bytes(PATTERN)
    os.mkfifo(box / "wild" / "fifo")
    shutil.copy("/bin/true", box / "wild" / "true")


def fuzz(build: str, tier: str, programs: int, seed: int) -> Iterator[str]:
    """What each batch of programs says; AssertionError where the supervisor or the innocent program suffered."""
    with contextlib.ExitStack() as at_end:
        scratch = Path(tempfile.mkdtemp(prefix="fuzz-"))
        at_end.callback(shutil.rmtree, scratch, ignore_errors=True)
        box, local, program = scratch / "box", scratch / "local", scratch / "fuzz"
        elsewhere = scratch / "elsewhere"
        local.mkdir()
        elsewhere.mkdir()
        make_files(box)
        flags = ["-w", "-O1", "-o", str(program), str(SOURCE), "-lpthread"]
        subprocess.run([*COMPILERS[build], *flags], check=True)
        server = Server("fast")
        try:
            for done in range(0, programs, BATCH):
                most = min(BATCH, programs - done)
                words = [program, str(seed + done), str(most), "/box/wild", "/box/innocent", local]
                said = run([*command(server.address, box, tier), *map(str, words)], elsewhere, seed + done)
                strays = os.listdir(elsewhere)
                assert not strays, f"seed {seed + done}: {strays} of a remote directory were made in a local one"
                yield said
            with Client(server.address) as client:
                until = time.monotonic() + 15  # what a killed client held is kept for server.CLIENT_GRACE_S
                while client.call(protocol.STATUS).all_handles:
                    assert time.monotonic() < until, "handles are left"
                    time.sleep(0.2)
            assert (box / "wild" / "known").read_bytes() == PATTERN
        finally:
            status = server.stop()
        assert status == 0


def run(words: List[str], cwd: Path, seed: int) -> str:
    done = subprocess.run(words, capture_output=True, text=True, stdin=subprocess.DEVNULL, cwd=cwd)
    assert (done.returncode, done.stderr) == (0, ""), f"seed {seed}: {done}"
    return done.stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--programs", type=int, default=2000, help="of each build in each tier")
    parser.add_argument("--seed", type=int, default=int.from_bytes(os.urandom(3), "big"))
    options = parser.parse_args()
    print(f"seed {options.seed}")
    for build in COMPILERS:
        if missing(build):
            print(f"{build}: no {missing(build)}")
            continue
        for tier in ("supervisor", "both"):
            for said in fuzz(build, tier, options.programs, options.seed):
                print(f"{build} {tier}: {said}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
