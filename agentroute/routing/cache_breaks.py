"""Where a prompt ceased to be what its provider keeps in its cache, and what paying for it again costs.

A bounded memory behind one lock, shared by threads and tasks. It holds hashes and numbers, never a text.
"""

from __future__ import annotations

import threading
from array import array
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from agentroute.decisions import BreakKind, CacheBreak
from agentroute.failover.forks import renew_in_child
from agentroute.messages import Message, Usage
from agentroute.targets import Price, Target

from .affinity import Kept
from .caches import minimum, needs_markers
from .prefix import Prefix

__all__ = ["REMEDIES", "CacheBreaks", "is_compacted", "noticeable", "paid_again", "with_read"]

REMEDIES: Final[Mapping[BreakKind, str]] = {
    "tools_changed": "offer the same tools at every step; forbid with `tool_choice` instead of leaving out",
    "tool_order": "sort the tools by name before each call",
    "system_changed": "keep the system prompt as it is within a conversation; say what is new in the last message",
    "message_changed": "only append; correct earlier messages by a new one",
    "history_cut": "cut rarely and much, such as half of the history at once, instead of a little at each step",
    "effort_toggled": "set the effort once, at the start of a conversation",
    "tool_choice_toggled": "leave `tool_choice` as it is within a conversation",
    "expired": "ask for a longer lifetime, if the provider sells one",
    "unexplained": (
        "look at what is not seen here: a time of day in the system prompt, a changed setting, another deployment or "
        "key between two calls"
    ),
}
"""What to do about each kind."""

_NOISE: Final = 256
_NOISE_SHARE: Final = 0.05
"""What no cache reads anyway: it is kept in blocks of up to 128 tokens, and written from marker to marker."""


_COMPACTED: Final = 0.8
"""A prompt that is shorter than this share of the one before was compacted, and is cheaper from here on. What little
cuts cost is not won back: each of them breaks the cache for a few tokens."""


def is_compacted(before: int, now: int) -> bool:
    """Whether a prompt is so much shorter in tokens that its history was compacted."""
    return now < _COMPACTED * before


def noticeable(lost: int, could: int) -> bool:
    """Whether so many tokens, of those that could have been read, are more than a cache misses anyway."""
    return lost > max(_NOISE, _NOISE_SHARE * could)


@dataclass(frozen=True, slots=True)
class _Sent:
    """What a target was last sent of a conversation, and how many tokens it kept for how long (seconds)."""

    tools: tuple[int, ...]
    system: int
    stretches: array[int]
    n_messages: int
    reasoning: int
    tool_choice: int
    tokens: int
    at: float
    lifetime_s: float

    @classmethod
    def of(cls, prefix: Prefix, tokens: int, at: float, lifetime_s: float) -> _Sent:
        system = 0 if prefix.system is None else prefix.system.key
        n_messages = prefix.whole.n_messages
        found = prefix.tools, system, prefix.stretches, n_messages, prefix.reasoning, prefix.tool_choice
        return cls(*found, tokens, at, lifetime_s)


class CacheBreaks:
    """Compares what each served step was charged for with what its target had kept of the conversation.

    A conversation is known by where its last requests ended: by all of it, else by its last stretch alone, whatever
    has changed before that. Remembers up to `max_steps` ends (a few hundred bytes each, 8 more for each answer in the
    conversation).
    """

    def __init__(self, *, max_steps: int = 4_096) -> None:
        self._max = 2 * max_steps
        self._ends: OrderedDict[int, Mapping[str, _Sent]] = OrderedDict()
        # Reentrant: the garbage collector may close a stream in the middle of what its thread is doing here.
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        self._lock = threading.RLock()

    def served(
        self,
        prefix: Prefix,
        messages: Sequence[Message],
        target: Target,
        usage: Usage | None,
        kept: Kept,
        now: float,
    ) -> CacheBreak | None:
        """Notes what `target` has `kept` of the request that it answered, and says what it did not read again of what
        it had kept before. None without a break, and if its provider did not count (`usage`)."""
        lifetime_s = target.cache_ttl_s if kept.lifetime_s is None else kept.lifetime_s
        with self._lock:
            sent = self._before(prefix)
            found = None
            read = None if usage is None else usage.cache_read_tokens
            if usage is not None and read is not None and target.name in sent:
                found = _compared(sent[target.name], prefix, messages, target, usage, read, now)
            held = dict(sent)
            if lifetime_s is not None:
                held[target.name] = _Sent.of(prefix, kept.tokens, now, lifetime_s)
            for key in (prefix.whole.key, prefix.whole.tail):
                self._ends[key] = held
                self._ends.move_to_end(key)
            while len(self._ends) > self._max:
                self._ends.popitem(last=False)
        return found

    def _before(self, prefix: Prefix) -> Mapping[str, _Sent]:
        """What the targets were last sent of this conversation."""
        whole = self._ends.get(prefix.whole.key)
        if whole is not None:
            return whole
        for mark in prefix.earlier:
            found = self._ends.get(mark.key) or self._ends.get(mark.tail)
            if found is not None:
                return found
        return {}


