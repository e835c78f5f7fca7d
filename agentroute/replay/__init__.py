"""Your own traces through the router, offline: what each step would have been sent to, and what that would cost.

>>> report = replay("traces.jsonl.gz", Router.from_config("agentroute.toml"))  # doctest: +SKIP
>>> report.steps, report.strategies["balanced"].list_usd  # doctest: +SKIP
"""

from __future__ import annotations

from .describe import Description, describe
from .ledgers import LedgerReplay, Line, replay_ledger
from .records import Problem
from .report import Bill, Explained, Fit, Recorded, ReplayReport, Unsure
from .simulate import GAP_S, STRATEGIES, replay

__all__ = [
    "GAP_S",
    "STRATEGIES",
    "Bill",
    "Description",
    "Explained",
    "Fit",
    "LedgerReplay",
    "Line",
    "Problem",
    "Recorded",
    "ReplayReport",
    "Unsure",
    "describe",
    "replay",
    "replay_ledger",
]
