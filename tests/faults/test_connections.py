"""Faults of the connection itself: refused, silent, unknown host, TLS, stale, redirected, closed after each answer."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentroute import ConnectionFailed, ProviderError
from agentroute.failover.effects import Timeouts
from tests.loopback import ANSWER, COMPLETION, Loopback, plain

from .calls import WAYS, Way, aon, assert_no_canary, call, on, plainly, router, row, target, well_answer


@row(1)
def test_connect_refused(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(well_answer(way)) as well, socket.create_server(("127.0.0.1", 0)) as taken:
        closed = f"http://127.0.0.1:{taken.getsockname()[1]}/v1"
        taken.close()
        targets = target(closed), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert [error for _, error in ran.tried][-1] is None
    assert {error for name, error in ran.tried if name == "sick"} == {"ConnectionFailed"}
    assert len(ran.tried) <= 3, "at most one retry on the same target"
    assert (ran.first.cost, ran.first.possible_duplicate_cost, ran.slept) == (None, False, [])
    assert_no_canary(ran, targets, canaries)


@contextlib.contextmanager
def black_hole() -> Iterator[str]:
    """A listener whose queue is full: Linux drops further SYNs, so that connecting takes as long as it may."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):
            one = stack.enter_context(socket.socket())
            one.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                one.connect(listener.getsockname())
        with socket.socket() as probe:
            probe.settimeout(0.2)
            try:
                probe.connect(listener.getsockname())
            except TimeoutError:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
                return
        pytest.skip("this system accepts connections beyond a full queue; the row needs a network namespace here")


