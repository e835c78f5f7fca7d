"""A policy file changes decisions in its roles, and only there; its licences end."""

from __future__ import annotations

import pickle
import random
import time
import tomllib
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agentroute import Router, StepContext, Target
from agentroute.errors import ConfigError
from agentroute.messages import ChatRequest
from agentroute.routing.profiles import Profile, Profiles, _plain
from agentroute.testing import FrozenClock

DAY = date(2026, 11, 28)
TOOLS = [{"type": "function", "function": {"name": "get_ticket", "parameters": {"type": "object", "properties": {}}}}]
CHEAP = Profile(
    role="triage",
    target="cheap",
    success=0.985,
    mean=0.99,
    n=400,
    source="trial",
    date=DAY,
    expires=DAY + timedelta(days=90),
    steps=3.0,
    licensed=True,
    weight=8,
    limit=24,
)
STRONG = replace(CHEAP, target="strong", success=0.98, mean=0.992, licensed=False, weight=0, limit=0)


def profiles(*found: Profile, **more: Any) -> Profiles:
    return Profiles(found or (CHEAP, STRONG), strongest="strong", **more)


def router(policy: Any = None, now: datetime = datetime(2026, 12, 1, tzinfo=UTC), **more: Any) -> Router:
    price = {"input": 5.0, "output": 25.0}
    return Router(
        [
            Target(
                provider="openai", model="gpt-x-nano", name="cheap", tier="budget", price={"input": 0.1, "output": 0.4}
            ),
            Target(provider="openai", model="gpt-x-mid", name="mid", tier="mid", price={"input": 1.0, "output": 4.0}),
            Target(provider="anthropic", model="claude-x", name="strong", tier="premium", price=price),
        ],
        policy=policy,
        clock=FrozenClock(now),
        **more,
    )


def body(text: str = "Fix the parser and run the tests", failed: bool = False) -> dict[str, Any]:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": "You are a careful engineer. " * 40},
        {"role": "user", "content": text},
    ]
    if failed:
        call = {"id": "c1", "type": "function", "function": {"name": "get_ticket", "arguments": "{}"}}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
        messages.append({"role": "tool", "tool_call_id": "c1", "content": "Error: no such ticket\nTraceback"})
    return {"messages": messages, "tools": TOOLS}


def chosen(one: Router, role: str | None = "triage", **more: Any) -> str:
    return one.route(body(**more), context=StepContext(role=role)).target


@pytest.mark.parametrize("strategy", ["balanced", "best", "cheapest"])
def test_a_licence_lowers_its_role_and_no_other(strategy: str) -> None:
    with_file = router(profiles(), strategy=strategy)
    assert chosen(with_file) == "cheap"
    assert chosen(with_file, role="coder") == "strong"
    assert chosen(router(profiles(others="prior"), strategy=strategy), role="coder") == chosen(
        router(strategy=strategy), role="coder"
    )


def test_the_agent_counts_where_no_role_is_told() -> None:
    decision = router(profiles()).route(body(), context=StepContext(agent="triage"))
    assert decision.target == "cheap"


def test_the_role_is_recognised_by_its_prompt_and_tools_where_nobody_says_who_asks() -> None:
    from agentroute.routing.roles import fingerprint

    own = fingerprint(ChatRequest.of(body()))
    assert own is not None
    one = router(profiles(replace(CHEAP, role=own), replace(STRONG, role=own)))
    assert chosen(one, role=None) == "cheap"
    assert one.route({"messages": [{"role": "user", "content": "hi"}]}).reasons == router().route("hi").reasons


def test_reasons_say_role_n_source_and_date() -> None:
    reasons = " ".join(router(profiles()).route(body(), context=StepContext(role="triage")).reasons)
    assert "caution" not in reasons
    for said in ("'triage'", "n 400", "trial", "2026-11-28", "98.5 %"):
        assert said in reasons
    assert "not in the policy file" in " ".join(router(profiles()).route(body(), context=StepContext(role="x")).reasons)


