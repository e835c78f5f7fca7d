"""What the pages show first runs as it stands, offline."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parent.parent / "docs"


def first_snippet(page: str) -> str:
    found = re.search(r"```python\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    assert found is not None
    return found[1]


@pytest.mark.parametrize(
    ("page", "says"),
    [
        pytest.param("langchain.md", "Hello from a script.", marks=pytest.mark.requires("langchain")),
        pytest.param("llamaindex.md", "At the mouth of the Tagus.", marks=pytest.mark.requires("llama_index")),
    ],
)
def test_the_quickstart_of_a_page_runs(page: str, says: str) -> None:
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", first_snippet(page)], capture_output=True, text=True, timeout=300
    )
    assert ran.returncode == 0, ran.stderr
    assert says in ran.stdout
