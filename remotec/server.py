# SPDX-License-Identifier: MIT
"""The server's sockets: listening, who may connect, moving bytes, waiting, ending.  The only module with an event loop.

uvloop and _fast carry the traffic where they are there; `pure` (or their absence) runs the same sessions on plain
asyncio.
"""

import asyncio
import errno
import ipaddress
import logging
import os
import select
import signal
import socket
import stat
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Set

from . import leases, protocol, sockets, version
from .mounts import SLOW
from .operations import CAN_LOOK, Handle, Waiting, entries, look
from .peers import Peers
from .session import HEADER_SIZE, Connection, HandleTable, Server, Session
from .workers import Workers

log = logging.getLogger("remotec.server")

CLIENT_GRACE_S = 5.0  # a process whose last connection broke may come back before its handles are closed
HELLO_TIMEOUT_S = 10.0
MAX_CONNECTIONS = 8192
OUTPUT_LIMIT = 8 * 1024 * 1024  # bytes waiting for one client: beyond, its requests are not read
RECEIVE_SIZE = 64 * 1024
BACKLOG = HEADER_SIZE + protocol.LIMITS["MAX_REQUEST"]  # bytes that may wait behind a busy request


class ServeError(Exception):
    """Something that the person who starts the server can mend."""


@dataclass
class ServeOptions:
    listen: List[str] = field(default_factory=lambda: [f"127.0.0.1:{protocol.DEFAULT_PORT}"])
    root: Optional[bytes] = None
    read_only: bool = False
    no_auth: bool = False
    grace_s: float = 60
    pure: bool = False
    verbose: int = 0
    max_connections: int = MAX_CONNECTIONS


# ------------------------------------------------------------------------------------------------- listening


def open_listener(address: str, no_auth: bool) -> socket.socket:
    """A listening socket for HOST:PORT, [V6]:PORT or unix:PATH."""
    try:
        if address.startswith("unix:"):
            return _listen_unix(address[5:])
        host, _, port = address.rpartition(":")
        host = host.strip("[]") or "127.0.0.1"
        if not 0 <= int(port) < 1 << 16:
            raise ValueError(f"{port} is no port")
        found = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, number, _, at = found[0]
        if not no_auth and not ipaddress.ip_address(at[0]).is_loopback:
            raise ServeError(
                f"{address} can be reached by others and remotec would let any of them act with your rights: "
                "listen on 127.0.0.1 or unix:PATH, or choose --no-auth"
            )
        listener = socket.socket(family, kind, number)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(at)
        sockets.tune(listener)
        listener.listen(4096)
        return listener
    except (OSError, ValueError) as error:
        raise ServeError(f"cannot listen on {address}: {getattr(error, 'strerror', None) or error}") from error


def _listen_unix(path: str) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.connect(path)
    except ConnectionRefusedError:
        if stat.S_ISSOCK(os.lstat(path).st_mode):  # a plain file refuses too
            os.unlink(path)  # left behind by a server that is gone
    except OSError:
        pass
    else:
        listener.close()
        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
    before = os.umask(0o177)
    try:
        listener.bind(path)
    finally:
        os.umask(before)
    listener.listen(4096)
    return listener


def name_of(listener: socket.socket) -> str:
    if listener.family == socket.AF_UNIX:
        return f"unix:{listener.getsockname()}"
    host, port = listener.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


# ----------------------------------------------------------------------------------------------------- waiting


