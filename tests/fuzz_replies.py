# SPDX-License-Identifier: MIT
"""A server that lies: real programs get errors, in bounded time, and neither crash nor write where they shouldn't.

    PYTHONPATH=. python tests/fuzz_replies.py --rounds 100 [--tier both] [--seed N]

A relay changes some of a real server's replies.  With tools/asan.sh it is the sanitizers that look.
"""

from __future__ import annotations

import argparse
import os
import random
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, List, Optional

from oracle import TIERS, Server, command, make_tree
from relay import Relay, end, frames
from remotec import protocol
from remotec.protocol import HEADER

EDGES = [1 << 31, 1 << 32, 1 << 63, 1 << 64]
INTEGERS = [0, 1, 2, 4095, 4096, 65536, 1 << 62, *EDGES[:3], *(edge - 1 for edge in EDGES)]
NAMES = [b"", b"/", b"..", b"a/b", b"\0", b"a\0b", b"../../etc/passwd"]
BLOBS = [*NAMES, b"x" * 255, b"x" * 256, b"/" * 4096, b"y" * 70000, b"z" * 28]
PATIENCE_S = 120
WORKLOAD = Path(__file__).with_name("workload.py")


class Liar:
    """Changes replies."""

    def __init__(self, seed: int, rate: float) -> None:
        self.chance = random.Random(seed)
        self.rate = rate

    def say(self, head: Any, payload: bytes) -> Optional[List[bytes]]:
        """What is sent instead of one reply; None: nothing any more, on this connection."""
        chance = self.chance
        whole = HEADER.build(*head) + payload
        if chance.random() >= (self.rate / 20 if head.operation == protocol.HELLO.code else self.rate):
            return [whole]
        kind = chance.randrange(20)
        if kind < 10 and not head.error:
            changed = self.change(head.operation, payload)
            return [HEADER.build(len(changed), *head[1:]) + changed]
        if kind == 10:
            name = chance.choice([b"ENOENT", b"EAGAIN", b"EINTR", b"ESTRANGE", b"", b"\0" * 40, b"E" * 70000])
            code = chance.choice([1, 2, 4, 11, 22, 41, 200, 512, 65535])
            return [HEADER.build(len(name), head.operation, code, head.request_id, 0) + name]
        if kind == 11:
            raw = bytearray(whole)
            raw[chance.randrange(len(raw))] ^= 1 << chance.randrange(8)
            return [bytes(raw)]
        if kind == 12:
            return [whole, whole]
        if kind == 13:
            return [HEADER.build(*head._replace(request_id=head.request_id + chance.choice([1, 2, 1000]))) + payload]
        if kind == 14:
            return [HEADER.build(*head._replace(length=chance.choice([n for n in INTEGERS if n < 1 << 32]))) + payload]
        if kind == 15:
            return [HEADER.build(*head._replace(operation=chance.choice([0, 7, 15, 99]))) + payload]
        if kind == 16:
            cut = payload[: chance.randrange(len(payload) + 1)]
            return [HEADER.build(len(cut), *head[1:]) + cut]
        if kind == 17:
            return [whole[: chance.randrange(len(whole))]]
        if kind == 18:
            more = chance.randbytes(chance.choice([1, 8, 5000]))
            return [HEADER.build(len(payload) + len(more), *head[1:]) + payload + more]
        return None

    def change(self, operation: int, payload: bytes) -> bytes:
        """Well-formed, and not true."""
        codec = protocol.OPERATIONS[operation].reply
        fields = codec.parse(payload)
        try:
            return codec.build(*self.lie(fields)) if fields else payload
        except Exception:  # a number that doesn't fit there
            return payload

    def lie(self, fields: Any) -> List[Any]:
        chance = self.chance
        made = list(fields)
        if not made:
            return made
        at = chance.randrange(len(made))
        value = made[at]
        if isinstance(value, (bytes, bytearray, memoryview)):
            made[at] = chance.choice([*BLOBS, bytes(value) + b"\0", bytes(value)[:-1], bytes(value) + b"/x"])
        elif isinstance(value, int):
            made[at] = chance.choice([*INTEGERS, *(-n for n in INTEGERS), value + 1, value - 1])
        elif isinstance(value, list) and chance.random() < 0.2:
            made[at] = chance.choice([[], value + value, value[:1] * 3000, value[::-1]])
        else:
            made[at] = self.lie(value)
        return made


class LyingRelay(Relay):
    def __init__(self, address: str, liar: Liar) -> None:
        self.liar = liar
        super().__init__(address)

    def ask(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
        except OSError:
            pass
        end(target)

    def answer(self, source: socket.socket, target: socket.socket) -> None:
        pending = bytearray()
        try:
            while data := source.recv(1 << 20):
                pending += data
                for head, payload in frames(pending):
                    said = self.liar.say(head, payload)
                    if said is None:
                        raise OSError
                    target.sendall(b"".join(said))
        except OSError:
            pass
        end(source, target)


LINES = [
    "python3 {workload} /box",
    "ls -lR /box; cat /box/text /box/bin /box/one | wc -c; cp /box/bin {copy}",
    "find /box -type f -size +1 -newer /box/one; grep -r needle /box/many; cd /box/sub/deep && pwd && ls ../..",
    "/box/script a b; /box/elf /box; tail -c 100 /box/lines; head -n 3 /box/link; stat /box/* ; readlink -f /box/up",
    "tar cf - /box/many /box/text | wc -c; du -s /box; df /box; file /box/*; md5sum /box/many/*",
]
BAD = (b"Sanitizer", b"runtime error:", b"Segmentation", b"Aborted", b"corrupted", b"Killed", b"smashing", b"killed")


def run(line: str, address: str, tree: Path, tier: str) -> "tuple[int, bytes]":
    """Its exit status and messages."""
    process = subprocess.Popen(
        [*command(address, tree, tier, "--timeout", "2"), "bash", "-c", line],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        err = process.communicate(timeout=PATIENCE_S)[1]
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, 9)
        err = process.communicate()[1] + b"no end: killed"
    return process.returncode, err


def fuzz(rounds: int, tier: str, seed: int, rate: float = 0.02) -> List[str]:
    """What went wrong."""
    found: List[str] = []
    with tempfile.TemporaryDirectory(prefix="remotec-fuzz-") as root:
        tree = Path(root) / "tree"
        tree.mkdir()
        make_tree(tree)
        (tree / "large").write_bytes(os.urandom(20 << 20))
        server = Server("fast")
        try:
            for number in range(seed, seed + rounds):
                relay = LyingRelay(server.address, Liar(number, rate))
                line = LINES[number % len(LINES)].format(workload=WORKLOAD, copy=f"{root}/copy")
                status, err = run(line, relay.address, tree, tier)
                relay.listener.close()
                if any(bad in err for bad in BAD) or not 0 <= status <= 128 or status in (3, 4, 99):
                    said = err[-1500:].decode(errors="replace")
                    found.append(f"{tier}, seed {number}: status {status}: {line}: {said}")
        finally:
            server.stop()
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--tier", choices=TIERS, default="both")
    parser.add_argument("--rate", type=float, default=0.02)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 30))
    options = parser.parse_args()
    wrong = fuzz(options.rounds, options.tier, options.seed, options.rate)
    sentence = f"{options.rounds} rounds of lies in {options.tier}, seed {options.seed}: {len(wrong)} went wrong"
    print(sentence, *wrong, sep="\n")
    sys.exit(bool(wrong))
