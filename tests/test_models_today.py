"""Every default model answers, whatever the request sets: the doubles refuse what these models refuse today."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from agentroute import ChatRequest, ChatResponse, Endpoint, Provider, Quirks, Router, Target
from agentroute.catalog import default_models
from agentroute.errors import Unsupported
from agentroute.providers import PROVIDERS
from agentroute.testing import Fault, ScriptedProvider
from agentroute.testing.provider import ScriptedRequest
from tests.validators.models import refusals

MAKERS = ("openai", "anthropic", "google", "deepseek", "mistral", "xai", "moonshot", "zai", "ollama")
MODELS = [(maker, model) for maker in MAKERS for model in default_models(maker)]
MODELS += [("moonshot", "kimi-k3")] * (("moonshot", "kimi-k3") not in MODELS)
MODELS += [("zai", "GLM-5.3"), ("ollama", "gpt-oss:20b")]
MORE = [
    ("openai", "gpt-6.2-sol"),
    ("openai", "gpt-6-sol"),
    ("openai", "gpt-5.6-terra"),
    ("openai", "gpt-5.4"),
    ("openai", "gpt-4.1"),
    ("anthropic", "claude-fable-5-2"),
    ("anthropic", "claude-opus-5"),
    ("anthropic", "claude-opus-4-8"),
    ("anthropic", "claude-opus-4-6"),
    ("anthropic", "claude-haiku-4-5"),
    ("google", "gemini-3.5-flash"),
    ("google", "gemini-2.5-pro"),
    ("xai", "grok-4.7"),
]
MODELS = list(dict.fromkeys([*MODELS, *MORE]))
"""Every default row of the catalog, a local one, and models whose rules are others'."""

