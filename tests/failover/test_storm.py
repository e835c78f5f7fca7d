"""The chain under fire: a flapping target, a hundred callers at one probe, and streams cut at every byte."""

from __future__ import annotations

import asyncio
import copy
import json
import random
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentroute import (
    ChatRequest,
    ChatResponse,
    ConnectionFailed,
    Overloaded,
    Price,
    ProviderError,
    ProviderTimeout,
    RateLimited,
    Router,
    StreamInterrupted,
    Target,
    Usage,
)
from agentroute.events import Finished, Started, TextDelta
from agentroute.failover.breaker import Breakers
from agentroute.failover.effects import Done, Item, Performer, Timeouts, Try
from agentroute.testing import FrozenClock
from agentroute.transport.exchange import Answer, Outgoing

REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})
USAGE = Usage(10, 5)
SSE = {"content-type": "text/event-stream"}


def sick_and_well(dialect: str = "openai_chat") -> list[Target]:
    """The sick one is so much cheaper that it is always the first choice."""
    where = {"base_url": "http://127.0.0.1:1/v1", "api_key": "sk-test", "model": "m", "tier": "mid"}
    return [
        Target(name="sick", provider="sick-co", dialect=dialect, price=Price(1, 1), **where),  # type: ignore[arg-type]
        Target(name="well", provider="well-co", price=Price(9, 9), **where),  # type: ignore[arg-type]
    ]


def answer(text: str) -> Iterator[Item | Done]:
    yield Item(Started("id", "m"), False)
    for word in text.split(" "):
        yield Item(TextDelta(word + " "), True)
    yield Item(Finished("stop"), False)
    yield Done(USAGE, "stop")


@dataclass
class OnALoop:
    """Any performer in memory, on an event loop."""

    inner: Performer

    async def perform(self, attempt: Try) -> AsyncIterator[Any]:
        for item in self.inner.perform(attempt):
            yield item
            await asyncio.sleep(0)


class InMemory(Router):
    """A router whose own transport is a performer in memory."""

    def __init__(self, targets: list[Target], inner: Performer, **options: Any) -> None:
        super().__init__(targets, **options)
        self.inner = inner

    @property
    def performer(self) -> Any:
        return self.inner

    @property
    def async_performer(self) -> Any:
        return OnALoop(self.inner)


@dataclass
class Flapping:
    """The sick target fails half of its calls, in four ways; every answer is unlike any other."""

    clock: FrozenClock
    rng: random.Random = field(default_factory=lambda: random.Random(11))
    tried: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def perform(self, attempt: Try) -> Iterator[Item | Done]:
        self.tried.append(attempt.target.name)
        if attempt.target.name == "sick" and self.rng.random() < 0.5:
            yield Item(Started("id", "m"), False)
            error = self.rng.choice(
                [
                    RateLimited("slow down", status=429),
                    Overloaded("busy", status=503),
                    ConnectionFailed("reset"),
                    ProviderTimeout("stalled"),
                ]
            )
            if isinstance(error, ProviderTimeout):
                self.clock.advance(attempt.timeouts.first_content)
            self.failed.append(type(error).__name__)
            raise error
        yield from answer(f"answer {len(self.tried)} of {attempt.target.name}")


@pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
def test_ten_thousand_calls_with_a_flapping_first_target(loop: bool) -> None:
    clock = FrozenClock()
    performer = Flapping(clock)
    router = InMemory(sick_and_well(), performer, clock=clock, breakers=Breakers(random=random.Random(5).random))
    texts: list[str] = []
    errors: list[Exception] = []
    opened_at: list[int] = []

    def after(error: Exception | None) -> None:
        if error is not None:
            errors.append(error)
        if not opened_at and router.breakers.open_until(router.pool["sick"], clock.monotonic()) is not None:
            opened_at.append(len(performer.tried))
        clock.advance(0.1)

    def plain() -> None:
        for _ in range(10_000):
            error = None
            try:
                texts.append(router.complete(REQUEST).text)
            except ProviderError as raised:
                error = raised
            after(error)

    async def main() -> None:
        for _ in range(10_000):
            error = None
            try:
                texts.append((await router.acomplete(REQUEST)).text)
            except ProviderError as raised:
                error = raised
            after(error)

    asyncio.run(main()) if loop else plain()
    assert len(texts) >= 9_990, errors[:3]
    assert len(set(texts)) == len(texts), "content given twice"
    assert all(text.count("answer") == 1 for text in texts)
    assert set(performer.failed) == {"RateLimited", "Overloaded", "ConnectionFailed", "ProviderTimeout"}
    since = performer.tried[opened_at[0] :]
    assert since.count("sick") < 0.1 * len(since)
    assert since.count("sick") > 10, "it is asked now and then, whether it has recovered"


