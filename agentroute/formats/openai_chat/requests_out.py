"""Canonical requests, written as bodies of the dialect."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentroute.errors import RequestError
from agentroute.formats.base import PLAIN, Encoded
from agentroute.formats.content import fit_content
from agentroute.formats.fitting import fit
from agentroute.formats.foreign import carried, foreign_part, foreign_tool, left_out
from agentroute.formats.media import file_data, file_name, sound_format
from agentroute.formats.reading import data_url
from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseSchema,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)
from agentroute.providers import Quirks
from agentroute.targets.model_rules import UNKNOWN, ModelRules

from .fields import DIALECT, REFUSAL, known_fields

__all__ = ["encode_assistant", "encode_request"]


def encode_request(
    request: ChatRequest,
    *,
    model: str | None = None,
    stream: bool = False,
    quirks: Quirks = PLAIN,
    rules: ModelRules = UNKNOWN,
) -> Encoded:
    """The chat-completions body. `encode_request(decode_request(body)).body` says what `body` said.

    `model` replaces the request's own; `stream` asks for a stream that ends with its usage. Schemas and unknown fields
    are shared with the request, so the body is to be read or sent, not changed.

    The dialect cannot say that a tool failed: `is_error` is left out and the result's own text goes as it is. Reasoning
    goes where `quirks.reasoning_field` says; a message that has nothing else is left out with it.
    """
    content = fit_content(request, DIALECT, rules, quirks)
    request = content.request
    left = left_out(request, DIALECT, shared=rules.openai_settings)
    changes = dict.fromkeys((*content.changes, *left))
    extra = _own_fields(request, rules)
    spelled = "max_tokens" if extra.pop("max_tokens", None) is not None else "max_completion_tokens"
    fitted = fit(request, extra, rules, DIALECT, changes, stream=stream)
    request, extra = fitted.request, fitted.own
    body: dict[str, Any] = {}
    name = model or request.model
    if name is not None:
        body["model"] = name
    body["messages"] = [raw for message in request.messages for raw in _encode_message(message, quirks, changes)]
    _mark_begun_answer(request, body["messages"], rules)
    for raw in body["messages"]:
        if quirks.text_content == "all" or (quirks.text_content == "tools" and raw["role"] == "tool"):
            raw["content"] = _one_text(raw["content"], changes)
    tools = [_encode_tool(tool) for tool in request.tools if not foreign_tool(tool, DIALECT)]
    if tools:
        body["tools"] = tools
    if request.tool_choice is not None and (tools or not request.tools):
        choice = request.tool_choice
        if not quirks.forced_tools and choice.mode in ("required", "tool"):
            choice = ToolChoice("auto")
            changes["the forced tool choice sent as `auto`: this server takes no other"] = None
        body["tool_choice"] = _encode_tool_choice(choice, request.tools)
    if request.parallel_tool_calls is not None:
        body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_schema is not None:
        body["response_format"] = _encode_response_format(request.response_schema, extra.pop("response_format", {}))
    sampling = request.sampling
    for setting in ("temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"):
        value = getattr(sampling, setting)
        if value is not None:
            body[setting] = value
    if sampling.max_output_tokens is not None:
        chosen = spelled if quirks.max_tokens_field == "as_given" else quirks.max_tokens_field
        body[chosen] = sampling.max_output_tokens
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    body.update(fitted.reasoning)
    for key, value in extra.items():
        body.setdefault(key, value)
    for field, named in quirks.renamed:
        if field in body:
            body[named] = body.pop(field)
    for field in quirks.refused:
        if body.pop(field, None) is not None:
            changes[f"`{field}` left out: this server refuses it"] = None
    if stream:
        body["stream"] = True
        if quirks.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return Encoded(body, "/chat/completions", {}, tuple(changes), content.names)


def _own_fields(request: ChatRequest, rules: ModelRules) -> dict[str, Any]:
    extra = request.extra
    if extra is None or extra.dialect == DIALECT or not rules.openai_settings:
        return dict(known_fields(extra))
    return carried(extra.fields, extra.dialect, DIALECT)


def _mark_begun_answer(request: ChatRequest, messages: list[dict[str, Any]], rules: ModelRules) -> None:
    """Mistral and Moonshot continue the assistant's last message only if it says that it is begun."""
    if rules.prefill in ("prefix", "partial") and messages and request.messages[-1].role == "assistant":
        last = messages[-1]
        if last["role"] == "assistant" and "tool_calls" not in last:
            messages[-1] = {**last, rules.prefill: True}


