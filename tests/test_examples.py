"""The examples run as they stand, offline, and stay short."""

from __future__ import annotations

import os
import re
import runpy
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.py")), ids=lambda path: path.name)
def test_an_example_is_at_most_forty_lines(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


def test_quickstart(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "quickstart.py"))
    planned, completed, streamed = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"would go to (small|strong): .+", planned)
    assert re.fullmatch(r"A scripted answer\. \(small, cost \$0\.\d+, saved \$0\.\d+\)", completed)
    assert re.fullmatch(r"A scripted answer\. \((small|strong), Usage\(input_tokens=\d+, .+\)\)", streamed)


@pytest.mark.requires("langchain")
def test_langgraph_agent(capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "langgraph_agent.py"))
    answer, first, second = capsys.readouterr().out.splitlines()
    assert answer == "No coat needed. Lisbon: 21 degrees, a light wind."
    assert re.fullmatch(r"first_ask: (small|strong), \$0\.\d+, because .+", first)
    assert re.fullmatch(r"after_result: (small|strong), \$0\.\d+, because .+", second)
