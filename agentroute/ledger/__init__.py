"""Where decisions are kept, and what is said of them: appended once per step, off the way of the call."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import Ledger, SpendingLedger, Spent
from .budget import Budget, Limit, Spending
from .labels import Assignment, Label
from .memory import MemoryLedger
from .totals import Gap, Totals

if TYPE_CHECKING:
    from .sqlite import SqliteLedger

__all__ = [
    "Assignment",
    "Budget",
    "Gap",
    "Label",
    "Ledger",
    "Limit",
    "MemoryLedger",
    "Spending",
    "SpendingLedger",
    "Spent",
    "SqliteLedger",
    "Totals",
]


def __getattr__(name: str) -> Any:
    """`SqliteLedger` brings sqlite3 along, so it is loaded when it is first asked for."""
    if name == "SqliteLedger":
        from .sqlite import SqliteLedger

        globals()[name] = SqliteLedger
        return SqliteLedger
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
