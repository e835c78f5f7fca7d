"""Outcomes: once per episode and role, for the target assigned at the start; a judge certifies nothing."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatRequest
from agentroute.learning.outcomes import (
    Outcome,
    counted,
    exact_interval,
    from_traces,
    results,
    sensitivities,
    within,
)
from agentroute.ledger import Assignment, Label
from agentroute.replay.records import RecordedCall, Trace
from agentroute.replay.traces import Traces

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def step(number: int, target: str = "small", **facts: Any) -> Assignment:
    known: dict[str, Any] = {"conversation_id": "c", "previous_id": None, "role": "coder", "cost": Decimal("0.01")}
    return Assignment(id=f"d{number}", at=NOON + timedelta(minutes=number), target=target, **{**known, **facts})


def label(minute: int = 0, **facts: Any) -> Label:
    facts = facts if "decision_id" in facts or "conversation_id" in facts else {"conversation_id": "c", **facts}
    return Label(at=NOON + timedelta(hours=1, minutes=minute), **{"ok": True, **facts})


def one(steps: list[Assignment], labels: list[Label]) -> Outcome:
    (outcome,) = counted(steps, labels).outcomes
    return outcome


def test_an_escalated_run_counts_for_the_target_it_began_on() -> None:
    steps = [step(1), step(2), step(3, "strong"), step(4, "strong")]
    outcome = one(steps, [label()])
    assert (outcome.target, outcome.ok, outcome.decision_id, outcome.episode) == ("small", True, "d1", "c")
    assert counted(steps, [label()]).costs[outcome] == Decimal("0.04")


def test_a_side_call_assigns_nothing() -> None:
    """A client's title or probe goes to the cheapest target before the work begins."""
    steps = [step(1, "small", side=True), step(2, "strong"), step(3, "small", side=True), step(4, "small")]
    outcome = one(steps, [label()])
    assert (outcome.target, outcome.decision_id) == ("strong", "d2")
    assert counted(steps, [label()]).costs[outcome] == Decimal("0.04")
    assert one(steps[:1], [label()]).target == "small", "unless there is nothing else"


@pytest.mark.parametrize("n_labels", [1, 2, 7])
def test_many_labels_of_one_episode_count_once(n_labels: int) -> None:
    steps = [step(number) for number in range(5)]
    found = counted(steps, [label(decision_id=f"d{number % 5}") for number in range(n_labels)])
    assert (len(found.outcomes), found.unmatched) == (1, 0)


def test_each_role_of_a_conversation_has_its_own_outcome() -> None:
    steps = [step(1, "strong", role="lead"), step(2), step(3, role="lead"), step(4, "strong")]
    both = counted(steps, [label(ok=False)]).outcomes
    assert {(each.role, each.target, each.ok) for each in both} == {
        ("lead", "strong", False),
        ("coder", "small", False),
    }
    assert one(steps, [label(role="coder")]).role == "coder"
    assert one(steps, [label(decision_id="d3")]).target == "strong"


def test_steps_without_a_conversation_are_chained_by_what_came_before() -> None:
    steps = [step(number, "small" if number == 1 else "strong", conversation_id=None) for number in (1, 2, 3)]
    steps = [steps[0], *(replace(each, previous_id=f"d{n}") for n, each in enumerate(steps[1:], 1))]
    assert one(steps, [label(decision_id="d3")]).target == "small"
    alone = one([step(9, conversation_id=None)], [label(decision_id="d9")])
    assert alone.episode == "d9"


@pytest.mark.parametrize(
    ("labels", "ok", "source"),
    [
        ([label(source="check", ok=True), label(source="person", ok=False)], False, "person"),
        ([label(source="person", ok=True), label(1, source="check", ok=False)], True, "person"),
        ([label(source="benchmark", ok=True), label(1, source="check", ok=False)], True, "benchmark"),
        ([label(source="person", ok=False), label(1, source="benchmark", ok=True)], False, "person"),
        ([label(source="judge", ok=True), label(1, source="check", ok=False)], False, "check"),
    ],
)
def test_the_best_source_holds(labels: list[Label], ok: bool, source: str) -> None:
    for order in permutations(labels):
        outcome = one([step(1)], list(order))
        assert (outcome.ok, outcome.source) == (ok, source)


