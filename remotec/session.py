# SPDX-License-Identifier: MIT
"""Sessions and connections without I/O on sockets: bytes in, replies out.

A `Connection` takes what arrived, cuts it into frames, calls the operations and gives back the replies' bytes; what has
to wait for a descriptor (operations.Waiting) it hands to its `wait` function and answers later.  server.py and
_fast.pyx move the bytes.  This is the one place where an OSError becomes an errno name.
"""

import errno
import functools
import logging
import os
import struct
from typing import Any, Callable, Dict, List, Optional, Set, Tuple, Union

from . import operations, protocol
from .leases import Leases, Listener
from .mounts import SLOW, Mounts
from .operations import Blocking, Bytes, Deferred, Handle, Then, Waiting, fail
from .protocol import ProtocolError

log = logging.getLogger("remotec.session")

_HEADER = struct.Struct(protocol.HEADER.fixed)
_LENGTH = struct.Struct(">I")
_ONE_WAY = protocol.FRAME_FLAGS["FRAME_ONE_WAY"]
_HELLO, _CANCEL = protocol.HELLO.code, protocol.CANCEL.code
_CAPABILITIES = sum(protocol.CAPABILITIES.values())
_CODES = {getattr(errno, name): (code, name) for name, code in reversed(protocol.ERRNO.items()) if hasattr(errno, name)}
_EIO = protocol.ERRNO["EIO"]
HEADER_SIZE = protocol.HEADER.size
LONGEST_HELLO = 8192  # bytes: a stranger's are few


def frame(operation: int, request_id: int, payload: bytes, error: int = 0, flags: int = 0) -> bytes:
    return _HEADER.pack(len(payload), operation, error, request_id, flags) + payload


def error_frame(operation: int, request_id: int, number: int) -> bytes:
    """The reply that carries this machine's errno `number`: its code and its name."""
    code, name = _CODES.get(number) or (_EIO, errno.errorcode.get(number, "EIO"))
    return frame(operation, request_id, name.encode(), code)


class HandleTable:
    """Handle number -> Handle.  A number is slot | generation << 32, so that a stale one is EBADF, not another file."""

    def __init__(self) -> None:
        self._slots: List[Tuple[int, Optional[Handle]]] = [(0, None)]  # slot 0 is NO_HANDLE
        self._free: List[int] = []

    def __len__(self) -> int:
        return len(self._slots) - 1 - len(self._free)

    def add(self, handle: Handle) -> int:
        if len(self) >= protocol.LIMITS["MAX_HANDLES"]:
            raise fail(errno.ENFILE)
        if not self._free:
            self._slots.append((0, None))
            self._free.append(len(self._slots) - 1)
        slot = self._free.pop()
        generation = self._slots[slot][0]
        self._slots[slot] = (generation, handle)
        return slot | generation << 32

    def get(self, number: int) -> Handle:
        slot, generation = number & 0xFFFFFFFF, number >> 32
        if slot < len(self._slots):
            current, handle = self._slots[slot]
            if handle is not None and current == generation:
                return handle
        raise fail(errno.EBADF)

    def remove(self, number: int) -> Handle:
        handle = self.get(number)
        slot = number & 0xFFFFFFFF
        self._slots[slot] = ((number >> 32) + 1 & 0x7FFFFFFF, None)
        self._free.append(slot)
        return handle

    def numbers(self) -> List[int]:
        return [slot | generation << 32 for slot, (generation, handle) in enumerate(self._slots) if handle is not None]


class Session:
    """What one `remotec run` has open here, over all its connections."""

    def __init__(self, server: "Server", identity: bytes, table: Any) -> None:
        self.server = server
        self.identity = identity
        self.handles = table
        self.root_fd = server.root_fd
        self.client = 0  # whose request is being handled
        self.connections: "Set[Connection]" = set()
        self.listener: Optional[Listener] = None  # of the client that listens for recalls
        self.timers: Dict[Optional[int], Any] = {}  # the server's: of clients that are gone; None: of the session

    def has(self, client: int) -> bool:
        """Whether a process of it is connected."""
        return any(connection.client == client for connection in self.connections)

    def add_handle(self, handle: Handle) -> int:
        return int(self.handles.add(handle))

    def named_by(self, request: Any) -> List[Handle]:
        """The open handles that a request is about."""
        found = []
        for name in ("handle", "directory"):
            try:
                found.append(self.handles.get(getattr(request, name)))
            except (AttributeError, OSError):
                pass
        return found

    def close_handle(self, number: int) -> None:
        handle = self.handles.remove(number)
        if self.listener is not None:
            self.listener.closing(number)
        self.server.discard(handle)

    def close_handles(self, owner: Optional[int] = None) -> None:
        """Those of one client, or all."""
        for number in self.handles.numbers():
            if owner is None or self.handles.get(number).owner == owner:
                self.close_handle(number)

    def inside_root(self, directory: int, path: bytes) -> bytes:
        """The path as openat2(root_fd, …, RESOLVE_IN_ROOT) takes it: from the root, even if it starts at a handle."""
        if path.startswith(b"/") or not directory:
            return path
        return self.seen_from_root(self.handles.get(directory).path()) + b"/" + path

    def seen_from_root(self, path: bytes) -> bytes:
        """One of this machine's paths as clients see it; ENOENT: it was moved out of their sight."""
        if self.root_fd is None:
            return path
        root = os.readlink(b"/proc/self/fd/%d" % self.root_fd).rstrip(b"/")
        if path != root and not path.startswith(root + b"/"):
            raise fail(errno.ENOENT)
        return path[len(root) :] or b"/"

    def status(self) -> Tuple[int, ...]:
        return self.server.status(self)


