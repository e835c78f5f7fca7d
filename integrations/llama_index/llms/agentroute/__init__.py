"""agentroute for LlamaIndex: an LLM that routes each of its calls.

    from llama_index.llms.agentroute import RoutedLLM, decision_of

    llm = RoutedLLM(targets={"budget": OpenAI(model="gpt-4.1-nano"), "premium": Target(...)})
    index.as_query_engine(llm=llm).query("...")
    FunctionAgent(tools=[...], llm=llm.for_agent("research"))
    decision_of(llm.complete("...")).target

`native` gives a ready LlamaIndex model a name, a tier or a price of its own.
"""

from __future__ import annotations

from agentroute.native.targets import NativeTarget

from .context import decision_of
from .events import RoutedNoticeEvent
from .llm import RoutedLLM
from .pool import native

__all__ = ["NativeTarget", "RoutedLLM", "RoutedNoticeEvent", "decision_of", "native"]
