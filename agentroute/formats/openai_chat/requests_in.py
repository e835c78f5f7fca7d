"""Request bodies of the dialect, read into canonical values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats.media import read_file_data
from agentroute.formats.reading import Raw, function_facts, given_number, json_text, show, split_data_url, wrong
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

from .fields import DIALECT, REASONING, REFUSAL, unknown_fields

__all__ = ["ASSISTANT_FIELDS", "decode_assistant", "decode_content", "decode_request"]


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
ASSISTANT_FIELDS = frozenset(
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


def decode_request(body: Mapping[str, Any]) -> ChatRequest:
    """Reads a chat-completions body. Raises RequestError naming the field, its place and its value.

    `stream` and `stream_options` are the caller's way of reading the answer, not part of the request, and are left out.
    The older `functions`, `function_call` and role `function` become tools. The body is not changed and not copied:
    schemas and unknown fields are shared with it.
    """
    if not isinstance(body, Mapping):
        raise RequestError(f"the request is {show(body)}; give a chat-completions body (an object)")
    raw_messages = body.get("messages")
    if not isinstance(raw_messages, list | tuple):
        told = "a text" if isinstance(raw_messages, str) else show(raw_messages)  # a text may be the prompt
        raise RequestError(f"`messages` is {told}; give a list of messages")
    if not raw_messages:
        raise RequestError("`messages` is empty; give at least one message")
    messages = _decode_messages(raw_messages)
    if len(body) == 1:
        return ChatRequest(messages)

    model = body.get("model")
    if model is not None and not isinstance(model, str):
        wrong("model", model, "a text")
    raw_tools = body.get("tools")
    tools = _decode_tools(raw_tools) if raw_tools else _decode_functions(body.get("functions") or ())
    raw_choice = body.get("tool_choice")
    if raw_choice is None:
        raw_choice = body.get("function_call")
    tool_choice = None if raw_choice is None else _decode_tool_choice(raw_choice)
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        wrong("parallel_tool_calls", parallel, "true or false")
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
        reasoning=read(DIALECT, extra) if extra else None,
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
        text = _TextDraft()
        text.text = content
        text.extra = None
        text.__class__ = Text
        parts.append(text)
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
        wrong(where, raw, "an object with `role` and `content`")
    role = raw.get("role")
    canonical = _ROLES.get(role) if isinstance(role, str) else None
    if canonical is None:
        wrong(f"{where}.role", role, "one of " + ", ".join(_ROLES))
    name = raw.get("name")
    if name is not None and not isinstance(name, str):
        wrong(f"{where}.name", name, "a text")
    if canonical == "assistant":
        parts, spare = decode_assistant(raw, where, f"call_{index}")
        return Message("assistant", parts, name, Extra(DIALECT, spare) if spare else None)
    files = _RESULT_FILES if canonical == "tool" else _FILES
    content = decode_content(raw.get("content"), f"{where}.content", files)
    if canonical != "tool":
        return Message(canonical, content, name, unknown_fields(raw, _MESSAGE_FIELDS))
    call_id = raw.get("tool_call_id")
    if call_id is None:
        call_id = _unanswered_call(before)
    if not isinstance(call_id, str):
        wrong(f"{where}.tool_call_id", call_id, "the id of the call that this result answers")
    held = tuple(part for part in content if isinstance(part, Text | Image | Document))
    return Message("tool", (ToolResult(call_id, held, None, name),), None, unknown_fields(raw, _TOOL_FIELDS))


def _unanswered_call(before: list[Message]) -> str | None:
    """The first call of the last assistant message that has no result yet: what a result without an id must answer."""
    answered: set[str] = set()
    for message in reversed(before):
        if message.role == "assistant":
            return next((call.id for call in message.tool_calls if call.id not in answered), None)
        answered.update(result.tool_call_id for result in message.tool_results)
    return None


def decode_assistant(raw: Raw, where: str, spare_id: str) -> tuple[tuple[Part, ...], dict[str, Any]]:
    """The parts of an assistant message, in a history or in an answer, and its unknown fields.

    A call without an id gets `spare_id` and its position.
    """
    parts: list[Part] = []
    spare: dict[str, Any] = {key: raw[key] for key in raw if key not in ASSISTANT_FIELDS}
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
        parts.append(Reasoning(spoken, extra=REASONING))
    parts.extend(decode_content(raw.get("content"), f"{where}.content"))
    refusal = raw.get("refusal")
    if refusal is not None:
        if not isinstance(refusal, str):
            wrong(f"{where}.refusal", refusal, "a text")
        parts.append(Text(refusal, REFUSAL))
    calls = raw.get("tool_calls")
    if calls is not None:
        if not isinstance(calls, list | tuple):
            wrong(f"{where}.tool_calls", calls, "a list of calls")
        for position, call in enumerate(calls):
            parts.append(_decode_tool_call(call, f"{spare_id}_{position}", f"{where}.tool_calls[{position}]"))
    old_call = raw.get("function_call")
    if old_call is not None and not calls:
        parts.append(_decode_tool_call({"function": old_call}, f"{spare_id}_0", f"{where}.function_call"))
    return tuple(parts), spare


def _decode_tool_call(raw: Any, spare_id: str, where: str) -> ToolCall:
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `id` and `function`")
    call_id = raw.get("id") or spare_id
    if not isinstance(call_id, str):
        wrong(f"{where}.id", call_id, "a text")
    kind = "custom" if raw.get("type") == "custom" else "function"
    function = raw.get(kind)
    if not isinstance(function, Mapping):
        wrong(f"{where}.{kind}", function, "an object with `name` and `arguments`")
    name = function.get("name")
    if not isinstance(name, str):
        wrong(f"{where}.{kind}.name", name, "the name of a tool")
    arguments = function.get("input" if kind == "custom" else "arguments")
    if isinstance(arguments, Mapping):
        arguments = json_text(arguments, f"{where}.function.arguments")
    elif arguments is None:
        arguments = ""
    elif not isinstance(arguments, str):
        wrong(f"{where}.{kind}.arguments", arguments, "JSON text")
    spare = {key: raw[key] for key in raw if key not in ("id", "type", kind)}
    inner = {key: function[key] for key in function if key not in ("name", "arguments", "input")}
    if kind == "custom":
        spare["type"] = "custom"
    if inner:
        spare[kind] = inner
    return ToolCall(call_id, name, arguments, Extra(DIALECT, spare) if spare else None)


_FILES = frozenset({"file", "input_audio"})
_RESULT_FILES = frozenset({"file"})


def decode_content(raw: Any, where: str, files: frozenset[str] = frozenset()) -> tuple[Part, ...]:
    """The parts of a content. Kinds of files other than `files` are kept whole: an answer of ours holds none."""
    if isinstance(raw, str):
        return (Text(raw),)
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        wrong(where, raw, "a text, a list of parts or null")
    parts: list[Part] = []
    for position, part in enumerate(raw):
        parts.append(_decode_part(part, f"{where}[{position}]", files))
    return tuple(parts)


def _decode_part(raw: Any, where: str, files: frozenset[str]) -> Part:
    if isinstance(raw, str):
        return Text(raw)
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `type`")
    match raw.get("type"):
        case "text":
            text = raw.get("text")
            if not isinstance(text, str):
                wrong(f"{where}.text", text, "a text")
            return Text(text, None if len(raw) == 2 else unknown_fields(raw, _TEXT_FIELDS))
        case "image_url":
            return _decode_image(raw, where)
        case "refusal" if isinstance(raw.get("refusal"), str):
            return Text(raw["refusal"], REFUSAL)
        case "thinking":
            return _decode_thinking(raw, where)
        case "file" if "file" in files and isinstance(raw.get("file"), Mapping):
            return _decode_file(raw, raw["file"])
        case "input_audio" if "input_audio" in files and (sound := _decode_sound(raw)) is not None:
            return sound
        case str():
            return Text("", Extra(DIALECT, dict(raw)))
        case kind:
            return wrong(f"{where}.type", kind, "the name of a kind of part")


_TEXT_FIELDS = frozenset({"type", "text"})
_IMAGE_FIELDS = frozenset({"type", "image_url"})
_FILE_FIELDS = frozenset({"type", "file"})
_SOUND_FIELDS = frozenset({"type", "input_audio"})


def _decode_image(raw: Raw, where: str) -> Image:
    picture = raw.get("image_url")
    url = picture.get("url") if isinstance(picture, Mapping) else picture
    if not isinstance(url, str):
        wrong(f"{where}.image_url", picture, "an object with `url`")
    detail = picture.get("detail") if isinstance(picture, Mapping) else None
    if detail is not None and not isinstance(detail, str):
        wrong(f"{where}.image_url.detail", detail, "a text")
    spare: dict[str, Any] = {}
    if isinstance(picture, Mapping):
        inner = {key: picture[key] for key in picture if key not in ("url", "detail")}
        if inner:
            spare["image_url"] = inner
    extra = unknown_fields(raw, _IMAGE_FIELDS, spare)
    held = split_data_url(url)
    if held is None:
        return Image(url=url, detail=detail, extra=extra)
    return Image(data=held[1], media_type=held[0] or None, detail=detail, extra=extra)


def _decode_file(raw: Raw, file: Raw) -> Document:
    """A file with its data; one that is only named (`file_id`) is kept whole, for targets of this dialect."""
    data, name = file.get("file_data"), file.get("filename")
    name = name if isinstance(name, str) and name else None
    held = read_file_data(data) if isinstance(data, str) and data else None
    if held is None:
        return Document(name=name, extra=Extra(DIALECT, dict(raw)))
    inner = {key: file[key] for key in file if key not in ("filename", "file_data")}
    extra = unknown_fields(raw, _FILE_FIELDS, {"file": inner} if inner else None)
    return Document(data=held[1], media_type=held[0], name=name, extra=extra)


def _decode_sound(raw: Raw) -> Audio | None:
    match raw.get("input_audio"):
        case {"data": str(data), "format": str(kind), **inner} if data and kind:
            extra = unknown_fields(raw, _SOUND_FIELDS, {"input_audio": inner} if inner else None)
            return Audio(data=data, media_type=f"audio/{kind}", extra=extra)
        case _:
            return None


def _decode_thinking(raw: Raw, where: str) -> Reasoning:
    """Mistral's reasoning: `{"type": "thinking", "thinking": [{"type": "text", "text": ...}]}`, kept whole."""
    thinking = raw.get("thinking")
    pieces = thinking if isinstance(thinking, list) else [{"text": thinking}]
    texts: list[str] = []
    for piece in pieces:
        text = piece.get("text") if isinstance(piece, Mapping) else None
        if not isinstance(text, str):
            wrong(f"{where}.thinking", thinking, "a text or a list of text parts")
        texts.append(text)
    return Reasoning("".join(texts), extra=Extra(DIALECT, dict(raw)))


