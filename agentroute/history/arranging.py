"""Puts the messages into an order that the receiving model takes: system, first turn, files, taking turns."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from agentroute.messages import Document, Image, Message, Part, Text, ToolCall, ToolResult

from .changes import Changes
from .rules import Rules

__all__ = ["arrange"]

_BEGIN: Final = Message("user", (Text("(The conversation begins.)"),))
_BRIDGE: Final = Message("assistant", (Text("OK."),))
_SYSTEM: Final = ("system", "developer")


def arrange(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> tuple[Message, ...]:
    """The messages in an order that is taken; nothing is lost on the way."""
    found: Iterable[Message] = messages
    if rules.system_first:
        found = _system_first(found, changes)
    if not rules.result_files and any(_has_files(part) for message in messages for part in message.parts):
        found = _files_behind(found, changes)
    if rules.dialect == "anthropic_messages":
        found = _no_trailing_space(list(found), changes)
    held = list(found)
    _begin(held, rules, changes)
    if rules.strict_turns:
        held = _take_turns(held, changes)
    if len(held) == len(messages) and all(new is old for new, old in zip(held, messages, strict=True)):
        return messages
    return tuple(held)


def _system_first(messages: Iterable[Message], changes: Changes) -> list[Message]:
    """System messages after the first turn, as text of the user in their place.

    At the front they would change the beginning of the conversation, so that no cache of it holds any more, and would
    speak of what has not been said yet.
    """
    found: list[Message] = []
    leading = True
    for message in messages:
        leading = leading and message.role in _SYSTEM
        if leading or message.role not in _SYSTEM:
            found.append(message)
            continue
        changes.add(
            "{} after the first turn turned into text of the user: system stands only at the beginning", "message"
        )
        marked = (Text("<system>"), *message.parts, Text("</system>"))
        if len(message.parts) == 1 and isinstance(message.parts[0], Text):
            only = message.parts[0]
            marked = (Text(f"<system>\n{only.text}\n</system>", only.extra),)
        found.append(Message("user", marked, extra=message.extra))
    return found


def _has_files(part: Part) -> bool:
    return type(part) is ToolResult and any(type(held) is not Text for held in part.content)


_KINDS: Final = ((Image, "picture"), (Document, "document"))


def _files_behind(messages: Iterable[Message], changes: Changes) -> list[Message]:
    """Pictures and documents out of results into a message of the user, behind all results of the step."""
    found: list[Message] = []
    files: list[Part] = []
    for message in messages:
        if message.role != "tool":
            if files:
                found.append(Message("user", tuple(files)))
                files = []
            found.append(message)
            continue
        parts: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult) and _has_files(part):
                files.append(Text(f"From the result of {part.tool_call_id}:"))
                files += [held for held in part.content if not isinstance(held, Text)]
                texts = [held for held in part.content if isinstance(held, Text)]
                for kind, word in _KINDS:
                    if any(isinstance(held, kind) for held in part.content):
                        changes.add(
                            f"the {word}s of {{}} put into a message of the user: results hold text only here", "result"
                        )
                        texts.append(Text(f"({word}: see the next message of the user)"))
                parts.append(replace(part, content=tuple(texts)))
            else:
                parts.append(part)
        if all(new is old for new, old in zip(parts, message.parts, strict=True)):
            found.append(message)
        else:
            found.append(replace(message, parts=tuple(parts)))
    if files:
        found.append(Message("user", tuple(files)))
    return found


def _no_trailing_space(messages: list[Message], changes: Changes) -> list[Message]:
    """The words put into the assistant's mouth, which must not end in white space."""
    last = messages[-1] if messages else None
    if last is None or last.role != "assistant" or not last.parts:
        return messages
    end = last.parts[-1]
    if isinstance(end, Text) and end.text != end.text.rstrip():
        changes.add("white space at the end of {} left out: it is refused there", "message")
        messages[-1] = replace(last, parts=(*last.parts[:-1], replace(end, text=end.text.rstrip())))
    return messages


def _begin(messages: list[Message], rules: Rules, changes: Changes) -> None:
    """The user's first turn, where there has to be one."""
    start = 0
    if rules.user_first:
        start = next((at for at, message in enumerate(messages) if message.role not in _SYSTEM), len(messages))
        if start < len(messages) and messages[start].role == "user":
            return
    elif any(message.role not in _SYSTEM for message in messages) or (messages and rules.blank_text):
        return
    changes.add("{} of the user put at the beginning: the user has to speak first", "message")
    messages.insert(start, _BEGIN)


def _take_turns(messages: list[Message], changes: Changes) -> list[Message]:
    """Neighbours of one role as one message, and a word of the assistant between a result and the user."""
    found: list[Message] = []
    for message in messages:
        before = found[-1] if found else None
        if before is not None and _one_turn(before, message):
            changes.add("{} joined with the one before: two of one role in a row are refused", "message")
            name = before.name if before.name == message.name else None
            found[-1] = replace(
                before, parts=_joined(before.parts, message.parts), name=name, extra=before.extra or message.extra
            )
            continue
        if before is not None and before.role == "tool" and message.role == "user":
            changes.add('"OK." of the assistant put between a result and {}: the two in a row are refused', "message")
            found.append(_BRIDGE)
        found.append(message)
    return found


def _one_turn(before: Message, message: Message) -> bool:
    if before.role in _SYSTEM:
        return message.role in _SYSTEM
    if any(isinstance(part, ToolCall) for part in before.parts):
        return False
    return before.role == message.role and message.role != "tool"


def _joined(before: tuple[Part, ...], after: tuple[Part, ...]) -> tuple[Part, ...]:
    """The parts of both; texts that meet become one of two paragraphs, since some templates read nothing but a text."""
    if before and after and type(before[-1]) is type(after[0]) is Text:
        end, start = before[-1], after[0]
        if isinstance(end, Text) and isinstance(start, Text) and end.extra is None and start.extra is None:
            return (*before[:-1], Text(f"{end.text}\n\n{start.text}"), *after[1:])
    return (*before, *after)
