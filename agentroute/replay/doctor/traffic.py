"""An agent's calls to one model, added up: what other lifetimes, markers and models would have made of them."""

from __future__ import annotations

import statistics
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from agentroute.routing.caches import HOUR, needs_markers
from agentroute.routing.economics import step_cost
from agentroute.targets import Price, PriceStep, Target

from .findings import Finding, Kind
from .seen import Call, Seen
from .wording import LONG_PROMPT

__all__ = ["Tally", "Traffic"]

_MILLION: Final = Decimal(1_000_000)
_WORTH: Final = Decimal("0.01")
"""A lifetime or a marker is told of if it would save more than this share of the bill."""

_LONG_SHARE: Final = Decimal("0.1")
"""Long prompts are told of if reading them again is more than this share of the bill."""

_CLEARLY: Final = Decimal("0.9")
"""A model is dominated if another of no lower tier costs less than this share of it."""

_ENOUGH: Final = 20
"""Known pauses from which on it says something that none was long."""

_SEVERAL: Final = 10
"""One-shots from which on their markers are told of."""

_MOSTLY: Final = 0.8
"""An agent whose conversations are one call long more often than this makes one-shots, tools or not."""


@dataclass(slots=True)
class Tally:
    """A finding while it is being added up."""

    usd: Decimal | None = Decimal(0)
    tokens: int = 0
    steps: int = 0
    turns: int = 0
    conversations: set[int] = field(default_factory=set)
    positions: Counter[int] = field(default_factory=Counter)
    pauses: array[float] = field(default_factory=lambda: array("d"))
    place: str = ""
    _dearest: int = -1

    def add(
        self,
        place: str,
        number: int,
        tokens: int,
        usd: Decimal | None,
        *,
        position: int | None = None,
        turn: bool = False,
    ) -> None:
        """One step of the conversation `number`, at which so many tokens cost so much."""
        self.steps += 1
        self.tokens += tokens
        self.turns += turn
        self.conversations.add(number)
        self.usd = None if self.usd is None or usd is None else self.usd + usd
        if position is not None:
            self.positions[position] += 1
        if tokens > self._dearest:
            self._dearest, self.place = tokens, place

    def finding(
        self, kind: Kind, agent: str, model: str, *, usd: Decimal | None = None, by: str | None = None
    ) -> Finding:
        return Finding(
            kind=kind,
            agent=agent,
            model=model,
            usd=self.usd if usd is None else usd,
            tokens=self.tokens,
            steps=self.steps,
            conversations=len(self.conversations),
            place=self.place,
            position=self.positions.most_common(1)[0][0] if self.positions else None,
            seconds=statistics.median(self.pauses) if self.pauses else None,
            by=by,
            turns=self.turns,
        )


