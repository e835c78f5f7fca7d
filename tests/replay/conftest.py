"""Traces and pools that the replay tests share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from agentroute import Capabilities, Price, Router, Target


def target(name: str, tier: str, price_in: str, price_out: str, **facts: Any) -> Target:
    rates = {key: facts.pop(key) for key in ("cache_read", "cache_write") if key in facts}
    price = Price(Decimal(price_in), Decimal(price_out), **{key: Decimal(value) for key, value in rates.items()})
    facts = {"context_window": 200_000, "capabilities": Capabilities(tools=True, vision=True)} | facts
    return Target(name=name, provider=f"house-{name}", model=f"{name}-1", tier=tier, price=price, **facts)


@pytest.fixture
def make_target() -> Callable[..., Target]:
    """`(name, tier, input price, output price, **facts)`, prices in USD per million tokens."""
    return target


@pytest.fixture
def router() -> Router:
    """Two targets whose prices divide nicely; `large` has a cache of 300 seconds at a tenth of the price."""
    return Router(
        targets=[
            target("small", "budget", "0.5", "2"),
            target("large", "premium", "2.5", "15", cache_read="0.25", cache_ttl_s=300),
        ]
    )


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes lines (objects, or text as it is) to a file of the test's own and gives its path."""

    def write_lines(*lines: Mapping[str, Any] | str, name: str = "traces.jsonl") -> Path:
        path = tmp_path / name
        text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
        path.write_text(text, encoding="utf-8")
        return path

    return write_lines
