# SPDX-License-Identifier: MIT
"""The parts of docs/protocol.md that are made from remotec/protocol.py and tests/vectors: its tables and its example.

A part stands between "<!-- GENERATED name -->" and "<!-- END -->"; the names are the keys of `parts()`, each of which
must be there once.
"""

import re
import struct
import textwrap
from pathlib import Path
from typing import Any, Dict, Iterator, List, Tuple

from construct import Bytes, GreedyRange, Struct

from remotec import protocol

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "messages.hex"
WIDTH = 116
PART = re.compile(r"(<!-- GENERATED (.+?) -->\n).*?(<!-- END -->)", re.DOTALL)

INTEGERS = {">B": "u8", ">H": "u16", ">L": "u32", ">l": "i32", ">Q": "u64", ">q": "i64"}
LAYOUTS = {
    "Header": protocol.Header,
    "Stat": protocol.Stat,
    "DirectoryEntry": protocol.DirectoryEntry,
    "WatchEvent": protocol.WatchEvent,
}
# The tables of constants, and how their numbers are written.
TABLES: Dict[str, Tuple[Dict[str, int], str]] = {
    "LIMITS": (protocol.LIMITS, "d"),
    "CAPABILITIES": (protocol.CAPABILITIES, "#x"),
    "FRAME_FLAGS": (protocol.FRAME_FLAGS, "#x"),
    "HANDLE_KINDS": (protocol.HANDLE_KINDS, "d"),
    "LEASES": (protocol.LEASES, "#x"),
    "ERRNO": (protocol.ERRNO, "d"),
    "ACCESS_MODES": (protocol.ACCESS_MODES, "d"),
    "OPEN_FLAGS": (protocol.OPEN_FLAGS, "#x"),
    "RESOLVE": (protocol.RESOLVE, "#x"),
    "AT_FLAGS": (protocol.AT_FLAGS, "#x"),
    "WHENCE": (protocol.WHENCE, "d"),
    "ACCESS": (protocol.ACCESS, "d"),
    "MODE": (protocol.MODE, "#o"),
    "DIRENT_TYPES": (protocol.DIRENT_TYPES, "d"),
    "ENTRY_FLAGS": (protocol.ENTRY_FLAGS, "#x"),
    "STATX_MASK": (protocol.STATX_MASK, "#x"),
    "POLL_EVENTS": (protocol.POLL_EVENTS, "#x"),
    "WATCH_EVENTS": (protocol.WATCH_EVENTS, "#x"),
    "PATHCONF": (protocol.PATHCONF, "d"),
    "IOCTLS": (protocol.IOCTLS, "d"),
    "ADVICE": (protocol.ADVICE, "d"),
    "LOCK_TYPES": (protocol.LOCK_TYPES, "d"),
    "LOCK_COMMANDS": (protocol.LOCK_COMMANDS, "d"),
    "ADDRESS_FAMILIES": (protocol.ADDRESS_FAMILIES, "d"),
    "SOCKET_TYPES": (protocol.SOCKET_TYPES, "d"),
    "SOCKET_FLAGS": (protocol.SOCKET_FLAGS, "#x"),
    "SOCKET_LEVELS": (protocol.SOCKET_LEVELS, "d"),
    "SOCKET_OPTIONS": (protocol.SOCKET_OPTIONS, "d"),
}
EXAMPLE = ("HELLO request", "OPEN of a small file request", "HELLO reply", "OPEN of a small file reply")


def document(text: str) -> str:
    """`text` with every part as it should be; ValueError where the parts are not those that there should be."""
    wanted = parts()
    found = [name for _, name, _ in PART.findall(text)]
    if sorted(found) != sorted(wanted):
        odd = sorted(set(found) ^ set(wanted)) or sorted(name for name in wanted if found.count(name) > 1)
        raise ValueError(f"missing, twice or unknown: {', '.join(odd)}")
    return PART.sub(lambda match: f"{match[1]}```\n{wanted[match[2]]}\n```\n{match[3]}", text)