def _decode_tools(raw: Any) -> tuple[Tool, ...]:
    if not isinstance(raw, list | tuple):
        wrong("tools", raw, "a list of tools")
    tools = []
    for index, tool in enumerate(raw):
        if not isinstance(tool, Mapping):
            wrong(f"tools[{index}]", tool, "an object with `type` and `function`")
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
            wrong(f"tools[{index}].function", function, "an object with `name` and `parameters`")
    return tuple(tools)


def _decode_functions(raw: Any) -> tuple[Tool, ...]:
    if not isinstance(raw, list | tuple):
        wrong("functions", raw, "a list of functions")
    return tuple(_decode_function(function, f"functions[{index}]", {}) for index, function in enumerate(raw))


def _decode_function(raw: Any, where: str, spare: dict[str, Any]) -> Tool:
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `name` and `parameters`")
    name, description, parameters, strict = function_facts(raw, where, "parameters")
    inner = {key: raw[key] for key in raw if key not in _FUNCTION_FIELDS}
    if inner:
        spare["function"] = inner
    return Tool(name, description, parameters, strict, Extra(DIALECT, spare) if spare else None)


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
            wrong("tool_choice", raw, "'auto', 'none', 'required' or an object naming a function")
    if not isinstance(name, str):
        wrong("tool_choice", raw, "an object naming a function")
    return ToolChoice("tool", name)


