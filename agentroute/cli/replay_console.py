"""The report of a replay on a terminal, readable at 80 columns, whole at 100."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import partial

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentroute.figures import count, percent, usd
from agentroute.replay import Bill, ReplayReport
from agentroute.replay.wording import caveats, headline, problem_lines, saved
from agentroute.targets import Tier

from .tables import fitted

__all__ = ["render"]

_SHOWN_PROBLEMS = 10
_SHOWN_TASKS = 8
_PLACE_WIDTH = 34
_SPARE = ("and cost", "switches", "cached")
"""Columns of the bill that a narrow terminal can do without."""


def render(report: ReplayReport, *, width: int = 100) -> RenderableType:
    """Everything a reader needs on one or two screens of `width` columns."""
    bills, left_out = fitted(partial(_bills, report), _SPARE, width)
    parts: list[RenderableType] = [Text("\n".join(headline(report)))]
    if report.steps:
        parts += [
            bills,
            *_fits(report),
            _steps("kind of step", report.by_kind, report),
            _steps("task", report.by_task, report),
            _unsure(report),
        ]
    parts += _problems(report)
    if report.steps:
        lines = list(caveats(report))
        if left_out:
            lines.append(f"left out at this width: {', '.join(left_out)}.")
        parts.append(Text("\n".join(f"* {line}" for line in lines), style="dim"))
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts))


def _bills(report: ReplayReport, left_out: Collection[str]) -> Table:
    headings = ("list", "modelled", "saved", "cached", "switches", "and cost", "P suffices")
    table = _table("the bill, USD", *(heading for heading in headings if heading not in left_out))
    for bill in report.strategies.values():
        style = "bold green" if bill.name == report.strategy else "green"
        table.add_row(Text(bill.name, style), *_bill_cells(bill, report, left_out))
    table.add_section()
    table.add_row(Text("every step on", "dim"))
    for bill in report.singles.values():
        name = Text(bill.name)
        if bill.name == report.best_single:
            name.append("\n  best single", "cyan")
        if bill.unserved:
            name.append(f"\n  cannot serve {bill.unserved:,}", "yellow")
        table.add_row(name, *_bill_cells(bill, report, left_out))
    return table


def _bill_cells(bill: Bill, report: ReplayReport, left_out: Collection[str]) -> Iterable[str]:
    cells = {
        "list": usd(bill.list_usd, estimated=report.estimated > 0),
        "modelled": usd(bill.modelled_usd, estimated=True),
        "saved": percent(saved(bill, report)),
        "cached": percent(bill.cached_tokens / bill.input_tokens if bill.input_tokens else None),
        "switches": f"{bill.switches:,}" if bill.switches else ".",
        "and cost": usd(bill.switch_usd, estimated=True) if bill.switches else "",
        "P suffices": "" if bill.sufficiency is None else f"{bill.sufficiency:.3f}",
    }
    return (cell for heading, cell in cells.items() if heading not in left_out)


def _fits(report: ReplayReport) -> list[RenderableType]:
    """Chosen tiers beside the recorded cheapest sufficient ones, where the traces know them."""
    if report.strategies[report.strategy].fit is None:
        return []
    table = _table("tier, of the needed one", "steps", "enough", "exact", "too low")
    for bill in [*report.strategies.values(), *report.singles.values()]:
        fit = bill.fit
        if fit is not None:
            shares = [percent(part / fit.steps) for part in (fit.sufficient, fit.exact, fit.too_low)]
            name = bill.name if bill.name in report.strategies else f"every step on {bill.name}"
            table.add_row(Text(name), f"{fit.steps:,}", *shares)
    return [table]


def _steps(heading: str, rows: Mapping[str, Mapping[str, int]], report: ReplayReport) -> Table:
    table = _table(f"{heading} ({report.strategy})", "steps", "share", *(tier.value for tier in Tier))
    shown = list(rows.items())
    for name, tiers in shown[:_SHOWN_TASKS]:
        table.add_row(*_step_row(name, tiers, report.steps))
    if len(shown) > _SHOWN_TASKS:
        rest = {tier.value: sum(tiers.get(tier.value, 0) for _, tiers in shown[_SHOWN_TASKS:]) for tier in Tier}
        table.add_row(*_step_row(f"{len(shown) - _SHOWN_TASKS} others", rest, report.steps))
    table.add_section()
    table.add_row(*_step_row("all", report.strategies[report.strategy].tiers, report.steps))
    return table


def _step_row(name: str, tiers: Mapping[str, int], total: int) -> Iterable[str]:
    steps = sum(tiers.values())
    yield name
    yield f"{steps:,}"
    yield percent(steps / total)
    for tier in Tier:
        yield f"{tiers[tier.value]:,}" if tiers.get(tier.value) else "."


def _unsure(report: ReplayReport) -> Table:
    with_label = any(each.needed is not None for each in report.least_sure)
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("least sure", justify="right", no_wrap=True, min_width=len("least sure"))
    table.add_column("sure", no_wrap=True, min_width=len("sure"))
    for heading in ("kind", "task", "sent to", *(["needed"] if with_label else []), "where"):
        table.add_column(_one_line(heading), max_width=_PLACE_WIDTH if heading == "where" else None)
    for each in report.least_sure:
        cells = [each.step_kind, each.task, each.target, *([each.needed or ""] if with_label else []), each.place]
        table.add_row(f"step {each.step}", f"{each.confidence:.2f}", *map(_one_line, cells))
    return table


def _one_line(cell: str) -> Text:
    """Cut where the terminal is narrow. A `no_wrap` column would not do: rich then shrinks every column alike."""
    return Text(cell, no_wrap=True, overflow="ellipsis")


def _problems(report: ReplayReport) -> list[RenderableType]:
    parts: list[RenderableType] = []
    if report.malformed:
        lines = problem_lines(report.problems, report.malformed, report.alike, shown=_SHOWN_PROBLEMS)
        parts.append(Text("\n".join([f"{count(report.malformed, 'line')} without a step", *lines]), style="yellow"))
    if report.unroutable:
        lines = [f"{count(report.unroutable, 'step')} that no target could serve", *report.unroutable_reasons]
        parts.append(Text("\n".join(lines), style="yellow"))
    return parts


def _table(heading: str, *figures: str) -> Table:
    """Names on the left, figures on the right."""
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(Text(heading), overflow="fold")
    for figure in figures:
        table.add_column(Text(figure), justify="right", no_wrap=True)
    return table
