"""Who asks: agents of LangGraph that have no name of their own have that of their node."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel
from langchain_agentroute.context import context_of
from langchain_core.messages import HumanMessage
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import create_react_agent

from agentroute.testing import ScriptedProvider

pytestmark = [
    pytest.mark.requires("langchain"),
    pytest.mark.filterwarnings("ignore:create_react_agent has been moved"),
]


@pytest.fixture
def model() -> Iterator[RoutedChatModel]:
    with ScriptedProvider("Done.", provider="openai") as provider:
        made = RoutedChatModel(targets=[provider.target(model="gpt-4.1-nano")])
        yield made
        made.router.close()


def roles(model: RoutedChatModel, **nodes: Any) -> list[str | None]:
    """The roles of a graph that runs these nodes one after the other."""
    graph = StateGraph(MessagesState)
    before = START
    for name, node in nodes.items():
        graph.add_node(name, node)
        graph.add_edge(before, name)
        before = name
    graph.add_edge(before, END)
    graph.compile().invoke({"messages": [("user", "Report on tides.")]})
    steps = model.router.ledger.decisions  # type: ignore[attr-defined]
    assert [step.context.agent for step in steps] == [step.context.role for step in steps]
    return [step.context.role for step in steps]


def test_a_react_agent_and_a_node_of_one_s_own(model: RoutedChatModel) -> None:
    def editor(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    assert roles(model, researcher=create_react_agent(model, [], name="other"), editor=editor) == [
        "researcher",
        "editor",
    ]


def test_an_agent_s_own_name_comes_first(model: RoutedChatModel) -> None:
    named, nameless = create_agent(model, [], name="poet"), create_agent(model, [])
    assert roles(model, first=named, second=nameless) == ["poet", "second"]


def test_a_team_in_a_team(model: RoutedChatModel) -> None:
    inner = StateGraph(MessagesState)
    inner.add_node("writer", create_react_agent(model, []))
    inner.add_edge(START, "writer")
    inner.add_edge("writer", END)
    assert roles(model, team=inner.compile()) == ["writer"]


def test_an_agent_that_a_node_calls(model: RoutedChatModel) -> None:
    inner = create_react_agent(model, [])

    def critic(state: MessagesState) -> dict[str, Any]:
        return {"messages": inner.invoke(state)["messages"][-1:]}

    assert roles(model, critic=critic) == ["critic"]


@pytest.mark.parametrize(
    ("node", "namespace", "role"),
    [
        ("agent", "agent:1", None),
        ("model", "lead:1|model:2", "lead"),
        ("agent", "lead:1|tools:2|agent:3", "lead"),
        ("agent", "lead:1|1|agent:3", "lead"),
        ("Trim.before_model", "lead:1|Trim.before_model:2", "lead"),
        ("grade", "grade:1", "grade"),
        (None, "", None),
    ],
)
def test_machinery_is_no_role(node: str | None, namespace: str, role: str | None) -> None:
    config: Any = {"metadata": {"langgraph_node": node, "langgraph_checkpoint_ns": namespace}}
    assert context_of(config, [HumanMessage("Hello")]).role == role
    config["metadata"]["role"] = "own"
    assert context_of(config, [HumanMessage("Hello")]).role == "own"
