"""Whole runs, randomised at their start between the strongest target and cheaper ones: the only thing that certifies a
loop."""

from __future__ import annotations

import json
import math
import os
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from agentroute.errors import ConfigError
from agentroute.routing.trials import draw

from .bounds import CONFIDENCE, Mean, at_least, at_most, ruled_out, runs_an_arm

__all__ = ["Arm", "Assignment", "Run", "Standing", "Trial", "Verdict", "standing", "values_of"]

Verdict: TypeAlias = Literal["goes on", "not inferior", "harm", "budget"]

_HARM = 0.05
"""Chance at which a candidate is stopped for harm that it does not do, over all the times at which it is tested."""

USUAL = 0.9
"""Success that the strongest target is taken to have before 20 of its runs are known."""

_HARM_FROM = 8
"""Outcomes of a candidate at which it is first tested for harm; then each time that there are half as many more."""


@dataclass(frozen=True, slots=True, order=True)
class Arm:
    """What runs of a role may be assigned to: a target, and whether the strongest serves its steps after failures and
    its summaries (`up`)."""

    target: str
    up: bool = False

    def __str__(self) -> str:
        return f"{self.target}{' (up on failures)' if self.up else ''}"


@dataclass(frozen=True, slots=True)
class Assignment:
    """What a run was assigned to, and with what chance. `explored`: not the target that would have served anyway;
    `treated`: drawn for what is new, even if this role stays where it is."""

    episode: str
    role: str
    arm: Arm
    propensity: float
    explored: bool
    treated: bool


@dataclass(frozen=True, slots=True)
class Run:
    """A run that ended, counted for the arm it was assigned to, whoever served it in the end (intention to treat).

    `harm` is 1 for a failure and 0 for none; where only single steps could be reviewed, an estimate of how much more
    often it fails than the strongest would have (`reviewed`). `treated`: it was drawn for what is new.
    """

    episode: str
    role: str
    arm: Arm
    propensity: float
    harm: float
    cost: float = 0.0
    steps: int = 1
    reviewed: bool = False
    treated: bool = True
    source: str = "check"


@dataclass(frozen=True, slots=True)
class Standing:
    """How a candidate stands beside the strongest. `p_value` is of "worse by the margin", valid at all times."""

    role: str
    arm: Arm
    strongest: Mean
    candidate: Mean
    p_value: float
    usd_per_success: tuple[float | None, float | None]
    verdict: Verdict
    needed: int

    def lines(self, margin: float) -> list[str]:
        """In plain words."""
        strong, cheap = self.strongest, self.candidate
        low = at_least(round(cheap.n * (1 - cheap.mean)), cheap.n) if cheap.n else 0.0
        dollars = [("-" if each is None else f"${each:.4f}") for each in self.usd_per_success]
        return [
            f"{self.role}: {self.arm}, {cheap.n} runs of about {self.needed} needed",
            f"  success {100 * (1 - cheap.mean):.1f} % (95 % sure of {100 * low:.1f} %), strongest "
            f"{100 * (1 - strong.mean):.1f} % of {strong.n}",
            f"  at most {100 * margin:g} points worse: p = {self.p_value:.3f} (valid at every look)",
            f"  dollars per success {dollars[1]}, strongest {dollars[0]}",
            f"  {self.verdict}",
        ]


