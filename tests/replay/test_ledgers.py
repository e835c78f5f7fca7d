"""Ledgers replayed: priced and chosen from again, from what was recorded and nothing else."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from agentroute import (
    Attempt,
    ChatRequest,
    ConfigError,
    Constraints,
    Decision,
    InvalidRequest,
    Price,
    Router,
    Target,
    Usage,
)
from agentroute.cli import app, main
from agentroute.cli.ledger_console import render_ledger
from agentroute.ledger import SqliteLedger
from agentroute.replay import replay_ledger
from agentroute.testing import Fault, ScriptedProvider, nth
from tests.ledger.test_sqlite import locked


def pool(factor: int = 1) -> list[Target]:
    prices = {"budget": 1, "premium": 20}
    return [
        Target(
            name=tier, provider="x", model=tier, tier=tier, price=Price(Decimal(usd * factor), Decimal(usd * factor))
        )
        for tier, usd in prices.items()
    ]


@pytest.fixture
def decisions(tmp_path: Path) -> list[Decision]:
    """Three answered steps and one that failed, as a router records them."""
    recorded: list[Decision] = []

    class Ledger:
        def append(self, decision: Decision) -> None:
            recorded.append(decision)

    with ScriptedProvider("hello", fault=nth(4, Fault.error(400))) as provider:
        target = provider.target(model="budget", name="budget", tier="budget", price=Price(Decimal(1), Decimal(1)))
        with Router(targets=[target], ledger=Ledger()) as router:
            for number in range(4):
                asked = ChatRequest.from_openai({"messages": [{"role": "user", "content": f"q{number}"}]})
                if number < 3:
                    router.complete(asked)
                else:
                    with pytest.raises(InvalidRequest):
                        router.complete(asked)
    assert [decision.outcome for decision in recorded] == ["ok"] * 3 + ["failed"]
    return recorded


@pytest.fixture(params=["sqlite", "jsonl"])
def ledger(request: pytest.FixtureRequest, tmp_path: Path, decisions: list[Decision]) -> Path:
    if request.param == "sqlite":
        with SqliteLedger(tmp_path / "l.db") as written:
            for decision in decisions:
                written.append(decision)
        return tmp_path / "l.db"
    path = tmp_path / "l.jsonl"
    path.write_text("".join(json.dumps(decision.to_dict()) + "\n" for decision in decisions))
    return path


def test_the_bill_is_read_and_billed_again(ledger: Path, decisions: list[Decision]) -> None:
    paid = sum((decision.cost or Decimal(0) for decision in decisions[:3]), Decimal(0))
    found = replay_ledger([ledger], Router(targets=pool()))
    assert (found.steps, found.unanswered) == (3, 1)
    assert found.recorded.cost == paid
    assert found.repriced.cost == paid
    assert replay_ledger([ledger], Router(targets=pool(3))).repriced.cost == 3 * paid


def test_strategies_choose_by_what_was_recorded(ledger: Path) -> None:
    found = replay_ledger([ledger], Router(targets=pool()))
    chosen = {name: dict(line.targets) for name, line in found.strategies.items()}
    assert chosen["best"] == {"premium": 3}
    assert {name: line.steps for name, line in found.singles.items()} == {"budget": 3, "premium": 3}


def test_a_target_that_is_not_in_the_pool_is_not_priced(ledger: Path) -> None:
    found = replay_ledger([ledger], Router(targets=pool()[1:]))
    assert (found.repriced.cost, found.repriced.unpriced) == (None, 3)


def test_the_command_says_what_it_cannot_know(ledger: Path) -> None:
    result = CliRunner().invoke(app, ["replay", str(ledger)])
    assert result.exit_code == 0, result.output
    assert "3 answered steps of a ledger" in result.output
    assert "holds no prompts" in result.output
    told = CliRunner().invoke(app, ["replay", str(ledger), "--json"])
    assert json.loads(told.stdout)["steps"] == 3


# -- decisions of the pool that the replay tests share ------------------------------------------------------------

ASKS = (
    "hi",
    "Fix the traceback in parser.py: KeyError in load_config.",
    "Prove that the square root of 2 is irrational.",
)


def answered(decision: Decision, usage: Usage | None, cost: str | None) -> Decision:
    price = None if cost is None else Decimal(cost)
    attempt = Attempt(decision.target, "ok", 0.0, 1.0, first_content_s=0.5, usage=usage, cost=price)
    return replace(decision, outcome="ok", attempts=(attempt,), usage=usage, cost=price)


@pytest.fixture
def choices(router: Router) -> list[Decision]:
    """A real decision for each ask and strategy, with the usage it expected."""
    made = []
    for ask in ASKS:
        request = ChatRequest.from_openai({"messages": [{"role": "user", "content": ask}]})
        for strategy in ("cheapest", "balanced", "best"):
            decision = router.route(request, constraints=Constraints(strategy=strategy))  # type: ignore[arg-type]
            spent = decision.estimated_usage
            made.append(answered(decision, Usage(spent.input_tokens, spent.output_tokens), "0.001"))
    return made


@pytest.fixture
def kept(tmp_path: Path, choices: list[Decision]) -> Path:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        for decision in choices:
            ledger.append(decision)
        ledger.append(replace(choices[0], outcome="failed", usage=None, cost=Decimal(0)))
    return path


def test_each_strategy_chooses_again_what_it_chose(kept: Path, router: Router, choices: list[Decision]) -> None:
    found = replay_ledger(kept, router)
    assert (found.steps, found.unanswered, found.estimated, found.unroutable) == (9, 1, 0, 0)
    for strategy in ("cheapest", "balanced", "best"):
        chosen = [decision.target for decision in choices if decision.strategy == strategy]
        assert found.strategies[strategy].targets == {name: 3 * chosen.count(name) for name in set(chosen)}
    assert len({str(line.targets) for line in found.strategies.values()}) > 1


def test_the_sums_are_exact(kept: Path, router: Router, choices: list[Decision]) -> None:
    found = replay_ledger(kept, router)
    usages = [decision.usage for decision in choices]
    for target in router.pool:
        price = target.price
        assert price is not None
        assert found.singles[target.name].cost == sum(price.cost(usage) for usage in usages if usage is not None)
    assert found.recorded.cost == Decimal("0.009")
    again = [router.pool[d.target].price.cost(d.usage) for d in choices]  # type: ignore[union-attr, arg-type]
    assert found.repriced.cost == sum(again)
    json.dumps(found.to_dict())


def test_another_pool_and_baseline(kept: Path, make_target: Callable[..., Target]) -> None:
    pool = [make_target("mini", "mid", "0.1", "0.2"), make_target("large", "premium", "5", "30")]
    found = replay_ledger(kept, Router(targets=pool, baseline="mini"))
    assert found.baseline == "mini"
    assert set(found.singles) == {"mini", "large"}
    assert found.repriced.unpriced == found.recorded.targets.get("small", 0) > 0
    assert replay_ledger(kept, Router(targets=pool), limit=2).steps == 2


def test_what_is_not_known_is_not_invented(tmp_path: Path, router: Router, choices: list[Decision]) -> None:
    path = tmp_path / "ledger.db"
    with SqliteLedger(path) as ledger:
        ledger.append(answered(choices[0], None, None))
        ledger.append(answered(choices[0], Usage(10**7, 5), "9"))
    found = replay_ledger(path, router)
    assert (found.steps, found.estimated, found.unroutable) == (1, 1, 1)
    assert (found.recorded.cost, found.recorded.unpriced, found.repriced.cost) == (None, 1, None)
    text = io.StringIO()
    Console(file=text, width=80).print(render_ledger(found))
    shown = text.getvalue()
    assert "1 answered step of a ledger, tokens estimated for 1" in shown
    assert re.search(r"as recorded +unknown", shown)
    assert "tools, pictures or a schema" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80


def test_jsonl_of_decisions_says_the_same(tmp_path: Path, kept: Path, router: Router, choices: list[Decision]) -> None:
    path = tmp_path / "decisions.jsonl"
    broken = ["{", '{"policy_version": 1, "request_digest": 2}', json.dumps({**choices[0].to_dict(), "tier": "top"})]
    written = [json.dumps(decision.to_dict()) for decision in choices]
    path.write_text("\n".join([*written, *broken]) + "\n", encoding="utf-8")
    found = replay_ledger(path, router)
    assert found.strategies == replay_ledger(kept, router).strategies
    assert found.malformed == 3
    assert [problem.line for problem in found.problems] == [10, 11, 12]


def test_a_gap_is_reported(tmp_path: Path, router: Router, choices: list[Decision]) -> None:
    path = tmp_path / "ledger.db"
    ledger = SqliteLedger(path, queue_size=3)
    with locked(path):
        for _ in range(5):
            for decision in choices:
                ledger.append(decision)
    ledger.close()
    found = replay_ledger(path, router)
    assert found.steps + sum(gap.totals.steps for gap in found.gaps) == 45
    assert found.gaps


def test_what_cannot_be_read_is_refused(tmp_path: Path, kept: Path, router: Router) -> None:
    with pytest.raises(ConfigError, match="is not a file"):
        replay_ledger(tmp_path / "none.db", router)
    with pytest.raises(ConfigError, match="limit is 0"):
        replay_ledger(kept, router, limit=0)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        (["--out", "x.html"], "--out needs traces"),
        (["--explain", "1"], "--explain needs traces"),
        (["--gap", "5"], "--gap needs traces"),
        (["traces.jsonl"], "replay ledgers and traces on their own"),
    ],
)
def test_the_command_refuses_what_needs_prompts(
    more: list[str],
    words: str,
    kept: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(kept.parent)
    Path("traces.jsonl").write_text('{"messages": [{"role": "user", "content": "hi"}]}\n', encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["agentroute", "replay", str(kept), *more])
    with pytest.raises(SystemExit) as caught:
        main()
    shown = capsys.readouterr()
    assert (caught.value.code, shown.out) == (1, "")
    assert words in shown.err


def test_the_command_prints_json_or_a_table(
    kept: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for more in ([], ["--json"]):
        monkeypatch.setattr("sys.argv", ["agentroute", "replay", str(kept), *more])
        with pytest.raises(SystemExit) as caught:
            main()
        shown = capsys.readouterr()
        assert (caught.value.code, shown.err) == (0, "")
        if more:
            data = json.loads(shown.out)
            assert (data["source"], data["steps"], data["recorded"]["cost"]) == ("ledger", 9, "0.009")
        else:
            assert "9 answered steps of a ledger" in shown.out
