"""The OpenAI chat-completions dialect: bodies, answers, stream chunks and errors, to and from the canonical values.

Pure functions over parsed JSON; nothing here knows a client, a clock or a provider's address. What the canonical values
have no field for is kept in an `Extra` of this dialect and put back on the way out.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, NoReturn, TypeAlias

from agentroute.errors import BadResponse, RequestError
from agentroute.events import (
    Event,
    Finished,
    ReasoningDelta,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
)
from agentroute.formats.failures import decode_error
from agentroute.messages import (
    ChatRequest,
    ChatResponse,
    Extra,
    FinishReason,
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
    Usage,
)

__all__ = [
    "DIALECT",
    "Flavour",
    "StreamDecoder",
    "decode_error",
    "decode_request",
    "decode_response",
    "decode_usage",
    "encode_request",
    "encode_response",
    "response_warnings",
]

DIALECT: Final = "openai_chat"

_Raw: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Flavour:
    """Where the providers of this dialect differ in what they accept. The default changes nothing.

    `developer_role` False sends such messages as `system`. `max_tokens_field` and `reasoning_field` name the field;
    `"as_given"` keeps the caller's, None for reasoning leaves it out (OpenAI itself rejects it).
    """

    developer_role: bool = True
    max_tokens_field: Literal["max_tokens", "max_completion_tokens", "as_given"] = "as_given"
    reasoning_field: Literal["reasoning_content", "reasoning", "as_given"] | None = "as_given"
    stream_usage: bool = True


_PLAIN = Flavour()


def _draft(frozen: type) -> Any:
    """A mutable twin of a frozen class, of the same layout: fill every field, then set `__class__` to the frozen one.

    A frozen __init__ goes through object.__setattr__ for each field and takes four times as long, which is most of the
    time of reading a long conversation.
    """
    return type(f"_{frozen.__name__}Draft", (), {"__slots__": tuple(f.name for f in fields(frozen))})


_MessageDraft = _draft(Message)
_TextDraft = _draft(Text)
_ToolCallDraft = _draft(ToolCall)
_ToolResultDraft = _draft(ToolResult)

_ROLES: Final[Mapping[str, Role]] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}
_MESSAGE_FIELDS = frozenset({"role", "content", "name"})
_TOOL_FIELDS = frozenset({"role", "content", "name", "tool_call_id"})
_ASSISTANT_FIELDS = frozenset(
    {"role", "content", "name", "refusal", "tool_calls", "function_call", "reasoning_content", "reasoning"}
)
_REQUEST_FIELDS = frozenset(
    {
        "messages",
        "model",
        "tools",
        "functions",
        "tool_choice",
        "function_call",
        "parallel_tool_calls",
        "response_format",
        "temperature",
        "top_p",
        "max_completion_tokens",
        "stop",
        "seed",
        "presence_penalty",
        "frequency_penalty",
        "stream",
        "stream_options",
    }
)
_REFUSAL = Extra(DIALECT, {"type": "refusal"})
_REASONING = Extra(DIALECT, {"field": "reasoning"})


# --- requests: wire -> canonical -------------------------------------------------------------------------------------


def decode_request(body: Mapping[str, Any]) -> ChatRequest:
    """Reads a chat-completions body. Raises RequestError naming the field, its place and its value.

    `stream` and `stream_options` are the caller's way of reading the answer, not part of the request, and are left out.
    The older `functions`, `function_call` and role `function` become tools. The body is not changed and not copied:
    schemas and unknown fields are shared with it.
    """
    if not isinstance(body, Mapping):
        raise RequestError(f"the request is {_show(body)}; give a chat-completions body (an object)")
    raw_messages = body.get("messages")
    if not isinstance(raw_messages, list | tuple):
        raise RequestError(f"`messages` is {_show(raw_messages)}; give a list of messages")
    if not raw_messages:
        raise RequestError("`messages` is empty; give at least one message")
    messages = _decode_messages(raw_messages)
    if len(body) == 1:
        return ChatRequest(messages)

    model = body.get("model")
    if model is not None and not isinstance(model, str):
        _wrong("model", model, "a text")
    raw_tools = body.get("tools")
    tools = _decode_tools(raw_tools) if raw_tools else _decode_functions(body.get("functions") or ())
    raw_choice = body.get("tool_choice")
    if raw_choice is None:
        raw_choice = body.get("function_call")
    tool_choice = None if raw_choice is None else _decode_tool_choice(raw_choice)
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        _wrong("parallel_tool_calls", parallel, "true or false")
    raw_format = body.get("response_format")
    schema, format_rest = (None, None) if raw_format is None else _decode_response_format(raw_format)
    extra = {name: body[name] for name in body if name not in _REQUEST_FIELDS}
    if format_rest:
        extra["response_format"] = format_rest
    if raw_choice is not None and tool_choice is None:
        extra["tool_choice"] = raw_choice
    return ChatRequest(
        messages=messages,
        model=model,
        tools=tools,
        tool_choice=tool_choice,
        parallel_tool_calls=parallel,
        response_schema=schema,
        sampling=_decode_sampling(body),
        extra=Extra(DIALECT, extra) if extra else None,
    )


def _decode_messages(raw_messages: Iterable[Any]) -> tuple[Message, ...]:
    """The hot loop: the three common shapes are read here, every other one by `_decode_message`."""
    messages: list[Message] = []
    add = messages.append
    for raw in raw_messages:
        parts: tuple[Part, ...] | None = None
        try:
            role = raw["role"]
            size = len(raw)
            content = raw["content"]
            if role == "tool":
                call_id = raw["tool_call_id"]
                if size == 3 and type(content) is str and type(call_id) is str:
                    text = _TextDraft()
                    text.text = content
                    text.extra = None
                    text.__class__ = Text
                    result = _ToolResultDraft()
                    result.tool_call_id = call_id
                    result.content = (text,)
                    result.is_error = result.name = result.extra = None
                    result.__class__ = ToolResult
                    parts = (result,)
            elif size == 2:
                if type(content) is str and role in _PLAIN_ROLES:
                    text = _TextDraft()
                    text.text = content
                    text.extra = None
                    text.__class__ = Text
                    parts = (text,)
            elif size == 3 and role == "assistant":
                parts = _decode_call_message(content, raw["tool_calls"])
        except (KeyError, TypeError):
            pass
        if parts is None:
            add(_decode_message(raw, len(messages), messages))
        else:
            message = _MessageDraft()
            message.role = role
            message.parts = parts
            message.name = message.extra = None
            message.__class__ = Message
            add(message)
    return tuple(messages)


_PLAIN_ROLES = frozenset({"system", "user", "assistant", "developer"})


def _decode_call_message(content: Any, calls: Any) -> tuple[Part, ...] | None:
    """An assistant message of text (or null) and plain calls; None or KeyError for one that needs a closer look."""
    if type(calls) is not list:
        return None
    parts: list[Part] = []
    if content is not None:
        if type(content) is not str:
            return None
        parts.append(Text(content))
    for raw in calls:
        function = raw["function"]
        call_id = raw["id"]
        name = function["name"]
        arguments = function["arguments"]
        if len(raw) != 3 or len(function) != 2 or raw["type"] != "function" or type(arguments) is not str:
            return None
        if type(call_id) is not str or type(name) is not str or not call_id:
            return None
        call = _ToolCallDraft()
        call.id = call_id
        call.name = name
        call.arguments = arguments
        call.extra = None
        call.__class__ = ToolCall
        parts.append(call)
    return tuple(parts)


def _decode_message(raw: Any, index: int, before: list[Message]) -> Message:
    where = f"messages[{index}]"
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `role` and `content`")
    role = raw.get("role")
    canonical = _ROLES.get(role) if isinstance(role, str) else None
    if canonical is None:
        _wrong(f"{where}.role", role, "one of " + ", ".join(_ROLES))
    name = raw.get("name")
    if name is not None and not isinstance(name, str):
        _wrong(f"{where}.name", name, "a text")
    if canonical == "assistant":
        parts, spare = _decode_assistant(raw, where, f"call_{index}")
        return Message("assistant", parts, name, Extra(DIALECT, spare) if spare else None)
    content = _decode_content(raw.get("content"), f"{where}.content")
    if canonical != "tool":
        return Message(canonical, content, name, _rest(raw, _MESSAGE_FIELDS))
    call_id = raw.get("tool_call_id")
    if call_id is None:
        call_id = _unanswered_call(before)
    if not isinstance(call_id, str):
        _wrong(f"{where}.tool_call_id", call_id, "the id of the call that this result answers")
    held = tuple(part for part in content if isinstance(part, Text | Image))
    return Message("tool", (ToolResult(call_id, held, None, name),), None, _rest(raw, _TOOL_FIELDS))


def _unanswered_call(before: list[Message]) -> str | None:
    """The first call of the last assistant message that has no result yet: what a result without an id must answer."""
    answered: set[str] = set()
    for message in reversed(before):
        if message.role == "assistant":
            return next((call.id for call in message.tool_calls if call.id not in answered), None)
        answered.update(result.tool_call_id for result in message.tool_results)
    return None


def _decode_assistant(raw: _Raw, where: str, spare_id: str) -> tuple[tuple[Part, ...], dict[str, Any]]:
    """The parts of an assistant message, in a history or in an answer, and its unknown fields.

    A call without an id gets `spare_id` and its position.
    """
    parts: list[Part] = []
    spare: dict[str, Any] = {key: raw[key] for key in raw if key not in _ASSISTANT_FIELDS}
    thoughts, spoken = raw.get("reasoning_content"), raw.get("reasoning")
    for name, thought in (("reasoning_content", thoughts), ("reasoning", spoken)):
        if thought is not None and not isinstance(thought, str):
            spare[name] = thought
    if isinstance(thoughts, str):
        # Also an empty one: DeepSeek wants the field there beside the calls it made.
        parts.append(Reasoning(thoughts))
        if isinstance(spoken, str) and spoken and spoken != thoughts:
            spare["reasoning"] = spoken
    elif isinstance(spoken, str):
        parts.append(Reasoning(spoken, extra=_REASONING))
    parts.extend(_decode_content(raw.get("content"), f"{where}.content"))
    refusal = raw.get("refusal")
    if refusal is not None:
        if not isinstance(refusal, str):
            _wrong(f"{where}.refusal", refusal, "a text")
        parts.append(Text(refusal, _REFUSAL))
    calls = raw.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list | tuple):
            _wrong(f"{where}.tool_calls", calls, "a list of calls")
        for position, call in enumerate(calls):
            parts.append(_decode_tool_call(call, f"{spare_id}_{position}", f"{where}.tool_calls[{position}]"))
    old_call = raw.get("function_call")
    if old_call is not None and not calls:
        parts.append(_decode_tool_call({"function": old_call}, f"{spare_id}_0", f"{where}.function_call"))
    return tuple(parts), spare


def _decode_tool_call(raw: Any, spare_id: str, where: str) -> ToolCall:
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `id` and `function`")
    call_id = raw.get("id") or spare_id
    if not isinstance(call_id, str):
        _wrong(f"{where}.id", call_id, "a text")
    kind = "custom" if raw.get("type") == "custom" else "function"
    function = raw.get(kind)
    if not isinstance(function, Mapping):
        _wrong(f"{where}.{kind}", function, "an object with `name` and `arguments`")
    name = function.get("name")
    if not isinstance(name, str):
        _wrong(f"{where}.{kind}.name", name, "the name of a tool")
    arguments = function.get("input" if kind == "custom" else "arguments")
    if isinstance(arguments, Mapping):
        arguments = _dump(arguments, f"{where}.function.arguments")
    elif arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        _wrong(f"{where}.{kind}.arguments", arguments, "JSON text")
    spare = {key: raw[key] for key in raw if key not in ("id", "type", kind)}
    inner = {key: function[key] for key in function if key not in ("name", "arguments", "input")}
    if kind == "custom":
        spare["type"] = "custom"
    if inner:
        spare[kind] = inner
    return ToolCall(call_id, name, arguments, Extra(DIALECT, spare) if spare else None)


def _decode_content(raw: Any, where: str) -> tuple[Part, ...]:
    if isinstance(raw, str):
        return (Text(raw),)
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        _wrong(where, raw, "a text, a list of parts or null")
    parts: list[Part] = []
    for position, part in enumerate(raw):
        parts.append(_decode_part(part, f"{where}[{position}]"))
    return tuple(parts)


def _decode_part(raw: Any, where: str) -> Part:
    if isinstance(raw, str):
        return Text(raw)
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `type`")
    match raw.get("type"):
        case "text":
            text = raw.get("text")
            if not isinstance(text, str):
                _wrong(f"{where}.text", text, "a text")
            return Text(text, None if len(raw) == 2 else _rest(raw, _TEXT_FIELDS))
        case "image_url":
            return _decode_image(raw, where)
        case "refusal" if isinstance(raw.get("refusal"), str):
            return Text(raw["refusal"], _REFUSAL)
        case "thinking":
            return _decode_thinking(raw, where)
        case str():
            return Text("", Extra(DIALECT, dict(raw)))
        case kind:
            return _wrong(f"{where}.type", kind, "the name of a kind of part")


_TEXT_FIELDS = frozenset({"type", "text"})
_IMAGE_FIELDS = frozenset({"type", "image_url"})


def _decode_image(raw: _Raw, where: str) -> Image:
    picture = raw.get("image_url")
    url = picture.get("url") if isinstance(picture, Mapping) else picture
    if not isinstance(url, str):
        _wrong(f"{where}.image_url", picture, "an object with `url`")
    detail = picture.get("detail") if isinstance(picture, Mapping) else None
    if detail is not None and not isinstance(detail, str):
        _wrong(f"{where}.image_url.detail", detail, "a text")
    spare: dict[str, Any] = {}
    if isinstance(picture, Mapping):
        inner = {key: picture[key] for key in picture if key not in ("url", "detail")}
        if inner:
            spare["image_url"] = inner
    extra = _rest(raw, _IMAGE_FIELDS, spare)
    if url.startswith("data:"):
        head, comma, data = url[5:].partition(",")
        media_type, _, encoding = head.partition(";")
        if comma and encoding == "base64":
            return Image(data=data, media_type=media_type or None, detail=detail, extra=extra)
    return Image(url=url, detail=detail, extra=extra)


def _decode_thinking(raw: _Raw, where: str) -> Reasoning:
    """Mistral's reasoning: `{"type": "thinking", "thinking": [{"type": "text", "text": ...}]}`, kept whole."""
    thinking = raw.get("thinking")
    pieces = thinking if isinstance(thinking, list) else [{"text": thinking}]
    texts: list[str] = []
    for piece in pieces:
        text = piece.get("text") if isinstance(piece, Mapping) else None
        if not isinstance(text, str):
            _wrong(f"{where}.thinking", thinking, "a text or a list of text parts")
        texts.append(text)
    return Reasoning("".join(texts), extra=Extra(DIALECT, dict(raw)))


