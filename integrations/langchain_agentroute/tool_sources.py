"""Tools as they were bound: the caller's own objects, in OpenAI's form, in ours, and as each model binds them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.tools import BaseTool
from langchain_core.utils.function_calling import convert_to_openai_tool

from agentroute.formats.openai_chat import decode_request
from agentroute.messages import Extra, Tool

from .builtin_tools import builtin
from .conversation import MARKER, unmarked

__all__ = ["KnownTools", "ToolSources"]

_MOST: Final = 64
_NOTHING: Final[Mapping[str, Any]] = {"messages": [{"role": "user", "content": ""}]}


@dataclass(frozen=True, slots=True)
class ToolSources:
    """Tools as the caller gave them, in OpenAI's form and in ours; each target binds the first with its own bind_tools.

    >>> ToolSources.of([{"name": "now", "description": "The time", "parameters": {"type": "object"}}]).formatted
    [{'type': 'function', 'function': {'name': 'now', 'description': 'The time', 'parameters': {'type': 'object'}}}]
    """

    sources: tuple[Any, ...] = field(repr=False)
    formatted: list[dict[str, Any]]
    canonical: tuple[Tool, ...] = field(repr=False)
    _bound: dict[Hashable, tuple[BaseChatModel, dict[str, Any]]] = field(
        default_factory=dict, repr=False, compare=False
    )

    @classmethod
    def of(cls, tools: Sequence[Any], *, strict: bool | None = None) -> ToolSources:
        formatted: list[dict[str, Any]] = []
        canonical: list[Tool] = []
        for tool in tools:
            own = builtin(tool)
            raw = _format(tool, strict) if own is None else dict(tool)
            formatted.append(raw)
            canonical.append(_canonical(raw, tool) if own is None else own)
        return cls(tuple(tools), formatted, tuple(canonical))

    def bound_to(self, model: BaseChatModel, arguments: Mapping[str, Any], *, marked: bool) -> dict[str, Any]:
        """What the model's own `bind_tools` makes of them, worked out once for each model and set of arguments.

        `marked` leaves Anthropic's cache markers on them.
        """
        schema = arguments.get("response_format")
        key = (id(model), repr(arguments)) if schema is None or isinstance(schema, Mapping) else None
        known = None if key is None else self._bound.get(key)
        if known is None:
            sources = list(self.sources) if marked else unmarked(self.sources)
            # With the model, so that no other one can come to its id.
            known = (model, dict(getattr(model.bind_tools(sources, **arguments), "kwargs", {})))
            if key is not None:
                if len(self._bound) >= _MOST:
                    self._bound.clear()
                self._bound[key] = known
        return dict(known[1])

    def apart(self) -> ToolSources:
        """The same, with a list for the caller, who may change it."""
        copies = [{k: dict(v) if isinstance(v, dict) else v for k, v in raw.items()} for raw in self.formatted]
        return replace(self, formatted=copies)


class KnownTools:
    """The last sets of tools that were bound: an agent binds the same ones before each of its steps."""

    def __init__(self) -> None:
        self._known: dict[Hashable, tuple[list[Any], ToolSources]] = {}

    def of(self, tools: Sequence[Any], *, strict: bool | None = None) -> ToolSources:
        """As `ToolSources.of`; of anything but tool objects nothing is remembered."""
        if not all(isinstance(tool, BaseTool) for tool in tools):
            return ToolSources.of(tools, strict=strict)
        key = (strict, *map(_look, tools))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= _MOST:
                self._known.clear()
            # With the schemas, so that no other one can come to an id.
            schemas = [tool.args_schema for tool in tools]
            known = self._known[key] = (schemas, ToolSources.of(tools, strict=strict))
        return known[1].apart()


def _look(tool: BaseTool) -> tuple[Hashable, ...]:
    """All of a tool that a model may be told."""
    schema = tool.args_schema
    known = repr(schema) if isinstance(schema, dict) else id(schema)
    return id(tool), tool.name, tool.description, known, repr(getattr(tool, "extras", None)), repr(tool.metadata)


def _canonical(raw: Mapping[str, Any], given: Any) -> Tool:
    (bare,) = unmarked([dict(raw)])
    tool = decode_request({**_NOTHING, "tools": [bare]}).tools[0]
    marker = given.get(MARKER) if isinstance(given, Mapping) else None
    if marker is None or tool.extra is not None:
        return tool
    return replace(tool, extra=Extra("anthropic_messages", {MARKER: marker}))


def _format(tool: Any, strict: bool | None) -> dict[str, Any]:
    if isinstance(tool, Mapping) and "type" in tool and tool["type"] not in ("function", "object"):
        return dict(tool)
    return convert_to_openai_tool(tool, strict=strict)
