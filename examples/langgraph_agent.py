"""A LangGraph agent, each of its model calls routed: offline on a script, real where OPENAI_API_KEY is set."""

import os
from contextlib import ExitStack

from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel

from agentroute import ChatRequest, Router, Target
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"{city}: 21 degrees, a light wind"


def script(request: ChatRequest) -> ScriptedReply:
    results = request.messages[-1].tool_results
    if not results:
        return ScriptedReply(tool_calls=(tool_call("weather", city="Lisbon"),))
    return ScriptedReply(f"No coat needed. {results[0].text}.")


def targets(stack: ExitStack) -> list[Target]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Target(name=n, provider="openai", model=m, api_key="env:OPENAI_API_KEY") for n, m in MODELS.items()]
    provider = stack.enter_context(ScriptedProvider(script, provider="openai"))
    return [provider.target(name=name, model=model) for name, model in MODELS.items()]


with ExitStack() as stack:
    router = stack.enter_context(Router(targets=targets(stack)))
    agent = create_agent(RoutedChatModel(router=router), [weather])
    result = agent.invoke({"messages": [("user", "Do I need a coat in Lisbon?")]})
    print(result["messages"][-1].text)
    for step in router.ledger.decisions:
        print(f"{step.step_kind.value}: {step.target}, ${step.cost}, because {'; '.join(step.reasons)}")
