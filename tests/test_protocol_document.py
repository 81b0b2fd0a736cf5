# SPDX-License-Identifier: MIT
"""docs/protocol.md is enough to write a client: this one was, from that page alone, and imports nothing of remotec."""

from __future__ import annotations

import os
import socket
import struct
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest

from oracle import Server

HELLO, OPEN, CLOSE, PREAD, STAT, READDIR, STATUS = 1, 3, 4, 7, 10, 15, 28
ONE_WAY = 0x1
AT_SYMLINK_NOFOLLOW = 0x100
STATX_BASIC = 0x7FF
HEADER = struct.Struct(">IHHII")
STAT_FIELDS = struct.Struct(">IIQQIIIIQQQqIqIqIqIIIIIQIIQ")


class RemoteError(Exception):
    """(errno's name, its code)"""


def blob(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


def take_blob(payload: bytes, at: int) -> Tuple[bytes, int]:
    (length,) = struct.unpack_from(">I", payload, at)
    assert len(payload) >= at + 4 + length
    return payload[at + 4 : at + 4 + length], at + 4 + length


def stat_of(fields: bytes) -> Dict[str, int]:
    f = STAT_FIELDS.unpack(fields)
    return {"mode": f[7], "ino": f[8], "nlink": f[4], "uid": f[5], "gid": f[6], "size": f[9], "blocks": f[10],
            "atime": f[11] * 10**9 + f[12], "ctime": f[15] * 10**9 + f[16], "mtime": f[17] * 10**9 + f[18],
            "dev": os.makedev(f[21], f[22])}  # fmt: skip


def local_stat(path: Path) -> Dict[str, int]:
    s = os.lstat(path)
    return {"mode": s.st_mode, "ino": s.st_ino, "nlink": s.st_nlink, "uid": s.st_uid, "gid": s.st_gid,
            "size": s.st_size, "blocks": s.st_blocks, "atime": s.st_atime_ns, "ctime": s.st_ctime_ns,
            "mtime": s.st_mtime_ns, "dev": s.st_dev}  # fmt: skip


class Client:
    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        self.stream = socket.create_connection((host, int(port)))
        self.stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.last_id = 0
        hello = bytes.fromhex("72656d6f7465630a") + struct.pack(">IIQ", 1, 1, 0)
        hello += os.urandom(16) + os.urandom(8) + blob(b"a client")
        reply = self.call(HELLO, hello)
        self.version, self.max_data, _, _, self.capabilities = struct.unpack_from(">IIIIQ", reply)
        self.server, end = take_blob(reply, 24)
        assert end == len(reply)

    def send(self, operation: int, payload: bytes, flags: int = 0) -> int:
        self.last_id += 1
        self.stream.sendall(HEADER.pack(len(payload), operation, 0, self.last_id, flags) + payload)
        return self.last_id

    def receive(self) -> Tuple[int, int, bytes]:
        length, _, error, request_id, _ = HEADER.unpack(self.exactly(16))
        return request_id, error, self.exactly(length)

    def call(self, operation: int, payload: bytes) -> bytes:
        wanted = self.send(operation, payload)
        request_id, error, reply = self.receive()
        assert request_id == wanted
        if error:
            raise RemoteError(reply.decode(), error)
        return reply

    def exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            got = self.stream.recv(count - len(data))
            assert got, "closed"
            data += got
        return data

    def open(self, path: Path, prefetch: int = 0) -> Tuple[int, int, Dict[str, int], bytes]:
        reply = self.call(OPEN, struct.pack(">QIIII", 0, 0, 0, 0, prefetch) + blob(os.fsencode(path)))
        handle, kind = struct.unpack_from(">QI", reply)
        data, _ = take_blob(reply, 12 + STAT_FIELDS.size)
        return handle, kind, stat_of(reply[12 : 12 + STAT_FIELDS.size]), data

    def list(self, handle: int) -> Iterator[Tuple[bytes, int, Dict[str, int]]]:
        offset, end = 0, 0
        while not end:
            reply = self.call(READDIR, struct.pack(">QqII", handle, offset, 100, STATX_BASIC))
            (end,), at = struct.unpack_from(">I", reply), 4
            while at < len(reply):
                ino, offset, kind, _ = struct.unpack_from(">QqII", reply, at)
                name, at = take_blob(reply, at + 24)
                attributes, at = take_blob(reply, at)
                yield name, ino, stat_of(attributes)


@pytest.fixture(params=["fast", "pure"])
def client(request: pytest.FixtureRequest, servers: Dict[str, Server]) -> Iterator[Client]:
    made = Client(servers[request.param].address)
    yield made
    made.stream.close()


@pytest.fixture(scope="module")
def box(tmp_path_factory: pytest.TempPathFactory) -> Path:
    box = tmp_path_factory.mktemp("document")
    (box / "large").write_bytes(os.urandom(3 << 20))
    (box / "small").write_bytes(b"seven b")
    os.utime(box / "small", ns=(-1_500_000_000, 1_234_567_890_123_456_789))
    (box / "link").symlink_to("nowhere")
    for i in range(250):
        (box / f"file {i}").touch()
    return box


def test_hello_says_what_is_in_force(client: Client) -> None:
    assert (client.version, client.capabilities) == (1, 0)
    assert client.server.startswith(b"remotec ")


def test_status(client: Client) -> None:
    sessions, connections, handles, everyones, requests, _ = struct.unpack(">IIIIQQ", client.call(STATUS, b""))
    assert sessions >= 1 and connections >= 1 and everyones >= handles == 0 and requests >= 1


@pytest.mark.parametrize("name", ["small", "link", "."])
def test_stat_is_lstat(client: Client, box: Path, name: str) -> None:
    request = struct.pack(">QII", 0, AT_SYMLINK_NOFOLLOW, STATX_BASIC) + blob(os.fsencode(box / name))
    assert stat_of(client.call(STAT, request)) == local_stat(box / name)


def test_a_large_file_is_read_by_pieces_asked_for_at_once(client: Client, box: Path) -> None:
    handle, kind, attributes, data = client.open(box / "large", prefetch=65536)
    assert (kind, data) == (1, b"")
    pieces = range(0, attributes["size"] + client.max_data, client.max_data)
    sent = {client.send(PREAD, struct.pack(">QqI", handle, offset, client.max_data)): offset for offset in pieces}
    came: Dict[int, bytes] = {}
    for _ in sent:
        request_id, error, reply = client.receive()
        assert not error
        came[sent[request_id]] = take_blob(reply, 0)[0]
    assert came[pieces[-1]] == b""
    assert b"".join(came[offset] for offset in pieces) == (box / "large").read_bytes()


def test_a_small_file_comes_with_its_open(client: Client, box: Path) -> None:
    before = local_stat(box / "small")  # reading changes its atime
    _, kind, attributes, data = client.open(box / "small", prefetch=4096)
    assert (kind, attributes, data) == (1, before, b"seven b")


def test_a_directory_comes_with_its_entries_attributes(client: Client, box: Path) -> None:
    handle, kind, _, _ = client.open(box)
    found: List[Any] = sorted(entry for entry in client.list(handle) if entry[0] not in (b".", b".."))
    assert kind == 3
    names = sorted(os.listdir(os.fsencode(box)))
    assert found == [(n, local_stat(box / os.fsdecode(n))["ino"], local_stat(box / os.fsdecode(n))) for n in names]


def test_errors_have_their_names_and_the_connection_lives(client: Client, box: Path) -> None:
    with pytest.raises(RemoteError, match="ENOENT.*2"):
        client.open(box / "nothing")
    with pytest.raises(RemoteError, match="ENOSYS.*38"):
        client.call(9999, b"whatever")
    assert client.open(box / "small")[1] == 1


def test_a_closed_handle_is_gone(client: Client, box: Path) -> None:
    handle = client.open(box / "small")[0]
    client.send(CLOSE, struct.pack(">Q", handle), ONE_WAY)
    with pytest.raises(RemoteError, match="EBADF.*9"):
        client.call(PREAD, struct.pack(">QqI", handle, 0, 1))
