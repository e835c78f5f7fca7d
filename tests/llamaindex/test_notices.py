"""Notices and budgets of a RoutedLLM: an event of LlamaIndex's instrumentation, a callback beside `targets`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.llms.agentroute import RoutedNoticeEvent
from pydantic import Field

from agentroute import BudgetExceeded, Notice
from agentroute.testing import Fault

from .pools import CALLS, POOLS, call, routed, serving

pytestmark = pytest.mark.requires("llama_index")


class Heard(BaseEventHandler):
    events: list[Any] = Field(default_factory=list)

    def handle(self, event: Any, **_: Any) -> None:
        if isinstance(event, RoutedNoticeEvent):
            self.events.append(event)


@pytest.fixture
def heard() -> Iterator[list[Any]]:
    handler = Heard()
    root = get_dispatcher()
    root.add_event_handler(handler)
    yield handler.events
    root.event_handlers.remove(handler)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", CALLS)
async def test_a_fallback_is_an_event_and_reaches_the_callback(kind: str, method: str, heard: list[Any]) -> None:
    called: list[Notice] = []
    with serving("", fault=Fault.error(503)) as down, serving("hello") as other:
        llm = routed(kind, down, other, on_notice=called.append)
        await call(llm, method)
    assert [notice.kind for notice in called] == ["fallback"]
    (event,) = heard
    assert {name: getattr(event, name) for name in called[0].to_dict()} == called[0].to_dict()


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", CALLS)
async def test_a_budget_that_is_used_up(kind: str, method: str, heard: list[Any]) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider, budget={"day": 0})
        with pytest.raises(BudgetExceeded):
            await call(llm, method)
    assert provider.requests == ()
    assert [event.kind for event in heard] == ["budget"]
