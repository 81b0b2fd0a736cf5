#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""What `remotec run` costs: a notified call, reads through the supervisor, local work under it, starts.

    bench/bench_supervisor.py [--rounds 5] [--json FILE]

Every way runs once in each round, one after the other; figures are medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

HERE = Path(__file__).resolve().parent
MIB = 2**20
FILE_BYTES = 512 * MIB
CALLS = 200_000
TIERS = ("preload", "supervisor", "both")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=HERE / "results" / "supervisor.json")
    options = parser.parse_args()
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="remotec-bench-", dir=memory) as scratch:
        results = Bench(Path(scratch)).run(options.rounds)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    print(f"\n{options.json}")
    return 0


def build(source: str, target: Path) -> str:
    flags = ["-std=gnu11", "-O2", "-D_GNU_SOURCE", "-o", str(target), str(HERE / source), "-lpthread"]
    subprocess.run([os.environ.get("CC", "cc"), *flags], check=True)
    return str(target)


class Bench:
    def __init__(self, scratch: Path) -> None:
        self.scratch = scratch
        self.yardstick = build("yardstick.c", scratch / "yardstick")
        self.notify = build("notify.c", scratch / "notify")
        with open(scratch / "big", "wb") as file:
            for _ in range(FILE_BYTES // MIB):
                file.write(os.urandom(MIB))
        lines = (f"int f{i}(int a, int b) {{ return a * {i} + b / (a - {i} ? a - {i} : 1); }}" for i in range(1995))
        (scratch / "big.c").write_text("#include <stdio.h>\n#include <stdlib.h>\n" + "\n".join(lines) + "\n")
        # What each kind of work runs, under every tier; those with a number measure themselves.
        self.work: Dict[str, List[str]] = {
            "find /usr": ["sh", "-c", "find /usr -type f | wc -l"],
            "python3": [sys.executable, "-c", "import json,ssl,asyncio"],
            "gcc -c of 2,000 lines": ["gcc", "-c", "-o", "/dev/null", str(scratch / "big.c")],
            "1,000 times /bin/true": ["sh", "-c", "i=0; while [ $i -lt 1000 ]; do /bin/true; i=$((i+1)); done"],
            "true": ["true"],
        }

    def run(self, rounds: int) -> "dict[str, Any]":
        remotec = [sys.executable, "-m", "remotec"]
        server = subprocess.Popen([*remotec, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            address = server.stdout.readline().split()[-1]
            box = f"/box={self.scratch}"
            ways: Dict[str, List[str]] = {"plain": []}
            for tier in TIERS:
                ways[tier] = [*remotec, "run", "-s", address, "--tier", tier, "--remote", box, "--"]
            return self.measure(ways, rounds)
        finally:
            server.terminate()
            server.wait()

    def measure(self, ways: "dict[str, list[str]]", rounds: int) -> "dict[str, Any]":
        seconds: "dict[str, dict[str, list[float]]]" = {}
        calls: "dict[str, list[float]]" = {}
        reads: "dict[str, list[float]]" = {}
        for _ in range(rounds):
            for name, words in self.work.items():
                for way, prefix in ways.items():
                    start = time.monotonic()
                    subprocess.run([*prefix, *words], stdout=subprocess.DEVNULL, check=True)
                    seconds.setdefault(name, {}).setdefault(way, []).append(time.monotonic() - start)
            for name, options in (("kernel", []), ("kernel, synchronous", ["sync"])):
                calls.setdefault(name, []).append(number([self.notify, str(CALLS), *options]))
            once = [self.yardstick, "calls", "/dev/zero", str(CALLS)]
            for way, prefix in ways.items():
                calls.setdefault(f"local read, {way}", []).append(number([*prefix, *once]) / CALLS * 1e9)
            beside = ["sh", "-c", 'exec 9< /box/big; exec "$@"', "sh", *once]
            found = number([*ways["supervisor"], *beside]) / CALLS * 1e9
            calls.setdefault("local read beside a remote file, supervisor", []).append(found)
            for way, prefix in ways.items():
                path = f"{self.scratch if way == 'plain' else '/box'}/big"
                words = [self.yardstick, "file", path, str(MIB), str(FILE_BYTES), "sequential", str(FILE_BYTES)]
                reads.setdefault(way, []).append(FILE_BYTES / number([*prefix, *words]) / 1e9)
        return {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
            "rounds": rounds,
            "call_ns": {name: statistics.median(each) for name, each in calls.items()},
            "gb_per_s": {name: statistics.median(each) for name, each in reads.items()},
            "seconds": {
                name: {way: statistics.median(each) for way, each in by.items()} for name, by in seconds.items()
            },
        }


def number(words: "list[str]") -> float:
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[0])


def table(results: "dict[str, Any]") -> str:
    lines = [f"{results['machine']}, median of {results['rounds']}", ""]
    lines += ["| work | " + " | ".join(("plain", *TIERS)) + " |", "| --- |" + " ---: |" * 4]
    for name, by in results["seconds"].items():
        plain = by["plain"]
        cells = [f"{by[tier] * 1e3:.0f} ms, {by[tier] / plain:.2f} x" for tier in TIERS]
        lines.append(f"| {name} | {plain * 1e3:.0f} ms | " + " | ".join(cells) + " |")
    rates = [f"{results['gb_per_s'][way]:.2f} GB/s" for way in ("plain", *TIERS)]
    lines += ["| 1 MiB reads | " + " | ".join(rates) + " |", "", "| a call | us |", "| --- | ---: |"]
    lines += [f"| {name} | {ns / 1e3:.2f} |" for name, ns in results["call_ns"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
