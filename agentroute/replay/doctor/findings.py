"""What the doctor finds, as frozen values: where prompt caches broke, what it cost, what else costs without need."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from agentroute.decisions import BreakKind
from agentroute.replay.records import Problem

from .wording import change, remedy

__all__ = ["ADVICE", "AgentBill", "DoctorReport", "Finding", "Kind", "Moment", "Timeline"]

SCHEMA_VERSION = 1

Kind: TypeAlias = (
    BreakKind
    | Literal[
        "volatile_text",
        "tool_schema_changed",
        "no_markers",
        "unmarked_end",
        "useless_markers",
        "short_lifetime",
        "long_lifetime",
        "model_switch",
        "long_prompts",
        "dominated_model",
    ]
)

ADVICE: Final[frozenset[Kind]] = frozenset({"model_switch", "long_prompts", "dominated_model"})
"""What changes which model answers or what it sees: it costs, and nobody knows what it is worth. All other kinds are
thrown away: to mend them changes no answer."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One way in which an agent's calls to one model cost more than they had to. `usd` at today's list price, None if
    that is unknown.

    `tokens` were paid again at `steps` steps of `conversations` conversations. `position` is the place, from 1, of the
    tool or message that changed, the most frequent one; `seconds` the median pause before the steps of a lifetime;
    `by` the model that would have cost less. `place` is the dearest step, `turns` counts the steps at which a person
    had just spoken.
    """

    kind: Kind
    agent: str
    model: str
    usd: Decimal | None
    tokens: int
    steps: int
    conversations: int
    place: str
    position: int | None = None
    seconds: float | None = None
    by: str | None = None
    turns: int = 0

    @property
    def advice(self) -> bool:
        """Whether it is a choice with a price, and not money thrown away."""
        return self.kind in ADVICE

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "advice": self.advice,
            "agent": self.agent,
            "model": self.model,
            "usd": _money(self.usd),
            "tokens": self.tokens,
            "steps": self.steps,
            "conversations": self.conversations,
            "place": self.place,
            "position": self.position,
            "seconds": self.seconds,
            "by": self.by,
            "turns": self.turns,
            "what": change(self),
            "do": remedy(self),
        }


@dataclass(frozen=True, slots=True)
class AgentBill:
    """What one agent's recorded calls cost at today's list prices, and how much of that was `thrown_away`."""

    agent: str
    models: tuple[str, ...]
    conversations: int
    steps: int
    unpriced: int
    usd: Decimal
    thrown_away: Decimal

    def to_dict(self) -> dict[str, Any]:
        return {
            "agent": self.agent,
            "models": list(self.models),
            "conversations": self.conversations,
            "steps": self.steps,
            "unpriced": self.unpriced,
            "usd": _money(self.usd),
            "thrown_away": _money(self.thrown_away),
        }


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of a timeline: `seconds` after the conversation's first, its tokens, and why some were paid `again`."""

    step: int
    seconds: float
    model: str
    input_tokens: int
    read_tokens: int
    again_tokens: int
    kind: Kind | None
    position: int | None
    usd: Decimal | None

    def to_dict(self) -> dict[str, Any]:
        return {
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model,
            "input_tokens": self.input_tokens,
            "read_tokens": self.read_tokens,
            "again_tokens": self.again_tokens,
            "kind": self.kind,
            "position": self.position,
            "usd": _money(self.usd),
        }


@dataclass(frozen=True, slots=True)
class Timeline:
    """The conversation in which most was thrown away."""

    agent: str
    place: str
    moments: tuple[Moment, ...]

    def to_dict(self) -> dict[str, Any]:
        return {"agent": self.agent, "place": self.place, "moments": [each.to_dict() for each in self.moments]}


@dataclass(frozen=True, slots=True)
class DoctorReport:
    """What the doctor found, the dearest first. Money is USD at today's list prices.

    Of the `steps`, `counted` have the provider's own count of what it read from its cache: for the others the cache is
    modelled. `timed` have a time, the others are taken to be `gap_s` seconds apart. `unpriced` stand in no bill, since
    their model or its price is not known (`unknown_models`).
    """

    files: tuple[str, ...]
    conversations: int
    steps: int
    counted: int
    timed: int
    unpriced: int
    gap_s: float
    unknown_models: tuple[str, ...]
    agents: tuple[AgentBill, ...]
    findings: tuple[Finding, ...]
    timeline: Timeline | None
    malformed: int = 0
    problems: tuple[Problem, ...] = ()
    alike: str | None = None
    notes: tuple[str, ...] = ()

    @property
    def usd(self) -> Decimal:
        return sum((each.usd for each in self.agents), Decimal(0))

    @property
    def thrown_away(self) -> Decimal:
        return sum((each.thrown_away for each in self.agents), Decimal(0))

    @property
    def share(self) -> float | None:
        """How much of the bill was thrown away; None without a bill."""
        return float(self.thrown_away / self.usd) if self.usd else None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text, so that nothing is rounded."""
        return {
            "schema_version": SCHEMA_VERSION,
            "files": list(self.files),
            "conversations": self.conversations,
            "steps": self.steps,
            "counted": self.counted,
            "timed": self.timed,
            "unpriced": self.unpriced,
            "gap_s": self.gap_s,
            "unknown_models": list(self.unknown_models),
            "usd": _money(self.usd),
            "thrown_away": _money(self.thrown_away),
            "share": self.share,
            "agents": [each.to_dict() for each in self.agents],
            "findings": [each.to_dict() for each in self.findings],
            "timeline": None if self.timeline is None else self.timeline.to_dict(),
            "malformed": self.malformed,
            "problems": [{"file": p.file, "line": p.line, "reason": p.reason} for p in self.problems],
            "alike": self.alike,
            "notes": list(self.notes),
        }


def _money(value: Decimal | None) -> str | None:
    return None if value is None else format(value, "f")
