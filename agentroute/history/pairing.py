"""Puts every tool result right behind its call, gives each call a legal id of its own, and fills what is missing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Final

from agentroute.messages import Message, Part, Text, ToolCall, ToolResult

from .changes import Changes
from .rules import Rules

__all__ = ["pair"]

_NO_RESULT: Final = "No result was recorded: the call was interrupted."
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"


@dataclass(slots=True)
class _Call:
    """A call in its place: `at` is the index of its message, `behind` that of the first message after its results."""

    part: ToolCall
    at: int
    behind: int
    id: str
    results: list[tuple[ToolResult, Message]] = field(default_factory=list)


def pair(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> tuple[Message, ...]:
    """The messages with each result right behind its call. Ids that are not legal or not unique are replaced.

    The new id depends on the old one and on the calls before it, never on what follows: the same conversation
    gets the same ids however long it grows. A result without a call becomes text of the user, a call without a result
    gets one that says so.
    """
    if _is_sound(messages, rules):
        return messages
    calls = _calls(messages, rules, changes)
    orphans = _assign(messages, calls, changes)
    by_message: dict[int, list[_Call]] = {}
    for call in calls:
        by_message.setdefault(call.at, []).append(call)
    found: list[Message] = []
    for index, message in enumerate(messages):
        if index in by_message:
            found.extend(_step(message, by_message[index], changes))
        elif message.role == "tool" or message.tool_results:
            found.extend(_rest(message, orphans.get(index, ()), changes))
        else:
            found.append(message)
    return tuple(found)


def _is_sound(messages: tuple[Message, ...], rules: Rules) -> bool:
    """Whether nothing has to be done, in one pass."""
    legal = rules.call_id.fullmatch
    seen: set[str] = set()
    waiting: dict[str, str] = {}
    for message in messages:
        if message.role == "tool":
            if not message.parts:
                return False
            for part in message.parts:
                if not isinstance(part, ToolResult):
                    return False
                name = waiting.pop(part.tool_call_id, None)
                if name is None or part.name not in (None, name):
                    return False
            continue
        if waiting:
            return False
        for part in message.parts:
            if isinstance(part, ToolResult):
                return False
            if isinstance(part, ToolCall):
                if part.id in seen or not legal(part.id):
                    return False
                seen.add(part.id)
                waiting[part.id] = part.name
    return not waiting


def _calls(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> list[_Call]:
    """Every call with the id that it gets."""
    found: list[_Call] = []
    taken: set[str] = set()
    for at, message in enumerate(messages):
        calls = message.tool_calls
        if not calls:
            continue
        behind = at + 1
        while behind < len(messages) and messages[behind].role == "tool":
            behind += 1
        for part in calls:
            new = part.id
            if part.id in taken:
                changes.add("the id of {} replaced: another call before it had the same", "call")
                new = _new_id(part.id, taken, rules)
            elif not rules.call_id.fullmatch(part.id):
                changes.add("the id of {} replaced: this provider refuses ids of that form", "call")
                new = _new_id(part.id, taken, rules)
            taken.add(new)
            found.append(_Call(part, at, behind, new))
    return found


def _new_id(old: str, taken: set[str], rules: Rules) -> str:
    """A legal id drawn from the old one; one more draw where an earlier call has it."""
    draw = 0
    while True:
        seed = f"{old}\x00{draw}".encode("utf-8", "surrogatepass")
        number = int.from_bytes(blake2b(seed, digest_size=16).digest())
        signs = []
        for _ in range(9):
            number, sign = divmod(number, len(_LETTERS))
            signs.append(_LETTERS[sign])
        short = "".join(signs)
        long = f"call_{short}"
        new = long if rules.call_id.fullmatch(long) else short
        if new not in taken:
            return new
        draw += 1


def _assign(messages: tuple[Message, ...], calls: list[_Call], changes: Changes) -> dict[int, list[ToolResult]]:
    """Gives each result to its call. What is left, by the index of its message, answers no call."""
    by_id: dict[str, list[_Call]] = {}
    for call in calls:
        by_id.setdefault(call.part.id, []).append(call)
    orphans: dict[int, list[ToolResult]] = {}
    for index, message in enumerate(messages):
        for result in message.tool_results:
            candidates = by_id.get(result.tool_call_id, [])
            answered = _answered_by(result, index, candidates)
            if answered is not None:
                answered.results.append((result, message))
                if not answered.at < index < answered.behind:
                    changes.add("{} moved behind the call it answers", "result")
            elif any(said.content == result.content for other in candidates for said, _ in other.results):
                changes.add("{} left out: the same stands there already", "result")
            else:
                orphans.setdefault(index, []).append(result)
    return orphans


def _answered_by(result: ToolResult, index: int, candidates: list[_Call]) -> _Call | None:
    """The call this result belongs to: the last one before it that waits, else the first one after it.

    Calls of one message that share an id are told apart by the name of the tool, then by their order.
    """
    waiting = [call for call in candidates if not call.results]
    before = [call for call in waiting if call.at < index]
    if before:
        step = [call for call in before if call.at == before[-1].at]
    elif waiting:
        step = [call for call in waiting if call.at == waiting[0].at]
    else:
        return None
    return next((call for call in step if call.part.name == result.name), step[0])


def _step(message: Message, calls: list[_Call], changes: Changes) -> Iterator[Message]:
    """What the assistant said with the ids that hold, then the result of each call."""
    ids = iter(calls)
    parts: list[Part] = []
    for part in message.parts:
        if isinstance(part, ToolCall):
            new = next(ids).id
            parts.append(part if new == part.id else replace(part, id=new))
        elif not isinstance(part, ToolResult):
            parts.append(part)
    kept = all(new is old for new, old in zip(parts, message.parts, strict=False)) and len(parts) == len(message.parts)
    yield message if kept else replace(message, parts=tuple(parts))
    for call in calls:
        if not call.results:
            changes.add("a result written for {}: none was recorded", "call")
            missing = ToolResult(call.id, (Text(_NO_RESULT),), is_error=True)
            yield Message("tool", (missing,))
        for result, source in call.results:
            name = result.name if result.name == call.part.name else None
            if result.name != name:
                changes.add("the name of {} left out: its call has another", "result")
            if (
                source.role == "tool"
                and source.parts == (result,)
                and (result.tool_call_id, result.name) == (call.id, name)
            ):
                yield source
            else:
                extra = source.extra if source.role == "tool" else None
                yield Message("tool", (replace(result, tool_call_id=call.id, name=name),), extra=extra)


def _rest(message: Message, orphans: list[ToolResult] | tuple[()], changes: Changes) -> Iterator[Message]:
    """What stays in place of a message with results: its other parts, and results that no call asked for, as text."""
    parts: list[Part] = [part for part in message.parts if not isinstance(part, ToolResult)]
    if parts and message.role == "tool":
        changes.add("words among the results of {} put into a message of the user", "message")
    for result in orphans:
        text = result.text.strip()
        files = [part for part in result.content if not isinstance(part, Text)]
        if not text and not files:
            changes.add("{} left out: it is empty, and no call asked for it", "result")
            continue
        changes.add("{} turned into text of the user: no call asked for it", "result")
        tool = f"`{result.name}`" if result.name else "a tool"
        parts += [Text(f"Result of {tool}, called earlier: {text}"), *files]
    if parts:
        role = "user" if message.role == "tool" else message.role
        yield Message(role, tuple(parts), message.name, None if message.role == "tool" else message.extra)
