"""Forms of tools that only OpenAI has, free text and namespaces: as functions for everybody else, and the way back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from itertools import chain
from typing import Any, Final

from agentroute.events import Event, Finished, ToolCallDelta, ToolCallStarted
from agentroute.messages import Extra, Tool, ToolCall

from .reading import json_object

__all__ = ["CallsBack", "as_function", "flat_name", "form_of", "given_as_json", "is_freeform", "takes_free_text"]

_OPENAI: Final = frozenset({"openai_chat", "openai_responses"})
_CALLED: Final = {"openai_chat": "custom", "openai_responses": "custom_tool_call"}
"""The type of a call to a tool that takes free text. Its arguments are that text, not JSON."""

_INPUT: Final = "input"


def flat_name(namespace: str, name: str) -> str:
    """The name of a tool of a namespace, where there are no namespaces.

    >>> flat_name("multi_agent", "spawn")
    'multi_agent__spawn'
    """
    return f"{namespace}__{name}"


def is_freeform(tool: Tool) -> bool:
    """Whether the tool takes free text, maybe of a grammar, and has no schema."""
    extra = tool.extra
    return extra is not None and extra.dialect in _OPENAI and extra.fields.get("type") == "custom"


def takes_free_text(call: ToolCall) -> bool:
    """Whether the arguments of the call are free text."""
    extra = call.extra
    return extra is not None and extra.fields.get("type") == _CALLED.get(extra.dialect, "")


def as_function(tool: Tool) -> Tool:
    """The tool as a function of one text; the grammar of the text stands in the description."""
    fields = tool.extra.fields if tool.extra is not None else {}
    inner = fields.get("custom")
    given = (inner if isinstance(inner, Mapping) else fields).get("format")
    told = [tool.description, _grammar(given) if isinstance(given, Mapping) else ""]
    schema = {
        "type": "object",
        "properties": {_INPUT: {"type": "string", "description": "The whole input, as plain text."}},
        "required": [_INPUT],
        "additionalProperties": False,
    }
    return Tool(tool.name, "\n\n".join(text for text in told if text), schema)


def _grammar(given: Mapping[str, Any]) -> str:
    grammar = given.get("grammar")
    held = grammar if isinstance(grammar, Mapping) else given
    definition, syntax = held.get("definition"), held.get("syntax")
    if not isinstance(definition, str):
        return ""
    return f"`{_INPUT}` must match this {syntax if isinstance(syntax, str) else ''} grammar:\n{definition}"


def given_as_json(call: ToolCall) -> ToolCall:
    """A call with free text as one to the function that `as_function` makes."""
    if not takes_free_text(call):
        return call
    return replace(call, arguments=json.dumps({_INPUT: call.arguments}, ensure_ascii=False), extra=None)


_FORM: Final = ("type", "namespace", "name")


def form_of(extra: Extra | None) -> Extra | None:
    """What of a call's unknown fields is its form: that belongs to the caller's tool and to no model."""
    if extra is None or extra.dialect not in _OPENAI:
        return None
    fields = {key: extra.fields[key] for key in _FORM if key in extra.fields}
    return Extra(extra.dialect, fields) if fields else None


def _form(tool: Tool) -> Extra | None:
    """The form of a call to this tool."""
    if tool.extra is None or tool.extra.dialect not in _OPENAI:
        return None
    given = tool.extra.fields
    fields: dict[str, Any] = {}
    namespace = given.get("namespace")
    if isinstance(namespace, Mapping):
        fields = {"namespace": namespace.get("name"), "name": given.get("name")}
    if is_freeform(tool):
        fields["type"] = _CALLED[tool.extra.dialect]
    return Extra(tool.extra.dialect, fields) if fields else None


class CallsBack:
    """Gives the calls of one answer back under the names and in the forms of the caller's own tools.

    `names`: the caller's name of each tool that went under another one. Free text is passed on when the answer ends,
    because until then it is half a JSON text.
    """

    def __init__(self, tools: Iterable[Tool], names: Mapping[str, str]) -> None:
        self._names = names
        self._forms = {tool.name: form for tool in tools if (form := _form(tool)) is not None}
        self._held: dict[int, list[str]] = {}

    def read_all(self, events: Iterable[Event]) -> Iterable[Event]:
        """`read`, one after the other: those of most answers are as they are."""
        return chain.from_iterable(map(self.read, events)) if self._names or self._forms else events

    def read(self, event: Event) -> list[Event]:
        """What this event of the provider's is to the caller."""
        match event:
            case ToolCallStarted():
                return [self._started(event)]
            case ToolCallDelta() if event.index in self._held:
                self._held[event.index].append(event.arguments)
                return []
            case Finished() if self._held:
                texts = [ToolCallDelta(index, _free_text("".join(held))) for index, held in self._held.items()]
                self._held.clear()
                return [*(text for text in texts if text.arguments), event]
            case _:
                return [event]

    def _started(self, event: ToolCallStarted) -> ToolCallStarted:
        name = self._names.get(event.name, event.name)
        form = self._forms.get(name)
        if form is None or form_of(event.extra) is not None:
            return event if name == event.name else replace(event, name=name)
        if "type" in form.fields:
            self._held[event.index] = []
        return replace(event, name=name, extra=form)


def _free_text(arguments: str) -> str:
    """The text in the arguments of the function that `as_function` makes; the arguments if they are something else."""
    held = json_object(arguments)
    text = None if held is None or len(held) != 1 else held.get(_INPUT)
    return text if isinstance(text, str) else arguments
