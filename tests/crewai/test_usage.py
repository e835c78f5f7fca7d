"""Counters: what a crew says it used is what its servers counted, however its agents share routers and copies."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from crewai import Crew, Process
from crewai.memory.unified_memory import _non_streaming_analysis_llm
from crewai_agentroute import RoutedLLM, route_crew

from agentroute import ChatRequest, ConfigError, Router, Usage
from agentroute.testing import Fault, ScriptedReply, nth

from .crews import POOLS, Report, add, adds, agent, made, ready, routed, serving, task, two_agents

ONE = Usage(10, 5, cache_read_tokens=4, reasoning_tokens=2)
both = pytest.mark.parametrize("kind", POOLS)


def counting(script: Callable[[ChatRequest], ScriptedReply] = adds) -> Callable[[ChatRequest], ScriptedReply]:
    """Every answer is counted as 10 + 5 tokens."""
    return lambda request: replace(script(request), usage=ONE)


def is_all_of(usage: Any, answers: int) -> bool:
    said = (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens, usage.successful_requests)
    return said == (10 * answers, 5 * answers, 15 * answers, answers)


def crew_of(count: int, llm: Any, **settings: Any) -> Crew:
    agents = [agent(f"Role {index}", llm, tools=[add]) for index in range(count)]
    return Crew(agents=agents, tasks=[task(f"Task {index}.", each) for index, each in enumerate(agents)], **settings)


@both
@pytest.mark.parametrize("count", [1, 2, 6])
def test_r08_a_crews_total_is_the_servers(kind: str, count: int) -> None:
    with serving(counting()) as provider:
        llm = routed(kind, provider)
        crew = crew_of(count, llm)
        route_crew(crew, llm)
        output = crew.kickoff()
        assert len(provider.requests) == 2 * count
        assert is_all_of(output.token_usage, 2 * count)
        assert output.token_usage.cached_prompt_tokens == 8 * count
        assert output.token_usage.reasoning_tokens == 4 * count


@both
def test_r08_two_crews_on_one_router(kind: str) -> None:
    with serving(counting()) as provider:
        llm = routed(kind, provider)
        for _ in range(2):
            crew = crew_of(2, llm)
            route_crew(crew, llm)
            assert is_all_of(crew.kickoff().token_usage, 4)
        assert len(llm.router.ledger.decisions) == len(provider.requests) == 8


@both
def test_r08_fallbacks_and_answers_that_were_none_are_counted_too(kind: str) -> None:
    def silent_once(request: ChatRequest) -> ScriptedReply:
        return ScriptedReply("", usage=ONE)

    with serving(silent_once) as silent, serving(counting()) as other:
        llm = routed(kind, silent, other)
        crew = crew_of(2, llm)
        route_crew(crew, llm)
        usage = crew.kickoff().token_usage
        answers = len(silent.requests) + len(other.requests)
        assert usage.total_tokens == 15 * answers
        assert usage.successful_requests == len(other.requests) == 4


@both
def test_r08_an_error_counts_nothing(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each of the two models fails once, the first is asked again."""
    with serving(counting(), fault=nth(1, Fault.error(503))) as provider:
        llm = routed(kind, provider)
        crew = crew_of(1, llm)
        route_crew(crew, llm)
        assert is_all_of(crew.kickoff().token_usage, 2)
        assert len(provider.requests) == 4
        assert "pairing mismatch" not in capsys.readouterr().out


@both
def test_r08_a_manager_is_counted(kind: str) -> None:
    with serving(counting()) as provider:
        llm = routed(kind, provider)
        workers = [agent("Writer", llm), agent("Reader", llm)]
        crew = Crew(agents=workers, tasks=[task("Go.", None)], process=Process.hierarchical, manager_llm=llm)
        handles = route_crew(crew, llm)
        assert set(handles) == {"Writer", "Reader", "Crew Manager"}
        assert is_all_of(crew.kickoff().token_usage, len(provider.requests))


@both
@pytest.mark.parametrize("form", ["guardrail", "guardrails"])
def test_r08_a_guardrail_is_counted_with_its_agent(kind: str, form: str) -> None:
    with serving(counting()) as provider:
        llm = routed(kind, provider)
        who = agent("Writer", ready(provider))
        rule = "It must be polite."
        crew = Crew(agents=[who], tasks=[task("Write.", who, **{form: rule if form == "guardrail" else [rule]})])
        route_crew(crew, llm)
        usage = crew.kickoff().token_usage
        assert len(llm.router.ledger.decisions) == len(provider.requests) >= 2
        assert is_all_of(usage, len(provider.requests))


@both
def test_r08_copies_of_a_crew_count_for_themselves(kind: str) -> None:
    with serving(counting()) as provider:
        llm = routed(kind, provider)
        crew = crew_of(2, llm)
        route_crew(crew, llm)
        assert is_all_of(crew.kickoff().token_usage, 4)
        assert is_all_of(crew.copy().kickoff().token_usage, 4)
        assert is_all_of(crew.calculate_usage_metrics(), 4)
        crew.kickoff_for_each([{"a": "1"}, {"a": "2"}])
        assert is_all_of(crew.usage_metrics, 8)
        assert len(provider.requests) == 16


@both
def test_r08_the_copy_that_memory_works_on_counts_for_the_agent(kind: str) -> None:
    with serving(counting()) as provider:
        llm = routed(kind, provider)
        theirs = _non_streaming_analysis_llm(llm)
        assert theirs is not llm
        theirs.call("remember this", response_model=Report)
        copy.copy(theirs).call("and this")
        assert is_all_of(llm.get_token_usage_summary(), 2)
        assert is_all_of(theirs.get_token_usage_summary(), 0)


async def test_r08_the_native_llms_own_counters_are_not_touched_and_calls_at_once_are_told_apart() -> None:
    import asyncio

    with serving(counting()) as provider:
        llm = routed("native", provider)
        handles = [llm.for_agent(f"Role {index}") for index in range(6)]
        await asyncio.gather(*(asyncio.to_thread(handle.call, "hello") for handle in handles for _ in range(3)))
        assert all(is_all_of(handle.get_token_usage_summary(), 3) for handle in handles)


def test_r08_what_a_provider_does_not_count_is_a_request_without_tokens() -> None:
    with serving(lambda request: ScriptedReply("hello", usage=Usage())) as provider:
        llm = routed("wire", provider)
        llm.call("hello")
        usage = llm.get_token_usage_summary()
        assert (usage.total_tokens, usage.successful_requests) == (0, 1)


# ---- route_crew ------------------------------------------------------------------------------------------------------


def test_route_crew_takes_a_router_or_a_handle_and_policies_by_role() -> None:
    with serving(adds) as provider:
        router = Router([provider.target(name="small", model="gpt-4.1-nano"), provider.target(model="gpt-4.1")])
        llm = made(RoutedLLM(router=router))
        crew = two_agents(llm)
        handles = route_crew(crew, router, {"Researcher": {"max_tier": "budget"}, "Writer": {"target": "gpt-4.1"}})
        assert [each.llm for each in crew.agents] == [handles["Researcher"], handles["Writer"]]
        crew.kickoff()
        assert [step.target for step in router.ledger.decisions] == ["small", "small", "gpt-4.1"]
        settled = route_crew(crew, RoutedLLM(router=router, temperature=0.5))
        assert all(handle.temperature == 0.5 and handle.router is router for handle in settled.values())
        with pytest.raises(ConfigError, match="no agent of the crew has the role 'Wirter'"):
            route_crew(crew, router, {"Wirter": {"tier": "mid"}})