@row(2)
def test_connect_black_hole(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(well_answer(way)) as well, black_hole() as nowhere:
        targets = target(nowhere), target(well, "well", rank=2)
        ran = call(way, *targets, timeouts=Timeouts(connect=0.2))
    assert ran.tried == [("sick", "ProviderTimeout"), ("well", None)]
    assert "no connection within 0.2 s" in ran.first.error_text
    assert ran.first.possible_duplicate_cost is False, "nothing was sent"
    assert_no_canary(ran, targets, canaries)


@row(3)
def test_unknown_host(way: Way, canaries: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    real = socket.getaddrinfo

    def no_such_name(host: str | bytes, *rest: object, **more: object) -> object:
        if host in ("nonexistent.invalid", b"nonexistent.invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(socket, "getaddrinfo", no_such_name)
    with Loopback(well_answer(way)) as well:
        targets = target("http://nonexistent.invalid/v1"), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.tried[-1] == ("well", None)
    assert set(ran.tried[:-1]) == {("sick", "ConnectionFailed")}
    assert "'sick'" in ran.first.error_text
    assert ran.first.possible_duplicate_cost is False
    assert_no_canary(ran, targets, canaries)


@contextlib.contextmanager
def answering_the_handshake(said: bytes | None) -> Iterator[tuple[str, threading.Event]]:
    """A server that says this to the first bytes of a TLS handshake, or nothing; the event is set once it is left."""
    left = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            with contextlib.suppress(OSError):
                connection, _ = listener.accept()
                with connection:
                    connection.settimeout(5)
                    connection.recv(65536)
                    if said is not None:
                        connection.sendall(said)
                    with contextlib.suppress(ConnectionError):
                        while connection.recv(65536):
                            pass
                    left.set()

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1", left
        thread.join(6)


@row(4)
def test_plain_http_where_tls_is_expected(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    said = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"
    with answering_the_handshake(said) as (url, left), Loopback(well_answer(way)) as well:
        targets = target(url), target(well, "well", rank=2)
        ran = call(way, *targets)
        assert left.wait(5)
    assert ran.tried == [("sick", "ConnectionFailed"), ("well", None)], "no second try on the same target"
    assert "ssl" in ran.first.error_text.lower()
    assert ran.first.possible_duplicate_cost is False
    assert_no_canary(ran, targets, canaries)


@row(4)
@pytest.mark.parametrize(
    "timeouts", [Timeouts(connect=0.2), Timeouts(first_content=0.2, whole_answer=0.2)], ids=["connect", "whole"]
)
def test_a_tls_handshake_that_is_never_answered(
    way: Way, timeouts: Timeouts, canaries: pytest.LogCaptureFixture
) -> None:
    with answering_the_handshake(None) as (url, left), Loopback(well_answer(way)) as well:
        targets = target(url), target(well, "well", rank=2)
        ran = call(way, *targets, timeouts=timeouts)
        assert left.wait(3), "the connection is closed, not left to the garbage collector"
    assert ran.tried == [("sick", "ProviderTimeout"), ("well", None)]
    assert "within" in ran.first.error_text
    assert ran.first.possible_duplicate_cost is False
    assert_no_canary(ran, targets, canaries)


@contextlib.contextmanager
def self_signed(folder: Path) -> Iterator[tuple[str, list[bytes]]]:
    made = subprocess.run(
        [
            *"openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=127.0.0.1".split(),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-keyout", folder / "key.pem", "-out", folder / "cert.pem"),
        ],
        capture_output=True,
        check=False,
    )
    if made.returncode:
        pytest.skip("needs the openssl command to make a certificate")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert.pem", folder / "key.pem")
    heard: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connection.settimeout(5)
                    with (
                        connection,
                        contextlib.suppress(OSError),
                        context.wrap_socket(connection, server_side=True) as tls,
                    ):
                        heard.append(tls.recv(65536))

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1", heard
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


@row(4)
def test_a_certificate_that_nobody_vouches_for(way: Way, canaries: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    with self_signed(tmp_path) as (url, heard), Loopback(well_answer(way)) as well:
        targets = target(url), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.tried == [("sick", "ConnectionFailed"), ("well", None)]
    assert "certificate" in ran.first.error_text.lower()
    assert [data for data in heard if data] == [], "not a byte of the request went out"
    assert_no_canary(ran, targets, canaries)


@row(10)
def test_a_kept_connection_gone_stale(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    """The first answer keeps the connection; at the second request it is closed without a byte."""
    answer = well_answer(way)
    with Loopback(lambda n: answer if n != 2 else []) as server:
        targets = (target(server),)
        if way.asynchronous:

            async def twice() -> list[object]:
                async with router(targets) as one:
                    return [await aon(one, way), await aon(one, way)]

            first, second = asyncio.run(twice())
        else:
            with router(targets) as one:
                first, second = on(one, way), on(one, way)
    for ran in (first, second):
        assert ran.response.text == "hello world"  # type: ignore[attr-defined]
        assert len(ran.tried) == 1, "one transparent retry, which is no attempt of its own"  # type: ignore[attr-defined]
    assert (len(server.requests), server.connections) == (3, 2)
    assert_no_canary(second, targets, canaries)  # type: ignore[arg-type]


@row(10)
def test_closed_before_any_byte_on_a_new_connection(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([]) as sick, Loopback(well_answer(way)) as well:
        targets = target(sick), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.tried == [("sick", "ConnectionFailed"), ("well", None)]
    assert ran.first.possible_duplicate_cost
    assert len(sick.requests) == 1
    assert_no_canary(ran, targets, canaries)


def redirected(way: Way, status: int, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback(well_answer(way)) as second, Loopback(well_answer(way)) as well:
        elsewhere = second.base_url + "/chat/completions"
        with Loopback([plain(b"", status, location=elsewhere)]) as sick:
            targets = target(sick), target(well, "well", rank=2)
            ran = call(way, *targets)
    assert ran.tried == [("sick", "BadResponse"), ("well", None)]
    assert (second.connections, second.requests) == (0, []), "no request, no key, no prompt"
    assert "a redirect, which is not followed" in ran.first.error_text
    assert_no_canary(ran, targets, canaries)


@row(77)
def test_redirect_307(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    redirected(way, 307, canaries)


@row(78)
def test_redirect_302(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    redirected(way, 302, canaries)


@pytest.mark.parametrize("way", [way for way in WAYS if not way.stream], ids=lambda way: f"row79-{way}")
def test_a_server_that_closes_after_each_answer(way: Way) -> None:
    """A thousand calls, none of which the caller sees fail or tried twice."""
    with Loopback([plain(COMPLETION)]) as server:
        if way.asynchronous:

            async def calls() -> set[tuple[str, int]]:
                async with router([target(server)]) as one:
                    return {(str(ran.error), len(ran.tried)) for _ in range(1000) if (ran := await aon(one, way))}

            seen = asyncio.run(calls())
        else:
            with router([target(server)]) as one:
                seen = {(str(ran.error), len(ran.tried)) for _ in range(1000) if (ran := on(one, way))}
    assert seen == {("None", 1)}
    assert len(server.requests) == 1000


@row(81)
def test_a_bare_return_in_a_header(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    body = ANSWER.partition(b"\r\n\r\n")[2]
    answer = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nx-evil: a\rb\r\ntransfer-encoding: chunked\r\n\r\n"
    with Loopback([answer + body]) as sick, Loopback(well_answer(way)) as well:
        targets = target(sick), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.response is not None
    assert ran.response.text == "hello world"
    assert "a\rb" not in repr(ran.decision)
    assert_no_canary(ran, targets, canaries)


@plainly
@pytest.mark.parametrize("number", [82], ids="row{}".format)
def test_surplus_bytes_are_not_the_next_answer(way: Way, number: int) -> None:
    """What came beyond the announced length is not read as the answer to the next call."""
    surplus = plain(COMPLETION) + b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
    with Loopback([surplus, "keep"]) as server:
        if way.asynchronous:

            async def calls() -> list[object]:
                async with router([target(server)]) as one:
                    return [await aon(one, way) for _ in range(3)]

            found = asyncio.run(calls())
        else:
            with router([target(server)]) as one:
                found = [on(one, way) for _ in range(3)]
    for ran in found:
        error = ran.error  # type: ignore[attr-defined]
        assert error is None or isinstance(error, ProviderError | ConnectionFailed)
        assert error is not None or ran.response.text == "hello world"  # type: ignore[attr-defined]
