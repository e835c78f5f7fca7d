"""The demo on a terminal: one row for each step while it runs, then the bill."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from agentroute import Decision, Target, Tier
from agentroute.figures import count, percent, usd

__all__ = ["Bill", "Board", "show_bill", "show_fleet", "show_step"]

_COLOURS = {Tier.BUDGET: "green", Tier.MID: "cyan", Tier.STANDARD: "yellow", Tier.PREMIUM: "magenta"}


@dataclass(frozen=True, slots=True)
class Bill:
    """USD of a whole run: `spent` on every attempt, `baseline` as it is estimated; None where a price is unknown."""

    spent: Decimal | None
    baseline: Decimal | None
    baseline_target: str

    @classmethod
    def of(cls, decisions: Sequence[Decision]) -> Bill:
        return cls(
            _sum([decision.cost for decision in decisions]),
            _sum([decision.baseline_cost for decision in decisions]),
            decisions[0].baseline_target,
        )

    @property
    def savings(self) -> Decimal | None:
        """Negative where the run cost more than the baseline would have."""
        return None if self.spent is None or self.baseline is None else self.baseline - self.spent


def _sum(amounts: Sequence[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return sum(known, Decimal(0)) if len(known) == len(amounts) else None


class Board:
    """A ledger that shows what it is given: `append` prints the row of a decision, below the ones before."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._columns = [column for column in _COLUMNS if console.width >= column.from_width]
        hidden = [column for column in _COLUMNS if console.width < column.from_width]
        self._hidden = sorted(hidden, key=lambda column: column.from_width)
        self._lock = threading.Lock()
        self._decisions: list[Decision] = []

    @property
    def decisions(self) -> tuple[Decision, ...]:
        with self._lock:
            return tuple(self._decisions)

    def show_head(self) -> None:
        self._print([Text(column.title, style="dim") for column in self._columns])
        self._console.rule(characters="-" if self._console.options.ascii_only else "─", style="dim")

    def show_hidden(self) -> None:
        """Which columns found no room, and the width of a terminal that shows each; nothing where none is missing."""
        if self._hidden:
            listed = ", ".join(f"{column.title} (from {column.from_width} columns on)" for column in self._hidden)
            self._console.print(Text(f"A wider terminal shows {listed}.", style="dim"))

    def append(self, decision: Decision) -> None:
        with self._lock:
            self._decisions.append(decision)
            self._print([column.cell(len(self._decisions), decision) for column in self._columns])

    def _print(self, cells: Sequence[RenderableType]) -> None:
        """One row as a table of its own: every width but one is fixed, so rows line up, and none is ever redrawn."""
        stretches = any(column.ratio for column in self._columns)
        row = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, show_header=False, expand=stretches)
        for column in self._columns:
            row.add_column(
                justify=column.justify,
                no_wrap=True,
                overflow=_cut(self._console),
                width=column.width,
                ratio=column.ratio,
            )
        row.add_row(*cells)
        self._console.print(row)


@dataclass(frozen=True, slots=True)
class _Column:
    title: str
    cell: Callable[[int, Decision], Text | str]
    justify: Literal["left", "right"] = "left"
    width: int | None = None
    ratio: int | None = None
    from_width: int = 0


def _cut(console: Console) -> Literal["crop", "ellipsis"]:
    """How what is too long is cut: ASCII has no ellipsis."""
    return "crop" if console.options.ascii_only else "ellipsis"


def _who(decision: Decision) -> str:
    context = decision.context
    return context.agent or context.role or context.node or "-"


def _why(decision: Decision) -> Text:
    return Text("; ".join(decision.reasons), style="dim")


def _target(decision: Decision) -> Text:
    """The target that answered, behind those that failed: `luna 503 > sonnet`."""
    cell = Text()
    for attempt in decision.attempts:
        if attempt.outcome != "ok":
            cell.append(f"{attempt.target} {attempt.status or attempt.error}", style="red").append(" > ", style="dim")
    return cell.append(decision.target, style=_COLOURS[decision.tier])


def _tokens(number: int | None) -> str:
    return "?" if number is None else f"{number:,}"


def _input(decision: Decision) -> str:
    return _tokens(decision.usage.input_tokens if decision.usage else None)


