"""Request bodies of the dialect, and the blocks of messages and answers, read into canonical values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from agentroute.errors import RequestError
from agentroute.formats.media import from_text
from agentroute.formats.reading import Raw, function_facts, given_limit, given_number, json_text, show, wrong
from agentroute.formats.reasoning import read
from agentroute.formats.signatures import unwrap
from agentroute.messages import (
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    Reasoning,
    ResponseSchema,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

from .fields import DIALECT, rest

__all__ = ["decode_block", "decode_document", "decode_request"]

_REQUEST_FIELDS = frozenset(
    {
        "messages",
        "model",
        "system",
        "tools",
        "tool_choice",
        "max_tokens",
        "temperature",
        "top_p",
        "stop_sequences",
        "stream",
        "output_config",
        "output_format",
    }
)
_TEXT_FIELDS = frozenset({"type", "text", "citations"})
_IMAGE_FIELDS = frozenset({"type", "source"})
_DOCUMENT_FIELDS = frozenset({"type", "source", "title"})
_CALL_FIELDS = frozenset({"type", "id", "name", "input"})
_RESULT_FIELDS = frozenset({"type", "tool_use_id", "content", "is_error"})
_TOOL_FIELDS = frozenset({"name", "description", "input_schema", "strict"})


def decode_request(body: Mapping[str, Any]) -> ChatRequest:
    """Reads a Messages body. Raises RequestError naming the field, its place and its value.

    `stream` is the caller's way of reading the answer and is left out. The results that stand in a user message become
    a message of the role `tool`.
    """
    if not isinstance(body, Mapping):
        raise RequestError(f"the request is {show(body)}; give a Messages body (an object)")
    raw_messages = body.get("messages")
    if not isinstance(raw_messages, list | tuple) or not raw_messages:
        wrong("messages", raw_messages, "a list of at least one message")
    model = body.get("model")
    if model is not None and not isinstance(model, str):
        wrong("model", model, "a text")
    messages: list[Message] = []
    if body.get("system"):
        messages.append(Message("system", _content(body["system"], "system")))
    for index, raw in enumerate(raw_messages):
        messages.extend(_decode_message(raw, f"messages[{index}]"))
    choice, parallel = _decode_tool_choice(body.get("tool_choice"))
    schema, config = _decode_format(body)
    extra = {key: body[key] for key in body if key not in _REQUEST_FIELDS}
    if config:
        extra["output_config"] = config
    return ChatRequest(
        messages=tuple(messages),
        model=model,
        tools=_decode_tools(body.get("tools") or ()),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_schema=schema,
        sampling=_decode_sampling(body),
        reasoning=read(DIALECT, extra) if extra else None,
        extra=Extra(DIALECT, extra) if extra else None,
    )


def _decode_message(raw: Any, where: str) -> Iterable[Message]:
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `role` and `content`")
    role = raw.get("role")
    parts = _content(raw.get("content"), f"{where}.content")
    match role:
        case "assistant" | "system":
            return (Message(role, parts),)
        case "user":
            return tuple(_split(parts))
        case _:
            return wrong(f"{where}.role", role, "'user' or 'assistant'")


def _split(parts: tuple[Part, ...]) -> Iterable[Message]:
    """A user's message, with the results in it as messages of their own, in order."""
    run: list[Part] = []
    for part in parts:
        if run and isinstance(part, ToolResult) != isinstance(run[0], ToolResult):
            yield Message("tool" if isinstance(run[0], ToolResult) else "user", tuple(run))
            run = []
        run.append(part)
    if run or not parts:
        yield Message("tool" if run and isinstance(run[0], ToolResult) else "user", tuple(run))


def _content(raw: Any, where: str) -> tuple[Part, ...]:
    if isinstance(raw, str):
        return (Text(raw),)
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        wrong(where, raw, "a text or a list of blocks")
    parts: list[Part] = []
    for position, block in enumerate(raw):
        if isinstance(block, Mapping) and block.get("type") == "document":
            parts.append(decode_document(block))
        else:
            parts.extend(decode_block(block, f"{where}[{position}]"))
    return tuple(parts)


def decode_block(raw: Any, where: str, origin: str | None = None) -> Iterable[Part]:
    """The parts of one block: mostly one. The citations of a text follow it as an empty text of their own, as in a
    stream they do. `origin` is the model whose answer this is; None for a client's history."""
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `type`")
    match raw.get("type"):
        case "text":
            text = raw.get("text")
            if not isinstance(text, str):
                wrong(f"{where}.text", text, "a text")
            yield Text(text, rest(raw, _TEXT_FIELDS, origin))
            if raw.get("citations"):
                yield Text("", Extra(DIALECT, {"citations": raw["citations"]}, origin))
        case "image" if (picture := _image(raw)) is not None:
            yield picture
        case "tool_use":
            yield _decode_call(raw, where, origin)
        case "tool_result":
            yield _decode_result(raw, where)
        case "thinking":
            text, signature = raw.get("thinking"), raw.get("signature")
            if not isinstance(text, str):
                wrong(f"{where}.thinking", text, "a text")
            yield _reasoning(text, signature if isinstance(signature, str) and signature else None, origin)
        case "redacted_thinking":
            data = raw.get("data")
            if not isinstance(data, str):
                wrong(f"{where}.data", data, "a text")
            yield _reasoning("", data, origin, redacted=True)
        case str():
            yield Text("", Extra(DIALECT, dict(raw), origin))
        case kind:
            wrong(f"{where}.type", kind, "the name of a kind of block")


