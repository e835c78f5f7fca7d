"""What has to be put right in a conversation for a framework's ready model, message by message."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from operator import is_
from typing import TypeVar

from agentroute.messages import Message, Reasoning, ToolResult
from agentroute.providers import PROVIDERS
from agentroute.targets import Target

from .arranging import arrange
from .changes import Changes
from .cleaning import clean, is_plain
from .pairing import pair
from .rules import Rules

__all__ = ["Mended", "mend"]

Own = TypeVar("Own")


@dataclass(frozen=True, slots=True)
class Mended:
    """Each message with its place before (None: it is new, or changed), and in words what was done."""

    messages: tuple[tuple[Message, int | None], ...]
    changes: tuple[str, ...] = ()

    def written(self, own: Sequence[Own], write: Callable[[Message], Own]) -> list[Own]:
        """The conversation in the framework's form: its own messages where they stay as they are, the others anew."""
        return [write(message) if at is None else own[at] for message, at in self.messages]


def mend(messages: tuple[Message, ...], target: Target, opaque: Container[int] = ()) -> Mended | None:
    """The conversation as the provider behind a ready model takes it, or None if nothing has to be done.

    As `repair` does for targets of ours: results behind their calls, ids, a first turn of the user's, empty messages.
    What the framework's integration sees to by itself stays: reasoning, unknown fields, files in results, and turns of
    one role. `opaque` are the places of messages that hold more than canonical parts can tell; none of them is empty.
    """
    rules, changes = _rules(target.provider, target.model), Changes()
    kept = messages if all(map(is_plain, messages)) else tuple(_said(messages, rules, changes, opaque))
    found = arrange(pair(kept, rules, changes), rules, changes)
    if found is messages or (len(found) == len(messages) and all(map(is_, found, messages))):
        return None
    places = {id(message): at for at, message in enumerate(messages)}
    placed = ((message, places.get(id(message))) for message in found)
    return Mended(tuple(_named(placed)), changes.words())


def _named(placed: Iterable[tuple[Message, int | None]]) -> Iterator[tuple[Message, int | None]]:
    """New results bear the name of the tool: some integrations have no other way to tell Gemini which one answers."""
    names: dict[str, str] = {}
    for message, at in placed:
        names |= {call.id: call.name for call in message.tool_calls}
        if at is None and message.role == "tool":
            parts = [
                replace(part, name=part.name or names.get(part.tool_call_id)) if isinstance(part, ToolResult) else part
                for part in message.parts
            ]
            message = replace(message, parts=tuple(parts))
        yield message, at


@lru_cache(maxsize=256)
def _rules(provider: str, model: str) -> Rules:
    """Those of the dialect that the provider is usually called in; an unknown provider is taken for one like OpenAI."""
    known = PROVIDERS.get(provider)
    dialect = "openai_chat" if known is None else known.endpoint().dialect
    rules = Rules.of(Target(provider=provider, model=model, tier="mid", dialect=dialect))
    return replace(rules, result_files=True, assistant_files=True, strict_turns=False)


def _said(messages: tuple[Message, ...], rules: Rules, changes: Changes, opaque: Container[int]) -> Iterator[Message]:
    for at, message in enumerate(messages):
        if at in opaque or message.extra is not None or any(_bears_more(part) for part in message.parts):
            yield message
        else:
            yield from clean((message,), rules, changes)


def _bears_more(part: object) -> bool:
    return isinstance(part, Reasoning) or getattr(part, "extra", None) is not None
