"""Copies and pickles: what frameworks and worker processes do with a router, its targets and its records."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from agentroute import (
    ChatRequest,
    ConfigError,
    Constraints,
    Decision,
    Overloaded,
    Price,
    Router,
    Secret,
    StepContext,
    Target,
)
from agentroute.decisions import Prediction
from agentroute.failover.effects import Timeouts
from agentroute.ledger import MemoryLedger, SqliteLedger
from agentroute.native.targets import NativeTarget
from agentroute.routing.classifier import StandardClassifier
from agentroute.routing.step import Step
from agentroute.routing.strategy import StrategyTable
from agentroute.testing import ScriptedProvider
from tests.faults.calls import shown

CANARY = "sk-canary-77c1d90ae2b4"
VARIABLE = "AGENTROUTE_TEST_PICKLED_KEY"


def ask(text: str, **body: Any) -> ChatRequest:
    return ChatRequest.from_openai({"messages": [{"role": "user", "content": text}], **body})


LONG = ask("hello " * 2000, model="small")
WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
CALLED = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
REQUESTS = (
    ask("hello"),
    ask("Prove that the square root of two is irrational, then generalise it to every prime. " * 20),
    ask("What is the weather in Lisbon?", tools=[WEATHER]),
    ask("hello", response_format={"type": "json_object"}),
    ChatRequest.from_openai(
        {
            "messages": [
                {"role": "user", "content": "What is the weather in Lisbon?"},
                {"role": "assistant", "tool_calls": [CALLED]},
                {"role": "tool", "tool_call_id": "c1", "content": "Traceback: TimeoutError"},
            ],
            "tools": [WEATHER],
        }
    ),
)


def targets() -> list[Target | NativeTarget[Any]]:
    return [
        Target(provider="openai", model="gpt-4.1-nano", name="small", api_key=f"env:{VARIABLE}"),
        Target(provider="anthropic", model="claude-haiku-4-5", name="mid", settings={"thinking": {"type": "disabled"}}),
        Target(provider="anthropic", model="claude-opus-4-5", name="big", api_key=["env:A", "env:B"]),
        NativeTarget(
            ("a ready model",),
            Target(
                provider="x",
                model="ready",
                name="ready",
                dialect="native",
                tier="standard",
                price=Price(Decimal(1), Decimal(2)),
            ),
        ),
    ]


def decided(decision: Decision) -> tuple[Any, ...]:
    """All of a planned decision that does not name the router or the moment."""
    return (
        decision.policy_version,
        decision.target,
        decision.reasons,
        decision.candidates,
        decision.dropped,
        decision.strategy,
        decision.estimated_usage,
        decision.expected_cost,
        decision.baseline_target,
        decision.baseline_cost,
    )


def planned(router: Router) -> list[tuple[Any, ...]]:
    context = StepContext(role="reviewer")
    rules = (Constraints(), Constraints(max_tier="mid"), Constraints(deny_providers=("x",), strategy="best"))
    return [decided(router.route(one, context=context, constraints=rule)) for one in REQUESTS for rule in rules]


# -- copies ------------------------------------------------------------------------------------------------------------


class Holder(BaseModel):
    """How frameworks hold an LLM: a field of a pydantic model."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    router: Router


@pytest.mark.parametrize(
    "copied",
    [
        copy.copy,
        copy.deepcopy,
        lambda router: copy.deepcopy({"llm": [router]})["llm"][0],
        lambda router: Holder(router=router).model_copy(deep=True).router,
        lambda router: copy.deepcopy(Holder(router=router)).router,
    ],
    ids=["copy", "deepcopy", "deepcopy of a holder", "model_copy", "deepcopy of a model"],
)
def test_a_copied_router_is_the_same_router(copied: Callable[[Router], Router]) -> None:
    router = Router(targets())
    assert copied(router) is router


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_values_are_copied_and_pickled_whole(again: Callable[[Any], Any]) -> None:
    router = Router(targets())
    decision = router.route(REQUESTS[4], constraints=Constraints(max_tier="standard"))
    assert isinstance(decision, Decision)
    for one in (*router.pool, Constraints(tier="mid", max_cost=Decimal("0.1"), deny_providers=("x",)), decision):
        assert again(one) == one
    pool = again(router.pool)
    assert (pool.targets, pool.strongest, pool["big"]) == (
        router.pool.targets,
        router.pool.strongest,
        router.pool["big"],
    )
    assert json.loads(json.dumps(again(decision).to_dict())) == decision.to_dict()


