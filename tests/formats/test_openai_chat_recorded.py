"""Recorded traffic of the providers that speak chat completions: read whole, in pieces, and cut at every byte."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatResponse, ProviderError, fold
from agentroute.events import Event, Finished, unfold
from agentroute.formats import response_warnings
from agentroute.formats.openai_chat import (
    StreamDecoder,
    StreamEncoder,
    decode_request,
    decode_response,
    encode_request,
    encode_response,
)
from agentroute.formats.sse import SseDecoder

pytestmark = pytest.mark.requires("shared")

PROVIDERS = (
    "openai",
    "groq",
    "openrouter",
    "mistral",
    "deepseek",
    "ollama",
    "huggingface",
    "zai",
    "crusoe",
    "cerebras",
)
ORIGIN = "acme/some-model"


def bodies(shared: Path) -> list[tuple[Path, Any]]:
    found = [(path, json.loads(path.read_text())) for name in PROVIDERS for path in _files(shared, name, "json")]
    return [(path, raw) for path, raw in found if raw.get("object") == "chat.completion"]


def streams(shared: Path) -> list[Path]:
    return [path for name in PROVIDERS for path in _files(shared, name, "sse")]


def _files(shared: Path, provider: str, kind: str) -> list[Path]:
    return sorted((shared / "wire" / provider).glob(f"*.response.{kind}"))


def read(raw: bytes, size: int) -> tuple[list[Event], StreamDecoder, str | None]:
    sse, decoder = SseDecoder(), StreamDecoder(origin=ORIGIN)
    events: list[Event] = []
    try:
        for start in range(0, len(raw), size):
            for event, data in sse.feed(raw[start : start + size]):
                events += decoder.feed(data, event)
        events += decoder.close()
    except ProviderError as caught:
        return events, decoder, type(caught).__name__
    return events, decoder, None


def test_answers(shared: Path) -> None:
    found = bodies(shared)
    assert len(found) >= 18
    for path, raw in found:
        response = decode_response(raw, origin=ORIGIN)
        message = raw["choices"][0]["message"]
        assert response_warnings(response) in ((), ("empty_response",)), path.name
        assert response.text == (message.get("content") or "")
        assert [(c.id, c.name, c.arguments) for c in response.tool_calls] == [
            (c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls") or ()
        ]
        again = encode_response(response)
        assert again["choices"][0]["message"].get("reasoning_details") == message.get("reasoning_details"), path.name
        assert decode_response(again, origin=ORIGIN) == response, path.name


def test_whatever_is_unknown_names_its_model(shared: Path) -> None:
    for path, raw in bodies(shared):
        response = decode_response(raw, origin=ORIGIN)
        held = [response.extra, response.message.extra, *(part.extra for part in response.message.parts)]
        assert all(e.origin == ORIGIN for e in held if e is not None and e.fields != {"field": "reasoning"}), path.name


def test_usage_is_the_providers_own(shared: Path) -> None:
    """`prompt_tokens` holds the cached ones and `completion_tokens` the reasoning at each of these providers."""
    for path, raw in bodies(shared):
        said, usage = raw["usage"], decode_response(raw).usage
        inputs, outputs = said.get("prompt_tokens_details") or {}, said.get("completion_tokens_details") or {}
        assert usage is not None
        assert (usage.input_tokens, usage.output_tokens) == (said["prompt_tokens"], said["completion_tokens"]), path
        assert usage.cache_read_tokens == inputs.get("cached_tokens", said.get("prompt_cache_hit_tokens")), path
        assert usage.cache_write_tokens == inputs.get("cache_write_tokens"), path
        assert usage.reasoning_tokens == outputs.get("reasoning_tokens"), path
        assert usage.input_tokens + usage.output_tokens == said["total_tokens"], path  # type: ignore[operator]


def test_requests_come_back_whole(shared: Path) -> None:
    seen = 0
    for path in sorted((shared / "wire").glob("*/*.request.json")):
        recorded = json.loads(path.read_text())
        if not recorded["uri"].partition("?")[0].endswith("/chat/completions"):
            continue
        seen += 1
        body = recorded["body"]
        if not isinstance(body, dict):
            continue
        expected = {key: value for key, value in body.items() if key not in ("stream", "stream_options")}
        for tool in expected.get("tools", []):
            tool.setdefault("type", "function")
            if tool["function"].get("description") == "":
                del tool["function"]["description"]
        for message in expected["messages"]:
            if (
                isinstance(content := message.get("content"), list)
                and len(content) == 1
                and set(content[0]) == {"type", "text"}
            ):
                message["content"] = content[0]["text"]
            if message["role"] == "assistant":
                message.setdefault("content", None)
        encoded = encode_request(decode_request(body))
        assert (encoded.body, encoded.changes) == (expected, ()), path.name
    assert seen >= 26


@pytest.mark.parametrize(
    ("name", "finish", "calls", "error"),
    [
        ("openai/03_text_stream", "stop", 0, None),
        ("openai/07_stream_tool_call", "tool_calls", 1, None),
        ("openai/08_stream_parallel_tool_calls", "tool_calls", 2, None),
        ("openai/36_stream_error_chunk_mid", None, 0, "Overloaded"),
        ("groq/04_stream_tool_call", "tool_calls", 1, None),
        ("groq/03_stream_tool_use_failed", None, 0, "BadResponse"),
        ("zai/01_reasoning_content_stream", "stop", 0, None),
        ("crusoe/01_vllm_style_stream", "stop", 0, None),
        ("openrouter/02_stream_error", "length", 0, "InvalidRequest"),
    ],
)
def test_how_each_stream_ends(shared: Path, name: str, finish: str | None, calls: int, error: str | None) -> None:
    raw = (shared / "wire" / f"{name}.response.sse").read_bytes()
    events, decoder, raised = read(raw, len(raw))
    response = fold(events)
    assert (decoder.finish_reason, len(response.tool_calls), raised) == (finish, calls, error)
    if raised is None:
        assert decoder.warnings() == ()
        assert all(call.parsed() is not None for call in response.tool_calls)


def test_streams_in_pieces(shared: Path) -> None:
    for path in streams(shared):
        raw = path.read_bytes()
        whole, decoder, error = read(raw, len(raw))
        for size in (1, 7, 64):
            pieces, again, same = read(raw, size)
            assert (pieces, again.usage, same) == (whole, decoder.usage, error), path.name
        if error is None:
            response = fold(whole)
            assert response.usage is not None, path.name
            assert written_and_read(response).message == response.message, path.name


def written_and_read(response: ChatResponse) -> ChatResponse:
    encoder = StreamEncoder()
    raw = b"".join(encoder.encode(event) for event in unfold(response))
    events, _, error = read(raw, 64)
    assert error is None
    return fold(events)


def test_streams_cut_at_every_byte(shared: Path) -> None:
    """Whole, or an error; a reason for stopping only where the bytes before the cut hold it."""
    seen = 0
    for path in streams(shared):
        raw = path.read_bytes()
        events: list[list[Event]] = []
        sse, decoder = SseDecoder(), StreamDecoder(origin=ORIGIN)
        named = _first_reason(raw)
        for at in range(len(raw)):
            try:
                found = [e for event, data in sse.feed(raw[at : at + 1]) for e in decoder.feed(data, event)]
            except ProviderError:
                break
            events.append(found)
            seen += 1
            if not decoder.finished and not decoder.ended:
                assert decoder.finish_reason is None, (path.name, at)
                with pytest.raises(ProviderError, match="before the answer was complete"):
                    decoder.close()
                continue
            assert at + 1 >= named, (path.name, at)
        else:
            assert isinstance(decoder.close()[-1], Finished)
    assert seen > 70_000


def _first_reason(raw: bytes) -> int:
    """Where the first line ends that has a reason for stopping."""
    at = 0
    for line in raw.splitlines(keepends=True):
        at += len(line)
        if line.startswith(b"data: {"):
            chunk = json.loads(line[6:])
            if any(choice.get("finish_reason") for choice in chunk.get("choices") or ()):
                return at
    return at
