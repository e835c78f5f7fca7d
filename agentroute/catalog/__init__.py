"""What is known about models: fills in the price, tier, limits and abilities that a target leaves out.

Prices and context windows come from genai-prices (imported on first need, never the network); tiers, abilities and the
life of a prompt cache from `models.json`, where each row names its source and date. What the user set always wins, and
what nobody knows stays None.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any

from agentroute.errors import ConfigError
from agentroute.providers import PROVIDERS, Endpoint
from agentroute.targets import ABILITIES, Capabilities, Pool, Target, Tier
from agentroute.targets.model_rules import REASONING_FIELDS, SHARED_SETTINGS, UNKNOWN, ModelRules
from agentroute.targets.prices import Price, PriceStep

from . import prices
from .model_rules import rules_of
from .modifiers import with_modifiers

__all__ = [
    "MAX_AGE_DAYS",
    "ModelFacts",
    "build_pool",
    "current",
    "default_models",
    "facts",
    "iter_models",
    "maker_of",
    "next_change",
    "price_of",
    "read_on",
    "resolve",
    "rules_of",
    "served",
    "tier_of_output_price",
    "why_no_price",
]

_BANDS = ((Decimal("1.5"), Tier.BUDGET), (Decimal(6), Tier.MID), (Decimal(20), Tier.STANDARD))
"""Output prices (USD per million tokens) below which a model counts as that tier; from 20 on it is premium.

