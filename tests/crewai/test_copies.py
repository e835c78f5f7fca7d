"""Copies, pickles, and agents that were written down and come back."""

from __future__ import annotations

import copy
import json
import pickle
from decimal import Decimal
from typing import Any

import pytest
from crewai import Agent, Crew
from crewai_agentroute import RoutedLLM, route_crew

from agentroute import Capabilities, ConfigError, Price, Router, Target
from agentroute.targets import PriceStep

from .crews import POOLS, adds, agent, made, routed, serving, task, two_agents

both = pytest.mark.parametrize("kind", POOLS)


@both
@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda llm: llm.model_copy(), lambda llm: llm.for_agent("x")]
)
def test_r11_a_copy_shares_the_router_and_nothing_that_changes(kind: str, copied: Any) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider, stop=["X"], additional_params={"user": "me"})
        llm.call("hello")
        other = copied(llm)
        assert type(other) is RoutedLLM
        assert other.router is llm.router
        assert other.get_token_usage_summary().successful_requests == 0
        assert other.call("hello") == llm.call("hello")
        other.stop.append("Y")
        other.additional_params["user"] = "you"
        other.constraints["tier"] = "mid"
        assert (llm.stop, llm.additional_params, llm.constraints) == (["X"], {"user": "me"}, {})


def test_r11_a_deep_copy_of_an_agent_and_a_crew() -> None:
    with serving(adds) as provider:
        llm = routed("wire", provider)
        crew = two_agents(llm)
        route_crew(crew, llm)
        assert crew.copy().kickoff().raw == "Two and three make five."
        twin = copy.deepcopy(crew.agents[1].llm)
        assert twin.role == "Writer"
        assert twin.router is llm.router


def test_r11_a_pickle_keeps_settings_and_the_names_of_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving("hello") as provider:
        monkeypatch.setenv("SCRIPTED_KEY", provider.api_key)
        target = Target(
            name="small", provider="mine", model="m", tier="mid", base_url=provider.base_url, api_key="env:SCRIPTED_KEY"
        )
        llm = made(RoutedLLM(targets=[target], temperature=0.5)).for_agent("writer", tier="mid")
        llm.call("hello")
        pickled = pickle.dumps(llm)
        assert provider.api_key.encode() not in pickled
        back = made(pickle.loads(pickled))
        assert (back.role, back.temperature, back.constraints) == ("writer", 0.5, {"tier": "mid"})
        assert back.get_token_usage_summary().total_tokens == 0
        assert back.last_decision is None
        assert back.call("hello") == "hello"
        assert len(back.router.ledger.decisions) == 1


def test_r11_a_literal_key_does_not_travel() -> None:
    with serving("hello") as provider:
        llm = routed("wire", provider)
        pickled = pickle.dumps(llm)
        assert provider.api_key.encode() not in pickled
        with pytest.raises(ConfigError, match=r"'small'.*env:NAME"):
            pickle.loads(pickled).call("hello")
        assert not provider.requests


@pytest.mark.parametrize("kind", ["native", "mixed"])
def test_r11_a_native_llm_is_not_pickled(kind: str) -> None:
    with serving("hello") as provider, pytest.raises(ConfigError, match=r"'(strong|small)'.*cannot be pickled"):
        pickle.dumps(routed(kind, provider))


@both
def test_r11_a_written_agent_comes_back_to_its_router(kind: str) -> None:
    with serving(adds) as provider:
        llm = routed(kind, provider)
        who = agent("Writer", llm.for_agent("Writer", max_tier="mid"))
        written = json.loads(json.dumps(who.model_dump(mode="json")))
        assert provider.api_key not in json.dumps(written["llm"])
        back = Agent.model_validate(written, context={"from_checkpoint": True})
        assert type(back.llm) is RoutedLLM
        assert back.llm.router is llm.router
        assert (back.llm.role, back.llm.constraints) == ("Writer", {"max_tier": "mid"})
        assert Crew(agents=[back], tasks=[task("Write.", back)]).kickoff().raw == "Two and three make five."
        assert llm.router.ledger.decisions[-1].context.role == "Writer"


def elsewhere(written: dict[str, Any]) -> dict[str, Any]:
    """As another process would read it."""
    return {**written, "router": {**written["router"], "id": "of another process"}}


def test_r11_in_another_process_it_comes_back_to_a_router_of_the_same_targets() -> None:
    price = Price(Decimal("0.1"), Decimal("0.4"), Decimal("0.02"), steps=(PriceStep(1000, Decimal(1), Decimal(2)),))
    targets = [
        Target(
            name="a",
            provider="mine",
            model="m",
            tier="mid",
            base_url="http://127.0.0.1:1/v1",
            api_key=["env:ONE", "env:TWO"],
            price=price,
            context_window=1000,
            max_output_tokens=10,
            capabilities=Capabilities(tools=True, vision=False),
            cache_ttl_s=3.5,
            settings={"thinking": {"type": "adaptive"}},
        ),
        Target(provider="anthropic", model="claude-haiku-4-5"),
    ]
    budget = {"day": 0.1, "agent": {"writer": {"conversation": 2}}}
    router = Router(targets, strategy="cheapest", baseline="a", budget=budget)
    written = json.loads(json.dumps(RoutedLLM(router=router).model_dump()))
    back = RoutedLLM(**elsewhere(written))
    assert back.router is not router
    assert list(back.router.pool) == list(router.pool)
    assert (back.router.strategy, back.router.baseline.name) == ("cheapest", "a")
    assert back.router.budget == router.budget


def test_r11_what_cannot_come_back_says_what_to_do() -> None:
    with serving("hello") as provider:
        literal = RoutedLLM(**elsewhere(routed("wire", provider).model_dump()))
        with pytest.raises(ConfigError, match=r"'small'.*env:NAME"):
            literal.call("hello")
        mixed = RoutedLLM(**elsewhere(routed("mixed", provider).model_dump()))
        with pytest.raises(ConfigError, match=r"'strong' was not written down.*route_crew"):
            mixed.call("hello")
        who = agent("Writer", mixed)
        crew = Crew(agents=[who], tasks=[task("Write.", who)])
        route_crew(crew, routed("wire", provider))
        assert crew.kickoff().raw == "hello"
