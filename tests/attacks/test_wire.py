"""What may stand around an answer: packings, statuses and answers that come before the request was read."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import trustme

from agentroute import AgentRouteError, ChatRequest, ContextTooLong, Price, ProviderError, Router, Target
from tests.loopback import COMPLETION, Loopback, plain, refusal

from .test_poison import acomplete, astream, complete, stream

WAYS = pytest.mark.parametrize("ask", [complete, stream, acomplete, astream])
REQUEST = ChatRequest.of("q")

WORDS = json.dumps(COMPLETION).encode()
EVENTS = b'data: {"choices": [{"index": 0, "delta": {"content": "hello world"}, "finish_reason": "stop"}]}\n\n'


def before(sick: Loopback, well: Loopback) -> Router:
    """A router that asks the sick one first."""
    return Router([sick.target("a", tier="premium"), well.target("b", tier="mid")], strategy="best")


def raw_deflate(data: bytes) -> bytes:
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    return packer.compress(data) + packer.flush()


def in_members(*at: int) -> Callable[[bytes], bytes]:
    """Packed in one member of gzip after the other, the data cut at these places."""

    def pack(data: bytes) -> bytes:
        return b"".join(gzip.compress(data[begin:end]) for begin, end in zip((0, *at), (*at, len(data)), strict=True))

    return pack


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "two members": ("gzip", in_members(10)),
    "five members, one empty": ("x-gzip", in_members(1, 2, 2, 40)),
    "deflate": ("deflate", zlib.compress),
    "deflate without a head": ("Deflate", raw_deflate),
}


def packed(encoding: str, body: bytes, cuts: int, kind: str = "application/json") -> list[Any]:
    head = f"HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: {encoding}\r\n"
    head += f"content-length: {len(body)}\r\n\r\n"
    size = max(len(body) // cuts, 1)
    pieces: list[Any] = [head.encode()]
    for begin in range(0, len(body), size):
        pieces += [0.001, body[begin : begin + size]]
    return pieces


@WAYS
@pytest.mark.parametrize("kind", PACKED)
@pytest.mark.parametrize("cuts", [1, 7])
def test_an_answer_that_is_packed_unasked_is_read(ask: Any, kind: str, cuts: int) -> None:
    encoding, pack = PACKED[kind]
    for said, media in ((WORDS, "application/json"), (EVENTS, "text/event-stream")):
        with Loopback(packed(encoding, pack(said), cuts, media)) as server, Router([server.target()]) as router:
            assert ask(router, REQUEST).text == "hello world"


@WAYS
@pytest.mark.parametrize(
    "body",
    [gzip.compress(WORDS)[:-20], gzip.compress(WORDS)[:40] + bytes(60), b"\x00\xffno packing", gzip.compress(b"")],
    ids=["cut off", "damaged", "nothing of the kind", "empty"],
)
def test_a_packing_that_is_broken_goes_to_the_next_target(ask: Any, body: bytes) -> None:
    with Loopback(packed("gzip", body, 1)) as sick, Loopback([plain(COMPLETION)]) as well, before(sick, well) as router:
        found = ask(router, REQUEST)
    assert found.text == "hello world"
    decision = found.decision
    assert [attempt.error for attempt in decision.attempts] == ["BadResponse", None]


NOT_THE_REQUESTS = (405, 406, 407, 410, 411, 415, 417, 421, 423, 426, 428, 431, 444, 451, 498, 499)
"""Statuses that say something of a server, a proxy or a place, and nothing of what was asked."""


@WAYS
@pytest.mark.parametrize("status", NOT_THE_REQUESTS)
def test_a_status_that_says_nothing_of_the_request_goes_to_the_next_target(ask: Any, status: int) -> None:
    page = b"<html>no</html>"
    head = f"HTTP/1.1 {status} No\r\ncontent-type: text/html\r\ncontent-length: {len(page)}\r\n\r\n".encode()
    with Loopback([head + page]) as sick, Loopback([plain(COMPLETION)]) as well, before(sick, well) as router:
        assert ask(router, REQUEST).text == "hello world"
        with pytest.raises(ProviderError) as alone:
            router.complete(REQUEST, constraints={"target": "a"})
    assert alone.value.status == status
    assert "html" not in str(alone.value)


@WAYS
@pytest.mark.parametrize("status", [402, 403, 404, 407, 451])
def test_one_prompt_that_is_refused_sends_no_other_call_elsewhere(ask: Any, status: int) -> None:
    """A firewall's page, an account's or a path's refusal: what one prompt brought about says nothing of the next."""
    page = f"HTTP/1.1 {status} No\r\ncontent-type: text/html\r\ncontent-length: 14\r\n\r\n<html>no</html"
    scripts = iter([[page.encode()]])
    with Loopback(lambda _: next(scripts, [plain(COMPLETION)])) as first, Loopback([plain(COMPLETION)]) as second:
        pool = [
            first.target("a", tier="budget", price=Price("0.1", "0.4")),
            second.target("b", tier="premium", price=Price(15, 75), api_key="sk-other-0123456789"),
        ]
        with Router(pool, strategy="cheapest") as router:
            found = [ask(router, ChatRequest.of(f"question {number}")) for number in range(6)]
    served = [each.decision.target for each in found]
    assert served == ["b", "a", "a", "a", "a", "a"]


