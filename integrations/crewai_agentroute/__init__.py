"""agentroute for CrewAI: an LLM for agents and crews that routes each of its calls.

    from crewai import Agent, Crew, Task
    from crewai_agentroute import RoutedLLM, route_crew

    llm = RoutedLLM(targets=[Target(name="small", ...), native(LLM(model="openai/gpt-4.1"), name="strong")])
    crew = Crew(agents=[researcher, writer], tasks=[...])
    route_crew(crew, llm)
    crew.kickoff()
    [(step.context.role, step.target, step.cost) for step in llm.router.ledger.decisions]

`native` gives a ready CrewAI LLM a name, a tier or a price of its own. `RoutedConverter` is the `converter_cls` of a
Task with `output_json`.
"""

from __future__ import annotations

from agentroute.native.targets import NativeTarget

from .context import conversation_of
from .converter import RoutedConverter
from .crews import route_crew
from .events import RoutedNoticeEvent, RoutedStepEvent, decision_of
from .llm import RoutedLLM
from .pool import native

__all__ = [
    "NativeTarget",
    "RoutedConverter",
    "RoutedLLM",
    "RoutedNoticeEvent",
    "RoutedStepEvent",
    "conversation_of",
    "decision_of",
    "native",
    "route_crew",
]
