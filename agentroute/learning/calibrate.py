"""From outcomes to a policy file: which targets a role may use, with what bound, at which n, until when."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal

from agentroute.routing.profiles import Profile, Profiles

from .bounds import (
    CONFIDENCE,
    Mean,
    at_least,
    at_most,
    drift_limit,
    fixed_sequence,
    holm,
    needed,
    normal_at_least,
    ruled_out,
)
from .outcomes import Outcome
from .trial import Arm, Run

__all__ = [
    "Plan",
    "Policy",
    "Refused",
    "certified",
    "from_outcomes",
    "from_trial",
    "narrowed",
    "proposed",
    "savings",
    "with_more",
]

KEPT = 0.97
"""Share of the strongest target's success that is promised, if nobody says another."""

LASTS = timedelta(days=90)
"""How long a licence holds: providers change models about four times a year."""

_UNSEEN = 0.8
"""Success that the strongest target is taken to have, at least, in roles of which no outcome is known."""

DRIFTS_WITHIN = 1_000
"""Outcomes of a role within which its drift test raises a false alarm in at most 5 % of policies."""


@dataclass(frozen=True, slots=True)
class Plan:
    """A hypothesis, declared before its data are there: roles and the arm each would run on; all others stay."""

    arms: Mapping[str, Arm]

    def __str__(self) -> str:
        return ", ".join(f"{role}: {arm}" for role, arm in self.arms.items()) or "nothing changes"


@dataclass(frozen=True, slots=True)
class Refused:
    """A role and target that too little is known of, and how many outcomes it takes if none of them is a failure."""

    role: str
    target: str
    n: int
    needed: int
    why: str


@dataclass(frozen=True, slots=True)
class Policy:
    """What was found: profiles, what was refused, the promise in words (empty if none can be made)."""

    strongest: str
    made: date
    profiles: tuple[Profile, ...]
    refused: tuple[Refused, ...]
    promise: str
    normal: Mapping[tuple[str, str], float] = field(default_factory=dict)

    def live(self) -> Profiles:
        """As the router uses it."""
        return Profiles(self.profiles, strongest=self.strongest, promise=self.promise, made=self.made)


def with_more(policy: Policy, profiles: Iterable[Profile], promise: str) -> Policy:
    """The policy with more profiles, where it has none of that role and target, and one more promise."""
    held = {(each.role, each.target) for each in policy.profiles if each.licensed}
    more = [each for each in profiles if (each.role, each.target) not in held]
    new = {(each.role, each.target) for each in more}
    kept = [each for each in policy.profiles if (each.role, each.target) not in new]
    said = "; ".join(each for each in (policy.promise, promise) if each)
    return replace(policy, profiles=(*kept, *more), promise=said)


def savings(policy: Policy, costs: Mapping[Outcome, Decimal | None]) -> list[tuple[Profile, float, float, float]]:
    """What a run of each licensed role is expected to save beside the strongest target: (profile, USD, and a 95 %
    interval by runs). Runs whose cost is not known whole are left out; a role needs two of each target."""
    held: dict[tuple[str | None, str], list[float]] = defaultdict(list)
    for outcome, cost in costs.items():
        if cost is not None:
            held[outcome.role, outcome.target].append(float(cost))
    found = []
    for each in policy.profiles:
        cheap, strong = (held.get((each.role, name), []) for name in (each.target, policy.strongest))
        if each.licensed and min(len(cheap), len(strong)) > 1:
            one, other = Mean.of(cheap), Mean.of(strong)
            error = 1.96 * math.sqrt(one.variance / one.n + other.variance / other.n)
            saved = other.mean - one.mean
            found.append((each, saved, saved - error, saved + error))
    return found


# -- from a trial ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Seen:
    """What is known of one arm of a role: mean and mean square of harm, cost, runs."""

    n: int
    harm: float
    squares: float
    cost: float
    steps: float
    reviewed: bool

    @property
    def error(self) -> float:
        return math.sqrt((max(self.squares - self.harm**2, 0.0) * self.n + 0.5) / self.n / self.n)

    @property
    def cautious(self) -> float:
        """The harm with half a failure added, and half a standard error: the best of many arms flatters itself."""
        return self.harm + 0.5 / self.n + 0.5 * self.error


