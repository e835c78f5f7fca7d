"""The time limits of an attempt at a ready model, which does not know of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Literal, TypeAlias

from .effects import Clock, Try
from .errors import ProviderTimeout

__all__ = ["Phase", "within"]

Phase: TypeAlias = Literal["first_content", "between_events", "whole_answer"]


async def within(attempt: Try, phase: Phase, clock: Clock, answer: Awaitable[Any]) -> Any:
    """Awaits the answer for as long as the phase may take and the deadline is away. Raises ProviderTimeout after it."""
    seconds: float = getattr(attempt.timeouts, phase)
    if attempt.deadline is not None:
        seconds = min(seconds, max(attempt.deadline - clock.monotonic(), 0.0))
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            return await answer
    except TimeoutError:
        if not limit.expired():
            raise
    name = attempt.target.name
    raise ProviderTimeout(f"target {name!r}: nothing came for {seconds:.3g} s", target=name)
