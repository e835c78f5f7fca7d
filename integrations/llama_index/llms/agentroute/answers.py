"""Answers: ours as LlamaIndex has them, whole or streamed, and what a native model's answer says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    ChatResponse,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from agentroute.events import (
    Event,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    fold,
)
from agentroute.failover.effects import Done
from agentroute.formats import finish_reason
from agentroute.messages import ChatResponse as Answer
from agentroute.messages import Image, Reasoning, Text, ToolCall, Usage
from agentroute.targets import Target

from .blocks import write_extra
from .messages import EXTRAS, read_messages

__all__ = ["StreamWriter", "done_of", "has_content", "read_answer", "write_answer"]


def write_answer(answer: Answer, target: Target) -> ChatResponse:
    """A whole answer. Arguments of calls stay the text that the model wrote, as LlamaIndex's OpenAI model has them."""
    blocks: list[Any] = []
    calls: list[dict[str, Any]] = []
    extras: dict[str, dict[str, Any]] = {"texts": {}, "tool_calls": {}}
    texts = 0
    for part in answer.message.parts:
        match part:
            case Text():
                if extra := write_extra(part):
                    extras["texts"][str(texts)] = extra
                if part.text or extra:
                    texts += 1
                    blocks.append(TextBlock(text=part.text))
            case Reasoning():
                about = {
                    "signature": part.signature,
                    "origin": part.origin,
                    "redacted": part.redacted or None,
                    "extra": write_extra(part),
                }
                blocks.append(
                    ThinkingBlock(
                        content=part.text or None,
                        additional_information={key: value for key, value in about.items() if value is not None},
                    )
                )
            case ToolCall():
                if extra := write_extra(part):
                    extras["tool_calls"][part.id] = extra
                blocks.append(_call_block(part.id, part.name, part.arguments))
                calls.append(_call(part.id, part.name, part.arguments))
            case Image() if part.data is not None:
                blocks.append(ImageBlock(image=part.data.encode(), image_mimetype=part.media_type))
            case _:
                pass
    told: dict[str, Any] = {}
    if calls:
        told["tool_calls"] = calls
    kept: dict[str, Any] = {key: value for key, value in extras.items() if value}
    if answer.message.extra is not None:
        own = answer.message.extra
        kept["message"] = {"dialect": own.dialect, "fields": dict(own.fields), "origin": own.origin}
    if kept:
        told[EXTRAS] = kept
    raw = {"id": answer.id, "model": answer.model or target.model, "finish_reason": answer.finish_reason}
    usage = _write_usage(answer.usage)
    counts = {} if usage is None else {key: value for key, value in usage.items() if isinstance(value, int)}
    return ChatResponse(
        message=ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs=told),
        raw={**raw, "usage": usage},
        additional_kwargs=counts,
    )


