"""A broken prompt cache is a fact of the decision, of the ledger and of its report: the kind, the place, the price."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from agentroute import ChatRequest, Decision, Price, Router
from agentroute.cli import app
from agentroute.decisions import CacheBreak
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

PRICE = Price(Decimal(1), Decimal(4), Decimal("0.1"))
REPLY = ScriptedReply(tool_calls=(tool_call("look"),))
TOOLS = [
    {"type": "function", "function": {"name": name, "description": name * 200, "parameters": {"type": "object"}}}
    for name in ("look", "edit")
]
DIALECTS = ("openai_chat", "openai_responses", "anthropic_messages", "gemini")


def request(clock: str, steps: int, *, turned: bool = False) -> ChatRequest:
    messages: list[dict[str, Any]] = [
        {"role": "system", "content": f"It is {clock}. " + "Be careful. " * 2_000},
        {"role": "user", "content": "SECRET-ASK find the fault"},
    ]
    for at in range(steps):
        call = {"id": f"call_{at}", "type": "function", "function": {"name": "look", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [call]},
            {"role": "tool", "tool_call_id": f"call_{at}", "content": f"row {at} " * 50},
        ]
    return ChatRequest.from_openai({"messages": messages, "tools": TOOLS[::-1] if turned else TOOLS})


async def ask(router: Router, request: ChatRequest, way: str) -> Decision:
    """One call, in one of four ways."""
    if way == "plain":
        found = router.complete(request).decision
    elif way == "async":
        found = (await router.acomplete(request)).decision
    elif way == "stream":
        with router.stream(request) as stream:
            list(stream)
        found = stream.decision
    else:
        async with router.astream(request) as events:
            async for _ in events:
                pass
        found = events.decision
    assert found is not None
    return found


@pytest.mark.parametrize("way", ["plain", "async", "stream", "async stream"])
@pytest.mark.parametrize("dialect", DIALECTS)
async def test_a_clock_in_the_system_prompt(dialect: str, way: str) -> None:
    with ScriptedProvider(REPLY) as provider:
        target = provider.target(model="m", tier="mid", price=PRICE, cache_ttl_s=300, dialect=dialect)
        router = Router([target])
        first, second = [await ask(router, request("10:05", n), way) for n in (0, 1)]
        third = await ask(router, request("10:06", 2), way)
        fourth = await ask(router, request("10:06", 3), way)
        await router.aclose()
    assert (first.cache_broken, second.cache_broken, fourth.cache_broken) == (None, None, None)
    assert second.usage is not None
    assert third.usage is not None
    lost = (second.usage.input_tokens or 0) - (third.usage.cache_read_tokens or 0)
    broken = third.cache_broken
    assert broken == CacheBreak("system_changed", 1, lost, lost * Decimal("0.9") / 1_000_000)
    assert "SECRET" not in json.dumps(third.to_dict())
    assert Decision.from_dict(json.loads(json.dumps(third.to_dict()))).cache_broken == broken


def test_a_record_of_before_has_none() -> None:
    with ScriptedProvider("ok") as provider, Router([provider.target(model="m", tier="mid", price=PRICE)]) as router:
        record = router.complete("hello").decision.to_dict()
    assert record.pop("cache_broken") is None
    assert Decision.from_dict(record).cache_broken is None


def test_the_ledger_counts_it_and_the_report_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with ScriptedProvider(REPLY) as provider:
        target = provider.target(model="m", tier="mid", price=PRICE, cache_ttl_s=300)
        with Router([target], ledger=path) as router:
            for steps in range(6):
                router.complete(request("10:05", steps, turned=steps > 3))
            kept = [each.cache_broken for each in router.ledger.decisions]  # type: ignore[attr-defined]
    assert [None if each is None else each.kind for each in kept] == [*[None] * 4, "tool_order", None]
    shown = CliRunner().invoke(app, ["report", "--ledger", str(path), "--by", "cache_broken", "--json"])
    report = json.loads(shown.output)
    cost = sum((each.cost for each in kept if each is not None and each.cost is not None), Decimal(0))
    assert (report["all"]["broken"], Decimal(report["all"]["broken_cost"])) == (1, cost)
    assert {row["value"]: row["steps"] for row in report["by"]["cache_broken"]} == {"tool_order": 1, None: 5}
    text = CliRunner().invoke(app, ["report", "--ledger", str(path)], env={"COLUMNS": "100"}).output
    assert "1 broken prompt, which cost $0.0" in text


def test_a_fault_of_the_memory_breaks_no_call(caplog: pytest.LogCaptureFixture) -> None:
    with ScriptedProvider("ok") as provider, Router([provider.target(model="m", tier="mid", price=PRICE)]) as router:
        router.cache_breaks = None  # type: ignore[assignment]
        assert router.complete("hello").decision.outcome == "ok"
        assert len(router.ledger.decisions) == 1  # type: ignore[attr-defined]
    assert "the affinity did not take decision" in caplog.text


def test_explaining_says_it() -> None:
    with ScriptedProvider("ok") as provider, Router([provider.target(model="m", tier="mid", price=PRICE)]) as router:
        decision = router.complete("hello").decision
    broken = replace(decision, cache_broken=CacheBreak("tool_order", 2, 9_000, Decimal("0.0081")))
    assert "cache broken: tool_order at tool 2, 9,000 tokens paid again, $0.0081" in broken.explain()


def test_somebody_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    told: list[Any] = []
    with ScriptedProvider(REPLY) as provider:
        target = provider.target(model="m", tier="mid", price=PRICE, cache_ttl_s=300)
        with Router([target], on_notice=told.append) as router:
            decisions = [router.complete(request(f"10:0{steps}", steps)).decision for steps in range(4)]
    assert [None if d.cache_broken is None else d.cache_broken.kind for d in decisions[1:]] == ["system_changed"] * 3
    [notice] = [each for each in told if each.kind == "broken_cache"]
    assert (notice.decision_id, notice.target) == (decisions[1].id, "m")
    assert decisions[1].cache_broken is not None
    assert notice.usd == decisions[1].cache_broken.cost
    assert "did not read them: system_changed at message 1, " in notice.message
    assert notice.remedy.startswith("keep the system prompt as it is")
    assert "SECRET" not in caplog.text
