"""The agents people build: create_agent, create_react_agent, deep agents, supervisors; each step routed by itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest
from langchain.agents import create_agent
from langchain.agents.structured_output import ProviderStrategy, ToolStrategy
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import InjectedState, create_react_agent
from langgraph.types import Command
from pydantic import BaseModel

from agentroute import ChatRequest, Decision
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .families import KINDS, pin, routed

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

moved = pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
"""LangGraph's word to all who call it; it still ships."""

QUESTION = {"messages": [("user", "What is the weather in Paris?")]}
ANSWER = "It is 18 degrees in Paris."


class Forecast(BaseModel):
    """The weather of a city."""

    city: str
    degrees: int


@tool
def weather(city: str) -> str:
    """The weather of a city."""
    return f"{city}: 18 degrees, sunny"


def script(request: ChatRequest) -> ScriptedReply | str:
    names = {tool.name for tool in request.tools}
    if not any(message.tool_results for message in request.messages):
        return (
            ScriptedReply(tool_calls=(tool_call("weather", city="Paris"),)) if "weather" in names else "Nobody knows."
        )
    if request.response_schema is not None:
        return '{"city": "Paris", "degrees": 18}'
    if "Forecast" in names:
        return ScriptedReply(tool_calls=(tool_call("Forecast", city="Paris", degrees=18),))
    return ANSWER


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(script, provider="openai") as running:
        yield running


@pytest.fixture(params=KINDS)
async def model(request: pytest.FixtureRequest, provider: ScriptedProvider) -> AsyncIterator[RoutedChatModel]:
    async with routed(request.param, provider) as made:
        yield made


def decisions(messages: list[BaseMessage]) -> list[Decision]:
    """Those of the answers, in order; every one of them has its own."""
    found = [decision_of(message) for message in messages if isinstance(message, AIMessage)]
    assert len({decision.id for decision in found if decision}) == len(found)
    return [decision for decision in found if decision is not None]


def kinds(messages: list[BaseMessage]) -> list[str]:
    return [decision.step_kind.value for decision in decisions(messages)]


class TestOneAgent:
    @pytest.mark.parametrize("target", ["small", "strong"])
    async def test_create_agent(self, model: RoutedChatModel, target: str) -> None:
        agent = create_agent(model, [weather], system_prompt="You know the weather.")
        for state in (agent.invoke(QUESTION, pin(target)), await agent.ainvoke(QUESTION, pin(target))):
            assert state["messages"][-1].text == ANSWER
            assert kinds(state["messages"]) == ["first_ask", "after_result"]
            assert [decision.target for decision in decisions(state["messages"])] == [target, target]

    @moved
    @pytest.mark.parametrize("bound", [False, True])
    async def test_create_react_agent(self, model: RoutedChatModel, bound: bool) -> None:
        """It looks into the tools of a bound model, and binds them itself to one that has none."""
        agent = create_react_agent(model.bind_tools([weather]) if bound else model, [weather], name="forecaster")
        for state in (agent.invoke(QUESTION), await agent.ainvoke(QUESTION)):
            assert state["messages"][-1].text == ANSWER
            assert kinds(state["messages"]) == ["first_ask", "after_result"]
            assert {decision.context.node for decision in decisions(state["messages"])} == {"agent"}

    @moved
    def test_create_react_agent_refuses_other_tools_than_those_bound(self, model: RoutedChatModel) -> None:
        """Only a check that can read our binding can refuse it."""

        @tool
        def other() -> str:
            """Another."""
            return ""

        with pytest.raises(ValueError, match="Number of tools"):
            create_react_agent(model.bind_tools([weather]), [weather, other])

    @moved
    def test_create_react_agent_with_a_schema_for_the_end(self, model: RoutedChatModel) -> None:
        agent = create_react_agent(model, [weather], response_format=Forecast)
        assert agent.invoke(QUESTION)["structured_response"] == Forecast(city="Paris", degrees=18)

    @pytest.mark.parametrize("strategy", [ToolStrategy, ProviderStrategy, None])
    @pytest.mark.parametrize("target", ["small", "strong"])
    def test_a_schema_for_the_end(self, model: RoutedChatModel, strategy: Any, target: str) -> None:
        """None leaves it to `create_agent`, which goes by the profile: what every target of the pool can do."""
        agent = create_agent(model, [weather], response_format=strategy(Forecast) if strategy else Forecast)
        state = agent.invoke(QUESTION, pin(target))
        assert state["structured_response"] == Forecast(city="Paris", degrees=18)
        assert {decision.target for decision in decisions(state["messages"])} == {target}

    def test_a_tool_that_failed_makes_the_next_step_one_after_an_error(self, model: RoutedChatModel) -> None:
        from langchain.agents.middleware import ToolRetryMiddleware

        @tool("weather")
        def broken(city: str) -> str:
            """The weather of a city."""
            raise RuntimeError("the station is down")

        given_up = ToolRetryMiddleware(max_retries=0, on_failure="continue")
        messages = create_agent(model, [broken], middleware=[given_up]).invoke(QUESTION)["messages"]
        assert messages[2].status == "error"
        assert kinds(messages) == ["first_ask", "after_error"]

    @moved
    def test_the_tool_node_says_so_too(self, model: RoutedChatModel) -> None:
        from langgraph.prebuilt import ToolNode

        @tool("weather")
        def broken(city: str) -> str:
            """The weather of a city."""
            raise RuntimeError("the station is down")

        agent = create_react_agent(model, ToolNode([broken], handle_tool_errors=True))
        assert kinds(agent.invoke(QUESTION)["messages"]) == ["first_ask", "after_error"]