def test_a_deep_copy_of_a_target_shares_nothing_that_can_be_changed_but_keeps_its_key() -> None:
    target = Target(provider="x", model="m", tier="mid", api_key=CANARY, settings={"thinking": {"type": "enabled"}})
    other = copy.deepcopy(target)
    assert other == target
    assert other.api_key is not None
    assert other.api_key.reveal() == CANARY
    other.settings["thinking"]["type"] = "disabled"
    assert target.settings["thinking"]["type"] == "enabled"


# -- pickles -----------------------------------------------------------------------------------------------------------


def test_an_unpickled_router_routes_the_same() -> None:
    router = Router(
        targets(),
        strategy="cheapest",
        baseline="mid",
        table=StrategyTable.parse([({"row": [{"task": "tool_use", "complexity": "simple", "stakes": 90.0}]}, "here")]),
        timeouts=Timeouts(connect=1.5, whole_answer=7.0),
        deadline_s=12.5,
    )
    again = pickle.loads(pickle.dumps(router))
    assert again is not router
    assert planned(again) == planned(router)
    assert again.pool.targets == router.pool.targets
    assert (again.strategy, again.baseline, repr(again)) == (router.strategy, router.baseline, repr(router))
    plan, before = again.prepare(REQUESTS[0])._plan, router.prepare(REQUESTS[0])._plan
    assert plan.timeouts == before.timeouts == Timeouts(connect=1.5, whole_answer=7.0)
    assert plan.deadline is not None
    assert plan.deadline - again.clock.monotonic() <= 12.5


def test_so_it_does_in_another_process() -> None:
    router = Router(targets(), strategy="best")
    script = (
        "import pickle, sys\n"
        "router, requests = pickle.load(sys.stdin.buffer)\n"
        "found = [(d.target, d.reasons, d.candidates) for d in map(router.route, requests)]\n"
        "sys.stdout.buffer.write(pickle.dumps(found))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", script], input=pickle.dumps((router, REQUESTS)), capture_output=True, check=True
    )
    expected = [(d.target, d.reasons, d.candidates) for d in map(router.route, REQUESTS)]
    assert pickle.loads(ran.stdout) == expected


def cached_tokens(router: Router) -> int:
    """How much of the long request is taken to lie in the small target's cache."""
    return router.route(LONG).candidates[0].cached_tokens


def test_what_a_router_has_seen_stays_behind() -> None:
    with ScriptedProvider("It was Ada.", api_key=CANARY) as provider:
        target = provider.target(name="small", model="small", tier="budget", cache_ttl_s=300)
        with Router([target, Target(provider="x", model="m", name="other", tier="mid")]) as router:
            router.complete(LONG)
            now = router.clock.monotonic()
            for _ in range(3):
                router.breakers.force(router.pool["small"], now).failure(Overloaded("busy"), now)
            again = pickle.loads(pickle.dumps(router))
            assert router.breakers.open_until(router.pool["small"], now) is not None
            assert again.breakers.open_until(again.pool["small"], now) is None
            assert [cached_tokens(one) > 0 for one in (router, again)] == [True, False]
            assert isinstance(again.ledger, MemoryLedger)
            assert again.ledger.totals.steps == 0
            assert router.performer is not again.performer
            again.close()


def complete(router: Router) -> None:
    router.complete(ask("hello"))


def acomplete(router: Router) -> None:
    asyncio.run(router.acomplete(ask("hello")))


def stream(router: Router) -> None:
    with router.stream(ask("hello")) as events:
        for _ in events:
            pass


def astream(router: Router) -> None:
    async def run() -> None:
        async with router.astream(ask("hello")) as events:
            async for _ in events:
                pass

    asyncio.run(run())


