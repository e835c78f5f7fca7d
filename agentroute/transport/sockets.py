"""Sockets whose every operation takes no longer than the Watch says, for threads and for event loops."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from typing import Any, Final

import httpcore2

from .names import Names
from .watch import Watch

__all__ = ["AsyncSocket", "Socket"]

_PIECE: Final = 64 * 1024
"""How much of a body is written before the call's limits are asked again."""

_AHEAD: Final = 256 * 1024
"""How much may have come that nobody has read yet; then the server is kept waiting."""

_HEAD_END: Final = b"\r\n\r\n"
_MAX_HEAD: Final = 16 * 1024

_UNNAMED: Final = "the name of the host was not resolved"


class Socket(httpcore2.NetworkStream):
    """A connection of a thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection

    @classmethod
    def connect(cls, names: Names, host: str, port: int, watch: Watch) -> Socket:
        """Tries one address after the other, each with its share of the time."""
        try:
            addresses = names.addresses(host, port, watch.connecting())
        except OSError as error:
            raise _unnamed(error) from None
        problem: Exception | None = None
        for number, address in enumerate(addresses):
            share = watch.connecting() / (len(addresses) - number)
            try:
                connection = socket.create_connection((address, port), share)
            except OSError as error:
                problem = _unreached(error)
                continue
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            return cls(connection)
        raise problem or httpcore2.ConnectError("the host has no address")

    def ask_proxy(self, head: bytes, watch: Watch) -> bytes:
        """Sends the head of a request before all others, and returns what came up to the end of the answer's head."""
        came = b""
        try:
            self._connection.settimeout(watch.connecting())
            self._connection.sendall(head)
            while _HEAD_END not in came and len(came) < _MAX_HEAD:
                self._connection.settimeout(watch.connecting())
                piece = self._connection.recv(_MAX_HEAD)
                if not piece:
                    break
                came += piece
        except OSError as error:
            raise _unreached(error) from None
        return came

    def encrypt(self, context: ssl.SSLContext, host: str, watch: Watch) -> None:
        """Speaks TLS from here on."""
        try:
            self._connection.settimeout(watch.connecting())
            self._connection = context.wrap_socket(self._connection, server_hostname=host)
        except OSError as error:
            raise _unreached(error) from None

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        watch: Watch = timeout
        seconds = watch.reading()
        watch.limits.listen(self._connection)
        try:
            self._connection.settimeout(seconds)
            return watch.read(self._connection.recv(max_bytes))
        except TimeoutError as error:
            raise httpcore2.ReadTimeout(str(error)) from None
        except OSError as error:
            raise httpcore2.ReadError(str(error)) from None

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        watch: Watch = timeout
        watch.limits.listen(self._connection)
        rest = memoryview(buffer)
        while rest:
            seconds = watch.writing()
            try:
                self._connection.settimeout(seconds)
                rest = rest[self._connection.send(rest[:_PIECE]) :]
            except TimeoutError as error:
                raise httpcore2.WriteTimeout(str(error)) from None
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from None
        watch.written()

    def is_quiet(self) -> bool:
        """Whether nothing came, not even the end: what comes unasked belongs to no answer."""
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return False
        if self._connection.fileno() < 0:
            return False
        if hasattr(select, "poll"):
            waiting = select.poll()
            waiting.register(self._connection, select.POLLIN)
            return not waiting.poll(0)
        return not select.select([self._connection], [], [], 0)[0]

    def close(self) -> None:
        self._connection.close()


