# SPDX-License-Identifier: MIT
"""The options of a TCP connection, at either end; bench/bench_socket.py is what they were chosen by."""

import ipaddress
import socket

CONGESTION = (b"cubic", b"reno")
"""On loopback, the first that may be had: one that paces (bbr) loses half of the throughput or more."""


def is_loopback(stream: socket.socket) -> bool:
    """Of a TCP connection, or of a listener: whether all of its connections are."""
    return ipaddress.ip_address(stream.getsockname()[0]).is_loopback


def avoid_pacing(stream: socket.socket) -> None:
    for congestion in CONGESTION:
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, congestion)
            return
        except OSError:
            pass


def tune(stream: socket.socket) -> None:
    """A TCP connection, or a listener before it listens: its connections inherit it, and one that began with a
    congestion control that paces would go on pacing with any other."""
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 4)):
        stream.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
    if is_loopback(stream):
        avoid_pacing(stream)


def described(stream: socket.socket) -> str:
    """In a line, for people."""
    sizes = (stream.getsockopt(socket.SOL_SOCKET, each) // 1024 for each in (socket.SO_SNDBUF, socket.SO_RCVBUF))
    buffers = "buffers from {} and {} KiB".format(*sizes)  # to send, to receive; TCP's grow
    if stream.family == socket.AF_UNIX:
        return buffers
    congestion = stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()
    nodelay = ", TCP_NODELAY" if stream.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) else ""
    return f"{congestion}{nodelay}, {buffers}"
