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
from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.workflow import StartEvent, StopEvent, Workflow, step
from llama_index.llms.agentroute import RoutedLLM, decision_of
from llama_index_instrumentation import get_dispatcher

from agentroute import Target
from agentroute.messages import ChatRequest
from agentroute.testing import Fault, ScriptedReply, tool_call

from .pools import POOLS, SMALL, routed, serving

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
        result = await workflow(llm.for_agent("research", strategy="cheapest"), writer).run("Do I need a coat?")
        assert str(result) == "Leave the coat at home."
        assert [d.target for d in llm.router.ledger.decisions] == ["strong"] * 3
        first, *_, last = llm.router.ledger.decisions
        assert (first.attempts[0].target, first.attempts[0].outcome) == ("small", "failed")
        assert [a.target for a in last.attempts] == ["strong"]


async def test_each_agent_of_a_workflow_is_known_without_a_handle() -> None:
    with serving(hands_over) as server:
        llm = routed("wire", server)
        await workflow(llm, llm).run("Do I need a coat?")
        assert [d.context.role for d in llm.router.ledger.decisions] == ["research", "research", "writer"]
        await llm.achat([ChatMessage("Hello.")])
        assert llm.router.ledger.decisions[-1].context.agent is None


async def test_an_agent_without_a_name_stays_one() -> None:
    with serving("Hello.") as server:
        llm = routed("wire", server)
        await FunctionAgent(llm=llm).run("Hello.")
        assert [d.context.agent for d in llm.router.ledger.decisions] == [None]


RAISED = [RuntimeError("disk on fire"), TimeoutError(""), KeyError("order_17"), ValueError("it is 21 degrees")]


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_tool_that_raises_has_failed(kind: str, error: Exception) -> None:
    def weather(city: str) -> str:
        """Tell the weather in a city."""
        raise error

    with serving(forecast) as server:
        llm = routed(kind, server)
        await FunctionAgent(name="sailor", tools=[weather], llm=llm).run("Do I need a coat?")
        steps = [d.step_kind.value for d in llm.router.ledger.decisions]
        assert steps == ["first_ask", "after_error"]


async def test_a_tool_that_does_not_exist_has_failed() -> None:
    with serving(forecast) as server:
        llm = routed("wire", server)
        await FunctionAgent(name="sailor", tools=[], llm=llm).run("Do I need a coat?")
        assert llm.router.ledger.decisions[-1].step_kind.value == "after_error"


async def test_anthropic_is_told_that_a_tool_failed() -> None:
    def weather(city: str) -> str:
        """Tell the weather in a city."""
        raise RuntimeError("disk on fire")

    with serving(forecast) as server:
        claude = Target(
            provider="anthropic",
            model="claude-opus-5",
            base_url=server.base_url,
            api_key=server.api_key,
            tier="premium",
        )
        llm = RoutedLLM(targets=[claude])
        await FunctionAgent(name="sailor", tools=[weather], llm=llm).run("Do I need a coat?")
        await llm.router.aclose()
        (result,) = (
            block
            for message in server.requests[-1].body["messages"]
            for block in message["content"]
            if isinstance(block, dict) and block["type"] == "tool_result"
        )
        assert result["is_error"] is True


@pytest.mark.parametrize("error", RAISED, ids=lambda error: type(error).__name__)
async def test_a_react_agent_s_tool_that_raises_has_failed(error: Exception) -> None:
    def weather(city: str) -> str:
        """Tell the weather in a city."""
        raise error

    def thinks(request: ChatRequest) -> str:
        seen = "Observation:" in request.messages[-1].text
        return (
            "Thought: I know.\nAnswer: Yes." if seen else 'Thought: x\nAction: weather\nAction Input: {"city": "Faro"}'
        )

    with serving(thinks) as server:
        llm = routed("wire", server)
        await ReActAgent(name="sailor", tools=[weather], llm=llm).run("Do I need a coat?")
        assert [d.step_kind.value for d in llm.router.ledger.decisions] == ["first_ask", "after_error"]


async def test_a_react_agent_s_answer_that_could_not_be_read_has_failed() -> None:
    replies = iter(["Thought: x\nAction: weather\nAction Input: {", "Thought: I know.\nAnswer: Yes."])
    with serving(lambda request: next(replies)) as server:
        llm = routed("wire", server)
        await ReActAgent(name="sailor", llm=llm).run("Do I need a coat?")
        assert [d.step_kind.value for d in llm.router.ledger.decisions] == ["first_ask", "after_error"]


async def test_a_step_of_a_workflow_of_one_s_own_is_known_by_its_name() -> None:
    with serving("Yes.") as server:
        llm = routed("wire", server)

        class Research(Workflow):
            @step
            async def grade(self, begun: StartEvent) -> StopEvent:
                await llm.acomplete("Is this relevant?")
                return StopEvent(result=str(await FunctionAgent(name="sailor", llm=llm).run("Do I need a coat?")))

        await Research().run()
        assert [d.context.role for d in llm.router.ledger.decisions] == ["grade", "sailor"]


async def test_instrumentation_can_be_left_alone() -> None:
    before = list(get_dispatcher().span_handlers)
    with serving("Hello.") as server:
        llm = RoutedLLM(targets={"small": server.target(model=SMALL)}, listens=False)
        await FunctionAgent(name="sailor", llm=llm).run("Hello.")
        assert [d.context.agent for d in llm.router.ledger.decisions] == [None]
        await llm.router.aclose()
    assert get_dispatcher().span_handlers == before


def test_bind_is_for_agent() -> None:
    with serving("Hello.") as server:
        llm = routed("wire", server)
        handle = llm.bind(agent="writer", max_tier="mid")
        assert handle == llm.for_agent("writer", max_tier="mid")
        assert handle.router is llm.router