def _decode_tools(raw: Any) -> tuple[Tool, ...]:
    if not isinstance(raw, list | tuple):
        _wrong("tools", raw, "a list of tools")
    tools = []
    for index, tool in enumerate(raw):
        if not isinstance(tool, Mapping):
            _wrong(f"tools[{index}]", tool, "an object with `type` and `function`")
        kind = tool.get("type")
        function = tool.get("function")
        if isinstance(function, Mapping) and kind in ("function", None):
            spare = {key: tool[key] for key in tool if key not in ("type", "function")} if len(tool) > 2 else {}
            tools.append(_decode_function(function, f"tools[{index}].function", spare))
        elif isinstance(kind, str) and kind != "function":
            # A provider's own tool (web search, custom grammar): no JSON schema, so it is kept whole.
            named = tool.get(kind)
            name = named.get("name") if isinstance(named, Mapping) else tool.get("name")
            tools.append(Tool(name if isinstance(name, str) else kind, extra=Extra(DIALECT, dict(tool))))
        else:
            _wrong(f"tools[{index}].function", function, "an object with `name` and `parameters`")
    return tuple(tools)


def _decode_functions(raw: Any) -> tuple[Tool, ...]:
    if not isinstance(raw, list | tuple):
        _wrong("functions", raw, "a list of functions")
    return tuple(_decode_function(function, f"functions[{index}]", {}) for index, function in enumerate(raw))


