"""A trial that a router takes part in: its file, and how it stands by the outcomes that came."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal

from agentroute.routing.profiles import Profile
from agentroute.routing.trials import VERSION, Tried, draw

from .bounds import CONFIDENCE, at_least, drift_limit, runs_an_arm
from .calibrate import DRIFTS_WITHIN, LASTS
from .outcomes import Outcome
from .policy_file import quoted
from .trial import Arm, Run, Standing, standing

__all__ = ["began", "licence", "runs_of", "stands", "written"]


def began(tried: Tried, confidence: float = CONFIDENCE) -> tuple[Tried, int]:
    """The trial with its test for harm, and how many runs of the candidate it is likely to need.

    The test rings falsely, for a candidate that is worse by just the margin, in at most 5 % of trials of that length.
    """
    runs = runs_an_arm(tried.usual, tried.margin, confidence)
    weight, limit = drift_limit(max(tried.usual - tried.margin, 0.05), runs)
    return replace(tried, weight=weight, limit=limit), runs


def written(tried: Tried) -> str:
    """The file's text."""
    lines = [
        '# Written by `agentroute trial`; `trial = "..."` in the config lets the router take part.',
        f"version = {VERSION}",
    ]
    for name in Tried.__slots__:
        value = getattr(tried, name)
        if value is None:
            continue
        if isinstance(value, bool):
            shown = str(value).lower()
        elif isinstance(value, str):
            shown = quoted(value)
        elif isinstance(value, int | float):
            shown = str(value)
        else:
            shown = value.isoformat()
        lines.append(f"{name} = {shown}")
    return "\n".join(lines) + "\n"


def runs_of(
    tried: Tried, outcomes: Iterable[Outcome], costs: Mapping[Outcome, Decimal | None] | None = None
) -> list[Run]:
    """The runs of the role since the trial began, each counted for what it was drawn for, whoever served it.

    A judge's word does not count, nor does what was said before the trial began.
    """
    found = {}
    for outcome in outcomes:
        late = outcome.at is None or outcome.at >= tried.began
        score = outcome.score if outcome.ok is None else float(outcome.ok)
        if outcome.role != tried.role or outcome.source == "judge" or not late or score is None:
            continue
        explored = draw(tried.salt, tried.role, outcome.episode) < tried.share
        cost = None if costs is None else costs.get(outcome)
        found[outcome.episode] = Run(
            outcome.episode,
            tried.role,
            _candidate(tried) if explored else Arm(tried.strongest),
            tried.share if explored else 1 - tried.share,
            1 - min(max(score, 0.0), 1.0),
            0.0 if cost is None else float(cost),
            treated=explored,
            source=outcome.source,
        )
    return list(found.values())


def stands(tried: Tried, runs: list[Run], confidence: float = CONFIDENCE) -> Standing:
    """How the candidate stands after these runs."""
    return standing(runs, tried.role, _candidate(tried), Arm(tried.strongest), tried.margin, confidence=confidence)


def licence(
    tried: Tried,
    runs: list[Run],
    made: date,
    *,
    confidence: float = CONFIDENCE,
    model: str | None = None,
    lasts: timedelta = LASTS,
) -> tuple[list[Profile], str]:
    """The profiles of both targets, and the promise in words; empty if the candidate is not shown to be as good."""
    shown = stands(tried, runs, confidence).verdict == "not inferior"
    profiles = []
    for arm in (_candidate(tried), Arm(tried.strongest)):
        mine = [run for run in runs if run.arm == arm]
        if not mine:
            continue
        good = sum(1 - run.harm for run in mine)
        low = at_least(round(good), len(mine), confidence)
        licensed = shown and arm == _candidate(tried)
        weight, limit = drift_limit(low, DRIFTS_WITHIN) if licensed else (0, 0)
        profiles.append(
            Profile(
                role=tried.role,
                target=arm.target,
                success=low,
                mean=good / len(mine),
                n=len(mine),
                source="trial",
                date=made,
                expires=made + lasts,
                licensed=licensed,
                up=licensed and tried.up,
                model=model if licensed else None,
                weight=weight,
                limit=limit,
            )
        )
    promise = (
        f"runs of {tried.role} on {tried.candidate} end well at most {100 * tried.margin:g} points less often than on "
        f"{tried.strongest} ({100 * confidence:g} % confidence at every look; {len(runs)} runs drawn at their start; "
        f"{made.isoformat()})"
    )
    return profiles, promise if shown else ""


def _candidate(tried: Tried) -> Arm:
    return Arm(tried.candidate, tried.up)
