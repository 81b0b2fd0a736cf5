# SPDX-License-Identifier: MIT
"""A relay between clients and a server that counts what is asked for."""

from __future__ import annotations

import socket
import threading
from collections import Counter

from remotec import protocol
from remotec.protocol import HEADER

NAMES = {code: operation.name for code, operation in protocol.OPERATIONS.items()}
NOT_WAITED_FOR = {protocol.HELLO.code, protocol.RECALL.code}
ONE_WAY = protocol.FRAME_FLAGS["FRAME_ONE_WAY"]


class CountingRelay:
    """Carries connections, counts the requests that have a reply, but for what no program waits for: HELLO, RECALL."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.server = (host, int(port))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.counts: Counter[str] = Counter()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                near = self.listener.accept()[0]
            except OSError:
                return
            far = socket.create_connection(self.server)
            for stream in (near, far):
                stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._carry, args=(near, far, True), daemon=True).start()
            threading.Thread(target=self._carry, args=(far, near, False), daemon=True).start()

    def _carry(self, source: socket.socket, target: socket.socket, requests: bool) -> None:
        pending = bytearray()
        try:
            while data := source.recv(65536):
                if requests:
                    pending += data
                    self._count(pending)
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            target.close()

    def _count(self, pending: bytearray) -> None:
        while len(pending) >= HEADER.size:
            header = HEADER.parse(bytes(pending[: HEADER.size]))
            if len(pending) < HEADER.size + header.length:
                return
            del pending[: HEADER.size + header.length]
            if not header.flags & ONE_WAY and header.operation not in NOT_WAITED_FOR:
                self.counts[NAMES[header.operation]] += 1
