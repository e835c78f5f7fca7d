"""What a message of any log says, as messages of ours: one lenient reader for the many ways to write the same."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from agentroute.messages import (
    Audio,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolResult,
)

from .fields import Raw, dig, json_of, mapping, name_of, plain, wrong

__all__ = ["Pairing", "answer_of", "messages_of", "said", "tools_of"]

_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "developer",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "ai": "assistant",
    "AIMessageChunk": "assistant",
    "model": "assistant",
    "gpt": "assistant",
    "gemini": "assistant",
    "chatbot": "assistant",
    "tool": "tool",
    "function": "tool",
    "toolResult": "tool",
    "tool_result": "tool",
    "observation": "tool",
}
_CLASSES = {"System": "system", "Human": "human", "AI": "ai", "Tool": "tool", "Function": "function"}
"""LangChain's classes of messages begin with these."""

_TEXTS = frozenset({"text", "input_text", "output_text", "refusal", "summary_text", "output"})
_THOUGHTS = frozenset({"thinking", "reasoning", "redacted_thinking", "thought"})
_CALLS = frozenset({"tool_use", "toolCall", "tool_call", "tool-call", "function_call", "server_tool_use"})
_RESULTS = frozenset({"tool_result", "tool_call_response", "tool-result", "toolResult", "function_call_output"})


class Pairing:
    """Gives calls without an id one, and finds the call that a result without an id answers."""

    def __init__(self) -> None:
        self._open: list[tuple[str, str]] = []
        self._made = 0

    def call(self, call_id: Any, name: str) -> str:
        known: str = call_id if isinstance(call_id, str) else ""
        if not known:
            self._made += 1
            known = f"call-{self._made}"
        self._open.append((known, name))
        return known

    def result(self, call_id: Any, name: str | None) -> str:
        index = 0
        if isinstance(call_id, str) and call_id:
            index = next((i for i, held in enumerate(self._open) if held[0] == call_id), -1)
        elif name is not None:
            index = next((i for i, held in enumerate(self._open) if held[1] == name), 0)
        if 0 <= index < len(self._open):
            held = self._open.pop(index)[0]
            return call_id if isinstance(call_id, str) and call_id else held
        if isinstance(call_id, str) and call_id:
            return call_id
        self._made += 1
        return f"call-{self._made}"


def messages_of(raw: Any, where: str = "messages", pairing: Pairing | None = None) -> list[Message]:
    """The messages of a list, of an object that holds one as `messages`, or of a plain text (the user's)."""
    raw = json_of(raw)
    if isinstance(raw, Mapping):
        raw = raw.get("messages", [raw])
    if isinstance(raw, str):
        return [Message("user", (Text(raw),))] if raw else []
    if raw is None:
        return []
    if not isinstance(raw, list | tuple):
        wrong(where, raw, "a list of messages")
    if len(raw) == 1 and isinstance(raw[0], list):
        raw = raw[0]
    pairing = pairing or Pairing()
    return [message for index, item in enumerate(raw) for message in said(item, f"{where}[{index}]", pairing)]


def answer_of(raw: Any, where: str, pairing: Pairing | None = None) -> Message:
    """What a model answered: a text, a message, or a list of parts or of messages."""
    raw = json_of(raw)
    pairing = pairing or Pairing()
    if isinstance(raw, list) and any(isinstance(item, Mapping) and _role(item) for item in raw):
        parts = [part for index, item in enumerate(raw) for part in _answer_parts(item, f"{where}[{index}]", pairing)]
    else:
        parts = _answer_parts(raw, where, pairing)
    return Message("assistant", tuple(parts))


def _answer_parts(raw: Any, where: str, pairing: Pairing) -> list[Part]:
    raw = _unwrapped(raw)
    if isinstance(raw, Mapping) and "type" not in raw and not _is_message(raw):
        # A result of a structured call, or of a framework's own: all we know of it is its size.
        return [Text(plain(raw))] if raw else []
    if not isinstance(raw, Mapping) or not _is_message(raw):
        return _parts(raw, where, pairing)
    return [part for message in said({**raw, "role": "assistant"}, where, pairing) for part in message.parts]


