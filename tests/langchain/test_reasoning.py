"""An agent whose model thinks: its own signatures come back to it at the next step, and no other model sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from langchain.agents import create_agent
from langchain_agentroute import RoutedChatModel
from langchain_agentroute.messages import read_messages
from langchain_core.messages import AIMessage
from langchain_tests.utils.stream_lifecycle import assert_valid_event_stream
from langgraph.checkpoint.memory import InMemorySaver

from agentroute import Target, formats
from agentroute.events import unfold
from agentroute.messages import ChatResponse, Extra, Message, Reasoning, Text, ToolCall, Usage
from agentroute.testing import ScriptedProvider
from tests.loopback import Loopback, Script, plain, sse

pytestmark = pytest.mark.requires("langchain", "langchain_openai")

THINKERS = {
    "anthropic": ("anthropic", "claude-opus-5", "anthropic_messages"),
    "gemini": ("google", "gemini-3.1-pro-preview", "gemini"),
}
STEP = {
    "anthropic": (
        Reasoning("hm", "c2lnMQ=="),
        Reasoning("", "cmVkYWN0ZWQ=", redacted=True),
        Text("Let me see."),
        Reasoning("again", "c2lnMg=="),
        ToolCall("c1", "look", "{}"),
    ),
    "gemini": (
        Reasoning("hm"),
        ToolCall("c1", "look", "{}", Extra("gemini", {"thoughtSignature": "c2lnMQ=="})),
    ),
}
SECRETS = {"anthropic": ["c2lnMQ==", "cmVkYWN0ZWQ=", "c2lnMg=="], "gemini": ["c2lnMQ=="]}


def look() -> str:
    """Looks."""
    return "seen"


def thinker(name: str, *, streamed: bool) -> Callable[[int], Script]:
    """Thinks and calls the tool, then answers."""
    _, model, dialect = THINKERS[name]
    written = formats.of(dialect)

    def answer(nth: int) -> Script:
        parts = STEP[name] if nth == 1 else (Text("I see."),)
        finish = "tool_calls" if nth == 1 else "stop"
        response = ChatResponse(Message("assistant", parts), finish, Usage(9, 5), model, f"id-{nth}")  # type: ignore[arg-type]
        if not streamed:
            return [plain(written.encode_response(response, model=model, created=0))]
        encoder = written.StreamEncoder(model=model, created=0)
        return [sse(b"".join(map(encoder.encode, unfold(response))))]

    return answer


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("streamed", [False, True], ids=["invoke", "stream"])
@pytest.mark.parametrize("version", ["v0", "v1"])
@pytest.mark.parametrize("name", THINKERS)
async def test_signatures_through_an_agent(name: str, version: str, streamed: bool, asynchronous: bool) -> None:
    provider, model_name, dialect = THINKERS[name]
    with ScriptedProvider("Fine.", provider="openai") as other, Loopback(thinker(name, streamed=streamed)) as server:
        ours = Target(
            name="thinker",
            provider=provider,
            model=model_name,
            base_url=server.base_url,
            api_key="sk-thinker",
            dialect=dialect,
            tier="premium",
        )
        routed = RoutedChatModel(
            targets=[ours, other.target(name="other", model="gpt-4.1-nano")], output_version=version, streaming=streamed
        )
        agent = create_agent(routed, [look], checkpointer=InMemorySaver())
        for target in ("thinker", "other"):
            config: Any = {"configurable": {"thread_id": "1", "agentroute": {"target": target}}}
            asked: Any = {"messages": [("user", "Look, please.")]}
            state = await agent.ainvoke(asked, config) if asynchronous else agent.invoke(asked, config)
        routed.router.close()
        await routed.router.aclose()
        first = next(message for message in state["messages"] if isinstance(message, AIMessage))
        assert isinstance(first.content, str if version == "v0" else list)
        assert first.text == ("Let me see." if name == "anthropic" else "")
        assert [block["type"] for block in first.content_blocks if block["type"] != "text"] == [
            "reasoning" if isinstance(part, Reasoning) else "tool_call"
            for part in STEP[name]
            if not isinstance(part, Text)
        ]
        _, second = server.requests
        assert [secret for secret in SECRETS[name] if secret.encode() in second] == SECRETS[name]
        told = json.dumps(other.requests[-1].body)
        assert "seen" in told
        assert not [secret for secret in SECRETS[name] if secret in told]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", THINKERS)
async def test_events_carry_the_same(name: str, asynchronous: bool) -> None:
    provider, model_name, dialect = THINKERS[name]
    with Loopback(thinker(name, streamed=True)) as server:
        ours = Target(
            provider=provider, model=model_name, base_url=server.base_url, api_key="sk-thinker", dialect=dialect
        )
        routed: Any = RoutedChatModel(targets=[ours])
        if asynchronous:
            stream = await routed.astream_events("Look, please.", version="v3")
            events = [event async for event in stream]
            said = await stream.output
        else:
            stream = routed.stream_events("Look, please.", version="v3")
            events, said = list(stream), stream.output
        routed.router.close()
        await routed.router.aclose()
    assert_valid_event_stream(events)
    origin = f"{provider}/{model_name}"
    (read,) = read_messages([said])
    assert read.parts == tuple(told_by(part, origin) for part in STEP[name])


def told_by(part: Any, origin: str) -> Any:
    if isinstance(part, Reasoning) and part.signature is not None:
        return replace(part, origin=origin)
    return part if part.extra is None else replace(part, extra=replace(part.extra, origin=origin))
