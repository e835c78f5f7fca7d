"""A clock that moves only when it is told to: tests of deadlines, cooldowns and records without waiting."""

from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime, timedelta

__all__ = ["FrozenClock"]


class FrozenClock:
    """Implements `effects.Clock`. Sleeping takes no time and moves the clock by that much; `slept` lists the sleeps.

    Args:
        start: what `now()` says at first; a datetime with a time zone. `monotonic()` begins at 0.0 seconds.

    >>> clock = FrozenClock()
    >>> clock.advance(90)
    >>> clock.monotonic()
    90.0
    """

    def __init__(self, start: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        if start.tzinfo is None:
            raise ValueError(f"start is {start!r}; give a datetime with a time zone")
        self._start = start
        self._elapsed = 0.0
        self._lock = threading.Lock()
        self.slept: list[float] = []

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._elapsed

    def now(self) -> datetime:
        """The start, moved on by `monotonic()` seconds."""
        return self._start + timedelta(seconds=self._elapsed)

    def advance(self, seconds: float) -> None:
        """Moves the clock on. Raises ValueError for a negative number: time does not run backwards."""
        if seconds < 0:
            raise ValueError(f"cannot advance by {seconds!r} seconds")
        with self._lock:
            self._elapsed += seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(max(seconds, 0.0))

    async def asleep(self, seconds: float) -> None:
        self.sleep(seconds)
        await asyncio.sleep(0)
