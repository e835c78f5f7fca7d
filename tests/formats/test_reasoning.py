"""The reasoning setting: read from every spelling, kept across every change of dialect, fitted to each model."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import RequestError, Target, formats
from agentroute.catalog import resolve, rules_of
from agentroute.formats.reasoning import read
from agentroute.messages import EFFORTS, ChatRequest, Message, ReasoningSetting, Text
from agentroute.providers import DIALECTS
from agentroute.targets.model_rules import UNKNOWN, ModelRules

ASKED: dict[str, dict[str, Any]] = {
    "openai_chat": {"messages": [{"role": "user", "content": "hi"}]},
    "openai_responses": {"input": "hi"},
    "anthropic_messages": {"max_tokens": 90_000, "messages": [{"role": "user", "content": "hi"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
}
SAID: dict[str, Any] = {
    "openai_chat": lambda effort: {"reasoning_effort": effort},
    "openai_responses": lambda effort: {"reasoning": {"effort": effort}},
    "anthropic_messages": lambda effort: {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}},
    "gemini": lambda effort: {"generationConfig": {"thinkingConfig": {"thinkingLevel": effort.upper()}}},
}
TARGETS = {
    "openai_chat": resolve(Target(provider="openai", model="gpt-5.2")),
    "openai_responses": resolve(Target(provider="openai", model="gpt-6-sol")),
    "anthropic_messages": resolve(Target(provider="anthropic", model="claude-opus-5-5")),
    "gemini": resolve(Target(provider="google", model="gemini-3.8-flash")),
}


def encode(dialect: str, request: ChatRequest, rules: ModelRules = UNKNOWN, **more: Any) -> formats.base.Encoded:
    return formats.of(dialect).encode_request(request, model="m", rules=rules, **more)


def setting_of(dialect: str, body: dict[str, Any]) -> ReasoningSetting | None:
    return formats.of(dialect).decode_request(body).reasoning


@pytest.mark.parametrize("known", [False, True], ids=["unknown model", "known model"])
@pytest.mark.parametrize("effort", ["low", "medium", "high"])
@pytest.mark.parametrize(("client", "provider"), list(product(DIALECTS, DIALECTS)), ids=lambda name: name)
def test_an_effort_is_kept_from_every_dialect_to_every_other(
    client: str, provider: str, effort: str, known: bool
) -> None:
    request = formats.of(client).decode_request({**ASKED[client], **SAID[client](effort)})
    assert request.reasoning == ReasoningSetting(effort)  # type: ignore[arg-type]
    encoded = encode(provider, request, TARGETS[provider].rules if known else UNKNOWN)
    assert setting_of(provider, encoded.body) == request.reasoning
    assert not any("effort" in change or "reasoning" in change or "thinking" in change for change in encoded.changes)


@pytest.mark.parametrize(("client", "provider"), list(product(DIALECTS, DIALECTS)), ids=lambda name: name)
@given(
    effort=st.sampled_from(["none", "low", "medium", "high"]) | st.none(),
    budget=st.integers(1_024, 20_000) | st.none(),
    summary=st.booleans() | st.none(),
)
def test_what_one_dialect_wrote_the_others_can_read(
    client: str, provider: str, effort: Any, budget: int | None, summary: bool | None
) -> None:
    """Whether to think at all is never lost; effort and number are, only if the dialect has no word for them."""
    first = ChatRequest((Message("user", (Text("hi"),)),), reasoning=ReasoningSetting(effort, budget, summary))
    second = formats.of(client).decode_request({**encode(client, first).body, "max_tokens": 90_000})
    third = setting_of(provider, encode(provider, second).body)
    if effort == "none":
        assert third is not None
        assert third.effort == "none"
    elif third is not None:
        assert third.effort != "none"
    if effort in ("low", "medium", "high") and budget is None:
        assert third is not None
        assert third.effort == effort


_SPELLINGS: list[tuple[str, dict[str, Any], ReasoningSetting | None]] = [
    ("openai_chat", {"reasoning_effort": "xhigh"}, ReasoningSetting("xhigh")),
    ("openai_chat", {"reasoning_effort": "default"}, None),
    ("openai_chat", {"reasoning_effort": 3}, None),
    ("openai_chat", {"reasoning": {"effort": "low", "exclude": True}}, ReasoningSetting("low", summary=False)),
    ("openai_chat", {"reasoning": {"max_tokens": 2_000}}, ReasoningSetting(budget_tokens=2_000)),
    ("openai_chat", {"reasoning": {"enabled": True}}, ReasoningSetting()),
    ("openai_chat", {"reasoning": {"enabled": False}}, ReasoningSetting("none")),
    ("openai_chat", {"thinking": {"type": "disabled"}}, ReasoningSetting("none")),
    ("openai_chat", {"thinking": {"type": "enabled"}, "reasoning_effort": "max"}, ReasoningSetting("max")),
    ("openai_chat", {"enable_thinking": True, "thinking_budget": 500}, ReasoningSetting(budget_tokens=500)),
    ("openai_chat", {"enable_thinking": False}, ReasoningSetting("none")),
    ("openai_responses", {"reasoning": {"effort": "none"}}, ReasoningSetting("none")),
    ("openai_responses", {"reasoning": {"summary": "detailed"}}, ReasoningSetting(summary=True)),
    ("openai_responses", {"reasoning": {"context": "all_turns"}}, None),
    ("anthropic_messages", {"thinking": {"type": "adaptive"}}, ReasoningSetting()),
    ("anthropic_messages", {"thinking": {"type": "disabled"}}, ReasoningSetting("none")),
    ("anthropic_messages", {"thinking": {"type": "between_tools"}}, ReasoningSetting("none")),
    (
        "anthropic_messages",
        {"thinking": {"type": "enabled", "budget_tokens": 31_999, "display": "summarized"}},
        ReasoningSetting(budget_tokens=31_999, summary=True),
    ),
    ("anthropic_messages", {"output_config": {"effort": "max"}}, ReasoningSetting("max")),
    ("anthropic_messages", {"output_config": {"task_budget": {}}}, None),
    ("gemini", {"thinkingConfig": {"thinkingBudget": 0}}, ReasoningSetting("none")),
    ("gemini", {"thinkingConfig": {"thinkingBudget": -1}}, ReasoningSetting()),
    ("gemini", {"thinkingConfig": {"thinking_level": "MINIMAL"}}, ReasoningSetting("minimal")),
    ("gemini", {"thinkingConfig": {"includeThoughts": True}}, ReasoningSetting(summary=True)),
    ("gemini", {"thinkingConfig": "high"}, None),
    ("native", {"reasoning_effort": "high"}, None),
]


@pytest.mark.parametrize(("dialect", "fields", "setting"), _SPELLINGS, ids=str)
def test_every_spelling_is_read(dialect: str, fields: dict[str, Any], setting: ReasoningSetting | None) -> None:
    assert read(dialect, fields) == setting


@given(
    st.dictionaries(
        st.sampled_from(["reasoning_effort", "reasoning", "thinking", "output_config", "thinkingConfig"]),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=6),
            lambda inner: st.dictionaries(
                st.sampled_from(["type", "effort", "budget_tokens", "thinkingBudget", "max_tokens", "summary"]), inner
            ),
            max_leaves=4,
        ),
    )
)
def test_reading_never_fails(fields: dict[str, Any]) -> None:
    for dialect in DIALECTS:
        read(dialect, fields)


def told(provider: str, model: str, setting: ReasoningSetting, dialect: str | None = None) -> dict[str, Any]:
    """The fields that tell this model of it."""
    target = resolve(Target(provider=provider, model=model, dialect=dialect))
    rules = rules_of(provider, model)
    usual = {"moonshot": "openai_chat", "alibaba": "openai_chat", "minimax": "openai_chat"}
    dialect = usual.get(provider, target.dialect)
    body = encode(dialect, ChatRequest((Message("user", (Text("hi"),)),), reasoning=setting), rules, stream=True).body
    kept = body.get("generationConfig", body)
    names = ("reasoning_effort", "reasoning", "thinking", "enable_thinking", "thinking_budget", "output_config")
    return {name: kept[name] for name in (*names, "thinkingConfig") if name in kept}


OFF, ON, LOW, HIGH, MAX = (
    ReasoningSetting("none"),
    ReasoningSetting(),
    ReasoningSetting("low"),
    ReasoningSetting("high"),
    ReasoningSetting("max"),
)
BUDGET = ReasoningSetting(budget_tokens=8_000)
ADAPTIVE = {"type": "adaptive"}


@pytest.mark.parametrize(
    ("provider", "model", "setting", "fields"),
    [
        ("openai", "gpt-6-sol", OFF, {"reasoning": {"effort": "none"}}),
        ("openai", "gpt-6-sol", BUDGET, {"reasoning": {"effort": "medium"}}),
        ("openai", "gpt-6.1-sol", OFF, {"reasoning": {"effort": "low"}}),
        ("openai", "gpt-6.1-sol", MAX, {"reasoning": {"effort": "max"}}),
        ("openai", "gpt-6.2-sol", MAX, {"reasoning": {"effort": "xhigh"}}),
        ("openai", "gpt-5.2", MAX, {"reasoning_effort": "xhigh"}),
        ("openai", "gpt-5-mini", OFF, {"reasoning_effort": "minimal"}),
        ("openai", "gpt-4.1", HIGH, {}),
        ("openai", "gpt-4.1", OFF, {}),
        ("anthropic", "claude-opus-5-5", HIGH, {"thinking": ADAPTIVE, "output_config": {"effort": "high"}}),
        ("anthropic", "claude-opus-5-5", OFF, {"thinking": ADAPTIVE, "output_config": {"effort": "low"}}),
        ("anthropic", "claude-sonnet-5-5", OFF, {"thinking": {"type": "between_tools"}}),
        ("anthropic", "claude-haiku-5-5", OFF, {"thinking": {"type": "disabled"}}),
        ("anthropic", "claude-opus-4-8", OFF, {}),
        ("anthropic", "claude-opus-5", BUDGET, {"thinking": ADAPTIVE, "output_config": {"effort": "medium"}}),
        ("anthropic", "claude-opus-4-6", BUDGET, {"thinking": {"type": "enabled", "budget_tokens": 8_000}}),
        ("anthropic", "claude-haiku-4-5", LOW, {"thinking": {"type": "enabled", "budget_tokens": 1_024}}),
        ("anthropic", "claude-haiku-4-5", HIGH, {"thinking": {"type": "enabled", "budget_tokens": 24_576}}),
        ("google", "gemini-3.8-flash", MAX, {"thinkingConfig": {"thinkingLevel": "high"}}),
        ("google", "gemini-3.8-flash", BUDGET, {"thinkingConfig": {"thinkingLevel": "medium"}}),
        ("google", "gemini-3.6-flash", OFF, {"thinkingConfig": {"thinkingLevel": "minimal"}}),
        ("google", "gemini-2.5-flash", OFF, {"thinkingConfig": {"thinkingBudget": 0}}),
        ("google", "gemini-2.5-flash", ON, {"thinkingConfig": {"thinkingBudget": -1}}),
        ("google", "gemini-2.5-pro", OFF, {"thinkingConfig": {"thinkingBudget": 128}}),
        ("google", "gemini-2.5-pro", HIGH, {"thinkingConfig": {"thinkingBudget": 24_576}}),
        ("deepseek", "deepseek-flash", OFF, {"thinking": {"type": "disabled"}}),
        ("deepseek", "deepseek-flash", HIGH, {"thinking": {"type": "enabled"}, "reasoning_effort": "high"}),
        ("moonshot", "kimi-k3", ReasoningSetting("medium"), {"reasoning_effort": "high"}),
        ("moonshot", "kimi-k2.6", OFF, {"thinking": {"type": "disabled"}}),
        ("moonshot", "kimi-k2.6", HIGH, {"thinking": {"type": "enabled"}}),
        ("zai", "glm-5.3", OFF, {"reasoning_effort": "low"}),
        ("zai", "glm-4.7", OFF, {"thinking": {"type": "disabled"}}),
        ("alibaba", "qwen3.7-plus", OFF, {"enable_thinking": False}),
        ("alibaba", "qwen3.7-plus", BUDGET, {"enable_thinking": True, "thinking_budget": 8_000}),
        ("alibaba", "qwen3.8-max", MAX, {"reasoning_effort": "xhigh"}),
        ("minimax", "minimax-m3", HIGH, {"thinking": {"type": "adaptive"}}),
        ("minimax", "minimax-m2.5", HIGH, {}),
        ("mistral", "mistral-small-2603", LOW, {"reasoning_effort": "high"}),
        ("xai", "grok-4.6", OFF, {"reasoning_effort": "low"}),
        ("openrouter", "qwen/qwen3.8-27b", BUDGET, {"reasoning": {"max_tokens": 8_000}}),
        ("openrouter", "qwen/qwen3.8-27b", OFF, {"reasoning": {"effort": "none"}}),
        ("openrouter", "qwen/qwen3.8-27b", ReasoningSetting("low", summary=False),
         {"reasoning": {"effort": "low", "exclude": True}}),
        ("openrouter", "openai/gpt-6-astra", OFF, {"reasoning": {"effort": "low"}}),
        ("openrouter", "x-ai/grok-4.6", OFF, {"reasoning": {"effort": "low"}}),
        ("openrouter", "minimax/minimax-m3", OFF, {"reasoning": {"effort": "none"}}),
        ("groq", "qwen/qwen3-32b", HIGH, {}),
        ("groq", "qwen/qwen3-32b", BUDGET, {}),
        ("groq", "qwen/qwen3-32b", OFF, {"reasoning_effort": "none"}),
        ("siliconflow", "any", BUDGET, {"enable_thinking": True, "thinking_budget": 8_000}),
        ("tencent", "any", HIGH, {"thinking": {"type": "enabled"}}),
        ("cohere", "any", LOW, {"reasoning_effort": "high"}),
        ("vercel", "openai/any", HIGH, {"reasoning": {"effort": "high"}}),
        ("zhipu", "glm-4.7", OFF, {"thinking": {"type": "disabled"}}),
        ("bedrock", "openai.gpt-6-sol", OFF, {"reasoning": {"effort": "none"}}),
        ("bedrock", "openai.gpt-6.2-sol", OFF, {"reasoning": {"effort": "low"}}),
        ("bedrock", "openai.gpt-oss-20b-1:0", OFF, {"reasoning_effort": "low"}),
        ("ollama", "gpt-oss:20b", MAX, {"reasoning_effort": "high"}),
        ("ollama", "unheard-of:1b", MAX, {"reasoning_effort": "max"}),
    ],
)  # fmt: skip
def test_it_is_told_as_the_model_takes_it(
    provider: str, model: str, setting: ReasoningSetting, fields: dict[str, Any]
) -> None:
    assert told(provider, model, setting) == fields


@pytest.mark.parametrize(
    "fields",
    [
        {"thinking": {"type": "adaptive", "block_binding": {"prefix_mismatch_behavior": "drop_block"}}},
        {"output_config": {"effort": "high", "task_budget": {"total": 9}}},
        {"output_config": {"effort": "low"}},
    ],
)
def test_what_stands_beside_it_stays(fields: dict[str, Any]) -> None:
    request = formats.anthropic_messages.decode_request({**ASKED["anthropic_messages"], **fields})
    for rules in (UNKNOWN, rules_of("anthropic", "claude-opus-5-5"), rules_of("anthropic", "claude-opus-4-8")):
        body = encode("anthropic_messages", request, rules).body
        assert {name: body[name] for name in ("thinking", "output_config") if name in body} == fields


def test_claude_codes_settings_on_a_model_that_has_none_of_them() -> None:
    fields = {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}
    request = formats.anthropic_messages.decode_request({**ASKED["anthropic_messages"], **fields})
    encoded = encode("anthropic_messages", request, rules_of("anthropic", "claude-haiku-4-5"))
    assert encoded.body["thinking"] == {"type": "enabled", "budget_tokens": 24_576}
    assert "output_config" not in encoded.body


@pytest.mark.parametrize(("limit", "budget"), [(2_000, 1_999), (1_024, None), (30_000, 24_576)])
def test_a_number_of_tokens_to_think_leaves_room_for_the_answer(limit: int, budget: int | None) -> None:
    request = ChatRequest.from_openai(
        {"messages": [{"role": "user", "content": "hi"}], "reasoning_effort": "high", "max_tokens": limit}
    )
    encoded = encode("anthropic_messages", request, rules_of("anthropic", "claude-haiku-4-5"))
    assert encoded.body.get("thinking", {}).get("budget_tokens") == budget
    assert encoded.body["max_tokens"] == limit
    assert len(encoded.changes) == (budget != 24_576)


@pytest.mark.parametrize("effort", ["", "HIGH", "auto", 3])
def test_an_effort_that_does_not_exist(effort: Any) -> None:
    with pytest.raises(RequestError, match="give one of none, minimal, low, medium, high, xhigh, max"):
        ReasoningSetting(effort)


@pytest.mark.parametrize("budget", [0, -1, 1.5, True])
def test_a_number_that_cannot_be(budget: Any) -> None:
    with pytest.raises(RequestError, match="give a whole number above 0"):
        ReasoningSetting(budget_tokens=budget)


def test_efforts_go_from_nothing_to_everything() -> None:
    assert EFFORTS == ("none", "minimal", "low", "medium", "high", "xhigh", "max")