def _seen(runs: Iterable[Run]) -> dict[tuple[str, Arm], _Seen]:
    groups: dict[tuple[str, Arm], list[Run]] = defaultdict(list)
    for run in runs:
        groups[run.role, run.arm].append(run)
    return {
        key: _Seen(
            len(each),
            math.fsum(run.harm for run in each) / len(each),
            math.fsum(run.harm**2 for run in each) / len(each),
            math.fsum(run.cost for run in each) / len(each),
            sum(run.steps for run in each) / len(each),
            any(run.reviewed for run in each),
        )
        for key, each in groups.items()
    }


def narrowed(runs: Iterable[Run], strongest: Arm, *, kept: float = KEPT, most: int = 3) -> dict[str, list[Arm]]:
    """The arms of each role that are worth more runs: those that would save most, if they are as good as they may be
    (a standard error better than seen), with failures at the price at which the promise gives out."""
    seen = _seen(runs)
    found: dict[str, list[tuple[float, Arm]]] = defaultdict(list)
    for (role, arm), each in seen.items():
        strong = seen.get((role, strongest))
        if arm == strongest or strong is None or each.cost >= strong.cost:
            continue
        usual = 0.0 if each.reviewed else strong.harm
        worse = max(each.harm - each.error - usual, 0.0)
        worth = 1 - each.cost / strong.cost - worse / (1 - kept) / 2
        if worth > 0:
            found[role].append((worth, arm))
    return {role: [arm for _, arm in sorted(each, key=lambda one: -one[0])[:most]] for role, each in found.items()}


def proposed(
    runs: Sequence[Run], strongest: Arm, *, kept: float = KEPT, ahead: int, least: int = 20, share: float = 0.5
) -> list[Plan]:
    """The hypotheses to certify next, in the order in which they are tested: each adds a role to the one before.

    The arms are those that cost least, as far as `ahead` runs more, `share` of them on the plan, are likely to certify
    them. Empty if no arm of at least `least` runs is cheaper.
    """
    seen, traffic = _seen(runs), Counter(run.role for run in runs)
    reviewed = {run.role for run in runs if run.reviewed}
    total = sum(traffic.values())
    options: dict[str, list[tuple[Arm, float, float, float]]] = {}
    slack = 0.0
    for role, n in traffic.items():
        weight = n / total
        strong = seen.get((role, strongest))
        blind = role in reviewed or strong is None
        usual = 0.0 if strong is None or blind else strong.harm
        slack += weight * (1 - kept) * (_UNSEEN if blind else 1 - usual)
        if strong is None:
            continue
        for (other, arm), found in seen.items():
            if other != role or arm == strongest or found.n < least or found.cost >= strong.cost:
                continue
            loss = found.cautious - (0.0 if blind else usual)
            noise = found.squares / share + (0.0 if blind else kept**2 * usual / (1 - share))
            options.setdefault(role, []).append(
                (arm, weight * (strong.cost - found.cost), weight * max(loss, 0.0), weight * noise)
            )
    best: tuple[float, dict[str, tuple[Arm, float, float, float]]] = (0.0, {})
    for power in range(-40, 41):
        price = 10 ** (power / 10)
        chosen = {}
        for role, each in options.items():
            one = max(each, key=lambda option: option[1] - price * (option[2] + 0.02 * option[3]))
            if one[1] - price * (one[2] + 0.02 * one[3]) > 0:
                chosen[role] = one
        saved = sum(each[1] for each in chosen.values())
        lost = sum(each[2] for each in chosen.values())
        noise = sum(each[3] for each in chosen.values())
        want = 1.1 * math.sqrt(-2 * math.log(1 - CONFIDENCE) * (noise + 1e-4) / ahead)
        if slack - lost >= want and saved > best[0]:
            best = (saved, chosen)
    order = sorted(best[1].items(), key=lambda item: -item[1][1] / (item[1][2] + 0.02 * item[1][3] + 1e-6))
    return [Plan({role: option[0] for role, option in order[: count + 1]}) for count in range(len(order))]


