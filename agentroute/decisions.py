"""The record of one step: what was known, what was predicted, what was chosen and why, what it cost."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from enum import Enum
from typing import Any, Literal, TypeAlias

from .errors import ConfigError, printable
from .figures import usd
from .messages import Usage
from .targets import Tier
from .targets.prices import BillSource

__all__ = [
    "ABOVE_MAX_COST",
    "IMPLAUSIBLE",
    "SCHEMA_VERSION",
    "Attempt",
    "AttemptOutcome",
    "BreakKind",
    "CacheBreak",
    "Candidate",
    "Complexity",
    "Constraints",
    "Decision",
    "Dropped",
    "Outcome",
    "Prediction",
    "StepContext",
    "StepKind",
    "Strategy",
    "Task",
]

SCHEMA_VERSION = 2
_READABLE = (1, 2)
"""Version 2 has `explored`, `propensity` and the context's `key`; records of version 1 are read without them."""

IMPLAUSIBLE = "implausible_usage"
"""What a decision's warning begins with if the provider's count of the prompt cannot be right."""

ABOVE_MAX_COST = "above_max_cost"
"""What a decision's warning begins with if the step cost more than its `max_cost`."""

Strategy: TypeAlias = Literal["cheapest", "balanced", "best"]
Complexity: TypeAlias = Literal["simple", "medium", "complex"]
Outcome: TypeAlias = Literal["planned", "ok", "failed", "interrupted", "cancelled", "abandoned"]
AttemptOutcome: TypeAlias = Literal["ok", "failed", "interrupted", "cancelled", "abandoned"]


BreakKind: TypeAlias = Literal[
    "tools_changed",
    "tool_order",
    "system_changed",
    "message_changed",
    "history_cut",
    "effort_toggled",
    "tool_choice_toggled",
    "expired",
    "unexplained",
]
"""Why a provider did not read from its cache what it had kept: what changed in the prompt, the pause was longer than
the cache lives (`expired`), or nothing that can be seen (`unexplained`)."""


class StepKind(Enum):
    """Why the model is called now."""

    FIRST_ASK = "first_ask"
    AFTER_RESULT = "after_result"
    AFTER_ERROR = "after_error"
    REPEATED_CALL = "repeated_call"
    FORCED_FINAL = "forced_final"
    STRUCTURED = "structured"
    SUMMARISE = "summarise"
    DELEGATE = "delegate"
    HOUSEKEEPING = "housekeeping"


class Task(Enum):
    """What sort of work the step is."""

    CHAT = "chat"
    QA = "qa"
    EXTRACTION = "extraction"
    CLASSIFICATION = "classification"
    FORMATTING = "formatting"
    SUMMARISATION = "summarisation"
    WRITING = "writing"
    TRANSLATION = "translation"
    CODE_GENERATION = "code_generation"
    CODE_REPAIR = "code_repair"
    TOOL_USE = "tool_use"
    PLANNING = "planning"
    ANALYSIS = "analysis"
    REASONING = "reasoning"


