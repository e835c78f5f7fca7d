"""The three kinds of pool that every behaviour is tested on, scripts for small crews, and the four ways of a call."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from crewai import LLM, Agent, Crew, Task
from crewai.events import crewai_event_bus
from crewai.tools import tool
from crewai_agentroute import RoutedLLM, native
from pydantic import BaseModel

from agentroute import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

SMALL, STRONG = "gpt-4.1-nano", "gpt-4.1"
POOLS = ("wire", "native", "mixed")
WAYS = ("call", "call, streamed", "acall", "acall, streamed")


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
        "native first": (own, wire),
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


async def asked(way: str, llm: Any, messages: Any = "hello", **arguments: Any) -> Any:
    """What a call gives that is made in one of the four ways."""
    llm.stream = "streamed" in way
    return await llm.acall(messages, **arguments) if way.startswith("acall") else llm.call(messages, **arguments)


@contextmanager
def heard(*kinds: type[Any]) -> Iterator[list[Any]]:
    """The events of these kinds; all are there once the block is left."""
    events: list[Any] = []
    with crewai_event_bus.scoped_handlers():
        for kind in kinds:
            crewai_event_bus.on(kind)(lambda source, event: events.append(event))
        yield events
        crewai_event_bus.flush()
    events.sort(key=lambda event: event.emission_sequence or 0)


# ---- agents and crews ------------------------------------------------------------------------------------------------


@tool("add")
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


ADD = {
    "type": "function",
    "function": {
        "name": "add",
        "description": "Add two numbers.",
        "parameters": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}}},
    },
}


class Report(BaseModel):
    title: str
    count: int


def adds(request: ChatRequest) -> ScriptedReply:
    """Calls `add` once where it may, fills a schema where one is asked for, then says what came out."""
    results = [result for message in request.messages for result in message.tool_results]
    if request.response_schema is not None:
        return ScriptedReply(json.dumps(filled(request.response_schema.schema or {})))
    if any(tool.name == "add" for tool in request.tools) and not results:
        return ScriptedReply(tool_calls=(tool_call("add", a=2, b=3),))
    return ScriptedReply(f"The sum is {results[-1].text}." if results else "Two and three make five.")


def filled(schema: Mapping[str, Any], definitions: Mapping[str, Any] | None = None) -> Any:
    """The plainest value of a JSON schema."""
    definitions = schema.get("$defs", definitions or {})
    if "$ref" in schema:
        return filled(definitions[schema["$ref"].rsplit("/", 1)[-1]], definitions)
    for name in ("anyOf", "allOf", "oneOf"):
        if name in schema:
            return filled(next(each for each in schema[name] if each.get("type") != "null"), definitions)
    if "enum" in schema:
        return schema["enum"][0]
    match schema.get("type"):
        case "object":
            return {name: filled(each, definitions) for name, each in schema.get("properties", {}).items()}
        case "array":
            return [filled(schema.get("items", {"type": "string"}), definitions)]
        case "integer" | "number":
            return 7
        case "boolean":
            return True
    return "as asked"


def agent(role: str, llm: Any, **settings: Any) -> Agent:
    return Agent(**{"role": role, "goal": "do it right", "backstory": "knows how", "llm": llm, **_ONCE, **settings})


_ONCE = {"max_retry_limit": 0}
"""An agent runs a task that failed two times more; here every attempt is to be the router's."""


def task(description: str, who: Agent | None, **settings: Any) -> Task:
    return Task(description=description, expected_output="one sentence", agent=who, **settings)


def two_agents(llm: Any, other: Any = None, **settings: Any) -> Crew:
    """A researcher with a tool and a writer without."""
    researcher, writer = agent("Researcher", llm, tools=[add]), agent("Writer", other or llm)
    tasks = [task("Add 2 and 3.", researcher), task("Write about the sum.", writer)]
    return Crew(agents=[researcher, writer], tasks=tasks, **settings)
