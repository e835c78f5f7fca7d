"""`agentroute calibrate`: outcomes, or the state of a trial, become one policy file that people review."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from agentroute.errors import ConfigError
from agentroute.figures import count, usd
from agentroute.learning.bounds import needed
from agentroute.learning.calibrate import KEPT, LASTS, Policy, from_outcomes, savings, with_more
from agentroute.learning.outcome_files import read_outcomes
from agentroute.learning.outcomes import Outcome, counted
from agentroute.learning.policy_file import differences, written
from agentroute.learning.screening import licences, screened
from agentroute.learning.shadow import State
from agentroute.learning.tried import licence, runs_of
from agentroute.ledger.reading import read_assignments, read_labels
from agentroute.router import Router
from agentroute.routing.profiles import Profiles
from agentroute.routing.trials import Tried

from .options import ConfigOption, pool_options, stdout

__all__ = ["command"]


def command(
    files: Annotated[
        list[Path] | None, typer.Argument(metavar="OUTCOMES...", help="Outcomes as JSON lines (docs/learning.md).")
    ] = None,
    config: ConfigOption = None,
    strongest: Annotated[
        str | None,
        typer.Option(help="The target that the promise is relative to.", show_default="the config's baseline"),
    ] = None,
    ledger: Annotated[Path | None, typer.Option(help="A ledger with outcomes (`router.outcome`).")] = None,
    trial: Annotated[
        list[Path] | None, typer.Option(help="The file of a trial whose outcomes these are. Can be given again.")
    ] = None,
    shadow: Annotated[Path | None, typer.Option(help="The state of a shadow: what it licenses, loops never.")] = None,
    target: Annotated[
        str | None, typer.Option(help="The target of outcomes that name none: what those runs were assigned to.")
    ] = None,
    kept: Annotated[
        float, typer.Option("--promise", help="Share of the strongest target's success to promise.")
    ] = KEPT,
    confidence: Annotated[float, typer.Option(help="How sure the promise has to be.")] = 0.95,
    days: Annotated[int, typer.Option(help="How many days the licences hold.")] = LASTS.days,
    present: Annotated[
        Path | None,
        typer.Option(help="The policy file in use, to show what changes.", show_default="--out, if it is there"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write the policy file there.", show_default="only show it")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was found as JSON.")] = False,
) -> None:
    """Turn outcomes into a policy file: which roles may use which cheaper targets, with what bound, until when.

    Bounds are exact and count conversations, never steps; a target is licensed only if the promise is shown at its n.
    An outcome counts for the target that its run was assigned to at the start.

    agentroute calibrate outcomes.jsonl --config agentroute.toml --out policy.toml
    """
    if not 0.5 <= kept < 1:
        raise ConfigError(f"--promise is {kept}; give a share from 0.5 up to below 1, like 0.97")
    if not 0.5 <= confidence < 1:
        raise ConfigError(f"--confidence is {confidence}; give a number from 0.5 up to below 1, like 0.95")
    if days < 1:
        raise ConfigError(f"--days is {days}; give a whole number, 1 or more")
    router = Router(**pool_options(config))
    best = router.pool[strongest].name if strongest is not None else router.baseline.name
    today = datetime.now(UTC).date()
    outcomes, costs = _outcomes(files or [], ledger, target)
    if not outcomes and shadow is None:
        raise ConfigError("there are no outcomes; name JSON lines of them, --ledger, or --shadow")
    for outcome in outcomes:
        router.pool.check_named(outcome.target, "the outcomes name the target")
    models, lasts = {each.name: each.model for each in router.pool}, timedelta(days=days)
    trials = [Tried.load(path) for path in trial or ()]
    drawn = {tried.role for tried in trials}
    policy = from_outcomes(
        [each for each in outcomes if each.role not in drawn],
        strongest=best,
        made=today,
        kept=kept,
        confidence=confidence,
        models=models,
        lasts=lasts,
    )
    for tried in trials:
        runs, model = runs_of(tried, outcomes), models.get(tried.candidate)
        profiles, promise = licence(tried, runs, today, confidence=confidence, model=model, lasts=lasts)
        policy = with_more(policy, profiles, promise)
    if shadow is not None:
        screens = screened(State(_existing(shadow)).answered.values())
        policy = with_more(policy, licences(screens, best, today, models, kept=kept, lasts=lasts), "")
    before = present if present is not None else out if out is not None and out.exists() else None
    changes = differences(() if before is None else Profiles.load(before), policy.profiles, today)
    if as_json:
        typer.echo(json.dumps(_data(policy, changes), indent=2, ensure_ascii=False))
    else:
        show(policy, changes, kept, confidence)
        for profile, *found in savings(policy, costs):
            saved, low, high = (usd(Decimal(str(each))) for each in found)
            typer.echo(
                f"  a run of {profile.role} on {profile.target} is expected to save {saved} "
                f"({low} to {high}, 95 % by runs)"
            )
    if out is not None:
        save(out, written(policy))
        typer.echo(f"wrote {out}", err=True)


def _outcomes(
    files: list[Path], ledger: Path | None, target: str | None
) -> tuple[list[Outcome], Mapping[Outcome, Decimal | None]]:
    found = list(read_outcomes(files, target))
    if ledger is None:
        return found, {}
    told = counted(read_assignments(_existing(ledger)), read_labels(ledger))
    return [*found, *told.outcomes], told.costs


def _existing(path: Path) -> Path:
    if not path.is_file():
        raise ConfigError(f"{str(path)!r} is no file")
    return path


def save(path: Path, text: str) -> None:
    """Whole or not at all: a router may be reading the file."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    beside.write_text(text, encoding="utf-8")
    beside.replace(path)


