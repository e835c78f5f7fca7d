"""`agentroute trial`: whole runs of a role are drawn for a candidate at their start; how it stands, when it is over."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from agentroute.errors import ConfigError, nearest
from agentroute.figures import count
from agentroute.learning.outcome_files import read_outcomes
from agentroute.learning.outcomes import counted
from agentroute.learning.trial import USUAL
from agentroute.learning.tried import began, runs_of, stands, written
from agentroute.ledger.reading import read_assignments, read_labels
from agentroute.router import Router
from agentroute.routing.trials import Tried

from .calibrate import save
from .options import ConfigOption, stdout

__all__ = ["command"]


def command(
    role: Annotated[str, typer.Argument(metavar="ROLE | FILE", help="A role to begin with; or the file of a trial.")],
    outcomes: Annotated[
        list[Path] | None, typer.Argument(metavar="OUTCOMES", help="Outcomes as JSON lines, to see how a trial stands.")
    ] = None,
    config: ConfigOption = None,
    candidate: Annotated[str | None, typer.Option(help="The target to try.")] = None,
    strongest: Annotated[
        str | None, typer.Option(help="What it is compared with.", show_default="the config's baseline")
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the role's runs that the candidate gets.")] = 0.1,
    margin: Annotated[float, typer.Option(help="How much lower its success may be.")] = 0.05,
    usual: Annotated[float, typer.Option(help="Success of the strongest, as far as you know.")] = USUAL,
    up: Annotated[bool, typer.Option("--up", help="The strongest serves steps after failures, and summaries.")] = False,
    ledger: Annotated[Path | None, typer.Option(help="A ledger with outcomes, to see how a trial stands.")] = None,
    out: Annotated[Path | None, typer.Option(help="The trial's file.", show_default="trial-ROLE.toml")] = None,
) -> None:
    """Try a cheaper target on whole runs of a role, drawn by chance at their start; off unless you ask for it.

    agentroute trial triage --candidate small --share .2 --config agentroute.toml

    says how many runs that takes and writes a file; `trial = "trial-triage.toml"` in the config lets the router take
    part. Outcomes (`router.outcome`) then tell how it stands:

    agentroute trial trial-triage.toml --ledger ledger.db
    """
    if role.endswith(".toml"):
        _standing(Path(role), outcomes or [], ledger)
        return
    if outcomes or ledger is not None:
        raise ConfigError(f"{role!r} is a role; to see how a trial stands name its file, like trial-{role}.toml")
    if candidate is None or config is None:
        missing = "--candidate" if candidate is None else "--config"
        raise ConfigError(f"a trial of the role {role!r} needs {missing}")
    with Router.from_config(config, ledger=None, policy=None, trial=None) as router:
        names = [target.name for target in router.pool]
        best = router.baseline.name if strongest is None else strongest
    for name in (candidate, best):
        if name not in names:
            near = nearest(name, names) or ";"
            raise ConfigError(f"no target is named {name!r}{near} the pool has {', '.join(names)}")
    now = datetime.now(UTC).replace(microsecond=0)
    values = {"role": role, "candidate": candidate, "strongest": best, "began": now, "share": share, "margin": margin}
    told = Tried.parse({"version": 1, **values, "usual": usual, "up": up, "salt": now.isoformat()}, "the trial")
    tried, runs = began(told)
    path = Path(f"trial-{role}.toml") if out is None else out
    if path.exists():
        raise ConfigError(
            f"{str(path)!r} is there already; see how it stands with `agentroute trial {path}`, or name another --out"
        )
    save(path, written(tried))
    console = stdout(soft_wrap=True)
    console.print(Text(f"{role}: {candidate} beside {best}, at most {100 * margin:g} points worse", style="bold"))
    console.print(
        f"it is likely to take {count(runs, 'run')} of the candidate: about {count(round(runs / share), 'run')} of the "
        f"role, {100 * share:g} % of them on the candidate"
    )
    console.print(Text(f'wrote {path}; nothing is tried before the config says: trial = "{path}"'))


def _standing(path: Path, files: list[Path], ledger: Path | None) -> None:
    tried = Tried.load(path)
    found, costs = list(read_outcomes(files, tried.strongest)) if files else [], None
    if ledger is not None:
        if not ledger.is_file():
            raise ConfigError(f"there is no ledger {str(ledger)!r}")
        told = counted(read_assignments(ledger), read_labels(ledger))
        found, costs = [*found, *told.outcomes], told.costs
    if not files and ledger is None:
        raise ConfigError("how a trial stands is told by outcomes: name JSON lines of them, or --ledger")
    shown = stands(tried, runs_of(tried, found, costs))
    console = stdout(soft_wrap=True)
    for line in shown.lines(tried.margin):
        console.print(Text(line))
    if tried.stopped is not None:
        console.print(Text(f"  no more runs are drawn: {tried.stopped}"))
    elif shown.verdict != "goes on":
        save(path, written(replace(tried, stopped=shown.verdict)))
        console.print(Text(f"  {path} says so now: a router that reads it draws no more runs"))
    if shown.verdict == "not inferior":
        console.print(Text(f"  `agentroute calibrate --trial {path} ...` writes the licence"))
