"""What every reader of a format is: values of files go in, traces come out, at once or when all is there."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from agentroute.replay.records import Problem, Trace

from .fields import Raw, printable

__all__ = ["Found", "Lines", "Place", "Reader", "json_beside"]

Found = Iterable[Trace | Problem]


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands: its file and line (from 1)."""

    path: Path
    line: int

    @property
    def file(self) -> str:
        return printable(self.path.name)


class Reader(Protocol):
    """Reads the values of one format; RequestError from `read` loses the value, and nothing else."""

    def read(self, raw: Raw, place: Place) -> Found:
        """What is known to be complete with this value."""
        ...

    def close(self) -> Found:
        """What was gathered and waits for nothing more."""
        ...


class Lines:
    """A format of which each value is a trace of its own."""

    def __init__(self, read: Callable[[Raw], Trace | Iterable[Trace]]) -> None:
        self._read = read

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        found = self._read(raw)
        if isinstance(found, Trace):
            yield found
        else:
            yield from found

    def close(self) -> Found:
        return ()


def json_beside(path: Path, limit: int) -> Any:
    """The JSON of a small file that stands beside a log, plain or as `.gz`, of at most `limit` bytes; None without."""
    try:
        if not path.exists():
            with gzip.open(path.with_name(path.name + ".gz"), "rb") as packed:
                data = packed.read(limit + 1)
        else:
            data = path.read_bytes() if path.stat().st_size <= limit else b""
        return json.loads(data) if len(data) <= limit else None
    except (OSError, EOFError, ValueError, RecursionError):
        return None
