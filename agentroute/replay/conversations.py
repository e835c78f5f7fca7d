"""Which conversation a trace belongs to: by the recorder's id, else by the messages it begins with."""

from __future__ import annotations

from collections.abc import Callable

from agentroute.routing.prefix import Prefix

from .records import Trace

__all__ = ["Conversations"]


class Conversations:
    """Numbers conversations in the order in which they begin. Holds a number for each call, never a message."""

    def __init__(self) -> None:
        self.total = 0
        self._by_name: dict[int, int] = {}
        self._by_prefix: dict[int, int] = {}

    def number(self, trace: Trace, prefix: Callable[[], Prefix]) -> int:
        """The number of the trace's conversation; `prefix` (of its last call) is asked only without an id."""
        if trace.whole:
            key = hash((trace.format, trace.conversation_id))
            number = self._by_name.get(key) if trace.part else None
            if number is None:
                number = self._new()
            if trace.conversation_id is not None:
                self._by_name[key] = number
            return number
        if trace.conversation_id is not None:
            key = hash((trace.format, trace.conversation_id, trace.agent))
            if key not in self._by_name:
                self._by_name[key] = self._new()
            return self._by_name[key]
        if trace.format == "steps" or not trace.request.messages:
            return self._new()
        found = prefix()
        marks = (mark.key for mark in (found.whole, *found.earlier))
        number = next((held for key in marks if (held := self._by_prefix.get(key)) is not None), None)
        if number is None:
            number = self._new()
        self._by_prefix[found.whole.key] = number
        return number

    def _new(self) -> int:
        self.total += 1
        return self.total
