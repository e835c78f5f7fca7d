"""Pools of connections as we use them: no redirects, no proxies, verified TLS, and every operation within its limits.

They stand on httpcore, which is what httpx itself stands on: a client that follows redirects, keeps cookies and decodes
bodies would only cost time here.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Iterator
from functools import cache, lru_cache
from typing import Any, Final

import httpcore
import httpx

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

_KEPT: Final = 20


class Watch:
    """What became of one request so far: whether a connection was made for it, and whether it went out whole.

    httpcore hands the timeout it was given to every operation on a socket. We give it the Watch in that place, which
    asks the call's Limits anew each time.
    """

    __slots__ = ("_broken", "connected", "limits", "sent")

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.connected = False
        self.sent = False
        self._broken = False

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
        return _some(self.limits.reading(), httpcore.ReadTimeout)


def _some(seconds: float, late: type[Exception]) -> float:
    if seconds <= 0:
        raise late("no time is left")
    return seconds


class _Stream(httpcore.NetworkStream):
    """A socket whose operations take no longer than the Watch says, which comes as their timeout."""

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        return self._inner.read(max_bytes, timeout.reading())

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        self._inner.write(buffer, timeout.writing())
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

    async def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        return await self._inner.read(max_bytes, timeout.reading())

    async def write(self, buffer: bytes, timeout: Any = None) -> None:
        await self._inner.write(buffer, timeout.writing())
        timeout.written()

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
        await self._answer.aclose()


@cache
def _ssl_context() -> ssl.SSLContext:
    """One for all pools: reading the certificates takes some 20 ms."""
    return httpx.create_ssl_context()


class Connections:
    """For plain calls, from any thread."""

    def __init__(self) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=None,
            max_keepalive_connections=_KEPT,
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
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_AsyncBackend(),
        )

    async def send(self, outgoing: Outgoing, watch: Watch) -> AsyncResponse:
        return AsyncResponse(await self._pool.handle_async_request(_request(outgoing, watch)))

    async def aclose(self) -> None:
        await self._pool.aclose()
