"""What must stand beside an assistant's words for the receiving model to go on, and reasoning that leads nowhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from agentroute.messages import Extra, Message, Part, Reasoning, ToolCall

from .changes import Changes
from .rules import Rules

__all__ = ["PLACEHOLDER_SIGNATURE", "close", "fill_in"]

PLACEHOLDER_SIGNATURE: Final = "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="
"""`skip_thought_signature_validator`, which Google documents for calls that come from another model
(https://ai.google.dev/gemini-api/docs/thought-signatures). Models before Gemini 3 do not look at it."""


def close(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> tuple[Message, ...]:
    """Without reasoning that nothing follows: the answer it led to was never given, and alone it is refused."""
    if rules.reasoning_closes or not any(_ends_in_reasoning(message) for message in messages):
        return messages
    found: list[Message] = []
    for message in reversed(messages):
        parts = message.parts
        goes_on = bool(found) and found[-1].role == "assistant"
        if _ends_in_reasoning(message) and not goes_on:
            changes.add("reasoning at the end of {} left out: nothing follows it", "message")
            while parts and isinstance(parts[-1], Reasoning):
                parts = parts[:-1]
            if not parts:
                continue
            message = replace(message, parts=parts)
        found.append(message)
    found.reverse()
    same = len(found) == len(messages) and all(new is old for new, old in zip(found, messages, strict=True))
    return messages if same else tuple(found)


def _ends_in_reasoning(message: Message) -> bool:
    return message.role == "assistant" and bool(message.parts) and type(message.parts[-1]) is Reasoning


def fill_in(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> tuple[Message, ...]:
    """Every step of the conversation gets it, not only those of the running turn: so its beginning never changes."""
    if not rules.placeholder_signature and not rules.reasoning_required:
        return messages
    found = []
    for message in messages:
        if message.role == "assistant":
            if rules.placeholder_signature:
                message = _signed(message, changes)
            elif not any(_is_written(part, rules) for part in message.parts):
                changes.add("empty reasoning put beside {} of the assistant: it is demanded here", "message")
                message = replace(message, parts=(Reasoning(rules.reasoning_placeholder), *message.parts))
        found.append(message)
    same = all(new is old for new, old in zip(found, messages, strict=True))
    return messages if same else tuple(found)


def _is_written(part: Part, rules: Rules) -> bool:
    """Whether this is reasoning that the chat dialect has a field for: encrypted alone it has none, and an empty one
    does not count if something must stand there."""
    return isinstance(part, Reasoning) and (
        bool(part.text) or (part.signature is None and not rules.reasoning_placeholder)
    )


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