def _is_message(raw: Raw) -> bool:
    keys = ("content", "parts", "blocks", "tool_calls", "toolCalls", "role", "additional_kwargs", "function_call")
    if raw.get("type") in _CALLS | _RESULTS | _TEXTS | _THOUGHTS:
        return False
    return any(key in raw for key in keys)


def said(raw: Any, where: str, pairing: Pairing) -> list[Message]:
    """The messages that one of a log's is: what tools answered stands apart, before what the user adds.

    Raises RequestError naming what is wrong.
    """
    raw = _unwrapped(raw)
    if isinstance(raw, str):
        return [Message("user", (Text(raw),))]
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with `role` and `content`")
    kind = raw.get("type")
    if "role" not in raw and isinstance(kind, str) and kind in _CALLS | _RESULTS | {"reasoning"}:
        return _grouped("assistant", _part(raw, where, pairing))  # an item of Responses
    role = _role(raw)
    if role is None:
        wrong(f"{where}.role", raw.get("role", raw.get("type")), "one of system, user, assistant, tool")
    body = next((raw[key] for key in ("content", "parts", "blocks") if raw.get(key) is not None), None)
    if role == "tool":
        return _results(raw, body, where, pairing)
    parts = _parts(body, f"{where}.content", pairing)
    known = {part.id for part in parts if isinstance(part, ToolCall)}
    for call in _listed_calls(raw):
        found = _call(call, f"{where}.tool_calls", pairing)
        if found.id not in known:
            known.add(found.id)
            parts.append(found)
    return _grouped(role, parts)


def _grouped(role: Role, parts: list[Part]) -> list[Message]:
    results = tuple(part for part in parts if isinstance(part, ToolResult))
    others = tuple(part for part in parts if not isinstance(part, ToolResult))
    found = [Message("tool", results)] if results else []
    return [*found, Message(role, others)] if others or not found else found


def _role(raw: Any) -> Role | None:
    if not isinstance(raw, Mapping):
        return None
    given = raw.get("role", raw.get("type"))
    return _ROLES.get(given) if isinstance(given, str) else None


def _unwrapped(raw: Any) -> Any:
    """A message of LangChain out of its constructor (`lc`), its `{type, data}`, or its pair of role and text."""
    if isinstance(raw, list | tuple) and len(raw) == 2 and all(isinstance(item, str) for item in raw):
        return {"role": raw[0], "content": raw[1]}
    if not isinstance(raw, Mapping):
        return raw
    if isinstance(raw.get("kwargs"), Mapping) and isinstance(raw.get("id"), list | tuple):
        kwargs, name = raw["kwargs"], str(raw["id"][-1]) if raw["id"] else ""
        kind = next((role for head, role in _CLASSES.items() if name.startswith(head)), None)
        return {**kwargs, "type": kwargs.get("type") or kwargs.get("role") or kind}
    if isinstance(raw.get("data"), Mapping) and isinstance(raw.get("type"), str):
        return {**raw["data"], "type": raw["type"]} if raw["type"] != "chat" else raw["data"]
    if isinstance(raw.get("message"), Mapping) and "role" not in raw and "content" not in raw:
        return _unwrapped(raw["message"])
    return raw


def _listed_calls(raw: Raw) -> Iterable[Any]:
    for holder in (raw, raw.get("additional_kwargs")):
        for key in ("tool_calls", "toolCalls"):
            calls = json_of(dig(holder, key))
            if isinstance(calls, list) and calls:
                yield from calls
                return
        legacy = dig(holder, "function_call")
        if isinstance(legacy, Mapping):
            yield legacy
            return


