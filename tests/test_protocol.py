# SPDX-License-Identifier: MIT
"""The declaration: its tables make sense, its codecs are what construct says, both servers' decoders agree."""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import select
import socket
import stat
import struct
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

import pytest
from construct import Bytes, FormatField, GreedyBytes, GreedyRange, Struct
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from oracle import Server
from remotec import operations, protocol
from remotec.client import Client
from remotec.protocol import HEADER, LIMITS, Codec, ProtocolError

MESSAGES = {
    f"{operation.name} {kind}": getattr(operation, kind)
    for operation in protocol.OPERATIONS.values()
    for kind in ("request", "reply")
}
LAYOUTS = {
    **MESSAGES,
    "Header": HEADER,
    "Stat": protocol.STAT,
    "DirectoryEntry": protocol.DIRECTORY_ENTRY,
    "WatchEvent": protocol.WATCH_EVENT,
}
TABLES = {
    name: table
    for name, table in vars(protocol).items()
    if name.isupper() and isinstance(table, dict) and name != "OPERATIONS"
}
# Where Python has the names.  The others (AT_, STATX_, IN_, DT_, RESOLVE_, ioctls) it has not: tests/c/test_tables.c
# holds them against the C headers.
MODULES = {
    "ERRNO": errno,
    "ACCESS_MODES": os,
    "OPEN_FLAGS": os,
    "WHENCE": os,
    "ACCESS": os,
    "ADVICE": os,
    "MODE": stat,
    "POLL_EVENTS": select,
    "LOCK_TYPES": fcntl,
    "ADDRESS_FAMILIES": socket,
    "SOCKET_TYPES": socket,
    "SOCKET_FLAGS": socket,
    "SOCKET_LEVELS": socket,
    "SOCKET_OPTIONS": socket,
}
# Too young for Python's errno, or not in its socket; S_IFMT is a function; other machines' EDEADLOCK isn't EDEADLK.
UNKNOWN_TO_PYTHON = {"EHWPOISON", "EINIT", "EREMDEV", "SO_TIMESTAMP"}
OTHERWISE_IN_PYTHON = {"S_IFMT", "EDEADLOCK"}
BITS = "CAPABILITIES RESOLVE AT_FLAGS STATX_MASK POLL_EVENTS WATCH_EVENTS FRAME_FLAGS ENTRY_FLAGS SOCKET_FLAGS".split()
MOST_MACHINES = platform.machine() in ("x86_64", "i686", "riscv64")


# --------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("name", TABLES)
def test_no_number_has_two_names(name: str) -> None:
    numbers = list(TABLES[name].values())
    if name != "LIMITS":
        assert len(set(numbers)) == len(numbers)
    assert all(0 <= number < 2**32 for number in numbers)


@pytest.mark.parametrize("name", BITS)
def test_flags_are_single_bits(name: str) -> None:
    assert all(number & (number - 1) == 0 for number in TABLES[name].values())


def test_open_flags_of_several_bits_contain_the_flags_that_they_imply() -> None:
    flags = protocol.OPEN_FLAGS
    assert flags["O_SYNC"] & flags["O_DSYNC"] == flags["O_DSYNC"]
    assert flags["O_TMPFILE"] & flags["O_DIRECTORY"] == flags["O_DIRECTORY"]
    assert not any(flag & 3 for flag in flags.values())


@pytest.mark.parametrize("name", MODULES)
def test_every_name_is_known_to_python(name: str) -> None:
    unknown = {each for each in TABLES[name] if not hasattr(MODULES[name], each)}
    assert unknown <= UNKNOWN_TO_PYTHON


@pytest.mark.skipif(not MOST_MACHINES, reason="this machine has numbers of its own")
@pytest.mark.parametrize("name", MODULES)
def test_numbers_are_those_of_most_machines(name: str) -> None:
    for each in set(TABLES[name]) - UNKNOWN_TO_PYTHON - OTHERWISE_IN_PYTHON:
        assert (each, getattr(MODULES[name], each)) == (each, TABLES[name][each])


def test_every_errno_of_this_machine_has_a_code() -> None:
    aliases = {"EWOULDBLOCK", "ENOTSUP"}
    unnamed = {name for name in errno.errorcode.values() if name not in protocol.ERRNO} - aliases
    assert unnamed == set()


def test_pathconf_names_are_pythons() -> None:
    unknown = {name for name in protocol.PATHCONF if name[1:] not in os.pathconf_names}
    assert unknown <= {"_PC_2_SYMLINKS"}