@pytest.mark.parametrize("way", [complete, acomplete, stream, astream])
@pytest.mark.parametrize("keys", [CANARY, [CANARY, "env:NEVER_SET"], Secret(CANARY)], ids=["text", "first", "secret"])
def test_a_literal_key_is_not_kept_and_calls_say_so(way: Callable[[Router], None], keys: Any) -> None:
    with ScriptedProvider("never", api_key=CANARY) as provider:
        target = Target(name="small", provider="x", model="m", tier="mid", base_url=provider.base_url, api_key=keys)
        data = pickle.dumps(Router([target]))
        assert CANARY.encode() not in data
        router = pickle.loads(data)
        assert router.route(ask("hello")).target == "small"
        with pytest.raises(ConfigError) as caught:
            way(router)
        router.close()
        assert not provider.requests
    assert str(caught.value) == "target 'small': its literal key was not kept in the pickle; give api_key='env:NAME'"
    assert CANARY not in shown(caught.value) + repr(router) + repr(list(router.pool))


def test_a_spare_literal_key_is_not_kept() -> None:
    data = pickle.dumps(Router([Target(provider="x", model="m", tier="mid", api_key=["env:FIRST", CANARY])]))
    assert CANARY.encode() not in data
    (target,) = pickle.loads(data).pool
    assert target.api_key == Secret.env("FIRST")
    assert [key.present for key in target.spare_keys] == [False]


def test_named_keys_are_read_where_the_router_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedProvider("It was Ada.", api_key=CANARY) as provider:
        url = provider.base_url
        named = Target(name="m", provider="x", model="m", tier="mid", base_url=url, api_key=f"env:{VARIABLE}")
        monkeypatch.setenv(VARIABLE, "sk-canary-of-the-parent")
        data = pickle.dumps(Router([named]))
        assert b"canary" not in data
        monkeypatch.setenv(VARIABLE, CANARY)
        with pickle.loads(data) as router:
            assert router.complete(ask("hello")).text == "It was Ada."


def test_the_usual_variables_of_a_provider_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", CANARY)
    data = pickle.dumps(Router([Target(provider="openai", model="gpt-4.1-nano")]))
    assert CANARY.encode() not in data
    (target,) = pickle.loads(data).pool
    assert target.api_key is None
    assert target.usual_keys[0].reveal() == CANARY


# -- what may be given to a router -------------------------------------------------------------------------------------


def test_a_ledger_given_by_its_path_is_opened_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, CANARY)
    with ScriptedProvider("It was Ada.", api_key=CANARY) as provider:
        named = Target(
            name="m", provider="x", model="m", tier="mid", base_url=provider.base_url, api_key=f"env:{VARIABLE}"
        )
        with Router([named], ledger=tmp_path / "ledger.db") as router:
            router.complete(ask("hello"))
            with pickle.loads(pickle.dumps(router)) as again:
                again.complete(ask("hello"))
    with SqliteLedger(tmp_path / "ledger.db") as ledger:
        assert len(list(ledger.decisions)) == 2


def test_a_ledger_of_ones_own_is_left_behind(tmp_path: Path) -> None:
    with SqliteLedger(tmp_path / "ledger.db") as own:
        assert isinstance(pickle.loads(pickle.dumps(Router(targets(), ledger=own))).ledger, MemoryLedger)


@dataclass(frozen=True)
class Careful:
    """A classifier that pickles: its own sufficiency on top of the shipped prediction."""

    version: str = "careful-1"

    def predict(self, step: Step, request: ChatRequest) -> Prediction:
        known = StandardClassifier().predict(step, request)
        return Prediction((0.1, 0.1, 0.1, 1.0), known.task, known.step_kind, 1.0, ("careful",))


class Locked(Careful):
    """One that does not: it holds a lock."""

    def __init__(self) -> None:
        super().__init__()
        object.__setattr__(self, "lock", threading.Lock())


def test_a_classifier_of_ones_own_goes_along() -> None:
    router = Router(targets(), classifier=Careful())
    again = pickle.loads(pickle.dumps(router))
    assert again.policy_version == router.policy_version
    assert planned(again) == planned(router)


def test_a_classifier_that_cannot_be_pickled_is_named() -> None:
    with pytest.raises(ConfigError, match=r"its classifier Locked cannot \(TypeError: .*lock") as caught:
        pickle.dumps(Router(targets(), classifier=Locked()))
    assert caught.value.__context__ is None


class Own(Router):
    """A router of one's own kind."""


def test_a_subclass_stays_one() -> None:
    assert type(pickle.loads(pickle.dumps(Own(targets())))) is Own
