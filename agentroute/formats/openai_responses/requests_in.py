"""Request bodies of the dialect, and the items of conversations and answers, read into canonical values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any, Final

from agentroute.errors import RequestError
from agentroute.formats.forms import flat_name
from agentroute.formats.media import read_file_data
from agentroute.formats.reading import Raw, function_facts, given_limit, given_number, show, split_data_url, wrong
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
    Role,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
)

from .fields import ADDITIONAL, DIALECT, INPUT_OF, REFUSAL, id_of, rest

__all__ = ["Assistant", "call_rest", "called", "decode_request", "read_reasoning"]

_ROLES: Final[Mapping[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "developer",
}
_REQUEST_FIELDS = frozenset(
    {
        "input",
        "model",
        "instructions",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "text",
        "temperature",
        "top_p",
        "max_output_tokens",
        "stream",
    }
)
_CALL_FIELDS = frozenset({"type", "call_id", "name", "arguments", "input", "status"})
_RESULT_FIELDS = frozenset({"type", "call_id", "output", "id", "status"})
_TOOL_FIELDS = frozenset({"type", "name", "description", "parameters", "strict"})
_TEXT_FIELDS = frozenset({"type", "text", "annotations", "logprobs"})
_IMAGE_FIELDS = frozenset({"type", "image_url", "detail"})
_FILE_FIELDS = frozenset({"type", "filename", "file_data"})
_LINK_FIELDS = frozenset({"type", "file_url"})


def decode_request(body: Mapping[str, Any]) -> ChatRequest:
    """Reads a Responses body. Raises RequestError naming the field, its place and its value.

    `stream` is the caller's way of reading the answer and is left out. Neighbouring items of the model (reasoning,
    words, calls) become one message of the assistant. `previous_response_id` is refused: nothing is stored here.
    """
    if not isinstance(body, Mapping):
        raise RequestError(f"the request is {show(body)}; give a Responses body (an object)")
    if body.get("previous_response_id"):
        raise RequestError("`previous_response_id` names an answer that is not kept; give the conversation as `input`")
    model, instructions = body.get("model"), body.get("instructions")
    for key, value in (("model", model), ("instructions", instructions)):
        if value is not None and not isinstance(value, str):
            wrong(key, value, "a text")
    messages = _decode_input(body.get("input"))
    if instructions:
        messages.insert(0, Message("system", (Text(instructions),)))
    if not messages:
        raise RequestError("`input` is empty; give at least one item")
    parallel = body.get("parallel_tool_calls")
    if parallel is not None and not isinstance(parallel, bool):
        wrong("parallel_tool_calls", parallel, "true or false")
    schema, text = _decode_format(body.get("text"))
    choice, kept = _decode_tool_choice(body.get("tool_choice"))
    extra = {key: body[key] for key in body if key not in _REQUEST_FIELDS}
    if text:
        extra["text"] = text
    if kept is not None:
        extra["tool_choice"] = kept
    return ChatRequest(
        messages=tuple(messages),
        model=model,
        tools=(*_additional_tools(body.get("input")), *_decode_tools(body.get("tools") or (), "tools")),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        response_schema=schema,
        sampling=_decode_sampling(body),
        reasoning=read(DIALECT, extra) if extra else None,
        extra=Extra(DIALECT, extra) if extra else None,
    )


class Assistant:
    """The items that the model said one after the other, put together as one message."""

    def __init__(self, origin: str | None = None) -> None:
        self.parts: list[Part] = []
        self._ids: list[str | None] = []
        self._origin = origin

    def take(self, item: Raw, where: str) -> bool:
        """Adds an item; False for one that is not the model's."""
        match item.get("type", "message"):
            case "message" if item.get("role") == "assistant":
                said = _content(item.get("content"), f"{where}.content", self._origin)
                if said:
                    self._ids.append(id_of(item))
                self.parts += said
            case "function_call" | "custom_tool_call":
                self.parts.append(_decode_call(item, where, self._origin))
            case "reasoning":
                self.parts.append(read_reasoning(item, self._origin))
            case "message" | "function_call_output" | "custom_tool_call_output":
                return False
            case str():
                self.parts.append(Text("", Extra(DIALECT, dict(item), self._origin)))
            case kind:
                wrong(f"{where}.type", kind, "the name of a kind of item")
        return True

    def message(self, extra: Mapping[str, Any] | None = None) -> Message:
        fields = dict(extra or {})
        if any(self._ids):
            fields["message_ids"] = list(self._ids)
        return Message("assistant", tuple(self.parts), extra=Extra(DIALECT, fields, self._origin) if fields else None)


def _decode_input(raw: Any) -> list[Message]:
    if isinstance(raw, str):
        return [Message("user", (Text(raw),))]
    if raw is None:
        return []
    if not isinstance(raw, list | tuple):
        wrong("input", raw, "a text or a list of items")
    messages: list[Message] = []
    said: Assistant | None = None
    for index, item in enumerate(raw):
        where = f"input[{index}]"
        if not isinstance(item, Mapping):
            wrong(where, item, "an object")
        if item.get("type") == ADDITIONAL:
            continue
        said = said or Assistant()
        if said.take(item, where):
            continue
        if said.parts:
            messages.append(said.message())
        said = None
        messages.append(_decode_item(item, where))
    if said is not None and said.parts:
        messages.append(said.message())
    return messages


