#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Writes csrc/protocol.h, and the tables of docs/protocol.md, from remotec/protocol.py: no wire number is typed twice.

    tools/generate_protocol.py           write both
    tools/generate_protocol.py --check   exit 1 if one is not what would be written
"""

import sys
from pathlib import Path
from typing import Iterator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from protocol_document import document  # noqa: E402
from remotec import protocol  # noqa: E402

HEADER = ROOT / "csrc" / "protocol.h"
DOCUMENT = ROOT / "docs" / "protocol.md"

# Tables whose names are this machine's own macros: emitted as X(name, wire value, host value or RC_ABSENT).
HOST_TABLES = {
    "ERRNO": protocol.ERRNO,
    "OPEN_FLAGS": protocol.OPEN_FLAGS,
    "RESOLVE": protocol.RESOLVE,
    "AT_FLAGS": protocol.AT_FLAGS,
    "WHENCE": protocol.WHENCE,
    "STATX_MASK": protocol.STATX_MASK,
    "POLL_EVENTS": protocol.POLL_EVENTS,
    "WATCH_EVENTS": protocol.WATCH_EVENTS,
    "IOCTLS": protocol.IOCTLS,
    "ADVICE": protocol.ADVICE,
    "ADDRESS_FAMILIES": protocol.ADDRESS_FAMILIES,
    "SOCKET_TYPES": protocol.SOCKET_TYPES,
    "SOCKET_FLAGS": protocol.SOCKET_FLAGS,
    "SOCKET_LEVELS": protocol.SOCKET_LEVELS,
    "SOCKET_OPTIONS": protocol.SOCKET_OPTIONS,
}
# Likewise, but sysconf-style names that the headers declare as enumerators, which #ifdef cannot see.
ENUMERATED = {"PATHCONF": protocol.PATHCONF}
# Tables that have a meaning on the wire only.
WIRE_TABLES = {
    "CAPABILITY": protocol.CAPABILITIES,
    "LIMIT": protocol.LIMITS,
    "FRAME": protocol.FRAME_FLAGS,
    "KIND": protocol.HANDLE_KINDS,
    "ENTRY": protocol.ENTRY_FLAGS,
    "LEASE": protocol.LEASES,
    "LOCK_TYPE": protocol.LOCK_TYPES,
    "LOCK_COMMAND": protocol.LOCK_COMMANDS,
    "WIRE": {**protocol.ACCESS_MODES, **protocol.MODE, **protocol.DIRENT_TYPES, **protocol.ACCESS},
}


def header() -> str:
    return "\n".join(lines()) + "\n"


def lines() -> Iterator[str]:
    yield "/* SPDX-License-Identifier: MIT"
    yield " * GENERATED from remotec/protocol.py by tools/generate_protocol.py: do not edit."
    yield " *"
    yield " * RC_OP_x        operation codes        RC_x_REQUEST_f, RC_x_REPLY_f  offset of fixed-width field f"
    yield " * RC_x_..._SIZE  bytes of fixed fields   RC_TABLE(X)                   X(name, wire value, host value)"
    yield " */"
    yield "#ifndef RC_PROTOCOL_H"
    yield "#define RC_PROTOCOL_H"
    yield ""
    yield f"#define RC_PROTOCOL_VERSION {protocol.VERSION}u"
    yield f"#define RC_PROTOCOL_MIN_VERSION {protocol.MIN_VERSION}u"
    yield '#define RC_MAGIC "{}"'.format(protocol.MAGIC.decode().replace("\n", "\\n"))
    yield f"#define RC_DEFAULT_PORT {protocol.DEFAULT_PORT}"
    yield f"#define RC_NO_HANDLE {protocol.NO_HANDLE}u"
    for prefix, table in WIRE_TABLES.items():
        yield ""
        for name, value in table.items():
            yield f"#define RC_{_joined(prefix, name)} {_number(value)}"
    yield ""
    for operation in protocol.OPERATIONS.values():
        yield f"#define RC_OP_{operation.name} {operation.code}u"
    yield f"#define RC_OP_COUNT {max(protocol.OPERATIONS) + 1}u"
    yield ""
    yield "#define RC_OPERATIONS(X) \\"
    yield _rows(f"X({o.name}, {o.code}u)" for o in protocol.OPERATIONS.values())
    yield ""
    yield from _layout("HEADER", protocol.HEADER)
    yield from _layout("STAT", protocol.STAT)
    yield from _layout("DIRECTORY_ENTRY", protocol.DIRECTORY_ENTRY)
    yield from _layout("WATCH_EVENT", protocol.WATCH_EVENT)
    for operation in protocol.OPERATIONS.values():
        yield from _layout(f"{operation.name}_REQUEST", operation.request)
        yield from _layout(f"{operation.name}_REPLY", operation.reply)
    yield ""
    yield "/* A name that this machine lacks has the host value RC_ABSENT. Include the headers that declare the"
    yield " * names before this one where you expand a table. */"
    yield "#define RC_ABSENT (-1)"
    for table in HOST_TABLES.values():
        for name in table:
            yield f"#ifdef {name}"
            yield f"#define RC_HOST_{name} {name}"
            yield "#else"
            yield f"#define RC_HOST_{name} RC_ABSENT"
            yield "#endif"
    for title, table in HOST_TABLES.items():
        yield ""
        yield f"#define RC_{title}(X) \\"
        yield _rows(f"X({name}, {_number(value)}, RC_HOST_{name})" for name, value in table.items())
    for title, table in ENUMERATED.items():
        yield ""
        yield f"#define RC_{title}(X) \\"
        yield _rows(f"X({name}, {_number(value)}, {name})" for name, value in table.items())
    yield ""
    yield "#endif"


def _layout(title: str, codec: protocol.Codec) -> Iterator[str]:
    yield f"#define RC_{title}_SIZE {codec.size}u"
    for field, offset in codec.offsets.items():
        yield f"#define RC_{title}_{field} {offset}u"
    if codec.repeated is not None and codec.repeated.fields != protocol.DIRECTORY_ENTRY.fields:
        yield from _layout(f"{title}_ELEMENT", codec.repeated)


def _rows(rows: "Iterator[str]") -> str:
    return " \\\n".join(f"\t{row}" for row in rows)


def _joined(prefix: str, name: str) -> str:
    """MAX_DATA under LIMIT is LIMIT_MAX_DATA; KIND_STREAM under KIND stays as it is."""
    return name if name.startswith(f"{prefix}_") else f"{prefix}_{name}"


def _number(value: int) -> str:
    return f"{value}u" if value < 10 else f"0x{value:x}u"


def main(check: bool) -> int:
    status = 0
    for target, wanted in ((HEADER, header()), (DOCUMENT, document(DOCUMENT.read_text()))):
        if not check:
            target.write_text(wanted)
        elif target.read_text() != wanted:
            print(f"{target} is stale: run tools/generate_protocol.py", file=sys.stderr)
            status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:] == ["--check"]))
