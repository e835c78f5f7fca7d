"""What Anthropic demands of a request as a whole: thinking that can go on, and no more cache markers than it allows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, TypeVar

from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    Reasoning,
    ReasoningSetting,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)
from agentroute.targets.model_rules import ModelRules

from .changes import Changes

__all__ = ["few_markers", "without_stale_thinking"]

_DIALECT: Final = "anthropic_messages"
_MARKER: Final = "cache_control"
_MAX_MARKERS: Final = 4
"""Anthropic: `A maximum of 4 blocks with cache_control may be provided. Found 5.`"""

_T = TypeVar("_T", bound=Text | Image | Document | Audio | ToolCall | ToolResult | Reasoning | Tool)


def without_stale_thinking(request: ChatRequest, rules: ModelRules, changes: Changes) -> ChatRequest:
    """Without thinking where it cannot go on from a step that another model took.

    `Expected thinking or redacted_thinking, but found tool_use`: with a thinking budget (`enabled`), the last message
    of the assistant in a tool loop must begin with its thinking. Adaptive thinking does not look at that.
    """
    fields = request.extra.fields if request.extra is not None and request.extra.dialect == _DIALECT else {}
    thinking = fields.get("thinking")
    kinds = ("enabled", "adaptive") if rules.adaptive is False else ("enabled",)
    named = isinstance(thinking, Mapping) and thinking.get("type") in kinds
    setting = request.reasoning
    wanted = setting is not None and setting.effort != "none" and (setting.budget_tokens is not None or not named)
    budget = (named or (wanted and rules.adaptive is False)) and (rules.budget is not None or rules.adaptive is None)
    if not budget or _may_think(request.messages):
        return request
    changes.add("thinking switched off for this request: {} of the running tool loop came without it", "step")
    off = None if setting is None else ReasoningSetting("none")
    extra = Extra(_DIALECT, {**fields, "thinking": {"type": "disabled"}}) if named else request.extra
    return replace(request, reasoning=off, extra=extra)


def _may_think(messages: tuple[Message, ...]) -> bool:
    """Whether the last turn of the assistant (messages in a row are one) begins with thinking, or is over."""
    last = next((at for at in range(len(messages) - 1, -1, -1) if messages[at].role == "assistant"), None)
    if last is None or (last < len(messages) - 1 and messages[last + 1].role != "tool"):
        return True
    while last > 0 and messages[last - 1].role == "assistant":
        last -= 1
    return isinstance(messages[last].parts[0], Reasoning)


def few_markers(request: ChatRequest, changes: Changes) -> ChatRequest:
    """With at most four cache markers: the oldest of the conversation go first, those of system and tools last."""
    surplus = sum(1 for extra in _extras(request) if _is_marked(extra)) - _MAX_MARKERS
    if surplus <= 0:
        return request
    eraser = _Eraser(surplus, changes)
    messages = list(request.messages)
    for system in (False, True):
        for at, message in enumerate(messages):
            if eraser.left and (message.role in ("system", "developer")) is system:
                messages[at] = eraser.message(message)
    tools = tuple(eraser.wipe(tool) for tool in request.tools)
    return replace(request, messages=tuple(messages), tools=tools)


def _is_marked(extra: Extra | None) -> bool:
    return extra is not None and extra.dialect == _DIALECT and extra.fields.get(_MARKER) is not None


def _extras(request: ChatRequest) -> Iterator[Extra | None]:
    """Every place where a marker counts."""
    yield request.extra
    for tool in request.tools:
        yield tool.extra
    for message in request.messages:
        for part in message.parts:
            if part.extra is not None:
                yield part.extra
            if isinstance(part, ToolResult):
                for held in part.content:
                    yield held.extra


class _Eraser:
    """Takes markers away until `left` is used up."""

    def __init__(self, left: int, changes: Changes) -> None:
        self.left = left
        self._changes = changes

    def wipe(self, item: _T) -> _T:
        extra = item.extra
        if not self.left or extra is None or not _is_marked(extra):
            return item
        self.left -= 1
        self._changes.add(f"{{}} left out: Anthropic takes {_MAX_MARKERS} at most", "cache marker")
        fields: dict[str, Any] = {key: value for key, value in extra.fields.items() if key != _MARKER}
        return replace(item, extra=replace(extra, fields=fields) if fields else None)

    def message(self, message: Message) -> Message:
        parts = tuple(self._part(part) for part in message.parts)
        if all(new is old for new, old in zip(parts, message.parts, strict=True)):
            return message
        return replace(message, parts=parts)

    def _part(self, part: Part) -> Part:
        if isinstance(part, ToolResult) and any(_is_marked(held.extra) for held in part.content):
            part = replace(part, content=tuple(self.wipe(held) for held in part.content))
        return self.wipe(part)
