"""`agentroute demo`: a real agent over a scripted fleet, each step routed, priced and explained while you watch."""

from __future__ import annotations

from importlib.metadata import entry_points
from typing import Annotated

import typer
from rich.console import Console

from agentroute.errors import ConfigError

__all__ = ["command"]

_EXTRAS = {"langgraph": "langchain"}
"""The extra that brings the framework of each demo that ships with us."""


def command(
    name: Annotated[str, typer.Argument(help="Which demo; another package may bring more.")] = "langgraph",
) -> None:
    """Watch a LangGraph agent repair a small shop, each of its model calls routed on its own. No key, no network."""
    demos = {point.name: point for point in entry_points(group="agentroute.demos")}
    if name not in demos:
        raise ConfigError(f"there is no demo {name!r}; there is {', '.join(sorted(demos)) or 'none installed'}")
    try:
        run = demos[name].load()
    except ModuleNotFoundError as error:
        missing, extra = error.name, _EXTRAS.get(name, name)
        if (missing or "").partition(".")[0] == demos[name].module.partition(".")[0]:
            raise
    else:
        run(console=Console())
        return
    raise ConfigError(f'the demo {name!r} needs {missing}; install it with: pip install "agentroute-llm[{extra}]"')
