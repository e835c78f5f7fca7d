"""The three kinds of pool that every behaviour is tested on, scripts for small crews, and what the server counted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.tools import tool
from crewai_agentroute import RoutedLLM, native

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

SMALL, STRONG = "gpt-4.1-nano", "gpt-4.1"
POOLS = ("wire", "native", "mixed")


def serving(reply: Any, **settings: Any) -> ScriptedProvider:
    """A provider on loopback whose models go by OpenAI's names and prices."""
    return ScriptedProvider(reply, provider="openai", **settings)


def ready(provider: ScriptedProvider, model: str = SMALL, **settings: Any) -> LLM:
    """CrewAI's own OpenAI client."""
    return LLM(model=f"openai/{model}", base_url=provider.base_url, api_key=provider.api_key, **settings)


def pool(kind: str, small: ScriptedProvider, strong: ScriptedProvider | None = None) -> dict[str, Any]:
    """`small` is tried first, `strong` after it; both on one server unless two are given."""
    strong = strong or small

    def wire(provider: ScriptedProvider, model: str) -> Any:
        return provider.target(model=model)

    def own(provider: ScriptedProvider, model: str) -> Any:
        return native(ready(provider, model))

    make: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
        "wire": (wire, wire),
        "native": (own, own),
        "mixed": (wire, own),
    }
    first, second = make[kind]
    return {"small": first(small, SMALL), "strong": second(strong, STRONG)}


MADE: list[RoutedLLM] = []
"""What this test made; its connections are closed when the test has ended."""


def routed(kind: str, small: ScriptedProvider, strong: ScriptedProvider | None = None, **settings: Any) -> RoutedLLM:
    return made(RoutedLLM(targets=pool(kind, small, strong), **settings))


def made(llm: RoutedLLM) -> RoutedLLM:
    MADE.append(llm)
    return llm


@tool("add")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def adds(request: ChatRequest) -> ScriptedReply:
    """Calls `add` once where it may, then says what came out."""
    results = [result for message in request.messages for result in message.tool_results]
    if request.tools and not results:
        return ScriptedReply(tool_calls=(tool_call("add", a=2, b=3),))
    return ScriptedReply(f"The sum is {results[-1].text}." if results else "Two and three make five.")


def agent(role: str, llm: Any, **settings: Any) -> Agent:
    return Agent(role=role, goal="do it right", backstory="knows how", llm=llm, max_retry_limit=0, **settings)


def task(description: str, who: Agent | None, **settings: Any) -> Task:
    return Task(description=description, expected_output="one sentence", agent=who, **settings)


def two_agents(llm: Any, **settings: Any) -> Crew:
    """A researcher with a tool and a writer without."""
    researcher, writer = agent("Researcher", llm, tools=[add]), agent("Writer", llm)
    tasks = [task("Add 2 and 3.", researcher), task("Write about the sum.", writer)]
    return Crew(agents=[researcher, writer], tasks=tasks, **settings)
