"""What became of an episode: the label that everything here learns from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

__all__ = ["Outcome", "Source"]

Source: TypeAlias = Literal["check", "person", "benchmark", "judge"]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an episode ended for one role, counted for the target that was assigned at its start.

    `ok` is None if only a score (0 to 1) is known. A judge's verdict is shown, and certifies nothing.
    """

    episode: str
    role: str | None
    target: str
    ok: bool | None
    score: float | None = None
    source: Source = "check"
    at: datetime | None = None
    decision_id: str | None = None
