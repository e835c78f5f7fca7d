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
    Capabilities,
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
    Unsupported,
    Usage,
)
from agentroute.events import fold
from agentroute.failover.breaker import Breakers
from agentroute.failover.drivers import adrive, drive
from agentroute.failover.effects import Done, Item, SystemClock, Timeouts, Try
from agentroute.failover.flow import Log, Plan, flow
from agentroute.testing import FrozenClock
from agentroute.transport import AsyncHttpPerformer, HttpPerformer
from tests.loopback import ANSWER, HELLO, ROLE, SSE_HEAD, Loopback, chunk, refusal

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


def run(
    scripts: dict[str, Any], *targets: Target, deadline: float | None = None, **plan: Any
) -> tuple[Any, Log, Scripted]:
    """What the caller got (payloads, and the error or None at the end), the log, and the performer.

    A script is one attempt's steps, or a list of such lists, one for each attempt.
    """
    performer = Scripted({name: s if s and isinstance(s[0], list) else [s] for name, s in scripts.items()})
    return (*outcome(performer, targets or tuple(map(target, scripts)), deadline, **plan), performer)


def outcome(
    performer: Scripted,
    targets: tuple[Target, ...],
    deadline: float | None = None,
    sick: Callable[[Breakers], None] = lambda _: None,
    **plan: Any,
) -> tuple[Any, Log]:
    """The same call with both drivers, which must agree in everything. `sick` opens circuits beforehand."""
    twin = Scripted({name: [list(steps) for steps in script] for name, script in performer.scripts.items()})
    got, log = plain(Plan(targets, REQUEST, deadline=deadline, breakers=circuits(sick), **plan), performer)
    async_got, async_log = on_a_loop(Plan(targets, REQUEST, deadline=deadline, breakers=circuits(sick), **plan), twin)
    assert [repr(each) for each in got] == [repr(each) for each in async_got]
    assert log == async_log
    assert (performer.clock.slept, performer.tried, performer.closed) == (twin.clock.slept, twin.tried, twin.closed)
    return got, log


def circuits(sick: Callable[[Breakers], None]) -> Breakers:
    breakers = Breakers(random=lambda: 0.5)
    sick(breakers)
    return breakers


def plain(plan: Plan, performer: Scripted) -> tuple[list[Any], Log]:
    got: list[Any] = []
    log = Log()
    try:
        for payload in drive(flow(plan, log, performer.clock), performer, performer.clock):
            got.append(payload)
    except Exception as error:
        got.append(error)
    return got, log


def on_a_loop(plan: Plan, performer: Scripted) -> tuple[list[Any], Log]:
    got: list[Any] = []
    log = Log()

    async def main() -> None:
        try:
            async for payload in adrive(flow(plan, log, performer.clock), AsyncScripted(performer), performer.clock):
                got.append(payload)
        except Exception as error:
            got.append(error)

    asyncio.run(main())
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
            Unsupported("x", status=400),
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


def refused(text: str, status: int = 400) -> Unsupported:
    return Unsupported(text, status=status)


