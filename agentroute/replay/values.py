"""The JSON values of a file, one at a time: lines, whole documents, the elements of an array; plain or gzip.

A value that cannot be read loses only itself, and no value is held that is larger than memory should bear.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from json.decoder import JSONDecodeError, JSONDecoder
from pathlib import Path
from typing import Any, cast

__all__ = ["Unreadable", "Value", "opened", "parse", "text_lines", "values"]

MAX_VALUE_BYTES = 128 * 1024 * 1024
"""A larger value is reported and passed over: it would have to be held in memory several times."""

MAX_ITEMS = 4_000_000
"""Commas, braces and brackets in one value, at most: a few bytes of JSON can become a hundred in memory."""

_BLOCK_BYTES = 1024 * 1024
_SMALL = 8 * 1024 * 1024
"""Values up to this size are not searched for too many items: they cannot hold enough."""

_SPACE = re.compile(rb"[\s\x1e]*")
_BETWEEN = re.compile(r"[\s,\x1e]*")
_DECODER = JSONDecoder()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why there is no value here."""

    reason: str


@dataclass(frozen=True, slots=True)
class Value:
    """A value or why there is none, the line it begins on (from 1), and the bytes of the file read so far.

    `document` counts the values at the top of the file: the elements of an array have it in common (`element` is True).
    """

    line: int
    data: Any
    done: int
    document: int
    element: bool = False


def values(path: Path) -> Iterator[Value]:
    """The values of a file, each parsed when it is reached."""
    with _bytes(path) as raw:
        source = _Source(raw, opened(raw))
        document = 0
        try:
            while (start := source.begin()) is not None:
                document += 1
                for line, data, element in _next(source, start):
                    yield Value(line, data, raw.tell(), document, element)
        except (OSError, EOFError, zlib.error) as error:
            reason = f"the file cannot be read from here on: {error}"
            yield Value(source.line + 1, Unreadable(reason), raw.tell(), document + 1)


