"""Whole answers of the dialect: read from a provider, written for a client, and what is odd about one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from agentroute.errors import BadResponse, RequestError
from agentroute.formats.base import PLAIN, finish_reason
from agentroute.formats.failures import decode_error
from agentroute.formats.reading import Raw, count, show
from agentroute.messages import ChatResponse, FinishReason, Message, Part, Reasoning, Text, Usage

from .decoding import decode_assistant
from .encoding import encode_assistant
from .fields import CUSTOM, REASONING, REFUSAL, kept, known_fields, said

__all__ = [
    "RESPONSE_FIELDS",
    "decode_finish",
    "decode_response",
    "decode_usage",
    "digest",
    "encode_response",
    "encode_usage",
    "said_by",
    "spare_id_of",
]

RESPONSE_FIELDS = frozenset({"id", "object", "model", "choices", "usage", "error"})
_CHOICE_FIELDS = frozenset({"index", "message", "finish_reason", "native_finish_reason"})


def decode_response(body: Any, *, target: str | None = None, origin: str | None = None) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it is an error object with a success status.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {show(body)}, not an object", target=target)
    if body.get("error"):
        raise decode_error(None, {}, body, target=target)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    raw = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(raw, Mapping):
        raise BadResponse(f"the answer has no message: `choices` is {show(choices)}", target=target)
    if choice.get("error"):
        raise decode_error(None, {}, choice, target=target)
    answer_id, model = body.get("id"), body.get("model")
    problem = ""
    try:
        parts, spare = decode_assistant(raw, "choices[0].message", spare_id_of(body))
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    finish, native = decode_finish(choice)
    extra = said({key: body[key] for key in body if key not in RESPONSE_FIELDS})
    beside = said({key: choice[key] for key in choice if key not in _CHOICE_FIELDS})
    if beside:
        extra["choice"] = beside
    return ChatResponse(
        message=Message("assistant", said_by(filter(_says_something, parts), origin), None, kept(said(spare), origin)),
        finish_reason=finish,
        usage=decode_usage(body.get("usage")),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
        extra=kept(extra, origin),
    )


def said_by(parts: Iterable[Part], origin: str | None) -> tuple[Part, ...]:
    """The parts with `origin` on every unknown field; what is only the form of a part belongs to no model."""
    return tuple(
        part if part.extra is None or part.extra in _FORMS else replace(part, extra=replace(part.extra, origin=origin))
        for part in parts
    )


_FORMS = (REFUSAL, REASONING, CUSTOM)


def _says_something(part: Part) -> bool:
    return not isinstance(part, Text | Reasoning) or bool(part.text) or part.extra not in (None, REASONING)


def spare_id_of(body: Raw) -> str:
    """What begins the id of a call that came without one: the same for the same answer, another for another."""
    return f"call_{digest(repr((body.get('id'), body.get('created'), body.get('model'))))}"


def digest(text: str) -> str:
    """16 characters that stand for the text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def decode_finish(choice: Raw) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own where it is another."""
    word, native = choice.get("finish_reason"), choice.get("native_finish_reason")
    if not isinstance(native, str) or not native:
        native = None
    if not isinstance(word, str) or not word:
        return None, native
    reason = finish_reason(word)
    native = native or word
    return reason, None if native == reason else native


def decode_usage(raw: Any) -> Usage | None:
    """The provider's count, or None where it gave none.

    xAI leaves reasoning tokens out of `completion_tokens`; its own total shows it, so the sum is made whole here.
    """
    if not isinstance(raw, Mapping):
        return None
    sent, written = count(raw.get("prompt_tokens")), count(raw.get("completion_tokens"))
    inputs = raw.get("prompt_tokens_details")
    outputs = raw.get("completion_tokens_details")
    inputs = inputs if isinstance(inputs, Mapping) else {}
    outputs = outputs if isinstance(outputs, Mapping) else {}
    cached = count(inputs.get("cached_tokens"))
    if cached is None:
        cached = count(raw.get("prompt_cache_hit_tokens"))
    reasoning = count(outputs.get("reasoning_tokens"))
    if sent is not None and written is not None and reasoning and raw.get("total_tokens") == sent + written + reasoning:
        written += reasoning
    usage = Usage(sent, written, cached, count(inputs.get("cache_write_tokens")), reasoning)
    return None if usage == _NO_USAGE else usage


_NO_USAGE = Usage()


def encode_response(response: ChatResponse, *, model: str | None = None, created: int | None = None) -> dict[str, Any]:
    """A `chat.completion` object: what a client of this dialect reads.

    The dialect demands an id, a model and a time: an answer without an id gets one made from what it says, without a
    model an empty text, without `created` (seconds since 1970) a 0. Its counts are whole numbers, so a usage of which
    one half is not known is null. Where the provider gave no reason for stopping that is known, `finish_reason` is
    null, which the official type does not foresee; the provider's own word stands in `native_finish_reason`.
    """
    extra = dict(known_fields(response.extra))
    beside = extra.pop("choice", {})
    if created is not None:
        extra["created"] = created
    choice: dict[str, Any] = {
        "index": 0,
        "message": encode_assistant(response.message, PLAIN),
        "finish_reason": response.finish_reason,
        **beside,
    }
    if response.native_finish_reason is not None:
        choice["native_finish_reason"] = response.native_finish_reason
    return {
        "id": response.id or f"chatcmpl-{digest(repr((response.message, response.model)))}",
        "object": "chat.completion",
        "created": 0,
        "model": model or response.model or "",
        **extra,
        "choices": [choice],
        "usage": encode_usage(response.usage),
    }


def encode_usage(usage: Usage | None) -> dict[str, Any] | None:
    """The count as this dialect writes it, or None where one of the two totals is not known."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    sent, written = usage.input_tokens, usage.output_tokens
    raw: dict[str, Any] = {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written}
    inputs = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if any(tokens is not None for tokens in inputs.values()):
        raw["prompt_tokens_details"] = {key: tokens for key, tokens in inputs.items() if tokens is not None}
    if usage.reasoning_tokens is not None:
        raw["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return raw
