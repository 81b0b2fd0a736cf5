# SPDX-License-Identifier: MIT
"""Relays between clients and a server: one that counts what is asked for, one to a far server."""

from __future__ import annotations

import select
import socket
import threading
import time
from collections import Counter
from contextlib import suppress
from typing import Any, Callable, Iterator, Optional, Tuple

from remotec import protocol
from remotec.protocol import HEADER

NAMES = {code: operation.name for code, operation in protocol.OPERATIONS.items()}
NOT_WAITED_FOR = {protocol.HELLO.code, protocol.RECALL.code}
ONE_WAY = protocol.FRAME_FLAGS["FRAME_ONE_WAY"]


def frames(pending: bytearray) -> Iterator[Tuple[Any, bytes]]:
    """Takes each whole frame out of what has come: its header and its payload."""
    while len(pending) >= HEADER.size:
        header = HEADER.parse(bytes(pending[: HEADER.size]))
        end = HEADER.size + header.length
        if len(pending) < end:
            return
        payload = bytes(pending[HEADER.size : end])
        del pending[:end]
        yield header, payload


class Relay:
    """Carries connections; each direction of each has a thread."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            threading.Thread(target=self.join, args=(near,), daemon=True).start()

    def join(self, near: socket.socket) -> None:
        """A client's connection with one to the server."""
        far = socket.create_connection(self.server)
        for stream in (near, far):
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        asking = threading.Thread(target=self.ask, args=(near, far), daemon=True)
        asking.start()
        self.answer(far, near)
        asking.join()
        near.close()  # not before both are through with them: the numbers will be other connections'
        far.close()

    def ask(self, source: socket.socket, target: socket.socket) -> None:
        """What a client says."""
        carry(source, target)

    def answer(self, source: socket.socket, target: socket.socket) -> None:
        """What the server says."""
        carry(source, target)


def carry(source: socket.socket, target: socket.socket, hear: Callable[[bytes], None] = lambda data: None) -> None:
    try:
        while data := source.recv(65536):
            hear(data)
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        end(source, target)


def end(*streams: socket.socket) -> None:
    """Whoever reads or writes one of them goes on, and finds it at its end."""
    for stream in streams:
        with suppress(OSError):
            stream.shutdown(socket.SHUT_RDWR)


class FarRelay(Relay):
    """To a far server, as by `ssh -L`: it takes a connection at once, and has one to the server a while later."""

    def __init__(self, address: str) -> None:
        self.patience_s: Optional[float] = None  # after which who has said nothing is hung up on
        super().__init__(address)

    def join(self, near: socket.socket) -> None:
        time.sleep(0.02)
        if self.patience_s is None or select.select([near], [], [], self.patience_s)[0]:
            super().join(near)
        else:
            near.close()


class CountingRelay(Relay):
    """Counts the requests that have a reply, but for what no program waits for: HELLO, RECALL."""

    def __init__(self, address: str) -> None:
        self.counts: Counter[str] = Counter()
        super().__init__(address)

    def ask(self, source: socket.socket, target: socket.socket) -> None:
        pending = bytearray()

        def hear(data: bytes) -> None:
            pending.extend(data)
            self._count(pending)

        carry(source, target, hear)

    def _count(self, pending: bytearray) -> None:
        for header, _ in frames(pending):
            if not header.flags & ONE_WAY and header.operation not in NOT_WAITED_FOR:
                self.counts[NAMES[header.operation]] += 1
