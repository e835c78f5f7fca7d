"""The failover flow: by itself over a performer in memory, and over real sockets by each of our drivers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing, closing
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ChatRequest,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    Price,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    Target,
    Usage,
)
from agentroute.chain import Log, Plan, flow
from agentroute.effects import Done, Item, SystemClock, Timeouts, Try
from agentroute.events import fold
from agentroute.testing import FrozenClock
from agentroute.transport import AsyncHttpPerformer, HttpPerformer, adrive, drive

from .loopback import ANSWER, HELLO, ROLE, SSE_HEAD, Loopback, chunk, refusal

REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})
COUNT = Usage(input_tokens=1_000_000, output_tokens=1_000_000)


def target(name: str, **facts: Any) -> Target:
    return Target(**{"name": name, "provider": name, "model": "m", "tier": "mid", **facts})


@dataclass
class Scripted:
    """A performer in memory: for each target the items it yields, with exceptions and seconds of clock among them."""

    scripts: dict[str, list[list[Any]]]
    clock: FrozenClock = field(default_factory=FrozenClock)
    tries: list[Try] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def perform(self, attempt: Try) -> Iterator[Item | Done]:
        self.tries.append(attempt)
        name = attempt.target.name
        try:
            for step in self.scripts[name].pop(0):
                if isinstance(step, BaseException):
                    raise step
                if isinstance(step, float):
                    self.clock.advance(step)
                else:
                    yield step
        finally:
            self.closed.append(name)

    @property
    def tried(self) -> list[str]:
        return [attempt.target.name for attempt in self.tries]


@dataclass
class AsyncScripted:
    """The same for the asynchronous driver."""

    inner: Scripted

    async def perform(self, attempt: Try) -> AsyncIterator[Item | Done]:
        for item in self.inner.perform(attempt):
            await asyncio.sleep(0)
            yield item


def quiet(payload: str) -> Item:
    return Item(payload, False)


def content(payload: str) -> Item:
    return Item(payload, True)


GOOD: list[Any] = [quiet("started"), content("hel"), content("lo"), Done(COUNT, "stop")]


def run(scripts: dict[str, list[Any]], *targets: Target, deadline: float | None = None) -> tuple[Any, Log, Scripted]:
    """What the caller got (payloads, and the error or None at the end), the log, and the performer."""
    performer = Scripted({name: [list(script)] for name, script in scripts.items()})
    return (*outcome(performer, targets or tuple(map(target, scripts)), deadline), performer)


def outcome(performer: Scripted, targets: tuple[Target, ...], deadline: float | None = None) -> tuple[Any, Log]:
    log = Log()
    got: list[Any] = []
    until = None if deadline is None else performer.clock.monotonic() + deadline
    plan = Plan(targets, REQUEST, timeouts=Timeouts(), deadline=until)
    try:
        for payload in drive(flow(plan, log, performer.clock), performer, performer.clock):
            got.append(payload)
    except Exception as error:
        got.append(error)
    return got, log


class TestOrder:
    def test_the_first_that_answers_wins(self) -> None:
        got, log, performer = run({"a": GOOD, "b": GOOD})
        assert got == ["started", "hel", "lo"]
        assert performer.tried == performer.closed == ["a"]
        assert log.winner == target("a")
        assert (log.usage, log.finish_reason, log.outcome) == (COUNT, "stop", "ok")
        assert [(a.target, a.outcome, a.usage, a.error) for a in log.attempts] == [("a", "ok", COUNT, None)]

    @pytest.mark.parametrize(
        "error",
        [
            RateLimited("x", status=429),
            QuotaExhausted("x", status=429),
            Overloaded("x", status=503),
            ProviderTimeout("x"),
            ConnectionFailed("x"),
            BadResponse("x"),
            AuthenticationFailed("x", status=401),
            ModelNotFound("x", status=404),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_these_go_to_the_next_target(self, error: ProviderError) -> None:
        got, log, performer = run({"a": [quiet("started by a"), error], "b": GOOD})
        assert got == ["started", "hel", "lo"], "what a failed target said before its first content is never shown"
        assert performer.tried == ["a", "b"]
        assert [(a.target, a.outcome, a.error) for a in log.attempts] == [
            ("a", "failed", type(error).__name__),
            ("b", "ok", None),
        ]
        assert log.winner == target("b")

    @pytest.mark.parametrize("error", [InvalidRequest("x", status=400), ContentFiltered("x", status=400)])
    def test_these_go_to_the_caller_unchanged(self, error: ProviderError) -> None:
        (got,), log, performer = run({"a": [error], "b": GOOD})
        assert got is error
        assert got.attempts == tuple(log.attempts)
        assert performer.tried == ["a"]
        assert log.outcome == "failed"

    @pytest.mark.parametrize("error", [TypeError("x"), ValueError("x"), ConfigError("x"), ZeroDivisionError()])
    def test_errors_of_our_own_never_fail_over(self, error: Exception) -> None:
        (got,), log, performer = run({"a": [error], "b": GOOD})
        assert got is error
        assert performer.tried == ["a"]
        assert (log.outcome, log.attempts[0].error, log.attempts[0].error_text) == (
            "failed",
            type(error).__name__,
            None,
        )

    def test_another_key_is_needed_after_a_refused_one(self, caplog: pytest.LogCaptureFixture) -> None:
        same = {"provider": "openai", "api_key": "env:ONE"}
        targets = target("a", **same), target("b", **same), target("c", provider="openai", api_key="env:TWO")
        with caplog.at_level(logging.WARNING, "agentroute"):
            got, log, performer = run({"a": [AuthenticationFailed("no")], "b": GOOD, "c": GOOD}, *targets)
        assert performer.tried == ["a", "c"]
        assert got[-1] == "lo"
        assert log.warnings == ["AuthenticationFailed: a"]
        assert "check its key" in caplog.text

    def test_native_models_hold_keys_of_their_own(self) -> None:
        targets = (target(name, provider="openai", dialect="native") for name in ("a", "b"))
        got, _, performer = run({"a": [AuthenticationFailed("no")], "b": GOOD}, *targets)
        assert performer.tried == ["a", "b"]
        assert got[-1] == "lo"

    def test_only_a_larger_window_after_a_conversation_too_long(self) -> None:
        targets = (
            target("a", context_window=8),
            target("b", context_window=8),
            target("c"),
            target("d", context_window=9),
        )
        error = ContextTooLong("x", status=400)
        got, _, performer = run({"a": [error], "b": GOOD, "c": GOOD, "d": GOOD}, *targets)
        assert performer.tried == ["a", "d"]
        assert got[-1] == "lo"

    def test_no_larger_window_hands_the_error_on(self) -> None:
        error = ContextTooLong("x", status=400)
        (got,), _, performer = run({"a": [error], "b": GOOD})
        assert got is error
        assert performer.tried == ["a"]


class TestAfterTheFirstContent:
    @pytest.mark.parametrize("error", [ConnectionFailed("cut"), RateLimited("x"), InvalidRequest("x")])
    def test_never_another_model(self, error: ProviderError) -> None:
        got, log, performer = run({"a": [*GOOD[:2], error], "b": GOOD})
        *payloads, last = got
        assert payloads == ["started", "hel"]
        assert isinstance(last, StreamInterrupted)
        assert last.cause == f"{type(error).__name__}: {error}"
        assert last.attempts == tuple(log.attempts)
        assert performer.tried == ["a"]
        assert (log.outcome, log.attempts[0].outcome, log.winner) == ("interrupted", "interrupted", target("a"))

    def test_the_count_so_far_is_kept_and_priced(self) -> None:
        priced = target("a", price=Price(Decimal(1), Decimal(2)))
        got, log, _ = run({"a": [content("x"), Item("u", False, COUNT), ConnectionFailed("cut")]}, priced)
        assert isinstance(got[-1], StreamInterrupted)
        assert (log.usage, log.attempts[0].cost) == (COUNT, Decimal(3))

    def test_an_empty_answer_is_an_answer(self) -> None:
        got, log, performer = run({"a": [quiet("started"), Done(None, "stop", ("empty_response",))], "b": GOOD})
        assert got == ["started"]
        assert performer.tried == ["a"]
        assert (log.outcome, log.warnings, log.usage) == ("ok", ["empty_response"], None)


class TestEveryEndIsLogged:
    def test_abandoned(self) -> None:
        performer = Scripted({"a": [list(GOOD)]})
        log = Log()
        payloads = drive(flow(Plan((target("a"),), REQUEST), log, performer.clock), performer, performer.clock)
        assert next(payloads) == "started"
        payloads.close()
        assert (log.outcome, [a.outcome for a in log.attempts]) == ("abandoned", ["abandoned"])
        assert performer.closed == ["a"], "the connection is freed"

    @pytest.mark.parametrize("script", [[KeyboardInterrupt()], [content("x"), KeyboardInterrupt()]])
    def test_interrupted_by_the_user(self, script: list[Any]) -> None:
        performer = Scripted({"a": [script], "b": [list(GOOD)]})
        log = Log()
        plan = Plan((target("a"), target("b")), REQUEST)
        with pytest.raises(KeyboardInterrupt):
            list(drive(flow(plan, log, performer.clock), performer, performer.clock))
        assert performer.tried == ["a"]
        assert log.outcome == "cancelled"

    @pytest.mark.parametrize("raised", [KeyboardInterrupt(), Overloaded("busy")])
    def test_no_frame_of_the_performer_is_in_the_traceback(self, raised: BaseException) -> None:
        class HoldsAKey:
            def perform(self, attempt: Try) -> Iterator[Item | Done]:
                key = "sk-canary"
                if key:
                    raise raised
                yield Done()

        clock = FrozenClock()
        with pytest.raises(type(raised)) as caught:
            list(drive(flow(Plan((target("a"),), REQUEST), Log(), clock), HoldsAKey(), clock))
        assert [entry.name for entry in caught.traceback][-1] != "perform"
        assert not any("key" in entry.frame.f_locals for entry in caught.traceback)

    async def test_a_cancelled_task(self) -> None:
        class Hangs:
            async def perform(self, attempt: Try) -> AsyncIterator[Item | Done]:
                started.set()
                await asyncio.sleep(60)
                yield Done()

        async def call() -> None:
            async with aclosing(adrive(flow(plan, log, SystemClock()), Hangs(), SystemClock())) as payloads:
                async for _ in payloads:
                    pass

        started = asyncio.Event()
        log = Log()
        plan = Plan((target("a"), target("b")), REQUEST)
        task = asyncio.create_task(call())
        await started.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (log.outcome, [a.target for a in log.attempts]) == ("cancelled", ["a"])

    async def test_cancelled_while_it_waits(self) -> None:
        performer = AsyncScripted(Scripted({"a": [[RateLimited("x", retry_after=5.0)]]}))
        log = Log()

        async def call() -> None:
            async for _ in adrive(flow(Plan((target("a"),), REQUEST), log, SystemClock()), performer, SystemClock()):
                pass

        task = asyncio.create_task(call())
        while not log.attempts:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (log.outcome, len(log.attempts)) == ("cancelled", 1)

    @given(
        st.lists(st.sampled_from(["quiet", "content", "usage", "fail", "bug", "done"]), max_size=6), st.integers(0, 7)
    )
    def test_whatever_happens_where(self, script: list[str], leave_after: int) -> None:
        steps = {
            "quiet": quiet("q"),
            "content": content("c"),
            "usage": Item("u", False, COUNT),
            "fail": ConnectionFailed("x"),
            "bug": TypeError("x"),
            "done": Done(COUNT, "stop"),
        }
        performer = Scripted({"a": [[steps[step] for step in script]], "b": [list(GOOD)]})
        log = Log()
        plan = Plan((target("a"), target("b")), REQUEST)
        got: list[Any] = []
        payloads = drive(flow(plan, log, performer.clock), performer, performer.clock)
        try:
            for payload in payloads:
                got.append(payload)
                if len(got) > leave_after:
                    break
        except Exception as error:
            got.append(error)
        payloads.close()
        assert log.outcome in ("ok", "failed", "interrupted", "abandoned")
        assert [attempt.target for attempt in log.attempts] == performer.tried == performer.closed
        answers = [a.target for a in log.attempts if a.outcome == "ok"]
        assert (answers == [log.winner.name] if log.winner else answers == []) or log.outcome != "ok"
        first = next((i for i, payload in enumerate(got) if payload == "c"), None)
        if first is not None and "b" in performer.tried:
            pytest.fail("another model was asked after the first content")


class TestTime:
    def test_a_retry_after_is_waited_out_at_the_last_target(self) -> None:
        performer = Scripted(
            {"a": [[RateLimited("x", retry_after=2.0)]], "b": [[RateLimited("x", retry_after=1.0)], GOOD]}
        )
        got, log = outcome(performer, (target("a"), target("b")), deadline=10)
        assert got[-1] == "lo"
        assert performer.tried == ["a", "b", "b"]
        assert performer.clock.slept == [1.0]
        assert [a.outcome for a in log.attempts] == ["failed", "failed", "ok"]

    @pytest.mark.parametrize(("pause", "deadline"), [(3600.0, None), (5.0, 4.0), (4.0, 4.0), (None, None)])
    def test_but_only_where_it_fits(self, pause: float | None, deadline: float | None) -> None:
        performer = Scripted({"a": [[RateLimited("x", status=429, retry_after=pause)]]})
        (got,), _ = outcome(performer, (target("a"),), deadline)
        assert isinstance(got, RateLimited)
        assert performer.clock.slept == []

    def test_and_once(self) -> None:
        performer = Scripted({"a": [[RateLimited("x", retry_after=1.0)], [RateLimited("y", retry_after=1.0)]]})
        (got,), log = outcome(performer, (target("a"),), deadline=60)
        assert isinstance(got, RateLimited)
        assert len(log.attempts) == 2

    def test_no_target_is_tried_after_the_deadline(self) -> None:
        got, log, performer = run({"a": [5.0, ProviderTimeout("slow")], "b": GOOD}, deadline=5)
        assert isinstance(got[0], ProviderTimeout)
        assert performer.tried == ["a"]
        assert log.attempts[0].duration_s == 5.0

    def test_a_silent_target_may_use_half_of_what_is_left(self) -> None:
        silent = [ProviderTimeout("x")]
        _, _, performer = run({"a": [4.0, *silent], "b": silent, "c": GOOD}, deadline=12)
        assert [attempt.timeouts.first_content for attempt in performer.tries] == [6.0, 4.0, 60.0]
        assert [attempt.timeouts.connect for attempt in performer.tries] == [5.0, 4.0, 5.0]
        assert len({attempt.deadline for attempt in performer.tries}) == 1

    def test_times_of_an_attempt(self) -> None:
        _, log, _ = run({"a": [1.0, Overloaded("x")], "b": [2.0, content("x"), 3.0, Done()]})
        assert [(a.started_s, a.first_content_s, a.duration_s) for a in log.attempts] == [(0, None, 1), (1, 2, 5)]


class TestTheFinalError:
    def test_lists_each_attempt(self) -> None:
        (got,), log, _ = run({"a": [1.0, Overloaded("busy", status=503)], "b": [ConnectionFailed("refused")]})
        assert isinstance(got, AllAttemptsFailed)
        assert got.attempts == tuple(log.attempts)
        assert got.cause == "ConnectionFailed: refused"
        assert "'a' (a/m) Overloaded 503 after 1000 ms: busy" in str(got)
        assert "'b' (b/m) ConnectionFailed after 0 ms: refused" in str(got)

    def test_all_rate_limited_gives_the_shortest_pause(self) -> None:
        scripts: Any = {name: [RateLimited("x", status=429, retry_after=s)] for name, s in (("a", 90.0), ("b", 80.0))}
        (got,), _, _ = run(scripts)
        assert (got.status, got.retry_after) == (429, 80.0)

    def test_one_target_raises_its_own_error(self) -> None:
        error = ConnectionFailed("refused")
        (got,), log, _ = run({"a": [error]})
        assert got is error
        assert got.attempts == tuple(log.attempts)

    @pytest.mark.parametrize(
        ("error", "billed"),
        [
            (Overloaded("x", status=502), True),
            (ProviderTimeout("x", status=504), True),
            (Overloaded("x", status=503), False),
            (ConnectionFailed("x"), False),
        ],
    )
    def test_possible_duplicate_cost(self, error: ProviderError, billed: bool) -> None:
        _, log, _ = run({"a": [error], "b": GOOD})
        assert log.attempts[0].possible_duplicate_cost is billed

    def test_a_performer_that_ends_without_done_is_a_bug(self) -> None:
        (*_, got), log, _ = run({"a": [content("x")]})
        assert isinstance(got, TypeError)
        assert log.outcome == "interrupted"


# --- over sockets ----------------------------------------------------------------------------------------------------

QUICK = Timeouts(connect=2.0, first_content=5.0, between_events=5.0)


@dataclass
class Ran:
    """What came of one call: the text, the error, the log."""

    text: str
    error: BaseException | None
    log: Log


def plan_of(targets: Iterable[Target]) -> Plan:
    return Plan(tuple(targets), REQUEST, stream=True, timeouts=QUICK)


class HttpxSync:
    """Our own transport, plain."""

    def call(self, targets: Iterable[Target], leave_after: int | None = None) -> Ran:
        clock, log, events, error = SystemClock(), Log(), [], None
        performer = HttpPerformer()
        with closing(performer), closing(drive(flow(plan_of(targets), log, clock), performer, clock)) as payloads:
            try:
                for event in payloads:
                    events.append(event)
                    if len(events) == leave_after:
                        break
            except Exception as raised:
                error = raised
        return Ran(fold(events).text, error, log)


class HttpxAsync:
    """Our own transport, on an event loop."""

    def call(self, targets: Iterable[Target], leave_after: int | None = None) -> Ran:
        async def main() -> Ran:
            clock, log, events, error = SystemClock(), Log(), [], None
            performer = AsyncHttpPerformer()
            async with aclosing(adrive(flow(plan_of(targets), log, clock), performer, clock)) as payloads:
                try:
                    async for event in payloads:
                        events.append(event)
                        if len(events) == leave_after:
                            break
                except Exception as raised:
                    error = raised
            return Ran(fold(events).text, error, log)

        return asyncio.run(main())


DRIVERS: dict[str, Callable[[], Any]] = {"httpx sync": HttpxSync, "httpx async": HttpxAsync}
"""A driver's `call(targets, leave_after)` streams one call over the chain and tells what came of it."""


