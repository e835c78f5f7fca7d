"""Needs all three frameworks at once; `test_present.py` says so, or fails where they are required."""

from __future__ import annotations

import importlib.util
import os
import warnings
from pathlib import Path

import pytest

# Read when CrewAI is imported: no telemetry, no traces, no question about them, no look for a newer version.
os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["CREWAI_DISABLE_VERSION_CHECK"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ["OTEL_SDK_DISABLED"] = "true"


def _here(name: str) -> bool:
    package = name.partition(".")[0]
    return importlib.util.find_spec(package) is not None and importlib.util.find_spec(name) is not None


if not all(_here(name) for name in ("langchain", "crewai", "llama_index.core")):
    collect_ignore_glob = ["test_[!p]*.py"]
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crewai  # noqa: F401

_HERE = Path(__file__).parent
_OF_OTHERS = (
    r"function_calling_llm is deprecated",
    r"deprecated$",
    r".*`__fields(_set)?__` attribute is deprecated",
    r"Accessing the 'model_(computed_)?fields' attribute on the instance is deprecated",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What CrewAI and LlamaIndex themselves are warned of, whoever's LLM they use."""
    for item in items:
        if item.path.parent == _HERE:
            for message in _OF_OTHERS:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{message}"))
