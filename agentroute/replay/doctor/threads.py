"""Which conversation a logged call goes on, also if its beginning has changed since: then its end tells."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import replace
from typing import TypeAlias

from agentroute.messages import ChatRequest
from agentroute.routing.prefix import Mark, Prefix

from .seen import State

__all__ = ["Scope", "Threads"]

Scope: TypeAlias = tuple[str | None, str | None]


class Threads:
    """Remembers the latest `max_entries` ends of conversations, each within what the log says of it: its id and its
    agent's name (None for none).

    A call goes on from an earlier one if it begins with all of it. If none is known, then from one whose last stretch
    (an answer and its results, or the first ask) it has: whatever changed before that, it is the same conversation.
    """

    def __init__(self, begin: Callable[[], State], *, max_entries: int = 20_000) -> None:
        self._begin = begin
        self._max_entries = max_entries
        self._states: OrderedDict[tuple[Scope, int], State] = OrderedDict()

    def state(self, scope: Scope, request: ChatRequest, prefix: Prefix) -> State:
        """The conversation so far. A first ask that was asked before begins another one: of calls that are made at
        once, none finds what the others will leave."""
        for mark in (prefix.whole, *prefix.earlier):
            key, tail = _ends(request, mark)
            found = self._states.get((scope, key))
            if found is not None and not prefix.earlier:
                return replace(self._begin(), repeated=True)
            if found is None and mark is not prefix.whole:
                found = self._states.get((scope, tail))
            if found is not None:
                return found
        return self._begin()

    def keep(self, scope: Scope, request: ChatRequest, prefix: Prefix, state: State) -> None:
        """Notes where the conversation stands now."""
        for key in _ends(request, prefix.whole):
            self._states[scope, key] = state
            self._states.move_to_end((scope, key))
        while len(self._states) > self._max_entries:
            self._states.popitem(last=False)


def _ends(request: ChatRequest, mark: Mark) -> tuple[int, int]:
    """What tells the conversation up to a mark, and what its last stretch alone. The ids of calls are part of both:
    without them, the same task done twice would look like one conversation."""
    ids = [tuple(call.id for call in message.tool_calls) for message in request.messages[: mark.n_messages]]
    last = next((each for each in reversed(ids) if each), ())
    return hash((mark.key, tuple(ids))), hash((mark.tail, last))
