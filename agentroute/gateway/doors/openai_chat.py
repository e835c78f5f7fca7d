"""The door of OpenAI chat completions: the openai SDKs, opencode, Qwen Code, aider, Cline and most others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentroute.formats import openai_chat
from agentroute.formats.sse import encode_event
from agentroute.gateway.errors import Told, Word

from .base import Asked, Door, asked_stream, metadata_of

__all__ = ["DOOR", "error", "error_object"]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
    request = openai_chat.decode_request(body)
    options = body.get("stream_options")
    wanted = isinstance(options, Mapping) and options.get("include_usage") is True
    return Asked(request, asked_stream(body), metadata_of(body), include_usage=wanted)


_TYPES: Final[Mapping[Word, str]] = {
    "unauthorized": "authentication_error",
    "forbidden": "permission_error",
    "limited": "rate_limit_error",
    "overloaded": "server_error",
    "failed": "server_error",
    "internal": "server_error",
}


def error_object(told: Told) -> dict[str, Any]:
    """OpenAI's own words: https://platform.openai.com/docs/guides/error-codes."""
    message, code = told.message, told.code
    if told.word == "too_long":
        limit = "is exceeded." if told.limit is None else f"is {told.limit} tokens."
        sent = "" if told.tokens is None else f" However, your messages resulted in {told.tokens} tokens."
        message = f"This model's maximum context length {limit}{sent} Please reduce the length of the messages."
    return {
        "message": message,
        "type": _TYPES.get(told.word, "invalid_request_error"),
        "param": told.param,
        "code": code,
    }


def error(told: Told) -> tuple[int, dict[str, Any]]:
    return told.status, {"error": error_object(told)}


def failed(told: Told, first: bytes, last: bytes) -> bytes:
    return encode_event({"error": error_object(told)}) + b"data: [DONE]\n\n"


DOOR: Final = Door(
    openai_chat.DIALECT, read, error, keep_alive=b": keep-alive\n\n", early=True, usage_path=("usage",), failed=failed
)
