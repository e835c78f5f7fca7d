"""The chain's table of faults over ChatOpenAI, plain and asynchronous: the same rows as for our own transport."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextlib import aclosing, closing
from dataclasses import dataclass
from typing import Any, cast

import pytest
from langchain_agentroute import RoutedChatModel, native

from agentroute import Decision, Price, StreamInterrupted, Usage
from tests.loopback import ANSWER, HELLO, ROLE, SSE_HEAD, Loopback, chunk, refusal

from .pools import chat_openai

pytestmark = pytest.mark.requires("langchain", "langchain_openai")


@dataclass
class Ran:
    """What came of one call: the text, the error, the record."""

    text: str
    error: BaseException | None
    decision: Decision


def routed(servers: Iterable[Loopback | str]) -> RoutedChatModel:
    """`a` is tried before `b`, for it costs nothing. A server may be given by its address."""
    return RoutedChatModel(
        targets=[
            native(
                chat_openai(server if isinstance(server, str) else server.base_url, "m", "sk-loopback-key"),
                name=name,
                tier="mid",
                price=Price(cost, cost),
            )
            for server, name, cost in zip(servers, "ab", (0, 9), strict=False)
        ]
    )


def record(model: RoutedChatModel) -> Decision:
    (decision,) = model.router.ledger.decisions  # type: ignore[attr-defined]
    return cast("Decision", decision)


class ChatOpenAISync:
    """ChatOpenAI, plain."""

    def call(self, servers: Iterable[Loopback | str], leave_after: int | None = None) -> Ran:
        model, text, error = routed(servers), "", None
        with closing(cast("Any", model.stream("hello"))) as chunks:
            try:
                for arrived in chunks:
                    text += str(arrived.text)
                    if leave_after is not None and len(text) >= leave_after:
                        break
            except Exception as raised:
                error = raised
        return Ran(text, error, record(model))


class ChatOpenAIAsync:
    """ChatOpenAI, on an event loop."""

    def call(self, servers: Iterable[Loopback | str], leave_after: int | None = None) -> Ran:
        async def main() -> Ran:
            model, text, error = routed(servers), "", None
            async with aclosing(cast("Any", model.astream("hello"))) as chunks:
                try:
                    async for arrived in chunks:
                        text += str(arrived.text)
                        if leave_after is not None and len(text) >= leave_after:
                            break
                except Exception as raised:
                    error = raised
            return Ran(text, error, record(model))

        return asyncio.run(main())


DRIVERS: dict[str, Any] = {"ChatOpenAI sync": ChatOpenAISync, "ChatOpenAI async": ChatOpenAIAsync}


@pytest.mark.parametrize("driver", DRIVERS)
class TestOverSockets:
    """The second target is healthy."""

    @pytest.mark.parametrize(
        ("script", "error"),
        [
            ([refusal(503)], "Overloaded"),
            ([refusal(429)], "RateLimited"),
            ([], "ConnectionFailed"),
            (["reset"], "ConnectionFailed"),
            ([SSE_HEAD], "ConnectionFailed"),
            ([SSE_HEAD, chunk(ROLE)], "ConnectionFailed"),
            ([SSE_HEAD, chunk(ROLE), "reset"], "ConnectionFailed"),
            ([SSE_HEAD, chunk(ROLE), b"0\r\n\r\n"], "BadResponse"),
            ([SSE_HEAD, b"0\r\n\r\n"], "BadResponse"),
        ],
        ids=["503", "429", "no byte", "reset", "head only", "cut before content", "reset before", "early end", "empty"],
    )
    def test_before_the_first_content_the_next_target_answers(self, driver: str, script: Any, error: str) -> None:
        with Loopback(script) as sick, Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([sick, healthy])
        assert (ran.text, ran.error, ran.decision.outcome) == ("hello world", None, "ok")
        assert [(a.target, a.outcome, a.error) for a in ran.decision.attempts] == [
            ("a", "failed", error),
            ("b", "ok", None),
        ]
        assert ran.decision.usage == Usage(5, 2)
        assert (len(sick.requests), len(healthy.requests)) == (1, 1)

    def test_connection_refused(self, driver: str) -> None:
        with Loopback([]) as closed:
            nobody = closed.base_url
        with Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([nobody, healthy])
        assert (ran.text, ran.error) == ("hello world", None)
        assert ran.decision.attempts[0].error == "ConnectionFailed"

    @pytest.mark.parametrize("end", [[], ["reset"], [b"0\r\n\r\n"]], ids=["cut", "reset", "early end"])
    def test_after_the_first_content_no_other_target_is_asked(self, driver: str, end: list[Any]) -> None:
        with Loopback([SSE_HEAD, chunk(ROLE), chunk(HELLO), 0.05, *end]) as sick, Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([sick, healthy])
        assert ran.text == "hello"
        assert isinstance(ran.error, StreamInterrupted)
        assert ran.error.partial is not None
        assert ran.error.partial.text == "hello"
        assert [(a.target, a.outcome) for a in ran.decision.attempts] == [("a", "interrupted")]
        assert (ran.decision.outcome, ran.decision.target) == ("interrupted", "a")
        assert healthy.requests == []

    def test_an_abandoned_stream_frees_the_connection(self, driver: str) -> None:
        with Loopback([SSE_HEAD, chunk(ROLE), chunk(HELLO), "hang"]) as hanging, Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([hanging, healthy], leave_after=5)
            assert hanging.gone.wait(5), "the provider sees that the caller has gone"
        assert (ran.text, ran.error, ran.decision.outcome) == ("hello", None, "abandoned")
        assert [(a.target, a.outcome) for a in ran.decision.attempts] == [("a", "abandoned")]
        assert healthy.requests == []


@pytest.mark.parametrize("steps", [[], [SSE_HEAD, chunk(ROLE)]], ids=["no byte", "before content"])
async def test_cancelled_over_a_socket(steps: list[Any]) -> None:
    with Loopback([*steps, "hang"]) as hanging, Loopback([ANSWER]) as healthy:
        model = routed([hanging, healthy])

        async def call() -> None:
            async with aclosing(cast("Any", model.astream("hello"))) as chunks:
                async for _ in chunks:
                    pass

        task = asyncio.create_task(call())
        while not hanging.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(hanging.gone.wait, 5)
    assert [(a.target, a.outcome) for a in record(model).attempts] == [("a", "cancelled")]
    assert healthy.requests == []
