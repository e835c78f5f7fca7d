"""Which targets hold the warm prefix of a conversation, and what a provider last counted for it.

A bounded LRU behind one lock, shared by threads and tasks. Only finished attempts write it. Inject another object with
the same two methods to share it between processes.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias

from agentroute.failover.forks import renew_in_child
from agentroute.messages import Usage
from agentroute.targets import Target

from .caches import HOUR, needs_markers
from .prefix import Mark, Prefix
from .runs import Run
from .tokens import Anchor

__all__ = ["Affinity", "Kept", "Recall", "kept"]

HALF_DAY: Final = 12 * HOUR

BELIEVED_TTL_S: Final = 300.0
"""Seconds that a cache is taken to hold of which nothing is known but that its provider has counted reads from it."""

MISSES: Final = 2
"""After so many steps in a row in which a provider read nothing of a prefix that it was taken to hold, it is taken to
hold none, until it counts some again."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a step left in the cache of the target that served it: `tokens` of its prompt, for `lifetime_s`.

    `system`: whether tools and system messages may be read from it without the rest. `read`: how much of the prompt was
    read from the cache (None: not counted).
    """

    tokens: int
    lifetime_s: float | None = None
    system: bool = True
    read: int | None = None


def kept(target: Target, input_tokens: int, usage: Usage | None, *, asked: float | None, system: bool) -> Kept:
    """What is in the cache after a step, from what the provider counted.

    `asked`: the lifetime that the caller's markers ask for. `system`: whether the end of tools and system was marked; a
    provider that caches by itself finds any prefix.
    """
    if usage is None:
        return Kept(input_tokens, asked, system)
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    tokens = input_tokens
    if needs_markers(target) and read is not None and written is not None:
        tokens = min(read + written, input_tokens)
    lifetime = asked
    if usage.cache_write_12h_tokens:
        lifetime = HALF_DAY
    elif usage.cache_write_1h_tokens:
        lifetime = HOUR
    elif lifetime is None and target.cache_ttl_s is None and read:
        lifetime = BELIEVED_TTL_S
    return Kept(tokens, lifetime, system, read)


@dataclass(frozen=True, slots=True)
class Recall:
    """What is known about a conversation now. `warm` maps a target's name to the tokens it still holds cached;
    `last_target` served the step before; `seen_tokens` is the input of that step, whoever served it; `run` is what the
    steps so far have shown."""

    warm: Mapping[str, int]
    last_target: str | None = None
    seen_tokens: int = 0
    seen_at: float | None = None
    anchor: Anchor | None = None
    run: Run | None = None


_Key: TypeAlias = tuple[str, int, int]
"""A target's name, and hashes of the settings that are part of its prompt."""


@dataclass(slots=True)
class _Held:
    """What lies in one target's cache. `lifetime_s` None: the target's own."""

    at: float
    tokens: int
    lifetime_s: float | None


@dataclass(slots=True)
class _Entry:
    mark: Mark
    input_tokens: int
    counted: bool
    last_target: str
    at: float
    run: Run | None = None
    served: dict[_Key, _Held] = field(default_factory=dict)


class Affinity:
    """Remembers up to `max_entries` prefixes (about 600 bytes each). Times are monotonic seconds."""

    def __init__(self, *, max_entries: int = 20_000) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[int, _Entry] = OrderedDict()
        self._missed: dict[str, int] = {}
        # Reentrant: the garbage collector may close a stream in the middle of what its thread is doing here.
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def recall(self, prefix: Prefix, targets: Iterable[Target], now: float) -> Recall:
        """Looks the conversation up, longest known prefix first.

        A target without a cache TTL is warm only if its provider has counted reads. What was kept under another
        reasoning setting is not warm, nor, at providers that need markers, under another `tool_choice`.
        """
        with self._lock:
            known = [
                entry
                for mark in prefix.marks
                if (entry := self._entries.get(mark.key)) is not None and entry.mark.n_messages == mark.n_messages
            ]
            if not known:
                return Recall(warm={})
            warm: dict[str, int] = {}
            system = None if prefix.system is None else prefix.system.key
            for target in targets:
                held = self._held(known, prefix, target, now, system)
                if held is not None and self._missed.get(target.name, 0) < MISSES:
                    warm[target.name] = held.tokens
            newest = known[0]
            if newest.mark.key == system and prefix.whole is not prefix.system:
                return Recall(warm=warm)
            anchor = Anchor(newest.input_tokens, newest.mark.bulk) if newest.counted else None
            return Recall(warm, newest.last_target, newest.input_tokens, newest.at, anchor, newest.run)

    def _held(
        self, known: list[_Entry], prefix: Prefix, target: Target, now: float, system: int | None
    ) -> _Held | None:
        """The longest prefix that this target holds now."""
        key = _key(prefix, target)
        for entry in known:
            held = entry.served.get((key[0], key[1], 0) if entry.mark.key == system else key)
            if held is not None:
                lifetime = target.cache_ttl_s if held.lifetime_s is None else held.lifetime_s
                if lifetime is not None and now - held.at <= lifetime:
                    return held
        return None

    def record(
        self,
        prefix: Prefix,
        target: Target,
        input_tokens: int,
        now: float,
        *,
        counted: bool = True,
        kept: Kept | None = None,
        run: Run | None = None,
    ) -> None:
        """Notes that `target` has just read this prefix, and what it has `kept` of it (None: all).

        `counted`: the figure is the provider's, not an estimate.
        """
        kept = Kept(input_tokens) if kept is None else kept
        system = prefix.system
        key = _key(prefix, target)
        with self._lock:
            earlier = [entry for mark in prefix.marks if (entry := self._entries.get(mark.key)) is not None]
            before = self._held(earlier, prefix, target, now, None if system is None else system.key)
            lifetime = kept.lifetime_s
            if lifetime is None and before is not None:
                lifetime = before.lifetime_s  # reading renews an entry for as long as it was asked for
            if kept.read:
                self._missed.pop(target.name, None)
            elif kept.read == 0 and before is not None and before.tokens >= _SURELY:
                self._missed[target.name] = self._missed.get(target.name, 0) + 1
            held = _Held(now, kept.tokens, lifetime)
            entry = self._note(prefix.whole, target.name, key, input_tokens, now, counted, held)
            entry.run = run
            if system is not None and system is not prefix.whole and prefix.whole.bulk.chars:
                share = (system.bulk.chars + prefix.tools_chars) / (prefix.whole.bulk.chars + prefix.tools_chars)
                tokens = int(input_tokens * share)
                held = _Held(now, min(tokens, kept.tokens), lifetime)
                where = (key[0], key[1], 0) if kept.system else None
                self._note(system, target.name, where, tokens, now, False, held)
            while len(self._entries) > self._max_entries:
                self._entries.popitem(last=False)

    def _note(
        self, mark: Mark, target: str, key: _Key | None, input_tokens: int, now: float, counted: bool, held: _Held
    ) -> _Entry:
        entry = self._entries.get(mark.key)
        if entry is None:
            entry = self._entries[mark.key] = _Entry(mark, input_tokens, counted, target, now)
        else:
            self._entries.move_to_end(mark.key)
            entry.input_tokens, entry.counted, entry.last_target, entry.at = input_tokens, counted, target, now
        if key is not None:
            entry.served[key] = held
        return entry


_SURELY: Final = 4096
"""A prefix this long is kept by every provider's cache: below, reading none of it says nothing."""


def _key(prefix: Prefix, target: Target) -> _Key:
    return target.name, prefix.reasoning, prefix.tool_choice if needs_markers(target) else 0
