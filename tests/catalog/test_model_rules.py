"""Every row of model_rules.toml has its source and date and can be reached; the right row is found for a model."""

from __future__ import annotations

import re
from dataclasses import fields
from datetime import date
from pathlib import Path
from typing import Any

import pytest

import agentroute
from agentroute import ConfigError, Target
from agentroute.catalog import default_models, resolve, rules_of
from agentroute.catalog.model_rules import RuleRow, covers, read_rows, rows
from agentroute.providers import PROVIDERS, Endpoint, Provider
from agentroute.targets.model_rules import UNKNOWN, ModelRules

_ROW = '[[rules]]\nprovider = "p"\nmodels = ["m*"]\nsource = "s"\ndate = "2026-11-27"\n'


def shadowed(found: tuple[RuleRow, ...]) -> list[str]:
    """The patterns that never count, because an earlier one of the same provider takes all their models."""
    seen: dict[str, list[str]] = {}
    lost = []
    for row in found:
        for provider in row.providers:
            before = seen.setdefault(provider, [])
            for pattern in row.patterns:
                # A name that holds what no pattern names in each place where anything may stand.
                if any(covers(earlier, pattern.replace("*", "\0")) for earlier in before):
                    lost.append(f"{provider}: {pattern}")
                before.append(pattern)
    return lost


def test_every_row_has_a_source_and_a_date() -> None:
    for row in rows():
        assert row.sources
        for source, day in row.sources:
            assert source.strip()
            assert date(2026, 1, 1) <= date.fromisoformat(day) <= date(2027, 12, 31)


