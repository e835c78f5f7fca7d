"""Who is left alone after a fault, and for how long: cooldowns, one probe, keys, a wrong wall clock."""

from __future__ import annotations

import asyncio
import threading
from datetime import datetime, timedelta

import pytest

from agentroute import Router
from tests.loopback import Loopback, Script, refusal

from .calls import (
    QUICK,
    REQUEST,
    STREAMED,
    WAYS,
    Jumping,
    Ran,
    Way,
    aon,
    assert_no_canary,
    on,
    router,
    row,
    target,
    well_answer,
)


class Crooked(Jumping):
    """A wall clock that is set by hours while calls are made; the monotonic one is not."""

    off = timedelta()

    def now(self) -> datetime:
        return super().now() + self.off


def several(way: Way, one: Router, times: int) -> list[Ran]:
    if not way.asynchronous:
        return [on(one, way) for _ in range(times)]

    async def main() -> list[Ran]:
        async with one:
            return [await aon(one, way) for _ in range(times)]

    return asyncio.run(main())


def at_once(way: Way, one: Router, times: int) -> list[Ran]:
    if way.asynchronous:

        async def main() -> list[Ran]:
            async with one:
                return list(await asyncio.gather(*(aon(one, way) for _ in range(times))))

        return asyncio.run(main())
    ran: list[Ran] = []
    start = threading.Barrier(times)

    def work() -> None:
        start.wait()
        ran.append(on(one, way))

    threads = [threading.Thread(target=work) for _ in range(times)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return ran


COOLDOWNS: list[tuple[int, str, Script, float, float]] = [
    (24, "429", [refusal(429)], 4.9, 10.1),
    (25, "Retry-After 1", [refusal(429, retry_after="1")], 0.9, 1.1),
    (26, "ms", [refusal(429, retry_after_ms="300")], 0.2, 0.4),
    (28, "3600", [refusal(429, retry_after="3600")], 599.0, 601.0),
    (29, "nan", [refusal(429, retry_after="nan")], 4.9, 10.1),
    (30, "insufficient_quota", [refusal(429, "insufficient_quota")], 599.0, 601.0),
    (41, "401", [refusal(401)], 599.0, 601.0),
    (43, "404", [refusal(404, "model_not_found")], 599.0, 601.0),
]


@pytest.mark.parametrize(
    ("script", "still", "over", "way"),
    [pytest.param(s, a, b, way, id=f"row{n}-{name}-{way}") for n, name, s, a, b in COOLDOWNS for way in WAYS],
)
def test_cooldown(script: Script, still: float, over: float, way: Way, canaries: pytest.LogCaptureFixture) -> None:
    clock = Jumping()
    with Loopback(script) as sick, Loopback(well_answer(way)) as well:
        targets = target(sick), target(well, "well", rank=2)
        one = router(targets, clock=clock)
        (first,) = several(way, one, 1)
        assert [name for name, _ in first.tried] == ["sick", "well"]
        clock.slept.append(still)
        (second,) = several(way, one, 1)
        assert [name for name, _ in second.tried] == ["well"], "left alone"
        clock.slept.append(over - still)
        (third,) = several(way, one, 1)
        assert [name for name, _ in third.tried] == ["sick", "well"], "tried again"
        one.close()
    assert_no_canary(second, targets, canaries)


UNMOVED = [
    (40, [refusal(400)]),
    (48, [refusal(400, "content_filter")]),
    (47, [refusal(400, "context_length_exceeded")]),
]


@pytest.mark.parametrize(
    ("script", "way"), [pytest.param(s, way, id=f"row{n}-{way}") for n, s in UNMOVED for way in WAYS]
)
def test_what_the_request_brought_about_opens_nothing(script: Script, way: Way) -> None:
    with Loopback(script) as sick, Loopback(well_answer(way)) as well:
        one = router([target(sick), target(well, "well", rank=2)])
        several(way, one, 5)
        assert one.route(REQUEST).target == "sick"
        one.close()
    assert (len(sick.requests), well.requests) == (5, [])


@row(91)
def test_the_wall_clock_is_set_while_a_circuit_is_open(way: Way) -> None:
    clock = Crooked()
    with Loopback([refusal(429, retry_after="60")]) as sick, Loopback(well_answer(way)) as well:
        one = router([target(sick), target(well, "well", rank=2)], clock=clock)
        several(way, one, 1)
        for hours in (5, -5):
            clock.off = timedelta(hours=hours)
            (ran,) = several(way, one, 1)
            assert [name for name, _ in ran.tried] == ["well"]
        clock.slept.append(61.0)
        (ran,) = several(way, one, 1)
        assert [name for name, _ in ran.tried] == ["sick", "well"]
        one.close()


@row(88)
def test_one_probe_of_a_hundred_calls(way: Way) -> None:
    clock = Jumping()
    with Loopback([0.3, refusal(503)]) as sick, Loopback(well_answer(way)) as well:
        one = router([target(sick), target(well, "well", rank=2)], clock=clock)
        several(way, one, 3)
        asked = len(sick.requests)
        assert asked == 3
        clock.slept.append(1000.0)
        ran = at_once(way, one, 100)
        one.close()
    assert len(sick.requests) - asked == 1, "exactly one probe"
    assert {(r.error, r.tried[-1]) for r in ran} == {(None, ("well", None))}


@row(89, STREAMED)
def test_a_flapping_target(way: Way) -> None:
    """Half of its calls fail; ten thousand of them without sockets are in tests/failover/test_flow.py."""
    clock = Jumping()
    calls = 300
    with Loopback(lambda n: [refusal(503)] if n % 2 else well_answer(way)) as sick, Loopback(well_answer(way)) as well:
        one = router([target(sick), target(well, "well", rank=2)], clock=clock, timeouts=QUICK)
        ran = several(way, one, calls)
        one.close()
    assert [r.error for r in ran if r.error] == []
    assert {r.response.text for r in ran if r.response} == {"hello world"}
    opened = next(n for n, r in enumerate(ran) if r.tried[0][0] == "well")
    assert sum(r.tried[0][0] == "sick" for r in ran[opened:]) < (calls - opened) / 10
