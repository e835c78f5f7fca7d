"""Three programs as people write them: the same with the framework's own model and with a routed one, on one server."""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from crewai import LLM
from crewai_agentroute import RoutedLLM as CrewLLM
from langchain_agentroute import RoutedChatModel
from langchain_openai import ChatOpenAI
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from llama_index.llms.openai import OpenAI

from agentroute.testing import ScriptedProvider

PROGRAMS = Path(__file__).parents[2] / "examples" / "programs"
SMALL, STRONG = "gpt-4.1-nano", "gpt-4.1"

pytestmark = [
    pytest.mark.requires("langchain", "crewai", "llama_index", "langchain_openai"),
    pytest.mark.filterwarnings("ignore:The `__fields", "ignore:Accessing the 'model_", "ignore:unclosed"),
]


def program(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, PROGRAMS / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pool(kind: str, server: ScriptedProvider, ready: Callable[[str], Any]) -> dict[str, Any]:
    def wire(model: str) -> Any:
        return server.target(model=model)

    small, strong = {"wire": (wire, wire), "ready": (ready, ready), "mixed": (wire, ready)}[kind]
    return {"small": small(SMALL), "strong": strong(STRONG)}


def steps(model: Any) -> list[tuple[str | None, str]]:
    return [(step.context.role, step.step_kind.value) for step in model.router.ledger.decisions]


KINDS = ("wire", "ready", "mixed")


@pytest.mark.parametrize("kind", KINDS)
def test_a_supervisor_with_sub_agents_an_interrupt_and_checkpoints(kind: str) -> None:
    module = program("langgraph_report")
    with ScriptedProvider(module.script, provider="openai") as server:

        def ready(model: str) -> ChatOpenAI:
            return ChatOpenAI(model=model, base_url=server.base_url, api_key=server.api_key)  # type: ignore[arg-type]

        own = module.report(ready(SMALL))
        asked = len(server.requests)
        model = RoutedChatModel(targets=pool(kind, server, ready))
        assert module.report(model) == own == f"Please leave before high tide. {module.TIDE}"
        assert len(server.requests) == 2 * asked
        assert steps(model) == [
            ("supervisor", "structured"),
            ("researcher", "first_ask"),
            ("researcher", "after_error"),
            ("researcher", "after_result"),
            ("supervisor", "structured"),
            ("writer", "first_ask"),
            ("writer", "first_ask"),
        ]
        model.router.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_flow_of_two_crews_with_a_guardrail_and_a_person(kind: str) -> None:
    module = program("crewai_editors")
    with ScriptedProvider(module.script, provider="openai") as server:

        def ready(model: str) -> Any:
            return LLM(model=f"openai/{model}", base_url=server.base_url, api_key=server.api_key)

        own = module.flow(ready(SMALL), ready(SMALL), ready(SMALL)).kickoff()
        asked = len(server.requests)
        llm = CrewLLM(targets=pool(kind, server, ready))
        assert module.flow(llm.for_agent(), llm.for_agent(), llm.for_agent("judge")).kickoff() == own
        assert own == f"PRINTED: Please leave before {module.TIDE}"
        assert len(server.requests) == 2 * asked
        assert steps(llm) == [
            ("researcher", "first_ask"),
            ("researcher", "after_result"),
            ("writer", "first_ask"),
            ("writer", "after_error"),
            ("judge", "structured"),
        ]
        llm.router.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_corrective_rag_workflow_with_a_team(kind: str) -> None:
    module = program("llamaindex_corrective_rag")
    with ScriptedProvider(module.script, provider="openai") as server:

        def ready(model: str) -> OpenAI:
            return OpenAI(model=model, api_base=server.base_url, api_key=server.api_key)

        own = asyncio.run(module.main(ready(SMALL)))
        asked = len(server.requests)
        llm = IndexLLM(targets=pool(kind, server, ready))
        assert asyncio.run(module.main(llm)) == own == f"Leave before 14:10. {module.RULE}"
        assert len(server.requests) == 2 * asked
        assert steps(llm) == [
            ("grade", "first_ask"),
            ("research", "first_ask"),
            ("research", "after_error"),
            ("research", "after_result"),
            ("writer", "after_result"),
        ]
        llm.router.close()
