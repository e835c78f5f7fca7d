"""Whether two models' answers to one prompt are the same action: normalised, then compared in four levels."""

from __future__ import annotations

import json
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from agentroute.messages import ChatRequest, ChatResponse, Message, Tool, ToolCall
from agentroute.routing.actions import action

__all__ = ["Act", "Called", "Level", "agrees", "compare", "effects"]

_LENIENT = frozenset(("read", "search"))
"""What a call may do for it to count as reading: it can be done again, and changes nothing."""

_PROSE = 4
"""Words above which a text in structured output is prose, which two models never write alike."""

_NUMBER = re.compile(r"(?<![\w.])-?\d+(?:[.,]\d+)*(?![\w])")
_PATH = re.compile(r"(?:\.{0,2}/|[\w.-]+/)[^\s:]*$")
_BLANKS = re.compile(r"[ \t]+")
_LONGEST = 20_000
"""Characters of a text answer whose numbers are compared."""


class Level(IntEnum):
    """How far two actions agree. Four levels have an AUC of .92-.95 for "the cheaper answer suffices" on pairs of
    unequal models (BFCL, `evals/bfcl.py`)."""

    OTHER = 0
    TOOLS = 1
    NAMES = 2
    SAME = 3


@dataclass(frozen=True, slots=True)
class Called:
    """One call in canonical spelling. `arguments` is JSON with sorted keys, without what equals a default; `subject`
    the same of the required arguments alone (of all texts, if the tool's schema requires none)."""

    name: str
    arguments: str
    names: tuple[str, ...]
    subject: str
    reads: bool


@dataclass(frozen=True, slots=True)
class Act:
    """What a model did at one step: calls in a canonical order, or what its text says.

    `text` is empty if there are calls. `fields` are those of structured output.
    """

    calls: tuple[Called, ...] = ()
    text: str = ""
    fields: tuple[str, ...] | None = None

    @classmethod
    def of(
        cls,
        answer: Message | ChatResponse,
        request: ChatRequest | None = None,
        *,
        same: Mapping[str, str] | None = None,
    ) -> Act:
        """The action of an answer. The request's tools tell types, defaults and required arguments; `same` maps the
        name of a tool to that of another one that does the same (`{"view_file": "read_file"}`).

        Spelling does not count: order of keys and of parallel calls, `./x` and `x`, `"20"` for an integer, None for
        what is left out, blanks around a text. Of a text answer its JSON fields count, else the numbers that it names.
        """
        if answer.tool_calls:
            tools = _schemas(() if request is None else request.tools)
            found = [_called(call, tools.get(call.name), same or {}) for call in answer.tool_calls]
            return cls(tuple(sorted(found, key=lambda call: (call.name, call.arguments))))
        text = answer.text.strip()
        held = _json_of(text)
        if isinstance(held, dict):
            kept = {key: _plain(value, None) for key, value in held.items() if not _is_prose(value)}
            return cls(text=_dumped(kept), fields=tuple(sorted(map(str, held))))
        numbers = sorted(set(_NUMBER.findall(text[:_LONGEST])))
        return cls(text=" ".join(numbers) if numbers else " ".join(text.split()))

    @property
    def reads(self) -> bool:
        """Whether it only looks: calls that read or search, and no text."""
        return bool(self.calls) and all(call.reads for call in self.calls)


def compare(one: Act, other: Act) -> Level:
    """The level of agreement; both ways the same."""
    if one == other:
        return Level.SAME
    if bool(one.calls) != bool(other.calls):
        return Level.OTHER
    if not one.calls:
        if (one.fields is None) != (other.fields is None):
            return Level.OTHER
        if one.fields is not None:
            return Level.NAMES if one.fields == other.fields else Level.TOOLS
        return Level.TOOLS
    if Counter(call.name for call in one.calls) != Counter(call.name for call in other.calls):
        return Level.OTHER
    keys = [Counter((call.name, call.names) for call in act.calls) for act in (one, other)]
    return Level.NAMES if keys[0] == keys[1] else Level.TOOLS


def agrees(one: Act, other: Act) -> bool:
    """Whether the two would be taken for each other: writes and answers strictly, reads leniently.

    Two reads agree if they ask the same tools for the same things, whatever else they say (how many lines, from where
    on).
    """
    if one == other:
        return True
    if not (one.reads and other.reads):
        return False
    asked = [Counter((call.name, call.subject) for call in act.calls) for act in (one, other)]
    return asked[0] == asked[1] and all(call.subject != "{}" for call in one.calls)


def effects(acts: Iterable[Act]) -> frozenset[tuple[str, str]]:
    """What a run changed: the set of its calls that do more than read. On tau2-bench P(ok | same set) is .84, and
    P(ok | other set) .06-.12, where the same next step says little."""
    return frozenset((call.name, call.arguments) for act in acts for call in act.calls if not call.reads)


def _schemas(tools: tuple[Tool, ...]) -> dict[str, Mapping[str, Any]]:
    return {tool.name: tool.parameters for tool in tools}


def _called(call: ToolCall, schema: Mapping[str, Any] | None, same: Mapping[str, str]) -> Called:
    name = same.get(call.name, call.name)
    reads = action(call.name, call.arguments) in _LENIENT
    held = _json_of(call.arguments or "{}")
    if not isinstance(held, dict):
        text = " ".join(call.arguments.split())
        return Called(name, _dumped(text), (), "{}", reads)
    properties = {} if schema is None else schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    kept = {}
    for key, value in held.items():
        told = properties.get(key)
        plain = _plain(value, told if isinstance(told, Mapping) else None)
        if plain is None or (
            isinstance(told, Mapping) and "default" in told and plain == _plain(told["default"], told)
        ):
            continue
        kept[key] = plain
    required = () if schema is None else schema.get("required") or ()
    subject = {key: value for key, value in kept.items() if (key in required if required else isinstance(value, str))}
    return Called(name, _dumped(kept), tuple(sorted(kept)), _dumped(subject), reads)


def _plain(value: Any, schema: Mapping[str, Any] | None) -> Any:
    """A value in one spelling: numbers as numbers, paths without `./`, blanks taken together."""
    wanted = None if schema is None else schema.get("type")
    if isinstance(value, str):
        text = _BLANKS.sub(" ", value.strip())
        if wanted in ("integer", "number"):
            try:
                return _number(float(text))
            except ValueError:
                return text
        if wanted == "boolean" and text.lower() in ("true", "false"):
            return text.lower() == "true"
        if "://" not in text and _PATH.match(text):
            return posixpath.normpath(text)
        return text
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(key): _plain(each, None) for key, each in value.items() if each is not None}
    if isinstance(value, Sequence):
        return [_plain(each, None) for each in value]
    return value


def _number(value: float) -> int | float:
    return int(value) if value == value and abs(value) < 2**53 and value == int(value) else value


def _is_prose(value: Any) -> bool:
    return isinstance(value, str) and len(value.split()) > _PROSE


def _json_of(text: str) -> Any:
    """The JSON value of a text, a fenced one too; None if it is none."""
    bare = text.strip()
    if bare.startswith("```"):
        bare = bare.strip("`").removeprefix("json").strip()
    if bare[:1] not in "{[":
        return None
    try:
        return json.loads(bare)
    except (ValueError, RecursionError):
        return None


def _dumped(value: Any) -> str:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
