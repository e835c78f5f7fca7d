"""What a call was given besides its messages (tools, choice, sampling, ...), for the router and for each target."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from llama_index.core.base.llms.types import ChatMessage
from llama_index.core.llms import LLM
from llama_index.core.tools import BaseTool

from agentroute.formats.openai_chat import decode_request
from agentroute.messages import ChatRequest

from .context import KEY
from .messages import Origins, read_messages

__all__ = ["BoundTools", "NativeCall", "Options", "resolved_choice"]


class BoundTools(list[dict[str, Any]]):
    """Tools in OpenAI's form, as events and wire targets want them; `sources` are the tools they were made from.

    A native model is handed the sources, so that it describes them in its own way.
    """

    def __init__(self, sources: Sequence[BaseTool]) -> None:
        super().__init__(_described(tool) for tool in sources)
        self.sources = tuple(sources)


def _described(tool: BaseTool) -> dict[str, Any]:
    spec = tool.metadata.to_openai_tool(skip_length_check=True)
    function = dict(spec["function"])
    function["parameters"] = {**(function.get("parameters") or {}), "additionalProperties": False}
    return {**spec, "function": function}


def resolved_choice(choice: str | dict[str, Any] | None, required: bool) -> str | dict[str, Any]:
    """`auto`, `none`, `required`, or OpenAI's form of one tool's name."""
    if choice is None:
        return "required" if required else "auto"
    if isinstance(choice, dict) or choice in ("none", "auto", "required"):
        return choice
    return {"type": "function", "function": {"name": choice}}


@dataclass(frozen=True, slots=True)
class NativeCall:
    """How a native model is called: its `*_with_tools` where `tools` are given, else its plain methods."""

    tools: list[BaseTool] | None
    kwargs: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Options:
    """The keyword arguments of one call, read once. `rest` are those nobody but a target knows."""

    tools: list[dict[str, Any]] = field(default_factory=list)
    tool_choice: Any = None
    parallel_tool_calls: bool | None = None
    model: str | None = None
    constraints: Any = None
    rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kwargs: Mapping[str, Any]) -> Options:
        given = dict(kwargs)
        return cls(
            tools=given.pop("tools", None) or [],
            tool_choice=given.pop("tool_choice", None),
            parallel_tool_calls=given.pop("parallel_tool_calls", None),
            model=given.pop("model", None),
            constraints=given.pop(KEY, None),
            rest={name: value for name, value in given.items() if value is not None},
        )

    @property
    def output_name(self) -> str | None:
        """The one tool that must be called: of a structured answer, the name of its class."""
        if len(self.tools) != 1 or self.tool_choice in (None, "auto", "none"):
            return None
        function = self.tools[0].get("function")
        return str(function.get("name")) if isinstance(function, Mapping) else None

    def request(self, messages: Sequence[ChatMessage], origins: Origins) -> ChatRequest:
        """The canonical request: what is routed, and what a wire target is sent.

        Raises RequestError naming what cannot be understood.
        """
        return replace(self._without_messages(self.rest), messages=read_messages(messages, origins))

    def for_wire(self, request: ChatRequest, own: Mapping[str, Any]) -> ChatRequest:
        """The request with a target's own arguments."""
        if not own:
            return request
        return replace(self._without_messages({**self.rest, **own}), messages=request.messages)

    def _without_messages(self, rest: Mapping[str, Any]) -> ChatRequest:
        body: dict[str, Any] = {"messages": [{"role": "user", "content": ""}], **rest}
        if self.tools:
            body["tools"] = list(self.tools)
        for name, value in (
            ("tool_choice", self.tool_choice),
            ("parallel_tool_calls", self.parallel_tool_calls),
            ("model", self.model),
        ):
            if value is not None:
                body[name] = value
        return decode_request(body)

    def for_native(self, model: LLM, own: Mapping[str, Any]) -> NativeCall:
        """The arguments of a LlamaIndex model's own call."""
        kwargs = {**self.rest, **own}
        if not isinstance(self.tools, BoundTools):
            plain = {"tools": self.tools or None, "tool_choice": self.tool_choice}
            plain["parallel_tool_calls"] = self.parallel_tool_calls
            return NativeCall(None, {**{name: value for name, value in plain.items() if value is not None}, **kwargs})
        tools = list(self.tools.sources)
        kwargs["allow_parallel_tool_calls"] = bool(self.parallel_tool_calls)
        choice = self.tool_choice
        if choice in (None, "auto"):
            return NativeCall(tools, kwargs)
        if "tool_choice" in inspect.signature(type(model)._prepare_chat_with_tools).parameters:  # type: ignore[attr-defined]
            return NativeCall(tools, {**kwargs, "tool_choice": choice})
        if choice == "none":
            return NativeCall(None, {**self.rest, **own})
        named = choice["function"]["name"] if isinstance(choice, dict) and "function" in choice else None
        chosen = tools if named is None else [tool for tool in tools if tool.metadata.get_name() == named]
        return NativeCall(chosen, {**kwargs, "tool_required": True})
