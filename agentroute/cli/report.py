"""`agentroute report`: what a ledger holds: cost, baseline, signed savings, failures and waits, by day and target."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from agentroute.errors import ConfigError, printable
from agentroute.figures import count, percent, usd
from agentroute.learning.outcomes import Counted, counted, within
from agentroute.ledger.entries import KEYS
from agentroute.ledger.reading import read_assignments, read_entries, read_gaps, read_labels
from agentroute.ledger.report import Figures, Report, report

from .options import LEDGER_VARIABLE, ledger_path, stdout
from .outcomes_console import outcomes_dict, render_outcomes
from .tables import fitted

__all__ = ["command", "render", "to_csv"]

_AGO = re.compile(r"(\d{1,5})([dh])")


def command(
    ledger: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="The ledger.", show_default=f"{LEDGER_VARIABLE}, else ledger.db in your data directory"
        ),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY",
            help=f"Break down by this; may be repeated. One of {', '.join(KEYS)}.",
            show_default="day and target",
        ),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="WHEN", help="From here on: 2026-11-24, 2026-11-24T09:00+01:00, 7d, 24h.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Up to here, not included; the same forms.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; money is text and exact.")] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Print CSV: one row for all, for each value, each gap.")
    ] = False,
) -> None:
    """Show what calls cost, and what they would have cost on the baseline model, from a ledger.

    Savings are signed: routing may cost more. The baseline is an estimate (`~`). Days are UTC.

    agentroute report --by agent --since 7d

    agentroute report --by target --csv > november.csv

    A program writes a ledger where it is told to: `Router(ledger="ledger.db")`, or `ledger = "ledger.db"` in its config
    file (docs/ledger.md).
    """
    if as_json and as_csv:
        raise ConfigError("--json and --csv are two forms of the same report; give one of them")
    path = ledger_path(ledger)
    if not path.is_file():
        raise ConfigError(
            f'there is no ledger {str(path)!r}; Router(ledger="ledger.db") or `ledger = "ledger.db"` in a config file '
            f"writes one, --ledger or {LEDGER_VARIABLE} names it"
        )
    now = datetime.now(UTC)
    start, end = _time(since, "--since", now), _time(until, "--until", now)
    keys = list(dict.fromkeys(by or ("day", "target")))
    found = report(read_entries(path, since=start, until=end), read_gaps(path, since=start, until=end), by=keys)
    if not found.totals.steps:
        when = " in that time" if since or until else " yet"
        raise ConfigError(f"the ledger {str(path)!r} holds no decision{when}")
    labels = list(read_labels(path))
    known = within(counted(read_assignments(path), labels), start, end) if labels else Counted()
    if as_json:
        typer.echo(json.dumps({"ledger": str(path), **found.to_dict(), "outcomes": outcomes_dict(known)}, indent=2))
    elif as_csv:
        typer.echo(to_csv(found), nl=False)
    else:
        console = stdout()
        console.print(Text(str(path), style="dim"), soft_wrap=True)
        console.print(render(found, width=console.width))
        if labels:
            console.print(render_outcomes(known))


def _time(text: str | None, option: str, now: datetime) -> datetime | None:
    if text is None:
        return None
    ago = _AGO.fullmatch(text)
    if ago is not None:
        return now - timedelta(**{"days" if ago[2] == "d" else "hours": int(ago[1])})
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = None
    if time is None:
        raise ConfigError(f"{option} is {text!r}; write a date (2026-11-24), a date and time, or a span (7d, 24h)")
    return time if time.tzinfo else time.replace(tzinfo=UTC)


# -- CSV -----------------------------------------------------------------------------------------------------------


def to_csv(found: Report) -> str:
    """Rows `all`, then one for each key and value, then one for each gap; the same columns, nothing rounded.

    A value that a spreadsheet would run as a formula has an apostrophe before it.
    """
    out = io.StringIO()
    columns = list(Figures.__slots__)
    table = csv.DictWriter(out, ["by", "value", *columns], lineterminator="\n", restval="")
    table.writeheader()
    for key, value, figures in _figures(found):
        table.writerow({"by": key, "value": None if value is None else _cell(value), **figures.to_dict()})
    for gap in found.gaps:
        sums = gap.totals.to_dict()
        table.writerow({"by": "gap", "value": f"{gap.since.isoformat()}/{gap.until.isoformat()}", **sums})
    return out.getvalue()


_FORMULA = tuple("=+-@＝＋－＠")
"""How a formula may begin (https://owasp.org/www-community/attacks/CSV_Injection)."""


def _cell(text: str) -> str:
    shown = printable(text)
    return f"'{shown}" if shown.lstrip(" \ufffd'").startswith(_FORMULA) else shown


def _figures(found: Report) -> Iterator[tuple[str, str | None, Figures]]:
    yield "all", None, found.all
    for key, groups in found.by.items():
        for value, figures in groups.items():
            yield key, value, figures


# -- for people ----------------------------------------------------------------------------------------------------


def render(found: Report, *, width: int = 80) -> RenderableType:
    """The sums in words, a table for each key, and what the signs mean, in `width` columns."""
    parts: list[RenderableType] = [Text("\n".join(_headline(found)))]
    if found.gaps:
        parts.append(Text("\n".join(_gaps(found)), style="yellow"))
    left_out: tuple[str, ...] = ()
    for key, groups in found.by.items():
        if groups:
            table, missing = fitted(partial(_table, key, groups), _SPARE, width)
            left_out = max(left_out, missing, key=len)
            parts.append(table)
    legend = [*_legend(found), *([f"Left out at this width: {', '.join(left_out)}."] if left_out else [])]
    parts.append(Text("\n".join(legend), style="dim"))
    return Group(*(Padding(part, (0, 0, 1, 0), expand=False) for part in parts))


def _headline(found: Report) -> list[str]:
    all_, totals = found.all, found.totals
    steps = count(totals.steps, "step")
    lines = [f"{steps}, {(found.first or '')[:16]} to {(found.last or '')[:16]} UTC"]
    if not all_.steps:
        lines = [f"{steps}, without details"]
    priced = totals.steps - totals.unpriced
    lines.append(f"cost      {usd(totals.cost if priced else None)}{_unpriced(totals.unpriced)}")
    if all_.compared or found.gaps:
        share = f" ({percent(totals.savings / totals.baseline_cost)})" if totals.baseline_cost else ""
        lines.append(f"baseline  {usd(totals.baseline_cost, estimated=True)}, an estimate")
        lines.append(f"saved     {usd(totals.savings, estimated=True)}{share}")
        if all_.compared < all_.steps:
            lines.append(
                f"          over {count(all_.compared, 'step')} with both known{', and the gap' if found.gaps else ''}"
            )
    else:
        lines.append("baseline  unknown of every step")
    calls = [
        ("failed", all_.failed),
        ("given up", all_.given_up),
        ("fallbacks", all_.fallbacks),
        ("possible duplicates", all_.duplicates),
    ]
    lines.append("calls     " + ", ".join(f"{number:,} {what}" for what, number in calls))
    if all_.broken:
        lines.append(
            f"caches    {count(all_.broken, 'broken prompt')}, which cost {usd(all_.broken_cost)} (--by cache_broken; "
            "`agentroute doctor` says what to do)"
        )
    lines.append(f"waits     whole answer p50 {_seconds(all_.duration_p50)}, p95 {_seconds(all_.duration_p95)}")
    lines.append(
        f"          first content p50 {_seconds(all_.first_content_p50)}, p95 {_seconds(all_.first_content_p95)}"
    )
    return lines


def _gaps(found: Report) -> list[str]:
    steps = count(sum(gap.totals.steps for gap in found.gaps), "step")
    first = min(gap.since for gap in found.gaps).astimezone(UTC)
    last = max(gap.until for gap in found.gaps).astimezone(UTC)
    return [
        f"gap: details of {steps} were dropped, {first:%Y-%m-%d %H:%M} to {last:%Y-%m-%d %H:%M} UTC.",
        "Cost, baseline and savings above count them; all other figures do not.",
    ]


_SPARE = ("dup", "p50", "fall", "fail", "p95")
"""Columns that a narrow terminal can do without."""


def _table(key: str, groups: Mapping[str | None, Figures], left_out: Collection[str]) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column(key, overflow="fold", min_width=8)
    headings = ("steps", "cost", "~baseline", "~saved", "fail", "fall", "dup", "p50", "p95")
    for heading in headings:
        if heading not in left_out:
            table.add_column(heading, justify="right", no_wrap=True)
    for value, figures in groups.items():
        cells: tuple[str | Text, ...] = (
            f"{figures.steps:,}",
            usd(figures.cost) + ("*" if figures.unpriced else ""),
            usd(figures.baseline_cost),
            Text(usd(figures.savings), style="red" if (figures.savings or 0) < 0 else "green"),
            *(f"{number:,}" if number else "." for number in (figures.failed, figures.fallbacks, figures.duplicates)),
            _seconds(figures.duration_p50),
            _seconds(figures.duration_p95),
        )
        table.add_row(
            Text("(none)", "dim") if value is None else Text(printable(value)),
            *(cell for heading, cell in zip(headings, cells, strict=True) if heading not in left_out),
        )
    return table


def _legend(found: Report) -> Iterable[str]:
    yield "USD. ~ estimated: the baseline model on the same steps; saved = baseline - cost,"
    yield "over answered steps with both known, and negative where routing cost more."
    yield "fail: no whole answer; fall: fallbacks; dup: attempts that may be billed unseen;"
    yield "p50, p95: seconds to the end of the answer."
    if found.all.unpriced:
        yield "* some steps have no known cost; they are in no sum."


def _unpriced(steps: int) -> str:
    return f" and {count(steps, 'step')} of unknown cost, in no sum" if steps else ""


def _seconds(seconds: float | None) -> str:
    return "." if seconds is None else f"{seconds:.2f}" if seconds < 100 else f"{seconds:.0f}"
