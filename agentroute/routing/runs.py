"""What the steps of a conversation have shown so far: who serves it, how likely each tier suffices, how clean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

from agentroute.decisions import StepKind

__all__ = ["CLEAN", "ON_EVIDENCE", "Likely", "Run", "after", "smoothed"]

ON_EVIDENCE: Final = frozenset({StepKind.AFTER_ERROR, StepKind.REPEATED_CALL})
"""Steps at which the model that serves has just failed."""

CLEAN: Final = 3
"""After so many steps without a failure a run that went up may come down again within its turn."""

_MEMORY: Final = 0.5
"""Weight of the newest step's P in the running mean: one step's P must not make models take turns, each of which is
paid as a cold prompt."""

Likely: TypeAlias = tuple[float, float, float, float]
"""P(suffices) by tier, from budget to premium."""


@dataclass(frozen=True, slots=True)
class Run:
    """A conversation after its last step. `home` is the target that served it, `clean` how many steps in a row began
    without a failure, `raised` whether it last moved to a higher tier."""

    likely: Likely
    home: str
    clean: int = 0
    raised: bool = False


def smoothed(run: Run | None, likely: Likely, kind: StepKind) -> Likely:
    """P for a lasting choice: the running mean, and no more than this step's own where something has just failed.

    >>> smoothed(Run((0.5, 0.6, 0.7, 0.8), "m"), (0.9, 0.9, 0.9, 1.0), StepKind.AFTER_RESULT)
    (0.7, 0.75, 0.8, 0.9)
    """
    b, m, s, p = _mean(run, likely)
    if kind in ON_EVIDENCE:
        return min(b, likely[0]), min(m, likely[1]), min(s, likely[2]), min(p, likely[3])
    return b, m, s, p


def after(run: Run | None, likely: Likely, kind: StepKind, served: str, *, up: bool, down: bool) -> Run:
    """The run once `served` has taken this step; `up`, `down`: its tier is higher or lower than the one before."""
    clean = 0 if kind in ON_EVIDENCE else 1 if run is None else run.clean + 1
    raised = up or (run is not None and run.raised and not down)
    return Run(_mean(run, likely), served, clean, raised)


def _mean(run: Run | None, likely: Likely) -> Likely:
    if run is None:
        return likely
    b, m, s, p = (before + _MEMORY * (now - before) for before, now in zip(run.likely, likely, strict=True))
    return b, m, s, p
