"""What of a decision can be asked for: the columns of the ledger's table, and of every report."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from typing import Self

from agentroute.decisions import Decision

__all__ = ["COLUMNS", "KEYS", "Entry", "moment"]

KEYS = (
    "day",
    "target",
    "tier",
    "task",
    "step_kind",
    "strategy",
    "agent",
    "role",
    "node",
    "conversation_id",
    "key",
    "outcome",
    "cost_source",
    "cost_problem",
    "cache_broken",
)
"""What a report may be broken down by."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One step. Money in USD, None where unknown; `created_at` and `day` are UTC, the former to the microsecond.

    `duration_s` is from the call's beginning to its end, `first_content_s` to the first content that was passed on:
    what the caller waited, failed attempts included. `duplicates` counts attempts that may have been billed unseen.
    `cost_source` tells who made the figure (`provider`, `list`, `mixed`), `cost_problem` why there is none; `key` is
    the name of who pays; `cache_broken` the kind of a broken prompt cache, `broken_cost` (part of `cost`) what it cost.
    A ledger that was written before there were such columns has none of them.
    """

    id: str
    created_at: str
    day: str
    target: str
    tier: str
    task: str
    step_kind: str
    strategy: str
    agent: str | None
    role: str | None
    node: str | None
    conversation_id: str | None
    outcome: str
    cost: Decimal | None
    baseline_cost: Decimal | None
    savings: Decimal | None
    attempts: int
    fallbacks: int
    duplicates: int
    duration_s: float | None
    first_content_s: float | None
    cost_source: str | None = None
    cost_problem: str | None = None
    key: str | None = None
    cache_broken: str | None = None
    broken_cost: Decimal | None = None

    @classmethod
    def of(cls, decision: Decision) -> Self:
        attempts, context, broken = decision.attempts, decision.context, decision.cache_broken
        created_at = moment(decision.created_at)
        first_content = next(
            (a.started_s + a.first_content_s for a in reversed(attempts) if a.first_content_s is not None), None
        )
        return cls(
            id=decision.id,
            created_at=created_at,
            day=created_at[:10],
            target=decision.target,
            tier=decision.tier.value,
            task=decision.task.value,
            step_kind=decision.step_kind.value,
            strategy=decision.strategy,
            agent=context.agent,
            role=context.role,
            node=context.node,
            conversation_id=context.conversation_id,
            outcome=decision.outcome,
            cost=decision.cost,
            baseline_cost=decision.baseline_cost,
            savings=decision.savings,
            attempts=len(attempts),
            fallbacks=decision.fallbacks,
            duplicates=sum(a.possible_duplicate_cost for a in attempts),
            duration_s=attempts[-1].started_s + attempts[-1].duration_s if attempts else None,
            first_content_s=first_content,
            cost_source=decision.cost_source,
            cost_problem=decision.cost_problem,
            key=context.key,
            cache_broken=None if broken is None else broken.kind,
            broken_cost=None if broken is None else broken.cost,
        )


COLUMNS = tuple(field.name for field in fields(Entry))


def moment(time: datetime) -> str:
    """UTC as text of one length, so that it sorts as it passes; a time without a zone is the machine's own."""
    return time.astimezone(UTC).isoformat(timespec="microseconds")
