"""The memory ledger: the latest decisions, and totals over all of them."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from agentroute.decisions import Decision
from agentroute.ledger import MemoryLedger
from tests.test_decisions import DECISION


def decision(cost: str | None, baseline: str | None = "1") -> Decision:
    return replace(
        DECISION,
        outcome="ok",
        cost=None if cost is None else Decimal(cost),
        baseline_cost=None if baseline is None else Decimal(baseline),
    )


def test_totals_outlive_the_window() -> None:
    ledger = MemoryLedger(max_decisions=2)
    for cost in ("0.1", "0.2", "2"):
        ledger.append(decision(cost))
    assert [d.cost for d in ledger.decisions] == [Decimal("0.2"), Decimal(2)]
    assert (ledger.totals.steps, ledger.totals.cost, ledger.totals.savings) == (3, Decimal("2.3"), Decimal("0.7"))


def test_what_failed_has_saved_nothing() -> None:
    ledger = MemoryLedger()
    ledger.append(replace(decision("0"), outcome="failed"))
    assert (ledger.totals.steps, ledger.totals.savings, ledger.totals.baseline_cost) == (1, 0, 0)


def test_unknown_is_counted_not_summed() -> None:
    ledger = MemoryLedger()
    ledger.append(decision(None))
    ledger.append(decision("0.5", None))
    assert (ledger.totals.unpriced, ledger.totals.cost, ledger.totals.savings) == (1, Decimal("0.5"), Decimal(0))
