"""Error answers: each status, code and wording becomes the class that says what to do next."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from agentroute import (
    AuthenticationFailed,
    BadResponse,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
)
from agentroute.formats.failures import decode_error
from agentroute.formats.headers import retry_after

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)


def error(status: int | None, body: Any = None, **headers: str) -> ProviderError:
    raw = body if isinstance(body, bytes) else json.dumps(body or {"error": {"message": "x"}}).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return decode_error(status, named, raw, target="a", now=NOW)


def said(message: str = "x", code: Any = None, **more: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": code, **more}}


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, AuthenticationFailed),
        (402, QuotaExhausted),
        (403, AuthenticationFailed),
        (404, ModelNotFound),
        (408, ProviderTimeout),
        (409, Overloaded),
        (413, ContextTooLong),
        (418, InvalidRequest),
        (422, InvalidRequest),
        (429, RateLimited),
        (500, Overloaded),
        (502, Overloaded),
        (503, Overloaded),
        (504, ProviderTimeout),
        (529, Overloaded),
        (307, BadResponse),
    ],
)
@pytest.mark.parametrize("body", [said(), {"detail": "x"}, b"<html>busy</html>", b"", b"\xff", b"[" * 100_000])
def test_a_status_alone(status: int, kind: type, body: Any) -> None:
    found = error(status, body)
    assert type(found) is kind
    assert (found.status, found.target) == (status, "a")
    assert str(status) in str(found)
    assert "html" not in str(found)


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (429, said("You exceeded your current quota", "insufficient_quota"), QuotaExhausted),
        (429, said("x", None, type="insufficient_quota"), QuotaExhausted),
        (429, said("Monthly spend limit reached.", None, details={"error_code": "x"}), QuotaExhausted),
        (400, said("Your credit balance is too low to access the API."), QuotaExhausted),
        (429, said("You exceeded your current quota", 429, status="RESOURCE_EXHAUSTED"), RateLimited),
        (413, said("Request too large for model on tokens per minute", "rate_limit_exceeded"), RateLimited),
        (400, said("This model's maximum context length is 4097 tokens.", "context_length_exceeded"), ContextTooLong),
        (400, said("prompt is too long: 216327 tokens > 200000 maximum"), ContextTooLong),
        (400, said("The input token count (9) exceeds the maximum number of tokens allowed (8)."), ContextTooLong),
        (
            400,
            said("the request exceeds the available context size", 400, type="exceed_context_size_error"),
            ContextTooLong,
        ),
        (400, said("x", "content_filter"), ContentFiltered),
        (400, said("x", None, innererror={"code": "ResponsibleAIPolicyViolation"}), ContentFiltered),
        (403, said("Your input was flagged"), ContentFiltered),
        (400, said("nope/none is not a valid model ID", 400), ModelNotFound),
        (403, said("You have no access", "model_not_found"), ModelNotFound),
        (400, said("API key not valid. Please pass a valid API key.", 400), AuthenticationFailed),
        (400, said("Tool call validation failed", "tool_use_failed", type="invalid_request_error"), BadResponse),
        (400, said("Web search options not supported with this model."), InvalidRequest),
        (400, said("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"), InvalidRequest),
        (
            400,
            {"object": "error", "message": "maximum context length", "type": "BadRequestError", "code": 400},
            ContextTooLong,
        ),
        (404, {"error": "model 'x' not found, try pulling it first"}, ModelNotFound),
        (500, said("maximum context length"), Overloaded),
        (429, [said("Resource exhausted.", 429)], RateLimited),
    ],
)
def test_code_and_wording(status: int, body: Any, kind: type) -> None:
    assert type(error(status, body)) is kind


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (said("upstream", 502), Overloaded, 502),
        (said("upstream", "429"), RateLimited, 429),
        (said("slow down", "rate_limit_exceeded"), RateLimited, None),
        (said("overloaded", None, type="overloaded_error"), Overloaded, None),
        (said("x", None, type="server_error"), Overloaded, None),
        (said("x", None, type="timeout_error"), ProviderTimeout, None),
        (said("x", None, type="invalid_request_error"), InvalidRequest, None),
        (said("x", None, status_code=400), InvalidRequest, 400),
        (said("Token limit reached", 400), InvalidRequest, 400),
        (said("who knows"), BadResponse, None),
        ({"error": True}, BadResponse, None),
        ({"error": {"code": True, "message": 7}}, BadResponse, None),
    ],
)
@pytest.mark.parametrize("outer", [None, 200])
def test_inside_a_success_the_error_speaks_for_itself(body: Any, kind: type, status: int | None, outer: Any) -> None:
    found = error(outer, body)
    assert (type(found), found.status) == (kind, status)


class TestRetryAfter:
    @pytest.mark.parametrize(
        ("headers", "seconds"),
        [
            ({"retry-after": "1"}, 1.0),
            ({"retry-after": "1.5"}, 1.5),
            ({"retry-after": "0"}, 0.0),
            ({"retry-after-ms": "300"}, 0.3),
            ({"retry-after-ms": "300", "retry-after": "9"}, 0.3),
            ({"retry-after-ms": "soon", "retry-after": "9"}, 9.0),
            ({"retry-after": "Thu, 01 Jan 2026 12:00:02 GMT"}, 2.0),
            ({"retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0.0),
            ({"retry-after": "Thu, 01 Jan 2026 15:00:02 GMT", "date": "Thu, 01 Jan 2026 15:00:00 GMT"}, 2.0),
            ({"retry-after": "3600"}, 3600.0),
            *(
                ({"retry-after": text}, None)
                for text in ("soon", "-5", "nan", "inf", "1e999", "", "99 99 99", "\ud800")
            ),
            ({}, None),
        ],
    )
    def test_headers(self, headers: dict[str, str], seconds: float | None) -> None:
        assert retry_after(headers, now=NOW) == seconds

    def test_a_date_needs_a_clock(self) -> None:
        assert retry_after({"retry-after": "Thu, 01 Jan 2026 12:00:02 GMT"}) is None

    def test_gemini_says_it_in_the_body(self) -> None:
        details = [{"@type": "x"}, "odd", {"retryDelay": "34s"}]
        assert error(429, said("x", 429, details=details)).retry_after == 34.0
        assert error(429, said("x", 429, details=[{"retryDelay": "soons"}])).retry_after is None


def test_text_is_cut_and_shows_no_key() -> None:
    found = error(401, said(f"Incorrect API key provided: sk-proj-abcDEF123. {'x' * 1000}", "invalid_api_key"))
    assert "sk-proj" not in str(found)
    assert "***" in str(found)
    assert len(str(found)) < 500


def test_the_request_id() -> None:
    assert error(500, said(), x_request_id="req-1").request_id == "req-1"
    assert error(500, {**said(), "request_id": "req-2"}).request_id == "req-2"


@pytest.mark.requires("shared")
@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("openai/20_err_404_model", ModelNotFound),
        ("openai/21_err_400_unsupported_param_role", InvalidRequest),
        ("openai/22_err_400_bad_audio", InvalidRequest),
        ("openai/23_err_400_tool_model_not_supported", InvalidRequest),
        ("openai/30_err_429_rate_limit", RateLimited),
        ("openai/31_err_429_insufficient_quota", QuotaExhausted),
        ("openai/32_err_400_context_length", ContextTooLong),
        ("openai/33_err_401", AuthenticationFailed),
        ("openai/34_err_500", Overloaded),
        ("openai/38_err_400_azure_content_filter", ContentFiltered),
        ("openrouter/01_err_429", RateLimited),
        ("groq/02_err_400_tool_use_failed", BadResponse),
        ("groq/05_err_404_model", ModelNotFound),
        ("gemini/30_err_404_model", ModelNotFound),
        ("gemini/31_err_400_vertex", InvalidRequest),
        ("gemini/40_err_429_resource_exhausted_retryinfo", RateLimited),
        ("gemini/42_err_400_context_length", ContextTooLong),
        ("gemini/43_err_503_unavailable", Overloaded),
        ("gemini/45_err_array_wrapped", RateLimited),
        ("anthropic/20_err_404_model", ModelNotFound),
        ("anthropic/21_err_400_effort", InvalidRequest),
        ("anthropic/30_err_429_rate_limit", RateLimited),
        ("anthropic/31_err_429_spend_limit_no_retry_after", QuotaExhausted),
        ("anthropic/32_err_529_overloaded", Overloaded),
        ("anthropic/33_err_500_api_error", Overloaded),
        ("anthropic/34_err_401_authentication", AuthenticationFailed),
        ("anthropic/35_err_402_billing", QuotaExhausted),
        ("anthropic/36_err_413_request_too_large", ContextTooLong),
        ("anthropic/37_err_504_timeout", ProviderTimeout),
        ("anthropic/38_err_400_context_length", ContextTooLong),
        ("anthropic/39_err_400_context_plus_max_tokens", ContextTooLong),
        ("anthropic/40_err_400_max_tokens_over_model", InvalidRequest),
    ],
)
def test_recorded_errors(shared: Path, name: str, kind: type) -> None:
    meta = json.loads((shared / "wire" / f"{name}.meta.json").read_text())
    body = (shared / "wire" / f"{name}.response.json").read_bytes()
    headers = {key.lower(): value for key, value in meta.get("headers", {}).items() if isinstance(value, str)}
    found = decode_error(meta["status"], headers, body, now=NOW)
    assert type(found) is kind, str(found)
