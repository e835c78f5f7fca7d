"""What a call was bound with (tools, schema, sampling, ...), for the router and for each target in its own way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage

from agentroute.errors import RequestError
from agentroute.formats.openai_chat import decode_request
from agentroute.messages import ChatRequest, Extra, ToolChoice
from agentroute.targets import Pool, Target

from .messages import read_messages
from .structured import Structured, replay
from .tool_sources import ToolSources

__all__ = ["Options", "native_choice", "normal_choice"]

_NOTHING: Final[Mapping[str, Any]] = {"messages": [{"role": "user", "content": ""}]}
_PLAIN: Final = ChatRequest(())

_ANTHROPIC_ONLY = frozenset({"betas", "cache_control", "container", "context_management", "mcp_servers", "thinking"})
_OPENAI_ONLY = frozenset(
    {
        "frequency_penalty",
        "include",
        "logit_bias",
        "logprobs",
        "modalities",
        "n",
        "presence_penalty",
        "previous_response_id",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning_effort",
        "safety_identifier",
        "seed",
        "service_tier",
        "store",
        "stream_options",
        "top_logprobs",
        "user",
        "verbosity",
    }
)
"""Arguments of one provider's own API: Anthropic's SDK answers OpenAI's with a TypeError, and the other way round."""


def normal_choice(choice: Any) -> str | None:
    """One of `auto`, `any`, `none` or a tool's name, from any of the forms the frameworks and providers use.

    Raises RequestError for anything else.
    """
    match choice:
        case None | "":
            return None
        case True | "any" | "required":
            return "any"
        case False | "none":
            return "none"
        case str():
            return choice
        case {"type": "function", "function": {"name": str(name)}} | {"type": "tool", "name": str(name)}:
            return name
        case {"type": ("auto" | "any" | "none") as mode}:
            return str(mode)
        case {"function_calling_config": {"allowed_function_names": [str(name)]}}:
            return name
        case {"function_calling_config": {"mode": str(mode)}}:
            return "auto" if mode.lower() == "validated" else mode.lower()
        case {"name": str(name)}:
            return name
    raise RequestError(f"`tool_choice` is {choice!r}; give 'auto', 'any', 'none' or the name of a tool")