def test_of_one_check_the_latest_holds_and_all_checks_must_pass() -> None:
    failed = label(0, decision_id="d1", name="tests", ok=False)
    passed = label(5, decision_id="d2", name="tests")
    other = label(3, decision_id="d1", name="schema", ok=False)
    steps = [step(1), step(2)]
    for order in permutations([failed, passed]):
        assert one(steps, list(order)).ok
    assert one(steps, [failed, passed, other]).ok is False
    assert one(steps, [failed, passed, other, label(1)]).ok is True, "what is said of the whole conversation holds"


def test_what_is_said_of_the_whole_holds_before_a_person_s_word_on_one_call() -> None:
    rejected = label(decision_id="d1", ok=False, source="person", name="person:send")
    assert one([step(1)], [rejected]).ok is False
    for order in permutations([rejected, label(ok=True, source="check")]):
        outcome = one([step(1)], list(order))
        assert (outcome.ok, outcome.source) == (True, "check")


def test_a_judge_is_shown_and_certifies_nothing() -> None:
    found = counted([step(1)], [label(source="judge", ok=True)])
    assert found.outcomes == ()
    assert [each.ok for each in found.judged] == [True]
    (row,) = results(found)
    assert (row.n, row.judged, row.judged_ok, row.interval, row.cost) == (0, 1, 1, (0.0, 1.0), None)


def test_a_score_alone_is_no_verdict() -> None:
    found = counted([step(1)], [Label(NOON, conversation_id="c", score=0.25)])
    (row,) = results(found)
    assert (found.outcomes[0].ok, row.n, row.scored, row.score) == (None, 0, 1, 0.25)


def test_what_names_nothing_here_is_unmatched() -> None:
    labels = [label(decision_id="gone"), label(conversation_id="gone"), label(role="nobody"), label()]
    assert counted([step(1)], labels).unmatched == 3
    assert counted([], [label()]).unmatched == 1
    assert counted([step(1)], []).outcomes == ()


def test_sums_by_role_and_target_with_what_a_success_costs() -> None:
    steps = [step(n, conversation_id=f"c{n}", target="small" if n % 2 else "strong") for n in range(8)]
    steps[0] = replace(steps[0], cost=None)
    labels = [label(conversation_id=f"c{n}", ok=n not in (1, 3)) for n in range(8)]
    small, strong = results(counted(steps, labels))
    assert (small.target, small.n, small.ok, small.cost, small.cost_per_success) == (
        "small",
        4,
        2,
        Decimal("0.04"),
        Decimal("0.02"),
    )
    assert (strong.n, strong.ok, strong.cost) == (4, 4, None), "one bill is unknown"
    assert small.to_dict()["interval"] == list(exact_interval(2, 4))


def test_checks_are_measured_against_persons_only() -> None:
    def run(number: int, person: bool | None, check: bool) -> Iterator[Label]:
        yield label(conversation_id=f"c{number}", ok=check, source="check")
        if person is not None:
            yield label(1, conversation_id=f"c{number}", ok=person, source="person")

    runs = [(False, False), (False, False), (False, True), (True, True), (True, False), (None, False)]
    steps = [step(n, conversation_id=f"c{n}") for n in range(len(runs))]
    found = counted(steps, [each for n, (person, check) in enumerate(runs) for each in run(n, person, check)])
    (row,) = sensitivities(found)
    assert (row.failed, row.noticed, row.succeeded, row.alarmed) == (3, 2, 2, 1)


def test_where_no_check_has_spoken_none_is_measured() -> None:
    steps = [step(n, conversation_id=f"c{n}") for n in range(3)]
    found = counted(steps, [label(conversation_id=f"c{n}", ok=n > 0, source="person") for n in range(3)])
    assert sensitivities(found) == []
    assert sensitivities(counted(steps, [label(conversation_id="c1", score=0.5, ok=None), *_person(steps)])) == []


