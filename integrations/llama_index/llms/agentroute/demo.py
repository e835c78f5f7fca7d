"""A query engine and two agents over scripted models: what `agentroute demo llamaindex` runs."""

from __future__ import annotations

import asyncio

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.tools import QueryEngineTool
from rich.console import Console

from agentroute import ChatRequest, Decision, Router
from agentroute.cli.demo import show_steps
from agentroute.ledger import MemoryLedger
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth, tool_call

from .llm import RoutedLLM

__all__ = ["run"]

FLEET = (("luna", "gpt-6-luna"), ("terra", "gpt-6.1-terra"), ("astra", "gpt-6.2-astra"))
QUESTION = "A customer wants to return a lamp after three weeks, without its receipt. What do we write?"


def _reply(request: ChatRequest) -> ScriptedReply:
    if "Refund rule" in request.messages[-1].text:
        return ScriptedReply("Within 30 days, with the receipt.")
    if not request.tools:
        return ScriptedReply("Dear customer, bring the lamp and its receipt within 30 days.")
    if request.messages[-1].tool_results:
        return ScriptedReply(tool_calls=(tool_call("handoff", to_agent="writer", reason="the rule is known"),))
    return ScriptedReply(tool_calls=(tool_call("rules", input="What is the rule for refunds?"),))


def run(*, console: Console | None = None) -> tuple[Decision, ...]:
    """Runs the agents, prints their steps, and returns the decisions. One request is answered with a 503."""
    console = console or Console()
    with ScriptedProvider(_reply, provider="openai", fault=nth(1, Fault.error(503), model="gpt-6.1-terra")) as provider:
        targets = [provider.target(name=name, model=model) for name, model in FLEET]
        ledger = MemoryLedger()
        with Router(targets, ledger=ledger) as router:
            answer = asyncio.run(_ask(RoutedLLM(router=router)))
            decisions = tuple(ledger.decisions)
    show_steps(console, decisions)
    console.print(f"the agents: {answer}", highlight=False, markup=False)
    return decisions


async def _ask(llm: RoutedLLM) -> str:
    index = VectorStoreIndex.from_documents([Document(text="Refund rule: 30 days.")], embed_model=MockEmbedding(8))
    engine = index.as_query_engine(llm=llm.for_agent("query engine"))
    rules = QueryEngineTool.from_defaults(engine, name="rules", description="The rules of the shop")
    research = FunctionAgent(name="research", description="Finds out", tools=[rules], llm=llm.for_agent("research"))
    writer = FunctionAgent(name="writer", description="Writes", llm=llm.for_agent("writer"), can_handoff_to=[])
    return str(await AgentWorkflow(agents=[research, writer], root_agent="research").run(QUESTION))
