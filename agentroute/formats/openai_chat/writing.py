"""Streamed answers of the dialect, written chunk by chunk for a client."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any

from agentroute.errors import AgentRouteError
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
from agentroute.formats.sse import encode_event
from agentroute.messages import Usage

from .answers import encode_usage
from .errors import error_object
from .fields import known_fields

__all__ = ["StreamEncoder"]


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
        self._positions: dict[int, int] = {}
        self._custom: set[int] = set()

    def encode(self, event: Event) -> bytes:
        match event:
            case Started():
                return self._begin(event)
            case TextDelta():
                kind = known_fields(event.extra).get("type")
                if kind is not None and kind != "refusal":
                    return self._delta({"content": [known_fields(event.extra)]})
                return self._delta({"refusal" if kind == "refusal" else "content": event.text})
            case ReasoningDelta():
                return self._delta({"reasoning_content": event.text})
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