def test_others_take_over_behind_the_licensed_ones() -> None:
    decision = router(profiles()).route(body(), context=StepContext(role="triage"))
    assert [each.target for each in decision.candidates][:2] == ["cheap", "strong"]
    assert "mid" in {each.target for each in decision.candidates}


def test_an_expired_licence_is_none() -> None:
    one = router(profiles(), now=datetime(2027, 2, 27, 0, 1, tzinfo=UTC))
    assert chosen(one) == "strong"
    assert "expired on 2027-02-26" in " ".join(one.route(body(), context=StepContext(role="triage")).reasons)
    assert chosen(router(profiles(), now=datetime(2027, 2, 26, 23, tzinfo=UTC))) == "cheap"


@pytest.mark.parametrize(("model", "target"), [("gpt-x-nano", "cheap"), ("gpt-x-nano-2", "strong"), (None, "cheap")])
def test_another_model_ends_it(model: str | None, target: str) -> None:
    one = router(profiles(replace(CHEAP, model=model), STRONG))
    assert chosen(one) == target


@pytest.mark.parametrize(("up", "target"), [(True, "strong"), (False, "cheap")])
def test_up_gives_way_after_failures(up: bool, target: str) -> None:
    one = router(profiles(replace(CHEAP, up=up), STRONG))
    assert chosen(one, failed=True) == target
    assert chosen(one) == "cheap"


def test_a_profile_without_a_licence_lowers_nothing() -> None:
    one = router(profiles(replace(CHEAP, licensed=False), STRONG))
    assert chosen(one) == "strong"


def played(one: Router, success: float, runs: int, seed: int) -> int | None:
    """At which outcome the licence went void."""
    rng = random.Random(seed)
    assert one.policy is not None
    for number in range(1, runs + 1):
        call = one.prepare(body(f"ticket {number}"), context=StepContext(role="triage", conversation_id=f"c{number}"))
        one.policy.began(call.decision)
        one.outcome(conversation_id=f"c{number}", ok=rng.random() < success)
        if one.policy.void:
            return number
    return None


def test_a_drift_voids_the_licence_with_a_reason(caplog: pytest.LogCaptureFixture) -> None:
    one = router(profiles())
    at = played(one, 0.5, 60, seed=1)
    assert at is not None and at <= 25  # noqa: PT018
    assert chosen(one) == "strong"
    assert "is void" in " ".join(one.route(body(), context=StepContext(role="triage")).reasons)
    assert "is void" in caplog.text


def test_with_a_role_fall_those_on_its_target_that_tell_no_outcomes() -> None:
    one = router(profiles(CHEAP, STRONG, replace(CHEAP, role="scout"), replace(CHEAP, role="coder")))
    assert one.policy is not None
    one.policy.observe("coder", "cheap", True)
    played(one, 0.5, 60, seed=1)
    assert set(one.policy.void) == {"triage", "scout"}
    assert (chosen(one, role="scout"), chosen(one, role="coder")) == ("strong", "cheap")


def test_an_outcome_counts_once_and_a_judges_never() -> None:
    one = router(profiles())
    assert one.policy is not None
    for number in range(30):
        one.policy.began(one.route(body(), context=StepContext(role="triage", conversation_id="same")))
        one.outcome(conversation_id=f"c{number}", ok=False, source="judge")
        if number:
            one.outcome(conversation_id="elsewhere", ok=False)
    assert not one.policy.void


def test_a_right_step_does_not_end_its_run() -> None:
    one = router(profiles())
    assert one.policy is not None
    for number in range(5):
        first, last = (
            one.route(body(), context=StepContext(role="triage", conversation_id=f"c{number}")) for _ in range(2)
        )
        for decision in (first, last):
            one.policy.began(decision)
        one.outcome(first, ok=True)
        one.outcome(last, ok=False)
    assert one.policy.void


