"""Keys that a function gives, over loopback in all four ways: when it is asked, what is sent, what is never shown."""

from __future__ import annotations

import asyncio
import copy
import logging
import pickle
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agentroute import AuthenticationFailed, ConfigError, ProviderTimeout, Router, Secret, Target
from agentroute.failover.effects import SystemClock, Timeouts
from agentroute.transport.tokens import Tokens
from tests.faults.calls import KEY, Way, aon, assert_no_canary, call, on, router, shown, target, ways
from tests.faults.calls import well_answer as answer
from tests.loopback import Loopback, refusal, within


def keys_sent(server: Loopback) -> list[str]:
    found = []
    for request in server.requests:
        head = request.partition(b"\r\n\r\n")[0].decode().splitlines()
        found += [line.split(": ", 1)[1] for line in head if line.lower().startswith("authorization")]
    return [key.removeprefix("Bearer ") for key in found]


def counting(*more: object) -> tuple[Callable[[], Any], list[str]]:
    """A function that gives another key each time, and the keys it gave."""
    given: list[str] = []

    def key() -> Any:
        given.append(f"{KEY}-{len(given) + 1}")
        return given[-1] if not more else (given[-1], *more)

    return key, given


def as_coroutine(function: Callable[[], Any]) -> Callable[[], Any]:
    async def key() -> Any:
        await asyncio.sleep(0)
        return function()

    return key


