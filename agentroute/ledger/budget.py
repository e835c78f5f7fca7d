"""How much may be spent, and by whom: limits by day, month and conversation, set aside before a call, settled after it.

What is set aside for calls in flight lives in memory alone, so that a killed process leaves nothing behind. What was
spent is in the ledger: a budget that has an SQLite ledger reads there what was spent before it began, and what other
processes spend meanwhile.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

from agentroute.decisions import Decision, StepContext
from agentroute.errors import BudgetExceeded, ConfigError, unknown_key
from agentroute.failover.forks import renew_in_child
from agentroute.figures import usd

from .base import SpendingLedger, Spent
from .totals import add

__all__ = ["Bound", "Budget", "Hold", "Limit", "Limits", "Place", "Spending", "counted"]

logger = logging.getLogger("agentroute")

LOOK_S: Final = 1.0
"""Seconds after which the ledger is looked at again for what other processes have spent."""

REMEMBERED: Final = timedelta(days=31)
"""How far back the ledger is read at the start, for conversations. What a conversation spent before is forgotten."""

SHARE: Final = 10
"""A call holds at most this part of what is left (1 / 10), if that is more than its expected cost: otherwise a few that
may write much, and hardly ever do, would shut out all others. Agents allow 32,000 tokens and write some hundred."""

NEARLY: Final = Decimal("0.8")
"""The share of a limit from which on it is told that the limit is near."""

_EVERYONE: Final = "*"
_NOTHING: Final = Decimal(0)


class Place(NamedTuple):
    """What one sum is kept for: whose (`all`, `agent` or `key`, and the name), and when (`day`, `month` or
    `conversation`, and which)."""

    scope: str
    name: str
    period: str
    which: str | int

    @property
    def whose(self) -> str:
        if self.scope == "all":
            return "all steps"
        nobody = "steps without an agent" if self.scope == "agent" else "steps without a key"
        return f"the {self.scope} {self.name!r}" if self.name else nobody

    @property
    def when(self) -> str:
        if self.period != "conversation":
            return f"this {self.period}"
        return "this conversation" if isinstance(self.which, int) else f"the conversation {self.which!r}"


Bound: TypeAlias = tuple[Place, Decimal]
"""One limit that holds for a step, in USD."""


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be spent, in USD: in a day, in a calendar month (both UTC), and in each conversation. None: any
    amount. 0 lets only free models through.

    >>> Limit.of(5).day
    Decimal('5')
    """

    day: Decimal | None = None
    month: Decimal | None = None
    conversation: Decimal | None = None

    @classmethod
    def of(cls, value: Any, where: str = "budget") -> Limit:
        """A limit from what a person writes: a number is that of a day. Raises ConfigError naming the key."""
        if isinstance(value, Limit):
            return value
        if not isinstance(value, Mapping):
            return cls(day=_dollars(value, where))
        for key in value:
            if key not in _PERIODS:
                raise ConfigError(unknown_key(str(key), _PERIODS, f"{where}."))
        return cls(**{key: _dollars(amount, f"{where}.{key}") for key, amount in value.items()})

    def __post_init__(self) -> None:
        for period in _PERIODS:
            amount = getattr(self, period)
            if amount is not None:
                object.__setattr__(self, period, _dollars(amount, f"budget.{period}"))

    def to_dict(self) -> dict[str, float]:
        """JSON-ready; `of` reads it back."""
        found = {period: getattr(self, period) for period in _PERIODS}
        return {period: float(amount) for period, amount in found.items() if amount is not None}

    def __str__(self) -> str:
        found = {period: getattr(self, period) for period in _PERIODS}
        return ", ".join(f"{usd(amount)} a {period}" for period, amount in found.items() if amount is not None) or "any"

    def bounds(self, scope: str, name: str, today: str, conversation: Callable[[], str | int]) -> Iterator[Bound]:
        """The limits of one name on a day, `2026-11-28`."""
        if self.day is not None:
            yield Place(scope, name, "day", today), self.day
        if self.month is not None:
            yield Place(scope, name, "month", today[:7]), self.month
        if self.conversation is not None:
            yield Place(scope, name, "conversation", conversation()), self.conversation


