"""A strict server of OpenAI Responses that keeps nothing: what it would refuse in a request, in words."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming
from pydantic import TypeAdapter

from .schemas import OPENAI_NAME, names, openai_strict, openai_tool, root
from .shapes import misshapen

_BODY: TypeAdapter[Any] = TypeAdapter(ResponseCreateParamsNonStreaming)


def violations(body: Mapping[str, Any], signed: Collection[str] = ()) -> list[str]:
    """`signed`: the encrypted reasoning that this model has given out, the only one that it takes back."""
    found = misshapen(_BODY, body)
    given = body["input"]
    items = [{"type": "message", "role": "user", "content": given}] if isinstance(given, str) else given
    if not items:
        found.append("no input")
    waiting: set[str] = set()
    for at, item in enumerate(items):
        kind = item.get("type", "message")
        if kind in ("function_call", "custom_tool_call"):
            if item["call_id"] in waiting:
                found.append("two calls of one call_id")
            if not 0 < len(item["call_id"]) <= 64:
                found.append("call_id: string too long")
            waiting.add(item["call_id"])
        elif kind in ("function_call_output", "custom_tool_call_output"):
            if item["call_id"] not in waiting:
                found.append("no tool call found for function call output")
            waiting.discard(item["call_id"])
        elif kind == "reasoning":
            if item.get("encrypted_content") not in signed:
                found.append("encrypted content could not be verified")
            following = items[at + 1] if at + 1 < len(items) else {}
            own = following.get("type") in ("function_call", "reasoning") or following.get("role") == "assistant"
            if not own:
                found.append("reasoning was provided without its required following item")
    if waiting:
        found.append("no tool output found for function call")
    return found + _tools(body)


def _tools(body: Mapping[str, Any]) -> list[str]:
    functions = [tool for tool in body.get("tools", ()) if tool["type"] == "function"]
    found = names([tool["name"] for tool in functions], OPENAI_NAME)
    for tool in functions:
        found += openai_tool(tool["parameters"], tool.get("strict", True))
    asked = (body.get("text") or {}).get("format") or {}
    if asked.get("type") == "json_schema":
        found += root(asked["schema"]) + (openai_strict(asked["schema"]) if asked.get("strict") else [])
    return found
