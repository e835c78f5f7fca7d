"""What CrewAI says about a step: who calls, in which task, and what for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from agentroute import StepContext

__all__ = ["context_of", "conversation_of", "iteration_of"]

_BY_ROLE: Final = {
    "Crew Manager": "manager",
    "Task Execution Planner": "planner",
    "Guardrail Agent": "guardrail",
    "Task Execution Evaluator": "evaluator",
}
"""The roles of agents that CrewAI makes itself (crewai 1.15, translations/en.json and utilities/)."""

_BY_TOOL: Final = {"create_reasoning_plan": "planner"}

_BY_RESPONSE_MODEL: Final = {
    "ConsolidationPlan": "memory",
    "ExtractedMemories": "memory",
    "LLMGuardrailResult": "guardrail",
    "MemoryAnalysis": "memory",
    "PlannerTaskPydanticOutput": "planner",
    "QueryAnalysis": "memory",
    "StepObservation": "observer",
    "TaskEvaluation": "evaluator",
    "TaskEvaluationPydanticOutput": "evaluator",
}
"""The response models of steps that CrewAI adds to what the user's agents do."""


def context_of(
    role: str | None,
    agent: Any,
    task: Any,
    tools: Sequence[Mapping[str, Any]] | None,
    response_model: Any,
    *,
    failed: bool = False,
) -> StepContext:
    """The calling agent's role, else the role that the handle was made for. One run of a task is one conversation.

    `node` is the kind of a step that CrewAI itself adds (`manager`, `planner`, `guardrail`, `evaluator`, `observer`,
    `memory`, `converter`), else the task's name.
    """
    called_by = _text(getattr(agent, "role", None))
    role = called_by or role
    return StepContext(
        conversation_id=conversation_of(task),
        agent=called_by or role,
        role=role,
        node=_kind(role, agent, tools, response_model) or _text(getattr(task, "name", None)),
        failed=failed,
    )


def conversation_of(task: Any) -> str | None:
    """The `conversation_id` of the run of this task that began last: its id and when that was, since a crew that is
    kicked off again keeps its tasks. None without a task.

    >>> router.outcome(conversation_id=conversation_of(task), ok=accepted, source="person")  # doctest: +SKIP
    """
    name, begun = _text(getattr(task, "id", None)), getattr(task, "start_time", None)
    return f"{name}@{begun:%Y%m%dT%H%M%S.%f}" if name is not None and isinstance(begun, datetime) else name


def iteration_of(agent: Any) -> int | None:
    """Which round of its loop the calling agent is in, from 0; None outside of one."""
    count = getattr(getattr(getattr(agent, "agent_executor", None), "state", None), "iterations", None)
    return count if isinstance(count, int) else None


def _kind(
    role: str | None, agent: Any, tools: Sequence[Mapping[str, Any]] | None, response_model: type | None
) -> str | None:
    for tool in tools or ():
        kind = _BY_TOOL.get(str((tool.get("function") or {}).get("name")))
        if kind is not None:
            return kind
    if response_model is not None:
        kind = _BY_RESPONSE_MODEL.get(response_model.__name__)
        if kind is not None:
            return kind
    if role in _BY_ROLE:
        return _BY_ROLE[role]
    if agent is not None and getattr(getattr(agent, "crew", None), "manager_agent", None) is agent:
        return "manager"
    return "converter" if response_model is not None and agent is None else None


def _text(value: Any) -> str | None:
    return str(value) if value not in (None, "") else None
