# SPDX-License-Identifier: MIT
"""A small blocking client: `remotec check` and the tests speak to a server with it.

Programs are served by the C core (csrc/), not by this.  It keeps no offsets and repeats nothing.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Any, Optional

from remotec import protocol, sockets
from remotec.protocol import HEADER, HELLO, Operation, ProtocolError

ERRNO_NAMES = {code: name for name, code in protocol.ERRNO.items()}


def connect(address: str, timeout_s: Optional[float] = 30) -> socket.socket:
    """A stream socket to HOST:PORT, [V6]:PORT or unix:PATH."""
    if address.startswith("unix:"):
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.settimeout(timeout_s)
            stream.connect(address[5:])
        except OSError:
            stream.close()
            raise
        return stream
    host, _, port = address.rpartition(":")
    stream = socket.create_connection((host.strip("[]"), int(port)), timeout_s)
    sockets.tune(stream)
    return stream


class Client:
    """One connection of a session.  Not for several threads at once.

    >>> with Client("127.0.0.1:12345") as client:  # doctest: +SKIP
    ...     client.call(protocol.READLINK, directory=protocol.NO_HANDLE, path=b"/proc/self/exe").target
    """

    def __init__(
        self,
        address: str,
        *,
        session: Optional[bytes] = None,
        client: Optional[int] = None,
        capabilities: int = sum(protocol.CAPABILITIES.values()),
        timeout_s: Optional[float] = 30,
    ) -> None:
        self.session = os.urandom(16) if session is None else session
        self.client = int.from_bytes(os.urandom(8), "big") if client is None else client
        self.last_id = 0
        self.stream = connect(address, timeout_s)
        try:
            self.hello = self.call(
                HELLO,
                magic=protocol.MAGIC,
                version=protocol.VERSION,
                min_version=protocol.MIN_VERSION,
                capabilities=capabilities,
                session=self.session,
                client=self.client,
                program=b"remotec.client",
            )
        except BaseException:
            self.stream.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.stream.close()

    def send(self, operation: Operation, *, one_way: bool = False, **fields: Any) -> int:
        """Sends one request; returns its id."""
        payload = operation.request.build(**fields)
        self.last_id = (self.last_id + 1) & 0xFFFFFFFF
        flags = protocol.FRAME_FLAGS["FRAME_ONE_WAY"] if one_way else 0
        self.stream.sendall(HEADER.build(len(payload), operation.code, 0, self.last_id, flags) + payload)
        return self.last_id

    def receive(self) -> tuple[Any, bytearray]:
        """The next reply's header and payload, whichever request it answers.

        Raises ConnectionResetError where the server closed, ProtocolError where the bytes are no reply.
        """
        header = HEADER.parse(self._exactly(HEADER.size))
        limit = protocol.LIMITS["MAX_HELLO" if header.operation == HELLO.code else "MAX_REPLY"]
        if header.operation not in protocol.OPERATIONS or header.length > limit:
            raise ProtocolError("the peer is not a remotec server")
        return header, self._exactly(header.length)

    def call(self, operation: Operation, **fields: Any) -> Any:
        """One request and its reply, as a named tuple; raises OSError with this machine's errno."""
        request_id = self.send(operation, **fields)
        header, payload = self.receive()
        if header.request_id != request_id or header.operation != operation.code:
            raise ProtocolError(f"reply {header.request_id} to request {request_id}")
        if header.error:
            raise error_of(header.error, payload)
        return operation.reply.parse(payload)

    def _exactly(self, count: int) -> bytearray:
        data = bytearray(count)
        view = memoryview(data)
        while view:
            got = self.stream.recv_into(view)
            if not got:
                raise ConnectionResetError(errno.ECONNRESET, "the server closed the connection")
            view = view[got:]
        return data


def error_of(code: int, name: bytearray) -> OSError:
    """The OSError of an error reply; EIO for an errno that this machine doesn't have."""
    known = ERRNO_NAMES.get(code, "EIO")
    number = getattr(errno, known, errno.EIO)
    text = os.strerror(number)
    remote_name = name.decode("ascii", "replace")
    return OSError(number, f"{text} ({remote_name})" if remote_name not in ("", known) else text)