def _decode_function(raw: Any, where: str, spare: dict[str, Any]) -> Tool:
    if not isinstance(raw, Mapping):
        _wrong(where, raw, "an object with `name` and `parameters`")
    name = raw.get("name")
    if not isinstance(name, str) or not name:
        _wrong(f"{where}.name", name, "a name")
    description = raw.get("description")
    if description is not None and not isinstance(description, str):
        _wrong(f"{where}.description", description, "a text")
    parameters = raw.get("parameters")
    if parameters is not None and not isinstance(parameters, Mapping):
        _wrong(f"{where}.parameters", parameters, "a JSON schema (an object)")
    strict = raw.get("strict")
    if strict is not None and not isinstance(strict, bool):
        _wrong(f"{where}.strict", strict, "true or false")
    inner = {key: raw[key] for key in raw if key not in _FUNCTION_FIELDS}
    if inner:
        spare["function"] = inner
    return Tool(name, description or "", parameters or {}, strict, Extra(DIALECT, spare) if spare else None)


_FUNCTION_FIELDS = frozenset({"name", "description", "parameters", "strict"})


def _decode_tool_choice(raw: Any) -> ToolChoice | None:
    """The choice, or None for one that the canonical values cannot say (`allowed_tools`), which is kept as it is."""
    match raw:
        case "auto" | "none" | "required":
            return ToolChoice(raw)
        case "any":
            return ToolChoice("required")
        case {"type": ("function" | "custom") as kind} if isinstance(raw.get(kind), Mapping):
            name = raw[kind].get("name")
        case {"name": name} if len(raw) == 1:
            pass
        case {"type": str()}:
            return None
        case _:
            _wrong("tool_choice", raw, "'auto', 'none', 'required' or an object naming a function")
    if not isinstance(name, str):
        _wrong("tool_choice", raw, "an object naming a function")
    return ToolChoice("tool", name)


