"""`agentroute models`: which models are known, what they cost and what they can do."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Sequence
from datetime import datetime
from decimal import Decimal
from functools import partial
from typing import Annotated, Any

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentroute.catalog import build_pool, facts, iter_models
from agentroute.catalog.prices import price_id
from agentroute.decisions import Complexity, Task
from agentroute.errors import ConfigError
from agentroute.routing.strategy import Row, StrategyTable
from agentroute.targets import Price, Target, Tier

from .options import ConfigOption, pool_options, stdout
from .tables import fitted

__all__ = ["command", "rates", "render", "render_table", "rows", "size", "to_json"]

_ABILITIES = {"tools": "T", "vision": "V", "structured_output": "S", "reasoning": "R", "documents": "D", "audio": "A"}
_SPARE = ("cached", "context")
"""Columns that a narrow terminal can do without."""
_ANY_WIDTH = 1_000
_COMPLEXITIES: tuple[Complexity, ...] = ("simple", "medium", "complex")


def command(
    config: ConfigOption = None,
    provider: Annotated[str | None, typer.Option(help="Only this provider's: openai, anthropic, ollama, ...")] = None,
    tier: Annotated[str | None, typer.Option(help="Only this tier: budget, mid, standard or premium.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also every other model that genai-prices knows a price for.")
    ] = False,
    table: Annotated[bool, typer.Option("--table", help="Print the strategy table instead of the models.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with the source and date of each fact.")] = False,
) -> None:
    """List the models agentroute has facts about: tier, price, context window, abilities.

    Any other model works too: its price and tier come from genai-prices where it is listed there, else from you.
    """
    console = stdout()
    if table and (as_json or provider or tier or everything):
        raise ConfigError("--table prints the strategy table alone; leave the other options out")
    if config is not None and everything:
        raise ConfigError("--config lists the models of your pool, --all every other one; use one of them")
    options = {} if config is None else pool_options(config)
    if table:
        render_table(console, options.get("table") or StrategyTable.default())
        return
    listed = None if config is None else list(build_pool(options["targets"]))
    found = rows(listed, provider=provider, tier=tier, everything=everything)
    if as_json:
        typer.echo(json.dumps(to_json(found), indent=2, ensure_ascii=False))
        return
    render(console, found)


def rows(
    listed: Sequence[Target] | None = None,
    *,
    provider: str | None = None,
    tier: str | Tier | None = None,
    everything: bool = False,
    timestamp: datetime | None = None,
) -> list[Target]:
    """The models asked for out of `listed` (None: the catalog), as resolved targets, in their order; the catalog's
    prices are those of `timestamp` (None is now).

    Raises ConfigError for a tier that is none, and for a provider with no model in the list.
    """
    wanted = None if tier is None else Tier.parse(tier)
    if listed is None:
        listed = list(iter_models(everything=everything, timestamp=timestamp))
    if provider is not None:
        known = sorted({target.provider for target in listed})
        listed = [target for target in listed if price_id(target.provider) == price_id(provider)]
        if not listed:
            raise ConfigError(f"no model of {provider!r} is listed; providers are {', '.join(known)}")
    return [target for target in listed if wanted is None or target.tier is wanted]


def render(console: Console, targets: Sequence[Target]) -> None:
    """Prints a table, then what its signs mean. In a file or pipe it is as wide as its names."""
    if not targets:
        console.print("No model matches. `agentroute models` lists all; --all adds what genai-prices knows.")
        return
    if not console.is_terminal and not os.environ.get("COLUMNS"):
        console.width = _ANY_WIDTH
    table, left_out = fitted(partial(_models, targets), _SPARE, console.width)
    console.print(table)
    for line in _legend(targets):
        console.print(Text(line, style="dim"))
    if left_out:
        console.print(Text(f"Left out at this width: {', '.join(left_out)}.", style="dim"))


def _models(targets: Sequence[Target], left_out: Collection[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("model", overflow="fold")
    table.add_column("provider", overflow="fold")
    table.add_column("tier", no_wrap=True)
    figures = ("in", "out", "cached", "context")
    for heading in figures:
        if heading not in left_out:
            table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("".join(_ABILITIES.values()), no_wrap=True)
    for target in targets:
        cells = zip(figures, (*rates(target.price), size(target.context_window)), strict=True)
        table.add_row(
            target.model,
            target.provider,
            ("unknown" if target.tier is None else target.tier.value) + ("*" if target.tier_inferred else ""),
            *(cell for heading, cell in cells if heading not in left_out),
            _abilities(target),
        )
    return table


def to_json(targets: Iterable[Target]) -> list[dict[str, Any]]:
    """The same facts for programs: prices as text in USD per million tokens, so that nothing is rounded."""
    listed = {(row.provider, row.model): row for row in facts()}
    result = []
    for target in targets:
        row = listed.get((target.provider, target.model))
        result.append(
            {
                "provider": target.provider,
                "model": target.model,
                "tier": None if target.tier is None else target.tier.value,
                "tier_inferred": target.tier_inferred,
                "tier_reason": None if row is None else row.call,
                "price": _price_json(target.price),
                "context_window": target.context_window,
                "max_input_tokens": target.max_input_tokens,
                "max_output_tokens": target.max_output_tokens,
                **{ability: getattr(target.capabilities, ability) for ability in _ABILITIES},
                "cache_ttl_s": target.cache_ttl_s,
                "source": None if row is None else row.source,
                "date": None if row is None else row.date,
                "until": None if row is None else row.until,
            }
        )
    return result


def _price_json(price: Price | None) -> dict[str, Any] | None:
    if price is None:
        return None
    rates = ("input", "output", "cache_read", "cache_write")
    text = {name: None if getattr(price, name) is None else str(getattr(price, name)) for name in rates}
    steps = [
        {
            "above_input_tokens": step.above_input_tokens,
            **{name: None if getattr(step, name) is None else str(getattr(step, name)) for name in rates},
        }
        for step in price.steps
    ]
    return {**text, "steps": steps, "source": price.source}


def rates(price: Price | None) -> tuple[str, str, str]:
    """Input, output and cached input in USD per million tokens; `+` marks what is dearer for long prompts."""
    if price is None:
        return "unknown", "unknown", "unknown"
    more = "+" if price.steps else ""
    return (
        _plain(price.input) + more,
        _plain(price.output) + more,
        "" if price.cache_read is None else _plain(price.cache_read) + more,
    )


def _plain(amount: Decimal) -> str:
    """Four digits, which is every digit of all but a few prices; --json rounds nothing."""
    return f"{float(amount):.4g}"


def size(tokens: int | None) -> str:
    """`128k`, `1.05M`."""
    if tokens is None:
        return "unknown"
    return f"{tokens / 1_000_000:.3g}M" if tokens >= 1_000_000 else f"{tokens // 1000}k"


def _abilities(target: Target) -> str:
    signs = {True: None, False: "-", None: "?"}
    return "".join(signs[getattr(target.capabilities, ability)] or letter for ability, letter in _ABILITIES.items())


def _legend(targets: Sequence[Target]) -> list[str]:
    lines = [
        f"{len(targets)} models. USD per million tokens; no cached price: as other input.",
        "T tools, V vision, S structured output, R reasoning, D documents, A audio; - no, ? not known.",
    ]
    if any(target.price and target.price.steps for target in targets):
        lines.append("+ dearer for long prompts.")
    if any(target.tier_inferred for target in targets):
        lines.append("* tier inferred from the output price.")
    if any(target.price and target.price.source == "runs locally" for target in targets):
        lines.append("Local models: nothing per token; the context is the model's, your server may serve less.")
    return lines


# -- the strategy table --------------------------------------------------------------------------------------------


def render_table(console: Console, strategies: StrategyTable) -> None:
    """Prints one row a task where its complexities agree, else one for each complexity."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for heading in ("task", "complexity", "floor", "stakes", "tiers", "prefer"):
        table.add_column(heading, justify="right" if heading in ("floor", "stakes") else "left", no_wrap=True)
    for task in Task:
        rows = [strategies.row(task, complexity) for complexity in _COMPLEXITIES]
        if rows[0] == rows[1] == rows[2]:
            table.add_row(task.value, "any", *_cells(rows[0]))
        else:
            for complexity, row in zip(_COMPLEXITIES, rows, strict=True):
                table.add_row(task.value, complexity, *_cells(row))
    console.print(table)
    for line in (
        f"version {strategies.version}",
        "cheapest: least cost with P(tier suffices) >= floor",
        "balanced: least spend a step over the steps to come + (1 - P) x stakes (USD that a failed task costs)",
        "best:     the cheapest with P >= the highest P - 0.01",
    ):
        console.print(Text(line, style="dim"))


def _cells(row: Row) -> tuple[str, str, str, str]:
    if row.min_tier is None and row.max_tier is None:
        tiers = "all"
    else:
        tiers = f"{row.min_tier.value if row.min_tier else ''}..{row.max_tier.value if row.max_tier else ''}"
    return f"{row.floor:.2f}", f"${row.stakes:g}", tiers, ", ".join(row.prefer)
