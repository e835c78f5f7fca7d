"""Waiting on an event loop for what a thread finds, without keeping the loop waiting."""

from __future__ import annotations

import asyncio
from concurrent.futures import Future
from contextlib import suppress
from typing import TypeVar

__all__ = ["found_by"]

_T = TypeVar("_T")


async def found_by(search: Future[_T], seconds: float) -> _T:
    """The result of a search that others may wait for too: who gives up, or is cancelled, does not end it.

    Raises TimeoutError after `seconds`.
    """
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    def wake(_: Future[_T]) -> None:
        # The loop may be gone by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(answered.set)

    search.add_done_callback(wake)
    async with asyncio.timeout(seconds):
        await answered.wait()
    return search.result(0)
