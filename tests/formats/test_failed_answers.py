"""Answers with a success status that failed, in every dialect: an error, never an answer; and what only looks odd."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from agentroute import (
    BadResponse,
    ChatResponse,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    Usage,
    fold,
    formats,
)
from agentroute.events import Event, Started
from agentroute.formats.sse import SseDecoder, encode_event

DIALECTS = ("openai_chat", "anthropic_messages", "gemini", "openai_responses")


def events(dialect: str, *chunks: Any) -> list[Event]:
    """The stream of these chunks (dicts, or raw bytes of an event), through the decoder of bytes as well."""
    raw = b"".join(chunk if isinstance(chunk, bytes) else encode_event(chunk) for chunk in chunks)
    decoder = formats.of(dialect).StreamDecoder(target="a", origin="p/m")
    found = [event for data in SseDecoder().feed(raw) for event in decoder.feed(data.data, data.event)]
    return [*found, *decoder.close()]


def streamed(dialect: str, *chunks: Any) -> ChatResponse:
    return fold(events(dialect, *chunks))


def chat(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "model": "m", "object": "chat.completion.chunk", "choices": [choice], **more}


def called(index: Any, arguments: str = "", call_id: str | None = None, name: str | None = None) -> dict[str, Any]:
    function = {"arguments": arguments} | ({} if name is None else {"name": name})
    return chat({"tool_calls": [{"index": index, "function": function} | ({} if call_id is None else {"id": call_id})]})


def gemini(*parts: Any, finish: str | None = None, **more: Any) -> dict[str, Any]:
    candidate = {"content": {"parts": list(parts)}} | ({} if finish is None else {"finishReason": finish})
    return {"candidates": [candidate], "responseId": "r", "modelVersion": "m", **more}


STOP = chat(finish="stop")
DONE = b"data: [DONE]\n\n"


ERROR_OBJECTS: list[tuple[dict[str, Any], type[ProviderError]]] = [
    ({"object": "error", "message": "the engine died", "type": "InternalServerError", "code": 500}, Overloaded),
    ({"object": "error", "message": "slow down", "code": 429}, RateLimited),
    ({"detail": "upstream failed"}, BadResponse),
    ({"detail": [{"msg": "upstream failed"}]}, BadResponse),
    ({"message": "Internal server error"}, BadResponse),
    ({"errors": [{"message": "no"}]}, BadResponse),
    ({"error": {"message": "overloaded", "type": "overloaded_error"}}, Overloaded),
    ({"error": "boom"}, BadResponse),
    ({"msg": "system busy", "code": 503}, Overloaded),
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("body", "kind"), ERROR_OBJECTS, ids=lambda value: str(value)[:40])
class TestErrorObjects:
    def test_whole(self, dialect: str, body: dict[str, Any], kind: type[ProviderError]) -> None:
        with pytest.raises(ProviderError) as caught:
            formats.of(dialect).decode_response(body, target="a")
        assert type(caught.value) is kind

    def test_in_a_stream(self, dialect: str, body: dict[str, Any], kind: type[ProviderError]) -> None:
        with pytest.raises(ProviderError) as caught:
            events(dialect, body, DONE)
        assert type(caught.value) is kind


def whole_chat(finish: str, content: str | None = "hi", **choice: Any) -> dict[str, Any]:
    message = {"role": "assistant", "content": content}
    return {"id": "c", "choices": [{"message": message, "finish_reason": finish, **choice}]}


class TestAnEndThatIsAFailure:
    @pytest.mark.parametrize(
        "word",
        [
            "error",
            "ERROR",
            "abort",
            "aborted",
            "canceled",
            "network_error",
            "internal_error",
            "upstream_error",
            "engine_timeout",
            "insufficient_system_resource",
        ],
    )
    def test_chat(self, word: str) -> None:
        with pytest.raises(ProviderError, match=f"{word}"):
            formats.of("openai_chat").decode_response(whole_chat(word), target="a")
        with pytest.raises(ProviderError, match=f"{word}"):
            events("openai_chat", chat({"content": "hel"}), chat(finish=word), DONE)

    def test_of_an_upstream(self) -> None:
        body = whole_chat("stop", None, native_finish_reason="MALFORMED_FUNCTION_CALL")
        with pytest.raises(BadResponse):
            formats.of("openai_chat").decode_response(body, target="a")
        with pytest.raises(BadResponse):
            events("openai_chat", chat(finish="stop") | {"choices": [body["choices"][0] | {"delta": {}}]}, DONE)

    @pytest.mark.parametrize("word", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])
    def test_gemini_with_nothing_said(self, word: str) -> None:
        for parts in ((), ({"text": "hm", "thought": True},)):
            with pytest.raises(BadResponse, match=word):
                formats.of("gemini").decode_response(gemini(*parts, finish=word), target="a")
            with pytest.raises(BadResponse, match=word):
                events("gemini", gemini(*parts), gemini(finish=word))
        assert streamed("gemini", gemini({"text": "hi"}, finish=word)).text == "hi"

    def test_anthropic(self) -> None:
        body = {"type": "message", "id": "m", "content": [{"type": "text", "text": "x"}], "stop_reason": "error"}
        with pytest.raises(BadResponse):
            formats.of("anthropic_messages").decode_response(body, target="a")
        with pytest.raises(BadResponse):
            events(
                "anthropic_messages",
                {"type": "message_start", "message": {"id": "m"}},
                {"type": "message_delta", "delta": {"stop_reason": "error"}},
            )

    @pytest.mark.parametrize("response", [{"status": "failed"}, {"error": {"message": "x"}}, {"status": "cancelled"}])
    def test_responses(self, response: dict[str, Any]) -> None:
        with pytest.raises(BadResponse):
            events("openai_responses", {"type": "response.completed", "response": {"output": [], **response}})


class TestEventsWithoutData:
    @pytest.mark.parametrize(
        "empty",
        [
            b"data:\n\n",
            b"data: \n\n",
            b"data\n\n",
            b"event: ping\ndata:\n\n",
            b"data:\ndata:\n\n",
            b"data: ping\n\n",
            b"data: : keep-alive\n\n",
            b"data: [HEARTBEAT]\n\n",
            b"data: null\n\n",
        ],
    )
    def test_are_no_events(self, empty: bytes) -> None:
        said = streamed("openai_chat", chat({"content": "hel"}), empty, chat({"content": "lo"}), empty, STOP, DONE)
        assert (said.text, said.finish_reason) == ("hello", "stop")


class TestToolIndexes:
    A, B = '{"a":1}', '{"b":2}'

    @pytest.mark.parametrize(
        "chunks",
        [
            [called(0, A, "x", "look"), called(0, "", "y", "look"), called(1, B)],
            [called(0, "", "x", "look"), called(1, A), called(1, "", "y", "look"), called(2, B)],
            [called(0, "", "x", "look"), called(0, A), called(1, "", "y", "look"), called(0, B)],
            [
                called(0, "", "x", "look"),
                called(0, A[:3]),
                called(0, A[3:]),
                called(0, "", "y", "look"),
                called(1, B[:3]),
                called(1, B[3:]),
            ],
            [called(0, "", "x", "look"), called(None, A), called(1, "", "y", "look"), called(None, B)],
            [called("0", A, "x", "look"), called("1", "", "y", "look"), called("1", B)],
            [called(0, A, "x", "look"), called(0, "", "y", "look"), called(7, B[:3]), called(7, B[3:])],
            # right ones, interleaved
            [
                called(0, "", "x", "look"),
                called(1, "", "y", "look"),
                called(0, A[:3]),
                called(1, B[:3]),
                called(0, A[3:]),
                called(1, B[3:]),
            ],
        ],
    )
    def test_arguments_find_their_call(self, chunks: Sequence[dict[str, Any]]) -> None:
        said = streamed("openai_chat", *chunks, chat(finish="tool_calls"), DONE)
        assert [(call.id, call.arguments) for call in said.tool_calls] == [("x", self.A), ("y", self.B)]


class TestWhoSpeaks:
    @pytest.mark.parametrize(
        "first",
        [
            {"id": "", "model": "", "object": "", "choices": [], "prompt_filter_results": [{"index": 0}]},
            {"choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}}]},
            {"id": "c1", "choices": []},
            {"id": None, "model": "m", "choices": []},
        ],
    )
    def test_a_first_chunk_without_a_name(self, first: dict[str, Any]) -> None:
        found = events("openai_chat", first, chat({"content": "hi"}), STOP, DONE)
        assert [event for event in found if isinstance(event, Started)] == [found[0]]
        assert (fold(found).id, fold(found).model, fold(found).text) == ("c1", "m", "hi")

    def test_the_name_comes_after_the_first_words(self) -> None:
        nameless = {"choices": [{"index": 0, "delta": {"content": "hel"}}]}
        found = events("openai_chat", nameless, chat({"content": "lo"}), STOP, DONE)
        assert isinstance(found[0], Started)
        assert (fold(found).id, fold(found).model, fold(found).text) == ("c1", "m", "hello")
        encoder = formats.of("openai_chat").StreamEncoder()
        assert b"".join(encoder.encode(event) for event in found).count(b'"role"') == 1

    def test_nobody_ever_says_it(self) -> None:
        nameless = {"choices": [{"index": 0, "delta": {"content": "hi"}, "finish_reason": "stop"}]}
        found = events("openai_chat", nameless, DONE)
        assert (found[0], fold(found).text) == (Started(), "hi")

    def test_gemini(self) -> None:
        first = {"usageMetadata": {"promptTokenCount": 3}}
        found = events("gemini", first, gemini({"text": "hi"}, finish="STOP"))
        assert isinstance(found[0], Started)
        assert (fold(found).id, fold(found).model) == ("r", "m")

    def test_responses_without_created(self) -> None:
        item = {"type": "message", "content": [{"type": "output_text", "text": "hi"}]}
        response = {"id": "r", "model": "m", "status": "completed", "output": [item]}
        said = streamed("openai_responses", {"type": "response.completed", "response": response})
        assert (said.id, said.model, said.text) == ("r", "m", "hi")


class TestZerosAfterCounts:
    def test_chat(self) -> None:
        told = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
        zeros = dict.fromkeys(told, 0)
        said = streamed("openai_chat", chat({"content": "hi"}, usage=told), chat(finish="stop", usage=zeros), DONE)
        assert said.usage == Usage(5, 2)
        said = streamed("openai_chat", chat({"content": "hi"}, usage=zeros), chat(finish="stop", usage=told), DONE)
        assert said.usage == Usage(5, 2), "zeros before are replaced"

    def test_gemini(self) -> None:
        told = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
        zeros = dict.fromkeys(told, 0)
        first, last = gemini({"text": "hi"}, usageMetadata=told), gemini(finish="STOP", usageMetadata=zeros)
        assert streamed("gemini", first, last).usage == Usage(5, 2)

    def test_anthropic(self) -> None:
        start = {"type": "message_start", "message": {"id": "m", "usage": {"input_tokens": 5, "output_tokens": 2}}}
        last = {"delta": {"stop_reason": "end_turn"}, "usage": {"input_tokens": 0, "output_tokens": 0}}
        said = streamed("anthropic_messages", start, {"type": "message_delta", **last}, {"type": "message_stop"})
        assert said.usage == Usage(5, 2)


class TestThinking:
    """A decoder knows when its model thinks."""

    @pytest.mark.parametrize(
        ("dialect", "thinks", "speaks"),
        [
            (
                "anthropic_messages",
                {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking", "thinking": ""}},
                {"type": "content_block_stop", "index": 0},
            ),
            (
                "anthropic_messages",
                {
                    "type": "content_block_start",
                    "index": 0,
                    "content_block": {"type": "redacted_thinking", "data": "x"},
                },
                {"type": "content_block_stop", "index": 0},
            ),
            (
                "openai_responses",
                {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}},
                {"type": "response.output_item.done", "output_index": 0, "item": {"type": "reasoning"}},
            ),
            ("openai_chat", chat({"reasoning_content": "hm"}), chat({"content": "so"})),
            ("openai_chat", chat({"reasoning": "hm"}), called(0, "", "x", "look")),
            ("gemini", gemini({"text": "hm", "thought": True}), gemini({"text": "so"})),
        ],
    )
    def test_from_the_first_thought_to_the_first_word(self, dialect: str, thinks: Any, speaks: Any) -> None:
        decoder = formats.of(dialect).StreamDecoder()
        assert not decoder.thinking
        decoder.feed(json.dumps(thinks))
        assert decoder.thinking
        decoder.feed(json.dumps(speaks))
        assert not decoder.thinking


class TestCountsByOtherNames:
    """A dialect's count by the names of another: servers that took it over keep their own."""

    @pytest.mark.parametrize(
        "raw",
        [
            {"input_tokens": 100, "output_tokens": 10, "input_tokens_details": {"cached_tokens": 80}},
            {"prompt_tokens": 100, "completion_tokens": 10, "input_tokens_details": {"cached_tokens": 80}},
            {"prompt_tokens": 100, "completion_tokens": 10, "prompt_tokens_details": {"cached_tokens": 80}},
            {"prompt_tokens": 100, "completion_tokens": 10, "cached_tokens": 80},
        ],
    )
    @pytest.mark.parametrize("dialect", ["openai_chat", "openai_responses"])
    def test_is_read(self, dialect: str, raw: dict[str, Any]) -> None:
        body = whole_chat("stop") if dialect == "openai_chat" else {"id": "r", "status": "completed", "output": []}
        found = formats.of(dialect).decode_response({**body, "usage": raw}).usage
        assert found == Usage(100, 10, 80)

    def test_anthropic_s_names_leave_the_cache_out(self) -> None:
        raw = {"input_tokens": 20, "output_tokens": 10, "cache_read_input_tokens": 80}
        found = formats.of("openai_chat").decode_response({**whole_chat("stop"), "usage": raw}).usage
        assert found is not None
        assert found.input_tokens is None


@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "openai_responses"])
def test_minimax_says_in_every_answer_how_it_went(dialect: str) -> None:
    failed = {"id": "c", "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}}
    with pytest.raises(QuotaExhausted, match="insufficient balance"):
        formats.of(dialect).decode_response({**failed, "choices": None, "content": [], "output": []})
    with pytest.raises(QuotaExhausted, match="insufficient balance"):
        events(dialect, failed)
    well = {**whole_chat("stop"), "base_resp": {"status_code": 0, "status_msg": ""}}
    assert formats.of("openai_chat").decode_response(well).text == "hi"


def test_calls_without_an_id_at_one_index_are_told_apart_by_their_names() -> None:
    a, b = '{"a":1}', '{"b":2}'
    pieces = [called(0, a[:3], None, "look"), called(0, a[3:]), called(0, b, None, "look"), STOP, DONE]
    assert [call.arguments for call in streamed("openai_chat", *pieces).tool_calls] == [a, b]
