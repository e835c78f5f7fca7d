"""ShareGPT conversations: `from` and `value`, calls and results as texts of their own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from agentroute.messages import Message, Text
from agentroute.replay.records import Trace

from .fields import Raw, json_of, mapping, name_of, text_of
from .messages import Pairing, answer_of, said, tools_of
from .thread import Thread

__all__ = ["is_sharegpt", "read"]

_HUMAN = frozenset({"human", "user", "prompter"})
_MODEL = frozenset({"gpt", "assistant", "model", "chatgpt", "bing", "bard", "function_call", "tool_call"})
_TOOL = frozenset({"observation", "tool", "function", "tool_response", "function_response"})


def is_sharegpt(raw: Raw) -> bool:
    turns = raw.get("conversations")
    return isinstance(turns, list) and bool(turns) and isinstance(turns[0], Mapping) and "from" in turns[0]


def read(raw: Raw) -> Iterator[Trace]:
    """The calls of one conversation; neighbouring turns of the model are one answer."""
    thread, pairing = Thread("sharegpt", name_of(raw, "id")), Pairing()
    thread.tools = tools_of(raw.get("tools"))
    if isinstance(raw.get("system"), str) and raw["system"]:
        thread.add([Message("system", (Text(raw["system"]),))])
    spoken: dict[str, Any] = {}
    for index, turn in enumerate(map(mapping, raw["conversations"])):
        who, where = turn.get("from"), f"conversations[{index}]"
        words = text_of(turn.get("value"), f"{where}.value")
        if who in _MODEL:
            if who in ("function_call", "tool_call"):
                calls = json_of(words)
                spoken.setdefault("tool_calls", []).extend(calls if isinstance(calls, list) else [calls])
            else:
                spoken["content"] = spoken.get("content", "") + words
            continue
        if spoken:
            thread.answer(answer_of({"role": "assistant", **spoken}, where, pairing))
            spoken = {}
        role = "tool" if who in _TOOL else "user" if who in _HUMAN else who
        thread.add(said({"role": role, "content": words}, where, pairing))
    if spoken:
        thread.answer(answer_of({"role": "assistant", **spoken}, "conversations", pairing))
    model = name_of(raw, "model")
    for trace in thread.trace():
        yield trace if model is None else _by(trace, model)


def _by(trace: Trace, model: str) -> Trace:
    return replace(trace, calls=tuple(replace(call, model=model) for call in trace.calls))
