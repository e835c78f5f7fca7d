"""agentroute for LangChain and LangGraph: a chat model that routes each of its calls.

    from langchain.agents import create_agent
    from langchain_agentroute import RoutedChatModel, decision_of

    model = RoutedChatModel(targets={"budget": ChatOpenAI(model="gpt-4.1-nano"), "premium": Target(...)})
    agent = create_agent(model, tools=[...])
    answer = agent.invoke({"messages": [("user", "...")]})["messages"][-1]
    decision_of(answer).target

`native` gives a ready LangChain model a name, a tier or a price of its own.
"""

from __future__ import annotations

from agentroute.native import NativeTarget

from .chat_model import RoutedChatModel, decision_of
from .pool import native

__all__ = ["NativeTarget", "RoutedChatModel", "decision_of", "native"]
