"""What genai-prices says about a model: its price at a given time and its context window, or why there is no price."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any

from agentroute.targets.prices import Fee, Modifier, ModifierKind, Price, PriceStep

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, Provider

__all__ = ["Listing", "as_of", "every", "find", "price_id", "provider_of"]

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
    "cache_write_1h": "cache_write_1h_mtok",
}
_FEES = {"web_search": "web_searches_kcount", "file_search": "storage_searches_kcount"}
_NOT_OURS = frozenset(
    {
        "input_audio_mtok",  # usage does not tell sound from text: a recording is priced as text (docs/catalog.md)
        "cache_audio_read_mtok",
        "output_audio_mtok",
    }
)
"""Charges that our usage cannot show. Any other key beside the rates and the fees makes the price unknown."""

_STORAGE_WRITES = ("google/gemini", "~google/gemini")
"""Models of OpenRouter whose listed cache write is no price of a written token: it is what Google asks for storing it
for 5 minutes, a twelfth of the hourly price (gemini-3.8-flash: .0417 of .50), and the token itself is billed as input
beside it. The list had the sum until 2026-10-19 (gemini-2.5-flash: .3833 = .30 + .0833), and the sum is taken."""


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


def provider_of(model: str) -> str | None:
    """Our name of the provider that genai-prices takes a model's name for; None if it knows none."""
    from genai_prices.data_snapshot import get_snapshot

    try:
        found = get_snapshot().find_provider(model, None, None).id
    except LookupError:
        return None
    return _OUR_NAMES.get(found, found)


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
    price = _price(_rates(provider, model, now), source)
    if isinstance(price, Price):
        price = replace(
            price, modifiers=_modifiers(provider, model, now, source), until=_until(model, now), as_of=as_of()
        )
    problem = None if isinstance(price, Price) else f"genai-prices lists {provider.id}/{model.id} {price}"
    return Listing(
        providers=_providers(provider),
        model=model.id,
        context_window=model.context_window,
        price=price if isinstance(price, Price) else None,
        problem=problem,
    )


def _rates(provider: Provider, model: ModelInfo, now: datetime, **context: str) -> dict[str, Any]:
    # The attributes themselves: asking a ModelPrice for a missing one builds its registry of units.
    rates = {key: value for key, value in vars(model.get_prices(now, context or None)).items() if value is not None}
    stored = rates.get("cache_write_mtok")
    if stored is not None and provider.id == "openrouter" and model.id.startswith(_STORAGE_WRITES):
        fresh = rates["input_mtok"]
        if stored < getattr(fresh, "base", fresh):
            rates["cache_write_mtok"] = _plus(fresh, stored)
    return rates


def _plus(rate: Any, more: Decimal) -> Any:
    """A rate, with or without steps, and an amount on top of each."""
    if not hasattr(rate, "tiers"):
        return rate + more
    tiers = [replace(tier, price=tier.price + more) for tier in rate.tiers]
    return replace(rate, base=rate.base + more, tiers=tiers)


def _modifiers(provider: Provider, model: ModelInfo, now: datetime, source: str) -> tuple[Modifier, ...]:
    """The prices of other tiers and speeds at that time. A batch is a tier in what answers say (Anthropic)."""
    found: dict[tuple[str, str], Modifier] = {}
    for variant in model.price_variants or ():
        [(key, value), *more] = variant.when.items()
        kind: ModifierKind | None = _VARIANTS.get(key)
        if kind is None or more or (variant.constraint is not None and not variant.constraint.active(now)):
            continue
        price = _price(_rates(provider, model, now, **{key: value}), source)
        if isinstance(price, Price) and (kind, value) not in found:
            found[kind, value] = Modifier(kind, value, price=price, source=source)
    return tuple(found.values())


_VARIANTS: Mapping[str, ModifierKind] = {"service_tier": "service_tier", "processing": "service_tier", "speed": "speed"}


def _until(model: ModelInfo, now: datetime) -> datetime | None:
    """When the price changes next, as far as the list knows: at a date (from midnight UTC on), or a time of day."""
    now = now.replace(tzinfo=UTC) if now.tzinfo is None else now.astimezone(UTC)
    moments: list[datetime] = []
    conditional = model.prices if isinstance(model.prices, list) else []
    for entry in (*conditional, *(model.price_variants or ())):
        constraint = entry.constraint
        if hasattr(constraint, "start_date"):
            moments.append(datetime.combine(constraint.start_date, time(), UTC))
        elif hasattr(constraint, "start_time"):
            for at in (constraint.start_time, constraint.end_time):
                at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
                today = datetime.combine(now.date(), at).astimezone(UTC)
                moments += [today + timedelta(days=days) for days in (-1, 0, 1)]
    return min((moment for moment in moments if moment > now), default=None)


@cache
def _newest_note() -> date:
    """The newest day (up to the 28th of a month) that the list's own notes name: they say when prices were read."""
    from genai_prices.data_snapshot import get_snapshot

    today = datetime.now(UTC).date().isoformat()
    found = {
        day
        for provider in get_snapshot().providers
        for model in provider.models
        for day in _DAY.findall(model.price_comments or "")
        if day <= today
    }
    return date.fromisoformat(max(found))


_DAY = re.compile(r"\b20\d\d-(?:0[1-9]|1[0-2])-(?:0[1-9]|1\d|2[0-8])\b")


def as_of() -> date:
    """How old the list is: the day of the newest note in it, or the day on which genai-prices last updated it."""
    from genai_prices.data_snapshot import get_snapshot

    snapshot = get_snapshot()
    return snapshot.timestamp.date() if snapshot.from_auto_update else _newest_note()


def _price(rates: Mapping[str, Any], source: str) -> Price | str:
    """Our price, or what keeps these rates from being one."""
    if not rates:
        return "without a price: free, or withdrawn"
    if "input_mtok" not in rates or "output_mtok" not in rates:
        return f"by {', '.join(sorted(rates))}, not by input and output tokens"
    others = rates.keys() - _NOT_OURS - set(_RATES.values()) - set(_FEES.values())
    if others:
        return f"with a charge for {', '.join(sorted(others))}, which usage in tokens does not show"
    thresholds = sorted({tier.start for rate in rates.values() for tier in getattr(rate, "tiers", ())})
    steps = tuple(PriceStep(start, **_at(rates, start)) for start in thresholds)
    fees = tuple(Fee(tool, rates[key] / 1000, source=source) for tool, key in _FEES.items() if key in rates)
    return Price(**_at(rates, -1), steps=steps, source=source, fees=fees)


def _at(rates: Mapping[str, Any], threshold: int) -> dict[str, Any]:
    """The rates that hold just above that many input tokens (-1: from the first token on)."""
    found = {}
    for name, key in _RATES.items():
        rate = rates.get(key)
        passed = [tier.price for tier in getattr(rate, "tiers", ()) if tier.start <= threshold]
        found[name] = passed[-1] if passed else getattr(rate, "base", rate)
    return found
