"""Connections that carry no request now, kept for the next one that leads to the same place."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Hashable
from typing import Any, Final, Generic, Protocol, TypeVar

from agentroute.failover.forks import renew_in_child

__all__ = ["Idle"]

_KEEP_ALIVE_S: Final = 30.0
"""How long a connection is kept: an agent's tools run between two calls, and servers close after 60 s or more."""


class _Connection(Protocol):
    def is_quiet(self) -> bool: ...
    def close(self) -> None: ...


Kept = TypeVar("Kept", bound=_Connection)


class Idle(Generic[Kept]):
    """Whoever takes a connection owns it until it is put back, so that none is closed under a request. Safe in threads.

    The one that was used last is taken first; those at the other end grow old and are closed. All are kept that were
    in use at once, since nobody knows how many of a burst come again.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._of_parents: list[Any] = []
        self._closed = False
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """A forked child opens connections of its own. Its parent's are neither used nor closed."""
        self._of_parents.append(getattr(self, "_kept", None))
        # Reentrant: the garbage collector may close an answer in the middle of what its thread is doing here.
        self._lock = threading.RLock()
        self._kept: dict[Hashable, deque[tuple[float, Kept]]] = {}

    def take(self, place: Hashable) -> Kept | None:
        """A connection on which nothing has come since it was put back."""
        while True:
            with self._lock:
                self._closed = False
                old = self._too_old()
                kept = self._kept.get(place)
                found = kept.pop()[1] if kept else None
            for connection in old:
                connection.close()
            if found is None or found.is_quiet():
                return found
            found.close()

    def put(self, place: Hashable, connection: Kept) -> None:
        """Keeps the connection; closes it if the list was closed while its call was under way."""
        with self._lock:
            if not self._closed:
                self._kept.setdefault(place, deque()).append((self._monotonic(), connection))
                return
        connection.close()

    def _too_old(self) -> list[Kept]:
        before = self._monotonic() - _KEEP_ALIVE_S
        found = []
        for place, kept in list(self._kept.items()):
            while kept and kept[0][0] < before:
                found.append(kept.popleft()[1])
            if not kept:
                del self._kept[place]
        return found

    def close(self) -> None:
        with self._lock:
            self._closed = True
            all_kept, self._kept = self._kept, {}
        for kept in all_kept.values():
            for _, connection in kept:
                connection.close()
