"""What is public is what docs/api.md names, and nothing is exported beside it."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import agentroute
from agentroute import errors

PAGE = Path(__file__).resolve().parent.parent / "docs" / "api.md"

ROWS = {
    "agentroute": (),
    "agentroute.ledger": (),
    "agentroute.recording": (),
    "agentroute.learning.outcomes": (),
    "langchain_agentroute": ("langchain",),
    "crewai_agentroute": ("crewai",),
    "llama_index.llms.agentroute": ("llama_index",),
}


def named(module: str) -> set[str]:
    """The names that the page gives for a module."""
    row = re.search(rf"^\| `{re.escape(module)}` \| (.*) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None, f"docs/api.md has no row for {module}"
    return set(re.findall(r"`(\w+)`", row[1]))


@pytest.mark.parametrize(
    "module", [pytest.param(name, marks=pytest.mark.requires(*needs)) for name, needs in ROWS.items()]
)
@pytest.mark.filterwarnings("ignore")
def test_a_module_exports_what_the_page_names(module: str) -> None:
    exported = set(importlib.import_module(module).__all__)
    if module == "agentroute":
        exported -= set(errors.__all__)
    assert exported == named(module)


def test_every_error_is_exported_at_the_top() -> None:
    own = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert {name for name in own if issubclass(getattr(errors, name), Exception)} <= set(agentroute.__all__)


def test_what_is_exported_is_there() -> None:
    for name in agentroute.__all__:
        assert getattr(agentroute, name) is not None


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = (
        "asyncio httpx2 httpcore2 pydantic typer rich sqlite3 genai_prices langchain_core crewai llama_index".split()
    )
    code = f"import sys, agentroute; print([name for name in {heavy!r} if name in sys.modules])"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"