def certified(
    plans: Sequence[Plan], runs: Sequence[Run], strongest: Arm, *, kept: float = KEPT, confidence: float = CONFIDENCE
) -> tuple[int, list[float]]:
    """How many of the plans keep the promise, tested in their order on runs that began after they were declared; and
    the p-values, which hold at all times: one may look whenever one likes.

    Every run is one value, whatever its steps. The promise is over the traffic as it is: success on the plan is at
    least `kept` times that of the strongest.
    """
    if not plans:
        return 0, []
    reviewed = {run.role for run in runs if run.reviewed}
    least = min((run.propensity for run in runs), default=0.5)
    low, high = -1.6 / least, 1.6 / least
    levels = [ruled_out(_values(plan, plans[-1], runs, strongest, kept, reviewed), low, high) for plan in plans]
    return fixed_sequence(levels, 1 - confidence), levels


def _values(
    plan: Plan, whole: Plan, runs: Iterable[Run], strongest: Arm, kept: float, reviewed: set[str]
) -> list[float]:
    found = []
    for run in runs:
        arm, moved = plan.arms.get(run.role), run.role in whole.arms
        value = (1 - kept) * (_UNSEEN if run.role in reviewed else 1.0)
        if run.role in reviewed:
            if arm is not None and run.treated:
                value -= run.harm / run.propensity
        elif arm is not None or not moved:
            # A role that stays may call one that does not: its own runs tell what that does.
            value += (-run.harm if run.treated else kept * run.harm) / run.propensity
        elif not run.treated:
            value -= (1 - kept) * run.harm / run.propensity
        found.append(value)
    return found


def from_trial(
    plans: Sequence[Plan],
    runs: Sequence[Run],
    strongest: Arm,
    *,
    made: date,
    kept: float = KEPT,
    confidence: float = CONFIDENCE,
    models: Mapping[str, str] | None = None,
    lasts: timedelta = LASTS,
) -> Policy:
    """The policy of the largest plan that is certified; see `certified`."""
    count, levels = certified(plans, runs, strongest, kept=kept, confidence=confidence)
    plan = plans[count - 1] if count else Plan({})
    seen = _seen(runs)
    profiles, refused, normal = [], [], {}
    for (role, arm), found in sorted(seen.items()):
        if found.n < 1:
            continue
        licensed = plan.arms.get(role) == arm
        values = [1 - min(max(run.harm, 0.0), 1.0) for run in runs if run.role == role and run.arm == arm]
        low = at_least(min(round(math.fsum(values)), found.n), found.n, confidence)
        mean = min(max(1 - found.harm, 0.0), 1.0)
        normal[role, arm.target] = normal_at_least(values, confidence)
        weight, limit = drift_limit(low, DRIFTS_WITHIN) if licensed else (0, 0)
        profiles.append(
            Profile(
                role=role,
                target=arm.target,
                success=low,
                mean=mean,
                n=found.n,
                source="trial",
                date=made,
                expires=made + lasts,
                steps=max(found.steps, 1.0),
                licensed=licensed,
                up=arm.up,
                model=(models or {}).get(arm.target),
                weight=weight,
                limit=limit,
            )
        )
    for index, later in enumerate(plans[count:]):
        role = next(name for name in later.arms if name not in plan.arms)
        arm = later.arms[role]
        n = seen[role, arm].n if (role, arm) in seen else 0
        why = f"the promise is not shown with it (p = {levels[count + index]:.2f})"
        refused.append(Refused(role, arm.target, n, needed(kept), why))
        break
    promise = ""
    if count:
        promise = (
            f"on tasks like these, runs end well in at least {100 * kept:g} % of the cases in which they would on "
            f"{strongest.target} ({100 * confidence:g} % confidence; {len(runs)} runs randomised at their start, "
            f"counted for what they were assigned to; {made.isoformat()}): {plan}"
        )
    return Policy(strongest.target, made, tuple(profiles), tuple(refused), promise, normal)


# -- from outcomes that were not randomised ----------------------------------------------------------------------------