def _decode_response_format(raw: Any) -> tuple[ResponseSchema | None, dict[str, Any] | None]:
    """The schema, and what else stood there."""
    if not isinstance(raw, Mapping):
        _wrong("response_format", raw, "an object with `type`")
    kind = raw.get("type")
    rest = {key: raw[key] for key in raw if key not in ("type", "json_schema")}
    if kind == "text":
        return None, rest
    if kind == "json_object":
        return ResponseSchema(), rest
    if kind != "json_schema":
        if not isinstance(kind, str):
            _wrong("response_format.type", kind, "'text', 'json_object' or 'json_schema'")
        return None, dict(raw)
    inner = raw.get("json_schema")
    if not isinstance(inner, Mapping):
        _wrong("response_format.json_schema", inner, "an object with `name` and `schema`")
    schema, name, strict = inner.get("schema"), inner.get("name"), inner.get("strict")
    if schema is not None and not isinstance(schema, Mapping):
        _wrong("response_format.json_schema.schema", schema, "a JSON schema (an object)")
    if name is not None and not isinstance(name, str):
        _wrong("response_format.json_schema.name", name, "a text")
    if strict is not None and not isinstance(strict, bool):
        _wrong("response_format.json_schema.strict", strict, "true or false")
    deeper = {key: inner[key] for key in inner if key not in ("schema", "name", "strict")}
    if deeper:
        rest["json_schema"] = deeper
    return ResponseSchema({} if schema is None else schema, name, strict), rest


def _decode_sampling(body: _Raw) -> Sampling:
    found: dict[str, Any] = {}
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        value = body.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
                _wrong(name, value, "a number")
            found[name] = value
    limit_name = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    for name, held in ((limit_name, "max_output_tokens"), ("seed", "seed")):
        value = body.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int):
                _wrong(name, value, "a whole number")
            found[held] = value
    stop = body.get("stop")
    if stop is not None:
        if isinstance(stop, str):
            found["stop"] = (stop,)
        elif isinstance(stop, list | tuple) and all(isinstance(text, str) for text in stop):
            found["stop"] = tuple(stop)
        else:
            _wrong("stop", stop, "a text or a list of texts")
    return Sampling(**found) if found else _NO_SAMPLING


_NO_SAMPLING = Sampling()


def _rest(raw: _Raw, known: frozenset[str], more: Mapping[str, Any] | None = None) -> Extra | None:
    """The fields that are not known, if there are any."""
    rest = {key: raw[key] for key in raw if key not in known}
    if more:
        rest.update(more)
    return Extra(DIALECT, rest) if rest else None


def _wrong(where: str, value: Any, wanted: str) -> NoReturn:
    raise RequestError(f"`{where}` is {_show(value)}; give {wanted}")


