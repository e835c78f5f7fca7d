"""A trial randomises whole runs, stops what harms, certifies what does not, and goes on after a kill."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest

from agentroute.errors import ConfigError
from agentroute.learning.trial import Arm, Trial

LUNA, TERRA = Arm("luna"), Arm("terra", up=True)


def trial(share: float = 0.3, margin: float = 0.05, state: Path | None = None, **more: object) -> Trial:
    return Trial("opus", {"triage": [LUNA]}, share=share, margin=margin, state=state, **more)  # type: ignore[arg-type]


def played(one: Trial, luna: float, opus: float, runs: int, seed: int = 1) -> Trial:
    rng = random.Random(seed)
    for index in range(runs):
        given = one.assign("triage", f"run-{index}")
        right = luna if given.arm == LUNA else opus
        one.ended(f"run-{index}", "triage", ok=rng.random() < right, cost=0.01 if given.arm == LUNA else 0.1)
    return one


def test_a_run_keeps_its_assignment_and_its_chance() -> None:
    one = trial(share=0.25)
    given = [one.assign("triage", f"run-{index}") for index in range(2000)]
    assert given == [one.assign("triage", f"run-{index}") for index in range(2000)]
    cheap = [each for each in given if each.arm == LUNA]
    assert 0.2 < len(cheap) / 2000 < 0.3
    assert {(each.propensity, each.explored) for each in cheap} == {(0.25, True)}
    assert {each.propensity for each in given if each.arm != LUNA} == {0.75}


def test_a_role_without_candidates_stays_on_the_strongest() -> None:
    given = trial().assign("coder", "run-1")
    assert (given.arm, given.propensity, given.explored) == (Arm("opus"), 1.0, False)


def test_together_one_draw_decides_for_all_roles_of_an_episode() -> None:
    one = Trial("opus", {"coder": [TERRA], "scout": [LUNA]}, share=0.5, together=True)
    for index in range(50):
        coder, scout, other = (one.assign(role, f"run-{index}") for role in ("coder", "scout", "writer"))
        assert coder.treated is scout.treated is other.treated
        assert (coder.arm, scout.arm) == ((TERRA, LUNA) if coder.treated else (Arm("opus"), Arm("opus")))
        assert other.arm == Arm("opus")


def test_an_equal_candidate_is_certified_and_costs_less_per_success() -> None:
    standing = played(trial(), 0.97, 0.97, 2_500).standing("triage", LUNA)
    assert standing.verdict == "not inferior"
    strong, cheap = standing.usd_per_success
    assert cheap is not None
    assert strong is not None
    assert cheap < strong / 5
    assert "not inferior" in standing.lines(0.05)[-1]


def test_a_harmful_candidate_is_stopped_and_gets_no_more_runs() -> None:
    one = played(trial(), 0.6, 0.97, 600)
    assert one.standing("triage", LUNA).verdict == "harm"
    assert one.assign("triage", "run-9999999").arm == Arm("opus")
    assert sum(run.arm == LUNA for run in one.runs) < 80


def test_an_inferior_candidate_is_certified_in_at_most_five_percent() -> None:
    false = 0
    for seed in range(60):
        one = played(trial(), 0.90, 0.95, 500, seed)
        false += one.standing("triage", LUNA).verdict == "not inferior"
    assert false / 60 <= 0.05 + 0.03


def test_the_budget_ends_it() -> None:
    one = played(trial(max_runs=100), 0.97, 0.97, 300)
    assert one.standing("triage", LUNA).verdict == "budget"


def test_a_judge_certifies_nothing() -> None:
    one = trial()
    one.assign("triage", "a")
    assert one.ended("a", "triage", ok=True, source="judge") is None
    assert one.runs == []


def test_an_outcome_counts_once() -> None:
    one = trial()
    one.assign("triage", "a")
    one.ended("a", "triage", ok=True)
    one.ended("a", "triage", ok=False)
    assert [run.harm for run in one.runs] == [0.0]


def test_it_goes_on_where_it_was_left(tmp_path: Path) -> None:
    state = tmp_path / "trial.jsonl"
    before = played(trial(state=state), 0.97, 0.97, 200)
    after = trial(state=state)
    assert after.runs == before.runs
    assert [after.assign("triage", f"run-{i}") for i in range(200)] == [
        before.assign("triage", f"run-{i}") for i in range(200)
    ]
    lines = state.read_text().count("\n")
    after.assign("triage", "run-0")
    after.ended("run-0", "triage", ok=True)
    assert state.read_text().count("\n") == lines
    assert state.stat().st_mode & 0o777 == 0o600


def test_a_line_that_a_kill_cut_off_is_passed_over(tmp_path: Path) -> None:
    state = tmp_path / "trial.jsonl"
    played(trial(state=state), 0.97, 0.97, 10)
    state.write_text(state.read_text()[:-30])
    assert len(trial(state=state).runs) == 9


def test_a_file_of_something_else_is_named(tmp_path: Path) -> None:
    state = tmp_path / "trial.jsonl"
    state.write_text(json.dumps({"ended": {"episode": "x"}}) + "\n")
    with pytest.raises(ConfigError, match=r"trial\.jsonl', line 1"):
        trial(state=state)


@pytest.mark.parametrize(
    ("arms", "share", "margin", "said"),
    [
        ({"a": [LUNA]}, 1.0, 0.05, "leave the strongest"),
        ({"a": [LUNA, TERRA]}, 0.5, 0.05, "leave the strongest"),
        ({"a": [Arm("opus")]}, 0.1, 0.05, "is the strongest"),
        ({"a": [LUNA]}, 0.1, 0.0, "margin"),
    ],
)
def test_what_cannot_be_is_refused(arms: dict[str, list[Arm]], share: float, margin: float, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        Trial("opus", arms, share=share, margin=margin)


def test_an_unknown_run_is_refused() -> None:
    with pytest.raises(ConfigError, match="was not assigned"):
        trial().ended("x", "triage", ok=True)
