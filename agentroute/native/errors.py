"""What an exception of a provider's own SDK means: one of our ProviderErrors, or nothing of ours.

For the integrations, which call a framework's ready model and get whatever the SDK below it raises.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from agentroute.errors import BadResponse, ConnectionFailed, ProviderError, ProviderTimeout, Unsupported
from agentroute.formats.failures import MAX_TEXT, decode_error, shown
from agentroute.targets import Target

__all__ = ["cut_short", "own_refusal", "sdk_error"]

_NO_SUCH_ARGUMENT: Final = re.compile(r"unexpected keyword argument|missing \d+ required|positional argument")
"""Python's own words."""
_CONNECTION = frozenset({"APIConnectionError", "ConnectionError", "ClientConnectionError", "TransportError"})
_BAD_RESPONSE = frozenset({"APIError", "APIResponseValidationError"})


def cut_short(target: Target) -> BadResponse:
    """What is wrong with an answer that ended without saying why: half a tool call must not pass for a whole one."""
    return BadResponse(f"target {target.name!r}: the answer ended without a finish reason", target=target.name)


def sdk_error(error: Exception, target: str) -> ProviderError | None:
    """Our error for theirs, or None where it is a mistake in the program (TypeError, ValueError, ...) or unknown.

    The SDKs' errors are known by their status and class names, so none of them is imported. The new error holds text
    only: theirs hold the request, and with it the key.
    """
    if isinstance(error, ProviderError):
        return error
    status = _status(error)
    if status is not None:
        found = decode_error(status, _headers(error), _body(error), target=target)
        found.cause = type(error).__name__
        return found
    kind = _kind(error)
    if kind is None:
        return None
    body = getattr(error, "body", None)
    if kind is BadResponse and isinstance(body, Mapping) and body:
        # An error object inside a stream, of which the SDK makes an error without a status.
        found = decode_error(None, {}, body, target=target)
        found.cause = type(error).__name__
        return found
    cause = shown(f"{type(error).__name__}: {error}", MAX_TEXT)
    return kind(f"target {target!r}: {cause}", target=target, cause=cause)


def own_refusal(error: Exception, target: str, homes: tuple[str, ...]) -> Unsupported | None:
    """Our error for a ready model's package that would not send a request (a tool, a block or a setting it has no words
    for), or None for any other.

    It is told from a mistake in the user's code by who raised: the innermost frame is the package's own, a module whose
    name begins with one of `homes`. What callbacks, tools, schemas and subclasses of the user's raise has frames of
    theirs at the end. A call with arguments that do not exist is a mistake in the program, whoever makes it.
    """
    if not isinstance(error, ValueError | TypeError | NotImplementedError) or error.__traceback__ is None:
        return None
    if isinstance(error, TypeError) and _NO_SUCH_ARGUMENT.search(str(error)):
        return None
    frame = error.__traceback__
    while frame.tb_next is not None:
        frame = frame.tb_next
    if not str(frame.tb_frame.f_globals.get("__name__", "")).startswith(homes):
        return None
    cause = shown(f"{type(error).__name__}: {error}", MAX_TEXT)
    return Unsupported(f"target {target!r}: its package refused the request ({cause})", target=target, cause=cause)


def _kind(error: Exception) -> type[ProviderError] | None:
    names = {cls.__name__ for cls in type(error).__mro__}
    if isinstance(error, TimeoutError) or any("Timeout" in name for name in names):
        return ProviderTimeout
    if isinstance(error, ConnectionError) or names & _CONNECTION:
        return ConnectionFailed
    return BadResponse if names & _BAD_RESPONSE else None


def _status(error: Exception) -> int | None:
    told = (getattr(error, "status_code", None), getattr(error, "code", None), _response_status(error))
    return next((value for value in told if isinstance(value, int) and 400 <= value <= 599), None)


def _response_status(error: Exception) -> object:
    """What an HTTP library's own error (httpx, requests) has, which an integration without an SDK lets through, or what
    botocore puts into a dict."""
    response = getattr(error, "response", None)
    if isinstance(response, Mapping):
        told = response.get("ResponseMetadata")
        return told.get("HTTPStatusCode") if isinstance(told, Mapping) else None
    return getattr(response, "status_code", None)


def _headers(error: Exception) -> dict[str, str]:
    headers = getattr(getattr(error, "response", None), "headers", None)
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, Mapping) else {}


def _body(error: Exception) -> Mapping[str, object] | bytes:
    """The provider's own body if the SDK kept it (as an object, a list or a text), else the error's text."""
    response = getattr(error, "response", None)
    kept = (getattr(error, "body", None), getattr(error, "details", None), response)
    for body in kept:
        if isinstance(body, Mapping) and body:
            return body
        if isinstance(body, list) and body:
            return {"errors": body}
        if isinstance(body, str) and body:
            return body.encode("utf-8", "replace")
    if not hasattr(error, "status_code") and _response_status(error) is not None:
        # Its text holds the URL, and that may hold a key.
        return {"message": f"HTTP {_response_status(error)}"}
    return {"message": getattr(error, "message", None) or str(error)}
