"""Tool calls in odd pieces, and a small body that unpacks to a large one."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from typing import Any

import pytest

from agentroute import BadResponse, ToolCall
from tests.loopback import ROLE, Loopback, Script, event, plain, sse

from .calls import PLAIN, STREAMED, Way, assert_no_canary, call, row, target
from .table import DONE, called


def piece(index: int, arguments: str | None = None, **first: str) -> bytes:
    function = {k: v for k, v in (("name", first.get("name")), ("arguments", arguments)) if v is not None}
    head = {"id": first["id"], "type": "function"} if "id" in first else {}
    return event({"tool_calls": [{"index": index, **head, "function": function}]})


END_CALLS = event(finish="tool_calls") + DONE
PIECES = [piece(0, "", id="c1", name="look"), *(piece(0, part) for part in ('{"ci', 'ty":"P', 'aris"}'))]
INTERLEAVED = [
    piece(0, "", id="c1", name="a"), piece(1, "", id="c2", name="b"), piece(0, '{"x":1}'), piece(1, '{"y":2}'),
]  # fmt: skip
SAME_INDEX = [piece(0, '{"x":1}', id="c1", name="a"), piece(0, '{"y":2}', id="c2", name="b")]
TWO = (ToolCall("c1", "a", '{"x":1}'), ToolCall("c2", "b", '{"y":2}'))


@pytest.mark.parametrize(
    ("pieces", "calls", "way"),
    [
        pytest.param(pieces, calls, way, id=f"row{number}-{way}")
        for number, pieces, calls in (
            (72, PIECES, (ToolCall("c1", "look", '{"city":"Paris"}'),)),
            (73, INTERLEAVED, TWO),
            (74, SAME_INDEX, TWO),
        )
        for way in STREAMED
    ],
)
def test_tool_calls_in_pieces(
    pieces: list[bytes], calls: tuple[ToolCall, ...], way: Way, canaries: pytest.LogCaptureFixture
) -> None:
    with Loopback([sse(ROLE, *pieces, END_CALLS)]) as server:
        targets = (target(server),)
        ran = call(way, *targets)
    assert ran.response is not None
    assert ran.response.tool_calls == calls
    assert ran.response.finish_reason == "tool_calls"
    assert_no_canary(ran, targets, canaries)


def answered(script: Script, way: Way, canaries: pytest.LogCaptureFixture) -> Any:
    with Loopback(script) as server:
        targets = (target(server),)
        ran = call(way, *targets)
    assert ran.error is None
    assert_no_canary(ran, targets, canaries)
    return ran


@row(75, PLAIN)
def test_arguments_that_are_no_json(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    ran = answered([plain(called(id="c1", arguments='{"x": '))], way, canaries)
    assert ran.response.tool_calls == (ToolCall("c1", "look", '{"x": '),), "verbatim"
    assert ran.warnings == ("invalid_tool_arguments",)


@row(76, PLAIN)
def test_calls_without_an_id(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    body = called()
    body["choices"][0]["message"]["tool_calls"] *= 2
    found = [answered([plain(body)], way, canaries).response.tool_calls for _ in range(2)]
    ids = [call.id for call in found[0]]
    assert len({*ids}) == 2
    assert all(ids)
    assert [call.id for call in found[1]] == ids, "the same answer gives the same ids"


@row(68, PLAIN)
def test_a_small_body_that_unpacks_to_100_mb(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    bomb = gzip.compress(json.dumps({"a": "0" * 100_000_000}).encode(), 9)
    with Loopback([plain(bomb, content_encoding="gzip")]) as server:
        targets = (target(server),)
        call(way, *targets)
        tracemalloc.start()
        ran = call(way, *targets)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert isinstance(ran.error, BadResponse)
    assert "larger than" in str(ran.error)
    assert peak < 70_000_000, "the 32 MB that are allowed, and room for them to grow into"
    assert_no_canary(ran, targets, canaries)
