"""What a provider's error answer means: one class of ours for each status, code and wording met in the wild."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from agentroute.errors import (
    AuthenticationFailed,
    BadResponse,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
)

from .headers import request_id_of, retry_after

__all__ = ["conceal", "decode_error"]

_MAX_TEXT: Final = 400

_CODES: Final[Mapping[str, type[ProviderError]]] = {
    "insufficient_quota": QuotaExhausted,
    "billing_error": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "enforced_spend_limit_reached": QuotaExhausted,
    "insufficient_balance": QuotaExhausted,
    "insufficient_credits": QuotaExhausted,
    "payment_required": QuotaExhausted,
    "context_length_exceeded": ContextTooLong,
    "context_window_exceeded": ContextTooLong,
    "exceed_context_size_error": ContextTooLong,
    "content_filter": ContentFiltered,
    "content_policy_violation": ContentFiltered,
    "responsibleaipolicyviolation": ContentFiltered,
    "data_inspection_failed": ContentFiltered,
    "model_not_found": ModelNotFound,
    "model_decommissioned": ModelNotFound,
    "invalid_model": ModelNotFound,
    "deploymentnotfound": ModelNotFound,
    "invalid_api_key": AuthenticationFailed,
    "api_key_invalid": AuthenticationFailed,
    "authentication_error": AuthenticationFailed,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "tool_use_failed": BadResponse,
}
"""Codes and types that say more than the status they come with. From the providers' documentation and recorded traffic.

