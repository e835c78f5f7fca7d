"""Recorded traffic of real providers: every pair is read whole, and every error body gets its class.

The dialects' own tests look closer (tests/formats); here nothing is left out, and nothing is counted twice.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentroute import (
    AuthenticationFailed,
    BadResponse,
    ChatResponse,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    Target,
    Unsupported,
    formats,
)
from agentroute.catalog import resolve
from agentroute.events import fold
from agentroute.formats.failures import decode_error
from agentroute.formats.sse import SseDecoder
from agentroute.messages import Image, Reasoning, Usage
from tests import streamed

pytestmark = pytest.mark.requires("shared")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "wire"
NOW = datetime(2026, 11, 24, tzinfo=UTC)


@dataclass(frozen=True)
class Pair:
    """One request, where it was recorded, and what was answered."""

    name: str
    kind: str
    status: int
    headers: dict[str, str]
    uri: str
    request: Any
    answer: Path

    @property
    def dialect(self) -> str:
        if self.name.startswith("anthropic/"):
            return "anthropic_messages"
        if self.name.startswith("gemini/"):
            return "gemini"
        return "openai_responses" if self.uri.endswith("/responses") else "openai_chat"

    @property
    def model(self) -> str:
        if self.dialect == "gemini":
            return self.uri.rsplit("/", 1)[-1].partition(":")[0]
        return str(self.request.get("model")) if self.request else "unknown"

    @property
    def streamed(self) -> bool:
        return self.answer.suffix == ".sse"

    def read(self, size: int | None = None) -> ChatResponse:
        """The answer; a stream fed in pieces of `size` bytes."""
        format_ = formats.of(self.dialect)
        if not self.streamed:
            return format_.decode_response(json.loads(self.answer.read_bytes()), target="t", origin="p/m")
        decoder = format_.StreamDecoder(target="t", origin="p/m")
        return fold(streamed.read(decoder, self.answer.read_bytes(), size))


def pairs() -> list[Pair]:
    found = []
    for path in sorted(SHARED.glob("*/*.meta.json")):
        base = str(path).removesuffix(".meta.json")
        meta = json.loads(path.read_text())
        asked = Path(f"{base}.request.json")
        request = json.loads(asked.read_text()) if asked.exists() else {}
        answer = next(
            file for file in (Path(f"{base}.response.{kind}") for kind in ("json", "sse", "txt")) if file.exists()
        )
        found.append(
            Pair(
                name=f"{path.parent.name}/{path.name.removesuffix('.meta.json')}",
                kind=meta["kind"],
                status=meta["status"],
                headers={key.lower(): str(value) for key, value in meta["headers"].items()},
                uri=request.get("uri", "").partition("?")[0],
                request=request.get("body"),
                answer=answer,
            )
        )
    return found


ALL = pairs()
RECORDED = [pair for pair in ALL if pair.kind == "recorded"]
STREAM_ERRORS = {"groq/03_stream_tool_use_failed": BadResponse, "openrouter/02_stream_error": ProviderError}
ANSWERED = [pair for pair in RECORDED if pair.status == 200 and pair.name not in STREAM_ERRORS]
REFUSED_HISTORY = "openai/24_err_400_responses_invalid_history"
"""A reasoning item before words without their id: recorded as a 400."""
UNCOUNTED = {"gemini/17_prompt_blockReason"}
"""Answered without a usage: it stays unknown."""
OTHERS = [pair for pair in ALL if pair.kind != "recorded"]


def by_name(pair: Pair) -> str:
    return pair.name


def test_nothing_is_left_out() -> None:
    assert (len(RECORDED), len(OTHERS)) == (83, 30)
    assert [pair.name for pair in RECORDED if not pair.request] == ["huggingface/01_parallel_tools"]


@pytest.mark.parametrize("pair", [pair for pair in RECORDED if pair.request], ids=by_name)
def test_requests_are_read_and_written_back(pair: Pair) -> None:
    format_ = formats.of(pair.dialect)
    request = format_.decode_request(pair.request)
    encoded = format_.encode_request(request, model=pair.model)
    if pair.name == REFUSED_HISTORY:
        assert encoded.changes, "what the provider refused is not sent again"
        return
    again = format_.decode_request(encoded.body)
    assert again.messages == request.messages
    assert again.tools == request.tools
    assert (again.tool_choice, again.response_schema, again.sampling) == (
        request.tool_choice,
        request.response_schema,
        request.sampling,
    )
    for signature in _signatures(pair.request):
        assert signature in json.dumps(format_.encode_request(request, model=pair.model).body)


@pytest.mark.parametrize("pair", ANSWERED, ids=by_name)
def test_answers_are_read(pair: Pair) -> None:
    response = pair.read()
    assert response.finish_reason is not None or response.native_finish_reason is not None
    assert response.usage is not None or pair.name in UNCOUNTED
    said = pair.answer.read_text()
    for part in response.message.parts:
        if isinstance(part, Reasoning) and part.signature is not None:
            assert part.origin == "p/m"
            assert part.signature in said
    if pair.streamed:
        for size in (1, 7, 64):
            assert pair.read(size) == response


@pytest.mark.parametrize("pair", [pair for pair in RECORDED if pair.name in STREAM_ERRORS], ids=by_name)
def test_errors_inside_a_stream_are_raised(pair: Pair) -> None:
    for size in (None, 1, 7, 64):
        with pytest.raises(STREAM_ERRORS[pair.name]):
            pair.read(size)


@pytest.mark.parametrize("pair", ANSWERED, ids=by_name)
def test_answers_written_for_a_client_lose_nothing(pair: Pair) -> None:
    """Server side: as a body and as a stream, in its own dialect, read back by the client side."""
    format_ = formats.of(pair.dialect)
    response = pair.read()
    body = format_.decode_response(json.loads(json.dumps(format_.encode_response(response))), origin="p/m")
    assert (body.text, body.usage, body.finish_reason) == (response.text, response.usage, response.finish_reason)
    assert _calls(body) == _calls(response)


def _calls(response: ChatResponse) -> list[tuple[str, str, Any]]:
    return [(call.id, call.name, json.loads(call.arguments or "{}")) for call in response.tool_calls]


@pytest.mark.parametrize("pair", ANSWERED, ids=by_name)
def test_every_answer_can_be_told_to_a_client_of_any_dialect(pair: Pair) -> None:
    response = pair.read()
    for dialect in formats.DIALECTS:
        format_ = formats.of(dialect)
        told = format_.decode_response(json.loads(json.dumps(format_.encode_response(response, model="m", created=1))))
        assert told.text == response.text
        assert [(name, arguments) for _, name, arguments in _calls(told)] == [
            (name, arguments) for _, name, arguments in _calls(response)
        ]
        assert told.finish_reason == response.finish_reason
        if response.usage is not None or dialect != "anthropic_messages":  # which demands counts
            assert _counted(told.usage) == _counted(response.usage)


def _counted(usage: Usage | None) -> tuple[int | None, int | None]:
    return (None, None) if usage is None else (usage.input_tokens, usage.output_tokens)


@pytest.mark.parametrize("pair", [pair for pair in ANSWERED if pair.streamed], ids=by_name)
def test_a_stream_cut_at_any_byte_is_whole_or_an_error(pair: Pair) -> None:
    raw = pair.answer.read_bytes()
    whole = pair.read()
    for end in range(len(raw)):
        decoder = formats.of(pair.dialect).StreamDecoder()
        lines = SseDecoder()
        try:
            for event, data in lines.feed(raw[:end]):
                decoder.feed(data, event)
            decoder.close()
        except ProviderError:
            assert not decoder.finished
            continue
        assert (decoder.finish_reason, decoder.native_finish_reason) == (
            whole.finish_reason,
            whole.native_finish_reason,
        )


@pytest.mark.parametrize("pair", [pair for pair in ANSWERED if not pair.streamed], ids=by_name)
def test_usage_is_the_providers_own_sum(pair: Pair) -> None:
    """What is billed: all input, cached or not, all output, thought or said."""
    body = json.loads(pair.answer.read_bytes())
    usage = pair.read().usage
    if pair.name in UNCOUNTED:
        assert usage is None
        return
    assert usage is not None
    assert usage.input_tokens is not None
    assert usage.output_tokens is not None
    total = usage.input_tokens + usage.output_tokens
    if pair.dialect == "anthropic_messages":
        raw = body["usage"]
        read, written = raw.get("cache_read_input_tokens") or 0, raw.get("cache_creation_input_tokens") or 0
        assert usage.input_tokens == raw["input_tokens"] + read + written
        assert usage.output_tokens == raw["output_tokens"]
        assert (usage.cache_read_tokens or 0, usage.cache_write_tokens or 0) == (read, written)
    elif pair.dialect == "gemini":
        assert total == body["usageMetadata"]["totalTokenCount"]
    else:
        assert total == body["usage"]["total_tokens"]


ERRORS: dict[str, type[ProviderError]] = {
    "anthropic/20_err_404_model": ModelNotFound,
    "anthropic/21_err_400_effort": Unsupported,
    "anthropic/30_err_429_rate_limit": RateLimited,
    "anthropic/31_err_429_spend_limit_no_retry_after": QuotaExhausted,
    "anthropic/32_err_529_overloaded": Overloaded,
    "anthropic/33_err_500_api_error": Overloaded,
    "anthropic/34_err_401_authentication": AuthenticationFailed,
    "anthropic/35_err_402_billing": QuotaExhausted,
    "anthropic/36_err_413_request_too_large": ContextTooLong,
    "anthropic/37_err_504_timeout": ProviderTimeout,
    "anthropic/38_err_400_context_length": ContextTooLong,
    "anthropic/39_err_400_context_plus_max_tokens": ContextTooLong,
    "anthropic/40_err_400_max_tokens_over_model": Unsupported,
    "anthropic/44_err_400_sampling_params_2026_10_21": Unsupported,
    "gemini/30_err_404_model": ModelNotFound,
    "gemini/31_err_400_vertex": InvalidRequest,
    "gemini/40_err_429_resource_exhausted_retryinfo": RateLimited,
    "gemini/41_err_429_resource_exhausted_plain": RateLimited,
    "gemini/42_err_400_context_length": ContextTooLong,
    "gemini/43_err_503_unavailable": Overloaded,
    "gemini/45_err_array_wrapped": RateLimited,
    "groq/02_err_400_tool_use_failed": BadResponse,
    "groq/05_err_404_model": ModelNotFound,
    "openai/20_err_404_model": ModelNotFound,
    "openai/21_err_400_unsupported_param_role": Unsupported,
    "openai/22_err_400_bad_audio": InvalidRequest,
    "openai/23_err_400_tool_model_not_supported": Unsupported,
    "openai/24_err_400_responses_invalid_history": InvalidRequest,
    "openai/30_err_429_rate_limit": RateLimited,
    "openai/31_err_429_insufficient_quota": QuotaExhausted,
    "openai/32_err_400_context_length": ContextTooLong,
    "openai/33_err_401": AuthenticationFailed,
    "openai/34_err_500": Overloaded,
    "openai/35_err_503_html": Overloaded,
    "openai/38_err_400_azure_content_filter": ContentFiltered,
    "openrouter/01_err_429": RateLimited,
}
REFUSED = [pair for pair in ALL if pair.status != 200]


def test_every_error_body_has_its_class() -> None:
    assert {pair.name for pair in REFUSED} == set(ERRORS)


@pytest.mark.parametrize("pair", REFUSED, ids=by_name)
def test_error_bodies(pair: Pair) -> None:
    error = decode_error(pair.status, pair.headers, pair.answer.read_bytes(), target="t", now=NOW)
    assert type(error) is ERRORS[pair.name], str(error)
    assert error.status == pair.status


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("anthropic/41_stream_overloaded_first_event", Overloaded),
        ("anthropic/42_stream_overloaded_mid_text", Overloaded),
        ("gemini/44_stream_truncated_no_finishReason", BadResponse),
        ("openai/36_stream_error_chunk_mid", ProviderError),
    ],
)
def test_streams_that_break_off(name: str, expected: type[ProviderError]) -> None:
    pair = next(pair for pair in OTHERS if pair.name == name)
    for size in (None, 1, 7, 64):
        with pytest.raises(expected):
            pair.read(size)


@pytest.mark.parametrize("name", ["anthropic/43_stream_refusal", "openai/37_finish_content_filter"])
def test_refusals_are_answers(name: str) -> None:
    response = next(pair for pair in OTHERS if pair.name == name).read()
    assert response.finish_reason == "content_filter"


PROVIDERS = {"gemini": "google"}


@pytest.mark.parametrize("pair", [pair for pair in RECORDED if pair.status == 200], ids=by_name)
def test_the_catalog_says_of_a_model_what_its_traffic_shows(pair: Pair) -> None:
    """What a model was seen to do, the catalog may not deny."""
    folder = pair.name.partition("/")[0]
    can = resolve(Target(provider=PROVIDERS.get(folder, folder), model=pair.model, tier="mid")).capabilities
    request = formats.of(pair.dialect).decode_request(pair.request or {"messages": [{"role": "user", "content": "?"}]})
    response = pair.read() if pair in ANSWERED else None
    if response is not None and response.tool_calls:
        assert can.tools is not False
    if any(isinstance(part, Image) for message in request.messages for part in message.parts):
        assert can.vision is not False
    if request.response_schema is not None and request.response_schema.schema:
        assert can.structured_output is not False
    if response is not None and any(isinstance(part, Reasoning) for part in response.message.parts):
        assert can.reasoning is not False


def _signatures(value: Any) -> Iterator[str]:
    """Every signature and encrypted text in a request, wherever it stands."""
    if isinstance(value, dict):
        for key, inner in value.items():
            opaque = key in _OPAQUE or (key == "data" and value.get("type") == "redacted_thinking")
            if opaque and isinstance(inner, str):
                yield inner
            else:
                yield from _signatures(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _signatures(inner)


_OPAQUE = {"signature", "thoughtSignature", "encrypted_content"}
