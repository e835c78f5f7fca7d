"""The default ledger of a library: the latest decisions in memory, and totals over all of them."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from decimal import Decimal

from agentroute.decisions import Decision

__all__ = ["MemoryLedger", "Totals"]


@dataclass(frozen=True, slots=True)
class Totals:
    """Over every step so far. Money in USD; `unpriced` counts the steps whose cost is unknown, which no sum includes.

    `savings` and `baseline_cost` add only steps that were answered and whose cost and baseline are known; `cost` adds
    what failed calls cost too. Savings may be negative.
    """

    steps: int = 0
    unpriced: int = 0
    cost: Decimal = Decimal(0)
    baseline_cost: Decimal = Decimal(0)
    savings: Decimal = Decimal(0)


class MemoryLedger:
    """Keeps the latest `max_decisions`; `totals` cover all. Safe in threads."""

    def __init__(self, *, max_decisions: int = 10_000) -> None:
        self._decisions: deque[Decision] = deque(maxlen=max_decisions)
        self._totals = Totals()
        self._lock = threading.Lock()

    def append(self, decision: Decision) -> None:
        with self._lock:
            self._decisions.append(decision)
            before, cost, saved = self._totals, decision.cost, decision.savings
            self._totals = Totals(
                steps=before.steps + 1,
                unpriced=before.unpriced + (cost is None),
                cost=before.cost + (cost or 0),
                baseline_cost=before.baseline_cost + (0 if saved is None else decision.baseline_cost or 0),
                savings=before.savings + (saved or 0),
            )

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The latest decisions, oldest first."""
        with self._lock:
            return tuple(self._decisions)

    @property
    def totals(self) -> Totals:
        with self._lock:
            return self._totals
