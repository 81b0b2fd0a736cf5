# SPDX-License-Identifier: MIT
"""python old_kernel.py COMMAND [ARG]…: the command on a kernel without openat2, statx, cachestat and RWF_NOWAIT.

A seccomp filter answers ENOSYS for the first three, and for preadv2 with that flag, in the command and its children.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
import sys
from typing import Dict, List, Tuple

PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS, SECCOMP_MODE_FILTER = 22, 38, 2
NUMBERS: Dict[str, Tuple[int, int, int, int]] = {  # openat2, statx, cachestat, preadv2
    "x86_64": (437, 332, 451, 327),
    "aarch64": (437, 291, 451, 286),
}
LOAD, EQUAL, ANY_OF, ANSWER = 0x20, 0x15, 0x45, 0x06
REFUSE, ALLOW = 0x00050000 | errno.ENOSYS, 0x7FFF0000
NUMBER_AT, FLAGS_AT, RWF_NOWAIT = 0, 16 + 5 * 8, 8


def program(machine: str) -> "List[bytes]":
    openat2, statx, cachestat, preadv2 = NUMBERS[machine]

    def line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
        return struct.pack("=HBBI", code, if_true, if_false, value)

    return [
        line(LOAD, NUMBER_AT),
        line(EQUAL, openat2, 5),
        line(EQUAL, statx, 4),
        line(EQUAL, cachestat, 3),
        line(EQUAL, preadv2, 0, 3),
        line(LOAD, FLAGS_AT),
        line(ANY_OF, RWF_NOWAIT, 0, 1),
        line(ANSWER, REFUSE),
        line(ANSWER, ALLOW),
    ]


def install() -> None:
    lines = b"".join(program(platform.machine()))
    room = ctypes.create_string_buffer(lines, len(lines))
    filter_ = struct.pack("HxxxxxxP", len(lines) // 8, ctypes.addressof(room))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    for call in ((PR_SET_NO_NEW_PRIVS, 1), (PR_SET_SECCOMP, SECCOMP_MODE_FILTER)):
        arguments = [*map(ctypes.c_ulong, call), filter_ if call[0] == PR_SET_SECCOMP else ctypes.c_ulong(0)]
        if prctl(*arguments, ctypes.c_ulong(0), ctypes.c_ulong(0)):
            raise OSError(ctypes.get_errno(), "no seccomp filter here")


if __name__ == "__main__":
    install()
    os.execvp(sys.argv[1], sys.argv[1:])
