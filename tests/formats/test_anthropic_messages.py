"""The Anthropic Messages dialect: what it says is kept, what it refuses is left out and named, nothing is invented."""

from __future__ import annotations

import json
from typing import Any

import pytest
from anthropic.types import Message as SdkMessage
from anthropic.types import RawMessageStreamEvent
from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from agentroute import (
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ChatRequest,
    ChatResponse,
    InvalidRequest,
    Message,
    Overloaded,
    ProviderError,
    RateLimited,
    RequestError,
    Tool,
    ToolCall,
    ToolResult,
    Usage,
    fold,
)
from agentroute.decisions import Attempt
from agentroute.events import Event, ToolCallDelta, ToolCallStarted, unfold
from agentroute.formats.anthropic_messages import (
    DIALECT,
    StreamDecoder,
    StreamEncoder,
    decode_request,
    decode_response,
    encode_error,
    encode_request,
    encode_response,
)
from agentroute.formats.failures import conceal
from agentroute.formats.sse import SseDecoder
from agentroute.messages import Extra, Image, Reasoning, ResponseSchema, Sampling, Text, ToolChoice
from agentroute.providers import Quirks
from tests import streamed

PARAMS: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
EVENTS: TypeAdapter[Any] = TypeAdapter(RawMessageStreamEvent)
USER = Message("user", (Text("hello"),))
ORIGIN = "anthropic/claude-x"
PLAIN = Quirks()
LIMITED = Attempt("a", "failed", 0.0, 0.1, error="RateLimited")
BROKEN = Attempt("b", "failed", 0.0, 0.1, error="ConnectionFailed")
NEWEST = Quirks(api_version="2026-10-21")


def body(*messages: Message, quirks: Quirks = PLAIN, **fields: Any) -> dict[str, Any]:
    sent = encode_request(ChatRequest(messages or (USER,), **fields), model="claude-x", quirks=quirks).body
    PARAMS.validate_python(sent)
    return sent


def changes(*messages: Message, quirks: Quirks = PLAIN, **fields: Any) -> str:
    fields.setdefault("sampling", Sampling(max_output_tokens=9))
    return " | ".join(encode_request(ChatRequest(messages or (USER,), **fields), quirks=quirks).changes)


def answer(*content: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-x",
        "content": list(content),
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 3, "output_tokens": 2},
        **fields,
    }


def sse(*events: dict[str, Any]) -> bytes:
    return b"".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n".encode() for event in events)


def read(raw: bytes, size: int | None = None, origin: str | None = ORIGIN) -> list[Event]:
    return streamed.read(StreamDecoder(target="t", origin=origin), raw, size)


def written(response: ChatResponse) -> bytes:
    encoder = StreamEncoder(model="claude-x")
    return b"".join(encoder.encode(event) for event in unfold(response))


