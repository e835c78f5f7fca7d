"""What a RoutedChatModel can be made of, and what it says about its pool."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, native
from langchain_core.language_models import GenericFakeChatModel
from langchain_openai import ChatOpenAI

from agentroute import Capabilities, ConfigError, Price, Target, Tier
from agentroute.native.targets import read_targets, wrapped

pytestmark = pytest.mark.requires("langchain", "langchain_openai")


def chat(model: str = "gpt-4.1", **settings: Any) -> ChatOpenAI:
    return ChatOpenAI(model=model, api_key="sk-test", **settings)


def fake() -> GenericFakeChatModel:
    return GenericFakeChatModel(messages=iter(()))


def test_the_catalog_knows_a_ready_model() -> None:
    ready, ours = RoutedChatModel(
        targets=[chat("gpt-4.1-nano"), Target(provider="openai", model="gpt-4.1")]
    ).router.pool
    assert (ready.name, ready.provider, ready.model) == ("gpt-4.1-nano", "openai", "gpt-4.1-nano")
    assert ready.dialect == "native"
    assert ready.tier is not None
    assert ready.price is not None
    assert ours.dialect == "openai_chat"


def test_name_tier_and_price_of_ones_own() -> None:
    price = Price(1, 2)
    (target,), models = read_targets([native(fake(), name="mine", tier="mid", price=price)])
    assert (target.name, target.tier, target.price) == ("mine", Tier.MID, price)
    assert list(models) == ["mine"]


def test_a_key_is_the_name_and_may_be_the_tier() -> None:
    ours = Target(provider="x", model="y")
    given = {"budget": fake(), "mine": native(fake(), tier="mid"), "premium": ours}
    targets, models = read_targets(wrapped(given, native))
    assert [(t.name, t.tier) for t in targets] == [
        ("budget", Tier.BUDGET),
        ("mine", Tier.MID),
        ("premium", Tier.PREMIUM),
    ]
    assert list(models) == ["budget", "mine"]


@pytest.mark.parametrize(
    ("targets", "message"),
    [
        ([fake()], "tier="),
        ({"budget": native(fake(), tier="premium")}, "one tier and its target another"),
        ([chat(), chat()], "two targets are named"),
        ([chat().bind(seed=1)], "target_kwargs"),
        (["gpt-4.1"], "provider/model"),
        ([3], "chat model"),
        ("gpt-4.1", "list"),
        (3, "list"),
        ([], "empty"),
        ([Target(provider="x", model="y", dialect="native")], "native"),
    ],
)
def test_what_is_no_pool_is_named(targets: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        RoutedChatModel(targets=targets)


def test_retries_are_the_chains_alone() -> None:
    given = chat(max_retries=5)
    made: Any = native(given).model
    assert made.max_retries == 0
    assert made.root_client.max_retries == made.root_async_client.max_retries == 0
    assert made.client._client.max_retries == made.async_client._client.max_retries == 0
    assert given.max_retries == given.root_client.max_retries == 5


def test_the_profile_holds_for_every_target() -> None:
    mixed = RoutedChatModel(
        targets=[
            chat(),
            Target(
                provider="x",
                model="y",
                tier="budget",
                context_window=9_000,
                capabilities=Capabilities(tools=True, structured_output=False),
            ),
        ]
    )
    profile = mixed.profile
    assert profile is not None
    assert profile["max_input_tokens"] == 9_000
    assert profile["tool_calling"] is True
    assert profile["structured_output"] is False
    assert "image_inputs" not in profile
    told = RoutedChatModel(router=mixed.router, profile={"tool_calling": False})
    assert told.profile == {"tool_calling": False}


def test_limits_that_a_ready_model_does_not_know_come_from_the_catalog() -> None:
    """An integration older than the provider's model has no profile of it; what it can do stays unknown."""
    silent, told = chat(profile={}), chat(profile={"max_input_tokens": 5})
    profile: Any = RoutedChatModel(targets=[silent]).profile
    assert profile["max_input_tokens"] > 100_000
    assert not {"tool_calling", "structured_output"} & set(profile)
    assert RoutedChatModel(targets=[told]).profile["max_input_tokens"] == 5  # type: ignore[index]


def test_traces_see_no_models_name_on_the_wrapper() -> None:
    model = RoutedChatModel(targets=[chat()])
    assert model._get_ls_params()["ls_provider"] == "agentroute"
    assert not hasattr(model, "model_name")
    assert "sk-test" not in repr(model)