class TestWhatATargetDoesNotTake:
    def test_it_is_loud_and_the_circuit_stays(self, caplog: pytest.LogCaptureFixture) -> None:
        with caplog.at_level(logging.WARNING, "agentroute"):
            got, log, _ = run({"a": [refused("no tools here")], "b": GOOD})
        assert got[-1] == "lo"
        assert log.warnings == ["Unsupported: a"]
        assert "no tools here; check its settings" in caplog.text

    def test_another_key_may_belong_to_another_account(self) -> None:
        keys = target("a", api_key=["env:ONE", "env:TWO"])
        got, _, performer = run({"a": [[refused("organization disabled")], GOOD]}, keys)
        assert got[-1] == "lo"
        assert performer.tried == ["a", "a"]

    def test_the_caller_gets_it_only_if_all_refuse(self) -> None:
        last = refused("b refuses")
        (got,), log, performer = run({"a": [refused("a refuses")], "b": [last]})
        assert got is last
        assert got.attempts == tuple(log.attempts)
        assert performer.tried == ["a", "b"]

    @pytest.mark.parametrize("other", [Overloaded("x"), BadResponse("x"), RateLimited("x")])
    def test_among_other_errors_it_is_one_of_the_attempts(self, other: ProviderError) -> None:
        (got,), log, _ = run({"a": [refused("x")], "b": [[other], [other]]})
        assert isinstance(got, AllAttemptsFailed)
        assert [attempt.error for attempt in log.attempts][:2] == ["Unsupported", type(other).__name__]

    @pytest.mark.parametrize("stop", [InvalidRequest("x"), ContentFiltered("x"), ContextTooLong("x")])
    def test_what_stops_a_call_stops_it_here_too(self, stop: ProviderError) -> None:
        warm = target("a", settings={"top_p": 0.1})
        (got,), _, performer = run({"a": [refused("`top_p` is not supported")], "b": [stop]}, warm, target("b"))
        assert got is stop
        assert performer.tried == ["a", "b"]

    def test_if_nobody_else_is_left_it_is_asked_without_what_it_refused(self) -> None:
        warm = target("a", settings={"top_p": 0.1, "verbosity": "low"})
        refuses = refused("`top_p` is not supported with this model")
        got, log, performer = run({"a": [[refuses], GOOD], "b": [refused("organization disabled")]}, warm, target("b"))
        assert got == ["started", "hel", "lo"]
        assert performer.tried == ["a", "b", "a"]
        assert performer.tries[-1].target.settings == {"verbosity": "low"}
        assert [attempt.changes for attempt in log.attempts] == [
            (),
            (),
            ("`top_p` left out: the target refused it",),
        ]
        assert log.winner is not None
        assert log.winner.name == "a"

    def test_one_setting_after_the_other_and_never_the_same_again(self) -> None:
        warm = target("a", settings={"top_p": 0.1, "verbosity": "low"})
        first, second = refused("`top_p` is not supported"), refused("`verbosity` is not supported")
        got, log, _ = run({"a": [[first], [second], GOOD]}, warm)
        assert got[-1] == "lo"
        assert len(log.attempts[-1].changes) == 2
        (got,), _, performer = run({"a": [[first], [first]]}, warm)
        assert got is first
        assert performer.tried == ["a", "a"]

    def test_a_wait_that_keeps_the_request_whole_comes_first(self) -> None:
        warm = target("a", settings={"top_p": 0.1})
        limited = RateLimited("x", retry_after=3.0)
        got, _, performer = run({"a": [refused("`top_p` is not supported")], "b": [[limited], GOOD]}, warm, target("b"))
        assert got[-1] == "lo"
        assert performer.tried == ["a", "b", "b"]


class TestModelsThatReason:
    REASONS = Capabilities(reasoning=True)

    def limits(self, *targets: Target, deadline: float | None = None) -> list[Timeouts]:
        scripts: dict[str, Any] = {each.name: [ProviderTimeout("x")] for each in targets}
        _, _, performer = run(scripts, *targets, deadline=deadline)
        return [attempt.timeouts for attempt in performer.tries]

    def test_they_have_a_limit_of_their_own(self) -> None:
        given, other = self.limits(target("a", capabilities=self.REASONS), target("b"))
        assert (given.first_content, given.whole_answer, given.between_events) == (300.0, 300.0, 60.0)
        assert other == Timeouts()

    def test_of_a_ready_model_nobody_sees_when_it_thinks(self) -> None:
        (given,) = self.limits(target("a", capabilities=self.REASONS, dialect="native"))
        assert given.between_events == 300.0

    def test_a_larger_limit_of_the_user_holds(self) -> None:
        assert Timeouts(first_content=900, reasoning=20).for_reasoning().first_content == 900
        assert Timeouts(first_content=5, reasoning=20).for_reasoning().first_content == 20

    def test_half_of_what_is_left_is_still_the_most(self) -> None:
        first, last = self.limits(target("a", capabilities=self.REASONS), target("b"), deadline=100.0)
        assert (first.first_content, first.reasoning) == (50.0, 300.0), "who is seen to think is not given up"
        assert last.first_content == 60.0


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


def limited(seconds: float | None = None) -> RateLimited:
    return RateLimited("slow down", status=429, retry_after=seconds)


def busy(status: int = 503, should_retry: bool | None = None) -> Overloaded:
    error = Overloaded("busy", status=status)
    error.should_retry = should_retry
    return error


