# SPDX-License-Identifier: MIT
"""python wide.py PYTHON -m remotec serve …: that server, with 2**40 added to every inode number."""

import sys
from typing import Any, Tuple

from remotec import cli, operations, protocol

MORE = 1 << 40
INO = protocol.STAT_SIZE_INDEX - 1
plain_status, plain_entries = operations.status, operations._entries


def status(*arguments: Any) -> Tuple[int, ...]:
    found = plain_status(*arguments)
    return (*found[:INO], found[INO] + MORE, *found[INO + 1 :])


def entries_of(*arguments: Any) -> Tuple[int, Any]:
    """What READDIR brings, and OPEN of a directory."""
    end, entries = plain_entries(*arguments)
    return end, [(entry[0] + MORE, *entry[1:]) for entry in entries]


operations.status = status
operations._entries = entries_of
sys.exit(cli.main(sys.argv[4:]))
