"""Refusals with nobody else to ask, or with somebody of another kind: waits, one retry, other keys, larger windows."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import ProviderError, RateLimited
from tests.loopback import Loopback, Script, plain, refusal

from .calls import KEY, WAYS, Way, assert_no_canary, call, row, target, well_answer

SPARE = KEY.replace("5e0b", "77aa")


def once(script: Script, way: Way) -> Any:
    """That script to the first request, a healthy answer to the others."""
    return lambda n: script if n == 1 else well_answer(way)


LIMITED = [
    (25, "1", {"retry_after": "1"}, 1.0),
    (26, "ms", {"retry_after_ms": "300", "retry_after": "9"}, 0.3),
    (27, "date", {"retry_after": "Wed, 21 Oct 2026 07:28:02 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}, 2.0),
]


@pytest.mark.parametrize(
    ("headers", "seconds", "way"),
    [pytest.param(h, s, way, id=f"row{n}-{name}-{way}") for n, name, h, s in LIMITED for way in WAYS],
)
def test_the_last_target_is_waited_for(
    headers: dict[str, str], seconds: float, way: Way, canaries: pytest.LogCaptureFixture
) -> None:
    with Loopback(once([refusal(429, **headers)], way)) as sick:
        targets = (target(sick),)
        ran = call(way, *targets)
    assert ran.error is None
    assert ran.slept == pytest.approx([seconds])
    assert ran.tried == [("sick", "RateLimited"), ("sick", None)]
    assert_no_canary(ran, targets, canaries)


HOPELESS = [
    (24, "no Retry-After", [refusal(429)], None, {}),
    (25, "deadline too near", [refusal(429, retry_after="30")], 30.0, {"deadline_s": 10.0}),
    (28, "3600", [refusal(429, retry_after="3600")], 3600.0, {}),
    *((29, odd, [refusal(429, retry_after=odd)], None, {}) for odd in ("soon", "-5", "nan", "inf", "1e999")),
]


@pytest.mark.parametrize(
    ("script", "said", "options", "way"),
    [pytest.param(s, said, o, way, id=f"row{n}-{name}-{way}") for n, name, s, said, o in HOPELESS for way in WAYS],
)
def test_nobody_sleeps_without_reason(
    script: Script, said: float | None, options: dict[str, Any], way: Way, canaries: pytest.LogCaptureFixture
) -> None:
    with Loopback(script) as sick:
        targets = (target(sick),)
        ran = call(way, *targets, **options)
    assert isinstance(ran.error, RateLimited)
    assert (ran.slept, len(sick.requests)) == ([], 1)
    assert ran.error.retry_after == said
    assert_no_canary(ran, targets, canaries)


@row(31)
def test_gemini_says_when_in_the_body(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}
    body = {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": [info]}}
    with Loopback(once([plain(body, 429)], way)) as sick:
        targets = (target(sick),)
        ran = call(way, *targets)
    assert (ran.error, ran.slept) == (None, pytest.approx([34.0]))
    assert_no_canary(ran, targets, canaries)


@row(33)
def test_500_alone_is_tried_once_more(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([refusal(500)]) as sick:
        targets = (target(sick),)
        ran = call(way, *targets)
    assert isinstance(ran.error, ProviderError)
    assert ran.tried == [("sick", "Overloaded")] * 2
    assert len(ran.slept) == 1
    assert 0 < ran.slept[0] <= 1, "a short pause, jittered"
    assert_no_canary(ran, targets, canaries)


@row(38)
def test_503_once_then_well(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    """With a second target, that one answers; alone, the same target does: two attempts in the record either way."""
    with Loopback(once([refusal(503, retry_after_ms="50")], way)) as sick, Loopback(well_answer(way)) as well:
        alone, both = (target(sick),), (target(sick), target(well, "well", rank=2))
        ran = call(way, *alone)
        assert ran.tried == [("sick", "Overloaded"), ("sick", None)]
        assert ran.slept == pytest.approx([0.05])
        sick.requests.clear()
        ran = call(way, *both)
    assert ran.tried == [("sick", "Overloaded"), ("well", None)]
    assert_no_canary(ran, both, canaries)


@row(39)
def test_told_not_to_retry(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([refusal(500, x_should_retry="false", retry_after_ms="50")]) as sick:
        targets = (target(sick),)
        ran = call(way, *targets)
    assert isinstance(ran.error, ProviderError)
    assert (len(sick.requests), ran.slept) == (1, [])
    assert_no_canary(ran, targets, canaries)


@pytest.mark.parametrize(
    ("status", "code", "way"),
    [
        pytest.param(status, code, way, id=f"row{number}-{way}")
        for number, status, code in ((30, 429, "insufficient_quota"), (41, 401, "invalid_api_key"), (42, 403, None))
        for way in WAYS
    ],
)
class TestKeys:
    def test_another_key_of_the_same_target(
        self, status: int, code: str | None, way: Way, canaries: pytest.LogCaptureFixture
    ) -> None:
        with Loopback(once([refusal(status, code, f"Incorrect API key provided: {KEY}")], way)) as sick:
            targets = (target(sick, api_key=[KEY, SPARE]),)
            ran = call(way, *targets)
        assert ran.error is None
        assert [name for name, _ in ran.tried] == ["sick", "sick"]
        assert [key.encode() in raw for key, raw in zip((KEY, SPARE), sick.requests, strict=True)] == [True, True]
        assert "77aab17a" not in repr(ran.decision)
        assert_no_canary(ran, targets, canaries)

    def test_never_the_same_key_again(
        self, status: int, code: str | None, way: Way, canaries: pytest.LogCaptureFixture
    ) -> None:
        from agentroute import Secret

        key = Secret(KEY)
        with Loopback([refusal(status, code, f"Incorrect API key provided: {KEY}")]) as sick:
            targets = target(sick, api_key=key), target(sick, "other", rank=2, api_key=key, provider="sick-co")
            ran = call(way, *targets)
        assert isinstance(ran.error, ProviderError)
        assert ran.error.status == status
        assert len(sick.requests) == 1
        assert ran.warnings, "loud"
        assert_no_canary(ran, targets, canaries)


@row(45)
def test_409_is_tried_once_more_then_the_next(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([refusal(409)]) as sick, Loopback(well_answer(way)) as well:
        targets = target(sick), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.tried == [("sick", "Overloaded")] * 2 + [("well", None)]
    assert_no_canary(ran, targets, canaries)


@pytest.mark.parametrize(
    ("script", "way"),
    [
        pytest.param(script, way, id=f"row{number}-{way}")
        for number, script in ((46, [refusal(413)]), (47, [refusal(400, "context_length_exceeded")]))
        for way in WAYS
    ],
)
def test_only_a_larger_window_is_tried(script: Script, way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(script) as sick, Loopback(well_answer(way)) as same, Loopback(well_answer(way)) as larger:
        targets = target(sick), target(same, "same", rank=2), target(larger, "larger", rank=3, context_window=500_000)
        ran = call(way, *targets)
    assert ran.tried == [("sick", "ContextTooLong"), ("larger", None)]
    assert same.requests == []
    assert_no_canary(ran, targets, canaries)


@row(87)
def test_all_down_is_one_error_that_lists_every_attempt(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with (
        Loopback([refusal(503, x_should_retry="false")]) as first,
        Loopback([plain(b"<html>", content_type="text/html")]) as second,
        Loopback([refusal(529, x_should_retry="false")]) as third,
    ):
        targets = target(first, "a"), target(second, "b", rank=2), target(third, "c", rank=3)
        ran = call(way, *targets)
    error = ran.error
    assert type(error).__name__ == "AllAttemptsFailed"
    assert isinstance(error, ProviderError)
    assert [(a.target, a.error, a.status) for a in error.attempts] == [
        ("a", "Overloaded", 503),
        ("b", "BadResponse", 200),
        ("c", "Overloaded", 529),
    ]
    assert all(a.duration_s >= 0 for a in error.attempts)
    assert ran.decision is not None
    assert (ran.decision.outcome, ran.decision.attempts) == ("failed", error.attempts)
    assert_no_canary(ran, targets, canaries)


@row(87)
def test_all_rate_limited_says_the_smallest_pause(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([refusal(429, retry_after="300")]) as first, Loopback([refusal(429, retry_after="200")]) as second:
        targets = target(first, "a"), target(second, "b", rank=2)
        ran = call(way, *targets, deadline_s=100.0)
    assert isinstance(ran.error, ProviderError)
    assert (ran.error.status, ran.error.retry_after, ran.slept) == (429, 200.0, [])
    assert_no_canary(ran, targets, canaries)


@row(90)
def test_three_hanging_targets_and_a_deadline(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    """Who was asked and why each ended; by how much the deadline is overrun is measured in evals/bench/faults.py."""
    with Loopback(["hang"]) as hanging:
        targets = tuple(target(hanging, name, rank=n) for n, name in enumerate("abc", 1))
        ran = call(way, *targets, deadline_s=0.4)
    assert ran.tried == [(name, "ProviderTimeout") for name in "abc"]
    assert "the deadline of the call passed" in str(ran.error)
    assert_no_canary(ran, targets, canaries)
