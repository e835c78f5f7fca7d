"""Clears the results of old tool calls as Anthropic's context editing would, where not every target can do it itself.

`context_management` of a request goes unchanged to targets of Anthropic's dialect. Others would be sent none of it, and
the conversation would grow until it is too long.
https://platform.claude.com/docs/en/build-with-claude/context-editing
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats import anthropic_messages
from agentroute.messages import ChatRequest, Message, Part, Text, ToolCall, ToolResult
from agentroute.routing.prefix import Prefix
from agentroute.routing.tokens import estimate
from agentroute.targets import Pool

__all__ = ["edited"]

_EDIT: Final = "clear_tool_uses_20250919"
_TRIGGER: Final = 100_000
_KEPT: Final = 3
"""Input tokens and tool uses, where an edit does not say: Anthropic's own defaults."""

_CLEARED: Final = "[this tool result was cleared to save context]"


def edited(request: ChatRequest, pool: Pool) -> ChatRequest:
    """The request with its tool results cleared as it asks, and without that wish; unchanged if every target can do it
    itself. Raises RequestError for an edit that is not formed as documented."""
    told = None if request.extra is None else request.extra.fields.get("context_management")
    if told is None or all(target.dialect == anthropic_messages.DIALECT for target in pool):
        return request
    edits = told.get("edits") if isinstance(told, Mapping) else None
    if not isinstance(edits, list) or not all(isinstance(edit, Mapping) for edit in edits):
        raise RequestError("`context_management` is not formed as documented; give {'edits': [{'type': ...}]}")
    ours = [edit for edit in edits if edit.get("type") == _EDIT]
    if not ours:
        return request
    for edit in ours:
        request = _cleared(request, edit)
    assert request.extra is not None
    others = [edit for edit in edits if edit.get("type") != _EDIT]
    fields = {name: value for name, value in request.extra.fields.items() if name != "context_management"}
    if others:
        fields["context_management"] = {**told, "edits": others}
    return replace(request, extra=replace(request.extra, fields=fields))


def _cleared(request: ChatRequest, edit: Mapping[str, Any]) -> ChatRequest:
    calls = [part for message in request.messages for part in message.parts if isinstance(part, ToolCall)]
    kind, limit = _amount(edit, "trigger", ("input_tokens", "tool_uses"), _TRIGGER)
    _, kept = _amount(edit, "keep", ("tool_uses",), _KEPT)
    reached = len(calls) if kind == "tool_uses" else _tokens(request)
    if reached <= limit:
        return request
    excluded = set(edit.get("exclude_tools") or ())
    old = {call.id for call in calls[: max(len(calls) - kept, 0)] if call.name not in excluded}
    inputs = edit.get("clear_tool_inputs")
    shorter = replace(request, messages=tuple(_message(message, old, inputs) for message in request.messages))
    if edit.get("clear_at_least") is not None:
        _, least = _amount(edit, "clear_at_least", ("input_tokens",), 0)
        if _tokens(request) - _tokens(shorter) < least:
            return request
    return shorter


def _part(part: Part, old: set[str], inputs: Any) -> Part:
    match part:
        case ToolResult() if part.tool_call_id in old:
            return replace(part, content=(Text(_CLEARED),))
        case ToolCall() if part.id in old and (inputs is True or (isinstance(inputs, list) and part.name in inputs)):
            return replace(part, arguments="{}")
        case _:
            return part


def _message(message: Message, old: set[str], inputs: Any) -> Message:
    parts = tuple(_part(part, old, inputs) for part in message.parts)
    unchanged = all(part is before for part, before in zip(parts, message.parts, strict=True))
    return message if unchanged else replace(message, parts=parts)


def _amount(edit: Mapping[str, Any], name: str, kinds: tuple[str, ...], usual: int) -> tuple[str, int]:
    told = edit.get(name)
    if told is None:
        return kinds[0], usual
    if isinstance(told, Mapping) and told.get("type") in kinds:
        value = told.get("value")
        if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
            return str(told["type"]), value
    raise RequestError(f"`{name}` of a context edit is {str(told)[:80]}; give a type ({', '.join(kinds)}) and a value")


def _tokens(request: ChatRequest) -> int:
    return estimate(Prefix.of(request.messages, request.tools), None).input_tokens