Each lies between two rungs of the ladders that vendors name themselves (nano, mini, full and pro; haiku, sonnet and
opus): between 1.25 (gpt-5.4-nano) and 1.60 (gpt-4.1-mini); 5 (claude-haiku-4-5) and 8 (gpt-4.1); 15 (claude-sonnet-4-5,
gpt-5.4) and 25 (claude-opus-4-5). Rounded from the geometric means 1.41, 6.3 and 19.4 of list prices on 2026-11-24
(genai-prices 0.2.3); docs/catalog.md shows the ladders.
"""

MAX_AGE_DAYS = 30
"""Older price lists are said: prices and models of this field change within weeks; set by hand."""

_RUNS_LOCALLY = Price(Decimal(0), Decimal(0), source="runs locally")
_LOCAL = "local"


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """A row of `models.json`: what genai-prices does not say about a model, where it was read, and when.

    `call` is the reason where the tier is not the band of the output price. `default`: the model of its tier in a pool
    built from the keys that are found. `until`: the first day on which its maker no longer serves it, as announced.
    `price`: only where genai-prices has none.
    """

    provider: str
    model: str
    tier: Tier
    source: str
    date: str
    call: str | None = None
    default: bool = False
    capabilities: Capabilities = field(default_factory=Capabilities)
    context_window: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    cache_ttl_s: float | None = None
    until: str | None = None
    price: Price | None = None


@dataclass(frozen=True, slots=True)
class _Table:
    """models.json, read once. Keys are the ids of genai-prices, `local` for every server at home."""

    rows: tuple[ModelFacts, ...]
    by_model: Mapping[tuple[str, str], ModelFacts]
    cache_ttl_s: Mapping[str, float]


@cache
def _table() -> _Table:
    data = json.loads(Path(__file__).with_name("models.json").read_text(encoding="utf-8"))
    rows = tuple(_row(entry) for entry in data["models"])
    return _Table(
        rows=rows,
        by_model={(_key(row.provider), row.model.lower()): row for row in rows},
        cache_ttl_s={_key(entry["provider"]): entry["cache_ttl_s"] for entry in data["cache_ttl"]},
    )


def _row(entry: Mapping[str, Any]) -> ModelFacts:
    plain = {key: value for key, value in entry.items() if key not in ABILITIES}
    if "price" in plain:
        rates = plain["price"]
        steps = tuple(PriceStep(**step) for step in rates.get("steps", ()))
        read = date.fromisoformat(entry["date"])
        plain["price"] = Price(**{**rates, "steps": steps, "source": entry["source"], "as_of": read})
    abilities = {key: value for key, value in entry.items() if key in ABILITIES}
    return ModelFacts(**{**plain, "tier": Tier.parse(plain["tier"])}, capabilities=Capabilities(**abilities))


def _key(provider: str) -> str:
    known = PROVIDERS.get(provider.lower())
    return _LOCAL if known is not None and known.local else prices.price_id(provider)


def facts() -> tuple[ModelFacts, ...]:
    """Every row of `models.json`, in its order."""
    return _table().rows


def served(on: date | None = None) -> tuple[ModelFacts, ...]:
    """The rows whose models are still served on that day (None is today, UTC)."""
    day = (on or datetime.now(UTC).date()).isoformat()
    return tuple(row for row in facts() if row.until is None or day < row.until)


def default_models(provider: str, on: date | None = None) -> tuple[str, ...]:
    """One model for each tier of this provider that has one, from budget to premium; empty where we name none."""
    rows = (row for row in served(on) if row.default and _key(row.provider) == _key(provider))
    return tuple(row.model for row in sorted(rows, key=lambda row: row.tier.rank))


def maker_of(model: str) -> str | None:
    """The provider that a model's bare name is of: by its row here, else as genai-prices tells names; None if neither
    knows it.

    >>> maker_of("claude-opus-5-5"), maker_of("house-model")
    ('anthropic', None)
    """
    name = model.lower()
    row = next((row for row in facts() if row.model.lower() == name), None)
    found = prices.provider_of(name) if row is None else row.provider
    return next((known for known in PROVIDERS if found in (known, prices.price_id(known))), None)


def tier_of_output_price(output: Decimal) -> Tier:
    """The tier that models of this output price (USD per million tokens) usually have: a guess, never a measurement."""
    return next((tier for below, tier in _BANDS if output < below), Tier.PREMIUM)


def price_of(provider: str, model: str, timestamp: datetime | None = None) -> Price | None:
    """USD per million tokens at that time (None is now), or None where it is unknown: `why_no_price` then says why."""
    return _list(provider, model, timestamp).price


def why_no_price(provider: str, model: str, timestamp: datetime | None = None) -> str | None:
    """One clause on why the price is unknown; None where it is known."""
    return _list(provider, model, timestamp).problem


def resolve(target: Target, *, timestamp: datetime | None = None) -> Target:
    """The target with what it leaves out filled in: price, tier, limits, abilities, rules, life of its prompt cache.

    If its dialect is not given, it is the one that the model's rules name, as far as its provider has that.

    Prices are those of `timestamp` (None is now) until `price.until`: `current` gives the next one. `price` stays None
    where it is unknown, `tier` where neither `models.json` nor a price tells it; `tier_inferred` marks a tier read off
    the price.
    """
    if not isinstance(target, Target):
        raise ConfigError(f"a pool holds Target objects, not {type(target).__name__}")
    row = _table().by_model.get(_name(target.provider, target.model))
    if target.price is not None and target.context_window is not None and row is not None:
        return _fill(target, row, prices.Listing(()))
    return _with_listing(target, _list(target.provider, target.model, timestamp))


def build_pool(targets: Iterable[Target], *, timestamp: datetime | None = None) -> Pool:
    """The pool of these targets, each resolved.

    Raises ConfigError where a tier is neither given nor to be found, and for a name that is nearly a known one.
    """
    resolved = [resolve(target, timestamp=timestamp) for target in targets]
    for target in resolved:
        problem = _misspelt(target)
        if problem is not None:
            raise ConfigError(f"target {target.name!r}: {problem}")
    return Pool(resolved)


def _misspelt(target: Target) -> str | None:
    from .checking import misspelt_provider, model_doubt

    problem = misspelt_provider(target)
    if problem is None and target.tier is None:
        problem = model_doubt(target)
        return problem and f"{problem} If not, give tier='budget', 'mid', 'standard' or 'premium'"
    return problem


def iter_models(*, everything: bool = False, timestamp: datetime | None = None) -> Iterator[Target]:
    """The models of `models.json` as resolved targets; then, for `everything`, every other one with a known price."""
    seen = set()
    for row in served(None if timestamp is None else timestamp.date()):
        seen.add((_key(row.provider), row.model.lower()))
        yield resolve(
            Target(name=f"{row.provider}/{row.model}", provider=row.provider, model=row.model), timestamp=timestamp
        )
    if everything:
        for provider, listing in prices.every(timestamp):
            model = listing.model
            if model is not None and listing.price is not None and (_key(provider), model.lower()) not in seen:
                target = Target(name=f"{provider}/{model}", provider=provider, model=model)
                yield _with_listing(target, listing)


def current(target: Target, now: datetime) -> Target:
    """The same target at the price that holds now, if the one it has was read in a list and has ended. No network."""
    price = target.price
    if price is None or price.as_of is None or price.until is None or now < price.until:
        return target
    found = _billed(_list(target.provider, target.model, now), target).price
    return target if found is None else replace(target, price=found)


def next_change(targets: Iterable[Target]) -> datetime | None:
    """When the first price of these ends, as far as the list knows; None if none does."""
    ends = [target.price.until for target in targets if target.price is not None and target.price.until is not None]
    return min(ends, default=None)


def read_on(targets: Iterable[Target]) -> date | None:
    """The day of the oldest price list that these targets' prices stand in; None if all prices are the user's own."""
    days = [target.price.as_of for target in targets if target.price is not None and target.price.as_of is not None]
    return min(days, default=None)


def _list(provider: str, model: str, timestamp: datetime | None) -> prices.Listing:
    if _key(provider) != _LOCAL:
        found = prices.find(provider, model, timestamp)
        row = _table().by_model.get(_name(provider, model)) if found.price is None else None
        if row is None or row.price is None:
            return found
        return prices.Listing(found.providers, row.model, row.context_window, row.price)
    if model.endswith(("-cloud", ":cloud")):
        return prices.Listing((_LOCAL,), problem=f"{model!r} runs in {provider}'s cloud, whose prices nobody lists")
    return prices.Listing((_LOCAL,), price=_RUNS_LOCALLY)


def _name(provider: str, model: str) -> tuple[str, str]:
    return _key(provider), model.lower().removesuffix(":latest")


def _with_listing(target: Target, listing: prices.Listing) -> Target:
    """Fills in from the row of that very model, else of the model that genai-prices takes it for (a dated snapshot, or
    one that this provider resells)."""
    rows = _table().by_model
    names = [_name(target.provider, target.model)]
    if listing.model is not None:
        names += [(provider, listing.model.lower()) for provider in listing.providers]
    return _fill(target, next((rows[name] for name in names if name in rows), None), listing)


def _billed(listing: prices.Listing, target: Target) -> prices.Listing:
    """The listing with what this provider's answers and this address do to its price."""
    if listing.price is None or listing.price is _RUNS_LOCALLY:
        return listing
    model = target.model if listing.model is None else listing.model
    return replace(listing, price=with_modifiers(listing.price, target.provider, model, target.base_url))


