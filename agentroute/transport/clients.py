"""httpx clients as we use them: no redirects, no proxies, verified TLS, and reads that keep to a call's limits."""

from __future__ import annotations

import ssl
from collections.abc import Generator, Iterable, Iterator
from functools import cache
from typing import Any, Final

import httpcore
import httpx

from .exchange import Limits, Outgoing

__all__ = ["BAD_URLS", "CONNECT_TIMEOUTS", "TIMEOUTS", "KeyAuth", "async_client", "client"]

TIMEOUTS: Final = (httpx.TimeoutException, httpcore.TimeoutException)
BAD_URLS: Final = (httpx.InvalidURL, httpx.UnsupportedProtocol, httpcore.UnsupportedProtocol)
CONNECT_TIMEOUTS: Final = (httpx.ConnectTimeout, httpcore.ConnectTimeout)

_KEEP_ALIVE_S: Final = 30.0
"""How long an idle connection is kept: an agent's tools run between two calls, and servers close after 60 s or more."""

_KEPT: Final = 20


class KeyAuth(httpx.Auth):
    """Puts the key on the request at the moment it is sent."""

    def __init__(self, outgoing: Outgoing) -> None:
        self._outgoing = outgoing

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        header = self._outgoing.key_header()
        if header is not None:
            request.headers[header[0]] = header[1]
        yield request


class _Stream(httpcore.NetworkStream):
    """A socket that asks the call's Limits how long each operation may take.

    httpcore hands one timeout to every read of a body. We hand it the Limits in that place, and ask them each time.
    """

    def __init__(self, inner: httpcore.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: Any = None) -> bytes:
        return self._inner.read(max_bytes, timeout=_seconds(timeout, httpcore.ReadTimeout))

    def write(self, buffer: bytes, timeout: Any = None) -> None:
        self._inner.write(buffer, timeout=_seconds(timeout, httpcore.WriteTimeout))

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: Any = None
    ) -> httpcore.NetworkStream:
        seconds = _seconds(timeout, httpcore.ConnectTimeout, connecting=True)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, seconds))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


class _Backend(httpcore.NetworkBackend):
    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: Any = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        seconds = _seconds(timeout, httpcore.ConnectTimeout, connecting=True)
        return _Stream(self._inner.connect_tcp(host, port, seconds, local_address, socket_options))


def _seconds(limits: Any, late: type[Exception], *, connecting: bool = False) -> float | None:
    if not isinstance(limits, Limits):
        return None
    seconds = limits.connecting() if connecting else limits.reading()
    if seconds <= 0:
        raise late("no time is left")
    return seconds


class _Body(httpx.SyncByteStream):
    def __init__(self, chunks: Any) -> None:
        self._chunks = chunks

    def __iter__(self) -> Iterator[bytes]:
        yield from self._chunks

    def close(self) -> None:
        self._chunks.close()


class _PoolTransport(httpx.BaseTransport):
    """httpx's own transport over the backend above; the request's Limits come in its `limits` extension."""

    def __init__(self) -> None:
        self._pool = httpcore.ConnectionPool(
            ssl_context=_ssl_context(),
            max_connections=None,
            max_keepalive_connections=_KEPT,
            keepalive_expiry=_KEEP_ALIVE_S,
            network_backend=_Backend(),
        )

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        limits = request.extensions["limits"]
        answer = self._pool.handle_request(
            httpcore.Request(
                method=request.method,
                url=httpcore.URL(
                    scheme=request.url.raw_scheme,
                    host=request.url.raw_host,
                    port=request.url.port,
                    target=request.url.raw_path,
                ),
                headers=request.headers.raw,
                content=request.stream,
                extensions={
                    "timeout": {"connect": limits, "read": limits, "write": limits, "pool": None},
                    "trace": request.extensions["trace"],
                },
            )
        )
        return httpx.Response(
            answer.status, headers=answer.headers, stream=_Body(answer.stream), extensions=answer.extensions
        )

    def close(self) -> None:
        self._pool.close()


@cache
def _ssl_context() -> ssl.SSLContext:
    """One for all clients: reading the certificates takes some 20 ms."""
    return httpx.create_ssl_context()


def client() -> httpx.Client:
    """For plain calls, from any thread."""
    return httpx.Client(transport=_PoolTransport(), follow_redirects=False, trust_env=False, timeout=None)


def async_client() -> httpx.AsyncClient:
    """For one event loop. Its limits are kept by `asyncio.timeout` around each operation."""
    transport = httpx.AsyncHTTPTransport(
        verify=_ssl_context(),
        trust_env=False,
        limits=httpx.Limits(max_keepalive_connections=_KEPT, keepalive_expiry=_KEEP_ALIVE_S),
    )
    return httpx.AsyncClient(transport=transport, follow_redirects=False, trust_env=False, timeout=None)
