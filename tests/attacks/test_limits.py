"""Answers without an end: each ends typed at what an answer may hold, whatever they are made of, sync and async."""

from __future__ import annotations

import asyncio
import gzip
import itertools
import json
import zlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from agentroute import BadResponse, ChatRequest, Router, StreamInterrupted, Target
from agentroute.failover.effects import Timeouts, Try
from agentroute.testing import FrozenClock
from agentroute.transport.exchange import MAX_BODY_BYTES, MAX_STREAM_BYTES, Answer, Limits, Outgoing
from tests.loopback import SSE_HEAD, Loopback, chunk, event

REQUEST = ChatRequest.from_openai({"messages": [{"role": "user", "content": "q"}]})


def said(dialect: str, kind: str, number: int) -> tuple[str, dict[str, Any]]:
    """The event that comes again and again: words, thoughts, arguments, or another call."""
    text = "a" * 100_000
    match dialect, kind:
        case "openai_chat", _:
            call = {"index": number if kind == "calls" else 0, "id": f"c{number if kind == 'calls' else 0}"}
            function = {"name": "f", "arguments": text if kind == "arguments" else "{}"}
            delta: dict[str, Any] = {"tool_calls": [{**call, "function": function}]}
            delta = {"words": {"content": text}, "thoughts": {"reasoning_content": text}}.get(kind, delta)
            if kind == "details":
                delta = {"reasoning_details": [{"type": "reasoning.text", "text": text}]}
            return "message", {"choices": [{"index": 0, "delta": delta}]}
        case "anthropic_messages", "calls":
            block = {"type": "tool_use", "id": f"c{number}", "name": "f", "input": {}}
            return "", {"type": "content_block_start", "index": number, "content_block": block}
        case "anthropic_messages", "details":
            block = {"type": "unheard_of", "text": text}
            begun = {"type": "content_block_start", "index": 0, "content_block": block}
            return "", begun if number % 2 == 0 else {"type": "content_block_stop", "index": 0}
        case "anthropic_messages", _:
            if number == 0:
                named = {"words": "text", "thoughts": "thinking", "arguments": "tool_use"}[kind]
                block = {"type": named, "id": "c", "name": "f", "text": "", "thinking": "", "input": {}}
                return "", {"type": "content_block_start", "index": 0, "content_block": block}
            delta = {
                "words": {"type": "text_delta", "text": text},
                "thoughts": {"type": "thinking_delta", "thinking": text},
                "arguments": {"type": "input_json_delta", "partial_json": text},
            }[kind]
            return "", {"type": "content_block_delta", "index": 0, "delta": delta}
        case "gemini", _:
            part: dict[str, Any] = {"functionCall": {"name": "f", "args": {"a": text if kind == "arguments" else 1}}}
            part = {"words": {"text": text}, "thoughts": {"text": text, "thought": True}}.get(kind, part)
            part = {"inlineData": {"mimeType": "image/png", "data": text}} if kind == "details" else part
            return "message", {"candidates": [{"content": {"parts": [part]}}]}
        case _:
            added = {"type": "response.output_item.added", "output_index": number if kind == "calls" else 0}
            if kind == "calls" or (kind == "arguments" and number == 0):
                return "", {**added, "item": {"type": "function_call", "call_id": f"c{number}", "name": "f"}}
            if kind == "details":
                item = {"type": "image_generation_call", "result": text}
                return "", {"type": "response.output_item.done", "output_index": number, "item": item}
            named = {
                "words": "output_text",
                "thoughts": "reasoning_text",
                "arguments": "function_call_arguments",
            }[kind]
            return "", {"type": f"response.{named}.delta", "output_index": 0, "delta": text}


def written(dialect: str, kind: str, number: int) -> bytes:
    name, body = said(dialect, kind, number)
    return f"event: {name or body['type']}\ndata: {json.dumps(body)}\n\n".encode()


def begin(dialect: str, **headers: str) -> Answer:
    target = Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1", dialect=dialect)
    fields = {"content-type": "text/event-stream", **headers}
    return Answer(Outgoing(Try(target, REQUEST, True, Timeouts())), 200, fields, datetime.now(UTC))


def read(answer: Answer, pieces: Iterator[bytes], most: int) -> int:
    """How many bytes were read when the answer was refused."""
    taken = 0
    for piece in pieces:
        taken += len(piece)
        assert taken < most, "the answer should have been refused by now"
        for _ in answer.feed(piece):
            pass
    raise AssertionError


