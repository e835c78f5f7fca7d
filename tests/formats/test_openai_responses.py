"""The OpenAI Responses dialect: stateless, nothing invented, and every event of the official types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import openai
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
from tests import streamed

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
    return streamed.read(StreamDecoder(target="t", origin=origin), raw, size)


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
        assert len(encode_request(ChatRequest((USER, alone))).changes) == 1

    def test_reasoning_before_words_that_were_changed_is_left_out(self) -> None:
        """Recorded: openai/24 is refused for it, "provided without its required following item"."""
        message = decode_response(answer(THOUGHT, WORDS), origin=ORIGIN).message
        changed = Message("assistant", (message.parts[0], Text("The meaning of life is 42")))
        found = encode_request(ChatRequest((USER, changed)))
        assert found.body["input"][1:] == [{"role": "assistant", "content": "The meaning of life is 42"}]
        assert len(found.changes) == 1

    @pytest.mark.parametrize(
        ("model", "asked"),
        [
            ("gpt-5.2", True),
            ("o4-mini", True),
            ("my-deployment", True),
            ("gpt-4o", False),
            ("openai/gpt-4.1-mini", False),
            ("ft:gpt-4o:acme", False),
            ("gpt-5-chat-latest", False),
            ("chatgpt-4o-latest", False),
        ],
    )
    def test_a_model_that_does_not_reason_is_not_asked_for_reasoning(self, model: str, asked: bool) -> None:
        assert ("include" in encode_request(ChatRequest((USER,)), model=model).body) is asked
        own = Extra(DIALECT, {"include": []})
        assert encode_request(ChatRequest((USER,), extra=own), model=model).body["include"] == []

    def test_a_choice_among_tools_goes_with_them(self) -> None:
        theirs = Tool("web_search", extra=Extra("anthropic_messages", {"type": "web_search_20250305"}))
        sent = body(tools=(theirs,), tool_choice=ToolChoice("required"))
        assert "tools" not in sent
        assert "tool_choice" not in sent

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


class TestOddStreams:
    def test_items_of_which_no_event_came_are_taken_from_the_whole_answer(self) -> None:
        raw = sse(
            piece("created", response={"id": "resp_1", "model": "gpt-x"}),
            piece("output_item.added", output_index=1, item={**WORDS, "content": []}),
            piece("output_text.delta", output_index=1, content_index=0, delta="hello"),
            piece("completed", response=answer(THOUGHT, WORDS, CALL)),
        )
        found = fold(read(raw))
        assert (found.text, len(found.tool_calls), found.finish_reason) == ("hello", 1, "tool_calls")
        assert Reasoning in {type(part) for part in found.message.parts}

    def test_the_thoughts_of_an_open_model(self) -> None:
        item = {
            "type": "reasoning",
            "id": "rs_1",
            "summary": [],
            "content": [{"type": "reasoning_text", "text": "hmm"}],
        }
        raw = sse(
            piece("output_item.added", output_index=0, item={"type": "reasoning", "id": "rs_1", "summary": []}),
            piece("reasoning_text.delta", output_index=0, content_index=0, delta="h"),
            piece("reasoning_text.delta", output_index=0, content_index=0, delta="mm"),
            piece("output_item.done", output_index=0, item=item),
            piece("completed", response=answer(item, status=None)),
        )
        assert fold(read(raw)).message == decode_response(answer(item), origin=ORIGIN).message
        assert fold(read(raw)).message.parts[0].text == "hmm"  # type: ignore[union-attr]

    @pytest.mark.parametrize("status", ["in_progress", "queued", "cancelled"])
    def test_what_is_not_complete_is_no_answer(self, status: str) -> None:
        with pytest.raises(BadResponse, match=status):
            decode_response(answer(status=status))


class TestServer:
    def test_ids_that_we_made_up_are_ours_alone(self) -> None:
        """A provider refuses two items of one id, and one of the first answer is not one of the second."""
        said = Message("assistant", (Text("a"), ToolCall("c", "look", "{}")))
        told = [encode_response(ChatResponse(said, "tool_calls", id=name))["output"] for name in ("one", "two")]
        ids = [item["id"] for output in told for item in output]
        assert len(set(ids)) == 4
        encoder = StreamEncoder()
        streamed = b"".join(encoder.encode(event) for event in unfold(ChatResponse(said, "tool_calls", id="one")))
        assert all(item["id"].encode() in streamed for item in told[0]), "whole and streamed they are the same"
        result = {"type": "function_call_output", "call_id": "c", "output": "x"}
        request = decode_request({"input": ["", *told[0], result][1:]})
        sent = encode_request(request).body["input"]
        assert not any("id" in item for item in sent)

    def test_half_a_usage_is_none(self) -> None:
        told = encode_response(ChatResponse(Message("assistant", (Text("a"),)), "stop", Usage(3)))
        assert Response.model_validate(told).usage is None

    def test_the_official_client_reads_it(self) -> None:
        said = Message("assistant", (Text("héllo"), ToolCall("c", "look", '{"a": 1}')))
        encoder = StreamEncoder(model="gpt-x")
        raw = b"".join(encoder.encode(event) for event in unfold(ChatResponse(said, "tool_calls", Usage(3, 4))))

        def reply(request: httpx.Request) -> httpx.Response:
            return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

        client = openai.OpenAI(api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(reply)))
        with client.responses.stream(model="gpt-x", input="hi") as stream:
            final = stream.get_final_response()
        assert final.output_text == "héllo"
        assert final.output[1].arguments == '{"a": 1}'  # type: ignore[union-attr]
        assert final.usage is not None
        assert final.usage.total_tokens == 7

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


@pytest.mark.requires("shared")
def test_the_recorded_request(shared: Path) -> None:
    """The history that the provider refused is sent on in the form that it takes."""
    raw = json.loads((shared / "wire/openai/24_err_400_responses_invalid_history.request.json").read_text())["body"]
    request = decode_request(raw)
    (thought,) = (part for message in request.messages for part in message.parts if isinstance(part, Reasoning))
    assert thought.signature == raw["input"][1]["encrypted_content"]
    encoded = encode_request(request)
    assert encoded.body["input"] == [item for item in raw["input"] if item.get("type") != "reasoning"]
    assert encoded.body["reasoning"] == raw["reasoning"]
    assert len(encoded.changes) == 1
