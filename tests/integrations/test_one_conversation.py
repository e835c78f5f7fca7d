"""One long conversation is the same step everywhere: results, failures, repeats, a hand-over, a compaction."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from crewai import Agent
from crewai_agentroute import RoutedLLM as CrewLLM
from langchain_agentroute import RoutedChatModel
from llama_index.llms.agentroute import RoutedLLM as IndexLLM

from agentroute import StepKind
from agentroute.routing.step import Step
from agentroute.testing import ScriptedProvider

from .adapters import ASK, FAILURE, RESULT, ROLE, RULES, Watched, router
from .said import Call, Said, calls, in_crewai, in_langchain, in_llama_index, result, user

pytestmark = pytest.mark.requires("langchain", "crewai", "llama_index")

HAND_OVER = Call("c5", "transfer_to_writer", {"to": "writer"})
COMPACTION = "Your task is to create a detailed summary of the conversation so far."
SUMMARY = "This session is being continued from a previous conversation. Summary: Porto does not answer."

TALK = (
    Said("system", RULES),
    user(ASK),
    calls(Call("c1", arguments={"city": "Lisbon"})),
    result("c1", RESULT),
    calls("c2"),
    result("c2", FAILURE),
    calls("c3"),
    result("c3", FAILURE),
    calls(Call("c4", arguments={"city": "Lisbon"})),
    result("c4", RESULT),
    calls(HAND_OVER),
    result("c5", "Transferred to writer.", "transfer_to_writer"),
    Said("assistant", "No coat in Lisbon."),
    user(COMPACTION),
)
AFTER = (Said("system", RULES), user(SUMMARY), calls("c6"), result("c6", FAILURE))

POINTS = {
    "the ask": (TALK[:2], StepKind.FIRST_ASK),
    "a result": (TALK[:4], StepKind.AFTER_RESULT),
    "a failure": (TALK[:6], StepKind.AFTER_ERROR),
    "the failure again": (TALK[:8], StepKind.AFTER_ERROR),
    "a call again": (TALK[:10], StepKind.REPEATED_CALL),
    "a hand-over": (TALK[:12], StepKind.AFTER_RESULT),
    "a compaction": (TALK, StepKind.SUMMARISE),
    "behind the compaction": (AFTER, StepKind.AFTER_ERROR),
}


@pytest.fixture
def watched() -> Iterator[Watched]:
    with ScriptedProvider("No coat needed.", provider="openai") as provider, router(provider) as made:
        yield made


def steps(on: Watched, talk: tuple[Said, ...]) -> dict[str, Step]:
    RoutedChatModel(router=on).invoke([in_langchain(said) for said in talk], {"metadata": {"lc_agent_name": ROLE}})
    llm = CrewLLM(router=on)
    agent = Agent(role=ROLE, goal="the weather", backstory="a sailor", llm=llm)
    llm.call([in_crewai(said) for said in talk], from_agent=agent)
    IndexLLM(router=on).for_agent(ROLE).chat([in_llama_index(said) for said in talk])
    assert len(on.arrived) == 3
    found = [Step.of(one.request, one.context) for one in on.arrived]
    return dict(zip(("langchain", "crewai", "llama_index"), found, strict=True))


@pytest.mark.parametrize(("talk", "kind"), POINTS.values(), ids=POINTS)
def test_the_same_step_kind_and_evidence(watched: Watched, talk: tuple[Said, ...], kind: StepKind) -> None:
    found = steps(watched, talk)
    first = found["langchain"]
    assert (first.kind, first.role, first.n_messages) == (kind, ROLE, len(talk))
    for name, step in found.items():
        assert step.evidence == first.evidence, name
        assert step == first, name
