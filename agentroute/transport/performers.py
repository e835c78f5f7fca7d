"""Attempts over HTTP: one performer for plain calls, one for event loops, of one shape."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from typing import TYPE_CHECKING, Any, Final

from agentroute.effects import Clock, Done, Item, Sent, SystemClock, Try
from agentroute.errors import AgentRouteError, ConfigError, ConnectionFailed, ProviderError

from .exchange import Answer, Limits, Outgoing

if TYPE_CHECKING:
    import httpx

__all__ = ["AsyncHttpPerformer", "HttpPerformer"]

_DRAIN_S: Final = 0.25
"""How long to wait for the end of a body after `[DONE]`: it mostly comes in the same packet, and the connection can be
used again."""


class _Progress:
    """What the client has done so far: whether it made a connection of its own, and sent the whole request."""

    __slots__ = ("connected", "sent")

    def __init__(self) -> None:
        self.connected = False
        self.sent = False

    def trace(self, name: str, _: Any) -> None:
        if name == "connection.connect_tcp.started":
            self.connected = True
        elif name.endswith(".send_request_body.complete"):
            self.sent = True

    async def atrace(self, name: str, info: Any) -> None:
        self.trace(name, info)

    def failed(self, error: Exception, limits: Limits) -> AgentRouteError:
        """Our error for what the client raised. Raised after the `except`, it holds none of the client's frames."""
        if isinstance(error, AgentRouteError):
            return error
        from . import clients

        name = limits.target
        cause = f"{type(error).__name__}: {error}"
        found: ProviderError
        if isinstance(error, clients.BAD_URLS):
            return ConfigError(f"target {name!r}: its `base_url` cannot be used: {cause}")
        if isinstance(error, (*clients.TIMEOUTS, TimeoutError)):
            found = limits.expired(connecting=isinstance(error, clients.CONNECT_TIMEOUTS), cause=cause)
        else:
            what = "broke" if self.sent else "failed"
            found = ConnectionFailed(f"{name!r}: the connection {what}: {cause}", target=name, cause=cause)
        found.possible_duplicate_cost = self.sent
        return found

    def stale(self, error: AgentRouteError) -> bool:
        """Whether a kept connection turned out to be closed: nothing was answered, and a new one may well do."""
        return isinstance(error, ConnectionFailed) and not self.connected


