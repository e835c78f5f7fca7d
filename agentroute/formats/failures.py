"""What a provider's error answer means: one class of ours for each status, code and wording met in the wild."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
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
    Told,
    Unsupported,
)

from .headers import request_id_of, retry_after
from .wordings import CODES, SETTINGS, WORDINGS

__all__ = ["MAX_TEXT", "conceal", "decode_error", "shown", "tells_failure"]

MAX_TEXT: Final = 400
_MAX_READ: Final = 4000
"""What of a reason is searched for telling words: providers that pass an upstream's error on put its text last."""

_OPEN_STATUSES: Final = frozenset({400, 403, 404, 413, 422, 429})
_BUT_FOR: Final[Mapping[int, frozenset[type[ProviderError]]]] = {
    413: frozenset({ContextTooLong, QuotaExhausted, ContentFiltered}),
    429: frozenset({QuotaExhausted}),
}
"""What words may make of these statuses; of the other open ones, anything."""

_CONVERSATION: Final = frozenset({"messages", "input", "contents", "prompt", "system", "instructions"})
"""Fields whose faults are the caller's own. Any other field that a refusal names is one that this target does not take
as it is."""

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
    499: Overloaded,
    504: ProviderTimeout,
}
"""Any other 4xx (a moved path, a proxy that wants a password, a region) is about the target, not about the request."""

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

_REASONS: Final = (
    "message",
    "Message",
    "msg",
    "detail",
    "error_message",
    "errorMessage",
    "error_msg",
    "error_description",
    "description",
    "faultstring",
    "title",
    "error",
    "errors",
    "Error",
    "fault",
    "status_msg",
    "base_resp",
)
"""Where servers put the reason of a refusal: the most telling place first."""

_UNPRINTABLE: Final = re.compile(
    r"\x1b\[[0-9;]*[A-Za-z]|[\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff]"
)
"""Control characters, half surrogates and marks of direction: a terminal or a log must not obey a provider's text."""

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
    names. The text is the provider's own, cut to 400 characters, without control characters and anything that looks
    like a key; a page of HTML gives no text at all. `now` (UTC) is needed for a Retry-After that is a date.
    """
    found = _parse(body) if isinstance(body, bytes) else body
    plain = _plain_text(body) if isinstance(body, bytes) and found is None else None
    error = _error_object(found)
    names = tuple(_names(error))
    if status is None or 200 <= status < 300:
        status = next(_inner_status(error), None)
    reason = _reason(found) if plain is None else plain
    text = shown(reason, MAX_TEXT)
    param = _param(error)
    kind, told = _kind(status, names, reason[:_MAX_READ], param, stranger=plain is not None)
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
        request_id=None if request_id is None else shown(request_id, _MAX_NAME),
        retry_after=retry_after(headers, error, now=now, limited=issubclass(kind, RateLimited)),
    )
    found_error.param = param
    found_error.told_by = told
    found_error.should_retry = {"true": True, "false": False}.get(headers.get("x-should-retry", "").strip().lower())
    return found_error


def tells_failure(answer: Mapping[str, Any], answer_fields: Iterable[str]) -> bool:
    """Whether this answer, or piece of one, with a success status is an error object instead.

    Not every server puts it under `error`: `{"object": "error", ...}`, or a `detail` or `message` with none of the
    dialect's own fields beside it.
    """
    if answer.get("error") or answer.get("object") == "error":
        return True
    if "base_resp" in answer and _refused_by_minimax(answer["base_resp"]):
        return True
    return answer.keys().isdisjoint(answer_fields) and bool(_reason(answer))


def _refused_by_minimax(told: Any) -> bool:
    """MiniMax puts `base_resp` into every answer; 0 is a success."""
    return isinstance(told, Mapping) and told.get("status_code") not in (None, 0)


def _kind(
    status: int | None, names: tuple[str, ...], text: str, param: str | None, *, stranger: bool
) -> tuple[type[ProviderError], Told]:
    """The class, and what tells of it. `stranger`: the body is not the API's; a firewall in between has answered."""
    for name in names:
        if name in CODES:
            return CODES[name], "code"
    if status == _FORBIDDEN and stranger:
        return Unsupported, "status"
    told = " ".join((text, *(name.replace("_", " ") for name in names if name not in _TYPES)))
    if status is None or status in _OPEN_STATUSES:
        may_be = None if status is None else _BUT_FOR.get(status)
        for pattern, kind in WORDINGS:
            if (may_be is None or kind in may_be) and pattern.search(told):
                return kind, "words"
    if status in _BAD_REQUEST and (param is None or re.split(r"[.\[]", param)[0] not in _CONVERSATION):
        if param is not None:
            return Unsupported, "code"
        if SETTINGS.search(told):
            return Unsupported, "words"
    if status is None:
        return next((_TYPES[name] for name in names if name in _TYPES), BadResponse), "code"
    if status in _STATUSES:
        return _STATUSES[status], "status"
    if 300 <= status < 400:
        return BadResponse, "status"
    return Overloaded if status >= 500 else Unsupported, "status"


