"""Waiting for what a thread finds, as long as there is time for it: the stop button of a call ends the wait too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from typing import Final, TypeVar

__all__ = ["afound_by", "found_by"]

_T = TypeVar("_T")

_LOOK_S: Final = 0.25
"""How often is asked how much time is left."""


def found_by(search: Future[_T], left: Callable[[], float]) -> _T:
    """The result of a search that others may wait for too. `left` gives the seconds that are left, or raises.

    Raises TimeoutError if there are none.
    """
    while not search.done():
        seconds = left()
        if seconds <= 0:
            raise TimeoutError
        with suppress(TimeoutError):
            search.result(min(seconds, _LOOK_S))
    return search.result(0)


async def afound_by(search: Future[_T], left: Callable[[], float]) -> _T:
    """`found_by` without keeping the event loop waiting. Who gives up, or is cancelled, does not end the search."""
    loop = asyncio.get_running_loop()
    answered = asyncio.Event()

    def wake(_: Future[_T]) -> None:
        # The loop may be gone by now.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(answered.set)

    search.add_done_callback(wake)
    while not search.done():
        seconds = left()
        if seconds <= 0:
            raise TimeoutError
        with suppress(TimeoutError):
            async with asyncio.timeout(min(seconds, _LOOK_S)):
                await answered.wait()
    return search.result(0)