def _reasoning(text: str, signature: str | None, origin: str | None, *, redacted: bool = False) -> Reasoning:
    if origin is not None:
        return Reasoning(text, signature, origin, redacted)
    if signature is not None:
        signature, origin = unwrap(signature)
        signature = signature or None
    return Reasoning(text, signature, origin, redacted, None if origin else Extra(DIALECT, {}))


def _image(raw: Raw) -> Image | None:
    source = raw.get("source")
    extra = rest(raw, _IMAGE_FIELDS)
    match source:
        case {"type": "base64", "data": str(data), "media_type": str(media_type)}:
            return Image(data=data, media_type=media_type, extra=extra)
        case {"type": "url", "url": str(url)}:
            return Image(url=url, extra=extra)
        case _:
            return None


def decode_document(raw: Raw) -> Document:
    """A file of a conversation; one that is only named (`file_id`), or given in blocks to be cited, is kept whole."""
    source, title = raw.get("source"), raw.get("title")
    simple = isinstance(source, Mapping) and len(source) == (2 if source.get("type") == "url" else 3)
    name = title if isinstance(title, str) and title else None
    extra = rest(raw, _DOCUMENT_FIELDS)
    match source:
        case {"type": "base64", "data": str(data), "media_type": str(media_type)} if simple and data:
            return Document(data=data, media_type=media_type, name=name, extra=extra)
        case {"type": "text", "data": str(text), "media_type": str(media_type)} if simple:
            return Document(data=from_text(text), media_type=media_type, name=name, extra=extra)
        case {"type": "url", "url": str(url)} if simple and url:
            return Document(url=url, media_type="application/pdf", name=name, extra=extra)
        case _:
            return Document(name=name, extra=Extra(DIALECT, dict(raw)))


def _decode_call(raw: Raw, where: str, origin: str | None) -> ToolCall:
    call_id, name, arguments = raw.get("id"), raw.get("name"), raw.get("input")
    for key, value in (("id", call_id), ("name", name)):
        if not isinstance(value, str) or not value:
            wrong(f"{where}.{key}", value, "a text")
    assert isinstance(call_id, str)
    assert isinstance(name, str)
    if not isinstance(arguments, str):
        arguments = json_text({} if arguments is None else arguments, f"{where}.input")
    return ToolCall(call_id, name, arguments, rest(raw, _CALL_FIELDS, origin))


def _decode_result(raw: Raw, where: str) -> ToolResult:
    call_id = raw.get("tool_use_id")
    if not isinstance(call_id, str):
        wrong(f"{where}.tool_use_id", call_id, "the id of the call that this result answers")
    failed = raw.get("is_error")
    if failed is not None and not isinstance(failed, bool):
        wrong(f"{where}.is_error", failed, "true or false")
    parts = _content(raw.get("content"), f"{where}.content")
    held = tuple(part for part in parts if isinstance(part, Text | Image | Document))
    return ToolResult(call_id, held, failed, None, rest(raw, _RESULT_FIELDS))


def _decode_tools(raw: Any) -> tuple[Tool, ...]:
    if not isinstance(raw, list | tuple):
        wrong("tools", raw, "a list of tools")
    tools = []
    for index, tool in enumerate(raw):
        where = f"tools[{index}]"
        if not isinstance(tool, Mapping):
            wrong(where, tool, "an object with `name` and `input_schema`")
        name, kind = tool.get("name"), tool.get("type")
        if kind not in (None, "custom"):
            # One that the provider runs itself: it has no schema, so it is kept whole.
            tools.append(Tool(name if isinstance(name, str) else str(kind), extra=Extra(DIALECT, dict(tool))))
            continue
        tools.append(Tool(*function_facts(tool, where, "input_schema"), rest(tool, _TOOL_FIELDS)))
    return tuple(tools)


def _decode_tool_choice(raw: Any) -> tuple[ToolChoice | None, bool | None]:
    if raw is None:
        return None, None
    if not isinstance(raw, Mapping):
        wrong("tool_choice", raw, "an object with `type`")
    single = raw.get("disable_parallel_tool_use")
    parallel = not single if isinstance(single, bool) else None
    match raw.get("type"):
        case "auto":
            return ToolChoice("auto"), parallel
        case "any":
            return ToolChoice("required"), parallel
        case "none":
            return ToolChoice("none"), parallel
        case "tool" if isinstance(raw.get("name"), str):
            return ToolChoice("tool", raw["name"]), parallel
        case _:
            return wrong("tool_choice", raw, "the type 'auto', 'any', 'none', or 'tool' with a name")


def _decode_format(body: Raw) -> tuple[ResponseSchema | None, dict[str, Any]]:
    """The schema of the answer, and what else stands in `output_config`."""
    config = body.get("output_config") or {}
    if not isinstance(config, Mapping):
        wrong("output_config", config, "an object")
    asked = config.get("format") or body.get("output_format")
    others = {key: value for key, value in config.items() if key != "format"}
    if asked is None:
        return None, others
    schema = asked.get("schema") if isinstance(asked, Mapping) else None
    if not isinstance(schema, Mapping):
        wrong("output_config.format", asked, "the type 'json_schema' with a schema")
    return ResponseSchema(schema), others


def _decode_sampling(body: Raw) -> Sampling:
    given = body.get("stop_sequences")
    stop = () if given is None else given
    if not isinstance(stop, list | tuple) or not all(isinstance(text, str) for text in stop):
        wrong("stop_sequences", stop, "a list of texts")
    numbers = given_number(body, "temperature"), given_number(body, "top_p"), given_limit(body, "max_tokens")
    return Sampling(*numbers, stop=tuple(stop))