LOOK = {
    "type": "function",
    "function": {"name": "look", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}
ASK = {"role": "user", "content": "Why is the sky blue?"}
BODIES: dict[str, dict[str, Any]] = {
    "plain": {},
    "tools": {"tools": [LOOK]},
    "tools and effort": {"tools": [LOOK], "reasoning_effort": "high"},
    "the least effort": {"reasoning_effort": "minimal"},
    "all effort": {"reasoning_effort": "max"},
    "no effort": {"reasoning_effort": "none"},
    "no effort, with tools": {"reasoning_effort": "none", "tools": [LOOK]},
    "temperature": {"temperature": 0},
    "a high temperature": {"temperature": 1.7, "top_p": 0.4},
    "temperature without effort": {"temperature": 0, "reasoning_effort": "none"},
    "stop": {"stop": ["END", "x" * 40]},
    "penalties and seed": {"presence_penalty": 0.5, "frequency_penalty": 0.5, "seed": 7},
    "a forced tool": {"tools": [LOOK], "tool_choice": "required"},
    "a named tool": {"tools": [LOOK], "tool_choice": {"type": "function", "function": {"name": "look"}}},
    "a named tool and effort": {"tools": [LOOK], "tool_choice": "required", "reasoning_effort": "high"},
    "one call at a time": {"tools": [LOOK], "parallel_tool_calls": False},
    "more tokens than anybody writes": {"max_tokens": 2_000_000},
    "few tokens and effort": {"max_tokens": 600, "reasoning_effort": "high"},
    "a begun answer": {"messages": [ASK, {"role": "assistant", "content": "It is blue,"}]},
    "a begun answer, while it thinks": {
        "messages": [ASK, {"role": "assistant", "content": "It is blue,"}],
        "reasoning_effort": "medium",
    },
}


def plan(provider: str) -> Any:
    def refuse(request: ScriptedRequest) -> Fault | None:
        found = refusals(provider, request.model, request.dialect, request.body)
        return Fault.error(400, code="unsupported_value", message="; ".join(found)) if found else None

    return refuse


@pytest.fixture(scope="module")
def doubles() -> Iterator[dict[str, ScriptedProvider]]:
    made = {maker: ScriptedProvider("Scattered.", fault=plan(maker), provider=maker) for maker in MAKERS}
    for double in made.values():
        double.__enter__()
    yield made
    for double in made.values():
        double.__exit__(None, None, None)


def target(maker: str, model: str, double: ScriptedProvider, **facts: Any) -> Target:
    provider: Any = maker
    if maker not in PROVIDERS:
        quirks = Quirks(developer_role=False, max_tokens_field="max_completion_tokens")
        provider = Provider(maker, (Endpoint(base_url="https://api.example.com/v1", quirks=quirks),))
    return Target(
        provider=provider, model=model, base_url=double.base_url, api_key=double.api_key, **{"tier": "mid", **facts}
    )


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize(("maker", "model"), MODELS, ids=[f"{maker}/{model}" for maker, model in MODELS])
def test_a_model_answers_whatever_is_set(
    maker: str, model: str, body: dict[str, Any], doubles: dict[str, ScriptedProvider]
) -> None:
    with Router([target(maker, model, doubles[maker])]) as router:
        response = router.complete(ChatRequest.from_openai({"messages": [ASK], **body}))
    assert response.text == "Scattered."
    assert response.decision is not None
    assert len(response.decision.attempts) == 1


def changes(response: ChatResponse) -> str:
    assert response.decision is not None
    return "; ".join(response.decision.attempts[-1].changes)


def ask(double: ScriptedProvider, maker: str, model: str, body: dict[str, Any], **facts: Any) -> tuple[Any, str]:
    with Router([target(maker, model, double, **facts)]) as router:
        response = router.complete(ChatRequest.from_openai({"messages": [ASK], **body}))
    return double.requests[-1].body, changes(response)


@pytest.mark.parametrize(
    ("maker", "model", "body", "said"),
    [
        ("openai", "gpt-6-luna", {"temperature": 0}, "`temperature` left out: the model refuses it while it thinks"),
        ("openai", "gpt-6.1-sol", {"reasoning_effort": "none"}, "effort `low` instead of none"),
        ("anthropic", "claude-opus-5-5", {"temperature": 0}, "`temperature` left out: the model refuses it"),
        (
            "anthropic",
            "claude-sonnet-5-5",
            {"tools": [LOOK], "tool_choice": "required"},
            "the forced tool choice replaced by `auto` and a sentence",
        ),
        ("google", "gemini-3.8-flash", {"temperature": 0}, "`temperature` has no effect: the model ignores it"),
        ("deepseek", "deepseek-flash", {"reasoning_effort": "medium"}, "effort `high` instead of `medium`"),
        ("deepseek", "deepseek-flash", {"tools": [LOOK], "tool_choice": "required"}, "reasoning switched off"),
        ("moonshot", "kimi-k3", {"top_p": 0.5}, "`top_p` left out: the model refuses it"),
        ("xai", "grok-4.6", {"stop": ["x"]}, "`stop` left out: the model refuses it"),
        ("openai", "gpt-4.1", {"reasoning_effort": "high"}, "the reasoning setting left out: the model has none"),
        ("openai", "gpt-4.1", {"max_tokens": 64_000}, "`max_tokens` 32,768 instead of 64,000"),
    ],
)
def test_what_was_changed_is_told(
    maker: str, model: str, body: dict[str, Any], said: str, doubles: dict[str, ScriptedProvider]
) -> None:
    _, told = ask(doubles[maker], maker, model, body)
    assert said in told


def test_a_forced_tool_is_asked_for_in_words(doubles: dict[str, ScriptedProvider]) -> None:
    named = {"type": "function", "function": {"name": "look"}}
    sent, _ = ask(doubles["anthropic"], "anthropic", "claude-opus-5-5", {"tools": [LOOK], "tool_choice": named})
    assert sent["tool_choice"] == {"type": "auto"}
    assert sent["messages"][-1]["content"][-1] == {"type": "text", "text": "Answer by calling the tool `look`."}


@pytest.mark.parametrize(
    "model", ["gpt-6-sol", "gpt-6-luna", "gpt-6.1-terra", "gpt-5.6-sol", "gpt-5.5", "gpt-5.4-mini"]
)
@pytest.mark.parametrize("effort", [None, "none", "high"])
def test_tools_in_chat_completions_if_that_dialect_is_wanted(
    model: str, effort: str | None, doubles: dict[str, ScriptedProvider]
) -> None:
    body = {"tools": [LOOK]} | ({} if effort is None else {"reasoning_effort": effort})
    sent, told = ask(doubles["openai"], "openai", model, body, dialect="openai_chat")
    assert (doubles["openai"].requests[-1].dialect, sent["reasoning_effort"]) == ("openai_chat", "none")
    assert ("`reasoning_effort` set to `none`" in told) is (effort != "none")


@pytest.mark.parametrize("model", ["gpt-6-astra", "gpt-6.1-sol", "gpt-6.2-sol"])
def test_a_model_that_takes_no_tools_there_is_dropped(model: str, doubles: dict[str, ScriptedProvider]) -> None:
    chat = target("openai", model, doubles["openai"], dialect="openai_chat")
    other = replace(target("openai", "gpt-4.1", doubles["openai"]), name="other")
    with Router([chat, other]) as router:
        decision = router.route(ChatRequest.from_openai({"messages": [ASK], "tools": [LOOK]}))
    assert decision.target == "other"
    assert [(each.target, each.reason) for each in decision.dropped] == [
        (model, "takes tools in the Responses dialect only")
    ]


def test_the_double_refuses_what_is_not_fitted(doubles: dict[str, ScriptedProvider]) -> None:
    house = Provider("house", (Endpoint(base_url="https://llm.example.com/v1"),))
    raw = Target(
        provider=house,
        model="gpt-6-sol",
        tier="mid",
        base_url=doubles["openai"].base_url,
        api_key=doubles["openai"].api_key,
    )
    with Router([raw]) as router, pytest.raises(Unsupported, match="Function tools with reasoning_effort"):
        router.complete(ChatRequest.from_openai({"messages": [ASK], "tools": [LOOK]}))


@pytest.mark.parametrize("stream", [False, True])
def test_the_first_example_of_the_readme(stream: bool, doubles: dict[str, ScriptedProvider]) -> None:
    """An agent's two steps, with tools, on either of its two targets."""
    pool = [
        target("openai", "gpt-6-luna", doubles["openai"], tier=None, name="small"),
        target("anthropic", "claude-opus-5-5", doubles["anthropic"], tier=None, name="strong"),
    ]
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"q": "sky"}'}}
    turns: list[dict[str, Any]] = [
        ASK,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "Rayleigh"},
    ]
    with Router(pool) as router:
        for name in ("auto", "small", "strong"):
            for messages in (turns[:1], turns):
                body = {"model": name, "messages": messages, "tools": [LOOK], "temperature": 0}
                if stream:
                    with router.stream(ChatRequest.from_openai(body)) as events:
                        said = "".join(getattr(event, "text", "") for event in events)
                else:
                    said = router.complete(ChatRequest.from_openai(body)).text
                assert said == "Scattered."
