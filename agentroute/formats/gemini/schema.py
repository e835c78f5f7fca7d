"""Google's own schemas (a subset of OpenAPI 3.0, types in capitals) as JSON schemas."""

from __future__ import annotations

from typing import Any, Final

from agentroute.formats.reading import Raw

from .fields import camel

__all__ = ["json_schema"]

_COUNTS: Final = frozenset({"minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"})
"""Whole numbers of 64 bits, which protobuf's JSON writes as text."""


def json_schema(schema: Raw) -> dict[str, Any]:
    """The JSON schema that says the same. Fields as in https://ai.google.dev/api/caching#Schema.

    >>> json_schema({"type": "OBJECT", "properties": {"day": {"type": "STRING", "nullable": True}}})
    {'type': 'object', 'properties': {'day': {'type': ['string', 'null']}}}
    """
    found: dict[str, Any] = {}
    nullable = False
    for key, value in camel(schema).items():
        match key, value:
            case "nullable", bool():
                nullable = value
            case "type", "TYPE_UNSPECIFIED":
                pass
            case "type", str():
                found[key] = value.lower()
            case (("items" | "additionalProperties" | "not"), dict()):
                found[key] = json_schema(value)
            case (("properties" | "defs"), {**named}):
                name = "$defs" if key == "defs" else key
                found[name] = {label: _schema(inner) for label, inner in named.items()}
            case (("anyOf" | "oneOf" | "allOf" | "prefixItems"), list()):
                found[key] = [_schema(inner) for inner in value]
            case str(), str() if key in _COUNTS and value.isdigit():
                found[key] = int(value)
            case _:
                found["$ref" if key == "ref" else key] = value
    if not nullable:
        return found
    if isinstance(found.get("type"), str):
        found["type"] = [found["type"], "null"]
        if isinstance(found.get("enum"), list) and None not in found["enum"]:
            found["enum"] = [*found["enum"], None]
        return found
    return {"anyOf": [found, {"type": "null"}]}


def _schema(value: Any) -> Any:
    return json_schema(value) if isinstance(value, dict) else value
