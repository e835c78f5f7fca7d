"""Reads trace files line by line, plain or gzip: a line that cannot be read loses only itself."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, cast, get_args

from agentroute.errors import ConfigError, RequestError

from . import logs
from .records import LogFormat, Problem, Trace

__all__ = ["Traces", "lines"]

MAX_LINE_BYTES = 256 * 1024 * 1024
"""A longer line is reported and passed over: it would have to be held in memory several times."""

_BLOCK_BYTES = 1024 * 1024


class Traces:
    """Iterates (file name, line number, Trace or Problem) over JSONL files, holding one line at a time.

    `fmt` forces one for every line (default: told from each line). `on_progress` is called with the bytes read so
    far and those there are. `notes` fills while reading: what a reader of the result must know about its input.

    Raises ConfigError for a path that is not a file and for an unknown format.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        fmt: LogFormat | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.paths = tuple(Path(path) for path in paths)
        if fmt is not None and fmt not in get_args(LogFormat):
            raise ConfigError(f"the format is {fmt!r}; use one of {', '.join(get_args(LogFormat))}")
        if not self.paths:
            raise ConfigError("there are no traces; give JSONL files, plain or gzip")
        for path in self.paths:
            if not path.is_file():
                raise ConfigError(f"{str(path)!r} is not a file; give JSONL files, plain or gzip")
        self.notes: dict[str, None] = {}
        self._format = fmt
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[tuple[str, int, Trace | Problem]]:
        total = sum(path.stat().st_size for path in self.paths)
        before = 0
        for path in self.paths:
            beside = logs.Beside(path.parent, self.notes)
            name = logs.printable(path.name)
            for number, line, done in lines(path):
                if isinstance(line, str):
                    yield name, number, Problem(name, number, line)
                elif not line.isspace():
                    yield name, number, self._read(name, number, line, beside)
                if self._on_progress is not None:
                    self._on_progress(before + done, total)
            before += path.stat().st_size

    def _read(self, file: str, number: int, line: bytes, beside: logs.Beside) -> Trace | Problem:
        try:
            data = json.loads(line)
            if isinstance(data, Mapping):
                return logs.read(data, self._format, beside)
            return Problem(file, number, f"a {type(data).__name__}, not an object with `messages` or `request`")
        except RequestError as error:
            return Problem(file, number, str(error))
        except RecursionError:
            return Problem(file, number, "nested too deeply")
        except ValueError as error:
            return Problem(file, number, f"not JSON: {error}")


def lines(path: Path) -> Iterator[tuple[int, bytes | str, int]]:
    """(line number, the line or why there is none, bytes of the file read so far)."""
    number = 0
    with path.open("rb", buffering=_BLOCK_BYTES) as raw:
        packed = raw.read(2) == b"\x1f\x8b"
        raw.seek(0)
        stream = cast(IO[bytes], gzip.GzipFile(fileobj=raw)) if packed else raw
        try:
            while line := stream.readline(MAX_LINE_BYTES):
                number += 1
                if len(line) == MAX_LINE_BYTES and not line.endswith(b"\n"):
                    while (rest := stream.readline(_BLOCK_BYTES)) and not rest.endswith(b"\n"):
                        pass
                    yield number, f"longer than {MAX_LINE_BYTES:,} bytes", raw.tell()
                else:
                    yield number, line, raw.tell()
        except (OSError, EOFError, zlib.error) as error:
            yield number + 1, f"the file cannot be read from here on: {error}", raw.tell()
