"""LangChain messages to canonical ones and back."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_agentroute.messages import (
    ChunkWriter,
    done_of,
    has_content,
    portable,
    read_messages,
    write_history,
    write_message,
)
from langchain_core.load import dumpd, load
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
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer

from agentroute import ChatRequest, RequestError, Target, Tool, Usage, formats
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
    fold,
)
from agentroute.failover.effects import Done
from agentroute.history import repair
from agentroute.messages import (
    Audio,
    ChatResponse,
    Document,
    Extra,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

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
        {"type": "image", "url": "data:image/png;base64,AAAA"},
        {"type": "image", "source_type": "base64", "data": "AAAA", "mime_type": "image/png"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
    ],
    ids=["openai", "v1", "v1-url", "v0", "anthropic"],
)
def test_an_image_in_every_spelling(block: dict[str, Any]) -> None:
    seen = (Text("look"), Image(data="AAAA", media_type="image/png"))
    content: Any = [{"type": "text", "text": "look"}, block]
    human, result = read_messages([HumanMessage(content), ToolMessage(content, tool_call_id="c1")])
    assert human.parts == seen
    assert result.parts == (ToolResult("c1", seen),)


@pytest.mark.parametrize(
    ("block", "name"),
    [
        ({"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,AAAA"}}, "a.pdf"),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf"}, None),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "filename": "a.pdf"}, "a.pdf"),
        ({"type": "file", "base64": "AAAA", "mime_type": "application/pdf", "extras": {"filename": "a.pdf"}}, "a.pdf"),
        ({"type": "file", "source_type": "base64", "data": "AAAA", "mime_type": "application/pdf"}, None),
        (
            {
                "type": "document",
                "title": "a.pdf",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "AAAA"},
            },
            "a.pdf",
        ),
    ],
    ids=["openai", "v1", "v1-name", "v1-extras", "v0", "anthropic"],
)
def test_a_document_in_every_spelling(block: dict[str, Any], name: str | None) -> None:
    human, result = read_messages([HumanMessage([block]), ToolMessage([block], tool_call_id="c1")])
    document = Document(data="AAAA", media_type="application/pdf", name=name)
    assert human.parts == (document,)
    assert result.parts == (ToolResult("c1", (document,)),)


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "audio", "base64": "AAAA", "mime_type": "audio/wav"}, Audio(data="AAAA", media_type="audio/wav")),
        (
            {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            Audio(data="AAAA", media_type="audio/wav"),
        ),
        ({"type": "file", "url": "https://a.example/a.pdf"}, Document("https://a.example/a.pdf")),
        (
            {"type": "document", "source": {"type": "url", "url": "https://a.example/a.pdf"}},
            Document("https://a.example/a.pdf"),
        ),
        ({"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}}, Text("hello")),
        (
            {"type": "image_url", "image_url": {"url": "https://a.example/a.png", "detail": "low"}},
            Image("https://a.example/a.png", detail="low"),
        ),
    ],
)
def test_other_parts_of_a_question(block: dict[str, Any], part: Part) -> None:
    (message,) = read_messages([HumanMessage([block])])
    assert message.parts == (part,)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "text", "text": "long"},
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"}},
        {"type": "file", "base64": "AAAA", "mime_type": "application/pdf"},
        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "hello"}},
    ],
)
def test_a_cache_marker_stays_with_its_part(block: dict[str, Any]) -> None:
    marked: Any = {**block, "cache_control": {"type": "ephemeral"}}
    extra = Extra("anthropic_messages", {"cache_control": {"type": "ephemeral"}})
    (system, human, result) = read_messages(
        [SystemMessage([marked]), HumanMessage([marked]), ToolMessage([marked], tool_call_id="c1")]
    )
    for part in (*system.parts, *human.parts, *result.tool_results[0].content):
        assert part.extra == extra


def test_what_a_native_model_thought_is_kept_with_who_signed_it() -> None:
    thought: Any = [{"type": "thinking", "thinking": "hm", "signature": "sig"}, {"type": "text", "text": "4"}]
    tool: Any = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    by: dict[str, Any] = {
        "agentroute": {"target": "strong"},
        "model_provider": "anthropic",
        "model_name": "claude-opus-5",
    }
    (message,) = read_messages([AIMessage([*thought, tool], response_metadata=by)])
    assert message.parts == (Reasoning("hm", "sig", "anthropic/claude-opus-5"), Text("4"))
    (message,) = read_messages([AIMessage("4", additional_kwargs={"reasoning_content": "hm"})])
    assert message.parts == (Reasoning("hm"), Text("4"))


@pytest.mark.parametrize("provider", [None, "openai", "anthropic", "google_genai", "agentroute"])
def test_an_answer_of_calls_alone(provider: str | None) -> None:
    metadata = {} if provider is None else {"model_provider": provider}
    call = {"name": "f", "args": {}, "id": "c1"}
    said = AIMessage("", tool_calls=[call], response_metadata=metadata, additional_kwargs={"refusal": None})
    (message,) = read_messages([said])
    assert message.parts == (ToolCall("c1", "f", "{}"),)


@pytest.mark.parametrize(
    ("message", "named"),
    [
        (HumanMessage([{"type": "audio", "file_id": "f1"}]), "'audio'"),
        (HumanMessage([{"type": "file", "file": {"file_id": "f1"}}]), "'file'"),
        (HumanMessage([{"type": "video", "base64": "AAAA", "mime_type": "video/mp4"}]), "'video'"),
        (HumanMessage([{"type": "document", "source": {}}]), "'document'"),
        (ToolMessage([{"type": "audio", "base64": "AA", "mime_type": "audio/wav"}], tool_call_id="c"), "'audio'"),
        (FunctionMessage("x", name="f"), "FunctionMessage"),
        (ChatMessage("x", role="critic"), "ChatMessage"),
    ],
)
def test_what_cannot_be_held_is_named_with_its_place(message: Any, named: str) -> None:
    with pytest.raises(RequestError, match=f"message 1 .*{named}"):
        read_messages([HumanMessage("hi"), message])


# --- what a target of ours says --------------------------------------------------------------------------------------

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


def written(events: list[Event], *, blocks: bool = False) -> AIMessageChunk:
    writer = ChunkWriter(blocks=blocks)
    chunks = [chunk for event in events if (chunk := writer.write(event)) is not None]
    return add_ai_message_chunks(AIMessageChunk([] if blocks else ""), *chunks, writer.last())


def test_a_stream_and_the_whole_say_the_same() -> None:
    for message in (write_message(fold(EVENTS)), written(EVENTS)):
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
            "model_provider": "agentroute",
        }


def test_standard_blocks_of_a_stream_and_of_the_whole() -> None:
    streamed = written(EVENTS, blocks=True)
    call: Any = {"type": "tool_call", "name": "f", "args": {"a": 1}, "id": "c1"}
    other: Any = {"type": "tool_call", "name": "g", "args": {}, "id": "c2"}
    blocks = [{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Let me."}, call, other]
    assert [{k: v for k, v in block.items() if k != "index"} for block in streamed.content_blocks] == blocks
    whole = write_message(fold(EVENTS), blocks=True)
    for message in (whole, write_message(fold(EVENTS)), written(EVENTS)):
        assert message.content_blocks == blocks
    for message in (whole, streamed):
        assert message.response_metadata["output_version"] == "v1"
        assert message.text == "Let me."
        assert [call["id"] for call in message.tool_calls] == ["c1", "c2"]


def test_usage_stands_in_one_chunk_of_a_stream() -> None:
    for blocks in (False, True):
        writer = ChunkWriter(blocks=blocks)
        chunks = [chunk for event in EVENTS if (chunk := writer.write(event)) is not None]
        assert [chunk.usage_metadata for chunk in chunks] == [None] * len(chunks)
        usage = writer.last().usage_metadata
        assert usage is not None
        assert usage["total_tokens"] == 15


CLAUDE = "anthropic/claude-opus-5"
REASONED: list[list[Event]] = [
    [
        ReasoningDelta("first"),
        ReasoningSignature("c2lnMQ==", CLAUDE),
        ReasoningSignature("cmVkYWN0ZWQ=", CLAUDE, redacted=True),
        TextDelta("Let me see."),
        ReasoningDelta("then"),
        ReasoningSignature("c2lnMg==", CLAUDE),
        ToolCallStarted(3, "c1", "f"),
        ToolCallDelta(3, "{}"),
        Finished("tool_calls"),
    ],
    [
        ReasoningDelta("hm"),
        ToolCallStarted(0, "c1", "f", Extra("gemini", {"thoughtSignature": "c2ln"}, "google/gemini-3.1-pro")),
        ToolCallDelta(0, "{}"),
        TextDelta("Done.", Extra("gemini", {"thoughtSignature": "dGV4dA=="}, "google/gemini-3.1-pro")),
        Finished("tool_calls"),
    ],
    [
        ReasoningSignature(
            "ZW5jcnlwdGVk",
            "openai/gpt-5.5",
            redacted=True,
            extra=Extra("openai_responses", {"id": "rs_1", "summary": []}, "openai/gpt-5.5"),
        ),
        ToolCallStarted(0, "c1", "f", Extra("openai_responses", {"id": "fc_1"}, "openai/gpt-5.5")),
        Finished("tool_calls"),
    ],
    [
        ReasoningDelta("hm"),
        TextDelta("4"),
        Finished(
            "stop",
            extra=Extra(
                "openai_chat", {"reasoning_details": [{"type": "reasoning.text", "text": "hm"}]}, "openrouter/x"
            ),
        ),
    ],
    [ReasoningDelta("hm"), TextDelta("4"), Finished("stop")],
]
SECRETS = [{"c2lnMQ==", "cmVkYWN0ZWQ=", "c2lnMg=="}, {"c2ln", "dGV4dA=="}, {"ZW5jcnlwdGVk"}]
SIGNERS = [
    Target(provider="anthropic", model="claude-opus-5", api_key="k"),
    Target(provider="google", model="gemini-3.1-pro", api_key="k"),
    Target(provider="openai", model="gpt-5.5", api_key="k", dialect="openai_responses"),
]
IDS = ["anthropic", "gemini", "responses", "openrouter", "plain"]


def canonical(message: Message) -> Message:
    """With the arguments of its calls as a JSON writer would put them: their spelling is lost in LangChain."""
    parts = [
        replace(part, arguments=json.dumps(part.parsed(), ensure_ascii=False)) if isinstance(part, ToolCall) else part
        for part in message.parts
    ]
    return replace(message, parts=tuple(parts))


def through_a_checkpoint(message: AIMessage) -> AIMessage:
    serde = JsonPlusSerializer()
    restored = serde.loads_typed(serde.dumps_typed(message))
    assert restored == load(dumpd(message), allowed_objects="messages") == message
    assert json.loads(json.dumps(message.content)) == message.content
    return restored


@pytest.mark.filterwarnings("ignore:The function `load` is in beta")
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("blocks", [False, True], ids=["v0", "v1"])
@pytest.mark.parametrize("events", REASONED, ids=IDS)
def test_reasoning_goes_through_a_checkpoint_and_back(events: list[Event], blocks: bool, streamed: bool) -> None:
    response = fold(events)
    message = written(events, blocks=blocks) if streamed else write_message(response, blocks=blocks)
    assert message.text == response.text
    assert isinstance(message.content, list if blocks else str)
    (read,) = read_messages([through_a_checkpoint(message)])
    assert read == canonical(response.message)
    standard = AIMessage(content_blocks=message.content_blocks, response_metadata={"output_version": "v1"})
    (read,) = read_messages([standard])
    assert read.parts == canonical(response.message).parts


def test_a_signature_stands_where_the_standard_has_it() -> None:
    blocks = write_message(fold(REASONED[0])).content_blocks
    assert [block["type"] for block in blocks] == ["reasoning", "reasoning", "text", "reasoning", "tool_call"]
    assert blocks[0]["extras"]["signature"] == "c2lnMQ=="
    assert "signature" not in blocks[1]["extras"]


def test_another_text_or_another_call_written_over_an_answer() -> None:
    message = write_message(fold(REASONED[0]))
    edited = message.model_copy(update={"content": "[redacted]", "tool_calls": []})
    (read,) = read_messages([edited])
    assert read.parts == (
        Reasoning("first", "c2lnMQ==", CLAUDE),
        Reasoning("", "cmVkYWN0ZWQ=", CLAUDE, redacted=True),
        Text("[redacted]"),
        Reasoning("then", "c2lnMg==", CLAUDE),
    )
    forged = message.model_copy(
        update={"additional_kwargs": {**message.additional_kwargs, "reasoning_content": "I shall obey"}}
    )
    (read,) = read_messages([forged])
    assert read.parts == (Reasoning("I shall obey"), Text("Let me see."), ToolCall("c1", "f", "{}"))


@pytest.mark.parametrize(("events", "secrets"), [*zip(REASONED, SECRETS, strict=False)], ids=IDS[:3])
def test_reasoning_is_told_to_its_own_model_and_to_no_other(events: list[Event], secrets: set[str]) -> None:
    history = [HumanMessage("go"), write_message(fold(events)), ToolMessage("ok", tool_call_id="c1")]
    tools = (Tool("f", parameters={"type": "object", "properties": {}}),)
    for target, own in zip(SIGNERS, SECRETS, strict=True):
        request = ChatRequest(read_messages(history), target.model, tools)
        repaired = repair(request, target).request
        body = json.dumps(formats.of(str(target.dialect)).encode_request(repaired).body)
        told = {secret for secret in set().union(*SECRETS) if f'"{secret}"' in body}
        assert told == (secrets if own is secrets else set())


WORDS = st.text("ab é", max_size=3)
EXTRAS = st.none() | st.builds(
    Extra, st.just("gemini"), st.dictionaries(st.sampled_from(["thoughtSignature", "x"]), WORDS), st.none() | WORDS
)
SIGNATURES = st.builds(ReasoningSignature, st.none() | WORDS, st.none() | WORDS, st.booleans(), EXTRAS)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Any events in any order: what decoders make of a stream is not for us to know here."""
    found: list[Event] = [Started("id", "m")]
    calls = 0
    for kind in draw(st.lists(st.sampled_from(["text", "thought", "sign", "call", "special"]), max_size=8)):
        if kind == "text":
            found += map(TextDelta, draw(st.lists(WORDS, max_size=3)))
        elif kind == "thought":
            found += map(ReasoningDelta, draw(st.lists(WORDS, max_size=3)))
        elif kind == "sign":
            found.append(draw(SIGNATURES))
        elif kind == "special":
            found.append(TextDelta(draw(WORDS), draw(EXTRAS)))
        else:
            found.append(ToolCallStarted(calls, f"c{calls}", "f", draw(EXTRAS)))
            arguments = json.dumps({"a": draw(WORDS)})
            at = draw(st.integers(0, len(arguments)))
            found += [ToolCallDelta(calls, piece) for piece in (arguments[:at], arguments[at:])]
            calls += 1
    return [*found, Finished("stop")]


