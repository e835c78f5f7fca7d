"""Server-sent events: bytes in, in pieces of any size, events out; and events of JSON as bytes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

from agentroute.errors import BadResponse

__all__ = ["MAX_EVENT_BYTES", "ServerSentEvent", "SseDecoder", "encode_event"]

MAX_EVENT_BYTES: Final = 8 * 1024 * 1024
"""What one event may hold. The largest honest ones are base64 pictures of a few MB; a 64 MB line is an attack."""

_BOM = b"\xef\xbb\xbf"


class ServerSentEvent(NamedTuple):
    """One event: its name (`message` where the server gave none) and its data lines, joined by line feeds."""

    event: str
    data: str


class SseDecoder:
    """Reads a stream as https://html.spec.whatwg.org/multipage/server-sent-events.html says, without `id` and `retry`.

    Any split of the same bytes gives the same events. An event that the end of the stream cuts off is dropped.
    Comments and events without data give no event, so that they cannot keep a silent stream alive.
    """

    __slots__ = ("_after_cr", "_data", "_data_bytes", "_event", "_first_line", "_line", "_line_bytes", "_max_bytes")

    def __init__(self, *, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_bytes = max_event_bytes
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._data: list[bytes] = []
        self._data_bytes = 0
        self._event = b""
        self._first_line = True
        self._after_cr = False

    def feed(self, chunk: bytes) -> list[ServerSentEvent]:
        """The events that end in this chunk. Raises BadResponse for one that is too large or is not UTF-8."""
        return list(self.read(chunk))

    def read(self, chunk: bytes) -> Iterator[ServerSentEvent]:
        """`feed`, one by one: the events before a bad one are good, however the bytes were cut."""
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == 0x0A:
                chunk = chunk[1:]
        if not chunk:
            return
        self._after_cr = chunk[-1] == 0x0D
        lines = chunk.splitlines()
        rest = b"" if chunk[-1] in (0x0D, 0x0A) else lines.pop()
        for line in lines:
            if self._line:
                self._line.append(line)
                line = b"".join(self._line)
                self._line.clear()
                self._line_bytes = 0
            event = self._take(line)
            if event is not None:
                yield event
        if rest:
            self._line.append(rest)
            self._line_bytes += len(rest)
            self._check_size()

    def _take(self, line: bytes) -> ServerSentEvent | None:
        """The event that this line ends, if it does."""
        if self._first_line:
            self._first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            data, event = self._data[0] if len(self._data) == 1 else b"\n".join(self._data), self._event
            self._data.clear()
            self._data_bytes = 0
            self._event = b""
            if not data.strip():
                return None
            return ServerSentEvent(_decode(event) if event else "message", _decode(data))
        name, _, value = line.partition(b":")
        if value[:1] == b" ":
            value = value[1:]
        if name == b"data":
            self._data.append(value)
            self._data_bytes += len(value) + 1
            if self._data_bytes > self._max_bytes:
                self._check_size()
        elif name == b"event":
            self._event = value
        return None

    def _check_size(self) -> None:
        if self._data_bytes + self._line_bytes > self._max_bytes:
            raise BadResponse(f"an event of the stream is larger than {self._max_bytes} bytes")


def _decode(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        problem = f"{error.reason} at byte {error.start}"
    raise BadResponse(f"an event of the stream is not UTF-8: {problem}")


def encode_event(data: Mapping[str, Any], event: str | None = None) -> bytes:
    """One event with this JSON, in ASCII: what no encoding can hold (half a surrogate pair) stays an escape."""
    name = b"" if event is None else f"event: {event}\n".encode()
    return name + b"data: " + _ENCODE(data).encode() + b"\n\n"


_ENCODE: Final = json.JSONEncoder(separators=(",", ":"), default=dict).encode
