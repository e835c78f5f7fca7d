"""Through a forward proxy, by a private CA, with a client certificate: sync and async, plain and streamed."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import logging
import pickle
import re
import socket
import ssl
import threading
import traceback
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import pytest
import trustme

from agentroute import ConfigError, ConnectionFailed, ProviderTimeout, Router, Target
from agentroute.failover.effects import Timeouts
from agentroute.providers import Endpoint, Provider
from tests.loopback import ANSWER, COMPLETION, Loopback, plain

PASSWORD = "canary-p@ss/word"
WRITTEN = "canary-p%40ss%2Fword"
CODED = b64encode(f"user:{PASSWORD}".encode()).decode()


class Listener:
    """Runs `serve` for each connection to a port of 127.0.0.1."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.connections = 0

    def serve(self, connection: socket.socket) -> None:
        raise NotImplementedError

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connections += 1
                connection.settimeout(10)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            self.serve(connection)

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


def head_of(connection: socket.socket) -> tuple[str, bytes]:
    """The head of a request, and what came behind it."""
    raw = b""
    while b"\r\n\r\n" not in raw:
        piece = connection.recv(65536)
        if not piece:
            raise OSError("the client is gone")
        raw += piece
    head, _, rest = raw.partition(b"\r\n\r\n")
    return head.decode("latin-1"), rest


class Proxy(Listener):
    """A forward proxy that knows CONNECT, and asks for the password of `pair`. `answer` is said in place of its own."""

    def __init__(self, pair: str | None = None, answer: bytes | None = None) -> None:
        super().__init__()
        self._pair = pair
        self._answer = answer
        self.heads: list[str] = []

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}"

    def serve(self, connection: socket.socket) -> None:
        head, _ = head_of(connection)
        self.heads.append(head)
        if self._answer is not None:
            connection.sendall(self._answer)
            connection.recv(1)
            return
        if self._pair is not None and f"proxy-authorization: Basic {self._pair}" not in head:
            quoted = "".join(re.findall(r"Basic (.*)", head))
            connection.sendall(f"HTTP/1.1 407 {quoted}\r\ncontent-length: 0\r\n\r\n".encode())
            return
        host, _, port = head.split()[1].rpartition(":")
        with socket.create_connection((host.strip("[]"), int(port)), 10) as further:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            back = threading.Thread(target=pump, args=(further, connection), daemon=True)
            back.start()
            pump(connection, further)
            back.join(10)