class TestRetries:
    def test_one_target_alone_is_tried_once_more(self) -> None:
        got, log, performer = run({"a": [[busy(500)], GOOD]})
        assert got[-1] == "lo"
        assert performer.clock.slept == [0.375], "between 0.25 and 0.5 s"
        assert [a.outcome for a in log.attempts] == ["failed", "ok"]

    def test_and_no_more(self) -> None:
        (got,), log, performer = run({"a": [[busy(500)], [busy(503)]]})
        assert isinstance(got, Overloaded)
        assert (len(log.attempts), len(performer.clock.slept)) == (2, 1)

    @pytest.mark.parametrize("error", [busy(500, should_retry=False), ProviderTimeout("x", status=408), limited()])
    def test_not_where_the_provider_says_no_or_it_would_not_help(self, error: ProviderError) -> None:
        (got,), log, performer = run({"a": [error]})
        assert got is error
        assert (len(log.attempts), performer.clock.slept) == (1, [])

    def test_not_while_another_target_remains(self) -> None:
        got, _, performer = run({"a": [busy(500)], "b": GOOD})
        assert got[-1] == "lo"
        assert (performer.tried, performer.clock.slept) == (["a", "b"], [])

    def test_the_last_of_several_is_tried_once_more(self) -> None:
        _, _, performer = run({"a": [busy()], "b": [[busy()], GOOD]})
        assert performer.tried == ["a", "b", "b"]

    def test_a_conflict_is_tried_again_at_once_and_then_the_next(self) -> None:
        got, _, performer = run({"a": [[busy(409)], [busy(409)]], "b": GOOD})
        assert got[-1] == "lo"
        assert (performer.tried, performer.clock.slept) == (["a", "a", "b"], [0.375])
        _, log, _ = run({"a": [[busy(409)], [busy(409)]]})
        assert len(log.attempts) == 2
        _, _, performer = run({"a": [busy(409, should_retry=False)], "b": GOOD})
        assert performer.tried == ["a", "b"]

    def test_whoever_comes_back_first_is_waited_for(self) -> None:
        got, _, performer = run({"a": [[limited(1.0)], GOOD], "b": [limited(50.0)]})
        assert got[-1] == "lo"
        assert (performer.tried, performer.clock.slept) == (["a", "b", "a"], [1.0])

    def test_but_not_with_a_key_that_was_refused_meanwhile(self) -> None:
        same = {"provider": "p", "api_key": "env:ONE"}
        targets = target("a", **same), target("b", **same)
        *_, performer = run({"a": [limited(1.0)], "b": [AuthenticationFailed("no", status=401)]}, *targets)
        assert (performer.tried, performer.clock.slept) == (["a", "b"], [])

    @pytest.mark.parametrize("error", [busy(500), busy(409), limited(0.2)])
    def test_no_wait_reaches_beyond_the_deadline(self, error: ProviderError) -> None:
        (got,), _, performer = run({"a": [0.9, error]}, deadline=1.0)
        assert got is error
        assert performer.clock.slept == []

    def test_nothing_starts_after_the_deadline(self) -> None:
        (got,), log, performer = run({"a": GOOD}, deadline=0.0)
        assert isinstance(got, ProviderTimeout)
        assert (performer.tried, log.attempts, log.outcome) == ([], [], "failed")


class TestSeveralKeys:
    KEYED = target("a", api_key=["env:ONE", "env:TWO", "env:THREE"])

    def keys(self, performer: Scripted) -> list[str]:
        return [str(attempt.target.api_key) for attempt in performer.tries]

    @pytest.mark.parametrize(
        "error", [limited(), QuotaExhausted("x", status=429), AuthenticationFailed("x", status=401)], ids=repr
    )
    def test_another_key_of_the_same_target_comes_next(self, error: ProviderError) -> None:
        got, log, performer = run({"a": [[error], GOOD], "b": GOOD}, self.KEYED, target("b"))
        assert got[-1] == "lo"
        assert self.keys(performer) == ["Secret.env('ONE')", "Secret.env('TWO')"]
        assert [a.target for a in log.attempts] == ["a", "a"]

    @pytest.mark.parametrize("error", [busy(), ProviderTimeout("x"), BadResponse("x"), ModelNotFound("x")], ids=repr)
    def test_what_no_other_key_would_help_skips_them(self, error: ProviderError) -> None:
        _, _, performer = run({"a": [error], "b": GOOD}, self.KEYED, target("b"))
        assert performer.tried == ["a", "b"]

    def test_a_key_whose_circuit_is_open_comes_last(self) -> None:
        first, *_ = self.KEYED.each_key()
        scripts = {"a": [[limited(90.0)], [limited(90.0)], GOOD]}
        got, log, performer = run(scripts, self.KEYED, sick=opener((first, limited(40.0))))
        assert got[-1] == "lo"
        assert self.keys(performer) == [f"Secret.env({name!r})" for name in ("TWO", "THREE", "ONE")]
        assert log.warnings == ["circuit_open: a"]


