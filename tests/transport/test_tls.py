"""Over TLS, as over none: connections are used again, and bytes behind an answer end theirs."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentroute import ConnectionFailed, Router, Target
from agentroute.transport import clients
from tests.loopback import COMPLETION, plain


class Server:
    """Answers each request with the next of `answers`, all of one connection in order."""

    def __init__(self, folder: Path, *, behind: bytes, only: str) -> None:
        self.connections = 0
        self._behind = behind
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(10)
        self.url = f"https://{only}:{self._listener.getsockname()[1]}/v1"
        self.asked = 0

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.settimeout(10)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError), self._context.wrap_socket(connection, server_side=True) as tls:
            self.connections += 1
            while self._read(tls):
                self.asked += 1
                tls.sendall(plain(COMPLETION) + (self._behind if self.asked == 1 else b""))

    def _read(self, tls: ssl.SSLSocket) -> bool:
        raw = b""
        while b"\r\n\r\n" not in raw:
            piece = tls.recv(65536)
            if not piece:
                return False
            raw += piece
        head, _, body = raw.partition(b"\r\n\r\n")
        found = re.search(rb"content-length: (\d+)", head.lower())
        length = int(found[1]) if found else 0
        while len(body) < length:
            body += tls.recv(65536)
        return True

    def __enter__(self) -> Server:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    made = subprocess.run(
        [
            *"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1".split(),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs the openssl command to make a certificate")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert.pem"))
    clients._ssl_context.cache_clear()
    yield tmp_path
    clients._ssl_context.cache_clear()


def three(router: Router, asynchronous: bool) -> list[str]:
    if not asynchronous:
        return [router.complete("hello").text for _ in range(3)]

    async def main() -> list[str]:
        return [(await router.acomplete("hello")).text for _ in range(3)]

    return asyncio.run(main())


FOREIGN = plain({**COMPLETION, "choices": [{"index": 0, "message": {"role": "assistant", "content": "foreign"}}]})


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize(
    ("behind", "connections"),
    [(b"", 1), (FOREIGN, 2), (b"x", 2), (b" " * 40_000, 2)],
    ids=["none", "answer", "x", "40 kB"],
)
def test_what_stands_behind_an_answer_is_never_delivered(
    folder: Path, asynchronous: bool, behind: bytes, connections: int
) -> None:
    with Server(folder, behind=behind, only="127.0.0.1") as server:
        router = Router([Target(provider="x", model="m", tier="mid", base_url=server.url, api_key="sk-loopback-key")])
        assert three(router, asynchronous) == ["hello world"] * 3
        router.close()
    assert server.connections == connections


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_certificate_for_another_name(folder: Path, asynchronous: bool) -> None:
    with Server(folder, behind=b"", only="localhost") as server:
        router = Router([Target(provider="x", model="m", tier="mid", base_url=server.url, api_key="sk-loopback-key")])
        with pytest.raises(ConnectionFailed, match=r"[Hh]ostname|certificate"):
            three(router, asynchronous)
        router.close()
    assert server.asked == 0
