"""Stream events: what folds up from a stream is the response that it stands for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute import ChatResponse, Message, ToolCall, Usage, fold
from agentroute.events import (
    Finished,
    ReasoningDelta,
    ReasoningSignature,
    Started,
    TextDelta,
    ToolCallDelta,
    ToolCallStarted,
    UsageReported,
    is_content,
    unfold,
)
from agentroute.messages import Audio, Document, Extra, Image, Reasoning, Text, ToolResult

EXTRA = Extra("d", {"k": 1})


@pytest.mark.parametrize(
    ("event", "content"),
    [
        (Started("i", "m"), False),
        (TextDelta("x"), True),
        (TextDelta(""), False),
        (ReasoningDelta("x"), True),
        (ReasoningDelta(""), False),
        (ReasoningSignature("s"), True),
        (ToolCallStarted(0, "c", "n"), True),
        (ToolCallDelta(0, ""), True),
        (UsageReported(Usage()), False),
        (Finished("stop"), False),
    ],
)
def test_what_counts_as_content(event: Any, content: bool) -> None:
    assert is_content(event) is content


def test_a_stream_adds_up() -> None:
    events = [
        Started("i", "m", EXTRA),
        ReasoningDelta("h"),
        ReasoningDelta("m"),
        ReasoningSignature("sig", "a"),
        TextDelta("hel"),
        TextDelta("lo"),
        ToolCallStarted(0, "c1", "f", EXTRA),
        ToolCallStarted(1, "c2", "g"),
        ToolCallDelta(1, "{}"),
        ToolCallDelta(0, '{"a"'),
        ToolCallDelta(0, ":1}"),
        TextDelta("after"),
        UsageReported(Usage(1)),
        UsageReported(Usage(2)),
        Finished("stop", "end", EXTRA),
    ]
    assert fold(events) == ChatResponse(
        Message(
            "assistant",
            (
                Reasoning("hm", "sig", "a"),
                Text("hello"),
                ToolCall("c1", "f", '{"a":1}', EXTRA),
                ToolCall("c2", "g", "{}"),
                Text("after"),
            ),
            extra=EXTRA,
        ),
        finish_reason="stop",
        native_finish_reason="end",
        usage=Usage(2),
        model="m",
        id="i",
        extra=EXTRA,
    )


def test_a_stream_that_broke_off_gives_what_had_come() -> None:
    assert fold([]) == ChatResponse(Message("assistant", ()))
    broken = fold([TextDelta("hel"), ToolCallStarted(0, "c", "f"), ToolCallDelta(0, '{"a')])
    assert (broken.text, broken.tool_calls, broken.finish_reason, broken.usage) == (
        "hel",
        (ToolCall("c", "f", '{"a'),),
        None,
        None,
    )


def test_text_with_an_extra_is_a_part_of_its_own() -> None:
    response = fold([TextDelta("a"), TextDelta("b", EXTRA), TextDelta("c"), TextDelta("d")])
    assert response.message.parts == (Text("a"), Text("b", EXTRA), Text("cd"))


@pytest.mark.parametrize("part", [Image("https://x"), Document("https://x"), Audio("https://x"), ToolResult("c", ())])
def test_a_response_cannot_hold_these(part: Any) -> None:
    with pytest.raises(TypeError, match=type(part).__name__):
        list(unfold(ChatResponse(Message("assistant", (part,)))))


extras = st.none() | st.just(EXTRA)
words = st.text(max_size=3)
some = st.text(min_size=1, max_size=3)
parts = st.one_of(
    st.builds(Text, some, extras),
    st.builds(Reasoning, some, st.none() | words, st.none() | words, st.just(False), extras),
    st.builds(Reasoning, st.just(""), words, st.none(), st.booleans(), extras),
    st.builds(ToolCall, words, words, words, extras),
)
responses = st.builds(
    ChatResponse,
    st.builds(Message, st.just("assistant"), st.lists(parts, max_size=6).map(tuple), st.none(), extras),
    st.sampled_from([None, "stop", "length", "tool_calls", "content_filter"]),
    st.none() | st.builds(Usage, st.none() | st.integers(0, 9)),
    st.none() | words,
    st.none() | words,
    st.none() | words,
    extras,
)


@given(responses)
def test_fold_undoes_unfold(response: ChatResponse) -> None:
    pairs = pairwise(response.message.parts)
    if any(isinstance(a, Text) and isinstance(b, Text) and a.extra == b.extra is None for a, b in pairs):
        assert fold(unfold(response)).text == response.text
    else:
        assert fold(unfold(response)) == response
    assert fold(unfold(fold(unfold(response)))) == fold(unfold(response))
