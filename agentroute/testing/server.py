"""The HTTP of a scripted provider: one thread a connection on 127.0.0.1, answers and faults as they are handed over."""

from __future__ import annotations

import json
import select
import socket
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from socketserver import TCPServer, ThreadingMixIn
from typing import Any, ClassVar, TypeAlias

from .faults import Fault
from .wire import Answer, Route, error_body

__all__ = ["LoopbackServer", "Respond", "Response"]

_POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back: an answer, a fault, or an answer that a fault spoils."""

    answer: Answer | None
    fault: Fault | None
    dialect: str = "openai_chat"
    stream: bool = False
    include_usage: bool = False


Respond: TypeAlias = Callable[[Route, bytes, Mapping[str, str]], Response]
"""From what the path says, a body and its headers (lower-case names). Called from the threads of all connections."""


class LoopbackServer(ThreadingMixIn, TCPServer):
    """Listens at once; `stop` ends every answer, thread and connection. (Not an HTTPServer: that one asks the DNS.)"""

    daemon_threads = False
    block_on_close = True
    allow_reuse_address = True
    request_queue_size = 128

    def __init__(self, respond: Respond) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.respond = respond
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._thread = threading.Thread(target=self.serve_forever, args=(_POLL_S,), name="scripted-provider")
        self._thread.start()

    @property
    def port(self) -> int:
        return int(self.server_address[1])

    @property
    def open_connections(self) -> int:
        with self._lock:
            return len(self._connections)

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.closing.set()
        with self._lock:
            for connection in self._connections:
                _cut(connection)
        self.server_close()

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            if self.closing.is_set():
                _cut(connection)

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up in the middle is an everyday thing here; what a script raised is kept elsewhere."""


def _cut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


class _Connection(BaseHTTPRequestHandler):
    """One connection of a client, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm: ClassVar[bool] = True
    server: LoopbackServer

    def setup(self) -> None:
        super().setup()
        self.server.opened(self.connection)

    def finish(self) -> None:
        self.server.closed(self.connection)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the base class's
        """Silence: what arrived is recorded."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        route = Route.of(self.path)
        if route is None:
            return self._fail(Fault.error(404, code="not_found", message=f"no such path: {self.path}"), "openai_chat")
        response = self.server.respond(route, body, {name.lower(): value for name, value in self.headers.items()})
        if response.answer is None:
            assert response.fault is not None
            return self._fail(response.fault, response.dialect)
        if response.stream:
            return self._stream(response.answer, response.fault, response.include_usage)
        return self._plain(response.answer, response.fault)

    def _fail(self, fault: Fault, dialect: str) -> None:
        if fault.kind == "drop":
            return self._hang_up()
        if fault.kind == "body":
            return self._send(fault.status, fault.body, fault.content_type)
        headers = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after}"}
        return self._send(fault.status, json.dumps(error_body(fault, dialect)).encode(), headers=headers)

    def _plain(self, answer: Answer, fault: Fault | None) -> None:
        body = json.dumps(answer.body()).encode()
        if fault is None:
            return self._send(200, body)
        if fault.kind == "slow":
            return self._hang_up() if self._pause(fault.delay_s) else self._send(200, body)
        self._head(200, "application/json", {"content-length": str(len(body))})
        if fault.after_chunks:
            self.wfile.write(body[: len(body) // 2])
        return self._linger(fault)

    def _stream(self, answer: Answer, fault: Fault | None, include_usage: bool) -> None:
        self._head(200, "text/event-stream; charset=utf-8", {"transfer-encoding": "chunked"})
        if fault is not None and fault.kind in ("stall", "slow") and self._pause(fault.delay_s):
            return self._hang_up()
        spoils = fault if fault is not None and fault.kind != "slow" else None
        opening, content, closing = answer.pieces(include_usage)
        self._chunk(opening)
        for sent, piece in enumerate(content):
            if spoils is not None and sent == spoils.after_chunks:
                return self._linger(spoils)
            self._chunk(piece)
        if spoils is not None:
            return self._linger(spoils)
        self._chunk(closing())
        self.wfile.write(b"0\r\n\r\n")
        return None

    def _linger(self, fault: Fault) -> None:
        """What follows the last thing sent: the cut itself, or silence until somebody hangs up."""
        if fault.kind == "stall":
            self._pause(float("inf"))
        elif fault.kind == "drip":
            while not self._pause(fault.delay_s):
                self._chunk(b": keep-alive\n\n")
        self._hang_up()

    def _pause(self, seconds: float) -> bool:
        """Waits; True where the client or the server closed the connection meanwhile."""
        left = seconds
        while left > 0:
            if self.server.closing.wait(min(_POLL_S, left)) or self._client_is_gone():
                return True
            left -= _POLL_S
        return False

    def _client_is_gone(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def _hang_up(self) -> None:
        self.close_connection = True
        _cut(self.connection)

    def _head(self, status: int, content_type: str, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        self.send_header("content-type", content_type)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _send(
        self, status: int, body: bytes, content_type: str = "application/json", headers: Mapping[str, str] | None = None
    ) -> None:
        self._head(status, content_type, {**(headers or {}), "content-length": str(len(body))})
        self.wfile.write(body)

    def _chunk(self, data: bytes) -> None:
        if data:
            self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
