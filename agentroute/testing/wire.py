"""A scripted reply as OpenAI's chat-completions dialect puts it on the wire, and the prefixes a prompt cache knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from agentroute.errors import RequestError
from agentroute.messages import ToolCall, Usage

from .faults import Fault
from .replies import TOKENS_PER_MESSAGE, ScriptedReply, count_tokens

__all__ = ["Answer", "Prefix", "error_body", "prefixes"]

_CREATED = 1_767_225_600
"""2026-01-01, Unix seconds: the `created` of every answer; a double does not look at the time."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply whose calls have ids and whose usage is counted; as a plain body, or piece by piece."""

    id: str
    model: str
    reply: ScriptedReply
    usage: Usage
    chunk_characters: int

    def body(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.reply.text or None, "refusal": None}
        if self.reply.tool_calls:
            message["tool_calls"] = [_call(call, call.arguments) for call in self.reply.tool_calls]
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": self._finish_reason}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(self.usage)}

    def opening(self) -> dict[str, Any]:
        """The chunk that names the role and has no content."""
        return self._chunk({"role": "assistant", "content": ""})

    def content(self) -> Iterator[dict[str, Any]]:
        for piece in self._pieces(self.reply.text):
            yield self._chunk({"content": piece})
        for index, call in enumerate(self.reply.tool_calls):
            yield self._chunk({"tool_calls": [{"index": index, **_call(call, "")}]})
            for piece in self._pieces(call.arguments):
                yield self._chunk({"tool_calls": [{"index": index, "function": {"arguments": piece}}]})

    def closing(self, include_usage: bool) -> Iterator[dict[str, Any]]:
        yield self._chunk({}, self._finish_reason)
        if include_usage:
            yield {**self._head("chat.completion.chunk"), "choices": [], "usage": _usage(self.usage)}

    @property
    def _finish_reason(self) -> str:
        return self.reply.finish_reason or ("tool_calls" if self.reply.tool_calls else "stop")

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": _CREATED, "model": self.model}

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**self._head("chat.completion.chunk"), "choices": [choice]}

    def _pieces(self, text: str) -> Iterator[str]:
        for at in range(0, len(text), self.chunk_characters):
            yield text[at : at + self.chunk_characters]


def _call(call: ToolCall, arguments: str) -> dict[str, Any]:
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _usage(usage: Usage) -> dict[str, Any]:
    prompt, completion = usage.input_tokens or 0, usage.output_tokens or 0
    return {
        "prompt_tokens": prompt,
        "completion_tokens": completion,
        "total_tokens": prompt + completion,
        "prompt_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
            "audio_tokens": 0,
        },
        "completion_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0, "audio_tokens": 0},
    }


def error_body(fault: Fault) -> dict[str, Any]:
    kind = "invalid_request_error" if fault.status < 500 else "server_error"
    return {"error": {"message": fault.message, "type": kind, "param": None, "code": fault.code}}


@dataclass(frozen=True, slots=True)
class Prefix:
    """The tools, the schema and the first messages of a request: a digest of them, and their tokens."""

    digest: str
    tokens: int


def prefixes(body: Mapping[str, Any]) -> list[Prefix]:
    """The prefix up to each message, shortest first. Raises RequestError for a body without messages."""
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise RequestError(f"`messages` is {messages!r}; give a non-empty list")
    head = {key: body[key] for key in ("tools", "response_format") if body.get(key)}
    digest = hashlib.sha256(_canonical(head))
    tokens = count_tokens(list(head.values()))
    found = []
    for message in messages:
        digest.update(_canonical(message))
        tokens += TOKENS_PER_MESSAGE + count_tokens(message)
        found.append(Prefix(digest.hexdigest(), tokens))
    return found


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True).encode()
