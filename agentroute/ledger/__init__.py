"""Where decisions are kept: appended once per step, off the way of the call."""

from __future__ import annotations

from .base import Ledger
from .memory import MemoryLedger, Totals

__all__ = ["Ledger", "MemoryLedger", "Totals"]
