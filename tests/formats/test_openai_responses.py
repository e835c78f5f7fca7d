"""The OpenAI Responses dialect: stateless, nothing invented, and every event of the official types."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseStreamEvent
from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from agentroute import (
    BadResponse,
    ChatRequest,
    ChatResponse,
    Message,
    Overloaded,
    ProviderError,
    RequestError,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
    fold,
)
from agentroute.events import Event, ToolCallDelta, ToolCallStarted, unfold
from agentroute.formats.openai_responses import (
    DIALECT,
    StreamDecoder,
    StreamEncoder,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from agentroute.formats.openai_responses.fields import REFUSAL
from agentroute.formats.sse import SseDecoder
from agentroute.messages import Extra, Image, Reasoning, ResponseSchema, Sampling, Text, ToolChoice

PARAMS: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)
EVENTS: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
USER = Message("user", (Text("hello"),))
ORIGIN = "openai/gpt-x"
USAGE = {
    "input_tokens": 10,
    "input_tokens_details": {"cached_tokens": 4},
    "output_tokens": 6,
    "output_tokens_details": {"reasoning_tokens": 2},
    "total_tokens": 16,
}
THOUGHT = {
    "type": "reasoning",
    "id": "rs_1",
    "summary": [{"type": "summary_text", "text": "first"}, {"type": "summary_text", "text": "then"}],
    "encrypted_content": "gAAA+/==",
}
WORDS = {
    "type": "message",
    "id": "msg_1",
    "role": "assistant",
    "status": "completed",
    "content": [{"type": "output_text", "text": "hello", "annotations": []}],
}
CALL = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "look",
    "arguments": '{"a": 1}',
    "status": "completed",
}


def body(*messages: Message, **fields: Any) -> dict[str, Any]:
    sent = encode_request(ChatRequest(messages or (USER,), **fields), model="gpt-x").body
    PARAMS.validate_python(sent)
    return sent


def answer(*output: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "resp_1",
        "object": "response",
        "model": "gpt-x",
        "status": "completed",
        "output": list(output),
        "usage": USAGE,
        **fields,
    }


def read(raw: bytes, size: int | None = None, origin: str | None = ORIGIN) -> list[Event]:
    decoder, lines = StreamDecoder(target="t", origin=origin), SseDecoder()
    found: list[Event] = []
    for at in range(0, len(raw), size or len(raw)):
        for event, data in lines.feed(raw[at : at + (size or len(raw))]):
            found += decoder.feed(data, event)
    return found + decoder.close()


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def piece(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


STREAM = sse(
    piece("created", response={"id": "resp_1", "model": "gpt-x", "status": "in_progress"}),
    piece("in_progress", response={}),
    piece("output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1", "summary": []}),
    piece("reasoning_summary_part.added", output_index=0, summary_index=0, part={}),
    piece("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="fir"),
    piece("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="st"),
    piece("reasoning_summary_part.added", output_index=0, summary_index=1, part={}),
    piece("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="then"),
    piece("output_item.done", output_index=0, item=THOUGHT),
    piece("output_item.added", output_index=1, item={**WORDS, "content": [], "status": "in_progress"}),
    piece("content_part.added", output_index=1, content_index=0, part={}),
    piece("output_text.delta", output_index=1, content_index=0, delta="hel"),
    piece("an_event_of_tomorrow", output_index=1),
    piece("output_text.delta", output_index=1, content_index=0, delta="lo"),
    piece("output_text.done", output_index=1, content_index=0, text="hello"),
    piece("output_item.done", output_index=1, item=WORDS),
    piece("output_item.added", output_index=2, item={**CALL, "arguments": "", "status": "in_progress"}),
    piece("function_call_arguments.delta", output_index=2, delta='{"a"'),
    piece("function_call_arguments.delta", output_index=2, delta=": 1}"),
    piece("function_call_arguments.done", output_index=2, arguments='{"a": 1}'),
    piece("output_item.done", output_index=2, item=CALL),
    piece("completed", response=answer(THOUGHT, WORDS, CALL)),
)


class TestRequests:
    def test_a_plain_one_stores_nothing(self) -> None:
        sent = body(Message("system", (Text("be brief"),)), USER, sampling=Sampling(max_output_tokens=5))
        assert sent == {
            "model": "gpt-x",
            "instructions": "be brief",
            "input": [{"role": "user", "content": "hello"}],
            "max_output_tokens": 5,
            "store": False,
            "include": ["reasoning.encrypted_content"],
        }
        assert encode_request(ChatRequest((USER,))).path == "/responses"

    def test_a_tool_loop(self) -> None:
        sent = body(
            USER,
            Message("assistant", (Text("well"), ToolCall("call_1", "look", '{"a": 1}'))),
            Message("tool", (ToolResult("call_1", (Text("rain"),)),)),
            Message("user", (Image(data="aGk=", media_type="image/png", detail="low"), Text("and?"))),
            tools=(Tool("look", "Looks.", {"type": "object"}),),
            tool_choice=ToolChoice("tool", "look"),
            parallel_tool_calls=False,
            response_schema=ResponseSchema({"type": "object"}, "answer", True),
        )
        assert sent["input"][2:4] == [
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": '{"a": 1}'},
            {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
        ]
        assert sent["input"][4]["content"][0] == {
            "type": "input_image",
            "image_url": "data:image/png;base64,aGk=",
            "detail": "low",
        }
        assert sent["tools"][0]["strict"] is False
        assert sent["tool_choice"] == {"type": "function", "name": "look"}
        assert sent["text"]["format"]["type"] == "json_schema"

    def test_reasoning_goes_back_as_it_came_and_only_before_what_followed_it(self) -> None:
        message = decode_response(answer(THOUGHT, WORDS, CALL), origin=ORIGIN).message
        sent = body(USER, message)["input"][1:]
        assert sent == [THOUGHT, WORDS, {key: CALL[key] for key in CALL if key != "status"}]
        alone = decode_response(answer(THOUGHT), origin=ORIGIN).message
        assert body(USER, alone)["input"] == [{"role": "user", "content": "hello"}]

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"sampling": Sampling(seed=1)}, "`seed`"),
            ({"sampling": Sampling(stop=("END",))}, "stop sequences"),
            ({"sampling": Sampling(frequency_penalty=1)}, "`frequency_penalty`"),
            ({"extra": Extra("anthropic_messages", {"thinking": {}})}, "`thinking`"),
        ],
    )
    def test_what_it_cannot_hold_is_named(self, fields: dict[str, Any], word: str) -> None:
        assert word in " ".join(encode_request(ChatRequest((USER,), **fields)).changes)
        assert encode_request(ChatRequest((USER,))).changes == ()

    def test_a_whole_body_says_the_same_again(self) -> None:
        raw = {
            "model": "gpt-x",
            "instructions": "be brief",
            "input": [
                {
                    "role": "user",
                    "content": [{"type": "input_file", "file_id": "f"}, {"type": "input_text", "text": "a"}],
                },
                THOUGHT,
                WORDS,
                {"type": "web_search_call", "id": "ws_1", "status": "completed"},
                {key: CALL[key] for key in CALL if key != "status"},
                {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
                {"role": "developer", "content": "now briefly"},
            ],
            "tools": [
                {"type": "function", "name": "look", "parameters": {"type": "object"}, "strict": True},
                {"type": "web_search", "search_context_size": "low"},
            ],
            "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": []},
            "reasoning": {"effort": "low"},
            "text": {"verbosity": "low", "format": {"type": "json_schema", "name": "a", "schema": {}, "strict": True}},
            "temperature": 0.5,
            "store": True,
            "metadata": {"a": "b"},
        }
        before = json.dumps(raw)
        encoded = encode_request(decode_request(raw))
        assert encoded.body == raw
        assert encoded.changes == ()
        assert json.dumps(raw) == before

    @pytest.mark.parametrize(
        ("raw", "where"),
        [
            ({"input": []}, "input"),
            ({"input": "x", "previous_response_id": "resp_1"}, "previous_response_id"),
            ({"input": [{"role": "robot", "content": "x"}]}, r"input\[0\].role"),
            ({"input": [{"type": "function_call", "name": "x"}]}, r"input\[0\].call_id"),
            ({"input": "x", "tools": [{"type": "function"}]}, r"tools\[0\].name"),
            ({"input": "x", "temperature": True}, "temperature"),
            ({"input": "x", "text": {"format": {"type": "json_schema"}}}, "text.format"),
        ],
    )
    def test_what_is_wrong_is_named(self, raw: dict[str, Any], where: str) -> None:
        with pytest.raises(RequestError, match=where):
            decode_request(raw)


class TestAnswers:
    def test_a_whole_one(self) -> None:
        response = decode_response(answer(THOUGHT, WORDS, CALL), origin=ORIGIN)
        thought, text, call = response.message.parts
        assert isinstance(thought, Reasoning)
        assert (thought.text, thought.signature, thought.origin) == ("first\n\nthen", "gAAA+/==", ORIGIN)
        assert (text, call) == (
            Text("hello"),
            ToolCall("call_1", "look", '{"a": 1}', Extra(DIALECT, {"id": "fc_1"}, ORIGIN)),
        )
        assert response.usage == Usage(10, 6, 4, None, 2)
        assert response.finish_reason == "tool_calls"

    @pytest.mark.parametrize(
        ("fields", "reason"),
        [
            ({"status": "completed"}, "stop"),
            ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
            ({"status": "incomplete", "incomplete_details": {"reason": "content_filter"}}, "content_filter"),
            ({"status": "incomplete"}, None),
        ],
    )
    def test_why_it_stopped(self, fields: dict[str, Any], reason: str | None) -> None:
        assert decode_response(answer(WORDS, **fields)).finish_reason == reason

    def test_a_refusal_keeps_its_kind(self) -> None:
        refused = {**WORDS, "content": [{"type": "refusal", "refusal": "no"}]}
        assert decode_response(answer(refused)).message.parts == (Text("no", REFUSAL),)

    @pytest.mark.parametrize("raw", [None, [], {}, {"output": "x"}, {"output": [3]}, {"output": [{"type": 3}]}])
    def test_what_is_no_answer_is_refused(self, raw: Any) -> None:
        with pytest.raises(BadResponse):
            decode_response(raw)

    def test_a_failure_is_raised(self) -> None:
        with pytest.raises(Overloaded):
            decode_response(answer(status="failed", error={"code": "server_error", "message": "oh"}))


class TestStreams:
    def test_streamed_and_whole_are_the_same(self) -> None:
        streamed, whole = fold(read(STREAM)), decode_response(answer(THOUGHT, WORDS, CALL), origin=ORIGIN)
        assert streamed.message == whole.message
        assert (streamed.usage, streamed.finish_reason) == (whole.usage, whole.finish_reason)

    @given(st.integers(1, 70))
    def test_any_split_is_the_same(self, size: int) -> None:
        assert read(STREAM, size) == read(STREAM)

    def test_cut_anywhere_it_is_an_error(self) -> None:
        """The last event is the one that tells: an answer without it is not whole."""
        for end in range(1, len(STREAM)):
            with pytest.raises(ProviderError):
                read(STREAM[:end])

    @pytest.mark.parametrize(
        "event",
        [
            {"type": "error", "code": "server_error", "message": "oh"},
            piece("failed", response={"error": {"code": "server_error", "message": "oh"}}),
        ],
    )
    def test_an_error_is_raised(self, event: dict[str, Any]) -> None:
        with pytest.raises(Overloaded):
            read(sse(event))

    def test_what_no_piece_said_is_taken_from_the_whole_item(self) -> None:
        raw = sse(
            piece("output_item.done", output_index=0, item=WORDS),
            piece("output_item.done", output_index=1, item=CALL),
            piece("completed", response=answer()),
        )
        response = fold(read(raw))
        assert (response.text, response.tool_calls[0].arguments) == ("hello", '{"a": 1}')


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_PARTS = st.one_of(
    st.builds(Text, _TEXTS),
    st.builds(lambda text: Text(text, REFUSAL), _TEXTS),
    st.builds(lambda text: Reasoning(text, "c2ln", ORIGIN), _TEXTS),
    st.builds(lambda data: Reasoning("", data, ORIGIN, True), _TEXTS),
    st.builds(lambda number: ToolCall(f"t{number}", "look", f'{{"a": {number}}}'), st.integers(0, 9)),
)
_RESPONSES = st.builds(
    lambda parts, reason, usage: ChatResponse(Message("assistant", tuple(parts)), reason, usage, "gpt-x", "resp_1"),
    st.lists(_PARTS, max_size=5),
    st.sampled_from(["length", "content_filter"]),
    st.builds(Usage, st.integers(50, 99), st.integers(9, 19), st.integers(0, 20), st.just(0), st.integers(0, 5)),
)


class TestServer:
    @given(_RESPONSES)
    def test_what_is_written_is_read_back(self, response: ChatResponse) -> None:
        told = encode_response(response)
        Response.model_validate(told)
        encoder = StreamEncoder(model="gpt-x")
        raw = b"".join(encoder.encode(event) for event in unfold(response))
        expected = _plain(fold(unfold(response)))
        for again in (fold(unfold(decode_response(told))), fold(read(raw, origin=None))):
            assert _plain(again) == expected
            assert (again.finish_reason, again.usage) == (response.finish_reason, response.usage)

    @given(_RESPONSES)
    def test_every_event_is_of_the_official_types(self, response: ChatResponse) -> None:
        encoder = StreamEncoder()
        raw = b"".join(encoder.encode(event) for event in unfold(response)) + encoder.error(Overloaded("busy"))
        for number, (event, data) in enumerate(SseDecoder().feed(raw)):
            said = json.loads(data)
            assert (said["type"], said["sequence_number"]) == (event, number)
            EVENTS.validate_json(data)

    def test_calls_may_come_in_turns(self) -> None:
        events: list[Event] = [
            ToolCallStarted(0, "a", "look"),
            ToolCallStarted(1, "b", "look"),
            ToolCallDelta(1, '{"y": '),
            ToolCallDelta(0, '{"x": 1}'),
            ToolCallDelta(1, "2}"),
            *unfold(ChatResponse(Message("assistant", ()), "tool_calls")),
        ]
        encoder = StreamEncoder()
        calls = fold(read(b"".join(encoder.encode(event) for event in events))).tool_calls
        assert [(call.id, call.arguments) for call in calls] == [("a", '{"x": 1}'), ("b", '{"y": 2}')]


def _plain(response: ChatResponse) -> list[Any]:
    return [
        (part.text, part.signature, part.origin, part.redacted)
        if isinstance(part, Reasoning)
        else (part.id, part.name, part.arguments)
        if isinstance(part, ToolCall)
        else part
        for part in response.message.parts
    ]