def _output(decision: Decision) -> str:
    return _tokens(decision.usage.output_tokens if decision.usage else None)


def _cached(decision: Decision) -> Text:
    number = decision.usage.cache_read_tokens if decision.usage else None
    return Text(_tokens(number), style="" if number else "dim")


def _usd(amount: Decimal | None) -> str:
    return usd(amount, places=5)


# `cached`, `out` and `who` come in as soon as all fixed widths and a space between each fit; `why` where it gets 29, as
# in less it says nothing, and `task` where that leaves `why` enough.
_COLUMNS = (
    _Column("#", lambda number, _: Text(str(number), style="dim"), "right", width=2),
    _Column("who", lambda _, decision: _who(decision), width=8, from_width=70),
    _Column("step", lambda _, decision: decision.step_kind.value, width=12),
    _Column("task", lambda _, decision: decision.task.value, width=15, from_width=124),
    _Column("why", lambda _, decision: _why(decision), ratio=1, from_width=100),
    _Column("target", lambda _, decision: _target(decision), width=18),
    _Column("in", lambda _, decision: _input(decision), "right", width=5),
    _Column("out", lambda _, decision: _output(decision), "right", width=4, from_width=61),
    _Column("cached", lambda _, decision: _cached(decision), "right", width=6, from_width=56),
    _Column("cost", lambda _, decision: _usd(decision.cost), "right", width=8),
)


def show_fleet(console: Console, targets: Sequence[Target]) -> None:
    """The targets, with their list prices."""
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="dim")
    for title in ("fleet", "tier", "model", "USD per million tokens in / out"):
        table.add_column(title, no_wrap=True)
    for target in targets:
        name = Text(target.name, style=_COLOURS[_tier(target)])
        table.add_row(name, _tier(target).value, f"{target.provider}/{target.model}", _rates(target))
    console.print(table)


def _tier(target: Target) -> Tier:
    assert target.tier is not None
    return target.tier


def _rates(target: Target) -> str:
    price = target.price
    return "unknown" if price is None else f"{price.input:.2f} / {price.output:.2f}"


def show_step(console: Console, number: int, decision: Decision) -> None:
    """Why one step went where it went: the reasons, and what spoke for each target."""
    kind = f"{decision.step_kind.value}, {decision.task.value}"
    console.print(Text(f"Why step {number} ({kind}) went to {decision.target}", style="bold"))
    for reason in decision.reasons:
        console.print(Text(f"  - {reason}"), no_wrap=True, overflow=_cut(console))
    for candidate in decision.candidates:
        line = Text.assemble("  ", (f"{candidate.target:<11}", _COLOURS[candidate.tier]), (candidate.reason, "dim"))
        console.print(line, no_wrap=True, overflow=_cut(console))
    console.print()


def show_bill(console: Console, decisions: Sequence[Decision], bill: Bill, targets: Sequence[Target]) -> None:
    """How the steps spread over the fleet; then what was spent, the baseline and the difference."""
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    for target in targets:
        steps = sum(decision.target == target.name for decision in decisions)
        spent = _sum([decision.cost for decision in decisions if decision.target == target.name])
        bar = Text(("#" if console.options.ascii_only else "\u2588") * steps, style=_COLOURS[_tier(target)])
        table.add_row(target.name, _right(count(steps, "step")), _right(_usd(spent)), bar)
    console.print(table)
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False, pad_edge=False)
    table.add_row("spent", _right(_usd(bill.spent), "bold"), Text("reported usage, list prices", "dim"))
    table.add_row(
        f"always {bill.baseline_target}",
        _right(_usd(bill.baseline)),
        Text("estimate: the same steps there, warm cache", "dim"),
    )
    table.add_row("saved", _right(*_saved(bill)))
    console.print(table)


def _right(text: str, style: str = "") -> Text:
    return Text(text, style, justify="right")


def _saved(bill: Bill) -> tuple[str, str]:
    savings = bill.savings
    if savings is None or not bill.baseline:
        return "unknown", ""
    return f"{_usd(savings)} ({percent(savings / bill.baseline)})", "bold green" if savings > 0 else "bold red"