class Trial:
    """Assigns runs, counts outcomes, and says when to stop. Safe in threads; with `state` (a file) it goes on where it
    was left, and no run is assigned twice.

    `arms` are the candidates of each role; each gets `share` of the role's runs, the strongest gets the rest.
    `margin`: how much lower a candidate's success may be. `max_runs` and `max_usd` end it. `together`: one draw decides
    for all roles of an episode, sub-agents included: a whole plan against the strongest.

    >>> trial = Trial("opus", {"triage": [Arm("luna")]}, share=0.5)
    >>> trial.assign("triage", "run-1").propensity
    0.5
    """

    def __init__(
        self,
        strongest: str,
        arms: Mapping[str, Sequence[Arm]],
        *,
        share: float = 0.1,
        margin: float = 0.05,
        together: bool = False,
        confidence: float = CONFIDENCE,
        salt: str = "",
        state: str | Path | None = None,
        max_runs: int | None = None,
        max_usd: float | None = None,
    ) -> None:
        if not 0 < margin < 1:
            raise ConfigError(f"the margin is {margin}; give a number between 0 and 1, like 0.05")
        for role, each in arms.items():
            if not 0 < share * len(each) < 1:
                raise ConfigError(
                    f"role {role!r}: {len(each)} candidates with a share of {share} each leave the strongest "
                    f"{1 - share * len(each):.2f} of the runs; give a share below {1 / max(len(each), 1):.2f}"
                )
            if any(arm.target == strongest for arm in each):
                raise ConfigError(f"role {role!r}: {strongest!r} is the strongest, and no candidate beside itself")
        self.strongest, self.share, self.margin, self.confidence = Arm(strongest), share, margin, confidence
        self.arms = {role: list(each) for role, each in arms.items()}
        self.stopped: dict[tuple[str, Arm], Verdict] = {}
        self.runs: list[Run] = []
        self.max_runs, self.max_usd = max_runs, max_usd
        self._together = together
        self._salt = salt
        self._given: dict[tuple[str, str], Assignment] = {}
        self._ended: set[tuple[str, str]] = set()
        self._counts: dict[tuple[str, Arm], _Count] = defaultdict(_Count)
        self._spent = 0.0
        self._lock = threading.Lock()
        self._state = None if state is None else _State(Path(state))
        if self._state is not None:
            self._resume(self._state)

    def assign(self, role: str, episode: str) -> Assignment:
        """What this run is served by, from its first step on. The same run always gets the same answer."""
        with self._lock:
            key = (episode, role)
            if key not in self._given:
                given = self._given[key] = self._drawn(role, episode)
                if self._state is not None:
                    self._state.add({"assigned": {**asdict(given), "arm": asdict(given.arm)}})
            return self._given[key]

    def _drawn(self, role: str, episode: str) -> Assignment:
        arms = self.arms.get(role, [])
        if self._together:
            treated = draw(self._salt, "", episode) < self.share
            arm = arms[0] if treated and arms else self.strongest
            chance = self.share if treated else 1 - self.share
            return Assignment(episode, role, arm, chance, explored=arm != self.strongest, treated=treated)
        place = int(draw(self._salt, role, episode) / self.share)
        if place < len(arms):
            return Assignment(episode, role, arms[place], self.share, explored=True, treated=True)
        return Assignment(episode, role, self.strongest, 1 - self.share * len(arms), explored=False, treated=False)

    def ended(
        self,
        episode: str,
        role: str,
        *,
        ok: bool | None = None,
        harm: float | None = None,
        cost: float = 0.0,
        steps: int = 1,
        source: str = "check",
    ) -> Verdict | None:
        """Counts a run, once. Returns a verdict if one is reached just now.

        A judge's word is not counted. Raises ConfigError for a run that was not assigned here.
        """
        if source == "judge":
            return None
        with self._lock:
            given = self._given.get((episode, role))
            if given is None:
                raise ConfigError(f"the run {episode!r} of role {role!r} was not assigned by this trial")
            if (episode, role) in self._ended:
                return None
            if harm is None and ok is None:
                raise ConfigError(f"the run {episode!r} has no outcome; give ok, or harm for reviewed steps")
            worth = harm if harm is not None else float(not ok)
            run = Run(
                episode,
                role,
                given.arm,
                given.propensity,
                worth,
                cost,
                steps,
                reviewed=harm is not None,
                treated=given.treated,
                source=source,
            )
            self._take(run)
            if self._state is not None:
                self._state.add({"ended": {**asdict(run), "arm": asdict(run.arm)}})
            return self._judged(run)

    def _take(self, run: Run) -> None:
        self._ended.add((run.episode, run.role))
        self.runs.append(run)
        self._counts[run.role, run.arm].add(run)
        self._spent += run.cost

    def _judged(self, run: Run) -> Verdict | None:
        role, arm = run.role, run.arm
        if arm == self.strongest or arm not in self.arms.get(role, ()):
            return None
        verdict: Verdict | None = None
        if self._harmful(role, arm):
            verdict = "harm"
        elif (self.max_runs is not None and len(self.runs) >= self.max_runs) or (
            self.max_usd is not None and self._spent >= self.max_usd
        ):
            verdict = "budget"
        if verdict is not None:
            self.stop(role, arm, verdict)
        return verdict

    def _harmful(self, role: str, arm: Arm) -> bool:
        cheap, strong = self._counts[role, arm], self._counts[role, self.strongest]
        if cheap.n < cheap.next_test:
            return False
        cheap.tests += 1
        cheap.next_test = math.ceil(1.5 * cheap.n)
        return _harms(cheap, strong, self.margin, _HARM / (cheap.tests * (cheap.tests + 1)))

    def stop(self, role: str, arm: Arm, verdict: Verdict) -> None:
        """Assigns no more runs of the role to the arm; those under way are counted still."""
        self.stopped[role, arm] = verdict
        self.arms[role] = [each for each in self.arms[role] if each != arm]

    def standing(self, role: str, arm: Arm) -> Standing:
        """How a candidate stands. It is not inferior once the p-value, which holds at every look, is below
        1 - confidence."""
        mine = [run for run in self.runs if run.role == role]
        found = standing(mine, role, arm, self.strongest, self.margin, confidence=self.confidence)
        stopped = self.stopped.get((role, arm))
        if stopped == "harm" or (stopped is not None and found.verdict != "not inferior"):
            return replace(found, verdict=stopped)
        return found

    def _resume(self, state: _State) -> None:
        for number, line in enumerate(state.lines(), 1):
            try:
                if "assigned" in line:
                    told = line["assigned"]
                    given = Assignment(**{**told, "arm": Arm(**told["arm"])})
                    self._given[given.episode, given.role] = given
                elif "ended" in line:
                    told = line["ended"]
                    run = Run(**{**told, "arm": Arm(**told["arm"])})
                    if (run.episode, run.role) not in self._ended:
                        self._take(run)
                        self._judged(run)
            except (TypeError, KeyError, AttributeError) as error:
                raise ConfigError(
                    f"{str(state.path)!r}, line {number}: no record of a trial ({error}); give the state file of one"
                ) from None


