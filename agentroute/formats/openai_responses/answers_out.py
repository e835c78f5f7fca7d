"""The server side: answers and streams as a client of the dialect reads them."""

from __future__ import annotations

import json
import secrets
from collections.abc import Generator, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final

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
from agentroute.formats.openai_chat.answers_out import error_object
from agentroute.formats.openai_chat.fields import digest
from agentroute.formats.signatures import wrap
from agentroute.formats.sse import encode_event
from agentroute.messages import ChatResponse, FinishReason, Message, Part, Reasoning, Usage

from .fields import INPUT_OF, MADE_UP, known_fields
from .requests_out import encode_items

__all__ = ["StreamEncoder", "encode_response"]


def encode_response(response: ChatResponse, *, model: str | None = None, created: int | None = None) -> dict[str, Any]:
    """A `response` object. Ids that the dialect demands and nobody gave are made up; `created_at` is 0 where it is not
    known. An answer whose end is not known is `incomplete` for no reason. A usage of which one half is not known is
    null; of a whole one the dialect demands the details too, and they are 0 where they are not known."""
    head = _head(response.id, model or response.model, created)
    return {
        **head,
        **_state(response.finish_reason),
        "output": list(_items(response.message, head["id"])),
        "usage": _usage(response.usage),
    }


def _head(answer_id: str | None, model: str | None, created: int | None) -> dict[str, Any]:
    return {
        "id": answer_id or f"resp_{secrets.token_hex(12)}",
        "object": "response",
        "created_at": created or 0,
        "model": model or "unknown",
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
        "error": None,
        "instructions": None,
        "metadata": {},
        "temperature": None,
        "top_p": None,
    }


def _state(reason: FinishReason | None) -> dict[str, Any]:
    if reason in ("stop", "tool_calls"):
        return {"status": "completed", "incomplete_details": None}
    why = {"length": "max_output_tokens", "content_filter": "content_filter"}.get(reason or "")
    return {"status": "incomplete", "incomplete_details": None if why is None else {"reason": why}}


def _made_up(kind: str, answer_id: str, number: int) -> str:
    """An id for an item of this answer: no other item of the conversation may have it."""
    return f"{kind}{MADE_UP}{digest(answer_id)}_{number}"


def _items(message: Message, answer_id: str) -> Iterator[dict[str, Any]]:
    shown = replace(message, parts=tuple(_handed_out(part) for part in message.parts))
    for number, item in enumerate(encode_items(shown, {}, alone=True)):
        kind = _PREFIX.get(item["type"], "item")
        yield {"id": _made_up(kind, answer_id, number), **item}


def _handed_out(part: Part) -> Part:
    """Signatures as a client gets them; reasoning without one keeps its text as a summary."""
    if isinstance(part, Reasoning):
        return replace(part, signature=wrap(part.signature or "", part.origin or "unknown"), origin=None)
    return part


def _usage(usage: Usage | None) -> dict[str, Any] | None:
    if usage is None or usage.input_tokens is None or usage.output_tokens is None:
        return None
    sent, written = usage.input_tokens, usage.output_tokens
    return {
        "input_tokens": sent,
        "input_tokens_details": {
            "cached_tokens": usage.cache_read_tokens or 0,
            "cache_write_tokens": usage.cache_write_tokens or 0,
        },
        "output_tokens": written,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
        "total_tokens": sent + written,
    }


_PREFIX: Final = {"message": "msg", "function_call": "fc", "custom_tool_call": "ctc", "reasoning": "rs"}
"""How the id of an item of each type begins."""

_SAYS: Final = {
    "function_call": "response.function_call_arguments",
    "custom_tool_call": "response.custom_tool_call_input",
}
"""The events that tell what a tool is given."""


