"""Tools that a provider runs itself: known by their form, and a reason to stay with who has them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, decision_of, native
from langchain_agentroute.builtin_tools import builtin
from langchain_anthropic import ChatAnthropic
from langchain_openai import ChatOpenAI

from agentroute import NoCandidateError, Target
from agentroute.testing import ScriptedProvider

pytestmark = pytest.mark.requires("langchain", "langchain_openai", "langchain_anthropic")

SEARCH = {"type": "web_search_20250305", "name": "web_search"}
PREVIEW = {"type": "web_search_preview"}
GOOGLE: dict[str, Any] = {"google_search": {}}


@pytest.mark.parametrize(
    ("tool", "dialect", "name"),
    [
        (SEARCH, "anthropic_messages", "web_search"),
        ({"type": "bash_20250124", "name": "bash"}, "anthropic_messages", "bash"),
        (PREVIEW, "openai_responses", "web_search_preview"),
        ({"type": "web_search_preview_2025_03_11"}, "openai_responses", "web_search_preview_2025_03_11"),
        ({"type": "code_interpreter", "container": {"type": "auto"}}, "openai_responses", "code_interpreter"),
        (GOOGLE, "gemini", "googleSearch"),
        ({"urlContext": {}}, "gemini", "urlContext"),
    ],
)
def test_known_by_their_form(tool: Any, dialect: str, name: str) -> None:
    found = builtin(tool)
    assert found is not None
    assert found.extra is not None
    assert (found.extra.dialect, found.name) == (dialect, name)


@pytest.mark.parametrize(
    "tool",
    [
        {"type": "function", "function": {"name": "web_search", "parameters": {}}},
        {"name": "web_search", "description": "x", "input_schema": {"type": "object"}},
        {"title": "x"},
        {"type": "object", "title": "City", "properties": {}},
        print,
    ],
)
def test_functions_are_no_builtin_tools(tool: Any) -> None:
    assert builtin(tool) is None


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider("found it") as running:
        yield running


def wire(provider: ScriptedProvider) -> list[Any]:
    return [
        provider.target(name="gpt", model="gpt-4.1-nano", dialect="openai_responses", tier="budget"),
        provider.target(name="chat", model="gpt-4.1", dialect="openai_chat", tier="mid"),
        provider.target(name="claude", model="claude-sonnet-4-6", dialect="anthropic_messages", tier="standard"),
        provider.target(name="gemini", model="gemini-2.5-flash", dialect="gemini", tier="mid"),
    ]


@pytest.mark.parametrize(("tool", "target"), [(SEARCH, "claude"), (PREVIEW, "gpt"), (GOOGLE, "gemini")])
def test_wire_targets(provider: ScriptedProvider, tool: Any, target: str) -> None:
    model = RoutedChatModel(targets=wire(provider))
    decision = decision_of(model.bind_tools([tool]).invoke("look it up"))
    model.router.close()
    assert decision is not None
    assert [candidate.target for candidate in decision.candidates] == [target]
    assert {dropped.reason for dropped in decision.dropped} == {
        f"does not have the built-in tool {builtin(tool).name!r}"  # type: ignore[union-attr]
    }
    body: Any = provider.requests[0].body
    assert body["tools"] == [{"googleSearch": {}} if tool is GOOGLE else tool]


def test_native_targets() -> None:
    key: Any = "sk-test"
    ready = {
        "gpt": native(ChatOpenAI(model="gpt-4.1-nano", api_key=key)),
        "claude": native(ChatAnthropic(model_name="claude-sonnet-4-6", api_key=key)),
    }
    model = RoutedChatModel(targets=ready)
    for tool, target in ((SEARCH, "claude"), (PREVIEW, "gpt")):
        bound = model.bind_tools([tool])
        opened = model._open("look it up", None, None, dict(bound.kwargs))  # type: ignore[attr-defined]
        assert [t.name for t in opened.prepare(stream=False).targets] == [target]


def test_a_pin_to_who_does_not_have_it() -> None:
    model = RoutedChatModel(targets=[Target(provider="openai", model="gpt-4.1-nano", api_key="sk-test")])
    with pytest.raises(NoCandidateError, match="does not have the built-in tool 'web_search'"):
        model.bind_tools([SEARCH]).invoke("look it up")


def test_beside_a_function(provider: ScriptedProvider) -> None:
    def add(a: int, b: int) -> int:
        """Adds."""
        return a + b

    model = RoutedChatModel(targets=wire(provider))
    model.bind_tools([SEARCH, add]).invoke("look it up")
    model.router.close()
    body: Any = provider.requests[0].body
    assert [tool["name"] for tool in body["tools"]] == ["web_search", "add"]
