"""Reads the logs that people have, value by value: what cannot be read loses only itself."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from agentroute.errors import ConfigError, RequestError
from agentroute.messages import Tool

from . import logs
from .files import database, expand, kind_of, rows_of
from .logs import Format, Place, Reader, aider, langgraph, opencode
from .logs.fields import ODD, CallFailed
from .records import Problem, RecordedCall, Trace
from .values import Unreadable, Value, text_lines, values

__all__ = ["Traces"]

_FRUITLESS = 100_000
"""A file is left after so many values in a row that gave nothing: it is no log."""


class Traces:
    """Iterates (file name, line number, Trace or Problem) over files, folders and patterns, holding one value at a time
    (and on disk what waits for its other half).

    `fmt` forces one for every value (default: told from each). `on_progress` is called with the bytes read so far and
    those there are. `notes` fills while reading: what a reader of the result must know about its input. `duplicates`
    counts the answers that stood in the logs before, and were left out.

    Raises ConfigError for a path that is nothing to read and for an unknown format.
    """

    def __init__(
        self,
        paths: Iterable[str | Path],
        *,
        fmt: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if fmt is not None and fmt not in logs.NAMES:
            raise ConfigError(f"the format is {fmt!r}; use one of {', '.join(logs.NAMES)}")
        named = [Path(path) for path in paths]
        if not named:
            raise ConfigError("there are no traces; give files, folders or patterns")
        self.paths = tuple(named)
        self.files = expand(named)
        self.notes: dict[str, None] = {}
        self.duplicates = 0
        self._format = None if fmt is None else logs.NAMES[fmt]
        self._on_progress = on_progress
        self._seen: set[int] = set()
        self._readers: dict[str, Reader] = {}

    def __iter__(self) -> Iterator[tuple[str, int, Trace | Problem]]:
        total = sum(path.stat().st_size for path in self.files)
        before = 0
        for path in self.files:
            name = logs.printable(path.name)
            for line, item, done in self._file(path):
                if item is not None and (kept := self._once(item)) is not None:
                    yield name if not isinstance(kept, Problem) else kept.file, line, kept
                if self._on_progress is not None:
                    self._on_progress(before + done, total)
            before += path.stat().st_size
        for reader in self._readers.values():
            for item in _closed(reader, Place(self.files[-1], 1)):
                if (kept := self._once(item)) is not None:
                    line = kept.line if isinstance(kept, Problem) else 1
                    yield logs.printable(self.files[0].name), line, kept
        self._readers.clear()

    def _once(self, item: Trace | Problem) -> Trace | Problem | None:
        """The item without calls whose answers stood in the logs before, and with tools if it has none."""
        if isinstance(item, Problem):
            return item
        if any(call.id is not None for call in item.calls):
            kept = tuple(call for call in item.calls if not self._is_known(item.format, call))
            self.duplicates += len(item.calls) - len(kept)
            if not kept:
                return None
            if len(kept) < len(item.calls):
                item = replace(item, calls=kept)
        return item if item.request.tools or item.format == "steps" else _with_tools(item)

    def _is_known(self, fmt: str, call: RecordedCall) -> bool:
        if call.id is None or call.answer is None:
            return False
        calls = tuple((each.name, each.arguments) for each in call.answer.tool_calls)
        key = hash((fmt, call.id, call.answer.text, calls))
        known = key in self._seen
        self._seen.add(key)
        return known

    def _file(self, path: Path) -> Iterator[tuple[int, Trace | Problem | None, int]]:
        """(line, what was read, bytes read so far) of a file; None for a value that gave nothing yet."""
        try:
            kind = kind_of(path)
        except OSError as error:
            yield 1, Problem(logs.printable(path.name), 1, f"cannot be read: {error.strerror}"), 0
            return
        size = path.stat().st_size
        if kind == "database":
            for item in _database(path):
                yield 1, item, size
            return
        if kind in ("aider chat", "aider llm"):
            read = aider.chat_history if kind == "aider chat" else aider.llm_history
            for trace in read(text_lines(path), logs.printable(path.parent.name or path.name)):
                yield 1, trace, size
            return
        yield from _File(path, self._format, self._readers, self.notes).read(
            values(path) if kind == "json" else rows_of(path, kind)
        )


class _File:
    """One file while it is read: whose lines these are, and messages that stand alone until all are there."""

    def __init__(self, path: Path, forced: Format | None, shared: dict[str, Reader], notes: dict[str, None]) -> None:
        self._path, self._forced, self._shared = path, forced, shared
        self._beside = logs.Beside(path.parent, notes)
        self._own: dict[str, Reader] = {}
        self._current: Format | None = None
        self._loose: list[Any] = []
        self._loose_at = (0, 1)
        self._fruitless = 0

    def read(self, found: Iterable[Value]) -> Iterator[tuple[int, Trace | Problem | None, int]]:
        done = 0
        for value in found:
            done = value.done
            for item in self._value(value):
                yield value.line, item, done
                self._fruitless = self._fruitless + 1 if isinstance(item, Problem) else 0
            yield value.line, None, done
            if self._fruitless >= _FRUITLESS:
                reason = f"{_FRUITLESS:,} values in a row gave nothing: the rest of the file is not read"
                yield value.line, self._problem(value.line, reason), done
                break
        for item in self._together():
            yield self._loose_at[1], item, done
        for reader in self._own.values():
            for item in _closed(reader, Place(self._path, 1)):
                yield 1, item, done

    def _value(self, value: Value) -> Iterator[Trace | Problem]:
        data = value.data
        if self._loose and (value.document != self._loose_at[0] and value.element):
            yield from self._together()
        if isinstance(data, Unreadable):
            yield self._problem(value.line, data.reason)
        elif logs.is_message(data) and self._forced is None and not (self._current and self._current.follows):
            if not self._loose:
                self._loose_at = (value.document, value.line)
            self._loose.append(data)
        elif isinstance(data, Mapping):
            yield from self._together()
            held = None if self._forced else logs.held_in(data)
            if held is None:
                yield from self._read(data, value.line)
            else:
                yield from self._value(replace(value, data=held))
        elif isinstance(data, list) and data and all(isinstance(item, Mapping | list) for item in data):
            yield from self._together()
            for item in data:
                yield from self._value(Value(value.line, item, value.done, value.document, element=True))
            yield from self._together()
        else:
            yield self._problem(value.line, f"a {type(data).__name__}, not an object with `messages` or `request`")

    def _together(self) -> Iterator[Trace | Problem]:
        """The messages that stood alone, as the conversation they are."""
        messages, self._loose = self._loose, []
        if messages:
            line = self._loose_at[1]
            yield from self._guarded(logs.message_list(messages, Place(self._path, line)), line, "")

    def _read(self, data: Mapping[str, Any], line: int) -> Iterator[Trace | Problem]:
        try:
            found = self._forced or logs.format_of(data)
        except RequestError as error:
            if self._current is None or not self._current.follows:
                yield self._problem(line, str(error))
                return
            found = self._current
        if self._current is not None and self._current.follows and found.name in ("openai", "anthropic"):
            found = self._current
        self._current = found
        readers = self._shared if found.scope == "all" else self._own
        reader = readers.get(found.name)
        if reader is None:
            reader = readers[found.name] = found.reader(self._beside)
        known = "" if found.name in ("openai", "anthropic", "tau2", "steps") else f"{found.name}: "
        yield from self._guarded(_read_by(reader, data, Place(self._path, line)), line, known)

    def _guarded(self, found: Iterable[Trace | Problem], line: int, known: str) -> Iterator[Trace | Problem]:
        try:
            yield from found
        except RequestError as error:
            yield Problem(logs.printable(self._path.name), line, f"{known}{error}", isinstance(error, CallFailed))
        except ODD as error:
            # A reader takes a log for what its maker writes; this one is of another shape.
            yield self._problem(line, f"{known}not of the shape that such logs have ({type(error).__name__})")

    def _problem(self, line: int, reason: str) -> Problem:
        return Problem(logs.printable(self._path.name), line, reason)


def _read_by(reader: Reader, data: Mapping[str, Any], place: Place) -> Iterator[Trace | Problem]:
    yield from reader.read(data, place)


def _closed(reader: Reader, place: Place) -> Iterator[Trace | Problem]:
    try:
        yield from reader.close()
    except RequestError as error:
        yield Problem(place.file, place.line, str(error), isinstance(error, CallFailed))
    except ODD as error:
        yield Problem(place.file, place.line, f"not of the shape that such logs have ({type(error).__name__})")


def _database(path: Path) -> Iterator[Trace | Problem]:
    place = Place(path, 1)
    try:
        rows, tables = database(path)
        try:
            if {"session", "message", "part"} <= tables:
                yield from opencode.from_database(rows, place)
            elif "checkpoints" in tables:
                yield from langgraph.from_database(rows, place)
            else:
                names = ", ".join(logs.printable(name)[:30] for name in sorted(tables)[:5]) or "none"
                yield Problem(place.file, 1, f"a database of no known log (tables: {names})")
        finally:
            rows.close()
    except (sqlite3.Error, RequestError) as error:
        yield Problem(place.file, 1, f"the database cannot be read: {error}")


def _with_tools(trace: Trace) -> Trace:
    """The trace with the tools that were called, if it has none: no log of this kind says which were offered."""
    messages = trace.request.messages
    names = dict.fromkeys(
        call.name for message in messages if message.role == "assistant" for call in message.tool_calls
    )
    if not names:
        return trace
    request = replace(trace.request, tools=tuple(Tool(name) for name in names))
    return replace(trace, request=request, tools_inferred=True)
