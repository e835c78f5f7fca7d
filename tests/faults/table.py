"""The faults that are one script of one server: what it sends, and what must follow."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from typing import Any, Literal

from tests.loopback import COMPLETION, END, HELLO, LAST, ROLE, SSE_HEAD, WORLD, Script, chunk, event, plain, refusal
from tests.loopback import sse as sse_of

from .calls import PATIENT, PLAIN, QUICK, STREAMED, WAYS, Timeouts, Way

DONE = b"data: [DONE]\n\n"
STOP = event(finish="stop")


@dataclass(frozen=True)
class Row:
    """A fault. `script` is what the sick server plays to every request; the healthy one stands behind it.

    `then`: the `next` target answers; it is an `answer` all the same; it is `cut` (StreamInterrupted with the partial
    answer "hello"); or it goes `unchanged` to the caller. `error` is the class of the first attempt's error (for `cut`:
    of what broke it off). `calls` counts the requests the sick server gets.
    """

    number: int
    name: str
    script: Script
    then: Literal["next", "answer", "cut", "unchanged"]
    error: str | None = None
    ways: tuple[Way, ...] = WAYS
    timeouts: Timeouts = PATIENT
    status: int | None = None
    code: str | None = None
    billed: bool = False
    calls: int = 1
    says: str = ""
    text: str = "hello world"
    finish: str | None = "stop"
    native: str | None = None
    usage: bool = True
    warns: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"row{self.number:02}-{self.name}"


def with_(**fields: Any) -> dict[str, Any]:
    """The healthy completion with other fields."""
    return {**COMPLETION, **fields}


def choice(content: Any = "hello world", finish: str | None = "stop", **message: Any) -> dict[str, Any]:
    one: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    return with_(choices=[one if finish is None else {**one, "finish_reason": finish}])


def called(*, name: str = "look", arguments: str = "{}", **more: Any) -> dict[str, Any]:
    calls = [{**more, "type": "function", "function": {"name": name, "arguments": arguments}}]
    return choice(None, "tool_calls", tool_calls=calls)


_SPLIT = event({"content": "é😀"}).replace(b"\\u00e9\\ud83d\\ude00", "é😀".encode())
_AT = _SPLIT.index("😀".encode()) + 2
_HTML = b"<html><body>Sign in to continue</body></html>"
_LIMITED = {"status": 429, "error": "RateLimited"}

_REFUSED = ("Unsupported: sick",)
_FAILED_EVENTS = (
    ("object error", b'data: {"object":"error","message":"no","code":500}\n\n', "Overloaded", 500),
    ("detail", b'data: {"detail":"upstream failed"}\n\n', "BadResponse", None),
    ("message", b'data: {"message":"upstream failed"}\n\n', "BadResponse", None),
    ("finish error", event(finish="error"), "BadResponse", None),
    ("finish abort", event(finish="abort"), "BadResponse", None),
)

ROWS: tuple[Row, ...] = (
    # -- silence
    Row(5, "slow headers", ["hang"], "next", "ProviderTimeout", PLAIN, QUICK, billed=True, says="no answer within"),
    Row(
        6, "slow first token", [SSE_HEAD, chunk(ROLE), "hang"], "next", "ProviderTimeout", STREAMED, QUICK, billed=True
    ),
    Row(
        7,
        "stall mid-stream",
        [SSE_HEAD, chunk(ROLE + HELLO), "hang"],
        "cut",
        "ProviderTimeout",
        STREAMED,
        QUICK,
    ),
    Row(
        8,
        "comments for ever",
        [SSE_HEAD, *[chunk(b": keep-alive\n\n"), 0.04] * 200],
        "next",
        "ProviderTimeout",
        STREAMED,
        QUICK,
        billed=True,
        says="no content within",
    ),
    # -- connections that break
    Row(9, "reset before any byte", ["reset"], "next", "ConnectionFailed", billed=True),
    Row(11, "reset mid-stream", [SSE_HEAD, chunk(ROLE + HELLO), 0.05, "reset"], "cut", "ConnectionFailed", STREAMED),
    Row(12, "no last chunk", [SSE_HEAD, chunk(ROLE + HELLO)], "cut", "ConnectionFailed", STREAMED),
    Row(
        13,
        "fewer bytes than announced",
        [
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 400\r\n\r\n"
            + b'{"id":"x"'
            + b" " * 51
        ],
        "next",
        "ConnectionFailed",
        PLAIN,
        billed=True,
    ),
    Row(
        14, "half a JSON", [plain(json.dumps(COMPLETION).encode()[:60])], "next", "BadResponse", billed=True, status=200
    ),
    Row(15, "clean end, no reason", [sse_of(ROLE, HELLO)], "cut", "BadResponse", STREAMED),
    Row(
        16,
        "DONE without a reason",
        [sse_of(ROLE, HELLO, DONE)],
        "answer",
        ways=STREAMED,
        text="hello",
        finish=None,
        usage=False,
        warns=("provider_missing_finish_reason", "provider_missing_usage"),
    ),
    Row(17, "half an event at the end", [sse_of(ROLE, HELLO, b'data: {"id":"x","cho')], "cut", "BadResponse", STREAMED),
    # -- bytes
    Row(
        18,
        "invalid UTF-8 in JSON",
        [plain(json.dumps(COMPLETION).encode().replace(b"hello world", b"\xff\xfe"))],
        "next",
        "BadResponse",
        billed=True,
    ),
    Row(
        19,
        "invalid UTF-8 in an event",
        [sse_of(ROLE, HELLO, WORLD.replace(b"world", b"\xff\xfe"), END)],
        "cut",
        "BadResponse",
        STREAMED,
    ),
    Row(
        20,
        "a character in two chunks",
        [sse_of(ROLE, HELLO, _SPLIT[:_AT], _SPLIT[_AT:], WORLD, END)],
        "answer",
        ways=STREAMED,
        text="helloé😀 world",
    ),
    Row(21, "CRLF", [sse_of((ROLE + HELLO + WORLD + END).replace(b"\n", b"\r\n"))], "answer", ways=STREAMED),
    Row(
        22,
        "BOM and comments",
        [sse_of(b"\xef\xbb\xbf", b": hi\n\n", ROLE, HELLO, b": k\n\n", WORLD, END)],
        "answer",
        ways=STREAMED,
    ),
    Row(
        23,
        "no space after data:",
        [sse_of((ROLE + HELLO + WORLD + END).replace(b"data: ", b"data:"))],
        "answer",
        ways=STREAMED,
    ),
    # -- refusals, a healthy target behind
    Row(24, "429", [refusal(429, "rate_limit_exceeded")], "next", **_LIMITED),
    Row(25, "429 with Retry-After 1", [refusal(429, retry_after="1")], "next", **_LIMITED),
    Row(26, "429 with retry-after-ms 300", [refusal(429, retry_after_ms="300")], "next", **_LIMITED),
    Row(
        27,
        "429 with a date",
        [refusal(429, retry_after="Wed, 21 Oct 2026 07:28:02 GMT", date="Wed, 21 Oct 2026 07:28:00 GMT")],
        "next",
        **_LIMITED,
    ),
    Row(28, "429 with 3600", [refusal(429, retry_after="3600")], "next", **_LIMITED),
    *(
        Row(29, f"429 with {odd}", [refusal(429, retry_after=odd)], "next", **_LIMITED)
        for odd in ("soon", "-5", "nan", "inf", "1e999")
    ),
    Row(
        30,
        "429 insufficient_quota",
        [refusal(429, "insufficient_quota")],
        "next",
        "QuotaExhausted",
        status=429,
        warns=("QuotaExhausted: sick",),
    ),
    Row(
        31,
        "429 RetryInfo",
        [
            plain(
                {
                    "error": {
                        "code": 429,
                        "message": "injected",
                        "status": "RESOURCE_EXHAUSTED",
                        "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34s"}],
                    }
                },
                429,
            )
        ],
        "next",
        **_LIMITED,
    ),
    Row(
        32,
        "429 spend limit",
        [
            plain(
                {
                    "type": "error",
                    "error": {
                        "type": "rate_limit_error",
                        "message": "You have reached the spend limit of this workspace.",
                        "details": {"error_code": "enforced_spend_limit_reached"},
                    },
                },
                429,
            )
        ],
        "next",
        "QuotaExhausted",
        status=429,
        warns=("QuotaExhausted: sick",),
    ),
    Row(33, "500", [refusal(500)], "next", "Overloaded", status=500),
    Row(34, "502", [refusal(502)], "next", "Overloaded", status=502, billed=True),
    Row(35, "503", [refusal(503)], "next", "Overloaded", status=503),
    Row(36, "504", [refusal(504)], "next", "ProviderTimeout", status=504, billed=True),
    Row(37, "529", [refusal(529)], "next", "Overloaded", status=529),
    Row(39, "500 x-should-retry false", [refusal(500, x_should_retry="false")], "next", "Overloaded", status=500),
    Row(
        40,
        "400",
        [refusal(400, "bad_value", "the first message is empty")],
        "unchanged",
        "InvalidRequest",
        status=400,
        code="bad_value",
        says="the first message is empty",
    ),
    Row(
        43,
        "404",
        [refusal(404, "model_not_found")],
        "next",
        "ModelNotFound",
        status=404,
        warns=("ModelNotFound: sick",),
    ),
    Row(44, "408", [refusal(408)], "next", "ProviderTimeout", status=408),
    Row(46, "413", [refusal(413)], "unchanged", "ContextTooLong", status=413),
    Row(
        47,
        "400 context_length_exceeded",
        [refusal(400, "context_length_exceeded")],
        "unchanged",
        "ContextTooLong",
        status=400,
        code="context_length_exceeded",
    ),
    Row(
        48,
        "400 content_filter",
        [refusal(400, "content_filter")],
        "unchanged",
        "ContentFiltered",
        status=400,
        code="content_filter",
    ),
    # -- answers that are none, or odd
    Row(
        49,
        "login page, JSON asked",
        [plain(_HTML, content_type="text/html")],
        "next",
        "BadResponse",
        PLAIN,
        billed=True,
    ),
    Row(
        50,
        "login page, stream asked",
        [plain(_HTML, content_type="text/html")],
        "next",
        "BadResponse",
        STREAMED,
        billed=True,
    ),
    Row(51, "HTML 502", [plain(_HTML, 502, content_type="text/html")], "next", "Overloaded", status=502, billed=True),
    Row(52, "JSON when a stream was asked", [plain(COMPLETION)], "answer", ways=STREAMED),
    Row(53, "a stream when JSON was asked", [sse_of(ROLE, HELLO, WORLD, END)], "answer", ways=PLAIN),
    Row(
        54,
        "200 with an error object",
        [plain({"error": {"message": "Provider returned error", "code": 502}})],
        "next",
        "Overloaded",
        status=502,
        billed=True,
    ),
    Row(
        55,
        "error as first event",
        [sse_of(b'data: {"error":{"message":"overloaded","code":529}}\n\n')],
        "next",
        "Overloaded",
        STREAMED,
        status=529,
        billed=True,
    ),
    Row(
        56,
        "error after text",
        [sse_of(ROLE, HELLO, b'data: {"error":{"message":"o","type":"server_error"}}\n\n')],
        "cut",
        "Overloaded",
        STREAMED,
    ),
    Row(
        57,
        "event: error after text",
        [sse_of(ROLE, HELLO, b'event: error\ndata: {"error":{"message":"o","type":"server_error"}}\n\n')],
        "cut",
        "Overloaded",
        STREAMED,
    ),
    Row(58, "no choices", [plain(with_(choices=[]))], "next", "BadResponse", PLAIN, billed=True),
    Row(59, "no choices in a stream", [sse_of(event(choices=[]), DONE)], "next", "BadResponse", STREAMED, billed=True),
    Row(60, "choices null", [plain(with_(choices=None))], "next", "BadResponse", PLAIN, billed=True),
    Row(
        61,
        "no usage",
        [plain({name: value for name, value in COMPLETION.items() if name != "usage"})],
        "answer",
        ways=PLAIN,
        usage=False,
        warns=("provider_missing_usage",),
    ),
    Row(
        62,
        "no usage in a stream",
        [sse_of(ROLE, HELLO, WORLD, STOP, DONE)],
        "answer",
        ways=STREAMED,
        usage=False,
        warns=("provider_missing_usage",),
    ),
    Row(63, "content null", [plain(choice(None))], "answer", ways=PLAIN, text="", warns=("empty_response",)),
    Row(
        64,
        "no finish_reason",
        [plain(choice(finish=None))],
        "answer",
        ways=PLAIN,
        finish=None,
        warns=("provider_missing_finish_reason",),
    ),
    Row(65, "finish_reason eos_token", [plain(choice(finish="eos_token"))], "answer", ways=PLAIN, native="eos_token"),
    Row(
        66,
        "gzip unasked",
        [plain(gzip.compress(json.dumps(COMPLETION).encode()), content_encoding="gzip")],
        "answer",
        ways=PLAIN,
    ),
    Row(
        67,
        "corrupt gzip",
        [plain(b"\x1f\x8b\x08\x00garbage", content_encoding="gzip")],
        "next",
        "BadResponse",
        billed=True,
    ),
    Row(
        69,
        "a body without end",
        [
            SSE_HEAD.replace(b"text/event-stream", b"application/json"),
            *[chunk(b'{"a":"' + b"a" * 2_000_000)] * 32,
            LAST,
        ],
        "next",
        "BadResponse",
        PLAIN,
        billed=True,
        says="larger than",
    ),
    Row(
        70,
        "a line without end",
        [SSE_HEAD, *[chunk(b"a" * 2_000_000)] * 32, LAST],
        "next",
        "BadResponse",
        STREAMED,
        billed=True,
        says="larger than",
    ),
    Row(
        71,
        "deep JSON",
        [plain(b'{"choices":' + b"[" * 100_000 + b"]" * 100_000 + b"}")],
        "next",
        "BadResponse",
        PLAIN,
        billed=True,
    ),
    Row(80, "garbage for a status line", [b"HTP/9 banana\r\n\r\n"], "next", "ConnectionFailed", billed=True),
    Row(
        82,
        "more bytes than announced",
        [
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n"
            + json.dumps(COMPLETION).encode(),
            "keep",
        ],
        "next",
        "BadResponse",
        PLAIN,
        billed=True,
    ),
    Row(
        83,
        "two lengths",
        [b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 5\r\ncontent-length: 500\r\n\r\nhello"],
        "next",
        "ConnectionFailed",
        billed=True,
    ),
    # -- what this target does not take, a healthy one behind
    Row(
        97,
        "a setting",
        [refusal(400, "unsupported_value", "'temperature' does not support 0 with this model")],
        "next",
        "Unsupported",
        status=400,
        warns=_REFUSED,
    ),
    Row(
        97,
        "tools in this endpoint",
        [refusal(400, None, "Function tools are not supported in /v1/chat/completions. Use /v1/responses.")],
        "next",
        "Unsupported",
        status=400,
        warns=_REFUSED,
    ),
    Row(
        97,
        "a schema",
        [refusal(400, None, "tools.0.custom.input_schema: input_schema does not support anyOf at the top level")],
        "next",
        "Unsupported",
        status=400,
        warns=_REFUSED,
    ),
    *(
        Row(98, name, [refusal(status, None, text)], "next", error, status=status, warns=(f"{error}: sick",))
        for name, status, text, error in (
            ("a spend cap as 400", 400, "You have reached your specified API usage limits.", "QuotaExhausted"),
            ("a spend cap as 402", 402, "This request requires more credits.", "QuotaExhausted"),
            ("an organization that is disabled", 400, "This organization has been disabled.", "Unsupported"),
            ("an organization to verify", 403, "Your organization must be verified to use this model.", "Unsupported"),
            ("a region", 403, "Country, region, or territory not supported", "Unsupported"),
        )
    ),
    Row(
        99,
        "a firewall's page",
        [plain(_HTML, 403, content_type="text/html")],
        "next",
        "Unsupported",
        status=403,
        warns=_REFUSED,
    ),
    *(
        Row(100, str(status), [refusal(status)], "next", error, status=status, warns=(f"{error}: sick",))
        for status, error in ((404, "ModelNotFound"), *((n, "Unsupported") for n in (405, 410, 421, 424, 451, 498)))
    ),
    # -- answers that failed
    *(
        Row(101, f"{name}, first", [sse_of(ROLE, bad, DONE)], "next", error, STREAMED, status=status, billed=True)
        for name, bad, error, status in _FAILED_EVENTS
    ),
    *(
        Row(101, f"{name}, after text", [sse_of(ROLE, HELLO, bad, DONE)], "cut", error, STREAMED)
        for name, bad, error, _ in _FAILED_EVENTS
    ),
    *(
        Row(101, f"{name}, whole", [plain(body)], "next", error, PLAIN, status=status, billed=True)
        for name, body, error, status in (
            ("object error", {"object": "error", "message": "no", "code": 500}, "Overloaded", 500),
            ("detail", {"detail": "upstream failed"}, "BadResponse", None),
            ("finish error", choice(finish="error"), "BadResponse", None),
            ("a malformed call", choice(None, "MALFORMED_FUNCTION_CALL"), "BadResponse", None),
        )
    ),
    # -- events that are none
    *(
        Row(102, f"{odd!r}", [sse_of(ROLE, odd, HELLO, odd, WORLD, odd, END)], "answer", ways=STREAMED)
        for odd in (b"data:\n\n", b"data: \n\n", b"event: ping\ndata\n\n", b"retry: 9\n\n", b"id: 1\n\n", b": hi\n\n")
    ),
)