def opener(*sick: tuple[Target, ProviderError]) -> Callable[[Breakers], None]:
    def prepare(breakers: Breakers) -> None:
        for whom, error in sick:
            breakers.force(whom, 0.0).failure(error, 0.0)

    return prepare


A, B, C = map(target, "abc")


class TestBreakers:
    def test_an_open_circuit_is_passed_over_and_named(self) -> None:
        got, log, performer = run({"a": GOOD, "b": GOOD}, sick=opener((A, limited(9.0))))
        assert got[-1] == "lo"
        assert performer.tried == ["b"]
        assert log.warnings == ["circuit_open: a"]

    def test_and_is_still_tried_where_the_others_fail(self) -> None:
        got, _, performer = run({"a": GOOD, "b": [busy()]}, sick=opener((A, limited(9.0))))
        assert got[-1] == "lo"
        assert performer.tried == ["b", "a"]

    def test_where_all_are_open_they_come_in_the_order_in_which_they_are_back(self) -> None:
        sick = opener((A, limited(9.0)), (B, limited(3.0)), (C, limited(6.0)))
        (got,), _, performer = run({name: [ConnectionFailed(name)] for name in "abc"}, sick=sick)
        assert performer.tried == ["b", "c", "a"]
        assert isinstance(got, AllAttemptsFailed), "an error of the providers, not ours"

    def test_each_call_counts_and_success_after_the_wait_is_the_probe(self) -> None:
        breakers, clock = Breakers(), FrozenClock()

        def call(*script: Any) -> list[str]:
            performer = Scripted({"a": [list(script)], "b": [list(GOOD)]}, clock)
            list(drive(flow(Plan((A, B), REQUEST, breakers=breakers), Log(), clock), performer, clock))
            return performer.tried

        assert [call(busy()) for _ in range(4)] == [["a", "b"]] * 3 + [["b"]]
        clock.advance(5.0)
        assert [call(*GOOD) for _ in range(11)] == [["a"]] * 11
        assert breakers.open_until(A, clock.monotonic()) is None

    def test_a_cut_after_the_first_content_counts_too(self) -> None:
        breakers, clock = Breakers(), FrozenClock()
        for _ in range(3):
            performer = Scripted({"a": [[content("x"), ConnectionFailed("cut")]]}, clock)
            with pytest.raises(StreamInterrupted):
                list(drive(flow(Plan((A,), REQUEST, breakers=breakers), Log(), clock), performer, clock))
        assert breakers.open_until(A, clock.monotonic()) is not None

    @pytest.mark.parametrize("script", [[KeyboardInterrupt()], [TypeError("ours")], [InvalidRequest("x")], list(GOOD)])
    @pytest.mark.parametrize("loop", [False, True], ids=["sync", "async"])
    def test_a_probe_that_says_nothing_gives_its_permit_back(self, script: list[Any], loop: bool) -> None:
        """Interrupted, failed by our own fault, refused for what was asked, or abandoned after the first payload."""
        breakers, clock = Breakers(), FrozenClock()
        opener((A, limited(5.0)))(breakers)
        clock.advance(5.0)
        performer = Scripted({"a": [script]}, clock)
        run = flow(Plan((A,), REQUEST, breakers=breakers), Log(), clock)

        def plain() -> None:
            with closing(drive(run, performer, clock)) as payloads:
                next(payloads)

        async def main() -> None:
            async with aclosing(adrive(run, AsyncScripted(performer), clock)) as payloads:
                await anext(payloads)

        try:
            asyncio.run(main()) if loop else plain()
        except (Exception, KeyboardInterrupt) as error:
            assert error is script[0] or isinstance(error, KeyboardInterrupt)  # noqa: PT017
        assert performer.tried == ["a"]
        assert breakers.acquire(A, clock.monotonic()) is not None

    async def test_a_cancelled_probe_gives_its_permit_back(self) -> None:
        class Hangs:
            async def perform(self, attempt: Try) -> AsyncIterator[Item | Done]:
                started.set()
                await asyncio.sleep(60)
                yield Done()

        breakers, clock, started, log = Breakers(), FrozenClock(), asyncio.Event(), Log()
        opener((A, limited(5.0)))(breakers)
        clock.advance(5.0)

        async def call() -> None:
            async with aclosing(
                adrive(flow(Plan((A, B), REQUEST, breakers=breakers), log, clock), Hangs(), clock)
            ) as run:
                await anext(run)

        task = asyncio.create_task(call())
        await started.wait()
        assert breakers.acquire(A, clock.monotonic()) is None
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert breakers.acquire(A, clock.monotonic()) is not None
        assert [(a.target, a.outcome) for a in log.attempts] == [("a", "cancelled")]


