"""Event loops that LlamaIndex runs for a plain call: connections end with the call there, for the loop may be gone."""

from __future__ import annotations

import asyncio
import sys
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from types import FrameType
from weakref import WeakKeyDictionary

__all__ = ["borrowed"]

_RUNNER = "llama_index.core.async_utils"
_CLOSER = "async_generator_athrow"
_CALLS: WeakKeyDictionary[asyncio.AbstractEventLoop, Counter[int]] = WeakKeyDictionary()


@asynccontextmanager
async def borrowed(connections: object, close: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """One call by these connections. The last to end on a loop that `asyncio_run` drives closes what they kept open.

    `asyncio_run` closes its loops without telling asynchronous generators so (`shutdown_asyncgens`), or leaves them
    open for good: in both cases nobody would close a kept connection.
    """
    if not _run_by_llama_index():
        yield
        return
    calls = _CALLS.setdefault(asyncio.get_running_loop(), Counter())
    key = id(connections)
    calls[key] += 1
    try:
        yield
    finally:
        calls[key] -= 1
        if not calls[key]:
            del calls[key]
            await close()
            await _closers()


async def _closers() -> None:
    """Waits until the loop has closed the generators below a stream that was given up: httpcore leaves it to do so."""
    while True:
        await asyncio.sleep(0)  # The loop makes these tasks in its next round.
        closers = [task for task in asyncio.all_tasks() if type(task.get_coro()).__name__ == _CLOSER]
        if not closers:
            return
        await asyncio.wait(closers)


def _run_by_llama_index() -> bool:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_globals.get("__name__") == _RUNNER:
            return True
        frame = frame.f_back
    return False
