# SPDX-License-Identifier: MIT
"""Which socket options carry a large read best on this machine: one stream over loopback, a warm file in memory.

    python bench/bench_socket.py [--rounds N] [--mib N]

The server's side is sendfile (or send with MSG_ZEROCOPY), the client's recv into one buffer; both are Python's thin
calls, 1 MiB at a time.  The ways take turns, round by round.
"""

from __future__ import annotations

import argparse
import errno
import mmap
import os
import platform
import socket
import statistics
import sys
import tempfile
import time
from typing import NamedTuple, Optional

MIB = 1 << 20
SO_ZEROCOPY, MSG_ZEROCOPY = 60, 0x4000000


class Way(NamedTuple):
    name: str
    congestion: Optional[bytes] = None  # None: the machine's default
    send_buffer: int = 0  # 0: the kernel's own, which grows
    receive_buffer: int = 0
    quickack: bool = False
    zerocopy: bool = False


WAYS = [
    Way("default congestion control"),
    *(Way(name.decode(), name) for name in (b"cubic", b"reno", b"bbr")),
    Way("reno, SO_SNDBUF 4 MiB", b"reno", send_buffer=4 * MIB),
    Way("reno, SO_RCVBUF 4 MiB", b"reno", receive_buffer=4 * MIB),
    Way("reno, both 1 MiB", b"reno", MIB, MIB),
    Way("reno, TCP_QUICKACK", b"reno", quickack=True),
    Way("reno, MSG_ZEROCOPY", b"reno", zerocopy=True),
]


def prepare(stream: socket.socket, way: Way) -> None:
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if way.congestion:
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, way.congestion)


def serve(stream: socket.socket, way: Way, file: int, mib: int) -> None:
    if way.send_buffer:
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, way.send_buffer)
    if way.zerocopy:
        stream.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
    with mmap.mmap(file, MIB, prot=mmap.PROT_READ) as mapped:
        for _ in range(mib):
            at = 0
            while at < MIB:
                if way.zerocopy:
                    try:
                        at += stream.send(memoryview(mapped)[at:], MSG_ZEROCOPY)
                    except OSError as error:
                        if error.errno != errno.ENOBUFS:
                            raise
                        stream.recvmsg(1, 1024, socket.MSG_ERRQUEUE)
                else:
                    at += os.sendfile(stream.fileno(), file, at, MIB - at)


def one(way: Way, file: int, mib: int) -> tuple[float, float]:
    """Seconds, and CPU seconds of both ends."""
    listener = socket.socket()
    prepare(listener, way)  # before there are connections: these go on pacing with what has begun with bbr
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    if way.receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, way.receive_buffer)
    client = socket.socket()
    if way.receive_buffer:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, way.receive_buffer)
    prepare(client, way)
    client.connect(listener.getsockname())
    stream, _ = listener.accept()
    prepare(stream, way)
    before = os.times()
    child = os.fork()
    if child == 0:
        client.close()
        try:
            serve(stream, way, file, mib)
        finally:
            os._exit(0)
    stream.close()
    buffer, left, start = bytearray(MIB), mib * MIB, time.perf_counter()
    while left:
        if way.quickack:
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        got = client.recv_into(buffer)
        if not got:
            raise SystemExit(f"{way.name}: cut off")
        left -= got
    seconds = time.perf_counter() - start
    os.waitpid(child, 0)
    client.close()
    listener.close()
    after = os.times()
    return seconds, sum(after[:4]) - sum(before[:4])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mib", type=int, default=1024)
    options = parser.parse_args()
    found: dict[str, list[tuple[float, float]]] = {}
    refused: list[str] = []
    with tempfile.TemporaryFile(dir="/dev/shm") as file:
        file.write(os.urandom(MIB))
        file.flush()
        for _ in range(options.rounds):
            for way in WAYS:
                try:
                    found.setdefault(way.name, []).append(one(way, file.fileno(), options.mib))
                except OSError as error:
                    found.pop(way.name, None)
                    refused.append(f"{way.name}: {error.strerror}")
    print(f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, median of {options.rounds}\n")
    print("| socket | GB/s | CPU s per GiB, both ends |\n| --- | ---: | ---: |")
    for name, samples in found.items():
        rate = options.mib * MIB / statistics.median(s for s, _ in samples) / 1e9
        cpu = statistics.median(c for _, c in samples) / options.mib * 1024
        print(f"| {name} | {rate:.2f} | {cpu:.2f} |")
    print(*sorted(set(refused)), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
