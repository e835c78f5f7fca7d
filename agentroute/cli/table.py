"""The strategy table as people read it: which floor and risk hold for a task, and which tiers it is bound to."""

from __future__ import annotations

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentroute.decisions import Complexity, Task
from agentroute.routing.strategy import Row, StrategyTable

__all__ = ["render_table"]

_COMPLEXITIES: tuple[Complexity, ...] = ("simple", "medium", "complex")


def render_table(console: Console, strategies: StrategyTable) -> None:
    """Prints one row a task where its complexities agree, else one for each complexity."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    for heading in ("task", "complexity", "floor", "k", "tiers", "prefer"):
        table.add_column(heading, justify="right" if heading in ("floor", "k") else "left", no_wrap=True)
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
        "balanced: least cost + k x (cost of the step on the strongest target) x (1 - P)",
        "best:     the cheapest with P >= the highest P - 0.01",
    ):
        console.print(Text(line, style="dim"))


def _cells(row: Row) -> tuple[str, str, str, str]:
    if row.min_tier is None and row.max_tier is None:
        tiers = "all"
    else:
        tiers = f"{row.min_tier.value if row.min_tier else ''}..{row.max_tier.value if row.max_tier else ''}"
    return f"{row.floor:.2f}", f"{row.k:g}", tiers, ", ".join(row.prefer)
