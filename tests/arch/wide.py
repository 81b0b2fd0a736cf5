# SPDX-License-Identifier: MIT
"""python wide.py PYTHON -m remotec serve …: that server, with 2**40 added to every inode number."""

import sys
from typing import Any, Tuple

from remotec import cli, operations, protocol

MORE = 1 << 40
INO = protocol.STAT_SIZE_INDEX - 1
plain_status, plain_readdir = operations.status, operations.HANDLERS[protocol.READDIR.code]


def status(*arguments: Any) -> Tuple[int, ...]:
    found = plain_status(*arguments)
    return (*found[:INO], found[INO] + MORE, *found[INO + 1 :])


def readdir(session: Any, request: Any) -> Any:
    end, entries = plain_readdir(session, request)
    return end, [(entry[0] + MORE, *entry[1:]) for entry in entries]


operations.status = status
operations.HANDLERS[protocol.READDIR.code] = readdir
sys.exit(cli.main(sys.argv[4:]))
