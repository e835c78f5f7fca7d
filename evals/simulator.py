"""What a recorded session, as numbers, costs on a choice of targets: each with its own cache, at the router's sums.

A session is a list of steps: `t0` (seconds), `p` prompt tokens, `o` output tokens, `turn` (the first step after a
person spoke), `reset` (the prefix was thrown away before it), `fail` (the result before it was an error), `cold` (the
provider read nothing). A target holds the prompt of a step it served until its TTL has passed without use.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from statistics import mean
from typing import Any

from agentroute import ChatRequest, Constraints, Pool, StepContext, Target
from agentroute.decisions import Prediction, StepKind, Task
from agentroute.routing.caches import minimum
from agentroute.routing.economics import step_cost
from agentroute.routing.runs import Likely, Run, after
from agentroute.routing.selection import Situation, select
from agentroute.routing.step import Step
from agentroute.routing.strategy import Row
from agentroute.targets import Price, PriceStep, Tier

__all__ = ["POOLS", "TARGETS", "Bill", "Caches", "Chooser", "Routed", "always", "bill", "pool", "target"]

_KEPT = 8
"""Prefixes of one conversation that a target is taken to hold."""


def target(
    name: str,
    tier: str,
    rates: tuple[float, float, float, float | None],
    ttl: float = 300,
    least: int = 1024,
    long: tuple[int, float, float] | None = None,
) -> Target:
    """A target at USD per million tokens: input, output, cache read, cache write (None: writes cost what input does).

    `long`: from so many input tokens on, input of every kind and output cost so many times as much.
    """
    from agentroute.targets import ModelRules

    given, out, read, write = (None if rate is None else Decimal(str(rate)) for rate in rates)
    assert given is not None
    assert out is not None
    steps: tuple[PriceStep, ...] = ()
    if long is not None:
        above, times, times_out = long[0], Decimal(str(long[1])), Decimal(str(long[2]))
        dearer = [None if rate is None else rate * times for rate in (read, write)]
        steps = (PriceStep(above, given * times, out * times_out, dearer[0], dearer[1]),)
    price = Price(given, out, read, write, steps)
    rules = ModelRules(cache_minimum=least)
    return Target(name=name, provider="p", model=name, tier=tier, price=price, cache_ttl_s=ttl, rules=rules)


_LONG = (272_000, 2, 1.5)
TARGETS: Mapping[str, Target] = {
    found.name: found
    for found in (
        target("opus-5.5", "premium", (4, 20, 0.2, 5), 300, 512),
        target("sonnet-5.5", "standard", (2, 10, 0.1, 2.5)),
        target("haiku-5.5", "mid", (0.1, 0.5, 0.01, 0.125), 300, 1024, (100_000, 5, 5)),
        target("gpt-6-astra", "premium", (10, 50, 1, 12.5), 1800, 1024, _LONG),
        target("gpt-6.1-sol", "standard", (2, 10, 0.1, 2.5), 1800, 1024, _LONG),
        target("gpt-6.1-terra", "mid", (1, 5, 0.05, 1.25), 1800, 1024, _LONG),
        target("gpt-6-luna", "budget", (0.1, 0.5, 0.01, 0.125), 1800, 1024, _LONG),
        target("deepseek-v4-pro", "standard", (0.66, 1.98, 0.022, None), 3600, 64),
        target("deepseek-flash", "budget", (0.15, 0.6, 0.003, None), 3600, 64),
        target("minimax-m3", "mid", (0.3, 1.2, 0.06, None)),
        target("sonnet-4.5", "standard", (3, 15, 0.3, 3.75)),
        target("opus-4.5", "premium", (5, 25, 0.5, 6.25)),
    )
}
"""Prices of genai-prices 0.2.3 on 2026-11-27; the last two as they were when the coding sessions were recorded."""

POOLS: Mapping[str, tuple[str, ...]] = {
    "example": ("gpt-6-luna", "gpt-6.1-terra", "sonnet-5.5", "opus-5.5"),
    "anthropic": ("haiku-5.5", "sonnet-5.5", "opus-5.5"),
    "openai": ("gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-astra"),
    "open": ("deepseek-flash", "minimax-m3", "deepseek-v4-pro", "opus-5.5"),
}


def pool(name: str) -> Pool:
    return Pool(TARGETS[each] for each in POOLS[name])


class Caches:
    """What every target holds of one conversation: sizes of prefixes and when each was last used."""

    def __init__(self) -> None:
        self._held: dict[str, dict[int, float]] = {}

    def clear(self) -> None:
        self._held.clear()

    def read(self, on: Target, prompt: int, now: float) -> int:
        """Tokens of this prompt that the target holds."""
        entries = self._held.get(on.name, {})
        ttl = on.cache_ttl_s
        if ttl is None:
            return 0
        for size in [size for size, at in entries.items() if now - at > ttl]:
            del entries[size]
        held = max((min(size, prompt) for size in entries), default=0)
        return held if held >= minimum(on) else 0

    def serve(self, on: Target, prompt: int, now: float) -> int:
        """Tokens read from the cache; the whole prompt is held afterwards, and what was read is renewed."""
        read = self.read(on, prompt, now)
        entries = self._held.setdefault(on.name, {})
        for size in entries:
            if size <= prompt:
                entries[size] = now
        entries[prompt] = now
        for size in sorted(entries)[:-_KEPT]:
            del entries[size]
        return read


Session = Mapping[str, Any]
Chooser = Callable[[int, Mapping[str, Any], Session, Caches], Target]


@dataclass
class Bill:
    """USD of a session: in all, for what was read, written for the first time, written `again` (it had been sent
    before), and for output. `chosen` are the targets step by step."""

    usd: float = 0.0
    read: float = 0.0
    new: float = 0.0
    again: float = 0.0
    output: float = 0.0
    chosen: list[Target] = field(default_factory=list)

    @property
    def switches(self) -> int:
        return sum(a is not b for a, b in zip(self.chosen, self.chosen[1:], strict=False))

    @property
    def tiers(self) -> Counter[Tier | None]:
        return Counter(each.tier for each in self.chosen)


def bill(session: Session, choose: Chooser, *, as_recorded: bool = False) -> Bill:
    """Adds up a session. `as_recorded`: if the recording says that the provider read nothing, nothing is held here."""
    caches, found, before = Caches(), Bill(), 0
    for i, step in enumerate(session["steps"]):
        if step["reset"] or (as_recorded and step["cold"]):
            caches.clear()
        if step["reset"]:
            before = 0
        on = choose(i, step, session, caches)
        prompt, output = step["p"], step["o"]
        held = caches.serve(on, prompt, step["t0"])
        whole = float(step_cost(on, prompt, output, held).cost or 0)
        silent = float(step_cost(on, prompt, 0, held).cost or 0)
        assert on.price is not None
        rates = on.price.at(prompt)
        read = held * float(rates.input if rates.cache_read is None else rates.cache_read) / 1e6
        share = max(prompt - held - max(prompt - before, 0), 0) / max(prompt - held, 1)
        found.usd += whole
        found.read += read
        found.again += (silent - read) * share
        found.new += (silent - read) * (1 - share)
        found.output += whole - silent
        found.chosen.append(on)
        before = prompt
    return found


def always(on: Target) -> Chooser:
    return lambda *_: on


def _request(tool: str) -> ChatRequest:
    return ChatRequest.from_openai(
        {
            "messages": [{"role": "user", "content": "go"}],
            "tools": [{"type": "function", "function": {"name": tool, "parameters": {"type": "object"}}}],
        }
    )


_STEP = Step.of(_request("book"), StepContext())
_NONE = Constraints()


class Routed:
    """A chooser that is the router's own selection, fed with a session's numbers and a P for each step.

    `stakes(i, step)`: USD that a failure costs; `harm`: the share of insufficient steps that spoil the task. `back`:
    whether a run that went up may come down again within its turn. `acts`: whether its tools change anything.
    `foresees`: whether the output of a step is known before; else it is taken for the mean of those so far.
    """

    def __init__(
        self,
        among: Pool,
        likely: Callable[[int], Likely],
        stakes: Callable[[int, Mapping[str, Any]], float],
        *,
        harm: float = 1.0,
        back: bool = True,
        acts: bool = True,
        foresees: bool = False,
    ) -> None:
        self._pool, self._likely, self._stakes = among, likely, stakes
        self._row = Row(harm=harm)
        self._back, self._foresees = back, foresees
        self._request = _request("book" if acts else "look")
        self._outputs: list[int] = []
        self._run: Run | None = None

    def __call__(self, i: int, step: Mapping[str, Any], session: Session, caches: Caches) -> Target:
        prompt, now = step["p"], step["t0"]
        likely = self._likely(i)
        kind = StepKind.AFTER_ERROR if step["fail"] else StepKind.AFTER_RESULT
        steps: Sequence[Mapping[str, Any]] = session["steps"]
        seen = steps[i - 1]["p"] if i and not step["reset"] else 0
        expected = step["o"] if self._foresees or not self._outputs else round(mean(self._outputs))
        self._outputs.append(step["o"])
        situation = Situation(
            request=self._request,
            step=replace(_STEP, kind=kind, steps_in_turn=0 if step["turn"] or step["reset"] else 1),
            prediction=Prediction(likely, Task.TOOL_USE, kind, 1.0, ()),
            strategy="balanced",
            row=self._row,
            constraints=replace(_NONE, stakes=self._stakes(i, step)),
            input_tokens=prompt,
            output_tokens=expected,
            warm={each.name: caches.read(each, prompt, now) for each in self._pool},
            run=self._run,
            seen_tokens=seen,
        )
        chosen = select(situation, self._pool).targets[0]
        home = None if self._run is None else self._pool[self._run.home]
        up = home is not None and _rank(chosen) > _rank(home)
        down = home is not None and _rank(chosen) < _rank(home)
        self._run = after(self._run, likely, kind, chosen.name, up=up and self._back, down=down)
        return chosen


def _rank(of: Target) -> int:
    return of.tier.rank if of.tier is not None else 0
