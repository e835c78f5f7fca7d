"""What reading and writing this dialect share: its name, the fields we do not know, and how a wrong one is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeAlias

from agentroute.errors import RequestError
from agentroute.messages import Extra

__all__ = [
    "CUSTOM",
    "DIALECT",
    "REASONING",
    "REFUSAL",
    "Raw",
    "kept",
    "known_fields",
    "said",
    "show",
    "unknown_fields",
    "wrong",
]

DIALECT: Final = "openai_chat"

Raw: TypeAlias = Mapping[str, Any]

REFUSAL = Extra(DIALECT, {"type": "refusal"})
REASONING = Extra(DIALECT, {"field": "reasoning"})
CUSTOM = Extra(DIALECT, {"type": "custom"})


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


def said(raw: Raw) -> dict[str, Any]:
    """The fields that say something: answers are full of nulls and empty lists."""
    return {key: value for key, value in raw.items() if value is not None and value != [] and value != {}}
