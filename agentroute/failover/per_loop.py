"""One thing for each event loop: a pool of connections, an SDK's client. The only place where loops are told apart."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Generic, TypeVar

from agentroute.errors import ConfigError
from agentroute.failover.forks import renew_in_child

__all__ = ["PerLoop"]

Held = TypeVar("Held")


class PerLoop(Generic[Held]):
    """Makes one `Held` on each event loop when it is first asked for there, and closes it with that loop. Safe in
    threads.

    A connection belongs to the loop that opened it: on another one it fails, and after its own has ended nobody can
    close it.
    """

    def __init__(self, make: Callable[[], Held], close: Callable[[Held], Awaitable[None]]) -> None:
        self._make = make
        self._close = close
        self._of_parents: list[Any] = []
        self._open: dict[asyncio.AbstractEventLoop, tuple[Held, AsyncGenerator[None, None]]] = {}
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        # What the parent had is kept out of the garbage collector's hands: to close it would wake the parent's loops.
        self._of_parents.append(self._open)
        self._lock = threading.Lock()
        self._open = {}

    async def get(self) -> Held:
        """This loop's own. Raises ConfigError if it is not asyncio's."""
        loop = _running()
        with self._lock:
            known = self._open.get(loop)
            if known is not None:
                return known[0]
            for other in [other for other in self._open if other.is_closed()]:
                del self._open[other]
            held = self._make()
            keeper = self._keep(loop, held)
            self._open[loop] = (held, keeper)
        await anext(keeper)
        return held

    async def _keep(self, loop: asyncio.AbstractEventLoop, held: Held) -> AsyncGenerator[None, None]:
        """Started and left waiting: an event loop closes its open asynchronous generators before it closes itself."""
        try:
            yield
        finally:
            with self._lock:
                self._open.pop(loop, None)
            await self._close(held)

    async def aclose(self) -> None:
        """Closes this loop's own."""
        with self._lock:
            known = self._open.get(asyncio.get_running_loop())
        if known is not None:
            await known[1].aclose()


def _running() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        pass
    raise ConfigError("no asyncio event loop runs here; under trio, make plain calls in `trio.to_thread.run_sync`")
