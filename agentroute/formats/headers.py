"""What the headers of an answer tell: the provider's id for the request, and when to come back."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

__all__ = ["request_id_of", "retry_after"]

_IDS: Final = (
    "x-litellm-call-id",
    "x-amzn-requestid",
    "x-amzn-request-id",
    "apim-request-id",
    "mistral-correlation-id",
    "x-portkey-trace-id",
    "helicone-id",
    "request-id",
    "x-request-id",
    "x-oneapi-request-id",
    "x-ms-request-id",
    "x-vercel-id",
    "cf-aig-log-id",
    "cf-ray",
)
"""Names of that id, the most telling first: what a gateway calls its own stands before what it passes on, and the ids
of networks last. LiteLLM proxy, AWS, Azure, Mistral (read 2026-11-27 in LiteLLM 1.110.2, botocore 1.44.8, mistralai);
Anthropic `request-id`, OpenAI and others `x-request-id`; gateways by their documentation."""

_LIMIT: Final = re.compile(r"(?:anthropic|x)?-?ratelimit-(.*)")
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|us|µs|ns|d|h|m|s)")
_SECONDS: Final[Mapping[str, float]] = {
    "d": 86400.0,
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}
_EPOCH_S: Final = 1e9
_EPOCH_MS: Final = 1e12
"""Numbers from here on are moments since 1970, in seconds or milliseconds; smaller ones are seconds from now."""


def request_id_of(headers: Mapping[str, str]) -> str | None:
    """The id under which the provider (or the gateway before it) finds this request. Names are in lower case."""
    return next((headers[name] for name in _IDS if headers.get(name)), None)


def retry_after(
    headers: Mapping[str, str],
    error: Mapping[str, Any] | None = None,
    *,
    now: datetime | None = None,
    limited: bool = False,
) -> float | None:
    """Seconds to wait, or None where the provider gave none that makes sense.

    `retry-after-ms`, then `retry-after` (seconds, or an HTTP date read against the answer's own Date where it has one,
    so that a wrong clock on either side does no harm), then Gemini's RetryInfo. Of an answer that says that a limit was
    reached (`limited`), the resets of its limits come last.
    """
    milliseconds = _positive(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    given = headers.get("retry-after")
    sent = _date(headers.get("date")) or now
    if given is not None:
        seconds = _positive(given)
        if seconds is not None:
            return seconds
        at = _date(given)
        if at is not None and sent is not None:
            return max(0.0, (at - sent).total_seconds())
    details = error.get("details") if error else None
    for detail in details if isinstance(details, list) else ():
        delay = detail.get("retryDelay") if isinstance(detail, Mapping) else None
        if isinstance(delay, str) and delay.endswith("s"):
            return _positive(delay[:-1])
    return _reset(headers, sent) if limited else None


def _reset(headers: Mapping[str, str], now: datetime | None) -> float | None:
    """When a limit that is used up begins anew; the last of them, if there are several. If none says that nothing is
    left of it, the first one to begin anew."""
    used_up: list[float] = []
    others: list[float] = []
    for window, text in _resets(headers):
        seconds = _moment(text, now)
        if seconds is None:
            continue
        left = headers.get(window.replace("reset", "remaining"))
        (used_up if _positive(left) == 0 else others).append(seconds)
    return max(used_up) if used_up else min(others, default=None)


def _resets(headers: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    for name, text in headers.items():
        found = _LIMIT.fullmatch(name)
        if found is not None and "reset" in found[1].split("-"):
            yield name, text.strip()


def _moment(text: str, now: datetime | None) -> float | None:
    """Seconds from now, read by the shape: `6m0s` and `12ms` (OpenAI), a date (Anthropic), seconds since 1970
    (DigitalOcean) or milliseconds (OpenRouter), plain seconds."""
    number = _positive(text)
    if number is not None:
        if number < _EPOCH_S:
            return number
        at = number / 1000 if number >= _EPOCH_MS else number
        return None if now is None else max(0.0, at - now.timestamp())
    pieces = _DURATION.findall(text)
    if pieces and "".join(map("".join, pieces)) == text:
        return sum(float(count) * _SECONDS[unit] for count, unit in pieces)
    try:
        date = datetime.fromisoformat(text)
    except ValueError:
        return None
    date = date if date.tzinfo is not None else date.replace(tzinfo=UTC)
    return None if now is None else max(0.0, (date - now).total_seconds())


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _date(text: str | None) -> datetime | None:
    try:
        found = parsedate_to_datetime(text or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
