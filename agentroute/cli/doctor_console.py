"""The doctor's report on a terminal, readable at 80 columns."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentroute.errors import printable
from agentroute.figures import count, percent, usd
from agentroute.replay.doctor import AgentBill, DoctorReport, Finding
from agentroute.replay.doctor.wording import caveats, change, headline, remedy
from agentroute.replay.wording import problem_lines

__all__ = ["render_doctor"]

_SHOWN_PROBLEMS = 10
_SHOWN_AGENTS = 12


def render_doctor(report: DoctorReport, *, width: int = 100) -> RenderableType:
    """The bill by agent, then each finding with what to do."""
    parts: list[RenderableType] = [Text("\n".join([*headline(report), *_sum(report)])), _agents(report)]
    parts += [_finding(found, report, width) for found in report.findings]
    if not report.findings:
        parts.append(Text("Nothing found: every prompt was read as far as it could be.", style="green"))
    if report.malformed:
        lines = problem_lines(report.problems, report.malformed, report.alike, shown=_SHOWN_PROBLEMS)
        parts.append(Text("\n".join([f"{count(report.malformed, 'line')} without a step", *lines]), style="yellow"))
    parts.append(Text("\n".join(f"* {line}" for line in caveats(report)), style="dim"))
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts))


def _sum(report: DoctorReport) -> Iterator[str]:
    share = "" if report.share is None else f" ({percent(report.share)})"
    yield f"bill         {usd(report.usd)}"
    yield f"thrown away  {usd(report.thrown_away)}{share}"


def _agents(report: DoctorReport) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column("agent", overflow="fold")
    for heading in ("conversations", "steps", "bill", "thrown away", "share"):
        table.add_column(heading, justify="right", no_wrap=True)
    for each in report.agents[:_SHOWN_AGENTS]:
        table.add_row(*_cells(each))
    rest = report.agents[_SHOWN_AGENTS:]
    if rest:
        table.add_row(Text(f"and {len(rest)} more", "dim"))
    return table


def _cells(each: AgentBill) -> Iterator[str | Text]:
    yield Text(printable(each.agent))
    yield f"{each.conversations:,}"
    yield f"{each.steps:,}"
    yield usd(each.usd)
    yield Text(usd(each.thrown_away), style="red" if each.thrown_away else "")
    yield percent(each.thrown_away / each.usd) if each.usd else ""


def _finding(found: Finding, report: DoctorReport, width: int) -> RenderableType:
    """Three lines: what it cost and what is wrong, where, and what to do."""
    money = usd(found.usd) + ("*" if found.advice else "")
    bill = next((each.usd for each in report.agents if each.agent == found.agent), None)
    share = f", {percent(found.usd / bill)} of the agent's bill" if bill and found.usd is not None else ""
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", max_width=max(width - 16, 40))
    table.add_row(Text(money, style="yellow" if found.advice else "bold red"), Text(printable(change(found)), "bold"))
    where = f"{printable(found.agent)} on {printable(found.model)}"
    steps = f"{count(found.steps, 'step')} in {count(found.conversations, 'conversation')}"
    table.add_row("", Text(f"{where}: {steps}, {found.tokens:,} tokens{share}", style="dim"))
    table.add_row("", Text(f"dearest at {printable(found.place)}", style="dim"))
    table.add_row("", Text(printable(remedy(found)), style="cyan"))
    return table
