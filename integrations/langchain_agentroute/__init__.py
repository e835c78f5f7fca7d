"""agentroute for LangChain and LangGraph: a chat model that routes each of its calls.

    from langchain.agents import create_agent
    from langchain_agentroute import RoutedChatModel, decision_of

    model = RoutedChatModel(targets={"budget": ChatOpenAI(model="gpt-4.1-nano"), "premium": Target(...)})
    agent = create_agent(model, tools=[...])
    answer = agent.invoke({"messages": [("user", "...")]})["messages"][-1]
    decision_of(answer).target

`native` gives a ready LangChain model a name, a tier or a price of its own. `RoutingMiddleware` routes from inside an
agent's middleware; `RoutingDecisionModel` answers for LangChain's own `ModelRouterMiddleware`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agentroute.native.targets import NativeTarget

from .chat_model import RoutedChatModel, decision_of
from .pool import native

if TYPE_CHECKING:
    from .decision_model import RoutingDecisionModel
    from .middleware import RoutingMiddleware

__all__ = ["NativeTarget", "RoutedChatModel", "RoutingDecisionModel", "RoutingMiddleware", "decision_of", "native"]


def __getattr__(name: str) -> Any:
    if name == "RoutingDecisionModel":
        # langchain-core has decision models from 1.7 on.
        from .decision_model import RoutingDecisionModel

        return RoutingDecisionModel
    if name == "RoutingMiddleware":
        # Agents bring LangGraph with them: a second of imports that a chain with a RoutedChatModel does without.
        from .middleware import RoutingMiddleware

        return RoutingMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