@pytest.mark.parametrize("missing", ["source", "date"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_row_without_source_or_date_is_an_error(missing: str, shared: bool) -> None:
    bad = re.sub(f"{missing} = .*\n", "", _ROW)
    text = bad
    if shared:
        text = "[shared.x]\n" + re.sub(f"{missing} = .*\n", "", 'source = "s"\ndate = "2026-11-27"\n') + _ROW
        text += 'like = "x"\n'
    with pytest.raises(ConfigError, match="`source` or `date` is missing"):
        read_rows(text)


def test_no_pattern_is_shadowed() -> None:
    assert shadowed(rows()) == []


@pytest.mark.parametrize(
    ("first", "second", "lost"),
    [("m*", "m-1*", ["p: m-1*"]), ("m-1*", "m*", []), ("*", "m", ["p: m"]), ("m", "m*", []), ("*x*", "ax", ["p: ax"])],
)
def test_a_shadowed_pattern_is_seen(first: str, second: str, lost: list[str]) -> None:
    assert shadowed(read_rows(_ROW.replace("m*", first) + _ROW.replace("m*", second))) == lost


def test_patterns_are_in_lower_case_as_names_are_compared() -> None:
    assert [p for row in rows() for p in row.patterns if p != p.lower()] == []
    assert rules_of("zai", "GLM-5.3") is rules_of("zai", "glm-5.3") is not UNKNOWN


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_ROW + "wrong = 1\n", "wrong"),
        (_ROW + 'efforts = ["huge"]\n', "rule `efforts` has 'huge'"),
        (_ROW + 'like = "nobody"\n', "there is no [shared.nobody]"),
        (_ROW.replace('models = ["m*"]', "models = []"), "`provider` or `models` is missing"),
    ],
)
def test_a_wrong_row_is_named(text: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_rows(text)
    assert said in str(caught.value)
    assert "row 1" in str(caught.value)


def test_a_row_goes_before_what_it_is_like() -> None:
    text = '[shared.a]\nsource = "a"\ndate = "2026-11-27"\nmax_tools = 1\nmax_stops = 1\n'
    text += '[shared.b]\nlike = "a"\nsource = "b"\ndate = "2026-11-27"\nmax_stops = 2\n'
    (row,) = read_rows(text + _ROW + 'like = "b"\n')
    assert (row.rules.max_tools, row.rules.max_stops) == (1, 2)
    assert [source for source, _ in row.sources] == ["s", "b", "a"]


_FACTS: list[tuple[str, str, dict[str, Any]]] = [
    ("openai", "gpt-6.2-astra", {"chat_tools": "no", "efforts": ("low", "medium", "high", "xhigh")}),
    ("openai", "gpt-6.1-sol-2026-11-01", {"chat_tools": "no", "responses_efforts": ("max",)}),
    ("azure", "gpt-6-luna", {"dialect": "openai_responses", "chat_tools": "none", "max_input_tokens": 922000}),
    ("openai", "gpt-5.6-terra", {"chat_tools": "none"}),
    ("openai", "gpt-5.5-pro", {"dialects": ("openai_responses",), "json_schema": ()}),
    ("openai", "gpt-5.2-codex", {"dialects": ("openai_responses",)}),
    ("openai", "gpt-5.2", {"dialect": None, "chat_tools": "any"}),
    ("openai", "gpt-5-mini", {"thinking": "always", "default_effort": "medium"}),
    ("openai", "gpt-4.1-mini", {"efforts": (), "refused": ("verbosity",)}),
    ("openai", "gpt-4o", {"thinking": "never"}),
    ("openai", "gpt-7-sol", {"chat_tools": "no", "thinking": "always"}),
    ("anthropic", "claude-opus-5-5", {"tool_choices": ("auto", "none"), "thinking_off": None}),
    ("anthropic", "claude-opus-5-20260601", {"thinking_off": "disabled", "budget": None}),
    ("anthropic", "claude-fable-5", {"tool_choices": ("auto", "none", "required", "tool")}),
    ("anthropic", "claude-haiku-5-5", {"thinking_off": "disabled", "max_effort_off": "high"}),
    ("anthropic", "claude-sonnet-4-5-20250929", {"efforts": (), "budget": (1024, 63999), "adaptive": False}),
    ("anthropic", "claude-opus-6", {"tool_choices": ("auto", "none"), "refused": ("temperature", "top_p", "top_k")}),
    ("google", "models/gemini-2.5-flash-lite", {"budget": (0, 24576)}),
    ("google", "gemini-5-neon", {"efforts": ("low", "medium", "high")}),
    ("deepseek", "deepseek-flash", {"json_schema": ("openai_responses",), "json_word": True}),
    ("moonshot", "kimi-k3.1-pro", {"thinking": "always", "tool_choices": ("auto", "none")}),
    ("zai", "GLM-5.2", {"thinking_off": "disabled"}),
    ("xai", "grok-4.6", {"efforts": ("low", "medium", "high")}),
    ("openrouter", "anthropic/claude-opus-5.5", {"chat_reasoning": ("reasoning",), "prefill": "no"}),
    ("openrouter", "qwen/qwen3.8-27b", {"chat_reasoning": ("reasoning",), "refused": ()}),
    ("ollama", "gpt-oss:20b", {"tool_choices": ("auto", "none")}),
    ("openai", "o3", {"audio_types": ()}),
    ("openai", "o1", {"audio_types": ()}),
    ("openai", "gpt-5.2-chat-latest", {"audio_types": ()}),
    ("openai", "gpt-4o-audio-preview", {"audio_types": None}),
    ("google", "gemini-3.5-flash", {"default_effort": "medium"}),
    ("google", "gemini-3.1-flash-lite", {"default_effort": "minimal"}),
    ("google", "gemini-3-flash-preview", {"default_effort": None}),
    ("google", "gemini-2.5-flash-lite", {"answer_form_beside_tools": False}),
    ("google", "gemini-3.1-pro-preview", {"answer_form_beside_tools": True}),
    ("vertex", "gpt-6-sol", {"dialects": ("openai_responses",)}),
    ("vertex", "openai/gpt-oss-120b-maas", {"dialect": "openai_chat", "tool_choices": ("auto", "none")}),
    ("zhipu", "glm-5.3", {"thinking": "always", "references": False, "image_types": ()}),
    ("zai", "GLM-5.3-Flash", {"thinking": "always", "image_types": None}),
    ("zhipu-coding", "glm-4.7", {"thinking_off": "disabled", "image_types": ()}),
    ("zai", "glm-4.6v", {"image_types": None, "json_schema": ()}),
    ("alibaba", "qwen3.7-max", {"image_types": (), "max_output_tokens": 65536}),
    ("alibaba", "qwen3.7-plus", {"image_types": None, "max_output_tokens": 65536}),
    ("xai", "grok-5", {"max_input_tokens": 500000}),
    ("mistral", "mistral-medium-3-5", {"efforts": ("none", "high"), "thinking": None}),
    ("mistral", "mistral-medium-3.1", {"thinking": "never"}),
    ("fireworks", "accounts/fireworks/models/qwen3p8-max", {"json_schema": ("openai_chat",)}),
    ("siliconflow", "qwen/qwen3-32b", {"chat_reasoning": ("enable_thinking", "thinking_budget")}),
    ("tencent", "hunyuan-t1", {"chat_reasoning": ("thinking",)}),
    ("cohere", "command-a-reasoning-08-2025", {"efforts": ("none", "high")}),
    ("vercel", "openai/gpt-6-sol", {"chat_reasoning": ("reasoning",)}),
    ("snowflake", "claude-opus-5", {"refused_while_reasoning": ("temperature",)}),
    ("bedrock", "openai.gpt-5.4", {"dialects": ("openai_responses",)}),
    ("bedrock", "us.openai.gpt-6-sol", {"chat_tools": "none", "refused": ("stop",), "thinking": "default"}),
    ("bedrock", "openai.gpt-6.2-astra", {"chat_tools": "no", "thinking": "always"}),
    ("bedrock", "openai.gpt-oss-120b-1:0", {"dialect": "openai_chat", "json_schema": (), "json_object": False}),
    ("bedrock-mantle", "openai.gpt-oss-20b", {"dialect": "openai_responses", "tool_choices": ("auto", "none")}),
    ("bedrock", "xai.grok-4.6", {"dialect": "openai_chat", "thinking": "always"}),
    ("bedrock-mantle", "anthropic.claude-opus-5", {"dialect": "anthropic_messages", "prefill": "no"}),
    ("minimax", "MiniMax-M3", {"efforts": (), "responses_efforts": ("low", "medium", "high")}),
    ("deepseek", "deepseek-v4-pro", {"adaptive": False}),
    ("anthropic-aws", "claude-haiku-5-5", {"thinking_off": "disabled"}),
    ("openrouter", "google/gemini-3.8-flash", {"thinking": "always", "efforts": ("low", "medium", "high")}),
    ("openrouter", "moonshotai/kimi-k3", {"thinking": "always", "efforts": ("low", "high", "max")}),
    ("openrouter", "openai/gpt-5-mini", {"thinking": "always"}),
    ("openrouter", "openai/gpt-5.1", {"thinking": "default"}),
    ("openrouter", "openai/gpt-oss-120b", {"tool_choices": ("auto", "none")}),
]


@pytest.mark.parametrize(("provider", "model", "facts"), _FACTS, ids=[f"{p}/{m}" for p, m, _ in _FACTS])
def test_the_row_of_a_model(provider: str, model: str, facts: dict[str, Any]) -> None:
    found = rules_of(provider, model)
    assert {name: getattr(found, name) for name in facts} == facts


@pytest.mark.parametrize(
    "name", ["openai", "anthropic", "google", "deepseek", "mistral", "xai", "moonshot", "zai", "groq", "openrouter"]
)
def test_every_default_model_has_a_row(name: str) -> None:
    for model in default_models(name):
        assert rules_of(name, model) is not UNKNOWN, model


def test_nothing_is_known_of_other_providers_models() -> None:
    assert rules_of("house", "claude-opus-5-5") is UNKNOWN
    assert rules_of("vllm", "house-7b") is UNKNOWN


def test_resolve_fills_in_the_rules() -> None:
    assert Target(provider="openai", model="gpt-6-sol").rules is UNKNOWN
    assert resolve(Target(provider="openai", model="gpt-6-sol")).rules is rules_of("openai", "gpt-6-sol")


def test_rules_of_your_own_stay() -> None:
    own = ModelRules(refused=("stop",), max_output_tokens=128_000)
    assert resolve(Target(provider="openai", model="gpt-6-sol", rules=own)).rules is own


def test_what_the_target_writes_at_most_is_its_rule() -> None:
    found = resolve(Target(provider="openai", model="gpt-6-sol", max_output_tokens=1_000))
    assert (found.max_output_tokens, found.rules.max_output_tokens) == (1_000, 1_000)
    assert resolve(Target(provider="house", model="m", max_output_tokens=9)).rules == ModelRules(max_output_tokens=9)
    assert resolve(Target(provider="anthropic", model="claude-opus-6", tier="premium")).max_output_tokens == 128_000


def test_a_model_that_does_not_reason_has_no_such_setting() -> None:
    found = resolve(Target(provider="ollama", model="llama3.1:8b")).rules
    assert (found.thinking, found.efforts) == ("never", ())


@pytest.mark.parametrize("provider", ["openai", "azure"])
@pytest.mark.parametrize(
    ("model", "dialect"),
    [
        ("gpt-6-sol", "openai_responses"),
        ("gpt-5.4-mini", "openai_responses"),
        ("gpt-5.3-codex", "openai_responses"),
        ("gpt-5.2", "openai_chat"),
        ("gpt-4.1", "openai_chat"),
    ],
)
def test_the_dialect_that_a_model_wants(provider: str, model: str, dialect: str) -> None:
    url = None if provider == "openai" else "https://r.openai.azure.com/openai/v1"
    found = resolve(Target(provider=provider, model=model, base_url=url))
    assert (found.dialect, found.endpoint.dialect) == (dialect, dialect)
    assert found.endpoint.auth == PROVIDERS[provider].endpoint().auth
    assert resolve(found) == found


@pytest.mark.parametrize(
    ("provider", "model", "dialect"),
    [
        ("vertex", "claude-opus-5-5", "anthropic_messages"),
        ("vertex", "gemini-3.8-flash", "gemini"),
        ("vertex", "google/gemini-3.8-flash", "openai_chat"),
        ("vertex", "deepseek-ai/deepseek-v4-pro-maas", "openai_chat"),
        ("vertex", "gpt-6-sol", "openai_responses"),
        ("bedrock", "eu.anthropic.claude-opus-5", "anthropic_messages"),
        ("bedrock", "openai.gpt-5.4", "openai_responses"),
        ("bedrock", "openai.gpt-oss-120b-1:0", "openai_chat"),
        ("bedrock", "xai.grok-4.6", "openai_chat"),
        ("bedrock-mantle", "anthropic.claude-haiku-4-5", "anthropic_messages"),
        ("bedrock-mantle", "deepseek.v4-pro", "openai_chat"),
    ],
)
def test_a_cloud_serves_each_model_in_its_own_dialect(provider: str, model: str, dialect: str) -> None:
    found = resolve(Target(provider=provider, model=model, tier="standard"))
    assert (found.dialect, found.endpoint) == (dialect, PROVIDERS[provider].endpoint(dialect))
    assert not found.rules.dialects or dialect in found.rules.dialects


def test_a_dialect_that_is_given_stays() -> None:
    assert resolve(Target(provider="openai", model="gpt-6-sol", dialect="openai_chat")).dialect == "openai_chat"
    chat_only = resolve(Target(provider="openai", model="gpt-6-sol", settings={"logit_bias": {}}))
    assert chat_only.dialect == "openai_chat"
    both = resolve(Target(provider="openai", model="gpt-6-sol", settings={"reasoning_effort": "low", "store": True}))
    assert (both.dialect, both.settings_dialect) == ("openai_responses", "openai_chat")
    house = Provider("openai", (Endpoint("openai_chat", "https://llm.example.com/v1"),))
    assert resolve(Target(provider=house, model="gpt-6-sol")).dialect == "openai_chat"


@pytest.mark.parametrize(
    ("provider", "model", "facts"),
    [
        ("openai", "gpt-10-sol", {"dialect": "openai_responses", "chat_tools": "no", "thinking": "always"}),
        ("openai", "o7-mini", {"dialect": "openai_responses", "thinking": "always"}),
        ("azure", "gpt-6.3-terra", {"dialect": "openai_responses", "chat_tools": "no"}),
        ("azure", "gpt-oss-120b", {"dialect": None, "efforts": ("low", "medium", "high")}),
        ("anthropic", "claude-saga-1", {"tool_choices": ("auto", "none"), "prefill": "no", "thinking": "always"}),
        ("openrouter", "anthropic/claude-opus-6", {"tool_choices": ("auto", "none"), "prefill": "no"}),
        ("openrouter", "~anthropic/claude-opus-latest", {"tool_choices": ("auto", "none")}),
        ("openrouter", "anthropic/claude-haiku-5.5", {"tool_choices": ModelRules().tool_choices, "prefill": "no"}),
        ("openrouter", "anthropic/claude-sonnet-4.6", {"refused": (), "prefill": None}),
        ("openrouter", "openai/gpt-7", {"thinking": "always", "refused": ("temperature", "top_p")}),
        ("zai", "glm-6", {"json_schema": (), "thinking": "always"}),
        ("zai", "glm-5-turbo", {"json_schema": (), "thinking": "default"}),
        ("google", "gemini-5-flash", {"thinking": "always", "efforts": ("low", "medium", "high")}),
    ],
)
def test_a_newer_version_takes_the_strictest_row_of_its_family(
    provider: str, model: str, facts: dict[str, Any]
) -> None:
    found = rules_of(provider, model)
    assert {name: getattr(found, name) for name in facts} == facts


def test_every_rule_is_read_by_somebody() -> None:
    root = Path(agentroute.__file__).parent
    source = "\n".join(path.read_text(encoding="utf-8") for path in root.rglob("*.py") if path.name != "model_rules.py")
    unread = [field.name for field in fields(ModelRules) if f"rules.{field.name}" not in source]
    assert unread == []
