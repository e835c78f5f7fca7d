"""`agentroute replay`: recorded traces through the router, offline; where each step would have gone, and the bill."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import RenderableType
from rich.text import Text

from agentroute.errors import ConfigError
from agentroute.figures import count
from agentroute.replay import GAP_S, ReplayReport, describe, replay, replay_ledger
from agentroute.replay.html import page
from agentroute.replay.ledgers import holds_decisions
from agentroute.router import Router
from agentroute.targets import Target

from .description_console import render_description
from .ledger_console import render_ledger
from .options import EXAMPLE_POOL, ConfigOption, pool_options, stdout
from .reading import check_page, known_format, nothing_in, progress
from .replay_console import render

__all__ = ["command"]


def command(
    files: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Files, folders or patterns of recorded runs; or ledgers.")
    ],
    config: ConfigOption = None,
    targets: Annotated[
        str | None,
        typer.Option(help="The pool as provider/model, comma-separated, in place of a config file."),
    ] = None,
    strategy: Annotated[
        str | None,
        typer.Option(
            help="The strategy shown step by step: cheapest, balanced or best.",
            show_default="the config file's, else balanced",
        ),
    ] = None,
    source: Annotated[
        str | None,
        typer.Option("--format", help="The name of a format (docs/replay.md), if it is not told from the values."),
    ] = None,
    limit: Annotated[int | None, typer.Option(help="Stop after this many steps.")] = None,
    explain: Annotated[int | None, typer.Option(help="Show the decisions of step N, in place of the report.")] = None,
    gap: Annotated[
        float, typer.Option(help="Seconds between steps where the traces have no times; caches outlive it or not.")
    ] = GAP_S,
    out: Annotated[Path | None, typer.Option(help="Also write the report as one HTML file.")] = None,
    described: Annotated[
        bool, typer.Option("--describe", help="Count what is in the traces, and route nothing.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the report as JSON.")] = False,
) -> None:
    """Route recorded agent traces step by step, offline: where each step would go, and what it would cost.

    Reads what coding agents, tracers, gateways and batch jobs write (docs/replay.md lists them): files, folders and
    patterns. No call is made and no key is needed: without --config or --targets the pool is an example of one model
    for each tier.

    A ledger (SQLite, or decisions as JSONL) holds no prompts: its recorded tokens are priced again with your pool, and
    each strategy chooses from the recorded predictions.

    agentroute replay traces.jsonl.gz --out report.html
    """
    if described:
        _describe(files, known_format(source), as_json=as_json)
        return
    if out is not None:
        check_page(out, files, "--out")
    ledgers = [file for file in files if file.is_file() and holds_decisions(file)]
    router = Router(**_pool(config, targets, strategy))
    if ledgers:
        traces_only = {"--explain": explain, "--out": out, "--format": source, "--gap": None if gap == GAP_S else gap}
        _check_ledgers(files, ledgers, traces_only)
        with progress() as on_progress:
            found = replay_ledger(files, router, limit=limit, on_progress=on_progress)
        if as_json:
            typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
        else:
            _print(render_ledger(found), example=config is None and targets is None)
        if not found.steps:
            raise ConfigError(f"no answered step in {', '.join(repr(file) for file in found.files)}")
        return
    only_explain = explain is not None and not as_json and out is None
    with progress() as on_progress:
        report = replay(
            files,
            router,
            strategy=router.strategy,
            fmt=known_format(source),
            limit=explain if only_explain and limit is None else limit,
            explain=explain,
            gap_s=gap,
            on_progress=on_progress,
        )
    if not report.steps and not as_json:
        raise ConfigError(_no_step(report))
    if out is not None and report.steps:
        out.write_text(page(report), encoding="utf-8")
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2, ensure_ascii=False))
    elif only_explain:
        _show_explained(report)
    else:
        _print(render(report, width=stdout().width), example=config is None and targets is None)
    if not report.steps:
        raise ConfigError(_no_step(report))
    if out is not None:
        typer.echo(f"wrote {out}", err=True)


def _describe(files: Sequence[Path], fmt: str | None, *, as_json: bool) -> None:
    with progress() as on_progress:
        found = describe(files, fmt=fmt, on_progress=on_progress)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2, ensure_ascii=False))
    else:
        stdout().print(render_description(found))
    if not found.steps:
        raise ConfigError(nothing_in(found.files, found.alike, found.problems))


def _print(shown: RenderableType, *, example: bool) -> None:
    console = stdout()
    if example:
        names = ", ".join(f"{provider}/{model}" for provider, model in EXAMPLE_POOL)
        console.print(Text(f"the example pool ({names}); --config or --targets give yours\n", style="dim"))
    console.print(shown)


def _check_ledgers(files: Sequence[Path], ledgers: Sequence[Path], traces_only: Mapping[str, object]) -> None:
    if len(ledgers) < len(files):
        other = next(file for file in files if file not in ledgers)
        raise ConfigError(
            f"{str(ledgers[0])!r} is a ledger, {str(other)!r} is not; replay ledgers and traces on their own"
        )
    for option, value in traces_only.items():
        if value is not None:
            raise ConfigError(f"{option} needs traces: a ledger holds no prompts; leave it out")


def _no_step(report: ReplayReport) -> str:
    files = ", ".join(repr(file) for file in report.files)
    if report.unroutable:
        steps = count(report.unroutable, "step")
        why = "; ".join(report.unroutable_reasons)
        return (
            f"no step routed from {files}: no target of the pool could serve the {steps} read ({why}); --config gives "
            "another pool"
        )
    return nothing_in(report.files, report.alike, report.problems)


def _pool(config: Path | None, targets: str | None, strategy: str | None) -> dict[str, Any]:
    if targets is not None and config is not None:
        raise ConfigError("--config and --targets both give a pool; use one of them")
    options = pool_options(config, strategy)
    if targets is None:
        return options
    return {**options, "targets": [_target(name.strip()) for name in targets.split(",") if name.strip()]}


def _target(name: str) -> Target:
    provider, slash, model = name.partition("/")
    if not (provider and slash and model):
        raise ConfigError(f"--targets has {name!r}; write provider/model, like openai/gpt-5.4")
    return Target(provider=provider, model=model)


def _show_explained(report: ReplayReport) -> None:
    explained = report.explained
    assert explained is not None
    console = stdout(soft_wrap=True)
    console.print(Text(f"step {explained.step:,}, {explained.place}\n", style="bold"))
    for name, decision in explained.decisions.items():
        console.print(Text(name, style="bold"))
        console.print(Text(decision.explain()), end="\n\n")
