"""Whole answers of the dialect, and its way of counting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentroute.errors import BadResponse, RequestError
from agentroute.formats.base import finish_reason
from agentroute.formats.failures import decode_error
from agentroute.formats.reading import Raw, count, show
from agentroute.messages import ChatResponse, Extra, FinishReason, Message, Part, Reasoning, Text, Usage

from .decoding import decode_block
from .fields import DIALECT

__all__ = ["ANSWER_FIELDS", "LAST_FIELDS", "decode_finish", "decode_response", "decode_usage"]

ANSWER_FIELDS = frozenset({"id", "type", "role", "model", "content", "stop_reason", "usage"})
LAST_FIELDS = ("stop_sequence", "stop_details", "container", "context_management")
"""What a stream says with its last words, and a whole answer beside the others."""


def decode_response(body: Any, *, target: str | None = None, origin: str | None = None) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it is an error object with a success status.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {show(body)}, not an object", target=target)
    if body.get("type") == "error" or body.get("error"):
        raise decode_error(None, {}, body, target=target)
    content = body.get("content")
    if not isinstance(content, list):
        raise BadResponse(f"the answer has no message: `content` is {show(content)}", target=target)
    parts: list[Part] = []
    problem = ""
    try:
        for position, block in enumerate(content):
            parts.extend(decode_block(block, f"content[{position}]", origin))
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    finish, native = decode_finish(body.get("stop_reason"))
    extra = {key: body[key] for key in body if key not in ANSWER_FIELDS and body[key] is not None}
    last = {key: extra.pop(key) for key in LAST_FIELDS if key in extra}
    answer_id, model = body.get("id"), body.get("model")
    return ChatResponse(
        message=Message(
            "assistant",
            tuple(filter(_says_something, parts)),
            extra=Extra(DIALECT, last, origin) if last else None,
        ),
        finish_reason=finish,
        usage=decode_usage(body.get("usage")),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
        extra=Extra(DIALECT, extra, origin) if extra else None,
    )


def _says_something(part: Part) -> bool:
    return not isinstance(part, Text | Reasoning) or bool(part.text or part.extra or getattr(part, "signature", None))


def decode_finish(word: Any) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own where it is another."""
    if not isinstance(word, str) or not word:
        return None, None
    reason = finish_reason(word)
    return reason, None if word == reason else word


def decode_usage(raw: Raw | None) -> Usage | None:
    """Anthropic counts what it read from the cache and wrote to it beside `input_tokens`; our input holds all three."""
    if not isinstance(raw, Mapping):
        return None
    fresh, written = count(raw.get("input_tokens")), count(raw.get("output_tokens"))
    cache_read = count(raw.get("cache_read_input_tokens"))
    cache_write = count(raw.get("cache_creation_input_tokens"))
    if fresh is None and written is None:
        return None
    total = None if fresh is None else fresh + (cache_read or 0) + (cache_write or 0)
    details = raw.get("output_tokens_details")
    thought = count(details.get("thinking_tokens")) if isinstance(details, Mapping) else None
    return Usage(total, written, cache_read, cache_write, thought)