Groq's `tool_use_failed` is a 400 for what its own model wrote, so it is a bad answer, not a bad request.
"""

_WORDINGS: Final[tuple[tuple[re.Pattern[str], type[ProviderError]], ...]] = tuple(
    (re.compile(pattern, re.IGNORECASE), kind)
    for pattern, kind in (
        (
            r"maximum context length|context (?:length|window|size|limit)|prompt is too long"
            r"|input token count.{0,40}exceeds|too many (?:input )?tokens",
            ContextTooLong,
        ),
        (
            r"\bmodels?\b.{0,120}(?:does not exist|not found|is not supported for|decommissioned)"
            r"|not a valid model|unknown model|no such model|invalid model",
            ModelNotFound,
        ),
        (r"api[- ]key (?:not valid|is invalid)|(?:invalid|incorrect) (?:x-)?api[- ]key", AuthenticationFailed),
        (r"credit balance|insufficient (?:balance|credit|funds)|spend(?:ing)? limit", QuotaExhausted),
        (r"content management policy|content policy|flagged|requires moderation", ContentFiltered),
    )
)
"""For providers that give one code to everything. Read only with a status that leaves the question open."""

_OPEN_STATUSES: Final = frozenset({400, 403, 413, 422, 429})

_STATUSES: Final[Mapping[int, type[ProviderError]]] = {
    400: InvalidRequest,
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    404: ModelNotFound,
    408: ProviderTimeout,
    409: Overloaded,
    413: ContextTooLong,
    422: InvalidRequest,
    425: Overloaded,
    429: RateLimited,
    504: ProviderTimeout,
}

_TYPES: Final[Mapping[str, type[ProviderError]]] = {
    "resource_exhausted": RateLimited,
    "too_many_requests": RateLimited,
    "overloaded_error": Overloaded,
    "overloaded": Overloaded,
    "server_error": Overloaded,
    "api_error": Overloaded,
    "internal": Overloaded,
    "internal_error": Overloaded,
    "internal_server_error": Overloaded,
    "unavailable": Overloaded,
    "service_unavailable": Overloaded,
    "timeout": ProviderTimeout,
    "timeout_error": ProviderTimeout,
    "deadline_exceeded": ProviderTimeout,
    "invalid_request_error": InvalidRequest,
    "invalid_argument": InvalidRequest,
    "permission_error": AuthenticationFailed,
    "permission_denied": AuthenticationFailed,
    "unauthenticated": AuthenticationFailed,
    "not_found_error": ModelNotFound,
}
"""What a code or type says where no status does: an error object inside a stream or a 200."""

_KEYLIKE: Final = re.compile(r"\b(?:sk|rk|pk|gsk|csk|xai|tgp|fw|AIza)[-_A-Za-z0-9.*]{5,}")


def decode_error(
    status: int | None,
    headers: Mapping[str, str],
    body: bytes | Mapping[str, Any],
    *,
    target: str | None = None,
    now: datetime | None = None,
) -> ProviderError:
    """The error that an answer stands for; it is returned, not raised.

    `status` None or 200 is for an error object inside a success: then its own code decides. `headers` have lower-case
    names. The text is the provider's own, cut to 400 characters, without anything that looks like a key; a page of HTML
    gives no text at all. `now` (UTC) is needed for a Retry-After that is a date.
    """
    found = _parse(body) if isinstance(body, bytes) else body
    error = _error_object(found)
    names = tuple(_names(error))
    if status is None or 200 <= status < 300:
        status = next(_inner_status(error), None)
    text = _text(error)
    kind = _kind(status, names, text)
    code = names[0] if names else None
    head = f"{target!r}: " if target else ""
    label = " ".join(str(part) for part in (status, code) if part is not None) or "an error"
    request_id = request_id_of(headers)
    if request_id is None and isinstance(found, Mapping) and isinstance(found.get("request_id"), str):
        request_id = found["request_id"]
    found_error = kind(
        f"{head}the provider answered {label}" + (f": {text}" if text else ""),
        target=target,
        status=status,
        code=code,
        request_id=request_id,
        retry_after=retry_after(headers, error, now=now, limited=issubclass(kind, RateLimited)),
    )
    found_error.should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    return found_error


def _kind(status: int | None, names: tuple[str, ...], text: str) -> type[ProviderError]:
    for name in names:
        if name in _CODES:
            return _CODES[name]
    if status is None or status in _OPEN_STATUSES:
        for pattern, kind in _WORDINGS:
            if pattern.search(text):
                return kind
    if status is None:
        return next((_TYPES[name] for name in names if name in _TYPES), BadResponse)
    if status in _STATUSES:
        return _STATUSES[status]
    if 300 <= status < 400:
        return BadResponse
    return Overloaded if status >= 500 else InvalidRequest


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _error_object(found: Any) -> Mapping[str, Any]:
    """The object that describes the error: `{"error": ...}`, the body itself, or the first of a list (Gemini)."""
    if isinstance(found, list) and found:
        found = found[0]
    if not isinstance(found, Mapping):
        return {}
    inner = found.get("error")
    if isinstance(inner, Mapping):
        return inner
    if isinstance(inner, str):
        return {**found, "message": found.get("message") or inner}
    return found


def _names(error: Mapping[str, Any]) -> Iterator[str]:
    """Every code and type the error gives, lower case, the most specific first."""
    details, inner = error.get("details"), error.get("innererror")
    for value in (
        error.get("code"),
        details.get("error_code") if isinstance(details, Mapping) else None,
        inner.get("code") if isinstance(inner, Mapping) else None,
        error.get("type"),
        error.get("status"),
    ):
        if isinstance(value, str) and value and not value.isdigit():
            yield value[:80].lower()


def _inner_status(error: Mapping[str, Any]) -> Iterator[int]:
    for name in ("code", "status_code", "status"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            yield value


def _text(error: Mapping[str, Any]) -> str:
    message = error.get("message")
    if not isinstance(message, str):
        message = error.get("detail")
    if not isinstance(message, str):
        return ""
    metadata = error.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    if isinstance(raw, str):
        message = f"{message}: {raw}"
    short = message if len(message) <= _MAX_TEXT else message[:_MAX_TEXT] + "..."
    return conceal(short)


def conceal(text: str) -> str:
    """The text without anything that looks like a key."""
    return _KEYLIKE.sub("***", text)
