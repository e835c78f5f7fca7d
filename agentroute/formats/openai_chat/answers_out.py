"""Answers written for a client: whole, streamed, and errors (those of both OpenAI dialects)."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from typing import Any, Final

from agentroute.errors import (
    AgentRouteError,
    AllAttemptsFailed,
    AuthenticationFailed,
    BadResponse,
    ConfigError,
    ConnectionFailed,
    ContentFiltered,
    ContextTooLong,
    InvalidRequest,
    ModelNotFound,
    NoCandidateError,
    Overloaded,
    ProviderTimeout,
    QuotaExhausted,
    RateLimited,
    RequestError,
    StreamInterrupted,
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
from agentroute.formats.base import PLAIN, told_class
from agentroute.formats.failures import conceal
from agentroute.formats.sse import encode_event
from agentroute.messages import ChatResponse, Usage

from .fields import digest, known_fields
from .requests_out import encode_assistant

__all__ = ["StreamEncoder", "encode_error", "encode_response", "error_object"]

_FORMS: Final[dict[type[AgentRouteError], tuple[int, str, str | None]]] = {
    RequestError: (400, "invalid_request_error", None),
    InvalidRequest: (400, "invalid_request_error", None),
    Unsupported: (400, "invalid_request_error", "unsupported"),
    ContentFiltered: (400, "invalid_request_error", "content_filter"),
    ContextTooLong: (400, "invalid_request_error", "context_length_exceeded"),
    ModelNotFound: (404, "invalid_request_error", "model_not_found"),
    RateLimited: (429, "rate_limit_error", "rate_limit_exceeded"),
    QuotaExhausted: (429, "insufficient_quota", "insufficient_quota"),
    Overloaded: (503, "server_error", "overloaded"),
    NoCandidateError: (503, "server_error", "no_candidate"),
    ProviderTimeout: (504, "server_error", "timeout"),
    AuthenticationFailed: (502, "server_error", "provider_authentication_failed"),
    ConnectionFailed: (502, "server_error", "connection_failed"),
    BadResponse: (502, "server_error", "bad_response"),
    StreamInterrupted: (502, "server_error", "stream_interrupted"),
    AllAttemptsFailed: (502, "server_error", "all_attempts_failed"),
    ConfigError: (500, "server_error", "config_error"),
}
"""Status, type, code. A refused key is ours and not the client's, so it is no 401, which would send the client looking
at its own. No target being free is a 503: a breaker closes again, and a client may come back."""

_OWN_WORD: Final = (InvalidRequest, ContentFiltered, ContextTooLong, ModelNotFound)
"""What the client got wrong at the provider: it gets the provider's own status and code."""


def encode_error(error: AgentRouteError) -> tuple[int, dict[str, Any]]:
    """The HTTP status and the body `{"error": {"message", "type", "param", "code"}}`.

    Where every attempt failed for one reason the status is that reason's (429, 503, 504), else 502.
    """
    return _form(error)[0], {"error": error_object(error)}


def error_object(error: AgentRouteError) -> dict[str, Any]:
    """`message`, `type`, `param` and `code`. The message holds nothing that looks like a key."""
    _, kind, code = _form(error)
    return {"message": conceal(str(error)), "type": kind, "param": None, "code": code}


def _form(error: AgentRouteError) -> tuple[int, str, str | None]:
    told = told_class(error)
    status, kind, code = next((_FORMS[cls] for cls in told.__mro__ if cls in _FORMS), (500, "server_error", None))
    if isinstance(error, AllAttemptsFailed):
        code = _FORMS[AllAttemptsFailed][2]
    elif isinstance(error, _OWN_WORD):
        if error.status is not None and 400 <= error.status < 500:
            status = error.status
        code = error.code or code
    return status, kind, code


def encode_response(response: ChatResponse, *, model: str | None = None, created: int | None = None) -> dict[str, Any]:
    """A `chat.completion` object: what a client of this dialect reads.

    The dialect demands an id, a model and a time: an answer without an id gets one made from what it says, without a
    model an empty text, without `created` (seconds since 1970) a 0. Its counts are whole numbers, so a usage of which
    one half is not known is null. Where the provider gave no reason for stopping that is known, `finish_reason` is
    null, which the official type does not foresee; the provider's own word stands in `native_finish_reason`.
    """
    extra = dict(known_fields(response.extra))
    beside = extra.pop("choice", {})
    if created is not None:
        extra["created"] = created
    choice: dict[str, Any] = {
        "index": 0,
        "message": encode_assistant(response.message, PLAIN),
        "finish_reason": response.finish_reason,
        **beside,
    }
    if response.native_finish_reason is not None:
        choice["native_finish_reason"] = response.native_finish_reason
    return {
        "id": response.id or f"chatcmpl-{digest(repr((response.message, response.model)))}",
        "object": "chat.completion",
        "created": 0,
        "model": model or response.model or "",
        **extra,
        "choices": [choice],
        "usage": encode_usage(response.usage),
    }


