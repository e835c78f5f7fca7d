"""The server side: answers, streams and errors as a client of the dialect reads them."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import Any, Final

from agentroute.errors import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    ConfigError,
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
)
from agentroute.formats.base import told_class
from agentroute.formats.failures import conceal
from agentroute.formats.signatures import wrap
from agentroute.formats.sse import encode_event
from agentroute.messages import ChatResponse, FinishReason, Part, Reasoning, Usage

from .fields import known_fields
from .requests_out import encode_parts

__all__ = ["StreamEncoder", "encode_error", "encode_response"]

_STOP_REASONS: Final[Mapping[FinishReason, str]] = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}

_OWN_WORDS: Final = frozenset(
    {"end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal", "model_context_window_exceeded"}
)

_ERRORS: Final[Mapping[type[AgentRouteError], tuple[int, str]]] = {
    RateLimited: (429, "rate_limit_error"),
    QuotaExhausted: (402, "billing_error"),
    Overloaded: (529, "overloaded_error"),
    ProviderTimeout: (504, "timeout_error"),
    AuthenticationFailed: (502, "api_error"),
    ModelNotFound: (404, "not_found_error"),
    ContextTooLong: (400, "invalid_request_error"),
    ContentFiltered: (400, "invalid_request_error"),
    InvalidRequest: (400, "invalid_request_error"),
    Unsupported: (400, "invalid_request_error"),
    RequestError: (400, "invalid_request_error"),
    NoCandidateError: (503, "overloaded_error"),
    ConfigError: (500, "api_error"),
    AllAttemptsFailed: (502, "api_error"),
    ProviderError: (502, "api_error"),
    AgentRouteError: (500, "api_error"),
}
"""The statuses and types of https://platform.claude.com/docs/en/api/errors that our classes mean to a client.

A refused key is ours and not the client's, so it is no 401, which would send the client looking at its own."""


def encode_response(response: ChatResponse, *, model: str | None = None, created: int | None = None) -> dict[str, Any]:
    """A `message` object: what a client of this dialect reads. `created` has no place in it.

    A stop reason that is not known is null, or the provider's own word. The dialect demands counts: an unknown one is
    written as 0 here, and stays unknown in our own record.
    """
    return {
        "id": response.id or f"msg_{secrets.token_hex(12)}",
        "type": "message",
        "role": "assistant",
        "model": model or response.model or "unknown",
        "content": encode_parts(_handed_out(response.message.parts)),
        "stop_reason": _stop_reason(
            response.finish_reason, response.native_finish_reason, calls=bool(response.message.tool_calls)
        ),
        "stop_sequence": None,
        **known_fields(response.extra),
        **known_fields(response.message.extra),
        "usage": _usage(response.usage),
    }


def _handed_out(parts: tuple[Part, ...]) -> Iterator[Part]:
    """Signatures as a client gets them; reasoning without one has an empty one, for the client to show its text."""
    for part in parts:
        if isinstance(part, Reasoning) and part.signature:
            yield Reasoning(part.text, wrap(part.signature, part.origin), None, part.redacted)
        elif isinstance(part, Reasoning) and part.text:
            yield Reasoning(part.text, wrap("", part.origin or "unknown"))
        else:
            yield part


def _stop_reason(reason: FinishReason | None, native: str | None, *, calls: bool) -> str | None:
    if calls and reason == "stop":
        # Chat servers say so of a tool that was forced. A client of this dialect runs tools for this word alone.
        return "tool_use"
    if reason is None or native in _OWN_WORDS:
        return native
    return _STOP_REASONS[reason]


def _usage(usage: Usage | None) -> dict[str, Any]:
    if usage is None:
        return {"input_tokens": 0, "output_tokens": 0}
    read, written = usage.cache_read_tokens, usage.cache_write_tokens
    raw: dict[str, Any] = {
        "input_tokens": max((usage.input_tokens or 0) - (read or 0) - (written or 0), 0),
        "output_tokens": usage.output_tokens or 0,
    }
    if read is not None:
        raw["cache_read_input_tokens"] = read
    if written is not None:
        raw["cache_creation_input_tokens"] = written
    hour = usage.cache_write_1h_tokens
    if hour is not None:
        short = max((written or 0) - hour, 0)
        raw["cache_creation"] = {"ephemeral_5m_input_tokens": short, "ephemeral_1h_input_tokens": hour}
    own = {"service_tier": ("standard", "priority", "batch"), "speed": ("standard", "fast")}
    raw |= {name: word for name, words in own.items() if (word := getattr(usage, name)) in words}
    if usage.region is not None:
        raw["inference_geo"] = usage.region
    ran = dict(usage.server_tools)
    if "web_search" in ran or "web_fetch" in ran:
        raw["server_tool_use"] = {f"{tool}_requests": ran.get(tool, 0) for tool in ("web_search", "web_fetch")}
    return raw


