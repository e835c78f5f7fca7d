"""Langfuse observations and scores: bucket exports (JSONL, JSON, CSV, Parquet) and what its UI and API give."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from .base import Found, Place
from .fields import Raw, count_of, dig, json_of, mapping, name_of, plain, time_of, usage_of
from .messages import Pairing, answer_of, messages_of, tools_of
from .spans import Exchange, Kind, Span, Spans

__all__ = ["Langfuse", "is_langfuse"]

_TYPES: Mapping[str, Kind] = {"GENERATION": "call", "AGENT": "agent", "TOOL": "tool"}
_KINDS = frozenset(
    "GENERATION SPAN EVENT AGENT TOOL CHAIN RETRIEVER EVALUATOR EMBEDDING GUARDRAIL".split(),
)
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def is_langfuse(raw: Raw) -> bool:
    has_trace = "trace_id" in raw or "traceId" in raw
    if has_trace and raw.get("type") in _KINDS:
        return True
    if ("data_type" in raw or "dataType" in raw) and ("string_value" in raw or "stringValue" in raw or "value" in raw):
        return True
    observations = raw.get("observations")
    if isinstance(observations, list) and observations and isinstance(observations[0], Mapping):
        return is_langfuse(observations[0])
    return ("projectId" in raw or "project_id" in raw) and ("bookmarked" in raw or "public" in raw) and "id" in raw


class Langfuse:
    """Gathers rows in any order, from any of the folders; the row that was updated last counts."""

    def __init__(self) -> None:
        self._spans = Spans("langfuse", _exchange)

    def read(self, raw: Raw, place: Place) -> Found:
        self._row(_snake(raw), place)
        for inner in raw.get("observations") or ():
            if isinstance(inner, Mapping):
                trace = {key: raw[key] for key in ("sessionId", "session_id") if key in raw}
                self._row(_snake({"traceId": raw.get("id"), **trace, **inner}), place)
        for score in raw.get("scores") or ():
            if isinstance(score, Mapping):
                self._row(_snake({"traceId": raw.get("id"), **score}), place)
        return ()

    def close(self) -> Found:
        return self._spans.close()

    def _row(self, row: Raw, place: Place) -> None:
        if row.get("type") in _KINDS:
            self._observation(row, place)
        elif "data_type" in row:
            self._score(row)

    def _score(self, row: Raw) -> None:
        name = name_of(row, "name")
        owner = name_of(row, "trace_id", "observation_id", "session_id")
        text = row.get("string_value")
        words = row.get("data_type") in ("CATEGORICAL", "TEXT") and isinstance(text, str)
        value = text if words else json_of(row.get("value"))
        if isinstance(value, str) and not words:
            try:
                value = float(value)
            except ValueError:
                return
        if name is not None and owner is not None and isinstance(value, int | float | str):
            self._spans.label(owner, name, value)

    def _observation(self, row: Raw, place: Place) -> None:
        kind = _TYPES.get(row["type"], "other")
        failed = row.get("level") == "ERROR"
        why = name_of(row, "status_message") or "an error"
        output = row.get("output")
        span = Span(
            id=plain(row.get("id")) or f"{place.path}:{place.line}",
            trace=plain(row.get("trace_id")),
            kind=kind,
            name=name_of(row, "name") or "",
            parent=name_of(row, "parent_observation_id"),
            at=time_of(row.get("start_time")),
            conversation=name_of(row, "session_id"),
            tool_input=plain(row["input"]) if kind == "tool" and row.get("input") else None,
            failed=why if failed and kind == "tool" else None,
            dead=why if failed and kind == "call" and not output else None,
            updated=plain(row.get("updated_at")),
        )
        self._spans.put(span, row if kind == "call" else None, place.file, place.line)


def _snake(raw: Raw) -> dict[str, Any]:
    return {_CAMEL.sub("_", key).lower(): value for key, value in raw.items()}


def _exchange(row: Any) -> Exchange:
    asked, answer, pairing = json_of(row.get("input")), json_of(row.get("output")), Pairing()
    tools = (
        json_of(row.get("tool_definitions"))
        or dig(asked, "tools")
        or dig(json_of(row.get("model_parameters")), "tools")
    )
    system = dig(asked, "system") or dig(asked, "instructions")
    if isinstance(asked, Mapping) and "messages" not in asked:
        asked = asked.get(
            "input", asked.get("contents", asked.get("prompt", [{"role": "user", "content": plain(asked)}]))
        )
    messages = messages_of(asked, "input", pairing) if asked else []
    if system:
        messages = [*messages_of([{"role": "system", "content": system}], "input.system"), *messages]
    if isinstance(answer, Mapping) and isinstance(answer.get("choices"), list) and answer["choices"]:
        answer = dig(answer["choices"][0], "message")
    elif isinstance(answer, Mapping) and isinstance(answer.get("output"), list):
        answer = answer["output"]
    elif isinstance(answer, Mapping) and isinstance(answer.get("messages"), list):
        answer = answer["messages"][-1:]
    said = answer_of(answer, "output", pairing) if answer else None
    calls = [json_of(call) for call in json_of(row.get("tool_calls")) or ()]
    if calls and (said is None or not said.tool_calls):
        held = {"role": "assistant", "content": "" if said is None else said.text, "tool_calls": calls}
        said = answer_of(held, "tool_calls", pairing)
    return Exchange(
        messages,
        said,
        _usage(row),
        name_of(row, "provided_model_name", "model"),
        name_of(answer, "id"),
        tools_of(tools),
    )


def _usage(row: Raw) -> Any:
    """`usage_details` has parts that add up to `total`: what was cached stands beside `input`."""
    held = mapping(row.get("usage_details"))
    if not held:
        older = mapping(row.get("usage"))
        return usage_of(
            count_of(older, "input", "promptTokens", "prompt_tokens") or count_of(row, "prompt_tokens"),
            count_of(older, "output", "completionTokens", "completion_tokens") or count_of(row, "completion_tokens"),
        )
    total = count_of(held, "total")
    output = sum(value for key in held if key.startswith("output") and (value := count_of(held, key)) is not None)
    has_output = any(key.startswith("output") for key in held)
    read = count_of(held, "input_cached_tokens", "cache_read_input_tokens", "input_cache_read")
    written = count_of(held, "input_cache_creation", "cache_creation_input_tokens", "input_cache_creation_tokens")
    if total is not None and has_output and total >= output:
        return usage_of(total - output, output, read=read, written=written)
    parts = [count_of(held, key) for key in held if key.startswith(("input", "cache_"))]
    known = [part for part in parts if part is not None]
    return usage_of(sum(known) if known else None, output if has_output else None, read=read, written=written)