@pytest.mark.parametrize("kind", ["words", "thoughts", "arguments", "calls", "details"])
@pytest.mark.parametrize("dialect", ["openai_chat", "anthropic_messages", "gemini", "openai_responses"])
def test_whatever_a_stream_is_made_of_it_ends_at_32_mb(dialect: str, kind: str) -> None:
    pieces = (written(dialect, kind, number) for number in itertools.count())
    with pytest.raises(BadResponse, match=r"larger than|too large|not an index"):
        read(begin(dialect), pieces, MAX_BODY_BYTES * 5 // 4)


def test_an_honest_long_answer_is_below_it() -> None:
    """A tenth of 384,000 tokens, each an event of its own, with its thoughts in three fields."""
    detail = {"type": "reasoning.text", "index": 0, "text": " token"}
    delta = {"content": " token", "reasoning": " token", "reasoning_details": [detail]}
    piece = event(delta) * 100
    answer = begin("openai_chat")
    for _ in range(384):
        for _ in answer.feed(piece):
            pass
    assert not answer.complete
    assert answer._content * 10 < MAX_BODY_BYTES
    assert answer._received * 10 < MAX_STREAM_BYTES


@pytest.mark.parametrize(
    "data",
    [
        {"choices": [{"index": 0, "delta": {"zz": [1] * 100}}]},
        {
            "choices": [
                {"index": 0, "delta": {"content": "x", "reasoning_details": [{"type": "t", "index": []}, {}] * 50}}
            ]
        },
        {"padding": "x" * 100_000},
    ],
    ids=["a list that grows", "details that never join", "nothing of the answer's"],
)
def test_what_is_no_content_has_its_limit_too(data: dict[str, Any]) -> None:
    piece = b"data: " + json.dumps(data).encode() + b"\n\n"
    with pytest.raises(BadResponse, match=r"larger than|too large"):
        read(begin("openai_chat"), itertools.repeat(piece), MAX_STREAM_BYTES + 200_000)


def test_an_answer_that_said_why_it_stopped_is_kept() -> None:
    answer = begin("openai_chat")
    list(answer.feed(event({"content": "all"}) + event(finish="stop")))
    while not answer.complete:
        list(answer.feed(event({"content": "a" * 1_000_000})))
    *_, done = answer.end()
    assert "broke_off_after_finish: BadResponse" in done.warnings  # type: ignore[union-attr]


def test_an_error_that_unpacks_to_much_is_read_no_further() -> None:
    target = Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1")
    outgoing = Outgoing(Try(target, REQUEST, True, Timeouts()))
    answer = Answer(outgoing, 500, {"content-encoding": "gzip"}, datetime.now(UTC))
    list(answer.feed(gzip.compress(bytes(50_000_000))))
    assert answer.complete
    assert len(answer._body) < 200_000


def ask_complete(router: Router) -> None:
    router.complete(REQUEST)


def ask_stream(router: Router) -> None:
    with router.stream(REQUEST) as stream:
        for _ in stream:
            pass


def ask_acomplete(router: Router) -> None:
    async def run() -> None:
        async with router:
            await router.acomplete(REQUEST)

    asyncio.run(run())


def ask_astream(router: Router) -> None:
    async def run() -> None:
        async with router, router.astream(REQUEST) as stream:
            async for _ in stream:
                pass

    asyncio.run(run())


@pytest.mark.parametrize(
    "ask",
    [ask_complete, ask_stream, ask_acomplete, ask_astream],
    ids=["row107-sync-plain", "row107-sync-stream", "row107-async-plain", "row107-async-stream"],
)
def test_a_call_ends_with_what_came(ask: Callable[[Router], None]) -> None:
    endless = chunk(event({"content": "a" * 1_000_000}))
    with Loopback(lambda _: itertools.chain([SSE_HEAD], itertools.repeat(endless))) as server:
        router = Router(targets=[server.target(name="a", model="m", tier="mid")])
        with pytest.raises(StreamInterrupted) as caught:
            ask(router)
        router.close()
    assert caught.value.cause is not None
    assert "larger than" in caught.value.cause
    assert caught.value.partial is not None
    assert len(caught.value.partial.text or "") <= MAX_BODY_BYTES
    (attempt,) = caught.value.decision.attempts  # type: ignore[union-attr]
    assert attempt.error == "BadResponse"


def test_the_deadline_holds_while_a_few_bytes_unpack_to_very_many_events() -> None:
    """Without a clock of the machine's: each event takes a second, and all are in one piece of 4 kB."""
    target = Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1")
    clock = FrozenClock()
    limits = Limits(Try(target, REQUEST, True, Timeouts(), deadline=clock.monotonic() + 10), clock)
    answer = begin("openai_chat", **{"content-encoding": "gzip"})
    assert answer.inflates
    assert not limits.overdue
    bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = bomb.compress(event({"content": "a"}) * 10_000) + bomb.flush()
    seen = 0
    for _ in answer.feed(packed):
        seen += 1
        clock.advance(1)
        if limits.overdue:
            break
    assert seen == 10
    assert "deadline" in str(limits.expired())
