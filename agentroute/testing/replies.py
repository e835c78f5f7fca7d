"""What a scripted model says, and how its tokens are counted."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from agentroute.messages import FinishReason, ToolCall, Usage

__all__ = ["ScriptedReply", "count_tokens", "tool_call"]

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 85


@dataclass(frozen=True, slots=True)
class ScriptedReply:
    """One answer. `reasoning` is what the model thought before it. `finish_reason` None is derived (`tool_calls` where
    there are any, else `stop`); `usage` None is counted by `count_tokens`, with the cached prefix that was found.

    A tool call without an id is given one that depends on the conversation alone.
    """

    text: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    reasoning: str = ""


def tool_call(name: str, /, **arguments: Any) -> ToolCall:
    """A call for a reply to make; the provider gives it its id.

    >>> tool_call("read_file", path="shop/cart.py").arguments
    '{"path": "shop/cart.py"}'
    """
    return ToolCall(id="", name=name, arguments=json.dumps(arguments, ensure_ascii=False))


def count_tokens(value: Any) -> int:
    """Tokens of a JSON value: one for every 4 characters of its texts, numbers and keys, rounded up; an image is 85.

    A scripted model counts `4 + count_tokens(message)` for each message, and the tools and the schema beside them.
    """
    characters, images = _measure(value)
    return -(-characters // CHARACTERS_PER_TOKEN) + images * TOKENS_PER_IMAGE


def _measure(value: Any) -> tuple[int, int]:
    if isinstance(value, str):
        return len(value), 0
    if isinstance(value, Mapping):
        if value.get("type") == "image_url":
            return 0, 1
        pairs = [_measure(item) for item in value.values()]
        return sum(map(len, value)) + sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    if isinstance(value, list | tuple):
        pairs = [_measure(item) for item in value]
        return sum(p[0] for p in pairs), sum(p[1] for p in pairs)
    return (0 if value is None else len(json.dumps(value))), 0
