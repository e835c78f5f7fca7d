"""Bounds what a connection may take before a request is there: the bytes of its headers, and the time they take."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from .settings import GatewaySettings

__all__ = ["bounded"]


class _Bounded(HttpToolsProtocol):
    """uvicorn reads headers of any size, and waits for them for ever."""

    max_headers: int
    seconds: float

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._in_headers = True
        self._size = 0
        self._timer: asyncio.TimerHandle | None = self.loop.call_later(self.seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._in_headers and not self.transport.is_closing():
            self._size += len(data)
            if self._size > self.max_headers:
                self._refuse(_TOO_LARGE, "headers_too_large", f"the headers are larger than {self.max_headers:,} bytes")
            elif self._timer is None:
                self._timer = self.loop.call_later(self.seconds, self._too_slow)

    def on_message_begin(self) -> None:
        self._in_headers = True
        self._size = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._in_headers = False
        if self._timer is not None:
            self._stop()
        super().on_headers_complete()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        if self._size:
            self._refuse(_TOO_SLOW, "headers_too_slow", f"the headers did not arrive within {self.seconds:g} s")
        else:
            self.transport.close()

    def _refuse(self, status: str, code: str, message: str) -> None:
        error = {"message": message, "type": "invalid_request_error", "param": None, "code": code}
        raw = json.dumps({"error": error}).encode()
        head = f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(raw)}\r\n"
        self.transport.write(f"{head}connection: close\r\n\r\n".encode() + raw)
        self.transport.close()


_TOO_LARGE: Final = "431 Request Header Fields Too Large"
_TOO_SLOW: Final = "408 Request Timeout"


def bounded(settings: GatewaySettings) -> type[Any]:
    """The protocol for uvicorn, with the bounds of these settings."""
    return type("Bounded", (_Bounded,), {"max_headers": settings.max_headers, "seconds": settings.body_s})
