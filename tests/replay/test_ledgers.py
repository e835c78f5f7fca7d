"""Ledgers replayed: priced and chosen from again, from what was recorded and nothing else."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from typer.testing import CliRunner

from agentroute import ChatRequest, Decision, InvalidRequest, Price, Router, Target
from agentroute.cli import app
from agentroute.ledger import SqliteLedger
from agentroute.replay import replay_ledger
from agentroute.testing import Fault, ScriptedProvider, nth


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
