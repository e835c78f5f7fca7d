"""What so many outcomes allow to say, at a confidence chosen beforehand: exact bounds, and how many it takes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

__all__ = [
    "Mean",
    "at_least",
    "at_most",
    "clusters",
    "confident",
    "drift_limit",
    "fixed_sequence",
    "holm",
    "mean_at_least",
    "needed",
    "normal_at_least",
    "ruled_out",
    "runs_an_arm",
]

CONFIDENCE = 0.95

_SPENDING = (0.1, 0.2, 0.3, 0.4)
"""Shares of alpha spent at looks one to four: early looks are stricter, and the sum is 1."""


def at_least(successes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The exact lower bound (Clopper-Pearson) of a rate of which `successes` of `n` independent ones were seen.

    >>> round(at_least(59, 59), 3)
    0.95
    """
    _check(n, successes, confidence)
    if successes == 0:
        return 0.0
    if successes == n:
        return float((1 - confidence) ** (1 / n))
    return _solved(lambda p: _tail(successes, n, p) - (1 - confidence))


def at_most(successes: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The exact upper bound of the same."""
    return 1.0 - at_least(n - successes, n, confidence)


def needed(rate: float, failures: int = 0, confidence: float = CONFIDENCE) -> int:
    """How many independent outcomes with so many failures bound a success rate at `rate`.

    >>> [needed(rate) for rate in (0.90, 0.95, 0.97)]
    [29, 59, 99]
    """
    if not 0 < rate < 1:
        raise ValueError(f"the rate is {rate}; give a number between 0 and 1")
    low, high = failures + 1, failures + 2
    while at_least(high - failures, high, confidence) < rate:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if at_least(middle - failures, middle, confidence) < rate:
            low = middle + 1
        else:
            high = middle
    return low


def runs_an_arm(success: float, margin: float, confidence: float = CONFIDENCE, power: float = 0.8) -> int:
    """Runs an arm that a comparison needs to show, with this power, that a candidate as good as the strong target is
    at most `margin` worse.

    >>> runs_an_arm(0.75, 0.10)
    232
    """
    normal = NormalDist()
    spread = (normal.inv_cdf(confidence) + normal.inv_cdf(power)) ** 2 * 2 * success * (1 - success)
    return max(math.ceil(spread / margin**2), needed(1 - margin, 0, confidence))


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean of conversations: how many, their mean and variance. Steps are never counted."""

    n: int
    mean: float
    variance: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Mean:
        n = len(values)
        mean = math.fsum(values) / n if n else 0.0
        spread = math.fsum((value - mean) ** 2 for value in values)
        return cls(n, mean, spread / (n - 1) if n > 1 else 0.0)

    @property
    def error(self) -> float:
        """The squared standard error, with half a failure and half a success added: a few equal values are not sure."""
        if self.n == 0:
            return math.inf
        return (self.variance * max(self.n - 1, 0) + 0.5) / self.n / self.n


def clusters(rows: Iterable[tuple[str, float]]) -> list[float]:
    """One mean for each conversation: rows are (conversation, score). Steps of a conversation are no independent
    labels: with a correlation of .3 within conversations a 95 % bound over steps is false in 18-19 % of draws."""
    held: dict[str, list[float]] = {}
    for conversation, score in rows:
        held.setdefault(conversation, []).append(score)
    return [math.fsum(scores) / len(scores) for scores in held.values()]


def mean_at_least(values: Sequence[float], confidence: float = CONFIDENCE, *, peeked: bool = False) -> float:
    """A lower bound for the mean of independent values in 0..1, exact at every n.

    Values of 0 and 1 only: Clopper-Pearson. Else, and always if the sampling was stopped by what was seen (`peeked`),
    the bound of a betting game (Waudby-Smith and Ramdas 2024, arXiv 2010.09686): it holds at all times at once.
    """
    for value in values:
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a value is {value}; give numbers from 0 to 1")
    if not values:
        return 0.0
    if not peeked and all(value in (0.0, 1.0) for value in values):
        return at_least(round(math.fsum(values)), len(values), confidence)
    return _betting(values, confidence)


def ruled_out(values: Sequence[float], low: float, high: float, mean: float = 0.0) -> float:
    """How surely the mean of independent values in low..high is above `mean`: a p-value that holds at all times at once
    (1 over the most that a betting game was worth), so that one may look whenever one likes, and stop.

    What is bet is the best for the mean and variance seen so far (aGRAPA, same source as `mean_at_least`).
    """
    if not low < mean < high:
        raise ValueError(f"{mean} is not between {low} and {high}")
    bound = 0.5 / (mean - low)
    wealth = most = 0.0
    total, squares = 0.0, (high - low) ** 2 / 16
    for index, value in enumerate(values, 1):
        if not low <= value <= high:
            raise ValueError(f"a value is {value}; give numbers from {low} to {high}")
        gained = total / index
        bet = max(0.0, min(gained / (squares / index + gained**2), bound))
        wealth += math.log1p(bet * (value - mean))
        most = max(most, wealth)
        total += value - mean
        squares += (value - mean - gained) ** 2
    return math.exp(-most)


def normal_at_least(values: Sequence[float], confidence: float = CONFIDENCE) -> float:
    """The bound that a normal approximation gives: narrower, and not exact; shown beside the other one."""
    if not values:
        return 0.0
    found = Mean.of(values)
    return max(found.mean - NormalDist().inv_cdf(confidence) * math.sqrt(found.error), 0.0)


def confident(look: int, looks: int = len(_SPENDING), confidence: float = CONFIDENCE) -> float:
    """The confidence that one of `looks` looks declared beforehand must use, so that all together have `confidence`."""
    if looks == 1:
        return confidence
    shares = _SPENDING if looks == len(_SPENDING) else tuple(1 / looks for _ in range(looks))
    return 1 - (1 - confidence) * shares[min(look, looks) - 1]


def holm(levels: Mapping[str, float], alpha: float = 1 - CONFIDENCE) -> frozenset[str]:
    """The hypotheses that are rejected together (Holm 1979), from their p-values."""
    found, left = set(), len(levels)
    for name, level in sorted(levels.items(), key=lambda item: item[1]):
        if level > alpha / left:
            break
        found.add(name)
        left -= 1
    return frozenset(found)


def fixed_sequence(levels: Sequence[float], alpha: float = 1 - CONFIDENCE) -> int:
    """How many hypotheses are rejected, in an order declared before the data were seen: each at the whole alpha, up
    to the first that is not."""
    for index, level in enumerate(levels):
        if level > alpha:
            return index
    return len(levels)


def drift_limit(success: float, within: int, alarms: float = 0.05, weight: int = 0) -> tuple[int, int]:
    """(weight of a failure, limit) of a sequential test: its sum goes up by the weight at each failure, down by 1 at
    each success, never below 0, and tells of a drift at the limit.

    The limit is the least at which a success rate of `success` gives a false alarm within `within` samples with at most
    the chance `alarms`, exactly (the sum is a Markov chain).
    """
    failing = min(max(1 - success, 1e-6), 0.5)
    if not weight:
        worse = min(max(4 * failing, 0.1), 0.9)
        weight = max(1, round(math.log(worse / failing) / -math.log((1 - worse) / (1 - failing))))
    for limit in range(weight + 1, 200 * weight):
        if _alarm(failing, weight, limit, within) <= alarms:
            return weight, limit
    return weight, 200 * weight


def _alarm(failing: float, weight: int, limit: int, within: int) -> float:
    chances = [0.0] * limit
    chances[0] = 1.0
    over = 0.0
    for _ in range(within):
        following = [0.0] * limit
        for at, chance in enumerate(chances):
            if chance < 1e-12:
                continue
            following[max(at - 1, 0)] += chance * (1 - failing)
            if at + weight < limit:
                following[at + weight] += chance * failing
            else:
                over += chance * failing
        chances = following
        if over > 0.5:
            break
    return over


def _check(n: int, successes: int, confidence: float) -> None:
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n}: give 0 to n successes of at least one")
    if not 0 < confidence < 1:
        raise ValueError(f"the confidence is {confidence}; give a number between 0 and 1")


