"""Translation between the canonical values and each wire dialect: pure functions, in both directions."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import cast

from agentroute.errors import ConfigError
from agentroute.providers import DIALECTS

from .base import Encoded, Format, StreamDecoder, StreamEncoder, finish_reason, response_warnings

__all__ = [
    "DIALECTS",
    "Encoded",
    "Format",
    "StreamDecoder",
    "StreamEncoder",
    "finish_reason",
    "of",
    "response_warnings",
]


@cache
def of(dialect: str) -> Format:
    """The format of this name, imported when first asked for. Raises ConfigError for any other name."""
    if dialect not in DIALECTS:
        raise ConfigError(f"{dialect!r} is no dialect that is called over HTTP; use one of {', '.join(DIALECTS)}")
    return cast(Format, import_module(f"{__name__}.{dialect}"))