def test_operations_are_numbered_without_a_gap_and_all_are_served() -> None:
    assert sorted(protocol.OPERATIONS) == list(range(1, len(protocol.OPERATIONS) + 1))
    names = [operation.name for operation in protocol.OPERATIONS.values()]
    assert len(set(names)) == len(names)
    assert set(protocol.OPERATIONS) - set(operations.HANDLERS) == {protocol.HELLO.code, protocol.CANCEL.code}


def test_limits_leave_room_for_one_another() -> None:
    assert LIMITS["MAX_DATA"] + 4 <= LIMITS["MAX_REPLY"]
    assert protocol.OPEN.reply.size + 4 + LIMITS["MAX_PREFETCH"] <= LIMITS["MAX_REPLY"]
    assert protocol.GETXATTR.reply.size + 4 + LIMITS["MAX_XATTR"] <= LIMITS["MAX_REPLY"]
    assert protocol.OPEN.request.size + 4 + LIMITS["MAX_PATH"] <= LIMITS["MAX_REQUEST"]
    assert 4 + 8 * LIMITS["MAX_SHARE"] <= LIMITS["MAX_REQUEST"]


# --------------------------------------------------------------------------------------------------- codecs

RANGES = {"H": (0, 2**16), "L": (0, 2**32), "l": (-(2**31), 2**31), "Q": (0, 2**64), "q": (-(2**63), 2**63)}


def values(field: Any) -> st.SearchStrategy[Any]:
    """What construct builds such a field from."""
    if field is protocol.Blob:
        return st.binary(max_size=40)
    if isinstance(field, Struct):
        return fields(field)
    if isinstance(field, GreedyRange):
        return st.lists(values(field.subcon), max_size=3)
    if isinstance(field, Bytes):
        return st.binary(min_size=field.length, max_size=field.length)
    assert isinstance(field, FormatField)
    low, high = RANGES[field.fmtstr[1:]]
    return st.integers(low, high - 1)


def fields(layout: Struct) -> st.SearchStrategy[Dict[str, Any]]:
    return st.fixed_dictionaries({field.name: values(field.subcon) for field in layout.subcons})


