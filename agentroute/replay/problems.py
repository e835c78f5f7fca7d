"""Problems while they are counted: the first of them are kept, and one sentence says it if nearly all are alike."""

from __future__ import annotations

import re
from collections import Counter

from .records import Problem

__all__ = ["Alike"]

_KEPT = 1_000
_NEARLY_ALL = 0.9
_FEW = 10
_NUMBERS = re.compile(r"\d[\d,]*")
_KEPT_KINDS = 1_000


class Alike:
    """Counts problems by their reason, whatever numbers stand in it."""

    def __init__(self) -> None:
        self.total = self.failed_calls = 0
        self.kept: list[Problem] = []
        self._kinds: Counter[str] = Counter()

    def note(self, problem: Problem) -> None:
        self.total += 1
        self.failed_calls += problem.failed_call
        kind = _NUMBERS.sub("N", problem.reason)
        if kind in self._kinds or len(self._kinds) < _KEPT_KINDS:
            self._kinds[kind] += 1
        if len(self.kept) < _KEPT:
            self.kept.append(problem)

    def sentence(self, steps: int) -> str | None:
        """What to say in place of a list, if more than a few values failed, nearly all alike."""
        if self.total < _FEW or self.total < _NEARLY_ALL * (self.total + steps):
            return None
        kind, count = self._kinds.most_common(1)[0]
        if count < _NEARLY_ALL * self.total:
            return None
        first = next(problem for problem in self.kept if _NUMBERS.sub("N", problem.reason) == kind)
        return (
            f"{count:,} of {self.total:,} values failed alike, the first at {first.file}:{first.line}: {first.reason}"
        )
