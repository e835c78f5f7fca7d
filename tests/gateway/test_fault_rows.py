"""Each fault of the library's table, seen through each door by a client that knows nothing of targets."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from agentroute import Target
from agentroute.gateway import create_app
from tests.faults.calls import router, target
from tests.faults.table import ROWS, Row
from tests.loopback import ANSWER, COMPLETION, Loopback, plain

from .doors import DIALECTS, Client, events

CASES = [
    pytest.param(row, stream, id=f"{row}-{'stream' if stream else 'whole'}")
    for row in ROWS
    for stream in sorted({way.stream for way in row.ways})
]


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(("row", "stream"), CASES)
def test_fault_through_a_door(row: Row, stream: bool, dialect: str) -> None:
    door = Client(dialect)
    with Loopback(row.script) as sick, Loopback([ANSWER if stream else plain(COMPLETION), "keep"]) as well:
        targets = [target(sick), target(well, "well", rank=2)]
        answer, kept = asyncio.run(asked(targets, row, door, stream))
    assert "Sign in" not in answer.text
    assert "canary" not in answer.text + str(answer.headers) + str(kept)
    EXPECTED[row.then](door, row, stream, answer)
    assert (len(sick.requests), len(well.requests)) == (row.calls, 1 if row.then == "next" else 0)


async def asked(targets: list[Target], row: Row, door: Client, stream: bool) -> tuple[httpx.Response, Any]:
    """The answer, and the decision that is kept of it; every connection is closed behind them."""
    async with router(targets, timeouts=row.timeouts) as one:
        transport = httpx.ASGITransport(create_app(one))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:4180") as client:
            answer = await client.post(door.path(stream), json=door.body(stream=stream))
            kept = await client.get(f"/v1/decisions/{answer.headers['x-request-id']}")
    return answer, kept.json()


def said(door: Client, stream: bool, answer: Any) -> str:
    return door.streamed(answer.content) if stream else door.text(answer.json())


def the_next_answers(door: Client, row: Row, stream: bool, answer: Any) -> None:
    assert answer.status_code == 200, answer.text
    assert said(door, stream, answer) == "hello world"
    assert answer.headers["x-agentroute-target"] == "well"
    assert (answer.headers["x-agentroute-fallback"], answer.headers["x-agentroute-attempts"]) == ("true", "2")


def it_is_an_answer(door: Client, row: Row, stream: bool, answer: Any) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["x-agentroute-target"] == "sick"
    if stream:
        assert door.streamed(answer.content) == row.text
        assert not any("error" in event for event in events(answer.content))
    elif row.text:
        assert door.text(answer.json()) == row.text


def it_is_cut(door: Client, row: Row, stream: bool, answer: Any) -> None:
    assert answer.status_code == 200
    assert b"hello" in answer.content
    assert b"world" not in answer.content
    last = events(answer.content)[-1]
    if door.dialect == "openai_responses":
        assert last["type"] == "response.failed"
        assert last["response"]["error"]["message"]
    else:
        assert last["error"]["message"]
    assert b'"finish_reason":"stop"' not in answer.content
    assert b"message_stop" not in answer.content
    assert b"response.completed" not in answer.content


def it_goes_to_the_caller(door: Client, row: Row, stream: bool, answer: Any) -> None:
    assert 400 <= answer.status_code < 500
    assert answer.headers["x-should-retry"] == "false"
    assert "retry-after" not in answer.headers
    assert door.error(answer.json())["message"]


EXPECTED: dict[str, Any] = {
    "next": the_next_answers,
    "answer": it_is_an_answer,
    "cut": it_is_cut,
    "unchanged": it_goes_to_the_caller,
}
