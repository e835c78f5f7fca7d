"""Attempts over HTTP: one performer for plain calls, one for event loops, of one shape."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING, Final

from agentroute.errors import AgentRouteError, ConfigError, ConnectionFailed, ProviderError
from agentroute.failover.effects import Clock, Done, Item, Sent, SystemClock, Try
from agentroute.failover.per_loop import PerLoop

from .exchange import Answer, Limits, Outgoing
from .tokens import Tokens

if TYPE_CHECKING:
    from .clients import AsyncResponse, Response, Watch

__all__ = ["AsyncHttpPerformer", "HttpPerformer"]

_REFUSED: Final = 401
"""A key that a function gave may have ended early: then it is asked once more. Any other key is refused for good."""

_AT_ONCE_S: Final = 0.2
"""A connection that was closed before the request came is found so within one round trip."""

_DRAIN_S: Final = 0.25
"""How long to wait for the end of a body after `[DONE]`: it mostly comes in the same packet, and the connection can be
used again."""


def _failed(error: Exception, watch: Watch) -> AgentRouteError:
    """Our error for what the pool raised. Raised after the `except`, it holds none of the pool's frames."""
    if isinstance(error, AgentRouteError):
        return error
    from . import clients

    name = watch.limits.target
    cause = f"{type(error).__name__}: {error}"
    found: ProviderError
    if isinstance(error, clients.BAD_URLS):
        return ConfigError(f"target {name!r}: its `base_url` cannot be used: {cause}")
    if isinstance(error, clients.BadNetwork):
        return ConfigError(f"target {name!r}: {error}")
    if isinstance(error, clients.PROXY_ERRORS):
        return ConnectionFailed(f"{name!r}: {error}", target=name, cause=cause)
    if isinstance(error, (*clients.TIMEOUTS, TimeoutError)):
        found = watch.limits.expired(connecting=isinstance(error, clients.CONNECT_TIMEOUTS), cause=cause)
    else:
        what = "broke" if watch.sent else "failed"
        found = ConnectionFailed(f"{name!r}: the connection {what}: {cause}", target=name, cause=cause)
    found.possible_duplicate_cost = watch.sent
    return found


def _stale(error: AgentRouteError, watch: Watch) -> bool:
    """Whether a kept connection turned out to be closed: not a byte was answered, and the end came at once.

    A server that closes later may have worked on the request: to send it again is an attempt of its own.
    """
    unseen = not watch.connected and not watch.answered and watch.waited() < _AT_ONCE_S
    return isinstance(error, ConnectionFailed) and unseen


def _of_kept(error: AgentRouteError, watch: Watch) -> AgentRouteError:
    """That a kept connection broke does not say that its host is down: another one is worth trying."""
    if isinstance(error, ConnectionFailed) and not watch.connected:
        error.should_retry = True
    return error


class HttpPerformer:
    """Performs attempts with one pool of connections. Safe in threads."""

    def __init__(self, *, clock: Clock | None = None) -> None:
        from . import clients

        self._clock: Clock = clock or SystemClock()
        self._tokens = Tokens(self._clock)
        self._watch = clients.Watch
        self._connections = clients.Connections()

    def perform(self, attempt: Try) -> Generator[Sent | Item | Done, None, None]:
        """One attempt. Raises ProviderError where it fails, ConfigError for a target that cannot be called."""
        outgoing = Outgoing(attempt)
        limits = Limits(attempt, self._clock)
        if outgoing.changes:
            yield Sent(outgoing.changes)
        response: Response | None = None
        try:
            if outgoing.asked is not None:
                outgoing.take(self._tokens.key(outgoing.asked, outgoing.target, limits.connecting))
            response, watch = self._send(outgoing, limits)
            if response.status == _REFUSED and self._renewed(outgoing, limits):
                response.close()
                response, watch = self._send(outgoing, limits)
            answer = Answer(outgoing, response.status, response.headers, self._clock.now())
            while not answer.complete:
                if answer.event_came:
                    limits.event_came(thinking=answer.thinking)
                chunk = self._read(response, watch)
                if isinstance(chunk, ProviderError):
                    answer.broke(chunk)
                    break
                if not chunk:
                    break
                for item in answer.feed(chunk):
                    if item.is_content:
                        limits.content_came()
                    if answer.inflates and limits.overdue:
                        raise limits.expired()
                    yield item
            if answer.complete:
                limits.drain(_DRAIN_S)
                self._read(response, watch)
            yield from answer.end()
        except ProviderError as error:
            if response is not None:
                error.possible_duplicate_cost = response.succeeded
                if response.succeeded:
                    # Whatever else came on this connection is not to be read as the next answer.
                    response.drop()
            outgoing.without_key(error)
            raise
        finally:
            limits.listen(None)
            if response is not None:
                response.close()

    def _renewed(self, outgoing: Outgoing, limits: Limits) -> bool:
        """Whether the function gave another key after this one was refused. If not, the refusal stands."""
        if outgoing.asked is None:
            return False
        limits.connect_anew()
        try:
            token = self._tokens.key(outgoing.asked, outgoing.target, limits.connecting, refused=outgoing.token)
        except ProviderError:
            return False
        return outgoing.take(token)

    def _send(self, outgoing: Outgoing, limits: Limits) -> tuple[Response, Watch]:
        for last in (False, True):
            watch = self._watch(limits)
            try:
                return self._connections.send(outgoing, watch), watch
            except Exception as error:
                problem = _failed(error, watch)
            if last or not _stale(problem, watch):
                raise _of_kept(problem, watch)
        raise AssertionError

    def _read(self, response: Response, watch: Watch) -> bytes | ProviderError | None:
        try:
            return next(response.chunks, None)
        except Exception as error:
            problem = _failed(error, watch)
        if isinstance(problem, ProviderError):
            return problem
        raise problem

    def close(self) -> None:
        """Closes the kept connections."""
        self._connections.close()


