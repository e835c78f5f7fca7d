"""The failover flow: tries the candidates in order. The only place that retries, waits or falls back.

`flow` is a generator of effects (`effects.py`): it asks for I/O, is sent what came of it, and decides. The drivers of
`transport.py` perform what it asks, so that there is one failover logic for plain and asynchronous calls, for our own
transport and for native framework models.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from .decisions import Attempt, AttemptOutcome, Outcome
from .effects import Clock, Done, Effect, Emit, Failed, Flow, Item, Next, Reply, Sent, Timeouts, Try, Wait
from .errors import (
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
)
from .messages import ChatRequest, FinishReason, Usage
from .targets import Target

__all__ = ["Log", "Plan", "flow"]

logger = logging.getLogger("agentroute")

_TIMEOUTS: Final = Timeouts()


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try: at least one target, in order. `deadline` is on the monotonic clock (seconds); None for no limit."""

    targets: tuple[Target, ...]
    request: ChatRequest
    stream: bool = True
    timeouts: Timeouts = _TIMEOUTS
    deadline: float | None = None


@dataclass(slots=True)
class Log:
    """What happened. Made by the caller, filled by the flow, and complete however the flow ends.

    `winner` is the target whose content (or empty answer) reached the caller. `usage` and `finish_reason` are the
    winner's own, or None.
    """

    attempts: list[Attempt] = field(default_factory=list)
    winner: Target | None = None
    usage: Usage | None = None
    finish_reason: FinishReason | None = None
    warnings: list[str] = field(default_factory=list)
    outcome: Outcome = "planned"


@dataclass(frozen=True, slots=True)
class _Rule:
    """What follows an error before the first content. `waits`: one retry where the provider said when to come back."""

    then: Literal["next", "other_key", "larger_window", "stop"]
    waits: bool = False
    loud: bool = False


_RULES: Final[Mapping[type[ProviderError], _Rule]] = {
    RateLimited: _Rule("next", waits=True),
    Overloaded: _Rule("next", waits=True),
    ProviderTimeout: _Rule("next"),
    ConnectionFailed: _Rule("next"),
    BadResponse: _Rule("next"),
    ModelNotFound: _Rule("next", loud=True),
    QuotaExhausted: _Rule("other_key", loud=True),
    AuthenticationFailed: _Rule("other_key", loud=True),
    ContextTooLong: _Rule("larger_window"),
    InvalidRequest: _Rule("stop"),
    ContentFiltered: _Rule("stop"),
    StreamInterrupted: _Rule("stop"),
    AllAttemptsFailed: _Rule("stop"),
    ProviderError: _Rule("next"),
}
"""After the first content there is one rule for all: StreamInterrupted, and no other target."""

_LONGEST_WAIT: Final = 60.0
"""Seconds; a call without a deadline does not sleep longer for a Retry-After (a provider may well say 3600)."""

_NEXT: Final = Next()
_DUPLICATE_STATUSES: Final = frozenset({502, 504})


def flow(plan: Plan, log: Log, clock: Clock) -> Flow:
    """Tries `plan.targets` until one answers, and emits its payloads.

    What comes before the first content is held back until that content is there, so that a target which fails has shown
    nothing. Every attempt is logged, also the one that a cancellation (an exception thrown in) or an abandoned stream
    (`close()`) ends. Raises, with `.attempts`:

    * the provider's own error where only one target was tried, or where the rule is to hand it on unchanged
      (InvalidRequest, ContentFiltered, and ContextTooLong without a larger window to try);
    * AllAttemptsFailed otherwise. Its `cause` is the last attempt's class and text, its status that attempt's too;
      `retry_after` is the shortest one where every attempt was rate limited;
    * StreamInterrupted where the answer broke off after its first content.

    Any exception that is not a ProviderError ends the flow: errors of our own never fail over.
    """
    begun = clock.monotonic()
    waiting = list(plan.targets)
    errors: list[ProviderError] = []
    waited = False
    while True:
        target = waiting.pop(0)
        error = yield from _attempt(plan, target, bool(waiting), log, clock, begun)
        if error is None:
            log.outcome = "ok"
            return
        if isinstance(error, StreamInterrupted):
            log.outcome = "interrupted"
            error.attempts = tuple(log.attempts)
            raise error.with_traceback(None)
        errors.append(error)
        rule = _rule(error)
        if rule.loud:
            log.warnings.append(f"{type(error).__name__}: {target.name}")
            logger.warning("%s; check its key and its model name", error)
        waiting = _still_worth_trying(rule, target, waiting)
        now = clock.monotonic()
        pause = error.retry_after
        if not waiting and rule.waits and pause is not None and not waited and _fits(pause, now, plan.deadline):
            waited = True
            waiting = [target]
            try:
                yield Wait(pause)
            except BaseException:
                log.outcome = "cancelled"
                raise
            continue
        if not waiting or rule.then == "stop" or (plan.deadline is not None and now >= plan.deadline):
            log.outcome = "failed"
            raise _final_error(rule, errors, log)