@dataclass(slots=True)
class Traffic:
    """What it holds grows by 32 bytes a call: the numbers that other models are priced on."""

    target: Target
    steps: int = 0
    timed: int = 0
    usd: Decimal = Decimal(0)
    paused: int = 0
    by_hour: Decimal = Decimal(0)
    of_hour: Decimal = Decimal(0)
    all: Tally = field(default_factory=Tally)
    late: Tally = field(default_factory=Tally)
    hour: Tally = field(default_factory=Tally)
    reread: Tally = field(default_factory=Tally)
    lone: dict[int, tuple[str, bool, int, Decimal]] = field(default_factory=dict)
    longer: set[int] = field(default_factory=set)
    prompts: array[int] = field(default_factory=lambda: array("q"))
    outputs: array[int] = field(default_factory=lambda: array("q"))
    held: array[int] = field(default_factory=lambda: array("q"))
    pauses: array[float] = field(default_factory=lambda: array("d"))

    def add(self, number: int, call: Call, seen: Seen, *, first: bool) -> None:
        """`first`: the conversation begins with this call, and may end with it."""
        if self.target.price is None or seen.usd is None:
            return
        self.steps += 1
        self.timed += call.at is not None
        self.usd += seen.usd
        self.paused += seen.pause is not None
        rates = self.target.price.at(call.input_tokens)
        read = _read_rate(rates)
        self.all.add(call.place, number, call.input_tokens, seen.usd)
        self._lifetimes(number, call, seen, rates, read)
        self._lone(number, call, seen, rates, read, first=first)
        beyond = seen.could - LONG_PROMPT
        if beyond > 0:
            self.reread.add(call.place, number, beyond, beyond * read / _MILLION)
        self.prompts.append(call.input_tokens)
        self.outputs.append(call.output_tokens)
        self.held.append(seen.could)
        self.pauses.append(seen.pause or 0.0)

    def _lifetimes(self, number: int, call: Call, seen: Seen, rates: Price | PriceStep, read: Decimal) -> None:
        """What an hour would have saved or cost against the usual lifetime, or has."""
        short, hour, usual = rates.cache_write, rates.cache_write_1h, self.target.cache_ttl_s
        if short is None or hour is None or usual is None or usual >= HOUR:
            return
        in_hour = seen.usage.cache_write_1h_tokens or 0
        written = max((seen.usage.cache_write_tokens or 0) - in_hour, 0)
        late = seen.lost if seen.kind == "expired" and seen.pause is not None and seen.pause <= HOUR else 0
        if late:
            gain = late * (short - read) / _MILLION
            self.late.add(call.place, number, late, gain)
            self.late.pauses.append(seen.pause or 0.0)
            self.by_hour += gain
        self.by_hour -= max(written - late, 0) * (hour - short) / _MILLION
        if in_hour:
            paid = in_hour * (hour - short) / _MILLION
            self.hour.add(call.place, number, in_hour, paid)
            self.of_hour -= paid
        if seen.pause is not None and usual < seen.pause <= HOUR and seen.kind != "expired":
            self.of_hour += seen.could * (short - read) / _MILLION

    def _lone(
        self, number: int, call: Call, seen: Seen, rates: Price | PriceStep, read: Decimal, *, first: bool
    ) -> None:
        """What markers cost on calls that nothing follows, less what they gave."""
        if not first:
            self.lone.pop(number, None)
            self.longer.add(number)
            return
        written = seen.usage.cache_write_tokens or 0
        if not needs_markers(self.target) or rates.cache_write is None:
            return
        paid = written * (rates.cache_write - rates.input) / _MILLION
        given = (seen.usage.cache_read_tokens or 0) * (rates.input - read) / _MILLION
        if written or given:
            self.lone[number] = call.place, call.loop, written, paid - given

    def findings(self, agent: str, others: Mapping[str, Target]) -> Iterator[Finding]:
        """What this traffic could have cost less in other ways."""
        if self.target.price is None or not self.steps:
            return
        model, least = self.target.name, self.usd * _WORTH
        if self.timed == self.steps:
            if self.by_hour > least:
                yield self.late.finding("short_lifetime", agent, model, usd=self.by_hour)
            if -self.of_hour > least and self.paused >= _ENOUGH:
                yield self.hour.finding("long_lifetime", agent, model, usd=-self.of_hour)
        useless = Tally()
        alone = len(self.lone) >= _MOSTLY * (len(self.lone) + len(self.longer))
        for number, (place, loop, written, more) in self.lone.items():
            if alone or not loop:
                useless.add(place, number, written, more)
        if useless.steps >= _SEVERAL and useless.usd is not None and useless.usd > least:
            yield useless.finding("useless_markers", agent, model)
        if (self.reread.usd or 0) > self.usd * _LONG_SHARE:
            yield self.reread.finding("long_prompts", agent, model)
        own = self.on(self.target)
        if own is None:
            return
        able = [
            (usd, each) for each in others.values() if self._could_take(each) and (usd := self.on(each)) is not None
        ]
        best = min(able, key=lambda pair: pair[0], default=None)
        if best is not None and best[0] < own * _CLEARLY:
            yield self.all.finding("dominated_model", agent, model, usd=own - best[0], by=best[1].name)

    def _could_take(self, other: Target) -> bool:
        if other.name == self.target.name or other.tier is None or self.target.tier is None:
            return False
        window = other.max_input_tokens or other.context_window
        return other.tier >= self.target.tier and (window is None or max(self.prompts) <= window)

    def on(self, other: Target) -> Decimal | None:
        """What these calls would cost on a model whose cache is never broken; None if its price is unknown."""
        total = Decimal(0)
        for prompt, output, could, pause in zip(self.prompts, self.outputs, self.held, self.pauses, strict=True):
            warm = could if other.cache_ttl_s is not None and pause <= other.cache_ttl_s else 0
            usd = step_cost(other, prompt, output, warm).cost
            if usd is None:
                return None
            total += usd
        return total


def _read_rate(rates: Price | PriceStep) -> Decimal:
    return rates.input if rates.cache_read is None else rates.cache_read
