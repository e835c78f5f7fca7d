"""What is kept between calls, for how long, and to whom it belongs."""

from __future__ import annotations

import threading

from agentroute.transport.idle import Idle


class Line:
    """A connection as `Idle` sees it."""

    def __init__(self) -> None:
        self.quiet = True
        self.closed = False

    def is_quiet(self) -> bool:
        return self.quiet

    def close(self) -> None:
        self.closed = True


class Time:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_one_used_last_is_taken_first() -> None:
    idle: Idle[Line] = Idle(Time())
    lines = [Line() for _ in range(3)]
    for line in lines:
        idle.put("here", line)
    assert [idle.take("here") for _ in range(4)] == [lines[2], lines[1], lines[0], None]


def test_a_connection_leads_to_one_place() -> None:
    idle: Idle[Line] = Idle(Time())
    line = Line()
    idle.put("here", line)
    assert idle.take("there") is None
    assert idle.take("here") is line


def test_one_on_which_something_came_unasked_is_closed() -> None:
    idle: Idle[Line] = Idle(Time())
    good, bad = Line(), Line()
    idle.put("here", good)
    idle.put("here", bad)
    bad.quiet = False
    assert idle.take("here") is good
    assert (bad.closed, good.closed) == (True, False)


def test_an_old_one_is_closed_whoever_asks_and_one_that_was_taken_never() -> None:
    time = Time()
    idle: Idle[Line] = Idle(time)
    old, taken, young = Line(), Line(), Line()
    idle.put("here", old)
    idle.put("here", taken)
    assert idle.take("here") is taken
    time.now = 29.0
    idle.put("here", young)
    time.now = 31.0
    assert idle.take("there") is None
    assert (old.closed, taken.closed, young.closed) == (True, False, False)
    assert idle.take("here") is young


def test_closing_leaves_alone_what_is_in_use() -> None:
    idle: Idle[Line] = Idle(Time())
    kept, used = Line(), Line()
    idle.put("here", used)
    idle.put("here", kept)
    assert idle.take("here") is kept
    idle.close()
    assert (used.closed, kept.closed) == (True, False)
    assert idle.take("here") is None


def test_threads_never_get_the_same_one() -> None:
    idle: Idle[Line] = Idle(Time())
    for _ in range(8):
        idle.put("here", Line())
    in_use: set[int] = set()
    twice: list[Line] = []

    def work() -> None:
        for _ in range(2000):
            line = idle.take("here")
            if line is None:
                continue
            if id(line) in in_use:
                twice.append(line)
            in_use.add(id(line))
            in_use.discard(id(line))
            idle.put("here", line)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert twice == []
    assert len({id(line) for line in iter(lambda: idle.take("here"), None)}) == 8


def test_a_child_begins_with_none_and_closes_none() -> None:
    idle: Idle[Line] = Idle(Time())
    line = Line()
    idle.put("here", line)
    idle._lock.acquire()
    idle.begin_anew()
    assert idle.take("here") is None
    assert not line.closed


def test_what_comes_back_after_the_close_is_closed_until_somebody_calls_again() -> None:
    idle: Idle[Line] = Idle(Time())
    late, later = Line(), Line()
    idle.close()
    idle.put("here", late)
    assert late.closed
    assert idle.take("here") is None
    idle.put("here", later)
    assert not later.closed
