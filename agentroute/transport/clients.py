"""Pools of connections as we use them: no redirects, no proxies, verified TLS, and every operation within its limits.

They stand on httpcore, which is what httpx itself stands on: a client that follows redirects, keeps cookies and decodes
bodies would only cost time here.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, Final

import httpcore
import httpx

from agentroute.failover.forks import renew_in_child

from .exchange import Limits, Outgoing
from .names import Names

__all__ = [
    "BAD_URLS",
    "CONNECT_TIMEOUTS",
    "TIMEOUTS",
    "AsyncConnections",
    "AsyncResponse",
    "Connections",
    "Response",
    "Watch",
]

TIMEOUTS: Final = (httpcore.TimeoutException,)
BAD_URLS: Final = (httpx.InvalidURL, httpcore.UnsupportedProtocol)
CONNECT_TIMEOUTS: Final = (httpcore.ConnectTimeout,)

_KEEP_ALIVE_S: Final = 30.0
"""How long an idle connection is kept: an agent's tools run between two calls, and servers close after 60 s or more."""

_AT_ONCE: Final = 1024 * 1024
"""More than an event loop reads at once, so that nothing of an answer waits where the pool cannot see it."""

_PIECE: Final = 64 * 1024
"""How much of a body is written before the call's limits are asked again."""


class Watch:
    """What became of one request so far: whether a connection was made for it, and whether it went out whole.

    httpcore hands the timeout it was given to every operation on a socket. We give it the Watch in that place, which
    asks the call's Limits anew each time.
    """

    __slots__ = ("_broken", "_reading_since", "answered", "connected", "limits", "sent")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connected = False
        self.sent = False
        self.answered = False
        self._broken = False
        self._reading_since: float | None = None

    def connecting(self) -> float:
        self.connected = True
        return _some(self.limits.connecting(), httpcore.ConnectTimeout)

    def writing(self) -> float:
        # True again as soon as the write is through.
        self._broken = True
        return _some(self.limits.reading(), httpcore.WriteTimeout)

    def written(self) -> None:
        self._broken = False

    def reading(self) -> float:
        # httpcore begins to read when all is written, and also when writing failed: the server may have said why.
        self.sent = not self._broken
        if self._reading_since is None:
            self._reading_since = self.limits.now()
        return _some(self.limits.reading(), httpcore.ReadTimeout)

    def read(self, data: bytes) -> bytes:
        self.answered = self.answered or bool(data)
        return data

    def waited(self) -> float:
        """Seconds since the request went out."""
        return 0.0 if self._reading_since is None else self.limits.now() - self._reading_since


def _some(seconds: float, late: type[Exception]) -> float:
    if seconds <= 0:
        raise late("no time is left")
    return seconds


