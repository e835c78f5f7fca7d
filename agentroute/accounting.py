"""What a call came to: the planned decision and the log of its attempts become the whole record. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Final

from .decisions import ABOVE_MAX_COST, IMPLAUSIBLE, Decision
from .failover.flow import Log
from .figures import usd
from .routing.economics import step_cost
from .targets import Target

__all__ = ["Baseline", "completed"]

_NO_USAGE = "provider_missing_usage"


@dataclass(frozen=True, slots=True)
class Baseline:
    """What savings are counted against.

    `warm_tokens`: how much of this prompt the baseline would have cached by now. `alone`: as far as is known, the
    baseline served every earlier step, so its real bill is used if it serves this one too. `loop`: more steps are
    likely, so it would have kept the prompt.
    """

    target: Target
    warm_tokens: int = 0
    alone: bool = False
    loop: bool = True


def completed(planned: Decision, log: Log, baseline: Baseline, max_cost: Decimal | None = None) -> Decision:
    """The decision with its attempts, usage, cost and outcome. A call that was given up is `abandoned`."""
    served, cost = log.winner, _spent(log)
    return replace(
        planned,
        target=served.name if served is not None else planned.target,
        tier=served.tier if served is not None and served.tier is not None else planned.tier,
        attempts=tuple(log.attempts),
        usage=log.usage,
        cost=cost,
        baseline_cost=_baseline_cost(planned, log, baseline),
        outcome="abandoned" if log.outcome == "planned" else log.outcome,
        warnings=(
            *log.warnings,
            *_odd_count(planned, log),
            *_odd_bills(log),
            *_unknown(log),
            *_above(cost, max_cost),
        ),
    )


def _above(cost: Decimal | None, max_cost: Decimal | None) -> Iterator[str]:
    if cost is not None and max_cost is not None and cost > max_cost:
        yield f"{ABOVE_MAX_COST}: paid {usd(cost, places=6)}, max_cost is {usd(max_cost, places=6)}"


_FAR: Final = 10
_FEW: Final = 10_000
"""A count is far from the estimate if it is above 10 times it and 10,000 tokens, or the other way round. Set by hand:
an estimate is right to a few percent, that of a request with files to a factor of 8 (routing/tokens.py), and a
provider may put instructions of its own before a short prompt."""


def _odd_count(planned: Decision, log: Log) -> Iterator[str]:
    """What cannot be right about the winner's counts. They stay on record; no estimate builds on them."""
    target, counted = log.winner, None if log.usage is None else log.usage.prompt_tokens
    written = None if log.usage is None or log.usage.iterations else log.usage.output_tokens
    most = None if target is None else target.max_output_tokens
    if target is not None and written is not None and most is not None and written > _TWICE * most:
        yield f"{IMPLAUSIBLE}: {target.name} counted {written:,} output tokens, above its limit of {most:,}"
    expected = planned.estimated_usage.input_tokens
    if target is None or counted is None or log.usage is None:
        return
    said = f"{IMPLAUSIBLE}: {target.name} counted {counted:,} input tokens"
    window = target.max_input_tokens or target.context_window
    cached = (log.usage.cache_read_tokens or 0) + (log.usage.cache_write_tokens or 0)
    if counted == 0:
        yield said
    elif window is not None and counted > window:
        yield f"{said}, above its limit of {window:,}"
    elif not log.usage.iterations and cached > counted:
        yield f"{said}, of which {cached:,} cached"
    elif expected is not None and max(counted, expected) > _FAR * min(counted, expected) + _FEW:
        yield f"{said}, about {expected:,} were expected"


_TWICE: Final = 2
"""Output up to this many times the limit may be thoughts that a server counts beside it."""

_SAME: Final = Decimal("0.01")
"""A provider's bill within a hundredth of the list price is taken to say the same."""


def _odd_bills(log: Log) -> Iterator[str]:
    """Bills that are unknown although the price is known, or that are not what the list says."""
    prices = {} if log.winner is None else {log.winner.name: log.winner.price}
    for attempt in log.attempts:
        if attempt.usage is None:
            continue
        if attempt.cost is None and prices.get(attempt.target) is not None and attempt.usage.output_tokens is not None:
            yield f"cost_unknown: {attempt.target}: {attempt.cost_problem}"
        if attempt.cost is None or attempt.list_cost is None:
            continue
        if abs(attempt.cost - attempt.list_cost) > _SAME * max(attempt.cost, attempt.list_cost):
            yield f"cost_differs: {attempt.target} says ${attempt.cost}, its list price gives ${attempt.list_cost}"


def _unknown(log: Log) -> tuple[str, ...]:
    """A step whose bill nobody can tell says so: a ready model may not have been asked for its usage."""
    unsaid = log.outcome == "ok" and log.usage is None and _NO_USAGE not in log.warnings
    return (_NO_USAGE,) if unsaid else ()


def _baseline_cost(planned: Decision, log: Log, baseline: Baseline) -> Decimal | None:
    """USD: the baseline's own bill if it served, else its price for the tokens that were used, else the estimate."""
    served, usage = log.winner, log.usage
    # A target with several keys is served by a copy that holds one of them.
    if served is not None and served.name == baseline.target.name and baseline.alone:
        paid = log.attempts[-1].cost
        if paid is not None:
            return paid
    if usage is not None and usage.input_tokens is not None and usage.output_tokens is not None:
        return step_cost(
            baseline.target, usage.input_tokens, usage.output_tokens, baseline.warm_tokens, loop=baseline.loop
        ).cost
    return planned.baseline_cost


def _spent(log: Log) -> Decimal | None:
    """USD for all attempts; None if one that gave content has no known cost.

    An attempt that failed before its first content is taken to be free; if it may have been billed all the same, its
    record says so (`possible_duplicate_cost`).
    """
    total = Decimal(0)
    for attempt in log.attempts:
        if attempt.cost is not None:
            total += attempt.cost
        elif attempt.outcome != "failed":
            return None
    return total
