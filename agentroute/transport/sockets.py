"""Sockets whose every operation takes no longer than the Watch says, for threads and for event loops."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from contextlib import suppress
from typing import Any, Final

import httpcore2

from .names import Names
from .watch import Watch

__all__ = ["AsyncSocket", "Socket"]

_PIECE: Final = 64 * 1024
"""How much of a body is written before the call's limits are asked again."""

_AHEAD: Final = 256 * 1024
"""How much may have come that nobody has read yet; then the server is kept waiting."""

_AT_ONCE_S: Final = 0.001
"""For what can be read at once, if it is anything."""

_HEAD_END: Final = b"\r\n\r\n"
_MAX_HEAD: Final = 16 * 1024

_UNNAMED: Final = "the name of the host was not resolved"
_EARLY: Final = "the server answered before it had read the request"


class Socket(httpcore2.NetworkStream):
    """A connection of a thread."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._early = b""

    @classmethod
    def connect(cls, names: Names, host: str, port: int, watch: Watch) -> Socket:
        """Tries one address after the other, each with its share of the time."""
        try:
            addresses = names.addresses(host, port, watch.connecting)
        except OSError as error:
            raise _unnamed(error) from None
        problem: Exception | None = None
        for number, address in enumerate(addresses):
            share = watch.connecting() / (len(addresses) - number)
            connection = None
            try:
                connection = _socket(address, watch)
                connection.settimeout(share)
                connection.connect((address, port))
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not isinstance(error, OSError):
                    raise
                problem = _unreached(error)
                continue
            return cls(connection)
        raise problem or httpcore2.ConnectError("the host has no address")

    def ask_proxy(self, head: bytes, watch: Watch) -> bytes:
        """Sends the head of a request before all others, and returns what came up to the end of the answer's head."""
        came = b""
        watch.limits.listen(self._connection)
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
            self._connection = context.wrap_socket(
                self._connection, server_hostname=host, do_handshake_on_connect=False
            )
            # It has another descriptor's owner now: the stop button is to reach this one.
            watch.limits.listen(self._connection)
            self._connection.settimeout(watch.connecting())
            self._connection.do_handshake()
        except OSError as error:
            raise _unreached(error) from None

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        watch: Watch = timeout
        seconds = watch.reading()
        watch.limits.listen(self._connection)
        if self._early:
            early, self._early = self._early, b""
            return watch.read(early)
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
                rest = rest[self._send(rest[:_PIECE], seconds) :]
            except TimeoutError as error:
                raise httpcore2.WriteTimeout(str(error)) from None
            except OSError as error:
                raise httpcore2.WriteError(str(error)) from None
        watch.written()

    def _send(self, piece: memoryview, seconds: float) -> int:
        """How much the system took. A server that refuses a long body answers before it has read it, and may then wait
        for ever, or reset the connection."""
        self._connection.settimeout(0)
        with suppress(BlockingIOError, ssl.SSLWantWriteError, ssl.SSLWantReadError):
            sent = self._connection.send(piece)
            if sent:
                return sent
        can_read, can_write = _ready(self._connection, seconds, write=True)
        if can_read:
            self._hear()
        if not (can_read or can_write):
            raise TimeoutError("no time is left")
        return 0

    def _hear(self) -> None:
        """Keeps what came for the next read. Over TLS it may be nothing that was said to us."""
        self._connection.settimeout(_AT_ONCE_S)
        try:
            self._early = self._connection.recv(_PIECE)
        except TimeoutError:
            return
        raise httpcore2.WriteError(_EARLY)

    def is_quiet(self) -> bool:
        """Whether nothing came, not even the end: what comes unasked belongs to no answer."""
        if isinstance(self._connection, ssl.SSLSocket) and self._connection.pending():
            return False
        return self._connection.fileno() >= 0 and not _ready(self._connection, 0)[0]

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
            addresses = await names.aaddresses(host, port, watch.connecting)
        except OSError as error:
            raise _unnamed(error) from None
        loop = asyncio.get_running_loop()
        problem: Exception | None = None
        for number, address in enumerate(addresses):
            share = watch.connecting() / (len(addresses) - number)
            connection = None
            try:
                connection = _socket(address, watch)
                connection.setblocking(False)
                async with asyncio.timeout(share):
                    await loop.sock_connect(connection, (address, port))
                    _, found = await loop.create_connection(cls, sock=connection)
            except BaseException as error:
                if connection is not None:
                    connection.close()
                if not isinstance(error, OSError):
                    raise
                problem = _unreached(error)
                continue
            return found
        raise problem or httpcore2.ConnectError("the host has no address")

    async def ask_proxy(self, head: bytes, watch: Watch) -> bytes:
        """Sends the head of a request before all others, and returns what came up to the end of the answer's head."""
        watch.limits.listen(self._transport.get_extra_info("socket"))
        self._transport.write(head)
        while _HEAD_END not in self._received and len(self._received) < _MAX_HEAD and not self._ended:
            await self._change(watch.connecting(), httpcore2.ConnectTimeout)
        came = bytes(self._received)
        self._received.clear()
        return came

    async def encrypt(self, context: ssl.SSLContext, host: str, watch: Watch) -> None:
        """Speaks TLS from here on."""
        seconds = watch.connecting()
        watch.limits.listen(self._transport.get_extra_info("socket"))
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
            raise httpcore2.WriteError(_EARLY)
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


def _socket(address: str, watch: Watch) -> socket.socket:
    """One that the stop button reaches from now on."""
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    watch.limits.listen(connection)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _ready(connection: socket.socket, seconds: float, *, write: bool = False) -> tuple[bool, bool]:
    """Whether it can be read (its end too), and whether it can be written, within so many seconds."""
    if hasattr(select, "poll"):
        waiting = select.poll()
        waiting.register(connection, select.POLLIN | (select.POLLOUT if write else 0))
        found = waiting.poll(seconds * 1000)
        events = found[0][1] if found else 0
        return bool(events & ~select.POLLOUT), bool(events & select.POLLOUT)
    read, written, _ = select.select([connection], [connection] if write else [], [], seconds)
    return bool(read), bool(written)


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
