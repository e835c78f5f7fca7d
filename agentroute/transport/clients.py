"""Connections as we use them: each carries one answer at a time, is kept and used again, follows no redirect.

They speak HTTP/1.1 as httpcore2 does, which is what httpx2 itself stands on: a client that follows redirects, keeps
cookies and decodes bodies would only cost time here. Its pools are left out: what they cost grows with the calls in
flight (docs/architecture.md).
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

import certifi
import httpcore2
import httpx2

from agentroute.providers.keys import Secret
from agentroute.providers.network import Cert, Network, ProxyAddress, is_excepted

from .exchange import Outgoing
from .idle import Idle
from .names import Names
from .sockets import AsyncSocket, Socket
from .watch import Watch

try:
    from .llhttp import LlhttpConnection
except ModuleNotFoundError:  # httptools is in the extra `gateway`.
    LlhttpConnection = None  # type: ignore[assignment,misc]

__all__ = [
    "BAD_URLS",
    "CONNECT_TIMEOUTS",
    "PROXY_ERRORS",
    "TIMEOUTS",
    "AsyncConnections",
    "AsyncResponse",
    "BadNetwork",
    "Connections",
    "Response",
    "Watch",
]

TIMEOUTS: Final = (httpcore2.TimeoutException,)
BAD_URLS: Final = (httpx2.InvalidURL, httpcore2.UnsupportedProtocol)
CONNECT_TIMEOUTS: Final = (httpcore2.ConnectTimeout,)
PROXY_ERRORS: Final = (httpcore2.ProxyError,)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a connection leads. One that leads elsewhere carries no request to here."""

    encrypted: bool
    host: str
    port: int
    network: Network


@lru_cache(256)
def _address(url: str, network: Network) -> tuple[_Place, httpcore2.URL, bytes]:
    """Where the URL leads, the URL parsed, and what stands in the header `host`."""
    parsed = httpx2.URL(url)
    if parsed.scheme not in ("http", "https") or not parsed.host:
        raise httpcore2.UnsupportedProtocol("the address is no http or https")
    encrypted = parsed.scheme == "https"
    place = _Place(encrypted, parsed.raw_host.decode("ascii"), parsed.port or (443 if encrypted else 80), network)
    target = httpcore2.URL(scheme=parsed.raw_scheme, host=parsed.raw_host, port=parsed.port, target=parsed.raw_path)
    return place, target, parsed.netloc


def _request(outgoing: Outgoing, url: httpcore2.URL, host: bytes, watch: Watch) -> httpcore2.Request:
    """The request with its key: keep it in no frame that an error of ours shows."""
    headers = {"host": host, **outgoing.headers, "content-length": str(len(outgoing.content))}
    headers |= outgoing.secret_headers()
    return httpcore2.Request(
        b"POST",
        url,
        headers=list(headers.items()),
        content=outgoing.content,
        extensions={"timeout": {"read": watch, "write": watch}},
    )


