"""`agentroute doctor`: where the prompt caches of recorded agents broke, what that cost, and what to do about it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from agentroute.errors import ConfigError
from agentroute.replay.doctor import doctor
from agentroute.replay.doctor.page import page as html
from agentroute.replay.doctor.reading import GAP_S
from agentroute.router import Router

from .doctor_console import render_doctor
from .options import ConfigOption, pool_options, stdout
from .reading import check_page, known_format, nothing_in, progress

__all__ = ["command"]


def command(
    files: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, folders or patterns of recorded runs; or ledgers.")
    ],
    config: ConfigOption = None,
    source: Annotated[
        str | None,
        typer.Option("--format", help="The name of a format (docs/replay.md), if it is not told from the values."),
    ] = None,
    gap: Annotated[float, typer.Option(help="Seconds between steps where the traces have no times.")] = GAP_S,
    page: Annotated[
        Path | None, typer.Option("--html", metavar="FILE", help="Also write one HTML file, with a timeline.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Find what your agents throw away: where their prompt caches break, at which tool or message, and what it costs.

    A provider reads a prompt that begins like the last one from its cache, for a tenth of the price or less. A clock in
    the system prompt, tools in another order, a changed setting, a missing marker or a long pause make you pay for all
    of it again. To mend that changes no answer.

    Reads what `agentroute replay` reads (docs/replay.md lists it), and ledgers. No call is made and no key is needed.
    Names, counts and places are shown, never a text. Models are known by their catalog names; --config gives names and
    prices of your own.

    agentroute doctor ~/.claude/projects

    agentroute doctor traces.jsonl.gz --html doctor.html
    """
    if page is not None:
        check_page(page, files, "--html")
    pool = None if config is None else Router(**pool_options(config)).pool
    with progress() as on_progress:
        report = doctor(files, pool, fmt=known_format(source), gap_s=gap, on_progress=on_progress)
    if not report.steps:
        raise ConfigError(nothing_in(report.files, report.alike, report.problems))
    if page is not None:
        page.write_text(html(report), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    else:
        console = stdout()
        console.print(render_doctor(report, width=console.width))
    if page is not None:
        typer.echo(f"wrote {page}", err=True)
