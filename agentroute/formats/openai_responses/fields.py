"""What reading and writing this dialect share: its name, the fields we do not know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentroute.formats.reading import Raw
from agentroute.messages import Extra

__all__ = ["ADDITIONAL", "DIALECT", "INPUT_OF", "MADE_UP", "REFUSAL", "id_of", "known_fields", "rest"]

DIALECT: Final = "openai_responses"
ADDITIONAL: Final = "additional_tools"
"""The type of an item that brings tools, as coding agents send it."""

INPUT_OF: Final[Mapping[str, str]] = {"function_call": "arguments", "custom_tool_call": "input"}
"""Where a call of each type holds what the tool is given."""

REFUSAL: Final = Extra(DIALECT, {"type": "refusal"})
MADE_UP: Final = "_agentroute_"
"""Stands in each id of an item that is ours: a provider never gave it, and is never told it."""


def known_fields(extra: Extra | None) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.dialect == DIALECT else {}


def id_of(item: Raw) -> str | None:
    """The id that a provider gave this item."""
    given = item.get("id")
    return given if isinstance(given, str) and given and MADE_UP not in given else None


def rest(raw: Raw, known: frozenset[str], origin: str | None = None) -> Extra | None:
    """The fields that are not known, if there are any that say something."""
    found = {key: raw[key] for key in raw if key not in known and raw[key] not in (None, [], {})}
    if "id" in found and id_of(raw) is None:
        del found["id"]
    return Extra(DIALECT, found, origin) if found else None
