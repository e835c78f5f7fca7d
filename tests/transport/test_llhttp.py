"""Answers on an event loop, parsed by llhttp or, without httptools, by h11: one outcome, the same connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpcore2
import pytest

from agentroute import AgentRouteError, ConnectionFailed, Router, StreamInterrupted, TextDelta
from agentroute.call import AsyncResponseStream
from agentroute.failover.effects import Item, Timeouts, Try
from agentroute.messages import ChatRequest
from agentroute.transport import AsyncHttpPerformer, clients
from agentroute.transport.llhttp import written
from tests.loopback import (
    ANSWER,
    COMPLETION,
    END,
    HELLO,
    LAST,
    ROLE,
    SSE_HEAD,
    WORLD,
    Loopback,
    chunk,
    plain,
    refusal,
    sse,
)


@pytest.fixture(params=["llhttp", "h11"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "h11":
        monkeypatch.setattr(clients, "LlhttpConnection", None)
    else:
        assert clients.LlhttpConnection is not None
    return str(request.param)


async def texts(script: bytes | list[Any], *, stream: bool = False, calls: int = 2) -> tuple[list[str], int]:
    """What each of some calls, one after the other, got, and how many connections they took."""

    def played(_: int) -> list[Any]:
        return [script, "keep"] if isinstance(script, bytes) else script

    found = []
    with Loopback(played) as server:
        async with Router([server.target("a")]) as router:
            for _ in range(calls):
                if not stream:
                    found.append((await router.acomplete("hello")).text)
                    continue
                async with router.astream("hello") as events:
                    found.append("".join([getattr(event, "text", "") async for event in events]))
        await asyncio.sleep(0.01)  # Only now does the loop close its connections, for which the server waits.
    return found, server.connections


def head(*lines: str, status: str = "200 OK") -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "content-type: application/json", *lines, "", ""]).encode()


BODY = plain(COMPLETION).partition(b"\r\n\r\n")[2]


@pytest.mark.parametrize(
    ("script", "connections"),
    [
        (plain(COMPLETION), 1),
        (head("Transfer-Encoding: chunked") + chunk(BODY[:7]) + chunk(BODY[7:]) + LAST, 1),
        (head("transfer-encoding: chunked") + chunk(BODY) + b"0\r\nx-trailer: 1\r\n\r\n", 1),
        (b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n" + plain(COMPLETION), 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + plain(COMPLETION), 1),
        ([plain(COMPLETION, x_long="a" * 60_000)[at : at + 9_000] for at in range(0, 61_000, 9_000)] + ["keep"], 1),
        (plain(COMPLETION, connection="close"), 2),
        (plain(COMPLETION) + plain({"choices": []}), 2),
        (plain(COMPLETION) + b"HTTP/1.1 ", 2),
        (plain(COMPLETION) + b"what is this", 2),
        ([head() + BODY], 2),
        ([head(f"content-length: {len(BODY)}").replace(b"HTTP/1.1", b"HTTP/1.0") + BODY], 2),
    ],
    ids=[
        "length",
        "chunks",
        "trailer",
        "early hints",
        "two before it",
        "a long head",
        "told to close",
        "a second answer",
        "half a second answer",
        "garbage behind it",
        "until the end",
        "HTTP/1.0",
    ],
)
async def test_a_good_answer_however_it_is_framed(script: Any, connections: int) -> None:
    assert await texts(script) == (["hello world"] * 2, connections)


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
async def test_bytes_that_come_one_by_one(stream: bool) -> None:
    raw = ANSWER if stream else plain(COMPLETION)
    script: list[Any] = [raw[at : at + 1] for at in range(len(raw))]
    assert await texts([*script, "keep"], stream=stream) == (["hello world"] * 2, 1)


BROKEN = {
    "no answer": b"",
    "half a head": b"HTTP/1.1 200 OK\r\ncontent-type: app",
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a header without a name": b"HTTP/1.1 200 OK\r\n: x\r\n\r\n",
    "half a body": plain(COMPLETION)[:-5],
    "a chunk without its length": head("transfer-encoding: chunked") + b"zz\r\n" + BODY,
    "half a chunk": head("transfer-encoding: chunked") + chunk(BODY)[:-9],
    "no last chunk": head("transfer-encoding: chunked") + chunk(BODY),
    "a length that is none": head("content-length: many") + BODY,
    "a head without an end": head(f"x-long: {'a' * 300_000}")[:-4],
    "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n",
    "another protocol, unnamed": b"HTTP/1.1 101 Switching Protocols\r\n\r\n" + plain(COMPLETION),
    "a head too long, in one packet": head(f"content-length: {len(BODY)}", *["x: " + "a" * 9_000] * 15) + BODY,
    "very many headers": head(*(f"x-{number}: {'a' * 90}" for number in range(2_000))) + BODY,
}


@pytest.mark.parametrize("script", BROKEN.values(), ids=BROKEN)
async def test_a_broken_answer_is_a_failed_connection(script: bytes) -> None:
    with pytest.raises(ConnectionFailed):
        await texts([script])


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("bad", [b"zz\r\n", b"-1\r\n", b"5\r\nhello!!\r\n"])
async def test_events_before_broken_framing_are_shown(bad: bytes, together: bool) -> None:
    good = SSE_HEAD + chunk(ROLE) + chunk(HELLO)
    shown: list[Any] = []
    with Loopback([good + bad] if together else [good, 0.1, bad]) as server:
        async with Router([server.target("a")]) as router:
            with pytest.raises(StreamInterrupted):
                await read(router.astream("hello"), shown)
    assert [event.text for event in shown if isinstance(event, TextDelta)] == ["hello"]


async def read(stream: AsyncResponseStream, shown: list[Any]) -> None:
    async with stream as events:
        async for event in events:
            shown.append(event)


async def test_a_refusal_of_a_long_body_is_read_though_it_was_not_read_to_its_end() -> None:
    request = "hello " * 2_000_000
    with Loopback([refusal(413, "request_too_large"), "keep"]) as server:
        async with Router([server.target("a")]) as router:
            with pytest.raises(AgentRouteError):
                await router.acomplete(request)
        await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("target", "name", "value"),
    [
        ("/v1", "x-team", "a\r\nx-evil: 1"),
        ("/v1", "x-team", "a\n"),
        ("/v1", "x-team", "a\0"),
        ("/v1", "x-team", " a"),
        ("/v1", "x team", "a"),
        ("/v1", "x-team: a\r\nx-evil", "a"),
        ("/v1", "", "a"),
        ("/v1 HTTP/1.1\r\nx-evil: 1\r\n\r\n", "x-team", "a"),
        ("", "x-team", "a"),
    ],
)
def test_a_request_holds_what_it_was_given_and_no_more(target: str, name: str, value: str) -> None:
    with pytest.raises(httpcore2.LocalProtocolError) as raised:
        written(sent(target, [(name, value)]))
    assert "evil" not in str(raised.value)


def test_a_request_as_it_is_written() -> None:
    headers = [("host", "a:1"), ("authorization", "Bearer k"), ("x-empty", ""), ("x-words", "a  b\tc")]
    raw = (
        b"POST /v1/x?y=%20 HTTP/1.1\r\nhost: a:1\r\nauthorization: Bearer k\r\nx-empty: \r\nx-words: a  b\tc\r\n\r\n{}"
    )
    assert written(sent("/v1/x?y=%20", headers)) == raw


def sent(target: str, headers: list[tuple[str, str]]) -> httpcore2.Request:
    url = httpcore2.URL(scheme=b"http", host=b"a", port=1, target=target.encode())
    return httpcore2.Request(b"POST", url, headers=headers, content=b"{}")


class TestBeforeWait:
    """The hook of an attempt by which a gateway sends together what came together."""

    @staticmethod
    def attempt(server: Loopback, hook: Any) -> Try:
        request = ChatRequest.from_openai({"messages": [{"role": "user", "content": "hello"}]})
        return Try(server.target("a"), request, True, Timeouts(), before_wait=hook)

    async def rounds(self, script: list[Any]) -> Iterator[list[str]]:
        """The texts that came between two waits."""
        found: list[list[str]] = [[]]

        async def hook() -> None:
            found.append([])

        with Loopback(script) as server:
            performer = AsyncHttpPerformer()
            async for item in performer.perform(self.attempt(server, hook)):
                if isinstance(item, Item) and isinstance(item.payload, TextDelta):
                    found[-1].append(item.payload.text)
            await performer.aclose()
        return iter([texts for texts in found if texts])

    async def test_all_of_an_event_is_told_before_the_next_is_waited_for(self) -> None:
        apart = [SSE_HEAD, chunk(ROLE), chunk(HELLO), 0.1, chunk(WORLD), 0.1, chunk(END) + LAST]
        assert list(await self.rounds(apart)) == [["hello"], [" world"]]

    async def test_chunks_of_one_packet_are_one_piece(self, parser: str) -> None:
        together = [sse(ROLE, HELLO, WORLD, END)]
        if parser == "llhttp":
            assert list(await self.rounds(together)) == [["hello", " world"]]
        else:
            assert [text for texts in await self.rounds(together) for text in texts] == ["hello", " world"]
