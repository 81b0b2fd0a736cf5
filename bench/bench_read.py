#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Reads of one warm file: plain local, the C yardstick, remotec in each tier; interleaved, medians, ratios.

    bench/bench_read.py [--rounds 5] [--megabytes 1024] [--tiers preload,supervisor,both] [--json FILE]

One reader program (yardstick.c) makes the reads, the same for local and remotec.  CPU seconds are of both
sides: the client's whole process tree less what the same start costs without reading, and the server process.
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
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

from remotec.check import try_tier

HERE = Path(__file__).resolve().parent
KIB, MIB = 2**10, 2**20
CALLS = 2_000_000


# How to start a reader, what it reads, and whose CPU counts as the server's.
Ways = Dict[str, Tuple[List[str], str, Optional[int]]]


class Work(NamedTuple):
    name: str
    size: int
    order: str
    share: float  # of the file's bytes that one run moves


WORKLOADS = [
    Work("sequential 4 KiB", 4 * KIB, "sequential", 1 / 8),
    Work("sequential 128 KiB", 128 * KIB, "sequential", 1),
    Work("sequential 1 MiB", MIB, "sequential", 1),
    Work("random 4 KiB", 4 * KIB, "random", 1 / 16),
]


class Sample(NamedTuple):
    seconds: float
    reads: int
    client_cpu: float
    server_cpu: float
    checksum: str


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--megabytes", type=int, default=1024)
    parser.add_argument("--tiers", default="preload,supervisor,both")
    parser.add_argument("--json", type=Path, default=HERE / "results" / "read.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="remotec-bench-", dir=_memory()) as scratch:
        results = Bench(
            Path(scratch), options.megabytes * MIB, options.tiers.split(",") if options.tiers else []
        ).run(options.rounds)
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    print(f"\n{options.json}")
    return 0


class Bench:
    def __init__(self, scratch: Path, size: int, tiers: list[str]) -> None:
        self.size, self.tiers = size, tiers
        self.program = str(scratch / "yardstick")
        compiler = os.environ.get("CC", "cc")
        source = str(HERE / "yardstick.c")
        subprocess.run(
            [compiler, "-std=gnu11", "-O2", "-D_GNU_SOURCE", "-o", self.program, source, "-lpthread"],
            check=True,
        )
        self.directory = scratch / "served"
        self.directory.mkdir()
        self.file = self.directory / "big"
        with self.file.open("wb") as file:
            for _ in range(size // MIB):
                file.write(os.urandom(MIB))

    def run(self, rounds: int) -> dict[str, Any]:
        remotec = [sys.executable, "-m", "remotec"]
        yard = subprocess.Popen([self.program, "serve", str(self.file)], stdout=subprocess.PIPE, text=True)
        server = subprocess.Popen(
            [*remotec, "serve", "--listen", "127.0.0.1:0"], stdout=subprocess.PIPE, text=True
        )
        try:
            assert yard.stdout and server.stdout
            port = yard.stdout.readline().strip()
            address = server.stdout.readline().split()[-1]
            ways: Ways = {
                "local": ([], str(self.file), None),
                "yardstick": ([], port, yard.pid),
            }
            for tier in self.tiers:
                problem = try_tier(tier, address)
                if problem:
                    print(f"{tier}: {problem}")
                    continue
                prefix = [
                    *remotec,
                    "run",
                    "-s",
                    address,
                    "--tier",
                    tier,
                    "--remote",
                    f"/box={self.directory}",
                    "--",
                ]
                ways[tier] = (prefix, "/box/big", server.pid)
            return self.measure(ways, rounds)
        finally:
            for process in (yard, server):
                process.terminate()
                process.wait()

    def measure(self, ways: Ways, rounds: int) -> dict[str, Any]:
        samples: dict[str, dict[str, list[Sample]]] = {
            work.name: {way: [] for way in ways} for work in WORKLOADS
        }
        calls: dict[str, list[float]] = {way: [] for way in ways if way != "yardstick"}
        for _ in range(rounds):
            start_cpu = {way: self.one(*ways[way], WORKLOADS[0], 0).client_cpu for way in ways}
            for work in WORKLOADS:
                total = int(self.size * work.share)
                for way in ways:
                    sample = self.one(*ways[way], work, total)
                    cpu = max(0.0, sample.client_cpu - start_cpu[way])
                    samples[work.name][way].append(sample._replace(client_cpu=cpu))
                sums = {each[-1].checksum for each in samples[work.name].values()}
                if len(sums) != 1:
                    raise SystemExit(f"{work.name}: the ways read different data")
            for way in calls:
                command = [*ways[way][0], self.program, "calls", "/dev/zero", str(CALLS)]
                done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
                calls[way].append(float(done.stdout.split()[0]) / CALLS * 1e9)
        return {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
            "python": platform.python_version(),
            "file_bytes": self.size,
            "rounds": rounds,
            "reads": {
                name: {way: summary(found) for way, found in by.items()} for name, by in samples.items()
            },
            "local_read_ns": {way: statistics.median(found) for way, found in calls.items()},
        }

    def one(self, prefix: list[str], where: str, server: Optional[int], work: Work, total: int) -> Sample:
        mode = "read" if where.isdigit() else "file"
        command = [*prefix, self.program, mode, where, str(work.size), str(total), work.order, str(self.size)]
        before = _cpu_of(server)
        done = subprocess.run([sys.executable, str(HERE / "tree_cpu.py"), *command], capture_output=True, text=True)
        words, said = done.stdout.split(), done.stderr.split()
        if done.returncode or len(words) != 4 or said[-2:-1] != ["cpu"]:
            raise SystemExit(f"{' '.join(command)}: status {done.returncode} {done.stderr}")
        return Sample(float(words[0]), int(words[2]), float(said[-1]), _cpu_of(server) - before, words[3])


def summary(samples: list[Sample]) -> dict[str, float]:
    middle = statistics.median
    return {
        "seconds": middle(s.seconds for s in samples),
        "reads": samples[0].reads,
        "us_per_read": middle(s.seconds / s.reads for s in samples) * 1e6,
        "client_cpu_s": middle(s.client_cpu for s in samples),
        "server_cpu_s": middle(s.server_cpu for s in samples),
    }


def table(results: dict[str, Any]) -> str:
    """Markdown.  A ratio is throughput beside the yardstick's; more is better."""
    lines = [
        f"{results['machine']}, Python {results['python']}, {results['file_bytes'] // MIB} MiB file, "
        f"median of {results['rounds']}",
        "",
        "| reads | way | GB/s | us per read | x yardstick | client CPU s | server CPU s |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    sizes = {work.name: work.size for work in WORKLOADS}
    for name, ways in results["reads"].items():
        for way, found in ways.items():
            rate = found["reads"] * sizes[name] / found["seconds"] / 1e9
            ratio = ways["yardstick"]["seconds"] / found["seconds"]
            lines.append(
                f"| {name} | {way} | {rate:.2f} | {found['us_per_read']:.1f} | {ratio:.2f} "
                f"| {found['client_cpu_s']:.2f} | {found['server_cpu_s']:.2f} |"
            )
    plain = results["local_read_ns"]["local"]
    lines += ["", "| a local 1-byte read | ns | added |", "| --- | ---: | ---: |"]
    lines += [f"| {way} | {ns:.0f} | {ns - plain:.0f} |" for way, ns in results["local_read_ns"].items()]
    return "\n".join(lines)


def _cpu_of(pid: Optional[int]) -> float:
    """CPU seconds that a process has used, all its threads together."""
    if pid is None:
        return 0.0
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _memory() -> Optional[str]:
    """A tmpfs, so that no disk is measured."""
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


if __name__ == "__main__":
    start = time.monotonic()
    status = main()
    print(f"{time.monotonic() - start:.0f} s")
    sys.exit(status)