def plain(value: Any) -> Any:
    """The same for construct's containers and the codecs' named tuples."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items() if name != "_io"}
    if hasattr(value, "_asdict"):
        return plain(value._asdict())
    return [plain(each) for each in value] if isinstance(value, list) else value


@pytest.mark.parametrize("name", LAYOUTS)
def test_codecs_parse_and_build_as_construct_does(name: str) -> None:
    codec = LAYOUTS[name]

    @settings(max_examples=30, deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])
    @given(fields(codec.layout))
    def agree(message: Dict[str, Any]) -> None:
        built = codec.layout.build(message)
        parsed = codec.parse(built)
        assert plain(parsed) == plain(codec.layout.parse(built)) == message
        assert codec.build(*parsed) == built
        assert codec.parse(memoryview(built)) == codec.parse(bytearray(built)) == parsed

    agree()


def golden() -> List[Tuple[str, Codec, bytes]]:
    found = []
    for line in (Path(__file__).parent / "vectors" / "messages.hex").read_text().splitlines():
        name, _, text = line.partition(": ")
        if not name.startswith("#"):
            message = bytes.fromhex(text)
            operation = protocol.OPERATIONS[HEADER.parse(message[: HEADER.size]).operation]
            codec = operation.request if name.endswith("request") else operation.reply
            found.append((name, codec, message[HEADER.size :]))
    return found


@pytest.mark.parametrize("name, codec, payload", [pytest.param(*each, id=each[0]) for each in golden()])
def test_a_payload_cut_short_or_too_long_is_refused(name: str, codec: Codec, payload: bytes) -> None:
    whole = [0] if codec.repeated else []  # fewer elements are no mistake
    for end in range(len(payload)):
        try:
            parsed = codec.parse(payload[:end])
        except ProtocolError:
            continue
        assert whole and codec.build(*parsed) == payload[:end]
    if not codec.repeated:
        with pytest.raises(ProtocolError, match="1 bytes too many"):
            codec.parse(payload + b"\0")


def test_a_number_that_does_not_fit_is_refused() -> None:
    with pytest.raises(struct.error):
        protocol.PING.request.build(size=2**32)
    with pytest.raises(TypeError):
        protocol.PING.request.build(length=1)


def test_a_field_without_a_fixed_width_cannot_be_declared() -> None:
    with pytest.raises(TypeError, match="no fixed width"):
        Codec(Struct("text" / GreedyBytes))


# ------------------------------------------------------------------------------------- both servers' decoders

@pytest.fixture
def both(servers: Dict[str, Server]) -> Iterator[List[Client]]:
    """A connection to each server, which have opened the same files: the same handle numbers."""
    made = [Client(servers[mode].address) for mode in ("fast", "pure")]
    yield made
    for each in made:
        each.close()


def open_file(client: Client, path: Path) -> int:
    opened = client.call(
        protocol.OPEN, directory=0, flags=0, mode=0, resolve=0, prefetch=0, path=os.fsencode(path)
    )
    return int(opened.handle)


def reply_to(stream: socket.socket, message: bytes) -> bytes:
    stream.sendall(message)
    return reply(stream)


def reply(stream: socket.socket) -> bytes:
    head = exactly(stream, HEADER.size)
    return head + exactly(stream, HEADER.parse(head).length)


def exactly(stream: socket.socket, count: int) -> bytes:
    data = bytearray()
    while len(data) < count:
        got = stream.recv(count - len(data))
        assert got, "the server closed the connection"
        data += got
    return bytes(data)


def request(operation: protocol.Operation, request_id: int, **values: Any) -> bytes:
    payload = operation.request.build(**values)
    return HEADER.build(len(payload), operation.code, 0, request_id, 0) + payload


OFFSETS = [0, 1, 4095, 4096, 70_000, 99_999, 100_000, 100_001, 2**31, 2**63 - 1, -1, -(2**63)]
COUNTS = [0, 1, 4096, 32 * 1024 - 1, 32 * 1024, 65_536, 2**20, 2**20 + 1, 2**32 - 1]


def test_pread_is_the_same_bytes_from_both_servers(both: List[Client], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(100_000))
    handles = [open_file(client, file) for client in both]
    assert handles[0] == handles[1]
    fd = os.open(file, os.O_RDONLY)
    for offset in OFFSETS:
        for count in COUNTS:
            message = request(protocol.PREAD, 77, handle=handles[0], offset=offset, count=count)
            fast, pure = (reply_to(client.stream, message) for client in both)
            assert (offset, count, fast) == (offset, count, pure)
            header = HEADER.parse(fast[: HEADER.size])
            assert (header.operation, header.request_id, header.flags) == (protocol.PREAD.code, 77, 0)
            try:
                expected = os.pread(fd, min(count, LIMITS["MAX_DATA"]), offset)
            except OSError as error:
                assert fast[HEADER.size :] == errno.errorcode[error.errno or 0].encode()
            else:
                assert protocol.PREAD.reply.parse(fast[HEADER.size :]).data == expected
    os.close(fd)


def test_fstat_is_the_same_bytes_from_both_servers(both: List[Client], tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"text")
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "file", tmp_path, Path("/dev/null"), Path("/proc/version")):
        handles = [open_file(client, path) for client in both]
        for mask in (0, 0x7FF, 0x1FFF, 0xFFFF, 2**31):
            messages = [request(protocol.FSTAT, 7, handle=handle, mask=mask) for handle in handles]
            fast, pure = (reply_to(client.stream, message) for client, message in zip(both, messages))
            assert fast == pure


@pytest.mark.parametrize("number", [0, 2, 2**16, 2**32, 2**32 + 1, 2**63, 2**64 - 1])
@pytest.mark.parametrize("operation", [protocol.PREAD, protocol.FSTAT, protocol.CLOSE, protocol.LSEEK])
def test_what_is_no_handle_is_ebadf(
    both: List[Client], tmp_path: Path, operation: protocol.Operation, number: int
) -> None:
    (tmp_path / "file").touch()
    for client in both:
        assert open_file(client, tmp_path / "file") == 1
        others = dict.fromkeys(operation.request.fields, 0)
        with pytest.raises(OSError) as caught:
            client.call(operation, **{**others, "handle": number})
        assert caught.value.errno == errno.EBADF


@pytest.mark.parametrize("piece", [1, 7, 16, 17, 10_000])
def test_frames_in_any_pieces_have_the_same_replies(both: List[Client], tmp_path: Path, piece: int) -> None:
    file = tmp_path / "file"
    file.write_bytes(os.urandom(50_000))
    for client in both:
        handle = open_file(client, file)
        messages = [request(protocol.PREAD, i, handle=handle, offset=i * 999, count=5 + i * 3000) for i in range(20)]
        messages[5] = request(protocol.FSTAT, 5, handle=handle, mask=0x7FF)
        messages[9] = request(protocol.PING, 9, size=3)
        said = b"".join(messages)
        for at in range(0, len(said), piece):
            client.stream.sendall(said[at : at + piece])
        got = [reply(client.stream) for _ in messages]
        assert [HEADER.parse(each[: HEADER.size]).request_id for each in got] == list(range(20))
        assert got[19][HEADER.size + 4 :] == file.read_bytes()[19 * 999 :][: 5 + 19 * 3000]
