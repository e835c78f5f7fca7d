"""Decisions for interfaces: a custom event when one is taken, and again when it is complete."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, RoutingMiddleware
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.tools import tool

from agentroute import ChatRequest, Decision, InvalidRequest
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth, tool_call

from .pools import POOLS, SMALL, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

TO_SMALL: Any = {"configurable": {"agentroute": {"strategy": "cheapest"}}}


class Told(BaseCallbackHandler):
    def __init__(self) -> None:
        self.decisions: list[Decision] = []

    def on_custom_event(self, name: str, data: Any, **_: Any) -> None:
        assert name == "agentroute_decision"
        self.decisions.append(Decision.from_dict(data))


@pytest.mark.parametrize("shape", ["invoke", "ainvoke", "stream", "astream"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_handler_is_told_twice(kind: str, shape: str) -> None:
    told = Told()
    with ScriptedProvider("hi", fault=nth(1, Fault.error(503), model=SMALL), provider="openai") as provider:
        model = RoutedChatModel(targets=pool(kind, provider))
        config: Any = {**TO_SMALL, "callbacks": [told]}

        async def go() -> None:
            if shape == "ainvoke":
                await model.ainvoke("hello", config)
            else:
                async for _ in model.astream("hello", config):
                    pass
            await model.router.aclose()

        if shape == "invoke":
            model.invoke("hello", config)
        elif shape == "stream":
            list(model.stream("hello", config))
        else:
            asyncio.run(go())
        model.router.close()
    planned, complete = told.decisions
    assert (planned.outcome, planned.target, planned.attempts) == ("planned", "small", ())
    assert (complete.outcome, complete.target, len(complete.attempts)) == ("ok", "strong", 2)
    assert planned.id == complete.id


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("kind", POOLS)
def test_a_handler_is_told_of_a_call_that_failed(kind: str, asynchronous: bool) -> None:
    told = Told()
    with ScriptedProvider("hi", fault=Fault.error(400), provider="openai") as provider:
        model = RoutedChatModel(targets=pool(kind, provider))
        config: Any = {**TO_SMALL, "callbacks": [told]}
        with pytest.raises(InvalidRequest):
            asyncio.run(model.ainvoke("hello", config)) if asynchronous else model.invoke("hello", config)
        model.router.close()
    assert [decision.outcome for decision in told.decisions] == ["planned", "failed"]


def test_a_handler_is_told_of_a_stream_that_was_given_up() -> None:
    told = Told()
    with ScriptedProvider("hi there, whoever you are", provider="openai", chunk_characters=4) as provider:
        model = RoutedChatModel(targets=pool("wire", provider))
        stream: Any = model.stream("hello", {**TO_SMALL, "callbacks": [told]})
        next(stream)
        stream.close()
        model.router.close()
    assert [decision.outcome for decision in told.decisions] == ["planned", "abandoned"]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
def test_the_middleware_tells_of_a_call_that_failed(asynchronous: bool) -> None:
    told = Told()
    with ScriptedProvider("hi", fault=Fault.error(400), provider="openai") as provider:
        routing = RoutingMiddleware(targets=pool("wire", provider))
        agent = create_agent(routing.model, middleware=[routing])
        asked: Any = {"messages": [("user", "hello")]}
        config: Any = {**TO_SMALL, "callbacks": [told]}
        with pytest.raises(InvalidRequest):
            asyncio.run(agent.ainvoke(asked, config)) if asynchronous else agent.invoke(asked, config)
        routing.router.close()
    assert [decision.outcome for decision in told.decisions] == ["planned", "failed"]


def test_in_the_event_stream_of_an_agent() -> None:
    """`astream_events` shows each step's decision between the steps, under the run that it belongs to."""

    @tool
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    def reply(request: ChatRequest) -> ScriptedReply:
        asked = request.messages[-1].role == "user"
        return ScriptedReply(tool_calls=(tool_call("add", a=1, b=2),)) if asked else ScriptedReply("3")

    async def go() -> list[Any]:
        with ScriptedProvider(reply, provider="openai") as provider:
            model = RoutedChatModel(targets=pool("wire", provider))
            agent = create_agent(model, tools=[add])
            events = [e async for e in agent.astream_events({"messages": [("user", "1+2?")]}, version="v2")]
            await model.router.aclose()
            return events

    events = asyncio.run(go())
    told = [event for event in events if event["event"] == "on_custom_event"]
    assert [(event["name"], event["data"]["outcome"]) for event in told] == [
        ("agentroute_decision", "planned"),
        ("agentroute_decision", "ok"),
    ] * 2
    assert {event["metadata"]["langgraph_node"] for event in told} == {"model"}
    chains = {event["run_id"] for event in events if event["name"] == "RoutedChatModel"}
    assert {event["run_id"] for event in told} == chains
