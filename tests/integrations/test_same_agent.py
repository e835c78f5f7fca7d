"""One agent with one tool, built in each framework under one policy file: the same steps to the same targets."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from crewai import Agent, Crew, Task
from crewai_agentroute import RoutedLLM as CrewLLM
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel
from langchain_core.messages import HumanMessage
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.agentroute import RoutedLLM as IndexLLM

from agentroute import ChatRequest, StepKind
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .adapters import (
    ASK,
    FAILURE,
    RESULT,
    ROLE,
    RULES,
    Arrived,
    CrewWeather,
    Watched,
    index_tool,
    langchain_tool,
    router,
)

pytestmark = pytest.mark.requires("langchain", "crewai", "llama_index")

GOAL, EXPECTED = "The right coat", "One line"


def script(request: ChatRequest) -> ScriptedReply:
    """One city after the other, then the answer."""
    asked = sum(len(message.tool_results) for message in request.messages)
    if asked == 2:
        return ScriptedReply("No coat needed.")
    return ScriptedReply(tool_calls=(tool_call("get_weather", city=("Lisbon", "Porto")[asked]),))


def langchain(on: Watched) -> str:
    agent = create_agent(RoutedChatModel(router=on), [langchain_tool()], system_prompt=RULES, name=ROLE)
    return str(agent.invoke({"messages": [HumanMessage(ASK)]})["messages"][-1].text)


def crewai(on: Watched) -> str:
    agent = Agent(role=ROLE, goal=GOAL, backstory=RULES, llm=CrewLLM(router=on), tools=[CrewWeather()])
    task = Task(description=ASK, expected_output=EXPECTED, agent=agent)
    return str(Crew(agents=[agent], tasks=[task]).kickoff())


def llama_index(on: Watched) -> str:
    async def main() -> str:
        try:
            llm = IndexLLM(router=on).for_agent(ROLE)
            agent = FunctionAgent(name=ROLE, tools=[index_tool()], llm=llm, system_prompt=RULES)
            return str(await agent.run(ASK))
        finally:
            await on.aclose()

    return asyncio.run(main())


AGENTS: tuple[Callable[[Watched], str], ...] = (langchain, crewai, llama_index)


def ran(agent: Callable[[Watched], str]) -> tuple[Watched, list[Arrived]]:
    with ScriptedProvider(script, provider="openai") as provider, router(provider) as on:
        assert agent(on) == "No coat needed."
        return on, on.arrived


def texts(one: Arrived) -> list[tuple[str, str]]:
    """Who said what, results included."""
    return [
        (message.role, message.text or "".join(result.text for result in message.tool_results))
        for message in one.request.messages
    ]


def test_the_same_steps_go_to_the_same_targets() -> None:
    found = {}
    for agent in AGENTS:
        on, arrived = ran(agent)
        assert [one.context.role for one in arrived] == [ROLE] * 3
        decisions = [on.decide(one) for one in arrived]
        found[agent.__name__] = [
            (
                decision.step_kind,
                decision.task,
                decision.reasons,
                tuple(decision.sufficiency.items()),
                tuple((one.target, one.tier, one.sufficiency) for one in decision.candidates),
                decision.dropped,
            )
            for decision in decisions
        ]
    assert [step[0] for step in found["langchain"]] == [
        StepKind.FIRST_ASK,
        StepKind.AFTER_RESULT,
        StepKind.AFTER_ERROR,
    ]
    assert [step[4][0][0] for step in found["langchain"]] == ["small", "small", "strong"]
    assert found["crewai"] == found["langchain"]
    assert found["llama_index"] == found["langchain"]


OURS = [("system", RULES), ("user", ASK), ("assistant", ""), ("tool", RESULT), ("assistant", ""), ("tool", FAILURE)]

ADDED = {
    "langchain": {},
    "llama_index": {},
    # crewai 1.15, translations/en.json: `role_playing`, `task` and `expected_output`.
    "crewai": {
        0: ("system", f"You are {ROLE}. {RULES}\nYour personal goal is: {GOAL}"),
        1: (
            "user",
            f"\nCurrent Task: {ASK}\n\nThis is the expected criteria for your final answer: {EXPECTED}\n"
            f"you MUST return the actual complete content as the final answer, not a summary.",
        ),
    },
}
"""What the model is told besides: messages by their place, as the framework has them."""


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.__name__)
def test_text_that_a_framework_adds_is_all_that_differs(agent: Callable[[Watched], str]) -> None:
    _, arrived = ran(agent)
    for length, one in zip((2, 4, 6), arrived, strict=True):
        expected = [ADDED[agent.__name__].get(place, ours) for place, ours in enumerate(OURS[:length])]
        assert texts(one) == expected