class TestFilteredContent:
    FILTERED = ContentFiltered("no", status=400)

    def test_only_those_named_for_it_are_asked(self) -> None:
        got, _, performer = run(
            {"a": [self.FILTERED], "b": GOOD, "c": [busy()], "d": GOOD},
            A,
            B,
            content_filter_fallback=(C, target("d")),
        )
        assert got[-1] == "lo"
        assert performer.tried == ["a", "c", "d"]

    def test_filtered_by_all_of_them_is_handed_on(self) -> None:
        (got,), _, performer = run({"a": [self.FILTERED], "c": [self.FILTERED]}, A, B, content_filter_fallback=(A, C))
        assert got is self.FILTERED
        assert performer.tried == ["a", "c"]


class TestTheEndOfAnAnswer:
    ANSWER: tuple[Any, ...] = (
        quiet("s"),
        content("1"),
        quiet("u"),
        content("2"),
        quiet("v"),
        quiet("end"),
        Done(COUNT),
    )

    @pytest.mark.parametrize(("leave_at", "outcome"), [("2", "abandoned"), ("end", "ok")])
    def test_leaving_at_the_last_payload_abandons_nothing(self, leave_at: str, outcome: str) -> None:
        performer, log = Scripted({"a": [list(self.ANSWER)]}), Log()
        with closing(drive(flow(Plan((A,), REQUEST), log, performer.clock), performer, performer.clock)) as payloads:
            for payload in payloads:
                if payload == leave_at:
                    break
        assert (log.outcome, [a.outcome for a in log.attempts], performer.closed) == (outcome, [outcome], ["a"])

    @pytest.mark.parametrize(("leave_at", "outcome"), [("2", "abandoned"), ("end", "ok")])
    async def test_nor_does_it_on_a_loop(self, leave_at: str, outcome: str) -> None:
        performer, log = Scripted({"a": [list(self.ANSWER)]}), Log()
        run = adrive(flow(Plan((A,), REQUEST), log, performer.clock), AsyncScripted(performer), performer.clock)
        async with aclosing(run) as payloads:
            async for payload in payloads:
                if payload == leave_at:
                    break
        assert (log.outcome, [a.outcome for a in log.attempts], log.usage) == (
            outcome,
            [outcome],
            COUNT if outcome == "ok" else None,
        )

    def test_content_is_never_held_back(self) -> None:
        """Each content reaches the caller before the performer is asked for more."""
        asked: list[str] = []

        class Watched:
            def perform(self, attempt: Try) -> Iterator[Item | Done]:
                for item in TestTheEndOfAnAnswer.ANSWER:
                    asked.append(getattr(item, "payload", "done"))
                    yield item

        clock, seen = FrozenClock(), []
        for payload in drive(flow(Plan((A,), REQUEST), Log(), clock), Watched(), clock):
            seen.append((payload, asked[-1]))
        assert seen == [("s", "1"), ("1", "1"), ("u", "2"), ("2", "2"), ("v", "end"), ("end", "done")]

    def test_what_was_held_when_it_broke_is_part_of_the_answer(self) -> None:
        got, log, _ = run({"a": [content("1"), quiet("u"), ConnectionFailed("cut")]})
        assert got[:2] == ["1", "u"]
        assert isinstance(got[2], StreamInterrupted)
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
