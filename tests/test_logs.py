"""What is logged, and at which level: fallbacks, opened circuits, slow calls, each step; never a key or a prompt."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from decimal import Decimal

import pytest

from agentroute import AgentRouteError, ChatRequest, Price, Router
from agentroute.testing import Fault, FrozenClock, ScriptedProvider, nth

PROMPT = "canary-prompt"
PRICE = Price(input=Decimal(1), output=Decimal(4))
REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": PROMPT}]})


@pytest.fixture(autouse=True)
def nothing_of_the_call_is_logged(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    caplog.set_level(logging.DEBUG, "agentroute")
    yield
    assert PROMPT not in caplog.text
    assert "canary" not in caplog.text


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_a_step_is_one_line_at_debug(caplog: pytest.LogCaptureFixture) -> None:
    with (
        ScriptedProvider("canary-answer") as provider,
        Router(targets=[provider.target(name="a", model="m", tier="mid", price=PRICE)]) as router,
    ):
        decision = router.complete(REQUEST).decision
    (line,) = lines(caplog, logging.DEBUG)
    assert line.startswith(f"step {decision.id} (first_ask, ")
    assert "ok from 'a'" in line
    assert lines(caplog, logging.INFO) == lines(caplog, logging.WARNING) == []


def test_a_fallback_is_a_warning_that_names_both_and_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    fault = Fault.error(503, message=f"overloaded while reading {PROMPT} with key sk-canary")
    with (
        ScriptedProvider("x", fault=fault) as sick,
        ScriptedProvider("y") as well,
        Router(
            targets=[
                sick.target(name="a", model="m", tier="premium", price=PRICE),
                well.target(name="b", model="m", tier="mid", price=PRICE),
            ]
        ) as router,
    ):
        router.complete(REQUEST, constraints={"strategy": "best"})
    assert lines(caplog, logging.WARNING) == ["fallback from 'a' to 'b' after Overloaded 503"]


def test_a_retry_of_the_same_target_is_called_so(caplog: pytest.LogCaptureFixture) -> None:
    with (
        ScriptedProvider("x", fault=nth(1, Fault.error(503))) as provider,
        Router(targets=[provider.target(name="a", model="m", tier="mid", price=PRICE)]) as router,
    ):
        router.complete(REQUEST)
    assert lines(caplog, logging.WARNING) == ["retry of 'a' after Overloaded 503"]


@pytest.mark.parametrize(
    ("status", "calls", "says"),
    [
        (500, 3, "the circuit of target 'a' opened for 5 s after Overloaded 500"),
        (401, 1, "the circuit of key 'a' opened for 600 s after AuthenticationFailed 401"),
        (404, 1, "the circuit of model 'a' opened for 600 s after ModelNotFound 404"),
    ],
)
def test_a_circuit_that_opens_is_a_warning(
    caplog: pytest.LogCaptureFixture, status: int, calls: int, says: str
) -> None:
    with (
        ScriptedProvider("x", fault=Fault.error(status)) as provider,
        Router(targets=[provider.target(name="a", model="m", tier="mid", price=PRICE)]) as router,
    ):
        for _ in range(calls):
            with pytest.raises(AgentRouteError):
                router.complete(REQUEST)
    assert lines(caplog, logging.WARNING).count(says) == 1


def test_a_notice_is_a_warning_with_what_to_do(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedProvider("x") as provider, Router([provider.target(name="a", model="m", tier="mid")]) as router:
        for _ in range(2):
            router.complete(REQUEST)
    (line,) = lines(caplog, logging.WARNING)
    assert line.startswith(
        "unknown_price: what 'a' costs is unknown: its price is unknown; give the target a price = {"
    )


def test_a_slow_step_is_told_at_info(caplog: pytest.LogCaptureFixture) -> None:
    clock = FrozenClock()
    with (
        ScriptedProvider("x y z") as provider,
        Router(targets=[provider.target(name="a", model="m", tier="mid", price=PRICE)], clock=clock) as router,
        router.stream(REQUEST) as stream,
    ):
        events = iter(stream)
        next(events)
        clock.advance(31)
        list(events)
    (line,) = lines(caplog, logging.INFO)
    assert "ok from 'a' after 31.0 s" in line
    assert lines(caplog, logging.DEBUG) == []
