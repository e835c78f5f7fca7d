"""Which model's reasoning is alive in a conversation, and how much of it there is."""

from __future__ import annotations

import pytest

from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Extra,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)
from agentroute.routing.reasoning_state import LiveState, live_state

ASKED = Message("user", (Text("go"),))
RESULT = Message("tool", (ToolResult("t1", (Text("done"),)),))
CLAUDE, GEMINI = "anthropic/claude-sonnet-5", "google/gemini-3-pro"


def step(*parts: Part, extra: Extra | None = None) -> Message:
    return Message("assistant", (*parts, ToolCall("t1", "run", "{}")), extra=extra)


def state(*messages: Message) -> LiveState | None:
    return live_state(ChatRequest(messages))


THOUGHT = step(Reasoning("x" * 10, "sig", CLAUDE))


def test_the_reasoning_of_every_step_of_the_turn_counts() -> None:
    assert state(ASKED, THOUGHT, RESULT, THOUGHT, RESULT) == LiveState(CLAUDE, 20)


@pytest.mark.parametrize(
    "messages",
    [
        (ASKED,),
        (ASKED, THOUGHT),
        (ASKED, THOUGHT, RESULT, ASKED),
        (ASKED, step(Reasoning("unsigned")), RESULT),
        (ASKED, step(Reasoning("from a client", "sig")), RESULT),
        (ASKED, THOUGHT, RESULT, step(), RESULT),
        (ASKED, step(extra=Extra("openai_chat", {"annotations": [1]}, "openai/gpt")), RESULT),
    ],
)
def test_nothing_is_alive(messages: tuple[Message, ...]) -> None:
    assert state(*messages) is None


def test_reasoning_before_the_user_spoke_is_over() -> None:
    assert state(ASKED, THOUGHT, RESULT, ASKED, THOUGHT, RESULT) == LiveState(CLAUDE, 10)
    for file in (Document(url="https://x.org/a.pdf"), Audio(data="UklGRg==")):
        spoke = Message("user", (file,))
        assert state(ASKED, THOUGHT, RESULT, spoke, THOUGHT, RESULT) == LiveState(CLAUDE, 10)


def test_only_the_latest_model_counts() -> None:
    other = step(Reasoning("y" * 99, "sig", "anthropic/claude-opus-5"))
    assert state(ASKED, other, RESULT, THOUGHT, RESULT) == LiveState(CLAUDE, 10)


def test_encrypted_reasoning_counts_by_its_bytes() -> None:
    call = ToolCall("t1", "run", "{}", Extra("gemini", {"thoughtSignature": "abcd" * 3}, GEMINI))
    assert state(ASKED, Message("assistant", (call,)), RESULT) == LiveState(GEMINI, 9)
    assert state(ASKED, step(Reasoning("", "abcd", CLAUDE, redacted=True)), RESULT) == LiveState(CLAUDE, 3)


def test_reasoning_details_of_a_message_are_found() -> None:
    details = Extra("openai_chat", {"reasoning_details": [{"type": "reasoning.encrypted"}]}, "openrouter/x")
    assert state(ASKED, step(Reasoning("abc"), extra=details), RESULT) == LiveState("openrouter/x", 0)
