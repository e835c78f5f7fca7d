"""Who may come in, how often and how many at a time."""

from __future__ import annotations

import hmac
import re
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from .refusals import Refused
from .settings import ClientKey, GatewaySettings, hash_key, is_loopback

__all__ = ["Gate", "Pass"]

_MINUTE: Final = 60.0

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::[0-9]{1,5})?")
"""A host and its port (RFC 9110, 7.2), without what makes programs disagree on where the host ends."""


@dataclass(slots=True)
class Pass:
    """One admitted request. `leave` gives its place free."""

    key: ClientKey | None
    _leave: Callable[[], None] | None = None

    def leave(self) -> None:
        leave, self._leave = self._leave, None
        if leave is not None:
            leave()


class Gate:
    """Asks for a key if there are any, and counts what each does. `reload` puts other keys in force at once."""

    def __init__(self, settings: GatewaySettings, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._running: dict[str, int] = {}
        self._recent: dict[str, deque[float]] = {}
        self.reload(settings)

    def reload(self, settings: GatewaySettings) -> None:
        self._keys = settings.keys
        self._origins = settings.cors_origins

    def admit(self, key: str | None, headers: Mapping[str, str]) -> Pass:
        """Raises Refused for a key that is not known, and for one that asks too often or too much at once."""
        if not self._keys:
            self._no_stranger(headers)
            return Pass(None)
        known = self._find(key)
        if known is None:
            what = "no key was sent" if key is None else "the key is not known"
            raise Refused(401, "invalid_api_key", f"{what}; send a key of this gateway's, as you would to the provider")
        self._rate(known)
        running = self._running.get(known.name, 0)
        if known.concurrency is not None and running >= known.concurrency:
            raise Refused(
                429, "too_many_at_once", f"the key {known.name!r} runs {running} requests, its limit", retry_after=1.0
            )
        self._running[known.name] = running + 1
        return Pass(known, lambda: self._left(known.name))

    def _find(self, key: str | None) -> ClientKey | None:
        """Every known key is compared, in constant time, so that the time tells nothing of which was near."""
        given = hash_key(key or "")
        found = None
        for known in self._keys:
            if hmac.compare_digest(known.sha256, given):
                found = known
        return found if key else None

    def _no_stranger(self, headers: Mapping[str, str]) -> None:
        """Without keys only programs of this machine may ask: no web page, under whatever name it found us."""
        read = _HOST.fullmatch(headers.get("host", ""))
        if read is None:
            raise Refused(400, "bad_host", "the header `host` cannot be read; send this gateway's own address")
        host = read[1].strip("[]").lower()
        if not is_loopback(host) and not host.endswith(".localhost"):
            raise Refused(403, "unknown_host", f"this gateway is not called {host[:100]!r}; use its address")
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins and "*" not in self._origins:
            raise Refused(403, "origin_not_allowed", "web pages may not ask here; cors_origins allows them")

    def _rate(self, key: ClientKey) -> None:
        if key.rate_per_minute is None:
            return
        now = self._monotonic()
        recent = self._recent.setdefault(key.name, deque())
        while recent and now - recent[0] >= _MINUTE:
            recent.popleft()
        if len(recent) >= key.rate_per_minute:
            wait = _MINUTE - (now - recent[0])
            raise Refused(
                429,
                "rate_limit_exceeded",
                f"the key {key.name!r} may ask {key.rate_per_minute} times a minute",
                retry_after=wait,
            )
        recent.append(now)

    def _left(self, name: str) -> None:
        self._running[name] -= 1
