"""Blocks: each kind mapped or refused by name, nothing fetched or changed, and what a model thought comes back."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.llms.types import (
    AudioBlock,
    CacheControl,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)
from llama_index.llms.agentroute import RoutedLLM, decision_of
from llama_index.llms.agentroute.answers import StreamWriter, write_answer
from llama_index.llms.agentroute.messages import read_messages, write_history

from agentroute import RequestError, Target, fold
from agentroute.events import unfold
from agentroute.messages import (
    Audio,
    ChatResponse,
    Document,
    Extra,
    Image,
    Message,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from agentroute.testing import ScriptedReply

from .pools import made, serving

pytestmark = pytest.mark.requires("llama_index")

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)
PDF = b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n"
WAV = b"RIFF$\0\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0D\xac\0\0\x88X\x01\0\x02\0\x10\0data\0\0\0\0"
TARGET = Target(name="small", provider="anthropic", model="claude-haiku-4-5")


def coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def nobody(_: str) -> None:
    return None


def read(*blocks: Any, role: MessageRole = MessageRole.USER, **told: Any) -> tuple[Any, ...]:
    (message,) = read_messages([ChatMessage(role=role, blocks=list(blocks), additional_kwargs=told)], nobody)
    return message.parts


def read_one(block: Any) -> Any:
    (part,) = read(block)
    return part


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name, data in (("dot.png", PNG), ("page.pdf", PDF), ("noise.wav", WAV)):
        (tmp_path / name).write_bytes(data)
    return tmp_path


def test_texts_and_roles() -> None:
    given = [ChatMessage(role=role, content="x") for role in MessageRole if role not in ("tool", "function")]
    assert [(m.role, m.text) for m in read_messages(given, nobody)] == [
        ("system", "x"),
        ("developer", "x"),
        ("user", "x"),
        ("assistant", "x"),
        ("assistant", "x"),
        ("assistant", "x"),
    ]


def test_pictures(files: Path) -> None:
    here = Image(data=coded(PNG), media_type="image/png")
    assert read_one(ImageBlock(image=PNG)) == here
    assert read_one(ImageBlock(image=base64.b64encode(PNG))) == here
    assert read_one(ImageBlock(path=files / "dot.png")) == here
    assert read_one(ImageBlock(url=f"data:image/png;base64,{coded(PNG)}")) == here
    assert read_one(ImageBlock(url="https://example.com/dot.png", detail="low")) == Image(
        url="https://example.com/dot.png", media_type="image/png", detail="low"
    )


def test_a_picture_in_an_open_file_is_read_and_left_where_it_was() -> None:
    held = io.BytesIO(PNG)
    held.seek(7)
    assert read_one(ImageBlock(image=held, image_mimetype="image/png")).data == coded(PNG)
    assert held.tell() == 7


def test_documents(files: Path) -> None:
    here = Document(data=coded(PDF), media_type="application/pdf", name="input_document")
    assert read_one(DocumentBlock(data=PDF)) == here
    assert read_one(DocumentBlock(path=files / "page.pdf")) == here
    assert read_one(DocumentBlock(url="https://example.com/page.pdf", title="Page")) == Document(
        url="https://example.com/page.pdf", media_type="application/pdf", name="Page"
    )


def test_recordings(files: Path) -> None:
    here = Audio(data=coded(WAV), media_type="audio/wav")
    assert read_one(AudioBlock(audio=WAV)) == here
    assert read_one(AudioBlock(path=files / "noise.wav")) == here
    assert read_one(AudioBlock(url="https://example.com/noise.wav")).url == "https://example.com/noise.wav"
    assert read_one(AudioBlock(audio=WAV, format="mp3")).media_type == "audio/mpeg"


def test_citations_are_their_texts() -> None:
    source = CitableBlock(
        title="Rivers", source="atlas", content=[TextBlock(text="The Tagus."), DocumentBlock(data=PDF)]
    )
    assert [getattr(part, "text", type(part)) for part in read(source)] == [
        "Rivers (atlas):\n",
        "The Tagus.",
        Document,
    ]
    quoted = CitationBlock(cited_content="The Tagus.", source="atlas", title="Rivers", additional_location_info={})
    assert read(TextBlock(text="It is the Tagus."), quoted, role=MessageRole.ASSISTANT) == (Text("It is the Tagus."),)


def test_a_cache_point_is_anthropics_mark_on_what_stands_before_it() -> None:
    point = CachePoint(cache_control=CacheControl(type="ephemeral", ttl="1h"))
    marked = Extra("anthropic_messages", {"cache_control": {"type": "ephemeral", "ttl": "1h"}})
    assert read(TextBlock(text="long"), point, TextBlock(text="short")) == (Text("long", marked), Text("short"))
    told = {"cache_control": {"type": "ephemeral"}}
    assert read(TextBlock(text="long"), **told)[0].extra == Extra("anthropic_messages", told)
    with pytest.raises(RequestError, match="begins with a cache point"):
        read(point)


@pytest.mark.parametrize(
    ("blocks", "named"),
    [
        ([VideoBlock(url="https://example.com/a.mp4")], "'video'"),
        ([ImageBlock()], "image block has neither data nor a path nor a url"),
        ([ThinkingBlock(content="hm")], "'thinking'"),
        ([ToolCallBlock(tool_name="add")], "'tool_call'"),
    ],
)
def test_what_cannot_be_sent_is_refused_by_name(blocks: list[Any], named: str) -> None:
    with pytest.raises(RequestError, match=f"message 0.*{named}"):
        read(*blocks)


def test_a_file_that_is_gone_is_named() -> None:
    with pytest.raises(RequestError, match="document block has data that cannot be read"):
        read(DocumentBlock(path="/nowhere/page.pdf"))


def test_results_of_tools(files: Path) -> None:
    told = {"tool_call_id": "1", "name": "look"}
    blocks = [TextBlock(text="here"), ImageBlock(image=PNG)]
    (result,) = read(*blocks, role=MessageRole.TOOL, **told)
    picture = Image(data=coded(PNG), media_type="image/png")
    assert result == ToolResult("1", (Text("here"), picture), name="look")
    assert read(TextBlock(text="x"), role=MessageRole.FUNCTION, **told) == (ToolResult("1", (Text("x"),), name="look"),)
    with pytest.raises(RequestError, match="message 0 is a tool's result without"):
        read(TextBlock(text="here"), role=MessageRole.TOOL)
    with pytest.raises(RequestError, match="with a recording"):
        read(AudioBlock(audio=WAV), role=MessageRole.TOOL, **told)


def test_arguments_are_sent_as_the_model_wrote_them() -> None:
    text = '{"b":  25, "a": 17}'
    block = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs=text)
    assert read(block, role=MessageRole.ASSISTANT) == (ToolCall("1", "add", text),)
    block = ToolCallBlock(tool_call_id="1", tool_name="add", tool_kwargs={"city": "Łódź"})
    assert read(block, role=MessageRole.ASSISTANT) == (ToolCall("1", "add", '{"city": "Łódź"}'),)


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini"])
def test_pictures_and_documents_reach_every_dialect(dialect: str) -> None:
    with serving("seen") as server:
        llm = made(RoutedLLM(targets=[server.target(name="one", model="gpt-4.1", dialect=dialect)]))
        message = ChatMessage(blocks=[TextBlock(text="What?"), ImageBlock(image=PNG), DocumentBlock(data=PDF)])
        before = message.model_dump()
        assert llm.chat([message]).message.content == "seen"
        sent = json.dumps(server.requests[0].body)
        assert coded(PNG) in sent
        assert coded(PDF) in sent
        assert message.model_dump() == before


def test_a_recording_reaches_a_target_that_hears() -> None:
    with serving("heard") as server:
        llm = made(RoutedLLM(targets=[server.target(model="hears", tier="mid")]))
        llm.chat([ChatMessage(blocks=[TextBlock(text="What?"), AudioBlock(audio=WAV)])])
        (_, part) = server.requests[0].body["messages"][0]["content"]
        assert part == {"type": "input_audio", "input_audio": {"data": coded(WAV), "format": "wav"}}


# --- what a model thought, and what only it understands -------------------------------------------------------------

ORIGIN = "anthropic/claude-haiku-4-5"
WHOLE = ChatResponse(
    message=Message(
        "assistant",
        (
            Reasoning("Two cities, two calls.", "c2ln", ORIGIN),
            Reasoning("", "cmVkYWN0ZWQ=", ORIGIN, redacted=True),
            Text("Let me look."),
            Text("", Extra("gemini", {"thoughtSignature": "abc"}, "google/gemini-3")),
            ToolCall(
                "1", "weather", '{"city": "Rome"}', Extra("gemini", {"thoughtSignature": "xyz"}, "google/gemini-3")
            ),
            ToolCall("2", "weather", '{"city": "Oslo"}'),
        ),
        extra=Extra("openai_chat", {"reasoning_details": [{"data": "q"}]}, "openrouter/x"),
    ),
    finish_reason="tool_calls",
    usage=Usage(10, 20),
)


def back(message: ChatMessage) -> Message:
    """As it comes back from a memory that keeps JSON."""
    (kept,) = read_messages([ChatMessage.model_validate_json(message.model_dump_json())], nobody)
    return kept


def test_signatures_and_unknown_fields_survive_a_memory() -> None:
    assert back(write_answer(WHOLE, TARGET).message) == WHOLE.message
    writer = StreamWriter(TARGET)
    for event in unfold(WHOLE):
        writer.write(event)
    assert back(writer.last().message) == fold(unfold(WHOLE)).message


def test_a_native_models_signature_is_bound_to_the_target_that_wrote_it() -> None:
    thought = ThinkingBlock(content="hm", additional_information={"signature": "c2ln"})
    mark = {"agentroute": {"target": "small", "decision": "d"}}
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=[thought], additional_kwargs=mark)
    ((part,),) = (m.parts for m in read_messages([message], lambda name: f"origin of {name}"))
    assert part == Reasoning("hm", "c2ln", "origin of small")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_thought_goes_back_to_its_own_model_and_to_no_other(streamed: bool) -> None:
    """Anthropic's dialect on loopback: the history of one turn, sent on to the same model and then to another."""
    from agentroute.testing import Fault

    thinking = {"type": "thinking", "thinking": "hm", "signature": "c2ln"}
    body = {
        "id": "m1",
        "type": "message",
        "role": "assistant",
        "model": "claude-haiku-4-5",
        "content": [thinking, {"type": "text", "text": "yes"}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    answer: Any = Fault.raw(json.dumps(body).encode())
    if streamed:
        events: list[dict[str, Any]] = [
            {"type": "message_start", "message": {**body, "content": []}},
            {"type": "content_block_start", "index": 0, "content_block": {**thinking, "thinking": "", "signature": ""}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm"}},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
            {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "yes"}},
            {"type": "content_block_stop", "index": 1},
            {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
            {"type": "message_stop"},
        ]
        lines = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        answer = Fault.raw(lines.encode(), content_type="text/event-stream")
    with serving(ScriptedReply("ok"), fault=lambda r: answer if r.index == 0 else None) as server:
        models = {"budget": "claude-haiku-4-5", "premium": "claude-opus-4-5"}
        dialect = "anthropic_messages"
        targets = {tier: server.target(model=model, dialect=dialect, tier=tier) for tier, model in models.items()}
        llm = made(RoutedLLM(targets=targets))
        asked = ChatMessage(content="Well?")
        one = llm.for_agent(target="budget")
        first = list(one.stream_chat([asked]))[-1] if streamed else one.chat([asked])
        assert [block.block_type for block in first.message.blocks] == ["thinking", "text"]
        assert first.message.blocks[0].additional_information["signature"] == "c2ln"  # type: ignore[union-attr]
        assert decision_of(first).target == "budget"  # type: ignore[union-attr]
        for target in ("budget", "premium"):
            llm.for_agent(target=target).chat([asked, first.message, asked])
        same, other = (json.dumps(request.body["messages"][1]) for request in server.requests[1:])
        assert "c2ln" in same
        assert "c2ln" not in other


def test_thoughts_of_a_changed_turn_are_not_spoken() -> None:
    written = write_history(Message("assistant", (Reasoning("secret thought"), Text("hello"))))
    assert [block.text for block in written.blocks if isinstance(block, TextBlock)] == ["hello"]
