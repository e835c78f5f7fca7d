"""Answers written for a client of the dialect: whole, streamed, and errors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from agentroute.errors import (
    AgentRouteError,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    NoCandidateError,
    Overloaded,
    ProviderError,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
    Unsupported,
)
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
    fold,
)
from agentroute.formats.base import told_class
from agentroute.formats.failures import conceal
from agentroute.formats.sse import encode_event
from agentroute.messages import ChatResponse, Extra, FinishReason, Part, Reasoning, Text, Usage

from .fields import DIALECT, known_fields
from .parts import encode_part
from .usage import encode_usage

__all__ = ["StreamEncoder", "encode_error", "encode_response"]

_WORDS: Final[Mapping[FinishReason, str]] = {
    "stop": "STOP",
    "tool_calls": "STOP",
    "length": "MAX_TOKENS",
    "content_filter": "SAFETY",
}

_OWN_WORDS: Final = frozenset(
    {
        "STOP",
        "MAX_TOKENS",
        "SAFETY",
        "RECITATION",
        "LANGUAGE",
        "OTHER",
        "BLOCKLIST",
        "PROHIBITED_CONTENT",
        "SPII",
        "MALFORMED_FUNCTION_CALL",
        "IMAGE_SAFETY",
        "IMAGE_PROHIBITED_CONTENT",
        "IMAGE_OTHER",
        "NO_IMAGE",
        "IMAGE_RECITATION",
        "UNEXPECTED_TOOL_CALL",
        "TOO_MANY_TOOL_CALLS",
        "MISSING_THOUGHT_SIGNATURE",
        "MALFORMED_RESPONSE",
        "MODEL_ARMOR",
    }
)
"""Google's own reasons for stopping (google-genai 3.6, `types.FinishReason`)."""

_ERRORS: Final[Mapping[type[AgentRouteError], tuple[int, str]]] = {
    RequestError: (400, "INVALID_ARGUMENT"),
    InvalidRequest: (400, "INVALID_ARGUMENT"),
    Unsupported: (400, "INVALID_ARGUMENT"),
    ContentFiltered: (400, "INVALID_ARGUMENT"),
    ContextTooLong: (400, "INVALID_ARGUMENT"),
    ModelNotFound: (404, "NOT_FOUND"),
    RateLimited: (429, "RESOURCE_EXHAUSTED"),
    QuotaExhausted: (429, "RESOURCE_EXHAUSTED"),
    Overloaded: (503, "UNAVAILABLE"),
    NoCandidateError: (503, "UNAVAILABLE"),
    ProviderTimeout: (504, "DEADLINE_EXCEEDED"),
    ProviderError: (502, "UNAVAILABLE"),
}
"""HTTP status and Google's code (https://cloud.google.com/apis/design/errors); any other error is 500 INTERNAL.

A refused key is ours and not the client's, so it is no 401, which would send the client looking at its own.
"""


def encode_response(response: ChatResponse, *, model: str | None = None, created: int | None = None) -> dict[str, Any]:
    """A GenerateContentResponse. What the provider did not say is left out; `created` has no place in it."""
    base = _base(response.id, model or response.model)
    last = Finished(response.finish_reason, response.native_finish_reason, response.message.extra)
    return {**base, **_ending(response.message.parts, last, response.usage, response.extra)}


def _base(answer_id: str | None, model: str | None) -> dict[str, Any]:
    base = {"responseId": answer_id, "modelVersion": model}
    return {key: value for key, value in base.items() if value is not None}


def _encode_parts(parts: Iterable[Part]) -> list[dict[str, Any]]:
    """Every part a client of the dialect can read. A thought of another provider is shown, without its signature."""
    found = []
    for part in parts:
        if isinstance(part, Reasoning) and (part.extra is None or part.extra.dialect != DIALECT):
            raw: dict[str, Any] | None = {"text": part.text, "thought": True} if part.text else None
        elif isinstance(part, Text) and not part.text and not known_fields(part.extra):
            raw = None
        else:
            raw = encode_part(part)
        if raw is not None:
            found.append(raw)
    return found


