"""What CrewAI does not let an LLM do, as docs/crewai.md says it; a test that fails here means that page is old."""

from __future__ import annotations

import os

import pytest
from crewai import Agent, Crew, Task
from crewai.llm_overlay import llm_overlay
from crewai.memory.unified_memory import _default_embedder
from pydantic import ValidationError

from agentroute import ConfigError
from agentroute.testing import Fault

from .crews import adds, agent, routed, serving, task, two_agents


def test_r12_a_crew_refuses_it_as_function_calling_llm_and_an_agent_takes_it() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        with pytest.raises(ValidationError, match="function_calling_llm"):
            two_agents(llm, function_calling_llm=llm)
        who = agent("Researcher", llm, function_calling_llm=llm.for_agent("caller"))
        assert Crew(agents=[who], tasks=[task("Go.", who)]).kickoff().raw == "Two and three make five."


def test_r12_a_copied_agent_has_lost_the_router_of_its_function_calling_llm() -> None:
    """CrewAI copies of it what every LLM has, and nothing else."""
    with serving(adds) as provider:
        llm = routed("wire", provider)
        twin = agent("Researcher", llm, function_calling_llm=llm.for_agent("caller")).copy()
        assert twin.llm.router is llm.router
        with pytest.raises(ConfigError, match="give it to the agent again"):
            twin.function_calling_llm.call("hello")


def test_r13_planning_without_a_planning_llm_wants_openai() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        with pytest.raises(Exception, match="OPENAI_API_KEY"):
            two_agents(llm, planning=True).kickoff()
        assert two_agents(llm, planning=True, planning_llm=llm.for_agent("planner")).kickoff().raw


def test_r13_memory_embeds_with_openai_unless_told_otherwise() -> None:
    assert "OPENAI_API_KEY" not in os.environ
    with pytest.raises(Exception, match=r"OPENAI_API_KEY|api_key"):
        _default_embedder()(["hello"])


def test_r13_an_overlay_replaces_the_router() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        os.environ["OPENAI_API_KEY"] = "sk-nobodys"
        try:
            with llm_overlay({"model:*": "openai/gpt-4o-mini"}):
                who = Agent(role="Writer", goal="g", backstory="b", llm=llm)
            assert who.llm is not llm
        finally:
            del os.environ["OPENAI_API_KEY"]


def test_an_agent_runs_a_task_that_failed_twice_more() -> None:
    with serving("", fault=Fault.error(400, message="no")) as provider:
        llm = routed("wire", provider)
        who = agent("Writer", llm, max_retry_limit=2)
        with pytest.raises(Exception, match="no"):
            Crew(agents=[who], tasks=[Task(description="Go.", expected_output="x", agent=who)]).kickoff()
        assert len(llm.router.ledger.decisions) == len(provider.requests) == 3