def _results(raw: Raw, body: Any, where: str, pairing: Pairing) -> list[Message]:
    """A message of the role `tool`: its content is the result, unless it holds results with ids of their own."""
    parts = _parts(body, f"{where}.content", pairing)
    if any(isinstance(part, ToolResult) for part in parts):
        return _grouped("user", parts)
    ids = raw.get("tool_call_ids")
    given = raw.get(
        "tool_call_id", raw.get("toolCallId", raw.get("call_id", dig(raw, "additional_kwargs", "tool_call_id")))
    )
    if given is None and isinstance(ids, list) and ids:
        given = ids[0]
    name = name_of(raw, "name", "toolName", "tool_name", "function")
    content = tuple(part for part in parts if isinstance(part, Text | Image | Document))
    failed, message = _failure(raw)
    if message and not any(isinstance(part, Text) and part.text for part in content):
        content = (*content, Text(message))
    return [Message("tool", (ToolResult(pairing.result(given, name), content, failed, name),))]


def _failure(raw: Raw) -> tuple[bool | None, str]:
    """A result's own flag, and what it says of the failure."""
    error = raw.get("error")
    if error and not isinstance(error, bool):
        return True, error if isinstance(error, str) else name_of(error, "message") or plain(error)
    for key in ("is_error", "isError", "error"):
        if isinstance(raw.get(key), bool):
            return raw[key], ""
    status = raw.get("status")
    if status in ("error", "failed", "failure"):
        return True, ""
    return (False, "") if status in ("success", "completed") else (None, "")


def _parts(raw: Any, where: str, pairing: Pairing) -> list[Part]:
    if isinstance(raw, str):
        return [Text(raw)] if raw else []
    if raw is None:
        return []
    if isinstance(raw, Mapping):
        return _part(raw, where, pairing)
    if not isinstance(raw, list | tuple):
        return [Text(plain(raw))]
    return [part for index, item in enumerate(raw) for part in _part(item, f"{where}[{index}]", pairing)]


def _part(raw: Any, where: str, pairing: Pairing) -> list[Part]:
    if not isinstance(raw, Mapping):
        return [Text(plain(raw))] if raw else []
    kind = raw.get("type", raw.get("block_type", raw.get("kind")))
    if kind in _CALLS or "functionCall" in raw:
        return [_call(raw, where, pairing)]
    if kind in _RESULTS or "functionResponse" in raw:
        return [_result(raw, where, pairing)]
    if kind in _THOUGHTS or raw.get("thought") is True:
        words = next((raw[key] for key in ("thinking", "reasoning", "text", "content", "summary") if raw.get(key)), "")
        if isinstance(words, list):
            words = "\n".join(plain(dig(item, "text")) for item in words)
        return [Reasoning(plain(words), redacted=kind == "redacted_thinking")]
    if kind in _TEXTS or (kind is None and "text" in raw):
        words = next((raw[key] for key in ("text", "content", "refusal", "output") if raw.get(key) is not None), "")
        return [Text(plain(words))] if words else []
    return [_medium(raw, kind)]


def _medium(raw: Raw, kind: Any) -> Part:
    """A picture, file or recording: that it is there, and its type. Its bytes are left out: they route nothing."""
    inline = raw.get("inlineData", raw.get("inline_data", raw.get("fileData")))
    source = raw.get("source", inline)
    media_type = name_of(source, "media_type", "mimeType", "mime_type") or name_of(
        raw, "media_type", "mime_type", "mimeType", "mediaType", "image_mimetype", "document_mimetype"
    )
    word = f"{kind or ''} {name_of(raw, 'modality') or ''} {media_type or ''}".lower()
    url = raw.get("image_url", raw.get("image", raw.get("uri", dig(source, "url"))))
    url = dig(url, "url") if isinstance(url, Mapping) else url
    link = url if isinstance(url, str) and not url.startswith("data:") and len(url) < 4096 else None
    if "image" in word:
        return Image(url=link, media_type=media_type)
    if "audio" in word:
        return Audio(url=link, media_type=media_type)
    if any(sign in word for sign in ("document", "file", "pdf")):
        return Document(url=link, media_type=media_type)
    # Something of the tool's own: it has a size, and nothing else we route by.
    return Text(plain(raw))