def text_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number, text) of a file that is no JSON; bytes that are no text are replaced."""
    with _bytes(path) as raw:
        stream, number = opened(raw), 0
        try:
            while line := stream.readline(_BLOCK_BYTES):
                number += 1
                yield number, line.decode("utf-8", "replace").rstrip("\r\n")
        except (OSError, EOFError, zlib.error):
            return


def _bytes(path: Path) -> io.BufferedReader:
    return cast(io.BufferedReader, path.open("rb", buffering=_BLOCK_BYTES))


def opened(raw: io.BufferedReader) -> io.BufferedReader:
    """The stream, unpacked if it is gzip."""
    packed = raw.read(2) == b"\x1f\x8b"
    raw.seek(0)
    return cast(io.BufferedReader, gzip.GzipFile(fileobj=raw)) if packed else raw


class _Source:
    """Bytes of a stream, by line or by block, with what was read too far kept for the next read."""

    def __init__(self, raw: io.BufferedReader, stream: io.BufferedReader) -> None:
        self._raw, self._stream = raw, stream
        self._held, self._at = b"", 0
        self.line = 0
        """Lines that lie behind."""

    def begin(self) -> bytes | None:
        """Passes over white space; the byte that comes next, None at the end."""
        while True:
            end = cast("re.Match[bytes]", _SPACE.match(self._held, self._at)).end()
            self.line += self._held.count(b"\n", self._at, end)
            self._at = end
            if end < len(self._held):
                if self._held.startswith(b"\xef\xbb\xbf", end):
                    self._at += 3
                    continue
                return self._held[end : end + 1]
            if not self._more():
                return None

    def take_line(self, limit: int) -> bytes:
        """The rest of this line with its end, or the first `limit` bytes of it."""
        end = self._held.find(b"\n", self._at)
        if end >= 0 and end - self._at < limit:
            self.line += 1
            start, self._at = self._at, end + 1
            return self._held[start : end + 1]
        pieces, size = [self._held[self._at :]], len(self._held) - self._at
        self._held, self._at = b"", 0
        while size < limit:
            block = self._stream.read1(_BLOCK_BYTES)
            if not block:
                break
            end = block.find(b"\n")
            pieces.append(block)
            size += len(block)
            if end >= 0:
                break
        line = b"".join(pieces)
        end = line.find(b"\n", 0, limit)
        if end >= 0:
            self.line += 1
            self._held, self._at = line, end + 1
            return line[: end + 1]
        self._held, self._at = line, min(limit, len(line))
        return line[:limit]

    def skip_line(self) -> None:
        """Goes to the beginning of the next line."""
        while True:
            end = self._held.find(b"\n", self._at)
            if end >= 0:
                self.line += 1
                self._at = end + 1
                return
            self._at = len(self._held)
            if not self._more():
                return

    def skip_all(self) -> None:
        self._held, self._at = b"", 0
        while self._stream.read1(_BLOCK_BYTES):
            pass

    def block(self) -> bytes:
        if self._at < len(self._held):
            held, self._held, self._at = self._held[self._at :], b"", 0
            return held
        return self._stream.read1(_BLOCK_BYTES)

    def give_back(self, rest: bytes) -> None:
        held = self._held[self._at :]
        self._held, self._at = rest + held, 0

    def _more(self) -> bool:
        block = self._stream.read1(_BLOCK_BYTES)
        self._held, self._at = self._held[self._at :] + block, 0
        return bool(block)


def _next(source: _Source, start: bytes) -> Iterator[tuple[int, Any, bool]]:
    """(line, value, whether it is an element of an array) of what begins here."""
    number = source.line + 1
    if start not in b"{[":
        line = source.take_line(_BLOCK_BYTES)
        if not line.endswith(b"\n"):
            source.skip_line()
        yield number, parse(line), False
        return
    limit = _BLOCK_BYTES if start == b"[" else MAX_VALUE_BYTES
    line = source.take_line(limit)
    whole = line.endswith(b"\n") or len(line) < limit
    if not whole and start == b"{":
        yield number, Unreadable(f"longer than {MAX_VALUE_BYTES:,} bytes"), False
        source.skip_line()
        return
    if whole:
        data = parse(line)
        if not isinstance(data, Unreadable) or "JSON" not in data.reason or not _goes_on(line):
            yield number, data, False
            return
    source.line = number - 1
    source.give_back(line)
    if start == b"[":
        yield from _elements(source)
    else:
        yield from _document(source, len(line))


def parse(line: bytes) -> Any:
    """The value of these bytes, or Unreadable."""
    if len(line) > _SMALL and _too_many(line):
        return Unreadable(f"more than {MAX_ITEMS:,} items in one value")
    try:
        return json.loads(line)
    except RecursionError:
        return Unreadable("nested too deeply")
    except JSONDecodeError as error:
        # Its own text would count lines within the line.
        return Unreadable(f"not JSON: {error.msg} at character {error.pos + 1:,}")
    except ValueError as error:
        return Unreadable(f"not JSON: {error}")


def _too_many(data: bytes) -> bool:
    return data.count(b",") + data.count(b"{") + data.count(b"[") > MAX_ITEMS


def _goes_on(line: bytes) -> bool:
    """Whether a line that is no value alone may be the first of a value on several: it stops between two tokens."""
    try:
        json.loads(line)
    except JSONDecodeError as error:
        return error.pos >= len(error.doc.rstrip()) and "string" not in error.msg
    except (ValueError, RecursionError):
        pass
    return False


class _Text:
    """Text of a source, decoded as it grows."""

    def __init__(self, source: _Source) -> None:
        self._source = source
        self._cut = b""
        self.held = ""
        self.ended = False

    def more(self, at: int) -> None:
        """Drops what lies before `at`, and reads as much again as is left (a block at least)."""
        pieces = [self.held[at:]]
        wanted = max(len(pieces[0]), 1)
        while wanted > 0 and not self.ended:
            block = self._source.block()
            self.ended = not block
            data = self._cut + block
            cut = 0 if self.ended else _unfinished(data)
            self._cut = data[len(data) - cut :]
            pieces.append(data[: len(data) - cut].decode("utf-8", "replace"))
            wanted -= len(block)
        self.held = "".join(pieces)

    def give_back(self, at: int) -> None:
        self._source.give_back(self.held[at:].encode("utf-8", "surrogatepass") + self._cut)


def _unfinished(data: bytes) -> int:
    """How many bytes at the end belong to a character that is not complete."""
    for back in range(1, min(4, len(data) + 1)):
        byte = data[-back]
        if byte >= 0xC0:
            size = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return back if size > back else 0
        if byte < 0x80:
            return 0
    return 0


def _value_at(text: _Text, at: int) -> tuple[Any, int, int]:
    """The value that begins at `at`, and where it begins and ends in the text once that has grown to hold it.

    For an Unreadable one the end is -1."""
    while True:
        if len(text.held) - at > _SMALL and _many(text.held, at):
            return Unreadable(f"more than {MAX_ITEMS:,} items in one value"), at, -1
        try:
            data, end = _DECODER.raw_decode(text.held, at)
            if end < len(text.held) or text.ended:
                return data, at, end
        except RecursionError:
            return Unreadable("nested too deeply"), at, -1
        except JSONDecodeError as error:
            cut = error.pos >= len(text.held) - 16 or "Unterminated" in error.msg
            if not cut or text.ended:
                return Unreadable(f"not JSON: {error.msg}"), at, -1
        except ValueError as error:
            return Unreadable(f"not JSON: {error}"), at, -1
        if len(text.held) - at > MAX_VALUE_BYTES:
            return Unreadable(f"longer than {MAX_VALUE_BYTES:,} bytes"), at, -1
        text.more(at)
        at = 0


def _many(text: str, at: int) -> bool:
    return text.count(",", at) + text.count("{", at) + text.count("[", at) > MAX_ITEMS


def _document(source: _Source, first_line: int) -> Iterator[tuple[int, Any, bool]]:
    """A value on several lines. If it is none, the file goes on after its first line, if that looks like lines."""
    number = source.line + 1
    text = _Text(source)
    text.more(0)
    data, _, end = _value_at(text, 0)
    if not isinstance(data, Unreadable):
        source.line += text.held.count("\n", 0, end)
        text.give_back(end)
        yield number, data, False
        return
    if "JSON" not in data.reason or "longer" in data.reason:
        yield number, data, False
        source.skip_all()
        return
    after = text.held.find("\n") + 1
    following = text.held[after : text.held.find("\n", after) + 1].strip()
    text.give_back(after)
    source.line = number
    if following[:1] == "{" and not isinstance(parse(following.encode("utf-8", "replace")), Unreadable):
        yield number, data, False
        return
    yield number, Unreadable(f"a document on several lines that is cut off or {data.reason}"), False
    source.skip_all()


def _elements(source: _Source) -> Iterator[tuple[int, Any, bool]]:
    """The elements of an array, none held longer than it is needed."""
    text, at = _Text(source), 0
    text.more(0)
    at = text.held.find("[") + 1
    while True:
        end = cast("re.Match[str]", _BETWEEN.match(text.held, at)).end()
        source.line += text.held.count("\n", at, end)
        at = end
        if at == len(text.held):
            if text.ended:
                yield source.line + 1, Unreadable("not JSON: the array is cut off"), True
                return
            text.more(at)
            at = 0
            continue
        if text.held[at] == "]":
            text.give_back(at + 1)
            return
        number = source.line + 1
        data, at, end = _value_at(text, at)
        yield number, data, True
        if end < 0:
            source.skip_all()
            return
        source.line += text.held.count("\n", at, end)
        at = end
