"""In how many pieces a streamed answer leaves: what came together leaves together, and waits for nothing else."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pytest

from agentroute import Router
from agentroute.gateway import create_app
from tests.loopback import END, HELLO, LAST, ROLE, SSE_HEAD, WORLD, Loopback, chunk, sse

from .doors import Client


async def pieces(door: Client, script: list[Any], sent: Callable[[bytes], Any] = lambda data: None) -> list[bytes]:
    """The pieces of the answer's body; `sent` sees each as it leaves, and may await."""
    raw = json.dumps(door.body(stream=True)).encode()
    path, _, query = door.path(True).partition("?")
    found: list[bytes] = []
    asked = False

    async def receive() -> dict[str, Any]:
        nonlocal asked
        if asked:
            await asyncio.Event().wait()
        asked = True
        return {"type": "http.request", "body": raw, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.body":
            found.append(message["body"])
            waited = sent(message["body"])
            if waited is not None:
                await waited

    headers = [(b"host", b"127.0.0.1:4180"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "query_string": query.encode(), "headers": headers}
    with Loopback(script) as server:
        async with Router([server.target("a")]) as router:
            await create_app(router)(scope, receive, send)  # type: ignore[arg-type]
    return found


async def test_what_came_together_leaves_together(door: Client) -> None:
    found = await pieces(door, [sse(ROLE, HELLO, WORLD, END)])
    assert len([piece for piece in found if b"hello" in piece or b" world" in piece]) <= 2
    assert door.streamed(b"".join(found)) == "hello world"


async def test_what_comes_apart_leaves_before_the_rest_is_there(door: Client) -> None:
    apart = [SSE_HEAD + chunk(ROLE), chunk(HELLO), 0.2, chunk(WORLD), 0.2, chunk(END) + LAST]
    found = await pieces(door, apart)
    assert [b"hello" in piece and b" world" not in piece for piece in found].count(True) >= 1
    assert door.streamed(b"".join(found)) == "hello world"


async def test_a_client_that_reads_slowly_gets_one_piece_after_the_other(door: Client) -> None:
    busy = False

    async def slowly() -> None:
        nonlocal busy
        assert not busy
        busy = True
        await asyncio.sleep(0.03)
        busy = False

    apart = [SSE_HEAD + chunk(ROLE), *[step for _ in range(5) for step in (chunk(HELLO), 0.01)], chunk(END) + LAST]
    found = await pieces(door, apart, lambda data: slowly())
    assert door.streamed(b"".join(found)) == "hello" * 5


@pytest.mark.parametrize("together", [True, False])
async def test_what_came_before_a_break_is_shown_with_the_failure_behind_it(door: Client, together: bool) -> None:
    good, bad = SSE_HEAD + chunk(ROLE) + chunk(HELLO), b"zz\r\n"
    found = b"".join(await pieces(door, [good + bad] if together else [good, 0.1, bad]))
    assert found.index(b"hello") < found.rindex(b"error")