class TestRequests:
    def test_a_plain_one(self) -> None:
        sent = body(Message("system", (Text("be brief"),)), USER, sampling=Sampling(max_output_tokens=5))
        assert sent == {
            "model": "claude-x",
            "max_tokens": 5,
            "system": "be brief",
            "messages": [{"role": "user", "content": "hello"}],
        }

    def test_path_version_and_stream(self) -> None:
        encoded = encode_request(ChatRequest((USER,)), model="m", stream=True)
        assert (encoded.path, encoded.headers, encoded.body["stream"]) == (
            "/messages",
            {"anthropic-version": "2023-06-01"},
            True,
        )
        assert encode_request(ChatRequest((USER,)), quirks=NEWEST).headers == {"anthropic-version": "2026-10-21"}

    def test_the_limit_it_demands_is_recorded_where_it_is_ours(self) -> None:
        assert encode_request(ChatRequest((USER,))).changes == (
            "`max_tokens` set to 16,384: Anthropic demands a limit",
        )
        assert changes() == ""

    def test_a_tool_loop(self) -> None:
        call = ToolCall("c1", "look", '{"city": "Oslo"}')
        sent = body(
            USER,
            Message("assistant", (Text("well"), call, ToolCall("c2", "look", ""))),
            Message("tool", (ToolResult("c1", (Text("rain"),), is_error=True),)),
            Message("tool", (ToolResult("c2", (Text("see"), Image(data="aGk=", media_type="image/png"))),)),
            Message("user", (Text("and?"),)),
            tools=(Tool("look", "Looks.", {"type": "object"}, strict=True),),
            tool_choice=ToolChoice("required"),
            parallel_tool_calls=False,
        )
        assert sent["messages"][1]["content"][1:] == [
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"city": "Oslo"}},
            {"type": "tool_use", "id": "c2", "name": "look", "input": {}},
        ]
        first, second, said = sent["messages"][2]["content"]
        assert first == {"type": "tool_result", "tool_use_id": "c1", "content": "rain", "is_error": True}
        assert [block["type"] for block in second["content"]] == ["text", "image"]
        assert said == {"type": "text", "text": "and?"}
        assert sent["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}
        assert sent["tools"] == [
            {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}, "strict": True}
        ]

    @pytest.mark.parametrize("arguments", ['{"city": ', "[1]", "7", '{"a": NaN}', '{"a": 1e999}'])
    def test_arguments_that_are_no_object_are_wrapped(self, arguments: str) -> None:
        message = Message("assistant", (ToolCall("c1", "look", arguments),))
        assert body(USER, message)["messages"][1]["content"][0]["input"] == {"INVALID_JSON": arguments}
        assert "INVALID_JSON" in changes(USER, message)

    def test_empty_texts_and_messages_are_left_out(self) -> None:
        sent = body(USER, Message("assistant", (Text(""),)), Message("user", (Text(""), Text("b"))))
        assert sent["messages"] == [
            {"role": "user", "content": [{"type": "text", "text": "hello"}, {"type": "text", "text": "b"}]}
        ]

    def test_pictures(self) -> None:
        sent = body(Message("user", (Image(url="https://example.org/a.png"), Image(data="aGk=", media_type="a/b"))))
        assert [block["source"]["type"] for block in sent["messages"][0]["content"]] == ["url", "base64"]

    def test_only_signed_reasoning_goes_back_byte_for_byte(self) -> None:
        thought = Reasoning("hm", "s/+ig==", ORIGIN)
        hidden = Reasoning("", "opaque", ORIGIN, redacted=True)
        message = Message("assistant", (thought, hidden, Reasoning("unsigned"), Text("a")))
        assert body(USER, message)["messages"][1]["content"] == [
            {"type": "thinking", "thinking": "hm", "signature": "s/+ig=="},
            {"type": "redacted_thinking", "data": "opaque"},
            {"type": "text", "text": "a"},
        ]
        assert "unsigned reasoning" in changes(USER, message)

    @pytest.mark.parametrize(
        ("fields", "word"),
        [
            ({"sampling": Sampling(max_output_tokens=1, seed=1)}, "`seed`"),
            ({"sampling": Sampling(max_output_tokens=1, presence_penalty=1)}, "`presence_penalty`"),
            ({"response_schema": ResponseSchema()}, "JSON asked for in the prompt"),
            ({"extra": Extra("openai_chat", {"reasoning_effort": "high"})}, "`reasoning_effort`"),
        ],
    )
    def test_what_it_cannot_hold_is_named(self, fields: dict[str, Any], word: str) -> None:
        assert word in changes(**fields)

    def test_sampling_by_version(self) -> None:
        given = {"sampling": Sampling(temperature=1.0, top_p=0.5, max_output_tokens=1)}
        top_k = Extra(DIALECT, {"top_k": 5})
        old = body(**given, extra=top_k)
        assert (old["temperature"], old["top_p"], old["top_k"]) == (1.0, 0.5, 5)
        assert not changes(**given)
        new = body(**given, extra=top_k, quirks=NEWEST)
        assert not {"temperature", "top_p", "top_k"} & new.keys()
        for name in ("temperature", "top_p", "top_k"):
            assert f"`{name}` left out: version 2026-10-21" in changes(**given, extra=top_k, quirks=NEWEST)

    def test_what_thinking_rules_out(self) -> None:
        thinking = Extra(DIALECT, {"thinking": {"type": "enabled", "budget_tokens": 1024}, "top_k": 5})
        fields: dict[str, Any] = {
            "extra": thinking,
            "sampling": Sampling(temperature=0.2, top_p=0.96, max_output_tokens=2000),
            "tools": (Tool("look"),),
            "tool_choice": ToolChoice("tool", "look"),
        }
        sent = body(**fields)
        assert (sent["tool_choice"], sent["top_p"]) == ({"type": "auto"}, 0.96)
        assert not {"temperature", "top_k"} & sent.keys()
        said = changes(**fields)
        assert all(word in said for word in ("tool choice", "`temperature`", "`top_k`"))
        off = Extra(DIALECT, {"thinking": {"type": "disabled"}})
        assert body(**{**fields, "extra": off})["temperature"] == 0.2

    def test_what_the_model_may_think_is_part_of_the_limit(self) -> None:
        thinking = Extra(DIALECT, {"thinking": {"type": "enabled", "budget_tokens": 20_000}})
        assert body(extra=thinking)["max_tokens"] == 36_384

    def test_betas_go_into_their_header(self) -> None:
        encoded = encode_request(ChatRequest((USER,), extra=Extra(DIALECT, {"betas": ["a", "b"]})))
        assert encoded.headers["anthropic-beta"] == "a,b"
        assert "betas" not in encoded.body

    def test_a_later_system_message_stays_in_its_place_and_is_marked(self) -> None:
        later = Message("system", (Text("be brief"),))
        content = body(USER, later, USER)["messages"][0]["content"]
        assert content[1]["text"] == "<system>\nbe brief\n</system>"
        assert "system messages" in changes(USER, later)

    def test_a_schema_stands_beside_the_effort(self) -> None:
        sent = body(
            response_schema=ResponseSchema({"type": "object"}),
            extra=Extra(DIALECT, {"output_config": {"effort": "low"}}),
        )
        assert sent["output_config"] == {
            "effort": "low",
            "format": {"type": "json_schema", "schema": {"type": "object"}},
        }

    def test_a_whole_body_says_the_same_again(self) -> None:
        marked = {"cache_control": {"type": "ephemeral"}}
        raw = {
            "model": "claude-x",
            "max_tokens": 100,
            "system": [{"type": "text", "text": "be brief", **marked}],
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}},
                        {"type": "text", "text": "read", **marked},
                    ],
                },
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
                        {"type": "server_tool_use", "id": "srv", "name": "web_search", "input": {"query": "a"}},
                        {"type": "web_search_tool_result", "tool_use_id": "srv", "content": []},
                        {"type": "text", "text": "so", "citations": [{"type": "char_location", "cited_text": "x"}]},
                        {"type": "tool_use", "id": "t", "name": "look", "input": {"b": [1, {"c": None}]}, **marked},
                    ],
                },
                {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": "ok", **marked}]},
            ],
            "tools": [
                {"name": "look", "input_schema": {"type": "object"}, **marked},
                {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
            ],
            "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
            "temperature": 0.5,
            "stop_sequences": ["END"],
            "metadata": {"user_id": "u"},
            "thinking": {"type": "disabled"},
            "service_tier": "auto",
        }
        before = json.dumps(raw)
        encoded = encode_request(decode_request(raw))
        assert encoded.body == raw
        assert encoded.changes == ()
        assert json.dumps(raw) == before

    @pytest.mark.parametrize(
        ("raw", "where"),
        [
            ({"messages": []}, "messages"),
            ({"messages": [{"role": "robot", "content": "x"}]}, r"messages\[0\].role"),
            ({"messages": [{"role": "user", "content": 3}]}, r"messages\[0\].content"),
            ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, r"content\[0\].text"),
            ({"messages": [{"role": "user", "content": "x"}], "max_tokens": 0}, "max_tokens"),
            ({"messages": [{"role": "user", "content": "x"}], "tools": [{}]}, r"tools\[0\].name"),
            ({"messages": [{"role": "user", "content": "x"}], "tool_choice": {"type": "tool"}}, "tool_choice"),
            ({"messages": [{"role": "user", "content": "x"}], "temperature": "hot"}, "temperature"),
            ({"messages": [{"role": "user", "content": "x"}], "stop_sequences": "END"}, "stop_sequences"),
        ],
    )
    def test_what_is_wrong_is_named(self, raw: dict[str, Any], where: str) -> None:
        with pytest.raises(RequestError, match=where):
            decode_request(raw)