def _encode_message(message: Message, quirks: Quirks, changes: dict[str, None]) -> list[dict[str, Any]]:
    """The wire messages of one message: a message with several tool results becomes several."""
    raw: dict[str, Any]
    if message.role == "assistant":
        raw = encode_assistant(message, quirks)
        if len(raw) == 2 and raw["content"] is None and message.parts:
            if any(isinstance(part, Reasoning) for part in message.parts):
                changes["a message of reasoning only left out: this server takes no reasoning back"] = None
            return []
        if not quirks.message_names:
            _drop_name(raw, changes)
        return [raw]
    spare = known_fields(message.extra)
    if message.role == "tool":
        found: list[dict[str, Any]] = []
        others: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                raw = {"role": "tool", "tool_call_id": part.tool_call_id, "content": _encode_content(part.content)}
                if part.name is not None:
                    raw["name"] = part.name
                if part.is_error:
                    changes["`is_error` of a tool result left out: the dialect has no such field"] = None
                if not quirks.message_names:
                    _drop_name(raw, changes)
                found.append({**raw, **known_fields(part.extra), **spare})
            else:
                others.append(part)
        if others:
            found.append({"role": "user", "content": _encode_content(others)})
        return found
    role = "system" if message.role == "developer" and not quirks.developer_role else message.role
    raw = {"role": role, "content": _encode_content(message.parts)}
    if message.name is not None:
        raw["name"] = message.name
        if not quirks.message_names:
            _drop_name(raw, changes)
    return [{**raw, **spare} if spare else raw]


def _drop_name(raw: dict[str, Any], changes: dict[str, None]) -> None:
    """A tool's name is told by the call it answers, so only that of a speaker is a loss."""
    if raw.pop("name", None) is not None and raw["role"] != "tool":
        changes["`name` of a message left out: this server refuses it"] = None


def encode_assistant(message: Message, quirks: Quirks) -> dict[str, Any]:
    raw: dict[str, Any] = {"role": "assistant", "content": None}
    content: list[Part] = []
    calls: list[dict[str, Any]] = []
    refusals: list[str] = []
    thoughts: dict[str, str] = {}
    for part in message.parts:
        match part:
            case ToolCall():
                calls.append(_encode_tool_call(part))
            case Text(extra=extra) if extra is REFUSAL or known_fields(extra).get("type") == "refusal":
                refusals.append(part.text)
            case Reasoning():
                place = _reasoning_field(part, quirks)
                if part.signature is not None and not part.text:
                    continue
                if place == "content":
                    content.append(part)
                elif place is not None:
                    thoughts[place] = thoughts.get(place, "") + part.text
            case _ if not foreign_part(part, DIALECT):
                content.append(part)
            case _:
                pass
    if content:
        raw["content"] = _encode_content(content)
    if refusals:
        raw["refusal"] = "".join(refusals)
    raw.update(thoughts)
    if calls:
        raw["tool_calls"] = calls
    if message.name is not None:
        raw["name"] = message.name
    raw.update(known_fields(message.extra))
    return raw


def _reasoning_field(part: Reasoning, quirks: Quirks) -> str | None:
    """Where this reasoning goes: a field of the message, `content` for a part kept whole, or None for nowhere."""
    if quirks.reasoning_field != "as_given":
        return quirks.reasoning_field
    spare = known_fields(part.extra)
    if spare.get("type") == "thinking":
        return "content"
    return "reasoning" if spare.get("field") == "reasoning" else "reasoning_content"


