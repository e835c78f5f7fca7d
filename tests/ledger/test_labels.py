"""Labels: bad ones are refused by name; both ledgers keep good ones, through locks, forks and kills of the file."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentroute import RequestError, Router, StepContext
from agentroute.decisions import Candidate, Decision, StepKind
from agentroute.learning.outcomes import counted
from agentroute.ledger import Assignment, Label, MemoryLedger, SqliteLedger
from agentroute.ledger.reading import read_assignments, read_labels
from agentroute.targets import Tier
from agentroute.testing import ScriptedProvider
from tests.ledger.test_sqlite import DONE, locked

NOW = datetime(2026, 11, 28, 9, 30, 0, 5, tzinfo=UTC)

GOOD: list[dict[str, Any]] = [
    {"decision_id": "d1", "ok": True},
    {"decision_id": "d1", "ok": False, "source": "person", "name": "reviewer"},
    {"conversation_id": "c", "score": 0.5, "source": "judge"},
    {"conversation_id": "c", "role": "coder", "ok": True, "score": 3, "source": "benchmark"},
]
BAD: list[tuple[dict[str, Any], str]] = [
    ({"ok": True}, "id of one of them"),
    ({"decision_id": "d", "conversation_id": "c", "ok": True}, "id of one of them"),
    ({"decision_id": "d"}, "`ok`, `score` or both"),
    ({"decision_id": "d", "ok": 1}, "ok is 1"),
    ({"decision_id": "d", "ok": "yes"}, "ok is 'yes'"),
    ({"decision_id": "d", "score": True}, "score is True"),
    ({"decision_id": "d", "score": float("nan")}, "score is nan"),
    ({"decision_id": "d", "score": "0.5"}, "score is '0.5'"),
    ({"decision_id": "d", "ok": True, "source": "jugde"}, "did you mean 'judge'"),
    ({"decision_id": "d", "ok": True, "source": ["check"]}, "no source is named"),
    ({"decision_id": 7, "ok": True}, "decision_id is 7"),
    ({"decision_id": "", "ok": True}, "decision_id is ''"),
    ({"conversation_id": "x" * 1000, "ok": True}, "1 to 256 characters"),
    ({"decision_id": "d", "role": "coder", "ok": True}, "a decision has its own"),
    ({"decision_id": "d", "ok": True, "name": 3}, "name is 3"),
]


@pytest.mark.parametrize(("facts", "names"), BAD)
def test_what_cannot_be_meant_is_refused_by_name(facts: dict[str, Any], names: str) -> None:
    with pytest.raises(RequestError, match=names):
        Label(NOW, **facts)
    router = Router(["openai/gpt-4.1-nano"])
    told = {("decision" if key == "decision_id" else key): value for key, value in facts.items()}
    with pytest.raises(RequestError, match=names):
        router.outcome(**told)
    assert isinstance(router.ledger, MemoryLedger)
    assert router.ledger.labels == ()


@pytest.fixture(params=["memory", "sqlite"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MemoryLedger | SqliteLedger]:
    if request.param == "memory":
        yield MemoryLedger()
    else:
        with SqliteLedger(tmp_path / "ledger.db") as kept:
            yield kept


def test_both_ledgers_keep_labels_in_their_order(ledger: MemoryLedger | SqliteLedger) -> None:
    labels = [Label(NOW, **facts) for facts in GOOD]
    for label in labels:
        ledger.append_label(label)
    assert ledger.labels == tuple(labels)


def test_both_ledgers_know_what_a_step_was_meant_for(ledger: MemoryLedger | SqliteLedger) -> None:
    first = Candidate("cheap", Tier.BUDGET, 0.9, None, 0, None, "")
    fell_back = replace(DONE, candidates=(first, *DONE.candidates), target="big")
    unknown = replace(
        DONE,
        id="d2",
        candidates=(),
        cost=None,
        step_kind=StepKind.HOUSEKEEPING,
        context=StepContext(role="r", previous=DONE),
    )
    for decision in (fell_back, unknown):
        ledger.append(decision)
    assert list(ledger.assignments) == [Assignment.of(fell_back), Assignment.of(unknown)]
    assert [each.target for each in ledger.assignments] == ["cheap", "small"]
    assert [each.previous_id for each in ledger.assignments] == [None, "d1"]


def test_an_older_file_is_brought_up_to_date(tmp_path: Path) -> None:
    import sqlite3

    from agentroute.ledger.schema import APPLICATION_ID, MIGRATIONS

    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as old:
        for statement in (*MIGRATIONS[0], *MIGRATIONS[1]):
            old.execute(statement)
        old.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        old.execute("PRAGMA user_version = 2")
    old.close()
    assert list(read_labels(path)) == []


def test_a_locked_file_stops_no_call_and_loses_no_label(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path)
    ledger.append(DONE)
    assert ledger.flush()
    with locked(path):
        ledger.append_label(Label(NOW, decision_id="d1", ok=True))
        assert not ledger.flush(timeout_s=0.3)
    assert len(ledger.labels) == 1
    ledger.close()


def test_a_full_queue_counts_what_it_loses(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, queue_size=2)
    ledger.append(DONE)
    ledger.flush()
    with locked(path):
        for _ in range(50):
            ledger.append_label(Label(NOW, decision_id="d1", ok=True))
        assert ledger.lost_labels
    assert len(ledger.labels) + ledger.lost_labels == 50
    assert caplog.text.count("no room for outcomes") == 1
    ledger.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_keeps_its_own_labels(tmp_path: Path) -> None:
    ledger = SqliteLedger(tmp_path / "ledger.db")
    ledger.append_label(Label(NOW, decision_id="parent", ok=True))
    child = os.fork()
    if child == 0:
        ledger.append_label(Label(NOW, decision_id="child", ok=True))
        ledger.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert sorted(label.decision_id or "" for label in ledger.labels) == ["child", "parent"]
    ledger.close()


class Broken:
    def append(self, decision: Decision) -> None: ...

    def append_label(self, label: Label) -> None:
        raise OSError("the disk is gone")


class Plain:
    def append(self, decision: Decision) -> None: ...


@pytest.mark.parametrize(("ledger", "said"), [(Broken(), "did not take an outcome"), (Plain(), "keeps no outcomes")])
def test_a_ledger_at_fault_never_reaches_the_agent(ledger: Any, said: str, caplog: pytest.LogCaptureFixture) -> None:
    router = Router(["openai/gpt-4.1-nano"], ledger=ledger)
    router.outcome("d1", ok=True)
    assert said in caplog.text


def test_from_a_call_to_its_outcome(tmp_path: Path) -> None:
    with (
        ScriptedProvider("done", provider="openai") as provider,
        Router([provider.target(model="m", name="m", tier="mid")], ledger=tmp_path / "l.db") as router,
    ):
        answer = router.complete("hello", context=StepContext(conversation_id="c", role="coder"))
        assert answer.decision is not None
        router.outcome(answer.decision, ok=False, source="check", name="tests")
        router.outcome(conversation_id="c", ok=True, source="person")
    found = counted(read_assignments(tmp_path / "l.db"), read_labels(tmp_path / "l.db"))
    (outcome,) = found.outcomes
    assert (outcome.episode, outcome.role, outcome.target, outcome.ok) == ("c", "coder", "m", True)
    assert found.noticed == {outcome}
