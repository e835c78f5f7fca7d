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
        key = (id(model), repr(arguments))
        known = self._bound.get(key)
        if known is None:
            sources = list(self.sources) if marked else unmarked(self.sources)
            kwargs = dict(getattr(model.bind_tools(sources, **arguments), "kwargs", {}))
            # With the model, so that no other one can come to its id.
            known = self._bound[key] = (model, kwargs)
        return dict(known[1])


class KnownTools:
    """The last sets of tools that were bound: an agent binds the same ones before each of its steps."""

    _MOST: Final = 64

    def __init__(self) -> None:
        self._known: dict[Hashable, ToolSources] = {}

    def of(self, tools: Sequence[Any], *, strict: bool | None = None) -> ToolSources:
        """As `ToolSources.of`. Of anything but tool objects, which nobody changes in passing, nothing is remembered."""
        if not all(isinstance(tool, BaseTool) for tool in tools):
            return ToolSources.of(tools, strict=strict)
        key = (strict, *((id(tool), tool.name, tool.description, id(tool.args_schema)) for tool in tools))
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= self._MOST:
                self._known.clear()
            found = self._known[key] = ToolSources.of(tools, strict=strict)
        return found


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
