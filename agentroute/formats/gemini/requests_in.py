"""Request bodies of the dialect, read into canonical values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats.reading import Raw, show, wrong
from agentroute.formats.reasoning import read
from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseSchema,
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

from .fields import DIALECT, GENERATION, camel, dump, rest_of
from .parts import call_fields, decode_media, kept_whole
from .schema import json_schema

__all__ = ["decode_request"]

_REQUEST_FIELDS: Final = (
    "contents",
    "systemInstruction",
    "tools",
    "toolConfig",
    "generationConfig",
    "model",
)
_ROLES: Final[Mapping[str, Role]] = {"user": "user", "model": "assistant", "function": "tool"}
_FLOATS: Final = {
    "temperature": "temperature",
    "topP": "top_p",
    "presencePenalty": "presence_penalty",
    "frequencyPenalty": "frequency_penalty",
}
_COUNTS: Final = {"maxOutputTokens": "max_output_tokens", "seed": "seed"}
_FORM: Final = ("responseMimeType", "responseSchema", "responseJsonSchema")


def decode_request(body: Mapping[str, Any]) -> ChatRequest:
    """Reads a generateContent body. Raises RequestError naming the field, its place and its value.

    The model stands in the URL, so it stays None unless the body names one. A function response becomes a tool result
    in a message of its own: its `{"result": text}` is that text, `{"error": text}` is an error, any other object is its
    JSON. Without an id it answers the first open call of its name. A setting of `generationConfig` without a canonical
    name is kept under its own (`thinkingConfig`, `topK`), so that it stands before a target's setting of that name.
    """
    if not isinstance(body, Mapping):
        raise RequestError(f"the request is {show(body)}; give a generateContent body (an object)")
    body = camel(body)
    contents = body.get("contents")
    if not isinstance(contents, list | tuple):
        wrong("contents", contents, "a list of contents")
    if not contents:
        raise RequestError("`contents` is empty; give at least one")
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        wrong("model", model, "a text")
    tools = _decode_tools(body.get("tools"))
    extra = rest_of(body, *_REQUEST_FIELDS)
    choice, config = _decode_tool_config(body.get("toolConfig"), tools)
    if config:
        extra["toolConfig"] = config
    sampling, schema, others = _decode_generation(body.get("generationConfig"))
    extra.update(others)
    return ChatRequest(
        messages=(*_decode_system(body.get("systemInstruction")), *_decode_contents(contents)),
        model=model.removeprefix("models/") if model else None,
        tools=tools,
        tool_choice=choice,
        response_schema=schema,
        sampling=sampling,
        reasoning=read(DIALECT, extra) if extra else None,
        extra=Extra(DIALECT, extra) if extra else None,
    )


def _decode_system(raw: Any) -> tuple[Message, ...]:
    if raw is None:
        return ()
    if isinstance(raw, str):
        return (Message("system", (Text(raw),)),)
    if not isinstance(raw, Mapping):
        wrong("systemInstruction", raw, "an object with `parts`")
    parts = [_decode_part(part, where) for part, where in _parts(raw, "systemInstruction")]
    return (Message("system", tuple(parts)),) if parts else ()


def _parts(content: Raw, where: str) -> list[tuple[Raw, str]]:
    raw = content.get("parts")
    if raw is None:
        return []
    if not isinstance(raw, list | tuple):
        raw = [raw]
    found = []
    for index, part in enumerate(raw):
        place = f"{where}.parts[{index}]"
        if not isinstance(part, Mapping):
            wrong(place, part, "an object")
        found.append((camel(part), place))
    return found


def _decode_contents(contents: Any) -> list[Message]:
    messages: list[Message] = []
    calls: list[ToolCall] = []
    for index, content in enumerate(contents):
        where = f"contents[{index}]"
        if not isinstance(content, Mapping):
            wrong(where, content, "an object with `role` and `parts`")
        role = content.get("role")
        said = _ROLES.get(role or "user") if isinstance(role, str | None) else None
        if said is None:
            wrong(f"{where}.role", role, "'user' or 'model'")
        spare = rest_of(content, "role", "parts")
        held: list[tuple[Role, list[Part]]] = []
        for raw, place in _parts(content, where):
            speaker = said
            part: Part
            if "functionCall" in raw:
                part = _decode_call(raw, place, f"call_{index}_{len(calls)}")
                calls.append(part)
                speaker = "assistant"
            elif "functionResponse" in raw:
                part = _decode_result(raw, place, calls, f"call_{index}_{len(messages)}_{len(held)}")
                speaker = "tool"
            elif raw:
                part = _decode_part(raw, place)
                speaker = "user" if said == "tool" else said
            else:
                continue
            if not held or held[-1][0] != speaker:
                held.append((speaker, []))
            held[-1][1].append(part)
        extra = Extra(DIALECT, spare) if spare else None
        messages.extend(Message(speaker, tuple(parts), None, extra) for speaker, parts in held)
    return messages


def _decode_part(raw: Raw, where: str) -> Part:
    text = raw.get("text")
    if text is None:
        return decode_media(raw) or kept_whole(raw)
    if not isinstance(text, str):
        wrong(f"{where}.text", text, "a text")
    if raw.get("thought") is True:
        signature = raw.get("thoughtSignature")
        if signature is not None and not isinstance(signature, str):
            wrong(f"{where}.thoughtSignature", signature, "base64 text")
        return Reasoning(text, signature, extra=Extra(DIALECT, rest_of(raw, "text", "thought", "thoughtSignature")))
    if len(raw) == 1:
        return Text(text)
    spare = rest_of(raw, "text")
    return Text(text, Extra(DIALECT, spare) if spare else None)


def _decode_call(raw: Raw, where: str, spare_id: str) -> ToolCall:
    call_id, name, arguments, spare = call_fields(raw, where)
    return ToolCall(call_id or spare_id, name, arguments, Extra(DIALECT, spare) if spare else None)


def _decode_result(raw: Raw, where: str, calls: list[ToolCall], spare_id: str) -> ToolResult:
    """The result; what it answers is no longer open."""
    where = f"{where}.functionResponse"
    held = raw["functionResponse"]
    if not isinstance(held, Mapping):
        wrong(where, held, "an object with `name` and `response`")
    held = camel(held)
    call_id, name, response = held.get("id"), held.get("name"), held.get("response")
    if call_id is not None and not isinstance(call_id, str):
        wrong(f"{where}.id", call_id, "the id of the call that this result answers")
    if not isinstance(name, str):
        wrong(f"{where}.name", name, "the name of a function")
    if response is not None and not isinstance(response, Mapping):
        wrong(f"{where}.response", response, "an object")
    answered = next((call for call in calls if (call.id == call_id if call_id else call.name == name)), None)
    if answered is not None:
        calls.remove(answered)
        call_id = answered.id
    text, is_error = _decode_response(response, where)
    content: list[Text | Image | Document] = [Text(text)] if text else []
    pictures = held.get("parts")
    for picture in pictures if isinstance(pictures, list) else ():
        if isinstance(picture, Mapping):
            content.append(_decode_attached(camel(picture)))
    spare = rest_of(raw, "functionResponse")
    inner = rest_of(held, "id", "name", "response", "parts")
    if inner:
        spare["functionResponse"] = inner
    return ToolResult(call_id or spare_id, tuple(content), is_error, name, Extra(DIALECT, spare) if spare else None)


def _decode_response(response: Raw | None, where: str) -> tuple[str, bool | None]:
    if response is None:
        return "", None
    match response:
        case {"result": str(text)} if len(response) == 1:
            return text, None
        case {"error": str(text)} if len(response) == 1:
            return text, True
        case _:
            return dump(response, f"{where}.response"), None


def _decode_attached(raw: Raw) -> Text | Image | Document:
    """A file that lies in the function response: one with an extra of this dialect goes back there."""
    file = decode_media(raw)
    if file is None or isinstance(file, Audio):
        return kept_whole(raw)
    return replace(file, extra=file.extra or Extra(DIALECT, {}))


def _decode_tools(raw: Any) -> tuple[Tool, ...]:
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        wrong("tools", raw, "a list of tools")
    tools: list[Tool] = []
    for index, entry in enumerate(raw):
        if not isinstance(entry, Mapping):
            wrong(f"tools[{index}]", entry, "an object")
        entry = camel(entry)
        declarations = entry.get("functionDeclarations") or ()
        if not isinstance(declarations, list | tuple):
            wrong(f"tools[{index}].functionDeclarations", declarations, "a list of functions")
        for position, function in enumerate(declarations):
            tools.append(_decode_function(function, f"tools[{index}].functionDeclarations[{position}]"))
        # Google's own tools (search, code execution) have no JSON schema, so each is kept whole.
        tools.extend(
            Tool(name, extra=Extra(DIALECT, {name: value}))
            for name, value in rest_of(entry, "functionDeclarations").items()
        )
    return tuple(tools)


def _decode_function(raw: Any, where: str) -> Tool:
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `name` and `parametersJsonSchema`")
    raw = camel(raw)
    name, description = raw.get("name"), raw.get("description")
    if not isinstance(name, str) or not name:
        wrong(f"{where}.name", name, "a name")
    if description is not None and not isinstance(description, str):
        wrong(f"{where}.description", description, "a text")
    schema, older = raw.get("parametersJsonSchema"), raw.get("parameters")
    for key, value in (("parametersJsonSchema", schema), ("parameters", older)):
        if value is not None and not isinstance(value, Mapping):
            wrong(f"{where}.{key}", value, "a schema (an object)")
    schema = _any_form(schema, older) or {}
    spare = rest_of(raw, "name", "description", "parameters", "parametersJsonSchema")
    return Tool(name, description or "", schema, extra=Extra(DIALECT, spare) if spare else None)


def _any_form(schema: Raw | None, older: Raw | None) -> Raw | None:
    """The JSON schema, however it came: Google's own field, and that for JSON schemas with Google's own types in it."""
    if schema is None:
        return json_schema(older) if older else None
    kind = schema.get("type")
    return json_schema(schema) if isinstance(kind, str) and kind.isupper() else schema


def _decode_tool_config(raw: Any, tools: tuple[Tool, ...]) -> tuple[ToolChoice | None, dict[str, Any]]:
    """The choice, and what of the configuration it cannot say."""
    if raw is None:
        return None, {}
    if not isinstance(raw, Mapping):
        wrong("toolConfig", raw, "an object with `functionCallingConfig`")
    config = dict(camel(raw))
    calling = config.pop("functionCallingConfig", None)
    if calling is None:
        return None, config
    if not isinstance(calling, Mapping):
        wrong("toolConfig.functionCallingConfig", calling, "an object with `mode`")
    rest = dict(camel(calling))
    mode, names = rest.get("mode"), rest.get("allowedFunctionNames")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        wrong("toolConfig.functionCallingConfig.allowedFunctionNames", names, "a list of names")
    choice: ToolChoice | None = None
    match mode.upper() if isinstance(mode, str) else mode:
        case "AUTO":
            choice = ToolChoice("auto")
        case "NONE":
            choice = ToolChoice("none")
        case "ANY" if names and len(names) == 1:
            choice = ToolChoice("tool", names[0])
            del rest["allowedFunctionNames"]
        case "ANY":
            choice = ToolChoice("required")
            if not names or {tool.name for tool in tools} <= set(names):
                rest.pop("allowedFunctionNames", None)
        case None | "MODE_UNSPECIFIED":
            rest.pop("mode", None)
        case str():
            pass
        case _:
            wrong("toolConfig.functionCallingConfig.mode", mode, "'AUTO', 'ANY' or 'NONE'")
    if choice is not None:
        del rest["mode"]
    if rest:
        config["functionCallingConfig"] = rest
    return choice, config


def _decode_generation(raw: Any) -> tuple[Sampling, ResponseSchema | None, dict[str, Any]]:
    """How tokens are drawn, the form of the answer, and the settings we have no name for."""
    if raw is None:
        return Sampling(), None, {}
    if not isinstance(raw, Mapping):
        wrong("generationConfig", raw, "an object")
    raw = camel(raw)
    found: dict[str, Any] = {}
    for key, name in _FLOATS.items():
        value = raw.get(key)
        if value is not None and (not isinstance(value, int | float) or isinstance(value, bool)):
            wrong(f"generationConfig.{key}", value, "a number")
        found[name] = value
    for key, name in _COUNTS.items():
        value = raw.get(key)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool)):
            wrong(f"generationConfig.{key}", value, "a whole number")
        found[name] = value
    stop = raw.get("stopSequences") or ()
    if not isinstance(stop, list | tuple) or not all(isinstance(text, str) for text in stop):
        wrong("generationConfig.stopSequences", stop, "a list of texts")
    schema, form = _decode_form(raw)
    rest = rest_of(raw, *_FLOATS, *_COUNTS, "stopSequences", *_FORM)
    others = {key: value for key, value in rest.items() if key in GENERATION} | form
    unknown = {key: value for key, value in rest.items() if key not in GENERATION}
    if unknown:
        others["generationConfig"] = unknown
    return Sampling(**found, stop=tuple(stop)), schema, others


def _decode_form(raw: Raw) -> tuple[ResponseSchema | None, dict[str, Any]]:
    kind, schema, older = (raw.get(key) for key in _FORM[:1] + _FORM[:0:-1])
    for key, value in (("responseJsonSchema", schema), ("responseSchema", older)):
        if value is not None and not isinstance(value, Mapping):
            wrong(f"generationConfig.{key}", value, "a schema (an object)")
    if kind == "application/json":
        return ResponseSchema(_any_form(schema, older)), {}
    return None, {key: raw[key] for key in _FORM if raw.get(key) is not None and raw[key] != "text/plain"}
