"""LlamaIndex's agents on a RoutedLLM: each step by itself, each agent by its name, failover in the middle."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.agent.workflow import (
    AgentOutput,
    AgentStream,
    AgentWorkflow,
    FunctionAgent,
    ReActAgent,
)
from llama_index.llms.agentroute import decision_of

from agentroute.messages import ChatRequest
from agentroute.testing import Fault, ScriptedReply, tool_call

from .pools import POOLS, routed, serving

pytestmark = pytest.mark.requires("llama_index")


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: 21 degrees"


def forecast(request: ChatRequest) -> ScriptedReply:
    results = request.messages[-1].tool_results
    if not results:
        return ScriptedReply(tool_calls=(tool_call("weather", city="Lisbon"),))
    return ScriptedReply(f"No coat needed. {results[0].text}.")


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("streaming", [False, True])
async def test_11_runs_offline_function_agent(kind: str, streaming: bool) -> None:
    with serving(forecast) as server:
        llm = routed(kind, server)
        agent = FunctionAgent(tools=[weather], llm=llm.for_agent("forecaster"), streaming=streaming)
        handler = agent.run("Do I need a coat in Lisbon?")
        events = [event async for event in handler.stream_events()]
        result: Any = await handler
        assert str(result) == "No coat needed. Lisbon: 21 degrees."
        decisions = llm.router.ledger.decisions
        assert [d.step_kind.value for d in decisions] == ["first_ask", "after_result"]
        assert {d.context.agent for d in decisions} == {"forecaster"}
        assert all(d.outcome == "ok" and d.usage for d in decisions)
        outputs = [event for event in events if type(event) is AgentOutput]
        assert [decision_of(output) for output in outputs] == list(decisions)
        shown = "".join(event.delta for event in events if isinstance(event, AgentStream))
        assert shown == ("No coat needed. Lisbon: 21 degrees." if streaming else "")
        if kind == "wire":
            first, second = (request.body for request in server.requests)
            assert first["tools"][0]["function"]["parameters"]["additionalProperties"] is False
            assert (first["tool_choice"], first["parallel_tool_calls"]) == ("auto", True)
            assert second["messages"][-2]["tool_calls"][0]["function"]["arguments"] == '{"city": "Lisbon"}'


def thinks(request: ChatRequest) -> str:
    if "Observation" not in request.messages[-1].text:
        return 'Thought: I need the weather.\nAction: weather\nAction Input: {"city": "Lisbon"}'
    return "Thought: I can answer without using any more tools.\nAnswer: No coat needed."


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("streaming", [False, True])
async def test_11_runs_offline_react_agent(kind: str, streaming: bool) -> None:
    with serving(thinks) as server:
        llm = routed(kind, server)
        agent = ReActAgent(tools=[weather], llm=llm, streaming=streaming)
        assert str(await agent.run("Do I need a coat in Lisbon?")) == "No coat needed."
        assert len(llm.router.ledger.decisions) == len(server.requests) == 2


def hands_over(request: ChatRequest) -> ScriptedReply:
    names = {tool.name for tool in request.tools}
    if "weather" in names:
        if request.messages[-1].tool_results:
            return ScriptedReply(tool_calls=(tool_call("handoff", to_agent="writer", reason="it is known now"),))
        return ScriptedReply(tool_calls=(tool_call("weather", city="Lisbon"),))
    return ScriptedReply("Leave the coat at home.")


def workflow(research: Any, writer: Any) -> AgentWorkflow:
    return AgentWorkflow(
        agents=[
            FunctionAgent(
                name="research", description="Finds out", tools=[weather], llm=research, can_handoff_to=["writer"]
            ),
            FunctionAgent(name="writer", description="Writes", tools=[], llm=writer, can_handoff_to=[]),
        ],
        root_agent="research",
    )


@pytest.mark.parametrize("kind", POOLS)
async def test_11_runs_offline_two_agents_with_a_handoff(kind: str) -> None:
    with serving(hands_over) as server:
        llm = routed(kind, server)
        writer = llm.for_agent("writer", target="strong")
        result = await workflow(llm.for_agent("research", max_tier="budget"), writer).run("Do I need a coat?")
        assert str(result) == "Leave the coat at home."
        steps = [(d.context.agent, d.context.role, d.target) for d in llm.router.ledger.decisions]
        assert steps == [("research", "research", "small")] * 2 + [("writer", "writer", "strong")]


@pytest.mark.parametrize("kind", POOLS)
async def test_11_runs_offline_one_agent_fails_over_and_the_other_does_not_notice(kind: str) -> None:
    overloaded = Fault.error(503)
    with serving("never", fault=overloaded) as broken, serving(hands_over) as server:
        llm = routed(kind, broken, server)
        writer = llm.for_agent("writer", target="strong")
        result = await workflow(llm.for_agent("research"), writer).run("Do I need a coat?")
        assert str(result) == "Leave the coat at home."
        assert [d.target for d in llm.router.ledger.decisions] == ["strong"] * 3
        first, *_, last = llm.router.ledger.decisions
        assert (first.attempts[0].target, first.attempts[0].outcome) == ("small", "failed")
        assert [a.target for a in last.attempts] == ["strong"]