@dataclass(frozen=True, slots=True)
class StepContext:
    """Facts about the caller that the request itself does not show.

    `previous` is the decision of the step before in the same conversation, where the caller has it: its usage anchors
    the token estimate. `failed` is for a caller who knows that the latest call or answer failed, whatever the messages
    say. `key` names who pays (the gateway puts the name of its client's key there, never the key itself): budgets and
    reports go by it.
    """

    conversation_id: str | None = None
    agent: str | None = None
    role: str | None = None
    node: str | None = None
    parent_id: str | None = None
    failed: bool = field(default=False, repr=False)
    previous: Decision | None = field(default=None, repr=False, compare=False)
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Constraints:
    """What the caller allows for one step. `target` pins (by name, or by model); `deadline_s` is seconds;
    `max_attempts` bounds the attempts of the call, the first one included (20 if you say nothing).

    `max_cost` is USD: no target serves that is expected to cost more, and one that serves is asked for no more output
    than it pays for. A step that cost more all the same has a warning in its decision.

    `content_filter_fallback` names the targets that may be asked, in this order, if one refused the content by policy.
    Without it such a refusal goes to the caller unchanged. A target that writes fewer tokens than the request allows is
    asked for as many as it writes; with `strict_max_tokens` it may not serve.

    `stakes`: USD that an unnoticed failure of the task costs its owner, in place of the strategy table's.
    """

    target: str | None = None
    tier: str | Tier | None = None
    max_tier: str | Tier | None = None
    strategy: Strategy | None = None
    allow_providers: tuple[str, ...] | None = None
    deny_providers: tuple[str, ...] = ()
    deadline_s: float | None = None
    max_cost: Decimal | float | None = None
    content_filter_fallback: tuple[str, ...] = ()
    max_attempts: int | None = None
    strict_max_tokens: bool = False
    stakes: Decimal | float | None = None

    @classmethod
    def of(
        cls, value: Constraints | Mapping[str, Any] | None, base: Constraints | Mapping[str, Any] | None = None
    ) -> Constraints:
        """Constraints from what a person writes, laid over those of `base`: a mapping of fields, or Constraints, of
        which what is left at its default gives way. Raises ConfigError for a key that is none.

        >>> Constraints.of({"max_tier": "mid"}, {"strategy": "best"}).strategy
        'best'
        """
        if isinstance(value, Constraints) and base is None:
            return value
        if value is None:
            return _UNCONSTRAINED if base is None else cls.of(base)
        over, under = _fields_of(value), {} if base is None else _fields_of(base)
        return cls(**{**under, **over})

    def __post_init__(self) -> None:
        if self.target is not None and not isinstance(self.target, str):
            raise ConfigError(f"target is {self.target!r}; give the name of a target")
        for name in ("tier", "max_tier"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, Tier.parse(value))
        if self.strategy not in (None, "cheapest", "balanced", "best"):
            raise ConfigError(f"strategy is {self.strategy!r}; use 'cheapest', 'balanced' or 'best'")
        for name in ("allow_providers", "deny_providers", "content_filter_fallback"):
            value = getattr(self, name)
            if isinstance(value, str):
                what = "target" if name == "content_filter_fallback" else "provider"
                raise ConfigError(f"{name} is the text {value!r}; give a tuple of {what} names")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        if not isinstance(self.strict_max_tokens, bool):
            raise ConfigError(f"strict_max_tokens is {self.strict_max_tokens!r}; give True or False")
        for name in ("deadline_s", "max_cost"):
            value = getattr(self, name)
            if value is None:
                continue
            number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value <= 0:
                raise ConfigError(f"{name} is {value!r}; give a number above 0")
        stakes = self.stakes
        if stakes is not None and (
            isinstance(stakes, bool)
            or not isinstance(stakes, int | float | Decimal)
            or not math.isfinite(stakes)
            or stakes < 0
        ):
            raise ConfigError(f"stakes are {stakes!r}; give USD, 0 or more")
        if self.deadline_s is not None:
            object.__setattr__(self, "deadline_s", float(self.deadline_s))
        count = self.max_attempts
        if count is not None and (isinstance(count, bool) or not isinstance(count, int) or count < 1):
            raise ConfigError(f"max_attempts is {count!r}; give a whole number, 1 or more")


_CONSTRAINTS = tuple(each.name for each in fields(Constraints))
_UNCONSTRAINED = Constraints()


def _fields_of(value: Constraints | Mapping[str, Any]) -> dict[str, Any]:
    if isinstance(value, Constraints):
        known = {name: getattr(value, name) for name in _CONSTRAINTS}
        return {name: each for name, each in known.items() if each != getattr(_UNCONSTRAINED, name)}
    if not isinstance(value, Mapping):
        raise ConfigError(f"constraints are {value!r}; give a dict, for example {{'max_tier': 'mid'}}")
    for key in value:
        if key not in _CONSTRAINTS:
            near = get_close_matches(str(key), _CONSTRAINTS, n=1)
            remedy = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_CONSTRAINTS)}"
            raise ConfigError(f"{key!r} is no constraint; {remedy}")
    return dict(value)


