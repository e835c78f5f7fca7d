"""Asks for the prompt cache that the next steps will read, where a provider keeps only what is marked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agentroute.messages import ChatRequest, Extra, Message, Part, Reasoning, Text, ToolResult
from agentroute.routing.caches import HOUR, MARKER, is_loop, markers, needs_markers
from agentroute.targets import Target

__all__ = ["keep_warm"]

_ANTHROPIC: Final = "anthropic_messages"
_FIVE_MINUTES: Final[Mapping[str, Any]] = {MARKER: {"type": "ephemeral"}}
_ONE_HOUR: Final[Mapping[str, Any]] = {MARKER: {"type": "ephemeral", "ttl": "1h"}}
"""A block with this mark ends a prefix that is kept for five minutes, for 1.25 times its price, or for an hour, for
twice; at most four blocks may carry one, and the provider looks for an entry at most 20 blocks before each
(https://platform.claude.com/docs/en/build-with-claude/prompt-caching, 2026-11)."""


def keep_warm(request: ChatRequest, target: Target) -> ChatRequest:
    """The request with cache markers, where more steps are likely: it has tools, or an answer in it.

    Three blocks are marked: the end of tools and system (other conversations share it), where the last request of this
    conversation ended (its entry is found there however many blocks have come since), and the last block. They ask for
    an hour where the target's `cache_ttl_s` is that long.

    Nothing is added where the caller or the target's settings set a marker (`None` for never), and for providers that
    cache by themselves. It is never changed.
    """
    if target.dialect not in (_ANTHROPIC, "openai_chat") or not needs_markers(target) or MARKER in target.settings:
        return request
    if not is_loop(request) or next(markers(request, target.dialect), None) is not None:
        return request
    mark = _ONE_HOUR if (target.cache_ttl_s or 0) >= HOUR else _FIVE_MINUTES
    messages = list(request.messages)
    n_system = next((at for at, m in enumerate(messages) if m.role not in ("system", "developer")), len(messages))
    request = _mark_head(request, messages, n_system, target.dialect, mark)
    end = len(messages)
    for stop in (end, _end_before(messages)):
        for at in range(stop - 1, n_system - 1, -1):
            marked = _marked(messages[at], target.dialect, mark) if messages[at].role != "assistant" else None
            if marked is not None:
                messages[at] = marked
                break
    return replace(request, messages=tuple(messages))


def _end_before(messages: list[Message]) -> int:
    """Where the last request of this conversation ended: before the latest answers."""
    end = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "assistant"), 0)
    while end > 0 and messages[end - 1].role == "assistant":
        end -= 1
    return end


def _mark_head(
    request: ChatRequest, messages: list[Message], n_system: int, dialect: str, mark: Mapping[str, Any]
) -> ChatRequest:
    """Marks the last system block, else the last tool: tools stand before system in the prompt."""
    for at in range(n_system - 1, -1, -1):
        marked = _marked(messages[at], dialect, mark)
        if marked is not None:
            messages[at] = marked
            return request
    if not request.tools or dialect != _ANTHROPIC:
        return request
    *others, last = request.tools
    extra = _with(last.extra, dialect, mark)
    return request if extra is None else replace(request, tools=(*others, replace(last, extra=extra)))


def _marked(message: Message, dialect: str, mark: Mapping[str, Any]) -> Message | None:
    """The message with its last block marked; None if that takes no marker."""
    if not message.parts:
        return None
    part = _with_marker(message.parts[-1], dialect, mark)
    return None if part is None else replace(message, parts=(*message.parts[:-1], part))


def _with_marker(part: Part, dialect: str, mark: Mapping[str, Any]) -> Part | None:
    """No thinking and no empty text is marked, and a part with another dialect's fields keeps those. Chat completions
    mark the text within a result."""
    if isinstance(part, Reasoning) or (isinstance(part, Text) and not part.text):
        return None
    if isinstance(part, ToolResult) and dialect != _ANTHROPIC:
        if not part.content or not isinstance(last := part.content[-1], Text) or not last.text:
            return None
        extra = _with(last.extra, dialect, mark)
        return None if extra is None else replace(part, content=(*part.content[:-1], replace(last, extra=extra)))
    extra = _with(part.extra, dialect, mark)
    return None if extra is None else replace(part, extra=extra)


def _with(extra: Extra | None, dialect: str, mark: Mapping[str, Any]) -> Extra | None:
    if extra is None:
        return Extra(dialect, mark)
    return replace(extra, fields={**extra.fields, **mark}) if extra.dialect == dialect else None
