"""LangChain's own middleware given a RoutedChatModel: summaries, spare models, chosen tools, retries, limits."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain.agents.middleware import (
    LLMToolSelectorMiddleware,
    ModelCallLimitMiddleware,
    ModelFallbackMiddleware,
    ModelRequest,
    ModelRetryMiddleware,
    SummarizationMiddleware,
    wrap_model_call,
)
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.tools import tool

from agentroute import ChatRequest, InvalidRequest
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, ScriptedRequest, tool_call

from .families import KINDS, SMALL, pin, routed

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

ANSWER = "It is 18 degrees in Paris."
SUMMARY = "They talked about the weather."
QUESTION = {"messages": [("user", "What is the weather in Paris?")]}


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 18 degrees, sunny"


@tool
def clock(city: str) -> str:
    """The time in a city."""
    return f"{city}: noon"


def script(request: ChatRequest) -> ScriptedReply | str:
    said = " ".join(message.text for message in request.messages)
    if request.response_schema is not None:
        return '{"tools": ["weather"]}'
    if request.tools and request.tools[0].name == "ToolSelectionResponse":
        return ScriptedReply(tool_calls=(tool_call("ToolSelectionResponse", tools=["weather"]),))
    if "extract" in said.lower() and "context" in said.lower():
        return SUMMARY
    if request.tools and request.messages[-1].role != "tool":
        return ScriptedReply(tool_calls=(tool_call("weather", city="Paris"),))
    return ANSWER


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(script, provider="openai") as running:
        yield running


@pytest.fixture(params=KINDS)
async def model(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[RoutedChatModel]:
    async with routed(request.param, provider) as made:
        yield made


def recorded(model: RoutedChatModel) -> list[Any]:
    return list(model.router.ledger.decisions)  # type: ignore[attr-defined]


@pytest.mark.parametrize("trigger", [("messages", 6), ("fraction", 0.0001)])
async def test_a_summary_is_a_routed_call_of_its_own(model: RoutedChatModel, trigger: Any) -> None:
    """A fraction is one of the profile's window: the smallest of the pool."""
    agent = create_agent(
        model,
        [],
        middleware=[SummarizationMiddleware(model=model, trigger=trigger, keep=("messages", 2))],
        name="boss",
    )
    history = [kind("Tell me more. " * 20) for kind in (HumanMessage, AIMessage) * 4]
    for state in (
        agent.invoke({"messages": [*history, *QUESTION["messages"]]}),
        await agent.ainvoke({"messages": [*history, *QUESTION["messages"]]}),
    ):
        assert SUMMARY in state["messages"][0].text
        assert len(state["messages"]) == 4  # the summary, the two that were kept, the answer
        assert state["messages"][-1].text == ANSWER
    # The middleware says what it calls for, so its steps are told apart from the agent's.
    assert [decision.context.role for decision in recorded(model)] == ["summarization", "boss"] * 2


def test_the_next_model_takes_over(model: RoutedChatModel) -> None:
    with ScriptedProvider("unused", fault=Fault.error(503), provider="openai") as down:
        broken = RoutedChatModel(targets=[down.target(name="only", model=SMALL)])
        agent = create_agent(broken, [weather], middleware=[ModelFallbackMiddleware(model)])
        messages = agent.invoke(QUESTION)["messages"]
        broken.router.close()
    assert messages[-1].text == ANSWER
    assert {decision.outcome for decision in recorded(broken)} == {"failed"}
    assert [decision.outcome for decision in recorded(model)] == ["ok", "ok"]
    # The spare model's conversation goes on from what the spare model said.
    assert [decision.step_kind.value for decision in recorded(model)] == ["first_ask", "after_result"]


def test_a_routed_model_as_the_spare_one_and_the_first(model: RoutedChatModel) -> None:
    agent = create_agent(model, [weather], middleware=[ModelFallbackMiddleware(model)])
    assert agent.invoke(QUESTION)["messages"][-1].text == ANSWER
    assert len(recorded(model)) == 2


@pytest.mark.parametrize("target", ["small", "strong"])
async def test_tools_are_chosen_by_a_routed_call(
    model: RoutedChatModel, provider: ScriptedProvider, target: str
) -> None:
    agent = create_agent(model, [weather, clock], middleware=[LLMToolSelectorMiddleware(model=model, max_tools=1)])
    for messages in (
        agent.invoke(QUESTION, pin(target))["messages"],
        (await agent.ainvoke(QUESTION, pin(target)))["messages"],
    ):
        assert messages[-1].text == ANSWER
    assert {decision.target for decision in recorded(model)} == {target}
    assert {decision.context.role for decision in recorded(model)} == {"tool_selection", None}
    offered = [[tool.name for tool in request.asked.tools] for request in provider.requests]
    assert ["weather"] in offered
    assert not [names for names in offered if "clock" in names]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_failure_that_may_pass_is_tried_again(kind: str) -> None:
    """It goes by LangChain's ModelError, and each try is a call with a record of its own."""

    def down_at_first(request: ScriptedRequest) -> Fault | None:
        return Fault.error(503) if request.index < 2 else None

    with ScriptedProvider(script, fault=down_at_first, provider="openai") as provider:
        async with routed(kind, provider) as model:
            retry = ModelRetryMiddleware(max_retries=2, on_failure="error", initial_delay=0, jitter=False)
            messages = create_agent(model, [weather], middleware=[retry]).invoke(QUESTION, pin("small"))["messages"]
    assert messages[-1].text == ANSWER
    assert [decision.outcome for decision in recorded(model)] == ["failed", "ok", "ok"]


@pytest.mark.parametrize("kind", KINDS)
async def test_a_wrong_request_is_not_tried_again(kind: str) -> None:
    with ScriptedProvider(script, fault=Fault.error(400), provider="openai") as provider:
        async with routed(kind, provider) as model:
            retry = ModelRetryMiddleware(max_retries=2, initial_delay=0, jitter=False)
            with pytest.raises(InvalidRequest):
                create_agent(model, [weather], middleware=[retry]).invoke(QUESTION, pin("small"))
    assert len(provider.requests) == 1
    assert [decision.outcome for decision in recorded(model)] == ["failed"]


def test_calls_are_counted_as_steps_not_attempts(model: RoutedChatModel) -> None:
    limit = ModelCallLimitMiddleware(run_limit=1, exit_behavior="end")
    messages = create_agent(model, [weather], middleware=[limit]).invoke(QUESTION)["messages"]
    assert len(recorded(model)) == 1
    assert "limit" in messages[-1].text.lower()


def test_settings_of_ones_own_middleware_reach_the_target(model: RoutedChatModel, provider: ScriptedProvider) -> None:
    @wrap_model_call  # type: ignore[call-overload]
    def cooler(request: ModelRequest, handler: Any) -> Any:
        return handler(request.override(model_settings={"temperature": 0.25}))

    messages = create_agent(model, [weather], middleware=[cooler]).invoke(QUESTION, pin("small"))["messages"]
    assert decision_of(messages[-1]) is not None
    assert [request.body["temperature"] for request in provider.requests] == [0.25, 0.25]
