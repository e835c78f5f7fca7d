"""The code of docs/crewai.md runs, in order, offline."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from crewai.events import crewai_event_bus

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "crewai.md"


def test_the_code_of_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(blocks) == 3
    names: dict[str, Any] = {}
    with crewai_event_bus.scoped_handlers():
        for block in blocks:
            exec(compile(block, str(PAGE), "exec"), names)
    said = capsys.readouterr().out
    assert "Tides follow the moon.\nsmall" in said
    assert re.search(r"Researcher budget 0\.\d+\nReviewer premium 0\.\d+\n\d+", said)