@dataclass(frozen=True, slots=True)
class Prediction:
    """P(tier suffices) from budget to premium, never falling; what the step is; how sure; and why, in plain words."""

    sufficiency: tuple[float, float, float, float]
    task: Task
    step_kind: StepKind
    confidence: float
    reasons: tuple[str, ...]

    @property
    def complexity(self) -> Complexity:
        """Simple where a budget model will likely do, complex where even a standard one may not."""
        if self.sufficiency[Tier.BUDGET.rank] >= 0.8:
            return "simple"
        return "medium" if self.sufficiency[Tier.STANDARD.rank] >= 0.7 else "complex"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target in the order in which it would be tried. Costs are estimates in USD; None is an unknown price.

    `score` is what is compared, in USD a step. With `balanced` it has `risk` in it: what a failed task costs, times how
    likely this target makes it fail at this step.
    """

    target: str
    tier: Tier
    sufficiency: float
    expected_cost: Decimal | None
    cached_tokens: int
    score: float | None
    reason: str
    risk: float | None = None


@dataclass(frozen=True, slots=True)
class Dropped:
    """A target that may not serve this step, and why not."""

    target: str
    reason: str


@dataclass(frozen=True, slots=True)
class Attempt:
    """One try at one target. Times in seconds; `cost` None where it is unknown: `cost_problem` then says why.

    `cost_source` tells who made the figure: `provider` is its own bill, told in the answer, and `list_cost` what our
    list would have said; `list` is the list price of what the provider counted. `changes` says what of the request had
    to be repaired or left out for this target.
    """

    target: str
    outcome: AttemptOutcome
    started_s: float
    duration_s: float
    first_content_s: float | None = None
    error: str | None = None
    error_text: str | None = None
    status: int | None = None
    retry_after: float | None = None
    usage: Usage | None = None
    cost: Decimal | None = None
    possible_duplicate_cost: bool = False
    changes: tuple[str, ...] = ()
    cost_source: BillSource | None = None
    cost_problem: str | None = None
    list_cost: Decimal | None = None


@dataclass(frozen=True, slots=True)
class CacheBreak:
    """What of a prompt was paid for again, though the provider had kept it, and why.

    `position` is the place, from 1, of the tool or message at which the prompt began to differ (of a long message list:
    the first place at which it may); None where nothing of it changed. `tokens` were not read again, which cost `cost`
    USD more than reading them (None if the price is unknown).
    """

    kind: BreakKind
    position: int | None
    tokens: int
    cost: Decimal | None

    def __str__(self) -> str:
        where = ""
        if self.position is not None:
            where = f" at {'tool' if self.kind.startswith('tool') else 'message'} {self.position}"
        return f"{self.kind}{where}, {self.tokens:,} tokens paid again, {usd(self.cost)}"

    def to_dict(self) -> dict[str, Any]:
        return {"kind": self.kind, "position": self.position, "tokens": self.tokens, "cost": _money(self.cost)}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> CacheBreak:
        return cls(data["kind"], data["position"], data["tokens"], _decimal(data["cost"]))


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything about one step as one record. Money is USD; estimates (`estimated_usage`, `expected_cost`,
    `baseline_cost`) stand apart from what the provider said (`usage`, `cost`).

    `target` is the name of the one that answered, or of the first candidate where none has (yet). `savings` is
    `baseline_cost - cost` and may be negative; before the call it compares the expected costs. `cache_broken` says what
    of the prompt was paid for again although its provider had kept it, None if nothing was, or nobody counted.

    `propensity` is the chance with which the first candidate was chosen: 1.0 unless something was tried at random
    (`explored`), None in a record of before there was such a field.
    """

    id: str
    created_at: datetime
    policy_version: str
    context: StepContext
    request_digest: str
    request_chars: int
    target: str
    tier: Tier
    task: Task
    step_kind: StepKind
    complexity: Complexity
    strategy: Strategy
    sufficiency: Mapping[str, float]
    confidence: float
    reasons: tuple[str, ...]
    candidates: tuple[Candidate, ...]
    dropped: tuple[Dropped, ...]
    estimated_usage: Usage
    expected_cost: Decimal | None
    baseline_target: str
    baseline_cost: Decimal | None
    attempts: tuple[Attempt, ...] = ()
    usage: Usage | None = None
    cost: Decimal | None = None
    outcome: Outcome = "planned"
    warnings: tuple[str, ...] = ()
    explored: bool = False
    propensity: float | None = None
    cache_broken: CacheBreak | None = None

    @property
    def savings(self) -> Decimal | None:
        """USD saved against the baseline (negative where it cost more).

        None where either side is unknown, and for a step without an answer: what failed has saved nothing.
        """
        if self.outcome not in ("planned", "ok"):
            return None
        spent = self.expected_cost if self.outcome == "planned" else self.cost
        return None if self.baseline_cost is None or spent is None else self.baseline_cost - spent

    @property
    def cost_source(self) -> str | None:
        """Who made the figure of `cost`: `provider`, `list`, or `mixed` if several attempts cost something."""
        sources = {attempt.cost_source for attempt in self.attempts if attempt.cost is not None}
        return None if self.cost is None or not sources else sources.pop() if len(sources) == 1 else "mixed"

    @property
    def cost_problem(self) -> str | None:
        """Why `cost` is unknown; None where it is known or the call was not made."""
        if self.cost is not None:
            return None
        unknown = (a for a in self.attempts if a.cost is None and a.outcome != "failed")
        return next((attempt.cost_problem for attempt in unknown), None)

    @property
    def counted_input(self) -> int | None:
        """The provider's count of the prompt; None where it told none, or one that cannot be right."""
        doubted = any(warning.startswith(IMPLAUSIBLE) for warning in self.warnings)
        return None if self.usage is None or doubted else self.usage.prompt_tokens

    @property
    def fallbacks(self) -> int:
        """How many other targets were tried after the first one failed."""
        return len({attempt.target for attempt in self.attempts}) - 1 if self.attempts else 0

    def explain(self) -> str:
        """The decision as plain lines: what the step is, why, every candidate with its cost, every dropped target, and
        what would have changed the choice: the P that the next tier down would need, and from where on the next one up.
        """
        likely = "  ".join(f"{tier} {chance:.2f}" for tier, chance in self.sufficiency.items())
        lines = [
            f"decision {self.id} ({self.strategy}, {self.outcome})",
            f"  target       {self.target} ({self.tier.value})",
            f"  step         {self.step_kind.value}, {self.task.value}, {self.complexity}, "
            f"confidence {self.confidence:.2f}",
            f"  P(suffices)  {likely}",
            "  reasons",
            *(f"    - {reason}" for reason in self.reasons or ("none given",)),
            "  candidates",
            *_table(self.candidates),
        ]
        if changes := _changes(self):
            lines += ["  what would change it", *(f"    - {change}" for change in changes)]
        if self.dropped:
            lines += ["  dropped", *(f"    - {drop.target}: {drop.reason}" for drop in self.dropped)]
        if self.attempts:
            lines += ["  attempts"]
            lines += [f"    - {a.target}: {a.outcome} {a.error or ''}".rstrip() for a in self.attempts]
        if self.cache_broken is not None:
            lines.append(f"  cache broken: {self.cache_broken}")
        return "\n".join(map(printable, lines))

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text, so that nothing is rounded. `from_dict` reads it back."""
        return {
            "schema_version": SCHEMA_VERSION,
            "id": self.id,
            "created_at": self.created_at.isoformat(),
            "policy_version": self.policy_version,
            "context": {
                **{name: getattr(self.context, name) for name in _CONTEXT_FIELDS},
                "previous_id": self.context.previous.id if self.context.previous else None,
            },
            "request_digest": self.request_digest,
            "request_chars": self.request_chars,
            "target": self.target,
            "tier": self.tier.value,
            "task": self.task.value,
            "step_kind": self.step_kind.value,
            "complexity": self.complexity,
            "strategy": self.strategy,
            "sufficiency": dict(self.sufficiency),
            "confidence": self.confidence,
            "reasons": list(self.reasons),
            "candidates": [
                {
                    "target": c.target,
                    "tier": c.tier.value,
                    "sufficiency": c.sufficiency,
                    "expected_cost": _money(c.expected_cost),
                    "cached_tokens": c.cached_tokens,
                    "score": c.score,
                    "reason": c.reason,
                    "risk": c.risk,
                }
                for c in self.candidates
            ],
            "dropped": [{"target": d.target, "reason": d.reason} for d in self.dropped],
            "estimated_usage": self.estimated_usage.to_dict(),
            "expected_cost": _money(self.expected_cost),
            "baseline_target": self.baseline_target,
            "baseline_cost": _money(self.baseline_cost),
            "attempts": [
                {
                    **{name: getattr(a, name) for name in _ATTEMPT_FIELDS},
                    "usage": a.usage.to_dict() if a.usage else None,
                    "cost": _money(a.cost),
                    "list_cost": _money(a.list_cost),
                    "changes": list(a.changes),
                }
                for a in self.attempts
            ],
            "usage": self.usage.to_dict() if self.usage else None,
            "cost": _money(self.cost),
            "savings": _money(self.savings),
            "outcome": self.outcome,
            "warnings": list(self.warnings),
            "explored": self.explored,
            "propensity": self.propensity,
            "cache_broken": None if self.cache_broken is None else self.cache_broken.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Decision:
        """Reads `to_dict` back. Of `previous` only the id is written, for other readers. Raises ConfigError."""
        version = data.get("schema_version")
        if version not in _READABLE:
            raise ConfigError(
                f"a decision of schema version {version!r} cannot be read; this is version {SCHEMA_VERSION}"
            )
        return cls(
            id=data["id"],
            created_at=datetime.fromisoformat(data["created_at"]),
            policy_version=data["policy_version"],
            context=StepContext(**{name: data["context"].get(name) for name in _CONTEXT_FIELDS}),
            request_digest=data["request_digest"],
            request_chars=data["request_chars"],
            target=data["target"],
            tier=Tier(data["tier"]),
            task=Task(data["task"]),
            step_kind=StepKind(data["step_kind"]),
            complexity=data["complexity"],
            strategy=data["strategy"],
            sufficiency=dict(data["sufficiency"]),
            confidence=data["confidence"],
            reasons=tuple(data["reasons"]),
            candidates=tuple(
                Candidate(**{**c, "tier": Tier(c["tier"]), "expected_cost": _decimal(c["expected_cost"])})
                for c in data["candidates"]
            ),
            dropped=tuple(Dropped(**d) for d in data["dropped"]),
            estimated_usage=Usage.from_dict(data["estimated_usage"]),
            expected_cost=_decimal(data["expected_cost"]),
            baseline_target=data["baseline_target"],
            baseline_cost=_decimal(data["baseline_cost"]),
            attempts=tuple(
                Attempt(
                    **{
                        **a,
                        "usage": Usage.from_dict(a["usage"]) if a["usage"] else None,
                        "cost": _decimal(a["cost"]),
                        "list_cost": _decimal(a.get("list_cost")),
                        "changes": tuple(a.get("changes", ())),
                    }
                )
                for a in data["attempts"]
            ),
            usage=Usage.from_dict(data["usage"]) if data["usage"] else None,
            cost=_decimal(data["cost"]),
            outcome=data["outcome"],
            warnings=tuple(data["warnings"]),
            explored=data.get("explored", False),
            propensity=data.get("propensity"),
            cache_broken=CacheBreak.from_dict(broken) if (broken := data.get("cache_broken")) else None,
        )


_CONTEXT_FIELDS = ("conversation_id", "agent", "role", "node", "parent_id", "key")
_ATTEMPT_FIELDS = (
    "target",
    "outcome",
    "started_s",
    "duration_s",
    "first_content_s",
    "error",
    "error_text",
    "status",
    "retry_after",
    "possible_duplicate_cost",
    "cost_source",
    "cost_problem",
)


def _table(candidates: tuple[Candidate, ...]) -> list[str]:
    rows = [
        (
            f"{place}. {c.target}",
            c.tier.value,
            f"P {c.sufficiency:.2f}",
            "price unknown" if c.expected_cost is None else f"about ${c.expected_cost:.6f}",
            f"{c.cached_tokens} cached",
            c.reason,
        )
        for place, c in enumerate(candidates, 1)
    ]
    widths = [max((len(row[column]) for row in rows), default=0) for column in range(5)]
    return [
        "    " + "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[5]]).rstrip()
        for row in rows
    ]


def _changes(decision: Decision) -> list[str]:
    """What the next tiers down and up would have needed, as far as the record of the candidates tells."""
    if not decision.candidates:
        return []
    first, *others = decision.candidates
    if first.score is None:
        return [f"nothing but the caller: {first.reason}"]
    found = []
    below = max((c for c in others if c.tier < first.tier), key=lambda c: c.tier, default=None)
    if below is not None:
        named = f"{below.target} ({below.tier.value})"
        need = _needed(below, first, decision)
        pin = f" (or max_tier={below.tier.value!r})"
        if need is not None and need > 1:
            found.append(f"down: no P would do for {named}: it costs more than it could save{pin}")
        elif need is not None and need > below.sufficiency:
            found.append(f"down: {named} would need P {need:.3f}; it has {below.sufficiency:.3f}{pin}")
    above = min((c for c in others if c.tier > first.tier), key=lambda c: c.tier, default=None)
    if above is not None and decision.strategy == "balanced":
        fall = _breaks_even(first, above)
        if fall is not None and 0 < fall < first.sufficiency:
            found.append(f"up: {above.target} ({above.tier.value}) as soon as P of {first.target} is below {fall:.3f}")
    elif above is not None and decision.strategy == "cheapest" and (floor := _floor(first)) is not None:
        found.append(f"up: {above.target} ({above.tier.value}) as soon as P of {first.target} is below {floor:.2f}")
    return found


def _needed(candidate: Candidate, first: Candidate, decision: Decision) -> float | None:
    """The P from which `candidate` would come before `first`; above 1 where none would do, None if it is not known."""
    if decision.strategy == "balanced":
        return _breaks_even(candidate, first)
    if decision.strategy == "best":
        return max(c.sufficiency for c in decision.candidates) - 0.01
    return _floor(candidate)


def _breaks_even(candidate: Candidate, other: Candidate) -> float | None:
    """The P at which the scores of two candidates are equal: a score is a spend and a risk that falls with P."""
    if candidate.score is None or other.score is None or candidate.risk is None:
        return None
    lack = 1 - candidate.sufficiency
    stakes = candidate.risk / lack if lack > 0 else 0.0
    spent = candidate.score - candidate.risk
    return 1 - (other.score - spent) / stakes if stakes > 0 else None


_FLOOR = re.compile(r"\b(?:reaches|below) (\d\.\d+)")


def _floor(candidate: Candidate) -> float | None:
    match = _FLOOR.search(candidate.reason)
    return None if match is None else float(match[1])


def _money(value: Decimal | None) -> str | None:
    return None if value is None else str(value)


def _decimal(value: str | None) -> Decimal | None:
    return None if value is None else Decimal(value)
