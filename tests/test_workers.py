# SPDX-License-Identifier: MIT
"""The threads for what may block: shares, order, taking back, and what happens where there can be no more."""

from __future__ import annotations

import queue
import threading
from typing import Any, Callable, List

import pytest

from remotec.workers import KEPT_THREADS, MOST_OF_A_LANE, MOST_THREADS, Workers


class Loop:
    """What is posted waits until the test runs it."""

    def __init__(self) -> None:
        self.posted: "queue.Queue[Any]" = queue.Queue()

    def post(self, act: Callable[..., None], *arguments: Any) -> None:
        self.posted.put((act, arguments))

    def run(self, count: int) -> None:
        for _ in range(count):
            act, arguments = self.posted.get(timeout=20)
            act(*arguments)


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
def workers(loop: Loop) -> Workers:
    return Workers(loop.post)


def test_results_and_errors_come_back_on_the_loop(loop: Loop, workers: Workers) -> None:
    came: List[Any] = []
    workers.run(1, lambda: threading.current_thread(), lambda *outcome: came.append(outcome))
    workers.run(1, lambda: 1 // 0, lambda *outcome: came.append(outcome))
    loop.run(2)
    ((thread, none),) = [each for each in came if each[1] is None]
    assert thread is not threading.current_thread() and none is None
    assert [type(error) for _, error in came if error] == [ZeroDivisionError]
    assert workers.counts() == {}


def test_a_lane_has_its_share_and_keeps_its_order(loop: Loop, workers: Workers) -> None:
    flow, done = threading.Event(), []
    for i in range(20):
        workers.run(1, flow.wait, lambda *_, i=i: done.append(i))  # type: ignore[misc]
    workers.run(2, lambda: None, lambda *_: done.append("other"))
    loop.run(1)
    assert done == ["other"] and workers.counts() == {1: MOST_OF_A_LANE}
    flow.set()
    loop.run(20)
    assert sorted(done[1:]) == list(range(20)) and workers.counts() == {}


def test_stuck_lanes_leave_threads_for_others_until_there_are_none(loop: Loop, workers: Workers) -> None:
    flow, done = threading.Event(), []
    for lane in range(MOST_THREADS // MOST_OF_A_LANE):
        for _ in range(MOST_OF_A_LANE + 1):
            workers.run(lane, flow.wait, lambda *_: None)
    workers.run(99, lambda: None, lambda *_: done.append("other"))
    assert sum(workers.counts().values()) == MOST_THREADS and not done
    flow.set()
    loop.run(MOST_THREADS + MOST_THREADS // MOST_OF_A_LANE + 1)
    assert done == ["other"]
    alive = [t for t in threading.enumerate() if t.name == "remotec-worker" and t.is_alive()]
    for thread in alive[KEPT_THREADS:]:
        thread.join(0.1)
    assert workers._threads <= KEPT_THREADS


def test_what_has_not_begun_can_be_taken_back(loop: Loop, workers: Workers) -> None:
    flow, done = threading.Event(), []
    begun = [workers.run(1, flow.wait, lambda *_: done.append("begun")) for _ in range(MOST_OF_A_LANE)]
    waiting = workers.run(1, flow.wait, lambda *_: done.append("waiting"))
    assert waiting() and not waiting() and not begun[0]()
    flow.set()
    loop.run(MOST_OF_A_LANE)
    assert done == ["begun"] * MOST_OF_A_LANE and loop.posted.empty()


def test_where_there_can_be_no_thread_it_is_eagain(
    loop: Loop, workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_: Any) -> None:
        raise RuntimeError("can't start new thread")

    started = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", refused)
    with pytest.raises(BlockingIOError):
        workers.run(1, lambda: None, lambda *_: None)
    assert workers.counts() == {}
    monkeypatch.setattr(threading.Thread, "start", started)
    flow, done = threading.Event(), []
    workers.run(1, flow.wait, lambda *_: done.append(1))
    monkeypatch.setattr(threading.Thread, "start", refused)
    workers.run(1, flow.wait, lambda *_: done.append(2))  # waits for the one that there is
    flow.set()
    loop.run(2)
    assert done == [1, 2]
