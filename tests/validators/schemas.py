"""What strict servers refuse in names of tools, JSON schemas and pictures, in words; written apart from the product."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Collection, Iterator, Mapping
from typing import Any

OPENAI_NAME = "[A-Za-z0-9_-]{1,64}"
ANTHROPIC_NAME = "[a-zA-Z0-9_-]{1,128}"
GEMINI_NAME = "[A-Za-z_][A-Za-z0-9_.:-]{0,127}"

_JOINED = ("oneOf", "anyOf", "allOf")
_BOUNDS = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
)
_STRICT_CLAUDE = (*_BOUNDS, "oneOf", "pattern", "multipleOf", "uniqueItems", "not")
_STRICT_OPENAI = ("oneOf", "allOf", "default", "patternProperties", "propertyNames", "uniqueItems", "contains")


def names(found: Collection[str], pattern: str) -> list[str]:
    wrong = [f"name {name!r} should match {pattern}" for name in found if not re.fullmatch(pattern, name)]
    return wrong + (["tool names must be unique"] if len(set(found)) < len(found) else [])


def root(schema: Mapping[str, Any], more: Collection[str] = ()) -> list[str]:
    found = [f"{word} at the top level" for word in (*_JOINED, *more) if word in schema]
    return found + ([] if schema.get("type") == "object" else ["schema must have type 'object'"])


def openai_tool(schema: Mapping[str, Any], strict: bool) -> list[str]:
    found = root(schema, ("enum", "const", "not"))
    if not isinstance(schema.get("properties"), Mapping):
        found.append("object schema missing properties")
    return found + (openai_strict(schema) if strict else [])


def openai_strict(schema: Mapping[str, Any]) -> list[str]:
    found = closed(schema) + refused(schema, _STRICT_OPENAI)
    for held in every(schema):
        properties = held.get("properties")
        if isinstance(properties, Mapping) and set(properties) - set(held.get("required") or ()):
            found.append("'required' must include every key in properties")
    return found


def claude_answer(schema: Mapping[str, Any]) -> list[str]:
    return closed(schema) + refused(schema, _STRICT_CLAUDE) + (["recursive schema"] if _holds_itself(schema) else [])


def closed(schema: Mapping[str, Any]) -> list[str]:
    return [
        "for 'object' type, 'additionalProperties' must be explicitly set to false"
        for held in every(schema)
        if (held.get("type") == "object" or "properties" in held) and held.get("additionalProperties") is not False
    ][:1]


def refused(schema: Mapping[str, Any], words: Collection[str]) -> list[str]:
    return sorted({f"{word} is not supported" for held in every(schema) for word in words if word in held})


def every(schema: Any) -> Iterator[Mapping[str, Any]]:
    """The schema and those in it, by position: a property may be called `pattern`."""
    if not isinstance(schema, Mapping):
        return
    yield schema
    for key, value in schema.items():
        if key in ("properties", "$defs", "definitions"):
            for held in value.values():
                yield from every(held)
        elif key in ("anyOf", "oneOf", "allOf", "prefixItems"):
            for held in value:
                yield from every(held)
        elif key in ("items", "additionalProperties"):
            yield from every(value)


def _holds_itself(schema: Mapping[str, Any]) -> bool:
    definitions = {f"#/$defs/{name}": held for name, held in (schema.get("$defs") or {}).items()}
    points = {name: {held.get("$ref") for held in every(inner)} for name, inner in definitions.items()}
    seen = {name: set(points[name]) for name in points}
    for _ in points:
        for name in points:
            seen[name] |= {far for near in seen[name] if near in points for far in points[near]}
    return any(name in seen[name] for name in points)


def pictures(value: Any) -> list[str]:
    """Base64 pictures whose type is not that of their bytes."""
    found = []
    if isinstance(value, Mapping):
        if isinstance(value.get("data"), str) and isinstance(value.get("media_type"), str):
            head = b64decode(value["data"][:32] + "=" * (-len(value["data"][:32]) % 4))
            told = next((kind for start, kind in _SIGNS if head.startswith(start)), value["media_type"])
            if told != value["media_type"] or value["media_type"] == "image/jpg":
                found.append(f"specified using the {value['media_type']} media type, but appears to be {told}")
        for held in value.values():
            found += pictures(held)
    elif isinstance(value, list):
        for held in value:
            found += pictures(held)
    return found


_SIGNS = ((b"\xff\xd8\xff", "image/jpeg"), (b"\x89PNG", "image/png"), (b"GIF8", "image/gif"), (b"RIFF", "image/webp"))
