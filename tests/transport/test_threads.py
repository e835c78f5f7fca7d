"""A system that gives no thread now gives one later: nothing stays as it was in that moment."""

from __future__ import annotations

import threading
from datetime import UTC, datetime
from typing import Any

import pytest

from agentroute import AuthenticationFailed, Secret
from agentroute.failover.effects import SystemClock
from agentroute.transport.names import Names
from agentroute.transport.tokens import Tokens
from tests.loopback import within


@pytest.fixture
def no_thread(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    def start(self: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)
    return monkeypatch


def test_a_name_is_looked_up_again(no_thread: pytest.MonkeyPatch) -> None:
    names = Names()
    with pytest.raises(OSError, match="can't start new thread"):
        names.addresses("localhost", 80, within(5))
    no_thread.undo()
    assert "127.0.0.1" in names.addresses("localhost", 80, within(5))


def test_a_resolver_that_raises_anything_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("patched")

    monkeypatch.setattr("socket.getaddrinfo", broken)
    with pytest.raises(OSError, match="ZeroDivisionError: patched"):
        Names().addresses("host.test", 80, within(5))


def test_a_key_is_asked_for_again(no_thread: pytest.MonkeyPatch) -> None:
    secret = Secret.call(lambda: ("k-1", datetime(2999, 1, 1, tzinfo=UTC)))
    tokens = Tokens(SystemClock())
    with pytest.raises(AuthenticationFailed, match="could not be asked: can't start new thread"):
        tokens.key(secret, "t", within(5))
    no_thread.undo()
    assert tokens.key(secret, "t", within(5)).reveal() == "k-1"