_PERIODS: Final = tuple(each.name for each in fields(Limit))


Limits: TypeAlias = "Mapping[str, Limit | Mapping[str, Any] | Decimal | float] | Limit | Decimal | float"
"""By name, or one for each name."""


@dataclass(frozen=True, slots=True, init=False)
class Budget:
    """What may be spent, in USD: by all steps together (`day`, `month`, and each `conversation`), by each agent, and by
    each key (a client of the gateway, or whoever `StepContext.key` names).

    `agent` and `key` map names to limits of the same three kinds; a bare number is that of a day, and "*" holds for
    each name that is not listed. One limit instead of a mapping holds for each of them. Raises ConfigError naming the
    key.

    >>> Budget(day=50, agent={"researcher": {"conversation": 2}, "*": 10}, key={"day": 5, "month": 100}).key["*"].month
    Decimal('100')
    """

    day: Decimal | None
    month: Decimal | None
    conversation: Decimal | None
    agent: Mapping[str, Limit]
    key: Mapping[str, Limit]
    _together: Limit = field(repr=False, compare=False)

    def __init__(
        self,
        day: Decimal | float | None = None,
        month: Decimal | float | None = None,
        conversation: Decimal | float | None = None,
        agent: Limits | None = None,
        key: Limits | None = None,
    ) -> None:
        together = Limit.of({"day": day, "month": month, "conversation": conversation})
        object.__setattr__(self, "_together", together)
        for period in _PERIODS:
            object.__setattr__(self, period, getattr(together, period))
        object.__setattr__(self, "agent", _by_name(agent, "budget.agent"))
        object.__setattr__(self, "key", _by_name(key, "budget.key"))

    @classmethod
    def of(cls, value: Budget | Mapping[str, Any] | float | Decimal) -> Budget:
        """A budget from what a person writes: a mapping, as in `[budget]`, or a number for a day."""
        if isinstance(value, Budget):
            return value
        if not isinstance(value, Mapping):
            return cls(day=_dollars(value, "budget"))
        known = [each.name for each in fields(cls) if each.repr]
        for key in value:
            if key not in known:
                raise ConfigError(unknown_key(str(key), known, "budget."))
        return cls(**value)

    def bounds(self, context: StepContext, now: datetime, opening: Callable[[], int]) -> Iterator[Bound]:
        """The limits that hold for a step at this time. `opening` tells a conversation without an id from others."""

        def conversation() -> str | int:
            return opening() if context.conversation_id is None else context.conversation_id

        today = _today(now)
        yield from self._together.bounds("all", "", today, conversation)
        for scope, limits, name in (("agent", self.agent, context.agent), ("key", self.key, context.key)):
            limit = limits.get(name or "", limits.get(_EVERYONE))
            if limit is not None:
                yield from limit.bounds(scope, name or "", today, conversation)

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready, as `[budget]` has it; `of` reads it back."""
        named = {
            scope: {name: limit.to_dict() for name, limit in getattr(self, scope).items()} for scope in ("agent", "key")
        }
        return {**self._together.to_dict(), **named}

    def __str__(self) -> str:
        parts = [f"{self._together} for all steps"]
        for scope, limits in (("agent", self.agent), ("key", self.key)):
            for name, limit in limits.items():
                whose = f"each other {scope}" if name == _EVERYONE else f"the {scope} {name!r}"
                parts.append(f"{limit} for {whose}")
        return "; ".join(parts)

    def kinds(self) -> set[tuple[str, str]]:
        """What is limited at all: ("agent", "day"), ..."""
        limits = [("all", self._together)]
        limits += [("agent", limit) for limit in self.agent.values()] + [("key", limit) for limit in self.key.values()]
        return {(scope, period) for scope, limit in limits for period in _PERIODS if getattr(limit, period) is not None}


def _by_name(value: Any, where: str) -> dict[str, Limit]:
    if value is None:
        return {}
    one = isinstance(value, Limit) or not isinstance(value, Mapping)
    if one or (value and all(key in _PERIODS and not isinstance(told, Mapping | Limit) for key, told in value.items())):
        return {_EVERYONE: Limit.of(value, where)}
    return {str(name): Limit.of(limit, f"{where}.{name}") for name, limit in value.items()}


def _dollars(value: Any, where: str) -> Decimal | None:
    if value is None:
        return None
    number = Decimal("nan")
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        number = Decimal(str(value))
    if not number.is_finite() or number < 0:
        raise ConfigError(f"{where} is {value!r}; give USD, 0 or more")
    return number


def counted(decision: Decision) -> tuple[Decimal, Decimal]:
    """USD that a budget counts for a finished step, and how much of it is an estimate: what it cost, if that is known,
    else what is known of it and the expected cost of the target that served."""
    if decision.cost is not None:
        return decision.cost, _NOTHING
    known = sum((each.cost for each in decision.attempts if each.cost is not None), _NOTHING)
    of_target = (each.expected_cost for each in decision.candidates if each.target == decision.target)
    expected = next(of_target, None) or decision.expected_cost or _NOTHING
    return add(known, expected), expected


@dataclass(slots=True)
class _Sum:
    """USD: `spent`, some of it `estimated`, and `held` for calls in flight."""

    spent: Decimal = _NOTHING
    estimated: Decimal = _NOTHING
    held: Decimal = _NOTHING
    near_told: bool = False


class Hold:
    """What is set aside for one call. `settle` puts in its place what the call cost.

    `near` are the limits that this call brings near their end, if nobody was told of them yet. One that is given up
    unsettled counts as the expected cost.
    """

    __slots__ = ("_amount", "_bounds", "_epoch", "_expected", "_settled", "_spending", "near")

    def __init__(
        self,
        spending: Spending,
        epoch: int,
        bounds: tuple[Bound, ...],
        amount: Decimal,
        expected: Decimal,
        near: tuple[tuple[Place, Decimal, Decimal], ...],
    ) -> None:
        self._spending = spending
        self._epoch = epoch
        self._bounds = bounds
        self._amount = amount
        self._expected = expected
        self._settled = False
        self.near = near

    def settle(self, decision: Decision) -> None:
        """Releases what was set aside and counts what the step cost. Nothing was tried: it cost nothing."""
        self._end(decision.id, *(counted(decision) if decision.attempts else (_NOTHING, _NOTHING)))

    def _end(self, decision_id: str | None, spent: Decimal, estimated: Decimal) -> None:
        if not self._settled:
            self._settled = True
            self._spending._end(_Ended(self._epoch, self._bounds, self._amount, decision_id, spent, estimated))

    def __del__(self) -> None:
        self._end(None, self._expected, self._expected)


class _Ended(NamedTuple):
    epoch: int
    bounds: tuple[Bound, ...]
    held: Decimal
    decision_id: str | None
    spent: Decimal
    estimated: Decimal


class Spending:
    """What was spent and what is set aside, safe in threads, tasks and finalizers. Routers may share one.

    Remembers up to `max_places` sums (about 500 bytes each), those used last.
    """

    def __init__(self, *, max_places: int = 50_000) -> None:
        self._max_places = max_places
        self._kinds: set[tuple[str, str]] = set()
        self._ledgers: list[_Followed] = []
        self._epoch = 0
        self._sums: OrderedDict[Place, _Sum] = OrderedDict()
        self._day = ""
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """For a forked child: what was set aside is its parent's, and what was spent can be read if there is a ledger
        in a file."""
        self._lock = threading.Lock()
        self._epoch += 1
        # Filled without the lock: the garbage collector may end a call in the middle of what its thread is doing here.
        self._ended: deque[_Ended] = deque()
        self._own: OrderedDict[str, None] = OrderedDict()
        self._look_at: float | None = None
        if self._ledgers:
            self._sums = OrderedDict()
            for followed in self._ledgers:
                followed.mark = None
        else:
            for sum_ in self._sums.values():
                sum_.held = _NOTHING

    def follow(self, budget: Budget, ledger: object, now: datetime, monotonic: float) -> None:
        """Counts what this budget limits, from now on and as far back as the ledger tells (an SqliteLedger does)."""
        kinds = budget.kinds()
        with self._lock:
            self._drain()
            new = kinds - self._kinds
            self._kinds |= kinds
            if isinstance(ledger, SpendingLedger) and all(each.ledger.path != ledger.path for each in self._ledgers):
                self._ledgers.append(_Followed(ledger))
            if new and self._ledgers:
                # Sums of another kind: everything is read once more, what is set aside stays.
                self._sums = OrderedDict((place, _Sum(held=sum_.held)) for place, sum_ in self._sums.items())
                self._own.clear()
                for followed in self._ledgers:
                    followed.mark = None
            self._look_at = None
            self._look(now, monotonic)

    def reserve(
        self,
        bounds: Iterable[Bound],
        expected: Decimal,
        most: Decimal,
        now: datetime,
        monotonic: float,
    ) -> Hold:
        """Sets aside `most` for a call, or a part of what is left if that is less, but no less than the `expected`
        cost. Raises BudgetExceeded if that is not left. What is expected to cost nothing is always let in."""
        bounds = tuple(bounds)
        with self._lock:
            self._forget(now)
            self._drain()
            self._look(now, monotonic)
            amount = max(most, expected)
            near = []
            found = [(place, limit, self._sum(place)) for place, limit in bounds]
            for place, limit, sum_ in found:
                left = limit - sum_.spent - sum_.held
                if expected > max(left, _NOTHING):
                    raise _exceeded(place, limit, sum_, expected, now)
                amount = min(amount, max(left / SHARE, expected))
            for place, limit, sum_ in found:
                sum_.held = add(sum_.held, amount)
                if not sum_.near_told and expected and add(sum_.spent, expected) >= limit * NEARLY:
                    sum_.near_told = True
                    near.append((place, limit, sum_.spent))
            return Hold(self, self._epoch, bounds, amount, expected, tuple(near))

    def spent(self, place: Place) -> tuple[Decimal, Decimal, Decimal]:
        """USD spent at this place, how much of that is an estimate, and how much is set aside."""
        with self._lock:
            self._drain()
            sum_ = self._sums.get(place) or _Sum()
            return sum_.spent, sum_.estimated, sum_.held

    def _end(self, ended: _Ended) -> None:
        self._ended.append(ended)
        if self._lock.acquire(blocking=False):
            try:
                self._drain()
            finally:
                self._lock.release()

    # -- under the lock ----------------------------------------------------------------------------------------------

    def _drain(self) -> None:
        while self._ended:
            ended = self._ended.popleft()
            if ended.epoch != self._epoch:
                continue
            if ended.decision_id is not None and self._ledgers:
                self._own[ended.decision_id] = None
                if len(self._own) > self._max_places:
                    self._own.popitem(last=False)
            for place, _ in ended.bounds:
                sum_ = self._sum(place)
                sum_.held = max(sum_.held - ended.held, _NOTHING)
                sum_.spent = add(sum_.spent, ended.spent)
                sum_.estimated = add(sum_.estimated, ended.estimated)

    def _sum(self, place: Place) -> _Sum:
        sum_ = self._sums.get(place)
        if sum_ is not None:
            self._sums.move_to_end(place)
            return sum_
        sum_ = self._sums[place] = _Sum()
        if len(self._sums) > self._max_places:
            oldest = next((old for old, each in self._sums.items() if not each.held and old != place), None)
            if oldest is not None:
                del self._sums[oldest]
        return sum_

    def _forget(self, now: datetime) -> None:
        """The sums of days and months that are over."""
        day = _today(now)
        if day == self._day:
            return
        self._day = day
        current = {"day": day, "month": day[:7]}
        for place in [p for p, s in self._sums.items() if not s.held and p.which != current.get(p.period, p.which)]:
            del self._sums[place]

    def _look(self, now: datetime, monotonic: float) -> None:
        """Reads what the ledgers hold of before, and of other processes since the last look."""
        if not self._ledgers or (self._look_at is not None and monotonic < self._look_at):
            return
        self._look_at = monotonic + LOOK_S
        today = _today(now)
        current = {"day": today, "month": today[:7]}
        for followed in self._ledgers:
            try:
                for seen in followed.news(self._since(now)):
                    if seen.decision_id in self._own:
                        del self._own[seen.decision_id]
                    else:
                        self._count(seen, current)
                followed.complained = False
            except Exception as error:
                if not followed.complained:
                    followed.complained = True
                    logger.warning(
                        "the budget cannot read what the ledger %s holds (%s: %s); it counts on without it",
                        followed.ledger.path,
                        type(error).__name__,
                        error,
                    )

    def _since(self, now: datetime) -> datetime:
        """From when on steps count for what is limited."""
        periods = {period for _, period in self._kinds}
        if "conversation" in periods:
            return now - REMEMBERED
        return _begin_of("month" if "month" in periods else "day", now)

    def _count(self, seen: Spent, current: Mapping[str, str]) -> None:
        names = {"all": "", "agent": seen.agent or "", "key": seen.key or ""}
        stamps = {"day": seen.created_at[:10], "month": seen.created_at[:7], "conversation": seen.conversation_id}
        for scope, period in self._kinds:
            which = stamps[period]
            if which is None or which != current.get(period, which):
                continue
            sum_ = self._sum(Place(scope, names[scope], period, which))
            sum_.spent = add(sum_.spent, seen.usd)
            sum_.estimated = add(sum_.estimated, seen.estimated)


@dataclass(slots=True)
class _Followed:
    ledger: SpendingLedger
    mark: int | None = None
    complained: bool = False

    def news(self, since: datetime) -> Iterator[Spent]:
        for mark, spent in self.ledger.spent(self.mark, since):
            self.mark = mark
            if spent is not None:
                yield spent


def _exceeded(place: Place, limit: Decimal, sum_: _Sum, expected: Decimal, now: datetime) -> BudgetExceeded:
    until = _end_of(place.period, now)
    spent = f"{usd(sum_.spent)} of {usd(limit)} spent"
    if sum_.estimated:
        spent += f" ({usd(sum_.estimated, estimated=True)} of it estimated)"
    if sum_.held:
        spent += f", {usd(sum_.held)} set aside for calls in flight"
    held_up = sum_.spent + expected <= limit
    if held_up:
        remedy = "wait until one of those has ended"
    elif until is None:
        remedy = "begin another conversation or raise the limit"
    else:
        remedy = f"it is free again at {until.isoformat()}, or raise the limit"
    table = "" if place.scope == "all" else f"{place.scope}."
    return BudgetExceeded(
        f"the budget of {place.whose} for {place.when} does not hold this call: "
        f"{spent}, {usd(expected, estimated=True)} needed; {remedy} (budget.{table}{place.period})",
        scope=place.scope,
        name=place.name or None,
        period=place.period,
        limit=limit,
        spent=sum_.spent,
        estimated=sum_.estimated,
        held=sum_.held,
        needed=expected,
        until=until,
        passing=held_up,
    )


def _today(now: datetime) -> str:
    """The day in UTC, as ledgers write it."""
    return now.astimezone(UTC).isoformat()[:10]


def _begin_of(period: str, now: datetime) -> datetime:
    day = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return day.replace(day=1) if period == "month" else day


def _end_of(period: str, now: datetime) -> datetime | None:
    if period == "day":
        return _begin_of("day", now) + timedelta(days=1)
    if period == "month":
        return _begin_of("month", _begin_of("month", now) + timedelta(days=32))
    return None
