"""One conversation as each framework writes it, given to its own adapter: what then arrives at the router."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crewai import Agent
from crewai.tools import BaseTool as CrewTool
from crewai.utilities.agent_utils import convert_tools_to_openai_schema
from crewai_agentroute import RoutedLLM as CrewLLM
from langchain_agentroute import RoutedChatModel
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import StructuredTool
from llama_index.core.base.llms.types import ChatMessage, ToolCallBlock
from llama_index.core.tools import FunctionTool
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from pydantic import BaseModel

from agentroute import ChatRequest, Constraints, Decision, Router, StepContext
from agentroute.call import Call
from agentroute.testing import ScriptedProvider

POLICY = Path(__file__).parents[2] / "examples" / "policy.toml"
MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}

ROLE = "forecaster"
RULES = "You tell the weather."
ASK = "Do I need a coat in Lisbon or in Porto?"
RESULT = "21 degrees, a light wind"
FAILURE = "ConnectionError: the weather service does not answer"
ABOUT = "Tell the weather in a city."


@dataclass(frozen=True)
class Arrived:
    """What an adapter gave to the router."""

    request: ChatRequest
    context: StepContext
    constraints: Constraints


class Watched(Router):
    """A router that notes what it is given."""

    def __init__(self, *given: Any, **settings: Any) -> None:
        super().__init__(*given, **settings)
        self.arrived: list[Arrived] = []

    def prepare(
        self,
        request: ChatRequest,
        *,
        context: StepContext | None = None,
        constraints: Constraints | None = None,
        stream: bool = True,
    ) -> Call:
        assert context is not None
        assert constraints is not None
        self.arrived.append(Arrived(request, context, constraints))
        return super().prepare(request, context=context, constraints=constraints, stream=stream)

    def decide(self, one: Arrived) -> Decision:
        """The decision alone, from a router that has seen nothing."""
        fresh = Router(self.pool, strategy=self.strategy, baseline=self.baseline.name, roles=self.roles)
        return fresh.route(one.request, context=one.context, constraints=one.constraints)


def router(provider: ScriptedProvider) -> Watched:
    """The one policy of all examples, on a scripted provider."""
    targets = [provider.target(name=name, model=model) for name, model in MODELS.items()]
    # A failure costs little here, so that both targets serve these short prompts.
    made = Watched.from_config(POLICY, targets=targets, roles={ROLE: {"stakes": 0.06}})
    assert isinstance(made, Watched)
    return made


class Place(BaseModel):
    """The arguments of the one tool."""

    city: str


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return RESULT if city == "Lisbon" else FAILURE


class CrewWeather(CrewTool):
    name: str = "get_weather"
    description: str = ABOUT
    args_schema: type[BaseModel] = Place

    def _run(self, city: str) -> str:
        return weather(city)


def langchain_tool() -> StructuredTool:
    return StructuredTool.from_function(weather, name="get_weather", description=ABOUT, args_schema=Place)


def index_tool() -> FunctionTool:
    return FunctionTool.from_defaults(weather, name="get_weather", description=ABOUT, fn_schema=Place)


def through_langchain(on: Watched, length: int) -> Arrived:
    def call(call_id: str, city: str) -> AIMessage:
        return AIMessage("", tool_calls=[{"id": call_id, "name": "get_weather", "args": {"city": city}}])

    messages = [
        SystemMessage(RULES),
        HumanMessage(ASK),
        call("c1", "Lisbon"),
        ToolMessage(RESULT, tool_call_id="c1", name="get_weather"),
        call("c2", "Porto"),
        ToolMessage(FAILURE, tool_call_id="c2", name="get_weather", status="error"),
    ]
    model = RoutedChatModel(router=on).bind_tools([langchain_tool()])
    model.invoke(messages[:length], {"metadata": {"role": ROLE, "lc_agent_name": ROLE}})
    return on.arrived[-1]


def through_crewai(on: Watched, length: int) -> Arrived:
    def call(call_id: str, city: str) -> dict[str, Any]:
        function = {"name": "get_weather", "arguments": f'{{"city": "{city}"}}'}
        return {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": call_id, "type": "function", "function": function}],
        }

    def result(call_id: str, text: str) -> dict[str, Any]:
        return {"role": "tool", "tool_call_id": call_id, "name": "get_weather", "content": text}

    messages = [
        {"role": "system", "content": RULES},
        {"role": "user", "content": ASK},
        call("c1", "Lisbon"),
        result("c1", RESULT),
        call("c2", "Porto"),
        result("c2", FAILURE),
    ]
    tools, _, _ = convert_tools_to_openai_schema([CrewWeather()])
    llm = CrewLLM(router=on)
    agent = Agent(role=ROLE, goal="the weather", backstory="a sailor", llm=llm)
    llm.call(messages[:length], tools=tools, from_agent=agent)
    return on.arrived[-1]


def through_llama_index(on: Watched, length: int) -> Arrived:
    def call(call_id: str, city: str) -> ChatMessage:
        block = ToolCallBlock(tool_call_id=call_id, tool_name="get_weather", tool_kwargs={"city": city})
        return ChatMessage(role="assistant", blocks=[block])

    def result(call_id: str, text: str) -> ChatMessage:
        return ChatMessage(role="tool", content=text, additional_kwargs={"tool_call_id": call_id})

    messages = [
        ChatMessage(role="system", content=RULES),
        ChatMessage(role="user", content=ASK),
        call("c1", "Lisbon"),
        result("c1", RESULT),
        call("c2", "Porto"),
        result("c2", FAILURE),
    ]
    IndexLLM(router=on).for_agent(ROLE).chat_with_tools([index_tool()], chat_history=messages[:length])
    return on.arrived[-1]


ADAPTERS: dict[str, Callable[[Watched, int], Arrived]] = {
    "langchain": through_langchain,
    "crewai": through_crewai,
    "llama_index": through_llama_index,
}