# -- before the request was read -----------------------------------------------------------------------------------


@contextmanager
def never_reading(answer: bytes, ca: trustme.CA | None) -> Iterator[tuple[str, threading.Event]]:
    """A server that reads a thousand bytes of a request, answers, and keeps the connection open until it is told."""
    done = threading.Event()
    context = None
    if ca is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(context)

    def serve(connection: socket.socket) -> None:
        with connection:
            talk = connection if context is None else context.wrap_socket(connection, server_side=True)
            with talk:
                talk.recv(1000)
                time.sleep(0.2)
                talk.sendall(answer)
                done.wait(20)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"{'http' if ca is None else 'https'}://127.0.0.1:{listener.getsockname()[1]}/v1", done
        listener.shutdown(socket.SHUT_RDWR)


LONG = ChatRequest.of("x" * 12_000_000)
TOO_LONG = refusal(413, "context_length_exceeded", "too large")


@WAYS
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "tls"])
@pytest.mark.parametrize("said", [TOO_LONG, plain(COMPLETION)], ids=["413", "200"])
def test_an_answer_to_a_request_that_is_never_read_is_heard(
    ask: Any, encrypted: bool, said: bytes, tmp_path: Any
) -> None:
    """The server neither reads on nor closes: whoever only writes would wait for the end of its time."""
    ca = trustme.CA() if encrypted else None
    bundle = None
    if ca is not None:
        bundle = str(tmp_path / "ca.pem")
        ca.cert_pem.write_to_path(bundle)
    with never_reading(said, ca) as (url, done):
        target = Target(name="a", provider="acme", model="m", tier="mid", base_url=url, api_key="sk-test-0123456789")
        with Router([target], deadline_s=8, verify=bundle) as router:
            try:
                found: Any = ask(router, LONG).text
            except AgentRouteError as error:
                found = type(error)
        done.set()
    assert found == (ContextTooLong if said is TOO_LONG else "hello world")


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("said", [TOO_LONG, plain(COMPLETION)], ids=["413", "200"])
def test_a_connection_with_half_a_request_on_it_carries_no_other(mode: str, said: bytes) -> None:
    """The server answers early, keeps the connection and reads no more: a second request on it would wait for ever."""
    with never_reading(said, None) as (url, done):
        target = Target(name="a", provider="acme", model="m", tier="mid", base_url=url, api_key="sk-test-0123456789")
        with Router([target], deadline_s=8) as router:

            async def both() -> list[Any]:
                found: list[Any] = []
                for _ in range(2):
                    try:
                        found.append((await router.acomplete(LONG)).text)
                    except AgentRouteError as error:
                        found.append(type(error))
                await router.aclose()
                return found

            if mode == "async":
                found = asyncio.run(both())
            else:
                found = []
                for _ in range(2):
                    try:
                        found.append(router.complete(LONG).text)
                    except AgentRouteError as error:
                        found.append(type(error))
        done.set()
    assert found == [ContextTooLong if said is TOO_LONG else "hello world"] * 2
