"""Which targets hold the warm prefix of a conversation, and what a provider last counted for it.

A bounded LRU behind one lock, shared by threads and tasks. Only finished attempts write it. Inject another object with
the same two methods to share it between processes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from agentroute.failover.forks import renew_in_child
from agentroute.targets import Target

from .prefix import Mark, Prefix
from .tokens import Anchor

__all__ = ["Affinity", "Recall"]


@dataclass(frozen=True, slots=True)
class Recall:
    """What is known about a conversation now. `warm` maps a target's name to the tokens it still holds cached;
    `last_target` served the step before; `seen_tokens` is the input of that step, whoever served it."""

    warm: Mapping[str, int]
    last_target: str | None = None
    seen_tokens: int = 0
    seen_at: float | None = None
    anchor: Anchor | None = None


@dataclass(slots=True)
class _Entry:
    mark: Mark
    input_tokens: int
    counted: bool
    last_target: str
    at: float
    served: dict[str, float] = field(default_factory=dict)


class Affinity:
    """Remembers up to `max_entries` prefixes (about 500 bytes each). Times are monotonic seconds."""

    def __init__(self, *, max_entries: int = 20_000) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        # Reentrant: the garbage collector may close a stream in the middle of what its thread is doing here.
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def recall(self, prefix: Prefix, targets: Iterable[Target], now: float) -> Recall:
        """Looks the conversation up, longest known prefix first. A target without a cache TTL is never warm."""
        with self._lock:
            known = [
                entry
                for mark in prefix.marks
                if (entry := self._entries.get(mark.key)) is not None and entry.mark.n_messages == mark.n_messages
            ]
            if not known:
                return Recall(warm={})
            warm: dict[str, int] = {}
            for target in targets:
                for entry in known:
                    at = entry.served.get(target.name)
                    if at is not None and target.cache_ttl_s is not None and now - at <= target.cache_ttl_s:
                        warm[target.name] = entry.input_tokens
                        break
            newest = known[0]
            if newest.mark.key == (prefix.system.key if prefix.system else None) and prefix.whole is not prefix.system:
                return Recall(warm=warm)
            anchor = Anchor(newest.input_tokens, newest.mark.bulk) if newest.counted else None
            return Recall(warm, newest.last_target, newest.input_tokens, newest.at, anchor)

    def record(self, prefix: Prefix, target: str, input_tokens: int, now: float, *, counted: bool = True) -> None:
        """Notes that `target` has just read this prefix. `counted`: the figure is the provider's, not an estimate."""
        system = prefix.system
        with self._lock:
            self._note(prefix.whole, target, input_tokens, now, counted)
            if system is not None and system is not prefix.whole and prefix.whole.bulk.chars:
                share = system.bulk.chars / prefix.whole.bulk.chars
                self._note(system, target, int(input_tokens * share), now, counted=False)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def _note(self, mark: Mark, target: str, input_tokens: int, now: float, counted: bool) -> None:
        entry = self._entries.get(mark.key)
        if entry is None:
            entry = self._entries[mark.key] = _Entry(mark, input_tokens, counted, target, now)
        else:
            self._entries.move_to_end(mark.key)
            entry.input_tokens, entry.counted, entry.last_target, entry.at = input_tokens, counted, target, now
        entry.served[target] = now
