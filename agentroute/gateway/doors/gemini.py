"""The door of Gemini's generateContent: google-genai and the Gemini CLI. Model and verb stand in the path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentroute.formats import gemini
from agentroute.formats.sse import encode_event
from agentroute.gateway.errors import Told, Word

from .base import Asked, Door, metadata_of

__all__ = ["DOOR"]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
    return Asked(gemini.decode_request(body), stream=False, metadata=metadata_of(body))


_CODES: Final[Mapping[Word, str]] = {
    "invalid": "INVALID_ARGUMENT",
    "too_long": "INVALID_ARGUMENT",
    "filtered": "INVALID_ARGUMENT",
    "unauthorized": "UNAUTHENTICATED",
    "forbidden": "PERMISSION_DENIED",
    "not_found": "NOT_FOUND",
    "too_large": "INVALID_ARGUMENT",
    "limited": "RESOURCE_EXHAUSTED",
    "overloaded": "UNAVAILABLE",
    "failed": "UNAVAILABLE",
    "internal": "INTERNAL",
}
"""https://cloud.google.com/apis/design/errors."""


def error(told: Told) -> tuple[int, dict[str, Any]]:
    message = told.message
    if told.word == "too_long":
        sent = "" if told.tokens is None else f" ({told.tokens})"
        limit = "" if told.limit is None else f" ({told.limit})"
        message = f"The input token count{sent} exceeds the maximum number of tokens allowed{limit}."
    body: dict[str, Any] = {"code": told.status, "message": message, "status": _CODES[told.word]}
    if told.retry_after is not None:
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{told.retry_after:g}s"}
        body["details"] = [info]
    return told.status, {"error": body}


def failed(told: Told, first: bytes, last: bytes) -> bytes:
    return encode_event(error(told)[1])


DOOR: Final = Door(
    # A comment breaks both Google SDKs and the Gemini CLI, which take it for JSON.
    gemini.DIALECT,
    read,
    error,
    keep_alive=None,
    early=False,
    usage_path=("usageMetadata",),
    failed=failed,
)
