"""LlamaIndex's corrective RAG as a workflow: what was retrieved is graded, and a team of two corrects and answers."""

import asyncio

from llama_index.core import Document, MockEmbedding, VectorStoreIndex
from llama_index.core.agent.workflow import AgentWorkflow, FunctionAgent
from llama_index.core.llms import LLM
from llama_index.core.workflow import Event, StartEvent, StopEvent, Workflow, step
from llama_index.llms.agentroute import RoutedLLM

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

RULE, TIDE = "Ferries leave before high tide.", "High tide at 14:10."


class Retrieved(Event):
    text: str


class Corrected(Event):
    text: str


def tide_table(port: str) -> str:
    """The next high tide of a port."""
    if port != "Porto":
        raise LookupError(f"{port} is not in the book")
    return TIDE


class CorrectiveRAG(Workflow):
    """Asks `llm` at each step; a handle for each agent is not needed."""

    def __init__(self, llm: LLM) -> None:
        super().__init__(timeout=60)
        self.llm = llm
        index = VectorStoreIndex.from_documents([Document(text=RULE)], embed_model=MockEmbedding(8))
        self.retriever = index.as_retriever()

    @step
    async def retrieve(self, event: StartEvent) -> Retrieved:
        return Retrieved(text=(await self.retriever.aretrieve(event.question))[0].text)

    @step
    async def grade(self, event: Retrieved) -> Corrected:
        grade = await self.llm.acomplete(f"Does this tell the time? Yes or no.\n{event.text}")
        more = "" if "yes" in grade.text.lower() else " Find the time of the tide too."
        return Corrected(text=event.text + more)

    @step
    async def answer(self, event: Corrected) -> StopEvent:
        research = FunctionAgent(
            name="research", description="Looks up", tools=[tide_table], llm=self.llm, can_handoff_to=["writer"]
        )
        writer = FunctionAgent(name="writer", description="Writes", llm=self.llm, can_handoff_to=["research"])
        team = AgentWorkflow(agents=[research, writer], root_agent="research")
        return StopEvent(result=str(await team.run(event.text)))


def script(request: ChatRequest) -> ScriptedReply | str:
    """What the models of this program answer, offline."""
    if not request.tools:
        return "No."
    results = [result.text for message in request.messages for result in message.tool_results]
    if any("handling the request" in text for text in results):
        return f"Leave before 14:10. {RULE}"
    if TIDE in results:
        return ScriptedReply(tool_calls=(tool_call("handoff", to_agent="writer", reason="the time is known"),))
    return ScriptedReply(tool_calls=(tool_call("tide_table", port="Porto" if results else "Oporto"),))


async def main(llm: LLM) -> str:
    """The answer to one question."""
    return str(await CorrectiveRAG(llm).run(question="When may the ferry leave Porto?"))


if __name__ == "__main__":
    with ScriptedProvider(script, provider="openai") as server:
        targets = [server.target(name="small", model="gpt-6-luna"), server.target(name="strong", model="gpt-6-sol")]
        routed = RoutedLLM(targets=targets)
        print(asyncio.run(main(routed)))
        for decision in routed.router.ledger.decisions:
            print(f"{decision.context.role}, {decision.step_kind.value}: {decision.target}, ${decision.cost}")
        routed.router.close()