def parts() -> Dict[str, str]:
    result = {f"operation {o.name}": "\n".join(_operation(o)) for o in protocol.OPERATIONS.values()}
    result.update((f"layout {name}", "\n".join(_layout(layout))) for name, layout in LAYOUTS.items())
    result.update((f"table {name}", "\n".join(_table(*table))) for name, table in TABLES.items())
    result["operations"] = "\n".join(_columns([f"{o.code:2} {o.name}" for o in protocol.OPERATIONS.values()]))
    result["version"] = f"version {protocol.VERSION}, magic {protocol.MAGIC.hex(' ')}, port {protocol.DEFAULT_PORT}"
    result["example"] = "\n".join(_example())
    return result


def _operation(operation: protocol.Operation) -> Iterator[str]:
    yield f"operation  {operation.code}"
    for kind, codec in (("request", operation.request), ("reply", operation.reply)):
        yield from textwrap.wrap(f"{kind:11}" + (_fields(codec.layout) or "nothing"), WIDTH, subsequent_indent=" " * 11)


def _fields(layout: Struct) -> str:
    return ", ".join(f"{field.name} {_type(field.subcon)}" for field in layout.subcons)


def _type(field: Any) -> str:
    if field is protocol.Blob:
        return "blob"
    if isinstance(field, Struct):
        return next((name for name, layout in LAYOUTS.items() if layout is field), "") or f"({_fields(field)})"
    if isinstance(field, GreedyRange):
        return f"{_type(field.subcon)}..."
    return f"bytes[{field.length}]" if isinstance(field, Bytes) else INTEGERS[field.fmtstr]


def _layout(layout: Struct) -> Iterator[str]:
    offset = 0
    for field in layout.subcons:
        kind = _type(field.subcon)
        yield f"{offset:3}  {kind:5} {field.name}" if kind != "blob" else f"     {kind:5} {field.name}"
        offset += 0 if kind == "blob" else field.sizeof()


def _table(table: Dict[str, int], form: str) -> Iterator[str]:
    numbers = [format(value, form).replace("0o", "0", 1) for value in table.values()]
    width = max(map(len, numbers))
    return _columns([f"{number:>{width}} {name}" for number, name in zip(numbers, table)])


def _columns(cells: List[str]) -> Iterator[str]:
    """The cells in rows as wide as the page allows."""
    width = max(map(len, cells)) + 2
    per_row = max(1, (WIDTH + 2) // width)
    for i in range(0, len(cells), per_row):
        yield "".join(cell.ljust(width) for cell in cells[i : i + per_row]).rstrip()


# ------------------------------------------------------------------------------------------------- the example


def _example() -> Iterator[str]:
    golden = dict(line.split(": ") for line in VECTORS.read_text().splitlines() if not line.startswith("#"))
    for title in EXAMPLE:
        message = bytes.fromhex(golden[title])
        if title != EXAMPLE[0]:
            yield ""
        sender = "client" if title.endswith("request") else "server"
        yield f"{sender}: {title}, {len(message)} bytes"
        header = protocol.HEADER.parse(message[: protocol.HEADER.size])
        operation = protocol.OPERATIONS[header.operation]
        yield from _dump(protocol.Header, message[: protocol.HEADER.size])
        layout = operation.request.layout if sender == "client" else operation.reply.layout
        yield from _dump(layout, message[protocol.HEADER.size :])


def _dump(layout: Struct, data: bytes, prefix: str = "") -> Iterator[str]:
    """Each field's bytes, name and value."""
    at = 0
    for field in layout.subcons:
        name = prefix + field.name
        if isinstance(field.subcon, Struct):
            size = field.sizeof()
            yield from _dump(field.subcon, data[at : at + size], f"{name}.")
        elif field.subcon is protocol.Blob:
            (length,) = struct.unpack_from(">I", data, at)
            size = 4 + length
            yield from _line(data[at : at + 4], name, f"{length} bytes follow")
            if length:
                yield from _line(data[at + 4 : at + size], "", ascii(data[at + 4 : at + size])[1:])
        else:
            size = field.sizeof()
            value = field.subcon.parse(data[at : at + size])
            yield from _line(data[at : at + size], name, "" if isinstance(value, bytes) else str(value))
        at += size


def _line(data: bytes, name: str, value: str) -> Iterator[str]:
    for i in range(0, len(data), 8):
        text = f"  {data[i : i + 8].hex(' '):24} {name:21} {value}" if i == 0 else f"  {data[i : i + 8].hex(' ')}"
        yield text.rstrip()
