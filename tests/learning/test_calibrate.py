"""What outcomes license, what they do not, and what the policy file says of it."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from agentroute.errors import ConfigError
from agentroute.learning.calibrate import Plan, certified, from_outcomes, from_trial, proposed, savings
from agentroute.learning.outcome_files import read_outcomes
from agentroute.learning.outcomes import Outcome, Source
from agentroute.learning.policy_file import differences, written
from agentroute.learning.trial import Arm, Run, Trial
from agentroute.routing.profiles import Profiles

TODAY = date(2026, 11, 28)
OPUS, LUNA, TERRA = Arm("opus"), Arm("luna"), Arm("terra")


def outcomes(role: str, target: str, n: int, failures: int = 0, source: Source = "check") -> list[Outcome]:
    return [Outcome(f"{role}-{target}-{i}", role, target, i >= failures, source=source) for i in range(n)]


def test_with_many_outcomes_of_both_a_target_is_licensed() -> None:
    policy = from_outcomes(
        [*outcomes("triage", "luna", 600, 2), *outcomes("triage", "opus", 600, 12)], strongest="opus", made=TODAY
    )
    assert [(p.role, p.target) for p in policy.profiles if p.licensed] == [("triage", "luna")]
    for said in ("97 %", "95 % confidence", "triage on luna"):
        assert said in policy.promise


@pytest.mark.parametrize(("n", "failures"), [(20, 0), (98, 0), (150, 12)])
def test_below_its_n_or_its_bound_nothing_is_licensed(n: int, failures: int) -> None:
    policy = from_outcomes(
        [*outcomes("triage", "luna", n, failures), *outcomes("triage", "opus", 300, 3)], strongest="opus", made=TODAY
    )
    assert not any(p.licensed for p in policy.profiles)
    assert policy.promise == ""
    (refused,) = policy.refused
    assert refused.n == n
    assert refused.needed >= 99


def test_without_outcomes_of_the_strongest_there_is_nothing_to_compare_with() -> None:
    policy = from_outcomes(outcomes("triage", "luna", 600), strongest="opus", made=TODAY)
    assert policy.promise == ""
    assert "no outcome of opus" in policy.refused[0].why


def test_a_judge_certifies_nothing_and_an_episode_counts_once() -> None:
    judged = outcomes("triage", "luna", 600, source="judge")
    again = [Outcome("one", "triage", "luna", True)] * 600
    for rows in (judged, again):
        policy = from_outcomes([*rows, *outcomes("triage", "opus", 300)], strongest="opus", made=TODAY)
        assert policy.promise == ""


def test_holm_asks_more_of_many_hypotheses() -> None:
    def found(roles: int) -> int:
        rows: list[Outcome] = []
        for index in range(roles):
            rows += outcomes(f"r{index}", "luna", 150, 0) + outcomes(f"r{index}", "opus", 150, 4)
        return sum(p.licensed for p in from_outcomes(rows, strongest="opus", made=TODAY).profiles)

    assert found(1) == 1
    assert found(40) == 0


def runs(n: int, success: dict[tuple[str, Arm], float], plan: Plan, seed: int = 1) -> list[Run]:
    rng, found = random.Random(seed), []
    trial = Trial("opus", {role: [arm] for role, arm in plan.arms.items()}, share=0.5, together=True, salt=str(seed))
    for index in range(n):
        role = rng.choice(("triage", "coder", "writer"))
        given = trial.assign(role, f"run-{index}")
        trial.ended(given.episode, role, ok=rng.random() < success[role, given.arm], cost=0.1 - 0.09 * given.explored)
    found += trial.runs
    return found


GOOD = {
    ("triage", OPUS): 0.98,
    ("coder", OPUS): 0.96,
    ("writer", OPUS): 0.98,
    ("triage", LUNA): 0.98,
    ("coder", LUNA): 0.80,
    ("writer", LUNA): 0.97,
}


def test_plans_are_certified_in_their_order_up_to_the_first_that_is_not() -> None:
    plans = [
        Plan({"triage": LUNA}),
        Plan({"triage": LUNA, "writer": LUNA}),
        Plan({"triage": LUNA, "writer": LUNA, "coder": LUNA}),
    ]
    seen = runs(6_000, GOOD, plans[-1])
    count, levels = certified(plans, seen, OPUS)
    assert count == 2
    assert levels[2] > 0.05
    policy = from_trial(plans, seen, OPUS, made=TODAY)
    assert {p.role for p in policy.profiles if p.licensed} == {"triage", "writer"}
    assert policy.refused[0].role == "coder"
    assert "6000 runs randomised" in policy.promise


def test_a_plan_that_breaks_the_promise_is_certified_in_at_most_five_percent() -> None:
    plan = Plan({"coder": LUNA})
    border = {**GOOD, ("coder", LUNA): 0.96 - 0.0875}  # a third of the runs: 3 % of all that succeed are lost
    false = sum(certified([plan], runs(1_200, border, plan, seed), OPUS)[0] for seed in range(50))
    assert false / 50 <= 0.05 + 0.05


def test_plans_are_proposed_from_what_costs_less_and_fails_no_more() -> None:
    rng, seen = random.Random(3), []
    for index in range(3_000):
        role, arm = rng.choice(("triage", "coder", "writer")), rng.choice((OPUS, LUNA))
        cost = 0.1 if arm == OPUS else 0.01
        seen.append(Run(f"run-{index}", role, arm, 0.5, float(rng.random() > GOOD[role, arm]), cost))
    plans = proposed(seen, OPUS, ahead=8_000)
    assert set(plans[-1].arms) == {"triage", "writer"}
    assert [len(plan.arms) for plan in plans] == [1, 2]
    assert proposed(seen[:30], OPUS, ahead=8_000) == []


def test_the_file_reads_back_as_it_was_written(tmp_path: Path) -> None:
    plan = Plan({"triage": Arm("luna", up=True)})
    success = {**GOOD, ("triage", Arm("luna", up=True)): 0.98}
    policy = from_trial([plan], runs(3_000, success, plan), OPUS, made=TODAY, models={"luna": "gpt-6-luna"})
    path = tmp_path / "policy.toml"
    path.write_text(written(policy))
    loaded = Profiles.load(path)
    (licensed,) = [p for p in loaded if p.licensed]
    assert (licensed.target, licensed.model, licensed.up) == ("luna", "gpt-6-luna", True)
    assert licensed.expires == TODAY + timedelta(days=90)
    assert licensed.limit > 0
    assert loaded.promise == policy.promise != ""
    assert "normal bound" in path.read_text()


def test_names_with_quotes_and_line_breaks_stay_names(tmp_path: Path) -> None:
    odd = 'a "role"\n[[profile]] \x7f \\'
    policy = from_outcomes(outcomes(odd, "opus", 30), strongest="opus", made=TODAY)
    path = tmp_path / "policy.toml"
    path.write_text(written(policy), encoding="utf-8")
    assert [p.role for p in Profiles.load(path)] == [odd]


def test_what_a_run_saves_has_an_interval_by_runs() -> None:
    rows = [*outcomes("triage", "luna", 600, 2), *outcomes("triage", "opus", 600, 12)]
    policy = from_outcomes(rows, strongest="opus", made=TODAY)
    costs = {
        each: None if index % 50 == 0 else Decimal("0.10") * (index % 3) / (10 if each.target == "luna" else 1)
        for index, each in enumerate(rows)
    }
    ((profile, saved, low, high),) = savings(policy, costs)
    assert profile.target == "luna"
    assert low < saved < high
    assert saved == pytest.approx(0.09, abs=0.005)
    assert savings(policy, {}) == []


def test_what_changes_is_said_in_words() -> None:
    rows = [*outcomes("triage", "luna", 600, 2), *outcomes("triage", "opus", 600, 12)]
    policy = from_outcomes(rows, strongest="opus", made=TODAY)
    assert differences((), policy.profiles, TODAY)[0].startswith("+ triage: luna is licensed")
    assert differences(policy.profiles, policy.profiles, TODAY) == []
    assert differences(policy.profiles, (), TODAY) == ["- triage: luna is no longer licensed"]
    later = TODAY + timedelta(days=91)
    assert differences(policy.profiles, (), later) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "not JSON"),
        ("[1]", "a list"),
        ('{"ok": true, "target": "a"}', "no episode"),
        ('{"task": "t", "ok": true}', "no target"),
        ('{"task": "t", "ok": 1, "target": "a"}', "ok is 1"),
        ('{"task": "t", "score": 2, "target": "a"}', "score is 2"),
        ('{"task": "t", "target": "a"}', "neither ok nor score"),
        ('{"task": "t", "ok": true, "target": "a", "source": "oracle"}', "source is 'oracle'"),
        ('{"task": "t", "ok": true, "target": "a", "at": "noon"}', "at is 'noon'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "o.jsonl"
    path.write_text('{"task": "t0", "ok": true, "target": "a"}\n\n' + line + "\n")
    with pytest.raises(ConfigError, match=f"line 3.*{said}"):
        list(read_outcomes([path]))
