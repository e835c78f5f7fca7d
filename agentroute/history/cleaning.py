"""Takes out of single messages what the receiving model must not see: foreign reasoning and fields, empty texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeVar

from agentroute.formats.foreign import foreign_part
from agentroute.formats.forms import form_of
from agentroute.messages import Audio, Document, Extra, Image, Message, Part, Reasoning, Text, ToolCall, ToolResult
from agentroute.routing.reasoning_state import STATE_FIELDS

from .changes import Changes
from .rules import Rules

__all__ = ["clean", "is_plain"]

_P = TypeVar("_P", bound=Text | Image | Document | Audio | ToolCall | ToolResult)

_EMPTY: Final = "(empty message)"
_SHOWN: Final[Mapping[type, tuple[str, str]]] = {
    Image: ("(an image)", "images"),
    Document: ("(a document)", "documents"),
    Audio: ("(a recording)", "recordings"),
}
"""What stands for a file of the assistant's, and how several are called."""


def clean(messages: tuple[Message, ...], rules: Rules, changes: Changes) -> tuple[Message, ...]:
    """The messages without what is another model's, and without those of which nothing is left."""
    found = [message if is_plain(message) else _clean_message(message, rules, changes) for message in messages]
    if all(new is old for new, old in zip(found, messages, strict=True)):
        return messages
    return tuple(message for message in found if message is not None)


def is_plain(message: Message) -> bool:
    """Whether there is nothing to look for, as in most messages: words, calls and results, and no more."""
    if message.extra is not None or not message.parts:
        return False
    for part in message.parts:
        if part.extra is not None:
            return False
        if isinstance(part, Text):
            if not part.text or part.text.isspace():
                return False
        elif isinstance(part, ToolResult):
            for held in part.content:
                if held.extra is not None or type(held) is not Text or not held.text or held.text.isspace():
                    return False
        elif not isinstance(part, ToolCall):
            return False
    return True


def _clean_message(message: Message, rules: Rules, changes: Changes) -> Message | None:
    seen: dict[tuple[str, str], None] = {}
    kept: list[Part] = []
    same, blank = True, False
    for part in message.parts:
        if type(part) is Text and part.extra is None:
            new: Part | None = part if _is_said(part.text, message, rules) else None
            blank = blank or new is None
        else:
            new = _clean_part(part, message, rules, seen)
        same = same and new is part
        if new is not None:
            kept.append(new)
    extra = _clean_extra(message.extra, rules, seen)
    for words, noun in seen:
        changes.add(words, noun)
    same = same and extra is message.extra
    if all(_says_nothing(part, rules) for part in kept) and not (same and _may_be_empty(message, rules)):
        return _hollow(message, kept, changes)
    if blank:
        changes.add("empty texts of {} left out", "message")
    return message if same else replace(message, parts=tuple(kept), extra=extra)


def _says_nothing(part: Part, rules: Rules) -> bool:
    """Whether a message cannot stand on this part alone: in the chat dialect reasoning is a field beside the words."""
    if isinstance(part, Reasoning):
        return rules.reasoning == "text"
    return foreign_part(part, rules.dialect)


def _may_be_empty(message: Message, rules: Rules) -> bool:
    return rules.blank_text and not message.parts and message.role not in ("assistant", "tool")


def _is_said(text: str, message: Message, rules: Rules) -> bool:
    """Whether a text stays. An empty one stays where it is taken, unless it says that the assistant said nothing."""
    if rules.blank_text:
        return bool(text) or message.role != "assistant"
    return bool(text) and not text.isspace()


def _hollow(message: Message, kept: list[Part], changes: Changes) -> Message | None:
    """A message of which nothing is left. The user's stays as a turn: without it two others would become one."""
    if message.role == "user":
        changes.add(f'"{_EMPTY}" written into {{}} of the user: nothing stood in it', "message")
        return replace(message, parts=(*kept, Text(_EMPTY)))
    changes.add("{} left out: nothing stands in it that this model can be given", "message")
    return None


def _clean_part(part: Part, message: Message, rules: Rules, seen: dict[tuple[str, str], None]) -> Part | None:
    match part:
        case Reasoning():
            return _clean_reasoning(part, rules, seen)
        case Text():
            new = _with_own_extra(part, rules, seen)
            bears = new.extra is not None and bool(new.extra.fields)
            return new if bears or _is_said(new.text, message, rules) else None
        case Image() | Document() | Audio() if message.role == "assistant" and not rules.assistant_files:
            shown, several = _SHOWN[type(part)]
            seen[f"{several} of {{}} left out: the assistant's messages hold none here", "message"] = None
            return Text(shown)
        case ToolResult() if not rules.blank_text:
            content = tuple(
                held for held in part.content if not isinstance(held, Text) or held.extra or held.text.strip()
            )
            if len(content) != len(part.content):
                part = replace(part, content=content)
                seen["empty texts of {} left out", "message"] = None
            return _with_own_extra(part, rules, seen)
        case _:
            return _with_own_extra(part, rules, seen)


def _with_own_extra(part: _P, rules: Rules, seen: dict[tuple[str, str], None]) -> _P:
    extra = _clean_extra(part.extra, rules, seen)
    if extra is None and isinstance(part, ToolCall):
        extra = form_of(part.extra)
    return part if extra is part.extra else replace(part, extra=extra)


def _clean_extra(extra: Extra | None, rules: Rules, seen: dict[tuple[str, str], None]) -> Extra | None:
    """None for what another model of this dialect said. Another dialect's fields are passed over when it is written."""
    if extra is None or extra.origin is None or extra.origin == rules.origin or extra.dialect != rules.dialect:
        return extra
    for name in sorted(STATE_FIELDS & extra.fields.keys()):
        seen[f"`{name}` of {{}} left out: it came from {extra.origin}", "message"] = None
    return None


def _clean_reasoning(part: Reasoning, rules: Rules, seen: dict[tuple[str, str], None]) -> Reasoning | None:
    own_dialect = part.extra is not None and part.extra.dialect == rules.dialect
    origin = part.origin or (part.extra.origin if part.extra is not None else None)
    own = own_dialect if origin is None else origin == rules.origin
    plain = part.signature is None and not part.redacted
    match rules.reasoning:
        case "signed":
            stays = own and not plain
        case "own":
            # Bare words of nobody's are passed over, and named, when the request is written.
            stays = own or (plain and origin is None and part.extra is None)
        case "text":
            if plain and not own and (origin is not None or not own_dialect):
                # Bare words: the dialect has a field for them, and what else came along is another model's.
                bare = part.extra is None or (own_dialect and part.extra.origin is None)
                return part if bare and part.origin is None else Reasoning(part.text)
            stays = own
        case _:
            stays = False
    if stays:
        return part
    seen[f"reasoning of {{}} left out: {_why_not(part, origin, own, rules)}", "message"] = None
    return None


def _why_not(part: Reasoning, origin: str | None, own: bool, rules: Rules) -> str:
    if rules.reasoning == "none":
        return "this provider takes none back"
    if origin is not None and not own:
        return f"it came from {origin}"
    if own or part.signature is None:
        return "it has no signature"
    return "it is not known which model signed it"
