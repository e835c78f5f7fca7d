"""What genai-prices says about a model: its price at a given time and its context window, or why there is no price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from agentroute.targets import Price, PriceStep

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["Listing", "every", "find", "price_id"]

_PRICE_IDS = {
    "bedrock": "aws",
    "bedrock-mantle": "aws",
    "gemini": "google",
    "moonshot": "moonshotai",
    "vertex": "google",
    "xai": "x-ai",
    "zhipu": "zhipuai",
}
_OUR_NAMES = {"moonshotai": "moonshot", "x-ai": "xai"}

_RATES = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cache_read": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
}
_NOT_OURS = frozenset(
    {
        "cache_write_1h_mtok",  # a write that lives an hour must be asked for; we ask for the short one
        "web_searches_kcount",  # the provider's own tools, which our requests do not name
        "storage_searches_kcount",
        "input_audio_mtok",  # usage does not tell sound from text: a recording is priced as text (docs/catalog.md)
        "cache_audio_read_mtok",
        "output_audio_mtok",
    }
)
"""Charges that a request of ours cannot cause, or that our usage cannot show. Any other key beside the four rates makes
the price unknown."""


@dataclass(frozen=True, slots=True)
class Listing:
    """A model as genai-prices lists it. `price` None comes with the `problem`, a clause that says why.

    `model` is its id there, None where it is not listed; `providers` the ids under which the same model may be
    described: its own, then those whose models this provider resells.
    """

    providers: tuple[str, ...]
    model: str | None = None
    context_window: int | None = None
    price: Price | None = None
    problem: str | None = None


def price_id(provider: str) -> str:
    """The id under which genai-prices knows a provider (`xai` is its `x-ai`)."""
    return _PRICE_IDS.get(provider.lower(), provider.lower())


def find(provider: str, model: str, timestamp: datetime | None = None) -> Listing:
    """What genai-prices knows of a provider's model at that time (UTC where it has no zone; None is now).

    Only the provider's exact id or one of our names for it counts: a provider it does not know has no price, even
    where the model's name is a famous one.
    """
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    wanted = price_id(provider)
    for listed in snapshot.providers:
        if listed.id == wanted:
            found = listed.find_model(model, all_providers=snapshot.providers)
            if found is not None:
                return _listing(listed, found, timestamp)
            return Listing(_providers(listed), problem=f"genai-prices lists no model {model!r} of {listed.id}")
    return Listing((wanted,), problem=f"genai-prices does not know the provider {provider!r}")


def every(timestamp: datetime | None = None) -> Iterator[tuple[str, Listing]]:
    """Our name of the provider and the listing, for each model that genai-prices lists."""
    from genai_prices.data_snapshot import get_snapshot

    for provider in get_snapshot().providers:
        for model in provider.models:
            yield _OUR_NAMES.get(provider.id, provider.id), _listing(provider, model, timestamp)


def _providers(provider: Provider) -> tuple[str, ...]:
    return (provider.id, *(provider.fallback_model_providers or ()))


def _listing(provider: Provider, model: ModelInfo, timestamp: datetime | None) -> Listing:
    import genai_prices

    now = timestamp or datetime.now(UTC)
    source = f"genai-prices {genai_prices.__version__}: {provider.id}/{model.id}"
    if isinstance(model.prices, list):
        source += f" at {now:%Y-%m-%d %H:%M}"
        if any(hasattr(conditional.constraint, "start_time") for conditional in model.prices):
            source += ", changes with the time of day"
    # The attributes themselves: asking a ModelPrice for a missing one builds its registry of units.
    price = _price({key: value for key, value in vars(model.get_prices(now)).items() if value is not None}, source)
    problem = None if isinstance(price, Price) else f"genai-prices lists {provider.id}/{model.id} {price}"
    return Listing(
        providers=_providers(provider),
        model=model.id,
        context_window=model.context_window,
        price=price if isinstance(price, Price) else None,
        problem=problem,
    )


def _price(rates: Mapping[str, Any], source: str) -> Price | str:
    """Our price, or what keeps these rates from being one."""
    if not rates:
        return "without a price: free, or withdrawn"
    if "input_mtok" not in rates or "output_mtok" not in rates:
        return f"by {', '.join(sorted(rates))}, not by input and output tokens"
    others = rates.keys() - _NOT_OURS - set(_RATES.values())
    if others:
        return f"with a charge for {', '.join(sorted(others))}, which usage in tokens does not show"
    thresholds = sorted({tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())})
    steps = tuple(PriceStep(start, **_at(rates, start)) for start in thresholds)
    return Price(**_at(rates, -1), steps=steps, source=source)


def _at(rates: Mapping[str, Any], threshold: int) -> dict[str, Any]:
    """The four rates that hold just above that many input tokens (-1: from the first token on)."""
    found = {}
    for name, key in _RATES.items():
        rate = rates.get(key)
        passed = [tier.price for tier in getattr(rate, "tiers", ()) if tier.start <= threshold]
        found[name] = passed[-1] if passed else getattr(rate, "base", rate)
    return found
