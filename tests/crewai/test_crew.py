"""Crews on a router: who gets which step, and that nothing is counted twice."""

from __future__ import annotations

import pytest
from crewai_agentroute import crew_llms

from agentroute import StepKind

from .crews import POOLS, adds, routed, serving, two_agents


@pytest.mark.parametrize("kind", POOLS)
def test_a_crew_of_two_with_a_tool(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        handles = crew_llms(crew, llm)
        output = crew.kickoff()
        decisions = llm.router.ledger.decisions
        assert [task.raw for task in output.tasks_output] == ["The sum is 5.", "Two and three make five."]
        assert [step.context.role for step in decisions] == ["Researcher", "Researcher", "Writer"]
        assert [step.step_kind for step in decisions[:2]] == [StepKind.FIRST_ASK, StepKind.AFTER_RESULT]
        assert len(provider.requests) == 3
        assert output.token_usage.successful_requests == 3
        assert output.token_usage.prompt_tokens == sum(step.usage.input_tokens for step in decisions)
        assert handles["Writer"].get_token_usage_summary().successful_requests == 1