class StreamWriter:
    """Turns our events into LlamaIndex's chunks: each holds the whole message so far, and what is new as `delta`."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._events: list[Event] = []
        self._text = ""
        self._thoughts = ""
        self._calls: dict[int, list[str]] = {}
        self._raw: dict[str, Any] = {"model": target.model}

    def write(self, event: Event) -> ChatResponse | None:
        """The chunk for an event, or None for one that `last` reports."""
        self._events.append(event)
        match event:
            case TextDelta() if event.text:
                self._text += event.text
                return self._chunk(event.text)
            case ReasoningDelta() if event.text:
                self._thoughts += event.text
                return self._chunk("", thinking_delta=event.text)
            case ToolCallStarted():
                self._calls[event.index] = [event.id, event.name, ""]
                return self._chunk("")
            case ToolCallDelta():
                self._calls[event.index][2] += event.arguments
                return self._chunk("")
            case Started():
                self._raw = {"id": event.id, "model": event.model or self._target.model}
        return None

    def _chunk(self, delta: str, **told: str) -> ChatResponse:
        blocks: list[Any] = [ThinkingBlock(content=self._thoughts)] if self._thoughts else []
        blocks.append(TextBlock(text=self._text))
        blocks += [_call_block(*call) for call in self._calls.values()]
        calls = [_call(*call) for call in self._calls.values()]
        return ChatResponse(
            message=ChatMessage(
                role=MessageRole.ASSISTANT, blocks=blocks, additional_kwargs={"tool_calls": calls} if calls else {}
            ),
            delta=delta,
            raw=dict(self._raw),
            additional_kwargs=told,
        )

    def last(self) -> ChatResponse:
        """The whole answer, with its usage and finish reason."""
        return write_answer(fold(self._events), self._target).model_copy(update={"delta": ""})


def _call_block(call_id: str, name: str, arguments: str) -> ToolCallBlock:
    return ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs=arguments or {})


def _call(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def _write_usage(usage: Usage | None) -> dict[str, Any] | None:
    """OpenAI's names, which LlamaIndex's TokenCountingHandler reads. What is not known is left out."""
    if usage is None:
        return None
    known: dict[str, Any] = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
    if usage.input_tokens is not None and usage.output_tokens is not None:
        known["total_tokens"] = usage.input_tokens + usage.output_tokens
    if usage.cache_read_tokens is not None:
        known["prompt_tokens_details"] = {"cached_tokens": usage.cache_read_tokens}
    if usage.reasoning_tokens is not None:
        known["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return {name: value for name, value in known.items() if value is not None} or None


# --- what a native answer says ---------------------------------------------------------------------------------------


def has_content(chunk: ChatResponse, before: ChatResponse | None) -> bool:
    """Whether a chunk brings part of an answer, so that no other model may follow it."""
    if chunk.delta or chunk.additional_kwargs.get("thinking_delta"):
        return True
    return _said(chunk) != (_said(before) if before is not None else (0, 0))


def _said(chunk: ChatResponse) -> tuple[int, int]:
    """How many calls, and how many characters of text, thoughts and arguments, the message holds."""
    calls = [block for block in chunk.message.blocks if isinstance(block, ToolCallBlock)]
    characters = sum(len(str(call.tool_kwargs)) for call in calls)
    for block in chunk.message.blocks:
        if isinstance(block, TextBlock):
            characters += len(block.text)
        elif isinstance(block, ThinkingBlock):
            characters += len(block.content or "")
    return len(calls) or len(chunk.message.additional_kwargs.get("tool_calls") or ()), characters


def done_of(chunk: ChatResponse) -> Done:
    """Usage and finish reason as a native model reported them in this answer or chunk; None for what it did not."""
    raw = _fields(chunk.raw)
    usage = _fields(raw.get("usage") or raw.get("usage_metadata") or chunk.additional_kwargs)
    return Done(_read_usage(usage), finish_reason(str(_finish(raw, chunk.additional_kwargs))))


def _finish(raw: Mapping[str, Any], told: Mapping[str, Any]) -> Any:
    choices = raw.get("choices")
    if choices:
        return _fields(choices[0]).get("finish_reason")
    return next((place[key] for place in (raw, told) for key in _FINISH_KEYS if place.get(key)), None)


_FINISH_KEYS = ("finish_reason", "stop_reason", "done_reason")
_INPUT = ("prompt_tokens", "input_tokens", "prompt_token_count")
_OUTPUT = ("completion_tokens", "output_tokens", "candidates_token_count")


def _read_usage(usage: Mapping[str, Any]) -> Usage | None:
    """Anthropic's `input_tokens` leave out what was read from or written to the cache; ours hold all."""
    given, put = _first(usage, _INPUT), _first(usage, _OUTPUT)
    if given is None and put is None:
        return None
    read = _number(_fields(usage.get("prompt_tokens_details")).get("cached_tokens"))
    written = None
    if "prompt_tokens" not in usage and "input_tokens" in usage:
        read, written = _number(usage.get("cache_read_input_tokens")), _number(usage.get("cache_creation_input_tokens"))
        given = None if given is None else given + (read or 0) + (written or 0)
    thought = _number(_fields(usage.get("completion_tokens_details")).get("reasoning_tokens"))
    return Usage(given, put, read, written, thought)


def _first(usage: Mapping[str, Any], names: tuple[str, ...]) -> int | None:
    return next((count for name in names if (count := _number(usage.get(name))) is not None), None)


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _fields(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    try:
        return dict(value or {})
    except (TypeError, ValueError):
        return getattr(value, "__dict__", {})


def read_answer(chunk: ChatResponse) -> Answer:
    """The answer as far as it had arrived: for the error that says it broke off, and for who hears the whole of it."""
    (message,) = read_messages([chunk.message], lambda _: None)
    done = done_of(chunk)
    return Answer(message, done.finish_reason, done.usage)
