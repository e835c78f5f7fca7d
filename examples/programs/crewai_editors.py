"""A CrewAI flow of two crews: a guardrail holds the writers to a rule, a person says whether it is printed."""

import os
from typing import Any

for name in ("CREWAI_DISABLE_TELEMETRY", "CREWAI_DISABLE_VERSION_CHECK"):
    os.environ.setdefault(name, "true")  # CrewAI reads them when it is imported
os.environ.setdefault("CREWAI_TRACING_ENABLED", "false")

from crewai import Agent, Crew, Task
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.llms.base_llm import BaseLLM
from crewai.tools import tool
from crewai_agentroute import RoutedLLM

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

TIDE = "High tide at 14:10."


@tool("tide_table")
def tide_table(port: str) -> str:
    """The next high tide of a port."""
    return TIDE


class Editor:
    """The person who is asked; a real one would answer in a browser."""

    def request_feedback(self, context: Any, flow: Any) -> str:
        return "Print it."


def crew(role: str, llm: BaseLLM, description: str, tools: list[Any], **task: Any) -> Crew:
    agent = Agent(role=role, goal="Tell sailors the truth", backstory="Knows the sea.", llm=llm, tools=tools)
    return Crew(agents=[agent], tasks=[Task(description=description, expected_output="text", agent=agent, **task)])


def flow(researcher: BaseLLM, writer: BaseLLM, judge: BaseLLM) -> Flow[Any]:
    """The flow; each role has a handle of its own."""

    def polite(output: Any):  # type: ignore[no-untyped-def]  # CrewAI reads the annotation of what is returned
        return ("Please" in output.raw, output if "Please" in output.raw else "Say please.")

    class Editors(Flow[dict]):  # type: ignore[type-arg]
        @start()
        def research(self) -> str:
            return crew("researcher", researcher, "Find the next high tide at Porto.", [tide_table]).kickoff().raw

        @human_feedback(message="Print it?", emit=["print", "reject"], llm=judge, provider=Editor())
        @listen(research)
        def write(self, found: str) -> str:
            return crew("writer", writer, f"Write one sentence: {found}", [], guardrail=polite).kickoff().raw

        @listen("print")
        def publish(self) -> str:
            return f"PRINTED: {self.last_human_feedback.output}"

    return Editors()


def script(request: ChatRequest) -> ScriptedReply | str:
    """What the models of this program answer, offline."""
    text = "\n".join(message.text for message in request.messages)
    if request.tools:
        asked = any(message.tool_results for message in request.messages)
        return TIDE if asked else ScriptedReply(tool_calls=(tool_call("tide_table", port="Porto"),))
    if "Write one sentence" in text:
        return f"Please leave before {TIDE}" if "Say please." in text else f"Leave before {TIDE}"
    return '{"outcome": "print"}' if request.response_schema is not None else "print"


if __name__ == "__main__":
    with ScriptedProvider(script, provider="openai") as server:
        targets = [server.target(name="small", model="gpt-6-luna"), server.target(name="strong", model="gpt-6-sol")]
        llm = RoutedLLM(targets=targets, router_name="editors")
        print(flow(llm.for_agent(), llm.for_agent(), llm.for_agent("judge")).kickoff())
        for step in llm.router.ledger.decisions:
            print(f"{step.context.role}, {step.step_kind.value}: {step.target}, ${step.cost}")
        llm.router.close()