class StreamEncoder:
    """Writes one streamed answer. Words and arguments go out as they come; calls end with the answer, since pieces of
    several may come in turns."""

    def __init__(self, *, model: str | None = None, created: int | None = None) -> None:
        self._model = model
        self._created = created
        self._head: dict[str, Any] = {}
        self._number = 0
        self._output: list[dict[str, Any]] = []
        self._open: int | None = None
        self._calls: dict[int, int] = {}
        self._usage: Usage | None = None

    def encode(self, event: Event) -> bytes:
        """The server-sent events that say this one."""
        return b"".join(self._say(event))

    def error(self, error: AgentRouteError) -> bytes:
        """An `error` event, which ends the stream."""
        return self._sse("error", error_object(error))

    def _say(self, event: Event) -> Iterator[bytes]:
        if not self._head:
            yield from self._start(event if isinstance(event, Started) else Started())
        match event:
            case UsageReported():
                self._usage = event.usage
            case TextDelta():
                yield from self._text(event)
            case ReasoningDelta():
                yield from self._thought(event.text)
            case ReasoningSignature():
                yield from self._sealed(event)
            case ToolCallStarted():
                yield from self._close()
                spare = known_fields(event.extra)
                kind = spare.get("type", "function_call")
                call = {"type": kind, "call_id": event.id, "name": event.name, INPUT_OF[kind]: ""}
                self._calls[event.index] = len(self._output)
                yield self._add({"id": self._new_id(_PREFIX[kind]), **call, **spare, "status": "in_progress"})
            case ToolCallDelta():
                at = self._calls[event.index]
                kind = self._output[at]["type"]
                self._output[at][INPUT_OF[kind]] += event.arguments
                yield self._sse(f"{_SAYS[kind]}.delta", {**self._place(at), "delta": event.arguments})
            case Finished():
                yield from self._end(event)

    def _start(self, event: Started) -> Iterator[bytes]:
        self._head = _head(event.id, self._model or event.model, self._created)
        begun = {**self._head, "status": "in_progress", "incomplete_details": None, "output": [], "usage": None}
        yield self._sse("response.created", {"response": begun})
        yield self._sse("response.in_progress", {"response": begun})

    def _text(self, event: TextDelta) -> Iterator[bytes]:
        spare = known_fields(event.extra)
        kind = spare.get("type")
        if kind is not None and kind != "refusal":
            yield from self._close()
            item = {"id": self._new_id("item"), **spare}
            yield self._add(item)
            yield self._sse("response.output_item.done", {"output_index": len(self._output) - 1, "item": item})
            return
        if not event.text:
            return
        if kind == "refusal":
            yield from self._close()
        at = yield from self._begin("message", "msg", {"role": "assistant", "status": "in_progress", "content": []})
        content = self._output[at]["content"]
        place = {**self._place(at), "content_index": 0}
        part: dict[str, Any]
        if kind == "refusal":
            part = {"type": "refusal", "refusal": ""}
            if not content:
                content.append(part)
                yield self._sse("response.content_part.added", {**place, "part": dict(part)})
            content[0]["refusal"] += event.text
            yield self._sse("response.refusal.delta", {**place, "delta": event.text})
            yield from self._close()
            return
        if not content:
            part = {"type": "output_text", "text": "", "annotations": []}
            content.append(part)
            yield self._sse("response.content_part.added", {**place, "part": dict(part)})
        content[0]["text"] += event.text
        yield self._sse("response.output_text.delta", {**place, "delta": event.text, "logprobs": []})

    def _thought(self, text: str) -> Iterator[bytes]:
        if not text:
            return
        at = yield from self._begin("reasoning", "rs", {"summary": []})
        summary = self._output[at]["summary"]
        place = {**self._place(at), "summary_index": 0}
        if not summary:
            summary.append({"type": "summary_text", "text": ""})
            yield self._sse("response.reasoning_summary_part.added", {**place, "part": dict(summary[0])})
        summary[0]["text"] += text
        yield self._sse("response.reasoning_summary_text.delta", {**place, "delta": text})

    def _sealed(self, event: ReasoningSignature) -> Iterator[bytes]:
        at = yield from self._begin("reasoning", "rs", {"summary": []})
        if event.signature is not None:
            self._output[at]["encrypted_content"] = wrap(event.signature, event.origin)
        yield from self._close()

    def _begin(self, kind: str, prefix: str, fields: Mapping[str, Any]) -> Generator[bytes, None, int]:
        """The position of the open item, which is begun where it is of another kind."""
        if self._open is not None and self._output[self._open]["type"] == kind:
            return self._open
        yield from self._close()
        at = len(self._output)
        yield self._add({"type": kind, "id": self._new_id(prefix), **fields})
        self._open = at
        return at

    def _new_id(self, kind: str) -> str:
        return _made_up(kind, self._head["id"], len(self._output))

    def _add(self, item: dict[str, Any]) -> bytes:
        self._output.append(item)
        shown = json.loads(json.dumps(item))
        return self._sse("response.output_item.added", {"output_index": len(self._output) - 1, "item": shown})

    def _close(self) -> Iterator[bytes]:
        """Ends the open item of words or thoughts."""
        at, self._open = self._open, None
        if at is None:
            return
        item, place = self._output[at], self._place(at)
        if item["type"] == "message":
            part = item["content"][0]
            place["content_index"] = 0
            if part["type"] == "output_text":
                yield self._sse("response.output_text.done", {**place, "text": part["text"], "logprobs": []})
            else:
                yield self._sse("response.refusal.done", {**place, "refusal": part["refusal"]})
            yield self._sse("response.content_part.done", {**place, "part": part})
            item["status"] = "completed"
        elif item["summary"]:
            part = item["summary"][0]
            place["summary_index"] = 0
            yield self._sse("response.reasoning_summary_text.done", {**place, "text": part["text"]})
            yield self._sse("response.reasoning_summary_part.done", {**place, "part": part})
        yield self._sse("response.output_item.done", {"output_index": at, "item": item})

    def _end(self, event: Finished) -> Iterator[bytes]:
        yield from self._close()
        for at in self._calls.values():
            item = self._output[at]
            item["status"] = "completed"
            kind = item["type"]
            done = {**self._place(at), "name": item["name"], INPUT_OF[kind]: item[INPUT_OF[kind]]}
            yield self._sse(f"{_SAYS[kind]}.done", done)
            yield self._sse("response.output_item.done", {"output_index": at, "item": item})
        state = _state(event.finish_reason)
        whole = {
            **self._head,
            **state,
            "output": self._output,
            "usage": _usage(self._usage),
        }
        yield self._sse(f"response.{state['status']}", {"response": whole})

    def _place(self, at: int) -> dict[str, Any]:
        return {"item_id": self._output[at]["id"], "output_index": at}

    def _sse(self, kind: str, fields: Mapping[str, Any]) -> bytes:
        data = {**fields, "type": kind, "sequence_number": self._number}
        self._number += 1
        return encode_event(data, kind)