def encode_usage(usage: Usage | None) -> dict[str, Any] | None:
    """The count as this dialect writes it, or None where one of the two totals is not known."""
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    sent, written = usage.input_tokens, usage.output_tokens
    raw: dict[str, Any] = {"prompt_tokens": sent, "completion_tokens": written, "total_tokens": sent + written}
    inputs = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if any(tokens is not None for tokens in inputs.values()):
        raw["prompt_tokens_details"] = {key: tokens for key, tokens in inputs.items() if tokens is not None}
    if usage.reasoning_tokens is not None:
        raw["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return raw


class StreamEncoder:
    """Writes one streamed answer as `chat.completion.chunk` objects, `[DONE]` last.

    `created` (seconds since 1970) is 0 where nobody says it; `answer_id` stands for an id that the provider did not
    give. `include_usage` False leaves out the last chunk, which has the usage and no choices: a client that did not ask
    for it (`stream_options`) may not be ready for a chunk without choices.
    """

    def __init__(
        self,
        *,
        model: str | None = None,
        created: int | None = None,
        include_usage: bool = True,
        answer_id: str | None = None,
    ) -> None:
        self._head: dict[str, Any] = {
            "id": answer_id or f"chatcmpl-{secrets.token_hex(12)}",
            "object": "chat.completion.chunk",
            "created": created or 0,
            "model": model or "",
        }
        self._answer_id = answer_id
        self._model = model
        self._created = created
        self._include_usage = include_usage
        self._usage: Usage | None = None
        self._begun = False
        self._around: dict[str, tuple[bytes, bytes]] = {}
        self._positions: dict[int, int] = {}
        self._custom: set[int] = set()

    def encode(self, event: Event) -> bytes:
        match event:
            case Started():
                return b"" if self._begun else self._begin(event)
            case TextDelta():
                if event.extra is None:
                    return self._text("content", event.text)
                kind = known_fields(event.extra).get("type")
                if kind is not None and kind != "refusal":
                    return self._delta({"content": [known_fields(event.extra)]})
                return self._text("refusal" if kind == "refusal" else "content", event.text)
            case ReasoningDelta():
                return self._text("reasoning_content", event.text)
            case ReasoningSignature():
                return b""
            case ToolCallStarted():
                return self._delta({"tool_calls": [self._call(event)]})
            case ToolCallDelta():
                position = self._positions[event.index]
                piece = (
                    {"custom": {"input": event.arguments}}
                    if event.index in self._custom
                    else {"function": {"arguments": event.arguments}}
                )
                return self._delta({"tool_calls": [{"index": position, **piece}]})
            case UsageReported():
                self._usage = event.usage
                return b""
            case Finished():
                return self._finish(event)

    def error(self, error: AgentRouteError) -> bytes:
        """The error as an object of its own. No `[DONE]` follows: the answer is not done."""
        return encode_event({"error": error_object(error)})

    def _begin(self, event: Started) -> bytes:
        self._begun = True
        spare = dict(known_fields(event.extra))
        spare.pop("choice", None)
        created = spare.pop("created", 0)
        if event.id and self._answer_id is None:
            self._head["id"] = event.id
        if self._created is None and isinstance(created, int):
            self._head["created"] = created
        self._head["model"] = self._model or event.model or ""
        return self._chunk({"role": "assistant", "content": ""}, more=spare)

    def _text(self, name: str, text: str) -> bytes:
        """`_delta({name: text})`, of which all but the text is the same each time."""
        first = b"" if self._begun else self._begin(Started())
        around = self._around.get(name)
        if around is None:
            before, _, after = self._chunk({name: ""}).rpartition(b'""')
            around = self._around[name] = (before, after)
        return first + around[0] + json.dumps(text).encode() + around[1]

    def _delta(self, delta: dict[str, Any]) -> bytes:
        first = b"" if self._begun else self._begin(Started())
        return first + self._chunk(delta)

    def _chunk(
        self, delta: Mapping[str, Any], choice: Mapping[str, Any] | None = None, more: Mapping[str, Any] | None = None
    ) -> bytes:
        choices = [{"index": 0, "delta": delta, "finish_reason": None, **(choice or {})}]
        return encode_event({**self._head, **(more or {}), "choices": choices})

    def _call(self, event: ToolCallStarted) -> dict[str, Any]:
        position = self._positions.setdefault(event.index, len(self._positions))
        spare = dict(known_fields(event.extra))
        kind = "custom" if spare.get("type") == "custom" else "function"
        inner = spare.pop(kind, {})
        if kind == "custom":
            self._custom.add(event.index)
        named = {"name": event.name, "input" if kind == "custom" else "arguments": "", **inner}
        return {"index": position, "id": event.id, "type": kind, **spare, kind: named}

    def _finish(self, event: Finished) -> bytes:
        choice: dict[str, Any] = {"finish_reason": event.finish_reason}
        if event.native_finish_reason is not None:
            choice["native_finish_reason"] = event.native_finish_reason
        first = b"" if self._begun else self._begin(Started())
        found = first + self._chunk(known_fields(event.extra), choice)
        usage = encode_usage(self._usage)
        if usage is not None and self._include_usage:
            found += encode_event({**self._head, "choices": [], "usage": usage})
        return found + b"data: [DONE]\n\n"
