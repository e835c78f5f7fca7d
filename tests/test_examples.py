"""The examples run as a stranger would run them, offline, without a warning, and stay short."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
MONEY = r"\$0\.\d+"
TARGET = r"(?:small|strong)"

_MOVED = "ignore:create_react_agent has been moved"
"""LangGraph's word to all who call it. It still ships, and much that is in use calls it."""

_TOUCHED = ("ignore:The `__fields", "ignore:Accessing the 'model_")
"""What Pydantic says of LlamaIndex's workflows, which look their steps up among all attributes of an agent."""


def lines_of(name: str) -> list[str]:
    """What the example prints, run in a process of its own with no provider's key in the environment."""
    keyless = {key: value for key, value in os.environ.items() if not key.endswith("_API_KEY")}
    ignored = [f"-W{message}" for message in (_MOVED, *_TOUCHED)]
    command = [sys.executable, "-W", "error", *ignored, str(EXAMPLES / name)]
    done = subprocess.run(command, env=keyless, capture_output=True, text=True, check=False)
    # A warning while an object is collected is printed and changes no exit status.
    assert (done.returncode, done.stderr) == (0, "")
    return [line.rstrip() for line in done.stdout.splitlines()]


def match(lines: list[str], *patterns: str) -> None:
    assert len(lines) == len(patterns), lines
    for line, pattern in zip(lines, patterns, strict=True):
        assert re.fullmatch(pattern, line), f"{line!r} is not {pattern!r}"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_at_most_forty_lines_and_has_a_test(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40
    pages = [page.read_text(encoding="utf-8") for page in Path(__file__).parent.rglob("test_example*.py")]
    assert any(f'"{path.name}"' in page for page in pages)


def test_quickstart() -> None:
    match(
        lines_of("quickstart.py"),
        f"would go to {TARGET}: .+",
        rf"A scripted answer\. \(small, cost {MONEY}, saved {MONEY}\)",
        rf"A scripted answer\. \({TARGET}, Usage\(input_tokens=\d+, .+\)\)",
    )


def test_limits() -> None:
    match(
        lines_of("limits.py"),
        r"  \[fallback\] 'strong' answered in place of 'small' \(Overloaded 503\)",
        rf"step 1: strong, {MONEY}",
        rf"step 2: small, {MONEY}",
        r"  \[budget\] .+ is near its end",
        rf"step 3: small, {MONEY}",
        r"  \[budget\] .+ does not hold this call: .+",
        r"step 4: researcher has spent .+ in this conversation",
    )


@pytest.mark.requires("langchain")
def test_langgraph_agent() -> None:
    match(
        lines_of("langgraph_agent.py"),
        r"No coat needed\. Lisbon: 21 degrees, a light wind\.",
        f"first_ask: {TARGET}, {MONEY}, because .+",
        f"after_result: {TARGET}, {MONEY}, because .+",
    )


@pytest.mark.requires("langchain")
def test_react_agent() -> None:
    match(
        lines_of("react_agent.py"),
        r"human: Are there umbrellas left\?",
        rf"ai:  \[first_ask: {TARGET}\]",
        "tool: 3 of umbrella",
        rf"ai: We have 3 of umbrella\. \[after_result: {TARGET}\]",
    )


@pytest.mark.requires("langchain", "deepagents")
def test_deep_agent() -> None:
    lines = lines_of("deep_agent.py")
    match(
        lines,
        r"The finder says: Swifts sleep on the wing\.",
        f"boss, first_ask: {TARGET}, {MONEY}, saved {MONEY}",
        f"finder, first_ask: {TARGET}, {MONEY}, saved {MONEY}",
        f"boss, after_result: {TARGET}, {MONEY}, saved {MONEY}",
        f"bill: boss {MONEY}, finder {MONEY}",
    )


@pytest.mark.requires("langchain")
def test_structured_chain() -> None:
    lines = lines_of("structured_chain.py")
    assert lines == ["sender='Ana' city='Porto' urgent=True", "Porto, pinned to strong"]


@pytest.mark.requires("langchain")
def test_multi_agent() -> None:
    match(
        lines_of("multi_agent.py"),
        rf"writer on {TARGET}, {MONEY}: Rain on the tin roof\.",
        rf"reviewer on {TARGET}, {MONEY}: Rain on the tin roof\.",
    )


@pytest.mark.requires("llama_index")
def test_llamaindex_agents() -> None:
    match(
        lines_of("llamaindex_agents.py"),
        r"Dear customer, bring it back within 30 days, with the receipt\.",
        f"research: {TARGET}, {MONEY}, saved {MONEY}",
        f"text_qa: {TARGET}, {MONEY}, saved {MONEY}",
        f"research: {TARGET}, {MONEY}, saved {MONEY}",
        rf"writer: strong, {MONEY}, saved \$0\.0+",
        f"bill: {MONEY}",
    )