class TestOneProbe:
    """A hundred callers when the cooldown is over: one finds out, the others go elsewhere."""

    def half_open(self, router: Router, clock: FrozenClock) -> None:
        for _ in range(3):
            router.breakers.force(router.pool["sick"], 0.0).failure(Overloaded("busy", status=503), 0.0)
        clock.advance(5.0)

    def test_threads(self) -> None:
        clock, tried, texts = FrozenClock(), [], []
        start, others_are_done = threading.Barrier(100), threading.Event()

        class Waits:
            def perform(self, attempt: Try) -> Iterator[Item | Done]:
                tried.append(attempt.target.name)
                if attempt.target.name == "sick":
                    assert others_are_done.wait(30)
                yield from answer(attempt.target.name)

        router = InMemory(sick_and_well(), Waits(), clock=clock)
        self.half_open(router, clock)

        def call() -> None:
            start.wait()
            texts.append(router.complete(REQUEST).text)
            if len(texts) == 99:
                others_are_done.set()

        threads = [threading.Thread(target=call) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert (tried.count("sick"), tried.count("well")) == (1, 99)
        assert (texts.count("sick "), texts.count("well ")) == (1, 99)

    async def test_tasks(self) -> None:
        clock, tried = FrozenClock(), []
        others_are_done = asyncio.Event()

        class Waits:
            async def perform(self, attempt: Try) -> AsyncIterator[Item | Done]:
                tried.append(attempt.target.name)
                if attempt.target.name == "sick":
                    await others_are_done.wait()
                for item in answer(attempt.target.name):
                    yield item
                    await asyncio.sleep(0)

        class OnTasks(Router):
            @property
            def async_performer(self) -> Any:
                return Waits()

        router = OnTasks(sick_and_well(), clock=clock)
        self.half_open(router, clock)
        tasks = [asyncio.create_task(router.acomplete(REQUEST)) for _ in range(100)]
        while sum(task.done() for task in tasks) < 99:
            await asyncio.sleep(0)
        others_are_done.set()
        texts = [response.text for response in await asyncio.gather(*tasks)]
        assert (tried.count("sick"), tried.count("well")) == (1, 99)
        assert (texts.count("sick "), texts.count("well ")) == (1, 99)

    @pytest.mark.parametrize("error", [Overloaded("busy", status=503), None], ids=["fails", "answers"])
    def test_what_the_probe_finds_out_holds_for_the_next(self, error: ProviderError | None) -> None:
        clock, tried = FrozenClock(), []

        class Probed:
            def perform(self, attempt: Try) -> Iterator[Item | Done]:
                tried.append(attempt.target.name)
                if error is not None and attempt.target.name == "sick":
                    raise error
                yield from answer(attempt.target.name)

        router = InMemory(sick_and_well(), Probed(), clock=clock)
        self.half_open(router, clock)
        for _ in range(3):
            router.complete(REQUEST)
        assert tried == (["sick"] * 3 if error is None else ["sick", "well", "well", "well"])


# --- cut at every byte -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Ending:
    """What an attempt brought that was cut: its items, and how it ended."""

    items: tuple[Any, ...]
    error: ProviderError | None = None


@dataclass
class Cut:
    """The sick target's attempt is that ending; the well one answers."""

    ending: Ending
    tried: list[str] = field(default_factory=list)

    def perform(self, attempt: Try) -> Iterator[Any]:
        self.tried.append(attempt.target.name)
        if attempt.target.name == "well":
            yield from answer("THE SECOND TARGET")
            return
        yield from self.ending.items
        if self.ending.error is not None:
            raise self.ending.error


def reset() -> ConnectionFailed:
    return ConnectionFailed("cut")


def fed(target: Target, body: bytes, size: int, *, clean: bool) -> Ending:
    """What our exchange makes of these bytes, in pieces of that size, and then the end or a reset: no shortcuts."""
    items: list[Any] = []
    try:
        reading = begin(target)
        for at in range(0, len(body), size):
            items += reading.feed(body[at : at + size])
            if reading.complete:
                break
        if not clean and not reading.complete:
            reading.broke(reset())
        items += reading.end()
    except ProviderError as error:
        return Ending(tuple(items), error)
    return Ending(tuple(items))


def begin(target: Target) -> Answer:
    return Answer(Outgoing(Try(target, REQUEST, True, Timeouts())), 200, SSE, datetime.now(UTC))


def endings(target: Target, body: bytes) -> Iterator[Ending]:
    """The same for every length of the body, by 1 byte, clean and reset, in one pass: the reader is copied at each."""
    reading, items = begin(target), []
    for at in range(len(body) + 1):
        for clean in (True, False):
            # Only what the end changes is copied; the rest is the same reader.
            twin, last = copy.copy(reading), list[Any]()
            twin._warnings = list(reading._warnings)
            try:
                if not clean and not reading.complete:
                    twin.broke(reset())
                twin._stream = copy.deepcopy(reading._stream)
                last += twin.end()
            except ProviderError as error:
                yield Ending((*items, *last), error)
            else:
                yield Ending((*items, *last))
        if at == len(body) or reading.complete:
            return
        try:
            items += reading.feed(body[at : at + 1])
        except ProviderError as error:
            yield Ending(tuple(items), error)
            return


def said(response: ChatResponse) -> tuple[Any, ...]:
    return response.message.parts


class Came:
    """What a caller got of one ending: `whole`, `interrupted` with its part, or the other target's answer."""

    def __init__(self, router: InMemory, ending: Ending) -> None:
        performer = router.inner = Cut(ending)
        router.breakers = Breakers()
        self.error: StreamInterrupted | None = None
        with closing(router.stream(REQUEST)) as stream:
            try:
                for _ in stream:
                    pass
            except StreamInterrupted as error:
                self.error = error
        self.response = stream.response
        self.tried = performer.tried


async def on_a_loop(router: InMemory, ending: Ending) -> tuple[StreamInterrupted | None, ChatResponse]:
    router.inner = Cut(ending)
    router.breakers = Breakers()
    async with router.astream(REQUEST) as stream:
        try:
            async for _ in stream:
                pass
        except StreamInterrupted as error:
            return error, stream.response
    return None, stream.response


def check(came: Came, ending: Ending, whole: Came) -> str:
    if came.tried == ["sick", "well"]:
        assert came.error is None
        assert came.response.text == "THE SECOND TARGET ", "two models in one answer"
        assert not any(item.is_content for item in ending.items)
        return "fell over"
    assert came.tried == ["sick"]
    assert "SECOND" not in came.response.text
    if came.error is None:
        assert said(came.response) == said(whole.response), "an answer that is not whole, and nobody says so"
        assert came.response.finish_reason == whole.response.finish_reason
        return "whole"
    partial = came.error.partial
    assert partial is not None
    assert partial.finish_reason is None, "invented"
    assert whole.response.text.startswith(partial.text)
    for part, full in zip(partial.tool_calls, whole.response.tool_calls, strict=False):
        assert full.arguments.startswith(part.arguments)
    return "interrupted"


def cut_everywhere(body: bytes, dialect: str) -> set[str]:
    """Equal endings are run once: for the same items and the same end, the chain does the same."""
    router = InMemory(sick_and_well(dialect), Cut(Ending(())), clock=FrozenClock())
    sick = router.pool["sick"]
    whole = Came(router, fed(sick, body, len(body), clean=True))
    distinct: dict[Any, Ending] = {}
    for ending in endings(sick, body):
        distinct.setdefault((len(ending.items), repr(ending.items[-1:]), repr(ending.error)), ending)
    came = [(ending, Came(router, ending)) for ending in distinct.values()]

    async def main() -> None:
        for ending, plain in came:
            error, response = await on_a_loop(router, ending)
            assert (error is None) == (plain.error is None)
            assert said(response) == said(plain.response)
            assert response.finish_reason == plain.response.finish_reason

    asyncio.run(main())
    return {check(each, ending, whole) for ending, each in came}


def sse(*events: Any) -> bytes:
    return b"".join(b"data: " + (e if isinstance(e, bytes) else json.dumps(e).encode()) + b"\n\n" for e in events)


def delta(finish: str | None = None, **fields: Any) -> dict[str, Any]:
    return {"id": "c1", "model": "m", "choices": [{"index": 0, "delta": fields, "finish_reason": finish}]}


def called(arguments: str, **first: Any) -> list[dict[str, Any]]:
    return [{"index": 0, **first, "function": {"arguments": arguments, **({"name": "look"} if first else {})}}]


OWN = sse(
    delta(role="assistant", content=""),
    delta(content="Gr\u00fc\u00df "),
    delta(content="dich \U0001f600"),
    delta(tool_calls=called('{"at"', id="call_1", type="function")),
    delta(tool_calls=called(':"Lisboa"}')),
    delta("tool_calls"),
    {"id": "c1", "model": "m", "choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 4}},
    b"[DONE]",
)


class TestCutAtEveryByte:
    def test_our_own_stream(self) -> None:
        assert cut_everywhere(OWN, "openai_chat") == {"fell over", "interrupted", "whole"}

    @pytest.mark.parametrize("clean", [True, False], ids=["end", "reset"])
    @pytest.mark.parametrize("size", [1, 7, 10_000])
    def test_the_single_pass_reads_what_each_cut_alone_reads(self, size: int, clean: bool) -> None:
        sick, _ = sick_and_well()
        passed = list(endings(sick, OWN))[0 if clean else 1 :: 2]
        for at, ending in enumerate(passed):
            alone = fed(sick, OWN[:at], size, clean=clean)
            assert (alone.items, repr(alone.error)) == (ending.items, repr(ending.error)), f"cut at byte {at}"

    @pytest.mark.requires("shared")
    @pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini"])
    def test_recorded_streams(self, dialect: str, shared: Path) -> None:
        folders = {"anthropic": "anthropic_messages", "gemini": "gemini"}
        streams = [
            path
            for path in sorted((shared / "wire").glob("*/*.response.sse"))
            if folders.get(path.parent.name, "openai_chat") == dialect
        ]
        assert len(streams) >= 4
        kinds: set[str] = set()
        for path in streams:
            kinds |= cut_everywhere(path.read_bytes(), dialect)
        assert kinds == {"fell over", "interrupted", "whole"}
