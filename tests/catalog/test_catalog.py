"""The catalog: every row has its source, what the user set wins, and what nobody knows stays unknown."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

import pytest

from agentroute import Capabilities, ConfigError, Price, Target, Tier
from agentroute.catalog import (
    ModelFacts,
    build_pool,
    default_models,
    facts,
    iter_models,
    price_of,
    resolve,
    tier_of_output_price,
    why_no_price,
)
from agentroute.providers import PROVIDERS
from agentroute.targets import ABILITIES
from agentroute.targets.model_rules import ModelRules

THEN = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOSTED = [row for row in facts() if not (row.provider in PROVIDERS and PROVIDERS[row.provider].local)]
LOCAL = [row for row in facts() if row not in HOSTED]


def label(row: ModelFacts) -> str:
    return f"{row.provider}/{row.model}"


class TestRows:
    @pytest.mark.parametrize("row", facts(), ids=label)
    def test_has_source_and_date(self, row: ModelFacts) -> None:
        assert len(row.source) > 10
        assert date(2026, 1, 1) <= date.fromisoformat(row.date) <= date(2100, 1, 1)

    def test_a_row_without_source_or_date_does_not_load(self) -> None:
        from agentroute.catalog import _row

        entry = {"provider": "p", "model": "m", "tier": "mid", "source": "a page", "date": "2026-11-24"}
        assert _row(entry).tier is Tier.MID
        for missing in ("source", "date", "tier"):
            with pytest.raises((TypeError, KeyError), match=missing):
                _row({key: value for key, value in entry.items() if key != missing})

    def test_a_cache_life_has_source_and_date(self) -> None:
        data = json.loads(files("agentroute.catalog").joinpath("models.json").read_text(encoding="utf-8"))
        for entry in data["cache_ttl"]:
            assert entry["source"].startswith("https://")
            assert date.fromisoformat(entry["date"])
            assert entry["cache_ttl_s"] > 0

    def test_there_are_enough_of_them(self) -> None:
        assert len(facts()) >= 55
        providers = {row.provider for row in facts()}
        assert providers >= {"openai", "anthropic", "google", "deepseek", "mistral", "xai", "ollama", "llamacpp"}
        assert {row.tier for row in facts()} == set(Tier)

    def test_none_is_there_twice(self) -> None:
        twice = [name for name, count in Counter(label(row).lower() for row in facts()).items() if count > 1]
        assert twice == []

    @pytest.mark.parametrize("row", HOSTED, ids=label)
    def test_a_hosted_model_has_a_price_a_window_and_its_band_or_a_reason(self, row: ModelFacts) -> None:
        found = resolve(Target(provider=row.provider, model=row.model), timestamp=THEN)
        assert found.price is not None
        assert found.price.output > 0
        assert found.context_window is not None
        band = tier_of_output_price(found.price.output)
        if row.call is None:
            assert row.tier is band
        else:
            assert row.call
            assert row.tier is not band, "the call is needless: the band says the same"

    @pytest.mark.parametrize("row", LOCAL, ids=label)
    def test_a_local_model_costs_nothing_and_its_tier_is_a_call(self, row: ModelFacts) -> None:
        found = resolve(Target(provider=row.provider, model=row.model))
        assert found.price == Price(Decimal(0), Decimal(0), source="runs locally")
        assert row.call
        assert found.tier is row.tier
        assert not found.tier_inferred

    def test_defaults_are_one_for_each_tier_at_most(self) -> None:
        chosen = Counter((row.provider, row.tier) for row in facts() if row.default)
        assert set(chosen.values()) == {1}
        assert {provider for provider, _ in chosen} <= {name for name, known in PROVIDERS.items() if known.key_names}

    def test_every_provider_of_a_row_can_be_called(self) -> None:
        assert {row.provider for row in facts()} <= set(PROVIDERS)

    @pytest.mark.requires("langchain_openai")
    def test_openai_rows_say_what_their_source_says(self) -> None:
        from langchain_openai.data._profiles import _PROFILES

        checked = 0
        for row in facts():
            if row.provider == "openai" and "langchain-openai" in row.source:
                profile, abilities = _PROFILES[row.model], row.capabilities
                assert (abilities.tools, abilities.vision) == (profile["tool_calling"], profile["image_inputs"])
                assert abilities.structured_output == profile.get("structured_output")
                assert abilities.reasoning == profile["reasoning_output"]
                assert abilities.documents == profile.get("pdf_inputs")
                assert abilities.audio == profile.get("audio_inputs")
                assert row.max_output_tokens == profile["max_output_tokens"]
                checked += 1
        assert checked >= 25


class TestBands:
    @pytest.mark.parametrize(
        ("output", "tier"),
        [
            ("0", Tier.BUDGET),
            ("1.4999", Tier.BUDGET),
            ("1.5", Tier.MID),
            ("5.9999", Tier.MID),
            ("6", Tier.STANDARD),
            ("19.9999", Tier.STANDARD),
            ("20", Tier.PREMIUM),
            ("180", Tier.PREMIUM),
        ],
    )
    def test_edges(self, output: str, tier: Tier) -> None:
        assert tier_of_output_price(Decimal(output)) is tier

    @pytest.mark.parametrize(
        "ladder",
        [
            ("openai", "gpt-4.1-nano", "gpt-4.1-mini", "gpt-4.1", None),
            ("openai", "gpt-5-nano", "gpt-5-mini", "gpt-5", "gpt-5-pro"),
            ("openai", "gpt-5.4-nano", "gpt-5.4-mini", "gpt-5.4", "gpt-5.4-pro"),
            ("openai", "gpt-6-luna", "gpt-6.1-terra", "gpt-6.1-sol", "gpt-6-astra"),
            ("anthropic", None, "claude-haiku-4-5", "claude-sonnet-4-5", "claude-opus-4-5"),
            ("google", "gemini-2.5-flash-lite", "gemini-2.5-flash", "gemini-2.5-pro", None),
        ],
    )
    def test_each_rung_of_a_vendors_own_ladder_has_its_tier(self, ladder: tuple[str, ...]) -> None:
        provider, *rungs = ladder
        for tier, model in zip(Tier, rungs, strict=True):
            if model is not None:
                price = price_of(provider, model, THEN)
                assert price is not None
                assert tier_of_output_price(price.output) is tier, model


class TestResolve:
    def test_fills_in_what_is_left_out(self) -> None:
        found = resolve(Target(provider="openai", model="gpt-6-luna"), timestamp=THEN)
        assert (found.tier, found.tier_inferred) == (Tier.BUDGET, False)
        assert found.price is not None
        assert (found.price.input, found.price.output) == (Decimal("0.1"), Decimal("0.5"))
        assert (found.context_window, found.max_output_tokens, found.cache_ttl_s) == (1_050_000, 128_000, 1800)
        assert found.capabilities == Capabilities(True, True, True, True, documents=True, audio=False)

    def test_what_the_user_set_wins_each_alone(self) -> None:
        plain = resolve(Target(provider="openai", model="gpt-6-luna"), timestamp=THEN)
        own: dict[str, Any] = {
            "tier": Tier.PREMIUM,
            "price": Price(Decimal(7), Decimal(7)),
            "context_window": 9,
            "max_input_tokens": 8,
            "max_output_tokens": 8,
            "cache_ttl_s": 0.0,
            "capabilities": Capabilities(vision=False),
            "name": "mine",
            "base_url": "https://example.org/v1",
            "api_key": "env:NOT_READ",
            "dialect": "native",
        }
        for name, value in own.items():
            found = resolve(Target(provider="openai", model="gpt-6-luna", **{name: value}), timestamp=THEN)
            if name == "capabilities":
                assert found.capabilities == replace(plain.capabilities, vision=False)
            elif name != "api_key":
                assert getattr(found, name) == value
            for other in fields(Target):
                if other.name not in (name, "api_key", "endpoint", "usual_keys", "dialect_given", "rules"):
                    assert getattr(found, other.name) == getattr(plain, other.name), (name, other.name)

    def test_everything_given_is_everything_kept(self) -> None:
        whole = Target(
            provider="openai",
            model="gpt-6-luna",
            tier="mid",
            price=Price(Decimal(7), Decimal(7)),
            context_window=9,
            max_input_tokens=8,
            max_output_tokens=8,
            cache_ttl_s=7,
            capabilities=Capabilities(*[False] * len(ABILITIES)),
            rules=ModelRules(refused=("stop",), max_output_tokens=8),
        )
        assert resolve(whole) == whole

    def test_a_model_without_a_row_has_the_tier_of_its_output_price(self) -> None:
        found = resolve(Target(provider="openrouter", model="qwen/qwen3.8-max-0902"), timestamp=THEN)
        assert found.price is not None
        assert (found.price.output, found.tier, found.tier_inferred) == (Decimal(6), Tier.STANDARD, True)
        assert found.capabilities == Capabilities()

    def test_a_tier_given_is_not_inferred(self) -> None:
        found = resolve(Target(provider="openrouter", model="qwen/qwen3.8-max-0902", tier="budget"))
        assert (found.tier, found.tier_inferred) == (Tier.BUDGET, False)

    def test_a_price_given_tells_the_tier_of_an_unknown_model(self) -> None:
        found = resolve(Target(provider="my-gateway", model="m", price=Price(Decimal(1), Decimal(30))))
        assert (found.tier, found.tier_inferred) == (Tier.PREMIUM, True)

    @pytest.mark.parametrize(
        ("provider", "model", "as_model"),
        [
            ("anthropic", "claude-haiku-4-5-20251001", "claude-haiku-4-5"),
            ("openai", "gpt-4.1-mini-2025-04-14", "gpt-4.1-mini"),
            ("OpenAI", "GPT-4.1-Mini", "gpt-4.1-mini"),
            ("together", "deepseek-ai/DeepSeek-V4.1-Flash-1017", "deepseek-ai/DeepSeek-V4.1-Flash"),
        ],
    )
    def test_a_dated_snapshot_has_the_facts_of_its_model(self, provider: str, model: str, as_model: str) -> None:
        snapshot = resolve(Target(provider=provider, model=model), timestamp=THEN)
        listed = resolve(Target(provider=provider, model=as_model), timestamp=THEN)
        assert replace(snapshot, name="x", model="x") == replace(listed, name="x", model="x")
        assert not snapshot.tier_inferred

    def test_a_resold_model_keeps_its_abilities_but_not_the_cache_of_its_maker(self) -> None:
        resold = resolve(Target(provider="azure", model="gpt-6-astra"), timestamp=THEN)
        assert (resold.tier, resold.tier_inferred) == (Tier.PREMIUM, False)
        assert resold.capabilities.tools is True
        assert resold.cache_ttl_s == 300
        assert resolve(Target(provider="openai", model="gpt-6-astra"), timestamp=THEN).cache_ttl_s == 1800

    @pytest.mark.parametrize("provider", ["ollama", "llamacpp", "vllm", "lmstudio"])
    def test_a_local_model_costs_nothing_and_a_price_of_nothing_tells_no_tier(self, provider: str) -> None:
        found = resolve(Target(provider=provider, model="my-finetune"))
        assert found.price is not None
        assert (found.price.input, found.price.output, found.price.source) == (0, 0, "runs locally")
        assert found.tier is None
        with pytest.raises(ConfigError, match="give tier='budget', 'mid', 'standard' or 'premium'"):
            build_pool([Target(provider=provider, model="my-finetune")])

    def test_ollamas_default_tag_is_the_model(self) -> None:
        assert resolve(Target(provider="ollama", model="mistral-nemo:latest")).context_window == 131_072

    def test_what_is_no_target_is_refused(self) -> None:
        with pytest.raises(ConfigError, match="a pool holds Target objects, not str"):
            build_pool(["gpt-4.1"])  # type: ignore[list-item]

    def test_the_pool_keeps_the_order(self) -> None:
        pool = build_pool(
            [Target(provider="openai", model="gpt-6-luna"), Target(provider="anthropic", model="claude-opus-5-5")],
            timestamp=THEN,
        )
        assert [target.tier for target in pool] == [Tier.BUDGET, Tier.PREMIUM]


class TestUnknownPrice:
    @pytest.mark.parametrize(
        ("provider", "model", "why"),
        [
            ("my-openai-proxy", "gpt-4.1", "does not know the provider 'my-openai-proxy'"),
            ("openai", "gpt-99", "lists no model 'gpt-99' of openai"),
            ("openai", "text-embedding-3-small", "by input_mtok, not by input and output tokens"),
            ("openai", "tts-1", "by input_mchars, not by"),
            ("perplexity", "sonar-deep-research", "a charge for output_citation_mtok, output_reasoning_mtok"),
            ("google", "gemma-4-31b-it", "without a price: free, or withdrawn"),
            ("ollama", "gpt-oss:120b-cloud", "runs in ollama's cloud"),
        ],
    )
    def test_stays_unknown_and_says_why(self, provider: str, model: str, why: str) -> None:
        assert price_of(provider, model, THEN) is None
        reason = why_no_price(provider, model, THEN)
        assert reason is not None
        assert why in reason
        assert resolve(Target(provider=provider, model=model)).price is None

    def test_a_known_one_has_no_reason(self) -> None:
        assert why_no_price("openai", "gpt-4.1") is None

    @pytest.mark.parametrize(
        ("ours", "theirs"), [("xai", "x-ai"), ("gemini", "google"), ("bedrock", "aws"), ("moonshot", "moonshotai")]
    )
    def test_a_provider_under_either_name(self, ours: str, theirs: str) -> None:
        model = {
            "xai": "grok-4.5",
            "gemini": "gemini-3.8-flash",
            "bedrock": "global.anthropic.claude-fable-5-v1:0",
            "moonshot": "kimi-k3",
        }[ours]
        price = price_of(ours, model, THEN)
        assert price is not None
        assert price == price_of(theirs, model, THEN)


class TestListing:
    def test_lists_every_row_resolved(self) -> None:
        listed = list(iter_models(timestamp=THEN))
        assert [target.name for target in listed] == [label(row) for row in facts()]
        assert all(target.tier is not None and target.price is not None for target in listed)

    def test_everything_adds_what_genai_prices_knows_once(self) -> None:
        listed = list(iter_models(everything=True, timestamp=THEN))
        assert len(listed) > 1900
        assert len({target.name.lower() for target in listed}) == len(listed)
        added = listed[len(facts()) :]
        assert all(target.price is not None for target in added)
        assert any(target.provider == "xai" for target in added)
        assert not any(target.provider == "x-ai" for target in added)

    def test_default_models_rise_in_tier(self) -> None:
        assert default_models("anthropic") == ("claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5")
        assert default_models("x-ai") == default_models("xai") != ()
        assert default_models("ollama") == default_models("nobody") == ()


def test_importing_the_catalog_imports_no_prices() -> None:
    """genai-prices costs 0.2 s of CPU (pydantic, httpx2); a local pool, and `import agentroute`, never need it."""
    code = (
        "import sys; from agentroute import Target; from agentroute.catalog import build_pool; "
        "build_pool([Target(provider='ollama', model='qwen3:8b')]); "
        "print([name for name in ('genai_prices', 'pydantic', 'httpx2') if name in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"