def _ending(parts: Iterable[Part], last: Finished, usage: Usage | None, extra: Extra | None) -> dict[str, Any]:
    """The chunk that ends an answer: its parts, why it stopped, what it used. A blocked prompt has no candidate."""
    spare = dict(known_fields(extra))
    raw = _encode_parts(parts)
    feedback = spare.get("promptFeedback")
    found: dict[str, Any] = spare
    if raw or not isinstance(feedback, Mapping) or not feedback.get("blockReason"):
        candidate: dict[str, Any] = {"index": 0, **known_fields(last.extra).get("candidate", {})}
        candidate["content"] = {"role": "model", "parts": raw}
        word = _word(last)
        if word is not None:
            candidate["finishReason"] = word
        found["candidates"] = [candidate]
    if usage is not None:
        found["usageMetadata"] = encode_usage(usage)
    return found


def _word(last: Finished) -> str | None:
    """Google's own word where it is one, else the one that means the same; None where no reason is known."""
    if last.native_finish_reason in _OWN_WORDS:
        return last.native_finish_reason
    if last.finish_reason is not None:
        return _WORDS[last.finish_reason]
    return None if last.native_finish_reason is None else "OTHER"


class StreamEncoder:
    """Writes one streamed answer for a client of the dialect: server-sent events, as bytes.

    A function call goes out whole, so the calls, and what little may follow them, go out with the end of the answer.
    """

    def __init__(self, *, model: str | None = None, created: int | None = None) -> None:
        self._model = model
        self._started = Started()
        self._fresh = True
        self._usage: Usage | None = None
        self._held: list[Event] = []

    def encode(self, event: Event) -> bytes:
        match event:
            case Started():
                self._started = event
                return b""
            case UsageReported():
                self._usage = event.usage
                return b""
            case Finished():
                parts = fold(self._held).message.parts
                return self._chunk(_ending(parts, event, self._usage, self._extra()))
            case ToolCallStarted() | ToolCallDelta():
                self._held.append(event)
                return b""
            case _ if self._held:
                self._held.append(event)
                return b""
            case TextDelta():
                return self._say(Text(event.text, event.extra))
            case ReasoningDelta():
                return self._say(Reasoning(event.text))
            case ReasoningSignature():
                return self._say(Reasoning("", event.signature, event.origin, event.redacted, event.extra))

    def error(self, error: AgentRouteError) -> bytes:
        """The error as the last chunk. Calls that were held back are dropped: they may not be whole."""
        return encode_event(encode_error(error)[1])

    def _say(self, part: Part) -> bytes:
        raw = _encode_parts((part,))
        if not raw:
            return b""
        candidate = {"content": {"role": "model", "parts": raw}, "index": 0}
        return self._chunk({"candidates": [candidate], **known_fields(self._extra())})

    def _extra(self) -> Extra | None:
        """The unknown fields of the answer, which its first chunk carries."""
        return self._started.extra if self._fresh else None

    def _chunk(self, body: dict[str, Any]) -> bytes:
        self._fresh = False
        return encode_event({**body, **_base(self._started.id, self._model or self._started.model)})


def encode_error(error: AgentRouteError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body `{"error": {"code", "message", "status"}}`. A time to wait is a RetryInfo.

    Where every attempt failed for one reason that may pass (429, 503, 504), the status is that reason's. The message
    holds nothing that looks like a key.
    """
    code, status = next((_ERRORS[kind] for kind in told_class(error).__mro__ if kind in _ERRORS), (500, "INTERNAL"))
    raw: dict[str, Any] = {"code": code, "message": conceal(str(error)), "status": status}
    if isinstance(error, ProviderError) and error.retry_after is not None:
        info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{error.retry_after:g}s"}
        raw["details"] = [info]
    return code, {"error": raw}
