"""Circuit breakers: what opens them and for how long, the one probe, probation, keys and models, bounded memory."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from agentroute.errors import (
    AuthenticationFailed,
    BadResponse,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    Unsupported,
)
from agentroute.failover.breaker import Breakers, Open, Permit, key_of
from agentroute.targets import Target

BUSY = Overloaded("busy", status=503)


def target(**facts: Any) -> Target:
    return Target(**{"name": "a", "provider": "p", "model": "m", "tier": "mid", "api_key": "env:ONE", **facts})


A = target()


def breakers(jitter: float = 0.5) -> Breakers:
    return Breakers(random=lambda: jitter)


def allowed(circuits: Breakers, whom: Target, now: float) -> Permit:
    permit = circuits.acquire(whom, now)
    assert permit is not None
    return permit


def fail(circuits: Breakers, error: ProviderError, now: float, times: int = 1, whom: Target = A) -> None:
    for _ in range(times):
        allowed(circuits, whom, now).failure(error, now)


def succeed(circuits: Breakers, now: float, times: int = 1, whom: Target = A) -> None:
    for _ in range(times):
        allowed(circuits, whom, now).success(now)


class TestOpening:
    @pytest.mark.parametrize(
        "error",
        [
            BUSY,
            ProviderTimeout("x"),
            ConnectionFailed("x"),
            BadResponse("x"),
            StreamInterrupted("x"),
            ProviderError("x"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_three_failures_in_a_row(self, error: ProviderError) -> None:
        circuits = breakers()
        fail(circuits, error, 0.0, times=2)
        assert circuits.open_until(A, 0.0) is None
        fail(circuits, error, 0.0)
        view = circuits.open_until(A, 1.0)
        assert view is not None
        assert view.seconds == 4.0
        assert type(error).__name__ in view.why
        assert circuits.acquire(A, 4.9) is None
        assert circuits.acquire(A, 5.0) is not None

    def test_a_success_between_starts_the_count_again(self) -> None:
        circuits = breakers()
        for _ in range(4):
            succeed(circuits, 0.0, times=3)
            fail(circuits, BUSY, 0.0, times=2)
        assert circuits.open_until(A, 0.0) is None

    def test_half_of_the_last_calls(self) -> None:
        circuits = breakers()
        for _ in range(4):
            succeed(circuits, 0.0)
            fail(circuits, BUSY, 0.0)
        succeed(circuits, 0.0)
        assert circuits.open_until(A, 0.0) is None, "nine calls are too few"
        fail(circuits, BUSY, 0.0)
        assert circuits.open_until(A, 0.0) is not None

    def test_only_the_last_twenty_count(self) -> None:
        circuits = breakers()
        succeed(circuits, 0.0, times=500)
        for failed in range(1, 11):
            assert circuits.open_until(A, 0.0) is None
            fail(circuits, BUSY, 0.0)
            if failed < 10:
                succeed(circuits, 0.0)
        assert circuits.open_until(A, 0.0) is not None

    @pytest.mark.parametrize(("said", "seconds"), [(1.0, 1.0), (34.0, 34.0), (3600.0, 600.0), (0.3, 0.3), (None, 7.5)])
    def test_a_rate_limit_opens_at_once(self, said: float | None, seconds: float) -> None:
        circuits = breakers(jitter=0.5)
        fail(circuits, RateLimited("x", status=429, retry_after=said), 0.0)
        assert circuits.open_until(A, 0.0) == Open(seconds, "RateLimited 429")

    @pytest.mark.parametrize("error", [QuotaExhausted("x", status=429), AuthenticationFailed("x", status=401)])
    def test_a_bad_key_is_bad_for_every_model(self, error: ProviderError) -> None:
        circuits = breakers()
        fail(circuits, error, 0.0)
        other_model, other_key = target(name="b", model="n"), target(api_key="env:TWO")
        assert circuits.acquire(other_model, 599.0) is None
        assert circuits.acquire(other_key, 0.0) is not None
        succeed(circuits, 600.0, whom=other_model)
        assert circuits.open_until(A, 600.0) is None

    def test_an_unknown_model_is_unknown_with_every_key(self) -> None:
        circuits = breakers()
        fail(circuits, ModelNotFound("x", status=404), 0.0)
        assert circuits.acquire(target(api_key="env:TWO"), 599.0) is None
        assert circuits.acquire(target(model="n"), 0.0) is not None
        assert circuits.acquire(target(base_url="http://127.0.0.1:1/v1"), 0.0) is not None

    @pytest.mark.parametrize(
        "error", [InvalidRequest("x"), ContentFiltered("x"), ContextTooLong("x"), Unsupported("x", status=402)]
    )
    def test_what_the_request_brought_about_changes_nothing(self, error: ProviderError) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=2)
        fail(circuits, error, 0.0, times=50)
        assert circuits.open_until(A, 0.0) is None
        fail(circuits, BUSY, 0.0)
        assert circuits.open_until(A, 0.0) is not None, "nor does it count as a success"

    @pytest.mark.parametrize("error", [QuotaExhausted("x", status=402), ModelNotFound("x", status=404)])
    def test_a_status_that_a_firewall_sends_too_changes_nothing(self, error: ProviderError) -> None:
        circuits = breakers()
        error.told_by = "status"
        fail(circuits, error, 0.0, times=50)
        assert circuits.open_until(A, 0.0) is None

    @pytest.mark.parametrize("error", [QuotaExhausted("x", status=400), ModelNotFound("x", status=404)])
    def test_words_which_may_be_quoted_count_as_one_failure(self, error: ProviderError) -> None:
        circuits = breakers()
        error.told_by = "words"
        fail(circuits, error, 0.0, times=2)
        assert circuits.open_until(A, 0.0) is None
        fail(circuits, error, 0.0)
        view = circuits.open_until(A, 0.0)
        assert view is not None
        assert view.seconds == 5.0

    def test_cancelled_and_abandoned_calls_change_nothing(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=2)
        for _ in range(50):
            allowed(circuits, A, 0.0).release()
        assert circuits.open_until(A, 0.0) is None
        fail(circuits, BUSY, 0.0)
        assert circuits.open_until(A, 0.0) is not None

    def test_a_hundred_that_fail_together_open_it_once(self) -> None:
        circuits = breakers()
        permits = [allowed(circuits, A, 0.0) for _ in range(100)]
        for permit in permits:
            permit.failure(BUSY, 0.0)
        assert circuits.open_until(A, 0.0) == Open(5.0, "Overloaded 503")

    def test_a_late_refusal_may_prolong_it(self) -> None:
        circuits = breakers()
        late, later = allowed(circuits, A, 0.0), allowed(circuits, A, 0.0)
        fail(circuits, BUSY, 0.0, times=3)
        late.failure(RateLimited("x", retry_after=30.0), 1.0)
        later.failure(RateLimited("x", retry_after=2.0), 1.0)
        assert circuits.open_until(A, 1.0) == Open(30.0, "RateLimited")


class TestHalfOpen:
    def test_one_probe(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        probe = allowed(circuits, A, 5.0)
        assert [circuits.acquire(A, 5.0) for _ in range(99)] == [None] * 99
        view = circuits.open_until(A, 5.0)
        assert view is not None
        assert "a probe is under way" in str(view)
        probe.success(6.0)
        assert circuits.acquire(A, 6.0) is not None

    @pytest.mark.parametrize("end", ["release", "unchanged"])
    def test_a_probe_that_says_nothing_is_given_back(self, end: str) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        probe = allowed(circuits, A, 5.0)
        if end == "release":
            probe.release()
        else:
            probe.failure(InvalidRequest("x"), 5.0)
        again = allowed(circuits, A, 5.0)
        probe.release()
        assert circuits.acquire(A, 5.0) is None, "a permit that was given back before gives back nothing more"
        again.release()

    def test_a_probe_that_is_never_heard_of_again(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        lost = allowed(circuits, A, 5.0)
        assert circuits.acquire(A, 124.9) is None
        second = allowed(circuits, A, 125.0)
        lost.release()
        assert circuits.acquire(A, 126.0) is None
        second.success(126.0)
        assert circuits.open_until(A, 126.0) is None

    def test_the_cooldown_doubles_up_to_two_minutes(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        now, seen = 0.0, []
        for _ in range(7):
            view = circuits.open_until(A, now)
            assert view is not None
            seen.append(view.seconds)
            now += view.seconds
            fail(circuits, BUSY, now)
        assert seen == [5.0, 10.0, 20.0, 40.0, 80.0, 120.0, 120.0]

    def test_a_limit_that_outlasts_what_it_said_is_asked_less_often(self) -> None:
        circuits = breakers()
        limited = RateLimited("x", retry_after=1.0)
        now, seen = 0.0, []
        for _ in range(3):
            fail(circuits, limited, now)
            view = circuits.open_until(A, now)
            assert view is not None
            seen.append(view.seconds)
            now += view.seconds
        assert seen == [1.0, 10.0, 20.0]

    def test_threads_agree_on_one_probe(self) -> None:
        circuits = Breakers()
        fail(circuits, BUSY, 0.0, times=3)
        gate, got = threading.Barrier(32), []

        def ask() -> None:
            gate.wait()
            got.append(circuits.acquire(A, 5.0))

        threads = [threading.Thread(target=ask) for _ in range(32)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len([permit for permit in got if permit is not None]) == 1


class TestProbation:
    def test_one_failure_reopens_with_the_doubled_cooldown(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        succeed(circuits, 5.0, times=10)
        fail(circuits, BUSY, 5.0)
        assert circuits.open_until(A, 5.0) == Open(10.0, "Overloaded 503")

    def test_ten_successes_after_the_probe_end_it(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        succeed(circuits, 5.0, times=11)
        fail(circuits, BUSY, 5.0, times=2)
        assert circuits.open_until(A, 5.0) is None
        fail(circuits, BUSY, 5.0)
        assert circuits.open_until(A, 5.0) == Open(5.0, "Overloaded 503"), "and the doubling is forgotten"


class TestForced:
    def test_success_closes_on_probation(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        circuits.force(A, 1.0).success(1.0)
        assert circuits.open_until(A, 1.0) is None
        fail(circuits, BUSY, 1.0)
        assert circuits.open_until(A, 1.0) == Open(10.0, "Overloaded 503")

    def test_failure_leaves_it_as_it_is(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        for _ in range(10):
            circuits.force(A, 1.0).failure(BUSY, 1.0)
        assert circuits.open_until(A, 1.0) == Open(4.0, "Overloaded 503")

    def test_after_the_cooldown_it_is_the_probe(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        forced = circuits.force(A, 5.0)
        assert circuits.acquire(A, 5.0) is None
        forced.failure(BUSY, 5.0)
        assert circuits.open_until(A, 5.0) == Open(10.0, "Overloaded 503")


class TestKeys:
    def test_a_target_is_open_where_all_its_keys_are(self) -> None:
        circuits = breakers()
        both = target(api_key=["env:ONE", "env:TWO"])
        first, second = both.each_key()
        fail(circuits, RateLimited("x", retry_after=9.0), 0.0, whom=first)
        assert circuits.open_until(both, 0.0) is None
        fail(circuits, RateLimited("x", retry_after=4.0), 0.0, whom=second)
        assert circuits.open_until(both, 0.0) == Open(4.0, "RateLimited")

    def test_targets_of_one_model_and_key_share_a_circuit(self) -> None:
        circuits = breakers()
        fail(circuits, BUSY, 0.0, times=3)
        assert circuits.acquire(target(name="same but for its settings", settings={"seed": 1}), 0.0) is None

    def test_native_models_and_keyless_servers_are_told_apart(self) -> None:
        natives = [key_of(target(name=name, dialect="native", api_key=None)) for name in ("a", "b")]
        servers = [key_of(target(base_url=f"http://127.0.0.1:{port}/v1", api_key=None)) for port in (1, 2)]
        assert len({*natives, *servers}) == 4

    def test_no_key_is_shown(self) -> None:
        circuits = breakers()
        fail(circuits, AuthenticationFailed("x"), 0.0, whom=target(api_key="sk-canary"))
        assert "canary" not in repr(list(circuits._circuits))


def test_memory_is_bounded_and_looking_writes_nothing() -> None:
    circuits = Breakers(max_circuits=10)
    for number in range(100):
        assert circuits.open_until(target(model=f"m{number}"), 0.0) is None
    assert len(circuits) == 0
    for number in range(100):
        fail(circuits, BUSY, 0.0, whom=target(model=f"m{number}"))
    assert len(circuits) == 10


def test_a_permit_of_a_forgotten_circuit_may_still_be_settled() -> None:
    circuits = Breakers(max_circuits=1)
    old = allowed(circuits, A, 0.0)
    succeed(circuits, 0.0, whom=target(model="other"))
    old.failure(RateLimited("x", retry_after=9.0), 0.0)
    assert circuits.open_until(A, 0.0) == Open(9.0, "RateLimited")
