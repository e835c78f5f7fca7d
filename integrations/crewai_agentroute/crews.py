"""Every agent of a crew its own handle on one router."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewai import Crew, Process
from crewai.llms.base_llm import BaseLLM
from crewai.tasks.llm_guardrail import LLMGuardrail

from agentroute import ConfigError, Router
from agentroute.routing.policies import read_policies

from .llm import RoutedLLM

__all__ = ["route_crew"]

_MANAGER, _PLANNER = "Crew Manager", "Task Execution Planner"


def route_crew(
    crew: Crew, source: Router | RoutedLLM, constraints: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, RoutedLLM]:
    """Gives every agent of the crew (with the guardrails of its tasks), its manager and its planner a handle of their
    own, and returns them by role.

    CrewAI adds up what the LLM of each agent has counted, so agents that share one LLM are counted several times
    (crewAI #7259); handles share the router alone. `source` is a router, or a RoutedLLM whose settings and ready
    LLMs hold for all. `constraints` are fields of Constraints for single roles. The LLMs that the
    crew had are replaced. Raises ConfigError for a role, a field, a target or a provider that is not there.
    """
    base = source if isinstance(source, RoutedLLM) else RoutedLLM(router=source)
    constraints = constraints or {}
    read_policies(constraints, base.router.pool)
    handles: dict[str, RoutedLLM] = {}

    def handle(role: str) -> RoutedLLM:
        made = base.for_agent(role, **constraints.get(role, {}))
        handles.setdefault(role, made)
        return made

    for agent in crew.agents:
        agent.llm = handle(agent.role)
    for task in crew.tasks:
        # A guardrail in words has kept the LLM that its agent had when the task was made.
        for guardrail in (task._guardrail, *task._guardrails):
            if isinstance(guardrail, LLMGuardrail) and task.agent is not None and isinstance(task.agent.llm, BaseLLM):
                guardrail.llm = task.agent.llm
    if crew.manager_agent is not None:
        crew.manager_agent.llm = handle(crew.manager_agent.role)
    elif crew.process == Process.hierarchical:
        crew.manager_llm = handle(_MANAGER)
    if crew.planning:
        crew.planning_llm = handle(_PLANNER)
    unknown = set(constraints) - set(handles)
    if unknown:
        raise ConfigError(f"no agent of the crew has the role {sorted(unknown)[0]!r}; roles are {sorted(handles)}")
    return handles
