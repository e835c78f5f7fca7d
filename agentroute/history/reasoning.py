"""What must stand beside an assistant's words for the receiving model to go on, and reasoning that leads nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentroute.messages import Extra, Message, Part, Reasoning, ToolCall

from .changes import Changes
from .rules import Rules

__all__ = ["PLACEHOLDER_SIGNATURE", "fill_in"]

PLACEHOLDER_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator`, which Google documents for calls that come from another model
(https://ai.google.dev/gemini-api/docs/thought-signatures). Models before Gemini 3 do not look at it."""


def fill_in(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> tuple[Message, ...]:
    """Every step of the conversation gets it, not only those of the running turn: so its beginning never changes."""
    found: list[Message] = []
    same = True
    for index, message in enumerate(messages):
        new: Message | None = message
        if message.role == "assistant":
            if not rules.reasoning_closes and isinstance(message.parts[-1], Reasoning):
                following = messages[index + 1].role if index + 1 < len(messages) else None
                new = message if following == "assistant" else _without_end(message, changes)
            if rules.placeholder_signature:
                new = _signed(message, changes)
            if rules.reasoning_required and not any(isinstance(part, Reasoning) for part in message.parts):
                changes.add("empty reasoning put beside {} of the assistant: it is demanded here", "message")
                new = replace(message, parts=(Reasoning(""), *message.parts))
        same = same and new is message
        if new is not None:
            found.append(new)
    return messages if same else tuple(found)


def _without_end(message: Message, changes: Changes) -> Message | None:
    """Without the reasoning at its end: the answer that should follow was never given."""
    changes.add("reasoning at the end of {} left out: nothing follows it", "message")
    parts = list(message.parts)
    while parts and isinstance(parts[-1], Reasoning):
        parts.pop()
    return replace(message, parts=tuple(parts)) if parts else None


def _signed(message: Message, changes: Changes) -> Message:
    """With a signature on its first call; the other calls of a step have none."""
    at = next((at for at, part in enumerate(message.parts) if isinstance(part, ToolCall)), None)
    if at is None:
        return message
    call = message.parts[at]
    assert isinstance(call, ToolCall)
    fields = call.extra.fields if call.extra is not None and call.extra.dialect == "gemini" else {}
    if fields.get("thoughtSignature"):
        return message
    changes.add("a placeholder put for the thought signature of {}: it has none of this model", "step")
    extra = Extra(
        "gemini",
        {**fields, "thoughtSignature": PLACEHOLDER_SIGNATURE},
        call.extra.origin if fields and call.extra else None,
    )
    parts: list[Part] = list(message.parts)
    parts[at] = replace(call, extra=extra)
    return replace(message, parts=tuple(parts))
