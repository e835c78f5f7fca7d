"""Which model's hidden reasoning a conversation carries right now, and how much of it another model could not use."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from agentroute.messages import Audio, ChatRequest, Document, Extra, Image, Message, Reasoning, Text, ToolCall

__all__ = ["STATE_FIELDS", "LiveState", "live_state"]

STATE_FIELDS: Final = frozenset({"thoughtSignature", "reasoning_details", "encrypted_content", "signature"})
"""Unknown fields that hold reasoning only their model can read.

Gemini's thought signatures (on calls and texts), OpenRouter's reasoning_details, the encrypted reasoning of OpenAI
Responses, Anthropic's signatures; read in recorded traffic and the official SDK types, 2026-11.
"""


@dataclass(frozen=True, slots=True)
class LiveState:
    """`origin` (`provider/model`) alone can go on with what it was thinking; `chars` is what the others would lose.

    `chars` counts reasoning text since the user last spoke; where only its encrypted form is there, the bytes of that
    (three for four characters of base64).
    """

    origin: str
    chars: int


def live_state(request: ChatRequest) -> LiveState | None:
    """The reasoning that would be lost if another model took the next step; None outside a tool loop, or without any.

    >>> from agentroute.messages import Message, ToolResult
    >>> thought = Reasoning("Two cities, two calls.", "c2ln", "anthropic/claude-sonnet-5")
    >>> asked = Message("user", (Text("Weather in Rome?"),))
    >>> call = Message("assistant", (thought, ToolCall("t1", "weather", "{}")))
    >>> result = Message("tool", (ToolResult("t1", (Text("sunny"),)),))
    >>> live_state(ChatRequest((asked, call, result)))
    LiveState(origin='anthropic/claude-sonnet-5', chars=22)
    """
    messages = request.messages
    if not messages or messages[-1].role != "tool":
        return None
    origin: str | None = None
    chars = 0
    for message in reversed(messages):
        if message.role == "user" and any(isinstance(part, Text | Image | Document | Audio) for part in message.parts):
            break
        if message.role != "assistant":
            continue
        held = list(_states(message))
        if origin is None:
            origin = next((name for name, _ in held), None)
            if origin is None:
                return None
        chars += sum(size for name, size in held if name == origin)
    return None if origin is None else LiveState(origin, chars)


def _states(message: Message) -> Iterator[tuple[str, int]]:
    """The origin and size of each piece of reasoning that is bound to its model."""
    for part in message.parts:
        if isinstance(part, Reasoning):
            if part.signature is not None and part.origin is not None:
                yield part.origin, len(part.text) or _bytes(part.signature)
            else:
                yield from _in(part.extra, len(part.text))
        elif isinstance(part, Text | ToolCall):
            yield from _in(part.extra, 0)
    yield from _in(message.extra, 0)


def _in(extra: Extra | None, readable: int) -> Iterator[tuple[str, int]]:
    if extra is None or extra.origin is None:
        return
    for name in STATE_FIELDS & extra.fields.keys():
        value = extra.fields[name]
        yield extra.origin, readable or _bytes(value if isinstance(value, str) else "")


def _bytes(encoded: str) -> int:
    return len(encoded) * 3 // 4
