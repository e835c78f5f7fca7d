"""What a request body asks of its model's prompt cache: its reasoning setting and its cache markers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from agentroute.replay.records import Asked

from .fields import Raw

__all__ = ["asked_of"]

_REASONING = ("reasoning_effort", "reasoning", "thinking", "thinking_budget", "enable_thinking", "output_config")
"""The fields by which bodies of any dialect set how much a model thinks."""

_MARKER = "cache_control"


def asked_of(body: Raw) -> Asked:
    """What a body of the OpenAI or Anthropic dialects says of its cache."""
    told = {name: body[name] for name in _REASONING if body.get(name) is not None}
    head = [*_markers(body.get("tools")), *_markers(body.get("system"))]
    raw = body.get("messages")
    messages: list[Any] = raw if isinstance(raw, list) else []
    head += [mark for each in messages if _is_system(each) for mark in _markers(each)]
    others = [each for each in messages if not _is_system(each)]
    in_others = [list(_markers(each)) for each in others]
    all_of_it = [body[_MARKER]] if isinstance(body.get(_MARKER), Mapping) else []
    found = [*head, *(mark for marks in in_others for mark in marks), *all_of_it]
    return Asked(
        reasoning=json.dumps(told, sort_keys=True, default=str) if told else None,
        markers=len(found),
        head=bool(head),
        end=bool(all_of_it) or any(in_others[-2:]),
        hour=any(mark.get("ttl") == "1h" for mark in found),
    )


def _is_system(message: Any) -> bool:
    return isinstance(message, Mapping) and message.get("role") in ("system", "developer")


def _markers(value: Any, depth: int = 0) -> Iterator[Mapping[str, Any]]:
    """The markers on a message, block or tool, on its content, and on that of its results."""
    if isinstance(value, list):
        for item in value:
            yield from _markers(item, depth)
    elif isinstance(value, Mapping):
        mark = value.get(_MARKER)
        if isinstance(mark, Mapping):
            yield mark
        if depth < 2:
            yield from _markers(value.get("content"), depth + 1)