def values_of(runs: Iterable[Run], arm: Arm, strongest: Arm, margin: float) -> list[float]:
    """One unbiased value for each run: their mean is by how much the candidate is better than "worse by the margin".

    Runs assigned to neither count with the margin alone, since they say nothing.
    """
    found = []
    for run in runs:
        value = margin
        if run.arm == arm:
            value -= run.harm / run.propensity
        elif run.arm == strongest and not run.reviewed:
            value += run.harm / run.propensity
        found.append(value)
    return found


def standing(
    runs: Sequence[Run], role: str, arm: Arm, strongest: Arm, margin: float, *, confidence: float = CONFIDENCE
) -> Standing:
    """How a candidate stands after these runs of its role. It is not inferior once the p-value, which holds at every
    look, is below 1 - confidence."""
    counts: dict[Arm, _Count] = defaultdict(_Count)
    for run in runs:
        counts[run.arm].add(run)
    cheap, strong = counts[arm], counts[strongest]
    least = min((run.propensity for run in runs), default=0.5)
    level = ruled_out(values_of(runs, arm, strongest, margin), -1.5 / least, 1.5 / least) if cheap.n else 1.0
    success = min(max(1 - strong.mean, 0.5), 0.99) if strong.n >= 20 else USUAL
    verdict: Verdict = "goes on"
    if level <= 1 - confidence:
        verdict = "not inferior"
    elif _harms(cheap, strong, margin, _HARM / 5):
        verdict = "harm"
    return Standing(
        role,
        arm,
        strong.as_mean(),
        cheap.as_mean(),
        level,
        (strong.usd_per_success(), cheap.usd_per_success()),
        verdict,
        runs_an_arm(success, margin, confidence),
    )


def _harms(cheap: _Count, strong: _Count, margin: float, alpha: float) -> bool:
    """Whether the candidate is worse by more than the margin, at this level each for both."""
    if not cheap.n or not strong.n:
        return False
    if cheap.reviewed:
        return cheap.mean - 2.6 * math.sqrt(cheap.as_mean().error) > margin
    best = at_most(cheap.n - round(cheap.harm), cheap.n, 1 - alpha)
    return best < at_least(strong.n - round(strong.harm), strong.n, 1 - alpha) - margin


@dataclass(slots=True)
class _Count:
    n: int = 0
    harm: float = 0.0
    squares: float = 0.0
    cost: float = 0.0
    steps: int = 0
    reviewed: bool = False
    tests: int = 0
    next_test: int = _HARM_FROM

    def add(self, run: Run) -> None:
        self.n += 1
        self.harm += run.harm
        self.squares += run.harm**2
        self.cost += run.cost
        self.steps += run.steps
        self.reviewed = self.reviewed or run.reviewed

    @property
    def mean(self) -> float:
        return self.harm / self.n if self.n else 0.0

    @property
    def variance(self) -> float:
        return max(self.squares / self.n - self.mean**2, 0.0) * self.n / max(self.n - 1, 1) if self.n else 0.0

    def as_mean(self) -> Mean:
        return Mean(self.n, self.mean, self.variance)

    def usd_per_success(self) -> float | None:
        """Steps that were needed are in it, and so are the failures."""
        good = self.n - self.harm
        return self.cost / good if self.cost and good > 0 else None


@dataclass(slots=True)
class _State:
    """Lines of JSON, only ever added to: what was assigned and what ended."""

    path: Path
    _checked: bool = field(default=False)

    def add(self, line: Mapping[str, Any]) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        handle = os.open(self.path, flags, 0o600)
        try:
            os.write(handle, (json.dumps(line) + "\n").encode())
        finally:
            os.close(handle)

    def lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                data = json.loads(line)
            except ValueError:
                continue  # the line that a kill cut off
            if isinstance(data, dict):
                yield data
