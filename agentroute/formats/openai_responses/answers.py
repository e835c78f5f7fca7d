"""Whole answers of the dialect, and its way of counting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from agentroute.errors import BadResponse, RequestError
from agentroute.formats.base import finish_reason
from agentroute.formats.failures import decode_error
from agentroute.formats.reading import Raw, count, show
from agentroute.messages import ChatResponse, FinishReason, Usage

from .decoding import Assistant

__all__ = ["decode_finish", "decode_response", "decode_usage"]


def decode_response(body: Any, *, target: str | None = None, origin: str | None = None) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it failed. The many fields that repeat the
    request are not kept.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {show(body)}, not an object", target=target)
    if body.get("error") or body.get("status") == "failed":
        raise decode_error(None, {}, body, target=target)
    if body.get("status") in _UNFINISHED:
        raise BadResponse(f"the answer is {show(body['status'])}, not complete", target=target)
    output = body.get("output")
    if not isinstance(output, list):
        raise BadResponse(f"the answer has no items: `output` is {show(output)}", target=target)
    said = Assistant(origin)
    problem = ""
    try:
        for index, item in enumerate(output):
            if not isinstance(item, Mapping):
                raise RequestError(f"`output[{index}]` is {show(item)}, not an object")
            said.take(item, f"output[{index}]")
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    message = said.message()
    finish, native = decode_finish(body, calls=bool(message.tool_calls))
    answer_id, model = body.get("id"), body.get("model")
    return ChatResponse(
        message=message,
        finish_reason=finish,
        usage=decode_usage(body.get("usage")),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
    )


_UNFINISHED = ("in_progress", "queued", "cancelled")


def decode_finish(body: Raw, *, calls: bool) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own: its status, or why it is incomplete. With calls it is complete for now."""
    status, details = body.get("status"), body.get("incomplete_details")
    why = details.get("reason") if isinstance(details, Mapping) else None
    native = why if isinstance(why, str) and why else status
    if not isinstance(native, str):
        return None, None
    if native == "completed" and calls:
        return "tool_calls", native
    reason = finish_reason(native)
    return reason, None if native == reason else native


def decode_usage(raw: Any) -> Usage | None:
    """The provider's count, or None where it gave none. Input holds what was cached, output what was thought."""
    if not isinstance(raw, Mapping):
        return None
    inputs, outputs = raw.get("input_tokens_details"), raw.get("output_tokens_details")
    inputs = inputs if isinstance(inputs, Mapping) else {}
    outputs = outputs if isinstance(outputs, Mapping) else {}
    usage = Usage(
        count(raw.get("input_tokens")),
        count(raw.get("output_tokens")),
        count(inputs.get("cached_tokens")),
        count(inputs.get("cache_write_tokens")),
        count(outputs.get("reasoning_tokens")),
    )
    return None if usage.input_tokens is None and usage.output_tokens is None else usage
