"""A LangGraph agent over a loopback fleet of scripted models: what `agentroute demo` runs."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypedDict, cast

from langchain.agents import create_agent
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, HumanMessage, SystemMessage
from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from pydantic import BaseModel, Field
from rich.console import Console

from agentroute import Decision, Router, StepKind, Target
from agentroute.testing import Fault, FaultPlan, ScriptedProvider, ScriptedRequest
from langchain_agentroute import RoutedChatModel

from .display import Bill, Board, show_bill, show_fleet, show_step
from .script import ARCHIVE, DESK, ENGINEER, TRIAGE, WRITER, reply, scene
from .workspace import TICKET, Workspace

__all__ = ["Bill", "DemoResult", "run"]

FLEET = (
    ("luna", "openai", "gpt-6-luna", "budget"),
    ("terra", "openai", "gpt-6.1-terra", "mid"),
    ("sonnet", "anthropic", "claude-sonnet-5-5", "standard"),
    ("opus", "anthropic", "claude-opus-5-5", "premium"),
)
"""Name, provider, model and tier of each target; the prices are the catalog's."""

_ROLES = {"desk": {"stakes": 0.07}, "engineer": {"stakes": 0.018}}
"""USD that a failed run of an agent costs this small shop. By default ($.25, $1 for code) both would soon be on opus:
for prompts this short a failure costs more than the model."""

_OVERLOADED_SCENE = "get_invoice"
_CACHE_FROM_TOKENS = {"luna": 1024, "terra": 1024, "sonnet": 1024, "opus": 512}
"""The documented minimum of each target's cache."""
_LATENCY_S = 0.15
"""How long an answer takes where somebody watches, so that the rows can be followed."""
_BILLS_CACHE_WRITES = ("openai", "anthropic")
"""Where the price list has a price for cache writes (for these models)."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What a run leaves: a decision for each step in order, the bill, and the case as the graph left it."""

    decisions: tuple[Decision, ...]
    bill: Bill
    case: Case


def run(*, console: Console | None = None, tool_error: bool = True, overload: bool = True) -> DemoResult:
    """Runs the whole story and prints it.

    Args:
        console: where to print; standard output by default.
        tool_error: accounting does not answer when the desk first books the credit note.
        overload: one request is answered with status 503, by whichever target it reaches first.
    """
    console = console or Console()
    with ExitStack() as stack:
        latency_s = _LATENCY_S if console.is_terminal else 0.0
        targets = _start(stack, _Accidents(overload=overload, latency_s=latency_s))
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agentroute-demo-")))
        board = Board(console)
        router = stack.enter_context(Router(targets=targets, ledger=board, roles=_ROLES))
        _introduce(console, list(router.pool))
        graph = build(RoutedChatModel(router=router), Workspace(folder, tool_error=tool_error))
        board.show_head()
        case = cast(Case, graph.invoke({"text": TICKET}))
        board.show_hidden()
        console.print()
        decisions = board.decisions
        bill = Bill.of(decisions)
        number = _turning_point(decisions)
        if number is not None:
            show_step(console, number, decisions[number - 1])
        show_bill(console, decisions, bill, list(router.pool))
    return DemoResult(decisions, bill, case)


def _introduce(console: Console, targets: Sequence[Target]) -> None:
    console.print(
        "[bold]A ticket goes through a small shop's LangGraph agents; each model call is routed on its own.[/bold]"
    )
    console.print(
        "[dim]The models are scripted: what they say is fixed, whichever target serves. The agents, their tools, the "
        "routing, the HTTP and the prices (list) are real.[/dim]",
        highlight=False,
    )
    console.print()
    show_fleet(console, targets)
    console.print()


def _turning_point(decisions: Sequence[Decision]) -> int | None:
    """The number of the first step that evidence took to a higher tier than the step before."""
    for number, (before, after) in enumerate(pairwise(decisions), 2):
        if after.step_kind is StepKind.AFTER_ERROR and after.tier > before.tier:
            return number
    return None


