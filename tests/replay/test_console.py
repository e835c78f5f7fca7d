"""The tables of a replay: what is needed for the next command stays whole, however narrow the terminal."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from agentroute import Router
from agentroute.cli.replay_console import render
from agentroute.replay import ReplayReport, replay

Write = Callable[..., Path]
PAGE = Path(__file__).parents[2] / "docs" / "replay.md"
BENCH = Path(__file__).parents[2] / "evals" / "results" / "bench_replay.txt"


def shown(report: ReplayReport, width: int) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width).print(render(report))
    return text.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 100])
def test_the_step_and_how_sure_it_is_are_never_cut(
    width: int, write: Write, make_target: Callable[..., object]
) -> None:
    pool = [make_target(f"a-model-with-a-long-name-{tier}", tier, "1", "2") for tier in ("budget", "premium")]
    row = {
        "messages": [{"role": "user", "content": "Fix the traceback in parser.py."}],
        "target_tier": "mid_high",
        "id": "swebench_django__django-11999",
    }
    report = replay(write(*[row] * 120), Router(targets=pool))
    lines = shown(report, width)
    assert max(map(len, lines)) <= width
    start = next(n for n, line in enumerate(lines) if line.startswith("least sure"))
    rows = lines[start + 1 : start + 1 + len(report.least_sure)]
    assert re.match(r"least sure  sure  kind", lines[start])
    for line, each in zip(rows, report.least_sure, strict=True):
        assert line.lstrip().startswith(f"step {each.step}  {each.confidence:.2f}  ")


def test_nothing_is_said_about_the_tokens_of_no_steps(write: Write, router: Router) -> None:
    assert shown(replay(write("oops"), router), 100)[0].rstrip() == "0 steps in 0 conversations"


def test_the_page_repeats_the_figures_of_the_benchmark() -> None:
    lines = BENCH.read_text(encoding="utf-8").splitlines()
    page = PAGE.read_text(encoding="utf-8")
    date = re.search(r"\d{4}-\d\d-\d\d", lines[0])
    assert date is not None
    assert date[0] in page
    for line in lines[1:]:
        assert f"    {line}\n" in page


@pytest.mark.parametrize("width", [80, 100])
def test_names_of_models_stay_whole(width: int, write: Write, make_target: Callable[..., object]) -> None:
    names = {"claude-sonnet-5-5-20260901": "budget", "openai/gpt-6.1-terra-preview": "premium"}
    pool = [make_target(name, tier, "1", "2") for name, tier in names.items()]
    report = replay(write({"messages": [{"role": "user", "content": "hi"}]}), Router(targets=pool))
    text = io.StringIO()
    Console(file=text, width=width).print(render(report, width=width))
    lines = text.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert all(any(line.startswith(name) for line in lines) for name in names)
    assert any(line.startswith("* left out at this width: and cost") for line in lines) is (width == 80)