def _show(value: Any) -> str:
    """A value for an error message: short, printable, and without walking through a deep one."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:60] + "..."
        return ascii(short) if not short.isprintable() else repr(short)
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | Mapping) else "")


def _dump(value: Any, where: str) -> str:
    try:
        return json.dumps(value, ensure_ascii=False)
    except (ValueError, TypeError, RecursionError) as error:
        problem = f"{type(error).__name__}: {error}"
    raise RequestError(f"`{where}` cannot be written as JSON: {problem}")


# --- requests: canonical -> wire -------------------------------------------------------------------------------------


def encode_request(
    request: ChatRequest, *, model: str | None = None, stream: bool = False, flavour: Flavour = _PLAIN
) -> dict[str, Any]:
    """The chat-completions body. `encode_request(decode_request(body))` says what `body` said.

    `model` replaces the request's own; `stream` asks for a stream that ends with its usage. Schemas and unknown fields
    are shared with the request, so the body is to be read or sent, not changed.
    """
    extra = dict(_fields(request.extra))
    spelled = "max_tokens" if extra.pop("max_tokens", None) is not None else "max_completion_tokens"
    body: dict[str, Any] = {}
    name = model or request.model
    if name is not None:
        body["model"] = name
    body["messages"] = [raw for message in request.messages for raw in _encode_message(message, flavour)]
    if request.tools:
        body["tools"] = [_encode_tool(tool) for tool in request.tools]
    if request.tool_choice is not None:
        body["tool_choice"] = _encode_tool_choice(request.tool_choice, request.tools)
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
        chosen = spelled if flavour.max_tokens_field == "as_given" else flavour.max_tokens_field
        body[chosen] = sampling.max_output_tokens
    if sampling.stop:
        body["stop"] = list(sampling.stop)
    for key, value in extra.items():
        body.setdefault(key, value)
    if stream:
        body["stream"] = True
        if flavour.stream_usage:
            body["stream_options"] = {"include_usage": True}
    return body


def _fields(extra: Extra | None) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.dialect == DIALECT else {}


def _encode_message(message: Message, flavour: Flavour) -> list[dict[str, Any]]:
    """The wire messages of one message: a message with several tool results becomes several."""
    if message.role == "assistant":
        return [_encode_assistant(message, flavour)]
    spare = _fields(message.extra)
    raw: dict[str, Any]
    if message.role == "tool":
        found: list[dict[str, Any]] = []
        others: list[Part] = []
        for part in message.parts:
            if isinstance(part, ToolResult):
                raw = {"role": "tool", "tool_call_id": part.tool_call_id, "content": _encode_content(part.content)}
                if part.name is not None:
                    raw["name"] = part.name
                found.append({**raw, **_fields(part.extra), **spare})
            else:
                others.append(part)
        if others:
            found.append({"role": "user", "content": _encode_content(others)})
        return found
    role = "system" if message.role == "developer" and not flavour.developer_role else message.role
    raw = {"role": role, "content": _encode_content(message.parts)}
    if message.name is not None:
        raw["name"] = message.name
    return [{**raw, **spare} if spare else raw]


def _encode_assistant(message: Message, flavour: Flavour) -> dict[str, Any]:
    raw: dict[str, Any] = {"role": "assistant", "content": None}
    content: list[Part] = []
    calls: list[dict[str, Any]] = []
    refusals: list[str] = []
    thoughts: dict[str, str] = {}
    for part in message.parts:
        match part:
            case ToolCall():
                calls.append(_encode_tool_call(part))
            case Text(extra=extra) if extra is _REFUSAL or _fields(extra).get("type") == "refusal":
                refusals.append(part.text)
            case Reasoning():
                place = _reasoning_field(part, flavour)
                if place == "content":
                    content.append(part)
                elif place is not None:
                    thoughts[place] = thoughts.get(place, "") + part.text
            case _:
                content.append(part)
    if content:
        raw["content"] = _encode_content(content)
    if refusals:
        raw["refusal"] = "".join(refusals)
    raw.update(thoughts)
    if calls:
        raw["tool_calls"] = calls
    if message.name is not None:
        raw["name"] = message.name
    raw.update(_fields(message.extra))
    return raw


def _reasoning_field(part: Reasoning, flavour: Flavour) -> str | None:
    """Where this reasoning goes: a field of the message, `content` for a part kept whole, or None for nowhere."""
    if flavour.reasoning_field != "as_given":
        return flavour.reasoning_field
    spare = _fields(part.extra)
    if spare.get("type") == "thinking":
        return "content"
    return "reasoning" if spare.get("field") == "reasoning" else "reasoning_content"


def _encode_content(parts: Iterable[Part]) -> str | list[dict[str, Any]]:
    """A plain text where one will do (some servers read nothing else), a list of parts where not."""
    held = tuple(parts)
    if not held:
        return ""
    if len(held) == 1 and isinstance(held[0], Text) and not _fields(held[0].extra):
        return held[0].text
    return [_encode_part(part) for part in held]


def _encode_part(part: Part) -> dict[str, Any]:
    spare = _fields(part.extra)
    match part:
        case Text() if "type" in spare:
            return {**spare, "refusal": part.text} if spare["type"] == "refusal" else dict(spare)
        case Text():
            return {"type": "text", "text": part.text, **spare}
        case Image():
            url = part.url
            if url is None:
                url = f"data:{part.media_type or 'application/octet-stream'};base64,{part.data or ''}"
            picture: dict[str, Any] = {"url": url, **spare.get("image_url", {})}
            if part.detail is not None:
                picture["detail"] = part.detail
            return {"type": "image_url", **spare, "image_url": picture}
        case Reasoning() if spare.get("type") == "thinking":
            return dict(spare)
        case _:
            raise RequestError(f"a {type(part).__name__} cannot stand in the content of a message")


def _encode_tool_call(call: ToolCall) -> dict[str, Any]:
    spare = _fields(call.extra)
    if spare.get("type") == "custom":
        custom = {"name": call.name, "input": call.arguments, **spare.get("custom", {})}
        return {"id": call.id, **spare, "custom": custom}
    function = {"name": call.name, "arguments": call.arguments}
    if not spare:
        return {"id": call.id, "type": "function", "function": function}
    return {"id": call.id, "type": "function", **spare, "function": {**function, **spare.get("function", {})}}


def _encode_tool(tool: Tool) -> dict[str, Any]:
    spare = _fields(tool.extra)
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
    custom = any(tool.name == choice.name and _fields(tool.extra).get("type") == "custom" for tool in tools)
    kind = "custom" if custom else "function"
    return {"type": kind, kind: {"name": choice.name}}


def _encode_response_format(schema: ResponseSchema, spare: Mapping[str, Any]) -> dict[str, Any]:
    if schema.schema is None:
        return {"type": "json_object", **spare}
    inner: dict[str, Any] = {"name": schema.name or "answer", "schema": schema.schema}
    if schema.strict is not None:
        inner["strict"] = schema.strict
    return {"type": "json_schema", **spare, "json_schema": {**inner, **spare.get("json_schema", {})}}


# --- answers ---------------------------------------------------------------------------------------------------------

_FINISH_REASONS: Final[Mapping[str, FinishReason]] = {
    "stop": "stop",
    "eos": "stop",
    "eos_token": "stop",
    "end_turn": "stop",
    "stop_sequence": "stop",
    "length": "length",
    "max_tokens": "length",
    "model_length": "length",
    "tool_calls": "tool_calls",
    "tool_use": "tool_calls",
    "function_call": "tool_calls",
    "content_filter": "content_filter",
    "safety": "content_filter",
    "refusal": "content_filter",
    "sensitive": "content_filter",
}
"""What providers of this dialect say, lower case, and what it means; any other word stays as it is, and unknown."""

_RESPONSE_FIELDS = frozenset({"id", "object", "model", "choices", "usage", "error"})
_CHOICE_FIELDS = frozenset({"index", "message", "finish_reason", "native_finish_reason"})


def decode_response(body: Any, *, target: str | None = None) -> ChatResponse:
    """Reads a whole answer (parsed JSON).

    Raises BadResponse where it is none, and the error it stands for where it is an error object with a success status.
    """
    if not isinstance(body, Mapping):
        raise BadResponse(f"the answer is {_show(body)}, not an object", target=target)
    if body.get("error"):
        raise decode_error(None, {}, body, target=target)
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    raw = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(raw, Mapping):
        raise BadResponse(f"the answer has no message: `choices` is {_show(choices)}", target=target)
    if choice.get("error"):
        raise decode_error(None, {}, choice, target=target)
    answer_id, model = body.get("id"), body.get("model")
    problem = ""
    try:
        parts, spare = _decode_assistant(raw, "choices[0].message", _spare_id(body))
    except RequestError as error:
        problem = str(error)
    if problem:
        raise BadResponse(f"the answer cannot be read: {problem}", target=target)
    finish, native = _finish(choice)
    spare = _said(spare)
    extra = _said({key: body[key] for key in body if key not in _RESPONSE_FIELDS})
    beside = _said({key: choice[key] for key in choice if key not in _CHOICE_FIELDS})
    if beside:
        extra["choice"] = beside
    return ChatResponse(
        message=Message(
            "assistant", tuple(filter(_says_something, parts)), None, Extra(DIALECT, spare) if spare else None
        ),
        finish_reason=finish,
        usage=decode_usage(body.get("usage")),
        model=model if isinstance(model, str) else None,
        id=answer_id if isinstance(answer_id, str) else None,
        native_finish_reason=native,
        extra=Extra(DIALECT, extra) if extra else None,
    )


def _says_something(part: Part) -> bool:
    return not isinstance(part, Reasoning) or bool(part.text) or part.extra not in (None, _REASONING)


def _said(raw: _Raw) -> dict[str, Any]:
    """The fields that say something: answers are full of nulls and empty lists."""
    return {key: value for key, value in raw.items() if value is not None and value != [] and value != {}}


def _spare_id(body: _Raw) -> str:
    """What begins the id of a call that came without one: the same for the same answer, another for another."""
    seed = repr((body.get("id"), body.get("created"), body.get("model")))
    return f"call_{hashlib.blake2b(seed.encode('utf-8', 'replace'), digest_size=8).hexdigest()}"


def _finish(choice: _Raw) -> tuple[FinishReason | None, str | None]:
    """Our word, and the provider's own where it is another."""
    said = choice.get("finish_reason")
    if not isinstance(said, str) or not said:
        return None, None
    reason = _FINISH_REASONS.get(said.lower())
    native = choice.get("native_finish_reason")
    if not isinstance(native, str) or not native:
        native = said
    return reason, None if native == reason else native