def _fields(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1").lower()
        text = value.decode("latin-1")
        found[name] = f"{found[name]}, {text}" if name in found else text
    return found


@lru_cache(64)
def _ssl_context(verify: str | None = None, cert: Cert | None = None) -> ssl.SSLContext:
    """One for all connections of these settings: reading the certificates takes some 20 ms."""
    file, folder = os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR")
    if verify is not None:
        file, folder = (None, verify) if os.path.isdir(verify) else (verify, None)
    problem = f"`verify` {verify!r} cannot be read as CA certificates"
    try:
        if file or folder:
            context = ssl.create_default_context(cafile=file or None, capath=folder or None)
        else:
            context = ssl.create_default_context(cafile=certifi.where())
        if cert is not None:
            problem = f"`cert` {', '.join(cert)!r} cannot be read as a certificate with its key, unencrypted, in PEM"
            # With an empty password: without any, OpenSSL would ask at the terminal for that of an encrypted key.
            context.load_cert_chain(cert[0], cert[1] if len(cert) == 2 else None, password="")
    except OSError as error:
        if verify is None and cert is None:
            raise
        raise BadNetwork(f"{problem}: {error}") from None
    return context


class BadNetwork(Exception):
    """A setting `verify`, `cert` or `proxy` that cannot be used. Its text is safe to show."""


def _proxy_for(place: _Place) -> Secret | None:
    """None where the way is direct: by its setting, or because a proxy that the environment names does not serve it."""
    proxy = place.network.proxy
    if not isinstance(proxy, Secret):
        return None
    if proxy.env_name is not None:
        excepted = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
        if is_excepted(place.host, place.port, excepted):
            return None
    return proxy


def _proxy(secret: Secret) -> ProxyAddress:
    """Read anew for each connection. Keep it in no frame from which something is raised."""
    name = secret.env_name
    if not secret.present:
        raise httpcore2.ProxyError(
            f"the environment variable {name} is not set; it should hold the proxy's address, or say proxy='direct'"
            if name is not None
            else "the proxy's address was not kept in the pickle; give proxy='env:NAME'"
        )
    text = secret.reveal()
    # Many write HOST:PORT into HTTPS_PROXY.
    found = ProxyAddress.of(text if "://" in text else f"http://{text}")
    text = ""
    if found is None:
        held = "its address" if name is None else f"what the environment variable {name} holds"
        raise BadNetwork(f"`proxy`: {held} is no address of an HTTP proxy, like http://HOST:PORT")
    return found


def _first_hop(secret: Secret) -> tuple[str, int]:
    proxy = _proxy(secret)
    return proxy.host, proxy.port


def _connect_head(place: _Place, secret: Secret) -> bytes:
    """The request for a tunnel, with the proxy's password: keep it in no frame that an error of ours shows."""
    host = f"[{place.host}]" if ":" in place.host else place.host
    authorization = _proxy(secret).authorization
    line = "" if authorization is None else f"proxy-authorization: {authorization}\r\n"
    return f"CONNECT {host}:{place.port} HTTP/1.1\r\nhost: {host}:{place.port}\r\n{line}\r\n".encode()


def _check_tunnel(came: bytes) -> None:
    """Whether the proxy opened the tunnel. Of what it says only the status is shown."""
    head, end, behind = came.partition(b"\r\n\r\n")
    found = _STATUS.match(head)
    if found is None or not end:
        raise httpcore2.ProxyError("the proxy did not answer in HTTP; check the address in `proxy`")
    status = int(found[1])
    if status == 407:
        raise httpcore2.ProxyError(
            "the proxy asks for a user and password (407), or refuses those it got; give them in its address, "
            "proxy='http://USER:PASSWORD@HOST:PORT', or in the variable that `proxy` names"
        )
    if not 200 <= status < 300:
        raise httpcore2.ProxyError(
            f"the proxy refused to connect to the target's host ({status}); allow the host there, or say proxy='direct'"
        )
    if behind:
        raise httpcore2.ProxyError("the proxy sent something behind its answer, which belongs to nobody")


_STATUS: Final = re.compile(rb"HTTP/1\.[01] (\d{3})(?: |\r|$)")


def _unreached(error: httpcore2.ConnectError) -> httpcore2.ProxyError:
    return httpcore2.ProxyError(f"the proxy cannot be reached; check the address in `proxy`: {error}")


def _surplus(http: Any) -> bool:
    """Whether bytes came behind the answer: h11 keeps them, and would read them as the next answer."""
    parser = getattr(http, "_h11_state", None)
    return parser is not None and bool(parser.trailing_data[0])


class _Connection:
    """A socket, of a thread or an event loop, and what is said on it."""

    __slots__ = ("close", "http", "is_quiet", "place")

    def __init__(self, place: _Place, http: Any, socket: Socket | AsyncSocket) -> None:
        self.place = place
        self.http = http
        self.close = socket.close
        self.is_quiet = socket.is_quiet


class _Answer:
    """One answer: its status and headers (lower case), and the connection it comes on until that is given back."""

    __slots__ = ("_answer", "_connection", "_idle", "headers", "status", "succeeded")

    def __init__(self, answer: httpcore2.Response, connection: _Connection, idle: Idle[_Connection]) -> None:
        self._answer = answer
        self._connection: _Connection | None = connection
        self._idle = idle
        self.status: int = answer.status
        self.succeeded = 200 <= answer.status < 300
        self.headers = _fields(answer.headers)

    def drop(self) -> None:
        """Closes the connection itself, which would otherwise be kept where the body was read to its end."""
        connection = self._let_go()
        if connection is not None:
            connection.close()

    def _let_go(self) -> _Connection | None:
        """The connection, once: whoever closes a second time has none."""
        connection, self._connection = self._connection, None
        return connection

    def _keep(self, connection: _Connection) -> None:
        """For the next request, if this answer was the last word on it."""
        if connection.http.is_idle() and not _surplus(connection.http):
            self._idle.put(connection.place, connection)
        else:
            connection.close()


class Response(_Answer):
    """An answer whose body, `chunks`, comes to a thread. Close it in every case."""

    __slots__ = ("chunks",)

    def __init__(self, answer: httpcore2.Response, connection: _Connection, idle: Idle[_Connection]) -> None:
        super().__init__(answer, connection, idle)
        self.chunks: Iterator[bytes] = iter(answer.stream)  # type: ignore[arg-type]

    def close(self) -> None:
        connection = self._let_go()
        try:
            self._answer.close()
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if connection is not None:
            self._keep(connection)


class Connections:
    """For plain calls, from any thread."""

    def __init__(self) -> None:
        self._names = Names()
        self._idle: Idle[_Connection] = Idle(time.monotonic)

    def send(self, outgoing: Outgoing, watch: Watch) -> Response:
        """Raises what httpcore2 raises: its frames hold the key."""
        place, url, host = _address(outgoing.url, outgoing.network)
        request = _request(outgoing, url, host, watch)
        connection = self._idle.take(place) or self._open(place, url.origin, watch)
        return Response(connection.http.handle_request(request), connection, self._idle)

    def _open(self, place: _Place, origin: httpcore2.Origin, watch: Watch) -> _Connection:
        network, proxy = place.network, _proxy_for(place)
        if proxy is None:
            socket = Socket.connect(self._names, place.host, place.port, watch)
        else:
            socket = self._tunnel(place, proxy, watch)
        try:
            if place.encrypted:
                socket.encrypt(_ssl_context(network.verify, network.cert), place.host, watch)
        except BaseException:
            socket.close()
            raise
        return _Connection(place, httpcore2.HTTP11Connection(origin, socket), socket)

    def _tunnel(self, place: _Place, proxy: Secret, watch: Watch) -> Socket:
        try:
            socket = Socket.connect(self._names, *_first_hop(proxy), watch)
        except httpcore2.ConnectError as error:
            raise _unreached(error) from None
        try:
            _check_tunnel(socket.ask_proxy(_connect_head(place, proxy), watch))
        except BaseException:
            socket.close()
            raise
        return socket

    def close(self) -> None:
        self._idle.close()


class AsyncResponse(_Answer):
    """An answer whose body, `chunks`, comes to an event loop. Close it in every case."""

    __slots__ = ("chunks",)

    def __init__(self, answer: httpcore2.Response, connection: _Connection, idle: Idle[_Connection]) -> None:
        super().__init__(answer, connection, idle)
        self.chunks: AsyncIterator[bytes] = aiter(answer.stream)  # type: ignore[arg-type]

    async def close(self) -> None:
        connection = self._let_go()
        try:
            await self._answer.aclose()
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        if connection is not None:
            self._keep(connection)


class AsyncConnections:
    """For one event loop."""

    def __init__(self) -> None:
        self._names = Names()
        self._idle: Idle[_Connection] = Idle(time.monotonic)

    async def send(self, outgoing: Outgoing, watch: Watch) -> AsyncResponse:
        place, url, host = _address(outgoing.url, outgoing.network)
        request = _request(outgoing, url, host, watch)
        connection = self._idle.take(place) or await self._open(place, url.origin, watch)
        return AsyncResponse(await connection.http.handle_async_request(request), connection, self._idle)

    async def _open(self, place: _Place, origin: httpcore2.Origin, watch: Watch) -> _Connection:
        network, proxy = place.network, _proxy_for(place)
        if proxy is None:
            socket = await AsyncSocket.connect(self._names, place.host, place.port, watch)
        else:
            socket = await self._tunnel(place, proxy, watch)
        try:
            if place.encrypted:
                await socket.encrypt(_ssl_context(network.verify, network.cert), place.host, watch)
        except BaseException:
            socket.close()
            raise
        http = httpcore2.AsyncHTTP11Connection(origin, socket) if LlhttpConnection is None else LlhttpConnection(socket)
        return _Connection(place, http, socket)

    async def _tunnel(self, place: _Place, proxy: Secret, watch: Watch) -> AsyncSocket:
        try:
            socket = await AsyncSocket.connect(self._names, *_first_hop(proxy), watch)
        except httpcore2.ConnectError as error:
            raise _unreached(error) from None
        try:
            _check_tunnel(await socket.ask_proxy(_connect_head(place, proxy), watch))
        except BaseException:
            socket.close()
            raise
        return socket

    async def aclose(self) -> None:
        self._idle.close()