def _decode_item(item: Raw, where: str) -> Message:
    if item.get("type") in ("function_call_output", "custom_tool_call_output"):
        call_id, output = item.get("call_id"), item.get("output")
        if not isinstance(call_id, str):
            wrong(f"{where}.call_id", call_id, "the id of the call that this result answers")
        content = _content(output, f"{where}.output", files=True)
        held = tuple(part for part in content if isinstance(part, Text | Image | Document))
        return Message("tool", (ToolResult(call_id, held, extra=rest(item, _RESULT_FIELDS)),))
    role = item.get("role")
    canonical = _ROLES.get(role) if isinstance(role, str) else None
    if canonical is None:
        wrong(f"{where}.role", role, "one of " + ", ".join(_ROLES))
    return Message(canonical, _content(item.get("content"), f"{where}.content", files=True))


def _content(raw: Any, where: str, origin: str | None = None, *, files: bool = False) -> tuple[Part, ...]:
    """The parts of a content. Without `files` they are kept whole: an answer of ours holds none."""
    if isinstance(raw, str):
        return (Text(raw),) if raw else ()
    if raw is None:
        return ()
    if not isinstance(raw, list | tuple):
        wrong(where, raw, "a text or a list of parts")
    return tuple(_decode_part(part, f"{where}[{position}]", origin, files) for position, part in enumerate(raw))


def _decode_part(raw: Any, where: str, origin: str | None, files: bool) -> Part:
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `type`")
    match raw:
        case {"type": "input_text" | "output_text" | "text", "text": str(text)}:
            return Text(text, rest(raw, _TEXT_FIELDS, origin))
        case {"type": "refusal", "refusal": str(text)}:
            return Text(text, REFUSAL)
        case {"type": "input_image", "image_url": str(url)}:
            return _image(raw, url)
        case {"type": "input_file"} if files:
            return _file(raw)
        case {"type": str()}:
            return Text("", Extra(DIALECT, dict(raw), origin))
        case _:
            return wrong(f"{where}.type", raw.get("type"), "the name of a kind of part")


def _image(raw: Raw, url: str) -> Image:
    detail = raw.get("detail")
    detail = detail if isinstance(detail, str) and detail != "auto" else None
    extra = rest(raw, _IMAGE_FIELDS)
    held = split_data_url(url)
    if held is None:
        return Image(url=url, detail=detail, extra=extra)
    return Image(data=held[1], media_type=held[0] or None, detail=detail, extra=extra)


def _file(raw: Raw) -> Document:
    """A file with its data or URL; one that is only named (`file_id`) is kept whole, for targets of this dialect."""
    data, url, name = raw.get("file_data"), raw.get("file_url"), raw.get("filename")
    name = name if isinstance(name, str) and name else None
    held = read_file_data(data) if isinstance(data, str) and data else None
    if held is not None:
        return Document(data=held[1], media_type=held[0], name=name, extra=rest(raw, _FILE_FIELDS))
    if isinstance(url, str) and url:
        return Document(url=url, name=name, extra=rest(raw, _LINK_FIELDS))
    return Document(name=name, extra=Extra(DIALECT, dict(raw)))


def _decode_call(item: Raw, where: str, origin: str | None) -> ToolCall:
    """A call, with what the item says beside it: a namespace, and that its input is free text."""
    place = INPUT_OF.get(str(item.get("type")), "arguments")
    call_id, name, arguments = item.get("call_id"), item.get("name"), item.get(place)
    for key, value in (("call_id", call_id), ("name", name)):
        if not isinstance(value, str) or not value:
            wrong(f"{where}.{key}", value, "a text")
    if not isinstance(arguments, str):
        wrong(f"{where}.{place}", arguments, "a text")
    return ToolCall(str(call_id), called(item, str(name)), arguments, call_rest(item, origin))


def called(item: Raw, name: str) -> str:
    """The name by which the router knows a tool of a namespace."""
    namespace = item.get("namespace")
    return flat_name(namespace, name) if isinstance(namespace, str) and namespace else name


def call_rest(item: Raw, origin: str | None) -> Extra | None:
    """What stands beside a call. Its form is no model's: any of the dialect may be told of it."""
    found = rest(item, _CALL_FIELDS, origin)
    fields = {} if found is None else dict(found.fields)
    if item.get("namespace"):
        fields["name"] = item.get("name")
    if item.get("type") == "custom_tool_call":
        fields["type"] = "custom_tool_call"
    if not fields:
        return None
    return Extra(DIALECT, fields, None if fields.keys() <= {"type", "namespace", "name"} else origin)


