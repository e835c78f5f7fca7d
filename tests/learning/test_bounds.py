"""Bounds hold as often as they say, and ask for as many runs as the tables of textbooks do."""

from __future__ import annotations

import random

import pytest

from agentroute.learning.bounds import (
    Mean,
    at_least,
    at_most,
    clusters,
    confident,
    drift_limit,
    fixed_sequence,
    holm,
    mean_at_least,
    needed,
    normal_at_least,
    runs_an_arm,
)


@pytest.mark.parametrize(("rate", "n"), [(0.90, 29), (0.95, 59), (0.97, 99)])
def test_with_no_failure_seen(rate: float, n: int) -> None:
    assert needed(rate) == n
    assert at_least(n, n) >= rate > at_least(n - 1, n - 1)


@pytest.mark.parametrize(
    ("successes", "n", "low"), [(8, 10, 0.4931), (50, 60, 0.7337), (95, 100, 0.8977), (0, 5, 0.0), (450, 500, 0.8751)]
)
def test_clopper_pearson_as_in_tables(successes: int, n: int, low: float) -> None:
    assert at_least(successes, n) == pytest.approx(low, abs=2e-4)
    assert at_most(n - successes, n) == pytest.approx(1 - low, abs=2e-4)


def test_scipy_says_the_same() -> None:
    stats = pytest.importorskip("scipy.stats")
    for successes, n in ((1, 9), (40, 41), (300, 1000)):
        assert at_least(successes, n) == pytest.approx(stats.beta.ppf(0.05, successes, n - successes + 1), abs=1e-9)


@pytest.mark.parametrize("successes", [-1, 11])
def test_impossible_counts_are_refused(successes: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} of 10"):
        at_least(successes, 10)


@pytest.mark.parametrize("peeked", [False, True])
@pytest.mark.parametrize("true", [0.7, 0.95])
def test_the_bound_is_false_in_at_most_five_percent(peeked: bool, true: float) -> None:
    rng, false, draws = random.Random(5), 0, 300
    for _ in range(draws):
        values = [float(rng.random() < true) for _ in range(60)]
        looks = range(20, 61, 10) if peeked else (60,)
        false += any(mean_at_least(values[:n], peeked=peeked) > true for n in looks)
    assert false / draws <= 0.05 + 0.025


def test_looking_at_an_exact_bound_all_the_time_breaks_it() -> None:
    rng, false, draws = random.Random(6), 0, 100
    for _ in range(draws):
        values = [float(rng.random() < 0.8) for _ in range(200)]
        false += any(mean_at_least(values[:n]) > 0.8 for n in range(10, 201, 10))
    assert false / draws > 0.1


def test_scores_between_0_and_1_have_a_bound_too() -> None:
    rng = random.Random(7)
    values = [rng.choice((0.4, 0.9, 1.0)) for _ in range(300)]
    assert 0.6 < mean_at_least(values) < sum(values) / 300
    assert mean_at_least(values[:40]) < mean_at_least(values)
    with pytest.raises(ValueError, match=r"1\.5"):
        mean_at_least([1.5])


def test_no_values_promise_nothing() -> None:
    assert mean_at_least([]) == normal_at_least([]) == 0.0


def test_steps_of_a_conversation_are_one_value() -> None:
    rows = [(f"c{index // 22}", 1.0) for index in range(110)]
    assert clusters(rows) == [1.0] * 5
    by_steps, by_conversations = at_least(110, 110), mean_at_least(clusters(rows))
    assert by_steps == pytest.approx(0.973, abs=1e-3)
    assert by_conversations == pytest.approx(0.549, abs=1e-3)


def test_a_mean_of_equal_values_is_not_certain() -> None:
    assert Mean.of([1.0] * 10).error > 0
    assert Mean.of([]).error == float("inf")


def test_runs_an_arm() -> None:
    assert runs_an_arm(0.75, 0.10) == 232
    assert runs_an_arm(1.0, 0.05) == needed(0.95) == 59


def test_looks_share_one_alpha() -> None:
    assert sum(1 - confident(look) for look in (1, 2, 3, 4)) == pytest.approx(0.05)
    assert confident(1, 1) == 0.95


def test_holm_and_the_fixed_sequence() -> None:
    assert holm({"a": 0.01, "b": 0.03, "c": 0.04}) == {"a"}
    assert holm({"a": 0.01, "b": 0.02, "c": 0.04}) == {"a", "b", "c"}
    assert fixed_sequence([0.01, 0.04, 0.2, 0.01]) == 2


@pytest.mark.parametrize("success", [0.85, 0.95, 0.99])
def test_drift_is_seen_early_and_seldom_invented(success: float) -> None:
    weight, limit = drift_limit(success, 400)
    rng = random.Random(8)

    def told(rate: float, samples: int) -> int | None:
        total = 0
        for n in range(1, samples + 1):
            total = max(total - 1, 0) if rng.random() < rate else total + weight
            if total >= limit:
                return n
        return None

    alarms = sum(told(success, 400) is not None for _ in range(400))
    assert alarms / 400 <= 0.05 + 0.025
    found = sorted(told(success - 0.4, 400) or 400 for _ in range(101))
    assert found[50] <= 25