class TestAnswers:
    def test_usage_holds_what_was_cached(self) -> None:
        usage = {
            "input_tokens": 3,
            "cache_read_input_tokens": 100,
            "cache_creation_input_tokens": 20,
            "output_tokens": 7,
        }
        assert decode_response(answer(usage=usage)).usage == Usage(123, 7, 100, 20)
        assert decode_response(answer(usage=None)).usage is None

    @pytest.mark.parametrize(
        ("word", "expected"),
        [
            ("end_turn", ("stop", "end_turn")),
            ("max_tokens", ("length", "max_tokens")),
            ("tool_use", ("tool_calls", "tool_use")),
            ("refusal", ("content_filter", "refusal")),
            ("model_context_window_exceeded", ("length", "model_context_window_exceeded")),
            ("pause_turn", (None, "pause_turn")),
            (None, (None, None)),
        ],
    )
    def test_why_it_stopped(self, word: str | None, expected: tuple[str | None, str | None]) -> None:
        response = decode_response(answer(stop_reason=word))
        assert (response.finish_reason, response.native_finish_reason) == expected
        assert encode_response(response)["stop_reason"] == word

    def test_signatures_name_their_origin(self) -> None:
        content = (
            {"type": "thinking", "thinking": "hm", "signature": "c2ln"},
            {"type": "redacted_thinking", "data": "x"},
        )
        parts = decode_response(answer(*content), origin=ORIGIN).message.parts
        assert parts == (Reasoning("hm", "c2ln", ORIGIN), Reasoning("", "x", ORIGIN, redacted=True))

    def test_a_signature_survives_a_client(self) -> None:
        """Out through our server side, back in the client's next request: the origin is still known."""
        response = decode_response(answer({"type": "thinking", "thinking": "hm", "signature": "c2ln"}), origin=ORIGIN)
        told = encode_response(response)["content"]
        request = decode_request(
            {"messages": [{"role": "user", "content": "x"}, {"role": "assistant", "content": told}]}
        )
        assert request.messages[1].parts == response.message.parts

    @pytest.mark.parametrize("raw", [None, [], {}, {"content": "x"}, {"content": [{"type": "tool_use"}]}])
    def test_what_is_no_answer_is_refused(self, raw: Any) -> None:
        with pytest.raises(BadResponse):
            decode_response(raw)

    def test_an_error_in_a_success(self) -> None:
        with pytest.raises(Overloaded):
            decode_response({"type": "error", "error": {"type": "overloaded_error", "message": "busy"}})