class AsyncHttpPerformer:
    """`HttpPerformer` on event loops: each has a pool of its own, which is closed when the loop shuts down.

    A loop that is closed without `shutdown_asyncgens` (asyncio.run and all its kin call it) leaves its kept connections
    to the garbage collector; there, `aclose()` is yours to call.
    """

    def __init__(self, *, clock: Clock | None = None) -> None:
        from . import clients

        self._clock: Clock = clock or SystemClock()
        self._tokens = Tokens(self._clock)
        self._watch = clients.Watch
        self._pools = PerLoop(clients.AsyncConnections, clients.AsyncConnections.aclose)

    async def perform(self, attempt: Try) -> AsyncGenerator[Sent | Item | Done, None]:
        """One attempt. Raises ProviderError where it fails, ConfigError for a target that cannot be called."""
        outgoing = Outgoing(attempt)
        limits = Limits(attempt, self._clock)
        if outgoing.changes:
            yield Sent(outgoing.changes)
        response: AsyncResponse | None = None
        try:
            if outgoing.asked is not None:
                outgoing.take(await self._tokens.akey(outgoing.asked, outgoing.target, limits.connecting))
            response, watch = await self._send(outgoing, limits)
            if response.status == _REFUSED and await self._renewed(outgoing, limits):
                await response.close()
                response, watch = await self._send(outgoing, limits)
            answer = Answer(outgoing, response.status, response.headers, self._clock.now())
            while not answer.complete:
                if answer.event_came:
                    if attempt.before_wait is not None:
                        await attempt.before_wait()
                    limits.event_came(thinking=answer.thinking)
                chunk = await self._read(response, watch)
                if isinstance(chunk, ProviderError):
                    answer.broke(chunk)
                    break
                if not chunk:
                    break
                for item in answer.feed(chunk):
                    if item.is_content:
                        limits.content_came()
                    if answer.inflates and limits.overdue:
                        raise limits.expired()
                    yield item
            if answer.complete:
                limits.drain(_DRAIN_S)
                await self._read(response, watch)
            for last in answer.end():
                yield last
        except ProviderError as error:
            if response is not None:
                error.possible_duplicate_cost = response.succeeded
                if response.succeeded:
                    response.drop()
            outgoing.without_key(error)
            raise
        finally:
            limits.listen(None)
            if response is not None:
                await response.close()

    async def _renewed(self, outgoing: Outgoing, limits: Limits) -> bool:
        if outgoing.asked is None:
            return False
        limits.connect_anew()
        refused = outgoing.token
        try:
            token = await self._tokens.akey(outgoing.asked, outgoing.target, limits.connecting, refused=refused)
        except ProviderError:
            return False
        return outgoing.take(token)

    async def _send(self, outgoing: Outgoing, limits: Limits) -> tuple[AsyncResponse, Watch]:
        pool = await self._pools.get()
        for last in (False, True):
            watch = self._watch(limits)
            try:
                return await pool.send(outgoing, watch), watch
            except Exception as error:
                problem = _failed(error, watch)
            if last or not _stale(problem, watch):
                raise _of_kept(problem, watch)
        raise AssertionError

    async def _read(self, response: AsyncResponse, watch: Watch) -> bytes | ProviderError | None:
        try:
            return await anext(response.chunks, None)
        except Exception as error:
            problem = _failed(error, watch)
        if isinstance(problem, ProviderError):
            return problem
        raise problem

    async def aclose(self) -> None:
        """Closes the kept connections of this event loop."""
        await self._pools.aclose()
