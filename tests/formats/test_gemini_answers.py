"""Gemini answers, whole and streamed, read and written: nothing is invented or lost, signatures stay in place."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ChatResponse,
    ConfigError,
    ContextTooLong,
    ModelNotFound,
    Overloaded,
    ProviderError,
    QuotaExhausted,
    RateLimited,
    RequestError,
    Usage,
    fold,
)
from agentroute.decisions import Attempt
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
    unfold,
)
from agentroute.formats import response_warnings
from agentroute.formats.failures import decode_error
from agentroute.formats.gemini import (
    StreamDecoder,
    StreamEncoder,
    decode_response,
    decode_usage,
    encode_error,
    encode_request,
    encode_response,
)
from agentroute.formats.sse import SseDecoder
from agentroute.messages import ChatRequest, Extra, FinishReason, Message, Reasoning, Text, ToolCall
from tests.streamed import read as read_stream

ORIGIN = "google/m"
USAGE = {"promptTokenCount": 5, "candidatesTokenCount": 2, "totalTokenCount": 7}
SIGNATURE = "EpwICpkI/AX+LI2nxl/U6g+sWA=="
CALL = {"functionCall": {"name": "f", "args": {"a": 1}}}


def chunk(*parts: Any, finish: str | None = None, usage: Any = USAGE, **candidate: Any) -> dict[str, Any]:
    found = {"content": {"parts": list(parts), "role": "model"}, "index": 0, **candidate}
    if finish is not None:
        found["finishReason"] = finish
    return {"candidates": [found], "usageMetadata": usage, "modelVersion": "m", "responseId": "r1"}


def whole(*parts: Any, finish: str | None = "STOP", **more: Any) -> ChatResponse:
    return decode_response(chunk(*parts, finish=finish, **more), target="t", origin=ORIGIN)


def sse(chunks: Iterable[Any], newline: str = "\r\n") -> bytes:
    return "".join(f"data: {json.dumps(each)}{newline}{newline}" for each in chunks).encode()


def read(raw: bytes, size: int = 0) -> list[Event]:
    return read_stream(StreamDecoder(target="t", origin=ORIGIN), raw, size)


def streamed(*chunks: Any) -> ChatResponse:
    return fold(read(sse(chunks)))


STREAM = [
    chunk({"text": "Let me ", "thought": True}, usage={"promptTokenCount": 5, "totalTokenCount": 5}),
    chunk({"text": "think.", "thought": True}, usage={"promptTokenCount": 5, "totalTokenCount": 5}),
    chunk({"text": "It "}),
    chunk({"text": "is", "thoughtSignature": SIGNATURE}),
    chunk({"text": " ü."}, {**CALL, "thoughtSignature": "c2ln"}, CALL),
    chunk({"text": ""}, finish="STOP", finishMessage="calls"),
]


class TestWhole:
    def test_text(self) -> None:
        response = whole({"text": "hello"})
        assert (response.text, response.finish_reason, response.native_finish_reason) == ("hello", "stop", "STOP")
        assert (response.usage, response.model, response.id) == (Usage(5, 2), "m", "r1")
        assert (response.extra, response.message.extra) == (None, None)
        assert response_warnings(response) == ()

    def test_calls_without_ids_get_their_own_and_keep_them(self) -> None:
        response = whole({**CALL, "thoughtSignature": SIGNATURE}, CALL)
        first, second = response.tool_calls
        assert (first.name, first.arguments) == ("f", '{"a":1}')
        assert first.id != second.id
        assert first.extra == Extra("gemini", {"thoughtSignature": SIGNATURE}, ORIGIN)
        assert second.extra is None
        assert response.finish_reason == "tool_calls"
        assert whole({**CALL, "thoughtSignature": SIGNATURE}, CALL) == response
        other = decode_response({**chunk(CALL, finish="STOP"), "responseId": "r2"})
        assert other.tool_calls[0].id != first.id

    def test_a_given_id_is_kept(self) -> None:
        assert whole({"functionCall": {"name": "f", "id": "x1"}}).tool_calls == (ToolCall("x1", "f", "{}"),)

    def test_thoughts(self) -> None:
        response = whole(
            {"text": "hm", "thought": True},
            {"text": "so", "thought": True, "thoughtSignature": "c2ln"},
            {"text": "hi", "thought": False, "thought_signature": SIGNATURE},
        )
        assert response.message.parts[0] == Reasoning("hmso", "c2ln", ORIGIN, extra=Extra("gemini", {}, ORIGIN))
        assert response.text == "hi"
        sent = encode_request(ChatRequest((response.message,)), model="m").body["contents"][0]["parts"]
        assert sent == [
            {"text": "hmso", "thought": True, "thoughtSignature": "c2ln"},
            {"text": "hi", "thought": False, "thoughtSignature": SIGNATURE},
        ]

    def test_parts_of_other_kinds_are_kept_whole(self) -> None:
        parts: list[dict[str, Any]] = [
            {"inlineData": {"mimeType": "image/png", "data": "iVBO"}, "thoughtSignature": SIGNATURE},
            {"executableCode": {"language": "PYTHON", "code": "1"}},
            {"fromTomorrow": [1]},
        ]
        response = whole(*parts, {}, "junk", finish="STOP")
        assert response.message.parts == tuple(Text("", Extra("gemini", part, ORIGIN)) for part in parts)
        assert encode_request(ChatRequest((response.message,)), model="m").body["contents"][0]["parts"] == parts
        assert encode_response(response)["candidates"][0]["content"]["parts"] == parts

    @pytest.mark.parametrize(
        ("word", "reason"),
        [
            ("STOP", "stop"),
            ("MAX_TOKENS", "length"),
            ("SAFETY", "content_filter"),
            ("RECITATION", "content_filter"),
            ("MODEL_ARMOR", "content_filter"),
            ("IMAGE_PROHIBITED_CONTENT", "content_filter"),
            ("MALFORMED_FUNCTION_CALL", None),
            ("UNEXPECTED_TOOL_CALL", None),
            ("OTHER", None),
            ("FROM_TOMORROW", None),
        ],
    )
    def test_finish(self, word: str, reason: FinishReason | None) -> None:
        response = whole({"text": "a"}, finish=word)
        assert (response.finish_reason, response.native_finish_reason) == (reason, word)

    def test_only_a_free_stop_becomes_tool_calls(self) -> None:
        assert whole(CALL, finish="MAX_TOKENS").finish_reason == "length"
        assert whole(CALL, finish="UNEXPECTED_TOOL_CALL").finish_reason is None

    def test_no_finish_reason_is_not_invented(self) -> None:
        response = whole({"text": "a"}, finish=None)
        assert (response.finish_reason, response.native_finish_reason) == (None, None)
        assert response_warnings(response) == ("provider_missing_finish_reason",)

    def test_a_blocked_prompt_is_an_answer(self) -> None:
        feedback = {"blockReason": "OTHER", "blockReasonMessage": "no"}
        response = decode_response({"promptFeedback": feedback, "usageMetadata": {"promptTokenCount": 4}})
        assert (response.finish_reason, response.native_finish_reason) == ("content_filter", "OTHER")
        assert response.message.parts == ()
        assert response.usage == Usage(4)
        assert response.extra == Extra("gemini", {"promptFeedback": feedback})
        assert "candidates" not in encode_response(response)

    def test_a_candidate_without_content(self) -> None:
        response = decode_response({"candidates": [{"finishReason": "MAX_TOKENS"}]})
        assert (response.message.parts, response.finish_reason, response.usage) == ((), "length", None)

    def test_only_the_first_candidate_counts(self) -> None:
        body = chunk({"text": "a"}, finish="STOP")
        body["candidates"].append({"index": 1, "content": {"parts": [{"text": "b"}]}, "finishReason": "SAFETY"})
        assert (decode_response(body).text, decode_response(body).finish_reason) == ("a", "stop")

    def test_a_list_of_chunks(self) -> None:
        assert decode_response(STREAM, target="t", origin=ORIGIN) == streamed(*STREAM)
        with pytest.raises(BadResponse):
            decode_response(STREAM[:-1])

    @pytest.mark.parametrize(
        "body", [None, "", [], {}, {"candidates": []}, {"candidates": "x"}, [1], {"usageMetadata": USAGE}]
    )
    def test_no_answer(self, body: Any) -> None:
        with pytest.raises(BadResponse):
            decode_response(body)

    @pytest.mark.parametrize(
        "part", [{"functionCall": {}}, {"functionCall": "f"}, {"functionCall": {"name": "f", "args": [1]}}]
    )
    def test_a_call_that_cannot_be_read(self, part: Any) -> None:
        with pytest.raises(BadResponse, match="functionCall") as caught:
            whole(part)
        assert caught.value.target == "t"
        assert caught.value.__context__ is None

    @pytest.mark.parametrize("wrap", [lambda error: error, lambda error: [error]])
    def test_errors_inside_a_success(self, wrap: Any) -> None:
        error = {"error": {"code": 503, "message": "overloaded", "status": "UNAVAILABLE"}}
        with pytest.raises(Overloaded):
            decode_response(wrap(error))
        with pytest.raises(Overloaded):
            streamed(chunk({"text": "a"}), wrap(error))


class TestUsage:
    @pytest.mark.parametrize(
        ("raw", "usage"),
        [
            (USAGE, Usage(5, 2)),
            (
                {
                    "promptTokenCount": 100,
                    "cachedContentTokenCount": 80,
                    "toolUsePromptTokenCount": 7,
                    "candidatesTokenCount": 10,
                    "thoughtsTokenCount": 30,
                    "totalTokenCount": 147,
                },
                Usage(107, 40, 80, None, 30),
            ),
            ({"promptTokenCount": 15, "thoughtsTokenCount": 2, "totalTokenCount": 17}, Usage(15, 2, None, None, 2)),
            ({"promptTokenCount": 14, "totalTokenCount": 14}, Usage(14, 0)),
            ({"promptTokenCount": 14}, Usage(14)),
            # A count that includes the thoughts, by its own total.
            (
                {"promptTokenCount": 5, "candidatesTokenCount": 10, "thoughtsTokenCount": 4, "totalTokenCount": 15},
                Usage(5, 10, None, None, 4),
            ),
            ({"prompt_token_count": 5, "candidates_token_count": 1}, Usage(5, 1)),
            ({"trafficType": "ON_DEMAND"}, None),
            ({"promptTokenCount": True, "candidatesTokenCount": "x"}, None),
            (None, None),
        ],
    )
    def test_counts(self, raw: Any, usage: Usage | None) -> None:
        assert decode_usage(raw) == usage

    def test_output_is_unknown_until_the_answer_is_whole(self) -> None:
        raw = {"promptTokenCount": 5, "totalTokenCount": 5}
        events = read(sse([chunk({"text": "a"}, usage=raw), chunk(finish="STOP", usage=raw)]))
        assert [event.usage for event in events if isinstance(event, UsageReported)] == [Usage(5), Usage(5, 0)]


class TestStream:
    def test_events(self) -> None:
        events = read(sse(STREAM))
        first, second = (event for event in events if isinstance(event, ToolCallStarted))
        signature = Extra("gemini", {"thoughtSignature": SIGNATURE}, ORIGIN)
        assert events == [
            Started("r1", "m"),
            ReasoningDelta("Let me "),
            UsageReported(Usage(5)),
            ReasoningDelta("think."),
            TextDelta("It "),
            UsageReported(Usage(5, 2)),
            TextDelta("is", signature),
            TextDelta(" ü."),
            ToolCallStarted(0, first.id, "f", Extra("gemini", {"thoughtSignature": "c2ln"}, ORIGIN)),
            ToolCallDelta(0, '{"a":1}'),
            ToolCallStarted(1, second.id, "f"),
            ToolCallDelta(1, '{"a":1}'),
            Finished("tool_calls", "STOP", Extra("gemini", {"candidate": {"finishMessage": "calls"}}, ORIGIN)),
        ]
        assert first.id != second.id

    @given(st.data())
    def test_any_split_of_the_bytes_gives_the_same_events(self, data: st.DataObject) -> None:
        raw = sse(STREAM)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=8)))
        decoder, lines = StreamDecoder(target="t", origin=ORIGIN), SseDecoder()
        events: list[Event] = []
        for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
            for event, text in lines.feed(raw[start:end]):
                events += decoder.feed(text, event)
        assert events + decoder.close() == read(raw)

    def test_cut_at_every_byte(self) -> None:
        raw = sse(STREAM)
        complete = fold(read(raw))
        outcomes = set()
        for end in range(len(raw) + 1):
            try:
                found = fold(read(raw[:end]))
            except ProviderError:
                outcomes.add("error")
                continue
            outcomes.add("whole")
            assert found == complete
        assert outcomes == {"error", "whole"}

    def test_there_is_no_end_but_the_end_of_the_stream(self) -> None:
        decoder = StreamDecoder()
        decoder.feed(json.dumps(chunk({"text": "a"})))
        assert (decoder.finished, decoder.ended) == (False, False)
        with pytest.raises(BadResponse):
            decoder.close()
        decoder.feed(json.dumps(chunk(finish="STOP")))
        assert (decoder.finished, decoder.ended, decoder.finish_reason) == (True, False, "stop")
        later = decoder.feed(json.dumps({"usageMetadata": {**USAGE, "totalTokenCount": 8, "thoughtsTokenCount": 1}}))
        assert later == [UsageReported(Usage(5, 3, None, None, 1))]
        assert decoder.feed("[DONE]") == []
        assert decoder.close() == [Finished("stop", "STOP")]
        assert decoder.warnings() == ()

    def test_a_prompt_blocked_in_a_stream(self) -> None:
        response = streamed({"promptFeedback": {"blockReason": "SAFETY"}})
        assert (response.finish_reason, response.native_finish_reason) == ("content_filter", "SAFETY")

    def test_warnings(self) -> None:
        decoder = StreamDecoder()
        decoder.feed(json.dumps(chunk(finish="FROM_TOMORROW", usage=None)))
        assert decoder.warnings() == ("unknown_finish_reason", "provider_missing_usage", "empty_response")

    @pytest.mark.parametrize("data", ["", "{", "1", '"x"', "[" * 100_000])
    def test_what_is_no_chunk(self, data: str) -> None:
        with pytest.raises(BadResponse) as caught:
            StreamDecoder(target="t").feed(data)
        assert caught.value.__context__ is None

    def test_an_error_event(self) -> None:
        with pytest.raises(ProviderError):
            StreamDecoder().feed('{"message": "x"}', "error")

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(
                    st.sampled_from(
                        "candidates content parts text thought thoughtSignature functionCall name args id finishReason "
                        "promptFeedback blockReason usageMetadata promptTokenCount index inline_data".split()
                    ),
                    inner,
                    max_size=4,
                )
            ),
            max_leaves=12,
        )
    )
    def test_nothing_but_a_provider_error(self, raw: Any) -> None:
        parts = raw if isinstance(raw, list) else [raw]
        for body in (raw, {"candidates": [raw]}, chunk(*parts, finish="STOP"), {"candidates": [{"content": raw}]}):
            try:
                response = decode_response(body)
            except ProviderError:
                continue
            json.dumps(encode_response(response))
            encode_request(ChatRequest((response.message,)), model="m")


texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
signed = st.builds(lambda text: Extra("gemini", {"thoughtSignature": text}, ORIGIN), texts)
parts = st.lists(
    st.one_of(
        st.builds(Text, texts, st.none() | signed),
        st.builds(Text, st.just(""), signed),
        st.just(Text("", Extra("gemini", {"executableCode": {"code": "1"}}, ORIGIN))),
        st.builds(lambda text, sig: Reasoning(text, sig, ORIGIN, extra=Extra("gemini", {}, ORIGIN)), texts, texts),
        st.builds(
            lambda name, args, extra: ToolCall(
                "", name, json.dumps(args, separators=(",", ":"), ensure_ascii=False), extra
            ),
            texts,
            st.dictionaries(texts, st.integers() | texts, max_size=2),
            st.none() | signed,
        ),
    ),
    max_size=6,
)


@given(parts, st.sampled_from([("length", "MAX_TOKENS"), (None, "OTHER"), ("content_filter", "SAFETY")]))
def test_what_is_written_is_read_again(held: list[Any], finish: tuple[FinishReason | None, str]) -> None:
    named = [
        ToolCall(f"id{at}", part.name, part.arguments, part.extra) if isinstance(part, ToolCall) else part
        for at, part in enumerate(held)
    ]
    extra = Extra("gemini", {"createTime": "now"}, ORIGIN)
    beside = Extra("gemini", {"candidate": {"avgLogprobs": -1}}, ORIGIN)
    message = Message("assistant", tuple(named), extra=beside)
    given_ = ChatResponse(message, finish[0], Usage(9, 5, 3, None, 2), "m", "r", finish[1], extra)
    expected = fold(unfold(given_))
    encoder = StreamEncoder()
    raw = b"".join(encoder.encode(event) for event in unfold(given_))
    assert fold(read(raw)) == expected
    assert decode_response(json.loads(json.dumps(encode_response(given_))), origin=ORIGIN) == expected


class TestWritten:
    def test_a_stream_for_a_client_is_what_googles_own_types_take(self) -> None:
        from google.genai import types

        encoder = StreamEncoder(model="shown", created=1)
        pieces = [encoder.encode(event) for event in read(sse(STREAM))]
        bodies = [json.loads(data) for _, data in SseDecoder().feed(b"".join(pieces))]
        for body in bodies:
            found = types.GenerateContentResponse.model_validate(body)
            assert (found.model_version, found.response_id) == ("shown", "r1")
        last = bodies[-1]["candidates"][0]
        assert [part["functionCall"]["args"] for part in last["content"]["parts"]] == [{"a": 1}, {"a": 1}]
        assert last["content"]["parts"][0]["thoughtSignature"] == "c2ln"
        assert last["finishReason"] == "STOP"
        assert bodies[-1]["usageMetadata"] == USAGE
        assert fold(read(b"".join(pieces))).message == streamed(*STREAM).message

    def test_calls_go_out_whole_and_text_at_once(self) -> None:
        encoder = StreamEncoder()
        assert encoder.encode(Started("r", "m")) == b""
        assert b'"text":"a"' in encoder.encode(TextDelta("a"))
        for event in (
            ToolCallStarted(0, "x", "f"),
            ToolCallStarted(1, "y", "g"),
            ToolCallDelta(0, '{"a":'),
            ToolCallDelta(1, "{}"),
            TextDelta("late"),
            ToolCallDelta(0, "1}"),
            UsageReported(Usage(1, 1)),
        ):
            assert encoder.encode(event) == b""
        response = fold(read(encoder.encode(Finished("tool_calls"))))
        assert response.message.parts == (ToolCall("x", "f", '{"a":1}'), ToolCall("y", "g", "{}"), Text("late"))
        assert (response.finish_reason, response.usage) == ("tool_calls", Usage(1, 1))

    def test_unknown_fields_of_an_answer_go_out_once(self) -> None:
        encoder = StreamEncoder()
        encoder.encode(Started("r", "m", Extra("gemini", {"createTime": "now"}, ORIGIN)))
        pieces = [encoder.encode(event) for event in (TextDelta("a"), TextDelta("b"), Finished("stop"))]
        assert [b"createTime" in piece for piece in pieces] == [True, False, False]

    def test_an_answer_of_another_dialect(self) -> None:
        foreign = Extra("anthropic_messages", {"citations": []})
        held = (
            Reasoning("hm", "sig", "anthropic/c", extra=foreign),
            Reasoning("", "blob", "anthropic/c", True, foreign),
            Text("hi", foreign),
            ToolCall("t1", "f", "no json"),
        )
        response = ChatResponse(Message("assistant", held), "tool_calls", Usage(10, 4, 2, 3), "c", "msg_1", "tool_use")
        body = encode_response(response, model="shown", created=5)
        assert body == {
            "responseId": "msg_1",
            "modelVersion": "shown",
            "candidates": [
                {
                    "index": 0,
                    "content": {
                        "role": "model",
                        "parts": [
                            {"text": "hm", "thought": True},
                            {"text": "hi"},
                            {"functionCall": {"id": "t1", "name": "f", "args": {"INVALID_JSON": "no json"}}},
                        ],
                    },
                    "finishReason": "STOP",
                }
            ],
            "usageMetadata": {
                "promptTokenCount": 10,
                "cachedContentTokenCount": 2,
                "candidatesTokenCount": 4,
                "totalTokenCount": 14,
            },
        }
        encoder = StreamEncoder()
        raw = b"".join(encoder.encode(event) for event in unfold(response))
        assert b"sig" not in raw
        assert b"blob" not in raw
        assert fold(read(raw)).text == "hi"

    @pytest.mark.parametrize(
        ("reason", "native", "word"),
        [
            ("stop", None, "STOP"),
            ("length", "max_tokens", "MAX_TOKENS"),
            ("content_filter", "refusal", "SAFETY"),
            ("content_filter", "RECITATION", "RECITATION"),
            (None, "pause_turn", "OTHER"),
            (None, None, None),
        ],
    )
    def test_finish(self, reason: FinishReason | None, native: str | None, word: str | None) -> None:
        response = ChatResponse(Message("assistant", (Text("a"),)), reason, native_finish_reason=native)
        assert encode_response(response)["candidates"][0].get("finishReason") == word

    @pytest.mark.parametrize(
        ("error", "code", "status"),
        [
            (RequestError("x"), 400, "INVALID_ARGUMENT"),
            (ContextTooLong("x"), 400, "INVALID_ARGUMENT"),
            (ModelNotFound("x"), 404, "NOT_FOUND"),
            (RateLimited("x"), 429, "RESOURCE_EXHAUSTED"),
            (QuotaExhausted("x"), 429, "RESOURCE_EXHAUSTED"),
            (Overloaded("x"), 503, "UNAVAILABLE"),
            (AuthenticationFailed("x"), 502, "UNAVAILABLE"),
            (ConfigError("x"), 500, "INTERNAL"),
            (AllAttemptsFailed("x"), 502, "UNAVAILABLE"),
        ],
    )
    def test_errors(self, error: AgentRouteError, code: int, status: str) -> None:
        assert encode_error(error) == (code, {"error": {"code": code, "message": "x", "status": status}})

    @pytest.mark.parametrize(
        ("kinds", "code"),
        [(("RateLimited", "QuotaExhausted"), 429), (("Overloaded",), 503), (("Overloaded", "RateLimited"), 502)],
    )
    def test_all_failed_for_one_reason(self, kinds: tuple[str, ...], code: int) -> None:
        attempts = tuple(Attempt("t", "failed", 0.0, 1.0, error=kind) for kind in kinds)
        assert encode_error(AllAttemptsFailed("x", attempts=attempts))[0] == code

    def test_an_error_is_read_as_it_was_meant(self) -> None:
        status, body = encode_error(RateLimited("slow down, sk-abcdefghijk", retry_after=34))
        assert "sk-" not in json.dumps(body)
        again = decode_error(status, {}, body)
        assert (type(again), again.retry_after) == (RateLimited, 34.0)

    def test_an_error_ends_a_stream(self) -> None:
        encoder = StreamEncoder()
        encoder.encode(ToolCallStarted(0, "x", "f"))
        with pytest.raises(Overloaded):
            read(encoder.error(Overloaded("x")))


@pytest.mark.requires("shared")
class TestRecorded:
    def test_signatures_and_totals(self, shared: Path) -> None:
        from google.genai import types

        seen = 0
        for path in sorted((shared / "wire/gemini").glob("*.response.*")):
            if json.loads(path.with_name(path.name.split(".")[0] + ".meta.json").read_text())["status"] != 200:
                continue
            raw = path.read_bytes()
            if path.suffix == ".sse":
                if "truncated" in path.name:
                    with pytest.raises(BadResponse):
                        read(raw)
                    continue
                response = fold(read(raw))
                assert all(fold(read(raw, size)) == response for size in (1, 7, 64))
                bodies = [json.loads(data) for _, data in SseDecoder().feed(raw)]
            else:
                bodies = [json.loads(raw)]
                response = decode_response(bodies[0], target="t", origin=ORIGIN)
            seen += 1
            signatures = [
                part["thoughtSignature"]
                for body in bodies
                for candidate in body.get("candidates", ())
                for part in candidate.get("content", {}).get("parts", ())
                if "thoughtSignature" in part
            ]
            message = encode_request(ChatRequest((response.message,)), model="m").body["contents"][0]
            assert [part["thoughtSignature"] for part in message["parts"] if "thoughtSignature" in part] == signatures
            total = bodies[-1]["usageMetadata"].get("totalTokenCount")
            if total is not None:
                assert response.usage is not None
                assert (response.usage.input_tokens or 0) + (response.usage.output_tokens or 0) == total
            written = encode_response(response)
            known = {reason.value for reason in types.FinishReason}
            named = [c for c in written.get("candidates", ()) if c.get("finishReason", "STOP") in known]
            counts = dict(written.get("usageMetadata") or {})
            counts.pop("serviceTier", None)  # the API says it; google-genai 3.6.1 has no field for it here
            types.GenerateContentResponse.model_validate({**written, "candidates": named, "usageMetadata": counts})
            assert decode_response(written, origin=ORIGIN) == response
            encoder = StreamEncoder()
            assert fold(read(b"".join(encoder.encode(event) for event in unfold(response)))) == response
        assert seen == 23

    def test_streams_that_end_at_any_byte(self, shared: Path) -> None:
        for path in sorted((shared / "wire/gemini").glob("*.response.sse")):
            raw = path.read_bytes()
            decoder, lines = StreamDecoder(target="t", origin=ORIGIN), SseDecoder()
            outcomes = set()
            for byte in raw:
                for event, data in lines.feed(bytes((byte,))):
                    decoder.feed(data, event)
                try:
                    outcomes.add(decoder.close() and decoder.native_finish_reason)
                except BadResponse:
                    outcomes.add("error")
            assert outcomes == ({"error"} if "truncated" in path.name else {"error", "STOP"}), path.name
