"""LlamaIndex's content blocks as canonical parts. Nothing is fetched, and nothing given is changed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from io import IOBase
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.utils import resolve_binary

from agentroute.errors import RequestError
from agentroute.formats.reading import split_data_url
from agentroute.messages import Audio, Document, Extra, Image, Part, Reasoning, Text, ToolCall, ToolResult

__all__ = ["cached_up_to", "extra_from", "read_blocks", "write_extra"]

_CACHE_DIALECT = "anthropic_messages"
_AUDIO_TYPES = {"mp3": "audio/mpeg"}


def read_blocks(blocks: Iterable[Any], at: int, *, assistant: bool, origin: str | None) -> list[Part]:
    """The parts of message `at`, in order. `origin` (`provider/model`) wrote it, where that is known.

    Raises RequestError for a block that no target can be sent.
    """
    parts: list[Part] = []
    for block in blocks:
        match block:
            case TextBlock():
                if block.text or assistant:
                    parts.append(Text(block.text))
            case ImageBlock():
                url, data, media_type = _media(block.image, block.path, block.url, block.image_mimetype, "image", at)
                parts.append(Image(url=url, data=data, media_type=media_type, detail=block.detail))
            case AudioBlock():
                known = None if block.format is None else _AUDIO_TYPES.get(block.format, f"audio/{block.format}")
                url, data, media_type = _media(block.audio, block.path, block.url, known, "audio", at)
                parts.append(Audio(url=url, data=data, media_type=media_type))
            case DocumentBlock():
                known = block.document_mimetype
                url, data, media_type = _media(block.data, block.path, block.url, known, "document", at)
                parts.append(Document(url=url, data=data, media_type=media_type, name=block.title))
            case CachePoint():
                if not parts:
                    raise RequestError(f"message {at} begins with a cache point; put it after what is to be cached")
                cached_up_to(parts, block.cache_control.model_dump(include={"type", "ttl"}))
            case CitableBlock():
                parts.append(Text(f"{block.title} ({block.source}):\n"))
                parts += read_blocks(block.content, at, assistant=assistant, origin=origin)
            case CitationBlock():
                # What a model quoted of a source it was sent; its own words stand beside it.
                pass
            case ThinkingBlock() if assistant:
                parts.append(_reasoning(block, origin))
            case ToolCallBlock() if assistant:
                arguments = block.tool_kwargs
                text = arguments if isinstance(arguments, str) else json.dumps(arguments, ensure_ascii=False)
                parts.append(ToolCall(block.tool_call_id or "", block.tool_name, text or "{}"))
            case _:
                kind = getattr(block, "block_type", type(block).__name__)
                raise RequestError(f"message {at} has a block of type {kind!r}, which cannot be sent from there")
    return parts


def cached_up_to(parts: list[Part], control: Mapping[str, Any]) -> None:
    """Marks the last part as the end of what is to be cached: Anthropic's own field, left out for other providers."""
    last = parts[-1]
    if last.extra is None:
        parts[-1] = replace(last, extra=Extra(_CACHE_DIALECT, {"cache_control": dict(control)}))


def _reasoning(block: ThinkingBlock, origin: str | None) -> Reasoning:
    told = block.additional_information
    signature = told.get("signature") or None
    return Reasoning(
        block.content or "",
        signature,
        told.get("origin") or (origin if signature else None),
        bool(told.get("redacted")),
        extra_from(told.get("extra")),
    )


def _media(
    data: bytes | IOBase | None, path: Any, url: Any, media_type: str | None, kind: str, at: int
) -> tuple[str | None, str | None, str | None]:
    """URL, base64 data and media type: one of the first two."""
    if not data and path is None and url is not None:
        held = split_data_url(str(url))
        return (str(url), None, media_type) if held is None else (None, held[1], media_type or held[0] or None)
    problem = "neither data nor a path nor a url"
    try:
        text = _base64(data, path)
        if text:
            return None, text, media_type
    except (OSError, ValueError) as error:
        problem = f"data that cannot be read ({type(error).__name__}: {error})"
    raise RequestError(f"message {at}: its {kind} block has {problem}")


def _base64(data: bytes | IOBase | None, path: Any) -> str:
    if isinstance(data, bytes):
        return data.decode("ascii")  # The block made base64 of it when it was built.
    if data is None:
        return "" if path is None else resolve_binary(path=path, as_base64=True).read().decode("ascii")
    before = data.tell()
    data.seek(0)
    content: bytes = data.read()
    data.seek(before)
    return resolve_binary(raw_bytes=content, as_base64=True).read().decode("ascii")


# --- fields that only one model understands --------------------------------------------------------------------------


def extra_from(record: Any) -> Extra | None:
    """What `write_extra` wrote, or None for anything else."""
    if not isinstance(record, Mapping) or not isinstance(record.get("fields"), Mapping):
        return None
    return Extra(str(record.get("dialect")), record["fields"], record.get("origin"))


def write_extra(part: Part) -> dict[str, Any] | None:
    """A part's unknown fields, JSON-ready, to come back with the message; None where it has none to come back."""
    if part.extra is None or isinstance(part, ToolResult):
        return None
    return {"dialect": part.extra.dialect, "fields": dict(part.extra.fields), "origin": part.extra.origin}