def test_runs_of_right_steps_count_as_right_in_the_end() -> None:
    one = router(profiles())
    assert one.policy is not None
    for number in range(300):
        decision = one.route(body(), context=StepContext(role="triage", conversation_id=f"c{number}"))
        one.policy.began(decision)
        one.outcome(decision, ok=number % 20 != 0)
    assert not one.policy.void


def test_outcomes_of_decisions_count_too() -> None:
    one = router(profiles())
    assert one.policy is not None
    for _ in range(5):
        decision = one.route(body(), context=StepContext(role="triage"))
        one.policy.began(decision)
        one.outcome(decision, ok=False)
        one.outcome(decision, ok=False)
    assert one.policy.void


def test_a_thousand_roles_load_quickly(tmp_path: Path) -> None:
    from agentroute.learning.calibrate import Policy
    from agentroute.learning.policy_file import written

    many = tuple(replace(CHEAP, role=f"role-{index}") for index in range(1000))
    path = tmp_path / "policy.toml"
    path.write_text(written(Policy("strong", DAY, many, (), "promised")))
    began = time.process_time()
    assert _plain(path.read_text()) is not None
    assert len(Profiles.load(path)) == 1000
    assert time.process_time() - began < 2.0  # a bound that only a quadratic reader breaks; evals measure it


@pytest.mark.parametrize(
    "text",
    [
        'a = 1\nb = 1.5\nc = true\nd = "x # y"  # why\ne = 2026-11-28\n# note\n[[profile]]\nn = 0\n',
        'a = "\\u00e9"\n',
        "a = [1]\n",
        'a = "é"\n',
        "a = 01\n",
        "a = 1\na = 2\n",
        "a = 2026-13-28\n",
        "profile = 3\n[[profile]]\nn = 1\n",
        'a = "b" c\n',
        "a = 1 # b\n",
        "a = 1e3\n",
        "a=1\n",
        "a = 1\r\n",
        'a = "x\ty"\n',
        "[table]\na = 1\n",
    ],
)
def test_plain_lines_are_read_as_toml_reads_them(text: str) -> None:
    found = _plain(text)
    if found is not None:
        assert {"profile": [], **tomllib.loads(text)} == found


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("version = 2", "version is 2"),
        ('others = "all"', "others is 'all'"),
        ("strongest = 3", "strongest is 3"),
        ("promises = 1", "promises"),
        ('[[profile]]\nrole = "a"', "profile 1: target is missing"),
        ("[[profile]]\nsucces = 1.0", "succes"),
        ("profile = 3", "profile is a int"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "policy.toml"
    good = {"version": "version = 1", "strongest": 'strongest = "strong"'}
    key = line.split(" ")[0]
    path.write_text("\n".join([text for name, text in good.items() if name != key] + [line]))
    with pytest.raises(ConfigError, match=rf"policy\.toml.*{said}"):
        Profiles.load(path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("success", "1.2"), ("n", "-1"), ("expires", '"soon"'), ("licensed", '"yes"'), ("role", '""'), ("steps", "true")],
)
def test_a_bad_field_is_named(tmp_path: Path, field: str, value: str) -> None:
    path = tmp_path / "policy.toml"
    rows = {"role": '"a"', "target": '"cheap"', "success": "0.9", "n": "3", "source": '"check"'}
    rows |= {"date": "2026-11-28", "expires": "2027-01-01", field: value}
    path.write_text(
        'version = 1\nstrongest = "strong"\n[[profile]]\n' + "\n".join(f"{k} = {v}" for k, v in rows.items())
    )
    with pytest.raises(ConfigError, match=f"profile 1: {field} is"):
        Profiles.load(path)


def test_a_target_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="names the target 'chepa'"):
        router(profiles(replace(CHEAP, target="chepa")))


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ConfigError, match="cannot be read"):
        router("nowhere.toml")


def test_a_pickle_holds_the_file_and_not_what_was_counted() -> None:
    one = router(profiles())
    played(one, 0.0, 30, seed=1)
    assert one.policy is not None
    again = pickle.loads(pickle.dumps(one.policy))
    assert list(again) == list(one.policy)
    assert not again.void
