"""What follows an error before the first content: the table of error classes, and who is still worth trying."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from agentroute.decisions import Attempt
from agentroute.errors import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    StreamInterrupted,
    Unsupported,
)
from agentroute.targets import Target

from .breaker import key_of

__all__ = [
    "RETRY_S",
    "Rule",
    "final_error",
    "goes_on",
    "interrupted",
    "label",
    "may_be_billed",
    "may_return",
    "retries_at_once",
    "rule_for",
    "worth_trying",
]

RETRY_S: Final = 0.25
"""A retry of the same target comes 0.25 to 0.5 s later (jittered): long enough for a load balancer to pick another
server, short enough not to be noticed beside an answer that takes seconds."""


@dataclass(frozen=True, slots=True)
class Rule:
    """Who is tried next, out of those who wait.

    * `next_key`: the other keys of this target, then the others
    * `other_key`: whoever has another key than this one
    * `next`: the next target; other keys of this one do not help
    * `larger_window`: whoever is known to have a larger context window
    * `allowed`: whom the caller has named for this case
    * `stop`: nobody

    `back`: where nobody waits any more, it may be tried once more, when the provider said (`said`), or else soon
    (`soon`). `look_at`: what somebody has to look at; this is loud.
    """

    then: Literal["next_key", "other_key", "next", "larger_window", "allowed", "stop"]
    back: Literal["never", "said", "soon"] = "never"
    look_at: str = ""


_RULES: Final[Mapping[type[ProviderError], Rule]] = {
    RateLimited: Rule("next_key", back="said"),
    QuotaExhausted: Rule("other_key", look_at="its key and the account behind it"),
    AuthenticationFailed: Rule("other_key", look_at="its key"),
    Overloaded: Rule("next", back="soon"),
    ProviderTimeout: Rule("next"),
    ConnectionFailed: Rule("next"),
    BadResponse: Rule("next"),
    ModelNotFound: Rule("next", look_at="its model name"),
    Unsupported: Rule("next_key", look_at="its settings, and what its account may use"),
    ContextTooLong: Rule("larger_window"),
    ContentFiltered: Rule("allowed"),
    InvalidRequest: Rule("stop"),
    StreamInterrupted: Rule("stop"),
    AllAttemptsFailed: Rule("stop"),
    ProviderError: Rule("next"),
}
"""After the first content there is one rule for all: StreamInterrupted, and no other target."""

_UNCHANGED: Final = frozenset({"larger_window", "allowed", "stop"})
"""Rules of errors that the request brought about: where nobody else is left, the caller gets them as they are."""


def goes_on(rule: Rule) -> bool:
    """Whether this error leaves it to other targets, or to this one at another time, to answer."""
    return rule.then not in _UNCHANGED


_CONFLICT: Final = 409
_DUPLICATE_STATUSES: Final = frozenset({502, 504})


def rule_for(error: ProviderError) -> Rule:
    """The rule of the error's class, or of the nearest class above it."""
    return next(_RULES[kind] for kind in type(error).__mro__ if kind in _RULES)


def retries_at_once(error: ProviderError) -> bool:
    """Whether the same target is asked again before the others: 409 says that two requests met, not that it is sick."""
    return error.status == _CONFLICT and error.should_retry is not False


def may_return(rule: Rule, error: ProviderError) -> bool:
    """Whether this target may be tried once more where nobody else is left: after its Retry-After, or else soon.

    That a kept connection broke says nothing of its host, so the transport says that another one is worth trying.
    """
    if error.should_retry is False:
        return False
    if isinstance(error, ConnectionFailed) and error.should_retry:
        return True
    return rule.back == "soon" or (rule.back == "said" and error.retry_after is not None)


def worth_trying(rule: Rule, failed: Target, waiting: Sequence[Target], allowed: Sequence[Target]) -> list[Target]:
    """Who of the waiting targets (each with one key) may still answer. `allowed`: those named for filtered content."""
    match rule.then:
        case "stop":
            return []
        case "next_key":
            return list(waiting)
        case "other_key":
            return [target for target in waiting if key_of(target) != key_of(failed)]
        case "next":
            return [target for target in waiting if target.name != failed.name]
        case "allowed":
            return list(allowed)
        case "larger_window":
            known = failed.context_window
            return [
                target
                for target in waiting
                if known is not None and target.context_window is not None and target.context_window > known
            ]


def may_be_billed(error: ProviderError) -> bool:
    """Whether the provider may have done the work, so that trying again may pay twice."""
    return error.possible_duplicate_cost or error.status in _DUPLICATE_STATUSES


def interrupted(error: ProviderError, target: Target) -> StreamInterrupted:
    """What the caller gets for any error after the first content."""
    cut = StreamInterrupted(
        f"{target.name!r}: the answer broke off after its first content ({_describe(error)})",
        target=target.name,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
        cause=_describe(error),
    )
    cut.possible_duplicate_cost = True
    return cut


def final_error(failures: Sequence[tuple[Target, ProviderError]], attempts: tuple[Attempt, ...]) -> ProviderError:
    """The error that the caller gets: the provider's own if it was one target's or the request's own fault, or if every
    target refused the request as it is.

    `failures` and `attempts` tell of the same attempts, in order. Its traceback begins here: frames of the transport
    hold requests.
    """
    last = failures[-1][1]
    refused = all(isinstance(error, Unsupported) for _, error in failures)
    if refused or len({target.name for target, _ in failures}) == 1 or not goes_on(rule_for(last)):
        last.attempts = attempts
        return last.with_traceback(None)
    errors = [error for _, error in failures]
    limited = all(isinstance(error, RateLimited) for error in errors)
    pauses = [error.retry_after for error in errors if error.retry_after is not None]
    lines = [
        f"{target.name!r} ({target.origin}) {label(error)} after {attempt.duration_s * 1000:.0f} ms: {error}"
        for (target, error), attempt in zip(failures, attempts, strict=True)
    ]
    return AllAttemptsFailed(
        f"none of {len(failures)} attempts succeeded; " + "; ".join(lines),
        target=last.target,
        status=last.status,
        code=last.code,
        request_id=last.request_id,
        retry_after=min(pauses) if limited and pauses else None,
        cause=_describe(last),
        attempts=attempts,
    )


def _describe(error: ProviderError) -> str:
    return f"{type(error).__name__}: {error}"


def label(error: ProviderError) -> str:
    """Its class and status, without the provider's words: they may quote the request."""
    name = type(error).__name__
    return name if error.status is None else f"{name} {error.status}"
