"""Faults that only Anthropic's and Gemini's dialects have."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import StreamInterrupted
from tests.loopback import Loopback, Script, plain, sse

from .calls import PLAIN, STREAMED, WAYS, Way, assert_no_canary, call, row, target, well_answer
from .streams import PING, block, gemini, message_end, message_start, named, unnamed

OVERLOADED = named({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
HELLO = block(0, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hello"})


@row(92, STREAMED)
def test_overloaded_after_message_start(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([sse(message_start(), PING, OVERLOADED)]) as sick, Loopback(well_answer(way)) as well:
        targets = target(sick, dialect="anthropic_messages"), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.tried == [("sick", "Overloaded"), ("well", None)]
    assert ran.response is not None
    assert ran.response.text == "hello world"
    assert ran.first.possible_duplicate_cost
    assert_no_canary(ran, targets, canaries)


def incomplete(way: Way, dialect: str, stream: bytes, canaries: pytest.LogCaptureFixture) -> None:
    with Loopback([stream]) as sick, Loopback(well_answer(way)) as well:
        targets = target(sick, dialect=dialect), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert isinstance(ran.error, StreamInterrupted)
    assert ran.error.partial is not None
    assert (ran.error.partial.text, ran.error.partial.finish_reason) == ("hello", None)
    assert well.requests == []
    assert_no_canary(ran, targets, canaries)


@row(93, STREAMED)
def test_anthropic_ends_without_message_stop(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    incomplete(way, "anthropic_messages", sse(message_start(), PING, *HELLO), canaries)
    incomplete(way, "anthropic_messages", sse(message_start(), *HELLO[:-1]), canaries)


@row(94, STREAMED)
def test_gemini_ends_without_a_finish_reason(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    incomplete(way, "gemini", sse(unnamed(gemini([{"text": "hello"}]))), canaries)


BLOCKED = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 9, "totalTokenCount": 9}}
NO_PARTS = [
    ("blockReason", BLOCKED, "content_filter"),
    ("SAFETY", gemini(None, "SAFETY"), "content_filter"),
    ("MAX_TOKENS", gemini(None, "MAX_TOKENS"), "length"),
    ("MAX_TOKENS empty", gemini([], "MAX_TOKENS"), "length"),
]


@pytest.mark.parametrize(
    ("body", "finish", "way"),
    [pytest.param(b, f, way, id=f"row95-{name}-{way}") for name, b, f in NO_PARTS for way in WAYS],
)
def test_gemini_answers_without_parts(
    body: dict[str, Any], finish: str, way: Way, canaries: pytest.LogCaptureFixture
) -> None:
    script: Script = [sse(unnamed(body)) if way.stream else plain(body)]
    with Loopback(script) as server, Loopback(well_answer(way)) as well:
        targets = target(server, dialect="gemini"), target(well, "well", rank=2)
        ran = call(way, *targets)
    assert ran.error is None
    assert ran.response is not None
    assert (ran.response.text, ran.response.finish_reason) == ("", finish)
    assert well.requests == [], "an answer, not a failure"
    assert_no_canary(ran, targets, canaries)


@row(96, STREAMED)
def test_anthropic_events_and_blocks_of_tomorrow(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    events = (
        message_start(),
        PING,
        named({"type": "weather_report", "sky": "clear"}),
        *block(0, {"type": "hologram", "cube": [1]}, {"type": "hologram_delta", "cube": [2]}),
        *block(1, {"type": "text", "text": ""}, {"type": "text_delta", "text": "hello"}, {"type": "glitter_delta"}),
        PING,
        *message_end("end_turn"),
    )
    with Loopback([sse(*events)]) as server:
        targets = (target(server, dialect="anthropic_messages"),)
        ran = call(way, *targets)
    assert ran.error is None
    assert ran.response is not None
    assert (ran.response.text, ran.response.finish_reason) == ("hello", "stop")
    assert_no_canary(ran, targets, canaries)


@row(96, PLAIN)
def test_an_anthropic_block_of_tomorrow(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    content = [{"type": "hologram", "cube": [1]}, {"type": "text", "text": "hello"}]
    body = {"id": "m", "type": "message", "role": "assistant", "model": "m", "content": content}
    body |= {"stop_reason": "end_turn", "stop_sequence": None, "usage": {"input_tokens": 9, "output_tokens": 8}}
    with Loopback([plain(body)]) as server:
        targets = (target(server, dialect="anthropic_messages"),)
        ran = call(way, *targets)
    assert ran.response is not None
    assert (ran.response.text, ran.response.finish_reason) == ("hello", "stop")
    assert_no_canary(ran, targets, canaries)


@row(96, WAYS)
def test_a_gemini_part_of_tomorrow(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    body = gemini([{"hologram": {"cube": [1]}}, {"text": "hello"}], "STOP", tomorrow={"a": 1})
    with Loopback([sse(unnamed(body)) if way.stream else plain(body)]) as server:
        targets = (target(server, dialect="gemini"),)
        ran = call(way, *targets)
    assert ran.response is not None
    assert (ran.response.text, ran.response.finish_reason) == ("hello", "stop")
    assert_no_canary(ran, targets, canaries)


@row(96, STREAMED)
def test_an_event_of_another_name(way: Way, canaries: pytest.LogCaptureFixture) -> None:
    from tests.loopback import END, ROLE, WORLD
    from tests.loopback import HELLO as FIRST

    odd = (b"event: ping\ndata: {}\n\n", b"id: 7\nretry: 10\n\n", b'event: x.y\ndata: {"type": "x.y"}\n\n')
    with Loopback([sse(odd[0], ROLE, odd[1], FIRST, odd[2], WORLD, odd[0], END)]) as server:
        targets = (target(server),)
        ran = call(way, *targets)
    assert ran.response is not None
    assert (ran.response.text, ran.response.finish_reason) == ("hello world", "stop")
    assert_no_canary(ran, targets, canaries)
