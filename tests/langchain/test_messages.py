"""LangChain messages to canonical ones and back."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_agentroute.messages import ChunkWriter, done_of, has_content, portable, read_messages, write_message
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    ChatMessage,
    FunctionMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.messages.ai import add_ai_message_chunks

from agentroute import RequestError, Usage
from agentroute.effects import Done
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
    fold,
)
from agentroute.messages import ChatResponse, Image, Message, Reasoning, Text, ToolCall, ToolResult

pytestmark = pytest.mark.requires("langchain", "langchain_openai")


def test_each_kind_of_message() -> None:
    call = {"name": "f", "args": {"a": "é"}, "id": "c1"}
    broken = {"name": "f", "args": '{"a": ', "id": "c2", "error": "cut", "type": "invalid_tool_call"}
    assert read_messages(
        [
            SystemMessage("s"),
            SystemMessage("d", additional_kwargs={"__openai_role__": "developer"}),
            HumanMessage("h", name="ann"),
            ChatMessage("c", role="user"),
            AIMessage("", tool_calls=[call], invalid_tool_calls=[broken], name="bot"),
            ToolMessage("t", tool_call_id="c1", name="f"),
            ToolMessage("no", tool_call_id="c2", status="error"),
        ]
    ) == (
        Message("system", (Text("s"),)),
        Message("developer", (Text("d"),)),
        Message("user", (Text("h"),), "ann"),
        Message("user", (Text("c"),)),
        Message("assistant", (ToolCall("c1", "f", '{"a": "é"}'), ToolCall("c2", "f", '{"a": ')), "bot"),
        Message("tool", (ToolResult("c1", (Text("t"),), None, "f"),)),
        Message("tool", (ToolResult("c2", (Text("no"),), True),)),
    )


@pytest.mark.parametrize(
    "block",
    [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
        {"type": "image", "base64": "AAAA", "mime_type": "image/png"},
        {"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ],
    ids=["openai", "v1", "v0", "anthropic"],
)
def test_an_image_in_every_spelling(block: dict[str, Any]) -> None:
    (message,) = read_messages([HumanMessage([{"type": "text", "text": "look"}, block])])
    assert message.parts == (Text("look"), Image(data="AAAA", media_type="image/png"))


def test_what_a_model_thought_is_kept_with_where_it_came_from() -> None:
    thought: Any = [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "4"}]
    tool: Any = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    origin = {"agentroute": {"target": "opus"}, "model_provider": "anthropic"}
    (message,) = read_messages([AIMessage([*thought, tool], response_metadata=origin)])
    assert message.parts == (Reasoning("hm", "sig", "opus"), Text("4"))
    (message,) = read_messages([AIMessage("4", additional_kwargs={"reasoning_content": "hm"})])
    assert message.parts == (Reasoning("hm"), Text("4"))


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (HumanMessage([{"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}]), "'audio'"),
        (HumanMessage([{"type": "document", "source": {}}]), "'document'"),
        (FunctionMessage("x", name="f"), "FunctionMessage"),
        (ChatMessage("x", role="critic"), "ChatMessage"),
    ],
)
def test_what_cannot_be_held_is_named_with_its_place(message: Any, named: str) -> None:
    with pytest.raises(RequestError, match=f"message 1 .*{named}"):
        read_messages([HumanMessage("hi"), message])


EVENTS: list[Event] = [
    Started("id-1", "gpt-x"),
    ReasoningDelta("hm"),
    TextDelta("Let "),
    UsageReported(Usage(1, 0)),
    TextDelta("me."),
    ToolCallStarted(0, "c1", "f"),
    ToolCallDelta(0, '{"a"'),
    ToolCallDelta(0, ": 1}"),
    ToolCallStarted(1, "c2", "g"),
    Finished("tool_calls"),
    UsageReported(Usage(10, 5, 4, 2, 3)),
]


def written(events: list[Event]) -> AIMessageChunk:
    writer = ChunkWriter("openai")
    chunks = [chunk for event in events if (chunk := writer.write(event)) is not None]
    return add_ai_message_chunks(*chunks, writer.last())


def test_a_stream_and_the_whole_say_the_same() -> None:
    whole = write_message(fold(EVENTS), "openai")
    for message in (whole, written(EVENTS)):
        assert message.content == "Let me."
        assert message.additional_kwargs == {"reasoning_content": "hm"}
        assert [(c["id"], c["name"], c["args"]) for c in message.tool_calls] == [("c1", "f", {"a": 1}), ("c2", "g", {})]
        assert message.usage_metadata == {
            "input_tokens": 10,
            "output_tokens": 5,
            "total_tokens": 15,
            "input_token_details": {"cache_read": 4, "cache_creation": 2},
            "output_token_details": {"reasoning": 3},
        }
        assert message.response_metadata == {
            "model_name": "gpt-x",
            "finish_reason": "tool_calls",
            "id": "id-1",
            "model_provider": "openai",
        }


def test_arguments_that_are_no_json_are_never_repaired() -> None:
    response = ChatResponse(Message("assistant", (ToolCall("c1", "rm", '{"path": "/tm'),)), "length")
    message = write_message(response, "openai")
    assert message.tool_calls == []
    assert [(c["name"], c["args"]) for c in message.invalid_tool_calls] == [("rm", '{"path": "/tm')]


@pytest.mark.parametrize("usage", [None, Usage(), Usage(input_tokens=3), Usage(output_tokens=3)])
def test_unknown_usage_stays_unknown(usage: Usage | None) -> None:
    message = write_message(ChatResponse(Message("assistant", (Text("x"),)), usage=usage), "openai")
    assert message.usage_metadata is None


@pytest.mark.parametrize(
    ("message", "content"),
    [
        (AIMessageChunk(""), False),
        (AIMessageChunk("x"), True),
        (AIMessageChunk([]), False),
        (AIMessageChunk([{"type": "text", "text": "", "index": 0}]), False),
        (AIMessageChunk([{"type": "thinking", "thinking": "hm", "index": 0}]), True),
        (AIMessageChunk("", additional_kwargs={"reasoning_content": "hm"}), True),
        (AIMessageChunk("", tool_call_chunks=[{"name": "f", "args": "", "id": "1", "index": 0}]), True),
        (AIMessage("", tool_calls=[{"name": "f", "args": {}, "id": "1"}]), True),
    ],
)
def test_what_is_content(message: AIMessage, content: bool) -> None:
    assert has_content(message) is content


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"finish_reason": "tool_calls"}, "tool_calls"),
        ({"stop_reason": "end_turn"}, "stop"),
        ({"finish_reason": "MAX_TOKENS"}, "length"),
        ({"status": "completed"}, "stop"),
        ({"finish_reason": "something new"}, None),
        ({}, None),
    ],
)
def test_a_native_finish_reason(said: dict[str, Any], reason: str | None) -> None:
    assert done_of(None, said) == Done(None, reason)  # type: ignore[arg-type]


def test_a_plain_message_is_portable_as_it_is() -> None:
    message = AIMessage("x", tool_calls=[{"name": "f", "args": {}, "id": "1"}])
    assert portable(message) is message
