"""Tools are converted once, and anew wherever a model would be told something else."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_agentroute import RoutedChatModel, native
from langchain_core.caches import InMemoryCache
from langchain_core.tools import StructuredTool, tool
from pydantic import create_model

from agentroute import Target
from agentroute.testing import ScriptedProvider

from .pools import chat_openai

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

FUNCTION = {"name": "f", "description": "d", "parameters": {"type": "object", "properties": {}}}


@tool
def add(a: int, b: int) -> int:
    """Adds."""
    return a + b


def unsent() -> RoutedChatModel:
    return RoutedChatModel(targets=[Target(provider="openai", model="gpt-4.1-nano", api_key="sk-test")])


def test_the_same_tools_are_converted_once() -> None:
    model = unsent()
    assert model.known_tools.of([add]).canonical is model.known_tools.of([add]).canonical


def test_a_schema_changed_in_place_is_sent_as_it_is_now() -> None:
    model = unsent()
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "string"}}}
    given = StructuredTool(name="g", description="d", args_schema=schema, func=lambda **_: 1)
    model.bind_tools([given])
    schema["properties"]["b"] = {"type": "integer"}
    (bound,) = model.bind_tools([given]).kwargs["tools"]  # type: ignore[attr-defined]
    assert set(bound["function"]["parameters"]["properties"]) == {"a", "b"}


def test_a_tools_extras_are_part_of_what_it_is() -> None:
    model = unsent()
    first = model.known_tools.of([add])
    changed = add.model_copy()
    changed.extras = {"defer_loading": True}
    before = model.known_tools.of([changed])
    changed.extras = None
    assert model.known_tools.of([changed]).canonical is not before.canonical
    assert model.known_tools.of([add]).canonical is first.canonical


def test_what_a_caller_does_to_a_binding_is_its_own() -> None:
    model = unsent()
    bound: Any = model.bind_tools([add])
    bound.kwargs["tools"][0]["function"]["description"] = "something else"
    bound.kwargs["tools"].append({})
    (fresh,) = model.bind_tools([add]).kwargs["tools"]  # type: ignore[attr-defined]
    assert fresh["function"]["description"] == "Adds."


def test_two_schemas_of_one_name_are_two() -> None:
    with ScriptedProvider('{"x": 1, "y": 2}', provider="openai") as provider:
        ready = chat_openai(provider.base_url, "gpt-4.1-nano", provider.api_key)
        model = RoutedChatModel(targets=[native(ready)])
        for field in ("x", "y"):
            answer: Any = create_model("Answer", **{field: (int, ...)})  # type: ignore[call-overload]
            model.bind_tools([add], response_format=answer, strict=True).invoke("hi")
    sent = [request.body["response_format"]["json_schema"]["schema"]["properties"] for request in provider.requests]  # type: ignore[index,call-overload]
    assert [set(properties) for properties in sent] == [{"x"}, {"y"}]


def test_langchains_cache_tells_calls_of_a_wire_target_apart() -> None:
    with ScriptedProvider("hello there", provider="openai") as provider:
        model = RoutedChatModel(targets=[provider.target(model="gpt-4.1-nano")], cache=InMemoryCache())
        for _ in range(2):
            model.invoke("hi")
            model.invoke("hi", stop=["there"])
            model.bind_tools([FUNCTION], parallel_tool_calls=False).invoke("hi")
            model.bind_tools([FUNCTION], parallel_tool_calls=True).invoke("hi")
        model.router.close()
    assert len(provider.requests) == 4


def test_an_answer_from_langchains_cache_is_not_billed() -> None:
    with ScriptedProvider("hello", provider="openai") as provider:
        ready = chat_openai(provider.base_url, "gpt-4.1-nano", provider.api_key)
        model = RoutedChatModel(targets=[native(ready)], cache=InMemoryCache())
        for _ in range(2):
            model.invoke("hi")
        paid, cached = model.router.ledger.decisions  # type: ignore[attr-defined]
    assert len(provider.requests) == 1
    assert paid.cost is not None
    assert (cached.usage, cached.cost) == (None, None)


def test_a_router_below_a_router_leaves_one_decision() -> None:
    with ScriptedProvider("hello", provider="openai") as provider:
        inner = RoutedChatModel(targets=[provider.target(name="inner", model="gpt-4.1-nano")])
        outer = RoutedChatModel(targets=[native(inner, name="outer", tier="budget")])
        chunks = list(outer.stream("hi"))
        inner.router.close()
    whole = chunks[0]
    for chunk in chunks[1:]:
        whole = whole + chunk
    assert whole.response_metadata["agentroute"]["target"] == "outer"
