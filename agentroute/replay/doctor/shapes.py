"""What a prompt is made of, as hashes and sizes: two of them tell where the later one ceased to begin like the earlier.

Hashes are Python's own and never leave the process; no text is kept.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from agentroute.messages import Audio, ChatRequest, Document, Image, Message, Reasoning, Text, ToolCall, ToolResult
from agentroute.routing.roles import sketch

from .findings import Kind

__all__ = ["Difference", "Shape", "difference"]

_SKETCHED: Final = 2
"""Messages after the system messages whose sketch is kept too: where programs put the time of day and the like."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A request: a hash for each tool and its name, for each message, and the characters up to each message's end.

    `sketches` are hashes of the first messages without what changes by itself. `choice`: the tool choice.
    """

    tools: tuple[int, ...]
    names: tuple[int, ...]
    messages: array[int]
    ends: array[int]
    tools_chars: int
    n_system: int
    sketches: tuple[int, ...]
    choice: int

    @classmethod
    def of(cls, request: ChatRequest, sketches: dict[int, int]) -> Shape:
        """`sketches` holds what was made before, so that no message is sketched twice."""
        schemas = [(tool.name, tool.description, str(tool.parameters)) for tool in request.tools]
        messages, ends = array("q"), array("q")
        chars = tools_chars = sum(len(text) for schema in schemas for text in schema)
        n_system = 0
        for at, message in enumerate(request.messages):
            if message.role in ("system", "developer") and at == n_system:
                n_system += 1
            texts = list(_texts(message))
            chars += sum(map(len, texts))
            messages.append(hash((message.role, *texts)))
            ends.append(chars)
        first = request.messages[: n_system + _SKETCHED]
        return cls(
            tools=tuple(map(hash, schemas)),
            names=tuple(hash(tool.name) for tool in request.tools),
            messages=messages,
            ends=ends,
            tools_chars=tools_chars,
            n_system=n_system,
            sketches=tuple(_sketch(message, sketches) for message in first),
            choice=0 if request.tool_choice is None else hash(request.tool_choice),
        )

    def share(self, position: int) -> float:
        """How much of the prompt stands before this message (from 0), by characters."""
        whole = self.ends[-1] if self.ends else 0
        before = self.ends[position - 1] if position else self.tools_chars
        return before / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Difference:
    """Where a prompt ceased to begin like the one before: at a tool or message (`position`, from 1), and how much of it
    stands before that (`share`)."""

    kind: Kind
    position: int
    share: float


def difference(before: Shape, now: Shape) -> Difference | None:
    """The first place at which `now` does not go on as `before` began; None if it begins with all of it."""
    if before.tools != now.tools:
        at = _first(lambda i: before.tools[i] != now.tools[i], min(len(before.tools), len(now.tools)))
        kind: Kind = "tool_order" if sorted(before.tools) == sorted(now.tools) else "tools_changed"
        if kind == "tools_changed" and before.names == now.names:
            kind = "tool_schema_changed"
        return Difference(kind, at + 1, 0.0)
    common = min(len(before.messages), len(now.messages))
    at = _first(lambda i: before.messages[i] != now.messages[i], common)
    if at == len(before.messages) or (at == common and at < len(before.messages)):
        return None  # it begins with all of it, or is a part of it
    return Difference(_kind(before, now, at), at + 1, now.share(at))


def _kind(before: Shape, now: Shape, at: int) -> Kind:
    system = at < max(before.n_system, now.n_system)
    if not system and (len(now.messages) < len(before.messages) or _is_cut(before, now, at)):
        return "history_cut"
    known = at < min(len(before.sketches), len(now.sketches))
    if known and before.sketches[at] == now.sketches[at]:
        return "volatile_text"
    return "system_changed" if system else "message_changed"


def _is_cut(before: Shape, now: Shape, at: int) -> bool:
    """Whether what stood in the earlier prompt after a hole goes on here: messages were left out, none was changed."""
    here = now.messages[at]
    return any(before.messages[place] == here for place in range(at + 1, len(before.messages)))


def _sketch(message: Message, known: dict[int, int]) -> int:
    texts = tuple(_texts(message))
    key = hash(texts)
    if key not in known:
        if len(known) >= _MOST_SKETCHES:
            known.clear()
        known[key] = hash(" ".join(map(sketch, texts)))
    return known[key]


_MOST_SKETCHES: Final = 10_000


def _first(differs: Callable[[int], bool], end: int) -> int:
    return next((i for i in range(end) if differs(i)), end)


def _texts(message: Message) -> Iterator[str]:
    """What of a message a provider reads, as texts. Thoughts are left out: of earlier turns none is read again."""
    for part in message.parts:
        if isinstance(part, Text):
            yield part.text
        elif isinstance(part, ToolCall):
            yield part.name
            yield part.arguments
        elif isinstance(part, ToolResult):
            for held in part.content:
                yield held.text if isinstance(held, Text) else _file(held)
        elif not isinstance(part, Reasoning):
            yield _file(part)


def _file(part: Image | Document | Audio) -> str:
    return part.url or part.data or ""
