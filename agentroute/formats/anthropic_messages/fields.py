"""What reading and writing this dialect share: its name and versions, the fields we do not know, the blocks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias

from agentroute.errors import RequestError
from agentroute.messages import Extra

__all__ = ["DEFAULT_VERSION", "DIALECT", "INVALID_JSON", "MAX_TOKENS", "Raw", "known_fields", "rest", "show", "wrong"]

DIALECT: Final = "anthropic_messages"

DEFAULT_VERSION: Final = "2023-06-01"
"""The version that all recorded traffic was made with; `2026-10-21` takes no sampling settings any more."""

MAX_TOKENS: Final = 16_384
"""The dialect demands a limit. Without one of the caller's: room for a long file, and within every current model's."""

INVALID_JSON: Final = "INVALID_JSON"
"""What arguments that are no JSON object are wrapped in, as Anthropic's documentation of fine-grained tool streaming
proposes (`{"INVALID_JSON": "..."}`)."""

Raw: TypeAlias = Mapping[str, Any]


def known_fields(extra: Extra | None) -> Mapping[str, Any]:
    return extra.fields if extra is not None and extra.dialect == DIALECT else {}


def rest(raw: Raw, known: frozenset[str], origin: str | None = None) -> Extra | None:
    """The fields that are not known, if there are any that say something."""
    found = {key: raw[key] for key in raw if key not in known and raw[key] is not None}
    return Extra(DIALECT, found, origin) if found else None


def wrong(where: str, value: Any, wanted: str) -> NoReturn:
    raise RequestError(f"`{where}` is {show(value)}; give {wanted}")


def show(value: Any) -> str:
    """A value for an error message: short, printable, and without walking through a deep one."""
    if value is None or isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, str):
        short = value if len(value) <= 60 else value[:60] + "..."
        return ascii(short) if not short.isprintable() else repr(short)
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, list | tuple | Mapping) else "")
