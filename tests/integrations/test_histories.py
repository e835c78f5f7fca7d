"""Broken histories: a ready model's provider gets one that its strict server takes, whichever framework calls it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pytest
from crewai.llms.base_llm import BaseLLM
from crewai.llms.providers.anthropic.completion import AnthropicCompletion
from crewai.llms.providers.gemini.completion import GeminiCompletion
from crewai.llms.providers.openai.completion import OpenAICompletion
from crewai_agentroute import RoutedLLM as CrewLLM
from google.genai.types import HttpOptions
from langchain_agentroute import RoutedChatModel
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, HumanMessage
from langchain_google_genai import ChatGoogleGenerativeAI
from langchain_openai import ChatOpenAI
from llama_index.llms.agentroute import RoutedLLM as IndexLLM
from llama_index.llms.openai import OpenAI, OpenAIResponses

from agentroute import Target
from agentroute.testing import ScriptedProvider, ScriptedRequest
from tests.validators import anthropic, gemini, openai_chat, responses

from .said import Said, calls, in_crewai, in_langchain, in_llama_index, result, user

pytestmark = pytest.mark.requires("langchain", "crewai", "llama_index", "langchain_openai", "langchain_anthropic")


ASK, ON = user("The weather in Porto?"), user("Go on.")

HISTORIES: dict[str, Sequence[Said]] = {
    "a result without its call": (user("Summary."), result("c1"), ON),
    "a result at the beginning": (result("c1"), ON),
    "a call without its result": (ASK, calls("c1"), ON),
    "a call at the end": (ASK, calls("c1")),
    "one of two results": (ASK, calls("c1", "c2"), result("c1"), ON),
    "a result behind the next ask": (ASK, calls("c1"), ON, result("c1")),
    "two results of one call": (ASK, calls("c1"), result("c1"), result("c1"), ON),
    "an id twice": (ASK, calls("c1"), result("c1"), calls("c1"), result("c1", "22 degrees")),
    "an id that is too long": (ASK, calls("c" * 70), result("c" * 70)),
    "the assistant begins": (Said("assistant", "Hello."), ASK),
    "the user says nothing": (ASK, Said("assistant", "It is warm."), user("")),
    "the assistant says nothing": (ASK, Said("assistant"), ON),
    "system in the middle": (Said("system", "Be brief."), ASK, Said("assistant", "Warm."), Said("system", "Rest."), ON),
    "no fault at all": (Said("system", "Be brief."), ASK, calls("c1"), result("c1"), ON),
}

VIOLATIONS: dict[str, Callable[[Any], list[str]]] = {
    "openai_chat": openai_chat.violations,
    "openai_responses": responses.violations,
    "anthropic_messages": anthropic.violations,
    "gemini": gemini.violations,
}


_TAKEN = {
    # "Consecutive `user` or `assistant` turns in your request will be combined into a single turn" (API reference).
    "anthropic_messages": ("roles must alternate",),
    # Gemini joins contents of one role and pairs calls without ids by their order; signatures are asked for from
    # Gemini 3 on, and this is 2.5.
    "gemini": (
        "roles must alternate",
        "two function calls cannot be told apart",
        "function call is missing a thought_signature",
    ),
}
"""What the strict servers of `tests.validators` refuse of our own targets, and these providers take: the packages of
LangChain and CrewAI send it for sound histories too."""


def refused(request: ScriptedRequest) -> list[str]:
    """What the provider refuses in a request."""
    body = request.body
    if request.dialect == "openai_responses":
        body = _as_declared(body)
    return [each for each in VIOLATIONS[request.dialect](body) if each not in _TAKEN.get(request.dialect, ())]


def _as_declared(body: Mapping[str, Any]) -> dict[str, Any]:
    """The body with what the SDK declares and the provider does not ask for: langchain-openai writes the assistant's
    messages without ids, llama-index-llms-openai writes settings that are not set as null."""
    told = {name: value for name, value in body.items() if value is not None}
    if not isinstance(told["input"], str):
        said = {"id": "msg_1", "status": "completed"}
        told["input"] = [
            {**said, **item} if isinstance(item.get("content"), list) and item.get("role") == "assistant" else item
            for item in told["input"]
        ]
    return told


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider("Fine.") as made:
        yield made


def langchain_model(dialect: str, provider: ScriptedProvider) -> BaseChatModel:
    root, key = provider.base_url.removesuffix("/v1"), provider.api_key
    match dialect:
        case "anthropic_messages":
            return ChatAnthropic(model="claude-opus-5", base_url=root, api_key=key)  # type: ignore[call-arg,arg-type]
        case "gemini":
            return ChatGoogleGenerativeAI(model="gemini-2.5-flash", base_url=root, api_key=key)
        case _:
            return ChatOpenAI(
                model="gpt-4.1-nano",
                base_url=provider.base_url,
                api_key=key,  # type: ignore[arg-type]
                use_responses_api=dialect == "openai_responses",
            )


def crewai_llm(dialect: str, provider: ScriptedProvider) -> BaseLLM:
    root, key = provider.base_url.removesuffix("/v1"), provider.api_key
    match dialect:
        case "anthropic_messages":
            return AnthropicCompletion(provider="anthropic", model="claude-opus-5", base_url=root, api_key=key)
        case "gemini":
            client: Any = {"http_options": HttpOptions(base_url=root)}
            return GeminiCompletion(provider="gemini", model="gemini-2.5-flash", api_key=key, client_params=client)
        case _:
            api: Any = "responses" if dialect == "openai_responses" else "completions"
            return OpenAICompletion(model="gpt-4.1-nano", base_url=provider.base_url, api_key=key, api=api)


def wire(dialect: str, provider: ScriptedProvider) -> Target:
    model = {"anthropic_messages": "claude-opus-5", "gemini": "gemini-2.5-flash"}.get(dialect, "gpt-4.1")
    name = {"anthropic_messages": "anthropic", "gemini": "google"}.get(dialect, "openai")
    return Target(
        name="wire",
        provider=name,
        model=model,
        base_url=provider.base_url,
        api_key=provider.api_key,
        tier="premium",
        dialect=dialect,  # type: ignore[arg-type]
    )


def pooled(kind: str, ready: Any, wire: Target) -> dict[str, Any]:
    """The pool, in which each target is called in turn."""
    return {"ready": {"ready": ready}, "wire": {"wire": wire}, "mixed": {"ready": ready, "wire": wire}}[kind]


every_way = pytest.mark.parametrize(
    ("dialect", "kind"), [(dialect, kind) for dialect in VIOLATIONS for kind in ("ready", "wire", "mixed")]
)


def refusals(
    provider: ScriptedProvider, dialect: str, write: Callable[[Said], Any], ask: Callable[[list[Any]], object]
) -> dict[str, list[str]]:
    """What the provider refuses of each history. `ask` must leave the messages as they are, and reach it each time."""
    found: dict[str, list[str]] = {}
    for what, history in HISTORIES.items():
        messages = [write(said) for said in history]
        before, first = copy.deepcopy(messages), len(provider.requests)
        ask(messages)
        assert messages == before
        requests = provider.requests[first:]
        assert {request.dialect for request in requests} == {dialect}
        blamed = [each for request in requests for each in refused(request)]
        if blamed:
            found[what] = blamed
    return found


@every_way
def test_langchain(provider: ScriptedProvider, dialect: str, kind: str) -> None:
    targets = pooled(kind, langchain_model(dialect, provider), wire(dialect, provider))
    model = RoutedChatModel(targets=targets)

    def ask(messages: list[Any]) -> None:
        for name in targets:
            model.invoke(messages, {"configurable": {"agentroute": {"target": name}}})

    assert not refusals(provider, dialect, in_langchain, ask)
    steps = model.router.ledger.decisions[-len(targets) :]  # type: ignore[attr-defined]
    assert not [warning for step in steps for warning in step.warnings], "the last history has no fault"
    model.router.close()


@every_way
def test_crewai(provider: ScriptedProvider, dialect: str, kind: str) -> None:
    targets = pooled(kind, crewai_llm(dialect, provider), wire(dialect, provider))
    llm = CrewLLM(targets=targets)

    def ask(messages: list[Any]) -> None:
        for name in targets:
            assert llm.for_agent(target=name).call(messages) == "Fine."

    assert not refusals(provider, dialect, in_crewai, ask)
    llm.router.close()


@pytest.mark.parametrize(
    ("dialect", "kind"),
    [(dialect, kind) for dialect in ("openai_chat", "openai_responses") for kind in ("ready", "wire", "mixed")]
    + [("anthropic_messages", "wire"), ("gemini", "wire")],
)
def test_llama_index(provider: ScriptedProvider, dialect: str, kind: str) -> None:
    """Ready ones of OpenAI's two dialects: LlamaIndex's packages of others do not start beside today's SDKs."""
    own = OpenAI if dialect == "openai_chat" else OpenAIResponses
    ready = own(model="gpt-4.1-nano", api_base=provider.base_url, api_key=provider.api_key)
    targets = pooled(kind, ready, wire(dialect, provider))
    llm = IndexLLM(targets=targets)

    def ask(messages: list[Any]) -> None:
        for name in targets:
            assert llm.for_agent(target=name).chat(messages).message.content == "Fine."

    assert not refusals(provider, dialect, in_llama_index, ask)
    llm.router.close()


@pytest.mark.parametrize("kind", ["function_call", "tool_use"])
def test_a_call_that_only_the_content_of_an_answer_holds(provider: ScriptedProvider, kind: str) -> None:
    """A middleware took the call back from `tool_calls`; the integration's own block of it stayed."""
    dialect = {"function_call": "openai_responses", "tool_use": "anthropic_messages"}[kind]
    own = {
        "function_call": {"type": kind, "call_id": "c1", "id": "fc_1", "name": "get_weather", "arguments": "{}"},
        "tool_use": {"type": kind, "id": "c1", "name": "get_weather", "input": {}},
    }[kind]
    said = AIMessage([{"type": "text", "text": "I look."}, own])
    said.tool_calls = []
    model = RoutedChatModel(targets={"ready": langchain_model(dialect, provider)})
    model.invoke([HumanMessage("The weather?"), said, HumanMessage("Go on.")])
    model.router.close()
    (request,) = provider.requests
    assert refused(request) == []
    assert "get_weather" not in json.dumps(dict(request.body)).replace("The weather?", "")
