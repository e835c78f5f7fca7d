"""What a forked child makes anew: locks that a thread of its parent may hold, and connections that are its parent's."""

from __future__ import annotations

import os
import threading
from typing import Protocol
from weakref import WeakSet

__all__ = ["Inherited", "ProcessLock", "renew_in_child"]


class Inherited(Protocol):
    """Something that a child of a fork cannot use as its parent left it."""

    def begin_anew(self) -> None:
        """Makes the locks and connections anew. Must take no lock and close nothing."""


_inherited: WeakSet[Inherited] = WeakSet()


def renew_in_child(thing: Inherited) -> None:
    """From now on each forked child calls `thing.begin_anew()` before anything else runs there."""
    _inherited.add(thing)


class ProcessLock:
    """A lock of a whole process. A forked child has another one, which no thread of its parent holds."""

    def __init__(self) -> None:
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _renew() -> None:
    for thing in list(_inherited):
        thing.begin_anew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
