"""Errors as OpenAI's two dialects write them: which status, type and code a client is given for each of ours."""

from __future__ import annotations

from typing import Any, Final

from agentroute.errors import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    NoCandidateError,
    Overloaded,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
    StreamInterrupted,
)
from agentroute.formats.base import told_class
from agentroute.formats.failures import conceal

__all__ = ["encode_error", "error_object"]

_FORMS: Final[dict[type[AgentRouteError], tuple[int, str, str | None]]] = {
    RequestError: (400, "invalid_request_error", None),
    InvalidRequest: (400, "invalid_request_error", None),
    ContentFiltered: (400, "invalid_request_error", "content_filter"),
    ContextTooLong: (400, "invalid_request_error", "context_length_exceeded"),
    ModelNotFound: (404, "invalid_request_error", "model_not_found"),
    RateLimited: (429, "rate_limit_error", "rate_limit_exceeded"),
    QuotaExhausted: (429, "insufficient_quota", "insufficient_quota"),
    Overloaded: (503, "server_error", "overloaded"),
    NoCandidateError: (503, "server_error", "no_candidate"),
    ProviderTimeout: (504, "server_error", "timeout"),
    AuthenticationFailed: (502, "server_error", "provider_authentication_failed"),
    ConnectionFailed: (502, "server_error", "connection_failed"),
    BadResponse: (502, "server_error", "bad_response"),
    StreamInterrupted: (502, "server_error", "stream_interrupted"),
    AllAttemptsFailed: (502, "server_error", "all_attempts_failed"),
    ConfigError: (500, "server_error", "config_error"),
}
"""Status, type, code. A refused key is ours and not the client's, so it is no 401, which would send the client looking
at its own. No target being free is a 503: a breaker closes again, and a client may come back."""

_OWN_WORD: Final = (InvalidRequest, ContentFiltered, ContextTooLong, ModelNotFound)
"""What the client got wrong at the provider: it gets the provider's own status and code."""


def encode_error(error: AgentRouteError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body `{"error": {"message", "type", "param", "code"}}`.

    Where every attempt failed for one reason the status is that reason's (429, 503, 504), else 502.
    """
    return _form(error)[0], {"error": error_object(error)}


def error_object(error: AgentRouteError) -> dict[str, Any]:
    """`message`, `type`, `param` and `code`. The message holds nothing that looks like a key."""
    _, kind, code = _form(error)
    return {"message": conceal(str(error)), "type": kind, "param": None, "code": code}


def _form(error: AgentRouteError) -> tuple[int, str, str | None]:
    told = told_class(error)
    status, kind, code = next((_FORMS[cls] for cls in told.__mro__ if cls in _FORMS), (500, "server_error", None))
    if isinstance(error, AllAttemptsFailed):
        code = _FORMS[AllAttemptsFailed][2]
    elif isinstance(error, _OWN_WORD):
        if error.status is not None and 400 <= error.status < 500:
            status = error.status
        code = error.code or code
    return status, kind, code
