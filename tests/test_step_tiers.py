"""The promise of the default strategy on real agent steps: code repair is not broken to save money."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

from agentroute import Router
from agentroute.catalog.example import example_targets

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


@pytest.mark.requires("shared")
def test_balanced_keeps_code_repair_right_and_saves_elsewhere(evaluation: ModuleType, shared: Path) -> None:
    rows = evaluation.load(shared / "data" / "step_tiers" / "steps.jsonl.gz", Router(targets=example_targets()))
    assert len(rows) == 177
    repair = [row for row in rows if row.benchmark == "swebench"]
    balanced = evaluation.score(repair, evaluation.POLICIES["balanced (default)"])
    premium = evaluation.score(repair, evaluation.POLICIES["always-premium"])
    assert balanced.row_pass >= premium.row_pass - 0.02
    whole = evaluation.score(rows, evaluation.POLICIES["balanced (default)"])
    rule = evaluation.score(rows, evaluation.POLICIES["code-repair agent -> premium, else budget"])
    assert whole.row_pass > rule.row_pass
    assert whole.spend_with_redo < 0.85


@pytest.mark.requires("shared")
def test_the_baselines_score_as_they_must(evaluation: ModuleType, shared: Path) -> None:
    rows = evaluation.load(shared / "data" / "step_tiers" / "steps.jsonl.gz", Router(targets=example_targets()))
    score, policies = evaluation.score, evaluation.POLICIES
    assert (score(rows, policies["oracle"]).row_pass, score(rows, policies["oracle"]).row_exact) == (1.0, 1.0)
    assert score(rows, policies["always-premium"]).row_exact == pytest.approx(65 / 177)
    assert score(rows, policies["always-budget"]).row_pass == pytest.approx(77 / 177)
