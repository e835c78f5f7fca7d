"""The conversation as a ready model may be told it: what its provider would refuse goes, on copies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage

from agentroute import Pool, Target
from agentroute.history import mend
from agentroute.messages import Message

from .messages import origin_of, portable, write_history

__all__ = [
    "MARKER",
    "Prepared",
    "keep_warm",
    "messages_for",
    "paired",
    "prepared",
    "unmarked",
    "without_stale_thinking",
]

MARKER: Final = "cache_control"
_ANTHROPIC: Final = "anthropic"
_CALL_BLOCKS: Final = frozenset({"function_call", "tool_use", "tool_call"})
"""A call in the content: of OpenAI's Responses, of Anthropic's Messages, of LangChain's standard blocks."""
_THOUGHT: Final = frozenset({"thinking", "redacted_thinking", "reasoning"})


@dataclass(frozen=True, slots=True, repr=False)
class Prepared:
    """A call of a ready model as its provider takes it; `warnings` say what was changed."""

    model: BaseChatModel
    messages: list[BaseMessage]
    kwargs: dict[str, Any]
    warnings: tuple[str, ...]


def prepared(
    model: BaseChatModel,
    messages: list[BaseMessage],
    kwargs: Mapping[str, Any],
    *,
    target: Target,
    pool: Pool,
    tools: Sequence[Any],
    read: tuple[Message, ...],
) -> Prepared:
    """The one preparation of every ready model: its messages, Anthropic's cache, thinking that cannot go on.

    `tools` are those the model will be offered, in any form; `read` are the messages as canonical ones.
    """
    messages, changes = paired(messages, target, read)
    messages = messages_for(messages, target, model, pool)
    arguments = keep_warm(model, messages, kwargs, tools)
    model, arguments, warnings = without_stale_thinking(model, messages, arguments)
    return Prepared(model, messages, arguments, (*changes, *warnings))


def paired(
    messages: list[BaseMessage], target: Target, read: tuple[Message, ...]
) -> tuple[list[BaseMessage], tuple[str, ...]]:
    """The conversation with each result behind its call, as our own targets get it, and what was changed for that."""
    messages = [_without_lost_calls(message) if isinstance(message, AIMessage) else message for message in messages]
    opaque = {at for at, message in enumerate(messages) if isinstance(message.content, list) and message.content}
    mended = mend(read, target, opaque)
    return (messages, ()) if mended is None else (mended.written(messages, write_history), mended.changes)


def _without_lost_calls(message: AIMessage) -> AIMessage:
    """The message without blocks of calls that are not among its `tool_calls`: a middleware has taken those back, and
    only the integration's own form of them is left."""
    if isinstance(message.content, str):
        return message
    known = {call["id"] for call in (*message.tool_calls, *message.invalid_tool_calls)}

    def lost(block: Any) -> bool:
        if not isinstance(block, dict) or block.get("type") not in _CALL_BLOCKS:
            return False
        return (block.get("call_id") or block.get("id")) not in known

    kept = [block for block in message.content if not lost(block)]
    return message if len(kept) == len(message.content) else message.model_copy(update={"content": kept})


def messages_for(messages: list[BaseMessage], target: Target, model: BaseChatModel, pool: Pool) -> list[BaseMessage]:
    """Messages that another provider wrote keep only text and tool calls; `cache_control` stays for Anthropic only."""
    found = messages
    for at, message in enumerate(messages):
        new = message
        if isinstance(message, AIMessage) and _is_foreign(message, target, model, pool):
            new = portable(message)
        if target.provider != _ANTHROPIC and not isinstance(new.content, str):
            new = _without_markers(new)
        if new is not message:
            if found is messages:
                found = list(messages)
            found[at] = new
    return found


def _is_foreign(message: AIMessage, target: Target, model: BaseChatModel, pool: Pool) -> bool:
    name = origin_of(message)
    if name is None:
        # Not ours: all there is to go by is the provider its own integration noted, if it did.
        provider = message.response_metadata.get("model_provider")
        return provider is not None and provider != model._get_ls_params().get("ls_provider")
    origin = pool.get(name)
    return origin is None or (origin.provider, origin.dialect) != (target.provider, target.dialect)


def _without_markers(message: BaseMessage) -> BaseMessage:
    if not any(isinstance(block, dict) and MARKER in block for block in message.content):
        return message
    return message.model_copy(update={"content": unmarked(message.content)})


def unmarked(items: Iterable[Any]) -> list[Any]:
    """The same blocks or tools, those that are dicts without Anthropic's cache markers."""
    return [{k: v for k, v in item.items() if k != MARKER} if isinstance(item, dict) else item for item in items]


def keep_warm(
    model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: Mapping[str, Any], tools: Sequence[Any]
) -> dict[str, Any]:
    """The call's arguments, with Anthropic asked to keep the prefix that the next steps will send again.

    As for our own targets (`agentroute.history.keep_warm`): if more steps are likely, and the caller has set no marker.
    `cache_control=None` among the target's own arguments means never.
    """
    if not _is_claude(model) or not (tools or any(isinstance(message, AIMessage) for message in messages)):
        return dict(kwargs)
    if MARKER in kwargs:
        return {name: value for name, value in kwargs.items() if name != MARKER or value is not None}
    marked = [
        *tools,
        *(block for m in messages if isinstance(m.content, list) for block in m.content),
    ]
    if any(isinstance(item, Mapping) and MARKER in item for item in marked):
        return dict(kwargs)
    return {**kwargs, MARKER: {"type": "ephemeral"}}


def without_stale_thinking(
    model: BaseChatModel, messages: Sequence[BaseMessage], kwargs: dict[str, Any]
) -> tuple[BaseChatModel, dict[str, Any], list[str]]:
    """Model and arguments with thinking off, and a warning, if it cannot go on from a step that another model took.

    `Expected thinking or redacted_thinking, but found tool_use`: with a thinking budget, the last step of a running
    tool loop must begin with its thinking. Adaptive thinking does not look at that.
    """
    if not _is_claude(model) or not messages or not isinstance(messages[-1], ToolMessage):
        return model, kwargs, []
    own = getattr(model, "thinking", None)
    thinking = own if own is not None else kwargs.get("thinking")
    last = next((message for message in reversed(messages) if isinstance(message, AIMessage)), None)
    if not isinstance(thinking, Mapping) or thinking.get("type") != "enabled" or last is None or _thought(last):
        return model, kwargs, []
    off = {"type": "disabled"}
    warning = "thinking switched off for this call: the last step of the running tool loop came without it"
    if own is not None:
        return model.model_copy(update={"thinking": off}), kwargs, [warning]
    return model, {**kwargs, "thinking": off}, [warning]


def _thought(message: AIMessage) -> bool:
    first = message.content[0] if isinstance(message.content, list) and message.content else None
    return isinstance(first, dict) and first.get("type") in _THOUGHT


def _is_claude(model: BaseChatModel) -> bool:
    """Anthropic's own integration, known by its name so that it need not be there."""
    return any(cls.__name__ == "ChatAnthropic" for cls in type(model).__mro__)