def show(policy: Policy, changes: list[str], kept: float, confidence: float) -> None:
    """The promise, the bounds it stands on, what was refused and what changes."""
    console = stdout(soft_wrap=True)
    console.print(Text(policy.promise or "no promise can be made of these outcomes", style="bold"))
    for each in sorted(policy.profiles, key=lambda profile: (not profile.licensed, profile.role, profile.target)):
        mark = "licensed" if each.licensed else "shown" if each.target != policy.strongest else "strongest"
        normal = policy.normal.get((each.role, each.target))
        beside = "" if normal is None else f", normal bound {100 * normal:.1f} %"
        console.print(
            Text(
                f"  {each.role} on {each.target}: {mark}; {100 * each.mean:.1f} % of {count(each.n, 'run')} end well, "
                f"{100 * each.success:.1f} % or more at {100 * confidence:g} %{beside}; {each.source}"
            )
        )
    for one in policy.refused:
        console.print(
            Text(
                f"  {one.role} on {one.target}: refused, {one.why}: n {one.n}, it takes {one.needed} or more",
                style="red",
            )
        )
    if not policy.promise:
        least = ", ".join(f"{needed(rate, 0, confidence)} for {100 * rate:g} %" for rate in (0.90, 0.95, 0.97))
        console.print(Text(f"  outcomes it takes if none is a failure: {least} (asked for: {100 * kept:g} %)"))
    console.print(Text("changes" if changes else "nothing changes", style="bold"))
    for line in changes:
        console.print(Text(f"  {line}"))


def _data(policy: Policy, changes: list[str]) -> dict[str, object]:
    return {
        "promise": policy.promise,
        "strongest": policy.strongest,
        "profiles": [
            {
                "role": each.role,
                "target": each.target,
                "licensed": each.licensed,
                "success": each.success,
                "normal": policy.normal.get((each.role, each.target)),
                "mean": each.mean,
                "n": each.n,
                "source": each.source,
                "expires": each.expires.isoformat(),
            }
            for each in policy.profiles
        ],
        "refused": [
            {"role": each.role, "target": each.target, "n": each.n, "needed": each.needed, "why": each.why}
            for each in policy.refused
        ],
        "changes": changes,
    }
