"""A tool loop of six steps with parallel calls, handed from any model to any other at any step, back and forth too."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from copy import deepcopy
from itertools import permutations
from typing import Any

import pytest

from agentroute import formats
from agentroute.catalog import resolve
from agentroute.history import repair
from agentroute.messages import ChatRequest, Extra, Message, Text, Tool, ToolResult
from agentroute.targets import Target

from .receivers import RECEIVERS, Receiver

STEPS = 6
FOUR = ("openai", "anthropic", "gemini", "deepseek")
READ = Tool("read", "Reads a file.", {"type": "object", "properties": {"path": {"type": "string"}}})


def signature(who: str, step: int) -> str:
    return base64.b64encode(f"{who} thought this at step {step}".encode()).decode()


def said(who: str, step: int) -> dict[str, Any]:
    """The answer of a provider at this step, as it comes over the wire: two calls, with what it thought."""
    paths = [{"path": f"{step}{letter}.py"} for letter in "ab"]
    if who == "gemini":
        calls: list[dict[str, Any]] = [{"functionCall": {"name": "read", "args": path}} for path in paths]
        calls[0]["thoughtSignature"] = signature(who, step)
        if step % 2:
            for position, call in enumerate(calls):
                call["functionCall"]["id"] = f"g{step}{position}"
        content = {"role": "model", "parts": [{"text": f"Two files, step {step}.", "thought": True}, *calls]}
        return {"candidates": [{"content": content, "finishReason": "STOP"}], "responseId": f"r{step}"}
    if who == "anthropic":
        thought = {"type": "thinking", "thinking": f"Two files at step {step}.", "signature": signature(who, step)}
        if step == 3:
            thought = {"type": "redacted_thinking", "data": signature(who, step)}
        used = [
            {"type": "tool_use", "id": f"toolu_{step:024}{letter}", "name": "read", "input": path}
            for letter, path in zip("ab", paths, strict=True)
        ]
        content = [thought, {"type": "text", "text": f"Step {step}."}, *used]
        return {
            "id": f"msg_{step}",
            "type": "message",
            "role": "assistant",
            "content": content,
            "stop_reason": "tool_use",
        }
    if who == "responses":
        calls = [
            {
                "type": "function_call",
                "id": f"fc_{step}{position}",
                "call_id": f"call_{step:020}{position}",
                "name": "read",
                "arguments": json.dumps(path),
                "status": "completed",
            }
            for position, path in enumerate(paths)
        ]
        thought = {"type": "reasoning", "id": f"rs_{step}", "summary": [], "encrypted_content": signature(who, step)}
        return {"id": f"resp_{step}", "object": "response", "status": "completed", "output": [thought, *calls]}
    asked = [
        {"id": f"call_{step:016}_{at}", "type": "function", "function": {"name": "read", "arguments": json.dumps(path)}}
        for at, path in enumerate(paths)
    ]
    if who == "mistral":
        asked = [{**call, "id": f"{step}abcdefg{at}"} for at, call in enumerate(asked)]
    message: dict[str, Any] = {"role": "assistant", "content": f"Step {step}.", "tool_calls": asked}
    if who == "deepseek":
        message["reasoning_content"] = f"Two files at step {step}."
    return {"id": f"c{step}", "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls"}]}


def answer(who: str, step: int) -> Message:
    """The same, read by the real decoder."""
    receiver = RECEIVERS[who]
    read = formats.of(receiver.target.dialect).decode_response(said(who, step), origin=receiver.origin)
    assert len(read.tool_calls) == 2
    return read.message


def conversation(speakers: list[str]) -> ChatRequest:
    """What is sent after these models have each taken a step."""
    messages = [Message("system", (Text("You read files."),)), Message("user", (Text("Read them all."),))]
    for step, who in enumerate(speakers, 1):
        spoken = answer(who, step)
        messages.append(spoken)
        messages += [Message("tool", (ToolResult(call.id, (Text(f"text {step}"),)),)) for call in spoken.tool_calls]
    return ChatRequest(tuple(messages), tools=(READ,))


def thinking(request: ChatRequest, receiver: Receiver, kind: Mapping[str, Any] | None = None) -> ChatRequest:
    """As a target is asked that has thinking among its settings."""
    if receiver.target.dialect != "anthropic_messages":
        return request
    asked = kind or {"type": "enabled", "budget_tokens": 2048}
    return ChatRequest(request.messages, tools=request.tools, extra=Extra("anthropic_messages", {"thinking": asked}))


def issued(who: str) -> set[str]:
    return {signature(who, step) for step in range(1, STEPS + 1)}


MUST_REFUSE = {
    ("openai", "anthropic"): "expected thinking",
    ("gemini", "anthropic"): "expected thinking",
    ("deepseek", "anthropic"): "expected thinking",
    ("anthropic", "gemini"): "missing a thought_signature",
    ("openai", "gemini"): "missing a thought_signature",
    ("deepseek", "gemini"): "missing a thought_signature",
    ("openai", "deepseek"): "no reasoning_content",
}
"""What the receiver says to the history as it is. The other pairs need no repair: their encoders write it plainly."""


@pytest.mark.parametrize("at", range(1, STEPS))
@pytest.mark.parametrize(("before", "after"), list(permutations(FOUR, 2)))
def test_handed_over_at_any_step(before: str, after: str, at: int) -> None:
    receiver = RECEIVERS[after]
    for taken in range(at, STEPS + 1):
        request = thinking(conversation([before] * at + [after] * (taken - at)), receiver)
        copy = deepcopy(request)
        repaired = repair(request, receiver.target)
        assert receiver.refuses(repaired.request, issued(after)) == []
        assert request == copy
        assert repair(repaired.request, receiver.target) == type(repaired)(repaired.request)
        if taken == at and (before, after) in MUST_REFUSE:
            assert MUST_REFUSE[before, after] in " ".join(receiver.refuses(request, issued(after)))
            assert repaired.changes


@pytest.mark.parametrize("at", range(1, STEPS - 1))
@pytest.mark.parametrize(("first", "between"), list(permutations((*FOUR, "responses", "mistral"), 2)))
def test_handed_over_and_back(first: str, between: str, at: int) -> None:
    receiver = RECEIVERS[first]
    request = thinking(conversation([first] * at + [between] + [first] * (STEPS - at - 1)), receiver)
    assert receiver.refuses(repair(request, receiver.target).request, issued(first)) == []
    request = thinking(conversation([first] * at + [between]), receiver)
    assert receiver.refuses(repair(request, receiver.target).request, issued(first)) == []


@pytest.mark.parametrize("who", [*FOUR, "responses", "mistral"])
def test_its_own_history_goes_back_as_it_came(who: str) -> None:
    receiver = RECEIVERS[who]
    request = thinking(conversation([who] * STEPS), receiver)
    repaired = repair(request, receiver.target)
    assert receiver.refuses(request, issued(who)) == []
    assert repaired.request is request
    assert repaired.changes == ()


@pytest.mark.parametrize("who", ["anthropic", "gemini", "responses"])
def test_every_own_signature_goes_back(who: str) -> None:
    receiver = RECEIVERS[who]
    other = "deepseek" if who != "deepseek" else "openai"
    request = repair(conversation([who, who, other, who]), receiver.target).request
    sent = json.dumps(receiver.body(request))
    for step in (1, 2, 4):
        assert signature(who, step) in sent


def test_signatures_of_a_sister_model_stay_behind() -> None:
    """Same dialect, other model: nothing would show in the wire format, only the provider would refuse it."""
    for who, model in (("anthropic", "claude-opus-4-1"), ("gemini", "gemini-2.5-pro"), ("responses", "o4-mini")):
        receiver = RECEIVERS[who]
        target = receiver.target
        sister = Receiver(
            type(target)(provider=target.provider, model=model, tier="mid", dialect=target.dialect), receiver.violations
        )
        request = conversation([who] * 2)
        assert sister.refuses(request) != []
        repaired = repair(request, sister.target)
        assert sister.refuses(repaired.request) == []
        assert any(f"it came from {receiver.origin}" in change for change in repaired.changes)


def test_thinking_goes_on_once_the_model_has_taken_a_step() -> None:
    receiver = RECEIVERS["anthropic"]
    first = repair(thinking(conversation(["openai"]), receiver), receiver.target)
    assert receiver.body(first.request).get("thinking", {"type": "disabled"}) == {"type": "disabled"}
    assert any("thinking switched off" in change for change in first.changes)
    later = repair(thinking(conversation(["openai", "anthropic"]), receiver), receiver.target)
    assert receiver.body(later.request)["thinking"]["type"] == "enabled"


def test_adaptive_thinking_is_left_alone() -> None:
    receiver = RECEIVERS["anthropic"]
    request = thinking(conversation(["openai"]), receiver, {"type": "adaptive"})
    knows = resolve(Target(provider="anthropic", model="claude-opus-4-6", tier="mid"))
    assert repair(request, knows).request is request
    assert any("switched off" in change for change in repair(request, receiver.target).changes)


def test_what_was_sent_before_stays_the_same_as_the_conversation_grows() -> None:
    """A provider's cache of the prefix holds only then."""
    for receiver in RECEIVERS.values():
        for pair in permutations(("openai", "anthropic", "gemini", "deepseek", "responses"), 2):
            speakers = [pair[step % 2] for step in range(STEPS)]
            sent: list[Any] = []
            for taken in range(1, STEPS + 1):
                body = receiver.body(repair(conversation(speakers[:taken]), receiver.target).request)
                messages = body.get("messages") or body.get("contents") or body.get("input")
                assert messages[: len(sent)] == sent
                sent = messages
