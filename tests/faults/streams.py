"""One whole streamed answer in each wire dialect: thinking, text, a tool call, usage."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from tests.loopback import event as chat

TEXT = "The weather: 😀 21 °C."
ARGUMENTS = '{"city": "Paris", "days": 3}'


@dataclass(frozen=True)
class Stream:
    """`events` are whole server-sent events; `text`, `calls` and `finish` are what they add up to."""

    dialect: str
    events: tuple[bytes, ...]
    finish: str = "tool_calls"

    @property
    def body(self) -> bytes:
        return b"".join(self.events)


def named(data: dict[str, Any]) -> bytes:
    """An event as Anthropic and the Responses API write it: its name is the type of its data."""
    return f"event: {data['type']}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


def unnamed(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data, ensure_ascii=False)}\r\n\r\n".encode()


def _call(index: int, arguments: str, **first: Any) -> bytes:
    function = {**({"name": "look"} if first else {}), "arguments": arguments}
    return chat({"tool_calls": [{"index": index, **first, "function": function}]})


def _openai_chat() -> tuple[bytes, ...]:
    return (
        chat({"role": "assistant", "content": ""}),
        *(chat({"content": TEXT[at : at + 5]}) for at in range(0, len(TEXT), 5)),
        _call(0, "", id="call_1", type="function"),
        *(_call(0, ARGUMENTS[at : at + 7]) for at in range(0, len(ARGUMENTS), 7)),
        chat(finish="tool_calls"),
        chat(choices=[], usage={"prompt_tokens": 9, "completion_tokens": 8, "total_tokens": 17}),
        b"data: [DONE]\n\n",
    )


def message_start(**usage: int) -> bytes:
    """Anthropic's first event."""
    counted = {"input_tokens": 9, "output_tokens": 1, **usage}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "stop_reason": None}
    return named({"type": "message_start", "message": {**message, "stop_sequence": None, "usage": counted}})


def block(index: int, start: dict[str, Any], *deltas: dict[str, Any]) -> tuple[bytes, ...]:
    """One content block of Anthropic's."""
    return (
        named({"type": "content_block_start", "index": index, "content_block": start}),
        *(named({"type": "content_block_delta", "index": index, "delta": delta}) for delta in deltas),
        named({"type": "content_block_stop", "index": index}),
    )


def message_end(reason: str) -> tuple[bytes, bytes]:
    """Anthropic's last two events."""
    delta = {"stop_reason": reason, "stop_sequence": None}
    return (
        named({"type": "message_delta", "delta": delta, "usage": {"output_tokens": 8}}),
        named({"type": "message_stop"}),
    )


PING = named({"type": "ping"})


def _anthropic_messages() -> tuple[bytes, ...]:
    pieces = [{"type": "text_delta", "text": TEXT[at : at + 5]} for at in range(0, len(TEXT), 5)]
    arguments = [
        {"type": "input_json_delta", "partial_json": ARGUMENTS[at : at + 7]} for at in range(0, len(ARGUMENTS), 7)
    ]
    return (
        message_start(),
        PING,
        *block(0, {"type": "text", "text": ""}, *pieces),
        *block(1, {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}}, *arguments),
        *message_end("tool_use"),
    )


def gemini(parts: list[dict[str, Any]] | None, reason: str | None = None, **more: Any) -> dict[str, Any]:
    """A chunk, or a whole answer, of Gemini's."""
    candidate: dict[str, Any] = {"index": 0}
    if parts is not None:
        candidate["content"] = {"role": "model", "parts": parts}
    if reason is not None:
        candidate["finishReason"] = reason
    usage = {"promptTokenCount": 9, "candidatesTokenCount": 8, "totalTokenCount": 17}
    return {"candidates": [candidate], "usageMetadata": usage, "modelVersion": "m", "responseId": "r-1", **more}


def _gemini() -> tuple[bytes, ...]:
    call = {"functionCall": {"name": "look", "args": json.loads(ARGUMENTS)}}
    return (
        *(unnamed(gemini([{"text": TEXT[at : at + 5]}])) for at in range(0, len(TEXT), 5)),
        unnamed(gemini([call])),
        unnamed(gemini([{"text": ""}], "STOP")),
    )


def _openai_responses() -> tuple[bytes, ...]:
    answer = {
        "id": "resp_1",
        "object": "response",
        "created_at": 1,
        "model": "m",
        "output": [],
        "status": "in_progress",
    }
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    call = {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "look", "arguments": ""}
    text = {"type": "output_text", "text": TEXT, "annotations": []}
    done_message = {**message, "status": "completed", "content": [text]}
    done_call = {**call, "status": "completed", "arguments": ARGUMENTS}
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 8,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 17,
    }
    where = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    bodies: list[dict[str, Any]] = [
        {"type": "response.created", "response": answer},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **where, "part": {**text, "text": ""}},
        *({"type": "response.output_text.delta", **where, "delta": TEXT[at : at + 5]} for at in range(0, len(TEXT), 5)),
        {"type": "response.output_text.done", **where, "text": TEXT},
        {"type": "response.content_part.done", **where, "part": text},
        {"type": "response.output_item.done", "output_index": 0, "item": done_message},
        {"type": "response.output_item.added", "output_index": 1, "item": {**call, "status": "in_progress"}},
        *(
            {
                "type": "response.function_call_arguments.delta",
                "item_id": "fc_1",
                "output_index": 1,
                "delta": ARGUMENTS[at : at + 7],
            }
            for at in range(0, len(ARGUMENTS), 7)
        ),
        {"type": "response.function_call_arguments.done", "item_id": "fc_1", "output_index": 1, "arguments": ARGUMENTS},
        {"type": "response.output_item.done", "output_index": 1, "item": done_call},
        {
            "type": "response.completed",
            "response": {**answer, "status": "completed", "output": [done_message, done_call], "usage": usage},
        },
    ]
    return tuple(named({**body, "sequence_number": number}) for number, body in enumerate(bodies))


_MADE = {
    "openai_chat": _openai_chat,
    "anthropic_messages": _anthropic_messages,
    "gemini": _gemini,
    "openai_responses": _openai_responses,
}


STREAMS = tuple(pytest.param(Stream(dialect, make()), id=dialect) for dialect, make in _MADE.items())
