"""Sums that hold whatever is dropped or deleted: steps, cost, baseline and savings, exact to the last digit."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from typing import Any, Generic, Self, TypeVar

from agentroute.decisions import Decision
from agentroute.failover.forks import renew_in_child

__all__ = ["Gap", "Tally", "Totals", "add"]

_EXACT = Context(prec=200)
"""Wide enough that no sum of money is ever rounded; the default context keeps 28 digits."""


def add(a: Decimal, b: Decimal) -> Decimal:
    """`a + b` without rounding."""
    return _EXACT.add(a, b)


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

    @classmethod
    def of(cls, decision: Decision) -> Self:
        """One step."""
        cost, saved = decision.cost, decision.savings
        return cls(
            steps=1,
            unpriced=int(cost is None),
            cost=cost or Decimal(0),
            baseline_cost=Decimal(0) if saved is None else decision.baseline_cost or Decimal(0),
            savings=saved or Decimal(0),
        )

    def __add__(self, other: Totals) -> Totals:
        return Totals(
            steps=self.steps + other.steps,
            unpriced=self.unpriced + other.unpriced,
            cost=add(self.cost, other.cost),
            baseline_cost=add(self.baseline_cost, other.baseline_cost),
            savings=add(self.savings, other.savings),
        )

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text, so that nothing is rounded."""
        return {
            "steps": self.steps,
            "unpriced": self.unpriced,
            "cost": format(self.cost, "f"),
            "baseline_cost": format(self.baseline_cost, "f"),
            "savings": format(self.savings, "f"),
        }


@dataclass(frozen=True, slots=True)
class Gap:
    """Steps whose details were dropped: when they were decided (`since` to `until`, both included), and their sums."""

    since: datetime
    until: datetime
    totals: Totals

    @classmethod
    def of(cls, decision: Decision) -> Self:
        return cls(decision.created_at, decision.created_at, Totals.of(decision))

    def __add__(self, other: Gap) -> Gap:
        return Gap(min(self.since, other.since), max(self.until, other.until), self.totals + other.totals)

    def to_dict(self) -> dict[str, Any]:
        return {"since": self.since.isoformat(), "until": self.until.isoformat(), **self.totals.to_dict()}


_S = TypeVar("_S", Totals, Gap)


class Tally(Generic[_S]):
    """A running sum, safe in threads and in finalizers.

    `add` may be reached (by the finalizer of an abandoned stream) while the same thread is inside it: it takes a lock
    that lets it in, and what it brings is added by the call that it interrupted.
    """

    def __init__(self) -> None:
        self._waiting: deque[_S] = deque()
        self._sum: _S | None = None
        self._adding = False
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def add(self, more: _S) -> None:
        self._waiting.append(more)
        with self._lock:
            if self._adding:
                return
            self._adding = True
            try:
                while self._waiting:
                    next_ = self._waiting.popleft()
                    self._sum = next_ if self._sum is None else self._sum + next_
            finally:
                self._adding = False

    @property
    def sum(self) -> _S | None:
        """None where nothing was added."""
        with self._lock:
            return self._sum

    def take(self) -> _S | None:
        """The sum so far, which begins anew."""
        with self._lock:
            found, self._sum = self._sum, None
            return found