def pump(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            sink.sendall(piece)
    with contextlib.suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


class Server(Listener):
    """An HTTPS server whose connections are kept. `shown` are the names on the certificates that clients showed."""

    def __init__(self, ca: trustme.CA, *, asks: trustme.CA | None = None) -> None:
        super().__init__()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        ca.issue_cert("127.0.0.1").configure_cert(self._context)
        if asks is not None:
            asks.configure_trust(self._context)
            self._context.verify_mode = ssl.CERT_REQUIRED
        self.url = f"https://127.0.0.1:{self.port}/v1"
        self.shown: list[Any] = []

    def serve(self, connection: socket.socket) -> None:
        with self._context.wrap_socket(connection, server_side=True) as tls:
            certificate = tls.getpeercert()
            while True:
                head, body = head_of(tls)
                found = re.search(r"content-length: (\d+)", head)
                while found and len(body) < int(found[1]):
                    body += tls.recv(65536)
                self.shown.append(certificate)
                tls.sendall(ANSWER if b'"stream":true' in body else plain(COMPLETION))


def target(url: str, name: str = "a", **more: Any) -> Target:
    return Target(name=name, provider="x", model="m", tier="mid", base_url=url, api_key="sk-loopback-key", **more)


def sync_plain(router: Router, times: int, pin: str | None) -> list[str]:
    return [router.complete("hello", constraints={"target": pin}).text for _ in range(times)]


def sync_stream(router: Router, times: int, pin: str | None) -> list[str]:
    found = []
    for _ in range(times):
        with router.stream("hello", constraints={"target": pin}) as stream:
            list(stream)
        found.append(stream.response.text)
    return found


def async_plain(router: Router, times: int, pin: str | None) -> list[str]:
    async def main() -> list[str]:
        return [(await router.acomplete("hello", constraints={"target": pin})).text for _ in range(times)]

    return asyncio.run(main())


def async_stream(router: Router, times: int, pin: str | None) -> list[str]:
    async def main() -> list[str]:
        found = []
        for _ in range(times):
            async with router.astream("hello", constraints={"target": pin}) as stream:
                async for _ in stream:
                    pass
            found.append(stream.response.text)
        return found

    return asyncio.run(main())


Way = Callable[[Router, int, str | None], list[str]]
every_way = pytest.mark.parametrize("way", [sync_plain, sync_stream, async_plain, async_stream])
both = pytest.mark.parametrize("way", [sync_plain, async_plain])


def call(way: Way, *targets: Target, times: int = 1, pin: str | None = None, **settings: Any) -> list[str]:
    with Router(targets, **settings) as router:
        return way(router, times, pin)


@pytest.fixture(scope="module")
def ca() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def bundle(ca: trustme.CA, tmp_path: Path) -> str:
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    return str(tmp_path / "ca.pem")


@pytest.fixture(autouse=True)
def nothing_said_by_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_PROXY", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


class TestProxy:
    @every_way
    def test_an_https_target_is_reached_through_a_tunnel_that_is_kept(
        self, way: Way, ca: trustme.CA, bundle: str
    ) -> None:
        with Server(ca) as server, Proxy(CODED) as proxy:
            found = call(way, target(server.url), times=3, proxy=proxy.url(f"user:{WRITTEN}@"), verify=bundle)
        assert found == ["hello world"] * 3
        assert (proxy.connections, server.connections) == (1, 1)
        assert proxy.heads[0].startswith(f"CONNECT 127.0.0.1:{server.port} HTTP/1.1\r\nhost: 127.0.0.1:")
        assert "sk-loopback-key" not in proxy.heads[0], "the key is for the target alone"

    @every_way
    def test_an_http_target_is_reached_through_a_tunnel_too(self, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
        streamed = way in (sync_stream, async_stream)
        with Loopback([ANSWER if streamed else plain(COMPLETION)]) as server, Proxy() as proxy:
            monkeypatch.setenv("HOUSE_PROXY", f"127.0.0.1:{proxy.port}")
            assert call(way, server.target("a"), proxy="env:HOUSE_PROXY") == ["hello world"]
        assert proxy.connections == 1
        assert b"proxy-authorization" not in server.requests[0].lower()

    @both
    def test_a_target_says_it_before_its_provider_and_that_before_the_router(self, way: Way) -> None:
        ways = {}
        with Loopback([plain(COMPLETION)]) as server, Proxy() as router, Proxy() as provider, Proxy() as own:
            house = Provider("house", Endpoint(base_url=server.base_url), proxy=provider.url())
            facts = {"model": "m", "tier": "mid", "api_key": "sk-loopback-key"}
            pool = (
                Target(name="router's", provider="x", base_url=server.base_url, **facts),
                Target(name="provider's", provider=house, **facts),
                Target(name="own", provider=house, proxy=own.url(), **facts),
                Target(name="none", provider=house, proxy="direct", **facts),
            )
            for each in pool:
                call(way, *pool, pin=each.name, proxy=router.url())
                ways[each.name] = (router.connections, provider.connections, own.connections)
        assert ways == {"router's": (1, 0, 0), "provider's": (1, 1, 0), "own": (1, 1, 1), "none": (1, 1, 1)}
        assert len(server.requests) == 4

    @both
    def test_a_connection_of_one_proxy_carries_nothing_of_another(self, way: Way, ca: trustme.CA, bundle: str) -> None:
        with Server(ca) as server, Proxy() as first, Proxy() as second:
            pool = [
                target(server.url, "a", proxy=first.url()),
                target(server.url, "b", proxy=second.url()),
                target(server.url, "c"),
            ]
            with Router(pool, verify=bundle) as router:
                if way is sync_plain:
                    for pin in "abcabc":
                        way(router, 1, pin)
                else:

                    async def main() -> None:
                        for pin in "abcabc":
                            await router.acomplete("hello", constraints={"target": pin})

                    asyncio.run(main())
        assert (first.connections, second.connections, server.connections) == (1, 1, 3)

    @every_way
    @pytest.mark.parametrize("user", ["", "user:wrong-canary@"], ids=["no password", "wrong password"])
    def test_a_refused_password(self, way: Way, user: str) -> None:
        with Loopback([ANSWER]) as server, Proxy(CODED) as proxy, pytest.raises(ConnectionFailed) as caught:
            call(way, server.target("a", proxy=proxy.url(user)))
        assert "'a': the proxy asks for a user and password (407)" in str(caught.value)
        assert "proxy='http://USER:PASSWORD@HOST:PORT'" in str(caught.value)
        assert not caught.value.possible_duplicate_cost
        assert server.requests == [], "nothing goes around the proxy"

    @both
    @pytest.mark.parametrize(
        ("answer", "says"),
        [
            (b"HTTP/1.1 403 Forbidden\r\n\r\n", r"refused to connect to the target's host \(403\)"),
            (b"HTTP/1.1 302 Found\r\nlocation: http://127.0.0.1:9/\r\n\r\n", r"\(302\)"),
            (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "did not answer in HTTP"),
            (b"HTTP/1.1 200 OK\r\n" + b"x" * 20_000, "did not answer in HTTP"),
            (b"HTTP/1.1 200 OK\r\n\r\n" + plain(COMPLETION), "something behind its answer"),
        ],
        ids=["403", "redirect", "ssh", "endless", "surplus"],
    )
    def test_a_proxy_that_opens_no_tunnel(self, way: Way, answer: bytes, says: str) -> None:
        with Loopback([ANSWER]) as server, Proxy(answer=answer) as proxy, pytest.raises(ConnectionFailed, match=says):
            call(way, server.target("a", proxy=proxy.url()))
        assert server.requests == []

    @both
    def test_a_silent_proxy_takes_no_longer_than_a_connection_may(self, way: Way) -> None:
        with Loopback([ANSWER]) as server, Proxy(answer=b"HTTP/1.1 ") as proxy, pytest.raises(ProviderTimeout):
            call(way, server.target("a", proxy=proxy.url()), timeouts=Timeouts(connect=0.2))
        assert server.requests == []

    @both
    def test_a_proxy_that_is_gone_or_not_named_takes_the_call_to_the_next_target(self, way: Way) -> None:
        with Proxy() as proxy:
            gone = proxy.url()
        for address, says in ((gone, "the proxy cannot be reached"), ("env:NOT_SET_ANYWHERE", "NOT_SET_ANYWHERE is")):
            with Loopback([plain(COMPLETION)]) as server:
                with pytest.raises(ConnectionFailed, match=says):
                    call(way, server.target("a", proxy=address))
                assert server.requests == []
                pool = (server.target("a", proxy=address), server.target("b"))
                assert call(way, *pool, pin=None) == ["hello world"]

    @both
    @pytest.mark.parametrize(
        ("excepted", "through"), [("127.0.0.1", 0), ("127.0.0.0/8", 0), ("*", 0), ("localhost,.example", 1), ("", 1)]
    )
    def test_what_no_proxy_names_is_reached_directly(
        self, way: Way, excepted: str, through: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Loopback([plain(COMPLETION)]) as server, Proxy() as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url())
            monkeypatch.setenv("NO_PROXY", excepted)
            assert call(way, server.target("a"), proxy="env:HTTPS_PROXY") == ["hello world"]
            assert proxy.connections == through
            assert call(way, server.target("a"), proxy=proxy.url()) == ["hello world"]
            assert proxy.connections == through + 1, "an address that is given has no exceptions"

    @both
    def test_no_proxy_of_the_environment_is_used_unless_it_is_named(
        self, way: Way, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with Loopback([plain(COMPLETION)]) as server, Proxy() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
                monkeypatch.setenv(name, proxy.url())
            assert call(way, server.target("a")) == ["hello world"]
        assert proxy.connections == 0

    @both
    def test_a_variable_that_holds_no_address(self, way: Way, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HOUSE_PROXY", "socks5://user:canary@127.0.0.1:9")
        with Loopback([ANSWER]) as server, pytest.raises(ConfigError, match=r"'a': `proxy`: .*HOUSE_PROXY") as caught:
            call(way, server.target("a", proxy="env:HOUSE_PROXY"))
        assert "canary" not in str(caught.value)

    @every_way
    def test_a_password_is_shown_nowhere(self, way: Way, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with Loopback([ANSWER]) as server, Proxy("other") as proxy:
            address = proxy.url(f"user:{WRITTEN}@")
            one = server.target("a", proxy=address)
            router = Router([one])
            with router, pytest.raises(ConnectionFailed) as caught:
                way(router, 1, None)
        assert CODED in proxy.heads[0], "it was sent to the proxy"
        seen = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        ours = [each.locals for each in seen.stack if "tests" not in each.filename]
        shown = [
            caplog.text,
            repr(one),
            repr(dataclasses.asdict(one)),
            repr(copy.deepcopy(one)),
            repr(router.pool.targets),
            repr(vars(caught.value)),
            repr(caught.value.attempts),
            str(caught.value),
            repr(ours),
            repr(seen.__context__),
            repr(seen.__cause__),
            pickle.dumps(one).decode("latin-1"),
            pickle.dumps(router).decode("latin-1"),
        ]
        for text in shown:
            for secret in (PASSWORD, WRITTEN, CODED):
                assert secret not in text

    @both
    def test_a_pickled_address_is_not_replaced_by_the_direct_way(self, way: Way) -> None:
        with Loopback([ANSWER]) as server, Proxy() as proxy:
            revived = pickle.loads(pickle.dumps(server.target("a", proxy=proxy.url(), api_key="env:HOME")))
            with pytest.raises(ConnectionFailed, match="not kept in the pickle; give proxy='env:NAME'"):
                call(way, revived)
        assert server.requests == []


class TestCertificates:
    @every_way
    def test_a_private_ca_is_trusted_where_it_is_named_and_nowhere_else(
        self, way: Way, ca: trustme.CA, bundle: str
    ) -> None:
        with Server(ca) as server:
            pool = (target(server.url, "a", verify=bundle), target(server.url, "b"))
            assert call(way, *pool, pin="a", times=2) == ["hello world"] * 2
            with Router(pool) as router:
                way(router, 1, "a")
                with pytest.raises(ConnectionFailed, match="certificate"):
                    way(router, 1, "b")
        assert len(server.shown) == 3

    @every_way
    @pytest.mark.parametrize("in_two", [False, True], ids=["one file", "certificate and key"])
    @pytest.mark.parametrize("through", [False, True], ids=["direct", "proxy"])
    def test_a_client_certificate(
        self, way: Way, in_two: bool, through: bool, ca: trustme.CA, bundle: str, tmp_path: Path
    ) -> None:
        issued = ca.issue_cert("agent.example.com")
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
        issued.cert_chain_pems[0].write_to_path(tmp_path / "cert.pem")
        issued.private_key_pem.write_to_path(tmp_path / "key.pem")
        cert = (tmp_path / "cert.pem", tmp_path / "key.pem") if in_two else tmp_path / "both.pem"
        with Server(ca, asks=ca) as server, Proxy() as proxy:
            way_there = proxy.url() if through else None
            pool = (target(server.url, "a", cert=cert), target(server.url, "b"))
            with Router(pool, verify=bundle, proxy=way_there) as router:
                assert way(router, 2, "a") == ["hello world"] * 2
                with pytest.raises(ConnectionFailed):
                    way(router, 1, "b")
        assert len(server.shown) == 2
        assert "agent.example.com" in repr(server.shown[0])

    @both
    @pytest.mark.parametrize("key", ["verify", "cert"])
    def test_files_that_cannot_be_read_are_named(self, way: Way, key: str, tmp_path: Path) -> None:
        (tmp_path / "empty.pem").write_text("nothing")
        for path in (tmp_path / "absent.pem", tmp_path / "empty.pem"):
            with Loopback([ANSWER]) as server:
                one = target(server.base_url.replace("http:", "https:"), **{key: path})
                with pytest.raises(ConfigError, match=f"target 'a': `{key}` .*{path.name}"):
                    call(way, one)
