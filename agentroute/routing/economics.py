"""What this step is expected to cost on each target: input fresh and cached, cache written, output.

The target that read this conversation last holds its prefix warm, every other one is cold; staying is worth exactly
what that saves. Nothing here prefers a target for any other reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from agentroute.decisions import StepKind, Task
from agentroute.messages import ChatRequest, Usage
from agentroute.targets import Target

from .caches import HOUR, minimum, needs_markers

__all__ = ["HORIZON", "StepCost", "affordable_output", "expected_output", "growth", "spend", "step_cost"]

HORIZON = 20
"""Steps that are expected to follow, this one included, if more are likely: what a switch costs is spread over so many.
Recorded agent sessions have 22 (office) to 470 (coding) steps; the choice is flat between 10 and 40."""

_GROWTH = (200, 600, 4_000)
"""Tokens by which a prompt grows a step: at least, if nothing is known, and at most."""

_OUTPUT_TOKENS = {
    StepKind.FIRST_ASK: 115,
    StepKind.AFTER_RESULT: 145,
    StepKind.AFTER_ERROR: 107,
    StepKind.REPEATED_CALL: 120,
    StepKind.FORCED_FINAL: 350,
    StepKind.STRUCTURED: 200,
    StepKind.SUMMARISE: 500,
    StepKind.DELEGATE: 90,
    StepKind.HOUSEKEEPING: 40,
}
"""Mean output tokens by kind of step: the first three as recorded in tau2-bench by models of 2025-26 (`evals/tokens.py`
prints them), the others set by hand until outcomes are there."""

_LONG_OUTPUT = {Task.CODE_GENERATION: 700, Task.WRITING: 600, Task.PLANNING: 500, Task.TRANSLATION: 400}
"""Tasks whose answer is the work itself; set by hand."""


@dataclass(frozen=True, slots=True)
class StepCost:
    """Expected tokens on one target and their price in USD (None where the target's price is unknown)."""

    input_tokens: int
    output_tokens: int
    cached_tokens: int
    written_tokens: int
    cost: Decimal | None

    @property
    def usage(self) -> Usage:
        """The same tokens as a record has them."""
        return Usage(self.input_tokens, self.output_tokens, self.cached_tokens, self.written_tokens)


def expected_output(kind: StepKind, task: Task, request: ChatRequest) -> int:
    """Output tokens expected of this step, within the caller's own limit."""
    expected = _OUTPUT_TOKENS[kind]
    if kind is StepKind.FIRST_ASK and not request.tools:
        expected = _LONG_OUTPUT.get(task, expected)
    limit = request.sampling.max_output_tokens
    return expected if limit is None or limit < 1 else min(expected, limit)


def step_cost(
    target: Target, input_tokens: int, output_tokens: int, warm_tokens: int = 0, *, loop: bool = True
) -> StepCost:
    """The cost of one step on one target, of whose prompt `warm_tokens` lie in its cache.

    A target with a price for cache writes writes what it reads fresh, at the price of the time that its caches hold;
    where markers ask for that, only if more steps are likely (`loop`). A write price below that of input is a surcharge
    for storage that nobody has asked for (Gemini, as OpenRouter lists it): input costs what input does.
    """
    least = minimum(target)
    read = min(warm_tokens, input_tokens)
    if read < least:
        read = 0
    fresh = input_tokens - read
    price = target.price
    written = 0
    if price is not None and price.cache_write is not None and target.cache_ttl_s is not None:
        asked = loop or not needs_markers(target)
        written = fresh if asked and price.cache_write >= price.input and input_tokens >= least else 0
    cost = None
    if price is not None:
        cost = price.tokens(input_tokens, output_tokens, read, written)
        if written and (target.cache_ttl_s or 0) >= HOUR and needs_markers(target):
            rates = price.at(input_tokens)
            if rates.cache_write_1h is not None and rates.cache_write is not None:
                cost += written * (rates.cache_write_1h - rates.cache_write) / 1_000_000
    return StepCost(input_tokens, output_tokens, read, written, cost)


def growth(input_tokens: int, seen_tokens: int) -> int:
    """By how many tokens the prompt is expected to grow a step, from the last one (`seen_tokens`, 0 for none)."""
    least, usual, most = _GROWTH
    return usual if not seen_tokens else min(max(input_tokens - seen_tokens, least), most)


def spend(target: Target, step: StepCost, grown: int, n: int) -> float | None:
    """USD a step if this and the next `n - 1` steps are served by this target; None if its price is unknown.

    This step as it is, cold or warm; each later one reads what the one before has sent, writes `grown` tokens more and
    gives as much output. Steps past a price step for long prompts cost its prices.
    """
    price = target.price
    if price is None or step.cost is None:
        return None
    now = float(step.cost)
    if n <= 1:
        return now
    caches, least = target.cache_ttl_s is not None, minimum(target)
    start, later, left = step.input_tokens, 0.0, n - 1
    while left:
        first = start + grown
        rates = price.at(first)
        limit = next((s.above_input_tokens for s in price.steps if s.above_input_tokens >= first), None)
        many = left if limit is None else min(left, (limit - first) // grown + 1)
        if first < least:
            many = min(many, (least - first) // grown + 1)
        fresh = float(rates.input)
        held = caches and first >= least
        read = float(rates.cache_read) if held and rates.cache_read is not None else fresh
        write = max(float(rates.cache_write), fresh) if held and rates.cache_write is not None else fresh
        tokens = many * start + grown * many * (many - 1) // 2
        later += tokens * read + many * (grown * write + step.output_tokens * float(rates.output))
        start += many * grown
        left -= many
    return (now + later / 1_000_000) / n


def affordable_output(target: Target, step: StepCost, usd: Decimal) -> int | None:
    """Output tokens of this step that `usd` pays for beside its input; None if the price is unknown, or output free."""
    if target.price is None or step.cost is None:
        return None
    rate = target.price.at(step.input_tokens).output
    if not rate:
        return None
    return max(step.output_tokens + int((usd - step.cost) * 1_000_000 / rate), 0)
