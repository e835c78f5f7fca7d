"""What a ledger says, as figures: cost, baseline, signed savings, failures and waits, over all steps and by key.

Pure: entries in, one pass, frozen values out. What is kept while reading is sums, and 16 bytes a step and breakdown for
the percentiles.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agentroute.errors import ConfigError

from .entries import KEYS, Entry
from .totals import Gap, Totals, add

__all__ = ["Figures", "Report", "report"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Figures:
    """Some steps. Money in USD, exact; None where it is known of no step.

    `cost` sums the steps whose cost is known, failed ones too; `unpriced` are the others. `compared` counts answered
    steps whose cost and baseline are both known: `baseline_cost` (an estimate) and `savings` (signed) are over these.
    `broken` counts steps at which a provider did not read what it had kept of the prompt, which cost `broken_cost`.
    `failed` got no whole answer; `given_up` were cancelled or abandoned by the caller. Waits in seconds, over answered
    steps, nearest rank: `duration` to the end, `first_content` to the first content.
    """

    steps: int
    failed: int
    given_up: int
    unpriced: int
    cost: Decimal | None
    compared: int
    baseline_cost: Decimal | None
    savings: Decimal | None
    fallbacks: int
    duplicates: int
    broken: int
    broken_cost: Decimal | None
    duration_p50: float | None
    duration_p95: float | None
    first_content_p50: float | None
    first_content_p95: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text, so that nothing is rounded."""
        values = {name: getattr(self, name) for name in self.__slots__}
        return {name: format(value, "f") if isinstance(value, Decimal) else value for name, value in values.items()}


@dataclass(frozen=True, slots=True)
class Report:
    """`all` covers the steps whose details are there, `by` the same steps by key and value; `gaps` are steps whose
    details were dropped, and `totals` covers both."""

    all: Figures
    by: Mapping[str, Mapping[str | None, Figures]]
    gaps: tuple[Gap, ...]
    totals: Totals
    first: str | None
    last: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "schema_version": SCHEMA_VERSION,
            "currency": "USD",
            "estimates": ["baseline_cost", "savings"],
            "first": self.first,
            "last": self.last,
            "all": self.all.to_dict(),
            "by": {
                key: [{"value": value, **figures.to_dict()} for value, figures in groups.items()]
                for key, groups in self.by.items()
            },
            "gaps": [gap.to_dict() for gap in self.gaps],
            "totals": self.totals.to_dict(),
        }


def report(entries: Iterable[Entry], gaps: Iterable[Gap] = (), *, by: Sequence[str] = ("day", "target")) -> Report:
    """One pass over the entries. Days are in order, other values by cost. Raises ConfigError for an unknown key."""
    for key in by:
        if key not in KEYS:
            raise ConfigError(f"a report cannot be broken down by {key!r}; use {', '.join(KEYS)}")
    whole = _Sum()
    groups: dict[str, dict[str | None, _Sum]] = {key: {} for key in by}
    first = last = None
    for entry in entries:
        whole.add(entry)
        for key, sums in groups.items():
            value = getattr(entry, key)
            if value not in sums:
                sums[value] = _Sum()
            sums[value].add(entry)
        first = entry.created_at if first is None else min(first, entry.created_at)
        last = entry.created_at if last is None else max(last, entry.created_at)
    dropped = tuple(gaps)
    totals = Totals(
        whole.steps,
        whole.unpriced,
        whole.cost or Decimal(0),
        whole.baseline_cost or Decimal(0),
        whole.savings or Decimal(0),
    )
    for gap in dropped:
        totals += gap.totals
    return Report(
        all=whole.figures(),
        by={key: {value: sums.figures() for value, sums in _ordered(key, found)} for key, found in groups.items()},
        gaps=dropped,
        totals=totals,
        first=first,
        last=last,
    )


class _Sum:
    """Figures while they are being added up."""

    __slots__ = (
        "baseline_cost",
        "broken",
        "broken_cost",
        "compared",
        "cost",
        "duplicates",
        "durations",
        "failed",
        "fallbacks",
        "first_contents",
        "given_up",
        "savings",
        "steps",
        "unpriced",
    )

    def __init__(self) -> None:
        self.steps = self.failed = self.given_up = self.unpriced = self.compared = self.fallbacks = self.duplicates = 0
        self.broken = 0
        self.broken_cost: Decimal | None = None
        self.cost: Decimal | None = None
        self.baseline_cost: Decimal | None = None
        self.savings: Decimal | None = None
        self.durations, self.first_contents = array("d"), array("d")

    def add(self, entry: Entry) -> None:
        self.steps += 1
        self.failed += entry.outcome in ("failed", "interrupted")
        self.given_up += entry.outcome in ("cancelled", "abandoned")
        self.fallbacks += entry.fallbacks
        self.duplicates += entry.duplicates
        self.broken += entry.cache_broken is not None
        if entry.broken_cost is not None:
            self.broken_cost = _plus(self.broken_cost, entry.broken_cost)
        if entry.cost is None:
            self.unpriced += 1
        else:
            self.cost = _plus(self.cost, entry.cost)
        if entry.savings is not None and entry.baseline_cost is not None:
            self.compared += 1
            self.baseline_cost = _plus(self.baseline_cost, entry.baseline_cost)
            self.savings = _plus(self.savings, entry.savings)
        if entry.outcome == "ok":
            if entry.duration_s is not None:
                self.durations.append(entry.duration_s)
            if entry.first_content_s is not None:
                self.first_contents.append(entry.first_content_s)

    def figures(self) -> Figures:
        durations, first_contents = sorted(self.durations), sorted(self.first_contents)
        return Figures(
            steps=self.steps,
            failed=self.failed,
            given_up=self.given_up,
            unpriced=self.unpriced,
            cost=self.cost,
            compared=self.compared,
            baseline_cost=self.baseline_cost,
            savings=self.savings,
            fallbacks=self.fallbacks,
            duplicates=self.duplicates,
            broken=self.broken,
            broken_cost=self.broken_cost,
            duration_p50=_percentile(durations, 50),
            duration_p95=_percentile(durations, 95),
            first_content_p50=_percentile(first_contents, 50),
            first_content_p95=_percentile(first_contents, 95),
        )


def _plus(total: Decimal | None, more: Decimal) -> Decimal:
    return more if total is None else add(total, more)


def _percentile(values: Sequence[float], percent: int) -> float | None:
    """The least value that `percent` in a hundred do not exceed."""
    return values[-(-len(values) * percent // 100) - 1] if values else None


def _ordered(key: str, sums: Mapping[str | None, _Sum]) -> list[tuple[str | None, _Sum]]:
    if key == "day":
        return sorted(sums.items(), key=lambda item: item[0] or "")
    return sorted(sums.items(), key=lambda item: (-(item[1].cost or Decimal(0)), -item[1].steps, item[0] or ""))
