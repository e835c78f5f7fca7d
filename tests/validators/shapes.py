"""Whether a value has the shape that an official SDK declares: every lazy part of it read to the end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import TypeAdapter, ValidationError


def misshapen(adapter: TypeAdapter[Any], value: Any) -> list[str]:
    """What is wrong with it, in words. pydantic checks an `Iterable` only as it is read, so all of it is."""
    try:
        _exhaust(adapter.validate_python(value))
    except ValidationError as error:
        return [f"shape: {found['loc']}: {found['msg']}" for found in error.errors()[:3]]
    return []


def _exhaust(value: Any) -> None:
    if isinstance(value, Mapping):
        for held in value.values():
            _exhaust(held)
    elif isinstance(value, Iterable) and not isinstance(value, str | bytes):
        for held in value:
            _exhaust(held)
