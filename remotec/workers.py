# SPDX-License-Identifier: MIT
"""The threads for what may block, so that the event loop never does.

Each mount has its own share of them: one that doesn't answer holds its share and no more.  All bookkeeping is the
loop's; a thread only runs what it was given.
"""

import errno
import os
import queue
import threading
from collections import deque
from typing import Any, Callable, Deque, Dict

MOST_THREADS = 64
MOST_OF_A_LANE = 8
KEPT_THREADS = 8  # that wait for more work; those beyond end


class Job:
    """One call that a thread makes; `done(result, error)` follows on the loop, whatever has become of the asker."""

    __slots__ = ("lane", "act", "done")

    def __init__(self, lane: int, act: Callable[[], Any], done: "Callable[[Any, Any], None]") -> None:
        self.lane = lane
        self.act = act
        self.done = done


class Workers:
    """`post(function, …)` calls the function on the loop: loop.call_soon_threadsafe."""

    def __init__(self, post: Callable[..., Any]) -> None:
        self._post = post
        self._given: "queue.SimpleQueue[Any]" = queue.SimpleQueue()
        self._threads = self._busy = 0
        self._running: Dict[int, int] = {}
        self._waiting: Dict[int, Deque[Job]] = {}  # lanes in the order in which they began to wait

    def run(self, lane: int, act: Callable[[], Any], done: Callable[[Any, Any], None]) -> Callable[[], bool]:
        """Has a thread call `act`; returns what takes that back: False, it has begun and will end with `done`."""
        job = Job(lane, act, done)
        if not self._start(job):
            self._waiting.setdefault(lane, deque()).append(job)

        def take_back() -> bool:
            jobs = self._waiting.get(lane)
            if jobs is None or job not in jobs:
                return False
            jobs.remove(job)
            if not jobs:
                del self._waiting[lane]
            return True

        return take_back

    def _start(self, job: Job) -> bool:
        running = self._running.get(job.lane, 0)
        if running >= MOST_OF_A_LANE or self._busy >= MOST_THREADS:
            return False
        if self._busy >= self._threads:
            # A daemon: one that is stuck doesn't keep the server from ending.
            thread = threading.Thread(target=self._work, daemon=True, name="remotec-worker")
            try:
                thread.start()
            except RuntimeError:  # no more threads for this user
                if not self._threads:
                    raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN)) from None
                return False
            self._threads += 1
        self._running[job.lane] = running + 1
        self._busy += 1
        self._given.put(job)
        return True

    def _work(self) -> None:
        while True:
            job = self._given.get()
            if job is None:
                return
            result = error = None
            try:
                result = job.act()
            except BaseException as caught:
                error = caught
            try:
                self._post(self._ended, job, result, error)
            except RuntimeError:  # the loop is closed
                return
            job = result = error = None

    def _ended(self, job: Job, result: Any, error: Any) -> None:
        self._busy -= 1
        self._running[job.lane] -= 1
        if not self._running[job.lane]:
            del self._running[job.lane]
        for lane, jobs in list(self._waiting.items()):
            while jobs and self._start(jobs[0]):
                jobs.popleft()
            if not jobs:
                del self._waiting[lane]
        if self._threads - self._busy > KEPT_THREADS:
            self._threads -= 1
            self._given.put(None)
        job.done(result, error)

    def running(self, lane: int) -> int:
        return self._running.get(lane, 0)

    def counts(self) -> "Dict[int, int]":
        """Lane -> how many of its calls are under way."""
        return dict(self._running)
