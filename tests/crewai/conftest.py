"""Without CrewAI nothing here can be imported; `test_present.py` says so, or fails where it is required."""

from __future__ import annotations

import functools
import importlib.util
import os
import socket
import ssl
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Read when CrewAI is imported: no telemetry, no traces, no question about them, no look for a newer version.
os.environ["CREWAI_DISABLE_TELEMETRY"] = "true"
os.environ["CREWAI_DISABLE_VERSION_CHECK"] = "true"
os.environ["CREWAI_TRACING_ENABLED"] = "false"
os.environ["OTEL_SDK_DISABLED"] = "true"

if importlib.util.find_spec("crewai") is None:
    collect_ignore_glob = ["test_[!p]*.py", "test_pool.py"]
else:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import crewai  # noqa: F401

_HERE = Path(__file__).parent
_OF_CREWAI = (
    # Every Agent and Crew reads fields that it has deprecated itself.
    r"function_calling_llm is deprecated",
    r"deprecated$",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What CrewAI itself is warned of, whoever's LLM it uses."""
    for item in items:
        if item.path.parent == _HERE:
            for message in _OF_CREWAI:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{message}"))


_context = functools.cache(ssl.create_default_context)


@pytest.fixture(autouse=True)
def one_tls_context(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every client that CrewAI builds reads all certificates, and none needs them here."""
    monkeypatch.setattr(ssl, "create_default_context", _context)


@pytest.fixture(autouse=True)
def connections_end() -> Iterator[None]:
    yield
    from .crews import MADE

    while MADE:
        MADE.pop().router.close()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test connects, or tries to, anywhere but 127.0.0.1; none finds a key."""
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    tried: list[Any] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            tried.append(address[0])
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    yield
    assert set(tried) <= {"127.0.0.1"}
