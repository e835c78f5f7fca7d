"""The command line: one file a command. `agentroute --help` lists them."""

from __future__ import annotations

import io
import sys
from typing import Annotated

import typer

from agentroute import __version__
from agentroute.errors import AgentRouteError

from . import calibrate, check, demo, doctor, models, replay, report, route, serve, shadow, trial

__all__ = ["app", "main"]

app = typer.Typer(
    help="Sends each model call of an agent to the cheapest model that will do it right.\n\n"
    "Start with `agentroute demo` (no key needed), then `agentroute replay` on traces of your own.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo.command)
app.command("check")(check.command)
app.command("route")(route.command)
app.command("serve")(serve.command)
app.command("replay")(replay.command)
app.command("doctor")(doctor.command)
app.command("report")(report.command)
app.command("shadow")(shadow.command)
app.command("trial")(trial.command)
app.command("calibrate")(calibrate.command)
app.command("models")(models.command)


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(f"agentroute {__version__}")
        raise typer.Exit()


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """The console script. Our own errors end in one line, not a traceback.

    A sign that the output's encoding lacks becomes `?`: redirected output is cp1252 or ASCII on many machines.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    try:
        app()
    except (AgentRouteError, OSError) as error:
        typer.secho(f"agentroute: {error}", fg="red", err=True)
        raise SystemExit(1) from None