class StreamEncoder:
    """Writes one streamed answer, block after block.

    The dialect cannot write two calls at once: pieces of a later call wait until the one before is complete, which is
    known only when something else follows.
    """

    def __init__(self, *, model: str | None = None, created: int | None = None) -> None:
        self._model = model
        self._index = -1
        self._open: str | None = None
        self._call: int | None = None
        self._waiting: dict[int, list[Event]] = {}
        self._begun = False
        self._usage: Usage | None = None
        self._called = False

    def encode(self, event: Event) -> bytes:
        """The server-sent events that say this one."""
        return b"".join(self._say(event))

    def error(self, error: AgentRouteError) -> bytes:
        """An `error` event, which ends the stream."""
        return _event(encode_error(error)[1])

    def _say(self, event: Event) -> Iterator[bytes]:
        match event:
            case Started():
                yield from self._start(event)
                return
            case UsageReported():
                self._usage = event.usage
                return
            case ToolCallStarted() | ToolCallDelta() if self._call not in (None, event.index):
                self._waiting.setdefault(event.index, []).append(event)
                return
        yield from self._start(Started())
        match event:
            case ToolCallStarted():
                self._called = True
                yield from self._close()
                self._call = event.index
                block = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
                yield from self._begin("tool_use", {**block, **known_fields(event.extra)})
            case ToolCallDelta():
                yield self._delta({"type": "input_json_delta", "partial_json": event.arguments})
            case TextDelta():
                yield from self._finish_calls()
                yield from self._text(event)
            case ReasoningDelta():
                yield from self._finish_calls()
                if self._open != "thinking":
                    yield from self._close()
                    yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
                yield self._delta({"type": "thinking_delta", "thinking": event.text})
            case ReasoningSignature():
                yield from self._finish_calls()
                yield from self._signature(event)
            case Finished():
                yield from self._finish_calls()
                yield from self._close()
                yield from self._end(event)

    def _start(self, event: Started) -> Iterator[bytes]:
        if self._begun:
            return
        self._begun = True
        message: dict[str, Any] = {
            "id": event.id or f"msg_{secrets.token_hex(12)}",
            "type": "message",
            "role": "assistant",
            "model": self._model or event.model or "unknown",
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": _usage(self._usage),
        }
        yield _event({"type": "message_start", "message": message})

    def _text(self, event: TextDelta) -> Iterator[bytes]:
        spare = known_fields(event.extra)
        if "citations" in spare and not event.text:
            if self._open == "text":
                for citation in spare["citations"]:
                    yield self._delta({"type": "citations_delta", "citation": citation})
                yield from self._close()
            return
        if "type" in spare:
            yield from self._close()
            yield from self._begin(str(spare["type"]), dict(spare))
            yield from self._close()
            return
        if not event.text:
            return
        if self._open != "text":
            yield from self._close()
            yield from self._begin("text", {"type": "text", "text": ""})
        yield self._delta({"type": "text_delta", "text": event.text})

    def _signature(self, event: ReasoningSignature) -> Iterator[bytes]:
        signature = wrap(event.signature, event.origin) if event.signature else ""
        if event.redacted:
            yield from self._close()
            yield from self._begin("redacted_thinking", {"type": "redacted_thinking", "data": signature})
        elif self._open != "thinking":
            yield from self._close()
            yield from self._begin("thinking", {"type": "thinking", "thinking": "", "signature": ""})
        if signature and not event.redacted:
            yield self._delta({"type": "signature_delta", "signature": signature})
        yield from self._close()

    def _finish_calls(self) -> Iterator[bytes]:
        """Every call is complete now: those that waited are written."""
        while self._call is not None:
            yield from self._close()
            self._call = None
            if self._waiting:
                for event in self._waiting.pop(next(iter(self._waiting))):
                    yield from self._say(event)

    def _begin(self, kind: str, block: Mapping[str, Any]) -> Iterator[bytes]:
        self._index += 1
        self._open = kind
        yield _event({"type": "content_block_start", "index": self._index, "content_block": block})

    def _delta(self, delta: Mapping[str, Any]) -> bytes:
        return _event({"type": "content_block_delta", "index": self._index, "delta": delta})

    def _close(self) -> Iterator[bytes]:
        if self._open is not None:
            self._open = None
            yield _event({"type": "content_block_stop", "index": self._index})

    def _end(self, event: Finished) -> Iterator[bytes]:
        delta = {
            "stop_reason": _stop_reason(event.finish_reason, event.native_finish_reason, calls=self._called),
            "stop_sequence": None,
            **known_fields(event.extra),
        }
        yield _event({"type": "message_delta", "delta": delta, "usage": _usage(self._usage)})
        yield _event({"type": "message_stop"})


def _event(data: Mapping[str, Any]) -> bytes:
    return encode_event(data, data["type"])


def encode_error(error: AgentRouteError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body. A provider's own refusal of a request keeps its status."""
    status, kind = next(_ERRORS[base] for base in told_class(error).__mro__ if base in _ERRORS)
    if isinstance(error, InvalidRequest | ContentFiltered | ContextTooLong) and error.status is not None:
        status = error.status
    body: dict[str, Any] = {"type": "error", "error": {"type": kind, "message": conceal(str(error))}}
    if isinstance(error, ProviderError) and error.request_id is not None:
        body["request_id"] = error.request_id
    return status, body
