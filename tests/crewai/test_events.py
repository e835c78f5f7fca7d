"""What CrewAI's event bus hears: one balanced pair for each call, chunks, and the decision."""

from __future__ import annotations

from typing import Any

import pytest
from crewai.events import (
    LLMCallCompletedEvent,
    LLMCallFailedEvent,
    LLMCallStartedEvent,
    LLMStreamChunkEvent,
    ToolUsageFinishedEvent,
)
from crewai.hooks import (
    register_after_llm_call_hook,
    register_before_llm_call_hook,
    unregister_after_llm_call_hook,
    unregister_before_llm_call_hook,
)
from crewai.llms.base_llm import LLMCallBlockedError
from crewai_agentroute import RoutedStepEvent, decision_of, route_crew

from agentroute.testing import Fault

from .crews import ADD, POOLS, SMALL, STRONG, WAYS, adds, asked, heard, routed, serving, two_agents

both = pytest.mark.parametrize("kind", [*POOLS, "native first"])
ways = pytest.mark.parametrize("way", WAYS)
PAIR = (LLMCallStartedEvent, LLMCallCompletedEvent, LLMCallFailedEvent)

DOWN = Fault.error(503)


def names(events: list[Any]) -> list[str]:
    return [event.type.removeprefix("llm_call_") for event in events]


@both
@ways
async def test_r07_one_pair_of_events_a_call(kind: str, way: str) -> None:
    with serving("hello") as provider:
        llm = routed(kind, provider)
        with heard(*PAIR) as events:
            await asked(way, llm)
        assert names(events) == ["started", "completed"]
        started, completed = events
        assert started.call_id == completed.call_id
        assert completed.started_event_id == started.event_id
        assert completed.model == SMALL
        assert completed.usage["prompt_tokens"] == llm.last_decision.usage.input_tokens
        assert completed.response == "hello"


@both
@ways
async def test_r07_pairs_are_balanced_where_a_target_fails(kind: str, way: str) -> None:
    with serving("", fault=DOWN) as down, serving("hello") as other:
        llm = routed(kind, down, other)
        with heard(*PAIR) as events:
            await asked(way, llm)
        openings = names(events).count("started")
        assert names(events)[0] == "started"
        assert names(events)[-1] == "completed"
        assert openings == (1 if kind == "wire" else 2)
        assert {event.started_event_id for event in events[1:]} >= {events[0].event_id}
        assert events[-1].model == STRONG


@pytest.mark.parametrize("way", WAYS)
async def test_r07_a_call_that_fails_says_so_once(way: str) -> None:
    with serving("", fault=DOWN) as down:
        llm = routed("wire", down)
        with heard(*PAIR) as events, pytest.raises(Exception, match="503"):
            await asked(way, llm)
        assert names(events) == ["started", "failed"]
        assert decision_of(events[-1]).outcome == "failed"


@both
@pytest.mark.parametrize("way", ["call, streamed", "acall, streamed"])
async def test_r07_chunks_add_up_to_the_answer(kind: str, way: str) -> None:
    text = "an answer that is long enough for a few pieces of a stream"
    with serving(text) as provider:
        with heard(LLMStreamChunkEvent) as events:
            assert await asked(way, routed(kind, provider)) == text
        assert len(events) > 2
        assert "".join(event.chunk for event in events) == text
        assert len({event.call_id for event in events}) == 1


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("way", ["call, streamed", "acall, streamed"])
async def test_r07_chunks_of_a_tool_call(kind: str, way: str) -> None:
    with serving(adds) as provider:
        with heard(LLMStreamChunkEvent) as events:
            await asked(way, routed(kind, provider), tools=[ADD])
        last = events[-1].tool_call
        assert last.function.name == "add"
        assert last.function.arguments == '{"a": 2, "b": 3}'
        assert "".join(event.chunk for event in events) == '{"a": 2, "b": 3}'


@both
@ways
async def test_the_decision_comes_on_the_bus_once_for_each_call(kind: str, way: str) -> None:
    with serving("", fault=DOWN) as down, serving("hello") as other:
        llm = routed(kind, down, other)
        with heard(RoutedStepEvent) as events:
            await asked(way, llm)
        (event,) = events
        assert decision_of(event) == llm.last_decision
        assert event.model == STRONG


async def test_crewais_own_events_of_wire_targets_carry_the_decision() -> None:
    with serving("hello") as provider:
        llm = routed("wire", provider)
        with heard(LLMCallCompletedEvent) as events:
            llm.call("hello")
        assert decision_of(events[0]) == llm.last_decision
        assert decision_of(object()) is None


@both
def test_events_of_a_crew_name_agent_and_task(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        crew = two_agents(llm)
        route_crew(crew, llm)
        with heard(RoutedStepEvent, *PAIR) as events:
            crew.kickoff()
        assert [e.agent_role for e in events if isinstance(e, RoutedStepEvent)] == ["Researcher"] * 2 + ["Writer"]
        assert names([e for e in events if isinstance(e, PAIR)]) == ["started", "completed"] * 3


@both
@ways
async def test_hooks_run_once_whichever_target_answers(kind: str, way: str) -> None:
    seen: list[str] = []

    def before(context: Any) -> None:
        seen.append("before")
        context.messages.append({"role": "user", "content": "and be kind"})

    def after(context: Any) -> str:
        seen.append("after")
        return f"{context.response}!"

    register_before_llm_call_hook(before)
    register_after_llm_call_hook(after)
    try:
        with serving("", fault=DOWN) as down, serving("hello") as other:
            messages = [{"role": "user", "content": "hello"}]
            assert await asked(way, routed(kind, down, other), messages) == "hello!"
            assert seen == ["before", "after"]
            assert other.requests[0].body["messages"][-1]["content"] == "and be kind"
            assert len(messages) == 1
    finally:
        unregister_before_llm_call_hook(before)
        unregister_after_llm_call_hook(after)


@both
@ways
async def test_a_hook_may_refuse_the_call(kind: str, way: str) -> None:
    def no(context: Any) -> bool:
        return False

    register_before_llm_call_hook(no)
    try:
        with serving("hello") as provider:
            with heard(*PAIR) as events, pytest.raises(LLMCallBlockedError):
                await asked(way, routed(kind, provider))
            assert names(events) == ["started", "failed"]
            assert not provider.requests
    finally:
        unregister_before_llm_call_hook(no)


async def test_a_function_that_is_called_is_told_of() -> None:
    with serving(adds) as provider:
        with heard(ToolUsageFinishedEvent, *PAIR) as events:
            routed("wire", provider).call("hi", tools=[ADD], available_functions={"add": lambda a, b: a + b})
        assert [event.type for event in events] == ["llm_call_started", "tool_usage_finished", "llm_call_completed"]
        assert events[1].output == "5" or events[1].output == 5
