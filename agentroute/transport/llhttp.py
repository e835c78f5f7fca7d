"""HTTP/1.1 on an event loop with llhttp as the parser: what a socket read brought comes as one piece, however chunked.

It has the methods that we use of httpcore2's connection, and raises what that raises. llhttp comes with httptools, on
which uvicorn stands: the extra `gateway` brings it, since a gateway's streams cost much less with it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Self

import httpcore2
import httptools

from .sockets import AsyncSocket
from .watch import Watch

__all__ = ["LlhttpAnswer", "LlhttpConnection", "written"]

_MAX_HEAD: Final = 100 * 1024
"""What the heads of one answer may hold, as h11 has it."""

_SWITCHED: Final = 101

_NAME: Final = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE: Final = re.compile(rb"(?:[!-~\x80-\xff](?:[\t -~\x80-\xff]*[!-~\x80-\xff])?)?")
_TARGET: Final = re.compile(rb"[!-~]+")


class LlhttpConnection:
    """One connection, which carries one request at a time."""

    def __init__(self, socket: AsyncSocket) -> None:
        self._socket = socket
        self._parser = httptools.HttpResponseParser(self)
        self._keeps = True
        self._surplus = False
        self._cut = False
        self._begin()

    def _begin(self) -> None:
        self.status = 0
        self.headers: list[tuple[bytes, bytes]] = []
        self._pieces: list[bytes] = []
        self._head_bytes = 0
        self._field_bytes = 0
        self._head_whole = False
        self._whole = False
        self._problem: Exception | None = None

    async def handle_async_request(self, request: httpcore2.Request) -> LlhttpAnswer:
        """Sends the request and reads the head of its answer."""
        self._begin()
        watch: Watch = request.extensions["timeout"]["read"]
        try:
            try:
                await self._socket.write(written(request), watch)
            except httpcore2.WriteError:
                # The server may have said why. What it did not read of this request would stand before the next one.
                self._cut = True
            while not self._head_whole:
                await self._read(watch)
        except BaseException:
            self._socket.close()
            raise
        return LlhttpAnswer(self, watch)

    async def piece(self, watch: Watch) -> bytes:
        """The next piece of the body, empty at its end. All that came between two waits is one piece. What came before
        something wrong is good."""
        while not self._pieces:
            if self._whole:
                return b""
            await self._read(watch)
        piece = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces.clear()
        return piece

    async def _read(self, watch: Watch) -> None:
        if self._problem is not None:
            raise self._problem
        data = await self._socket.read(_MAX_HEAD, watch)
        if not data:
            self._end()
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            self._surplus = True
            if not self._whole and self._problem is None:
                self._problem = httpcore2.RemoteProtocolError(str(error))
        if not self._head_whole:
            self._head_bytes += len(data)
        if self._head_bytes > _MAX_HEAD or self._field_bytes > _MAX_HEAD:
            raise httpcore2.RemoteProtocolError("the head of the answer is too large")
        if self._problem is not None and not self._pieces:
            raise self._problem

    def _end(self) -> None:
        """The server closed the connection, which ends an answer that told no length."""
        if not self._head_whole:
            raise httpcore2.RemoteProtocolError("Server disconnected without sending a response.")
        if any(name.lower() in (b"content-length", b"transfer-encoding") for name, _ in self.headers):
            raise httpcore2.RemoteProtocolError("the server closed the connection in the middle of the body")
        self._keeps = False
        self._whole = True

    def is_idle(self) -> bool:
        """Whether request and answer were written and read to their ends, nothing came behind, and the server keeps the
        connection."""
        return self._whole and self._keeps and not self._surplus and not self._cut

    # -- what the parser tells ---------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._surplus = self._whole

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._head_whole:
            self._field_bytes += len(name) + len(value)
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == _SWITCHED:
            self._problem = httpcore2.RemoteProtocolError("the server switched protocols unasked")
        elif status < 200:
            self.headers.clear()
        elif not self._whole:
            self.status = status
            self._head_whole = True
            self._keeps = self._parser.should_keep_alive()

    def on_body(self, data: bytes) -> None:
        if not self._whole:
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        self._whole = self._head_whole


class _Body:
    """The pieces of a body. No generator: one that is not read to its end would be left to the collector."""

    __slots__ = ("_connection", "_watch")

    def __init__(self, connection: LlhttpConnection, watch: Watch) -> None:
        self._connection = connection
        self._watch = watch

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._connection.piece(self._watch)
        if not piece:
            raise StopAsyncIteration
        return piece


class LlhttpAnswer:
    """The head of an answer; the body is `stream`."""

    __slots__ = ("headers", "status", "stream")

    def __init__(self, connection: LlhttpConnection, watch: Watch) -> None:
        self.status = connection.status
        self.headers = connection.headers
        self.stream = _Body(connection, watch)

    async def aclose(self) -> None:
        """There is nothing to wait for: whether the connection can be kept is asked of it."""


def written(request: httpcore2.Request) -> bytes:
    """The bytes of the request, key and all: keep them in no frame that an error of ours shows."""
    if not _TARGET.fullmatch(request.url.target):
        raise httpcore2.LocalProtocolError("the address holds a sign that HTTP does not allow")
    lines = [b"%b %b HTTP/1.1\r\n" % (request.method, request.url.target)]
    for name, value in request.headers:
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise httpcore2.LocalProtocolError("a header holds a sign that HTTP does not allow")
        lines.append(b"%b: %b\r\n" % (name, value))
    assert isinstance(request.stream, Iterable)
    return b"".join([*lines, b"\r\n", *request.stream])