def _call(raw: Any, where: str, pairing: Pairing) -> ToolCall:
    raw = json_of(raw)
    if not isinstance(raw, Mapping):
        wrong(where, raw, "an object with a name and arguments")
    inner = raw.get("functionCall", raw.get("tool_call", raw.get("function")))
    held: Raw = inner if isinstance(inner, Mapping) else raw
    deeper = held.get("function")
    if isinstance(deeper, Mapping):
        held = {**held, **deeper}
    name = name_of(held, "name", "toolName", "tool_name", "function_name", "function", "tool") or name_of(raw, "name")
    if name is None:
        wrong(f"{where}.name", held.get("name"), "the name of a tool")
    keys = ("arguments", "args", "input", "parameters", "tool_kwargs", "kwargs")
    arguments: Any = next((held[key] for key in keys if held.get(key) is not None), {})
    keys = ("call_id", "id", "toolCallId", "tool_call_id", "callId", "tool_id")
    given = next((holder[key] for key in keys for holder in (raw, held) if isinstance(holder.get(key), str)), None)
    words = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False, default=str)
    return ToolCall(pairing.call(given, name), name, words)


def _result(raw: Raw, where: str, pairing: Pairing) -> ToolResult:
    held: Raw = mapping(raw["functionResponse"]) if "functionResponse" in raw else raw
    keys = ("content", "output", "result", "response")
    body = next((held[key] for key in keys if held.get(key) is not None), "")
    failed, message = _failure(raw)
    if isinstance(body, Mapping):
        if "functionResponse" in raw and ("error" in body or "output" in body):
            failed = True if body.get("error") else failed
            body = body.get("error") or body.get("output")
        elif isinstance(body.get("value"), str | list):  # {"type": "text", "value": ...} of the AI SDK
            failed = True if "error" in str(body.get("type")) else failed
            body = body["value"]
    parts = _parts(body, f"{where}.content", pairing) if isinstance(body, str | list) else [Text(plain(body))]
    content = tuple(part for part in parts if isinstance(part, Text | Image | Document))
    if message and not any(isinstance(part, Text) and part.text for part in content):
        content = (*content, Text(message))
    name = name_of(held, "name", "toolName", "tool_name")
    ids = ("tool_use_id", "tool_call_id", "toolCallId", "call_id", "id")
    given = next((held[key] for key in ids if isinstance(held.get(key), str)), None)
    return ToolResult(pairing.result(given, name), content, failed, name)


def tools_of(raw: Any) -> tuple[Tool, ...]:
    """Tools in whatever shape they were recorded; what has no name is passed over."""
    raw = json_of(raw)
    if isinstance(raw, Mapping):
        raw = [{"name": name, **mapping(held)} for name, held in raw.items()]
    found: dict[str, Tool] = {}
    for item in raw if isinstance(raw, list | tuple) else ():
        item = mapping(item)
        for declared in item.get("functionDeclarations") or item.get("function_declarations") or (item,):
            tool = _tool(declared)
            if tool is not None:
                found.setdefault(tool.name, tool)
    return tuple(found.values())


def _tool(raw: Any) -> Tool | None:
    raw = mapping(raw)
    inner = raw.get("function", raw.get("toolSpec"))
    held = inner if isinstance(inner, Mapping) else raw
    name = name_of(held, "name") or name_of(raw, "name", "type")
    if name is None:
        return None
    schema: Any = next(
        (held[key] for key in ("parameters", "input_schema", "inputSchema", "schema") if held.get(key)), {}
    )
    return Tool(name, plain(held.get("description")), mapping(schema))
