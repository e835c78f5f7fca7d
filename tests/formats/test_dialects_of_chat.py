"""Where servers of the chat dialect differ, and what another dialect's request loses on its way there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentroute import ChatRequest, Message, Tool, ToolCall, ToolResult, fold
from agentroute.formats import openai_chat
from agentroute.formats.base import Encoded
from agentroute.formats.openai_chat import DIALECT, StreamDecoder, decode_request, decode_response
from agentroute.messages import Extra, Reasoning, ResponseSchema, Sampling, Text
from agentroute.providers import Quirks

USER = Message("user", (Text("hello"),))


def encoded(*messages: Message, quirks: Quirks | None = None, **fields: Any) -> Encoded:
    return openai_chat.encode_request(ChatRequest(messages or (USER,), **fields), quirks=quirks or Quirks())


class TestQuirks:
    def test_another_name_for_a_field(self) -> None:
        found = encoded(sampling=Sampling(seed=0), quirks=Quirks(renamed=(("seed", "random_seed"),)))
        assert (found.body["random_seed"], "seed" in found.body, found.changes) == (0, False, ())

    def test_a_field_that_is_refused_is_left_out_and_named(self) -> None:
        quirks = Quirks(refused=("frequency_penalty", "logit_bias"))
        found = encoded(
            sampling=Sampling(frequency_penalty=0.5), extra=Extra(DIALECT, {"logit_bias": {"1": 2}}), quirks=quirks
        )
        assert set(found.body) == {"messages"}
        assert found.changes == (
            "`frequency_penalty` left out: this server refuses it",
            "`logit_bias` left out: this server refuses it",
        )
        assert encoded(quirks=quirks).changes == (), "what was not asked for is not missed"

    def test_no_schema(self) -> None:
        schema = ResponseSchema({"type": "object"}, "answer")
        found = encoded(response_schema=schema, quirks=Quirks(json_schema=False))
        assert found.body["response_format"] == {"type": "json_object"}
        assert len(found.changes) == 1
        assert encoded(response_schema=schema).body["response_format"]["type"] == "json_schema"

    def test_no_names_of_speakers(self) -> None:
        quirks = Quirks(message_names=False)
        spoken = (Message("user", (Text("a"),), "ann"), Message("assistant", (Text("b"),), "bob"))
        found = encoded(*spoken, Message("tool", (ToolResult("c", (Text("r"),), None, "look"),)), quirks=quirks)
        assert not any("name" in raw for raw in found.body["messages"])
        assert found.changes == ("`name` of a message left out: this server refuses it",)

    def test_a_developer_is_a_system_without_a_word(self) -> None:
        found = encoded(Message("developer", (Text("x"),)), quirks=Quirks(developer_role=False))
        assert (found.body["messages"][0]["role"], found.changes) == ("system", ())


class TestReasoning:
    def test_where_none_is_taken_back_it_goes_without_a_word(self) -> None:
        said = Message("assistant", (Reasoning("hm"), Text("x")))
        found = encoded(USER, said, quirks=Quirks(reasoning_field=None))
        assert found.body["messages"][1] == {"role": "assistant", "content": "x"}
        assert found.changes == ()

    def test_a_message_of_nothing_else_goes_and_is_named(self) -> None:
        found = encoded(USER, Message("assistant", (Reasoning("hm"),)), quirks=Quirks(reasoning_field=None))
        assert (len(found.body["messages"]), len(found.changes)) == (1, 1)

    def test_hidden_reasoning_is_no_text(self) -> None:
        said = Message("assistant", (Reasoning("", "sig", "a/b", redacted=True), Text("x")))
        assert encoded(said).body["messages"] == [{"role": "assistant", "content": "x"}]


class TestForeign:
    def test_what_only_another_dialect_has(self) -> None:
        theirs = Extra("anthropic_messages", {"cache_control": {"type": "ephemeral"}})
        document = Extra("anthropic_messages", {"type": "document", "source": {}})
        found = encoded(
            Message("user", (Text("a", theirs), Text("", document))),
            tools=(
                Tool("look", "Looks.", {"type": "object"}, extra=theirs),
                Tool("web_search", extra=Extra("anthropic_messages", {"type": "web_search_20250305"})),
            ),
            extra=Extra("anthropic_messages", {"thinking": {"type": "adaptive"}}),
        )
        assert found.body["messages"] == [{"role": "user", "content": "a"}]
        assert [tool["function"]["name"] for tool in found.body["tools"]] == ["look"]
        assert [change.split(" left out")[0] for change in found.changes] == [
            "`thinking`",
            "`cache_control`",
            "the tool `web_search`",
            "a part `document`",
        ]

    def test_a_tool_that_failed(self) -> None:
        said = Message("assistant", (ToolCall("c", "look", "{}"),))
        found = encoded(said, Message("tool", (ToolResult("c", (Text("boom"),), True),)))
        assert found.body["messages"][1] == {"role": "tool", "tool_call_id": "c", "content": "boom"}
        assert found.changes == ("`is_error` of a tool result left out: the dialect has no such field",)


class TestSignatures:
    """Byte for byte, with the model they came from, whole and streamed alike."""

    def test_openrouter(self) -> None:
        detail = {"type": "reasoning.text", "text": "hm so", "signature": "EuQC+/==", "format": "x", "index": 0}
        sealed = {"type": "reasoning.encrypted", "data": "gAAA", "index": 1}
        message = {"role": "assistant", "content": "x", "reasoning": "hm so", "reasoning_details": [detail, sealed]}
        whole = decode_response(_answer(message), origin="openrouter/a").message
        assert whole.extra == Extra(DIALECT, {"reasoning_details": [detail, sealed]}, "openrouter/a")
        first = {"type": "reasoning.text", "text": "hm", "format": "x", "index": 0}
        streamed = _streamed(
            {"reasoning": "hm", "reasoning_details": [first]},
            {"reasoning": " so", "reasoning_details": [{**first, "text": " so"}]},
            {"reasoning_details": [{"type": "reasoning.text", "signature": "EuQC+/==", "index": 0}]},
            {"reasoning_details": [sealed]},
            {"content": "x"},
        )
        assert streamed.extra == whole.extra
        sent = encoded(streamed).body["messages"][0]
        assert sent["reasoning_details"] == [detail, sealed]

    def test_google(self) -> None:
        call = {
            "id": "c",
            "type": "function",
            "function": {"name": "look", "arguments": "{}"},
            "extra_content": {"google": {"thought_signature": "CiQ+/=="}},
        }
        message = {"role": "assistant", "tool_calls": [call]}
        whole = decode_response(_answer(message), origin="google/g").message
        assert whole == _streamed({"tool_calls": [{**call, "index": 0}]}, origin="google/g")
        (found,) = whole.tool_calls
        assert found.extra == Extra(DIALECT, {"extra_content": call["extra_content"]}, "google/g")
        assert encoded(whole).body["messages"][0]["tool_calls"] == [call]

    def test_a_callers_own_fields_name_no_model(self) -> None:
        (message,) = decode_request({"messages": [{"role": "assistant", "content": "x", "odd": 1}]}).messages
        assert message.extra == Extra(DIALECT, {"odd": 1}, None)

    @pytest.mark.parametrize(
        "message",
        [
            {"content": "x", "reasoning": "hm"},
            {"content": None, "refusal": "No."},
            {"tool_calls": [{"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}}]},
            {
                "content": [
                    {"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]},
                    {"type": "text", "text": "x"},
                ]
            },
        ],
    )
    def test_whole_and_streamed_are_the_same(self, message: dict[str, Any]) -> None:
        calls = [{**call, "index": i} for i, call in enumerate(message.get("tool_calls", ()))]
        delta = {**message, **({"tool_calls": calls} if calls else {})}
        whole = decode_response(_answer({"role": "assistant", **message}), origin="a/b").message
        streamed = _streamed(delta, origin="a/b")
        assert [(type(p), p.extra) for p in streamed.parts if not isinstance(p, Reasoning) or p.extra] == [
            (type(p), p.extra) for p in whole.parts if not isinstance(p, Reasoning) or p.extra != REASONING
        ]
        assert streamed.text == whole.text

    def test_a_refusal_in_pieces_is_one_part(self) -> None:
        whole = decode_response(_answer({"role": "assistant", "refusal": "I will not."})).message
        assert _streamed({"refusal": "I will "}, {"refusal": "not."}) == whole


REASONING = Extra(DIALECT, {"field": "reasoning"})


def _answer(message: dict[str, Any]) -> dict[str, Any]:
    return {"id": "a", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}


def _streamed(*deltas: dict[str, Any], origin: str = "openrouter/a") -> Message:
    decoder = StreamDecoder(origin=origin)
    found = []
    for delta in deltas:
        found += decoder.feed(json.dumps({"id": "a", "choices": [{"index": 0, "delta": delta}]}))
    found += decoder.feed(json.dumps({"id": "a", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}))
    return fold(found + decoder.close()).message