def _start(stack: ExitStack, fault: FaultPlan) -> list[Target]:
    """A server for each target, and the targets that call them."""
    targets = []
    for name, provider, model, tier in FLEET:
        server = ScriptedProvider(
            reply,
            provider=provider,
            fault=fault,
            cache_from_tokens=_CACHE_FROM_TOKENS[name],
            cache_writes=provider in _BILLS_CACHE_WRITES,
        )
        targets.append(stack.enter_context(server).target(name=name, model=model, tier=tier))
    return targets


class _Accidents:
    """Refuses the first request of one scene, whichever target it reaches; every other answer takes its time."""

    def __init__(self, *, overload: bool, latency_s: float) -> None:
        self._lock = threading.Lock()
        self._due = overload
        self._otherwise = Fault.slow(latency_s) if latency_s else None

    def __call__(self, request: ScriptedRequest) -> Fault | None:
        if scene(request.asked) == _OVERLOADED_SCENE:
            with self._lock:
                now, self._due = self._due, False
            if now:
                return Fault.error(503, message="The engine is overloaded")
        return self._otherwise


class Ticket(BaseModel, extra="forbid"):
    """What sort of ticket this is."""

    kind: Literal["complaint", "question", "return"] = Field(description="What the customer wants")
    area: str = Field(description="The part of the shop, one word")
    urgency: Literal["low", "normal", "high"]
    may_be_our_bug: bool = Field(description="Whether our own papers or code may be wrong")


class Case(TypedDict, total=False):
    """What is known about a ticket, node by node."""

    text: str
    ticket: Ticket
    finding: str
    repair: str
    letter: str
    summary: str


def build(model: BaseChatModel, workspace: Workspace) -> CompiledStateGraph[Case, None, Case, Case]:
    """The graph: triage (one structured call), desk and engineer (agents with tools), writer and archive (one call)."""
    desk_agent = create_agent(model, workspace.desk_tools(), system_prompt=DESK, name="desk")
    engineer_agent = create_agent(model, workspace.engineer_tools(), system_prompt=ENGINEER, name="engineer")

    def triage(state: Case) -> Case:
        ticket = model.with_structured_output(Ticket).invoke([SystemMessage(TRIAGE), HumanMessage(state["text"])])
        assert isinstance(ticket, Ticket)
        return {"ticket": ticket}

    def desk(state: Case) -> Case:
        return {"finding": _last_words(desk_agent.invoke({"messages": [HumanMessage(state["text"])]}))}

    def engineer(state: Case) -> Case:
        return {"repair": _last_words(engineer_agent.invoke({"messages": [HumanMessage(state["finding"])]}))}

    def writer(state: Case) -> Case:
        told = [
            "Answer this letter.",
            state["text"],
            "What we found and did:",
            state["finding"],
            state.get("repair", ""),
        ]
        return {"letter": model.invoke([SystemMessage(WRITER), HumanMessage("\n\n".join(told))]).text}

    def archive(state: Case) -> Case:
        told = [ARCHIVE, state["text"], state["finding"], state.get("repair", ""), state["letter"]]
        return {"summary": model.invoke([HumanMessage("\n\n".join(told))]).text}

    graph = StateGraph(Case)
    graph.add_node("triage", triage)
    graph.add_node("desk", desk)
    graph.add_node("engineer", engineer)
    graph.add_node("writer", writer)
    graph.add_node("archive", archive)
    graph.add_edge(START, "triage")
    graph.add_edge("triage", "desk")
    graph.add_conditional_edges("desk", _after_desk, ["engineer", "writer"])
    graph.add_edge("engineer", "writer")
    graph.add_edge("writer", "archive")
    graph.add_edge("archive", END)
    return graph.compile(name="shop")


def _after_desk(state: Case) -> Literal["engineer", "writer"]:
    return "engineer" if state["ticket"].may_be_our_bug else "writer"


def _last_words(state: dict[str, Any]) -> str:
    message: AnyMessage = state["messages"][-1]
    return message.text
