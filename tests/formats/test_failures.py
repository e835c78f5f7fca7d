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
    Unsupported,
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
        (407, Unsupported),
        (418, Unsupported),
        (426, Unsupported),
        (431, Unsupported),
        (499, Overloaded),
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
    if (status, body) == (403, b"<html>busy</html>"):
        kind = Unsupported
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
        (400, said("Web search options not supported with this model."), Unsupported),
        (400, said("max_tokens: 100000 > 64000, which is the maximum allowed number of output tokens"), Unsupported),
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
        ("openai/21_err_400_unsupported_param_role", Unsupported),
        ("openai/22_err_400_bad_audio", InvalidRequest),
        ("openai/23_err_400_tool_model_not_supported", Unsupported),
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
        ("anthropic/21_err_400_effort", Unsupported),
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
        ("anthropic/40_err_400_max_tokens_over_model", Unsupported),
    ],
)
def test_recorded_errors(shared: Path, name: str, kind: type) -> None:
    meta = json.loads((shared / "wire" / f"{name}.meta.json").read_text())
    body = (shared / "wire" / f"{name}.response.json").read_bytes()
    headers = {key.lower(): value for key, value in meta.get("headers", {}).items() if isinstance(value, str)}
    found = decode_error(meta["status"], headers, body, now=NOW)
    assert type(found) is kind, str(found)


@pytest.mark.parametrize("status", [405, 406, 410, 415, 421, 424, 451, 498])
@pytest.mark.parametrize("body", [said(), {"detail": "x"}, b"<html>gone</html>", b"", b"gone"])
def test_statuses_of_what_this_target_does_not_do(status: int, body: Any) -> None:
    assert type(error(status, body)) is Unsupported


@pytest.mark.parametrize(
    ("status", "body"),
    [
        # a setting
        (400, said("Unsupported parameter: 'max_tokens' is not supported with this model.", "unsupported_parameter")),
        (400, said("`temperature` is deprecated for this model.")),
        (400, said("Unrecognized request argument supplied: top_k")),
        (400, said("property 'reasoning_effort' is unsupported")),
        (400, said("invalid temperature: only 1 is allowed for this model")),
        (
            400,
            said(
                "Invalid JSON payload received. Unknown name \"topK\" at 'generation_config': Cannot find field.", 400
            ),
        ),
        (400, said("must be between 0 and 1", param="temperature")),
        (
            422,
            {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]},
        ),
        (422, {"message": {"detail": [{"loc": ["body", "min_p"], "msg": "no", "type": "value_error"}]}}),
        (400, said("max_tokens: 90000 > 64000, which is the maximum allowed number of output tokens for claude-x")),
        # what the model or the endpoint can do
        (400, said("registry.ollama.ai/library/x:latest does not support tools")),
        (400, said('"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set')),
        (400, said("tool_choice 'required' is incompatible with thinking enabled")),
        (400, said("Budget 0 is invalid. This model only works in thinking mode.", 400)),
        (400, said("thinking is enabled but reasoning_content is missing in assistant tool call message at index 2")),
        (400, said("Function call is missing a thought_signature in functionCall parts.", 400)),
        (404, said("No endpoints found that support tool use.", 404)),
        (400, said("This model does not support assistant message prefill.")),
        # schemas, names, media
        (
            400,
            said("tools.0.custom.input_schema: input_schema does not support oneOf, allOf, or anyOf at the top level"),
        ),
        (400, said("Invalid schema for function 'look'", "invalid_function_parameters", param="tools[0].function")),
        (400, said("tools.0.custom.name: String should match pattern '^[a-zA-Z0-9_-]{1,128}$'")),
        (400, said("Invalid 'tools[0].function.name': string too long.", "string_above_max_length")),
        (400, said("Prompt must contain the word 'json' in some form to use 'response_format' of type 'json_object'.")),
        (400, said("The image was specified using the image/png media type, but it appears to be image/jpeg")),
        # account, plan, place
        (400, said("This organization has been disabled.")),
        (403, said("Your account has been suspended.")),
        (403, said("Your organization must be verified to stream this model.")),
        (404, said("Your organization must be verified to use the model `o3`. Go to settings to find it.")),
        (400, said("User location is not supported for the API use.", 400, status="FAILED_PRECONDITION")),
        (403, said("Country, region, or territory not supported", "unsupported_country_region_territory")),
        (403, said("This model is not available in your region.")),
        (400, said("Your current plan does not include this model; upgrade your plan.")),
        (403, said("Project `p` does not have access to model `m`.")),
        # somebody in between
        (403, b"<!DOCTYPE html><html><title>Attention Required! | Cloudflare</title></html>"),
        (403, b"error code: 1020"),
    ],
)
def test_what_one_target_does_not_take(status: int, body: Any) -> None:
    assert type(error(status, body)) is Unsupported


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, said("messages: at least one message is required"), InvalidRequest),
        (400, said("Invalid value", "invalid_value", param="messages[3].content"), InvalidRequest),
        (
            422,
            {"detail": [{"loc": ["body", "messages", 0, "role"], "msg": "Field required", "type": "missing"}]},
            InvalidRequest,
        ),
        (400, said("`messages` is too warm", "bad_value"), InvalidRequest),
        (403, said("no"), AuthenticationFailed),
        (429, said("this tier is not supported for this model"), RateLimited),
        (429, said("Too many tokens, please wait before trying again."), RateLimited),
        (400, said("You have reached your specified API usage limits."), QuotaExhausted),
        (403, said("Monthly usage limit reached"), QuotaExhausted),
        (400, {"code": "Arrearage", "message": "Access denied, your account is in good standing?"}, QuotaExhausted),
    ],
)
def test_what_it_is_not(status: int, body: Any, kind: type) -> None:
    assert type(error(status, body)) is kind


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum prompt length is 131072 but the request contains 537812 tokens.",
        "Invalid request: Your request exceeded model token limit: 262144 (requested: 265000)",
        "Please reduce the length of the messages or completion. Current length is 8800 while limit is 8192",
        "prompt token count of 140000 exceeds the limit of 128000",
        "Input is too long for requested model.",
        "invalid params, context window exceeds limit (2013)",
        "Prompt exceeds max length",
        "Range of input length should be [1, 129024]",
        "`inputs` tokens + `max_new_tokens` must be <= 131073. Given: 140000 `inputs` tokens",
        "Input validation error: `inputs` must have less than 4096 tokens. Given: 5000",
        "The input (140000 tokens) is longer than the model's context length (131072 tokens).",
        "the number of tokens to keep from the initial prompt is greater than the context length",
        "prompt too long; exceeded max context length by 40 tokens",
        "Too many input tokens. Max input tokens: 8192, request input token count: 9279",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
        "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        "input length and `max_tokens` exceed context limit: 199000 + 8192 > 200000",
    ],
)
@pytest.mark.parametrize("status", [400, 413, 422])
def test_wordings_of_a_full_context(text: str, status: int) -> None:
    assert type(error(status, said(text))) is ContextTooLong
    assert type(error(status, {"code": "Client specified an invalid argument", "error": text})) is ContextTooLong


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "the reason"}},
        {"error": "the reason"},
        {"error": ["the reason"]},
        {"errors": [{"message": "the reason"}]},
        {"errors": ["the reason"]},
        {"detail": "the reason"},
        {"detail": [{"loc": ["body", "x"], "msg": "the reason"}]},
        {"detail": {"error": {"message": "the reason"}}},
        {"message": {"detail": [{"msg": "the reason"}]}},
        {"message": "the reason"},
        {"Message": "the reason"},
        {"msg": "the reason", "code": 500},
        {"error_msg": "the reason"},
        {"Error": {"Code": "ValidationException", "Message": "the reason"}},
        {"fault": {"faultstring": "the reason"}},
        [{"error": {"message": "the reason"}}],
        b"the reason",
        b"\xef\xbb\xbfthe reason\r\n",
    ],
)
def test_the_reason_is_kept_wherever_it_stands(body: Any) -> None:
    assert "the reason" in str(error(400, body))


