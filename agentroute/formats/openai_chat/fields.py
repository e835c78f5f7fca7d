"""What reading and writing this dialect share: its name, the fields we do not know."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any, Final

from agentroute.formats.reading import Raw
from agentroute.messages import Extra

__all__ = [
    "CUSTOM",
    "DIALECT",
    "REASONING",
    "REFUSAL",
    "digest",
    "kept",
    "known_fields",
    "said",
    "unknown_fields",
]

DIALECT: Final = "openai_chat"

REFUSAL = Extra(DIALECT, {"type": "refusal"})
REASONING = Extra(DIALECT, {"field": "reasoning"})
CUSTOM = Extra(DIALECT, {"type": "custom"})


def digest(text: str) -> str:
    """16 characters that stand for the text."""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).hexdigest()


def known_fields(extra: Extra | None) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.dialect == DIALECT else {}


def unknown_fields(raw: Raw, known: frozenset[str], more: Mapping[str, Any] | None = None) -> Extra | None:
    """The fields that are not known, if there are any."""
    rest = {key: raw[key] for key in raw if key not in known}
    if more:
        rest.update(more)
    return Extra(DIALECT, rest) if rest else None


def kept(fields: Raw, origin: str | None) -> Extra | None:
    """Unknown fields of an answer, with the model that said them; None where there are none."""
    return Extra(DIALECT, fields, origin) if fields else None


def said(raw: Raw) -> dict[str, Any]:
    """The fields that say something: answers are full of nulls and empty lists."""
    return {key: value for key, value in raw.items() if value is not None and value != [] and value != {}}
