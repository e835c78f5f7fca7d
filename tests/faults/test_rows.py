"""Faults of one answer, each before a healthy target: who is asked, what the caller gets, what the record says."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import ProviderError, StreamInterrupted, Usage
from tests.loopback import ANSWER, COMPLETION, Loopback, plain

from .calls import Ran, Way, assert_no_canary, call, target
from .table import ROWS, Row

CASES = [pytest.param(row, way, id=f"{row}-{way}") for row in ROWS for way in row.ways]


@pytest.mark.parametrize(("row", "way"), CASES)
def test_fault(row: Row, way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(row.script) as sick, Loopback([ANSWER if way.stream else plain(COMPLETION), "keep"]) as well:
        targets = target(sick), target(well, "well", rank=2)
        ran = call(way, *targets, timeouts=row.timeouts)
    EXPECTED[row.then](row, ran)
    assert ran.slept == [], "with a healthy target behind, nobody waits"
    assert (len(sick.requests), len(well.requests)) == (row.calls, 1 if row.then == "next" else 0)
    assert_no_canary(ran, targets, canaries)


def the_next_answers(row: Row, ran: Ran) -> None:
    assert ran.error is None
    assert ran.response is not None
    assert (ran.response.text, ran.response.finish_reason) == ("hello world", "stop")
    assert ran.tried == [("sick", row.error), ("well", None)]
    assert ran.first.status in ({row.status} if row.status is not None else {None, 200})
    assert ran.first.possible_duplicate_cost is row.billed
    assert ran.first.cost is None, "nothing is known of its cost, and nothing is invented"
    assert row.says in ran.first.error_text
    assert "Sign in" not in repr(ran.decision)
    assert ran.warnings == row.warns


def it_is_an_answer(row: Row, ran: Ran) -> None:
    assert ran.error is None
    assert ran.response is not None
    assert ran.tried == [("sick", None)]
    assert (ran.response.text, ran.response.finish_reason) == (row.text, row.finish)
    assert ran.response.native_finish_reason == row.native
    assert ran.response.usage == (Usage(5, 2) if row.usage else None)
    assert ran.decision is not None
    assert (ran.decision.cost is not None) is row.usage, "an unknown cost is not 0"
    assert ran.decision.estimated_usage.input_tokens
    assert set(ran.warnings) == set(row.warns)


def it_is_cut(row: Row, ran: Ran) -> None:
    assert isinstance(ran.error, StreamInterrupted)
    assert ran.error.partial is not None
    assert (ran.error.partial.text, ran.error.partial.finish_reason) == ("hello", None)
    assert str(ran.error.cause).startswith(f"{row.error}: ")
    assert ran.tried == [("sick", row.error)]
    assert ran.first.outcome == "interrupted"
    assert ran.decision is not None
    assert (ran.decision.outcome, ran.decision.cost) == ("interrupted", None)


def it_goes_to_the_caller(row: Row, ran: Ran) -> None:
    assert isinstance(ran.error, ProviderError)
    assert (type(ran.error).__name__, ran.error.status) == (row.error, row.status)
    assert row.code in (None, ran.error.code)
    assert row.says in str(ran.error)
    assert ran.tried == [("sick", row.error)]


EXPECTED: dict[str, Any] = {
    "next": the_next_answers,
    "answer": it_is_an_answer,
    "cut": it_is_cut,
    "unchanged": it_goes_to_the_caller,
}
