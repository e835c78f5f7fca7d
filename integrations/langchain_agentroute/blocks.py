"""Our parts as LangChain's standard content blocks and back, with what the standard has no field for in `extras`.

An answer keeps its parts in their order, so that a model gets its own reasoning back as it gave it: in the content
itself where that is a list of standard blocks, else, beside a plain text, as an outline in
`additional_kwargs["agentroute"]`: the same blocks with the length of each text in place of the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from langchain_core.messages import AIMessage, InvalidToolCall
from langchain_core.messages import ToolCall as LangChainToolCall
from langchain_core.messages.block_translators import register_translator

from agentroute.errors import RequestError
from agentroute.formats.reading import split_data_url
from agentroute.messages import Audio, Document, Extra, Image, Part, Reasoning, Text, ToolCall

__all__ = ["CALLS", "MODEL_PROVIDER", "blocks_of", "outline_of", "read_extra", "read_part", "write_extra", "write_part"]

MODEL_PROVIDER: Final = "agentroute"
"""The `model_provider` of what a target of ours said: LangChain reads the content of a provider it knows in that
provider's own way, and ours is the standard."""

CALLS: Final = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call"})

_KEY: Final = "agentroute"
_MARKER: Final = "cache_control"


def read_part(block: dict[str, Any], where: str, origin: str | None = None) -> Part:
    """One part of a message, from a standard block that is no call. `origin` is the model that signed reasoning in it.

    Raises RequestError for what no part can hold.
    """
    extras = block.get("extras") or {}
    ours = extras.get(_KEY) or {}
    kind = block["type"]
    marker = block.get(_MARKER) or extras.get(_MARKER)
    marked = None if marker is None else Extra("anthropic_messages", {_MARKER: marker})
    if kind == "text":
        return Text(block["text"], read_extra(ours.get("extra")) or marked)
    if kind == "reasoning":
        signature = ours.get("signature", extras.get("signature"))
        return Reasoning(
            block.get("reasoning") or "",
            signature,
            ours.get("origin", origin if signature else None),
            ours.get("redacted", False),
            read_extra(ours.get("extra")),
        )
    if kind == "text-plain" and block.get("text") is not None:
        return Text(block["text"], marked)
    if kind in ("image", "audio", "file", "text-plain"):
        url, data, media_type = block.get("url"), block.get("base64"), block.get("mime_type")
        if url is not None and (held := split_data_url(url)) is not None:
            url, data, media_type = None, held[1], media_type or held[0]
        if url or data:
            if kind == "image":
                return Image(url, data, media_type, extras.get("detail"), marked)
            if kind == "audio":
                return Audio(url, data, media_type, marked)
            given = {**extras, **block}
            name = given.get("filename") or given.get("title") or given.get("name")
            return Document(url, data, media_type, name, marked)
        raise RequestError(f"{where} has a part of type {kind!r} without its data; give its `base64` or its `url`")
    shown = block["value"].get("type") if kind == "non_standard" and isinstance(block.get("value"), dict) else kind
    raise RequestError(f"{where} has a part of type {shown!r}, which cannot be sent")


def write_part(part: Part) -> dict[str, Any]:
    """A part of an answer as a standard block. A call whose arguments are no JSON object is an invalid one."""
    match part:
        case Text():
            return {"type": "text", "text": part.text, **_extras(part)}
        case Reasoning():
            return {"type": "reasoning", "reasoning": part.text, **_extras(part)}
        case ToolCall():
            try:
                args: Any = part.parsed()
            except RequestError as error:
                broken = {"name": part.name, "args": part.arguments, "id": part.id, "error": str(error)}
                return {"type": "invalid_tool_call", **broken, **_extras(part)}
            return {"type": "tool_call", "name": part.name, "args": args, "id": part.id, **_extras(part)}
        case _:
            raise TypeError(f"an answer cannot hold a {type(part).__name__}")