class Waiters:
    """Waits for descriptors of any kind without a thread: an epoll of our own, watched by the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.epoll = select.epoll()
        self.waits: "Dict[int, Callable[[int], None]]" = {}
        loop.add_reader(self.epoll.fileno(), self.ready)

    def wait(self, waiting: Waiting, done: Callable[[int], None]) -> Callable[[], object]:
        """Calls done(events) from the loop when `waiting` is ready or its time is over; returns what gives it up."""
        fd = os.dup(waiting.fd)  # the handle may be closed, and its number reused, meanwhile
        timer: "List[asyncio.TimerHandle]" = []

        def end() -> bool:
            """False: it is over already."""
            for handle in timer:
                handle.cancel()
            if self.waits.pop(fd, None) is None:
                return False
            try:
                self.epoll.unregister(fd)
            except (OSError, ValueError):
                pass
            os.close(fd)
            return True

        def finish(events: int) -> None:
            if end():
                done(events)

        self.waits[fd] = finish
        try:
            self.epoll.register(fd, (waiting.events & 0xFFFF) | select.EPOLLONESHOT)
        except OSError:
            end()
            raise
        if waiting.timeout_ms >= 0:
            timer.append(self.loop.call_later(waiting.timeout_ms / 1000, finish, 0))
        return end

    def ready(self) -> None:
        for fd, events in self.epoll.poll(0):
            finish = self.waits.get(fd)
            if finish:
                finish(events)

    def close(self) -> None:
        self.loop.remove_reader(self.epoll.fileno())
        self.epoll.close()


# ------------------------------------------------------------------------------------------------- connections


class Link:
    """One client's socket, in plain Python; _fast.Link does the same with the hot operations in C."""

    def __init__(self, host: "Host", stream: socket.socket, allowed: bool) -> None:
        self.host = host
        self.loop = host.loop
        self.stream = stream
        self.fd = stream.fileno()
        self.connection = Connection(
            host.server, self.send, host.waiters.wait, allowed, host.workers.run, self.resume
        )
        self.output = bytearray()
        self.reading = True
        self.last = False
        self.loop.add_reader(self.fd, self.on_readable)

    def on_readable(self) -> None:
        try:
            data = self.stream.recv(RECEIVE_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            return self.close()
        if not data:
            return self.close()
        self.connection.feed(data)
        self.work()

    def resume(self) -> None:
        """The connection isn't busy any more."""
        if not self.reading and not self.last and len(self.output) < OUTPUT_LIMIT and self.fd >= 0:
            self.reading = True
            self.loop.add_reader(self.fd, self.on_readable)
        self.work()

    def work(self) -> None:
        """Answers what has come, as long as the client takes the replies."""
        connection = self.connection
        try:
            while self.fd >= 0 and self.reading:
                connection.cancels(connection.buffer)
                if connection.busy is not None:
                    if len(connection.buffer) >= BACKLOG:
                        self.pause()
                    return
                replies = connection.replies(RECEIVE_SIZE)
                self.send(replies)
                if len(replies) < RECEIVE_SIZE and connection.busy is None:
                    return
        except protocol.ProtocolError as error:
            log.info("closing a connection: %s", error)
            self.last = True
            self.pause()
            self.send(error.last_words)
            if not self.output:
                self.close()

    def pause(self) -> None:
        if self.reading:
            self.reading = False
            self.loop.remove_reader(self.fd)

    def send(self, data: bytes) -> None:
        if self.fd < 0 or not data:
            return
        sent = 0
        if not self.output:
            try:
                sent = self.stream.send(data)
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                return self.close()
            if sent == len(data):
                return
            self.loop.add_writer(self.fd, self.on_writable)
        self.output += memoryview(data)[sent:]
        if len(self.output) > OUTPUT_LIMIT:  # it doesn't read its replies: no more requests
            self.pause()

    def on_writable(self) -> None:
        try:
            del self.output[: self.stream.send(self.output)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            return self.close()
        if not self.output:
            self.loop.remove_writer(self.fd)
            if self.last:
                return self.close()
        if not self.reading and not self.last and len(self.output) < OUTPUT_LIMIT // 2:
            self.reading = True
            self.loop.add_reader(self.fd, self.on_readable)
            self.work()

    def close(self) -> None:
        if self.fd < 0:
            return
        self.loop.remove_reader(self.fd)
        self.loop.remove_writer(self.fd)
        self.fd = -1
        self.stream.close()
        self.host.gone(self)


class Host:
    """Listeners, links and the lives of sessions on one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, options: ServeOptions, fast: Any) -> None:
        self.loop = loop
        self.options = options
        engine = "_fast" if fast else "pure Python"
        self.server = Server(
            options.root,
            fast.HandleTable if fast else HandleTable,
            f"remotec {version()} ({engine})",
            fast.look if fast else look,
            fast.entries if fast and CAN_LOOK else entries,
        )
        self.speeds = fast.Speeds() if fast else None
        self.server.close_descriptor = self.close_descriptor
        self.link = fast.Link if fast else Link
        self.waiters = Waiters(loop)
        self.workers = Workers(loop.call_soon_threadsafe)
        self.peers = Peers()
        self.sending: Set[Any] = set()  # links with a file that waits for their sockets
        self.links: Dict[Any, asyncio.TimerHandle] = {}  # with what closes those that never say HELLO
        self.listeners: Dict[socket.socket, Optional[str]] = {}  # with the options that all connections have
        self.stopped: "asyncio.Future[None]" = loop.create_future()

    def listen(self, listener: socket.socket) -> None:
        listener.setblocking(False)
        self.listeners[listener] = None
        self.loop.add_reader(listener.fileno(), self.accept, listener)

    def accept(self, listener: socket.socket) -> None:
        try:
            stream, _ = listener.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        except OSError as error:  # out of descriptors: let some close first
            log.error("accept: %s", error.strerror)
            self.loop.remove_reader(listener.fileno())
            self.loop.call_later(0.5, lambda: self.loop.add_reader(listener.fileno(), self.accept, listener))
            return
        if len(self.links) >= self.options.max_connections:
            log.warning("more than %d connections: one refused", self.options.max_connections)
            return stream.close()
        try:
            allowed = self.options.no_auth or self.peers.uid(stream) == os.geteuid()
            options = self.listeners[listener] or self.options_of(stream, listener)
        except OSError:
            return stream.close()
        self.start(stream, allowed, options)

    def start(self, stream: socket.socket, allowed: bool, options: str) -> None:
        stream.setblocking(False)
        link = self.link(self, stream, allowed)
        link.connection.about += f"; {options}".encode()
        self.links[link] = self.loop.call_later(
            HELLO_TIMEOUT_S, lambda: link.connection.session is None and link.close()
        )
        link.on_readable()  # HELLO has mostly come meanwhile

    def options_of(self, stream: socket.socket, listener: socket.socket) -> str:
        """Of a listener's first connection; of each where only some are on loopback."""
        alike = stream.family == socket.AF_UNIX or sockets.is_loopback(listener)
        if not alike and sockets.is_loopback(stream):
            sockets.avoid_pacing(stream)
        options = sockets.described(stream)
        self.listeners[listener] = options if alike else None
        return options

    def gone(self, link: Any) -> None:
        timer = self.links.pop(link, None)
        if timer is not None:
            timer.cancel()  # it holds the link's memory
        connection = link.connection
        session = connection.session
        connection.closed()
        if session is None:
            return
        client = connection.client
        if not session.has(client):
            self.drop_later(session, client, CLIENT_GRACE_S)
        if not session.connections:
            self.drop_later(session, None, self.options.grace_s)

    def drop_later(self, session: Session, client: Optional[int], grace_s: float) -> None:
        """Ends a client, or (None) its session, unless it comes back; the time counts from when it last left."""
        if client in session.timers:
            session.timers.pop(client).cancel()
        if len(session.handles):
            session.timers[client] = self.loop.call_later(grace_s, self.drop, session, client)
        else:
            self.drop(session, client)

    def drop(self, session: Session, client: Optional[int]) -> None:
        session.timers.pop(client, None)
        if client is not None and not session.has(client):
            session.close_handles(client)
        if not session.connections and (client is None or not len(session.handles)):
            self.server.forget(session)

    def close_descriptor(self, handle: Handle, fd: int) -> None:
        if handle.speed == SLOW:  # FUSE and NFS have something to say to a close
            self.workers.run(handle.mount, lambda: os.close(fd), lambda *_: None)
        else:
            os.close(fd)

    def stop(self) -> None:
        if not self.stopped.done():
            self.stopped.set_result(None)

    def close(self) -> None:
        for listener in self.listeners:
            self.loop.remove_reader(listener.fileno())
            if listener.family == socket.AF_UNIX:
                try:
                    os.unlink(listener.getsockname())
                except OSError:
                    pass
            listener.close()
        for link in list(self.links):
            link.close()
        self.server.close()
        if self.speeds:
            self.speeds.close()
        self.waiters.close()
        self.peers.close()


# -------------------------------------------------------------------------------------------------------- main


async def serve(options: ServeOptions, fast: Any = None) -> None:
    """Serves until SIGTERM or SIGINT; prints "listening on ADDR" per listener.  ServeError: it can't start."""
    loop = asyncio.get_running_loop()
    listeners = []
    try:
        for address in options.listen:
            listeners.append(open_listener(address, options.no_auth))
        try:
            host = Host(loop, options, fast)
        except OSError as error:
            why = error.strerror if error.errno != errno.ENOSYS else "--root needs openat2, of Linux 5.6"
            raise ServeError(f"cannot serve {os.fsdecode(options.root or b'/')}: {why}") from error
    except BaseException:
        for listener in listeners:
            listener.close()
        raise
    try:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, host.stop)
        if leases.possible():
            host.server.leases = leases.Leases(loop.call_later, loop.time)
            loop.add_signal_handler(signal.SIGIO, host.server.leases.check)
        for listener in listeners:
            host.listen(listener)
            if options.no_auth and listener.family != socket.AF_UNIX:
                log.warning(
                    "%s without authentication: whoever can reach it acts with the full rights of uid %d, "
                    "and what crosses the network is not encrypted",
                    name_of(listener),
                    os.geteuid(),
                )
            print(f"listening on {name_of(listener)}", flush=True)
        await host.stopped
    finally:
        host.close()


def accelerated() -> "Optional[Any]":
    """The _fast module where there is one, else None."""
    try:
        from . import _fast
    except ImportError:
        return None
    return _fast


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop's where it can be had (an architecture may lack it), else asyncio's: both drive _fast."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def raise_descriptor_limit() -> None:
    """Each handle is a descriptor: allow as many as the system does."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main_loop(options: ServeOptions) -> int:
    """Runs the server to its end; 0."""
    raise_descriptor_limit()
    fast = None if options.pure else accelerated()
    loop = new_loop() if fast else asyncio.new_event_loop()
    try:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(serve(options, fast))
    finally:
        loop.close()
    return 0
