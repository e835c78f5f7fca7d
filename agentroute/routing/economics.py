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

__all__ = ["MIN_CACHED_TOKENS", "StepCost", "affordable_output", "expected_output", "step_cost"]

MIN_CACHED_TOKENS = 1024
"""Shorter prefixes are not cached: the documented minimum of OpenAI, and of most Anthropic models."""

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


def step_cost(target: Target, input_tokens: int, output_tokens: int, warm_tokens: int = 0) -> StepCost:
    """The cost of one step on one target, of whose prompt `warm_tokens` lie in its cache.

    A target with a price for cache writes is taken to write what it reads fresh (that is how its callers use it).
    """
    read = min(warm_tokens, input_tokens)
    if read < MIN_CACHED_TOKENS:
        read = 0
    fresh = input_tokens - read
    price = target.price
    writes = price is not None and price.cache_write is not None and target.cache_ttl_s is not None
    written = fresh if writes and input_tokens >= MIN_CACHED_TOKENS else 0
    cost = None if price is None else price.tokens(input_tokens, output_tokens, read, written)
    return StepCost(input_tokens, output_tokens, read, written, cost)


def affordable_output(target: Target, step: StepCost, usd: Decimal) -> int | None:
    """Output tokens of this step that `usd` pays for beside its input; None if the price is unknown, or output free."""
    if target.price is None or step.cost is None:
        return None
    rate = target.price.at(step.input_tokens).output
    if not rate:
        return None
    return max(step.output_tokens + int((usd - step.cost) * 1_000_000 / rate), 0)
