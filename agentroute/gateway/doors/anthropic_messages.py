"""The door of Anthropic Messages: Claude Code and the anthropic SDKs. Betas come as a header."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agentroute.formats import anthropic_messages
from agentroute.formats.sse import encode_event
from agentroute.gateway.errors import Told, Word
from agentroute.messages import Extra

from .base import Asked, Door, asked_stream, metadata_of

__all__ = ["DOOR"]


def read(body: Mapping[str, Any], headers: Mapping[str, str]) -> Asked:
    """The request; the betas of its header become fields of it, so that a target of the dialect is told them."""
    request = anthropic_messages.decode_request(body)
    betas = [name.strip() for name in headers.get("anthropic-beta", "").split(",") if name.strip()]
    if betas:
        fields = dict(request.extra.fields) if request.extra is not None else {}
        given = fields.get("betas")
        fields["betas"] = [*(given if isinstance(given, list) else ()), *betas]
        request = replace(request, extra=Extra(anthropic_messages.DIALECT, fields))
    return Asked(request, asked_stream(body), metadata_of(body))


_FORMS: Final[Mapping[Word, tuple[int | None, str]]] = {
    "invalid": (None, "invalid_request_error"),
    "too_long": (400, "invalid_request_error"),
    "filtered": (None, "invalid_request_error"),
    "unauthorized": (401, "authentication_error"),
    "forbidden": (403, "permission_error"),
    "not_found": (404, "not_found_error"),
    "too_large": (413, "request_too_large"),
    "limited": (429, "rate_limit_error"),
    "overloaded": (529, "overloaded_error"),
    "failed": (503, "api_error"),
    "internal": (500, "api_error"),
}
"""https://docs.claude.com/en/api/errors; None keeps the status."""


def error(told: Told) -> tuple[int, dict[str, Any]]:
    """Anthropic's own words: Claude Code compacts on them, and reads both numbers."""
    status, kind = _FORMS[told.word]
    message = told.message
    if told.word == "too_long":
        sizes = "" if told.tokens is None or told.limit is None else f": {told.tokens} tokens > {told.limit} maximum"
        message = f"prompt is too long{sizes}"
    return status or told.status, {"type": "error", "error": {"type": kind, "message": message}}


def failed(told: Told, first: bytes, last: bytes) -> bytes:
    return encode_event(error(told)[1], "error")


DOOR: Final = Door(
    anthropic_messages.DIALECT,
    read,
    error,
    keep_alive=b": keep-alive\n\n",
    early=True,
    usage_path=("usage",),
    failed=failed,
)
