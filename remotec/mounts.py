# SPDX-License-Identifier: MIT
"""Which of this machine's file systems answer at once.

A local disk may make its caller wait for what isn't in memory, but the kernel says so beforehand (RESOLVE_CACHED,
RWF_NOWAIT). Anything else - FUSE, the network, removable media - may not answer at all, and any call may be the one.
"""

import select
import threading
from typing import BinaryIO, Dict, Optional

MEMORY, DISK, SLOW = range(3)

_SPEEDS = dict.fromkeys(
    """tmpfs ramfs rootfs devtmpfs hugetlbfs proc sysfs devpts cgroup cgroup2 debugfs tracefs securityfs configfs
    pstore mqueue bpf nsfs pipefs sockfs""".split(),
    MEMORY,
)
_SPEEDS.update(dict.fromkeys("ext2 ext3 ext4 xfs btrfs f2fs bcachefs overlay".split(), DISK))


class Mounts:
    """The mount table, read again whenever the kernel says that it has changed.  Any thread may ask."""

    def __init__(self) -> None:
        self.speeds: Dict[int, int] = {}  # of those that the table had when it was last read
        self._slowest = SLOW
        self._lock = threading.Lock()
        self._poll = select.poll()
        self._table: Optional[BinaryIO] = None
        try:
            self._table = open("/proc/self/mountinfo", "rb")
        except OSError:  # no /proc: nothing is known to answer at once
            return
        self._poll.register(self._table, select.POLLPRI)
        self.read()

    def fileno(self) -> int:
        """What poll says POLLPRI of when the table has changed; -1: there is none."""
        return self._table.fileno() if self._table else -1

    def close(self) -> None:
        if self._table:
            self._table.close()

    def read(self) -> None:
        assert self._table
        self._table.seek(0)
        speeds = {}
        for line in self._table.read().splitlines():  # ID PARENT MAJOR:MINOR ROOT POINT OPTIONS TAG… - TYPE SOURCE …
            before, _, after = line.partition(b" - ")
            speeds[int(before.split(None, 1)[0])] = _SPEEDS.get(after.split(None, 1)[0].decode(), SLOW)
        self.speeds, self._slowest = speeds, max(speeds.values(), default=SLOW)

    def speed(self, mount: int) -> int:
        """MEMORY, DISK or SLOW for a mount's id (statx's); for an id that the kernel didn't say, the worst there is."""
        with self._lock:  # a poll object is one thread's at a time
            if self._table and self._poll.poll(0):
                self.read()
        return self.speeds.get(mount, self._slowest)