def _person(steps: list[Assignment]) -> list[Label]:
    return [label(conversation_id=each.conversation_id, ok=False, source="person") for each in steps]


def test_a_failure_that_was_repaired_is_noticed_all_the_same() -> None:
    found = counted([step(1), step(2)], [label(0, decision_id="d1", ok=False), label(1, decision_id="d2")])
    assert [each.ok for each in found.outcomes] == [True]
    assert found.noticed == set(found.outcomes)


def test_a_span_of_time_is_that_of_the_episodes_beginnings() -> None:
    found = counted([step(1), step(500, conversation_id="later")], [label(), label(conversation_id="later")])
    late = within(found, NOON + timedelta(minutes=400), None)
    assert [each.episode for each in late.outcomes] == ["later"]
    assert [each.episode for each in within(found, None, NOON + timedelta(minutes=400)).outcomes] == ["c"]


@pytest.mark.parametrize(("ok", "n"), [(0, 1), (1, 1), (0, 29), (59, 59), (8, 10), (230, 250), (3, 1000)])
def test_the_interval_is_exact(ok: int, n: int) -> None:
    """Each end is the rate at which so much or more (so little or less) has a chance of 2.5 %."""
    low, high = exact_interval(ok, n)

    def chance(p: float, least: int, most: int) -> float:
        return math.fsum(math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(least, most + 1))

    assert low <= ok / n <= high
    if ok:
        assert chance(low, ok, n) == pytest.approx(0.025, rel=1e-4)
    if ok < n:
        assert chance(high, 0, ok) == pytest.approx(0.025, rel=1e-4)


def test_the_interval_covers() -> None:
    rng = random.Random(7)
    held = 0
    for _ in range(400):
        ok = sum(rng.random() < 0.9 for _ in range(40))
        low, high = exact_interval(ok, 40)
        held += low <= 0.9 <= high
    assert held / 400 >= 0.95


def trace(conversation: str | None, model: str | None, role: str | None = "coder", **outcomes: Any) -> Trace:
    call = RecordedCall(1, model=model)
    return Trace("x", ChatRequest.of("hello"), (call,), False, "t", conversation, role=role, outcomes=outcomes)


def test_scores_of_a_trace_store_count_once_for_the_model_of_the_first_call() -> None:
    traces = [
        trace("a", "cheap", correct=True),
        trace("a", "strong", correct=True),
        trace("b", "cheap", correct=0.0, other=1.0),
        trace("b", "cheap", role="lead", correct=1),
        trace("c", None, correct=True),
        trace("d", "cheap", correct="good"),
        trace("e", "cheap", other=1.0),
    ]
    found = from_traces(traces, "correct")
    assert [(each.episode, each.role, each.target, each.ok, each.score) for each in found] == [
        ("a", "coder", "cheap", True, None),
        ("b", "coder", "cheap", False, 0.0),
        ("b", "lead", "cheap", True, 1.0),
    ]
    assert {each.source for each in found} == {"judge"}, "nobody says who gave the score"
    assert [each.ok for each in from_traces(traces[2:3], "correct", source="person", least=0.0)] == [True]


def test_langfuse_scores_become_outcomes(tmp_path: Path) -> None:
    rows = [
        {
            "id": "o1", "traceId": "t1", "type": "GENERATION", "startTime": "2026-11-01T10:00:00Z",
            "model": "gpt-6-luna",
            "input": [{"role": "user", "content": "hi"}], "output": {"role": "assistant", "content": "hello"},
        },
        {"id": "s1", "traceId": "t1", "name": "thumb", "value": 1, "dataType": "NUMERIC", "source": "ANNOTATION"},
    ]  # fmt: skip
    path = tmp_path / "langfuse.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = [item for _, _, item in Traces([path]) if isinstance(item, Trace)]
    (outcome,) = from_traces(read, "thumb", source="person")
    assert (outcome.target, outcome.ok, outcome.source) == ("gpt-6-luna", True, "person")
