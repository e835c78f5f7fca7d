"""Any history at all, however broken: after the repair every strict server takes it; nothing is changed in place."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentroute.history import Repaired, repair
from agentroute.messages import (
    Audio,
    ChatRequest,
    Document,
    Extra,
    Image,
    Message,
    Part,
    Reasoning,
    Text,
    ToolCall,
    ToolResult,
)

from .receivers import RECEIVERS

SIGNED = {"c2ln", "c2lnMg=="}
ORIGINS = [None, "openai/o4", *(receiver.origin for receiver in RECEIVERS.values())]
DIALECTS = ["openai_chat", "anthropic_messages", "gemini", "openai_responses"]
PNG = Image(data="iVBORw0KGgo=", media_type="image/png")
PDF = Document(data="JVBERi0=", media_type="application/pdf", name="a.pdf")
SOUND = Audio(data="UklGRg==", media_type="audio/wav")
own_files: st.SearchStrategy[Part] = st.sampled_from([PNG, PDF, SOUND])

words = st.sampled_from(["", " ", "\n\t", "yes", "yes ", "two words"])
texts = st.builds(Text, words)
ids = st.sampled_from(["", "a", "call00001", "a.b", "i" * 70, "é ü", "toolu_01", "call_1"])
names = st.sampled_from(["read", "write"])


@st.composite
def reasonings(draw: st.DrawFn) -> Reasoning:
    """What a decoder may give: a signature with an origin, or of a known dialect without one, or none of it."""
    origin = draw(st.sampled_from(ORIGINS))
    text = draw(st.sampled_from(["", "thought"]))
    if draw(st.booleans()):
        return Reasoning(text or "thought", origin=origin)
    home = {receiver.origin: receiver.target.dialect for receiver in RECEIVERS.values()}
    dialect = home.get(origin or "", draw(st.sampled_from(DIALECTS)))
    redacted = not text and dialect == "anthropic_messages"
    extra = Extra(dialect, {}, origin) if draw(st.booleans()) else None
    if dialect == "openai_responses":
        extra = Extra(dialect, {"id": "rs_1"}, origin)
    return Reasoning(text, draw(st.sampled_from(sorted(SIGNED))), origin, redacted, extra)


@st.composite
def calls(draw: st.DrawFn) -> ToolCall:
    origin = draw(st.sampled_from(ORIGINS))
    extra = None
    if draw(st.booleans()):
        extra = Extra(
            "gemini", {"thoughtSignature": "c2ln" if origin in (None, "google/gemini-3-pro") else "eA=="}, origin
        )
    return ToolCall(draw(ids), draw(names), draw(st.sampled_from(["{}", '{"path": "a"}', "{broken"])), extra)


contents = st.lists(st.one_of(texts, st.just(PNG), st.just(PDF)), max_size=3).map(tuple)
results = st.builds(ToolResult, ids, contents, st.sampled_from([None, True, False]), st.one_of(st.none(), names))


@st.composite
def messages(draw: st.DrawFn) -> Message:
    role = draw(st.sampled_from(["system", "developer", "user", "user", "assistant", "assistant", "tool", "tool"]))
    parts: list[Part]
    match role:
        case "assistant":
            parts = draw(st.lists(st.one_of(texts, reasonings(), calls(), calls(), own_files), max_size=5))
        case "tool":
            parts = draw(st.lists(st.one_of(results, results, texts), max_size=4))
        case "user":
            parts = draw(st.lists(st.one_of(texts, texts, st.just(PNG), st.just(PDF), results), max_size=3))
        case _:
            parts = list(draw(st.lists(texts, max_size=2)))
    return Message(role, tuple(parts))


histories = st.lists(messages(), max_size=9).map(tuple)
thinking = st.sampled_from([None, "enabled", "adaptive"])


@pytest.mark.parametrize("who", list(RECEIVERS))
@given(history=histories, thinks=thinking)
def test_whatever_the_history_the_repaired_one_is_taken(
    who: str, history: tuple[Message, ...], thinks: str | None
) -> None:
    receiver = RECEIVERS[who]
    request = ChatRequest(history)
    if thinks is not None:
        request = replace(
            request, extra=Extra("anthropic_messages", {"thinking": {"type": thinks, "budget_tokens": 1024}})
        )
        if thinks == "adaptive":
            request = replace(request, extra=Extra("anthropic_messages", {"thinking": {"type": thinks}}))
    copy = deepcopy(request)
    found = repair(request, receiver.target)
    assert request == copy
    assert receiver.refuses(found.request, SIGNED) == []
    assert repair(found.request, receiver.target) == Repaired(found.request)
    assert found.changes or [said(message) for message in found.request.messages] == [said(m) for m in history]


def said(message: Message) -> object:
    """What anybody can read of a message: a repair that changes it must say so."""
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    results = [(result.tool_call_id, result.name, result.content) for result in message.tool_results]
    files = [part for part in message.parts if isinstance(part, Image | Document | Audio)]
    return message.role, message.text, calls, results, files


@pytest.mark.parametrize("who", list(RECEIVERS))
@given(history=histories)
def test_no_result_is_lost(who: str, history: tuple[Message, ...]) -> None:
    """A file or a word that a tool gave is still there, in a result or as what the user says."""
    found = repair(ChatRequest(history), RECEIVERS[who].target).request
    spoken = "".join(
        message.text + "".join(result.text for result in message.tool_results) for message in found.messages
    )
    shown = [part for message in found.messages if message.role == "user" for part in message.parts]
    shown += [part for message in found.messages for result in message.tool_results for part in result.content]
    for message in history:
        for result in message.tool_results:
            assert all(part in shown for part in result.content if not isinstance(part, Text))
            assert "".join(result.text.split()) in "".join(spoken.split())


@given(history=histories, more=histories)
def test_ids_do_not_depend_on_what_follows(history: tuple[Message, ...], more: tuple[Message, ...]) -> None:
    target = RECEIVERS["mistral"].target
    short = [
        call.id for message in repair(ChatRequest(history), target).request.messages for call in message.tool_calls
    ]
    long = [
        call.id
        for message in repair(ChatRequest(history + more), target).request.messages
        for call in message.tool_calls
    ]
    assert long[: len(short)] == short
    assert len(set(long)) == len(long)
