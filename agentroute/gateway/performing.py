"""The router's transport with a witness: which target an attempt went to, and the client's own key for it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace

from agentroute.failover.effects import AsyncPerformer, Done, Item, Sent, Try
from agentroute.providers.keys import Secret
from agentroute.targets import Target

__all__ = ["Witness"]


class Witness:
    """Performs attempts with `inner`. `target` is the last one that was asked, `attempts` how many there were.

    `own_keys` are the client's own keys by provider; they live as long as this one call. `before_wait` is told to every
    attempt (see Try).
    """

    def __init__(self, inner: AsyncPerformer, own_keys: Mapping[str, Secret] | None = None) -> None:
        self._inner = inner
        self._own_keys = own_keys
        self.before_wait: Callable[[], Awaitable[None]] | None = None
        self.target: Target | None = None
        self.attempts = 0

    def perform(self, attempt: Try) -> AsyncIterator[Sent | Item | Done]:
        self.target = attempt.target
        self.attempts += 1
        if self.before_wait is not None:
            attempt = replace(attempt, before_wait=self.before_wait)
        if self._own_keys:
            key = self._own_keys.get(attempt.target.provider)
            if key is not None:
                attempt = replace(attempt, target=replace(attempt.target, api_key=key, spare_keys=()))
        return self._inner.perform(attempt)
