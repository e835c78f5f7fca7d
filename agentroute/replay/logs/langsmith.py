"""LangSmith runs: exports as lines, arrays, `{runs: [...]}` or Parquet; of LangChain and of wrapped clients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .base import Found, Place
from .fields import Raw, dig, json_of, mapping, name_of, plain, served_by, time_of
from .langchain import usage_of_metadata
from .messages import Pairing, answer_of, messages_of, tools_of
from .spans import Exchange, Kind, Span, Spans

__all__ = ["LangSmith", "is_langsmith"]

_CONVERSATIONS = ("thread_id", "session_id", "conversation_id")
_WRAPPERS = ("Runnable", "ChatPromptTemplate", "_write", "ChannelWrite")
"""Chains by these names are LangChain's own plumbing: no agent."""


def is_langsmith(raw: Raw) -> bool:
    return "run_type" in raw and any(key in raw for key in ("dotted_order", "trace_id", "parent_run_id"))


class LangSmith:
    """Gathers runs in any order; chains repeat the sums of their calls, and are read for the names of agents only."""

    def __init__(self) -> None:
        self._spans = Spans("langsmith", _exchange)

    def read(self, raw: Raw, place: Place) -> Found:
        metadata = mapping(dig(mapping(raw.get("extra")), "metadata"))
        name, error, node = name_of(raw, "name") or "", raw.get("error"), name_of(metadata, "langgraph_node")
        run_type = raw.get("run_type")
        kind: Kind = "other"
        if run_type == "llm":
            kind = "call"
        elif run_type == "tool":
            kind = "tool"
        elif run_type == "chain" and name != node and not name.startswith(_WRAPPERS):
            kind = "agent"
        outcomes = {}
        for key, stats in mapping(raw.get("feedback_stats")).items():
            score = dig(json_of(stats), "avg")
            if isinstance(score, int | float):
                outcomes[str(key)] = score
        span = Span(
            id=plain(raw.get("id")) or f"{place.path}:{place.line}",
            trace=plain(raw.get("trace_id")) or plain(raw.get("dotted_order")).split(".")[0] or plain(raw.get("id")),
            kind=kind,
            name=name,
            parent=name_of(raw, "parent_run_id") or _parent(raw),
            at=time_of(raw.get("start_time")),
            conversation=name_of(metadata, *_CONVERSATIONS),
            tool_input=_tool_input(raw) if kind == "tool" else None,
            failed=plain(error).partition(": ")[2] or plain(error) if error and kind == "tool" else None,
            dead=plain(error).partition("(")[0][:60] if error and kind == "call" else None,
            node=node,
            outcomes=outcomes,
        )
        self._spans.put(span, raw if kind == "call" else None, place.file, place.line)
        return ()

    def close(self) -> Found:
        return self._spans.close()


def _parent(raw: Raw) -> str | None:
    """The run above, from `dotted_order`: times and ids of all runs above this one."""
    above = plain(raw.get("dotted_order")).split(".")[:-1]
    return above[-1].partition("Z")[2] or None if above else None


def _tool_input(raw: Raw) -> str:
    held = dig(mapping(raw.get("inputs")), "input")
    words = plain(held if held is not None else json_of(raw.get("inputs")))
    return words.replace("'", '"')  # Python's way to write a dict


def _exchange(raw: Any) -> Exchange:
    extra, inputs, outputs = mapping(raw.get("extra")), mapping(raw.get("inputs")), mapping(raw.get("outputs"))
    parameters, metadata = mapping(extra.get("invocation_params")), mapping(extra.get("metadata"))
    pairing = Pairing()
    asked = inputs.get("messages", inputs.get("prompts", inputs.get("input")))
    if isinstance(asked, list) and asked and isinstance(asked[0], str):
        asked = [{"role": "user", "content": text} for text in asked]
    messages = messages_of(asked, "inputs.messages", pairing) if asked else []
    if inputs.get("system"):
        messages = [*messages_of([{"role": "system", "content": inputs["system"]}]), *messages]
    generation = outputs.get("generations")
    while isinstance(generation, list) and generation:
        generation = generation[0]
    said: Any = None
    held: Raw = {}
    if isinstance(generation, Mapping):
        message = mapping(generation.get("message"))
        held = mapping(message.get("kwargs")) or mapping(message.get("data")) or message
        said = message or generation.get("text")
    elif isinstance(outputs.get("choices"), list) and outputs["choices"]:
        said = dig(outputs["choices"][0], "message")
    elif "output" in outputs or "content" in outputs:
        said = outputs.get("output", outputs.get("content"))
    elif "role" in outputs or "messages" in outputs:
        said = outputs.get("messages", outputs)
        said = said[-1] if isinstance(said, list) and said else said
    answer = answer_of(said, "outputs", pairing) if said else None
    usage = (
        mapping(held.get("usage_metadata")) or mapping(outputs.get("usage_metadata")) or mapping(outputs.get("usage"))
    )
    usage = (
        usage or mapping(metadata.get("usage_metadata")) or mapping(dig(outputs, "llm_output", "token_usage")) or raw
    )
    answered = name_of(mapping(held.get("response_metadata")), "model_name", "model") or name_of(outputs, "model")
    return Exchange(
        messages,
        answer,
        usage_of_metadata(usage),
        served_by(name_of(metadata, "ls_model_name") or name_of(parameters, "model", "model_name"), answered),
        name_of(held, "id") or name_of(outputs, "id"),
        tools_of(parameters.get("tools") or inputs.get("tools") or parameters.get("functions")),
    )
