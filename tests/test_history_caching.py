"""When Anthropic is asked to keep a prefix, and when not."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from agentroute import ChatRequest, Message, Router, Target, Tool, ToolCall, ToolResult, formats
from agentroute.catalog import resolve
from agentroute.history import keep_warm
from agentroute.messages import Extra, Reasoning, Text
from agentroute.testing import ScriptedProvider

CLAUDE = Target(provider="anthropic", model="claude-sonnet-4-5", tier="standard")
TOOL = Tool("read", "Reads.", {"type": "object", "properties": {}})
ASK = Message("user", (Text("hello"),))
SYSTEM = Message("system", (Text("Be brief."),))
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
        (ChatRequest((ASK, CALL, RESULT), tools=(TOOL,)), [(0, 0), (2, 0)]),
        (ChatRequest((ASK, Message("assistant", (Text("hi"),)), ASK)), [(0, 0), (2, 0)]),
        (ChatRequest((ASK, CALL, RESULT, CALL, RESULT), tools=(TOOL,)), [(2, 0), (4, 0)]),
        (ChatRequest((SYSTEM, ASK, CALL, RESULT, CALL, RESULT)), [(0, 0), (3, 0), (5, 0)]),
        (ChatRequest((SYSTEM, ASK, CALL, RESULT, CALL, CALL, RESULT)), [(0, 0), (3, 0), (6, 0)]),
        (ChatRequest((SYSTEM,), tools=(TOOL,)), [(0, 0)]),
        (ChatRequest((ASK, Message("assistant", (Reasoning("hm"),))), tools=(TOOL,)), [(0, 0)]),
        (ChatRequest((ASK, Message("user", (Text(""),))), tools=(TOOL,)), [(0, 0)]),
    ],
)
def test_the_head_the_last_request_and_the_last_block_of_a_loop_are_marked(
    request_: ChatRequest, where: list[tuple[int, int]]
) -> None:
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


def test_without_system_the_last_tool_is_marked() -> None:
    other = Tool("write", "Writes.", {"type": "object", "properties": {}})
    tools = keep_warm(ChatRequest((ASK,), tools=(TOOL, other)), CLAUDE).tools
    assert tools[0] is TOOL
    assert tools[1].extra == Extra("anthropic_messages", MARKER)


def test_a_target_that_keeps_for_an_hour_asks_for_one() -> None:
    target = Target(provider="anthropic", model="claude-sonnet-4-5", cache_ttl_s=3600)
    found = keep_warm(ChatRequest((SYSTEM, ASK), tools=(TOOL,)), target)
    marks = [part.extra.fields["cache_control"] for m in found.messages for part in m.parts if part.extra is not None]
    assert marks == [{"type": "ephemeral", "ttl": "1h"}] * 2


@pytest.mark.parametrize("model", ["anthropic/claude-sonnet-5", "anthropic/claude-opus-5.5", "anthropic/claude-3.7"])
def test_claude_behind_a_reseller_is_marked_in_its_dialect(model: str) -> None:
    target = resolve(Target(provider="openrouter", model=model, tier="standard"))
    found = keep_warm(ChatRequest((SYSTEM, ASK, CALL, RESULT), tools=(TOOL,)), target)
    body = json.loads(json.dumps(formats.of("openai_chat").encode_request(found, model=model).body))
    assert [str(message.get("content")).count("cache_control") for message in body["messages"]] == [1, 1, 0, 1]
    assert body["messages"][-1]["content"] == [{"type": "text", "text": "the text", **MARKER}]
    assert "cache_control" not in json.dumps(body["tools"])


@pytest.mark.parametrize("model", ["openai/gpt-6-luna", "moonshotai/kimi-k3", "z-ai/glm-5.3"])
def test_others_behind_a_reseller_cache_by_themselves(model: str) -> None:
    request = ChatRequest((SYSTEM, ASK, CALL, RESULT), tools=(TOOL,))
    assert keep_warm(request, resolve(Target(provider="openrouter", model=model, tier="standard"))) is request


def test_a_callers_marker_in_another_dialect_holds_back_nothing() -> None:
    marked_ = Message("user", (Text("hello", Extra("anthropic_messages", MARKER)),))
    target = resolve(Target(provider="openrouter", model="anthropic/claude-sonnet-5", tier="standard"))
    found = keep_warm(ChatRequest((SYSTEM, marked_), tools=(TOOL,)), target)
    assert [part.extra for part in found.messages[0].parts] == [Extra("openai_chat", MARKER)]


def test_minimax_is_marked_in_anthropics_dialect_only() -> None:
    request = ChatRequest((SYSTEM, ASK), tools=(TOOL,))
    chat = resolve(Target(provider="minimax", model="MiniMax-M3", tier="mid", dialect="openai_chat"))
    assert keep_warm(request, chat) is request
    assert marked(keep_warm(request, replace(chat, dialect="anthropic_messages"))) == [(0, 0), (1, 0)]


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