def _attempt(
    plan: Plan, target: Target, more: bool, log: Log, clock: Clock, begun: float
) -> Generator[Effect, Reply | None, ProviderError | None]:
    """One try at one target: None where it answered, else the error. Logged in every case."""
    started = clock.monotonic()
    first_content: float | None = None
    usage: Usage | None = None
    changes: tuple[str, ...] = ()
    held: list[Any] = []

    def record(outcome: AttemptOutcome, error: BaseException | None = None) -> None:
        known = error if isinstance(error, ProviderError) else None
        log.attempts.append(
            Attempt(
                target=target.name,
                outcome=outcome,
                started_s=started - begun,
                duration_s=clock.monotonic() - started,
                first_content_s=None if first_content is None else first_content - started,
                error=None if error is None else type(error).__name__,
                error_text=None if known is None else str(known),
                status=None if known is None else known.status,
                retry_after=None if known is None else known.retry_after,
                usage=usage,
                cost=None if usage is None or target.price is None else target.price.cost(usage),
                possible_duplicate_cost=known is not None and _may_be_billed(known),
                changes=changes,
            )
        )
        log.outcome = outcome
        if log.winner is not None:
            log.usage = usage

    try:
        reply = yield Try(target, plan.request, plan.stream, _timeouts(plan, more, started), plan.deadline)
        while True:
            if type(reply) is Item:
                if reply.usage is not None:
                    usage = reply.usage
                if first_content is not None:
                    yield Emit(reply.payload)
                elif not reply.is_content:
                    held.append(reply.payload)
                else:
                    first_content = clock.monotonic()
                    log.winner = target
                    for payload in held:
                        yield Emit(payload)
                    held.clear()
                    yield Emit(reply.payload)
                reply = yield _NEXT
            elif isinstance(reply, Done):
                if reply.usage is not None:
                    usage = reply.usage
                log.winner = target
                log.finish_reason = reply.finish_reason
                log.warnings.extend(reply.warnings)
                for payload in held:
                    yield Emit(payload)
                break
            elif isinstance(reply, Failed):
                error = reply.error
                if first_content is not None:
                    record("interrupted", error)
                    return _interrupted(error, target)
                record("failed", error)
                return error
            elif isinstance(reply, Sent):
                changes = reply.changes
                reply = yield _NEXT
            else:
                raise TypeError(f"the driver answered {reply!r}; an attempt is answered by Sent, Item, Done or Failed")
    except GeneratorExit:
        record("abandoned")
        raise
    except Exception as error:
        record("failed" if first_content is None else "interrupted", error)
        raise
    except BaseException as error:
        record("cancelled", error)
        raise
    record("ok")
    return None


def _timeouts(plan: Plan, more: bool, now: float) -> Timeouts:
    """While there are other targets, one that stays silent may use half of the time that is left, and no more."""
    if plan.deadline is None or not more:
        return plan.timeouts
    half = max(plan.deadline - now, 0.0) / 2
    given = plan.timeouts
    if half >= given.connect and half >= given.first_content and half >= given.whole_answer:
        return given
    return replace(
        given,
        connect=min(given.connect, half),
        first_content=min(given.first_content, half),
        whole_answer=min(given.whole_answer, half),
    )


def _rule(error: ProviderError) -> _Rule:
    return next(_RULES[kind] for kind in type(error).__mro__ if kind in _RULES)


def _still_worth_trying(rule: _Rule, failed: Target, waiting: list[Target]) -> list[Target]:
    match rule.then:
        case "stop":
            return []
        case "other_key":
            failing = failed.provider, failed.api_key
            # A native model holds a key of its own, which nobody here can compare.
            return [t for t in waiting if t.dialect == "native" or (t.provider, t.api_key) != failing]
        case "larger_window":
            known = failed.context_window
            return [
                t for t in waiting if known is not None and t.context_window is not None and t.context_window > known
            ]
        case "next":
            return waiting


def _fits(pause: float, now: float, deadline: float | None) -> bool:
    return pause <= _LONGEST_WAIT and (deadline is None or now + pause < deadline)


def _may_be_billed(error: ProviderError) -> bool:
    return error.possible_duplicate_cost or error.status in _DUPLICATE_STATUSES


def _interrupted(error: ProviderError, target: Target) -> StreamInterrupted:
    cut = StreamInterrupted(
        f"{target.name!r}: the answer broke off after its first content ({type(error).__name__}: {error})",
        target=target.name,
        status=error.status,
        code=error.code,
        request_id=error.request_id,
        retry_after=error.retry_after,
        cause=_describe(error),
    )
    cut.possible_duplicate_cost = True
    return cut


def _describe(error: ProviderError) -> str:
    return f"{type(error).__name__}: {error}"


def _final_error(rule: _Rule, errors: list[ProviderError], log: Log) -> ProviderError:
    """The error that the caller gets. Its traceback begins here: frames of the transport hold requests."""
    last = errors[-1]
    attempts = tuple(log.attempts)
    if len({attempt.target for attempt in attempts}) == 1 or rule.then in ("stop", "larger_window"):
        last.attempts = attempts
        return last.with_traceback(None)
    limited = all(isinstance(error, RateLimited) for error in errors)
    pauses = [error.retry_after for error in errors if error.retry_after is not None]
    lines = [f"{attempt.target!r} {attempt.error}: {attempt.error_text}" for attempt in attempts]
    return AllAttemptsFailed(
        f"none of {len(attempts)} attempts succeeded; " + "; ".join(lines),
        target=last.target,
        status=last.status,
        code=last.code,
        request_id=last.request_id,
        retry_after=min(pauses) if limited and pauses else None,
        cause=_describe(last),
        attempts=attempts,
    )
