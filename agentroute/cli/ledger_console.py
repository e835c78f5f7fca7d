"""The replay of ledgers on a terminal: one table, and what it cannot know."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentroute.figures import count, percent, usd
from agentroute.replay import LedgerReplay, Line

__all__ = ["render_ledger"]

_SHOWN_PROBLEMS = 10


def render_ledger(found: LedgerReplay) -> RenderableType:
    """Readable at 80 columns."""
    parts: list[RenderableType] = [Text("\n".join(_headline(found)))]
    if found.steps:
        parts.append(_table(found))
    if found.malformed:
        shown = [f"{problem.file}:{problem.line}: {problem.reason}" for problem in found.problems[:_SHOWN_PROBLEMS]]
        rest = [f"and {found.malformed - len(shown):,} more"] if found.malformed > len(shown) else []
        parts.append(Text("\n".join([f"{count(found.malformed, 'line')} without a step", *shown, *rest]), "yellow"))
    if found.steps:
        parts.append(Text("\n".join(f"* {line}" for line in _caveats(found)), style="dim"))
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts))


def _headline(found: LedgerReplay) -> Iterator[str]:
    tokens = f", tokens estimated for {found.estimated:,}" if found.estimated else ""
    yield f"{count(found.steps, 'answered step')} of a ledger{tokens}"
    left_out = [
        (found.unanswered, "without an answer"),
        (found.unroutable, "that no target's window holds"),
        (sum(gap.totals.steps for gap in found.gaps), "whose details were dropped (gap)"),
    ]
    for steps, why in left_out:
        if steps:
            yield f"left out: {count(steps, 'step')} {why}"


def _table(found: LedgerReplay) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("the bill, USD", overflow="fold", min_width=13)
    for heading in ("cost", "unpriced", "saved", "P suffices"):
        table.add_column(heading, justify="right", no_wrap=True)
    _row(table, found.recorded, None, estimated=False)
    _row(table, found.repriced, None, estimated=False)
    table.add_section()
    table.add_row(Text("without any cache", "dim"))
    baseline = found.singles[found.baseline]
    for name, line in found.strategies.items():
        style = "bold green" if name == found.strategy else "green"
        _row(table, line, baseline, estimated=True, style=style)
    table.add_section()
    table.add_row(Text("every step on", "dim"))
    for line in found.singles.values():
        _row(table, line, baseline, estimated=True)
    return table


def _row(table: Table, line: Line, baseline: Line | None, *, estimated: bool, style: str = "") -> None:
    saved = None
    if baseline is not None and baseline.cost and line.cost is not None and not (line.unpriced or baseline.unpriced):
        saved = float(1 - line.cost / baseline.cost)
    table.add_row(
        Text(line.name, style),
        usd(line.cost, estimated=estimated),
        f"{line.unpriced:,}" if line.unpriced else ".",
        percent(saved),
        "" if line.sufficiency is None else f"{line.sufficiency:.3f}",
    )


def _caveats(found: LedgerReplay) -> Iterator[str]:
    yield "as recorded: what was paid, failed attempts and cached tokens included."
    yield (
        "at today's prices: the recorded usage at this pool's prices; unpriced where the target that answered is not "
        "in this pool, or told no usage."
    )
    yield (
        "without any cache (~): recorded tokens x list price, for every way alike. Compare these lines with each "
        f"other, not with the two above. saved: against every step on {found.baseline}."
    )
    yield (
        "A ledger holds no prompts. Strategies choose from the recorded P, task, complexity and tokens. They do not "
        "know whether a step needed tools, pictures or a schema, what its caller allowed, nor what was warm."
    )
    policies = ", ".join(found.policies)
    yield f"P suffices: as predicted then ({policies}); nobody knows how another model would have done."
