"""LangGraph's prebuilt `create_react_agent`: each answer in the thread knows the decision behind it."""

import os
from contextlib import ExitStack

from langchain_agentroute import RoutedChatModel, decision_of
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.prebuilt import create_react_agent

from agentroute import ChatRequest, Router, Target
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}


def stock(item: str) -> str:
    """Tell how many of an item are in stock."""
    return f"3 of {item}"


def script(request: ChatRequest) -> ScriptedReply:
    if results := request.messages[-1].tool_results:
        return ScriptedReply(f"We have {results[0].text}.")
    return ScriptedReply(tool_calls=(tool_call("stock", item="umbrella"),))


def targets(stack: ExitStack) -> list[Target]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Target(name=n, provider="openai", model=m, api_key="env:OPENAI_API_KEY") for n, m in MODELS.items()]
    provider = stack.enter_context(ScriptedProvider(script, provider="openai"))
    return [provider.target(name=name, model=model) for name, model in MODELS.items()]


with ExitStack() as stack:
    router = stack.enter_context(Router(targets=targets(stack)))
    agent = create_react_agent(RoutedChatModel(router=router), [stock], checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "shop-1"}}
    for message in agent.invoke({"messages": [("user", "Are there umbrellas left?")]}, config)["messages"]:
        step = decision_of(message)
        print(f"{message.type}: {message.text}", f"[{step.step_kind.value}: {step.target}]" if step else "")
