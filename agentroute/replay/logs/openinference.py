"""OpenInference spans (Phoenix): from its UI, its command line, a data frame, or inside OTLP."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from .base import Found, Place
from .fields import (
    Raw,
    count_of,
    dig,
    json_of,
    mapping,
    name_of,
    numbered,
    plain,
    served_by,
    time_of,
    usage_of,
    whole_json,
)
from .messages import Pairing, answer_of, messages_of, tools_of
from .spans import Exchange, Kind, Span, Spans

__all__ = ["OpenInference", "exchange_of", "is_openinference", "kind_of"]

_KINDS: Mapping[str, Kind] = {"LLM": "call", "AGENT": "agent", "TOOL": "tool"}


def is_openinference(raw: Raw) -> bool:
    if "context.trace_id" in raw or "context.span_id" in raw:
        return True
    if isinstance(raw.get("context"), Mapping) and ("trace_id" in raw["context"] or "traceId" in raw["context"]):
        return "span_kind" in raw or "spanKind" in raw or "attributes" in raw
    if isinstance(raw.get("spans"), list) and ("traceId" in raw or "trace_id" in raw):
        return True
    return "openinference.span.kind" in mapping(raw.get("attributes"))


class OpenInference:
    """Reads spans of any of these shapes; nested attributes are read like dotted ones."""

    def __init__(self) -> None:
        self._spans = Spans("openinference", exchange_of)

    def read(self, raw: Raw, place: Place) -> Found:
        if isinstance(raw.get("spans"), list):
            for span in raw["spans"]:
                self._span({"trace_id": raw.get("traceId", raw.get("trace_id")), **mapping(span)}, place)
        else:
            self._span(raw, place)
        return ()

    def close(self) -> Found:
        return self._spans.close()

    def _span(self, raw: Raw, place: Place) -> None:
        attributes = _attributes(raw)
        context = mapping(raw.get("context"))
        span_id = plain(raw.get("context.span_id", context.get("span_id", raw.get("span_id", raw.get("id")))))
        trace = raw.get("context.trace_id", context.get("trace_id", raw.get("trace_id", raw.get("traceId"))))
        kind = kind_of(attributes, raw.get("span_kind", raw.get("spanKind")))
        failed = raw.get("status_code", raw.get("statusCode")) == "ERROR"
        message = plain(raw.get("status_message", raw.get("statusMessage")))
        span = Span(
            id=span_id or f"{place.path}:{place.line}",
            trace=plain(trace) or str(place.path),
            kind=kind,
            name=name_of(attributes, "agent.name", "tool.name") or name_of(raw, "name") or "",
            parent=name_of(raw, "parent_id", "parentId", "parent_span_id"),
            at=time_of(raw.get("start_time", raw.get("startTime"))),
            conversation=name_of(attributes, "session.id"),
            tool_input=name_of(attributes, "input.value") if kind == "tool" else None,
            failed=message if failed and kind == "tool" else None,
            dead=message or "an error" if failed and kind == "call" and not _answered(attributes) else None,
            outcomes=dict(_annotations(raw)),
        )
        self._spans.put(span, attributes, place.file, place.line)


def kind_of(attributes: Raw, given: Any) -> Kind:
    word = attributes.get("openinference.span.kind", given)
    return _KINDS.get(str(word).upper(), "other")


def _answered(attributes: Raw) -> bool:
    return any(key.startswith("llm.output_messages") for key in attributes)


def _annotations(raw: Raw) -> Iterator[tuple[str, Any]]:
    for note in json_of(raw.get("annotations")) or ():
        result = mapping(dig(note, "result"))
        name = name_of(note, "name")
        value = result.get("score") if result.get("score") is not None else result.get("label")
        if name is not None and isinstance(value, int | float | str):
            yield name, value


def _attributes(raw: Raw) -> dict[str, Any]:
    """Attributes under dotted names: given so, nested, or as columns of a data frame."""
    found: dict[str, Any] = {}
    for key, value in raw.items():
        if key.startswith("attributes.") and not _is_gap(value):
            _flatten(key[len("attributes.") :], value, found)
    for key, value in mapping(raw.get("attributes")).items():
        _flatten(key, value, found)
    return found


def _flatten(key: str, value: Any, found: dict[str, Any], depth: int = 0) -> None:
    if isinstance(value, Mapping) and value and depth < 12:
        for inner, held in value.items():
            if not _is_gap(held):
                _flatten(f"{key}.{inner}", held, found, depth + 1)
    elif isinstance(value, list | tuple) and any(isinstance(item, Mapping) for item in value) and depth < 12:
        for index, item in enumerate(value):
            _flatten(f"{key}.{index}", item, found, depth + 1)
    else:
        found[key] = value


def _is_gap(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def exchange_of(attributes: Raw) -> Exchange:
    pairing = Pairing()
    asked = [_message(item) for item in numbered(attributes, "llm.input_messages")]
    if not asked:
        request = whole_json(attributes.get("input.value"), "input.value")
        asked = dig(request, "messages") or ([request] if isinstance(request, str) and request else [])
    messages = messages_of(asked, "llm.input_messages", pairing)
    said = [_message(item) for item in numbered(attributes, "llm.output_messages")]
    answer = answer_of(said, "llm.output_messages", pairing) if said else None
    details = "llm.token_count.prompt_details."
    usage = usage_of(
        count_of(attributes, "llm.token_count.prompt"),
        count_of(attributes, "llm.token_count.completion"),
        read=count_of(attributes, f"{details}cache_read", f"{details}cache_input"),
        written=count_of(attributes, f"{details}cache_write"),
        reasoning=count_of(attributes, "llm.token_count.completion_details.reasoning"),
    )
    asked_for = name_of(attributes, "llm.request.model_name") or name_of(
        mapping(attributes.get("llm.invocation_parameters")), "model"
    )
    model = served_by(asked_for, name_of(attributes, "llm.model_name"))
    tools = [_schema(item) for item in numbered(attributes, "llm.tools")]
    return Exchange(messages, answer, usage, model, tools=tools_of(tools))


def _message(item: Any) -> Any:
    held = mapping(dig(item, "message")) or mapping(item)
    contents = held.get("contents")
    if not isinstance(contents, list):
        return held
    parts = [dict(mapping(dig(part, "message_content"))) for part in contents]
    for part in parts:
        image = dig(part, "image", "image", "url") or dig(part, "image", "url")
        if image is not None:
            part["image"] = image
    return {**held, "content": parts}


def _schema(item: Any) -> Any:
    return json_of(dig(item, "tool", "json_schema") or dig(item, "json_schema") or item)
