"""How many connections calls open: as many as are in flight at once, and those are used again."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentroute import Router
from tests.loopback import ANSWER, COMPLETION, Loopback, Script, plain

IN_FLIGHT = 64


def slow(script: bytes) -> Callable[[int], Script]:
    return lambda number: [0.1, script, "keep"]


def in_threads(router: Router, times: int, stream: bool) -> list[str]:
    def one(_: int) -> str:
        if not stream:
            return router.complete("hello").text
        with router.stream("hello") as events:
            return "".join(getattr(event, "text", "") for event in events)

    with ThreadPoolExecutor(IN_FLIGHT) as threads:
        return [text for _ in range(times) for text in threads.map(one, range(IN_FLIGHT))]


def on_a_loop(router: Router, times: int, stream: bool) -> list[str]:
    async def one() -> str:
        if not stream:
            return (await router.acomplete("hello")).text
        async with router.astream("hello") as events:
            return "".join([getattr(event, "text", "") async for event in events])

    async def main() -> list[str]:
        return [text for _ in range(times) for text in await asyncio.gather(*(one() for _ in range(IN_FLIGHT)))]

    return asyncio.run(main())


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("ask", [in_threads, on_a_loop], ids=["sync", "async"])
def test_row110_sixty_four_calls_in_flight_need_no_more_connections_than_that(ask: Any, stream: bool) -> None:
    """encode/httpcore#1000: a pool that counted all connections against those it keeps opened one for nearly every
    call."""
    with Loopback(slow(ANSWER if stream else plain(COMPLETION))) as server:
        router = Router([server.target("a")])
        texts = ask(router, 10, stream)
        router.close()
    assert texts == ["hello world"] * 10 * IN_FLIGHT
    assert server.connections <= IN_FLIGHT


def test_loops_have_connections_of_their_own() -> None:
    with Loopback(slow(plain(COMPLETION))) as server:
        router = Router([server.target("a")])

        async def two() -> None:
            for _ in range(2):
                assert (await router.acomplete("hello")).text == "hello world"

        for _ in range(3):
            asyncio.run(two())
        assert server.connections == 3

        both = threading.Barrier(2)

        async def beside() -> None:
            await two()
            both.wait(20)
            await two()
            both.wait(20)

        with ThreadPoolExecutor() as threads:
            for done in [threads.submit(asyncio.run, beside()) for _ in range(2)]:
                done.result(60)
        assert server.connections == 5, "two loops at once share none, and each uses its own again"


@pytest.mark.parametrize("ask", [in_threads, on_a_loop])
def test_a_connection_whose_answer_was_cut_off_carries_no_other(ask: Any) -> None:
    def script(number: int) -> Script:
        return [plain(COMPLETION)[:-5]] if number == 1 else [plain(COMPLETION), "keep"]

    with Loopback(script) as server:
        router = Router([server.target("a"), server.target("b")])
        texts = ask(router, 2, False)
        router.close()
    assert texts == ["hello world"] * 2 * IN_FLIGHT
    assert server.connections <= IN_FLIGHT + 1
