"""Decisions: nothing is lost as JSON, unknown stays unknown, bad constraints are refused by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from agentroute.catalog.example import example_targets
from agentroute.decisions import (
    Attempt,
    Candidate,
    Constraints,
    Decision,
    Dropped,
    Prediction,
    StepContext,
    StepKind,
    Strategy,
    Task,
)
from agentroute.errors import ConfigError
from agentroute.messages import ChatRequest, Message, Text, Usage
from agentroute.router import Router
from agentroute.routing.step import Step
from agentroute.targets import Target, Tier

DECISION = Decision(
    id="d1",
    created_at=datetime(2026, 11, 24, 12, tzinfo=UTC),
    policy_version="t/p",
    context=StepContext(conversation_id="c", agent="coder"),
    request_digest="00ff",
    request_chars=42,
    target="small",
    tier=Tier.BUDGET,
    task=Task.QA,
    step_kind=StepKind.FIRST_ASK,
    complexity="simple",
    strategy="balanced",
    sufficiency={"budget": 0.9, "mid": 0.95, "standard": 0.97, "premium": 0.99},
    confidence=0.8,
    reasons=("a short question",),
    candidates=(Candidate("small", Tier.BUDGET, 0.9, Decimal("0.0001"), 0, 0.002, "cheap"),),
    dropped=(Dropped("blind", "cannot see images"),),
    estimated_usage=Usage(100, 50, 0, 0),
    expected_cost=Decimal("0.0001"),
    baseline_target="big",
    baseline_cost=Decimal("0.01"),
)


def test_round_trip_loses_nothing() -> None:
    done = replace(
        DECISION,
        attempts=(
            Attempt(
                "big", "failed", 0.0, 0.2, error="RateLimited", error_text="slow down", status=429, retry_after=1.0
            ),
            Attempt("small", "ok", 0.2, 1.1, first_content_s=0.4, usage=Usage(101, 7), cost=Decimal("0.00012")),
        ),
        usage=Usage(101, 7),
        cost=Decimal("0.00012"),
        outcome="ok",
        warnings=("provider_missing_finish_reason",),
    )
    for decision in (DECISION, done):
        assert Decision.from_dict(json.loads(json.dumps(decision.to_dict()))) == decision


def test_a_record_of_version_1_is_read() -> None:
    old = DECISION.to_dict()
    for key in ("explored", "propensity"):
        del old[key]
    del old["context"]["key"]
    read = Decision.from_dict({**old, "schema_version": 1})
    assert read == DECISION
    assert (read.explored, read.propensity, read.context.key) == (False, None, None)


def test_what_was_chosen_at_random_says_so() -> None:
    tried = replace(DECISION, explored=True, propensity=0.1, context=StepContext(key="alice"))
    assert Decision.from_dict(json.loads(json.dumps(tried.to_dict()))) == tried


def test_the_router_chooses_nothing_at_random() -> None:
    decision = Router(targets=example_targets()).route("hello")
    assert (decision.explored, decision.propensity) == (False, 1.0)


def test_another_schema_is_refused() -> None:
    with pytest.raises(ConfigError, match="schema version 99"):
        Decision.from_dict({**DECISION.to_dict(), "schema_version": 99})


def test_savings_may_be_negative_and_unknown_is_none() -> None:
    assert DECISION.savings == Decimal("0.0099")
    assert replace(DECISION, outcome="ok", cost=Decimal("0.02")).savings == Decimal("-0.01")
    assert replace(DECISION, outcome="ok", cost=None).savings is None
    assert replace(DECISION, baseline_cost=None).savings is None
    assert replace(DECISION, outcome="failed", cost=Decimal(0)).savings is None
    assert isinstance(Constraints(deadline_s=Decimal(5)).deadline_s, float)  # type: ignore[arg-type]


def test_previous_is_kept_by_id_only() -> None:
    chained = replace(DECISION, context=StepContext(previous=DECISION))
    assert chained.to_dict()["context"]["previous_id"] == "d1"
    assert "DECISION" not in repr(chained.context)


@pytest.mark.parametrize(
    ("wrong", "names"),
    [
        ({"tier": "huge"}, "'huge' is no tier"),
        ({"strategy": "magic"}, "strategy is 'magic'"),
        ({"max_cost": float("nan")}, "max_cost is nan"),
        ({"max_cost": -1}, "max_cost is -1"),
        ({"deadline_s": 0}, "deadline_s is 0"),
        ({"deadline_s": True}, "deadline_s is True"),
        ({"max_cost": Decimal("NaN")}, "max_cost is Decimal"),
        ({"deny_providers": "openai"}, "deny_providers is the text 'openai'"),
    ],
)
def test_bad_constraints(wrong: dict[str, Any], names: str) -> None:
    with pytest.raises(ConfigError, match=names):
        Constraints(**wrong)


def test_complexity_follows_the_prediction() -> None:
    def predicted(*sufficiency: float) -> str:
        return Prediction(sufficiency, Task.QA, StepKind.FIRST_ASK, 0.5, ()).complexity  # type: ignore[arg-type]

    assert predicted(0.9, 0.95, 0.97, 0.99) == "simple"
    assert predicted(0.5, 0.7, 0.8, 0.9) == "medium"
    assert predicted(0.1, 0.2, 0.4, 0.9) == "complex"


class Fixed:
    """A classifier that always says the same."""

    version = "fixed"

    def __init__(self, *sufficiency: float) -> None:
        self.sufficiency = sufficiency

    def predict(self, step: Step, request: ChatRequest) -> Prediction:
        budget, mid, standard, premium = self.sufficiency
        return Prediction((budget, mid, standard, premium), Task.TOOL_USE, step.kind, 0.5, ("it is said so",))


def decided(strategy: Strategy, *sufficiency: float) -> Decision:
    router = Router(targets=example_targets(), classifier=Fixed(*sufficiency))
    request = ChatRequest((Message("user", (Text("word " * 4_000),)),))
    return router.route(request, constraints=Constraints(strategy=strategy))


@pytest.mark.parametrize(
    ("strategy", "sufficiency"),
    [
        ("balanced", (0.2, 0.4, 0.93, 0.95)),
        ("balanced", (0.1, 0.2, 0.4, 0.9)),
        ("cheapest", (0.3, 0.5, 0.9, 0.95)),
        ("best", (0.3, 0.5, 0.7, 0.95)),
    ],
)
def test_explain_names_the_p_that_the_next_tier_down_would_need(
    strategy: Strategy, sufficiency: tuple[float, ...]
) -> None:
    decision = decided(strategy, *sufficiency)
    said = re.search(r"down: (\S+) \((\w+)\) would need P (\d\.\d+); it has (\d\.\d+)", decision.explain())
    assert said is not None, decision.explain()
    lower = Tier(said[2])
    assert float(said[4]) == pytest.approx(sufficiency[lower.rank])
    for step, expected in ((0.002, lower), (-0.002, decision.tier)):
        changed = list(sufficiency)
        changed[lower.rank] = float(said[3]) + step
        assert decided(strategy, *changed).tier is expected


@pytest.mark.parametrize(
    ("strategy", "sufficiency"), [("balanced", (0.2, 0.4, 0.93, 0.95)), ("cheapest", (0.3, 0.5, 0.9, 0.95))]
)
def test_explain_names_the_p_below_which_it_goes_up(strategy: Strategy, sufficiency: tuple[float, ...]) -> None:
    decision = decided(strategy, *sufficiency)
    said = re.search(r"up: (\S+) \((\w+)\) as soon as P of (\S+) is below (\d\.\d+)", decision.explain())
    assert said is not None, decision.explain()
    for step, expected in ((0.002, decision.tier), (-0.002, Tier(said[2]))):
        changed = list(sufficiency)
        changed[decision.tier.rank] = float(said[4]) + step
        assert decided(strategy, *changed).tier is expected


def test_explain_of_a_pin_and_of_a_free_choice() -> None:
    router = Router(targets=example_targets())
    request = ChatRequest((Message("user", (Text("hello"),)),))
    pinned = router.route(request, constraints=Constraints(target="gpt-6-luna"))
    assert "nothing but the caller: pinned" in pinned.explain()
    assert "a greeting" in router.route(request).explain()
    assert "down:" not in router.route(request).explain()


def test_explain_shows_an_unknown_price_as_such() -> None:
    router = Router(targets=[Target(provider="openai", model="unheard-of", tier="mid", base_url="http://127.0.0.1:9")])
    decision = router.route(ChatRequest((Message("user", (Text("hello there, how are you"),)),)))
    assert "price unknown" in decision.explain()


@pytest.mark.parametrize("value", [5, ("a",), True])
def test_a_pin_is_a_name(value: Any) -> None:
    with pytest.raises(ConfigError, match="give the name of a target"):
        Constraints(target=value)
