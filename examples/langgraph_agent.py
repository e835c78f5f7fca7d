"""A LangGraph agent, each of its model calls routed: offline on a script, real where OPENAI_API_KEY is set."""

import os
from pathlib import Path

from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel

from agentroute import ChatRequest, Router
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


with ScriptedProvider(script, provider="openai") as provider:
    scripted = [provider.target(name=name, model=model) for name, model in MODELS.items()]
    given = {} if os.environ.get("OPENAI_API_KEY") else {"targets": scripted}  # with a key, those of the file
    router = Router.from_config(Path(__file__).with_name("policy.toml"), **given)
    agent = create_agent(RoutedChatModel(router=router), [weather])
    result = agent.invoke({"messages": [("user", "Do I need a coat in Lisbon?")]})
    print(result["messages"][-1].text)
    for step in router.ledger.decisions:
        print(f"{step.step_kind.value}: {step.target}, ${step.cost}, because {'; '.join(step.reasons)}")
    router.close()
