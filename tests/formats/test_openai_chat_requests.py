"""OpenAI request bodies: read whole, written back the same, and refused with the place of what is wrong."""

from __future__ import annotations

import copy
import json
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import ChatRequest, Message, RequestError, Tool, ToolCall, ToolResult
from agentroute.formats import openai_chat
from agentroute.formats.openai_chat import DIALECT, decode_request
from agentroute.messages import Extra, Image, Reasoning, ResponseSchema, Sampling, Text, ToolChoice
from agentroute.providers import Quirks

USER = {"role": "user", "content": "hello"}
CALL = {"id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"a": 1}'}}
LOOP = [
    {"role": "system", "content": "be brief"},
    USER,
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "found"},
    {"role": "assistant", "content": "done"},
]
TOOL = {"type": "function", "function": {"name": "look", "description": "Looks.", "parameters": {"type": "object"}}}


def encode_request(request: ChatRequest, **options: Any) -> dict[str, Any]:
    return openai_chat.encode_request(request, **options).body


def messages(*raw: Any) -> tuple[Message, ...]:
    return decode_request({"messages": list(raw)}).messages


def again(**body: Any) -> dict[str, Any]:
    """What `body` (with one message where it has none) is after a round trip."""
    return encode_request(decode_request({"messages": [USER], **body}))


