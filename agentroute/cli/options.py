"""What commands share: the pool and the ledger where none is named, and the console they print on."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import platformdirs
import typer
from rich.console import Console

from agentroute.catalog.example import EXAMPLE_POOL, example_targets

__all__ = ["EXAMPLE_POOL", "LEDGER_VARIABLE", "ConfigOption", "StrategyOption", "ledger_path", "pool_options", "stdout"]

LEDGER_VARIABLE = "AGENTROUTE_LEDGER"

PIPED_WIDTH = 100
"""Columns where the output goes to a file or a pipe and COLUMNS is not set."""

ConfigOption: TypeAlias = Annotated[
    Path | None, typer.Option("--config", "-c", help="A config file with your pool (docs/configuration.md).")
]
StrategyOption: TypeAlias = Annotated[
    str | None,
    typer.Option(help="cheapest, balanced or best.", show_default="the config file's, else balanced"),
]


def pool_options(config: Path | None, strategy: str | None = None) -> dict[str, Any]:
    """The arguments of a Router: from the config file, else the example pool; `strategy` (None: the file's) goes first.

    Whether it is one is for the Router to say. The file's ledger is left out: a command that makes no call writes none.
    """
    options: dict[str, Any]
    if config is None:
        options = {"targets": example_targets()}
    else:
        from agentroute.config import load

        options = {name: value for name, value in load(config).items() if name not in ("ledger", "recording")}
    return options if strategy is None else {**options, "strategy": strategy}


def ledger_path(named: Path | None = None) -> Path:
    """The one named on the command line, else in the environment, else `ledger.db` in the user's data directory."""
    if named is not None:
        return named
    from_environment = os.environ.get(LEDGER_VARIABLE)
    if from_environment:
        return Path(from_environment).expanduser()
    return Path(platformdirs.user_data_dir("agentroute", appauthor=False)) / "ledger.db"


def stdout(*, soft_wrap: bool = False) -> Console:
    """Standard output: as wide as the terminal, or as COLUMNS says; piped without it, 100 columns."""
    columns = os.environ.get("COLUMNS", "")
    told = int(columns) if columns.isascii() and columns.isdigit() else 0
    width = told or (None if sys.stdout.isatty() else PIPED_WIDTH)
    return Console(width=width, soft_wrap=soft_wrap)
