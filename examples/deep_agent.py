"""A deep agent that hands a question to a sub-agent: one model for both, and the bill of each."""

import os
from collections import Counter
from contextlib import ExitStack

from deepagents import create_deep_agent
from langchain_agentroute import RoutedChatModel

from agentroute import ChatRequest, Router, Target
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}
FINDER = {"name": "finder", "description": "Finds facts about birds.", "system_prompt": "You look facts up."}


def script(request: ChatRequest) -> ScriptedReply:
    if any("look facts up" in message.text for message in request.messages):
        return ScriptedReply("Swifts sleep on the wing.")
    if results := request.messages[-1].tool_results:
        return ScriptedReply(f"The finder says: {results[0].text}")
    return ScriptedReply(tool_calls=(tool_call("task", subagent_type="finder", description="How do swifts sleep?"),))


def targets(stack: ExitStack) -> list[Target]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Target(name=n, provider="openai", model=m, api_key="env:OPENAI_API_KEY") for n, m in MODELS.items()]
    provider = stack.enter_context(ScriptedProvider(script, provider="openai"))
    return [provider.target(name=name, model=model) for name, model in MODELS.items()]


with ExitStack() as stack:
    router = stack.enter_context(Router(targets=targets(stack)))
    agent = create_deep_agent(RoutedChatModel(router=router), subagents=[FINDER], name="boss")
    print(agent.invoke({"messages": [("user", "How do swifts sleep? Ask the finder.")]})["messages"][-1].text)
    bill = Counter()
    for step in router.ledger.decisions:
        bill[step.context.agent] += step.cost or 0
        print(f"{step.context.agent}, {step.step_kind.value}: {step.target}, ${step.cost}, saved ${step.savings:f}")
    print("bill:", ", ".join(f"{name} ${cost}" for name, cost in bill.items()))