class TestMessages:
    def test_a_tool_loop(self) -> None:
        assert messages(*LOOP) == (
            Message("system", (Text("be brief"),)),
            Message("user", (Text("hello"),)),
            Message("assistant", (ToolCall("c1", "look", '{"a": 1}'),)),
            Message("tool", (ToolResult("c1", (Text("found"),)),)),
            Message("assistant", (Text("done"),)),
        )

    @pytest.mark.parametrize("raw", LOOP, ids=lambda raw: raw["role"])
    def test_the_fast_way_and_the_thorough_way_agree(self, raw: dict[str, Any]) -> None:
        class Other(dict[str, Any]):
            """Not exactly a dict, so the fast way leaves it alone."""

        (fast,) = messages(raw)
        (thorough,) = decode_request({"messages": [{**raw, "unknown": 1}]}).messages
        assert thorough.extra == Extra(DIALECT, {"unknown": 1})
        assert Message(thorough.role, thorough.parts) == fast == Message(fast.role, fast.parts)
        assert hash(fast.role) == hash(thorough.role)
        assert messages(Other(raw)) == (fast,)

    def test_what_was_built_fast_is_frozen_all_the_same(self) -> None:
        for message in messages(*LOOP):
            for value in (message, *message.parts):
                with pytest.raises(FrozenInstanceError):
                    value.extra = None  # type: ignore[misc]
                assert not hasattr(value, "__dict__")
                assert copy.copy(value) == value
                assert repr(value).startswith(type(value).__name__ + "(")

    @pytest.mark.parametrize(
        ("content", "parts"),
        [
            ("hi", (Text("hi"),)),
            ("", (Text(""),)),
            (None, ()),
            ([], ()),
            ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], (Text("a"), Text("b"))),
            (["a"], (Text("a"),)),
            (
                [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}],
                (Text("a", Extra(DIALECT, {"cache_control": {"type": "ephemeral"}})),),
            ),
            ([{"type": "image_url", "image_url": {"url": "https://x/y.png"}}], (Image("https://x/y.png"),)),
            ([{"type": "image_url", "image_url": "https://x/y.png"}], (Image("https://x/y.png"),)),
            (
                [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}],
                (Image(data="AAAA", media_type="image/png", detail="low"),),
            ),
            ([{"type": "image_url", "image_url": {"url": "data:text/plain,hi"}}], (Image("data:text/plain,hi"),)),
        ],
    )
    def test_content(self, content: Any, parts: Any) -> None:
        for role in ("user", "developer", "assistant"):
            assert messages({"role": role, "content": content}) == (Message(role, parts),)  # type: ignore[arg-type]
        (result,) = messages({"role": "tool", "tool_call_id": "c", "content": content})[0].tool_results
        assert result.content == parts

    def test_reasoning(self) -> None:
        for field in ("reasoning_content", "reasoning"):
            raw = {"role": "assistant", "content": "x", field: "hm"}
            (message,) = messages(raw)
            assert [type(part) for part in message.parts] == [Reasoning, Text]
            assert message.parts[0].text == "hm"  # type: ignore[union-attr]
            assert encode_request(decode_request({"messages": [raw]}))["messages"] == [raw]

    def test_reasoning_given_twice_is_read_once(self) -> None:
        (message,) = messages({"role": "assistant", "content": "x", "reasoning": "hm", "reasoning_content": "hm"})
        assert message.parts == (Reasoning("hm"), Text("x"))

    def test_reasoning_as_mistral_writes_it(self) -> None:
        thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}
        raw = {"role": "assistant", "content": [thinking, {"type": "text", "text": "x"}]}
        (message,) = messages(raw)
        assert isinstance(message.parts[0], Reasoning)
        assert message.parts[0].text == "hm"
        assert encode_request(decode_request({"messages": [raw]}))["messages"] == [raw]

    def test_a_refusal_is_text_that_is_written_back_as_one(self) -> None:
        raw = {"role": "assistant", "content": None, "refusal": "I will not."}
        (message,) = messages(raw)
        assert message.text == "I will not."
        assert encode_request(decode_request({"messages": [raw]}))["messages"] == [raw]

    def test_nulls_of_an_answer_sent_back(self) -> None:
        raw = {"role": "assistant", "content": "x", "refusal": None, "function_call": None, "tool_calls": None}
        assert messages(raw) == (Message("assistant", (Text("x"),)),)

    def test_the_older_functions_become_tools(self) -> None:
        body = {
            "messages": [
                USER,
                {"role": "assistant", "content": None, "function_call": {"name": "look", "arguments": "{}"}},
                {"role": "function", "name": "look", "content": "found"},
            ],
            "functions": [TOOL["function"]],
            "function_call": {"name": "look"},
        }
        request = decode_request(body)
        (call,) = request.messages[1].tool_calls
        (result,) = request.messages[2].tool_results
        assert (call.name, call.arguments) == ("look", "{}")
        assert (result.tool_call_id, result.name, result.text) == (call.id, "look", "found")
        assert request.tools == (Tool("look", "Looks.", {"type": "object"}),)
        assert request.tool_choice == ToolChoice("tool", "look")
        assert request.extra is None
        assert encode_request(request)["tools"] == [TOOL]

    def test_a_result_without_an_id_answers_the_first_open_call(self) -> None:
        calls = [{**CALL, "id": "c1"}, {**CALL, "id": "c2"}]
        found = messages(
            {"role": "assistant", "content": None, "tool_calls": calls},
            {"role": "tool", "content": "one"},
            {"role": "tool", "content": "two"},
        )
        assert [r.tool_call_id for m in found for r in m.tool_results] == ["c1", "c2"]

    def test_a_call_without_an_id_gets_a_stable_one(self) -> None:
        raw = [USER, {"role": "assistant", "tool_calls": [{"function": {"name": "a"}}, {"function": {"name": "b"}}]}]
        ids = [call.id for call in messages(*raw)[1].tool_calls]
        assert len(set(ids)) == 2
        assert ids == [call.id for call in messages(*raw)[1].tool_calls]

    def test_arguments_that_are_an_object(self) -> None:
        (message,) = messages(
            {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": {"x": "é"}}}]}
        )
        assert message.tool_calls[0].parsed() == {"x": "é"}

    def test_custom_tools(self) -> None:
        call = {"id": "c", "type": "custom", "custom": {"name": "sql", "input": "select 1"}}
        tool = {"type": "custom", "custom": {"name": "sql", "description": "d", "format": {"type": "text"}}}
        body = {
            "messages": [USER, {"role": "assistant", "content": None, "tool_calls": [call]}],
            "tools": [tool, {"type": "web_search"}],
            "tool_choice": {"type": "custom", "custom": {"name": "sql"}},
        }
        request = decode_request(body)
        assert request.messages[1].tool_calls[0].name == "sql"
        assert [tool.name for tool in request.tools] == ["sql", "web_search"]
        assert encode_request(request) == body


class TestTheRest:
    def test_every_field_comes_back(self) -> None:
        schema = {"type": "object", "properties": {"a": {"type": "string"}}}
        body = {
            "model": "m",
            "messages": [
                {"role": "developer", "content": "d", "name": "dev"},
                {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
                {
                    "role": "assistant",
                    "content": "x",
                    "name": "bob",
                    "tool_calls": [{**CALL, "extra_content": {"google": {"thought_signature": "s"}}}],
                    "audio": {"id": "a1"},
                    "reasoning_details": [{"type": "reasoning.text", "signature": "s"}],
                },
                {"role": "tool", "tool_call_id": "c1", "content": "found", "name": "look", "odd": [1]},
            ],
            "tools": [
                {
                    "type": "function",
                    "function": {
                        "name": "look",
                        "description": "d",
                        "parameters": schema,
                        "strict": True,
                        "x-inner": 1,
                    },
                    "cache_control": {"type": "ephemeral"},
                }
            ],
            "tool_choice": {"type": "function", "function": {"name": "look"}},
            "parallel_tool_calls": False,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "n", "schema": schema, "strict": True, "description": "d"},
            },
            "temperature": 0.5,
            "top_p": 1,
            "max_completion_tokens": 10,
            "stop": ["a", "b"],
            "seed": 7,
            "presence_penalty": 0.1,
            "frequency_penalty": -0.1,
            "reasoning_effort": "low",
            "user": "u",
            "metadata": {"k": "v"},
            "logit_bias": {},
            "n": 1,
        }
        before = copy.deepcopy(body)
        request = decode_request(body)
        assert body == before, "the caller's body is not changed"
        assert encode_request(request) == body
        assert decode_request(encode_request(request)) == request
        assert request.sampling == Sampling(0.5, 1, 10, ("a", "b"), 7, 0.1, -0.1)
        assert request.response_schema == ResponseSchema(schema, "n", True)
        assert request.to_openai() == body
        assert ChatRequest.from_openai(body) == request

    @pytest.mark.parametrize(
        ("given_", "kept"),
        [
            ({"stop": "x"}, {"stop": ["x"]}),
            ({"max_tokens": 5}, {"max_tokens": 5}),
            ({"max_tokens": 5, "max_completion_tokens": 6}, {"max_tokens": 6}),
            ({"max_tokens": None, "stop": None, "tools": None, "tool_choice": None, "response_format": None}, {}),
            ({"tools": []}, {}),
            ({"tool_choice": "auto"}, {"tool_choice": "auto"}),
            ({"tool_choice": "any"}, {"tool_choice": "required"}),
            ({"response_format": {"type": "text"}}, {}),
            ({"response_format": {"type": "json_object"}}, {"response_format": {"type": "json_object"}}),
            ({"response_format": {"type": "grammar", "grammar": "g"}},) * 2,
            ({"tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto"}}},) * 2,
            ({"stream": True, "stream_options": {"include_usage": True}}, {}),
            ({"prediction": {"type": "content"}},) * 2,
        ],
    )
    def test_spellings(self, given_: dict[str, Any], kept: dict[str, Any]) -> None:
        assert again(**given_) == {"messages": [USER], **kept}

    def test_the_model_and_the_stream_are_the_callers_to_say(self) -> None:
        request = decode_request({"messages": [USER], "model": "auto"})
        body = encode_request(request, model="m", stream=True)
        assert body == {
            "model": "m",
            "messages": [USER],
            "stream": True,
            "stream_options": {"include_usage": True},
        }

    def test_what_a_provider_does_not_take(self) -> None:
        body = {
            "messages": [
                {"role": "developer", "content": "d"},
                {"role": "assistant", "content": "x", "reasoning": "hm"},
            ],
            "max_tokens": 5,
        }
        plain = Quirks(False, "max_completion_tokens", None, False)
        assert encode_request(decode_request(body), stream=True, quirks=plain) == {
            "messages": [{"role": "system", "content": "d"}, {"role": "assistant", "content": "x"}],
            "max_completion_tokens": 5,
            "stream": True,
        }
        deepseek = Quirks(reasoning_field="reasoning_content")
        sent = encode_request(decode_request(body), quirks=deepseek)["messages"][1]
        assert sent == {"role": "assistant", "content": "x", "reasoning_content": "hm"}

    def test_several_results_in_one_message_become_several(self) -> None:
        results = (ToolResult("c1", (Text("a"),), is_error=True), ToolResult("c2", ()))
        request = ChatRequest((Message("tool", (*results, Text("and now?"))),))
        assert encode_request(request)["messages"] == [
            {"role": "tool", "tool_call_id": "c1", "content": "a"},
            {"role": "tool", "tool_call_id": "c2", "content": ""},
            {"role": "user", "content": "and now?"},
        ]

    def test_what_another_dialect_left_is_dropped(self) -> None:
        other = Extra("gemini", {"x": 1})
        request = ChatRequest(
            (Message("user", (Text("a", other),), extra=other),), tools=(Tool("t", extra=other),), extra=other
        )
        assert encode_request(request) == {
            "messages": [{"role": "user", "content": "a"}],
            "tools": [{"type": "function", "function": {"name": "t"}}],
        }

    def test_a_call_cannot_stand_in_a_users_message(self) -> None:
        with pytest.raises(RequestError, match="ToolCall cannot stand"):
            encode_request(ChatRequest((Message("user", (ToolCall("c", "n", ""),)),)))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (None, "the request is None"),
        ([], "the request is a list of 0"),
        ({}, "`messages` is None"),
        ({"messages": []}, "`messages` is empty"),
        ({"messages": "hi"}, "`messages` is a text"),
        ({"messages": {"role": "user"}}, "`messages` is a dict of 1"),
        ({"messages": [USER, "hi"]}, "`messages[1]` is 'hi'"),
        ({"messages": [None]}, "`messages[0]` is None"),
        ({"messages": [USER, {"role": "bot", "content": "x"}]}, "`messages[1].role` is 'bot'; give one of system"),
        ({"messages": [{"content": "x"}]}, "`messages[0].role` is None"),
        ({"messages": [{"role": ["x"], "content": "x"}]}, "`messages[0].role` is a list of 1"),
        ({"messages": [{"role": "user", "content": 5}]}, "`messages[0].content` is 5"),
        ({"messages": [{"role": "user", "content": {"a": 1}}]}, "`messages[0].content` is a dict of 1"),
        ({"messages": [{"role": "user", "content": [5]}]}, "`messages[0].content[0]` is 5"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "`messages[0].content[0].text` is None"),
        ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "`messages[0].content[0].type` is None"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "`messages[0].content[0].image_url`"),
        ({"messages": [{"role": "user", "content": "x", "name": 7}]}, "`messages[0].name` is 7"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "`messages[0].tool_call_id` is None"),
        ({"messages": [{"role": "tool", "tool_call_id": 7, "content": "x"}]}, "`messages[0].tool_call_id` is 7"),
        ({"messages": [{"role": "assistant", "tool_calls": {}}]}, "`messages[0].tool_calls` is a dict of 0"),
        ({"messages": [{"role": "assistant", "tool_calls": [7]}]}, "`messages[0].tool_calls[0]` is 7"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"id": "c"}]}]}, "tool_calls[0].function` is None"),
        (
            {"messages": [{"role": "assistant", "content": None, "tool_calls": [{**CALL, "id": 7}]}]},
            "`messages[0].tool_calls[0].id` is 7",
        ),
        (
            {
                "messages": [
                    {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "a", "arguments": 7}}]}
                ]
            },
            "`messages[0].tool_calls[0].function.arguments` is 7",
        ),
        ({"messages": [{"role": "assistant", "refusal": 7}]}, "`messages[0].refusal` is 7"),
        ({"messages": [USER], "model": 7}, "`model` is 7"),
        ({"messages": [USER], "tools": {"a": 1}}, "`tools` is a dict of 1"),
        ({"messages": [USER], "tools": [7]}, "`tools[0]` is 7"),
        ({"messages": [USER], "tools": [{"type": "function"}]}, "`tools[0].function` is None"),
        ({"messages": [USER], "tools": [{"function": {}}]}, "`tools[0].function.name` is None"),
        (
            {"messages": [USER], "tools": [{"function": {"name": "a", "parameters": []}}]},
            "`tools[0].function.parameters`",
        ),
        ({"messages": [USER], "tools": [{"function": {"name": "a", "strict": "x"}}]}, "`tools[0].function.strict`"),
        (
            {"messages": [USER], "tools": [{"function": {"name": "a", "description": 1}}]},
            "`tools[0].function.description`",
        ),
        ({"messages": [USER], "functions": 7}, "`functions` is 7"),
        ({"messages": [USER], "functions": ["x"]}, "`functions[0]` is 'x'"),
        ({"messages": [USER], "tool_choice": "sometimes"}, "`tool_choice` is 'sometimes'"),
        ({"messages": [USER], "tool_choice": {"type": "function", "function": {}}}, "`tool_choice` is a dict of 2"),
        ({"messages": [USER], "parallel_tool_calls": "no"}, "`parallel_tool_calls` is 'no'"),
        ({"messages": [USER], "response_format": "json"}, "`response_format` is 'json'"),
        ({"messages": [USER], "response_format": {"type": 7}}, "`response_format.type` is 7"),
        ({"messages": [USER], "response_format": {"type": "json_schema"}}, "`response_format.json_schema` is None"),
        ({"messages": [USER], "temperature": "hot"}, "`temperature` is 'hot'"),
        ({"messages": [USER], "temperature": float("nan")}, "`temperature` is nan"),
        ({"messages": [USER], "temperature": True}, "`temperature` is True"),
        ({"messages": [USER], "max_tokens": 1.5}, "`max_tokens` is 1.5"),
        ({"messages": [USER], "seed": "x"}, "`seed` is 'x'"),
        ({"messages": [USER], "stop": [7]}, "`stop` is a list of 1"),
    ],
)
def test_what_is_wrong_is_named(body: Any, says: str) -> None:
    with pytest.raises(RequestError) as caught:
        decode_request(body)
    assert says in str(caught.value)
    assert caught.value.__context__ is None


