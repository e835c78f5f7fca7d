"""Keys that a function gives: asked off the event loop, one refresh at a time, renewed before they expire."""

from __future__ import annotations

import asyncio
import inspect
import math
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from weakref import WeakKeyDictionary

from agentroute.errors import AuthenticationFailed, ProviderTimeout
from agentroute.failover.effects import Clock
from agentroute.providers.keys import Secret

from .waiting import afound_by, found_by

__all__ = ["Tokens"]

_EARLY_S: Final = 60.0
"""A token is renewed so long before it expires: clocks differ by seconds, and a request may wait for a connection. Of a
token that lives for less than two minutes, half of its life."""

_NO_MOMENT: Final = 1e9
"""Seconds since 1970; what is less was meant as a duration."""


@dataclass(frozen=True, slots=True)
class _Given:
    """What a function gave: a key, or the problem in words that hold nothing of what it said."""

    key: Secret | None = None
    expires_at: float = -math.inf
    problem: str = ""


@dataclass(slots=True)
class _State:
    """What is known of one function: the last key, when to renew it, and the refresh that is under way."""

    given: _Given | None = None
    renew_at: float = -math.inf
    running: Future[_Given] | None = None
    loop: asyncio.AbstractEventLoop | None = None


_lock = threading.Lock()
_states: WeakKeyDictionary[Secret, _State] = WeakKeyDictionary()
"""One for each function in the process, whoever calls it: token providers must not be refreshed twice at once."""


def _in_child() -> None:
    """A child has none of the threads that were asking."""
    global _lock
    _lock = threading.Lock()
    for state in _states.values():
        state.running = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


class Tokens:
    """Asks the function of a Secret for its key. Threads and tasks may share one object.

    A key that comes with its end is kept until shortly before; one without is asked for anew each time, and whoever
    asks meanwhile gets the same. `refused` is a key that the provider did not take: another one is asked for. Raises
    AuthenticationFailed without the function's own words, which may hold a key, and ProviderTimeout once there are no
    more seconds `left`.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def key(self, secret: Secret, target: str, left: Callable[[], float], refused: Secret | None = None) -> Secret:
        kept = self._kept(secret, refused)
        if kept is not None:
            return kept
        seconds = left()
        try:
            given = found_by(self._begin(secret, None), left)
        except TimeoutError:
            given = None
        return self._taken(secret, given, target, seconds, refused)

    async def akey(
        self, secret: Secret, target: str, left: Callable[[], float], refused: Secret | None = None
    ) -> Secret:
        kept = self._kept(secret, refused)
        if kept is not None:
            return kept
        seconds = left()
        try:
            given = await afound_by(self._begin(secret, asyncio.get_running_loop()), left)
        except TimeoutError:
            given = None
        return self._taken(secret, given, target, seconds, refused)

    def _kept(self, secret: Secret, refused: Secret | None) -> Secret | None:
        with _lock:
            state = _states.get(secret)
            given = None if state is None else state.given
            if state is None or given is None or given.key is refused or self._now() >= state.renew_at:
                return None
            return given.key

    def _begin(self, secret: Secret, loop: asyncio.AbstractEventLoop | None) -> Future[_Given]:
        with _lock:
            state = _states.setdefault(secret, _State())
            abandoned = state.loop is not None and state.loop.is_closed()
            if state.running is None or abandoned:
                state.running, state.loop = Future(), loop
                asking = threading.Thread(
                    target=self._ask, args=(secret, state, state.running, loop), daemon=True, name="agentroute-key"
                )
                try:
                    asking.start()
                except RuntimeError as error:
                    running, state.running, state.loop = state.running, None, None
                    running.set_result(_Given(problem=f"could not be asked: {error}"))
                    return running
            return state.running

    def _ask(
        self, secret: Secret, state: _State, running: Future[_Given], loop: asyncio.AbstractEventLoop | None
    ) -> None:
        assert secret.function is not None
        try:
            said: Any = secret.function()
            if inspect.isawaitable(said):
                said = asyncio.run(_awaited(said)) if loop is None else _on(loop, said)
            given = _read(said)
        except BaseException as error:
            given = _Given(problem=f"raised {type(error).__name__}")
        now = self._now()
        with _lock:
            if state.running is running:
                state.running = state.loop = None
                if given.key is not None:
                    state.given = given
                    state.renew_at = given.expires_at - min(_EARLY_S, max(given.expires_at - now, 0.0) / 2)
        running.set_result(given)

    def _taken(
        self, secret: Secret, given: _Given | None, target: str, seconds: float, refused: Secret | None
    ) -> Secret:
        if given is not None and given.key is not None:
            return given.key
        with _lock:
            last = _states[secret].given
        if last is not None and last.key is not None and last.key is not refused and self._now() < last.expires_at:
            return last.key
        if given is None:
            raise ProviderTimeout(
                f"{target!r}: its `api_key` function gave no key within {seconds:.3g} s", target=target
            )
        raise AuthenticationFailed(f"{target!r}: its `api_key` function {given.problem}", target=target)

    def _now(self) -> float:
        return self._clock.now().timestamp()


async def _awaited(said: Awaitable[Any]) -> Any:
    return await said


def _on(loop: asyncio.AbstractEventLoop, said: Awaitable[Any]) -> Any:
    """Awaited on the loop of the call, which the function's own connections may belong to."""
    return asyncio.run_coroutine_threadsafe(_awaited(said), loop).result()


def _read(said: Any) -> _Given:
    key, expires = said if isinstance(said, tuple) and len(said) == 2 else (said, None)
    if not isinstance(key, str) or not key:
        what = "an empty text" if key == "" else f"a {type(key).__name__}"
        return _Given(problem=f"returned {what}; return the key, or (key, expires_at)")
    if isinstance(expires, datetime):
        expires = (expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)).timestamp()
    if expires is None:
        return _Given(Secret(key))
    if isinstance(expires, bool) or not isinstance(expires, int | float) or not math.isfinite(expires):
        return _Given(
            problem=f"returned an end of type {type(expires).__name__}; give seconds since 1970 or a datetime"
        )
    if expires < _NO_MOMENT:
        return _Given(problem=f"returned {expires:g} as the key's end; give seconds since 1970: time.time() + lifetime")
    return _Given(Secret(key), float(expires))
