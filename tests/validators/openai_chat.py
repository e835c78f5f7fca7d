"""A strict server of OpenAI chat completions: what it would refuse in a request, in words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from .schemas import OPENAI_NAME, names, openai_strict, openai_tool, root
from .shapes import misshapen

_BODY: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
_FIELDS = {
    "system": {"role", "content", "name"},
    "developer": {"role", "content", "name"},
    "user": {"role", "content", "name"},
    "tool": {"role", "content", "name", "tool_call_id"},
    "assistant": {"role", "content", "name", "tool_calls", "refusal", "audio"},
}


def violations(body: Mapping[str, Any]) -> list[str]:
    found = misshapen(_BODY, body) + pairing(body["messages"]) + functions(body) + json_mode(body)
    for raw in body["messages"]:
        found += [f"{raw['role']}: unknown field {name}" for name in raw.keys() - _FIELDS[raw["role"]]]
        for call in raw.get("tool_calls", ()):
            if not 0 < len(call["id"]) <= 40:
                found.append(f"id of {len(call['id'])} characters, 40 at most")
    return found


def functions(body: Mapping[str, Any]) -> list[str]:
    held = [tool["function"] for tool in body.get("tools", ()) if tool["type"] == "function"]
    called = [call for raw in body["messages"] for call in raw.get("tool_calls", ()) if call["type"] == "function"]
    found = names([function["name"] for function in held], OPENAI_NAME)
    found += names(list({call["function"]["name"] for call in called}), OPENAI_NAME)
    for function in held:
        found += openai_tool(function.get("parameters", {"type": "object", "properties": {}}), function.get("strict"))
    return found


def json_mode(body: Mapping[str, Any], *, schemas: bool = True) -> list[str]:
    asked = body.get("response_format") or {}
    if asked.get("type") == "json_object" and "json" not in json.dumps(body["messages"]).lower():
        return ["'messages' must contain the word 'json' in some form"]
    if asked.get("type") != "json_schema":
        return []
    if not schemas:
        return ["This response_format type is unavailable now"]
    held = asked["json_schema"]
    found = names([held["name"]], OPENAI_NAME) + root(held["schema"])
    return found + (openai_strict(held["schema"]) if held.get("strict") else [])


def pairing(messages: list[Mapping[str, Any]]) -> list[str]:
    """What every server of the dialect demands: a result for each call right behind it, and no other result."""
    found = [] if messages else ["no messages"]
    waiting: set[str] = set()
    for raw in messages:
        if raw["role"] == "tool":
            if raw["tool_call_id"] not in waiting:
                found.append("a result without a call before it")
            waiting.discard(raw["tool_call_id"])
            if not isinstance(raw["content"], str) and any(part["type"] != "text" for part in raw["content"]):
                found.append("a result holds more than text")
            continue
        if waiting:
            found.append("a call without a result behind it")
        waiting = set()
        if raw["role"] == "assistant":
            ids = [call["id"] for call in raw.get("tool_calls", ())]
            if len(set(ids)) < len(ids):
                found.append("two calls of one id")
            waiting = set(ids)
            if not ids and not raw.get("content") and not raw.get("refusal"):
                found.append("the assistant says nothing")
            if not isinstance(raw.get("content"), str | None) and any(
                part["type"] not in ("text", "refusal") for part in raw["content"]
            ):
                found.append("the assistant's content holds more than text")
    if waiting:
        found.append("a call without a result at the end")
    return found
