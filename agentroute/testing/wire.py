"""A scripted reply as each dialect puts it on the wire, and the prefixes a prompt cache knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from agentroute import formats
from agentroute.errors import RequestError
from agentroute.events import (
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from agentroute.formats.failures import decode_error
from agentroute.messages import ChatResponse, FinishReason, Message, Reasoning, Text, Usage

from .faults import Fault
from .replies import TOKENS_PER_MESSAGE, ScriptedReply, count_tokens

__all__ = ["Answer", "Prefix", "Route", "error_body", "prefixes"]

_CREATED = 1_767_225_600
"""2026-01-01, Unix seconds: the `created` of every answer; a double does not look at the time."""


@dataclass(frozen=True, slots=True)
class Route:
    """What the path of a request says: its dialect, and for Gemini the model and whether a stream is wanted."""

    dialect: str
    model: str | None = None
    stream: bool | None = None

    @classmethod
    def of(cls, path: str) -> Route | None:
        """None for a path of no dialect."""
        plain = path.partition("?")[0].rstrip("/")
        for ending, dialect in _PATHS.items():
            if plain.endswith(ending):
                return cls(dialect)
        head, _, verb = plain.rpartition(":")
        if verb in _VERBS and "/models/" in head:
            return cls("gemini", unquote(head.rpartition("/models/")[2]), _VERBS[verb])
        return None


_PATHS = {"/chat/completions": "openai_chat", "/messages": "anthropic_messages", "/responses": "openai_responses"}
_VERBS = {"generateContent": False, "streamGenerateContent": True}


@dataclass(frozen=True, slots=True)
class Answer:
    """One reply whose calls have ids and whose usage is counted; as a plain body, or piece by piece."""

    dialect: str
    id: str
    model: str
    reply: ScriptedReply
    usage: Usage
    chunk_characters: int

    def body(self) -> dict[str, Any]:
        reply = self.reply
        thought = (Reasoning(reply.reasoning),) if reply.reasoning else ()
        parts = thought + ((Text(reply.text),) if reply.text else ()) + reply.tool_calls
        message = Message("assistant", parts)
        response = ChatResponse(message, self._finish_reason, self.usage, self.model, self.id)
        return formats.of(self.dialect).encode_response(response, model=self.model, created=_CREATED)

    def pieces(self, include_usage: bool) -> tuple[bytes, Iterator[bytes], Callable[[], bytes]]:
        """What opens the stream and has no content, the pieces with content, and what closes it."""
        encoder = formats.of(self.dialect).StreamEncoder(model=self.model, created=_CREATED)

        def content() -> Iterator[bytes]:
            for piece in self._cut(self.reply.reasoning):
                yield encoder.encode(ReasoningDelta(piece))
            for piece in self._cut(self.reply.text):
                yield encoder.encode(TextDelta(piece))
            for index, call in enumerate(self.reply.tool_calls):
                yield encoder.encode(ToolCallStarted(index, call.id, call.name))
                for piece in self._cut(call.arguments):
                    yield encoder.encode(ToolCallDelta(index, piece))

        def closing() -> bytes:
            counted = encoder.encode(UsageReported(self.usage)) if include_usage else b""
            return counted + encoder.encode(Finished(self._finish_reason))

        return encoder.encode(Started(self.id, self.model)), content(), closing

    @property
    def _finish_reason(self) -> FinishReason:
        return self.reply.finish_reason or ("tool_calls" if self.reply.tool_calls else "stop")

    def _cut(self, text: str) -> Iterator[str]:
        for at in range(0, len(text), self.chunk_characters):
            yield text[at : at + self.chunk_characters]


def error_body(fault: Fault, dialect: str) -> dict[str, Any]:
    kind = "invalid_request_error" if fault.status < 500 else "server_error"
    body = {"error": {"message": fault.message, "type": kind, "param": None, "code": fault.code}}
    if dialect in ("openai_chat", "openai_responses"):
        return body
    error = decode_error(fault.status, {}, body)
    error.args = (fault.message,)
    return formats.of(dialect).encode_error(error)[1]


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