def decode_usage(raw: Any) -> Usage | None:
    """The provider's count, or None where it gave none.

    xAI leaves reasoning tokens out of `completion_tokens`; its own total shows it, so the sum is made whole here.
    """
    if not isinstance(raw, Mapping):
        return None
    sent, written = _count(raw.get("prompt_tokens")), _count(raw.get("completion_tokens"))
    inputs = raw.get("prompt_tokens_details")
    outputs = raw.get("completion_tokens_details")
    inputs = inputs if isinstance(inputs, Mapping) else {}
    outputs = outputs if isinstance(outputs, Mapping) else {}
    cached = _count(inputs.get("cached_tokens"))
    if cached is None:
        cached = _count(raw.get("prompt_cache_hit_tokens"))
    reasoning = _count(outputs.get("reasoning_tokens"))
    if sent is not None and written is not None and reasoning and raw.get("total_tokens") == sent + written + reasoning:
        written += reasoning
    usage = Usage(sent, written, cached, _count(inputs.get("cache_write_tokens")), reasoning)
    return None if usage == _NO_USAGE else usage


_NO_USAGE = Usage()


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def response_warnings(response: ChatResponse) -> tuple[str, ...]:
    """What is odd about an answer that is delivered all the same, as words for the record."""
    found = []
    if response.finish_reason is None:
        native = response.native_finish_reason
        found.append("provider_missing_finish_reason" if native is None else "unknown_finish_reason")
    if response.usage is None:
        found.append("provider_missing_usage")
    parts = response.message.parts
    if not any(isinstance(part, ToolCall) or (isinstance(part, Text) and part.text) for part in parts):
        found.append("empty_response")
    if any(not _is_object(call) for call in response.tool_calls):
        found.append("invalid_tool_arguments")
    return tuple(found)