def test_a_field_that_is_named_is_told() -> None:
    found = error(422, {"detail": [{"loc": ["body", "seed"], "msg": "no"}]})
    assert (found.param, str(found)) == ("seed", "'a': the provider answered 422: body.seed: no")
    assert error(400, said("x", param="tools[0].name")).param == "tools[0].name"


def test_no_sign_in_a_text_moves_a_terminal_or_a_line() -> None:
    odd = "red \x1b[31mtext\x1b[0m\r\nforged line\x00\u202egnp\u2028end \ud800 \x9b2J"
    for body in (said(odd, odd), {"detail": odd}, odd.encode("utf-8", "replace")):
        found = error(400, body)
        shown = f"{found}{found.code}"
        assert shown.isprintable(), ascii(shown)
        assert "forged line" in shown
        shown.encode()


@pytest.mark.parametrize(
    ("status", "body", "told"),
    [
        (429, said("x", "insufficient_quota"), "code"),
        (400, said("Your credit balance is too low"), "words"),
        (402, said("x"), "status"),
        (404, b"<html>", "status"),
        (None, said("x", "model_not_found"), "code"),
    ],
)
def test_what_told_the_class(status: int | None, body: Any, told: str) -> None:
    assert error(status, body).told_by == told


@pytest.mark.parametrize(
    "body", [{"detail": [[[[[["x"]]]]]]}, {"message": {"message": {"message": {"message": {}}}}}, [[[]]], 7]
)
def test_an_odd_shape_is_no_reason_and_no_crash(body: Any) -> None:
    assert type(error(400, body)) is InvalidRequest


