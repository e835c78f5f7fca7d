"""The result of a replay as frozen values: what was read, how it was routed, and what each way of running it costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from agentroute.decisions import Decision
from agentroute.targets import Price, Target

from .records import Problem

__all__ = ["Bill", "Explained", "Fit", "Recorded", "ReplayReport", "Unsure"]

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Fit:
    """Chosen tiers against the cheapest tier known to suffice, over the `steps` whose trace says which it is."""

    steps: int
    exact: int
    too_low: int

    @property
    def sufficient(self) -> int:
        """Steps whose tier is the needed one or above it."""
        return self.steps - self.too_low

    def to_dict(self) -> dict[str, Any]:
        return {
            "steps": self.steps,
            "sufficient": self.sufficient,
            "exact": self.exact,
            "too_low": self.too_low,
        }


@dataclass(frozen=True, slots=True)
class Bill:
    """All steps run one way: by a strategy, or all on one target. Money is USD, None where a price is unknown.

    `list_usd` is tokens x list price without any cache. `modelled_usd` supposes a prompt cache of each target and
    conversation, with its TTL; `cached_tokens` is what was read from it: both are estimates. `switches` counts steps on
    another target than the step before in the conversation, `switch_usd` (part of `modelled_usd`) what their cold
    prefixes cost. `sufficiency` is the mean predicted P that the tier suffices. `unserved` counts steps that the one
    target could not serve at all: too long for it, or tools or images it cannot take; they are priced all the same.
    """

    name: str
    steps: int
    list_usd: Decimal | None
    modelled_usd: Decimal | None
    unpriced_steps: int
    input_tokens: int
    cached_tokens: int
    output_tokens: int
    switches: int
    switch_usd: Decimal | None
    targets: Mapping[str, int]
    tiers: Mapping[str, int]
    sufficiency: float | None
    fit: Fit | None
    unserved: int = 0

    def to_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "steps": self.steps,
            "list_usd": _money(self.list_usd),
            "modelled_usd": _money(self.modelled_usd),
            "unpriced_steps": self.unpriced_steps,
            "input_tokens": self.input_tokens,
            "cached_tokens": self.cached_tokens,
            "output_tokens": self.output_tokens,
            "switches": self.switches,
            "switch_usd": _money(self.switch_usd),
            "targets": dict(self.targets),
            "tiers": dict(self.tiers),
            "sufficiency": self.sufficiency,
            "fit": self.fit.to_dict() if self.fit else None,
            "unserved": self.unserved,
        }


@dataclass(frozen=True, slots=True)
class Recorded:
    """A model that served recorded steps. `mean_reward` is over its whole conversations, None without rewards."""

    model: str
    steps: int
    conversations: int
    mean_reward: float | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "steps": self.steps,
            "conversations": self.conversations,
            "mean_reward": self.mean_reward,
        }


@dataclass(frozen=True, slots=True)
class Unsure:
    """A step the prediction is least sure of. `step` counts from 1 over the whole replay (`--explain`)."""

    step: int
    place: str
    confidence: float
    step_kind: str
    task: str
    target: str
    needed: str | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "place": self.place,
            "confidence": self.confidence,
            "step_kind": self.step_kind,
            "task": self.task,
            "target": self.target,
            "needed": self.needed,
        }


@dataclass(frozen=True, slots=True)
class Explained:
    """One step in full: the decision of each strategy."""

    step: int
    place: str
    decisions: Mapping[str, Decision]

    def to_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "place": self.place,
            "decisions": {name: decision.to_dict() for name, decision in self.decisions.items()},
        }


@dataclass(frozen=True, slots=True)
class ReplayReport:
    """What a replay found. `baseline` names the target that savings are counted against, `strategy` the one that
    `by_kind`, `by_task` (tier -> steps) and `least_sure` show.

    `steps` counts the steps routed; `unroutable` those that no target could serve under some strategy, which stand in
    no bill. `malformed` counts the lines that gave no step; `problems` names the first 1,000 of them, `alike` is one
    sentence if nearly all of the input failed for one reason. `measured` counts the steps whose tokens are recorded,
    `timed` those with a time; the others are estimated, and taken to be `gap_s` (seconds) apart.
    """

    files: tuple[str, ...]
    formats: Mapping[str, int]
    conversations: int
    steps: int
    greetings: int
    measured: int
    timed: int
    gap_s: float
    malformed: int
    problems: tuple[Problem, ...]
    alike: str | None
    unroutable: int
    unroutable_reasons: tuple[str, ...]
    recorded: tuple[Recorded, ...]
    pool: tuple[Target, ...]
    baseline: str
    policy_version: str
    strategy: str
    by_kind: Mapping[str, Mapping[str, int]]
    by_task: Mapping[str, Mapping[str, int]]
    strategies: Mapping[str, Bill]
    singles: Mapping[str, Bill]
    best_single: str | None
    least_sure: tuple[Unsure, ...]
    explained: Explained | None
    notes: tuple[str, ...]

    @property
    def estimated(self) -> int:
        """Steps whose tokens are estimates, at least in part."""
        return self.steps - self.measured

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text, so that nothing is rounded."""
        return {
            "schema_version": SCHEMA_VERSION,
            "files": list(self.files),
            "formats": dict(self.formats),
            "conversations": self.conversations,
            "steps": self.steps,
            "greetings": self.greetings,
            "measured": self.measured,
            "estimated": self.estimated,
            "timed": self.timed,
            "gap_s": self.gap_s,
            "malformed": self.malformed,
            "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in self.problems],
            "alike": self.alike,
            "unroutable": self.unroutable,
            "unroutable_reasons": list(self.unroutable_reasons),
            "recorded": [each.to_dict() for each in self.recorded],
            "pool": [_target(target) for target in self.pool],
            "baseline": self.baseline,
            "policy_version": self.policy_version,
            "strategy": self.strategy,
            "by_kind": {name: dict(tiers) for name, tiers in self.by_kind.items()},
            "by_task": {name: dict(tiers) for name, tiers in self.by_task.items()},
            "strategies": {name: bill.to_dict() for name, bill in self.strategies.items()},
            "singles": {name: bill.to_dict() for name, bill in self.singles.items()},
            "best_single": self.best_single,
            "least_sure": [each.to_dict() for each in self.least_sure],
            "explained": self.explained.to_dict() if self.explained else None,
            "notes": list(self.notes),
        }


def _target(target: Target) -> dict[str, Any]:
    return {
        "name": target.name,
        "provider": target.provider,
        "model": target.model,
        "tier": target.tier.value if target.tier else None,
        "tier_inferred": target.tier_inferred,
        "price": _price(target.price) if target.price else None,
        "cache_ttl_s": target.cache_ttl_s,
    }


def _price(price: Price) -> dict[str, str | None]:
    rates = {name: _money(getattr(price, name)) for name in ("input", "output", "cache_read", "cache_write")}
    return {**rates, "source": price.source}


def _money(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
