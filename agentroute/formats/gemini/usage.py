"""Token counts by Gemini's convention, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentroute.formats.reading import count
from agentroute.messages import Usage

from .fields import camel

__all__ = ["decode_usage", "encode_usage"]


def decode_usage(raw: Any, *, complete: bool = True) -> Usage | None:
    """The provider's count, or None where it gave none.

    `promptTokenCount` includes cached tokens and leaves out what its own tools read (`toolUsePromptTokenCount`);
    `candidatesTokenCount` leaves out the thoughts. Google omits a count of 0, so of a `complete` answer that names no
    output the total tells. A total that leaves no room for the thoughts says that the candidates include them.
    """
    if not isinstance(raw, Mapping):
        return None
    raw = camel(raw)
    prompt, total = count(raw.get("promptTokenCount")), count(raw.get("totalTokenCount"))
    tools = count(raw.get("toolUsePromptTokenCount"))
    spoken, thought = count(raw.get("candidatesTokenCount")), count(raw.get("thoughtsTokenCount"))
    sent = prompt if tools is None else (prompt or 0) + tools
    written = spoken if thought is None else (spoken or 0) + thought
    if spoken and thought and sent is not None and total == sent + spoken:
        written = spoken
    if written is None and complete and sent is not None and total is not None and total >= sent:
        written = total - sent
    usage = Usage(sent, written, count(raw.get("cachedContentTokenCount")), None, thought)
    return None if usage == _NO_USAGE else usage


_NO_USAGE = Usage()


def encode_usage(usage: Usage) -> dict[str, Any]:
    """The count as a client of the dialect reads it. Tokens written to a cache are part of the prompt, unnamed."""
    sent, written, thought = usage.input_tokens, usage.output_tokens, usage.reasoning_tokens
    raw = {
        "promptTokenCount": sent,
        "cachedContentTokenCount": usage.cache_read_tokens,
        "candidatesTokenCount": None if written is None else max(written - (thought or 0), 0),
        "thoughtsTokenCount": thought,
        "totalTokenCount": None if sent is None or written is None else sent + written,
    }
    return {key: tokens for key, tokens in raw.items() if tokens is not None}
