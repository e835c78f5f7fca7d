"""Anthropic messages: a conversation on a line, or a logged request with its answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agentroute.errors import RequestError
from agentroute.formats.anthropic_messages.requests_in import decode_document
from agentroute.messages import (
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from agentroute.replay.records import Trace

from .calls import first, refuse_error, split, trace_of
from .fields import Raw, anthropic_usage, count_of, text_of, wrong

__all__ = ["is_anthropic", "read"]

_BLOCKS = frozenset({"tool_use", "tool_result", "thinking", "redacted_thinking"})


def is_anthropic(body: Raw, response: Raw | None) -> bool:
    if "system" in body or "anthropic_version" in body:
        return True
    if response is not None and ("stop_reason" in response or isinstance(response.get("content"), list)):
        return True
    tools = body.get("tools")
    if isinstance(tools, list) and any(isinstance(tool, Mapping) and "input_schema" in tool for tool in tools):
        return True
    for message in body["messages"]:
        content = message.get("content") if isinstance(message, Mapping) else None
        if isinstance(content, list):
            for block in content:
                kind = block.get("type") if isinstance(block, Mapping) else None
                if isinstance(kind, str) and kind in _BLOCKS:
                    return True
    return False


def read(line: Raw) -> Trace:
    body, response = split(line)
    raw = body.get("messages")
    if not isinstance(raw, list) or not raw:
        wrong("messages", raw, "a list of messages")
    messages: list[Message] = []
    usages: list[Usage | None] = []
    system = body.get("system")
    if system:
        messages.append(Message("system", tuple(_blocks(system, "system"))))
        usages.append(None)
    for index, item in enumerate(raw):
        for message in _message(item, f"messages[{index}]"):
            messages.append(message)
            usages.append(anthropic_usage(item.get("usage")))
    usage = None
    if response is not None:
        refuse_error(response)
        content = response.get("content")
        if content is None:
            raise RequestError("`response` has no `content`")
        messages.append(Message("assistant", tuple(_blocks(content, "response.content"))))
        usage = anthropic_usage(first(response, line, "usage"))
    tools = body.get("tools") or []
    if not isinstance(tools, list):
        wrong("tools", tools, "a list of tools")
    request = ChatRequest(
        messages=tuple(messages),
        tools=tuple(_tool(tool, index) for index, tool in enumerate(tools)),
        tool_choice=_choice(body.get("tool_choice")),
        sampling=Sampling(max_output_tokens=count_of(body, "max_tokens")),
    )
    return trace_of(
        "anthropic",
        line,
        body,
        response,
        request,
        usages,
        answered=response is not None,
        usage=usage,
    )


def _message(raw: Any, where: str) -> list[Message]:
    """One message of ours, or two: tool results stand in a message of their own, before what the user adds."""
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `role` and `content`")
    role = raw.get("role")
    if role not in ("user", "assistant", "system"):
        wrong(f"{where}.role", role, "user, assistant or system")
    parts = _blocks(raw.get("content"), f"{where}.content")
    if role != "user":
        return [Message(role, tuple(parts))]
    results = tuple(part for part in parts if isinstance(part, ToolResult))
    others = tuple(part for part in parts if not isinstance(part, ToolResult))
    found = [Message("tool", results)] if results else []
    return [*found, Message("user", others)] if others or not found else found


def _blocks(raw: Any, where: str) -> list[Part]:
    if isinstance(raw, str):
        return [Text(raw)]
    if not isinstance(raw, list):
        wrong(where, raw, "a text or a list of blocks")
    return [part for index, block in enumerate(raw) for part in _block(block, f"{where}[{index}]")]


def _block(raw: Any, where: str) -> list[Part]:
    if isinstance(raw, str):
        return [Text(raw)]
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `type`")
    match raw.get("type"):
        case "text":
            return [Text(text_of(raw.get("text"), f"{where}.text"))]
        case "tool_use" | "server_tool_use":
            arguments = json.dumps(raw.get("input") or {}, ensure_ascii=False)
            return [
                ToolCall(text_of(raw.get("id"), f"{where}.id"), text_of(raw.get("name"), f"{where}.name"), arguments)
            ]
        case "tool_result":
            content = _blocks(raw.get("content") or "", f"{where}.content")
            flag = raw.get("is_error")
            return [
                ToolResult(
                    text_of(raw.get("tool_use_id"), f"{where}.tool_use_id"),
                    tuple(part for part in content if isinstance(part, Text | Image | Document)),
                    flag if isinstance(flag, bool) else None,
                )
            ]
        case "thinking":
            return [Reasoning(text_of(raw.get("thinking", ""), f"{where}.thinking"))]
        case "redacted_thinking":
            return [Reasoning("", redacted=True)]
        case "image":
            source = raw.get("source")
            return [_image(source if isinstance(source, Mapping) else {})]
        case "document":
            return [decode_document(raw)]
        case str():
            # A search result, a server tool's own block: it has a size, and nothing else we route by.
            return [Text(json.dumps(raw, ensure_ascii=False))]
        case kind:
            return wrong(f"{where}.type", kind, "the name of a kind of block")


def _image(source: Raw) -> Image:
    url, data, media_type = (source.get(key) for key in ("url", "data", "media_type"))
    return Image(
        url if isinstance(url, str) else None,
        data if isinstance(data, str) else None,
        media_type if isinstance(media_type, str) else None,
    )


def _tool(raw: Any, index: int) -> Tool:
    if not isinstance(raw, Mapping):
        wrong(f"tools[{index}]", raw, "an object with `name` and `input_schema`")
    description, schema = raw.get("description"), raw.get("input_schema")
    return Tool(
        text_of(raw.get("name"), f"tools[{index}].name"),
        description if isinstance(description, str) else "",
        schema if isinstance(schema, Mapping) else {},
    )


def _choice(raw: Any) -> ToolChoice | None:
    match raw.get("type") if isinstance(raw, Mapping) else None:
        case "auto":
            return ToolChoice("auto")
        case "none":
            return ToolChoice("none")
        case "any":
            return ToolChoice("required")
        case "tool":
            return ToolChoice("tool", text_of(raw.get("name"), "tool_choice.name"))
        case _:
            return None
