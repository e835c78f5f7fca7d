"""OpenAI answers written for a client: what the official types accept, what the official client reads, and errors."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from agentroute import ChatResponse, Message, Overloaded, ToolCall, Usage, errors, fold
from agentroute.decisions import Attempt
from agentroute.errors import AgentRouteError, AllAttemptsFailed
from agentroute.events import Finished, Started, TextDelta, ToolCallDelta, ToolCallStarted, unfold
from agentroute.formats.openai_chat import (
    DIALECT,
    StreamDecoder,
    StreamEncoder,
    decode_response,
    encode_error,
    encode_response,
)
from agentroute.formats.openai_chat.fields import REFUSAL
from agentroute.formats.sse import SseDecoder
from agentroute.messages import Extra, Part, Reasoning, Text

WHOLE = ChatResponse(
    Message(
        "assistant",
        (Reasoning("hm"), Text("hel\nlö"), ToolCall("c1", "look", '{"a": 1}'), ToolCall("c2", "look", "")),
        extra=Extra(DIALECT, {"annotations": []}),
    ),
    finish_reason="tool_calls",
    usage=Usage(9, 5, 4, 1, 3),
    model="m",
    id="chatcmpl-1",
    extra=Extra(DIALECT, {"created": 7, "system_fingerprint": "fp"}),
)


def written(response: ChatResponse, **options: Any) -> bytes:
    encoder = StreamEncoder(**options)
    return b"".join(encoder.encode(event) for event in unfold(response))


def chunks(raw: bytes) -> list[Any]:
    return [json.loads(data) for _, data in SseDecoder().feed(raw) if data != "[DONE]"]


def read(raw: bytes, size: int = 1 << 20) -> ChatResponse:
    sse, decoder = SseDecoder(), StreamDecoder()
    events = []
    for start in range(0, len(raw), size):
        for event, data in sse.feed(raw[start : start + size]):
            events += decoder.feed(data, event)
    return fold(events + decoder.close())


class TestWhole:
    def test_the_official_type_takes_it(self) -> None:
        found = ChatCompletion.model_validate(encode_response(WHOLE))
        assert (found.id, found.created, found.model) == ("chatcmpl-1", 7, "m")
        assert found.usage is not None
        assert (found.usage.total_tokens, found.usage.prompt_tokens_details.cached_tokens) == (14, 4)  # type: ignore[union-attr]
        assert found.choices[0].finish_reason == "tool_calls"

    def test_what_the_type_demands_and_nobody_said(self) -> None:
        bare = ChatResponse(Message("assistant", (Text("x"),)), "stop", Usage(3))
        found = ChatCompletion.model_validate(encode_response(bare))
        assert (found.created, found.model, found.usage) == (0, "", None), "half a usage is none"
        assert found.id == encode_response(bare)["id"] != encode_response(WHOLE)["id"]
        assert ChatCompletion.model_validate(encode_response(bare, model="n", created=5)).created == 5

    def test_the_one_exception_is_a_reason_for_stopping_that_is_not_known(self) -> None:
        for native in (None, "banana"):
            raw = encode_response(ChatResponse(Message("assistant", (Text("x"),)), None, native_finish_reason=native))
            assert raw["choices"][0]["finish_reason"] is None
            with pytest.raises(ValueError, match="finish_reason"):
                ChatCompletion.model_validate(raw)
            assert decode_response(raw).native_finish_reason == native
            assert decode_response(raw).finish_reason is None


class TestStreamed:
    def test_every_chunk_is_of_the_official_type(self) -> None:
        found = [ChatCompletionChunk.model_validate(chunk) for chunk in chunks(written(WHOLE))]
        assert {(chunk.id, chunk.created, chunk.model) for chunk in found} == {("chatcmpl-1", 7, "m")}
        assert found[0].choices[0].delta.role == "assistant"
        assert [c.choices[0].finish_reason for c in found if c.choices][-1] == "tool_calls"
        assert (found[-1].choices, found[-1].usage.total_tokens) == ([], 14)  # type: ignore[union-attr]
        assert written(WHOLE).endswith(b"data: [DONE]\n\n")

    def test_calls_are_numbered_from_0_and_may_come_in_turns(self) -> None:
        encoder = StreamEncoder()
        events = [
            ToolCallStarted(4, "a", "f"),
            ToolCallStarted(9, "b", "g"),
            ToolCallDelta(4, "1"),
            ToolCallDelta(9, "2"),
            ToolCallDelta(4, "3"),
            Finished("tool_calls"),
        ]
        raw = b"".join(encoder.encode(event) for event in events)
        found = [chunk["choices"][0]["delta"].get("tool_calls") for chunk in chunks(raw)]
        assert [calls[0]["index"] for calls in found if calls] == [0, 1, 0, 1, 0]
        assert [(c.id, c.name, c.arguments) for c in read(raw).tool_calls] == [("a", "f", "13"), ("b", "g", "2")]

    def test_the_usage_is_only_for_who_asked(self) -> None:
        found = chunks(written(WHOLE, include_usage=False))
        assert all(chunk["choices"] and "usage" not in chunk for chunk in found)
        assert not any("usage" in chunk for chunk in chunks(written(ChatResponse(WHOLE.message, "stop"))))

    def test_what_nobody_said(self) -> None:
        one, two = (StreamEncoder().encode(TextDelta("x")) for _ in range(2))
        assert chunks(one)[0]["id"] != chunks(two)[0]["id"]
        assert {chunk["id"] for chunk in chunks(one)} == {chunks(one)[0]["id"]}
        assert chunks(StreamEncoder(answer_id="mine", model="n").encode(Started("other", "m")))[0]["id"] == "mine"
        (last,) = chunks(StreamEncoder().encode(Finished(None, "banana")))[1:]
        assert last["choices"][0] == {
            "index": 0,
            "delta": {},
            "finish_reason": None,
            "native_finish_reason": "banana",
        }

    def test_the_official_client_reads_it(self) -> None:
        client = _client(written(WHOLE))
        stream = client.chat.completions.create(model="m", messages=[], stream=True)
        said = [chunk.choices[0].delta for chunk in stream if chunk.choices]
        assert "".join(delta.content or "" for delta in said) == "hel\nlö"
        calls = [call for delta in said for call in delta.tool_calls or ()]
        assert [call.id for call in calls if call.id] == ["c1", "c2"]

    def test_the_official_client_raises_the_error(self) -> None:
        encoder = StreamEncoder()
        raw = encoder.encode(TextDelta("x")) + encoder.error(Overloaded("busy"))
        assert b"[DONE]" not in raw
        with pytest.raises(openai.APIError, match="busy"):
            list(_client(raw).chat.completions.create(model="m", messages=[], stream=True))
        with pytest.raises(Overloaded):
            read(raw)


def _client(raw: bytes) -> openai.OpenAI:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=raw)

    return openai.OpenAI(api_key="k", http_client=httpx.Client(transport=httpx.MockTransport(answer)))


texts = st.text(min_size=1, max_size=8)
parts: st.SearchStrategy[Part] = st.one_of(
    st.builds(Text, texts), st.builds(Reasoning, texts), st.builds(Text, texts, st.just(REFUSAL))
)
calls = st.lists(st.builds(ToolCall, st.uuids().map(str), texts, texts), max_size=3)
usages = st.none() | st.builds(Usage, *[st.integers(0, 9)] * 2, *[st.none() | st.integers(0, 9)] * 3)


def _merged(found: Iterator[Part]) -> list[Part]:
    """One reasoning, one text, one refusal: the order in which a message of this dialect can hold them."""
    kinds: dict[str, Part] = {}
    for part in found:
        if isinstance(part, Reasoning):
            kinds["0"] = part
        elif isinstance(part, Text):
            kinds["2" if part.extra else "1"] = part
    return [kinds[key] for key in sorted(kinds)]


@given(
    said=st.lists(parts, max_size=4),
    called=calls,
    usage=usages,
    finish=st.sampled_from([None, "stop", "length"]),
    size=st.integers(1, 80),
)
def test_written_and_read_again(said: list[Part], called: list[ToolCall], usage: Any, finish: Any, size: int) -> None:
    message = Message("assistant", (*_merged(iter(said)), *called))
    response = ChatResponse(message, finish, usage, "m", "chatcmpl-1")
    plain = ChatResponse(message, finish, usage, "m", "chatcmpl-1", extra=Extra(DIALECT, {"created": 0}))
    assert decode_response(encode_response(response)) == plain
    streamed = read(written(response), size) if finish or message.parts else plain
    assert streamed == plain
    for chunk in chunks(written(response)):
        ChatCompletionChunk.model_validate(chunk)
    if finish is not None:
        ChatCompletion.model_validate(encode_response(response))


def attempt(error: str) -> Attempt:
    return Attempt("t", "failed", 0.0, 0.0, error=error)


class TestErrors:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (errors.RequestError("`x` is wrong"), 400, None),
            (errors.InvalidRequest("no", status=422, code="bad_field"), 422, "bad_field"),
            (errors.InvalidRequest("no"), 400, None),
            (errors.ContentFiltered("no", status=400, code="content_filter"), 400, "content_filter"),
            (errors.ContextTooLong("long", status=413), 413, "context_length_exceeded"),
            (errors.ModelNotFound("which?"), 404, "model_not_found"),
            (errors.RateLimited("slow", status=429, code="tokens"), 429, "rate_limit_exceeded"),
            (errors.QuotaExhausted("empty"), 429, "insufficient_quota"),
            (errors.Overloaded("busy", status=529), 503, "overloaded"),
            (errors.ProviderTimeout("slow"), 504, "timeout"),
            (errors.AuthenticationFailed("key", status=401), 502, "provider_authentication_failed"),
            (errors.ConnectionFailed("gone"), 502, "connection_failed"),
            (errors.BadResponse("odd"), 502, "bad_response"),
            (errors.StreamInterrupted("cut"), 502, "stream_interrupted"),
            (errors.NoCandidateError("none"), 503, "no_candidate"),
            (errors.ConfigError("which file"), 500, "config_error"),
            (AgentRouteError("?"), 500, None),
            (AllAttemptsFailed("all"), 502, "all_attempts_failed"),
            (AllAttemptsFailed("all", attempts=(attempt("RateLimited"),) * 2), 429, "all_attempts_failed"),
            (
                AllAttemptsFailed("all", attempts=(attempt("RateLimited"), attempt("QuotaExhausted"))),
                429,
                "all_attempts_failed",
            ),
            (AllAttemptsFailed("all", attempts=(attempt("ProviderTimeout"),)), 504, "all_attempts_failed"),
            (AllAttemptsFailed("all", attempts=(attempt("Overloaded"),)), 503, "all_attempts_failed"),
            (
                AllAttemptsFailed("all", attempts=(attempt("Overloaded"), attempt("RateLimited"))),
                502,
                "all_attempts_failed",
            ),
            (AllAttemptsFailed("all", attempts=(attempt("AuthenticationFailed"),)), 502, "all_attempts_failed"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else str(value),
    )
    def test_each_class(self, error: AgentRouteError, status: int, code: str | None) -> None:
        found, body = encode_error(error)
        assert (found, body["error"]["code"]) == (status, code)
        assert set(body) == {"error"}
        assert set(body["error"]) == {"message", "type", "param", "code"}
        assert body["error"]["message"] == str(error)

    def test_every_class_has_its_form(self) -> None:
        for name in errors.__all__:
            if not isinstance(getattr(errors, name), type) or not issubclass(getattr(errors, name), Exception):
                continue
            status, body = encode_error(getattr(errors, name)("x"))
            assert 400 <= status < 600, name
            assert body["error"]["type"], name

    def test_no_key_is_quoted(self) -> None:
        assert "sk-proj-abcdef123456" not in str(encode_error(errors.ConfigError("key sk-proj-abcdef123456 is odd")))
