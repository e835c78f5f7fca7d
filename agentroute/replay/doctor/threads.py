"""Which conversation a logged call goes on, also if its beginning has changed since: then its end tells."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from agentroute.routing.prefix import Prefix

from .seen import State

__all__ = ["Threads"]


class Threads:
    """Remembers the latest `max_entries` ends of conversations, within the ids that the log gives (None for none).

    A call goes on from an earlier one if it begins with all of it. If none is known, then from one whose last stretch
    (an answer and its results, or the first ask) it has: whatever changed before that, it is the same conversation.
    """

    def __init__(self, begin: Callable[[], State], *, max_entries: int = 20_000) -> None:
        self._begin = begin
        self._max_entries = max_entries
        self._states: OrderedDict[tuple[str | None, int], State] = OrderedDict()

    def state(self, name: str | None, prefix: Prefix) -> State:
        """The conversation so far."""
        marks = (prefix.whole, *prefix.earlier)
        for mark in marks:
            found = self._states.get((name, mark.key))
            if found is None and mark is not prefix.whole:
                found = self._states.get((name, mark.tail))
            if found is not None:
                return found
        return self._begin()

    def keep(self, name: str | None, prefix: Prefix, state: State) -> None:
        """Notes where the conversation stands now."""
        for key in ((name, prefix.whole.key), (name, prefix.whole.tail)):
            self._states[key] = state
            self._states.move_to_end(key)
        while len(self._states) > self._max_entries:
            self._states.popitem(last=False)
