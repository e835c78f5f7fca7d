"""Without LlamaIndex nothing here can be imported; `test_present.py` says so, or fails where it is required."""

from __future__ import annotations

import asyncio
import importlib.util
import inspect
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

if any(
    importlib.util.find_spec(name) is None or importlib.util.find_spec(f"{name}.{part}") is None
    for name, part in (("llama_index", "core"), ("llama_index.llms", "openai"))
):
    collect_ignore_glob = ["test_[!p]*.py"]


_HERE = Path(__file__).parent
_OF_LLAMA_INDEX = (
    # A workflow looks its steps up among all attributes of an agent, and so touches those that Pydantic has deprecated.
    r".*`__fields(_set)?__` attribute is deprecated",
    r"Accessing the 'model_(computed_)?fields' attribute on the instance is deprecated",
    # ReActAgent asks its workflow, from a step of it, whether it runs (llama-index-core 0.14, workflows 2.26).
    r"is_running called from within a step",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What LlamaIndex itself is warned of, whoever's LLM it uses."""
    for item in items:
        if item.path.parent == _HERE:
            for message in _OF_LLAMA_INDEX:
                item.add_marker(pytest.mark.filterwarnings(f"ignore:{message}"))


@pytest.fixture(autouse=True)
def own_loop(request: pytest.FixtureRequest) -> Iterator[None]:
    """LlamaIndex's synchronous methods run coroutines on the thread's current loop, and leave one they made open."""
    if inspect.iscoroutinefunction(request.function):
        yield
        return
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.run_until_complete(loop.shutdown_asyncgens())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture(autouse=True)
def connections_end() -> Iterator[None]:
    yield
    from .pools import MADE

    while MADE:
        MADE.pop().router.close()


@pytest.fixture(autouse=True)
def only_loopback(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No test connects, or asks for a name, anywhere but 127.0.0.1; none finds a key."""
    for name in [name for name in os.environ if name.endswith("_API_KEY")]:
        monkeypatch.delenv(name)
    tried: list[Any] = []
    connect = socket.socket.connect

    def recorded(self: socket.socket, address: Any) -> None:
        if self.family != socket.AF_UNIX:
            tried.append(address[0])
        connect(self, address)

    look_up = socket.getaddrinfo

    def looked_up(host: Any, *rest: Any, **named: Any) -> Any:
        tried.append(host)
        return look_up(host, *rest, **named)

    monkeypatch.setattr(socket.socket, "connect", recorded)
    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    yield
    assert set(tried) <= {"127.0.0.1"}
