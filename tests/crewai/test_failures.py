"""Failures as CrewAI tells them, of tools and of answers: the step behind is one after a failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from crewai import Agent, Crew, Process, Task
from crewai.tools import tool
from crewai_agentroute import RoutedLLM
from crewai_agentroute.failures import told_of_failure
from pydantic import BaseModel, Field

from agentroute import ChatRequest, Target
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

from .crews import POOLS, made, routed, serving

pytestmark = pytest.mark.requires("crewai")

FINAL = "Thought: I now know the final answer\nFinal Answer: Done."


@tool("fetch")
def fetch(order: str) -> str:
    """Fetch an order."""
    raise RuntimeError("disk on fire")


class ByText(RoutedLLM):
    """One whose agents write their calls as text."""

    def supports_function_calling(self) -> bool:
        return False


class Count(BaseModel):
    n: int = Field(le=10)


def crew(llm: RoutedLLM, **task: Any) -> Crew:
    agent = Agent(role="Clerk", goal="orders", backstory="a clerk", llm=llm, tools=[fetch])
    return Crew(agents=[agent], tasks=[Task(description="Fetch it.", expected_output="t", agent=agent, **task)])


def kinds(llm: Any) -> list[str]:
    return [decision.step_kind.value for decision in llm.router.ledger.decisions]


def first_then(first: str, then: str = FINAL) -> Callable[[ChatRequest], str]:
    replies: Iterator[str] = iter((first,))
    return lambda request: next(replies, then)


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(
    "call",
    [tool_call("fetch", order="17"), tool_call("fetch", number=17), tool_call("burn", order="17")],
    ids=["it raises", "wrong arguments", "no such tool"],
)
def test_a_call_that_failed(kind: str, call: Any) -> None:
    def reply(request: ChatRequest) -> Any:
        asked = any(message.tool_results for message in request.messages)
        return "Done." if asked else ScriptedReply(tool_calls=(call,))

    with serving(reply) as server:
        llm = made(routed(kind, server))
        crew(llm).kickoff()
        assert kinds(llm) == ["first_ask", "after_error"]


@pytest.mark.parametrize(
    "said",
    [
        'Thought: x\nAction: fetch\nAction Input: {"order": "17"}',
        'Thought: x\nAction: burn\nAction Input: {"order": "17"}',
        'Thought: x\nAction: fetch\nAction Input: {"ord',
    ],
    ids=["it raises", "no such tool", "half the arguments"],
)
def test_a_call_that_stands_as_text_and_failed(said: str) -> None:
    with serving(first_then(said)) as server:
        llm = made(ByText(targets=[server.target(model="gpt-4.1")]))
        crew(llm).kickoff()
        assert kinds(llm) == ["first_ask", "after_error"]


def test_a_sound_observation_is_no_failure() -> None:
    said = 'Thought: x\nAction: fetch\nAction Input: {}\nObservation: The file says "Error executing tool".'
    assert not told_of_failure([{"role": "user", "content": "Fetch it."}, {"role": "assistant", "content": said}])


def test_a_guardrail_s_refusal_counts() -> None:
    polite: Any = lambda output: ("please" in output.raw, output if "please" in output.raw else "say please")  # noqa: E731
    with serving(first_then("Now.", "Now, please.")) as server:
        llm = made(RoutedLLM(targets=[server.target(model="gpt-4.1")]))
        crew(llm, guardrail=polite).kickoff()
        assert kinds(llm) == ["first_ask", "after_error"]


@pytest.mark.parametrize("kind", POOLS)
def test_an_answer_that_does_not_have_its_form_counts(kind: str) -> None:
    with serving(first_then('{"n": 99}', '{"n": 5}')) as server:
        llm = made(routed(kind, server))
        with pytest.raises(ValueError, match="less than or equal"):
            llm.call("How many?", response_model=Count)
        assert llm.call("How many?", response_model=Count) == Count(n=5)
        assert llm.call("How many?", response_model=Count) == Count(n=5)
        reasons = ["; ".join(decision.reasons) for decision in llm.router.ledger.decisions]  # type: ignore[attr-defined]
        assert ["latest call or answer failed" in reason for reason in reasons] == [False, True, False]


def test_anthropic_is_told_that_a_tool_failed() -> None:
    def reply(request: ChatRequest) -> Any:
        asked = any(message.tool_results for message in request.messages)
        return "Done." if asked else ScriptedReply(tool_calls=(tool_call("fetch", order="17"),))

    with ScriptedProvider(reply) as server:
        claude = Target(
            provider="anthropic",
            model="claude-opus-5",
            base_url=server.base_url,
            api_key=server.api_key,
            tier="premium",
        )
        crew(made(RoutedLLM(targets=[claude]))).kickoff()
        (result,) = (
            block
            for message in server.requests[-1].body["messages"]
            for block in message["content"]
            if isinstance(block, dict) and block["type"] == "tool_result"
        )
        assert result["is_error"] is True


def test_a_manager_of_one_s_own_is_a_manager() -> None:
    with serving("Done.") as server:
        llm = made(RoutedLLM(targets=[server.target(model="gpt-4.1")]))
        writer = Agent(role="Writer", goal="g", backstory="b", llm=llm.for_agent())
        boss = Agent(role="Boss", goal="g", backstory="b", llm=llm.for_agent())
        task = Task(description="Write.", expected_output="t")
        Crew(agents=[writer], tasks=[task], process=Process.hierarchical, manager_agent=boss).kickoff()
        (step,) = llm.router.ledger.decisions  # type: ignore[attr-defined]
        assert (step.context.role, step.context.node, step.step_kind.value) == ("Boss", "manager", "delegate")