STREAM = (
    {"type": "message_start", "message": answer(stop_reason=None, usage={"input_tokens": 9, "output_tokens": 1})},
    {"type": "ping"},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": "", "signature": ""}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": "hm é"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "c2ln"}},
    {"type": "content_block_stop", "index": 0},
    {"type": "a_kind_of_tomorrow", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "text", "text": ""}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "hello "}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "delta_of_tomorrow", "x": 1}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": "😀"}},
    {"type": "content_block_stop", "index": 1},
    {"type": "content_block_start", "index": 2, "content_block": {"type": "block_of_tomorrow", "x": 1}},
    {"type": "content_block_stop", "index": 2},
    {
        "type": "content_block_start",
        "index": 3,
        "content_block": {"type": "tool_use", "id": "t1", "name": "look", "input": {}},
    },
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": ""}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": '{"a":'}},
    {"type": "content_block_delta", "index": 3, "delta": {"type": "input_json_delta", "partial_json": " 1}"}},
    {"type": "content_block_stop", "index": 3},
    {
        "type": "message_delta",
        "delta": {"stop_reason": "tool_use", "stop_sequence": None},
        "usage": {"output_tokens": 12},
    },
    {"type": "message_stop"},
)


class TestStreams:
    def test_a_whole_one(self) -> None:
        response = fold(read(sse(*STREAM)))
        assert response.message.parts == (
            Reasoning("hm é", "c2ln", ORIGIN),
            Text("hello 😀"),
            Text("", Extra(DIALECT, {"type": "block_of_tomorrow", "x": 1}, ORIGIN)),
            ToolCall("t1", "look", '{"a": 1}'),
        )
        assert (response.finish_reason, response.usage) == ("tool_calls", Usage(9, 12))

    @given(st.integers(1, 70))
    def test_any_split_is_the_same(self, size: int) -> None:
        assert read(sse(*STREAM), size) == read(sse(*STREAM))

    def test_cut_anywhere_it_is_whole_or_an_error(self) -> None:
        raw = sse(*STREAM)
        whole = raw.index(b"message_delta")
        for end in range(1, len(raw)):
            try:
                response = fold(read(raw[:end]))
            except ProviderError:
                continue
            assert end > whole
            assert response.finish_reason == "tool_calls"

    @pytest.mark.parametrize("at", [0, 1, 9])
    def test_an_error_event_is_raised(self, at: int) -> None:
        error = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}
        with pytest.raises(Overloaded):
            read(sse(*STREAM[:at], error))

    def test_a_providers_own_call_that_is_cut_off_is_kept_as_text(self) -> None:
        search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
        raw = sse(
            {"type": "content_block_start", "index": 0, "content_block": search},
            {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"q'}},
            {"type": "content_block_stop", "index": 0},
            *STREAM[-2:],
        )
        (part,) = fold(read(raw)).message.parts
        assert part.extra is not None
        assert part.extra.fields["input"] == '{"q'

    def test_what_is_no_json_is_refused(self) -> None:
        with pytest.raises(BadResponse):
            StreamDecoder().feed("{", "message_start")


_TEXTS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
_PARTS = st.one_of(
    st.builds(Text, _TEXTS),
    st.builds(lambda text: Reasoning(text, "c2ln", ORIGIN), _TEXTS),
    st.builds(lambda data: Reasoning("", data, ORIGIN, True), _TEXTS),
    st.builds(lambda number: ToolCall(f"t{number}", "look", f'{{"a": {number}}}'), st.integers(0, 9)),
)
_RESPONSES = st.builds(
    lambda parts, reason, usage: ChatResponse(Message("assistant", tuple(parts)), reason, usage, "claude-x", "msg_1"),
    st.lists(_PARTS, max_size=5),
    st.sampled_from(["stop", "length", "tool_calls", "content_filter"]),
    st.builds(Usage, st.integers(50, 99), st.integers(0, 9), st.integers(0, 20), st.integers(0, 20)),
)


class TestServer:
    @given(_RESPONSES)
    def test_what_is_written_is_read_back(self, response: ChatResponse) -> None:
        same = fold(unfold(response))
        body_ = encode_response(response)
        SdkMessage.model_validate(body_)
        stopped_at_calls = response.finish_reason == "stop" and response.message.tool_calls
        reason = "tool_calls" if stopped_at_calls else response.finish_reason
        for again in (fold(unfold(decode_response(body_))), fold(read(written(response), origin=None))):
            assert _plain(again) == _plain(same)
            assert (again.finish_reason, again.usage) == (reason, response.usage)

    @given(_RESPONSES)
    def test_every_event_is_of_the_official_types(self, response: ChatResponse) -> None:
        for event, data in SseDecoder().feed(written(response)):
            assert json.loads(data)["type"] == event
            EVENTS.validate_json(data)

    def test_calls_that_come_interleaved_are_written_one_after_the_other(self) -> None:
        encoder = StreamEncoder()
        events: list[Event] = [
            ToolCallStarted(0, "a", "look"),
            ToolCallStarted(1, "b", "look"),
            ToolCallDelta(1, '{"y": '),
            ToolCallDelta(0, '{"x": 1}'),
            ToolCallDelta(1, "2}"),
        ]
        raw = b"".join(encoder.encode(event) for event in [*events, *unfold(ChatResponse(Message("assistant", ())))])
        assert fold(read(raw)).tool_calls == (ToolCall("a", "look", '{"x": 1}'), ToolCall("b", "look", '{"y": 2}'))

    def test_what_is_unknown_is_null(self) -> None:
        told = encode_response(ChatResponse(Message("assistant", (Text("x"),))))
        assert (told["stop_reason"], told["usage"]) == (None, {"input_tokens": 0, "output_tokens": 0})

    @pytest.mark.parametrize(
        ("error", "status", "kind"),
        [
            (RateLimited("slow down", status=429), 429, "rate_limit_error"),
            (Overloaded("busy", status=503), 529, "overloaded_error"),
            (AuthenticationFailed("no", status=403), 502, "api_error"),
            (RateLimited("of sk-abcdefghijklmnop", status=429), 429, "rate_limit_error"),
            (InvalidRequest("bad", status=422), 422, "invalid_request_error"),
            (RequestError("bad"), 400, "invalid_request_error"),
            (AllAttemptsFailed("all", status=503), 502, "api_error"),
            (AllAttemptsFailed("all", status=429, attempts=(LIMITED, LIMITED)), 429, "rate_limit_error"),
            (AllAttemptsFailed("all", status=429, attempts=(BROKEN, LIMITED)), 502, "api_error"),
        ],
    )
    def test_errors(self, error: Any, status: int, kind: str) -> None:
        assert encode_error(error) == (
            status,
            {"type": "error", "error": {"type": kind, "message": conceal(str(error))}},
        )
        event, data = SseDecoder().feed(StreamEncoder().error(error))[0]
        assert (event, json.loads(data)["error"]["type"]) == ("error", kind)


def _plain(response: ChatResponse) -> list[Any]:
    return [
        (part.text, part.signature, part.origin, part.redacted) if isinstance(part, Reasoning) else part
        for part in response.message.parts
    ]
