"""create_agent through RoutedChatModel: tools, plain and asynchronous, invoked and streamed, over each kind of pool."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.callbacks import UsageMetadataCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .pools import POOLS, STRONG, Runs, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

ANSWER = "It is 18 degrees in Paris, and the sun shines."
QUESTION = {"messages": [("user", "What is the weather in Paris?")]}


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 18 degrees, sunny"


def script(request: ChatRequest) -> ScriptedReply | str:
    if any(message.tool_results for message in request.messages):
        return ANSWER
    return ScriptedReply("Let me look.", tool_calls=(tool_call("weather", city="Paris"),))


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(script, provider="openai") as running:
        yield running


@pytest.fixture(params=POOLS)
def model(request: pytest.FixtureRequest, provider: ScriptedProvider) -> Iterator[RoutedChatModel]:
    routed = RoutedChatModel(targets=pool(request.param, provider))
    yield routed
    routed.router.close()


def check(messages: list[BaseMessage], provider: ScriptedProvider) -> None:
    _, call, result, answer = messages
    assert isinstance(call, AIMessage)
    assert isinstance(answer, AIMessage)
    assert [(c["name"], c["args"]) for c in call.tool_calls] == [("weather", {"city": "Paris"})]
    assert isinstance(result, ToolMessage)
    assert result.text == "Paris: 18 degrees, sunny"
    assert answer.text == ANSWER
    bodies = [request.body for request in provider.requests]
    assert [body["messages"][-1]["role"] for body in bodies] == ["user", "tool"]
    assert all(body["tools"][0]["function"]["name"] == "weather" for body in bodies)
    for message, body in zip((call, answer), bodies, strict=True):
        decision = decision_of(message)
        assert decision is not None
        assert decision.outcome == "ok"
        assert message.response_metadata["model_name"] == body["model"]
        assert message.response_metadata["finish_reason"] == decision.attempts[0].outcome.replace(
            "ok", "tool_calls" if message is call else "stop"
        )
        assert message.usage_metadata is not None
        assert decision.usage is not None
        assert decision.usage.input_tokens == message.usage_metadata["input_tokens"]
        assert decision.usage.output_tokens == message.usage_metadata["output_tokens"]
        assert decision.usage.cache_read_tokens == message.usage_metadata["input_token_details"]["cache_read"]
    assert decision_of(answer).step_kind.value == "after_result"  # type: ignore[union-attr]


def test_invoke(model: RoutedChatModel, provider: ScriptedProvider) -> None:
    check(create_agent(model, tools=[weather]).invoke(QUESTION)["messages"], provider)
    assert not any(request.stream for request in provider.requests)


async def test_ainvoke(model: RoutedChatModel, provider: ScriptedProvider) -> None:
    check((await create_agent(model, tools=[weather]).ainvoke(QUESTION))["messages"], provider)
    await model.router.aclose()


def test_streamed_tokens(model: RoutedChatModel, provider: ScriptedProvider) -> None:
    agent = create_agent(model, tools=[weather])
    shown: list[AIMessageChunk] = []
    messages: list[BaseMessage] = []
    for mode, payload in agent.stream(QUESTION, stream_mode=["messages", "values"]):
        if mode == "messages" and isinstance(payload[0], AIMessageChunk):
            shown.append(payload[0])
        elif mode == "values":
            messages = payload["messages"]
    check_tokens(shown, messages, provider)


async def test_streamed_tokens_on_a_loop(model: RoutedChatModel, provider: ScriptedProvider) -> None:
    agent = create_agent(model, tools=[weather])
    shown: list[AIMessageChunk] = []
    messages: list[BaseMessage] = []
    async for mode, payload in agent.astream(QUESTION, stream_mode=["messages", "values"]):
        if mode == "messages" and isinstance(payload[0], AIMessageChunk):
            shown.append(payload[0])
        elif mode == "values":
            messages = payload["messages"]
    check_tokens(shown, messages, provider)
    await model.router.aclose()


def check_tokens(shown: list[AIMessageChunk], messages: list[BaseMessage], provider: ScriptedProvider) -> None:
    check(messages, provider)
    assert all(request.stream for request in provider.requests)
    by_id: dict[str, AIMessageChunk] = {}
    for chunk in shown:
        assert chunk.id is not None
        by_id[chunk.id] = by_id[chunk.id] + chunk if chunk.id in by_id else chunk
    assert [str(whole.text) for whole in by_id.values()] == ["Let me look.", ANSWER]
    assert len([chunk for chunk in shown if chunk.text]) > 2
    for whole, message in zip(by_id.values(), (messages[1], messages[3]), strict=True):
        assert whole.usage_metadata == message.usage_metadata  # type: ignore[attr-defined]


def test_each_attempt_is_one_llm_run_of_the_real_model(model: RoutedChatModel, provider: ScriptedProvider) -> None:
    runs, usage = Runs(), UsageMetadataCallbackHandler()
    messages = create_agent(model, tools=[weather]).invoke(QUESTION, {"callbacks": [runs, usage]})["messages"]
    assert len(runs.llm) == 2
    for run, request in zip(runs.llm, provider.requests, strict=True):
        assert run["metadata"]["ls_model_name"] == request.model
        assert run["metadata"]["ls_provider"] == "openai"
        assert run["metadata"]["agentroute_attempt"] == 1
        assert run["metadata"]["agentroute_target"] == ("strong" if request.model == STRONG else "small")
        assert run["kwargs"]["invocation_params"]["tools"][0]["function"]["name"] == "weather"
        assert runs.parent_of(run)["name"] == "RoutedChatModel"
        assert runs.parent_of(runs.parent_of(run))["name"] == "model"
        assert run["end"] == "ok"
    counted = sum(entry["total_tokens"] for entry in usage.usage_metadata.values())
    assert counted == sum(m.usage_metadata["total_tokens"] for m in messages if isinstance(m, AIMessage))
    assert all(run["end"] == "ok" for run in runs.runs.values())


def test_a_run_never_passes_for_the_node_it_runs_in(model: RoutedChatModel) -> None:
    runs = Runs()
    graph = StateGraph(MessagesState)
    graph.add_node("ask", lambda state: {"messages": [model.invoke(state["messages"], {"run_name": "ask"})]})
    graph.add_edge(START, "ask").add_edge("ask", END)
    graph.compile().invoke({"messages": [("user", "hi")]}, {"callbacks": [runs]})
    assert len(runs.named("ask")) == len(runs.named("RoutedChatModel")) == 1
    model.invoke("hi", {"run_name": "mine", "callbacks": [runs]})
    assert len(runs.named("mine")) == 1


def test_usage_is_counted_once_by_a_handler_of_the_model_itself(provider: ScriptedProvider) -> None:
    usage = UsageMetadataCallbackHandler()
    with_handler = RoutedChatModel(targets=pool("native", provider), callbacks=[usage])
    message = with_handler.invoke("hello")
    (counted,) = usage.usage_metadata.values()
    assert counted["total_tokens"] == message.usage_metadata["total_tokens"]


def test_the_step_knows_its_conversation_agent_and_node(model: RoutedChatModel) -> None:
    agent = create_agent(model, tools=[weather], name="forecaster", checkpointer=InMemorySaver())
    config: Any = {"configurable": {"thread_id": "t-7"}}
    first, last = (m for m in agent.invoke(QUESTION, config)["messages"] if isinstance(m, AIMessage))
    for message in (first, last):
        context = decision_of(message).context  # type: ignore[union-attr]
        assert (context.conversation_id, context.agent, context.role) == ("t-7", "forecaster", "forecaster")
        assert (context.node, context.parent_id) == ("model", None)
    assert last.response_metadata["agentroute"]["context"]["previous_id"] == decision_of(first).id  # type: ignore[union-attr]


def test_a_sub_agent_names_its_parent_and_its_own_role(provider: ScriptedProvider) -> None:
    routed = RoutedChatModel(targets=pool("wire", provider))
    inner = create_agent(routed, tools=[], name="researcher")
    seen: list[AIMessage] = []

    @tool("weather")
    def research(city: str) -> str:
        """Asks the researcher."""
        state = inner.invoke(
            {"messages": [("user", f"Find out about {city}"), AIMessage("..."), ToolMessage("none", tool_call_id="1")]},
            {"metadata": {"role": "reader"}},
        )
        seen.append(state["messages"][-1])
        return "done"

    outer = create_agent(routed, tools=[research], name="boss")
    outer.invoke(QUESTION)
    context = decision_of(seen[0]).context  # type: ignore[union-attr]
    assert (context.agent, context.role, context.node) == ("researcher", "reader", "model")
    assert context.parent_id is not None
    assert context.parent_id.startswith("tools:")
    routed.router.close()


def test_one_model_serves_many_event_loops(provider: ScriptedProvider) -> None:
    routed = RoutedChatModel(targets=pool("wire", provider))

    async def once() -> str:
        return str((await routed.ainvoke("hello")).text)

    assert {asyncio.run(once()) for _ in range(5)} == {"Let me look."}
