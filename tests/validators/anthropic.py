"""A strict server of Anthropic Messages: what it would refuse in a request, in words."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from itertools import pairwise
from typing import Any

from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
from pydantic import TypeAdapter

from .schemas import ANTHROPIC_NAME, claude_answer, names, pictures, root
from .shapes import misshapen

_BODY: TypeAdapter[Any] = TypeAdapter(MessageCreateParamsNonStreaming)
_THINKING = ("thinking", "redacted_thinking")


def violations(body: Mapping[str, Any], signed: Collection[str] = ()) -> list[str]:
    """`signed`: the signatures this model has given out, the only ones that it takes back."""
    messages = [{**raw, "content": _blocks(raw["content"])} for raw in body["messages"]]
    found = misshapen(_BODY, body) + _order(messages) + _pairing(messages)
    for raw in messages:
        for block in raw["content"]:
            found += _block(block, signed)
    found += _thinking(body, messages) + _tools(body) + pictures(body["messages"])
    answer = (body.get("output_config") or {}).get("format")
    if answer is not None:
        found += claude_answer(answer["schema"])
    if messages and messages[-1]["role"] == "assistant":
        end = messages[-1]["content"][-1]
        if end["type"] == "text" and end["text"] != end["text"].rstrip():
            found.append("final assistant content cannot end with trailing whitespace")
    if sum(1 for _ in _markers(body)) > 4:
        found.append("a maximum of 4 blocks with cache_control may be provided")
    return found


def _tools(body: Mapping[str, Any]) -> list[str]:
    tools = [tool for tool in body.get("tools", ()) if tool.get("type", "custom") == "custom"]
    found = names([tool["name"] for tool in tools], ANTHROPIC_NAME)
    for tool in tools:
        schema = tool["input_schema"]
        found += root(schema) + (claude_answer(schema) if tool.get("strict") else [])
    return found


def _blocks(content: Any) -> list[dict[str, Any]]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _order(messages: list[dict[str, Any]]) -> list[str]:
    found = [] if messages else ["at least one message is required"]
    if messages and messages[0]["role"] != "user":
        found.append("first message must use the user role")
    for before, raw in pairwise(messages):
        if before["role"] == raw["role"]:
            found.append("roles must alternate")
    found += ["content must not be empty" for raw in messages if not raw["content"]]
    return found


def _pairing(messages: list[dict[str, Any]]) -> list[str]:
    found = []
    seen: set[str] = set()
    waiting: set[str] = set()
    for raw in messages:
        results = [block["tool_use_id"] for block in raw["content"] if block["type"] == "tool_result"]
        if set(results) != waiting or len(set(results)) < len(results):
            found.append("tool_use ids and tool_result blocks of the next message do not match")
        kinds = [block["type"] == "tool_result" for block in raw["content"]]
        if kinds != sorted(kinds, reverse=True):
            found.append("tool_result blocks must come first")
        calls = [block["id"] for block in raw["content"] if block["type"] == "tool_use"]
        for call in calls:
            if call in seen:
                found.append("tool_use ids must be unique")
            if not re.fullmatch("[a-zA-Z0-9_-]{1,64}", call):
                found.append("tool_use.id: string should match pattern '^[a-zA-Z0-9_-]{1,64}$'")
            seen.add(call)
        waiting = set(calls)
    if waiting:
        found.append("tool_use without tool_result at the end")
    return found


def _block(block: Mapping[str, Any], signed: Collection[str]) -> list[str]:
    match block["type"]:
        case "text" if not block["text"].strip():
            return ["text content blocks must contain non-whitespace text"]
        case "thinking" if block["signature"] not in signed:
            return ["invalid signature in thinking block"]
        case "redacted_thinking" if block["data"] not in signed:
            return ["invalid data in redacted_thinking block"]
        case "tool_result":
            return [problem for held in _blocks(block.get("content", [])) for problem in _block(held, signed)]
        case _:
            return []


def _thinking(body: Mapping[str, Any], messages: list[dict[str, Any]]) -> list[str]:
    found = []
    spoken = [raw for raw in messages if raw["role"] == "assistant"]
    if any(raw["content"][-1]["type"] in _THINKING for raw in spoken):
        found.append("the final block in an assistant message cannot be thinking")
    if (body.get("thinking") or {}).get("type") != "enabled" or not spoken:
        return found
    last = spoken[-1]["content"]
    running = messages[-1]["role"] == "assistant" or any(block["type"] == "tool_use" for block in last)
    if running and last[0]["type"] not in _THINKING:
        found.append("expected thinking or redacted_thinking, but found another block")
    return found


def _markers(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        if value.get("cache_control"):
            yield value
        for held in value.values():
            yield from _markers(held)
    elif isinstance(value, list):
        for held in value:
            yield from _markers(held)
