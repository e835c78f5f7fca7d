"""The caller goes away, or reads slowly: the provider notices, nobody else is asked, nothing piles up.

How soon the provider notices is measured in evals/bench/faults.py.
"""

from __future__ import annotations

import asyncio
import signal
import time
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest

from agentroute import Decision, Router
from agentroute.ledger import MemoryLedger
from tests.loopback import HELLO, ROLE, SSE_HEAD, Loopback, chunk, event

from .calls import QUICK, REQUEST, STREAMED, WAYS, Ran, Way, assert_no_canary, router, row, target, well_answer
from .streams import block, message_start

SPEAKS_THEN_HANGS = [SSE_HEAD, chunk(ROLE + HELLO), "hang"]


async def first_event(one: Router, server: Loopback, *, how: str) -> BaseException | None:
    """Reads one text and leaves: closes the stream, breaks out of it, or is cancelled while waiting for the next."""

    async def read() -> None:
        async with one.astream(REQUEST) as stream:
            async for _ in stream:
                if stream.response.text and how == "close":
                    return

    if how == "close":
        await read()
        return None
    task = asyncio.create_task(read())
    while not server.requests:
        await asyncio.sleep(0.005)
    await asyncio.sleep(0.05)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError as error:
        return error
    raise AssertionError("the cancellation was swallowed")


def leave(way: Way, one: Router, server: Loopback, how: str) -> BaseException | None:
    if not way.asynchronous:
        with one.stream(REQUEST) as stream:
            for _ in stream:
                if stream.response.text:
                    break
        return None

    async def main() -> BaseException | None:
        async with one:
            error = await first_event(one, server, how=how)
            assert await asyncio.to_thread(server.gone.wait, 5), "the provider still sends"
            for _ in range(100):
                # A stream that was left by `break` is finalised by a task of the event loop's own.
                if len(asyncio.all_tasks()) == 1:
                    break
                await asyncio.sleep(0.01)
            assert len(asyncio.all_tasks()) == 1, "no task is left behind"
            return error

    return asyncio.run(main())


def last_of(one: Router) -> Decision:
    assert isinstance(one.ledger, MemoryLedger)
    return one.ledger.decisions[-1]


LEAVINGS = [
    pytest.param(way, how, id=f"row84-{way}-{how}")
    for way in STREAMED
    for how in (("close", "cancel") if way.asynchronous else ("close",))
]


@pytest.mark.parametrize(("way", "how"), LEAVINGS)
def test_the_client_goes_away_in_the_middle(way: Way, how: str, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(SPEAKS_THEN_HANGS) as server, Loopback(well_answer(way)) as well:
        targets = target(server), target(well, "well", rank=2)
        one = router(targets)
        for _ in range(4):  # three failures in a row would open the circuit
            server.gone.clear()
            server.requests.clear()
            error = leave(way, one, server, how)
            assert server.gone.wait(5), "the provider still sends"
        assert well.requests == []
        record = last_of(one)
        first = one.route(REQUEST)
        one.close()
    assert record.outcome == ("cancelled" if how == "cancel" else "abandoned")
    assert [(a.target, a.outcome) for a in record.attempts] == [("sick", record.outcome)]
    assert record.cost is None, "what it cost is unknown, not 0"
    assert first.target == "sick", "its circuit is as it was"
    if error is not None:
        assert_no_canary(Ran(error=error, decision=record), targets, canaries)


@row(84, among=STREAMED)
def test_the_cost_of_what_had_come_is_recorded(way: Way) -> None:
    """Anthropic counts at the start of the answer."""
    said = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hello"})[:2]
    with Loopback([SSE_HEAD, chunk(message_start(input_tokens=9) + b"".join(said)), "hang"]) as server:
        one = router([target(server, dialect="anthropic_messages")])
        leave(way, one, server, "close")
        record = last_of(one)
        one.close()
    assert record.attempts[0].usage is not None
    assert record.attempts[0].usage.input_tokens == 9
    assert record.attempts[0].cost is not None
    assert record.cost == record.attempts[0].cost


@pytest.mark.parametrize("way", [pytest.param(way, id=f"row85-{way}") for way in WAYS if way.asynchronous])
@pytest.mark.parametrize("silent", [["hang"], [SSE_HEAD, chunk(ROLE), "hang"]], ids=["no headers", "no content"])
def test_cancelled_before_the_first_byte(way: Way, silent: Any, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(silent) as server, Loopback(well_answer(way)) as well:
        targets = target(server), target(well, "well", rank=2)

        async def main() -> tuple[BaseException, Decision]:
            async with router(targets) as one:
                if way.stream:
                    error = await first_event(one, server, how="cancel")
                else:
                    task = asyncio.create_task(one.acomplete(REQUEST))
                    while not server.requests:
                        await asyncio.sleep(0.005)
                    task.cancel()
                    with pytest.raises(asyncio.CancelledError) as caught:
                        await task
                    error = caught.value
                assert error is not None
                assert await asyncio.to_thread(server.gone.wait, 5)
                return error, last_of(one)

        error, record = asyncio.run(main())
        assert well.requests == [], "no failover starts after a cancellation"
    assert record.outcome == "cancelled"
    assert_no_canary(Ran(error=error, decision=record), targets, canaries)


@row(85, [way for way in WAYS if not way.asynchronous])
def test_interrupted_before_the_first_byte(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    """A plain call ends by Ctrl-C."""

    def ctrl_c(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, ctrl_c)
    try:
        with Loopback(["hang"]) as server, Loopback(well_answer(way)) as well:
            targets = target(server), target(well, "well", rank=2)
            one = router(targets)
            signal.setitimer(signal.ITIMER_REAL, 0.2)
            with pytest.raises(KeyboardInterrupt) as caught:
                one.complete(REQUEST) if not way.stream else list(one.stream(REQUEST))
            assert server.gone.wait(5)
            assert well.requests == []
            record = last_of(one)
            one.close()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert record.outcome == "cancelled"
    assert_no_canary(Ran(error=caught.value, decision=record), targets, canaries)


PIECE = chunk(event({"content": "x" * 64_000}))
ENDLESS = 2_000


@row(86, STREAMED)
def test_a_slow_reader_holds_the_provider_back(way: Way) -> None:
    sent = 0

    def script(_: int) -> Iterator[Any]:
        nonlocal sent
        yield SSE_HEAD
        for _ in range(ENDLESS):
            yield PIECE
            sent += 1

    with Loopback(script) as server:
        one = router([target(server)], timeouts=QUICK)
        if way.asynchronous:

            async def read() -> int:
                async with one, one.astream(REQUEST) as stream:
                    events = aiter(stream)
                    for _ in range(5):
                        await anext(events)
                    before = tracemalloc.get_traced_memory()[0]
                    await asyncio.sleep(0.6)
                    held = tracemalloc.get_traced_memory()[0] - before
                    await anext(events)
                    return held

            tracemalloc.start()
            held = asyncio.run(read())
        else:
            tracemalloc.start()
            with one, one.stream(REQUEST) as stream:
                events = iter(stream)
                for _ in range(5):
                    next(events)
                before = tracemalloc.get_traced_memory()[0]
                time.sleep(0.6)
                held = tracemalloc.get_traced_memory()[0] - before
                next(events)
        tracemalloc.stop()
        assert sent < ENDLESS // 2, "what the sockets hold, and no more"
    assert held < 1_000_000