def _decode_response_format(raw: Any) -> tuple[ResponseSchema | None, dict[str, Any] | None]:
    """The schema, and what else stood there."""
    if not isinstance(raw, Mapping):
        wrong("response_format", raw, "an object with `type`")
    kind = raw.get("type")
    rest = {key: raw[key] for key in raw if key not in ("type", "json_schema")}
    if kind == "text":
        return None, rest
    if kind == "json_object":
        return ResponseSchema(), rest
    if kind != "json_schema":
        if not isinstance(kind, str):
            wrong("response_format.type", kind, "'text', 'json_object' or 'json_schema'")
        return None, dict(raw)
    inner = raw.get("json_schema")
    if not isinstance(inner, Mapping):
        wrong("response_format.json_schema", inner, "an object with `name` and `schema`")
    schema, name, strict = inner.get("schema"), inner.get("name"), inner.get("strict")
    if schema is not None and not isinstance(schema, Mapping):
        wrong("response_format.json_schema.schema", schema, "a JSON schema (an object)")
    if name is not None and not isinstance(name, str):
        wrong("response_format.json_schema.name", name, "a text")
    if strict is not None and not isinstance(strict, bool):
        wrong("response_format.json_schema.strict", strict, "true or false")
    deeper = {key: inner[key] for key in inner if key not in ("schema", "name", "strict")}
    if deeper:
        rest["json_schema"] = deeper
    return ResponseSchema({} if schema is None else schema, name, strict), rest


def _decode_sampling(body: Raw) -> Sampling:
    found: dict[str, Any] = {}
    for name in ("temperature", "top_p", "presence_penalty", "frequency_penalty"):
        number = given_number(body, name)
        if number is not None:
            found[name] = number
    limit_name = "max_tokens" if body.get("max_completion_tokens") is None else "max_completion_tokens"
    for name, held in ((limit_name, "max_output_tokens"), ("seed", "seed")):
        value = body.get(name)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int):
                wrong(name, value, "a whole number")
            if held == "max_output_tokens" and value < 1:
                wrong(name, value, "a whole number above 0")
            found[held] = value
    stop = body.get("stop")
    if stop is not None:
        if isinstance(stop, str):
            found["stop"] = (stop,)
        elif isinstance(stop, list | tuple) and all(isinstance(text, str) for text in stop):
            found["stop"] = tuple(stop)
        else:
            wrong("stop", stop, "a text or a list of texts")
    return Sampling(**found) if found else _NO_SAMPLING


_NO_SAMPLING = Sampling()