class HttpPerformer:
    """Performs attempts with one pool of connections. Safe in threads."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        from . import clients

        self._clock: Clock = clock or SystemClock()
        self._auth = clients.KeyAuth
        self._client = clients.client()

    def perform(self, attempt: Try) -> Generator[Sent | Item | Done, None, None]:
        """One attempt. Raises ProviderError where it fails, ConfigError for a target that cannot be called."""
        outgoing = Outgoing(attempt)
        limits = Limits(attempt, self._clock)
        if outgoing.changes:
            yield Sent(outgoing.changes)
        try:
            yield from self._perform(outgoing, limits)
        except ProviderError as error:
            outgoing.without_key(error)
            raise

    def _perform(self, outgoing: Outgoing, limits: Limits) -> Generator[Item | Done, None, None]:
        response, progress = self._send(outgoing, limits)
        try:
            answer = Answer(outgoing, response.status_code, response.headers, self._clock.now())
            chunks = response.iter_raw()
            while not answer.complete:
                if answer.event_came:
                    limits.event_came()
                chunk = self._read(chunks, progress, limits)
                if isinstance(chunk, ProviderError):
                    answer.broke(chunk)
                    break
                if not chunk:
                    break
                for item in answer.feed(chunk):
                    if item.is_content:
                        limits.content_came()
                    yield item
            if answer.complete:
                limits.drain(_DRAIN_S)
                self._read(chunks, progress, limits)
            yield from answer.end()
        except ProviderError as error:
            error.possible_duplicate_cost = response.is_success
            if response.is_success:
                # Whatever else came on this connection is not to be read as the next answer.
                response.extensions["network_stream"].close()
            raise
        finally:
            response.close()

    def _send(self, outgoing: Outgoing, limits: Limits) -> tuple[httpx.Response, _Progress]:
        for last in (False, True):
            progress = _Progress()
            problem: AgentRouteError | None = None
            try:
                request = self._client.build_request(
                    "POST",
                    outgoing.url,
                    content=outgoing.content,
                    headers=outgoing.headers,
                    extensions={"limits": limits, "trace": progress.trace},
                )
                return self._client.send(request, auth=self._auth(outgoing), stream=True), progress
            except Exception as error:
                problem = progress.failed(error, limits)
            if last or not progress.stale(problem):
                raise problem
        raise AssertionError

    def _read(self, chunks: Iterator[bytes], progress: _Progress, limits: Limits) -> bytes | ProviderError | None:
        try:
            return next(chunks, None)
        except Exception as error:
            problem = progress.failed(error, limits)
        if isinstance(problem, ProviderError):
            return problem
        raise problem

    def close(self) -> None:
        """Closes the kept connections."""
        self._client.close()


class AsyncHttpPerformer:
    """`HttpPerformer` on event loops: each has a client of its own, which is closed when the loop shuts down.

    A loop that is closed without `shutdown_asyncgens` (asyncio.run and all its kin call it) leaves its kept connections
    to the garbage collector; there, `aclose()` is yours to call.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        from . import clients

        self._clock: Clock = clock or SystemClock()
        self._auth = clients.KeyAuth
        self._new_client = clients.async_client
        self._lock = threading.Lock()
        self._clients: dict[asyncio.AbstractEventLoop, tuple[httpx.AsyncClient, AsyncGenerator[None, None]]] = {}

    async def perform(self, attempt: Try) -> AsyncGenerator[Sent | Item | Done, None]:
        """One attempt. Raises ProviderError where it fails, ConfigError for a target that cannot be called."""
        outgoing = Outgoing(attempt)
        limits = Limits(attempt, self._clock)
        if outgoing.changes:
            yield Sent(outgoing.changes)
        items = self._perform(outgoing, limits)
        try:
            async for item in items:
                yield item
        except ProviderError as error:
            outgoing.without_key(error)
            raise
        finally:
            await items.aclose()

    async def _perform(self, outgoing: Outgoing, limits: Limits) -> AsyncGenerator[Item | Done, None]:
        client = await self._client()
        response, progress = await self._send(client, outgoing, limits)
        try:
            answer = Answer(outgoing, response.status_code, response.headers, self._clock.now())
            chunks = response.aiter_raw()
            while not answer.complete:
                if answer.event_came:
                    limits.event_came()
                chunk = await self._read(chunks, progress, limits)
                if isinstance(chunk, ProviderError):
                    answer.broke(chunk)
                    break
                if not chunk:
                    break
                for item in answer.feed(chunk):
                    if item.is_content:
                        limits.content_came()
                    yield item
            if answer.complete:
                limits.drain(_DRAIN_S)
                await self._read(chunks, progress, limits)
            for last in answer.end():
                yield last
        except ProviderError as error:
            error.possible_duplicate_cost = response.is_success
            if response.is_success:
                await response.extensions["network_stream"].aclose()
            raise
        finally:
            await response.aclose()

    async def _send(
        self, client: httpx.AsyncClient, outgoing: Outgoing, limits: Limits
    ) -> tuple[httpx.Response, _Progress]:
        for last in (False, True):
            progress = _Progress()
            problem: AgentRouteError | None = None
            try:
                request = client.build_request(
                    "POST",
                    outgoing.url,
                    content=outgoing.content,
                    headers=outgoing.headers,
                    extensions={"timeout": {"connect": limits.connecting()}, "trace": progress.atrace},
                )
                async with asyncio.timeout(limits.reading()):
                    return await client.send(request, auth=self._auth(outgoing), stream=True), progress
            except Exception as error:
                problem = progress.failed(error, limits)
            if last or not progress.stale(problem):
                raise problem
        raise AssertionError

    async def _read(
        self, chunks: AsyncIterator[bytes], progress: _Progress, limits: Limits
    ) -> bytes | ProviderError | None:
        seconds = limits.reading()
        try:
            if seconds <= 0:
                raise TimeoutError
            async with asyncio.timeout(seconds):
                return await anext(chunks, None)
        except Exception as error:
            problem = progress.failed(error, limits)
        if isinstance(problem, ProviderError):
            return problem
        raise problem

    async def _client(self) -> httpx.AsyncClient:
        loop = asyncio.get_running_loop()
        with self._lock:
            known = self._clients.get(loop)
            if known is not None:
                return known[0]
            for other in [other for other in self._clients if other.is_closed()]:
                del self._clients[other]
            client = self._new_client()
            keeper = self._keep(loop, client)
            self._clients[loop] = (client, keeper)
        await anext(keeper)
        return client

    async def _keep(self, loop: asyncio.AbstractEventLoop, client: httpx.AsyncClient) -> AsyncGenerator[None, None]:
        """Started and left waiting: an event loop closes its open asynchronous generators before it closes itself."""
        try:
            yield
        finally:
            with self._lock:
                self._clients.pop(loop, None)
            await client.aclose()

    async def aclose(self) -> None:
        """Closes the kept connections of this event loop."""
        with self._lock:
            known = self._clients.get(asyncio.get_running_loop())
        if known is not None:
            await known[1].aclose()
