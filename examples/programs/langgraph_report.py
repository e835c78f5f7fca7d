"""A LangGraph supervisor with two agents; a person approves the report; the checkpoints are in SQLite."""

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import ToolErrorMiddleware
from langchain_agentroute import RoutedChatModel
from langchain_core.language_models import BaseChatModel
from langchain_core.tools import tool
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt
from pydantic import BaseModel

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

TIDE = "High tide at 14:10."


class Next(BaseModel):
    """Who goes on."""

    agent: str


@tool
def tide_table(port: str) -> str:
    """The next high tide of a port."""
    if port != "Porto":
        raise LookupError(f"{port} is not in the book")
    return TIDE


def report(model: BaseChatModel) -> str:
    """The report that a person has approved, at the second time of asking."""
    told = ToolErrorMiddleware(lambda error, request: f"{type(error).__name__}: {error}")
    researcher = create_agent(model, [tide_table], middleware=[told], name="researcher")
    writer = create_agent(model, system_prompt="Write the report in one sentence.", name="writer")

    def supervisor(state: MessagesState) -> Command[Any]:
        return Command(goto=model.with_structured_output(Next).invoke(state["messages"]).agent)

    def approve(state: MessagesState) -> Command[Any]:
        answer = interrupt(state["messages"][-1].text)
        return Command(goto=END) if answer == "yes" else Command(goto="writer", update={"messages": [("user", answer)]})

    graph: Any = StateGraph(MessagesState).add_edge(START, "supervisor")
    graph.add_node("supervisor", supervisor, destinations=("researcher", "writer"))
    graph.add_node("researcher", researcher).add_edge("researcher", "supervisor")
    graph.add_node("writer", writer).add_edge("writer", "approve")
    graph.add_node("approve", approve, destinations=("writer", END))
    thread = {"configurable": {"thread_id": "tides"}}
    with SqliteSaver.from_conn_string(":memory:") as checkpoints:
        app = graph.compile(checkpoints)
        app.invoke({"messages": [("user", "When may the ferry leave Porto?")]}, thread)
        app.invoke(Command(resume="Say please."), thread)
        return str(app.invoke(Command(resume="yes"), thread)["messages"][-1].text)


def script(request: ChatRequest) -> ScriptedReply | str:
    """What the models of this program answer, offline."""
    said = [message.text for message in request.messages]
    results = [result.text for message in request.messages for result in message.tool_results]
    asked_who = any(tool.name == "Next" for tool in request.tools)
    if asked_who or request.response_schema is not None:
        agent = "writer" if any(TIDE in text for text in said) else "researcher"
        return ScriptedReply(tool_calls=(tool_call("Next", agent=agent),)) if asked_who else f'{{"agent": "{agent}"}}'
    if request.tools:
        port = "Porto" if results else "Oporto"
        return f"Found: {TIDE}" if TIDE in results else ScriptedReply(tool_calls=(tool_call("tide_table", port=port),))
    return f"Please leave before high tide. {TIDE}" if "Say please." in said else f"Leave before high tide. {TIDE}"


if __name__ == "__main__":
    with ScriptedProvider(script, provider="openai") as server:
        targets = [server.target(name="small", model="gpt-6-luna"), server.target(name="strong", model="gpt-6-sol")]
        routed = RoutedChatModel(targets=targets)
        print(report(routed))
        for step in routed.router.ledger.decisions:
            print(f"{step.context.role}, {step.step_kind.value}: {step.target}, ${step.cost}")
        routed.router.close()