def _is_object(call: ToolCall) -> bool:
    if _fields(call.extra).get("type") == "custom":
        return True
    try:
        call.parsed()
    except RequestError:
        return False
    return True


def encode_response(response: ChatResponse, *, model: str | None = None, created: int | None = None) -> dict[str, Any]:
    """A `chat.completion` object: what a client of this dialect reads. What the provider did not say is null."""
    extra = dict(_fields(response.extra))
    beside = extra.pop("choice", {})
    if created is not None:
        extra["created"] = created
    usage = response.usage
    finish = response.finish_reason or response.native_finish_reason
    return {
        "id": response.id,
        "object": "chat.completion",
        "created": None,
        "model": model or response.model,
        **extra,
        "choices": [
            {"index": 0, "message": _encode_assistant(response.message, _PLAIN), "finish_reason": finish, **beside}
        ],
        "usage": None if usage is None else _encode_usage(usage),
    }


def _encode_usage(usage: Usage) -> dict[str, Any]:
    sent, written = usage.input_tokens, usage.output_tokens
    raw: dict[str, Any] = {
        "prompt_tokens": sent,
        "completion_tokens": written,
        "total_tokens": None if sent is None or written is None else sent + written,
    }
    inputs = {"cached_tokens": usage.cache_read_tokens, "cache_write_tokens": usage.cache_write_tokens}
    if any(count is not None for count in inputs.values()):
        raw["prompt_tokens_details"] = {key: count for key, count in inputs.items() if count is not None}
    if usage.reasoning_tokens is not None:
        raw["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return raw


# --- streams ---------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Call:
    """A tool call as far as it has come. `wire_id` is the provider's, None where it gave none."""

    position: int
    wire_id: str | None
    name: str | None
    extra: Extra | None
    started: bool = False
    arguments: list[str] = field(default_factory=list)


class StreamDecoder:
    """Reads one streamed answer: feed it the data of each server-sent event, then close it.

    Text comes out as it goes in. `usage` and `finish_reason` hold what the provider has said so far. Calls are told
    apart by index and id (some providers give every call the index 0) and numbered anew.
    """

    def __init__(self, *, target: str | None = None) -> None:
        self.usage: Usage | None = None
        self.finish_reason: FinishReason | None = None
        self.native_finish_reason: str | None = None
        self.ended = False
        self._target = target
        self._started = False
        self._answered = False
        self._spoke = False
        self._spare_id = ""
        self._extra: dict[str, Any] = {}
        self._calls: list[_Call] = []
        self._by_index: dict[Any, _Call] = {}

    @property
    def finished(self) -> bool:
        """Whether the provider has said why it stopped: what may follow is its usage."""
        return self.finish_reason is not None or self.native_finish_reason is not None

    def feed(self, data: str, event: str = "message") -> list[Event]:
        """The events of one chunk. Raises the error that the stream reports, and BadResponse for what is no chunk."""
        if self.ended:
            return []
        if data.startswith("[DONE]"):
            self.ended = True
            return []
        chunk = self._load(data)
        if not isinstance(chunk, Mapping):
            return []
        if chunk.get("error") or event == "error":
            raise decode_error(None, {}, chunk, target=self._target)
        found: list[Event] = []
        if not self._started:
            self._start(chunk, found)
        choices = chunk.get("choices")
        if isinstance(choices, list):
            for choice in choices:
                if isinstance(choice, Mapping) and not choice.get("index"):
                    self._read_choice(choice, found)
        usage = chunk.get("usage")
        if usage is not None:
            count = decode_usage(usage)
            if count is not None and count != self.usage:
                self.usage = count
                found.append(UsageReported(count))
        return found

    def close(self) -> list[Event]:
        """The end of the stream. Raises BadResponse where the answer is not complete.

        `[DONE]` without a reason for stopping is an end, and the reason stays unknown.
        """
        if not self.finished and not (self.ended and self._answered):
            raise BadResponse("the stream ended before the answer was complete", target=self._target)
        found: list[Event] = []
        for call in self._calls:
            if not call.started:
                self._start_call(call, found)
        spare = _said(self._extra)
        extra = Extra(DIALECT, spare) if spare else None
        found.append(Finished(self.finish_reason, self.native_finish_reason, extra))
        return found

    def warnings(self) -> tuple[str, ...]:
        """What `response_warnings` would say of the answer so far."""
        parts: list[Part] = [
            ToolCall(call.wire_id or "", call.name or "", "".join(call.arguments), call.extra) for call in self._calls
        ]
        if self._spoke:
            parts.append(Text("..."))
        message = Message("assistant", tuple(parts))
        return response_warnings(
            ChatResponse(message, self.finish_reason, self.usage, None, None, self.native_finish_reason)
        )

    def _load(self, data: str) -> Any:
        try:
            return json.loads(data)
        except (ValueError, RecursionError) as error:
            problem = f"{type(error).__name__}: {error}"
        raise BadResponse("an event of the stream is not JSON", target=self._target, cause=problem)

    def _start(self, chunk: _Raw, found: list[Event]) -> None:
        self._started = True
        self._spare_id = _spare_id(chunk)
        answer_id, model = chunk.get("id"), chunk.get("model")
        spare = _said({key: chunk[key] for key in chunk if key not in _RESPONSE_FIELDS})
        found.append(
            Started(
                answer_id if isinstance(answer_id, str) and answer_id else None,
                model if isinstance(model, str) and model else None,
                Extra(DIALECT, spare) if spare else None,
            )
        )

    def _read_choice(self, choice: _Raw, found: list[Event]) -> None:
        self._answered = True
        if choice.get("error"):
            raise decode_error(None, {}, choice, target=self._target)
        delta = choice.get("delta")
        if isinstance(delta, Mapping):
            for key, value in delta.items():
                if value is None or value == "":
                    continue
                if key == "content":
                    self._spoke = True
                    self._read_content(value, found)
                elif key == "tool_calls":
                    for raw in value if isinstance(value, list) else ():
                        self._read_call(raw, found)
                elif key == "reasoning_content" or (key == "reasoning" and not delta.get("reasoning_content")):
                    if isinstance(value, str):
                        found.append(ReasoningDelta(value))
                elif key == "refusal":
                    if isinstance(value, str):
                        self._spoke = True
                        found.append(TextDelta(value))
                elif key == "function_call":
                    self._read_call({"index": 0, "function": value}, found)
                elif key not in _ASSISTANT_FIELDS:
                    self._keep(key, value)
        if choice.get("finish_reason") and not self.finished:
            self.finish_reason, self.native_finish_reason = _finish(choice)

    def _read_content(self, value: Any, found: list[Event]) -> None:
        if isinstance(value, str):
            found.append(TextDelta(value))
            return
        problem = ""
        parts: tuple[Part, ...] = ()
        try:
            parts = _decode_content(value, "delta.content")
        except RequestError as error:
            problem = str(error)
        if problem:
            raise BadResponse(f"the answer cannot be read: {problem}", target=self._target)
        for part in parts:
            if isinstance(part, Text) and part.text:
                found.append(TextDelta(part.text))
            elif isinstance(part, Reasoning) and part.text:
                found.append(ReasoningDelta(part.text))

    def _read_call(self, raw: Any, found: list[Event]) -> None:
        if not isinstance(raw, Mapping):
            return
        kind = "custom" if raw.get("type") == "custom" or "custom" in raw else "function"
        function = raw.get(kind)
        function = function if isinstance(function, Mapping) else {}
        wire_id = raw.get("id")
        wire_id = wire_id if isinstance(wire_id, str) and wire_id else None
        name = function.get("name")
        name = name if isinstance(name, str) and name else None
        arguments = function.get("input" if kind == "custom" else "arguments")
        if isinstance(arguments, Mapping):
            arguments = json.dumps(arguments, ensure_ascii=False)
        index = raw.get("index")
        call = self._known_call(index, wire_id, name)
        if call is None:
            spare = _said({key: raw[key] for key in raw if key not in ("index", "id", "type", kind)})
            if kind == "custom":
                spare["type"] = "custom"
            call = _Call(len(self._calls), wire_id, name, Extra(DIALECT, spare) if spare else None)
            self._calls.append(call)
            self._by_index[index] = call
        if call.name is None:
            call.name = name
        if isinstance(arguments, str) and arguments:
            call.arguments.append(arguments)
            if call.started:
                found.append(ToolCallDelta(call.position, arguments))
        if not call.started and call.name is not None:
            self._start_call(call, found)

    def _known_call(self, index: Any, wire_id: str | None, name: str | None) -> _Call | None:
        """The call that a piece belongs to, or None where it begins another one."""
        call = self._by_index.get(index) if isinstance(index, int) else None
        if call is None and index is None:
            if wire_id is not None:
                return next((known for known in self._calls if known.wire_id == wire_id), None)
            call = self._calls[-1] if self._calls else None
        if call is None:
            return None
        if wire_id is not None and wire_id != call.wire_id and (call.wire_id is not None or name is not None):
            return None
        if wire_id is None and name is not None and call.name is not None and name != call.name:
            return None
        return call

    def _start_call(self, call: _Call, found: list[Event]) -> None:
        if call.name is None:
            raise BadResponse("the answer has a tool call without a name", target=self._target)
        call.started = True
        call_id = call.wire_id or f"{self._spare_id}_{call.position}"
        found.append(ToolCallStarted(call.position, call_id, call.name, call.extra))
        if call.arguments:
            found.append(ToolCallDelta(call.position, "".join(call.arguments)))

    def _keep(self, key: str, value: Any) -> None:
        """A field we do not know: pieces of a list are put together, of anything else the last one holds."""
        before = self._extra.get(key)
        self._extra[key] = [*before, *value] if isinstance(before, list) and isinstance(value, list) else value