def test_a_long_or_odd_value_is_cut_in_the_message() -> None:
    with pytest.raises(RequestError) as caught:
        decode_request({"messages": [{"role": "x" * 1000 + "\ud800", "content": ""}]})
    assert len(str(caught.value)) < 250
    str(caught.value).encode()
    with pytest.raises(RequestError) as caught:
        decode_request({"messages": [{"role": "\ud800", "content": ""}]})
    str(caught.value).encode()


def test_deep_json_is_no_problem() -> None:
    deep: Any = {}
    for _ in range(100_000):
        deep = {"properties": deep}
    request = decode_request(
        {
            "messages": [{"role": "user", "content": "x", "odd": deep}],
            "tools": [{"function": {"name": "a", "parameters": deep}}],
        }
    )
    assert encode_request(request)["tools"][0]["function"]["parameters"] is deep
    with pytest.raises(RequestError, match="RecursionError"):
        decode_request(
            {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "a", "arguments": deep}}]}]}
        )


texts = st.text(st.characters(codec=None, exclude_categories=()), max_size=8)
calls = st.fixed_dictionaries(
    {
        "id": st.text(min_size=1, max_size=4),
        "type": st.just("function"),
        "function": st.fixed_dictionaries({"name": st.text(max_size=4), "arguments": texts}),
    },
    optional={"extra_content": st.integers()},
)
parts = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": texts}),
    st.fixed_dictionaries({"type": st.just("image_url"), "image_url": st.fixed_dictionaries({"url": texts})}),
    st.fixed_dictionaries({"type": st.just("input_audio"), "input_audio": st.just({"data": "x"})}),
    st.fixed_dictionaries(
        {
            "type": st.just("input_audio"),
            "input_audio": st.fixed_dictionaries(
                {"data": st.just("UklGRg=="), "format": st.sampled_from(["wav", "mp3"])}, optional={"x": st.integers()}
            ),
        },
        optional={"y": st.integers()},
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("file"),
            "file": st.fixed_dictionaries({"file_id": st.text(max_size=3)})
            | st.fixed_dictionaries(
                {
                    "filename": st.text(min_size=1, max_size=3),
                    "file_data": st.sampled_from(["data:application/pdf;base64,JVBERi0=", "data:text/x;base64,"]),
                },
                optional={"x": st.integers()},
            ),
        },
        optional={"y": st.integers()},
    ),
)
raw_messages = st.one_of(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "developer", "user"]), "content": texts | st.lists(parts, min_size=2)},
        optional={"name": st.text(max_size=3), "unknown": st.integers()},
    ),
    st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": texts | st.none(),
            "tool_calls": st.lists(calls, min_size=1, max_size=3),
        },
        optional={"name": st.text(max_size=3), "annotations": st.just([])},
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": st.text(max_size=3), "content": texts}),
)


@given(st.lists(raw_messages, min_size=1, max_size=5))
def test_round_trip(raw: list[dict[str, Any]]) -> None:
    before = copy.deepcopy(raw)
    request = decode_request({"messages": raw})
    assert raw == before
    assert encode_request(request)["messages"] == raw
    assert decode_request(encode_request(request)) == request
    json.dumps(encode_request(request))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)
FIELDS = [
    "role",
    "content",
    "name",
    "tool_calls",
    "tool_call_id",
    "function_call",
    "refusal",
    "reasoning",
    "reasoning_content",
]


@given(
    st.lists(
        st.dictionaries(st.sampled_from(FIELDS), json_values | st.sampled_from(["user", "assistant", "tool"])),
        max_size=3,
    )
)
def test_anything_is_read_or_refused(raw: list[dict[str, Any]]) -> None:
    try:
        request = decode_request({"messages": raw})
    except RequestError as error:
        str(error).encode()
    else:
        encode_request(request)