def read_reasoning(item: Raw, origin: str | None) -> Reasoning:
    """A reasoning item: its summary as text (of open models, which have none, what they thought), its encrypted content
    as signature."""
    sealed = item.get("encrypted_content")
    signature = sealed if isinstance(sealed, str) and sealed else None
    if signature is not None and origin is None:
        signature, origin = unwrap(signature)
    fields = {key: item[key] for key in ("summary", "content") if item.get(key)}
    given = id_of(item)
    if given is not None:
        fields["id"] = given
    text = "\n\n".join(_summaries(item.get("summary") or item.get("content")))
    return Reasoning(text, signature or None, origin, bool(signature) and not text, Extra(DIALECT, fields, origin))


def _summaries(raw: Any) -> Iterable[str]:
    for part in raw if isinstance(raw, list | tuple) else ():
        text = part.get("text") if isinstance(part, Mapping) else None
        if isinstance(text, str):
            yield text


def _additional_tools(items: Any) -> Iterable[Tool]:
    """The tools of items that bring some; each remembers the item, in which it goes back."""
    for index, item in enumerate(items if isinstance(items, list | tuple) else ()):
        if isinstance(item, Mapping) and item.get("type") == ADDITIONAL:
            about = {key: item[key] for key in item if key not in ("type", "tools", "id")} | {"at": index}
            yield from _decode_tools(item.get("tools") or (), f"input[{index}].tools", {ADDITIONAL: about})


def _decode_tools(raw: Any, place: str, beside: Mapping[str, Any] = MappingProxyType({})) -> tuple[Tool, ...]:
    if not isinstance(raw, list | tuple):
        wrong(place, raw, "a list of tools")
    tools: list[Tool] = []
    for index, tool in enumerate(raw):
        where = f"{place}[{index}]"
        if not isinstance(tool, Mapping):
            wrong(where, tool, "an object with `type`")
        if tool.get("type") == "namespace":
            tools += _decode_namespace(tool, where, beside)
        else:
            tools.append(_decode_tool(tool, where, beside))
    return tuple(tools)


def _decode_namespace(raw: Raw, where: str, beside: Mapping[str, Any]) -> Iterable[Tool]:
    """The tools of a namespace, each under a name that says it."""
    namespace = raw.get("name")
    if not isinstance(namespace, str) or not namespace:
        wrong(f"{where}.name", namespace, "a name")
    about = {key: raw[key] for key in raw if key not in ("type", "tools")}
    inner = _decode_tools(raw.get("tools") or (), f"{where}.tools", {**beside, "namespace": about})
    for tool in inner:
        fields = tool.extra.fields if tool.extra is not None else {}
        extra = Extra(DIALECT, {**fields, "name": tool.name})
        yield replace(tool, name=flat_name(namespace, tool.name), extra=extra)


def _decode_tool(raw: Raw, where: str, beside: Mapping[str, Any]) -> Tool:
    name, kind = raw.get("name"), raw.get("type")
    if kind == "function":
        name, description, schema, strict = function_facts(raw, where, "parameters")
        found = rest(raw, _TOOL_FIELDS)
        fields = {**(found.fields if found is not None else {}), **beside}
        # Strict is what this dialect takes an absent flag for; ours takes an absent one for lenient.
        return Tool(
            name, description, schema, None if strict is False else True, Extra(DIALECT, fields) if fields else None
        )
    if not isinstance(kind, str):
        wrong(f"{where}.type", kind, "'function' or the name of a built-in tool")
    # One of free text, or one that the provider runs itself: it has no schema, so it is kept whole.
    described = raw.get("description") if kind == "custom" else None
    return Tool(
        name if isinstance(name, str) else kind,
        described if isinstance(described, str) else "",
        extra=Extra(DIALECT, {**raw, **beside}),
    )


def _decode_tool_choice(raw: Any) -> tuple[ToolChoice | None, Any]:
    """The choice, and one that the canonical values cannot say, as it is."""
    match raw:
        case None:
            return None, None
        case "auto" | "none" | "required":
            return ToolChoice(raw), None
        case {"type": "function" | "custom", "name": str(name)}:
            return ToolChoice("tool", called(raw, name)), None
        case {"type": str()}:
            return None, raw
        case _:
            return wrong("tool_choice", raw, "'auto', 'none', 'required' or an object naming a function")


def _decode_format(raw: Any) -> tuple[ResponseSchema | None, dict[str, Any]]:
    """The schema of the answer, and what else stands in `text`."""
    if raw is None:
        return None, {}
    if not isinstance(raw, Mapping):
        wrong("text", raw, "an object")
    others = {key: raw[key] for key in raw if key != "format"}
    match raw.get("format"):
        case None | {"type": "text"}:
            return None, others
        case {"type": "json_object"}:
            return ResponseSchema(), others
        case {"type": "json_schema", "schema": Mapping() as schema, **named}:
            name, strict = named.get("name"), named.get("strict")
            return ResponseSchema(
                schema, name if isinstance(name, str) else None, strict if isinstance(strict, bool) else None
            ), others
        case other:
            return wrong("text.format", other, "the type 'text', 'json_object', or 'json_schema' with a schema")


def _decode_sampling(body: Raw) -> Sampling:
    return Sampling(
        given_number(body, "temperature"), given_number(body, "top_p"), given_limit(body, "max_output_tokens")
    )