class _Stream(httpcore.NetworkStream):
    """A socket whose operations take no longer than the Watch says, which comes as their timeout."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        seconds = timeout.reading()
        timeout.limits.listen(self._inner.get_extra_info("socket"))
        return timeout.read(self._inner.read(max_bytes, seconds))  # type: ignore[no-any-return]

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        connection: socket.socket = self._inner.get_extra_info("socket")
        timeout.limits.listen(connection)
        rest = memoryview(buffer)
        while rest:
            seconds = timeout.writing()
            try:
                connection.settimeout(seconds)
                rest = rest[connection.send(rest[:_PIECE]) :]
            except TimeoutError as error:
                raise httpcore.WriteTimeout(str(error)) from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from None
        timeout.written()

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.NetworkStream:
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, timeout.connecting()))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _AsyncStream(httpcore.AsyncNetworkStream):
    """`_Stream` on an event loop."""

    def __init__(self, inner: httpcore.AsyncNetworkStream) -> None:
        self._inner = inner
        self._early = b""

    async def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        early, self._early = self._early, b""
        seconds = timeout.reading()
        timeout.limits.listen(self._inner.get_extra_info("socket"))
        return timeout.read(early or await self._inner.read(max(max_bytes, _AT_ONCE), seconds))  # type: ignore[no-any-return]

    async def write(self, buffer: bytes, timeout: Any = None) -> None:
        seconds = timeout.writing()
        timeout.limits.listen(self._inner.get_extra_info("socket"))
        if len(buffer) <= _PIECE:
            await self._inner.write(buffer, seconds)
        else:
            await self._write_listening(buffer, seconds)
        timeout.written()

    async def _write_listening(self, buffer: bytes, seconds: float) -> None:
        """A server that refuses a long body answers before it has read it, and may then reset the connection."""
        writing = asyncio.ensure_future(self._inner.write(buffer, seconds))
        hearing = asyncio.ensure_future(self._inner.read(_AT_ONCE, seconds))
        try:
            await asyncio.wait((writing, hearing), return_when=asyncio.FIRST_COMPLETED)
        finally:
            tasks = (writing, hearing)
            for task in tasks:
                task.cancel()
            ended = await asyncio.gather(*tasks, return_exceptions=True)
        wrote, heard = ended
        if isinstance(heard, bytes):
            self._early = heard
        if not isinstance(wrote, BaseException):
            return
        if isinstance(wrote, asyncio.CancelledError):
            raise httpcore.WriteError("the server answered before it had read the request")
        raise wrote

    async def aclose(self) -> None:
        await self._inner.aclose()

    async def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.AsyncNetworkStream:
        return _AsyncStream(await self._inner.start_tls(ssl_context, server_hostname, timeout.connecting()))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()
        self._names = Names()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            addresses = self._names.addresses(host, port, timeout.connecting())
        except OSError as error:
            raise _unnamed(error) from None
        *others, last = addresses
        for number, address in enumerate(others):
            try:
                share = timeout.connecting() / (len(addresses) - number)
                return _Stream(self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return _Stream(self._inner.connect_tcp(last, port, timeout.connecting(), local_address, socket_options))


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.AnyIOBackend()
        self._names = Names()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            addresses = await self._names.aaddresses(host, port, timeout.connecting())
        except OSError as error:
            raise _unnamed(error) from None
        *others, last = addresses
        for number, address in enumerate(others):
            try:
                share = timeout.connecting() / (len(addresses) - number)
                return _AsyncStream(await self._inner.connect_tcp(address, port, share, local_address, socket_options))
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        seconds = timeout.connecting()
        return _AsyncStream(await self._inner.connect_tcp(last, port, seconds, local_address, socket_options))


def _surplus(answer: httpcore.Response) -> bool:
    """Whether bytes came behind the answer: the parser keeps them, and would read them as the next answer."""
    connection: Any = answer.stream._stream._connection  # type: ignore[union-attr]
    parser = getattr(connection, "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


def _unnamed(error: OSError) -> Exception:
    if isinstance(error, TimeoutError):
        return httpcore.ConnectTimeout("the name of the host was not resolved")
    return httpcore.ConnectError(str(error))


@lru_cache(256)
def _address(url: str) -> tuple[httpcore.URL, bytes]:
    """The parsed URL, and what stands in the header `host`."""
    parsed = httpx.URL(url)
    target = httpcore.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return target, parsed.netloc


def _request(outgoing: Outgoing, watch: Watch) -> httpcore.Request:
    """The request with its key: keep it in no frame that an error of ours shows."""
    url, host = _address(outgoing.url)
    headers = {"host": host, **outgoing.headers, "content-length": str(len(outgoing.content))}
    headers |= outgoing.secret_headers()
    return httpcore.Request(
        b"POST",
        url,
        headers=list(headers.items()),
        content=outgoing.content,
        extensions={"timeout": {"connect": watch, "read": watch, "write": watch}},
    )


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


class Response:
    """One answer: its status, headers (lower case) and body as it comes. Close it in every case."""

    __slots__ = ("_answer", "chunks", "headers", "status", "succeeded")

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer
        self.status: int = answer.status
        self.succeeded = 200 <= answer.status < 300
        self.headers = _fields(answer.headers)
        self.chunks: Iterator[bytes] = iter(answer.stream)  # type: ignore[arg-type]

    def drop(self) -> None:
        """Closes the connection itself, which would otherwise be kept where the body was read to its end."""
        self._answer.extensions["network_stream"].close()

    def close(self) -> None:
        if _surplus(self._answer):
            self.drop()
        self._answer.close()


class AsyncResponse:
    """`Response` on an event loop."""

    __slots__ = ("_answer", "chunks", "headers", "status", "succeeded")

    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer
        self.status: int = answer.status
        self.succeeded = 200 <= answer.status < 300
        self.headers = _fields(answer.headers)
        self.chunks: AsyncIterator[bytes] = aiter(answer.stream)  # type: ignore[arg-type]

    async def drop(self) -> None:
        await self._answer.extensions["network_stream"].aclose()

    async def close(self) -> None:
        if _surplus(self._answer):
            await self.drop()
        await self._answer.aclose()


@cache
def _ssl_context() -> ssl.SSLContext:
    """One for all pools: reading the certificates takes some 20 ms."""
    return httpx.create_ssl_context()


class Connections:
    """For plain calls, from any thread."""

    def __init__(self) -> None:
        self._of_parents: list[Any] = []
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """A forked child opens connections of its own. Its parent's are neither used nor closed."""
        self._of_parents.append(getattr(self, "_pool", None))
        self._pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=None,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_Backend(),
        )

    def send(self, outgoing: Outgoing, watch: Watch) -> Response:
        """Raises what httpcore raises: its frames hold the key."""
        return Response(self._pool.handle_request(_request(outgoing, watch)))

    def close(self) -> None:
        self._pool.close()


class AsyncConnections:
    """For one event loop."""

    def __init__(self) -> None:
        self._of_parents: list[Any] = []
        self.begin_anew()
        renew_in_child(self)

    def begin_anew(self) -> None:
        """A forked child opens connections of its own. Its parent's are neither used nor closed."""
        self._of_parents.append(getattr(self, "_pool", None))
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=None,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_AsyncBackend(),
        )

    async def send(self, outgoing: Outgoing, watch: Watch) -> AsyncResponse:
        return AsyncResponse(await self._pool.handle_async_request(_request(outgoing, watch)))

    async def aclose(self) -> None:
        await self._pool.aclose()
