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
from typing import List, Tuple

from remotec import protocol

VECTORS = Path(__file__).parent / "vectors" / "messages.hex"
PATIENCE_S = 20
AT_ONCE = 8  # a malformed frame ends the connection, and what follows it is not looked at
EXTREMES = [0, 1, 2, 3, 4, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF]
PATHS = [b"/text", b"/dir", b"/", b".", b"..", b"/../../etc/passwd", b"/link", b"/fifo", b"\0", b"/dir/" * 900, b""]


def requests() -> "List[Tuple[int, bytes]]":
    """Every operation's golden request but HELLO's: its code and payload."""
    found = []
    for line in VECTORS.read_text().splitlines():
        name, _, text = line.partition(": ")
        if name.endswith("request") and not name.startswith(("#", "HELLO")):
            whole = bytes.fromhex(text)
            head, payload = whole[: protocol.HEADER.size], whole[protocol.HEADER.size :]
            found.append((protocol.HEADER.parse(head).operation, payload))
    return found


class Mutator:
    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.golden = requests()

    def frame(self, request_id: int) -> bytes:
        """One request, of which something is wrong more often than not."""
        chance = self.chance
        golden, good = chance.choice(self.golden)
        payload = bytearray(good)
        for _ in range(chance.choice([0, 1, 1, 2, 4])):
            payload = self.mutate(payload)
        operation = golden if chance.random() < 0.97 else chance.randrange(65536)
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
            payload += chance.choice(self.golden)[1]
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
    payload = protocol.OPEN.request.build(directory=0, flags=0, mode=0, resolve=0, prefetch=9999, path=b"/text")
    return frame(len(payload), protocol.OPEN.code, 2) + payload


def converse(address: "tuple[str, int]", frames: List[bytes]) -> bytes:
    """Says it all on one connection and goodbye; what came until the server closed it too."""
    received = b""
    with socket.create_connection(address) as connection:
        connection.setblocking(False)
        left = memoryview(hello() + open_text() + b"".join(frames))
        while True:
            ready, writable, _ = select.select([connection], [connection] if left else [], [], PATIENCE_S)
            assert ready or writable, f"nothing for {PATIENCE_S} s"
            try:
                if writable:
                    left = left[connection.send(left) :]
                    if not left:
                        connection.shutdown(socket.SHUT_WR)
                if ready:
                    more = connection.recv(1 << 20)
                    received += more
                    if not more:
                        return received
            except OSError:  # the server has closed it, and didn't want the rest
                return received


def serves(address: "tuple[str, int]") -> bool:
    """Whether a file can still be read."""
    with socket.create_connection(address, PATIENCE_S) as connection:
        connection.sendall(hello() + open_text())
        received = b""
        while b"text\ntext\n" not in received:
            more = connection.recv(1 << 20)
            if not more:
                return False
            received += more
    return True


def refused(received: bytes) -> bool:
    """Whether the first reply, HELLO's, is an error.  Where the server's goodbye has overtaken it, nobody knows."""
    return bool(received) and protocol.HEADER.parse(received[: protocol.HEADER.size]).error != 0


def fuzz(count: int, pure: bool, seed: int) -> str:
    """Runs `count` mutated frames past a server of its own; a sentence about it.  AssertionError: what went wrong."""
    with tempfile.TemporaryDirectory(prefix="remotec-fuzz-") as root:
        tree = Path(root)
        (tree / "text").write_text("text\n" * 999)
        (tree / "dir").mkdir()
        (tree / "link").symlink_to("text")
        os.mkfifo(tree / "fifo")
        command = [sys.executable, "-m", "remotec", "serve", "--listen", "127.0.0.1:0", "--root", root, "--grace", "2"]
        log = open(tree / "log", "w+b")
        server = subprocess.Popen(command + ["--pure"] * pure, stdout=subprocess.PIPE, stderr=log, text=True)
        assert server.stdout
        host, _, port = server.stdout.readline().split()[-1].rpartition(":")
        mutator, started, sent = Mutator(seed), time.monotonic(), 0
        try:
            while sent < count:
                frames = [mutator.frame(4 + 2 * i) for i in range(min(AT_ONCE, count - sent))]
                received = converse((host, int(port)), frames)
                assert not refused(received), f"seed {seed}, frame {sent}"
                sent += len(frames)
                assert server.poll() is None, f"the server ended with {server.returncode}: seed {seed}, frame {sent}"
            with open(f"/proc/{server.pid}/status") as status:
                (resident,) = (int(line.split()[1]) // 1024 for line in status if line.startswith("VmRSS"))
            assert resident < 150, f"{resident} MiB resident"
            assert serves((host, int(port))), "it serves nobody any more"
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
