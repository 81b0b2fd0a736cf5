# SPDX-License-Identifier: MIT
"""Mutated frames at a server: it answers, or closes that connection, and goes on serving others.

    python tests/fuzz_frames.py --frames 1000000 [--pure] [--seed N]
"""

from __future__ import annotations

import argparse
import os
import random
import select
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import List

from remotec import protocol

VECTORS = Path(__file__).parent / "vectors" / "messages.hex"
AT_ONCE = 8  # a malformed frame ends the connection, and what follows it is not looked at
EXTREMES = [0, 1, 2, 3, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
PATHS = [b"/text", b"/dir", b"/", b".", b"..", b"/../../etc/passwd", b"/link", b"/fifo", b"\0", b"/dir/" * 900, b""]


def requests() -> List[bytes]:
    """Every operation's golden request but HELLO's and CANCEL's, whole frames."""
    found = []
    for line in VECTORS.read_text().splitlines():
        name, _, text = line.partition(": ")
        if name.endswith("request") and not name.startswith(("#", "HELLO")):
            found.append(bytes.fromhex(text))
    return found


class Mutator:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.golden = requests()

    def frame(self, request_id: int) -> bytes:
        """One request, of which something is wrong more often than not."""
        chance = self.chance
        header = protocol.Header.parse(chance.choice(self.golden))
        whole = chance.choice(self.golden)
        header = protocol.Header.parse(whole)
        payload = bytearray(whole[protocol.Header.sizeof() :])
        for _ in range(chance.choice([0, 1, 1, 2, 4])):
            payload = self.mutate(payload)
        operation = header.operation if chance.random() < 0.97 else chance.randrange(65536)
        flags = chance.choice([0, 0, 0, 1, chance.getrandbits(32)])
        length = len(payload) if chance.random() < 0.995 else chance.choice(EXTREMES)
        return frame(length, operation, request_id, flags) + payload

    def mutate(self, payload: bytearray) -> bytearray:
        chance = self.chance
        kind = chance.randrange(7)
        at = chance.randrange(len(payload) + 1)
        if kind == 0 and payload:
            payload[at % len(payload)] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del payload[at:]
        elif kind == 2:
            payload[at:at] = chance.randbytes(chance.choice([1, 4, 300]))
        elif kind == 3:
            width = chance.choice([4, 8])
            payload[at : at + width] = chance.choice(EXTREMES).to_bytes(width, "big")
        elif kind == 4 and len(payload) >= 8:  # a handle that may be open
            payload[:8] = chance.choice([0, 1, 2, 3, 1 << 32 | 1, 2**64 - 1]).to_bytes(8, "big")
        elif kind == 5:  # a path of its own at the end
            path = chance.choice(PATHS)
            payload[at:] = len(path).to_bytes(4, "big") + path
        else:
            payload += chance.choice(self.golden)[protocol.Header.sizeof() :]
        return payload


def frame(length: int, operation: int, request_id: int, flags: int = 0) -> bytes:
    """A request's header."""
    return protocol.HEADER.build(length, operation, 0, request_id, flags)


def hello() -> bytes:
    payload = protocol.HELLO.request.build(
        magic=protocol.MAGIC,
        version=protocol.VERSION,
        min_version=protocol.MIN_VERSION,
        capabilities=0,
        session=random.randbytes(16),
        client=1,
        program=b"fuzz",
    )
    return frame(len(payload), protocol.HELLO.code, 0) + payload


def open_text() -> bytes:
    """A good OPEN, so that there are handles to be wrong about."""
    payload = protocol.OPEN.request.build(directory=0, flags=0, mode=0, resolve=0, prefetch=0, path=b"/text")
    return frame(len(payload), protocol.OPEN.code, 2) + payload


def converse(address: "tuple[str, int]", frames: List[bytes]) -> None:
    """Says it all on one connection and takes what comes, until it's closed or nothing comes any more."""
    with socket.create_connection(address) as connection:
        connection.setblocking(False)
        left = memoryview(hello() + open_text() + b"".join(frames))
        while True:
            ready, writable, _ = select.select([connection], [connection] if left else [], [], 0.02 if not left else 10)
            try:
                if ready and not connection.recv(1 << 20):
                    return
                if writable:
                    left = left[connection.send(left) :]
            except (ConnectionError, BlockingIOError):
                return
            if not ready and not writable:
                return


def fuzz(count: int, pure: bool, seed: int) -> str:
    """Runs `count` mutated frames past a server of its own; a sentence about it.  AssertionError: what went wrong."""
    with tempfile.TemporaryDirectory(prefix="remotec-fuzz-") as root:
        tree = Path(root)
        (tree / "text").write_text("text\n" * 999)
        (tree / "dir").mkdir()
        (tree / "link").symlink_to("text")
        os.mkfifo(tree / "fifo")
        command = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0", "--root", root]
        log = open(tree / "log", "w+b")
        server = subprocess.Popen(command + ["--pure"] * pure, stdout=subprocess.PIPE, stderr=log, text=True)
        assert server.stdout
        host, _, port = server.stdout.readline().split()[-1].rpartition(":")
        mutator, started, sent = Mutator(seed), time.monotonic(), 0
        try:
            while sent < count:
                frames = [mutator.frame(4 + 2 * i) for i in range(min(AT_ONCE, count - sent))]
                converse((host, int(port)), frames)
                sent += len(frames)
                assert server.poll() is None, f"the server ended with {server.returncode}: seed {seed}, frame {sent}"
            with open(f"/proc/{server.pid}/status") as status:
                (resident,) = (int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))
            assert resident < 400, f"{resident} MiB resident"
            converse((host, int(port)), [])
        finally:
            server.terminate()
            ended = server.wait(20)
        log.seek(0)
        said = log.read().decode(errors="replace")
        assert ended == 0 and "Traceback" not in said, f"exit {ended}, seed {seed}: {said[-2000:]}"
    seconds = time.monotonic() - started
    mode = "pure" if pure else "fast"
    return f"{sent} frames at a {mode} server in {seconds:.0f} s, seed {seed}; {resident} MiB resident"


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--pure", action="store_true")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    print(fuzz(options.frames, options.pure, options.seed))
