"""Asks Anthropic to keep what the next steps will send again: other providers do so unasked."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentroute.messages import ChatRequest, Extra, Message, Part, Reasoning, Text
from agentroute.targets import Target

from .anthropic import is_marked

__all__ = ["keep_warm"]

_DIALECT: Final = "anthropic_messages"
_MARKER: Final = {"cache_control": {"type": "ephemeral"}}
"""A block with this mark ends a prefix that is kept for five minutes, for 1.25 times its price, and read again for a
tenth (https://platform.claude.com/docs/en/build-with-claude/prompt-caching, 2026-11)."""


def keep_warm(request: ChatRequest, target: Target) -> ChatRequest:
    """The request with a cache marker on its last block, where more steps are likely: it has tools, or an answer in it.

    Nothing is added where the caller or the target's settings set a marker (`None` for never), and for other providers
    that speak this dialect. It is never changed.
    """
    if target.provider != "anthropic" or target.dialect != _DIALECT or "cache_control" in target.settings:
        return request
    if not request.tools and all(message.role != "assistant" for message in request.messages):
        return request
    if is_marked(request):
        return request
    for at in range(len(request.messages) - 1, -1, -1):
        message = request.messages[at]
        if message.role == "assistant" or not message.parts or not _takes(message.parts[-1]):
            continue
        last = message.parts[-1]
        fields = {**last.extra.fields, **_MARKER} if last.extra is not None else _MARKER
        marked: Message = replace(message, parts=(*message.parts[:-1], replace(last, extra=Extra(_DIALECT, fields))))
        return replace(request, messages=(*request.messages[:at], marked, *request.messages[at + 1 :]))
    return request


def _takes(part: Part) -> bool:
    """Anthropic marks no thinking and no empty text, and a part with another dialect's fields keeps those."""
    if isinstance(part, Reasoning) or (isinstance(part, Text) and not part.text):
        return False
    return part.extra is None or part.extra.dialect == _DIALECT
