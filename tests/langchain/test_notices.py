"""Notices and budgets of a RoutedChatModel: custom events, a callback beside `targets`, an error of theirs."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel
from langchain_core.callbacks import AsyncCallbackHandler, BaseCallbackHandler
from langchain_core.exceptions import ModelError

from agentroute import BudgetExceeded, Notice
from agentroute.testing import Fault, ScriptedProvider, nth

from .pools import POOLS, SMALL, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

SHAPES = ("invoke", "ainvoke", "stream", "astream")
TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}


class Told(BaseCallbackHandler):
    def __init__(self) -> None:
        self.notices: list[dict[str, Any]] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        if name == "agentroute_notice":
            self.notices.append(data)


class AsyncTold(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.notices: list[dict[str, Any]] = []

    async def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        if name == "agentroute_notice":
            self.notices.append(data)


def run(model: RoutedChatModel, shape: str, config: Any) -> None:
    async def go() -> None:
        try:
            if shape == "ainvoke":
                await model.ainvoke("hello", config)
            else:
                async for _ in model.astream("hello", config):
                    pass
        finally:
            await model.router.aclose()

    try:
        if shape == "invoke":
            model.invoke("hello", config)
        elif shape == "stream":
            list(model.stream("hello", config))
        else:
            asyncio.run(go())
    finally:
        model.router.close()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", POOLS)
def test_a_fallback_is_a_custom_event_and_reaches_the_callback(kind: str, shape: str) -> None:
    told: Any = AsyncTold() if shape.startswith("a") else Told()
    called: list[Notice] = []
    with ScriptedProvider("hi", fault=nth(1, Fault.error(503), model=SMALL), provider="openai") as provider:
        model = RoutedChatModel(targets=pool(kind, provider), on_notice=called.append)
        run(model, shape, {**TO_SMALL, "callbacks": [told]})
    assert [notice["kind"] for notice in told.notices] == ["fallback"]
    assert told.notices == [notice.to_dict() for notice in called]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", POOLS)
def test_a_budget_ends_as_an_error_of_ours_and_theirs(kind: str, shape: str) -> None:
    told = Told()
    with ScriptedProvider("hi", provider="openai") as provider:
        model = RoutedChatModel(targets=pool(kind, provider), budget={"day": 0})
        with pytest.raises(BudgetExceeded) as refused:
            run(model, shape, {"callbacks": [told]})
    assert isinstance(refused.value, ModelError)
    assert not refused.value.is_retryable
    assert refused.value.limit == 0
    assert provider.requests == ()
    assert [notice["kind"] for notice in told.notices] == ["budget"]
