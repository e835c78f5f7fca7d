"""What somebody should be told of a step, each in a sentence, with a sentence of what to do."""

from __future__ import annotations

import inspect
import logging
import statistics
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias

from agentroute.decisions import ABOVE_MAX_COST, Decision, StepKind
from agentroute.errors import BudgetExceeded, ConfigError
from agentroute.failover.breaker import Open
from agentroute.failover.forks import renew_in_child
from agentroute.figures import usd
from agentroute.routing.cache_breaks import REMEDIES
from agentroute.targets import Target

from .budget import Hold
from .totals import add

__all__ = ["Notice", "NoticeKind", "Notices", "OnNotice"]

logger = logging.getLogger("agentroute")

NoticeKind: TypeAlias = Literal[
    "fallback", "escalation", "circuit", "unknown_price", "broken_cache", "budget", "floor_missed", "run_cost"
]

TIMES: Final = 3
"""A run is told of once it costs this many times the median run of its role."""

LEAST_RUNS: Final = 5
"""So many other runs of a role must have been seen before one of them is called dear."""

SURE: Final = 0.5
"""If no target reaches this P, nothing in the pool is likely to do the step."""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing that somebody should be told: `message` is what happened, `remedy` what to do about it.

    `usd` is the money it is about (None: unknown): the step's cost; of a broken cache what it added to that; for a
    budget what is spent of it, for a run what it has cost so far. `target` is the one that it is about.
    """

    kind: NoticeKind
    decision_id: str
    message: str
    remedy: str
    target: str | None = None
    agent: str | None = None
    conversation_id: str | None = None
    usd: Decimal | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready; money as text."""
        return {**asdict(self), "usd": None if self.usd is None else str(self.usd)}

    def __str__(self) -> str:
        return f"{self.message}; {self.remedy}"


OnNotice: TypeAlias = Callable[[Notice], object]