def _fill(target: Target, row: ModelFacts | None, listing: prices.Listing) -> Target:
    listing = _billed(listing, target)
    price = target.price if target.price is not None else listing.price
    tier, inferred = target.tier, target.tier_inferred
    if tier is None and row is not None:
        tier = row.tier
    elif tier is None and price is not None and price is not _RUNS_LOCALLY:
        tier, inferred = tier_of_output_price(price.output), True
    resold = row is not None and _key(row.provider) != _key(target.provider)
    ttl = row.cache_ttl_s if row is not None and not resold else None
    capabilities = _merged(target.capabilities, row.capabilities) if row else target.capabilities
    rules = _rules(target, capabilities)
    limit = _first(target.max_output_tokens, row and row.max_output_tokens, rules.max_output_tokens)
    if limit != rules.max_output_tokens:
        rules = replace(rules, max_output_tokens=limit)
    endpoint = _endpoint(target, rules)
    return replace(
        target,
        rules=rules,
        endpoint=endpoint,
        dialect=endpoint.dialect,
        price=price,
        tier=tier,
        tier_inferred=inferred,
        context_window=_first(target.context_window, listing.context_window, row and row.context_window),
        max_input_tokens=_first(target.max_input_tokens, row and row.max_input_tokens, rules.max_input_tokens),
        max_output_tokens=limit,
        capabilities=capabilities,
        cache_ttl_s=_first(target.cache_ttl_s, ttl, _cache_ttl_s(target.provider, price)),
    )


def _cache_ttl_s(provider: str, price: Price | None) -> float | None:
    """How long this provider's caches hold: its own row, else the assumption for all that have a price for them."""
    known = _table().cache_ttl_s
    cached = price is not None and price.cache_read is not None
    return known.get(_key(provider), known["*"] if cached else None)


def _rules(target: Target, capabilities: Capabilities) -> ModelRules:
    """The target's own rules, else the catalog's; a model that is known not to reason has no such setting."""
    if target.rules is not UNKNOWN:
        return target.rules
    found = rules_of(target.provider, target.model)
    if found is UNKNOWN and capabilities.reasoning is False:
        return _NO_REASONING
    return found


_NO_REASONING = ModelRules(thinking="never", efforts=())


def _endpoint(target: Target, rules: ModelRules) -> Endpoint:
    """The way in by the dialect that the rules name, if the target leaves it open and its provider has that one, and
    its settings can be said there."""
    known = PROVIDERS.get(target.provider)
    if target.dialect_given or known is None or rules.dialect in (None, target.dialect):
        return target.endpoint
    if not set(target.settings) <= {*REASONING_FIELDS.get(target.dialect, ()), *SHARED_SETTINGS}:
        return target.endpoint
    return next((way for way in known.endpoints if way.dialect == rules.dialect), target.endpoint)


def _first(*values: Any) -> Any:
    return next((value for value in values if value is not None), None)


def _merged(own: Capabilities, known: Capabilities) -> Capabilities:
    return Capabilities(**{name: _first(getattr(own, name), getattr(known, name)) for name in ABILITIES})