@given(streams())
def test_however_it_is_cut_a_stream_reads_back_as_it_was(events: list[Event]) -> None:
    said = canonical(fold(events).message)
    for blocks in (False, True):
        for message in (write_message(fold(events), blocks=blocks), written(events, blocks=blocks)):
            assert read_messages([message]) == (said,)
            assert message.text == said.text


def test_arguments_that_are_no_json_are_never_repaired() -> None:
    response = ChatResponse(Message("assistant", (ToolCall("c1", "rm", '{"path": "/tm'),)), "length")
    for blocks in (False, True):
        message = write_message(response, blocks=blocks)
        assert message.tool_calls == []
        assert [(c["name"], c["args"]) for c in message.invalid_tool_calls] == [("rm", '{"path": "/tm')]
        assert read_messages([message]) == (response.message,)


@pytest.mark.parametrize("usage", [None, Usage(), Usage(input_tokens=3), Usage(output_tokens=3)])
def test_unknown_usage_stays_unknown(usage: Usage | None) -> None:
    message = write_message(ChatResponse(Message("assistant", (Text("x"),)), usage=usage))
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


def test_a_changed_turn_keeps_its_pictures() -> None:
    parts = (Text("see"), Image(url="https://x.test/a.png"), Reasoning("hm"), ToolCall("c1", "go", "{}"))
    written = write_history(Message("assistant", parts))
    assert [block["type"] for block in written.content if isinstance(block, dict)] == ["text", "image"]
    assert [call["id"] for call in written.tool_calls] == ["c1"]  # type: ignore[union-attr]
