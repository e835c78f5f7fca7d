"""What a ledger must offer: one method, called once for every finished step."""

from __future__ import annotations

from typing import Protocol

from agentroute.decisions import Decision

__all__ = ["Ledger"]


class Ledger(Protocol):
    """Keeps decisions. `append` is called from whatever thread or task ended the step, and must return quickly.

    What it raises is logged and never reaches the call. One that keeps outcomes too has `append_label(label)`, held to
    the same.
    """

    def append(self, decision: Decision) -> None: ...