@pytest.fixture(params=["plain", "coroutine", "lambda of a coroutine"])
def kind(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    if request.param == "plain":
        return lambda function: function
    if request.param == "coroutine":
        return as_coroutine
    return lambda function: lambda: as_coroutine(function)()


Kind = Callable[[Callable[[], Any]], Callable[[], Any]]


class TestWhatIsSent:
    @ways
    def test_each_kind_of_function_in_each_way(self, way: Way, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        key, given = counting()
        with Loopback(answer(way)) as server:
            one = target(server, api_key=kind(key))
            ran = call(way, one)
        assert ran.error is None
        assert keys_sent(server) == given == [f"{KEY}-1"]
        assert_no_canary(ran, [one], caplog)

    @ways
    @pytest.mark.parametrize("end", ["seconds", "datetime", "naive datetime"])
    def test_a_key_with_an_end_is_kept_until_shortly_before(self, way: Way, kind: Kind, end: str) -> None:
        moment = datetime.now(UTC) + timedelta(hours=1)
        ends = {
            "seconds": moment.timestamp(),
            "datetime": moment,
            "naive datetime": moment.replace(tzinfo=None),
        }
        key, given = counting(ends[end])
        with Loopback(answer(way)) as server:
            self._twice(way, server, kind(key))
        assert keys_sent(server) == [f"{KEY}-1"] * 2
        assert len(given) == 1

    @ways
    def test_one_that_ends_soon_and_one_without_an_end_are_asked_for_anew(self, way: Way, kind: Kind) -> None:
        for more in ((time.time() - 1,), (None,), ()):
            key, given = counting(*more)
            with Loopback(answer(way)) as server:
                self._twice(way, server, kind(key))
            assert keys_sent(server) == given == [f"{KEY}-1", f"{KEY}-2"]

    def _twice(self, way: Way, server: Loopback, key: Callable[[], Any]) -> None:
        one = router([target(server, api_key=key)])
        if not way.asynchronous:
            assert [on(one, way).error, on(one, way).error] == [None, None]
            one.close()
            return

        async def main() -> None:
            assert [(await aon(one, way)).error, (await aon(one, way)).error] == [None, None]
            await one.aclose()

        asyncio.run(main())

    def test_a_token_may_go_elsewhere_than_a_key(self) -> None:
        key, _ = counting()
        with Loopback([refusal(403)]) as server:
            for api_key in (key, "the-key"):
                call(
                    Way(False, False),
                    target(server, provider="azure", api_key=api_key),
                )
        by_function, literal = (request.lower() for request in server.requests)
        assert b"authorization: bearer sk-canary" in by_function
        assert b"\r\napi-key:" not in by_function
        assert b"\r\napi-key: the-key" in literal
        assert b"authorization" not in literal

    def test_a_function_may_stand_among_several_keys(self) -> None:
        key, _ = counting()
        with Loopback(lambda n: [refusal(401)] if n == 1 else answer(Way(False, False))) as server:
            ran = call(Way(False, False), target(server, api_key=["sk-old", key]))
        assert ran.error is None
        assert keys_sent(server) == ["sk-old", f"{KEY}-1"]


class TestARefusedKey:
    @ways
    def test_is_asked_for_once_more(self, way: Way, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
        key, given = counting(time.time() + 3600)
        with Loopback(lambda n: [refusal(401)] if n == 1 else answer(way)) as server:
            one = target(server, api_key=kind(key))
            ran = call(way, one)
        assert ran.error is None
        assert keys_sent(server) == given == [f"{KEY}-1", f"{KEY}-2"]
        assert len(ran.decision.attempts) == 1  # type: ignore[union-attr]
        assert_no_canary(ran, [one], caplog)

    @ways
    def test_and_then_comes_the_next_target(self, way: Way, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO, logger="httpcore2")
        key, given = counting(time.time() + 3600)
        quoting = refusal(401, message=f"bad key {KEY}-1 or {KEY}-2", x_request_id=f"{KEY}-2")
        with Loopback([quoting]) as server, Loopback(answer(way)) as well:
            targets = (target(server, api_key=kind(key)), target(well, "well", rank=2))
            ran = call(way, *targets)
        assert ran.error is None
        assert keys_sent(server) == given
        assert len(given) == 2
        assert ran.tried == [("sick", "AuthenticationFailed"), ("well", None)]
        assert_no_canary(ran, targets, caplog)

    @ways
    def test_is_not_sent_again_if_the_function_has_no_other(self, way: Way) -> None:
        asked = []
        with Loopback([refusal(401)]) as server:
            ran = call(way, target(server, api_key=lambda: asked.append(1) or KEY))
        assert isinstance(ran.error, AuthenticationFailed)
        assert ran.error.status == 401
        assert (len(asked), len(server.requests)) == (2, 1)

    @ways
    def test_of_another_kind_is_not_asked_for_again(self, way: Way) -> None:
        with Loopback([refusal(401)]) as server:
            ran = call(way, target(server))
        assert isinstance(ran.error, AuthenticationFailed)
        assert len(server.requests) == 1

    @ways
    def test_never_goes_through_a_redirect(self, way: Way) -> None:
        with Loopback([]) as elsewhere:
            moved = f"HTTP/1.1 307 X\r\nlocation: {elsewhere.base_url}\r\ncontent-length: 0\r\n\r\n".encode()
            with Loopback([moved]) as server:
                ran = call(way, target(server, api_key=counting()[0]))
        assert ran.error is not None
        assert (len(server.requests), elsewhere.requests) == (1, [])


class Boom(Exception):
    pass


def raising() -> str:
    raise Boom(f"cannot refresh {KEY}")


def exiting() -> str:
    raise SystemExit(KEY)


class TestAFunctionThatFails:
    @ways
    @pytest.mark.parametrize(
        ("key", "says"),
        [
            (raising, "raised Boom"),
            (exiting, "raised SystemExit"),
            (lambda: None, "returned a NoneType"),
            (lambda: "", "returned an empty text"),
            (lambda: b"sk", "returned a bytes"),
            (lambda: (KEY, "tomorrow"), "returned an end of type str"),
            (lambda: (KEY, 3600), "returned 3600 as the key's end"),
            (lambda: (KEY, True), "returned an end of type bool"),
            (lambda: (KEY, 1, 2), "returned a tuple"),
        ],
    )
    def test_the_next_target_is_asked_and_its_words_are_not_shown(
        self, way: Way, key: Any, says: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with Loopback(answer(way)) as never, Loopback(answer(way)) as well:
            targets = (target(never, api_key=key), target(well, "well", rank=2))
            ran = call(way, *targets)
        assert ran.error is None
        assert never.requests == []
        assert ran.tried == [("sick", "AuthenticationFailed"), ("well", None)]
        assert says in ran.first.error_text
        assert_no_canary(ran, targets, caplog)

    @ways
    def test_alone_the_error_is_the_callers(self, way: Way, kind: Kind, caplog: pytest.LogCaptureFixture) -> None:
        with Loopback(answer(way)) as never:
            one = target(never, api_key=kind(raising))
            ran = call(way, one)
        assert isinstance(ran.error, AuthenticationFailed)
        assert str(ran.error) == "'sick': its `api_key` function raised Boom"
        assert (ran.error.__cause__, ran.error.__context__) == (None, None)
        assert_no_canary(ran, [one], caplog)

    @ways
    def test_one_that_hangs_is_bounded_by_the_connect_limit(self, way: Way) -> None:
        hanging = threading.Event()
        try:
            with Loopback(answer(way)) as never, Loopback(answer(way)) as well:
                targets = (
                    target(never, api_key=lambda: hanging.wait(30) and ""),
                    target(well, "well", rank=2),
                )
                ran = call(way, *targets, timeouts=Timeouts(connect=0.05))
        finally:
            hanging.set()
        assert ran.error is None
        assert ran.tried == [("sick", "ProviderTimeout"), ("well", None)]
        assert "gave no key within" in ran.first.error_text

    @ways
    def test_a_space_in_the_key_is_refused_without_showing_it(self, way: Way) -> None:
        with Loopback(answer(way)) as never:
            ran = call(way, target(never, api_key=lambda: f"{KEY} "))
        assert isinstance(ran.error, ConfigError)
        assert KEY not in shown(ran.error)


class TestOneRefreshAtATime:
    def test_threads_and_tasks_share_it(self) -> None:
        running: list[int] = []
        most: list[int] = []
        lock = threading.Lock()
        gate = threading.Event()

        def key() -> tuple[str, float]:
            with lock:
                running.append(1)
                most.append(len(running))
            gate.wait(5)
            with lock:
                running.pop()
            return KEY, time.time() + 3600

        secret = Secret.call(key)
        found: list[Secret] = []
        threads = [
            threading.Thread(target=lambda: found.append(Tokens(SystemClock()).key(secret, "a", within(5.0))))
            for _ in range(5)
        ]
        for thread in threads:
            thread.start()

        async def main() -> list[Secret]:
            tokens = Tokens(SystemClock())
            tasks = [asyncio.create_task(tokens.akey(secret, "a", within(5.0))) for _ in range(5)]
            await asyncio.sleep(0)
            # The loop is free while the function blocks its thread.
            gate.set()
            return await asyncio.gather(*tasks)

        found += asyncio.run(main())
        for thread in threads:
            thread.join(5)
        assert len(found) == 10
        assert {one.reveal() for one in found} == {KEY}
        assert max(most) == 1

    def test_who_is_cancelled_does_not_end_it_for_others(self) -> None:
        async def main() -> str:
            go = asyncio.Event()
            asked = []

            async def key() -> str:
                asked.append(1)
                await go.wait()
                return KEY

            secret, tokens = Secret.call(key), Tokens(SystemClock())
            first = asyncio.create_task(tokens.akey(secret, "a", within(5.0)))
            second = asyncio.create_task(tokens.akey(secret, "a", within(5.0)))
            while not asked:
                await asyncio.sleep(0.001)
            first.cancel()
            await asyncio.sleep(0)
            go.set()
            found = await second
            assert first.cancelled()
            assert len(asked) == 1
            return found.reveal()

        assert asyncio.run(main()) == KEY

    def test_a_loop_that_ended_in_the_middle_is_no_obstacle(self) -> None:
        async def never() -> str:
            await asyncio.sleep(3600)
            return ""

        answers: Iterator[Any] = iter([never(), KEY])
        secret, tokens = Secret.call(lambda: next(answers)), Tokens(SystemClock())

        async def main() -> None:
            with pytest.raises(ProviderTimeout):
                await tokens.akey(secret, "a", iter((0.02, 0.02, 0.0)).__next__)

        asyncio.run(main())
        assert tokens.key(secret, "a", within(5.0)).reveal() == KEY

    def test_while_it_lasts_the_old_key_serves_if_no_new_one_is_to_be_had(self) -> None:
        clock = Later()
        answers: Iterator[Any] = iter([(KEY, clock.now().timestamp() + 100)])
        secret, tokens = Secret.call(lambda: next(answers)), Tokens(clock)
        assert tokens.key(secret, "a", within(5.0)).reveal() == KEY
        clock.passed = 70
        assert tokens.key(secret, "a", within(5.0)).reveal() == KEY
        clock.passed = 101
        with pytest.raises(AuthenticationFailed, match="raised StopIteration"):
            tokens.key(secret, "a", within(5.0))


class Later(SystemClock):
    passed = 0.0

    def now(self) -> datetime:
        return datetime(2026, 11, 28, tzinfo=UTC) + timedelta(seconds=self.passed)


@pytest.mark.parametrize(("lifetime", "kept"), [(3600, 3539), (3600, 3541), (100, 49), (100, 51)])
def test_a_key_is_renewed_a_minute_before_its_end_or_after_half_its_life(lifetime: float, kept: float) -> None:
    clock = Later()
    asked: list[int] = []

    def key() -> tuple[str, datetime]:
        asked.append(1)
        return f"{KEY}-{len(asked)}", clock.now() + timedelta(seconds=lifetime)

    secret, tokens = Secret.call(key), Tokens(clock)
    tokens.key(secret, "a", within(5.0))
    clock.passed = kept
    tokens.key(secret, "a", within(5.0))
    assert len(asked) == (1 if kept in (3539, 49) else 2)


class TestAtRest:
    def test_a_function_is_shown_nowhere_and_copied_nowhere(self) -> None:
        def key_of_the_house() -> str:
            return KEY

        one = Target(provider="x", model="m", tier="mid", api_key=key_of_the_house)
        for text in (repr(one), repr(asdict(one)), repr(copy.deepcopy(one)), repr(Router([one]))):
            assert "key_of_the_house" not in text
            assert KEY not in text
        assert copy.deepcopy(one).api_key is one.api_key
        assert one.api_key is not None
        assert one.api_key.present
        with pytest.raises(ConfigError, match="comes from a function"):
            one.api_key.reveal()

    @ways
    def test_a_pickle_drops_it_and_calls_say_so(self, way: Way) -> None:
        with Loopback(answer(way)) as never:
            data = pickle.dumps(router([target(never, api_key=lambda: KEY)], clock=None))
            again = pickle.loads(data)
            ran = asyncio.run(aon(again, way)) if way.asynchronous else on(again, way)
        assert KEY.encode() not in data
        assert isinstance(ran.error, ConfigError)
        assert "its `api_key` function was not kept in the pickle; give api_key='env:NAME'" in str(ran.error)
        assert never.requests == []

    def test_a_subclass_instance_with_call_is_a_function_too(self) -> None:
        class Credential:
            def __call__(self) -> str:
                return KEY

        one = Target(provider="x", model="m", api_key=Credential())
        assert one.api_key == Secret.parse(one.api_key)
        assert Tokens(SystemClock()).key(one.api_key, "a", within(5.0)).reveal() == KEY

    def test_two_functions_are_two_keys(self) -> None:
        one, other = Secret.call(lambda: KEY), Secret.call(lambda: KEY)
        assert one != other
        assert one == copy.copy(one)
