"""What reading and writing this dialect share: its name and versions, the fields we do not know, the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from agentroute.formats.reading import Raw
from agentroute.messages import Extra

__all__ = ["DEFAULT_VERSION", "DIALECT", "MAX_TOKENS", "known_fields", "rest"]

DIALECT: Final = "anthropic_messages"

DEFAULT_VERSION: Final = "2023-06-01"
"""The version that all recorded traffic was made with; `2026-10-21` takes no sampling settings any more."""

MAX_TOKENS: Final = 16_384
"""The dialect demands a limit. Without one of the caller's: room for a long file, and within every current model's."""


def known_fields(extra: Extra | None) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.dialect == DIALECT else {}


def rest(raw: Raw, known: frozenset[str], origin: str | None = None) -> Extra | None:
    """The fields that are not known, if there are any that say something."""
    found = {key: raw[key] for key in raw if key not in known and raw[key] is not None}
    return Extra(DIALECT, found, origin) if found else None
