"""The promise of the strategies on real agent steps: instances stay right, and dollars are saved."""

from __future__ import annotations

import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentroute import ChatRequest, Router, Tier

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def evaluation() -> ModuleType:
    spec = importlib.util.spec_from_file_location("step_tiers_evaluation", ROOT / "evals" / "step_tiers.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@cache
def routed(evaluation: ModuleType, data: Path) -> list[Any]:
    rows: list[Any] = evaluation.load(data / "step_tiers" / "steps.jsonl.gz", Router(targets=evaluation.pool()))
    return rows


@pytest.fixture
def rows(evaluation: ModuleType, shared: Path) -> list[Any]:
    return routed(evaluation, shared / "data")


@pytest.mark.requires("shared")
def test_balanced_keeps_instances_right_and_saves(evaluation: ModuleType, rows: list[Any]) -> None:
    assert len(rows) == 177
    balanced = evaluation.score(rows, evaluation.POLICIES["balanced (default)"])
    assert balanced.right >= 0.97
    assert balanced.saved >= 0.39
    repair = [row for row in rows if row.benchmark == "swebench"]
    assert evaluation.score(repair, evaluation.POLICIES["balanced (default)"]).right == 1.0


@pytest.mark.requires("shared")
def test_best_never_goes_below_what_is_needed(evaluation: ModuleType, rows: list[Any]) -> None:
    best = evaluation.score(rows, evaluation.POLICIES["best"])
    assert best.row_pass == 1.0
    assert best.saved > 0.1


@pytest.mark.requires("shared")
def test_the_baselines_score_as_they_must(evaluation: ModuleType, rows: list[Any]) -> None:
    score, policies = evaluation.score, evaluation.POLICIES
    assert (score(rows, policies["oracle"]).row_pass, score(rows, policies["oracle"]).row_exact) == (1.0, 1.0)
    assert score(rows, policies["always-premium"]).row_exact == pytest.approx(65 / 177)
    assert score(rows, policies["always-budget"]).row_pass == pytest.approx(77 / 177)


@pytest.mark.requires("shared")
def test_the_benchmarks_own_headline_comes_out(evaluation: ModuleType, rows: list[Any]) -> None:
    """Its authors' scorer says 59.2 and 38.4 of these rows."""
    headline = {
        name: evaluation.combined(evaluation.instances(rows, evaluation.POLICIES[name]))
        for name in ("always-premium", "always-budget")
    }
    assert headline["always-premium"] == pytest.approx(0.592, abs=0.001)
    assert headline["always-budget"] == pytest.approx(0.384, abs=0.002)


def test_money_reads_a_warm_prefix_and_pays_a_failed_instance_twice(evaluation: ModuleType) -> None:
    request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "Fix it."}]})

    def row(step: int, read: int, needed: Tier) -> Any:
        return evaluation.Row("b", "i", step, needed, request, 10_000 * step, read, 1, 100, {})

    rows = [row(1, 0, Tier.BUDGET), row(2, 10_000, Tier.MID)]
    premium = evaluation.score(rows, lambda row: Tier.PREMIUM)
    assert premium.baseline == pytest.approx((20_000 * 6.25 + 10_000 * 0.5 + 200 * 25) / 1e6)
    assert premium.saved == 0.0
    too_low = evaluation.score(rows, lambda row: Tier.BUDGET)
    assert too_low.right == 0.0
    assert too_low.bill == pytest.approx(premium.baseline + (20_000 * 0.26 + 10_000 * 0.13 + 200 * 0.5) / 1e6)
    switched = evaluation.score(rows, lambda row: row.needed)
    assert switched.bill == pytest.approx((10_000 * 0.26 + 100 * 0.5 + 20_000 * 0.30 + 100 * 2) / 1e6)
