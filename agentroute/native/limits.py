"""The time limits of an attempt at a ready model, which does not know of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Literal, TypeAlias

from agentroute.errors import ProviderTimeout
from agentroute.failover.effects import Clock, Try

__all__ = ["Phase", "within"]

Phase: TypeAlias = Literal["first_content", "between_events", "whole_answer"]


async def within(
    attempt: Try, phase: Phase, clock: Clock, answer: Awaitable[Any], *, since: float | None = None
) -> Any:
    """Awaits the answer for as long as the phase may take and the deadline is away. Raises ProviderTimeout after it.

    `since` is when the phase began, on the monotonic clock (default: now): an empty piece does not begin it anew.
    """
    seconds: float = getattr(attempt.timeouts, phase)
    now = clock.monotonic()
    left = seconds if since is None else seconds - (now - since)
    if attempt.deadline is not None:
        left = min(left, attempt.deadline - now)
    limit = asyncio.timeout(max(left, 0.0))
    try:
        async with limit:
            return await answer
    except TimeoutError:
        if not limit.expired():
            raise
    name = attempt.target.name
    raise ProviderTimeout(f"target {name!r}: {phase} took more than {seconds:.3g} s", target=name)
