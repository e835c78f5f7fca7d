"""What somebody says of how a step or a conversation went, and which target a step was assigned to."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, Self, TypeAlias, get_args

from agentroute.decisions import Decision, StepKind
from agentroute.errors import RequestError, nearest

__all__ = ["SOURCES", "Assignment", "Label", "Source"]

Source: TypeAlias = Literal["check", "person", "benchmark", "judge"]

SOURCES: tuple[Source, ...] = get_args(Source)
"""A check is code that can tell (tests, a schema, a guardrail); a judge is a model, and certifies nothing."""

_LONGEST = 256


@dataclass(frozen=True, slots=True)
class Label:
    """Something said of one step (`decision_id`) or of a whole conversation (`conversation_id`, of one `role` or of all
    that took part). `name` tells checks of one step from each other: of the same one the latest holds.

    Raises RequestError for a label of nothing, of both, without a verdict, or from an unknown source.
    """

    at: datetime
    decision_id: str | None = None
    conversation_id: str | None = None
    role: str | None = None
    ok: bool | None = None
    score: float | None = None
    source: Source = "check"
    name: str | None = None

    def __post_init__(self) -> None:
        if (self.decision_id is None) == (self.conversation_id is None):
            raise RequestError("an outcome is of a decision or of a conversation: give the id of one of them")
        for field in ("decision_id", "conversation_id", "role", "name"):
            _check_text(field, getattr(self, field))
        if self.decision_id is not None and self.role is not None:
            raise RequestError("`role` narrows the outcome of a conversation; a decision has its own")
        if self.source not in SOURCES:
            near = nearest(str(self.source), SOURCES) or f"; use {', '.join(SOURCES)}"
            raise RequestError(f"no source is named {self.source!r}{near}")
        if self.ok is not None and not isinstance(self.ok, bool):
            raise RequestError(f"ok is {self.ok!r}; give True or False")
        score = self.score
        if score is not None:
            if isinstance(score, bool) or not isinstance(score, int | float) or not math.isfinite(score):
                raise RequestError(f"score is {score!r}; give a finite number")
            object.__setattr__(self, "score", float(score))
        if self.ok is None and score is None:
            raise RequestError("an outcome says something: give `ok`, `score` or both")


def _check_text(field: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value or len(value) > _LONGEST:
        shown = repr(value)[:40]
        raise RequestError(f"{field} is {shown}; give a text of 1 to {_LONGEST} characters")


@dataclass(frozen=True, slots=True)
class Assignment:
    """A step and its first candidate: the target it was meant for, whoever answered after a fallback.

    `role` is the role, else the agent, that asked. `cost` in USD, None if unknown; `previous_id` the step before, as
    far as the caller told it. `side`: a client's side call (a title, a probe), whose target says nothing of the work.
    """

    id: str
    at: datetime
    conversation_id: str | None
    previous_id: str | None
    role: str | None
    target: str
    cost: Decimal | None
    side: bool = False

    @classmethod
    def of(cls, decision: Decision) -> Self:
        context = decision.context
        return cls(
            id=decision.id,
            at=decision.created_at,
            conversation_id=context.conversation_id,
            previous_id=None if context.previous is None else context.previous.id,
            role=context.role or context.agent,
            target=decision.candidates[0].target if decision.candidates else decision.target,
            cost=decision.cost,
            side=decision.step_kind is StepKind.HOUSEKEEPING,
        )
