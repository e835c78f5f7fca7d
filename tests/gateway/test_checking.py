"""What an operator has set is held against the pool before a client meets it."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import ConfigError, Router, Target, Tier
from agentroute.gateway import ClientKey, GatewaySettings, create_app
from agentroute.gateway.checking import check, doubts
from agentroute.gateway.settings import hash_key

HASH = hash_key("ar-test")


def pool(**more: Any) -> Router:
    return Router([Target(name="small", provider="openai", model="gpt-6-luna", tier="mid", api_key="k", **more)])


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keys": (ClientKey("alice", HASH, providers=("opneai",)),)}, "did you mean 'openai'"),
        ({"keys": (ClientKey("alice", HASH, providers=("zzz",)),)}, "no provider is named 'zzz'; known are"),
        ({"models": {"gpt-4o": "smal"}}, "'gpt-4o' stands for 'smal': no target is named 'smal'"),
        ({"models": {"*": "auto:chepest"}}, "did you mean 'auto:cheapest'"),
        ({"models": {"x": "tier:hgue"}}, "known are tier:budget, tier:mid"),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_name_that_nothing_has_is_refused_at_the_start(settings: Any, told: str) -> None:
    with pool() as router:
        with pytest.raises(ConfigError, match=told):
            check(GatewaySettings(**settings), router)
        with pytest.raises(ConfigError, match=told):
            create_app(router, GatewaySettings(**settings))


@pytest.mark.parametrize("meant", ["auto", "auto:best", "tier:mid", "small", "gpt-6-luna", ""])
def test_a_name_that_something_has_is_none_of_its_business(meant: str) -> None:
    keys = (ClientKey("alice", HASH, providers=("openai", "anthropic")),)
    with pool() as router:
        check(GatewaySettings(models={"x": meant}, keys=keys), router)


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"keys": (ClientKey("alice", HASH, max_tier=Tier.BUDGET),)}, "no target of the pool is within the bounds"),
        ({"keys": (ClientKey("alice", HASH, providers=("anthropic",)),)}, "'alice'"),
    ],
    ids=["tier", "provider"],
)
def test_a_key_that_can_call_nothing_is_doubted(settings: Any, told: str) -> None:
    with pool() as router:
        (doubt,) = doubts(GatewaySettings(**settings), router)
        assert told in doubt
        assert not list(doubts(GatewaySettings(keys=(ClientKey("bob", HASH),)), router))


def test_keys_of_clients_and_an_address_of_ones_own_are_doubted() -> None:
    with pool(base_url="https://proxy.example.com/v1") as router:
        (doubt,) = doubts(GatewaySettings(own_keys=True), router)
        assert "another address" in doubt
    with pool() as router:
        assert not list(doubts(GatewaySettings(own_keys=True), router))


@pytest.mark.parametrize(
    ("facts", "told"),
    [
        ({"strategies": ("chepest",)}, "did you mean 'cheapest'"),
        ({"max_tier": "huge"}, "'huge' is no tier"),
        ({"rate_per_minute": 0}, "rate_per_minute is 0"),
        ({"concurrency": -1}, "concurrency is -1"),
        ({"concurrency": True}, "concurrency is True"),
        ({"sha256": "ar-the-key-itself"}, "--new-key"),
    ],
    ids=str,
)
def test_a_key_s_bounds_are_checked(facts: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as refused:
        ClientKey(**{"name": "alice", "sha256": HASH, **facts})
    assert "ar-the-key-itself" not in str(refused.value)


@pytest.mark.parametrize(
    "facts", [{"max_body": 0}, {"max_headers": -1}, {"body_s": 0.0}, {"hold_s": float("inf")}, {"max_depth": 1.5}]
)
def test_a_number_that_is_none_is_named(facts: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"{next(iter(facts))} is .*; give a .*number above 0"):
        GatewaySettings(**facts)