OTHER_WORDINGS: list[tuple[type[ProviderError], tuple[str, ...]]] = [
    (
        ContextTooLong,
        (
            "request_too_large: Request exceeds the maximum size",
            "Total tokens of image and text exceed max message tokens. Request id: x",
            "The decoder prompt (length 40000) is longer than the maximum model length of 32768.",
            "Request too large. Max size is 1048576 tokens",
            "Input length 40000 exceeds the maximum allowed length 32768",
            "The total number of tokens in the input exceeds the model limit of 128000",
            "Conversation is too long for this model. Please shorten it",
            "Number of input tokens (150000) exceeds the maximum allowed (131072)",
            "This request's input of 1200000 tokens is larger than the model's maximum of 1048576",
            "the input token count is 1100000 but the model only supports up to 1048576",
            "Trying to submit 200000 tokens, limit 128000: context overflow",
            "input length and `max_tokens` exceed context limit: 195000 + 21333 > 200000",
            "'max_tokens' is too large: 40000. The maximum context length is 32768; your request has 20 tokens",
            "prompt_tokens 140000 > max 131072",
            "Prompt 超长",
        ),
    ),
    (
        QuotaExhausted,
        (
            "Your prepayment credits are depleted.",
            "This request requires more credits, or fewer max_tokens. You can only afford 1432.",
            "Key limit exceeded (total limit).",
            "Monthly limit reached for this API key",
            "Extra usage is required for long context requests.",
            "账户余额不足",
        ),
    ),
    (
        AuthenticationFailed,
        ("API key expired. Please renew the API key.", "The API key has expired", "No API key provided"),
    ),
    (
        ModelNotFound,
        (
            "The model 'o1' has been shut down",
            "Model gemini-2.5-pro is no longer available to new users",
            "The provided model identifier is invalid.",
            "model is retired",
        ),
    ),
    (
        Unsupported,
        (
            "Your account is not active, please check your billing details on our website.",
            "This API method requires billing to be enabled.",
            "The long context beta is not yet available for this subscription.",
            "Access denied, please make sure your account is in good standing.",
            "Invocation of model ID x with on-demand throughput isn’t supported.",
            "Operation not allowed",
            "This model requires data retention",
            "No endpoints available matching your guardrail restrictions and data policy",
            "Request not allowed from your location",
            "your account's region is blocked",
            "temperature: this field is not accepted by claude-opus-5-5",
            "Only temperature=1 is accepted",
            "Invalid 'tools': array too long. Expected an array with maximum length 128",
            "* GenerateContentRequest.tools[0].function_declarations[0].name: Invalid function name.",
            "image exceeds 5 MB maximum: 7000000 bytes > 5242880 bytes",
            "The thinking budget 99999 is invalid. Please choose a value between 512 and 24576.",
            "Invalid max_tokens value, the valid range of max_tokens is [1, 8192]",
            "`max_tokens` must be <= 32768, the maximum value is less than the `context_window` for this model",
            "it has a maxOutputTokens value of 100000 but the supported range is from 1 to 65537",
            'messages.3.role: "system" is not allowed here',
            "parameter.enable_thinking must be set to false for non-streaming calls",
            "A maximum of 4 blocks with cache_control may be provided. Found 5.",
            "Invalid value: 'xhigh'. Supported values are: 'low', 'medium', and 'high'.",
            "`reasoning_effort` must be one of `none`, `default`",
            "json: cannot unmarshal array into Go struct field ChatRequest.messages.content of type string",
            "This model requires the Responses API",
            "messages.1.content.0: Invalid `signature` in `thinking` block",
        ),
    ),
    (
        InvalidRequest,
        (
            "Invalid type for 'messages[0].content': expected one of a string or array",
            "messages.0: all messages must have non-empty content except for the final assistant message",
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each call.",
            "messages.2.content.0: unexpected `tool_use_id` found in `tool_result` blocks: toolu_1.",
            "the number of function response parts must be equal to the number of function call parts",
            "We could not parse the JSON body of your request.",
            "you must provide a messages parameter",
        ),
    ),
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in OTHER_WORDINGS for text in texts])
@pytest.mark.parametrize("status", [400, 422])
def test_other_wordings_of_the_same(kind: type, text: str, status: int) -> None:
    assert type(error(status, said(text, type="invalid_request_error"))) is kind
    assert type(error(status, {"message": text})) is kind
    assert type(error(status, {"detail": [{"msg": text}]})) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("prompt_too_long", ContextTooLong),
        ("request_too_large", ContextTooLong),
        ("tokens_limit_reached", ContextTooLong),
        ("credits_exhausted", QuotaExhausted),
        ("monthly_limit_exceeded", QuotaExhausted),
        ("AccountOverdueError", QuotaExhausted),
        ("model_not_supported", Unsupported),
        ("organization_must_be_verified", Unsupported),
        ("unsupported_region", Unsupported),
        ("invalid_image_format", Unsupported),
        ("model_retired", ModelNotFound),
        ("rate_limit_reached_error", RateLimited),
        ("bad_value", InvalidRequest),
    ],
)
def test_a_code_is_read_like_words(code: str, kind: type) -> None:
    assert type(error(400, said("x", code, type="invalid_request_error"))) is kind