def _extras(part: Text | Reasoning | ToolCall) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    ours: dict[str, Any] = {}
    if isinstance(part, Reasoning):
        if part.signature is not None:
            # The standard place, but for redacted reasoning: elsewhere that would pass for a signature of no words.
            (ours if part.redacted else extras)["signature"] = part.signature
        if part.origin is not None:
            ours["origin"] = part.origin
        if part.redacted:
            ours["redacted"] = True
    if part.extra is not None:
        ours["extra"] = write_extra(part.extra)
    if ours:
        extras[_KEY] = ours
    return {"extras": extras} if extras else {}


def write_extra(extra: Extra) -> dict[str, Any]:
    known = {"dialect": extra.dialect, "fields": dict(extra.fields), "origin": extra.origin}
    return {key: value for key, value in known.items() if value is not None}


def read_extra(raw: dict[str, Any] | None) -> Extra | None:
    return None if raw is None else Extra(raw["dialect"], raw["fields"], raw.get("origin"))


# --- the outline beside a plain text ---------------------------------------------------------------------------------


def outline_of(parts: Sequence[Part]) -> list[dict[str, Any]] | None:
    """What a plain text, its reasoning and its calls do not tell; None where they tell everything in this order."""
    order = {Reasoning: 0, Text: 1, ToolCall: 2}
    kinds = [order.get(type(part), 1) for part in parts]
    if all(map(_is_bare, parts)) and kinds == sorted(kinds) and kinds.count(0) < 2 and kinds.count(1) < 2:
        return None
    return [_outlined(part) for part in parts]


def _is_bare(part: Part) -> bool:
    if isinstance(part, Reasoning):
        return bool(part.text) and part == Reasoning(part.text)
    return part.extra is None


def _outlined(part: Part) -> dict[str, Any]:
    assert isinstance(part, Text | Reasoning | ToolCall)
    if isinstance(part, ToolCall):
        return {"type": "tool_call", "id": part.id, **_extras(part)}
    kind = "text" if isinstance(part, Text) else "reasoning"
    return {"type": kind, "chars": len(part.text), **_extras(part)}


def blocks_of(message: AIMessage) -> list[dict[str, Any]] | None:
    """The blocks of an answer that has an outline, whole again; None for any other, and where its reasoning is not what
    it was."""
    outline = (message.additional_kwargs.get(_KEY) or {}).get("parts")
    if outline is None:
        return None
    texts = {"text": str(message.text), "reasoning": str(message.additional_kwargs.get("reasoning_content") or "")}
    lengths = {kind: sum(entry["chars"] for entry in outline if entry["type"] == kind) for kind in texts}
    if len(texts["reasoning"]) != lengths["reasoning"]:
        return None
    whole = len(texts["text"]) == lengths["text"]
    calls = [*map(_call_block, message.tool_calls), *map(_call_block, message.invalid_tool_calls)]
    blocks: list[dict[str, Any]] = []
    for entry in outline:
        extras = {"extras": entry["extras"]} if "extras" in entry else {}
        kind = entry["type"]
        if kind == "tool_call":
            at = next((at for at, call in enumerate(calls) if call["id"] == entry["id"]), None)
            if at is not None:
                blocks.append({**calls.pop(at), **extras})
            continue
        # Somebody wrote another text over it: that stands whole where the first one stood.
        length = entry["chars"] if whole or kind == "reasoning" else len(texts[kind])
        said, texts[kind] = texts[kind][:length], texts[kind][length:]
        if said or extras or not entry["chars"]:
            blocks.append({"type": kind, kind: said, **extras})
    if texts["text"]:
        blocks.append({"type": "text", "text": texts["text"]})
    return blocks + calls


def _call_block(call: LangChainToolCall | InvalidToolCall) -> dict[str, Any]:
    return {"type": "tool_call", **call}


def _translate(message: AIMessage) -> Any:
    blocks = blocks_of(message)
    if blocks is None:
        # LangChain then reads the message by itself, which is right for one without an outline.
        raise NotImplementedError
    return blocks


register_translator(MODEL_PROVIDER, _translate, _translate)
