"""CrewAI's guardrails as outcomes: of the step that gave the answer, a model's opinion as that of a judge."""

from __future__ import annotations

from typing import Any

import pytest
from crewai import Crew
from crewai.events.event_bus import crewai_event_bus
from crewai_agentroute import RoutedLLM

from agentroute import Router
from agentroute.ledger import MemoryLedger
from agentroute.messages import ChatRequest
from agentroute.testing import ScriptedProvider

from .crews import agent, made, serving, task


def polite(output):  # type: ignore[no-untyped-def]  # CrewAI reads the annotation, and not as a text
    return "please" in output.raw, output if "please" in output.raw else "say please"


def answers(*texts: str) -> Any:
    left = list(texts)
    return lambda request: left.pop(0) if len(left) > 1 else left[0]


def run(provider: ScriptedProvider, checks: dict[str, Any] | None, guardrail: Any) -> list[tuple[Any, ...]]:
    router = Router([provider.target(model="gpt-4.1")], checks=checks)
    llm = made(RoutedLLM(router=router))
    who = agent("Writer", llm)
    Crew(agents=[who], tasks=[task("Write.", who, guardrail=guardrail)]).kickoff()
    crewai_event_bus.flush()
    ledger = router.ledger
    assert isinstance(ledger, MemoryLedger)
    ids = [decision.id for decision in ledger.decisions]
    return [
        (ids.index(label.decision_id or ""), label.ok, label.source, label.name)
        for label in sorted(ledger.labels, key=lambda label: label.at)
    ]


def test_a_guardrail_in_code_is_a_check_of_the_step_that_answered() -> None:
    with serving(answers("Now.", "Now, please.")) as provider:
        found = run(provider, {"guardrails": True}, polite)
    assert found == [(0, False, "check", "guardrail:polite"), (1, True, "check", "guardrail:polite")]


@pytest.mark.parametrize("checks", [None, {"tests": True}])
def test_nothing_is_noted_unless_asked_for(checks: Any) -> None:
    with serving(answers("Now, please.")) as provider:
        assert run(provider, checks, polite) == []


def test_a_guardrail_in_words_is_a_judge() -> None:
    def reply(request: ChatRequest) -> Any:
        if request.response_schema is not None or any("uardrail" in message.text for message in request.messages):
            return '{"valid": true, "feedback": null}'
        return "Now, please."

    with serving(reply) as provider:
        found = run(provider, {"guardrails": True}, "It must be polite.")
    assert [(ok, source) for _, ok, source, _ in found] == [(True, "judge")]
    assert found[0][0] == 0, "of the writer's step, not of the judge's own"
