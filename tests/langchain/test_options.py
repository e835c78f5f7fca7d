"""Tools, tool choice and schemas: what a call was bound with, in the way of the target that is chosen."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, decision_of
from langchain_agentroute.options import Options, normal_choice
from langchain_agentroute.tool_sources import ToolSources
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.runnables import RunnableBinding
from langchain_core.tools import tool
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from agentroute import ChatRequest, RequestError, Target
from agentroute.messages import ToolChoice
from agentroute.testing import Fault, ScriptedProvider, ScriptedReply, nth, tool_call

from .pools import POOLS, SMALL, pool

pytestmark = pytest.mark.requires("langchain", "langchain_openai")


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


class City(BaseModel):
    """A city."""

    name: str = Field(description="its name")
    inhabitants: int


class CityDict(TypedDict):
    """A city."""

    name: str
    inhabitants: int


PARIS = City(name="Paris", inhabitants=2000000)
JSON = '{"name": "Paris", "inhabitants": 2000000}'


def structured(request: ChatRequest) -> ScriptedReply | str:
    if request.response_schema is not None:
        return JSON
    if request.tool_choice is not None:
        return ScriptedReply(tool_calls=(tool_call(request.tools[0].name, name="Paris", inhabitants=2000000),))
    return "no schema was asked for"


@pytest.fixture
def provider() -> Iterator[ScriptedProvider]:
    with ScriptedProvider(structured, provider="openai") as running:
        yield running


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (None, None),
        ("auto", "auto"),
        ("any", "any"),
        ("required", "any"),
        (True, "any"),
        ("none", "none"),
        (False, "none"),
        ("add", "add"),
        ({"type": "function", "function": {"name": "add"}}, "add"),
        ({"type": "tool", "name": "add"}, "add"),
        ({"type": "any"}, "any"),
        ({"type": "auto", "disable_parallel_tool_use": True}, "auto"),
        ({"type": "none"}, "none"),
        ({"function_calling_config": {"mode": "ANY"}}, "any"),
    ],
)
def test_every_form_of_tool_choice_is_one_of_four(given: Any, expected: str | None) -> None:
    assert normal_choice(given) == expected


def test_another_form_is_an_error() -> None:
    with pytest.raises(RequestError, match="tool_choice"):
        normal_choice({"type": "sometimes"})


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("any", "required"),
        ("required", "required"),
        ({"type": "tool", "name": "add"}, {"type": "function", "function": {"name": "add"}}),
        ("none", "none"),
        ("auto", "auto"),
        (None, None),
    ],
)
def test_each_target_is_told_in_its_own_way(kind: str, choice: Any, sent: Any, provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool(kind, provider))
    bound = model.bind_tools([add], tool_choice=choice, parallel_tool_calls=False)
    for target in ("small", "strong"):
        bound.invoke("2+2", {"configurable": {"agentroute": {"target": target}}})
    model.router.close()
    for request in provider.requests:
        assert request.body.get("tool_choice") == sent
        assert request.body["parallel_tool_calls"] is False
        assert request.body["tools"][0]["function"]["name"] == "add"
        assert request.body["tools"][0]["function"]["parameters"]["required"] == ["a", "b"]


def test_the_binding_shows_openai_dicts_and_keeps_what_it_was_given() -> None:
    model = RoutedChatModel(targets=[Target(provider="openai", model=SMALL, api_key="x")])
    builtin = {"type": "web_search_preview"}
    bound = model.bind_tools([add, City, builtin], strict=True)
    assert isinstance(bound, RunnableBinding)
    assert [t["type"] for t in bound.kwargs["tools"]] == ["function", "function", "web_search_preview"]
    assert bound.kwargs["tools"][0]["function"]["strict"] is True
    assert bound.kwargs["agentroute_tools"].sources == (add, City, builtin)


def test_tools_bound_later_take_the_place_of_earlier_ones() -> None:
    first = ToolSources.of([add])
    other = {"type": "function", "function": {"name": "other", "parameters": {}}}
    options = Options.of({"tools": [other], "agentroute_tools": first})
    assert options.tools is not None
    assert options.tools.sources == (other,)


def test_anthropic_is_told_none_in_its_own_form() -> None:
    class Claude(GenericFakeChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            return self.bind(tools=tools, **kwargs)

    tools = ToolSources.of([add])
    options = Options.of({"tools": tools.formatted, "agentroute_tools": tools, "tool_choice": "none"})
    target = Target(provider="anthropic", model="claude", dialect="native")
    kwargs, _ = options.for_native(Claude(messages=iter(())), target, {})
    assert kwargs == {"tools": [add], "tool_choice": {"type": "none"}}
    assert options.request([]).tool_choice == ToolChoice("none")


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("method", [None, "json_schema", "function_calling"])
@pytest.mark.parametrize("schema", [City, CityDict, City.model_json_schema()], ids=["pydantic", "typed dict", "json"])
class TestStructuredOutput:
    def test_on_whichever_target(self, kind: str, method: Any, schema: Any, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool(kind, provider))
        asking = model.with_structured_output(schema, method=method)
        for target in ("small", "strong"):
            answer = asking.invoke("Paris?", {"configurable": {"agentroute": {"target": target}}})
            assert answer == (PARIS if schema is City else PARIS.model_dump())
        model.router.close()


@pytest.mark.parametrize("kind", POOLS)
class TestStructuredOutputAround:
    def test_with_failover_and_the_raw_message(self, kind: str) -> None:
        with ScriptedProvider(structured, provider="openai", fault=nth(1, Fault.error(503), model=SMALL)) as provider:
            model = RoutedChatModel(targets=pool(kind, provider))
            got = model.with_structured_output(City, include_raw=True).invoke("Paris?")
            model.router.close()
        assert got["parsed"] == PARIS
        assert got["parsing_error"] is None
        decision = decision_of(got["raw"])
        assert decision is not None
        assert [a.target for a in decision.attempts] == ["small", "strong"]

    async def test_on_a_loop(self, kind: str, provider: ScriptedProvider) -> None:
        model = RoutedChatModel(targets=pool(kind, provider))
        assert await model.with_structured_output(City).ainvoke("Paris?") == PARIS
        await model.router.aclose()


@pytest.mark.parametrize("kind", POOLS)
def test_strict_reaches_every_target(kind: str, provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool(kind, provider))
    asking = model.with_structured_output(CityDict, strict=True)
    for target in ("small", "strong"):
        asking.invoke("Paris?", {"configurable": {"agentroute": {"target": target}}})
    model.router.close()
    assert [request.body["response_format"]["json_schema"]["strict"] for request in provider.requests] == [True, True]


def test_the_step_is_known_as_structured(provider: ScriptedProvider) -> None:
    model = RoutedChatModel(targets=pool("wire", provider))
    raw = model.with_structured_output(City, include_raw=True).invoke("Paris?")["raw"]
    assert decision_of(raw).step_kind.value == "structured"  # type: ignore[union-attr]
    model.router.close()


@pytest.mark.parametrize("kind", ["wire", "mixed"])
def test_an_answer_of_another_shape_is_an_error(kind: str) -> None:
    with ScriptedProvider('{"name": 3}', provider="openai") as provider:
        model = RoutedChatModel(targets=pool(kind, provider))
        got = model.with_structured_output(City, include_raw=True).invoke("Paris?")
        model.router.close()
    assert got["parsed"] is None
    assert isinstance(got["parsing_error"], ValueError)
