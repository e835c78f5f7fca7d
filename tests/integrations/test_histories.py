"""Broken histories: a ready model's provider gets one that its strict server takes, whichever framework calls it."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
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


_NOT_OURS = (
    "shape: ",
    "roles must alternate",
    "two function calls cannot be told apart",
    "function call is missing a thought_signature",
)


def refused(request: ScriptedRequest) -> list[str]:
    """What the history is to blame for. The rest is each integration's own: the shape of a body, turns of one role in a
    row (servers join them), calls of Gemini without ids, and signatures, which this model does not ask for."""
    found = VIOLATIONS[request.dialect](request.body)
    return [each for each in found if not each.startswith(_NOT_OURS)]


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
            return OpenAICompletion(model="gpt-4.1-nano", base_url=provider.base_url, api_key=key)


def wire(provider: ScriptedProvider) -> Target:
    return provider.target(name="wire", model="gpt-4.1", tier="premium")


every_history = pytest.mark.parametrize("what", HISTORIES)


@every_history
@pytest.mark.parametrize("dialect", VIOLATIONS)
def test_langchain(provider: ScriptedProvider, dialect: str, what: str) -> None:
    messages = [in_langchain(said) for said in HISTORIES[what]]
    before = copy.deepcopy(messages)
    model = RoutedChatModel(targets={"ready": langchain_model(dialect, provider), "wire": wire(provider)})
    answer = model.invoke(messages, {"configurable": {"agentroute": {"target": "ready"}}})
    model.router.close()
    (request,) = provider.requests
    assert (request.dialect, refused(request)) == (dialect, [])
    assert messages == before
    warnings = answer.response_metadata["agentroute"]["attempts"][-1].get("warnings") or []
    if what == "no fault at all":
        assert not warnings


@every_history
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini"])
def test_crewai(provider: ScriptedProvider, dialect: str, what: str) -> None:
    messages = [in_crewai(said) for said in HISTORIES[what]]
    before = copy.deepcopy(messages)
    llm = CrewLLM(targets={"ready": crewai_llm(dialect, provider), "wire": wire(provider)})
    assert llm.for_agent(target="ready").call(messages) == "Fine."
    llm.router.close()
    (request,) = provider.requests
    assert (request.dialect, refused(request)) == (dialect, [])
    assert messages == before


@every_history
@pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
def test_llama_index(provider: ScriptedProvider, dialect: str, what: str) -> None:
    messages = [in_llama_index(said) for said in HISTORIES[what]]
    before = copy.deepcopy(messages)
    made = OpenAI if dialect == "openai_chat" else OpenAIResponses
    ready = made(model="gpt-4.1-nano", api_base=provider.base_url, api_key=provider.api_key)
    llm = IndexLLM(targets={"ready": ready, "wire": wire(provider)})
    assert llm.for_agent(target="ready").chat(messages).message.content == "Fine."
    llm.router.close()
    (request,) = provider.requests
    assert (request.dialect, refused(request)) == (dialect, [])
    assert messages == before


@pytest.mark.parametrize("kind", ["function_call", "tool_use"])
def test_a_call_that_only_the_content_of_an_answer_holds(provider: ScriptedProvider, kind: str) -> None:
    """A middleware took the call back from `tool_calls`; the integration's own block of it stayed."""
    dialect = {"function_call": "openai_responses", "tool_use": "anthropic_messages"}[kind]
    own = {
        "function_call": {"type": kind, "call_id": "c1", "id": "fc_1", "name": "weather", "arguments": "{}"},
        "tool_use": {"type": kind, "id": "c1", "name": "weather", "input": {}},
    }[kind]
    said = AIMessage([{"type": "text", "text": "I look."}, own])
    said.tool_calls = []
    model = RoutedChatModel(targets={"ready": langchain_model(dialect, provider)})
    model.invoke([HumanMessage("The weather?"), said, HumanMessage("Go on.")])
    model.router.close()
    (request,) = provider.requests
    assert refused(request) == []
    assert "weather" not in json.dumps(dict(request.body)).replace("The weather?", "")
