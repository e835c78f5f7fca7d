"""The two drivers of a flow: what it asks for is performed here, synchronously or on an event loop."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Generator, Iterator
from dataclasses import replace
from typing import Any, Final

from agentroute.errors import ProviderError
from agentroute.failover.effects import (
    AsyncPerformer,
    Clock,
    Done,
    Emit,
    Failed,
    Flow,
    Item,
    Performer,
    Reply,
    Sent,
    SystemClock,
    Try,
    Wait,
)
from agentroute.failover.stop import Stop

__all__ = ["adrive", "drive"]


def drive(flow: Flow, performer: Performer, clock: Clock, stop: Stop | None = None) -> Generator[Any, None, None]:
    """Runs a flow and yields what it emits. Closing this generator abandons the call and frees its connection; so does
    the stop button, after which it ends like one that was read to its end."""
    current: Iterator[Sent | Item | Done] | None = None
    reply: Reply | None = None
    thrown: BaseException | None = None
    try:
        while stop is None or not stop.pressed:
            try:
                effect = flow.send(reply) if thrown is None else flow.throw(thrown)
            except StopIteration:
                return
            reply = None
            if type(effect) is Emit:
                yield effect.payload
                if not effect.and_next:
                    continue
                if stop is not None and stop.pressed:
                    return
            try:
                if isinstance(effect, Wait):
                    for seconds in _pieces(effect.seconds, stop, clock):
                        clock.sleep(seconds)
                    continue
                if isinstance(effect, Try):
                    current = iter(performer.perform(_with(effect, stop)))
                reply = _reply(next(current, None) if current is not None else None)
            except ProviderError as error:
                reply = Failed(error)
            except BaseException as error:
                thrown = _bare(error)
            if type(reply) is not Item and type(reply) is not Sent:
                _close(current)
    finally:
        flow.close()
        _close(current)


async def adrive(
    flow: Flow, performer: AsyncPerformer, clock: Clock, stop: Stop | None = None
) -> AsyncGenerator[Any, None]:
    """`drive` on an event loop. Close it (`aclose`) where it is not read to its end."""
    current: AsyncIterator[Sent | Item | Done] | None = None
    reply: Reply | None = None
    thrown: BaseException | None = None
    try:
        while stop is None or not stop.pressed:
            try:
                effect = flow.send(reply) if thrown is None else flow.throw(thrown)
            except StopIteration:
                return
            reply = None
            if type(effect) is Emit:
                yield effect.payload
                if not effect.and_next:
                    continue
                if stop is not None and stop.pressed:
                    return
            try:
                if isinstance(effect, Wait):
                    for seconds in _pieces(effect.seconds, stop, clock):
                        await clock.asleep(seconds)
                    continue
                if isinstance(effect, Try):
                    current = aiter(performer.perform(_with(effect, stop)))
                reply = _reply(await anext(current, None) if current is not None else None)
            except ProviderError as error:
                reply = Failed(error)
            except BaseException as error:
                thrown = _bare(error)
            if type(reply) is not Item and type(reply) is not Sent:
                await _aclose(current)
    finally:
        flow.close()
        await _aclose(current)


_LOOK_S: Final = 0.25
"""How often a call that only waits looks at its stop button."""


def _pieces(seconds: float, stop: Stop | None, clock: Clock) -> Iterator[float]:
    """A pause, so that the stop button ends it. A clock that is not the machine's own is asked once."""
    if stop is None or type(clock) is not SystemClock:
        yield seconds
        return
    while seconds > 0 and not stop.pressed:
        yield min(seconds, _LOOK_S)
        seconds -= _LOOK_S


def _with(attempt: Try, stop: Stop | None) -> Try:
    return attempt if stop is None else replace(attempt, stop=stop)


def _reply(item: Sent | Item | Done | None) -> Reply:
    if item is None:
        raise TypeError("the performer ended without Done; an attempt ends with Done or a ProviderError")
    return item


def _bare(error: BaseException) -> BaseException:
    """A cancellation or an interrupt loses the frames below us: they are the client's, and hold the key."""
    return error if isinstance(error, Exception) else error.with_traceback(None)


def _close(iterator: object) -> None:
    close = getattr(iterator, "close", None)
    if close is not None:
        close()


async def _aclose(iterator: object) -> None:
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
