"""LangChain's standard settings of a chat model, as they hold for a pool: timeout, max_retries, api_key."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, RoutingMiddleware, decision_of

from agentroute import AllAttemptsFailed, ConfigError, Overloaded, ProviderTimeout, Router, Target
from agentroute.testing import Fault, ScriptedProvider

from .pools import POOLS, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai")


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(("retries", "asked"), [(0, 1), (1, 2), (None, 4)])
def test_max_retries_bounds_the_further_attempts_at_any_target(kind: str, retries: int | None, asked: int) -> None:
    with ScriptedProvider("hi", provider="openai", fault=Fault.error(503)) as provider:
        model = RoutedChatModel(targets=pool(kind, provider), max_retries=retries)
        with pytest.raises((AllAttemptsFailed, Overloaded)):
            model.invoke("hello")
        model.router.close()
        assert len(provider.requests) == len(model.router.ledger.decisions[-1].attempts)  # type: ignore[attr-defined]
        assert len(provider.requests) == asked or (retries is None and len(provider.requests) >= 2)


@pytest.mark.parametrize("kind", POOLS)
async def test_timeout_bounds_the_whole_call(kind: str) -> None:
    with ScriptedProvider("hi", provider="openai", fault=Fault.stall()) as provider:
        model = RoutedChatModel(targets=pool(kind, provider), timeout=0.3)
        with pytest.raises((ProviderTimeout, AllAttemptsFailed)):
            await model.ainvoke("hello")
        await model.router.aclose()


def test_what_one_call_says_is_over_what_the_model_says() -> None:
    with ScriptedProvider("hi", provider="openai") as provider:
        model = RoutedChatModel(targets=pool("wire", provider), timeout=5, max_retries=3)
        config: Any = {"configurable": {"agentroute": {"target": "strong"}}}
        assert model.constraints() == {"deadline_s": 5, "max_attempts": 4}
        decision = decision_of(model.invoke("hello", config))
        assert decision is not None
        assert decision.target == "strong"
        model.router.close()


@pytest.mark.parametrize(
    ("wrong", "names"), [({"timeout": 0}, "deadline_s is 0"), ({"max_retries": -2}, "max_attempts is -1")]
)
def test_a_wrong_one_is_named(wrong: dict[str, Any], names: str) -> None:
    for made in (RoutedChatModel, RoutingMiddleware):
        with pytest.raises(ConfigError, match=names):
            made(targets=["openai/gpt-4.1-nano"], **wrong)


def keys_of(router: Router) -> list[str | None]:
    return [None if target.api_key is None else target.api_key.reveal() for target in router.pool]


def test_api_key_goes_to_targets_of_ours_without_one_and_to_one_provider_only(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENAI_API_KEY", "ANTHROPIC_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    bare = Target(name="bare", provider="openai", model="gpt-4.1-nano")
    own = Target(name="own", provider="anthropic", model="claude-opus-4-6", api_key="env:OWN")
    monkeypatch.setenv("OWN", "sk-own")
    made = RoutedChatModel(targets=[bare, own], api_key="sk-given")
    assert keys_of(made.router) == ["sk-given", "sk-own"]
    assert "sk-given" not in repr(made)
    assert (
        keys_of(RoutedChatModel(targets={"budget": bare, "premium": own}, api_key="sk-given").router)[0] == "sk-given"
    )
    other = Target(name="other", provider="anthropic", model="claude-opus-4-6")
    with pytest.raises(ConfigError, match="`api_key` would go to anthropic and openai"):
        RoutedChatModel(targets=[bare, other], api_key="sk-given")
