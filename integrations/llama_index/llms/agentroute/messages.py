"""LlamaIndex's messages as canonical ones, and as another family of native models can read them. Changes none."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from llama_index.core.base.llms.types import (
    ChatMessage,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)

from agentroute.errors import RequestError
from agentroute.messages import Document, Image, Message, Part, Reasoning, Role, Text, ToolCall, ToolResult
from agentroute.targets import Target

from .blocks import cached_up_to, extra_from, read_blocks
from .context import KEY, written_by
from .listening import has_failed

__all__ = ["EXTRAS", "opaque", "parsed", "portable", "read_messages", "tool_calls_of", "write_history"]

EXTRAS = "agentroute_extras"
"""The key of a message's `additional_kwargs` that holds fields only the model that wrote it understands."""

_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "developer",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}

Origins = Callable[[str], str | None]
"""From a target's name to the `provider/model` behind it."""


def read_messages(messages: Iterable[ChatMessage], origins: Origins) -> tuple[Message, ...]:
    """The conversation as canonical messages. Raises RequestError naming what a canonical message cannot hold."""
    return tuple(_read(message, at, origins) for at, message in enumerate(messages))


def _read(message: ChatMessage, at: int, origins: Origins) -> Message:
    role = _ROLES[message.role]
    told = message.additional_kwargs
    if role != "assistant":
        parts = read_blocks(message.blocks, at, assistant=False, origin=None)
        if isinstance(told.get("cache_control"), Mapping) and parts:
            cached_up_to(parts, told["cache_control"])
        return Message(role, (_result(parts, told, at),)) if role == "tool" else Message(role, tuple(parts))
    writer = written_by(message)
    parts = read_blocks(message.blocks, at, assistant=True, origin=None if writer is None else origins(writer))
    if not any(isinstance(part, ToolCall) for part in parts):
        parts += [ToolCall(call_id, name, text) for call_id, name, text in tool_calls_of(told)]
    extras = told.get(EXTRAS)
    extras = extras if isinstance(extras, Mapping) else {}
    kept = [
        part
        for part in _with_extras(parts, extras)
        if not isinstance(part, Text) or part.text or part.extra is not None
    ]
    return Message("assistant", tuple(kept), extra=extra_from(extras.get("message")))


def _result(parts: Sequence[Part], told: Mapping[str, Any], at: int) -> ToolResult:
    call_id = told.get("tool_call_id")
    if not isinstance(call_id, str) or not call_id:
        raise RequestError(f"message {at} is a tool's result without additional_kwargs['tool_call_id']")
    name = told.get("name")
    content = tuple(part for part in parts if isinstance(part, Text | Image | Document))
    if len(content) != len(parts):
        raise RequestError(f"message {at} is a tool's result with a recording; text, images and documents can be sent")
    found = ToolResult(call_id, content, name=name if isinstance(name, str) else None)
    return replace(found, is_error=True) if has_failed(call_id, found.text) else found


def _with_extras(parts: Sequence[Part], extras: Mapping[str, Any]) -> Iterable[Part]:
    """With the unknown fields of texts (by their place) and calls (by their id) put back."""
    calls, texts = extras.get("tool_calls") or {}, extras.get("texts") or {}
    place = -1
    for part in parts:
        if isinstance(part, Text):
            place += 1
            yield replace(part, extra=part.extra or extra_from(texts.get(str(place))))
        elif isinstance(part, ToolCall):
            yield replace(part, extra=extra_from(calls.get(part.id)))
        else:
            yield part


def tool_calls_of(told: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Id, name and arguments of the calls that a message holds in its `additional_kwargs` alone.

    Older integrations keep them there, as dicts or as objects of an SDK, in OpenAI's form or Anthropic's.
    """
    return [_call(call) for call in told.get("tool_calls") or ()]


def _call(call: Any) -> tuple[str, str, str]:
    function = _get(call, "function") or call
    arguments = _get(function, "arguments")
    if arguments is None:
        arguments = _get(function, "input") or {}
    text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
    return str(_get(call, "id") or ""), str(_get(function, "name") or ""), text or "{}"


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, Mapping) else getattr(value, name, None)


def portable(messages: Iterable[ChatMessage], target: Target, origins: Origins) -> list[ChatMessage]:
    """The conversation for a native model: what another target wrote, as texts and tool calls only.

    Reasoning of one model is refused by, or leaks to, another. A message that no RoutedLLM returned stays as it is.
    """
    return [_for_native(message, target, origins) for message in messages]


def _for_native(message: ChatMessage, target: Target, origins: Origins) -> ChatMessage:
    writer = written_by(message)
    if writer is None:
        return message
    if writer == target.name:
        told = {key: value for key, value in message.additional_kwargs.items() if key not in (KEY, EXTRAS)}
        return message.model_copy(update={"additional_kwargs": told})
    origin = origins(writer)
    blocks: list[Any] = []
    for block in message.blocks:
        if isinstance(block, ThinkingBlock):
            if (block.additional_information.get("origin") or origin) == target.origin:
                blocks.append(block)
        elif isinstance(block, ToolCallBlock):
            blocks.append(block.model_copy(update={"tool_kwargs": parsed(block.tool_kwargs)}))
        else:
            blocks.append(block)
    if not any(isinstance(block, ToolCallBlock) for block in blocks):
        blocks += [
            ToolCallBlock(tool_call_id=call_id, tool_name=name, tool_kwargs=parsed(text))
            for call_id, name, text in tool_calls_of(message.additional_kwargs)
        ]
    return ChatMessage(role=message.role, blocks=blocks)


def opaque(messages: Iterable[ChatMessage]) -> set[int]:
    """The places of messages that hold more than texts and calls."""
    plain = (TextBlock, ToolCallBlock)
    return {at for at, message in enumerate(messages) if any(not isinstance(b, plain) for b in message.blocks)}


def write_history(message: Message) -> ChatMessage:
    """A message of the conversation that was changed for a ready model, written anew."""
    told: dict[str, Any] = {}
    held: Iterable[Part] = message.parts
    for result in message.tool_results:
        held = result.content
        told = {"tool_call_id": result.tool_call_id, **({"name": result.name} if result.name else {})}
    # Thoughts are bound to the turn as it was; in one that is changed they would be words, or refused.
    kept = [part for part in held if not isinstance(part, Reasoning)]
    return ChatMessage(role=message.role, blocks=[_block(part) for part in kept], additional_kwargs=told)


def _block(part: Part) -> Any:
    match part:
        case ToolCall():
            return ToolCallBlock(tool_call_id=part.id, tool_name=part.name, tool_kwargs=parsed(part.arguments))
        case Image():
            data = None if part.data is None else part.data.encode()
            return ImageBlock(image=data, url=part.url, image_mimetype=part.media_type)
        case Document():
            data = None if part.data is None else part.data.encode()
            return DocumentBlock(data=data, url=part.url, document_mimetype=part.media_type, title=part.name)
        case _:
            return TextBlock(text=getattr(part, "text", ""))


def parsed(arguments: dict[str, Any] | str) -> dict[str, Any] | str:
    """Arguments as the dict that some integrations insist on, where they are one."""
    if isinstance(arguments, dict):
        return arguments
    try:
        value = json.loads(arguments or "{}")
    except (ValueError, RecursionError):
        return arguments
    return value if isinstance(value, dict) else arguments