@dataclass(frozen=True, slots=True)
class Options:
    """The keyword arguments of one call, read once. `rest` are those nobody but a target knows."""

    tools: ToolSources | None = None
    tool_choice: str | None = None
    strict: bool | None = None
    parallel_tool_calls: bool | None = None
    response_format: Any = None
    structured: Structured | None = None
    traced_format: Mapping[str, Any] | None = None
    stop: tuple[str, ...] = ()
    model: str | None = None
    rest: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kwargs: Mapping[str, Any], *, stop: Sequence[str] | None = None) -> Options:
        given = dict(kwargs)
        formatted = given.pop("tools", None) or []
        tools = given.pop("agentroute_tools", None)
        if tools is None or tools.formatted is not formatted:
            # Somebody bound other tools after (or without) our bind_tools: what they bound holds.
            tools = ToolSources.of(formatted) if formatted else None
        return cls(
            tools=tools,
            tool_choice=normal_choice(given.pop("tool_choice", None)),
            strict=given.pop("strict", None),
            parallel_tool_calls=given.pop("parallel_tool_calls", None),
            response_format=given.pop("response_format", None),
            structured=given.pop("agentroute_structured", None),
            traced_format=given.pop("ls_structured_output_format", None),
            stop=tuple([stop] if isinstance(stop, str) else stop or ()),
            model=given.pop("model", None),
            rest=given,
        )

    def request(self, messages: Sequence[BaseMessage], pool: Pool | None = None) -> ChatRequest:
        """The canonical request: what is routed, and what a wire target is sent. `pool` is as for
        `read_messages`; a target may also be named by its model.

        Raises RequestError naming what cannot be understood.
        """
        request = replace(self._without_messages(self.rest), messages=read_messages(messages, pool))
        if pool is None or request.model is None or request.model in pool:
            return request
        named = next((target.name for target in pool if target.model == request.model), request.model)
        return replace(request, model=named)

    def for_wire(self, request: ChatRequest, target: Target, own: Mapping[str, Any]) -> tuple[ChatRequest, list[str]]:
        """The request for a target of ours, with its own arguments (`own`), and a warning for each one left out."""
        spoken, warnings = _spoken(self.rest, target)
        theirs = {**{name: value for name, value in spoken.items() if name in _ANTHROPIC_ONLY}, **own}
        if not theirs and not warnings:
            return request, []
        made = replace(self._without_messages({**spoken, **own}), messages=request.messages)
        if target.dialect == "openai_chat" or made.extra is None:
            return made, warnings
        # What is given for one target, or named as one provider names it, is said in that target's own dialect.
        fields = {name: value for name, value in made.extra.fields.items() if name in theirs}
        warnings += [
            f"{name!r} was not sent to {target.name!r}: {target.dialect} does not know it"
            for name in made.extra.fields
            if name not in theirs
        ]
        return replace(made, extra=Extra(target.dialect, fields) if fields else None), warnings

    def _without_messages(self, rest: Mapping[str, Any]) -> ChatRequest:
        body = dict(rest)
        if self.structured is not None:
            body |= self.structured.wire_fields()
        elif self.response_format is not None:
            body["response_format"] = _wire_format(self.response_format)
        request = decode_request({**_NOTHING, **body}) if body else _PLAIN
        known: dict[str, Any] = {"parallel_tool_calls": self.parallel_tool_calls, "model": self.model}
        if self.structured is None:
            known["tools"] = None if self.tools is None else self.tools.canonical
            known["tool_choice"] = None if self.tool_choice is None else _canonical_choice(self.tool_choice)
        if self.stop:
            known["sampling"] = replace(request.sampling, stop=self.stop)
        return replace(request, **{name: value for name, value in known.items() if value is not None})

    def for_trace(self, own: Mapping[str, Any]) -> dict[str, Any]:
        """What the LLM run of a wire target shows as its arguments, and what LangChain's cache knows the call by."""
        shown: dict[str, Any] = {}
        if self.structured is not None:
            shown |= self.structured.wire_fields()
        elif self.tools is not None:
            shown["tools"] = self.tools.formatted
        if self.tool_choice is not None:
            shown["tool_choice"] = self.tool_choice
        if self.response_format is not None:
            shown["response_format"] = self.response_format
        if self.traced_format is not None:
            shown["ls_structured_output_format"] = self.traced_format
        if self.parallel_tool_calls is not None:
            shown["parallel_tool_calls"] = self.parallel_tool_calls
        if self.stop:
            shown["stop"] = list(self.stop)
        return shown | dict(self.rest) | dict(own)

    def for_native(
        self, model: BaseChatModel, target: Target, own: Mapping[str, Any]
    ) -> tuple[dict[str, Any], list[str]]:
        """The keyword arguments of a LangChain model's own call, and a warning for each one left out."""
        kwargs = replay(self.structured, model)[0] if self.structured is not None else self._bound(model, target)
        if self.traced_format is not None:
            kwargs.setdefault("ls_structured_output_format", self.traced_format)
        spoken, warnings = _spoken(self.rest, target)
        kwargs |= spoken
        if self.stop:
            kwargs["stop"] = list(self.stop)
        return kwargs | dict(own), warnings

    def _bound(self, model: BaseChatModel, target: Target) -> dict[str, Any]:
        given: dict[str, Any] = {
            "strict": self.strict,
            "parallel_tool_calls": self.parallel_tool_calls,
            "response_format": self.response_format,
        }
        given = {name: value for name, value in given.items() if value is not None}
        if self.tools is None:
            given.pop("strict", None)
            return given
        if self.tool_choice is not None:
            given["tool_choice"] = native_choice(self.tool_choice, target.provider)
        return self.tools.bound_to(model, given, marked=target.provider == "anthropic")


def _canonical_choice(choice: str) -> ToolChoice:
    match choice:
        case "any":
            return ToolChoice("required")
        case "auto" | "none":
            return ToolChoice(choice)
    return ToolChoice("tool", choice)


def _wire_format(response_format: Any) -> Any:
    """A chat-completions `response_format`; LangChain's OpenAI model also takes a bare schema or a class."""
    if isinstance(response_format, Mapping) and response_format.get("type") in ("json_schema", "json_object", "text"):
        return response_format
    return Structured(response_format).wire_fields()["response_format"]


def native_choice(choice: str | None, provider: str) -> Any:
    """Every LangChain integration takes `auto`, `any` and a name; ChatAnthropic takes `none` for the name of a tool."""
    return {"type": "none"} if choice == "none" and provider == "anthropic" else choice


def _spoken(rest: Mapping[str, Any], target: Target) -> tuple[dict[str, Any], list[str]]:
    foreign = _OPENAI_ONLY if target.provider == "anthropic" else _ANTHROPIC_ONLY
    warnings = [
        f"{name!r} was not sent to {target.name!r}: {target.provider} does not know it"
        for name in rest
        if name in foreign
    ]
    return {name: value for name, value in rest.items() if name not in foreign}, warnings