_FORBIDDEN: Final = 403
_BAD_REQUEST: Final = frozenset({400, 422})
_MAX_NAME: Final = 80


def _parse(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _plain_text(body: bytes) -> str | None:
    """A body that is text: '' for a page of HTML (or XML), None for what is empty, broken JSON or no text."""
    try:
        text = body[: 2 * _MAX_READ].decode("utf-8-sig", "strict" if len(body) <= 2 * _MAX_READ else "ignore").strip()
    except UnicodeDecodeError:
        return None
    if not text or text[0] in "{[":
        return None
    return "" if text[0] == "<" else text


def _error_object(found: Any, depth: int = 0) -> Mapping[str, Any]:
    """The object that describes the error: `{"error": ...}`, the body itself, or one that lies deeper in it.

    Gemini sends a list of one, FastAPI a list in `detail`, Mistral that same one in `message`.
    """
    if isinstance(found, list):
        found = next((each for each in found if isinstance(each, Mapping)), None)
    if not isinstance(found, Mapping) or depth > _DEPTH:
        return {}
    inner = found.get("error", found.get("Error"))
    if isinstance(inner, Mapping | list) and inner:
        return _error_object(inner, depth + 1)
    for name in ("detail", "message", "errors", "fault", "base_resp"):
        if isinstance(found.get(name), Mapping | list):
            return {**found, **_error_object(found[name], depth + 1)}
    return found


_DEPTH: Final = 4


def _names(error: Mapping[str, Any]) -> Iterator[str]:
    """Every code and type the error gives, lower case, the most specific first."""
    details, inner = error.get("details"), error.get("innererror")
    for value in (
        error.get("code"),
        error.get("Code"),
        details.get("error_code") if isinstance(details, Mapping) else None,
        inner.get("code") if isinstance(inner, Mapping) else None,
        error.get("type"),
        error.get("status"),
    ):
        if isinstance(value, str) and value and not value.isdigit():
            yield shown(value, _MAX_NAME).lower()


def _inner_status(error: Mapping[str, Any]) -> Iterator[int]:
    for name in ("code", "status_code", "status"):
        value = error.get(name)
        if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
            value = int(value)
        if isinstance(value, int) and not isinstance(value, bool) and 400 <= value < 600:
            yield value


def _param(error: Mapping[str, Any]) -> str | None:
    """The field that the refusal names: OpenAI's `param`, FastAPI's `loc`."""
    named, place = error.get("param"), error.get("loc")
    if isinstance(named, str) and named:
        return shown(named, _MAX_NAME)
    if isinstance(place, list):
        inner = [str(step) for step in place if isinstance(step, str | int) and step != "body"]
        return shown(".".join(inner), _MAX_NAME) or None
    return None


def _reason(found: Any, depth: int = 0) -> str:
    """The provider's own words, wherever they stand in its body; '' if there are none."""
    if isinstance(found, str):
        return found
    if depth > _DEPTH:
        return ""
    if isinstance(found, list):
        return "; ".join(filter(None, (_reason(each, depth + 1) for each in found[:3] if not isinstance(each, list))))
    if not isinstance(found, Mapping):
        return ""
    # An object under `error` says more than what stands beside it.
    inner = found.get("error")
    said = _reason(inner, depth + 1) if isinstance(inner, Mapping) else ""
    said = said or next(filter(None, (_reason(found.get(name), depth + 1) for name in _REASONS)), "")
    if not said:
        return ""
    if isinstance(found.get("loc"), list):
        said = f"{'.'.join(str(step) for step in found['loc'][:8])}: {said}"
    metadata = found.get("metadata")
    raw = metadata.get("raw") if isinstance(metadata, Mapping) else None
    return f"{said}: {raw}" if isinstance(raw, str) else said


def shown(text: str, most: int) -> str:
    """At most so much of another's text, as one line without keys or anything that a terminal would act upon."""
    clean = _UNPRINTABLE.sub(" ", text[: 4 * most])
    return conceal(clean if len(clean) <= most else clean[:most] + "...")


def conceal(text: str) -> str:
    """The text without anything that looks like a key."""
    return _KEYLIKE.sub("***", text)
