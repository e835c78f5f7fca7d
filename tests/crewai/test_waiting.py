"""Flows that wait for a person: CrewAI writes the LLM down as a config, and makes one of it when the answer comes."""

from __future__ import annotations

import asyncio
import gc
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from crewai import LLM
from crewai.flow.async_feedback.types import HumanFeedbackPending
from crewai.flow.flow import Flow, listen, start
from crewai.flow.human_feedback import human_feedback
from crewai.flow.persistence import SQLiteFlowPersistence
from crewai_agentroute import RoutedLLM

from agentroute import ChatRequest, ConfigError
from agentroute.testing import ScriptedProvider

from .crews import made, pool, ready, serving

pytestmark = pytest.mark.requires("crewai")


def outcome(request: ChatRequest) -> str:
    return '{"outcome": "approved"}' if request.response_schema is not None else "approved"


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with serving(outcome) as server:
        yield server


class Later:
    def request_feedback(self, context: Any, flow: Any) -> str:
        raise HumanFeedbackPending(context=context, callback_info={})


def review(llm: RoutedLLM) -> type[Flow[Any]]:
    """A flow that writes a text and asks a person, who answers later."""

    class Review(Flow[dict[str, Any]]):
        @human_feedback(message="Fine?", emit=["approved", "rejected"], llm=llm, provider=Later())
        @start()
        def draft(self) -> str:
            return "A text."

        @listen("approved")
        def publish(self) -> str:
            return "published"

    return Review


def elsewhere(config: dict[str, Any]) -> RoutedLLM:
    """The LLM as another process makes it: there the router is unknown."""
    config = json.loads(json.dumps(config))
    config["router"]["id"] = "of another process"
    found: Any = LLM(**config)
    assert isinstance(found, RoutedLLM)
    return found


@pytest.mark.parametrize("kind", ["wire", "native", "mixed"])
def test_a_flow_is_resumed(provider: ScriptedProvider, tmp_path: Path, kind: str) -> None:
    wire, own = provider.target(model="gpt-4.1"), ready(provider)
    llm = made(RoutedLLM(targets={"wire": [wire], "native": [own], "mixed": [wire, own]}[kind]))

    store = SQLiteFlowPersistence(str(tmp_path / "flow.db"))
    flow = review(llm)(persistence=store)
    flow.kickoff()
    assert type(flow).from_pending(flow.flow_id, store).resume("Great.") == "published"
    assert len(llm.router.ledger.decisions) == 1  # type: ignore[attr-defined]


def test_the_same_router_and_settings_come_back(provider: ScriptedProvider) -> None:
    llm = made(RoutedLLM(targets=[provider.target(model="gpt-4.1")], temperature=0.5, max_tokens=50))
    reviewer = llm.for_agent("reviewer", max_tier="premium")
    found: Any = LLM(**json.loads(json.dumps(reviewer.to_config_dict())))
    assert found.router is llm.router
    assert (found.role, found.constraints) == ("reviewer", {"max_tier": "premium"})
    assert (found.temperature, found.max_tokens) == (0.5, 50)
    assert found.call("Hello.") == "approved"


def test_another_process_makes_the_router_anew(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", provider.api_key)
    target = provider.target(model="gpt-4.1", name="large")
    llm = made(RoutedLLM(targets=[target], temperature=0.5))
    config = llm.to_config_dict()
    assert provider.api_key not in json.dumps(config)
    found = made(elsewhere(config))
    assert found.router is not llm.router
    assert [each.name for each in found.router.pool] == ["large"]


def test_another_process_does_not_have_a_ready_llm(provider: ScriptedProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    llm = made(RoutedLLM(targets=[ready(provider)]))
    with pytest.raises(ConfigError, match="with the same router_name"):
        elsewhere(llm.to_config_dict()).call("Hello.")


@pytest.mark.parametrize("kind", ["wire", "native", "mixed"])
def test_another_process_finds_the_router_by_its_name(provider: ScriptedProvider, kind: str) -> None:
    there = made(RoutedLLM(targets=pool(kind, provider), router_name="reviews"))
    config = there.for_agent("reviewer").to_config_dict()
    here = made(RoutedLLM(targets=pool(kind, provider), router_name="reviews"))
    found = elsewhere(config)
    assert found.router is here.router
    assert (found.role, found.call("Hello.")) == ("reviewer", "approved")


def test_a_router_that_is_gone_is_not_found(provider: ScriptedProvider) -> None:
    there = RoutedLLM(targets=[provider.target(model="gpt-4.1")], router_name="gone")
    config = there.to_config_dict()
    there.router.close()
    del there
    gc.collect()
    with pytest.raises(ConfigError, match="literal"):
        elsewhere(config).call("Hello.")


@pytest.mark.parametrize("asynchronous", [False, True], ids=["resume", "resume_async"])
async def test_a_flow_of_another_process_is_resumed(
    provider: ScriptedProvider, tmp_path: Path, asynchronous: bool
) -> None:
    """The class that waits has one LLM, the class that goes on another, of the same name."""
    there, here = (
        made(RoutedLLM(targets=pool("mixed", provider), router_name=name)) for name in ("elsewhere", "reviews")
    )
    there._shared._name = "reviews"
    there._shared._id = "of another process"
    store = SQLiteFlowPersistence(str(tmp_path / "flow.db"))
    flow = review(there)(persistence=store)
    await asyncio.to_thread(flow.kickoff)
    waiting = review(here).from_pending(flow.flow_id, store)
    answer = await waiting.resume_async("Great.") if asynchronous else await asyncio.to_thread(waiting.resume, "Great.")
    assert answer == "published"
    assert [len(llm.router.ledger.decisions) for llm in (there, here)] == [0, 1]  # type: ignore[attr-defined]


def test_importing_the_package_leaves_crewai_as_it_is() -> None:
    code = "import crewai.llm as c; usual = c.LLM.__new__; import crewai_agentroute; assert c.LLM.__new__ is usual"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_other_llms_are_made_as_before() -> None:
    assert type(LLM("openai/gpt-4.1", api_key="k")).__name__ == "OpenAICompletion"
