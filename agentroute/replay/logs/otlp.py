"""OTLP JSON with GenAI conventions: spans and log records of four generations, of Traceloop and of the AI SDK."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
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
from .openinference import exchange_of as openinference_exchange
from .openinference import kind_of as openinference_kind
from .shelf import Shelf
from .spans import Exchange, Kind, Span, Spans

__all__ = ["Otlp", "is_otlp"]

_CALLS = frozenset({"chat", "text_completion", "generate_content", "completion"})
_ERROR = (2, "2", "STATUS_CODE_ERROR", "ERROR")
_INSIDE = 30
"""How deep a value is read; deeper ones are dropped."""


def is_otlp(raw: Raw) -> bool:
    return any(key in raw for key in ("resourceSpans", "resourceLogs", "resource_spans", "resource_logs"))


class Otlp:
    """Gathers batches of spans and log records; children may come before parents, and records before their span."""

    def __init__(self) -> None:
        self._spans = Spans("otlp", self._exchange)
        self._events = Shelf()

    def read(self, raw: Raw, place: Place) -> Found:
        for resource in _list(raw, "resourceSpans", "resource_spans"):
            for scope in _list(resource, "scopeSpans", "scope_spans", "instrumentationLibrarySpans"):
                for span in _list(scope, "spans"):
                    self._span(mapping(span), place)
        for resource in _list(raw, "resourceLogs", "resource_logs"):
            for scope in _list(resource, "scopeLogs", "scope_logs"):
                for record in _list(scope, "logRecords", "log_records"):
                    self._record(mapping(record), place)
        return ()

    def close(self) -> Found:
        yield from self._spans.close()
        self._events.close()

    def _span(self, raw: Raw, place: Place) -> None:
        attributes = attributes_of(raw.get("attributes"))
        name = plain(raw.get("name"))
        kind = _kind(attributes, name)
        span_id, trace = plain(_id(raw, "span")), plain(_id(raw, "trace"))
        failed = dig(raw, "status", "code") in _ERROR or "error.type" in attributes
        why = name_of(raw.get("status"), "message") or name_of(attributes, "error.type", "error.message") or "an error"
        agent = name_of(attributes, "gen_ai.agent.name", "ai.telemetry.functionId", "agent.name")
        result = plain(attributes.get("gen_ai.tool.call.result"))
        label = name_of(attributes, "gen_ai.tool.name", "ai.toolCall.name", "tool.name") if kind == "tool" else agent
        span = Span(
            id=span_id or f"{place.path}:{place.line}",
            trace=trace or str(place.path),
            kind=kind,
            name=label or name.removeprefix("invoke_agent "),
            parent=name_of(raw, "parentSpanId", "parent_span_id"),
            at=time_of(raw.get("startTimeUnixNano", raw.get("start_time_unix_nano"))),
            agent=agent if kind == "call" else None,
            conversation=name_of(
                attributes, "gen_ai.conversation.id", "session.id", "traceloop.association.properties.session_id"
            ),
            call_id=name_of(attributes, "gen_ai.tool.call.id", "ai.toolCall.id") if kind == "tool" else None,
            tool_input=_first_text(attributes, "gen_ai.tool.call.arguments", "ai.toolCall.args", "input.value"),
            failed=(result or why) if failed and kind == "tool" else None,
            dead=why if failed and kind == "call" and not _answered(attributes, raw) else None,
        )
        events = [
            {"name": plain(event.get("name")), "body": attributes_of(event.get("attributes"))}
            for event in map(mapping, _list(raw, "events"))
        ]
        heavy = {"attributes": attributes, "events": events, "place": f"{trace} {span_id}"}
        self._spans.put(span, heavy, place.file, place.line)

    def _record(self, raw: Raw, place: Place) -> None:
        attributes = attributes_of(raw.get("attributes"))
        name = name_of(raw, "eventName", "event_name") or name_of(attributes, "event.name") or ""
        if not name.startswith("gen_ai."):
            return
        body = value_of(raw.get("body"))
        body = {**attributes, **body} if isinstance(body, Mapping) else {**attributes, "content": body}
        at = time_of(raw.get("timeUnixNano", raw.get("observedTimeUnixNano")))
        key = f"{plain(_id(raw, 'trace'))} {plain(_id(raw, 'span'))}"
        self._events.put(key, at, place.line, {"name": name, "body": body})

    def _exchange(self, heavy: Any) -> Exchange:
        attributes: dict[str, Any] = heavy["attributes"]
        if "openinference.span.kind" in attributes:
            return openinference_exchange(attributes)
        events = [*heavy["events"], *(event for _, _, event in self._events.rows(heavy["place"]))]
        for event in events:
            if event["name"] == "gen_ai.client.inference.operation.details" or any(
                key in event["body"] for key in ("gen_ai.input.messages", "gen_ai.output.messages")
            ):
                attributes = {**attributes, **event["body"]}
        asked: list[Any] = []
        pairing = Pairing()
        for head in ("gen_ai.system_instructions", "gen_ai.input.messages"):
            value = whole_json(attributes.get(head), head)
            if value and head == "gen_ai.system_instructions":
                value = [{"role": "system", "parts": value if isinstance(value, list) else [value]}]
            asked += value if isinstance(value, list) else [value] if value else []
        said: Any = whole_json(attributes.get("gen_ai.output.messages"), "gen_ai.output.messages") or []
        asked = asked or [_traceloop(item) for item in numbered(attributes, "gen_ai.prompt")]
        said = said or [_traceloop(item) for item in numbered(attributes, "gen_ai.completion")]
        asked = asked or whole_json(attributes.get("ai.prompt.messages"), "ai.prompt.messages") or []
        said = said or _ai_sdk(attributes)
        if not asked:
            asked, told = _of_events(events)
            said = said or told
        if not isinstance(said, list):
            said = [said]
        messages = messages_of(asked, "gen_ai.input.messages", pairing)
        answer = (
            answer_of([{"role": "assistant", **mapping(item)} for item in said], "answer", pairing) if said else None
        )
        return Exchange(
            messages,
            answer,
            _usage(attributes),
            served_by(
                name_of(attributes, "gen_ai.request.model", "ai.model.id", "llm.request.model"),
                name_of(attributes, "gen_ai.response.model", "ai.response.model"),
            ),
            name_of(attributes, "gen_ai.response.id", "ai.response.id"),
            tools_of(
                attributes.get("gen_ai.tool.definitions")
                or numbered(attributes, "llm.request.functions")
                or [json_of(tool) for tool in attributes.get("ai.prompt.tools") or ()]
            ),
        )


def _kind(attributes: Raw, name: str) -> Kind:
    if "openinference.span.kind" in attributes:
        return openinference_kind(attributes, None)
    sdk = name_of(attributes, "ai.operationId") or (name if name.startswith("ai.") else "")
    if sdk:
        return "call" if ".do" in sdk else "tool" if sdk == "ai.toolCall" else "other"
    operation = name_of(attributes, "gen_ai.operation.name")
    if operation in _CALLS:
        return "call"
    if operation is not None:
        return "agent" if "agent" in operation else "tool" if "tool" in operation else "other"
    loop = name_of(attributes, "traceloop.span.kind")
    if loop is not None:
        return "agent" if loop == "agent" else "tool" if loop == "tool" else "other"
    if name_of(attributes, "llm.request.type") in ("chat", "completion"):
        return "call"
    return "call" if "gen_ai.prompt.0.role" in attributes or "gen_ai.completion.0.role" in attributes else "other"


def _usage(attributes: Raw) -> Any:
    head = "gen_ai.usage."
    return usage_of(
        count_of(
            attributes, f"{head}input_tokens", f"{head}prompt_tokens", "ai.usage.promptTokens", "ai.usage.inputTokens"
        ),
        count_of(
            attributes,
            f"{head}output_tokens",
            f"{head}completion_tokens",
            "ai.usage.completionTokens",
            "ai.usage.outputTokens",
        ),
        read=count_of(
            attributes, f"{head}cache_read.input_tokens", f"{head}cache_read_input_tokens", "ai.usage.cachedInputTokens"
        ),
        written=count_of(
            attributes,
            f"{head}cache_write.input_tokens",
            f"{head}cache_creation.input_tokens",
            f"{head}cache_creation_input_tokens",
        ),
        reasoning=count_of(
            attributes, f"{head}reasoning.output_tokens", f"{head}reasoning_tokens", "ai.usage.reasoningTokens"
        ),
    )


def _answered(attributes: Raw, raw: Raw) -> bool:
    heads = ("gen_ai.output.messages", "gen_ai.completion.", "ai.response.text", "ai.response.toolCalls")
    return (
        any(key.startswith(heads) for key in attributes)
        or count_of(attributes, "gen_ai.usage.output_tokens") is not None
    )


def _traceloop(item: Any) -> Any:
    held = mapping(item)
    content = held.get("content")
    return (
        {"role": "assistant", **held, "content": json_of(content)}
        if isinstance(content, str) and content[:2] == "[{"
        else {
            "role": "assistant",
            **held,
        }
    )


def _ai_sdk(attributes: Raw) -> list[Any]:
    text = attributes.get("ai.response.text", attributes.get("ai.response.object"))
    calls = whole_json(attributes.get("ai.response.toolCalls"), "ai.response.toolCalls")
    if text is None and not calls:
        return []
    return [{"role": "assistant", "content": plain(text), "tool_calls": calls or []}]


def _of_events(events: Iterable[Raw]) -> tuple[list[Any], list[Any]]:
    """Messages that stand in events of their own, by the events' names."""
    asked: list[Any] = []
    said: list[Any] = []
    for event in events:
        name, body = event["name"], mapping(event["body"])
        if name == "gen_ai.choice":
            message = json_of(body.get("message"))
            held = message if isinstance(message, Mapping) else body
            said.append({**held, "tool_calls": json_of(held.get("tool_calls") or body.get("tool_calls"))})
        elif name == "gen_ai.content.prompt":
            asked += json_of(body.get("gen_ai.prompt")) or []
        elif name == "gen_ai.content.completion":
            said += json_of(body.get("gen_ai.completion")) or []
        elif name.startswith("gen_ai.") and name.endswith(".message"):
            role = name.split(".")[1]
            given = {"tool_call_id": body["id"]} if role == "tool" and "id" in body else {}
            asked.append({"role": role, **body, **given, "tool_calls": json_of(body.get("tool_calls"))})
    return asked, said


