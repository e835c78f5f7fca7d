"""Economics: a warm prefix is worth exactly what its price says."""

from __future__ import annotations

from decimal import Decimal

import pytest

from agentroute.decisions import StepKind, Task
from agentroute.messages import ChatRequest, Message, Sampling, Text
from agentroute.routing.economics import expected_output, spend, step_cost
from agentroute.targets import Price, Target

PRICE = Price(Decimal(3), Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal("3.75"))
TARGET = Target(provider="p", model="m", tier="premium", price=PRICE, cache_ttl_s=300)
REQUEST = ChatRequest(messages=(Message("user", (Text("hi"),)),))


def test_cold_writes_what_it_reads() -> None:
    cost = step_cost(TARGET, 10_000, 100)
    assert cost.cost == (10_000 * Decimal("3.75") + 100 * Decimal(15)) / 1_000_000
    assert cost.cached_tokens == 0


def test_warm_reads_from_the_cache() -> None:
    cost = step_cost(TARGET, 10_000, 100, warm_tokens=8_000)
    assert cost.cost == (8_000 * Decimal("0.3") + 2_000 * Decimal("3.75") + 100 * Decimal(15)) / 1_000_000
    assert cost.cached_tokens == 8_000


def test_short_prefixes_are_not_cached() -> None:
    assert step_cost(TARGET, 1_000, 10, warm_tokens=1_000).cost == (1_000 * Decimal(3) + 10 * Decimal(15)) / 1_000_000


@pytest.mark.parametrize(("write", "paid"), [("0.08", "3"), ("2.99", "3"), ("3", "3"), ("3.75", "3.75")])
def test_a_write_price_below_that_of_input_makes_input_no_cheaper(write: str, paid: str) -> None:
    """OpenRouter lists what Gemini's storage costs beside the input: fresh tokens cost at least what input does."""
    price = Price(Decimal(3), Decimal(15), cache_read=Decimal("0.3"), cache_write=Decimal(write))
    target = Target(provider="p", model="m", tier="premium", price=price, cache_ttl_s=300)
    assert step_cost(target, 10_000, 0).cost == 10_000 * Decimal(paid) / 1_000_000
    assert spend(target, step_cost(target, 10_000, 0), 1_000, 2) == pytest.approx(
        (10_000 * float(paid) + 10_000 * 0.3 + 1_000 * float(paid)) / 2 / 1_000_000
    )


def test_no_more_is_warm_than_is_sent() -> None:
    assert step_cost(TARGET, 2_000, 10, warm_tokens=9_000).cached_tokens == 2_000


def test_unknown_price_is_none() -> None:
    assert step_cost(Target(provider="p", model="m", tier="mid"), 10, 10).cost is None


def test_output_keeps_to_the_callers_limit() -> None:
    limited = ChatRequest(messages=REQUEST.messages, sampling=Sampling(max_output_tokens=16))
    assert expected_output(StepKind.FIRST_ASK, Task.CODE_GENERATION, REQUEST) == 700
    assert expected_output(StepKind.FIRST_ASK, Task.CODE_GENERATION, limited) == 16
    senseless = ChatRequest(messages=REQUEST.messages, sampling=Sampling(max_output_tokens=-1))
    assert expected_output(StepKind.FIRST_ASK, Task.CODE_GENERATION, senseless) == 700
