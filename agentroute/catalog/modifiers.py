"""What answers and addresses do to a list price: `modifiers.toml`, read once, put beside the rates of a model."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from decimal import Decimal
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from agentroute.targets.prices import Fee, Modifier, Price, PriceStep

from .prices import price_id

__all__ = ["entries", "with_modifiers"]

_KINDS: Final = ("modifier", "address", "write", "fee")
_WRITES: Final = {1: "cache_write_1h", 12: "cache_write_12h"}


@cache
def _data() -> Mapping[str, Any]:
    text = Path(__file__).with_name("modifiers.toml").read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


def entries() -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Every entry of `modifiers.toml` with the name of its kind."""
    for kind in _KINDS:
        for entry in _data().get(kind, ()):
            yield kind, entry


def with_modifiers(price: Price, provider: str, model: str, base_url: str | None = None) -> Price:
    """A list price with what is known of this provider's tiers, speeds, regions, long writes and tools.

    What the price already says comes first.
    """
    known: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in _KINDS}
    for kind, entry in entries():
        if _matches(entry, provider, model):
            known[kind].append(entry)
    writes = {_WRITES[entry["hours"]]: Decimal(entry["times"]) for entry in known["write"]}
    modifiers = [m if m.price is None else replace(m, price=_with_writes(m.price, writes)) for m in price.modifiers]
    price = replace(
        _with_writes(price, writes),
        modifiers=(*modifiers, *map(_modifier, known["modifier"])),
        fees=(*map(_fee, known["fee"]), *price.fees),
    )
    host = urlsplit(base_url).hostname or "" if base_url else ""
    factor = next((Decimal(entry["times"]) for entry in known["address"] if _any(host, entry["hosts"])), None)
    return price if factor is None else _scaled(price, factor)


def _matches(entry: Mapping[str, Any], provider: str, model: str) -> bool:
    if price_id(entry["provider"]) != price_id(provider):
        return False
    name = model.lower()
    return _any(name, entry["models"]) and not _any(name, entry.get("not_models", ()))


def _any(text: str, patterns: Any) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


def _modifier(entry: Mapping[str, Any]) -> Modifier:
    return Modifier(entry["kind"], entry["word"], Decimal(entry["times"]), source=entry["source"])


def _fee(entry: Mapping[str, Any]) -> Fee:
    return Fee(entry["tool"], Decimal(entry["usd"]), entry.get("per", "call"), source=entry["source"])


def _with_writes(price: Price, writes: Mapping[str, Decimal]) -> Price:
    def more(rates: Price | PriceStep) -> dict[str, Any]:
        return {name: rates.input * times for name, times in writes.items() if getattr(rates, name) is None}

    return replace(price, **more(price), steps=tuple(replace(step, **more(step)) for step in price.steps))


def _scaled(price: Price, factor: Decimal) -> Price:
    """Every token rate times the factor; fees stay."""

    def times(rates: Price | PriceStep) -> dict[str, Any]:
        names = ("input", "output", "cache_read", "cache_write", "cache_write_1h", "cache_write_12h")
        return {name: rate * factor for name in names if (rate := getattr(rates, name)) is not None}

    return replace(
        price,
        **times(price),
        steps=tuple(replace(step, **times(step)) for step in price.steps),
        modifiers=tuple(m if m.price is None else replace(m, price=_scaled(m.price, factor)) for m in price.modifiers),
        source=f"{price.source}; {factor} times for its address",
    )
