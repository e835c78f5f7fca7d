"""Notices and budgets of a RoutedLLM: an event on CrewAI's bus, a callback beside `targets`."""

from __future__ import annotations

import pytest
from crewai.events import LLMCallFailedEvent
from crewai_agentroute import RoutedNoticeEvent

from agentroute import BudgetExceeded, Notice
from agentroute.testing import Fault

from .crews import POOLS, WAYS, asked, heard, routed, serving


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_fallback_is_an_event_and_reaches_the_callback(kind: str, way: str) -> None:
    called: list[Notice] = []
    with serving("", fault=Fault.error(503)) as down, serving("hello") as other:
        llm = routed(kind, down, other, on_notice=called.append)
        with heard(RoutedNoticeEvent) as events:
            assert await asked(way, llm) == "hello"
    assert [notice.kind for notice in called] == ["fallback"]
    (event,) = events
    assert {name: getattr(event, name) for name in called[0].to_dict()} == called[0].to_dict()


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("way", WAYS)
async def test_a_budget_that_is_used_up(kind: str, way: str) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider, budget={"agent": 0})
        with heard(RoutedNoticeEvent, LLMCallFailedEvent) as events, pytest.raises(BudgetExceeded) as refused:
            await asked(way, llm)
    assert provider.requests == ()
    assert refused.value.scope == "agent"
    assert sorted(event.type for event in events) == ["agentroute_notice", "llm_call_failed"]
