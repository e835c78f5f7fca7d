"""The failover flow: tries the candidates in order. The only place that retries, waits or falls back.

`flow` is a generator of effects (`effects.py`): it asks for I/O, is sent what came of it, and decides. The drivers of
`drivers.py` perform what it asks, so that there is one failover logic for plain and asynchronous calls, for our own
transport and for native framework models.
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

from agentroute.decisions import Attempt, AttemptOutcome, Outcome
from agentroute.errors import ProviderError, ProviderTimeout, StreamInterrupted
from agentroute.messages import ChatRequest, FinishReason, Usage
from agentroute.providers import NATIVE
from agentroute.targets import Target
from agentroute.targets.prices import Bill, bill

from .breaker import Breakers, Permit
from .effects import Clock, Done, Effect, Emit, Failed, Flow, Item, Next, Reply, Sent, Timeouts, Try, Wait
from .refusals import Fitted, bounded, without_refused
from .rules import (
    RETRY_S,
    final_error,
    goes_on,
    interrupted,
    label,
    may_be_billed,
    may_return,
    retries_at_once,
    rule_for,
    worth_trying,
)

__all__ = ["MAX_ATTEMPTS", "Log", "Plan", "flow"]

logger = logging.getLogger("agentroute")

_TIMEOUTS: Final = Timeouts()

MAX_ATTEMPTS: Final = 20
"""A pool of ten targets with two keys each, all of them down, takes no more; whoever has more says how many."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to try: at least one target, in order. `deadline` is on the monotonic clock (seconds), None for no limit;
    `max_attempts` bounds the attempts.

    `breakers` knows who is sick now. `content_filter_fallback` are those who may be asked after ContentFiltered.
    `most_output` bounds the output tokens of a target, by its name.
    """

    targets: tuple[Target, ...]
    request: ChatRequest
    stream: bool = True
    timeouts: Timeouts = _TIMEOUTS
    deadline: float | None = None
    breakers: Breakers = field(default_factory=Breakers)
    content_filter_fallback: tuple[Target, ...] = ()
    max_attempts: int = MAX_ATTEMPTS
    most_output: Mapping[str, int] = field(default_factory=dict)


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


_LONGEST_WAIT: Final = 60.0
"""Seconds; a call without a deadline does not sleep longer for a Retry-After (a provider may well say 3600)."""

_NEXT: Final = Next()
_NO_BILL: Final = Bill(problem="the provider told no usage")


def flow(plan: Plan, log: Log, clock: Clock) -> Flow:
    """Tries `plan.targets`, each with all its keys, until one answers, and emits its payloads.

    Who has an open circuit comes last. What comes before the first content is held back until that content is there, so
    that a target which fails has shown nothing. Every attempt is logged, also the one that a cancellation (an exception
    thrown in) or an abandoned stream (`close()`) ends. Raises, with `.attempts`:

    * the provider's own error where only one target was tried, or where the rule is to hand it on unchanged
      (InvalidRequest, ContentFiltered without a target allowed for it, ContextTooLong without a larger window to try);
    * Unsupported if every target refused the request as it is. One whose refusal named a setting that was only passed
      through has then been asked again without it (`refusals.py`);
    * AllAttemptsFailed otherwise. Its `cause` is the last attempt's class and text, its status that attempt's too;
      `retry_after` is the shortest one where every attempt was rate limited;
    * StreamInterrupted where the answer broke off after its first content;
    * ProviderTimeout where the deadline had passed before anything was tried.

    Any exception that is not a ProviderError ends the flow: errors of our own never fail over.
    """
    begun = clock.monotonic()
    waiting = _each_key(plan.targets)
    failures: list[tuple[Target, ProviderError]] = []
    refused: list[tuple[Fitted, ProviderError]] = []
    fitted: dict[str, Fitted] = {}
    may_come_back: list[tuple[float, Target]] = []
    asked_again: set[str] = set()
    last_resort = False
    while True:
        if not waiting or _passed(plan.deadline, clock.monotonic()):
            log.outcome = "failed"
            raise final_error(failures, tuple(log.attempts)) if failures else _nothing_tried()
        target, permit = _next(waiting, plan.breakers, log, clock.monotonic())
        if failures:
            before, failed = failures[-1]
            how = "retry of" if before.name == target.name else f"fallback from {before.name!r} to"
            logger.warning("%s %r after %s", how, target.name, label(failed))
        known = fitted.get(target.name)
        asked = bounded(target, plan.request, plan.most_output) if known is None else replace(known, target=target)
        error = yield from _attempt(plan, asked, permit, bool(waiting), log, clock, begun)
        if error is None:
            return
        if isinstance(error, StreamInterrupted):
            error.attempts = tuple(log.attempts)
            raise error.with_traceback(None)

        failures.append((target, error))
        rule = rule_for(error)
        refused.append((asked, error))
        if rule.look_at:
            log.warnings.append(f"{type(error).__name__}: {target.name}")
            logger.warning("%s; check %s", error, rule.look_at)
        if len(log.attempts) >= plan.max_attempts:
            if waiting:
                log.warnings.append(f"max_attempts: {len(waiting)} not tried")
            waiting = []
            continue
        now = clock.monotonic()
        if retries_at_once(error) and target.name not in asked_again:
            asked_again.add(target.name)
            pause = plan.breakers.jittered(RETRY_S)
            if _fits(pause, now, plan.deadline):
                waiting.insert(0, target)
                yield from _wait(pause, log)
                continue
        allowed = _each_key(t for t in plan.content_filter_fallback if all(t.name != f.name for f, _ in failures))
        waiting = worth_trying(rule, target, waiting, allowed)
        returning = worth_trying(rule, target, [t for _, t in may_come_back], ())
        may_come_back = [(at, t) for at, t in may_come_back if t in returning]
        if may_return(rule, error) and target.name not in asked_again:
            if error.retry_after is not None:
                may_come_back.append((now + error.retry_after, target))
            elif not waiting:
                may_come_back.append((now + plan.breakers.jittered(RETRY_S), target))
        if not waiting and may_come_back and not last_resort:
            at, target = min(may_come_back, key=lambda entry: entry[0])
            pause = max(at - now, 0.0)
            if _fits(pause, now, plan.deadline):
                last_resort = True
                waiting = [target]
                yield from _wait(pause, log)
        while refused and not waiting and goes_on(rule):
            again = without_refused(*refused.pop(0))
            if again is not None:
                fitted[again.target.name] = again
                waiting = [again.target]


def _next(waiting: list[Target], breakers: Breakers, log: Log, now: float) -> tuple[Target, Permit]:
    """Takes the first target whose circuit lets it be called; else the one whose circuit lets it soonest."""
    for index, target in enumerate(waiting):
        permit = breakers.acquire(target, now)
        if permit is not None:
            del waiting[index]
            return target, permit
        passed_over = f"circuit_open: {target.name}"
        if passed_over not in log.warnings:
            log.warnings.append(passed_over)
    back = [breakers.open_until(target, now) for target in waiting]
    soonest = min(range(len(waiting)), key=lambda index: 0.0 if (view := back[index]) is None else view.seconds)
    target = waiting.pop(soonest)
    return target, breakers.force(target, now)


def _attempt(
    plan: Plan, asked: Fitted, permit: Permit, more: bool, log: Log, clock: Clock, begun: float
) -> Generator[Effect, Reply | None, ProviderError | None]:
    """One try at one target: None where it answered, else the error. Logged, and its permit given back, in any case.

    After the first content, what is no content (a count, the end) is held until the next reply has come: a caller who
    stops reading at the end of the answer has then got it all, and has abandoned nothing.
    """
    target = asked.target
    started = clock.monotonic()
    first_content: float | None = None
    usage: Usage | None = None
    changes = asked.changes
    held: list[Any] = []
    failure: ProviderError | None = None

    def record(outcome: AttemptOutcome, error: BaseException | None = None) -> None:
        now = clock.monotonic()
        billed = _NO_BILL if usage is None else bill(target.price, usage)
        known = error if isinstance(error, ProviderError) else None
        if outcome == "ok":
            permit.success(now)
        elif known is not None:
            permit.failure(known, now)
        else:
            permit.release()
        log.attempts.append(
            Attempt(
                target=target.name,
                outcome=outcome,
                started_s=started - begun,
                duration_s=now - started,
                first_content_s=None if first_content is None else first_content - started,
                error=None if error is None else type(error).__name__,
                error_text=None if known is None else str(known),
                status=None if known is None else known.status,
                retry_after=None if known is None else known.retry_after,
                usage=usage,
                cost=billed.usd,
                cost_source=billed.source,
                cost_problem=billed.problem,
                list_cost=billed.list_usd,
                possible_duplicate_cost=known is not None and may_be_billed(known),
                changes=changes,
            )
        )
        log.outcome = outcome
        if log.winner is not None:
            log.usage = usage

    try:
        reply = yield Try(target, asked.request, plan.stream, _timeouts(plan, target, more, started), plan.deadline)
        while True:
            if type(reply) is Item:
                if reply.usage is not None:
                    usage = reply.usage
                if reply.is_content:
                    if first_content is None:
                        first_content = clock.monotonic()
                        log.winner = target
                    for payload in held:
                        yield Emit(payload)
                    held.clear()
                    reply = yield Emit(reply.payload, and_next=True)
                    continue
                if first_content is None or not held:
                    held.append(reply.payload)
                else:
                    yield Emit(held.pop())
                    held.append(reply.payload)
                reply = yield _NEXT
            elif isinstance(reply, Done):
                if reply.usage is not None:
                    usage = reply.usage
                log.winner = target
                log.finish_reason = reply.finish_reason
                log.warnings.extend(reply.warnings)
                break
            elif isinstance(reply, Failed):
                failure = reply.error
                break
            elif isinstance(reply, Sent):
                changes = (*asked.changes, *reply.changes)
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
    if failure is None:
        record("ok")
    elif first_content is None:
        record("failed", failure)
        return failure
    else:
        record("interrupted", failure)
    for payload in held:
        yield Emit(payload)
    return None if failure is None else interrupted(failure, target)


def _wait(seconds: float, log: Log) -> Generator[Effect, Reply | None, None]:
    try:
        yield Wait(seconds)
    except BaseException:
        log.outcome = "cancelled"
        raise


def _timeouts(plan: Plan, target: Target, more: bool, now: float) -> Timeouts:
    """The limits of one attempt: a model that reasons may be silent for longer, since it is paid while it thinks.

    While there are other targets, one that stays silent may use half of the time that is left, and no more.
    """
    given = (
        plan.timeouts.for_reasoning(ready=target.dialect == NATIVE) if target.capabilities.reasoning else plan.timeouts
    )
    if plan.deadline is None or not more:
        return given
    half = max(plan.deadline - now, 0.0) / 2
    if half >= given.connect and half >= given.first_content and half >= given.whole_answer:
        return given
    return Timeouts(
        min(given.connect, half),
        min(given.first_content, half),
        given.between_events,
        min(given.whole_answer, half),
        given.reasoning,
    )


def _each_key(targets: Iterable[Target]) -> list[Target]:
    return [keyed for target in targets for keyed in target.each_key()]


def _passed(deadline: float | None, now: float) -> bool:
    return deadline is not None and now >= deadline


def _fits(pause: float, now: float, deadline: float | None) -> bool:
    return pause <= _LONGEST_WAIT and (deadline is None or now + pause < deadline)


def _nothing_tried() -> ProviderTimeout:
    return ProviderTimeout("the deadline of the call passed before anything was tried")
