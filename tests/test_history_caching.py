"""When Anthropic is asked to keep a prefix, and when not."""

from __future__ import annotations

from typing import Any

import pytest

from agentroute import ChatRequest, Message, Router, Target, Tool, ToolCall, ToolResult
from agentroute.history import keep_warm
from agentroute.messages import Extra, Reasoning, Text
from agentroute.testing import ScriptedProvider

CLAUDE = Target(provider="anthropic", model="claude-sonnet-4-5", tier="standard")
TOOL = Tool("read", "Reads.", {"type": "object", "properties": {}})
ASK = Message("user", (Text("hello"),))
CALL = Message("assistant", (ToolCall("c1", "read", "{}"),))
RESULT = Message("tool", (ToolResult("c1", (Text("the text"),)),))
MARKER = {"cache_control": {"type": "ephemeral"}}


def marked(request: ChatRequest) -> list[tuple[int, int]]:
    return [
        (at, index)
        for at, message in enumerate(request.messages)
        for index, part in enumerate(message.parts)
        if part.extra is not None and "cache_control" in part.extra.fields
    ]


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (ChatRequest((ASK,)), []),
        (ChatRequest((ASK,), tools=(TOOL,)), [(0, 0)]),
        (ChatRequest((ASK, CALL, RESULT), tools=(TOOL,)), [(2, 0)]),
        (ChatRequest((ASK, Message("assistant", (Text("hi"),)), ASK)), [(2, 0)]),
        (ChatRequest((ASK, Message("assistant", (Reasoning("hm"),))), tools=(TOOL,)), [(0, 0)]),
        (ChatRequest((ASK, Message("user", (Text(""),))), tools=(TOOL,)), [(0, 0)]),
    ],
)
def test_the_last_block_of_a_loop_is_marked(request_: ChatRequest, where: list[tuple[int, int]]) -> None:
    before = repr(request_)
    assert marked(keep_warm(request_, CLAUDE)) == where
    assert repr(request_) == before


@pytest.mark.parametrize(
    "request_",
    [
        ChatRequest((Message("user", (Text("hello", Extra("anthropic_messages", MARKER)),)), ASK), tools=(TOOL,)),
        ChatRequest((ASK,), tools=(Tool("read", extra=Extra("anthropic_messages", MARKER)),)),
        ChatRequest((ASK,), tools=(TOOL,), extra=Extra("anthropic_messages", MARKER)),
    ],
    ids=["block", "tool", "request"],
)
def test_the_callers_own_markers_hold(request_: ChatRequest) -> None:
    assert keep_warm(request_, CLAUDE) is request_


@pytest.mark.parametrize(
    "target",
    [
        Target(provider="anthropic", model="claude-sonnet-4-5", settings={"cache_control": None}),
        Target(provider="deepseek", model="deepseek-chat", dialect="anthropic_messages", base_url="http://x.test"),
        Target(provider="openai", model="gpt-4.1"),
    ],
    ids=["told not to", "another provider", "another dialect"],
)
def test_nothing_for_others(target: Target) -> None:
    request = ChatRequest((ASK,), tools=(TOOL,))
    assert keep_warm(request, target) is request


def test_on_the_wire() -> None:
    with ScriptedProvider("hi", provider="anthropic") as provider:
        target = provider.target(model="claude-sonnet-4-5", dialect="anthropic_messages", tier="standard")
        with Router(targets=[target]) as router:
            router.complete(ChatRequest((ASK, CALL, RESULT), tools=(TOOL,)))
    body: Any = provider.requests[0].body
    assert body["messages"][-1]["content"][-1] == {
        "type": "tool_result",
        "tool_use_id": "c1",
        "content": "the text",
        **MARKER,
    }
