"""A trial draws whole runs by their id, in its role only, and stops for harm."""

from __future__ import annotations

import pickle
import random
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentroute import Router, StepContext, Target
from agentroute.errors import ConfigError
from agentroute.learning.outcomes import Outcome
from agentroute.learning.tried import began, licence, runs_of, stands, written
from agentroute.routing.trials import Tried, draw

START = datetime(2026, 11, 28, tzinfo=UTC)
TRIED = Tried(role="triage", candidate="cheap", strongest="strong", began=START, share=0.3, salt="s")
TOOL = {"type": "function", "function": {"name": "get_ticket", "parameters": {"type": "object", "properties": {}}}}


def router(trial: Tried | str | Path | None = TRIED) -> Router:
    return Router(
        [
            Target(
                provider="openai", model="gpt-x-nano", name="cheap", tier="budget", price={"input": 0.1, "output": 0.4}
            ),
            Target(provider="anthropic", model="c", name="strong", tier="premium", price={"input": 5, "output": 25}),
        ],
        trial=trial,
    )


def decided(one: Router, episode: str | None, role: str | None = "triage") -> Any:
    request = {"messages": [{"role": "user", "content": "Sort the ticket"}], "tools": [TOOL]}
    return one.route(request, context=StepContext(conversation_id=episode, role=role))


def test_each_run_stays_with_what_it_was_drawn_for() -> None:
    one, other = router(), router()
    drawn = [decided(one, f"run-{n}").target for n in range(300)]
    assert drawn == [decided(other, f"run-{n}").target for n in range(300)]
    assert drawn == ["cheap" if draw("s", "triage", f"run-{n}") < 0.3 else "strong" for n in range(300)]
    assert 60 < drawn.count("cheap") < 120
    for n in range(20):
        decision = decided(one, f"run-{n}")
        assert decision.explored is (drawn[n] == "cheap")
        assert decision.propensity == (0.3 if decision.explored else 0.7)
    said = " ".join(decided(one, "run-1").reasons)
    assert "trial of role 'triage'" in said
    assert "with a chance of" in said


@pytest.mark.parametrize(("episode", "role"), [("run-1", "coder"), (None, "triage"), ("run-1", None)])
def test_other_roles_and_runs_without_an_id_are_left_alone(episode: str | None, role: str | None) -> None:
    assert decided(router(), episode, role).target == decided(router(None), episode, role).target
    assert "trial" not in " ".join(decided(router(), episode, role).reasons)


def test_a_stopped_trial_draws_nothing() -> None:
    one = router(replace(TRIED, stopped="harm"))
    assert not any("trial" in " ".join(decided(one, f"run-{n}").reasons) for n in range(20))


def outcomes(success: dict[str, float], runs: int, seed: int = 1, since: datetime = START) -> list[Outcome]:
    rng, found = random.Random(seed), []
    for n in range(runs):
        target = "cheap" if draw("s", "triage", f"run-{n}") < 0.3 else "strong"
        found.append(Outcome(f"run-{n}", "triage", target, rng.random() < success[target], at=since))
    return found


def test_harm_stops_it_while_it_runs() -> None:
    tried, needed = began(TRIED)
    one = router(tried)
    assert one.trial is not None
    counted = 0
    for outcome in outcomes({"cheap": 0.4, "strong": 0.95}, 400):
        one.trial.began(decided(one, outcome.episode))
        one.outcome(conversation_id=outcome.episode, ok=outcome.ok)
        counted += outcome.target == "cheap"
        if one.trial.stopped:
            break
    assert one.trial.stopped is not None
    assert "stopped for harm" in one.trial.stopped
    assert counted <= 30 < needed


def test_how_it_stands_and_what_it_licenses() -> None:
    good = runs_of(TRIED, outcomes({"cheap": 0.96, "strong": 0.96}, 2_500))
    assert stands(TRIED, good).verdict == "not inferior"
    profiles, promise = licence(TRIED, good, START.date(), model="gpt-x-nano")
    assert [(p.target, p.licensed) for p in profiles] == [("cheap", True), ("strong", False)]
    assert "at most 5 points less often" in promise
    bad = runs_of(TRIED, outcomes({"cheap": 0.6, "strong": 0.96}, 400))
    assert stands(TRIED, bad).verdict == "harm"
    assert licence(TRIED, bad, START.date())[1] == ""


def test_a_run_counts_for_what_it_was_drawn_for_whoever_served_it() -> None:
    (one,) = runs_of(replace(TRIED, share=0.999), [Outcome("run-1", "triage", "strong", True, at=START)])
    assert one.arm.target == "cheap"
    assert runs_of(TRIED, [Outcome("run-1", "coder", "strong", True), Outcome("r", "triage", "cheap", None)]) == []
    assert runs_of(TRIED, outcomes({"cheap": 1, "strong": 1}, 9, since=datetime(2026, 11, 27, tzinfo=UTC))) == []
    assert runs_of(TRIED, [Outcome("r", "triage", "cheap", True, source="judge")]) == []


def test_the_file_reads_back(tmp_path: Path) -> None:
    tried = replace(began(TRIED)[0], role='an "odd"\nrole', stopped="budget", up=True)
    path = tmp_path / "trial.toml"
    path.write_text(written(tried), encoding="utf-8")
    assert Tried.load(path) == tried
    assert router(path).trial is not None
    assert pickle.loads(pickle.dumps(router(tried))).trial.tried == tried


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("share", 0.0, "share is 0.0"),
        ("margin", 2, "margin is 2"),
        ("began", "soon", "began is 'soon'"),
        ("up", "yes", "up is 'yes'"),
        ("role", "", "role is ''"),
        ("candidate", "strong", "needs two targets"),
        ("version", 9, "version is 9"),
        ("shares", 0.1, "shares"),
    ],
)
def test_what_cannot_be_is_named(field: str, value: object, said: str) -> None:
    good = {"version": 1, "role": "a", "candidate": "cheap", "strongest": "strong", "began": START}
    with pytest.raises(ConfigError, match=said):
        Tried.parse({**good, field: value})


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="names the target 'chepa'"):
        router(replace(TRIED, candidate="chepa"))
