"""Items and words of servers that count or say them differently: nothing is given twice, nothing ends too early."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentroute.errors import BadResponse
from agentroute.events import Finished, ReasoningDelta, TextDelta, ToolCallStarted, unfold
from agentroute.formats import of

WORDS = {"type": "message", "id": "m1", "content": [{"type": "output_text", "text": "hello"}]}
CALL = {"type": "function_call", "id": "f1", "call_id": "c1", "name": "go", "arguments": "{}"}


def read(dialect: str, *events: dict[str, Any]) -> list[Any]:
    decoder = of(dialect).StreamDecoder()
    found = [one for event in events for one in decoder.feed(json.dumps(event), event.get("type", "message"))]
    return [*found, *decoder.close()]


def done(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "response.completed", "response": {"status": "completed", "output": list(items)}}


@pytest.mark.parametrize("place", [{}, {"output_index": 1}, {"output_index": 0}], ids=["none", "shifted", "right"])
def test_an_item_is_given_once_wherever_it_was_counted(place: dict[str, int]) -> None:
    found = read(
        "openai_responses",
        {"type": "response.output_item.added", "item": {**WORDS, "content": []}, **place},
        {"type": "response.output_text.delta", "delta": "hello", "item_id": "m1", **place},
        {"type": "response.output_item.done", "item": WORDS, **place},
        done(WORDS),
    )
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["hello"]
    found = read(
        "openai_responses",
        {"type": "response.output_item.added", "item": {**CALL, "arguments": ""}, **place},
        {"type": "response.function_call_arguments.delta", "delta": "{}", "item_id": "f1", **place},
        {"type": "response.output_item.done", "item": CALL, **place},
        done(CALL),
    )
    assert [event.id for event in found if isinstance(event, ToolCallStarted)] == ["c1"]


def test_words_without_an_announcement_are_given_once() -> None:
    found = read(
        "openai_responses", {"type": "response.output_text.delta", "delta": "hello", "item_id": "m1"}, done(WORDS)
    )
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["hello"]


def test_what_only_the_end_holds_is_given() -> None:
    found = read("openai_responses", done(WORDS, CALL))
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["hello"]
    assert [event.id for event in found if isinstance(event, ToolCallStarted)] == ["c1"]


def chunk(text: str, word: str | None) -> dict[str, Any]:
    return {"id": "1", "model": "m", "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": word}]}


def candidate(text: str, word: str | None) -> dict[str, Any]:
    return {"candidates": [{"content": {"parts": [{"text": text}]}, "finishReason": word}]}


@pytest.mark.parametrize(
    ("dialect", "piece", "nothing", "end"),
    [
        ("openai_chat", chunk, "null", "stop"),
        ("openai_chat", chunk, "None", "stop"),
        ("gemini", candidate, "FINISH_REASON_UNSPECIFIED", "STOP"),
    ],
)
def test_a_placeholder_for_the_end_is_no_end(dialect: str, piece: Any, nothing: str, end: str) -> None:
    whole = read(dialect, piece("a", nothing), piece("b", end))
    assert [event.finish_reason for event in whole if isinstance(event, Finished)] == ["stop"]
    with pytest.raises(BadResponse, match="ended before"):
        read(dialect, piece("a", nothing))


def test_an_anthropic_client_is_told_to_run_the_tools_that_a_chat_server_stopped_at() -> None:
    call = {"id": "c1", "type": "function", "function": {"name": "go", "arguments": "{}"}}
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    body = {"id": "1", "model": "m", "choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    response = of("openai_chat").decode_response(body)
    assert of("anthropic_messages").encode_response(response)["stop_reason"] == "tool_use"
    encoder = of("anthropic_messages").StreamEncoder()
    streamed = b"".join(encoder.encode(event) for event in unfold(response))
    assert b'"stop_reason":"tool_use"' in streamed.replace(b": ", b":")


def test_words_that_name_neither_item_nor_place_are_given_once() -> None:
    found = read("openai_responses", {"type": "response.output_text.delta", "delta": "hello"}, done(WORDS, CALL))
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["hello"]
    assert [event.id for event in found if isinstance(event, ToolCallStarted)] == ["c1"]


def test_an_item_that_only_the_end_holds_is_given_though_another_was_streamed_in_its_place() -> None:
    thoughts = {"type": "reasoning", "id": "r1", "summary": [{"type": "summary_text", "text": "hm"}]}
    added = {"type": "response.output_item.added", "item": {**WORDS, "content": []}, "output_index": 0}
    delta = {"type": "response.output_text.delta", "delta": "hello", "item_id": "m1", "output_index": 0}
    closed = {"type": "response.output_item.done", "item": WORDS, "output_index": 0}
    found = read("openai_responses", added, delta, closed, done(thoughts, WORDS))
    assert [event.text for event in found if isinstance(event, TextDelta)] == ["hello"]
    assert [event.text for event in found if isinstance(event, ReasoningDelta)] == ["hm"]