def _encode_content(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    """A plain text where one will do (some servers read nothing else), a list of parts where not."""
    held = tuple(part for part in parts if part.extra is None or not foreign_part(part, DIALECT))
    if not held:
        return ""
    if len(held) == 1 and isinstance(held[0], Text) and not known_fields(held[0].extra):
        return held[0].text
    return [_encode_part(part) for part in held]


def _one_text(content: Any, changes: dict[str, None]) -> Any:
    """A list of texts as one text, with a line between them; a list that holds anything else as it is."""
    if not isinstance(content, list) or any(raw.get("type") != "text" for raw in content):
        return content
    if len(content) > 1:
        changes["texts of a message joined by an empty line: this server takes a content as one text"] = None
    if any(raw.keys() != {"type", "text"} for raw in content):
        changes["fields beside a text left out: this server takes a content as one text"] = None
    return "\n\n".join(raw["text"] for raw in content)


def _encode_part(part: Part) -> dict[str, Any]:
    spare = known_fields(part.extra)
    match part:
        case Text() if "type" in spare:
            return {**spare, "refusal": part.text} if spare["type"] == "refusal" else dict(spare)
        case Text():
            return {"type": "text", "text": part.text, **spare}
        case Image():
            picture: dict[str, Any] = {"url": data_url(part), **spare.get("image_url", {})}
            if part.detail is not None:
                picture["detail"] = part.detail
            return {"type": "image_url", **spare, "image_url": picture}
        case Document() if part.data is None:
            return dict(spare)
        case Document():
            file = {"filename": file_name(part), "file_data": file_data(part), **spare.get("file", {})}
            return {"type": "file", **spare, "file": file}
        case Audio():
            sound = {"data": part.data, "format": sound_format(part), **spare.get("input_audio", {})}
            return {"type": "input_audio", **spare, "input_audio": sound}
        case Reasoning() if spare.get("type") == "thinking":
            return dict(spare)
        case _:
            raise RequestError(f"a {type(part).__name__} cannot stand in the content of a message")


def _encode_tool_call(call: ToolCall) -> dict[str, Any]:
    spare = known_fields(call.extra)
    if spare.get("type") == "custom":
        custom = {"name": call.name, "input": call.arguments, **spare.get("custom", {})}
        return {"id": call.id, **spare, "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    if not spare:
        return {"id": call.id, "type": "function", "function": function}
    return {"id": call.id, "type": "function", **spare, "function": {**function, **spare.get("function", {})}}


def _encode_tool(tool: Tool) -> dict[str, Any]:
    spare = known_fields(tool.extra)
    if "type" in spare:
        return dict(spare)
    function: dict[str, Any] = {"name": tool.name}
    if tool.description:
        function["description"] = tool.description
    if tool.parameters:
        function["parameters"] = tool.parameters
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", **spare, "function": {**function, **spare.get("function", {})}}


def _encode_tool_choice(choice: ToolChoice, tools: tuple[Tool, ...]) -> str | dict[str, Any]:
    if choice.mode != "tool":
        return choice.mode
    custom = any(tool.name == choice.name and known_fields(tool.extra).get("type") == "custom" for tool in tools)
    kind = "custom" if custom else "function"
    return {"type": kind, kind: {"name": choice.name}}


def _encode_response_format(schema: ResponseSchema, spare: Mapping[str, Any]) -> dict[str, Any]:
    if schema.schema is None:
        return {"type": "json_object", **spare}
    inner: dict[str, Any] = {"name": schema.name or "answer", "schema": schema.schema}
    if schema.strict is not None:
        inner["strict"] = schema.strict
    return {"type": "json_schema", **spare, "json_schema": {**inner, **spare.get("json_schema", {})}}
