"""Makes a conversation that began on one target valid on another, and says what it changed."""

from __future__ import annotations

from dataclasses import dataclass, replace

from agentroute.messages import ChatRequest
from agentroute.providers import NATIVE
from agentroute.targets import Target

from .anthropic import few_markers, without_stale_thinking
from .arranging import arrange
from .caching import keep_warm
from .changes import Changes
from .cleaning import clean
from .pairing import pair
from .ready import Mended, mend
from .reasoning import close, fill_in
from .rules import Rules

__all__ = ["Mended", "Repaired", "keep_warm", "mend", "repair"]


@dataclass(frozen=True, slots=True)
class Repaired:
    """The request as this target can take it, and in words what had to be changed for it, each kind once."""

    request: ChatRequest
    changes: tuple[str, ...] = ()


def repair(request: ChatRequest, target: Target) -> Repaired:
    """The same conversation, valid for this target; the request itself where nothing has to be done.

    It is never changed. What goes: reasoning and unknown fields another model said, empty texts, cache markers above
    the limit. What is put right: ids of calls, results without a call and calls without a result, pictures in
    results, system messages in the middle, a conversation that the user does not begin. The same history is always
    repaired in the same way, and no repair depends on what follows it (but for a result that arrives late, which goes
    behind its call), so a provider's cache of the prefix stays warm.
    """
    if target.dialect == NATIVE:
        return Repaired(request)
    rules = Rules.of(target)
    changes = Changes()
    messages = request.messages
    for stage in (clean, pair, close, arrange, fill_in):
        messages = stage(messages, rules, changes)
    repaired = request if messages is request.messages else replace(request, messages=messages)
    if rules.dialect == "anthropic_messages":
        repaired = few_markers(without_stale_thinking(repaired, target.rules, changes), changes)
    return Repaired(repaired, changes.words())
