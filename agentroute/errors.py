"""Every error a caller can meet, in one tree.

AgentRouteError
├── ConfigError                  a setting, file or key is wrong: names it and the remedy
├── RequestError                 the request itself is malformed: names the field (also a ValueError)
├── NoCandidateError             every target was filtered out: lists each one and why
├── BudgetExceeded               a limit that people set does not hold the call: names whose, how much, until when
├── ProviderError                one target failed; what follows depends on the class
│   ├── RateLimited              ┐
│   ├── QuotaExhausted           │
│   ├── Overloaded               │ the next candidate is tried
│   ├── ProviderTimeout          │
│   ├── ConnectionFailed         │
│   ├── BadResponse              ┘
│   ├── AuthenticationFailed       the next candidate with another key; loud
│   ├── ModelNotFound              the next candidate; loud
│   ├── Unsupported                the next candidate; loud; the circuit stays as it was; the caller, if all refuse
│   ├── InvalidRequest             back to the caller, unchanged
│   ├── ContentFiltered            back to the caller, unchanged
│   ├── ContextTooLong             only a target with a larger window is tried
│   ├── StreamInterrupted          after the first content: never another model's text; the partial response is attached
│   └── AllAttemptsFailed          nothing is left to try: every attempt, and the deciding cause
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from decimal import Decimal
from difflib import get_close_matches
from typing import TYPE_CHECKING, Literal, TypeAlias

if TYPE_CHECKING:
    from .decisions import Attempt, Decision, Dropped
    from .messages import ChatResponse

__all__ = [
    "AgentRouteError",
    "AllAttemptsFailed",
    "AuthenticationFailed",
    "BadResponse",
    "BudgetExceeded",
    "ConfigError",
    "ConnectionFailed",
    "ContentFiltered",
    "ContextTooLong",
    "InvalidRequest",
    "ModelNotFound",
    "NoCandidateError",
    "Overloaded",
    "ProviderError",
    "ProviderTimeout",
    "QuotaExhausted",
    "RateLimited",
    "RequestError",
    "StreamInterrupted",
    "UnknownTarget",
    "Unsupported",
    "nearest",
    "printable",
    "unknown_key",
]

Told: TypeAlias = Literal["code", "words", "status"]


class AgentRouteError(Exception):
    """Base class of everything agentroute raises on purpose.

    `decision` is the record of the step, where one had been begun.
    """

    decision: Decision | None = None


class ConfigError(AgentRouteError):
    """A setting is missing or wrong. The message names the file or argument, the key and the remedy."""


class UnknownTarget(ConfigError):
    """A name that is neither a target of the pool nor the model of one."""


class RequestError(AgentRouteError, ValueError):
    """The request cannot be understood. The message names the field and the value; nothing was sent."""


class NoCandidateError(AgentRouteError):
    """No target of the pool may serve this step. `dropped` says why, target by target.

    `too_long` says that the conversation's length alone stands in the way of at least one of them: a shorter one could
    be served. `window` is the largest context window that it does not fit, and `tokens` what it is estimated to need,
    its answer included; both are None if no window is too small.
    """

    def __init__(
        self,
        message: str,
        *,
        dropped: tuple[Dropped, ...] = (),
        too_long: bool = False,
        tokens: int | None = None,
        window: int | None = None,
    ) -> None:
        super().__init__(message)
        self.dropped = dropped
        self.too_long = too_long
        self.tokens = tokens
        self.window = window


class BudgetExceeded(AgentRouteError):
    """A budget does not hold this call. Nothing was sent, and no weaker model was put in place of the chosen one.

    `scope` is whose budget it is (`all`, `agent`, `key`), with its `name`; `period` what it is for (`day`, `month`,
    `conversation`). In USD: the `limit`, what was `spent` (some of it `estimated`, where nobody told the cost), what is
    `held` for calls in flight, and what this call `needed`. It is free again at `until` (UTC; None: not by itself).
    `passing`: only calls in flight stand in the way.
    """

    def __init__(
        self,
        message: str,
        *,
        scope: str = "all",
        name: str | None = None,
        period: str = "day",
        limit: Decimal = Decimal(0),
        spent: Decimal = Decimal(0),
        estimated: Decimal = Decimal(0),
        held: Decimal = Decimal(0),
        needed: Decimal = Decimal(0),
        until: datetime | None = None,
        passing: bool = False,
    ) -> None:
        super().__init__(message)
        self.scope = scope
        self.name = name
        self.period = period
        self.limit = limit
        self.spent = spent
        self.estimated = estimated
        self.held = held
        self.needed = needed
        self.until = until
        self.passing = passing


class ProviderError(AgentRouteError):
    """One target failed at one attempt.

    `target` is its name; `status` the HTTP status; `code` the provider's own error code; `retry_after` seconds;
    `cause` the class and text of what went wrong below us, as text (never the exception: its frames hold keys).
    `possible_duplicate_cost` says that the provider may have done the work, and bill it, all the same.
    `should_retry` is the provider's own advice (the header `x-should-retry`), None where it gave none; True for a kept
    connection that broke. `param` is the field of the request that a refusal names. `told_by` says what made a refusal
    this class: the provider's own code, the words of its text (which may quote a prompt), or the HTTP status alone
    (which a firewall may send as well).
    """

    possible_duplicate_cost: bool = False
    should_retry: bool | None = None
    param: str | None = None
    told_by: Told | None = None

    def __init__(
        self,
        message: str,
        *,
        target: str | None = None,
        status: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        cause: str | None = None,
        attempts: tuple[Attempt, ...] = (),
    ) -> None:
        super().__init__(message)
        self.target = target
        self.status = status
        self.code = code
        self.request_id = request_id
        self.retry_after = retry_after
        self.cause = cause
        self.attempts = attempts


class RateLimited(ProviderError):
    """Too many requests or tokens for now; `retry_after` says how long, where the provider did."""


class QuotaExhausted(ProviderError):
    """The account behind the key is out of credit or over its spending limit."""


class Overloaded(ProviderError):
    """The provider is up and cannot serve (5xx, 529)."""


class ProviderTimeout(ProviderError):
    """No connection, first content, next event or end within the time allowed for it."""


class ConnectionFailed(ProviderError):
    """The connection could not be made, or broke before any content."""


class BadResponse(ProviderError):
    """The answer is not what the dialect promises: no JSON, no choices, too large, a login page."""


class AuthenticationFailed(ProviderError):
    """The key was refused."""


class ModelNotFound(ProviderError):
    """The provider does not know the model."""


class Unsupported(ProviderError):
    """This target does not take the request as it is: a setting, schema, medium, account, plan or region is at fault.

    Another target may well take it, so you get this error only if every one refuses. Says nothing about the target's
    health.
    """


class InvalidRequest(ProviderError):
    """The provider says the request is wrong. Another target would be guessing, so the caller gets it unchanged."""


class ContentFiltered(ProviderError):
    """The provider refused the content by policy."""


class ContextTooLong(ProviderError):
    """The conversation does not fit the model's context window."""


class StreamInterrupted(ProviderError):
    """The stream broke after its first content. `partial` holds what had arrived; no other model was asked."""

    partial: ChatResponse | None = None


class AllAttemptsFailed(ProviderError):
    """Every candidate was tried or ruled out. `attempts` lists them; `cause` is the deciding one's class and text."""


def printable(text: str) -> str:
    """The text with a replacement sign for each sign that a terminal would act upon, and for each lone surrogate."""
    return text if text.isprintable() else "".join(sign if sign.isprintable() else "\ufffd" for sign in text)


def nearest(word: object, known: Iterable[str]) -> str:
    """`; did you mean 'openai'?` for `opneai`; nothing where no known word is near.

    >>> nearest("opneai", ["openai", "anthropic"])
    "; did you mean 'openai'?"
    """
    words = {each.lower(): each for each in known}
    near = get_close_matches(str(word).lower(), words, n=1, cutoff=0.7)
    return f"; did you mean {words[near[0]]!r}?" if near else ""


def unknown_key(key: str, known: Iterable[str], where: str = "") -> str:
    """The one message for a key that a table does not have. `where` is its table, with a point behind."""
    words = sorted(known)
    return f"unknown key {where + key!r}{nearest(key, words) or ';'} known are {', '.join(words)}"
