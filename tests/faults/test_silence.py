"""A model that thinks without a word is waited for, and paid once; one that is merely silent is not waited for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentroute import Capabilities
from tests.loopback import SSE_HEAD, Loopback, Script, chunk

from .calls import REQUEST, STREAMED, Timeouts, Way, call, row, target, well_answer

BRIEF = Timeouts(connect=5.0, first_content=0.2, between_events=0.2, whole_answer=0.2, reasoning=20.0)
PAUSE = 0.5


def said(*events: Any) -> list[Any]:
    return [
        each if isinstance(each, float) else chunk(f"event: {each['type']}\ndata: {json.dumps(each)}\n\n".encode())
        for each in events
    ]


def block(index: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **more}}


def piece(index: int, kind: str, **more: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **more}}


def stop(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


START = {
    "type": "message_start",
    "message": {"id": "m", "model": "m", "usage": {"input_tokens": 5, "output_tokens": 1}},
}
ENDING = (
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 2}},
    {"type": "message_stop"},
)
THINKS = (
    block(0, "thinking", thinking="", signature=""),
    PAUSE,
    {"type": "ping"},
    piece(0, "signature_delta", signature="S"),
)
CLAUDE = (START, *THINKS, stop(0), block(1, "text", text=""), piece(1, "text_delta", text="hello world"), stop(1))
THINKS_LATER = (
    *(START, block(0, "text", text=""), piece(0, "text_delta", text="hello"), stop(0)),
    *(block(1, "thinking", thinking="", signature=""), PAUSE, stop(1)),
    *(block(2, "text", text=""), piece(2, "text_delta", text=" world"), stop(2)),
)
RESPONSE = {
    "id": "r",
    "status": "completed",
    "output": [{"type": "message", "content": [{"type": "output_text", "text": "hello world"}]}],
    "usage": {"input_tokens": 5, "output_tokens": 2},
}
OPENAI = (
    {"type": "response.created", "response": {"id": "r", "model": "m"}},
    {"type": "response.output_item.added", "output_index": 0, "item": {"type": "reasoning"}},
    PAUSE,
    {"type": "response.completed", "response": RESPONSE},
)


@row(103, STREAMED)
@pytest.mark.parametrize(
    ("dialect", "events"),
    [
        ("anthropic_messages", (*CLAUDE, *ENDING)),
        ("anthropic_messages", (*THINKS_LATER, *ENDING)),
        ("openai_responses", OPENAI),
    ],
    ids=["open-block", "between-words", "reasoning-item"],
)
def test_who_is_seen_to_think(dialect: str, events: tuple[Any, ...], way: Way) -> None:
    ran, asked = play(way, [SSE_HEAD, *said(*events), chunk(b""), "keep"], dialect=dialect)
    assert ran.error is None
    assert ran.response is not None
    assert ran.response.text == "hello world"
    assert ran.tried == [("sick", None)]
    assert asked == (1, 0), "nobody is paid twice"


@row(103)
def test_who_is_known_to_think(way: Way) -> None:
    script: Script = [PAUSE, *well_answer(way)]
    ran, asked = play(way, script, capabilities=Capabilities(reasoning=True))
    assert ran.tried == [("sick", None)]
    assert asked == (1, 0)


@row(103)
def test_who_is_merely_silent(way: Way) -> None:
    script: Script = [PAUSE, *well_answer(way)]
    ran, asked = play(way, script)
    assert ran.tried == [("sick", "ProviderTimeout"), ("well", None)]
    assert asked == (1, 1)


@row(103, STREAMED)
def test_thinking_has_an_end_too(way: Way) -> None:
    limits = Timeouts(connect=5.0, first_content=0.1, between_events=0.1, reasoning=0.3)
    script: Script = [SSE_HEAD, *said(START, block(0, "thinking", thinking="")), "hang"]
    ran, asked = play(way, script, limits, dialect="anthropic_messages")
    assert ran.tried == [("sick", "ProviderTimeout"), ("well", None)]
    assert "no content within 0.3 s" in ran.first.error_text
    assert asked == (1, 1)


def play(way: Way, script: Script, timeouts: Timeouts = BRIEF, **facts: Any) -> tuple[Any, tuple[int, int]]:
    with Loopback(script) as sick, Loopback(well_answer(way)) as well:
        ran = call(way, target(sick, **facts), target(well, "well", rank=2), request=REQUEST, timeouts=timeouts)
    return ran, (len(sick.requests), len(well.requests))
