# SPDX-License-Identifier: MIT
"""What others cost one client: the latency of its 4 KiB PREADs while the server has them too.

    python bench/bench_scale.py [--samples N] [--rounds N] [--pure] [--json FILE]

The cases take turns, round by round, on one server; nothing else may be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Callable, Iterator

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from remotec import protocol
from remotec.client import Client
from stuck import Stuck

IDLE, ACTIVE, THREADS = 5000, 200, 4
SLOW_REQUESTS = 20_000


class Bench:
    def __init__(self, directory: Path, address: str, mount: Stuck | None) -> None:
        self.directory, self.address, self.mount = directory, address, mount
        (directory / "file").write_bytes(os.urandom(1 << 20))
        self.client = Client(address)
        self.handle = self.open(self.client, directory / "file")
        self.session = self.client.session

    def open(self, client: Client, path: Path) -> int:
        fields = {"directory": 0, "flags": 0, "mode": 0, "resolve": 0, "prefetch": 0}
        return int(client.call(protocol.OPEN, **fields, path=os.fsencode(path)).handle)

    def samples(self, count: int) -> list[float]:
        """Seconds of each of `count` reads."""
        found = []
        for i in range(count):
            start = time.perf_counter()
            self.client.call(protocol.PREAD, handle=self.handle, offset=i % 250 * 4096, count=4096)
            found.append(time.perf_counter() - start)
        return found

    # Each case starts its load and yields; what it opened goes with the stack.

    def alone(self, stack: ExitStack) -> None:
        pass

    def idle(self, stack: ExitStack) -> None:
        for _ in range(IDLE):
            stack.enter_context(Client(self.address))

    def active(self, stack: ExitStack) -> None:
        """200 sessions of which each reads 100 times a second, from a process of its own."""
        command = [sys.executable, __file__, "--load", self.address, str(self.directory / "file")]
        load = subprocess.Popen(command, stdout=subprocess.PIPE)
        stack.callback(load.wait)
        stack.callback(load.terminate)
        assert load.stdout
        load.stdout.readline()

    def slow_reader(self, stack: ExitStack) -> None:
        client = stack.enter_context(Client(self.address, session=self.session))
        client.stream.settimeout(0.3)
        payload = protocol.PREAD.request.build(handle=self.handle, offset=0, count=20_000)
        frame = protocol.HEADER.build(len(payload), protocol.PREAD.code, 0, 1, 0) + payload
        try:
            client.stream.sendall(frame * SLOW_REQUESTS)
        except OSError:
            pass  # the server has stopped reading: that is the case

    def stuck_mount(self, stack: ExitStack) -> None:
        assert self.mount
        self.mount.flowing.clear()
        stack.callback(self.mount.flowing.set)
        path = os.fsencode(self.mount.where / "file")
        for _ in range(50):
            client = stack.enter_context(Client(self.address))
            client.send(protocol.STAT_PATH, directory=0, flags=0, mask=0xFFF, path=path)

    def cases(self) -> Iterator[tuple[str, Callable[[ExitStack], None]]]:
        yield "alone", self.alone
        yield f"{IDLE} idle", self.idle
        yield f"{ACTIVE} active, 20,000 reads/s wanted", self.active
        yield "a slow reader", self.slow_reader
        if self.mount:
            yield "50 on a stuck mount", self.stuck_mount


def load(address: str, path: str) -> None:
    """What `active` runs, until it's terminated."""
    def one(clients: list[tuple[Client, int]]) -> None:
        while True:
            start = time.monotonic()
            for client, handle in clients:
                client.send(protocol.PREAD, handle=handle, offset=0, count=4096)
            for client, _ in clients:
                client.receive()
            time.sleep(max(0.0, start + 0.01 - time.monotonic()))

    fields = {"directory": 0, "flags": 0, "mode": 0, "resolve": 0, "prefetch": 0}
    clients = [Client(address) for _ in range(ACTIVE)]
    pairs = [(c, int(c.call(protocol.OPEN, **fields, path=os.fsencode(path)).handle)) for c in clients]
    threads = [threading.Thread(target=one, args=(pairs[i::THREADS],), daemon=True) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    print("ready", flush=True)
    threading.Event().wait()


def resident(pid: int) -> int:
    """KiB."""
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


def run(directory: Path, rounds: int, samples: int, pure: bool) -> dict[str, Any]:
    command = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0", *["--pure"] * pure]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout
    (directory / "mount").mkdir()
    try:
        mount = Stuck(directory / "mount", {"file": b"content"})
    except OSError as error:
        print(f"no stuck mount: {error}")
        mount = None
    try:
        bench = Bench(directory, server.stdout.readline().split()[-1], mount)
        bench.samples(500)
        times: dict[str, list[float]] = {name: [] for name, _ in bench.cases()}
        kib: dict[str, int] = {}
        for _ in range(rounds):
            for name, start in bench.cases():
                before = resident(server.pid)
                with ExitStack() as stack:
                    start(stack)
                    times[name] += bench.samples(samples)
                    kib.setdefault(name, resident(server.pid) - before)
        return {
            "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}",
            "server": "pure" if pure else "fast",
            "rounds": rounds,
            "cases": {name: {**percentiles(found), "server_kib": kib[name]} for name, found in times.items()},
        }
    finally:
        server.terminate()
        server.wait()
        if mount:
            mount.close()


def percentiles(seconds: list[float]) -> dict[str, float]:
    ordered = sorted(seconds)
    return {f"p{p}_us": ordered[min(len(ordered) - 1, len(ordered) * p // 100)] * 1e6 for p in (50, 99)}


def table(results: dict[str, Any]) -> str:
    lines = [
        f"{results['machine']}, {results['server']} server, {results['rounds']} rounds",
        "",
        "| beside | p50 us | p99 us | server KiB more |",
        "| --- | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {name} | {found['p50_us']:.0f} | {found['p99_us']:.0f} | {found['server_kib']} |"
        for name, found in results["cases"].items()
    ]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=2000, help="reads in each case of each round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pure", action="store_true")
    parser.add_argument("--json", default="bench/results/scale.json")
    parser.add_argument("--load", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.load:
        load(*options.load)
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    with tempfile.TemporaryDirectory(prefix="remotec-bench-") as directory:
        results = run(Path(directory), options.rounds, options.samples, options.pure)
    print(table(results))
    os.makedirs(os.path.dirname(options.json) or ".", exist_ok=True)
    Path(options.json).write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
