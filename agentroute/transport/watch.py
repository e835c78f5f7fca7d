"""What became of one request so far, and how long its next operation on a socket may take."""

from __future__ import annotations

import httpcore2

from .exchange import Limits

__all__ = ["Watch"]


class Watch:
    """Whether a connection was made for a request, whether it went out whole, and whether a byte was answered.

    httpcore2 hands the timeout it was given to every operation on a socket. We give it the Watch in that place, which
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
        return _some(self.limits.connecting(), httpcore2.ConnectTimeout)

    def writing(self) -> float:
        # True again as soon as the write is through.
        self._broken = True
        return _some(self.limits.reading(), httpcore2.WriteTimeout)

    def written(self) -> None:
        self._broken = False

    def reading(self) -> float:
        # httpcore2 begins to read when all is written, and also when writing failed: the server may have said why.
        self.sent = not self._broken
        if self._reading_since is None:
            self._reading_since = self.limits.now()
        return _some(self.limits.reading(), httpcore2.ReadTimeout)

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
