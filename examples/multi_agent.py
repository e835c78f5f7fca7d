"""A LangGraph supervisor with a writer and a reviewer: one routed model, each agent routed by its own role."""

import os
from contextlib import ExitStack

from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel, decision_of
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command

from agentroute import Router, Target
from agentroute.testing import ScriptedProvider

MODELS = {"small": "gpt-6-luna", "strong": "gpt-6-sol"}
PROMPTS = {"writer": "Write a haiku as asked.", "reviewer": "Say in one line what to mend."}
NEXT = {"writer": "reviewer", "reviewer": END}


def targets(stack: ExitStack) -> list[Target]:
    if os.environ.get("OPENAI_API_KEY"):
        return [Target(name=n, provider="openai", model=m, api_key="env:OPENAI_API_KEY") for n, m in MODELS.items()]
    provider = stack.enter_context(ScriptedProvider("Rain on the tin roof.", provider="openai"))
    return [provider.target(name=name, model=model) for name, model in MODELS.items()]


def supervisor(state: MessagesState) -> Command:
    return Command(goto=NEXT.get(state["messages"][-1].name, "writer"))


with ExitStack() as stack:
    model = RoutedChatModel(router=stack.enter_context(Router(targets=targets(stack))))
    graph = StateGraph(MessagesState).add_edge(START, "supervisor")
    graph.add_node("supervisor", supervisor, destinations=(*PROMPTS, END))
    for name, prompt in PROMPTS.items():
        graph.add_node(name, create_agent(model, system_prompt=prompt, name=name)).add_edge(name, "supervisor")
    for message in graph.compile().invoke({"messages": [("user", "A haiku about rain, please.")]})["messages"][1:]:
        step = decision_of(message)
        print(f"{step.context.role} on {step.target}, ${step.cost}: {message.text}")