def _compared(
    before: _Sent,
    prefix: Prefix,
    messages: Sequence[Message],
    target: Target,
    usage: Usage,
    read: int,
    now: float,
) -> CacheBreak | None:
    could = min(before.tokens, usage.prompt_tokens or 0)
    if could < minimum(target) or not noticeable(could - read, could):
        return None
    kind, position = _why(before, prefix, messages, target, now)
    if kind in ("history_cut", "message_changed") and is_compacted(before.tokens, usage.prompt_tokens or 0):
        return None
    cost = None if target.price is None else paid_again(target.price, usage, could - read)
    return CacheBreak(kind, position, could - read, cost)


def _why(
    before: _Sent, prefix: Prefix, messages: Sequence[Message], target: Target, now: float
) -> tuple[BreakKind, int | None]:
    """The first reason in the order of the prompt; a pause that outlived the cache goes before all."""
    if now - before.at > before.lifetime_s:
        return "expired", None
    if before.tools != prefix.tools:
        same = sorted(before.tools) == sorted(prefix.tools)
        return "tool_order" if same else "tools_changed", 1 + _common(before.tools, prefix.tools)
    if before.system != (0 if prefix.system is None else prefix.system.key):
        return "system_changed", 1
    at = _common(before.stretches, prefix.stretches)
    if at < min(len(before.stretches), len(prefix.stretches)):
        shorter = prefix.whole.n_messages < before.n_messages
        return "history_cut" if shorter else "message_changed", _begin(messages, at) + 1
    if before.reasoning != prefix.reasoning:
        return "effort_toggled", None
    if needs_markers(target) and before.tool_choice != prefix.tool_choice:
        return "tool_choice_toggled", None
    return "unexplained", None


def _begin(messages: Sequence[Message], stretch: int) -> int:
    """Where a stretch begins: after the system messages, then with each answer."""
    answers = [at for at, message in enumerate(messages) if message.role == "assistant"]
    if stretch:
        return answers[stretch - 1]
    return next((at for at, m in enumerate(messages) if m.role not in ("system", "developer")), 0)


def _common(one: tuple[int, ...] | array[int], other: tuple[int, ...] | array[int]) -> int:
    """How many of the first items are the same."""
    end = min(len(one), len(other))
    return next((i for i in range(end) if one[i] != other[i]), end)


def paid_again(price: Price, usage: Usage, tokens: int) -> Decimal | None:
    """USD that a call cost more because so many `tokens` of its prompt were not read from the cache, but written again
    or sent plainly. None if the price of this usage cannot be told."""
    usd, better = price.cost(usage), price.cost(with_read(usage, tokens))
    return None if usd is None or better is None else usd - better


def with_read(usage: Usage, tokens: int) -> Usage:
    """The usage if so many tokens more had been read from the cache: first of those that were written to it."""
    written = usage.cache_write_tokens
    left = None if written is None else max(written - tokens, 0)
    return replace(
        usage,
        cache_read_tokens=(usage.cache_read_tokens or 0) + tokens,
        cache_write_tokens=left,
        cache_write_1h_tokens=_at_most(usage.cache_write_1h_tokens, left),
        cache_write_12h_tokens=_at_most(usage.cache_write_12h_tokens, left),
    )


def _at_most(count: int | None, limit: int | None) -> int | None:
    return None if count is None else min(count, limit or 0)
