"""Budgets: what is limited, how much is set aside, what counts afterwards, and what outlives a process."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentroute import (
    AgentRouteError,
    Attempt,
    Budget,
    BudgetExceeded,
    ChatRequest,
    ConfigError,
    Limit,
    NoCandidateError,
    Price,
    Router,
    StepContext,
    Target,
    Usage,
)
from agentroute.ledger import Spending, SqliteLedger
from agentroute.ledger.budget import Place
from agentroute.testing import Fault, FrozenClock, ScriptedProvider, ScriptedReply
from tests.test_decisions import DECISION, Fixed

ROOT = Path(__file__).parents[2]
NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
PRICE = Price(input=Decimal(0), output=Decimal(100))
"""USD per million: what an answer costs is known to the cent."""
COST = Decimal("0.0115")
"""Of an answer of 115 tokens, which is what is expected of "hello"."""
ANSWER = ScriptedReply("hello", usage=Usage(10, 115))
DAY = Place("all", "", "day", "2026-11-28")


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(ANSWER) as provider:
        yield provider


def router_of(provider: ScriptedProvider, budget: Any, **options: Any) -> Router:
    targets = options.pop("targets", None) or [provider.target(model="m", tier="mid", price=PRICE)]
    clock = options.pop("clock", None) or FrozenClock(NOW)
    router = Router(targets, budget=budget, clock=clock, **options)
    _opened.append(router)
    return router


_opened: list[Router] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    yield
    while _opened:
        _opened.pop().close()


def attempt(call: Callable[[], Any]) -> str:
    try:
        call()
    except BudgetExceeded:
        return "refused"
    except AgentRouteError as error:
        return type(error).__name__
    return "served"


# -- what is limited ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("budget", "context", "places"),
    [
        ({"day": 5}, {}, {"all//day": 5}),
        (5, {"agent": "a", "key": "k"}, {"all//day": 5}),
        ({"month": 9, "conversation": 1}, {"conversation_id": "c"}, {"all//month": 9, "all//conversation": 1}),
        ({"agent": 3}, {"agent": "a"}, {"agent/a/day": 3}),
        ({"agent": 3}, {}, {"agent//day": 3}),
        ({"agent": {"day": 3, "month": 4}}, {"agent": "a"}, {"agent/a/day": 3, "agent/a/month": 4}),
        ({"agent": {"a": 3, "*": {"month": 4}}}, {"agent": "a"}, {"agent/a/day": 3}),
        ({"agent": {"a": 3, "*": {"month": 4}}}, {"agent": "b"}, {"agent/b/month": 4}),
        ({"agent": {"a": 3}}, {"agent": "b"}, {}),
        ({"agent": {"day": {"day": 3}}}, {"agent": "day"}, {"agent/day/day": 3}),
        ({"key": {"k": Limit(conversation=Decimal(2))}}, {"key": "k"}, {"key/k/conversation": 2}),
        ({"key": {"k": 1}, "agent": {"*": 2}}, {"key": "k", "agent": "a"}, {"agent/a/day": 2, "key/k/day": 1}),
    ],
)
def test_which_limits_hold_for_a_step(budget: Any, context: dict[str, str], places: dict[str, int]) -> None:
    bounds = Budget.of(budget).bounds(StepContext(**context), NOW, lambda: 0)
    assert {f"{p.scope}/{p.name}/{p.period}": limit for p, limit in bounds} == places


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"day": -1}, "budget.day is -1; give USD, 0 or more"),
        ({"day": "5"}, "budget.day is '5'"),
        ({"day": True}, "budget.day is True"),
        ({"month": float("nan")}, "budget.month is nan"),
        ({"mnth": 5}, r"unknown key 'budget.mnth'; did you mean 'month'\?"),
        ({"agent": {"a": {"daily": 5}}}, "unknown key 'budget.agent.a.daily'"),
        ({"agent": {"a": "much"}}, "budget.agent.a is 'much'"),
        ({"key": {"k": {"month": -1}}}, "budget.key.k.month is -1"),
        ("much", "budget is 'much'"),
    ],
)
def test_a_wrong_budget_names_the_key(wrong: Any, said: str, provider: ScriptedProvider) -> None:
    with pytest.raises(ConfigError, match=said):
        router_of(provider, wrong)


@pytest.mark.parametrize(
    ("budget", "said"),
    [
        (5, "$5.0000 a day for all steps"),
        (
            {"month": 1000, "agent": {"a": {"conversation": 0.1}, "*": 1}, "key": 3},
            "$1,000.00 a month for all steps; $0.1000 a conversation for the agent 'a'; "
            "$1.0000 a day for each other agent; $3.0000 a day for each other key",
        ),
        ({"key": {"k": {}}}, "any for all steps; any for the key 'k'"),
    ],
)
def test_a_budget_is_written_down_and_read_back(budget: Any, said: str) -> None:
    given = Budget.of(budget)
    assert str(given) == said
    assert Budget.of(json.loads(json.dumps(given.to_dict()))) == given


def test_a_target_without_a_price_is_told_of_at_the_start(
    provider: ScriptedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    unpriced = provider.target(model="nobody-knows-it", tier="mid")
    router_of(provider, {"day": 5}, targets=[unpriced])
    assert "'nobody-knows-it' has no known price, so it does not serve under a budget" in caplog.text


def test_a_budget_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "agentroute.toml"
    target = '[[target]]\nprovider = "openai"\nmodel = "gpt-6-luna"\n'
    path.write_text(target + "[budget]\nday = 50\nagent = { researcher = { conversation = 0.5 }, '*' = 10 }\n")
    with Router.from_config(path) as router:
        assert router.budget == Budget(day=50, agent={"researcher": {"conversation": 0.5}, "*": 10})
    path.write_text(target + "[budget.agent.researcher]\ndaily = 3\n")
    with pytest.raises(ConfigError, match=r"agentroute.toml: unknown key 'budget.agent.researcher.daily'"):
        Router.from_config(path)


# -- calls -------------------------------------------------------------------------------------------------------------


def ask(router: Router, way: str, **options: Any) -> None:
    if way == "plain":
        router.complete("hello", **options)
    elif way == "stream":
        with router.stream("hello", **options) as stream:
            for _ in stream:
                pass
    elif way == "async plain":

        async def complete() -> None:
            async with router:
                await router.acomplete("hello", **options)

        asyncio.run(complete())
    else:

        async def read() -> None:
            async with router, router.astream("hello", **options) as stream:
                async for _ in stream:
                    pass

        asyncio.run(read())


WAYS = ("plain", "stream", "async plain", "async stream")


@pytest.mark.parametrize("way", WAYS)
def test_a_budget_for_three_serves_three(provider: ScriptedProvider, way: str) -> None:
    router = router_of(provider, {"day": COST * 3})
    said = [attempt(lambda: ask(router, way)) for _ in range(5)]
    assert said == ["served"] * 3 + ["refused"] * 2
    assert len(provider.requests) == 3
    assert router.spending.spent(DAY) == (COST * 3, 0, 0)


@pytest.mark.parametrize(
    ("budget", "one", "other"),
    [
        ({"agent": {"a": COST}}, {"agent": "a"}, {"agent": "b"}),
        ({"agent": COST}, {"agent": "a"}, {"agent": "b"}),
        ({"key": COST}, {"key": "alice"}, {"key": "bob"}),
        ({"conversation": COST}, {"conversation_id": "1"}, {"conversation_id": "2"}),
        ({"agent": {"conversation": COST}}, {"agent": "a", "conversation_id": "1"}, {"agent": "b"}),
    ],
)
def test_one_that_is_used_up_does_not_stop_another(
    provider: ScriptedProvider, budget: Any, one: dict[str, str], other: dict[str, str]
) -> None:
    router = router_of(provider, budget)
    router.complete("hello", context=StepContext(**one))
    with pytest.raises(BudgetExceeded) as refused:
        router.complete("hello", context=StepContext(**one))
    assert refused.value.name == next((one[key] for key in ("agent", "key") if key in one), None)
    router.complete("hello", context=StepContext(**other))


def test_the_error_says_who_how_much_and_until_when(provider: ScriptedProvider) -> None:
    router = router_of(provider, {"agent": {"researcher": {"month": COST}}})
    context = StepContext(agent="researcher")
    router.complete("hello", context=context)
    with pytest.raises(BudgetExceeded) as refused:
        router.complete("hello", context=context)
    error = refused.value
    assert (error.scope, error.name, error.period) == ("agent", "researcher", "month")
    assert (error.limit, error.spent, error.held, error.needed) == (COST, COST, 0, COST)
    assert error.until == datetime(2026, 12, 1, tzinfo=UTC)
    assert not error.passing
    assert str(error) == (
        "the budget of the agent 'researcher' for this month does not hold this call: $0.0115 of $0.0115 spent, "
        "~$0.0115 needed; it is free again at 2026-12-01T00:00:00+00:00, or raise the limit (budget.agent.month)"
    )
    assert error.decision is not None
    assert error.decision.outcome == "planned"
    assert len(router.ledger.decisions) == 1  # type: ignore[attr-defined]


def test_no_weaker_model_takes_the_place_of_the_chosen_one(provider: ScriptedProvider) -> None:
    cheap = provider.target(model="c", tier="budget", price=Price(input=0, output=Decimal("0.001")))  # type: ignore[arg-type]
    dear = provider.target(model="d", tier="premium", price=PRICE)
    hard = Fixed(0.1, 0.2, 0.3, 0.9)
    router = router_of(provider, {"day": COST * 3 / 2}, targets=[cheap, dear], classifier=hard, strategy="best")
    assert router.complete("hello").decision.target == "d"
    with pytest.raises(BudgetExceeded):
        router.complete("hello")
    assert router.complete("hello", constraints={"max_tier": "budget"}).decision.target == "c"


def test_a_new_day_begins_anew(provider: ScriptedProvider) -> None:
    clock = FrozenClock(datetime(2026, 11, 30, 23, 59, 50, tzinfo=UTC))
    router = router_of(provider, {"day": COST, "month": COST * 2}, clock=clock)
    assert [attempt(lambda: router.complete("hello")) for _ in range(2)] == ["served", "refused"]
    clock.advance(20)
    assert [attempt(lambda: router.complete("hello")) for _ in range(2)] == ["served", "refused"]
    assert router.spending.spent(Place("all", "", "month", "2026-12"))[0] == COST
    assert router.spending.spent(Place("all", "", "day", "2026-11-30"))[0] == 0


def test_a_call_over_midnight_counts_for_the_day_it_began(provider: ScriptedProvider) -> None:
    clock = FrozenClock(datetime(2026, 11, 28, 23, 59, 50, tzinfo=UTC))
    router = router_of(provider, {"day": COST}, clock=clock)
    with router.stream("hello") as stream:
        next(iter(stream))
        clock.advance(20)
        assert attempt(lambda: router.complete("hello")) == "served"
    assert router.spending.spent(DAY)[2] == 0
    assert router.spending.spent(Place("all", "", "day", "2026-11-29")) == (COST, 0, 0)


def test_a_conversation_without_an_id_is_known_by_its_opening(provider: ScriptedProvider) -> None:
    router = router_of(provider, {"conversation": COST * 2})
    asked = [{"role": "system", "content": "help"}, {"role": "user", "content": "one"}]
    longer = [*asked, {"role": "assistant", "content": "hello"}, {"role": "user", "content": "more"}]
    said = [attempt(lambda m=m: router.complete(m)) for m in (asked, longer, longer)]  # type: ignore[misc]
    assert said == ["served", "served", "refused"]
    router.complete([asked[0], {"role": "user", "content": "two"}])


# -- at the same time --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["threads", "tasks", "streams"])
def test_two_hundred_at_once_against_a_budget_for_ten(way: str) -> None:
    with ScriptedProvider(ANSWER, fault=Fault.slow(0.1)) as provider:
        router = router_of(provider, {"day": COST * Decimal("10.5")})
        if way == "tasks":

            async def one() -> str:
                try:
                    await router.acomplete("hello")
                except BudgetExceeded:
                    return "refused"
                return "served"

            async def many() -> list[str]:
                async with router:
                    return await asyncio.gather(*(one() for _ in range(200)))

            said = asyncio.run(many())
        else:
            call = {"threads": "plain", "streams": "stream"}[way]
            with ThreadPoolExecutor(50) as pool:
                said = list(pool.map(lambda _: attempt(lambda: ask(router, call)), range(200)))
        assert len(provider.requests) == said.count("served") == 10
        assert set(said) == {"served", "refused"}
        assert router.spending.spent(DAY) == (COST * 10, 0, 0)


def test_what_is_in_flight_may_cost_more_than_expected_and_nobody_else_is_let_in() -> None:
    dear = ScriptedReply("hello", usage=Usage(10, 1150))
    with ScriptedProvider(dear, fault=Fault.slow(0.1)) as provider:
        router = router_of(provider, {"day": COST * 10})
        with ThreadPoolExecutor(50) as pool:
            said = list(pool.map(lambda _: attempt(lambda: router.complete("hello")), range(200)))
        assert said.count("served") <= 10
        assert attempt(lambda: router.complete("hello")) == "refused"


def test_what_the_caller_allows_is_set_aside(provider: ScriptedProvider) -> None:
    router = router_of(provider, {"day": 1})
    asked = ChatRequest.of({"messages": [{"role": "user", "content": "hello"}], "max_tokens": 500})
    with router.stream(asked) as stream:
        next(iter(stream))
        assert router.spending.spent(DAY) == (0, 0, Decimal("0.05"))
    wide = replace(asked, sampling=replace(asked.sampling, max_output_tokens=100_000))
    with router.stream(wide) as stream:
        next(iter(stream))
        assert router.spending.spent(DAY) == (COST, COST, (1 - COST) / 10)


def test_a_call_that_may_write_much_does_not_shut_out_the_others() -> None:
    spending = Spending()
    five = [(DAY, Decimal(5))]
    held = [spending.reserve(five, Decimal("0.03"), Decimal("0.8"), NOW, 0.0) for _ in range(20)]
    assert spending.spent(DAY)[2] <= 5
    with pytest.raises(BudgetExceeded) as refused:
        held += [spending.reserve(five, Decimal("0.03"), Decimal("0.8"), NOW, 0.0) for _ in range(200)]
    assert refused.value.passing
    assert "set aside for calls in flight" in str(refused.value)
    assert "wait until one of those has ended" in str(refused.value)


def test_free_calls_pass_where_all_is_spent() -> None:
    spending = Spending()
    spending.reserve([(DAY, COST)], COST, COST, NOW, 0.0).settle(
        replace(DECISION, outcome="ok", cost=COST * 2, attempts=(_ATTEMPT,))
    )
    free = Decimal(0)
    spending.reserve([(DAY, COST)], free, free, NOW, 0.0)
    with pytest.raises(BudgetExceeded):
        spending.reserve([(DAY, COST)], Decimal("0.0001"), free, NOW, 0.0)


# -- what counts -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_a_failed_call_releases_what_it_held(way: str) -> None:
    with ScriptedProvider(ANSWER, fault=Fault.error(400)) as provider:
        router = router_of(provider, {"day": COST})
        assert [attempt(lambda: ask(router, way)) for _ in range(3)] == ["InvalidRequest"] * 3
        assert router.spending.spent(DAY) == (0, 0, 0)


def test_what_failed_attempts_cost_counts_too() -> None:
    def plan(request: Any) -> Fault | None:
        return Fault.error(503) if request.model == "sick" else None

    with ScriptedProvider(ANSWER, fault=plan) as provider:
        targets = [provider.target(model=name, tier="mid", price=PRICE) for name in ("sick", "well")]
        router = router_of(provider, {"day": 1}, targets=targets)
        decision = router.complete("hello").decision
        assert decision is not None
        assert router.spending.spent(DAY) == (decision.cost, 0, 0)


def test_an_unknown_cost_counts_as_expected_and_is_marked() -> None:
    without = ScriptedReply("hello", usage=Usage(None, None))
    with ScriptedProvider(without) as provider:
        router = router_of(provider, {"day": COST * 2})
        decision = router.complete("hello").decision
        assert decision is not None
        assert decision.cost is None
        assert router.spending.spent(DAY) == (COST, COST, 0)
        router.complete("hello")
        with pytest.raises(BudgetExceeded, match=r"\(~\$0.0230 of it estimated\)"):
            router.complete("hello")


@pytest.mark.parametrize("way", ["closed", "forgotten", "asynchronous"])
def test_an_abandoned_stream_releases_what_it_held(provider: ScriptedProvider, way: str) -> None:
    router = router_of(provider, {"day": COST * 2})
    if way == "asynchronous":

        async def give_up() -> None:
            async with router:
                stream = router.astream("hello")
                await anext(aiter(stream))
                await stream.aclose()

        asyncio.run(give_up())
    else:
        stream = router.stream("hello")
        next(iter(stream))
        assert router.spending.spent(DAY)[2] == COST
        if way == "closed":
            stream.close()
        del stream
        gc.collect()
    assert router.spending.spent(DAY) == (COST, COST, 0)


def test_a_cancelled_task_releases_what_it_held() -> None:
    async def cancelled(router: Router) -> None:
        async with router:
            task = asyncio.create_task(router.acomplete("hello"))
            while router.spending.spent(DAY)[2] == 0:
                await asyncio.sleep(0.01)
            task.cancel()
            await asyncio.wait([task])

    with ScriptedProvider(ANSWER, fault=Fault.stall()) as provider:
        router = router_of(provider, {"day": COST * 2})
        asyncio.run(cancelled(router))
        assert router.spending.spent(DAY) == (COST, COST, 0)


def test_what_was_planned_and_never_begun_holds_nothing(provider: ScriptedProvider) -> None:
    router = router_of(provider, {"day": COST})
    router.route("hello")
    router.prepare("hello")
    router.stream("hello")
    assert router.spending.spent(DAY) == (0, 0, 0)
    router.complete("hello")
    assert router.route("hello").target == "m"


def test_a_hold_that_nobody_settles_is_released() -> None:
    spending = Spending()
    hold = spending.reserve([(DAY, COST)], COST, COST, NOW, 0.0)
    del hold
    gc.collect()
    assert spending.spent(DAY) == (COST, COST, 0)


def test_a_hold_settles_once_and_from_inside_another_call() -> None:
    """A finalizer may settle while its own thread is inside: it must not wait for the lock it holds."""
    spending = Spending()
    hold = spending.reserve([(DAY, COST * 3)], COST, COST, NOW, 0.0)
    done = replace(DECISION, outcome="ok", cost=COST, attempts=(_ATTEMPT,))
    with spending._lock:
        hold.settle(done)
        hold.settle(done)
    assert spending.spent(DAY) == (COST, 0, 0)


_ATTEMPT = Attempt("m", "ok", 0.0, 0.1, cost=COST)


def test_a_target_without_a_price_does_not_serve_under_a_budget(provider: ScriptedProvider) -> None:
    unpriced = provider.target(model="nobody-knows-it", tier="mid")
    router = router_of(provider, {"agent": {"a": 5}}, targets=[unpriced])
    with pytest.raises(NoCandidateError, match="its price is unknown, so the budget cannot be kept"):
        router.complete("hello", context=StepContext(agent="a"))
    router.complete("hello", context=StepContext(agent="b"))


def test_a_budget_of_nothing_lets_free_models_through(provider: ScriptedProvider) -> None:
    free = provider.target(model="f", tier="mid", price=Price(input=Decimal(0), output=Decimal(0)))
    router_of(provider, {"day": 0}, targets=[free]).complete("hello")
    with pytest.raises(BudgetExceeded):
        router_of(provider, {"day": 0}).complete("hello")


# -- what outlives a process -------------------------------------------------------------------------------------------


def test_what_was_spent_outlives_a_restart(provider: ScriptedProvider, tmp_path: Path) -> None:
    budget = {"day": COST * 4, "agent": {"a": {"month": COST * 2}}, "conversation": COST * 3, "key": {"k": COST}}
    context = StepContext(agent="a", conversation_id="c", key="k")
    with router_of(provider, budget, ledger=tmp_path / "l.db") as router:
        router.complete("hello", context=context)
        router.complete("hello", context=replace(context, key=None))
    with router_of(provider, budget, ledger=tmp_path / "l.db") as router:
        for changed, scope in (({}, "agent"), ({"agent": "b"}, "key"), ({"agent": "a", "key": "l"}, "agent")):
            with pytest.raises(BudgetExceeded) as refused:
                router.complete("hello", context=replace(context, **changed))  # type: ignore[arg-type]
            assert refused.value.scope == scope
        router.complete("hello", context=replace(context, agent="b", key="l"))
        with pytest.raises(BudgetExceeded, match="the conversation 'c'"):
            router.complete("hello", context=replace(context, agent="b", key="l"))


def test_unknown_costs_outlive_a_restart_as_estimates(tmp_path: Path) -> None:
    with ScriptedProvider(ScriptedReply("hello", usage=Usage(None, None))) as provider:
        with router_of(provider, COST, ledger=tmp_path / "l.db") as router:
            router.complete("hello")
        with router_of(provider, COST, ledger=tmp_path / "l.db") as router, pytest.raises(BudgetExceeded) as refused:
            router.complete("hello")
    assert (refused.value.spent, refused.value.estimated) == (COST, COST)


def test_yesterday_and_last_month_do_not_count(provider: ScriptedProvider, tmp_path: Path) -> None:
    def opened(at: datetime) -> Router:
        budget = {"day": COST, "month": COST * 2}
        return router_of(provider, budget, ledger=tmp_path / "l.db", clock=FrozenClock(at))

    for at in ((10, 31), (11, 1), (11, 28)):
        with opened(datetime(2026, *at, tzinfo=UTC)) as router:
            router.complete("hello")
    with opened(datetime(2026, 11, 29, tzinfo=UTC)) as router, pytest.raises(BudgetExceeded) as refused:
        router.complete("hello")
    assert refused.value.period == "month"


def test_routers_that_share_a_file_see_each_other(provider: ScriptedProvider, tmp_path: Path) -> None:
    clock = FrozenClock(NOW)
    one, other = (router_of(provider, COST * 3, ledger=tmp_path / "l.db", clock=clock) for _ in range(2))
    with one, other:
        for router in (one, other, one):
            router.complete("hello")
            assert isinstance(router.ledger, SqliteLedger)
            router.ledger.flush()
            clock.advance(2)
        for router in (one, other):
            with pytest.raises(BudgetExceeded):
                router.complete("hello")
            assert router.spending.spent(DAY) == (COST * 3, 0, 0)


@pytest.mark.parametrize("interrupted", [False, True])
def test_another_kind_of_limit_reads_the_ledger_again_and_counts_nothing_twice(
    provider: ScriptedProvider, tmp_path: Path, interrupted: bool
) -> None:
    month = Place("all", "", "month", "2026-11")
    with router_of(provider, 1, ledger=tmp_path / "l.db") as router:
        assert isinstance(router.ledger, SqliteLedger)
        router.complete("hello")
        with router.stream("hello") as stream:
            list(stream)
            in_flight = router.spending.reserve([(DAY, Decimal(1))], COST, COST, NOW, 0.0)
        if interrupted:  # it ends while another thread is inside, and is in the file before that is noticed
            done = replace(DECISION, id="x", created_at=NOW, outcome="ok", cost=COST, attempts=(_ATTEMPT,))
            with router.spending._lock:
                in_flight.settle(done)
            router.ledger.append(done)
        router.ledger.flush()
        router.keep(Budget(month=1))
        spent, held = (COST * 3, 0) if interrupted else (COST * 2, COST)
        assert router.spending.spent(DAY) == (spent, 0, held)
        assert router.spending.spent(month)[0] == spent


def test_a_router_that_shares_what_was_spent(provider: ScriptedProvider) -> None:
    one = router_of(provider, COST)
    one.complete("hello")
    other = router_of(provider, COST, spending=one.spending)
    with pytest.raises(BudgetExceeded):
        other.complete("hello")


def test_a_ledger_that_cannot_be_read_is_told_once(
    provider: ScriptedProvider, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = FrozenClock(NOW)
    with router_of(provider, COST * 9, ledger=tmp_path / "l.db", clock=clock) as router:
        router.complete("hello")
        assert isinstance(router.ledger, SqliteLedger)
        router.ledger.close()
        (tmp_path / "l.db").rename(tmp_path / "moved.db")
        for _ in range(3):
            clock.advance(2)
            with router.stream("hello") as stream:
                next(iter(stream))
    assert sum("the budget cannot read" in record.getMessage() for record in caplog.records) == 1


KILLED = """
import sys, threading, time
from decimal import Decimal
from agentroute import Price, Router, Target
target = Target(name="m", provider="scripted", model="m", base_url=sys.argv[1], api_key="scripted-key", tier="mid",
                price=Price(input=Decimal(0), output=Decimal(100)))