class TestManyAgents:
    @pytest.mark.requires("deepagents")
    async def test_a_deep_agent_and_its_sub_agent(self) -> None:
        from deepagents import create_deep_agent

        def boss_and_finder(request: ChatRequest) -> ScriptedReply | str:
            if any("You look facts up." in message.text for message in request.messages):
                return "Swifts sleep on the wing."
            if request.messages[-1].tool_results:
                return "The finder knows."
            return ScriptedReply(
                tool_calls=(tool_call("task", subagent_type="finder", description="How do swifts sleep?"),)
            )

        finder = {"name": "finder", "description": "Finds facts.", "system_prompt": "You look facts up."}
        question = {"messages": [("user", "How do swifts sleep?")]}
        for kind in KINDS:
            with ScriptedProvider(boss_and_finder, provider="openai") as provider:
                async with routed(kind, provider) as model:
                    agent = create_deep_agent(model, subagents=[finder], name="boss")
                    config: Any = {"configurable": {"thread_id": "t-1"}}
                    assert agent.invoke(question, config)["messages"][-1].text == "The finder knows."
                    await agent.ainvoke(question, config)
                    steps = model.router.ledger.decisions  # type: ignore[attr-defined]
            assert [step.context.agent for step in steps] == ["boss", "finder", "boss"] * 2
            assert [step.context.role for step in steps] == ["boss", "finder", "boss"] * 2
            assert [step.context.parent_id is None for step in steps] == [True, False, True] * 2
            assert {step.context.conversation_id for step in steps} == {"t-1"}
            # Each has a history of its own, so neither's step is taken for the other's next.
            assert [step.step_kind.value for step in steps] == ["first_ask", "first_ask", "after_result"] * 2

    def test_two_sub_agents_at_once_have_parents_of_their_own(self, model: RoutedChatModel) -> None:
        names = ("reader", "writer")
        agents = {name: create_agent(model, [], name=name) for name in names}
        graph = StateGraph(MessagesState).add_edge(START, "both")
        graph.add_node("both", lambda state: {})
        for name in names:
            graph.add_node(name, lambda state, own=agents[name]: {"messages": own.invoke(state)["messages"][-1:]})
            graph.add_edge("both", name).add_edge(name, END)
        steps = decisions(graph.compile(name="boss").invoke(QUESTION)["messages"])
        assert {step.context.agent for step in steps} == set(names)
        assert len({step.context.parent_id for step in steps}) == 2

    def test_a_supervisor_hands_over(self) -> None:
        """Handing over is a tool whose Command goes to the other agent of the graph."""

        @tool
        def ask_the_writer(
            state: Annotated[Any, InjectedState], tool_call_id: Annotated[str, InjectedToolCallId]
        ) -> Command[Any]:
            """Hands over to the writer."""
            done = {"role": "tool", "content": "The writer goes on.", "tool_call_id": tool_call_id}
            return Command(goto="writer", graph=Command.PARENT, update={"messages": [*state["messages"], done]})

        def both(request: ChatRequest) -> ScriptedReply | str:
            return ScriptedReply(tool_calls=(tool_call("ask_the_writer"),)) if request.tools else "Written."

        with ScriptedProvider(both, provider="openai") as provider:
            model = RoutedChatModel(targets=[provider.target(name="small", model="gpt-4.1-nano")])
            graph = StateGraph(MessagesState)
            graph.add_node("supervisor", create_agent(model, [ask_the_writer], name="supervisor"))
            graph.add_node("writer", create_agent(model, [], name="writer"))
            graph.add_edge(START, "supervisor").add_edge("writer", END)
            messages = graph.compile().invoke({"messages": [("user", "Write a line.")]})["messages"]
            model.router.close()
        steps = decisions(messages)
        assert [step.context.role for step in steps] == ["supervisor", "writer"]
        assert [step.step_kind.value for step in steps] == ["delegate", "after_result"]
        assert messages[-1].text == "Written."
