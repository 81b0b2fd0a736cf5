# SPDX-License-Identifier: MIT
"""Read leases: who is about to write a file waits until the sessions that keep its content have let go of it.

A lease is the kernel's (fcntl(2), F_SETLEASE with F_RDLCK) and sits on a handle's own descriptor.  While it's there,
nobody has the file open for writing; an open for writing, or a truncation, waits in the kernel until it has been given
up, and we are sent SIGIO.  It covers what the file contains and its length; not its other attributes, nor its name.

A session may have leases while its client listens: RECALL is answered with the handles whose leases are to be given
up, and the next RECALL says that they are.  A client counts on leases for LEASE_TERM from when it sent what was
answered last, so one that is silent for longer (stopped, cut off, killed) has none any more, and no writer waits for
it.  What it had lost by then is the first that it's told when it comes back.
"""

import errno
import fcntl
import struct
from typing import Any, Callable, Dict, Optional, Set

from . import protocol
from .operations import Deferred, Handle, fail

TERM_S = protocol.LIMITS["LEASE_TERM"] / 1000
MARGIN_S = 0.5  # for clocks that don't run alike
BEAT_S = TERM_S / 4  # a client that has leases is answered at least as often
MOST = 8192  # of a server: at each recall all are looked at

_SETLEASE, _GETLEASE = getattr(fcntl, "F_SETLEASE", 1024), getattr(fcntl, "F_GETLEASE", 1025)


def possible() -> bool:
    """Whether the kernel gives leases, and leaves us the time to recall them."""
    try:
        with open("/proc/sys/fs/leases-enable") as enabled, open("/proc/sys/fs/lease-break-time") as time_s:
            return bool(int(enabled.read())) and not 0 < int(time_s.read()) <= 2 * TERM_S
    except OSError:
        return False


def give_up(fd: int) -> None:
    try:
        fcntl.fcntl(fd, _SETLEASE, fcntl.F_UNLCK)
    except OSError:  # it's gone
        pass


def stands(fd: int) -> bool:
    """False: a writer waits for it to be given up."""
    return fcntl.fcntl(fd, _GETLEASE) == fcntl.F_RDLCK


class Leases:
    """All leases of a server.  `later(seconds, function)` and `now()` are the loop's."""

    def __init__(self, later: Callable[[float, Callable[[], None]], Any], now: Callable[[], float]) -> None:
        self.later = later
        self.now = now
        self.count = 0
        self.listeners: "Set[Listener]" = set()

    @staticmethod
    def take(fd: int) -> bool:
        """False: somebody may write the file, it isn't ours, its file system has no leases."""
        try:
            fcntl.fcntl(fd, _SETLEASE, fcntl.F_RDLCK)
        except OSError:
            return False
        return True

    def listener(self) -> "Listener":
        return Listener(self)

    def check(self) -> None:
        """Some lease is to be given up: the kernel has sent SIGIO."""
        for listener in list(self.listeners):
            listener.check()


class Listener:
    """A session's leases, by handle number: those that stand, those that its client is to be told of, and those that it
    has been told of and hasn't given up yet."""

    def __init__(self, leases: Leases) -> None:
        self.leases = leases
        self.held: Dict[int, Handle] = {}
        self.broken: Dict[int, Handle] = {}
        self.told: Dict[int, Handle] = {}
        self.heard = self.granted = leases.now()  # when the client last was there; when it last got a lease
        self._done: Optional[Callable[[int], None]] = None  # answers the RECALL that waits
        self._beat: Optional[Any] = None  # has it answered in time
        self._end: Optional[Any] = None  # ends what nobody listens for
        leases.listeners.add(self)

    def close(self) -> None:
        self.leases.listeners.discard(self)
        for timer in (self._beat, self._end):
            if timer is not None:
                timer.cancel()

    # ------------------------------------------------------------------------------------------------- granting

    def willing(self) -> bool:
        """Whether a lease may be given.  Any thread may ask."""
        count = len(self.held) + len(self.broken) + len(self.told)
        alive = self._done is not None or self.leases.now() - self.heard < TERM_S / 2
        return alive and count < protocol.LIMITS["MAX_LEASES"] and self.leases.count < MOST

    def grant(self, number: int, handle: Handle) -> bool:
        """The handle's descriptor has a lease.  False: not any more."""
        if not self.willing() or not stands(handle.fd):
            give_up(handle.fd)
            return False
        self.granted = self.leases.now()
        self.held[number] = handle
        self.leases.count += 1
        self.keep_time()
        return True

    def closing(self, number: int) -> None:
        """The handle is about to be closed; a thread that still reads keeps its descriptor, but not the lease."""
        for some in (self.held, self.broken, self.told):
            handle = some.pop(number, None)
            if handle is not None:
                self.leases.count -= 1
                give_up(handle.fd)

    # ------------------------------------------------------------------------------------------------ recalling

    def listen(self) -> Any:
        """RECALL: what was told before is done, and the client is there."""
        if self._done is not None:
            raise fail(errno.EBUSY)
        for handle in self.told.values():
            give_up(handle.fd)
        self.leases.count -= len(self.told)
        self.told = {}
        self.heard = self.leases.now()
        return self.tell() if self.broken else Deferred(self.begin, self.answer, self.leave)

    def begin(self, done: Callable[[int], None]) -> Callable[[], None]:
        self._done = done
        self.keep_time()
        return self.stop

    def keep_time(self) -> None:
        if self.held and self._done is not None and self._beat is None:
            self._beat = self.leases.later(BEAT_S, self.beat)

    def beat(self) -> None:
        self._beat = None
        if self.held:
            self.wake()

    def stop(self) -> None:
        """Nobody waits any more."""
        self._done = None
        if self._beat is not None:
            self._beat.cancel()
            self._beat = None

    def wake(self) -> None:
        if self._done is not None:
            done = self._done
            self.stop()
            done(0)

    def check(self) -> None:
        for number, handle in list(self.held.items()):
            if not stands(handle.fd):
                self.broken[number] = self.held.pop(number)
        if self.broken:
            self.wake()

    def answer(self, _events: int) -> Any:
        self.heard = self.leases.now()
        return self.tell()

    def tell(self) -> Any:
        self.told, self.broken = self.broken, {}
        self.leave()
        return (struct.pack(f">{len(self.told)}Q", *self.told),)

    # --------------------------------------------------------------------------------------------------- losing

    def leave(self) -> None:
        """Nobody listens: the leases count for as long as the client may believe."""
        if self._end is None:
            self._end = self.leases.later(self._left(), self.expire)

    def _left(self) -> float:
        return max(self.heard, self.granted) + TERM_S + MARGIN_S - self.leases.now()

    def expire(self) -> None:
        self._end = None
        if self._done is not None:
            return
        if self._left() > 0:
            return self.leave()
        self.broken.update(self.held)  # what it's told of if it comes back
        self.held = {}
        for handle in (*self.broken.values(), *self.told.values()):
            give_up(handle.fd)
