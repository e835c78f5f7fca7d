"""Our prices against genai-prices itself: the same bill for the same usage, for every model that we can price."""

from __future__ import annotations

import functools
from datetime import UTC, datetime
from decimal import Decimal

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from hypothesis import given, settings
from hypothesis import strategies as st

from agentroute import Price, Usage
from agentroute.catalog import prices
from agentroute.targets import PriceStep

THEN = datetime(2026, 11, 24, 12, tzinfo=UTC)


@functools.cache
def priced() -> list[tuple[str, str, Price]]:
    """(their provider id, their model id, our price) of every model we can price."""
    return [
        (listing.providers[0], listing.model, listing.price)
        for _, listing in prices.every(THEN)
        if listing.model is not None and listing.price is not None
    ]


def theirs(provider: str, model: str, usage: Usage, timestamp: datetime = THEN) -> Decimal:
    """What genai-prices bills. Found by identity, since its matching by name may prefer another of its models.

    OpenRouter bills a token that Gemini writes to its cache as input and for its storage; the list has the storage.
    """
    listed = next(entry for entry in get_snapshot().providers if entry.id == provider)
    found = next(entry for entry in listed.models if entry.id == model)
    counts = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
    }
    bill = found.calc_price(genai_prices.Usage(**counts), listed, genai_request_timestamp=timestamp).total_price
    rates = found.get_prices(timestamp)
    stored, fresh = rates.cache_write_mtok, getattr(rates.input_mtok, "base", rates.input_mtok)
    if provider == "openrouter" and model.startswith(("google/gemini", "~google/gemini")) and stored and stored < fresh:
        steps = [
            tier.price for tier in getattr(rates.input_mtok, "tiers", ()) if tier.start < (usage.input_tokens or 0)
        ]
        bill += (usage.cache_write_tokens or 0) * (steps[-1] if steps else fresh) / 1_000_000
    return bill


def test_nearly_every_model_sold_by_tokens_can_be_priced() -> None:
    assert len(priced()) > 1900
    kept_out = [listing.problem or "" for _, listing in prices.every(THEN) if listing.price is None]
    charges = [problem for problem in kept_out if "with a charge for" in problem]
    assert len(charges) < 40, charges


def test_the_same_bill_at_every_threshold_of_every_model() -> None:
    for provider, model, price in priced():
        starts = [step.above_input_tokens for step in price.steps]
        for size in {1000, *starts, *(start + 1 for start in starts)}:
            for usage in (
                Usage(size, 7, 0, 0),
                Usage(size, 0, size // 3, size // 5),
                Usage(size, 123_457, size, 0),
                Usage(size, 1, 0, size),
            ):
                assert price.cost(usage) == theirs(provider, model, usage), (provider, model, usage)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_the_same_bill_for_any_usage(data: st.DataObject) -> None:
    provider, model, price = data.draw(st.sampled_from(priced()))
    size = data.draw(st.integers(0, 2_000_000))
    read = data.draw(st.integers(0, size))
    usage = Usage(size, data.draw(st.integers(0, 400_000)), read, data.draw(st.integers(0, size - read)))
    assert price.cost(usage) == theirs(provider, model, usage)


@pytest.mark.parametrize(
    ("provider", "model", "before", "after"),
    [
        ("google", "gemini-4-argon", datetime(2026, 11, 30, 23, tzinfo=UTC), datetime(2026, 12, 1, tzinfo=UTC)),
        ("openai", "gpt-5.6-luna", datetime(2026, 7, 29, tzinfo=UTC), datetime(2026, 7, 30)),
        ("deepseek", "deepseek-flash", datetime(2026, 11, 24, 0, 59, tzinfo=UTC), datetime(2026, 11, 24, 1, 0)),
    ],
)
def test_a_price_is_that_of_its_time(provider: str, model: str, before: datetime, after: datetime) -> None:
    usage = Usage(1000, 1000, 0, 0)
    bills = []
    for timestamp in (before, after):
        price = prices.find(provider, model, timestamp).price
        assert price is not None
        assert f"at {timestamp:%Y-%m-%d %H:%M}" in price.source
        bills.append(price.cost(usage))
        assert bills[-1] == theirs(provider, model, usage, timestamp)
    assert bills[0] != bills[1]


def test_a_price_that_moves_within_the_day_says_so() -> None:
    moving = prices.find("deepseek", "deepseek-flash", THEN).price
    steady = prices.find("openai", "gpt-4.1", THEN).price
    assert moving is not None
    assert steady is not None
    assert "changes with the time of day" in moving.source
    assert steady.source == f"genai-prices {genai_prices.__version__}: openai/gpt-4.1"


def test_a_rate_without_steps_of_its_own_holds_on_every_step() -> None:
    """grok-4-fast at OpenRouter: input and output double above 128,000 tokens, the cached rate does not."""
    price = prices.find("openrouter", "x-ai/grok-4-fast", THEN).price
    assert price is not None
    assert price.steps == (PriceStep(128_000, Decimal("0.4"), Decimal(1), Decimal("0.05")),)


def test_a_price_of_two_steps() -> None:
    price = prices.find("openrouter", "qwen/qwen3.7-flash", THEN).price
    assert price is not None
    assert [step.above_input_tokens for step in price.steps] == [32_000, 256_000]
    assert price.at(32_000) is price
    assert price.at(300_000) is price.steps[1]


def test_a_snapshot_set_by_the_user_counts() -> None:
    from genai_prices.data_snapshot import DataSnapshot, set_custom_snapshot

    set_custom_snapshot(DataSnapshot(providers=[], from_auto_update=True))
    try:
        assert prices.find("openai", "gpt-4.1").problem == "genai-prices does not know the provider 'openai'"
    finally:
        set_custom_snapshot(None)
