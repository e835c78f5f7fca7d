"""One conversation, converted by each framework's adapter, is one step with one decision, whoever converted it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from agentroute import ChatRequest, Router, StepKind
from agentroute.messages import Message, Tool, ToolChoice, ToolResult
from agentroute.routing.step import Step
from agentroute.testing import ScriptedProvider

from .adapters import ADAPTERS, MODELS, POLICY, ROLE, Arrived, Watched, router

pytestmark = pytest.mark.requires("langchain", "crewai", "llama_index")

POINTS = {2: StepKind.FIRST_ASK, 4: StepKind.AFTER_RESULT, 6: StepKind.AFTER_ERROR}
at_each_point = pytest.mark.parametrize(
    ("length", "kind"), POINTS.items(), ids=[kind.value for kind in POINTS.values()]
)


@pytest.fixture
def watched() -> Iterator[Watched]:
    with ScriptedProvider("No coat needed.", provider="openai") as provider, router(provider) as made:
        yield made


def arrivals(on: Watched, length: int) -> dict[str, Arrived]:
    return {name: adapter(on, length) for name, adapter in ADAPTERS.items()}


def test_the_policy_file_has_the_targets_of_every_example() -> None:
    policy = Router.from_config(POLICY)
    assert {target.name: target.model for target in policy.pool} == MODELS
    assert (policy.strategy, policy.baseline.name) == ("balanced", "strong")


@at_each_point
def test_one_conversation_is_one_step(watched: Watched, length: int, kind: StepKind) -> None:
    found = arrivals(watched, length)
    steps = {name: Step.of(one.request, one.context) for name, one in found.items()}
    assert len(steps) == 3
    first = steps["langchain"]
    assert (first.kind, first.role, first.n_messages) == (kind, ROLE, length)
    for name, step in steps.items():
        assert step == first, name


@at_each_point
def test_and_has_one_decision(watched: Watched, length: int, kind: StepKind) -> None:
    decisions = {name: watched.decide(one) for name, one in arrivals(watched, length).items()}
    first = decisions["langchain"]
    assert {one.target for one in first.candidates} == set(MODELS)
    for name, decision in decisions.items():
        assert (decision.step_kind, decision.task, decision.reasons) == (kind, first.task, first.reasons), name
        assert decision.sufficiency == first.sufficiency
        assert decision.dropped == first.dropped
        assert [(one.target, one.tier, one.sufficiency) for one in decision.candidates] == [
            (one.target, one.tier, one.sufficiency) for one in first.candidates
        ]


@at_each_point
def test_costs_differ_by_the_words_of_a_tool_alone(watched: Watched, length: int, kind: StepKind) -> None:
    found = arrivals(watched, length)
    described = found["langchain"].request.tools
    decisions = [watched.decide(replace(one, request=replace(one.request, tools=described))) for one in found.values()]
    assert {one.candidates for one in decisions} == {decisions[0].candidates}
    assert len({one.expected_cost for one in decisions}) == 1


@at_each_point
def test_what_the_adapters_add(watched: Watched, length: int, kind: StepKind) -> None:
    """All that differs: titles and closed objects in a tool's schema; the default choice of tools said aloud, and one
    call at a time (LlamaIndex); what is said of a result, which LangChain alone can say has failed."""
    found = arrivals(watched, length)
    assert {name: _words(one.request.tools[0].parameters) for name, one in found.items()} == {
        "langchain": set(),
        "crewai": {"additionalProperties", "title"},
        "llama_index": {"additionalProperties", "title"},
    }
    assert {name: (one.request.tool_choice, one.request.parallel_tool_calls) for name, one in found.items()} == {
        "langchain": (None, None),
        "crewai": (None, None),
        "llama_index": (ToolChoice("auto"), False),
    }
    said = {
        name: [(part.name, part.is_error) for message in one.request.messages for part in message.tool_results]
        for name, one in found.items()
    }
    results = (length - 2) // 2
    assert said == {
        "langchain": [("get_weather", None), ("get_weather", True)][:results],
        "crewai": [("get_weather", None)] * results,
        "llama_index": [(None, None)] * results,
    }
    plain = {name: _plain(one.request) for name, one in found.items()}
    assert plain["crewai"] == plain["langchain"]
    assert plain["llama_index"] == plain["langchain"]
    assert len({repr(one.constraints) for one in found.values()}) == 1


_ADDED = ("title", "additionalProperties")


def _words(schema: Mapping[str, Any]) -> set[str]:
    """The keywords of a schema that are not in the one that Pydantic's fields ask for."""
    found = {key for key in schema if key in _ADDED}
    return found.union(*(_words(value) for value in schema.values() if isinstance(value, Mapping)))


def _without(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without(value) if isinstance(value, Mapping) else value
        for key, value in schema.items()
        if key not in _ADDED
    }


def _plain(request: ChatRequest) -> ChatRequest:
    """The request without what the adapters add."""

    def said(message: Message) -> Message:
        parts = tuple(
            replace(part, name=None, is_error=None) if isinstance(part, ToolResult) else part for part in message.parts
        )
        return replace(message, parts=parts)

    def described(tool: Tool) -> Tool:
        return replace(tool, parameters=_without(tool.parameters))

    return replace(
        request,
        messages=tuple(map(said, request.messages)),
        tools=tuple(map(described, request.tools)),
        tool_choice=None,
        parallel_tool_calls=None,
    )