class Notices:
    """Finds what is worth telling, tells it once, and remembers what runs of a role cost. Safe in threads.

    `on_notice` is called in the thread or task that ended the step. What it raises is logged. Raises ConfigError for
    one that cannot be called, or is a coroutine function, which nobody would await.
    """

    def __init__(self, on_notice: OnNotice | None = None) -> None:
        if on_notice is not None and not callable(on_notice):
            raise ConfigError(f"on_notice is {on_notice!r}; give a function that takes a Notice")
        called = getattr(on_notice, "__call__", None)  # noqa: B004 - an object may have a coroutine there
        if inspect.iscoroutinefunction(on_notice) or inspect.iscoroutinefunction(called):
            raise ConfigError("on_notice is a coroutine function; give a plain one (it may create a task)")
        self.on_notice = on_notice
        self._told: OrderedDict[tuple[str, ...], float] = OrderedDict()
        self._runs: OrderedDict[str, _Runs] = OrderedDict()
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: another thread of its parent may have held the lock."""
        # Reentrant: the garbage collector may end a stream in the middle of what its thread is doing here.
        self._lock = threading.RLock()

    def of(
        self,
        decision: Decision,
        now: float,
        *,
        before: Target | None = None,
        check: str | None = None,
        opened: Mapping[str, Open] | None = None,
        hold: Hold | None = None,
    ) -> tuple[Notice, ...]:
        """What is to be told of a finished step, and has not been lately. `before` is the target of the step before,
        `check` the one that failed on it; `opened` are the circuits that this step has opened."""
        found = [
            *_fallback(decision),
            *_escalation(decision, before, check),
            *_circuits(decision, opened or {}),
            *_unknown_price(decision),
            *_broken_cache(decision),
            *_budget(decision, hold),
            *_floor(decision),
            *self._run(decision),
        ]
        return self._tell(found, now)

    def refused(self, error: BudgetExceeded, decision: Decision, now: float) -> tuple[Notice, ...]:
        """The same for a step that a budget did not hold."""
        which = decision.context.conversation_id if error.until is None else error.until
        whose = ("budget", error.scope, error.name or "", error.period, str(which))
        message, _, remedy = str(error).rpartition("; ")
        notice = _notice("budget", decision, message, remedy, usd=error.spent)
        return self._tell([(whose, notice)], now) if not error.passing else ()

    def _tell(self, found: list[_Found], now: float) -> tuple[Notice, ...]:
        new = tuple(notice for key, notice in found if self._is_new(key, now))
        for notice in new:
            if notice.kind not in _LOGGED:
                logger.log(_LEVELS.get(notice.kind, logging.WARNING), "%s: %s", notice.kind, notice)
            if self.on_notice is not None:
                tell(self.on_notice, notice)
        return new

    def _is_new(self, key: tuple[str, ...] | None, now: float) -> bool:
        if key is None:
            return True
        with self._lock:
            last = self._told.get(key)
            if last is not None and now - last < _AGAIN_S.get(key[0], float("inf")):
                return False
            self._told[key] = now
            self._told.move_to_end(key)
            if len(self._told) > _REMEMBERED:
                self._told.popitem(last=False)
            return True

    def _run(self, decision: Decision) -> Iterator[_Found]:
        """A run is what one role does in one conversation."""
        context = decision.context
        if context.conversation_id is None or decision.cost is None:
            return
        role = context.role or context.agent or ""
        with self._lock:
            runs = self._runs.get(role)
            if runs is None:
                runs = self._runs[role] = _Runs()
                if len(self._runs) > _ROLES:
                    self._runs.popitem(last=False)
            else:
                self._runs.move_to_end(role)
            total, median, others = runs.count(context.conversation_id, decision.cost)
        if median is None or total <= TIMES * median:
            return
        whose = f"of {role!r} " if role else ""
        message = (
            f"the run {whose}in conversation {context.conversation_id!r} has cost {usd(total)} so far, "
            f"{total / median:.1f} times the median of {others} others ({usd(median)})"
        )
        remedy = "look whether it goes in circles; a budget for each conversation would stop it (docs/limits.md)"
        yield ("run_cost", role, context.conversation_id), _notice("run_cost", decision, message, remedy, usd=total)


def tell(on_notice: OnNotice, notice: Notice) -> None:
    """Calls it; what it raises is logged and goes no further."""
    try:
        on_notice(notice)
    except Exception:
        logger.exception("on_notice failed at a notice of %s", notice.kind)


_Found: TypeAlias = tuple[tuple[str, ...] | None, Notice]
"""A notice, and what it is not to be told of again (None: always)."""

_LOGGED: Final = frozenset({"fallback", "circuit"})
"""What the failover logs when it happens."""

_LEVELS: Final[Mapping[str, int]] = {"escalation": logging.INFO}

_AGAIN_S: Final[Mapping[str, float]] = {
    "circuit": 60.0,
    "unknown_price": 3600.0,
    "broken_cache": 3600.0,
    "floor_missed": 3600.0,
}
"""Seconds after which the same is told once more; what is not here is told once."""

_REMEMBERED: Final = 10_000
_ROLES: Final = 500
_RUNS: Final = 200
"""Runs of a role that are remembered, those seen last."""


class _Runs:
    """What the runs of one role have cost."""

    __slots__ = ("_median", "_totals")

    def __init__(self) -> None:
        self._totals: OrderedDict[str, Decimal] = OrderedDict()
        self._median: Decimal | None = None

    def count(self, conversation: str, cost: Decimal) -> tuple[Decimal, Decimal | None, int]:
        """The run's total, the median of the others (None: of too few) and how many these are."""
        total = add(self._totals.get(conversation, Decimal(0)), cost)
        begun = conversation not in self._totals
        self._totals[conversation] = total
        self._totals.move_to_end(conversation)
        if len(self._totals) > _RUNS:
            self._totals.popitem(last=False)
        others = len(self._totals) - 1
        if others < LEAST_RUNS:
            return total, None, others
        # Sorting is left for when it may matter: the others go on too.
        if begun or self._median is None or total > TIMES * self._median:
            self._median = statistics.median(usd for name, usd in self._totals.items() if name != conversation)
        return total, self._median or None, others


def _notice(
    kind: NoticeKind,
    decision: Decision,
    message: str,
    remedy: str,
    *,
    target: str | None = None,
    usd: Decimal | None = None,
) -> Notice:
    context = decision.context
    return Notice(kind, decision.id, message, remedy, target, context.agent, context.conversation_id, usd)


def _fallback(decision: Decision) -> Iterator[_Found]:
    if not decision.fallbacks:
        return
    failed = [a for a in decision.attempts if a.outcome == "failed" and a.target != decision.target]
    if decision.outcome != "ok" or not failed:
        return
    first = failed[0]
    why = f"{first.error} {first.status}" if first.status is not None else str(first.error)
    names = ", ".join(dict.fromkeys(repr(attempt.target) for attempt in failed))
    message = f"{decision.target!r} answered in place of {names} ({why})"
    remedy = _REMEDIES.get(str(first.error), "nothing if it is rare; `agentroute report --by target` says how often")
    yield None, _notice("fallback", decision, message, remedy, target=decision.target, usd=decision.cost)