def attributes_of(raw: Any) -> dict[str, Any]:
    """Attributes of a list of `{key, value}`, or of a plain object."""
    if isinstance(raw, Mapping):
        return {str(key): value for key, value in raw.items()}
    found: dict[str, Any] = {}
    for item in raw if isinstance(raw, list) else ():
        key = dig(item, "key")
        if isinstance(key, str):
            found[key] = value_of(item.get("value"))
    return found


def value_of(raw: Any, depth: int = 0) -> Any:
    """The value inside OTLP's `{stringValue: ...}`."""
    if not isinstance(raw, Mapping) or depth > _INSIDE:
        return raw if depth <= _INSIDE else None
    for key, value in raw.items():
        match key:
            case "stringValue" | "boolValue" | "doubleValue" | "bytesValue" | "string_value" | "bool_value":
                return value
            case "intValue" | "int_value":
                return (
                    int(value)
                    if isinstance(value, str) and value.lstrip("-").isdecimal() and len(value) < 20
                    else value
                )
            case "arrayValue" | "array_value":
                return [value_of(item, depth + 1) for item in _list(value, "values")]
            case "kvlistValue" | "kvlist_value":
                pairs = _list(value, "values")
                return {plain(dig(item, "key")): value_of(dig(item, "value"), depth + 1) for item in pairs}
    return dict(raw) or None


def _list(raw: Any, *keys: str) -> list[Any]:
    found: list[Any] = next(
        (raw[key] for key in keys if isinstance(raw, Mapping) and isinstance(raw.get(key), list)), []
    )
    return list(found)


def _id(raw: Raw, what: str) -> Any:
    return raw.get(f"{what}Id", raw.get(f"{what}_id"))


def _first_text(attributes: Raw, *keys: str) -> str | None:
    value = next((attributes[key] for key in keys if attributes.get(key) is not None), None)
    return None if value is None else plain(value)