def close_at_once(handle: Handle, fd: int) -> None:
    os.close(fd)


def leave_open_if_slow(handle: Handle, fd: int) -> None:
    if handle.speed != SLOW:
        os.close(fd)


class Server:
    """The sessions of one server; knows nothing of sockets."""

    def __init__(
        self,
        root: Optional[bytes] = None,
        table: Callable[[], Any] = HandleTable,
        name: str = "remotec",
        look: Callable[[int, bytes, int, int], int] = operations.look,
        entries: Callable[[int, int, int, int, int], bytes] = operations.entries,
    ) -> None:
        flags = operations.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
        self.root_fd = None if root is None else os.open(root, flags)
        if self.root_fd is not None:  # ENOSYS now, where the kernel can't confine anything, rather than from every call
            os.close(operations.openat2(self.root_fd, b".", flags, 0, operations.RESOLVE_IN_ROOT))
        self.table = table
        self.look = look
        self.entries = entries
        self.mounts = Mounts()
        self.leases: Optional[Leases] = None  # none are given
        self.close_descriptor: Callable[[Handle, int], None] = close_at_once
        self.name = name.encode()
        self.sessions: Dict[bytes, Session] = {}
        self.requests = 0
        self.bytes = 0

    def session(self, identity: bytes) -> Session:
        if identity not in self.sessions:
            if len(self.sessions) >= protocol.LIMITS["MAX_SESSIONS"]:
                raise fail(errno.EUSERS)
            self.sessions[identity] = Session(self, identity, self.table())
        return self.sessions[identity]

    def forget(self, session: Session) -> None:
        if self.sessions.get(session.identity) is session:
            del self.sessions[session.identity]
        session.close_handles()
        if session.listener is not None:
            session.listener.close()
            session.listener = None

    def discard(self, handle: Handle) -> None:
        """Closes what no table has any more."""
        fd = handle.close()
        if fd >= 0:
            self.close_descriptor(handle, fd)

    def release(self, handle: Handle) -> None:
        fd = handle.release()
        if fd >= 0:
            self.close_descriptor(handle, fd)

    def status(self, session: Session) -> Tuple[int, ...]:
        return (
            len(self.sessions),
            sum(len(s.connections) for s in self.sessions.values()),
            len(session.handles),
            sum(len(s.handles) for s in self.sessions.values()),
            self.requests,
            self.bytes,
        )

    def close(self) -> None:
        """Ends every session.  What a stuck file system could hold up is left to the end of the process."""
        self.close_descriptor = leave_open_if_slow
        for session in list(self.sessions.values()):
            self.forget(session)
        self.mounts.close()
        if self.root_fd is not None:
            os.close(self.root_fd)
            self.root_fd = None


