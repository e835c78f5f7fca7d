"""Text that somebody else controls does not choose the model: every row of evals/injection.py, and time bounds."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from agentroute import Router
from agentroute.catalog.example import example_targets

ROOT = Path(__file__).resolve().parents[2]


def _load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("injection_evaluation", ROOT / "evals" / "injection.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


INJECTION = _load()
ROWS = list(INJECTION.rows())
ROUTER = Router(targets=example_targets())


@pytest.mark.parametrize("row", ROWS, ids=[f"{row.who}: {row.what}" for row in ROWS])
def test_injected_text_does_no_more_than_it_may(row: Any) -> None:
    for strategy, move in INJECTION.moves(row, ROUTER).items():
        assert INJECTION.allowed(row.may, move), (strategy, move)


def test_the_table_can_fail() -> None:
    low, high = INJECTION.ask(INJECTION.CHAT), INJECTION.ask(INJECTION.CODE)
    move = INJECTION.moves(INJECTION.Row("user", "asks for code", "nothing", low, high), ROUTER)["balanced"]
    assert move.tiers > 1
    assert move.factor > 2
    assert not any(INJECTION.allowed(may, move) for may in ("nothing", "up one"))
    down = INJECTION.moves(INJECTION.Row("user", "asks less", "not down", high, low), ROUTER)["balanced"]
    assert not INJECTION.allowed("not down", down)


@pytest.mark.parametrize("strategy", ["balanced", "cheapest"])
def test_a_call_that_keeps_failing_never_ends_at_the_weakest_model(strategy: Any) -> None:
    ranks = []
    for n in range(1, 40):
        steps = [({"url": INJECTION.URL}, "Error: the page could not be loaded")] * n
        body = INJECTION.loop(INJECTION.MUSEUM, [INJECTION.FETCH], *steps)
        ranks.append(INJECTION.route(body, ROUTER, strategy).tier.rank)
    assert ranks == sorted(ranks)
    assert ranks[-1] > 1
