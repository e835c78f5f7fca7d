"""A strict server of Mistral's chat completions: what it would refuse in a request, in words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
from pydantic import TypeAdapter

from .openai_chat import pairing
from .shapes import misshapen

_BODY: TypeAdapter[Any] = TypeAdapter(CompletionCreateParamsNonStreaming)
_MAY_FOLLOW = {
    "system": {"user"},
    "user": {"assistant"},
    "assistant": {"user", "tool"},
    "tool": {"tool", "assistant"},
}


def violations(body: Mapping[str, Any]) -> list[str]:
    """The order is that of mistral-common's validator, with the turns that its chat templates demand."""
    messages = body["messages"]
    found = misshapen(_BODY, body) + pairing(messages)
    if messages[0]["role"] not in ("system", "user"):
        found.append("the user does not begin")
    for before, raw in pairwise(messages):
        if raw["role"] not in _MAY_FOLLOW[before["role"]]:
            found.append(f"unexpected role {raw['role']} after role {before['role']}")
    for raw in messages:
        found += [f"unknown field {name}" for name in ("reasoning_content", "reasoning") if name in raw]
        for call in raw.get("tool_calls", ()):
            if not re.fullmatch("[a-zA-Z0-9]{9}", call["id"]):
                found.append("an id that is not 9 letters and digits")
    return found
