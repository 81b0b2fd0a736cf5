# SPDX-License-Identifier: MIT
"""Which user is at the other end of a connection: as the kernel says, of Unix and loopback sockets alone."""

import itertools
import socket
import struct
from contextlib import suppress
from typing import Optional

_CREDENTIALS = struct.Struct("3i")  # unix(7): pid, uid, gid

# netlink(7) and sock_diag(7): nlmsghdr; with inet_diag_req_v2, and with the beginning of inet_diag_msg.
_REQUEST = struct.Struct("=IHHII BBBxI HH16s16sI8s")
_REPLY = struct.Struct("=IHHII 4x48x12xII")
_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_NLM_F_REQUEST = 1
_ANY_STATE = 0xFFFFFFFF
_NO_COOKIE = b"\xff" * 8


class Peers:
    """Asks for one user after the other; not for several threads at once."""

    def __init__(self) -> None:
        self._diag: Optional[socket.socket] = None
        self._serials = itertools.count(1)
        with suppress(OSError):
            self._open()

    def uid(self, stream: socket.socket) -> Optional[int]:
        """The user at the other end of a Unix or loopback connection; None where the kernel doesn't say."""
        if stream.family == socket.AF_UNIX:
            return int(_CREDENTIALS.unpack(stream.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1])
        try:
            return self._by_diag(stream)
        except OSError:
            self.close()  # an answer that comes late is to nobody's question
            return uid_by_table(stream)

    def close(self) -> None:
        if self._diag is not None:
            self._diag.close()
            self._diag = None

    def _open(self) -> socket.socket:
        if self._diag is None:
            self._diag = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG)
        return self._diag

    def _by_diag(self, stream: socket.socket) -> Optional[int]:
        """Asked for exactly the peer's socket."""
        family = stream.family
        (theirs, their_port), (ours, our_port) = stream.getpeername()[:2], stream.getsockname()[:2]
        ports = socket.htons(their_port), socket.htons(our_port)
        hosts = socket.inet_pton(family, theirs), socket.inet_pton(family, ours)
        serial = next(self._serials) & 0xFFFFFFFF
        header = _REQUEST.size, _SOCK_DIAG_BY_FAMILY, _NLM_F_REQUEST, serial, 0
        diag = self._open()
        diag.send(_REQUEST.pack(*header, family, socket.IPPROTO_TCP, 0, _ANY_STATE, *ports, *hosts, 0, _NO_COOKIE))
        reply = diag.recv(4096, socket.MSG_DONTWAIT)  # it has come before send returns
        if len(reply) < _REPLY.size:
            raise OSError("no such socket")
        _, kind, _, answered, _, uid, inode = _REPLY.unpack_from(reply)
        if kind != _SOCK_DIAG_BY_FAMILY or answered != serial:
            raise OSError("no such socket")
        return _owner(uid, inode)


def _owner(uid: int, inode: int) -> Optional[int]:
    """The kernel says user 0 of a socket that is closed already, whosever it was; such a one has no inode."""
    return uid if inode else None


def uid_by_table(stream: socket.socket) -> Optional[int]:
    """Peers.uid of a TCP connection where sock_diag can't be had."""

    def key(host: str, port: int) -> str:
        packed = socket.inet_pton(stream.family, host)
        words = struct.unpack(f"{len(packed) // 4}I", packed)
        return "".join(f"{w:08X}" for w in words) + f":{port:04X}"

    wanted = [key(*end[:2]) for end in (stream.getpeername(), stream.getsockname())]
    with open("/proc/net/tcp6" if stream.family == socket.AF_INET6 else "/proc/net/tcp") as table:
        for row in table:
            columns = row.split()
            if columns[1:3] == wanted:
                return _owner(int(columns[7]), int(columns[9]))
    return None
