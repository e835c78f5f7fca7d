"""A streamed answer as typed events, and the one function that adds them up: fold(events) == response."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from .messages import (
    Audio,
    ChatResponse,
    Document,
    Extra,
    FinishReason,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)

__all__ = [
    "Event",
    "Finished",
    "ReasoningDelta",
    "ReasoningSignature",
    "Started",
    "TextDelta",
    "ToolCallDelta",
    "ToolCallStarted",
    "UsageReported",
    "fold",
    "is_content",
    "unfold",
]


@dataclass(frozen=True, slots=True)
class Started:
    """The provider accepted the call and named itself. Not content: a fallback may still follow.

    It comes again, with all that is known, if the provider tells its id or model only in the middle of the answer.
    """

    id: str | None = None
    model: str | None = None
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text. One with an `extra` is a part of its own."""

    text: str
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class ReasoningDelta:
    """A piece of what the model thinks."""

    text: str


@dataclass(frozen=True, slots=True)
class ReasoningSignature:
    """The opaque signature that closes the reasoning so far; `redacted` reasoning has a signature and no text."""

    signature: str | None
    origin: str | None = None
    redacted: bool = False
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class ToolCallStarted:
    """The model begins a call; `index` ties the deltas to it."""

    index: int
    id: str
    name: str
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class ToolCallDelta:
    """A piece of a call's arguments (JSON text)."""

    index: int
    arguments: str


@dataclass(frozen=True, slots=True)
class UsageReported:
    """The provider's own count so far; the last one holds."""

    usage: Usage


@dataclass(frozen=True, slots=True)
class Finished:
    """The answer is complete; why, where the provider said so. A stream without this event is not a finished answer.

    `extra` holds the unknown fields of the message as a whole.
    """

    finish_reason: FinishReason | None = None
    native_finish_reason: str | None = None
    extra: Extra | None = None


Event: TypeAlias = (
    Started
    | TextDelta
    | ReasoningDelta
    | ReasoningSignature
    | ToolCallStarted
    | ToolCallDelta
    | UsageReported
    | Finished
)


def is_content(event: Event) -> bool:
    """Whether the caller has seen part of an answer once this event is passed on (no fallback after it)."""
    match event:
        case TextDelta() | ReasoningDelta():
            return bool(event.text)
        case ToolCallStarted() | ToolCallDelta() | ReasoningSignature():
            return True
        case _:
            return False


def fold(events: Iterable[Event]) -> ChatResponse:
    """Adds a stream up to the response it stands for; a stream that broke off gives what had arrived.

    >>> fold([TextDelta("hel"), TextDelta("lo"), Finished("stop")]).text
    'hello'
    """
    started = Started()
    usage: Usage | None = None
    finished = Finished()
    parts: list[Part] = []
    texts: list[str] = []
    thoughts: list[str] = []
    calls: dict[int, tuple[int, ToolCallStarted, list[str]]] = {}

    def close_text() -> None:
        if texts:
            parts.append(Text("".join(texts)))
            texts.clear()

    def close_reasoning(signature: ReasoningSignature | None = None) -> None:
        if signature is not None:
            parts.append(
                Reasoning("".join(thoughts), signature.signature, signature.origin, signature.redacted, signature.extra)
            )
        elif thoughts:
            parts.append(Reasoning("".join(thoughts)))
        thoughts.clear()

    for event in events:
        match event:
            case TextDelta():
                close_reasoning()
                if event.extra is not None:
                    close_text()
                    parts.append(Text(event.text, event.extra))
                elif event.text:
                    texts.append(event.text)
            case ReasoningDelta():
                close_text()
                if event.text:
                    thoughts.append(event.text)
            case ReasoningSignature():
                close_text()
                close_reasoning(event)
            case ToolCallStarted():
                close_text()
                close_reasoning()
                calls[event.index] = (len(parts), event, [])
                parts.append(ToolCall(event.id, event.name, "", event.extra))
            case ToolCallDelta():
                calls[event.index][2].append(event.arguments)
            case Started():
                started = event
            case UsageReported():
                usage = event.usage
            case Finished():
                finished = event
    close_text()
    close_reasoning()
    for at, call, pieces in calls.values():
        parts[at] = ToolCall(call.id, call.name, "".join(pieces), call.extra)
    return ChatResponse(
        message=Message("assistant", tuple(parts), extra=finished.extra),
        finish_reason=finished.finish_reason,
        native_finish_reason=finished.native_finish_reason,
        usage=usage,
        model=started.model,
        id=started.id,
        extra=started.extra,
    )


def unfold(response: ChatResponse) -> Iterator[Event]:
    """The shortest stream that folds to this response: neighbouring plain texts become one, an empty one is dropped."""
    yield Started(response.id, response.model, response.extra)
    parts = response.message.parts
    for index, part in enumerate(parts):
        match part:
            case Text():
                if part.text or part.extra is not None:
                    yield TextDelta(part.text, part.extra)
            case Reasoning():
                if part.text:
                    yield ReasoningDelta(part.text)
                follows = parts[index + 1] if index + 1 < len(parts) else None
                if part != Reasoning(part.text) or not part.text or isinstance(follows, Reasoning):
                    yield ReasoningSignature(part.signature, part.origin, part.redacted, part.extra)
            case ToolCall():
                yield ToolCallStarted(index, part.id, part.name, part.extra)
                if part.arguments:
                    yield ToolCallDelta(index, part.arguments)
            case Image() | Document() | Audio() | ToolResult():
                raise TypeError(f"a response cannot hold a {type(part).__name__}")
    if response.usage is not None:
        yield UsageReported(response.usage)
    yield Finished(response.finish_reason, response.native_finish_reason, response.message.extra)
