"""What a ledger must offer: one method, called once for every finished step; and what one may offer beside."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

from agentroute.decisions import Decision

__all__ = ["Ledger", "SpendingLedger", "Spent"]


class Ledger(Protocol):
    """Keeps decisions. `append` is called from whatever thread or task ended the step, and must return quickly.

    What it raises is logged and never reaches the call. One that keeps outcomes too has `append_label(label)`, held to
    the same.
    """

    def append(self, decision: Decision) -> None: ...


class Spent(NamedTuple):
    """What a budget wants to know of a finished step: whose it was, when (UTC, as text), and the USD that count for it,
    some of them estimated."""

    decision_id: str
    created_at: str
    agent: str | None
    key: str | None
    conversation_id: str | None
    usd: Decimal
    estimated: Decimal


@runtime_checkable
class SpendingLedger(Protocol):
    """A ledger that outlives its process and may be shared by several: a budget reads there what others have spent."""

    path: Path

    def spent(self, after: int | None, since: datetime) -> Iterator[tuple[int, Spent | None]]:
        """Every step that was written after the mark `after`, each with the mark behind it; with None, every one since
        that time. A mark comes with None if there is nothing new."""
