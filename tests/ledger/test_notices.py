"""Notices: what is told of a step, once, in which words, and that telling breaks nothing."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, get_args

import pytest

from agentroute import BudgetExceeded, ConfigError, Notice, Price, Router, StepContext, Target, Usage
from agentroute.decisions import BreakKind, CacheBreak, Decision, StepKind
from agentroute.failover.breaker import Open
from agentroute.ledger.notices import Notices
from agentroute.targets import Tier
from agentroute.testing import Fault, FrozenClock, ScriptedProvider, ScriptedReply
from tests.ledger.test_budget import ANSWER, COST, PRICE, WAYS, ask
from tests.test_decisions import DECISION, Fixed

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
OK = replace(DECISION, outcome="ok", cost=Decimal("0.5"))


class Told(list[Notice]):
    """Everything that was told."""

    def __call__(self, notice: Notice) -> None:
        self.append(notice)

    @property
    def kinds(self) -> list[str]:
        return [notice.kind for notice in self]


@pytest.fixture
def told() -> Told:
    return Told()


_opened: list[Router] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def router_of(targets: list[Target], told: Any, **options: Any) -> Router:
    router = Router(targets, on_notice=told, clock=options.pop("clock", None) or FrozenClock(NOW), **options)
    _opened.append(router)
    return router


@pytest.mark.parametrize("way", WAYS)
def test_a_step_like_any_other_is_not_told_of(told: Told, way: str) -> None:
    with ScriptedProvider(ANSWER) as provider:
        ask(router_of([provider.target(model="m", tier="mid", price=PRICE)], told), way)
    assert told == []


@pytest.mark.parametrize("way", WAYS)
def test_a_fallback(told: Told, way: str) -> None:
    def plan(request: Any) -> Fault | None:
        return Fault.error(503) if request.model == "a" else None

    with ScriptedProvider(ANSWER, fault=plan) as provider:
        dear = Price(input=Decimal(0), output=Decimal(200))
        targets = [
            provider.target(model="a", tier="mid", price=PRICE),
            provider.target(model="b", tier="mid", price=dear),
        ]
        router = router_of(targets, told)
        ask(router, way, context=StepContext(agent="coder", conversation_id="c"))
        (decision,) = router.ledger.decisions  # type: ignore[attr-defined]
    (notice,) = told
    assert (notice.kind, notice.target, notice.agent, notice.conversation_id) == ("fallback", "b", "coder", "c")
    assert (notice.decision_id, notice.usd) == (decision.id, decision.cost)
    assert notice.message == "'b' answered in place of 'a' (Overloaded 503)"
    assert "agentroute report" in notice.remedy
    assert str(notice) == f"{notice.message}; {notice.remedy}"
    assert notice.to_dict()["usd"] == str(decision.cost)


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault.error(401), "check the key"),
        (Fault.error(404), "check the model's name"),
        (Fault.error(429, retry_after=30), "a second key"),
        (Fault.error(402, code="insufficient_quota"), "out of credit"),
    ],
)
def test_what_to_do_depends_on_what_failed(told: Told, fault: Fault, says: str) -> None:
    with ScriptedProvider(ANSWER) as well, ScriptedProvider(ANSWER, fault=fault) as sick:
        targets = [
            sick.target(model="a", tier="mid", price=PRICE),
            well.target(model="b", tier="mid", price=replace(PRICE, output=Decimal(200))),
        ]
        router_of(targets, told).complete("hello")
    assert says in told[0].remedy


def test_a_circuit_is_told_of_once(told: Told) -> None:
    def plan(request: Any) -> Fault | None:
        return Fault.error(503) if request.model == "a" else None

    with ScriptedProvider(ANSWER, fault=plan) as provider:
        targets = [
            provider.target(model="a", tier="mid", price=PRICE),
            provider.target(model="b", tier="mid", price=replace(PRICE, output=Decimal(200))),
        ]
        router = router_of(targets, told)
        for _ in range(6):
            router.complete("hello")
    assert told.kinds == ["fallback", "fallback", "fallback", "circuit"]
    assert told[-1].message == "'a' is left alone for 5 s (Overloaded 503)"


def test_an_escalation(told: Told) -> None:
    failed = [
        {"role": "user", "content": "mend it"},
        {"role": "assistant", "tool_calls": [_call("c1")]},
        {"role": "tool", "tool_call_id": "c1", "content": "Traceback (most recent call last):\nValueError: no"},
    ]
    with ScriptedProvider(ANSWER) as provider:
        low = provider.target(model="low", tier="budget", price=replace(PRICE, output=Decimal(1)))
        high = provider.target(model="high", tier="premium", price=PRICE)
        router = router_of([low, high], told)
        router.complete({"messages": failed[:1]}, constraints={"target": "low"})
        assert told == []
        router.complete({"messages": failed}, constraints={"strategy": "best"})
    (notice,) = told
    assert notice.message == "'high' (premium) takes over from 'low' (budget): a result has failed"


def _call(call_id: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": "run", "arguments": "{}"}}


def test_an_unknown_price_is_told_of_once_an_hour(told: Told, caplog: pytest.LogCaptureFixture) -> None:
    clock = FrozenClock(NOW)
    with ScriptedProvider(ANSWER) as provider:
        router = router_of([provider.target(model="nobody-knows-it", tier="mid")], told, clock=clock)
        for seconds in (0, 10, 3600):
            clock.advance(seconds)
            router.complete("hello")
    assert told.kinds == ["unknown_price"] * 2
    assert told[0].message == "what 'nobody-knows-it' costs is unknown: its price is unknown"
    assert told[0].usd is None
    assert "price = {" in told[0].remedy
    assert sum("unknown_price: " in record.getMessage() for record in caplog.records) == 2


def test_a_broken_cache_is_told_of_once_an_hour_for_each_agent_and_kind(told: Told) -> None:
    notices = Notices(told)
    broken = CacheBreak("message_changed", 3, 40_000, Decimal("0.18"))

    def one(agent: str, kind: BreakKind, now: float) -> None:
        context = StepContext(agent=agent)
        notices.of(replace(OK, context=context, cache_broken=replace(broken, kind=kind)), now)

    one("coder", "message_changed", 0.0)
    one("coder", "message_changed", 60.0)
    assert told.kinds == ["broken_cache"]
    assert told[0].usd == Decimal("0.18")
    assert "message_changed at message 3, 40,000 tokens paid again" in told[0].message
    assert "agentroute doctor" in told[0].remedy
    one("coder", "tools_changed", 61.0)
    one("writer", "message_changed", 62.0)
    one("coder", "message_changed", 3600.0)
    assert told.kinds == ["broken_cache"] * 4


@pytest.mark.parametrize("kind", get_args(BreakKind))
def test_a_broken_cache(told: Told, kind: BreakKind) -> None:
    notices = Notices(told)
    broken = CacheBreak(kind, 3, 9_000, Decimal("0.04"))
    context = StepContext(conversation_id="c")
    for seconds in (0.0, 10.0, 3700.0):
        notices.of(replace(OK, cache_broken=broken, context=context), seconds)
    notices.of(replace(OK, cache_broken=broken, context=StepContext(conversation_id="d")), 3700.0)
    assert told.kinds == ["broken_cache"] * 3
    assert told[0].usd == Decimal("0.04")
    assert told[0].message.startswith("'small' had 9,000 tokens of this prompt cached and did not read them: ")
    assert str(broken) in told[0].message
    assert "agentroute doctor" in told[0].remedy


def test_usage_that_nobody_counted_is_told_of(told: Told) -> None:
    with ScriptedProvider(ScriptedReply("hello", usage=Usage(None, None))) as provider:
        router_of([provider.target(model="m", tier="mid", price=PRICE)], told).complete("hello")
    assert told.kinds == ["unknown_price"]
    assert "cost_problem" in told[0].remedy


@pytest.mark.parametrize("way", WAYS)
def test_a_budget_near_its_end_and_at_it(told: Told, way: str) -> None:
    with ScriptedProvider(ANSWER) as provider:
        budget = {"agent": {"a": COST * 5}}
        router = router_of([provider.target(model="m", tier="mid", price=PRICE)], told, budget=budget)
        for _ in range(5):
            ask(router, way, context=StepContext(agent="a"))
        for _ in range(3):
            with pytest.raises(BudgetExceeded) as refused:
                ask(router, way, context=StepContext(agent="a"))
    assert told.kinds == ["budget", "budget"]
    near, used_up = told
    assert near.message.endswith("spent before this step: the budget of the agent 'a' for this day is near its end")
    assert (near.usd, used_up.usd) == (COST * 3, COST * 5)
    assert used_up.message + "; " + used_up.remedy == str(refused.value)


def test_a_step_above_its_max_cost(told: Told) -> None:
    with ScriptedProvider(ScriptedReply("hello", usage=Usage(10, 1_000))) as provider:
        router = router_of([provider.target(model="m", tier="mid", price=PRICE)], told)
        router.complete("hello", constraints={"max_cost": 0.02})
    assert told.kinds == ["budget"]
    assert told[0].message == "a step cost more than its max_cost (paid $0.100000, max_cost is $0.020000)"


def test_nothing_suffices(told: Told) -> None:
    with ScriptedProvider(ANSWER) as provider:
        targets = [provider.target(model=tier, tier=tier, price=PRICE) for tier in ("mid", "premium")]
        router = router_of(targets, told, classifier=Fixed(0.1, 0.2, 0.3, 0.4))
        for _ in range(2):
            router.complete("hello", context=StepContext(conversation_id="c"))
        router.complete("hello", context=StepContext(conversation_id="d"))
    assert told.kinds == ["floor_missed"] * 2
    assert told[0].message == "no target here is likely to do this step: P 0.40 at best ('premium')"


def test_a_run_that_costs_three_times_the_median(told: Told) -> None:
    notices = Notices(told)

    def step(conversation: str, cost: str, role: str = "coder") -> None:
        context = StepContext(conversation_id=conversation, role=role)
        notices.of(replace(OK, id=conversation, context=context, cost=Decimal(cost)), 0.0)

    for number in range(5):
        step(str(number), "0.4")
        step(str(number), "0.6")
    for _ in range(3):
        step("dear", "1")
    assert told == []
    for _ in range(3):
        step("dear", "0.5")
    (notice,) = told
    assert (notice.kind, notice.usd, notice.conversation_id) == ("run_cost", Decimal("3.5"), "dear")
    assert notice.message == (
        "the run of 'coder' in conversation 'dear' has cost $3.5000 so far, 3.5 times the median of 5 others ($1.0000)"
    )
    step("another role's", "9", role="writer")
    step("too few", "9", role="writer")
    assert len(told) == 1


def test_runs_that_go_on_at_the_same_time_are_held_against_what_they_cost_by_now(told: Told) -> None:
    notices = Notices(told)
    for _ in range(20):
        for conversation in range(10):
            context = StepContext(conversation_id=str(conversation), role="coder")
            notices.of(replace(OK, context=context), 0.0)
    assert told == []


def test_steps_of_unknown_cost_or_conversation_make_no_run(told: Told) -> None:
    notices = Notices(told)
    for number in range(20):
        notices.of(replace(OK, cost=None, context=StepContext(conversation_id=str(number))), 0.0)
        notices.of(OK, 0.0)
    assert "run_cost" not in told.kinds


def test_what_is_remembered_is_bounded(told: Told) -> None:
    notices = Notices(told)
    for number in range(1_200):
        context = StepContext(conversation_id=str(number), role=str(number % 600))
        notices.of(replace(OK, context=context), float(number), opened={str(number): Open(5.0, "x")})
    assert len(notices._runs) <= 500
    assert len(told) == 1_200


# -- telling breaks nothing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_callback_that_raises_never_breaks_the_call(way: str, caplog: pytest.LogCaptureFixture) -> None:
    def broken(_: Notice) -> None:
        raise ValueError("the alarm is out of order")

    with ScriptedProvider(ANSWER) as provider:
        router = router_of([provider.target(model="nobody-knows-it", tier="mid")], broken)
        ask(router, way)
        assert len(router.ledger.decisions) == 1  # type: ignore[attr-defined]
    assert "on_notice failed at a notice of unknown_price" in caplog.text


def test_a_callback_that_raises_does_not_hide_the_budget_s_error() -> None:
    def broken(_: Notice) -> None:
        raise ValueError("the alarm is out of order")

    with ScriptedProvider(ANSWER) as provider:
        router = router_of([provider.target(model="m", tier="mid", price=PRICE)], broken, budget=0)
        with pytest.raises(BudgetExceeded):
            router.complete("hello")


def test_a_callback_may_ask_the_router() -> None:
    answers: list[Decision] = []
    with ScriptedProvider(ANSWER) as provider:
        targets = [provider.target(model="nobody-knows-it", tier="mid")]
        router = router_of(targets, lambda _: answers.append(router.route("hello")))
        router.complete("hello")
    assert len(answers) == 1


@pytest.mark.parametrize(
    ("wrong", "says"), [("log", "on_notice is 'log'"), (asyncio.sleep, "on_notice is a coroutine function")]
)
def test_what_cannot_be_called_is_refused(wrong: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        Router([Target(provider="openai", model="gpt-6-luna")], on_notice=wrong)


def test_an_object_with_a_coroutine_is_refused() -> None:
    class Asynchronous:
        async def __call__(self, notice: Notice) -> None: ...

    with pytest.raises(ConfigError, match="on_notice is a coroutine function"):
        Notices(Asynchronous())


def test_a_pickle_keeps_a_function_of_a_module_and_refuses_another() -> None:
    targets = [Target(provider="openai", model="gpt-6-luna", api_key="env:OPENAI_API_KEY")]
    loaded = pickle.loads(pickle.dumps(Router(targets, on_notice=print)))
    assert loaded.notices.on_notice is print
    with pytest.raises(ConfigError, match="its on_notice cannot"):
        pickle.dumps(Router(targets, on_notice=lambda _: None))


def test_an_escalation_is_no_warning_and_a_fallback_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "agentroute")
    was = Target(name="was", provider="openai", model="gpt-6-luna", tier="budget")
    now = replace(OK.candidates[0], target="now", tier=Tier.PREMIUM)
    risen = replace(OK, step_kind=StepKind.REPEATED_CALL, candidates=(now,))
    notices = Notices()
    (notice,) = notices.of(risen, 0.0, before=was)
    assert notice.message == "'now' (premium) takes over from 'was' (budget): a call was repeated"
    (notice,) = notices.of(replace(risen, step_kind=StepKind.FIRST_ASK), 0.0, before=was, check="tests")
    assert notice.message == "'now' (premium) takes over from 'was' (budget): the check 'tests' failed"
    assert notices.of(replace(risen, step_kind=StepKind.FIRST_ASK), 0.0, before=was) == ()
    assert [record.levelname for record in caplog.records] == ["INFO"] * 2


def test_a_check_that_fails_is_told_as_an_escalation(told: Told) -> None:
    asked = [{"role": "user", "content": "mend it"}]
    done = [
        *asked,
        {"role": "assistant", "tool_calls": [_call("c1")]},
        {"role": "tool", "tool_call_id": "c1", "content": "all is well, but the check says it is not"},
    ]
    with ScriptedProvider(ANSWER) as provider:
        low = provider.target(model="low", tier="budget", price=replace(PRICE, output=Decimal(1)))
        high = provider.target(model="high", tier="premium", price=PRICE)
        router = router_of([low, high], told, checks={"tool:run": lambda _: False})
        router.complete({"messages": asked}, constraints={"target": "low"})
        assert router.complete({"messages": done}).decision.target == "high"  # type: ignore[union-attr]
    assert [notice.message for notice in told] == [
        "'high' (premium) takes over from 'low' (budget): the check 'tool:run' failed"
    ]
