"""A strict server of DeepSeek's thinking models: what it would refuse in a request, in words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from .openai_chat import functions, json_mode, pairing
from .shapes import misshapen

_BODY: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)


def violations(body: Mapping[str, Any]) -> list[str]:
    """`Missing reasoning_content field in the assistant message` is asked of every step of the running turn."""
    messages = body["messages"]
    found = misshapen(_BODY, body) + pairing(messages) + functions(body) + json_mode(body, schemas=False)
    found += [f"unknown variant {tool['type']}" for tool in body.get("tools", ()) if tool["type"] != "function"]
    turn = max((at for at, raw in enumerate(messages) if raw["role"] == "user"), default=-1)
    for raw in messages[turn + 1 :]:
        if raw["role"] == "assistant" and not isinstance(raw.get("reasoning_content"), str):
            found.append("no reasoning_content beside the assistant's words")
    return found
