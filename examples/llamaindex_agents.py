"""LlamaIndex's query engine and two agents, each of their model calls routed by one policy: offline, on a script."""

import asyncio
from pathlib import Path

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.tools import QueryEngineTool
from llama_index.llms.agentroute import RoutedLLM

from agentroute import ChatRequest, Router
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call


def script(request: ChatRequest) -> ScriptedReply:
    if "Refund rule" in request.messages[-1].text:
        return ScriptedReply("Within 30 days, with the receipt.")
    if not request.tools:
        return ScriptedReply("Dear customer, bring it back within 30 days, with the receipt.")
    if request.messages[-1].tool_results:
        return ScriptedReply(tool_calls=(tool_call("handoff", to_agent="writer", reason="the rule is known"),))
    return ScriptedReply(tool_calls=(tool_call("rules", input="What is the rule for refunds?"),))


async def main(llm: RoutedLLM) -> None:
    index = VectorStoreIndex.from_documents([Document(text="Refund rule: 30 days.")], embed_model=MockEmbedding(8))
    rules = QueryEngineTool.from_defaults(index.as_query_engine(llm=llm), name="rules", description="The shop's rules")
    research = FunctionAgent(name="research", description="Finds out", tools=[rules], llm=llm.for_agent("research"))
    pinned = llm.for_agent("writer", target="strong")
    writer = FunctionAgent(name="writer", description="Writes", llm=pinned, can_handoff_to=[])
    print(await AgentWorkflow(agents=[research, writer], root_agent="research").run("How is a lamp returned?"))
    for step in llm.router.ledger.decisions:
        print(f"{step.context.agent or step.context.node}: {step.target}, ${step.cost}, saved ${step.savings:f}")
    print(f"bill: ${sum(step.cost for step in llm.router.ledger.decisions)}")


with ScriptedProvider(script, provider="openai") as server:
    targets = [server.target(name="small", model="gpt-6-luna"), server.target(name="strong", model="gpt-6-sol")]
    router = Router.from_config(Path(__file__).with_name("policy.toml"), targets=targets)
    asyncio.run(main(RoutedLLM(router=router)))