router = Router([target], budget={"day": Decimal(sys.argv[3])}, ledger=sys.argv[2])
for _ in range(3):
    threading.Thread(target=router.complete, args=("hello",), daemon=True).start()
while len([1 for p, s in list(router.spending._sums.items()) if s.held >= Decimal(sys.argv[3])]) == 0:
    time.sleep(0.01)
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_nothing_set_aside(tmp_path: Path) -> None:
    with ScriptedProvider(ANSWER, fault=Fault.stall()) as provider:
        command = [sys.executable, "-c", KILLED, provider.base_url, str(tmp_path / "l.db"), str(COST * 3)]
        child = subprocess.Popen(
            command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        assert child.stdout is not None
        assert child.stderr is not None
        with child.stdout, child.stderr:
            assert child.stdout.readline() == b"held\n", child.stderr.read()
            child.send_signal(signal.SIGKILL)
            child.wait()
    with (
        ScriptedProvider(ANSWER) as provider,
        router_of(provider, COST * 3, ledger=tmp_path / "l.db") as router,
    ):
        assert [attempt(lambda: router.complete("hello")) for _ in range(4)] == ["served"] * 3 + ["refused"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("file", [True, False], ids=["file", "memory"])
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_forked_child_holds_nothing_and_knows_what_was_spent(
    provider: ScriptedProvider, tmp_path: Path, file: bool
) -> None:
    router = router_of(provider, COST * 3, ledger=tmp_path / "l.db" if file else None)
    router.complete("hello")
    if isinstance(router.ledger, SqliteLedger):
        router.ledger.flush()
    with router.stream("hello") as stream:
        next(iter(stream))
        router.spending._lock.acquire()  # as another thread may
        child = os.fork()
        if child == 0:
            hold = router.spending.reserve([(DAY, COST * 3)], COST, COST, NOW, 0.0)
            spent, _, held = router.spending.spent(DAY)
            os._exit(0 if (spent, held) == (COST, COST) and not hold.near else 1)
        router.spending._lock.release()
        assert os.waitpid(child, 0)[1] == 0
    router.close()


def test_a_pickle_holds_the_budget_and_not_what_was_spent(tmp_path: Path) -> None:
    targets = [Target(provider="openai", model="gpt-6-luna", api_key="env:OPENAI_API_KEY")]
    router = Router(targets, budget={"day": 5, "agent": {"a": {"month": 2}}})
    router.spending.reserve([(DAY, Decimal(5))], COST, COST, NOW, 0.0)
    loaded = pickle.loads(pickle.dumps(router))
    assert loaded.budget == router.budget
    assert loaded.spending.spent(DAY) == (0, 0, 0)


def test_what_is_remembered_is_bounded() -> None:
    spending = Spending(max_places=10)
    for number in range(100):
        place = Place("all", "", "conversation", str(number))
        spending.reserve([(DAY, Decimal(9)), (place, COST)], COST, COST, NOW, 0.0).settle(
            replace(DECISION, id=str(number), outcome="ok", cost=COST, attempts=(_ATTEMPT,))
        )
    assert len(spending._sums) <= 10
    assert spending.spent(DAY)[0] == COST * 100


def test_threads_do_not_lose_a_cent() -> None:
    spending = Spending()

    def spend(name: int) -> None:
        for number in range(200):
            hold = spending.reserve([(DAY, Decimal(1000))], COST, COST, NOW, 0.0)
            hold.settle(replace(DECISION, id=f"{name}-{number}", outcome="ok", cost=COST, attempts=(_ATTEMPT,)))

    threads = [threading.Thread(target=spend, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert spending.spent(DAY) == (COST * 1600, 0, 0)


# -- max_cost ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("way", WAYS)
def test_max_cost_bounds_what_may_be_written(provider: ScriptedProvider, way: str) -> None:
    ask(router_of(provider, None), way, constraints={"max_cost": 0.02})
    assert provider.requests[-1].body["max_tokens"] == 200


@pytest.mark.parametrize(
    ("asked", "most", "max_cost", "sent"),
    [
        (None, None, 0.02, 200),
        (50, None, 0.02, 50),
        (500, None, 0.02, 200),
        (None, 150, 0.02, None),
        (None, 100_000, 5, 50_000),
        (None, None, 5, None),
        (300, None, 5, 300),
    ],
)
def test_the_lower_limit_is_sent(
    provider: ScriptedProvider, asked: int | None, most: int | None, max_cost: float, sent: int | None
) -> None:
    target = provider.target(model="m", tier="mid", price=PRICE, max_output_tokens=most)
    body = {"messages": [{"role": "user", "content": "hello"}], **({} if asked is None else {"max_tokens": asked})}
    response = router_of(provider, None, targets=[target]).complete(body, constraints={"max_cost": max_cost})
    assert provider.requests[-1].body.get("max_tokens") == sent
    assert response.decision is not None
    changed = any("max_cost pays for no more" in change for change in response.decision.attempts[0].changes)
    assert changed == (sent not in (None, asked))


def test_a_fallback_has_a_bound_of_its_own() -> None:
    def plan(request: Any) -> Fault | None:
        return Fault.error(503) if request.model == "a" else None

    with ScriptedProvider(ANSWER, fault=plan) as provider:
        a = provider.target(model="a", tier="mid", price=PRICE)
        b = provider.target(model="b", tier="mid", price=Price(input=Decimal(0), output=Decimal(150)))
        router_of(provider, None, targets=[a, b]).complete("hello", constraints={"max_cost": 0.03})
        assert {r.model: r.body["max_tokens"] for r in provider.requests} == {"a": 300, "b": 200}


def test_a_step_above_its_max_cost_is_warned_of() -> None:
    with ScriptedProvider(ScriptedReply("hello", usage=Usage(10, 1_000))) as provider:
        decision = router_of(provider, None).complete("hello", constraints={"max_cost": 0.02}).decision
    assert decision is not None
    assert "above_max_cost: paid $0.100000, max_cost is $0.020000" in decision.warnings