_REMEDIES: Final[Mapping[str, str]] = {
    "AuthenticationFailed": "check the key of the target that failed",
    "QuotaExhausted": "the account behind the key is out of credit: top it up",
    "ModelNotFound": "check the model's name, and whether the account may use it",
    "RateLimited": "ask the provider for a higher limit, or give the target a second key",
    "Unsupported": "the target does not take such requests: the attempt's error_text says what to change",
}


def _escalation(decision: Decision, before: Target | None, check: str | None) -> Iterator[_Found]:
    if before is None or before.tier is None or not decision.candidates:
        return
    first = decision.candidates[0]
    why = f"the check {check!r} failed" if check is not None else _EVIDENCE.get(decision.step_kind)
    if why is None or not first.tier > before.tier:
        return
    message = f"{first.target!r} ({first.tier.value}) takes over from {before.name!r} ({before.tier.value}): {why}"
    remedy = "nothing, unless this happens in each run: then begin the role higher (`roles`, docs/routing.md)"
    yield None, _notice("escalation", decision, message, remedy, target=first.target, usd=decision.cost)


_EVIDENCE: Final[Mapping[StepKind, str]] = {
    StepKind.AFTER_ERROR: "a result has failed",
    StepKind.REPEATED_CALL: "a call was repeated",
}


def _circuits(decision: Decision, opened: Mapping[str, Open]) -> Iterator[_Found]:
    for name, view in opened.items():
        error = next((str(a.error) for a in reversed(decision.attempts) if a.target == name), "")
        message = f"{name!r} is left alone for {view.seconds:.0f} s ({view.why})"
        remedy = _REMEDIES.get(error, "calls go to other targets meanwhile; if it lasts, look at the provider's status")
        yield ("circuit", name), _notice("circuit", decision, message, remedy, target=name)


def _unknown_price(decision: Decision) -> Iterator[_Found]:
    problem = decision.cost_problem
    if problem is None or decision.outcome != "ok":  # nobody counts what was given up
        return
    message = f"what {decision.target!r} costs is unknown: {problem}"
    known = any(c.target == decision.target and c.expected_cost is not None for c in decision.candidates)
    remedy = (
        "sums leave such steps out; `agentroute report --by cost_problem` shows how many they are"
        if known
        else "give the target a price = { input = ..., output = ... } in USD per million tokens"
    )
    yield (
        ("unknown_price", decision.target, problem),
        _notice("unknown_price", decision, message, remedy, target=decision.target),
    )


def _broken_cache(decision: Decision) -> Iterator[_Found]:
    broken = decision.cache_broken
    if broken is None:
        return
    context = decision.context
    message = f"{decision.target!r} had {broken.tokens:,} tokens of this prompt cached and did not read them: {broken}"
    remedy = f"{REMEDIES[broken.kind]}; `agentroute doctor` shows each place and what it costs"
    whose = context.conversation_id or context.role or context.agent or ""
    notice = _notice("broken_cache", decision, message, remedy, target=decision.target, usd=broken.cost)
    yield ("broken_cache", whose, broken.kind), notice


def _budget(decision: Decision, hold: Hold | None) -> Iterator[_Found]:
    for place, limit, spent in () if hold is None else hold.near:
        which = f"the budget of {place.whose} for {place.when}"
        message = f"{usd(spent)} of {usd(limit)} spent before this step: {which} is near its end"
        remedy = "calls that it does not hold will raise BudgetExceeded; raise the limit, or wait for the next one"
        yield None, _notice("budget", decision, message, remedy, usd=spent)
    warning = next((w for w in decision.warnings if w.startswith(ABOVE_MAX_COST)), None)
    if warning is not None:
        message = f"a step cost more than its max_cost ({warning.partition(': ')[2]})"
        remedy = "the provider counted more than was expected; the decision's usage says what"
        yield None, _notice("budget", decision, message, remedy, target=decision.target, usd=decision.cost)


def _floor(decision: Decision) -> Iterator[_Found]:
    best = max(decision.candidates, key=lambda c: c.sufficiency, default=None)
    if best is None or best.sufficiency >= SURE:
        return
    message = f"no target here is likely to do this step: P {best.sufficiency:.2f} at best ({best.target!r})"
    remedy = "give the pool a stronger model, or the step to a person"
    whose = decision.context.conversation_id or decision.context.agent or ""
    yield (("floor_missed", whose), _notice("floor_missed", decision, message, remedy, target=decision.target))
