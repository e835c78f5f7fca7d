"""What a client is told of an error: a status, whether it will pass, and a message that it understands.

What lasts is 4xx, what passes is 503 (529 at Anthropic's door) with `retry-after`; a client is asked not to repeat
either, since the router has tried every target already. The words of each dialect stand in `doors/`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

from agentroute.errors import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    BudgetExceeded,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    NoCandidateError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
    UnknownTarget,
    Unsupported,
)
from agentroute.formats.failures import conceal
from agentroute.targets import Pool

from .refusals import Refused

__all__ = ["Told", "Word", "tell"]

Word: TypeAlias = Literal[
    "invalid", "too_long", "filtered", "unauthorized", "forbidden", "not_found", "too_large", "limited", "overloaded",
    "failed", "internal",
]  # fmt: skip
"""What each dialect has its own words for."""


@dataclass(frozen=True, slots=True)
class Told:
    """An error as a client is told of it. `status` is the usual one; a dialect may have its own for a word.

    `tokens` and `limit` are the sizes of a conversation that is too long, where they are known.
    """

    word: Word
    status: int
    code: str
    message: str
    retry_after: float | None = None
    param: str | None = None
    tokens: int | None = None
    limit: int | None = None


_PASSING_AFTER_S: Final = 5.0
"""What a client is asked to wait if no provider said how long."""

_LASTING: Final[dict[type[AgentRouteError], tuple[Word, int, str]]] = {
    RequestError: ("invalid", 400, "invalid_request"),
    InvalidRequest: ("invalid", 400, "invalid_request"),
    Unsupported: ("invalid", 400, "unsupported"),
    ContentFiltered: ("filtered", 400, "content_filter"),
    ModelNotFound: ("not_found", 404, "model_not_found"),
    AuthenticationFailed: ("invalid", 400, "provider_authentication_failed"),
    QuotaExhausted: ("invalid", 400, "provider_quota_exhausted"),
    ConfigError: ("invalid", 400, "config_error"),
}
_PASSING: Final[dict[type[AgentRouteError], tuple[Word, int, str]]] = {
    RateLimited: ("limited", 429, "rate_limit_exceeded"),
    Overloaded: ("overloaded", 503, "overloaded"),
    ProviderTimeout: ("failed", 503, "timeout"),
    ConnectionFailed: ("failed", 503, "connection_failed"),
    ProviderError: ("failed", 503, "provider_failed"),
}
_LASTING_NAMES: Final = {kind.__name__: kind for kind in _LASTING}
_PASSING_NAMES: Final = {kind.__name__: kind for kind in _PASSING}


def tell(error: Exception, pool: Pool | None = None, *, codex: bool = False) -> Told:
    """How to tell a client of this error. `codex`: the client gives up at the first 429, so it is told 503.

    A conversation is called too long only if it is longer than every window of the pool that is known: of a smaller
    one that our choice of targets made, a shorter conversation would be no cure.
    """
    match error:
        case Refused():
            told = Told(_REFUSALS.get(error.status, "invalid"), error.status, error.code, str(error), error.retry_after)
            return (
                Told("overloaded", 503, told.code, told.message, told.retry_after)
                if codex and told.status == 429
                else told
            )
        case NoCandidateError():
            return _none(error, pool)
        case BudgetExceeded():
            return _over_budget(error, codex)
        case ContextTooLong():
            return _too_long(error, pool)
        case UnknownTarget():
            return Told("not_found", 404, "model_not_found", str(error), param="model")
        case AgentRouteError():
            return _of(error, codex)
        case _:
            return Told("internal", 500, "internal_error", "the gateway failed; its log says why")


_REFUSALS: Final[dict[int, Word]] = {
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    413: "too_large",
    429: "limited",
    503: "overloaded",
}


def _of(error: AgentRouteError, codex: bool) -> Told:
    message = conceal(str(error))
    kind = type(error)
    if isinstance(error, AllAttemptsFailed):
        reasons = {attempt.error for attempt in error.attempts} - {None}
        lasting = [name for name in reasons if name in _LASTING_NAMES]
        if reasons and len(lasting) == len(reasons):
            kind = _LASTING_NAMES[str(sorted(lasting)[0])]
        elif len(reasons - set(lasting)) == 1:
            kind = _PASSING_NAMES.get(str(next(iter(reasons - set(lasting)))), ProviderError)
        else:
            kind = ProviderError
    lasting_form = next((_LASTING[base] for base in kind.__mro__ if base in _LASTING), None)
    if lasting_form is not None:
        word, status, code = lasting_form
        if kind in (AuthenticationFailed, QuotaExhausted):
            message = f"{message} (a key of the gateway's for this provider, not the client's)"
        own = isinstance(error, InvalidRequest | ContentFiltered | ModelNotFound)
        if own and isinstance(error, ProviderError):
            if error.status is not None and 400 <= error.status < 500 and error.status != 429:
                status = error.status
            code = error.code or code
        return Told(word, status, code, message, param=getattr(error, "param", None))
    word, status, code = next(
        (_PASSING[base] for base in kind.__mro__ if base in _PASSING), ("internal", 500, "failed")
    )
    if status == 500:
        return Told("internal", 500, code, message)
    wait = getattr(error, "retry_after", None)
    wait = _waits(error) if wait is None else wait
    if codex and word == "limited":
        word, status = "overloaded", 503
    return Told(word, status, code, message, _PASSING_AFTER_S if wait is None else wait)


def _over_budget(error: BudgetExceeded, codex: bool) -> Told:
    """What calls in flight hold will be free soon; what is spent will not."""
    if not error.passing:
        return Told("forbidden", 403, "budget_exceeded", str(error))
    if codex:
        return Told("overloaded", 503, "budget_in_use", str(error), _IN_USE_AFTER_S)
    return Told("limited", 429, "budget_in_use", str(error), _IN_USE_AFTER_S)


_IN_USE_AFTER_S: Final = 2.0


def _waits(error: AgentRouteError) -> float | None:
    """The shortest time after which one of the providers would be asked again."""
    attempts: Any = getattr(error, "attempts", ())
    return min((attempt.retry_after for attempt in attempts if attempt.retry_after is not None), default=None)


def _none(error: NoCandidateError, pool: Pool | None) -> Told:
    if error.too_long and error.window is not None and error.window >= _largest(pool):
        return _long(error.tokens, error.window)
    return Told("invalid", 400, "no_candidate", str(error))


def _largest(pool: Pool | None) -> int:
    return max((target.context_window or 0 for target in pool), default=0) if pool is not None else 0


_NUMBERS: Final = re.compile(r"\d[\d,_]{3,}")


def _too_long(error: ContextTooLong, pool: Pool | None) -> Told:
    """The sizes are the provider's own if its text holds them: the larger is the conversation, the other the window."""
    target = None if pool is None or error.target is None or error.target not in pool else pool[error.target]
    window = None if target is None else target.context_window
    if window is not None and window < _largest(pool) and not any(a.target != error.target for a in error.attempts):
        message = f"the conversation does not fit {error.target}, and no larger model may serve this step"
        return Told("invalid", 400, "no_candidate", message)
    found = sorted({int(re.sub(r"[,_]", "", text)) for text in _NUMBERS.findall(str(error))}, reverse=True)
    if len(found) >= 2:
        return _long(found[0], found[1])
    limit = found[0] if found else window
    counted = None if error.decision is None else error.decision.estimated_usage.input_tokens
    believed = counted is not None and limit is not None and counted > limit
    return _long(counted if believed else None, limit)


def _long(tokens: int | None, limit: int | None) -> Told:
    message = "the conversation is too long for every model here; shorten it"
    return Told("too_long", 400, "context_length_exceeded", message, tokens=tokens, limit=limit)