class AsyncSocket(asyncio.Protocol, httpcore2.AsyncNetworkStream):
    """A connection of an event loop, which waits for one thing at a time."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._received = bytearray()
        self._waiting: asyncio.Future[None] | None = None
        self._ended = False
        self._error: Exception | None = None
        self._held_up = False
        self._full = False

    @classmethod
    async def connect(cls, names: Names, host: str, port: int, watch: Watch) -> AsyncSocket:
        """Tries one address after the other, each with its share of the time."""
        try:
            addresses = await names.aaddresses(host, port, watch.connecting())
        except OSError as error:
            raise _unnamed(error) from None
        loop = asyncio.get_running_loop()
        problem: Exception | None = None
        for number, address in enumerate(addresses):
            share = watch.connecting() / (len(addresses) - number)
            try:
                async with asyncio.timeout(share):
                    _, found = await loop.create_connection(cls, address, port)
            except OSError as error:
                problem = _unreached(error)
                continue
            return found
        raise problem or httpcore2.ConnectError("the host has no address")

    async def ask_proxy(self, head: bytes, watch: Watch) -> bytes:
        """Sends the head of a request before all others, and returns what came up to the end of the answer's head."""
        self._transport.write(head)
        while _HEAD_END not in self._received and len(self._received) < _MAX_HEAD and not self._ended:
            await self._change(watch.connecting(), httpcore2.ConnectTimeout)
        came = bytes(self._received)
        self._received.clear()
        return came

    async def encrypt(self, context: ssl.SSLContext, host: str, watch: Watch) -> None:
        """Speaks TLS from here on."""
        seconds = watch.connecting()
        try:
            async with asyncio.timeout(seconds):
                self._use(await self._loop.start_tls(self._transport, self, context, server_hostname=host))
        except OSError as error:
            raise _unreached(error) from None

    async def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        """All that came, however much: what is left here when an answer ends belongs to none."""
        watch: Watch = timeout
        seconds = watch.reading()
        watch.limits.listen(self._transport.get_extra_info("socket"))
        while not self._received:
            if self._error is not None:
                raise httpcore2.ReadError(str(self._error))
            if self._ended:
                return b""
            await self._change(seconds, httpcore2.ReadTimeout)
            if not self._received:
                seconds = watch.reading()
        data = bytes(self._received)
        self._received.clear()
        if self._held_up:
            self._held_up = False
            self._transport.resume_reading()
        return watch.read(data)

    async def write(self, buffer: bytes, timeout: Any = None) -> None:
        watch: Watch = timeout
        seconds = watch.writing()
        watch.limits.listen(self._transport.get_extra_info("socket"))
        self._check_open()
        # All at once: between two pieces the event loop would write before it reads what the server said meanwhile.
        self._transport.write(buffer)
        while self._full:
            await self._change(seconds, httpcore2.WriteTimeout)
            self._check_open()
            if self._full:
                seconds = watch.writing()
        watch.written()

    def _check_open(self) -> None:
        """A server that refuses a long body answers before it has read it, and may then reset the connection."""
        if self._received:
            raise httpcore2.WriteError("the server answered before it had read the request")
        if self._ended or self._transport.is_closing():
            raise httpcore2.WriteError(str(self._error or "the server closed the connection"))

    def is_quiet(self) -> bool:
        """Whether nothing came, not even the end: what comes unasked belongs to no answer."""
        return not self._received and not self._ended

    def close(self) -> None:
        self._ended = True
        if not self._loop.is_closed():
            self._transport.abort()

    async def aclose(self) -> None:
        self.close()

    async def _change(self, seconds: float, late: type[Exception]) -> None:
        """Waits until something comes, or there is room to write again."""
        waiting = self._waiting = self._loop.create_future()
        timer = self._loop.call_later(seconds, _end, waiting, late)
        try:
            await waiting
        finally:
            timer.cancel()
            self._waiting = None

    # -- what the event loop tells ---------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._use(transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > _AHEAD and not self._held_up:
            self._held_up = True
            self._transport.pause_reading()
        self._wake()

    def eof_received(self) -> None:
        self._ended = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self._ended = True
        self._error = exc
        self._wake()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False
        self._wake()

    def _use(self, transport: Any) -> None:
        self._transport = transport
        # What was written has left us: the answer to whether a request went out whole depends on it.
        transport.set_write_buffer_limits(high=1)

    def _wake(self) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


def _end(waiting: asyncio.Future[None], late: type[Exception]) -> None:
    if not waiting.done():
        waiting.set_exception(late("no time is left"))


def _unnamed(error: OSError) -> Exception:
    if isinstance(error, TimeoutError):
        return httpcore2.ConnectTimeout(_UNNAMED)
    return httpcore2.ConnectError(str(error))


def _unreached(error: OSError) -> Exception:
    kind = httpcore2.ConnectTimeout if isinstance(error, TimeoutError) else httpcore2.ConnectError
    return kind(str(error))
