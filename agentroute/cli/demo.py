"""`agentroute demo`: a real agent over scripted models, each step routed, priced and explained while you watch."""

from __future__ import annotations

import os
from collections.abc import Sequence
from decimal import Decimal
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Final, NamedTuple

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from agentroute.decisions import Decision
from agentroute.errors import ConfigError, nearest
from agentroute.figures import count, percent, usd

__all__ = ["command", "show_steps"]


class _Demo(NamedTuple):
    module: str
    framework: str
    """The package without which it cannot run."""
    extra: str
    environment: tuple[str, ...] = ()
    """Variables that are set to `true` before the framework is imported, unless they are set."""


DEMOS: Final = {
    "langgraph": _Demo("langchain_agentroute.demo", "langgraph", "langchain"),
    "crewai": _Demo("crewai_agentroute.demo", "crewai", "crewai", ("CREWAI_DISABLE_TELEMETRY",)),
    "llamaindex": _Demo("llama_index.llms.agentroute.demo", "llama_index.core", "llama-index"),
}
"""By name, in the order in which the first that is installed is shown."""


def command(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="langgraph, crewai or llamaindex.",
            show_default="the first of them that is installed",
        ),
    ] = None,
) -> None:
    """Watch an agent at work, each of its model calls routed on its own. No key, no network.

    langgraph: an agent repairs a small shop, step by step. crewai: a crew of three. llamaindex: two agents and a query
    engine. Each needs its extra: pip install "agentroute-llm[langchain]", [crewai] or [llama-index].
    """
    name = _installed() if name is None else name
    if name not in DEMOS:
        raise ConfigError(f"there is no demo {name!r}{nearest(name, DEMOS) or ';'} there is {', '.join(DEMOS)}")
    demo = DEMOS[name]
    for variable in demo.environment:
        os.environ.setdefault(variable, "true")
    try:
        run = import_module(demo.module).run
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.partition(".")[0] == demo.module.partition(".")[0] and _is_there(demo.framework):
            raise
    else:
        run(console=Console())
        return
    raise ConfigError(f'the demo {name!r} needs {missing}; install it with: pip install "agentroute-llm[{demo.extra}]"')


def _installed() -> str:
    return next((name for name, demo in DEMOS.items() if _is_there(demo.framework)), next(iter(DEMOS)))


def _is_there(package: str) -> bool:
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package around it
        return False


def show_steps(console: Console, decisions: Sequence[Decision]) -> None:
    """A row for each step, the reasons of the one that was sent highest, and the bill."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for heading in ("", "who", "kind of step", "target"):
        table.add_column(heading, no_wrap=True)
    for heading in ("tokens in", "out", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for number, step in enumerate(decisions, 1):
        usage, who = step.usage or step.estimated_usage, step.context.role or step.context.agent or ""
        tried = [f"{attempt.target} {attempt.status or 'failed'}" for attempt in step.attempts if attempt.error]
        table.add_row(
            f"{number}",
            Text(who or "the router"),
            step.step_kind.value,
            " > ".join([*tried, step.target]),
            f"{usage.input_tokens or 0:,}",
            f"{usage.output_tokens or 0:,}",
            usd(step.cost, places=5),
        )
    console.print(table)
    highest = max(decisions, key=lambda step: step.tier.rank)
    console.print(Text(f"\nWhy step {decisions.index(highest) + 1} went to {highest.target}", "bold"))
    for reason in highest.reasons:
        console.print(Text(f"  {reason}"))
    spent = sum((step.cost or Decimal(0) for step in decisions), Decimal(0))
    baseline = sum((step.baseline_cost or Decimal(0) for step in decisions), Decimal(0))
    share = f", {percent((baseline - spent) / baseline)} saved" if baseline else ""
    everywhere = f"{count(len(decisions), 'step')} on {decisions[0].baseline_target} alone: ~{usd(baseline, places=5)}"
    console.print(Text(f"\nspent {usd(spent, places=5)}; {everywhere}{share}"))
    console.print(Text("The models' words are scripted; the routing, the requests and the prices are real.", "dim"))
