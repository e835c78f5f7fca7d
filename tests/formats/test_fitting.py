"""What rules do to a request in each dialect: left out, clipped, marked, and said; and what OpenAI's dialects share."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentroute import ChatRequest, Endpoint, Provider, Target, formats
from agentroute.catalog import resolve, rules_of
from agentroute.failover.effects import Timeouts, Try
from agentroute.messages import Sampling
from agentroute.providers import DIALECTS
from agentroute.targets.model_rules import ModelRules
from agentroute.transport.exchange import Outgoing

ASK = {"role": "user", "content": "hi"}
LOOK = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
SHARED = {"metadata": {"a": "b"}, "prompt_cache_key": "k", "store": True, "service_tier": "flex", "user": "u"}


def chat(**fields: Any) -> ChatRequest:
    return ChatRequest.from_openai({"messages": [ASK], **fields})


def sent(request: ChatRequest, target: Target) -> tuple[dict[str, Any], tuple[str, ...], dict[str, str]]:
    out = Outgoing(Try(resolve(target), request, False, Timeouts()))
    return json.loads(out.content), out.changes, dict(out.headers)


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    ("rules", "fields", "said"),
    [
        (ModelRules(refused=("temperature",)), {"temperature": 0.5}, "`temperature` left out: the model refuses it"),
        (
            ModelRules(refused_while_reasoning=("top_p",), thinking="always"),
            {"top_p": 0.5},
            "`top_p` left out: the model refuses it while it thinks",
        ),
        (ModelRules(ignored=("temperature",)), {"temperature": 0.5}, "`temperature` has no effect"),
        (ModelRules(temperature=(0.0, 1.0)), {"temperature": 1.5}, "`temperature` 1 instead of 1.5"),
        (ModelRules(refused=("stop",)), {"stop": ["x"]}, "`stop` left out: the model refuses it"),
        (ModelRules(max_stops=1), {"stop": ["x", "y"]}, "1 of the stop sequences left out"),
        (ModelRules(max_stop_bytes=2), {"stop": ["ä", "yyy"]}, "1 of the stop sequences left out"),
        (ModelRules(max_output_tokens=9), {"max_tokens": 10}, "`max_tokens` 9 instead of 10"),
        (ModelRules(max_output_unstreamed=9), {"max_tokens": 10}, "`max_tokens` 9 instead of 10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_change_is_said_once(dialect: str, rules: ModelRules, fields: dict[str, Any], said: str) -> None:
    encoded = formats.of(dialect).encode_request(chat(**fields), model="m", rules=rules)
    assert sum(change.startswith(said) for change in encoded.changes) == 1
    back = formats.of(dialect).decode_request(encoded.body).sampling
    if "left out: the model" in said:
        assert back in (Sampling(), Sampling(max_output_tokens=16_384))
    if "max_tokens" in fields:
        assert back.max_output_tokens == 9


@pytest.mark.parametrize("dialect", DIALECTS)
def test_without_rules_nothing_is_changed(dialect: str) -> None:
    request = chat(temperature=0.5, max_tokens=10, tools=[LOOK], tool_choice="required")
    encoded = formats.of(dialect).encode_request(request, model="m")
    back = formats.of(dialect).decode_request(encoded.body)
    assert (back.sampling, back.tool_choice) == (request.sampling, request.tool_choice)
    assert encoded.changes == ()


def test_a_stream_may_be_longer() -> None:
    rules = rules_of("google", "gemini-4-argon")
    for stream, limit in ((False, 32_768), (True, 65_536)):
        encoded = formats.gemini.encode_request(chat(max_tokens=100_000), model="m", rules=rules, stream=stream)
        assert encoded.body["generationConfig"]["maxOutputTokens"] == limit


@pytest.mark.parametrize(("spelled", "dialect"), [("topK", "gemini"), ("top_k", "anthropic_messages")])
def test_a_setting_without_a_canonical_name_is_left_out_too(spelled: str, dialect: str) -> None:
    inner = {spelled: 3}
    body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": "hi"}]}], "generationConfig": inner}
    if dialect == "anthropic_messages":
        body = {"max_tokens": 5, "messages": [ASK], **inner}
    request = formats.of(dialect).decode_request(body)
    encoded = formats.of(dialect).encode_request(request, model="m", rules=ModelRules(refused=("top_k",)))
    assert spelled not in json.dumps(encoded.body)
    assert "`top_k` left out: the model refuses it" in encoded.changes


@pytest.mark.parametrize(
    ("rules", "dialect", "form"),
    [
        (ModelRules(prefill="prefix"), "openai_chat", {"role": "assistant", "content": "so", "prefix": True}),
        (ModelRules(prefill="partial"), "openai_chat", {"role": "assistant", "content": "so", "partial": True}),
        (ModelRules(prefill="yes"), "openai_chat", {"role": "assistant", "content": "so"}),
        (ModelRules(prefill="without_reasoning"), "anthropic_messages", {"role": "assistant", "content": "so"}),
    ],
)
def test_a_begun_answer_is_marked(rules: ModelRules, dialect: str, form: dict[str, Any]) -> None:
    request = ChatRequest.from_openai({"messages": [ASK, {"role": "assistant", "content": "so"}]})
    assert formats.of(dialect).encode_request(request, model="m", rules=rules).body["messages"][-1] == form


@pytest.mark.parametrize(
    "rules", [ModelRules(prefill="no"), ModelRules(prefill="without_reasoning", thinking="always")]
)
def test_or_gets_a_message_behind_it(rules: ModelRules) -> None:
    request = ChatRequest.from_openai({"messages": [ASK, {"role": "assistant", "content": "so"}]})
    encoded = formats.anthropic_messages.encode_request(request, model="m", rules=rules)
    assert encoded.body["messages"][-1]["role"] == "user"
    assert any("behind the begun answer" in change for change in encoded.changes)
    assert request.messages[-1].role == "assistant"


def test_openais_dialects_share_their_settings() -> None:
    request = chat(**SHARED, verbosity="low")
    encoded = formats.openai_responses.encode_request(request, model="m")
    assert {name: encoded.body[name] for name in SHARED} == SHARED
    assert encoded.body["text"] == {"verbosity": "low"}
    assert encoded.changes == ()
    back = formats.openai_responses.decode_request(encoded.body)
    again = formats.openai_chat.encode_request(back, model="m")
    assert {name: again.body[name] for name in (*SHARED, "verbosity")} == {**SHARED, "verbosity": "low"}
    assert not any("verbosity" in change or "store" in change for change in again.changes)


def test_but_not_with_a_server_that_does_not_know_them() -> None:
    request = formats.openai_responses.decode_request({"input": "hi", **SHARED, "text": {"verbosity": "low"}})
    encoded = formats.openai_chat.encode_request(request, model="m", rules=rules_of("mistral", "mistral-large-4"))
    assert not set(encoded.body) & {*SHARED, "verbosity"}
    named = {*SHARED, "text"}
    assert set(encoded.changes) == {f"`{name}` left out: only openai_responses has it" for name in named}


@pytest.mark.parametrize(
    ("settings", "fields"),
    [
        ({"reasoning_effort": "low"}, {"reasoning": {"effort": "low"}}),
        ({"reasoning": {"effort": "low"}}, {"reasoning": {"effort": "low"}}),
        ({"verbosity": "low", "service_tier": "flex"}, {"text": {"verbosity": "low"}, "service_tier": "flex"}),
    ],
)
def test_a_targets_settings_go_along_to_the_dialect_that_its_model_wants(
    settings: dict[str, Any], fields: dict[str, Any]
) -> None:
    body, _, _ = sent(chat(), Target(provider="openai", model="gpt-6-sol", api_key="sk-x", settings=settings))
    assert {name: body[name] for name in fields} == fields


@pytest.mark.parametrize("dialect", [None, "openai_chat"])
def test_the_requests_own_effort_goes_before_the_targets(dialect: str | None) -> None:
    settings = {"reasoning_effort": "low"}
    target = Target(provider="openai", model="gpt-6-sol", api_key="sk-x", settings=settings, dialect=dialect)
    body, _, _ = sent(chat(reasoning_effort="high"), target)
    assert (body.get("reasoning") or {}).get("effort", body.get("reasoning_effort")) == "high"


@pytest.mark.parametrize(
    ("more", "header", "beta"),
    [
        ({"betas": ["a-2026-01-01", "b-2026-01-01"]}, None, "a-2026-01-01,b-2026-01-01"),
        ({"context_management": {}}, None, "context-management-2025-06-27"),
        (
            {"context_management": {}, "betas": ["context-management-2026-09-09"]},
            None,
            "context-management-2026-09-09",
        ),
        ({"betas": ["a-2026-01-01"]}, "a-2026-01-01, c-2026-01-01", "a-2026-01-01,c-2026-01-01"),
        ({}, "c-2026-01-01", "c-2026-01-01"),
    ],
)
def test_betas_travel_as_a_header(more: dict[str, Any], header: str | None, beta: str) -> None:
    request = formats.anthropic_messages.decode_request({"max_tokens": 5, "messages": [ASK], **more})
    headers = {} if header is None else {"anthropic-beta": header}
    way = Endpoint("anthropic_messages", "https://llm.example.com/v1", headers=headers)
    body, _, out = sent(request, Target(provider=Provider("house", (way,)), model="m", api_key="sk-x"))
    assert out["anthropic-beta"] == beta
    assert "betas" not in body


def test_budget_thinking_is_switched_off_inside_a_foreign_tool_loop() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
    turns = [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sun"},
    ]
    request = ChatRequest.from_openai({"messages": turns, "tools": [LOOK], "reasoning_effort": "high"})
    for model, thinks in (("claude-haiku-4-5", False), ("claude-opus-4-6", True), ("claude-opus-5-5", True)):
        body, changes, _ = sent(request, Target(provider="anthropic", model=model, api_key="sk-x"))
        assert ("thinking" in body) is thinks
        assert any("thinking switched off for this request" in change for change in changes) is not thinks


@pytest.mark.parametrize(
    ("model", "fields", "dialect"),
    [
        ("gpt-5.4", {}, "openai_chat"),
        ("gpt-5.4", {"reasoning_effort": "none"}, "openai_chat"),
        ("gpt-5.4", {"reasoning_effort": "low"}, "openai_responses"),
        ("gpt-5.4", {"tools": [LOOK]}, "openai_responses"),
        ("gpt-5.4-pro", {}, "openai_responses"),
        ("gpt-6-sol", {}, "openai_responses"),
        ("gpt-6-sol", {"reasoning_effort": "none"}, "openai_chat"),
        ("gpt-6-astra", {"reasoning_effort": "none"}, "openai_responses"),
        ("gpt-4.1", {"tools": [LOOK]}, "openai_chat"),
    ],
)
def test_responses_if_tools_or_reasoning_need_it(model: str, fields: dict[str, Any], dialect: str) -> None:
    body, _, _ = sent(chat(**fields), Target(provider="openai", model=model, api_key="sk-x"))
    assert ("messages" in body) is (dialect == "openai_chat")


def test_settings_of_the_target_may_need_it() -> None:
    settings = {"reasoning_effort": "high"}
    body, _, _ = sent(chat(), Target(provider="openai", model="gpt-5.4", api_key="sk-x", settings=settings))
    assert body["reasoning"] == {"effort": "high"}
