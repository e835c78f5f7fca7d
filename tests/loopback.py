"""A raw server on 127.0.0.1 that plays a script to each connection: bytes, pauses, resets, hanging."""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any, Self

from agentroute import Target

Step = bytes | float | str
"""Bytes are sent, a number is waited (seconds; the end of the test cuts it short), `reset`, `hang`, `keep` do that."""

Script = Iterable[Step]

SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


def within(seconds: float) -> Callable[[], float]:
    """What is left of so many seconds."""
    end = time.monotonic() + seconds
    return lambda: end - time.monotonic()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def event(delta: dict[str, Any] | None = None, finish: str | None = None, **more: Any) -> bytes:
    """One server-sent event that holds a chat-completion chunk."""
    choices = [{"index": 0, "delta": delta or {}, "finish_reason": finish}]
    body = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}
    return b"data: " + json.dumps(body).encode() + b"\n\n"


ROLE = event({"role": "assistant", "content": ""})
HELLO = event({"content": "hello"})
WORLD = event({"content": " world"})
USAGE = {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}
END = event(finish="stop") + event(choices=[], usage=USAGE) + b"data: [DONE]\n\n"
COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello world"}, "finish_reason": "stop"}],
    "usage": USAGE,
}


def sse(*events: bytes, end: bool = True) -> bytes:
    return SSE_HEAD + b"".join(chunk(one) for one in events) + (LAST if end else b"")


def plain(body: Any, status: int = 200, **headers: str) -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    fields = {"content-type": "application/json", "content-length": str(len(raw))}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"HTTP/1.1 {status} X\r\n{head}\r\n".encode() + raw


def refusal(status: int, code: str | None = None, message: str = "injected", **headers: str) -> bytes:
    return plain({"error": {"message": message, "type": None, "code": code}}, status, **headers)


ANSWER = sse(ROLE, HELLO, WORLD, END)


class Loopback:
    """Plays `script(n)` to the n-th request (from 1), then closes the connection unless the script ends with `keep`.

    `requests` are the raw requests in order; `closed` is set when a client went away while the script was hanging.
    """

    def __init__(self, script: Callable[[int], Script] | Script) -> None:
        self._script: Callable[[int], Script] = script if callable(script) else lambda n: script
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.requests: list[bytes] = []
        self.connections = 0
        self.gone = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}/v1"

    def target(self, name: str = "a", **more: Any) -> Target:
        facts = {"provider": "loopback", "model": "m", "tier": "mid", "api_key": "sk-loopback-key", **more}
        return Target(name=name, base_url=self.base_url, **facts)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        # Closing a listener does not wake the thread that waits on it; a connection does.
        with contextlib.suppress(OSError), socket.create_connection(self._listener.getsockname(), 1):
            pass
        self._accepting.join(5)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        while not self._stop.is_set():
            connection, _ = self._listener.accept()
            if self._stop.is_set():
                connection.close()
                return
            self.connections += 1
            thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            keep = True
            while keep:
                request = _read(connection)
                if not request:
                    return
                with self._lock:
                    self.requests.append(request)
                    number = len(self.requests)
                keep = self._play(connection, self._script(number))

    def _play(self, connection: socket.socket, script: Script) -> bool:
        for step in script:
            if self._stop.is_set():
                return False
            if isinstance(step, bytes):
                connection.sendall(step)
            elif isinstance(step, float):
                self._wait(connection, step)
            elif step == "reset":
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return False
            elif step == "keep":
                return True
            else:
                self._wait(connection, 30.0)
        return False

    def _wait(self, connection: socket.socket, seconds: float) -> None:
        """Waits, but no longer than the client or the test does."""
        connection.settimeout(0.02)
        for _ in range(max(1, int(seconds / 0.02))):
            if self._stop.is_set():
                return
            try:
                if connection.recv(1) == b"":
                    self.gone.set()
                    return
            except TimeoutError:
                continue
            except OSError:
                self.gone.set()
                return


def _read(connection: socket.socket) -> bytes:
    connection.settimeout(30)
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return b""
        body += more
    return head + b"\r\n\r\n" + body
