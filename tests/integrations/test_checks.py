"""Checks in the three frameworks: structured answers that do not fit, and what a person edits or rejects."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from crewai_agentroute import RoutedLLM as CrewLLM
from langchain_agentroute import RoutedChatModel, decision_of
from llama_index.core.evaluation import EvaluationResult
from llama_index.core.prompts import PromptTemplate
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from llama_index.llms.agentroute import decision_of as index_decision_of
from pydantic import BaseModel, Field

from agentroute import Router
from agentroute.ledger import MemoryLedger
from agentroute.messages import ChatRequest
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

pytestmark = pytest.mark.requires("langchain", "crewai", "llama_index")


class Count(BaseModel):
    """How many."""

    n: int = Field(le=10)


def answers(*numbers: int) -> Callable[[ChatRequest], ScriptedReply]:
    """In whatever form is asked for, one number after the other."""
    left = list(numbers)

    def reply(request: ChatRequest) -> ScriptedReply:
        number = left.pop(0) if len(left) > 1 else left[0]
        if request.tools:
            return ScriptedReply(tool_calls=(tool_call(request.tools[0].name, n=number),))
        return ScriptedReply(f'{{"n": {number}}}')

    return reply


def lc(method: str) -> Callable[[Router], Any]:
    return lambda router: (
        RoutedChatModel(router=router).with_structured_output(Count, method=method).invoke("How many?")
    )  # type: ignore[arg-type]


def lc_async(router: Router) -> Any:
    return asyncio.run(RoutedChatModel(router=router).with_structured_output(Count).ainvoke("How many?"))


def crew(router: Router) -> Any:
    return CrewLLM(router=router).call("How many?", response_model=Count)


def crew_async(router: Router) -> Any:
    return asyncio.run(CrewLLM(router=router).acall("How many?", response_model=Count))


def index(router: Router) -> Any:
    return IndexLLM(router=router).structured_predict(Count, PromptTemplate("How many?"))


def index_async(router: Router) -> Any:
    return asyncio.run(IndexLLM(router=router).astructured_predict(Count, PromptTemplate("How many?")))


WAYS = [lc("json_schema"), lc("function_calling"), lc_async, crew, crew_async, index, index_async]


def labels(router: Router) -> list[tuple[Any, ...]]:
    ledger = router.ledger
    assert isinstance(ledger, MemoryLedger)
    return [(label.name, label.ok, label.source) for label in ledger.labels]


@pytest.mark.parametrize("way", WAYS, ids="lc-json lc-tool lc-async crew crew-async index index-async".split())
def test_a_structured_answer_that_does_not_fit_is_an_outcome_everywhere(way: Callable[[Router], Any]) -> None:
    with (
        ScriptedProvider(answers(99, 5), provider="openai") as provider,
        Router([provider.target(model="gpt-4.1", tier="mid")], checks={"structured": True}) as router,
    ):
        with pytest.raises(Exception, match=r"(?i)less than or equal|tool|valid"):
            way(router)
        assert way(router) == Count(n=5)
        assert labels(router) == [("structured", False, "check"), ("structured", True, "check")]


@pytest.mark.parametrize("decision", ["approve", "edit", "reject"])
def test_what_a_person_decides_at_an_interrupt_is_an_outcome(decision: str) -> None:
    from langchain.agents import create_agent
    from langchain.agents.middleware import HumanInTheLoopMiddleware
    from langchain_core.tools import tool
    from langgraph.checkpoint.memory import InMemorySaver
    from langgraph.types import Command

    @tool
    def send(to: str) -> str:
        """Send a mail."""
        return "sent"

    def script(request: ChatRequest) -> ScriptedReply:
        done = any(message.role == "tool" for message in request.messages)
        return ScriptedReply("done") if done else ScriptedReply(tool_calls=(tool_call("send", to="a@x"),))

    with (
        ScriptedProvider(script, provider="openai") as provider,
        Router([provider.target(model="gpt-4.1", tier="mid")], checks={"person": ["send"]}) as router,
    ):
        agent = create_agent(
            RoutedChatModel(router=router),
            tools=[send],
            middleware=[HumanInTheLoopMiddleware(interrupt_on={"send": True})],
            checkpointer=InMemorySaver(),
        )
        thread: Any = {"configurable": {"thread_id": "t"}}
        agent.invoke({"messages": [("user", "mail it")]}, thread)
        said: dict[str, Any] = {"type": decision}
        if decision == "edit":
            said["edited_action"] = {"name": "send", "args": {"to": "b@x"}}
        agent.invoke(Command(resume={"decisions": [said]}), thread)
        assert labels(router) == [("person:send", decision == "approve", "person")]


def test_what_an_evaluator_says_is_one_line() -> None:
    """docs/outcomes.md, In the frameworks: LlamaIndex's evaluators ask a model, so they are judges."""
    with (
        ScriptedProvider("42", provider="openai") as provider,
        Router([provider.target(model="gpt-4.1", tier="mid")]) as router,
    ):
        answer = IndexLLM(router=router).complete("6 * 7?")
        result = EvaluationResult(passing=True, score=1.0)
        router.outcome(index_decision_of(answer), ok=result.passing, score=result.score, source="judge")
        message = RoutedChatModel(router=router).invoke("6 * 7?")
        router.outcome(decision_of(message), ok=message.text == "42")
        llm = CrewLLM(router=router)
        llm.call("6 * 7?")
        router.outcome(llm.last_decision, ok=True, source="person")
        assert [source for _, _, source in labels(router)] == ["judge", "check", "person"]
