"""The default ledger of a library: the latest decisions in memory, and totals over all of them."""

from __future__ import annotations

import threading
from collections import deque

from agentroute.decisions import Decision
from agentroute.failover.forks import renew_in_child

from .labels import Assignment, Label
from .totals import Tally, Totals

__all__ = ["MemoryLedger"]


class MemoryLedger:
    """Keeps the latest `max_decisions`, and as many labels; `totals` cover all. Safe in threads.

    `append` may also be reached from a finalizer (an abandoned stream) while the same thread is inside it.
    """

    def __init__(self, *, max_decisions: int = 10_000) -> None:
        self._decisions: deque[Decision] = deque(maxlen=max_decisions)
        self._labels: deque[Label] = deque(maxlen=max_decisions)
        self._totals: Tally[Totals] = Tally()
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def append(self, decision: Decision) -> None:
        step = Totals.of(decision)
        with self._lock:
            self._decisions.append(decision)
            self._totals.add(step)

    def append_label(self, label: Label) -> None:
        self._labels.append(label)

    @property
    def labels(self) -> tuple[Label, ...]:
        """The latest labels, in the order in which they came."""
        return tuple(self._labels.copy())

    @property
    def assignments(self) -> tuple[Assignment, ...]:
        """Which target each of `decisions` was meant for."""
        return tuple(map(Assignment.of, self.decisions))

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The latest decisions, oldest first."""
        with self._lock:
            return tuple(self._decisions)

    @property
    def totals(self) -> Totals:
        return self._totals.sum or Totals()