def _tail(successes: int, n: int, p: float) -> float:
    """P(at least `successes` of `n`), summed from the largest term outwards."""
    if p <= 0.0:
        return 0.0
    if p >= 1.0:
        return 1.0
    base = math.lgamma(n + 1)
    log_p, log_q = math.log(p), math.log1p(-p)

    def term(k: int) -> float:
        return math.exp(base - math.lgamma(k + 1) - math.lgamma(n - k + 1) + k * log_p + (n - k) * log_q)

    if successes > n * p:
        total = each = term(successes)
        for k in range(successes + 1, n + 1):
            each *= (n - k + 1) / k * (p / (1 - p))
            total += each
            if each < total * 1e-16:
                break
        return min(total, 1.0)
    total = each = term(successes - 1) if successes else 0.0
    for k in range(successes - 2, -1, -1):
        each *= (k + 1) / (n - k) * ((1 - p) / p)
        total += each
        if each < total * 1e-16:
            break
    return max(1.0 - total, 0.0)


def _solved(rising: Callable[[float], float]) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return low


def _betting(values: Sequence[float], confidence: float) -> float:
    """The largest mean that the game has made 1 / (1 - confidence) richer against, so all below it are ruled out."""
    goal = -math.log(1 - confidence)
    stakes = _stakes(values, goal)

    def lost(mean: float) -> bool:
        wealth = 0.0
        for value, stake in zip(values, stakes, strict=True):
            bet = min(stake, 0.75 / mean)
            wealth += math.log1p(bet * (value - mean))
            if wealth >= goal:
                return True
        return False

    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        if lost(middle):
            low = middle
        else:
            high = middle
    return low


def _stakes(values: Sequence[float], goal: float) -> list[float]:
    """What is bet on each value: from those before it only (predictable plug-in)."""
    found = []
    total, squares = 0.5, 0.25
    for index, value in enumerate(values, 1):
        variance = squares / index
        found.append(math.sqrt(2 * goal / (max(variance, 1e-4) * index * math.log1p(index))))
        total += value
        squares += (value - total / (index + 1)) ** 2
    return found