class Connection:
    """One connection's side of the protocol.

    `wait(waiting, done)` starts a wait and returns a function that ends it; `done(events)` is called when it is
    over.  `send(bytes)` takes a late reply.  `allowed`: the peer is our own user, or authentication is off.
    `work(mount, act, done)` has a thread call `act` and then calls done(result, error); it returns what takes that
    back (False: too late).  None: there are no threads, and `act` is called at once.

    While a thread works for it a connection is `busy`: its further requests wait where they are, but for CANCEL,
    which `cancels` finds.  `resume()` is called when they can go on."""

    def __init__(
        self,
        server: Server,
        send: Callable[[bytes], None],
        wait: "Callable[[Waiting, Callable[[int], None]], Callable[[], object]]",
        allowed: bool = True,
        work: "Optional[Callable[[int, Callable[[], Any], Callable[[Any, Any], None]], Callable[[], bool]]]" = None,
        resume: Callable[[], None] = lambda: None,
    ) -> None:
        self.server = server
        self.send = send
        self.wait = wait
        self.allowed = allowed
        self.about = server.name  # for people, in HELLO's reply
        self.work = work
        self.resume = resume
        self.busy: Optional[int] = None  # the id of the request that a thread works on
        self._abandon: Optional[Callable[[], None]] = None
        self.session: Optional[Session] = None
        self.client = 0
        self.buffer = bytearray()
        self.waiting: "Dict[int, Tuple[Callable[[], object], Union[Waiting, Deferred], int]]" = {}

    def feed(self, data: bytes) -> None:
        """What has come from the client."""
        self.buffer += data

    def replies(self, enough: int) -> bytes:
        """Replies to the whole frames that are there, until they are `enough` bytes: then there may be more.

        ProtocolError: the connection must be closed, after the exception's `last_words`."""
        buffer = self.buffer
        replies = bytearray()
        try:
            while len(replies) < enough and len(buffer) >= HEADER_SIZE and self.busy is None:
                length, operation, _, request_id, flags = _HEADER.unpack_from(buffer)
                self.check_length(length)
                end = HEADER_SIZE + length
                if len(buffer) < end:
                    break
                payload = bytes(buffer[HEADER_SIZE:end])
                del buffer[:end]
                replies += self.handle(operation, request_id, flags, payload)
        except ProtocolError as error:
            error.last_words = bytes(replies) + error.last_words
            raise
        return bytes(replies)

    def check_length(self, length: int) -> None:
        most = LONGEST_HELLO if self.session is None else protocol.LIMITS["MAX_REQUEST"]
        if length > most:
            raise ProtocolError(f"a request of {length} bytes")

    def handle(self, operation: int, request_id: int, flags: int, payload: bytes) -> bytes:
        """The reply to one request; empty where there is none, or not yet."""
        if self.session is None:
            return self.hello(operation, request_id, payload)
        if operation == _CANCEL:
            self.cancel(protocol.CANCEL.request.parse(payload).request_id)
            return b""
        self.server.requests += 1
        known = protocol.OPERATIONS.get(operation)
        handler = operations.HANDLERS.get(operation)
        if known is None or handler is None:
            return b"" if flags & _ONE_WAY else error_frame(operation, request_id, errno.ENOSYS)
        try:
            if request_id in self.waiting:
                raise ProtocolError(f"a second request {request_id} before the first was answered")
            request = known.request.parse(payload)
        except ProtocolError as error:
            error.last_words = error_frame(operation, request_id, errno.EPROTO)
            raise
        session = self.session

        def act() -> Any:
            return handler(session, request)

        mount = operations.may_block(session, operation, request) if self.work else None
        first = act if mount is None else functools.partial(Blocking, mount, act)
        reply = self.answer(known, request_id, first, bool(flags & _ONE_WAY), request)
        return b"" if flags & _ONE_WAY else reply

    def answer(
        self,
        known: protocol.Operation,
        request_id: int,
        act: Callable[[], Any],
        one_way: bool = False,
        request: Any = None,
    ) -> bytes:
        try:
            assert self.session
            self.session.client = self.client
            result = act()
            while isinstance(result, (Then, Blocking)):
                if isinstance(result, Then):
                    result = result.finish()
                elif self.work:
                    self.start_work(known, request_id, result, one_way, request)
                    return b""
                else:
                    result = result.act()
            if isinstance(result, (Waiting, Deferred)):
                if len(self.waiting) >= protocol.LIMITS["MAX_IN_FLIGHT"] or one_way:
                    result.give_up()
                    raise fail(errno.EBUSY)
                self.start_waiting(known, request_id, result)
                return b""
            if isinstance(result, Bytes):
                self.server.bytes += len(result.data)
                payload = _LENGTH.pack(len(result.data)) + result.data
            else:
                payload = result if isinstance(result, bytes) else known.reply.build(*result)
            return frame(known.code, request_id, payload)
        except OSError as error:
            return error_frame(known.code, request_id, error.errno or errno.EIO)
        except Exception:
            log.exception("%s failed", known.name)
            return error_frame(known.code, request_id, errno.EREMOTEIO)

    # ------------------------------------------------------------------------------------------------ waiting

    def start_waiting(self, known: protocol.Operation, request_id: int, waiting: "Union[Waiting, Deferred]") -> None:
        def done(events: int) -> None:
            self.waiting.pop(request_id, None)
            reply = self.answer(known, request_id, lambda: waiting.finish(events))
            if reply:
                self.send(reply)

        end = waiting.begin(done) if isinstance(waiting, Deferred) else self.wait(waiting, done)
        self.waiting[request_id] = (end, waiting, known.code)

    # ------------------------------------------------------------------------------------------ in a thread

    def start_work(
        self, known: protocol.Operation, request_id: int, job: Blocking, one_way: bool, request: Any
    ) -> None:
        """Has a thread do it.  The descriptors that it uses stay open until it has, whoever closes the handles."""
        assert self.session and self.work
        work, handles, wanted = self.work, self.session.named_by(request), True

        def act() -> Any:
            result = job.act()
            while isinstance(result, Blocking):
                result = result.act()
            return result

        def release() -> None:
            for handle in handles:
                self.server.release(handle)

        def done(result: Any, error: Any) -> None:
            def give() -> Any:
                if error is not None:
                    raise error
                return result

            release()
            if not wanted:
                if isinstance(result, (Then, Waiting)):
                    work(job.mount, result.give_up, lambda *_: None)
                return
            self.busy = self._abandon = None
            reply = self.answer(known, request_id, give, one_way)
            if reply and not one_way:
                self.send(reply)
            self.resume()

        def abandon() -> None:
            nonlocal wanted
            wanted = False
            self.busy = self._abandon = None
            if take_back():
                release()
            if not one_way:
                self.send(error_frame(known.code, request_id, errno.EINTR))

        take_back = work(job.mount, act, done)  # it calls nothing before the loop goes on
        for handle in handles:
            handle.hold()
        self.busy, self._abandon = request_id, abandon

    def cancels(self, waiting: Any) -> None:
        """Looks for a CANCEL of the busy request among the frames that wait behind it (bytes-like)."""
        at, size = 0, len(waiting)
        while self.busy is not None and size - at >= HEADER_SIZE:
            length, operation, _, _, _ = _HEADER.unpack_from(waiting, at)
            if length > protocol.LIMITS["MAX_REQUEST"] or size - at - HEADER_SIZE < length:
                return
            at += HEADER_SIZE
            if operation == _CANCEL and length == 4 and _LENGTH.unpack_from(waiting, at)[0] == self.busy:
                self.cancel(self.busy)  # met again in its turn, it means nothing any more
            at += length

    def cancel(self, request_id: int) -> None:
        if self._abandon and request_id == self.busy:
            return self._abandon()
        entry = self.waiting.pop(request_id, None)
        if entry is not None:
            end, waiting, operation = entry
            end()
            waiting.give_up()
            self.send(error_frame(operation, request_id, errno.EINTR))

    def closed(self) -> None:
        """The connection is gone."""
        for end, waiting, _ in self.waiting.values():
            end()
            waiting.give_up()
        self.waiting.clear()
        if self._abandon:
            self.send = lambda _: None
            self._abandon()
        if self.session is not None:
            self.session.connections.discard(self)

    # -------------------------------------------------------------------------------------------------- hello

    def hello(self, operation: int, request_id: int, payload: bytes) -> bytes:
        if operation != _HELLO:
            raise ProtocolError("the first request is not HELLO")
        request = protocol.HELLO.request.parse(payload)
        if request.magic != protocol.MAGIC:
            raise ProtocolError("HELLO without its magic")
        if not self.allowed:
            raise Refused(error_frame(_HELLO, request_id, errno.EACCES), "a peer of another user")
        version = min(request.version, protocol.VERSION)
        if version < max(request.min_version, protocol.MIN_VERSION):
            last_words = error_frame(_HELLO, request_id, errno.EPROTONOSUPPORT)
            raise Refused(last_words, f"a peer of version {request.version}")
        try:
            session = self.server.session(request.session)
        except OSError as error:
            raise Refused(error_frame(_HELLO, request_id, error.errno or errno.EIO), "too many sessions") from None
        self.session = session
        self.client = request.client
        session.connections.add(self)
        capabilities = request.capabilities & _CAPABILITIES
        if self.server.leases is None:
            capabilities &= ~protocol.CAPABILITIES["LEASE"]
        limits = protocol.LIMITS
        reply = protocol.HELLO.reply.build(
            version, limits["MAX_DATA"], limits["MAX_REQUEST"], limits["MAX_IN_FLIGHT"], capabilities, self.about
        )
        return frame(_HELLO, request_id, reply)


class Refused(ProtocolError):
    """HELLO was understood and answered no."""

    def __init__(self, last_words: bytes, why: str) -> None:
        super().__init__(why)
        self.last_words = last_words