@pytest.mark.parametrize("driver", DRIVERS)
class TestOverSockets:
    """The same table for every driver: the second target is healthy."""

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
        ],
        ids=["503", "429", "no byte", "reset", "head only", "cut before content", "reset before content", "early end"],
    )
    def test_before_the_first_content_the_next_target_answers(self, driver: str, script: Any, error: str) -> None:
        with Loopback(script) as sick, Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([sick.target("a"), healthy.target("b")])
        assert (ran.text, ran.error, ran.log.outcome) == ("hello world", None, "ok")
        assert [(a.target, a.outcome, a.error) for a in ran.log.attempts] == [("a", "failed", error), ("b", "ok", None)]
        assert ran.log.usage == Usage(5, 2)
        assert (len(sick.requests), len(healthy.requests)) == (1, 1)

    def test_connection_refused(self, driver: str) -> None:
        with Loopback([]) as closed:
            nobody = closed.target("a")
        with Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([nobody, healthy.target("b")])
        assert (ran.text, ran.error) == ("hello world", None)
        assert (ran.log.attempts[0].error, ran.log.attempts[0].possible_duplicate_cost) == ("ConnectionFailed", False)

    @pytest.mark.parametrize("end", [[], ["reset"], [b"0\r\n\r\n"]], ids=["cut", "reset", "early end"])
    def test_after_the_first_content_no_other_target_is_asked(self, driver: str, end: list[Any]) -> None:
        with Loopback([SSE_HEAD, chunk(ROLE), chunk(HELLO), 0.05, *end]) as sick, Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([sick.target("a"), healthy.target("b")])
        assert ran.text == "hello"
        assert isinstance(ran.error, StreamInterrupted)
        assert [(a.target, a.outcome) for a in ran.log.attempts] == [("a", "interrupted")]
        assert (ran.log.outcome, ran.log.winner.name) == ("interrupted", "a")
        assert healthy.requests == []

    def test_an_abandoned_stream_frees_the_connection(self, driver: str) -> None:
        with Loopback([SSE_HEAD, chunk(ROLE), chunk(HELLO), "hang"]) as hanging, Loopback([ANSWER]) as healthy:
            ran = DRIVERS[driver]().call([hanging.target("a"), healthy.target("b")], leave_after=2)
            assert hanging.gone.wait(5), "the provider sees that the caller has gone"
        assert (ran.text, ran.error, ran.log.outcome) == ("hello", None, "abandoned")
        assert [(a.target, a.outcome) for a in ran.log.attempts] == [("a", "abandoned")]
        assert healthy.requests == []


@pytest.mark.parametrize("steps", [[], [SSE_HEAD, chunk(ROLE)]], ids=["no byte", "before content"])
async def test_cancelled_over_a_socket(steps: list[Any]) -> None:
    log = Log()
    performer, clock = AsyncHttpPerformer(), SystemClock()
    with Loopback([*steps, "hang"]) as hanging, Loopback([ANSWER]) as healthy:

        async def call() -> None:
            plan = plan_of([hanging.target("a"), healthy.target("b")])
            async with aclosing(adrive(flow(plan, log, clock), performer, clock)) as payloads:
                async for _ in payloads:
                    pass

        task = asyncio.create_task(call())
        while not hanging.requests:
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await asyncio.to_thread(hanging.gone.wait, 5)
    await performer.aclose()
    assert (log.outcome, [(a.target, a.outcome) for a in log.attempts]) == ("cancelled", [("a", "cancelled")])
    assert healthy.requests == []
