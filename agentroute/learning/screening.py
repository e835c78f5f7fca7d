"""What the answers of a shadow allow to say: which targets are out, which need a trial, which may serve at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Literal, TypeAlias

from agentroute.routing.profiles import Profile

from .bounds import CONFIDENCE, clusters, mean_at_least, normal_at_least
from .shadow import Answered

__all__ = ["ENOUGH", "SUFFICES", "Screened", "Word", "disagreements", "licences", "screened"]

Word: TypeAlias = Literal["licensed", "excluded", "trial", "too few"]

SUFFICES = (0.7, 0.8)
"""(bound, confidence): a lower bound of agreement from which on the cheaper answers suffice: `evals/bfcl.py`, by
category with 20 steps each, the threshold chosen without the pair it is tried on. Agreement is a lower bound of what is
right: equal models agree in .80."""

ENOUGH = 20
"""Conversations below which nothing is said."""

_OUT = 0.9
"""A target is out if even the upper bound of its right answers is below this: over 22 steps little is left of it."""


@dataclass(frozen=True, slots=True)
class Screened:
    """One target at one role's steps of one form. `agreed` is the share of conversations' steps that agree or were
    reviewed as right; `low` its exact lower bound at 95 %, `normal` the normal one; `open` disagreements wait for a
    review, and count as wrong in `low` and as right in `high`."""

    role: str
    form: str
    target: str
    conversations: int
    steps: int
    same: int
    agreed: float
    low: float
    normal: float
    high: float
    open: int
    usd: float
    word: Word


def screened(answers: Iterable[Answered]) -> list[Screened]:
    """By role, form of step and target; in each the target that agrees most comes first.

    Agreement never lowers a loop: there the best word is "trial". A loop's target is excluded by reviewed
    disagreements only, since a model may be right in its own way.
    """
    groups: dict[tuple[str, str, str], list[Answered]] = defaultdict(list)
    for each in answers:
        groups[each.role, each.form, each.target].append(each)
    found = [_screened(*key, rows) for key, rows in groups.items()]
    return sorted(found, key=lambda each: (each.role, each.form, -each.agreed, each.target))


def _screened(role: str, form: str, target: str, rows: Sequence[Answered]) -> Screened:
    sure = clusters((each.conversation, float(each.agrees or each.ok is True)) for each in rows)
    wrong = clusters((each.conversation, float(not each.agrees and each.ok is False)) for each in rows)
    low = mean_at_least(sure)
    high = 1 - mean_at_least(wrong)
    waiting = sum(not each.agrees and each.ok is None for each in rows)
    word: Word
    if high < _OUT:
        word = "excluded"
    elif len(sure) < ENOUGH:
        word = "too few"
    elif form != "loop" and mean_at_least(sure, SUFFICES[1]) >= SUFFICES[0]:
        word = "licensed"
    else:
        word = "trial"
    return Screened(
        role=role,
        form=form,
        target=target,
        conversations=len(sure),
        steps=len(rows),
        same=sum(each.level == 3 for each in rows),
        agreed=sum(sure) / len(sure),
        low=low,
        normal=normal_at_least(sure, CONFIDENCE),
        high=high,
        open=waiting,
        usd=sum(float(each.usd) for each in rows),
        word=word,
    )


def licences(
    found: Iterable[Screened], strongest: str, made: date, models: Mapping[str, str], *, kept: float, lasts: timedelta
) -> list[Profile]:
    """Profiles of what agreement licenses: a role's steps of some forms, never its loops."""
    forms: dict[tuple[str, str], list[Screened]] = defaultdict(list)
    for each in found:
        if each.word == "licensed" and each.target != strongest:
            forms[each.role, each.target].append(each)
    return [
        Profile(
            role=role,
            target=target,
            success=kept,
            mean=min(each.agreed for each in rows),
            n=min(each.conversations for each in rows),
            source="shadow",
            date=made,
            expires=made + lasts,
            licensed=True,
            model=models.get(target),
            forms=tuple(sorted(each.form for each in rows)),
        )
        for (role, target), rows in sorted(forms.items())
    ]


def disagreements(answers: Iterable[Answered]) -> list[Answered]:
    """What waits for a review: the cheapest question first, those with the same tools before others."""
    waiting = [each for each in answers if not each.agrees and each.ok is None]
    return sorted(waiting, key=lambda each: (each.role, each.target, -each.level, each.key))