def from_outcomes(
    outcomes: Iterable[Outcome],
    *,
    strongest: str,
    made: date,
    kept: float = KEPT,
    confidence: float = CONFIDENCE,
    steps: Mapping[tuple[str, str], float] | None = None,
    models: Mapping[str, str] | None = None,
    lasts: timedelta = LASTS,
) -> Policy:
    """Profiles from outcomes as they came. A target is licensed in a role if its exact bound, against that of the
    strongest, keeps the promise in that role (Holm over all roles and targets of the file).

    An outcome counts once for each (episode, role), the last one of the best source; judges' verdicts do not count.
    """
    held: dict[tuple[str, str], dict[str, float]] = defaultdict(dict)
    sources: dict[tuple[str, str], Counter[str]] = defaultdict(Counter)
    for outcome in _counted(outcomes):
        key = (outcome.role or "", outcome.target)
        score = outcome.score if outcome.ok is None else float(outcome.ok)
        held[key][outcome.episode] = 0.0 if score is None else score
        sources[key][outcome.source] += 1
    chances: dict[str, float] = {}
    refused = []
    least = needed(kept, 0, confidence)
    for (role, target), scores in held.items():
        if target == strongest:
            continue
        usual = held.get((role, strongest), {})
        n, good = len(scores), round(math.fsum(scores.values()))
        if n < least:
            refused.append(Refused(role, target, n, needed(kept, n - good, confidence), "too few outcomes"))
        elif len(usual) < 1:
            refused.append(Refused(role, target, n, least, f"no outcome of {strongest} to compare with"))
        else:
            chances[f"{role}\n{target}"] = _ratio_level(good, n, round(math.fsum(usual.values())), len(usual), kept)
    kept_names = holm(chances, 1 - confidence)
    for name, level in chances.items():
        if name not in kept_names:
            role, target = name.split("\n")
            scores = held[role, target]
            misses = len(scores) - round(math.fsum(scores.values()))
            wanted = needed(kept, misses, confidence)
            refused.append(Refused(role, target, len(scores), wanted, f"the promise is not shown (p = {level:.2f})"))
    profiles, normal = [], {}
    for (role, target), scores in sorted(held.items()):
        values, n = list(scores.values()), len(scores)
        good = round(math.fsum(values))
        low = at_least(good, n, confidence)
        licensed = f"{role}\n{target}" in kept_names
        weight, limit = drift_limit(low, DRIFTS_WITHIN) if licensed else (0, 0)
        normal[role, target] = normal_at_least(values, confidence)
        profiles.append(
            Profile(
                role=role,
                target=target,
                success=low,
                mean=math.fsum(values) / n,
                n=n,
                source=sources[role, target].most_common(1)[0][0],
                date=made,
                expires=made + lasts,
                steps=max((steps or {}).get((role, target), 1.0), 1.0),
                licensed=licensed,
                model=(models or {}).get(target),
                weight=weight,
                limit=limit,
            )
        )
    promise = ""
    if kept_names:
        pairs = ", ".join(sorted(name.replace("\n", " on ") for name in kept_names))
        promise = (
            f"on runs like these, each of {pairs} ends well in at least {100 * kept:g} % of the cases in which it "
            f"would on {strongest} ({100 * confidence:g} % confidence, Holm over {len(chances)} hypotheses; "
            f"{made.isoformat()})"
        )
    return Policy(strongest, made, tuple(profiles), tuple(refused), promise, normal)


_BEST_FIRST = ("benchmark", "check", "person")


def _counted(outcomes: Iterable[Outcome]) -> list[Outcome]:
    """One for each (episode, role): the last of the best source."""
    found: dict[tuple[str, str | None], Outcome] = {}
    for outcome in outcomes:
        if outcome.source not in _BEST_FIRST or (outcome.ok is None and outcome.score is None):
            continue
        key = (outcome.episode, outcome.role)
        before = found.get(key)
        if before is None or _BEST_FIRST.index(outcome.source) >= _BEST_FIRST.index(before.source):
            found[key] = outcome
    return list(found.values())


def _ratio_level(good: int, n: int, usual_good: int, usual_n: int, kept: float) -> float:
    """A p-value of "succeeds less than `kept` times as often": both bounds hold at it together (Bonferroni)."""
    low, high = 1e-9, 1.0
    for _ in range(40):
        middle = math.sqrt(low * high)
        if at_least(good, n, 1 - middle / 2) >= kept * at_most(usual_good, usual_n, 1 - middle / 2):
            high = middle
        else:
            low = middle
    return high
