"""Mutated answers of all four dialects, whole and streamed, which then go back as history: every one ends typed."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from agentroute import AgentRouteError, ChatRequest, Target, formats
from agentroute.events import fold, unfold
from agentroute.failover.effects import Timeouts, Try
from agentroute.formats.failures import decode_error
from agentroute.formats.sse import SseDecoder
from agentroute.messages import ChatResponse, Extra, Message, Reasoning, Text, ToolCall, ToolResult, Usage
from agentroute.transport.exchange import Outgoing

DIALECTS = ("openai_chat", "anthropic_messages", "gemini", "openai_responses")
EACH = int(os.environ.get("AGENTROUTE_FUZZ", "8000")) // len(DIALECTS) // 2
"""Answers of a dialect and a way; AGENTROUTE_FUZZ sets how many there are in all."""

HOSTILE: list[Any] = [
    *(None, True, False, -1, 0, 1.5, 1e308, 10**18, 10**400, 2**63, "", "x", "\ud800", "\x00", "\x1b[2J\n", "7" * 400),
    *(
        float("nan"),
        float("inf"),
        float("-inf"),
        [],
        {},
        [[]],
        [None],
        [{}],
        {"a": 1},
        {"text": None},
        {"": [float("nan")]},
    ),
    *({"type": "text"}, {"type": []}, {"index": {}}, {"id": [], "name": {}}, "[" * 3000, '{"a": NaN}', '{"a": 1e999}'),
    *(json.loads("[" * 60 + "]" * 60), json.loads("[" * 500 + "]" * 500), json.loads('{"a":' * 300 + "1" + "}" * 300)),
]

ANSWER = ChatResponse(
    message=Message(
        "assistant",
        (
            Reasoning("so", "c2lnbmVk", "acme/m"),
            Text("hi"),
            ToolCall("t1", "f", '{"a": 1}'),
            ToolCall("t2", "g", '{"b": [1, {"c": null}]}'),
        ),
    ),
    finish_reason="tool_calls",
    usage=Usage(5, 2, 1, 1, 1),
    model="m",
    id="r1",
)

BESIDE: dict[str, dict[str, Any]] = {
    "openai_chat": {
        "service_tier": "default",
        "citations": ["https://example.org"],
        "x_groq": {"usage": {"prompt_tokens": 5}},
    },
    "anthropic_messages": {"container": {"id": "c"}, "stop_details": {"type": "x", "score": 0.5}},
    "gemini": {"promptFeedback": {"safetyRatings": [{"probability": 0.1}]}, "modelStatus": {"stage": "GA"}},
    "openai_responses": {"incomplete_details": None, "prompt_cache_options": {"ttl": "12h"}, "metadata": {"a": "b"}},
}
PARTS: dict[str, tuple[tuple[str | int, ...], list[Any]]] = {
    "openai_chat": (
        ("choices", 0, "message", "annotations"),
        [{"type": "url_citation", "url_citation": {"url": "u", "start_index": 0}}],
    ),
    "anthropic_messages": (
        ("content",),
        [
            {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {"query": "q"}},
            {
                "type": "web_search_tool_result",
                "tool_use_id": "s",
                "content": [{"type": "web_search_result", "url": "u"}],
            },
            {
                "type": "text",
                "text": "x",
                "citations": [{"type": "char_location", "cited_text": "x", "start_char_index": 0}],
            },
        ],
    ),
    "gemini": (
        ("candidates", 0, "content", "parts"),
        [
            {"executableCode": {"language": "PYTHON", "code": "x"}},
            {"inlineData": {"mimeType": "image/png", "data": "aa"}},
        ],
    ),
    "openai_responses": (
        ("output",),
        [
            {"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
            {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "no"}]},
        ],
    ),
}
"""What only this dialect has, and where in an answer it stands."""


def whole(dialect: str) -> dict[str, Any]:
    body = formats.of(dialect).encode_response(ANSWER, model="m", created=1) | BESIDE[dialect]
    place, more = PARTS[dialect]
    found: Any = body
    for step in place[:-1]:
        found = found[step]
    found[place[-1]] = [*found.get(place[-1], ()), *more]
    return body


def streamed(dialect: str) -> list[tuple[str, Any]]:
    encoder = formats.of(dialect).StreamEncoder(model="m", created=1)
    decoder = SseDecoder()
    said = [each for event in unfold(ANSWER) for each in decoder.feed(encoder.encode(event))]
    events = [(event, json.loads(data)) for event, data in said if data != "[DONE]"]
    if dialect != "anthropic_messages":
        return events
    search = {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}}
    delta = {"type": "input_json_delta", "partial_json": '{"query": NaN}'}
    more = [
        {"type": "content_block_start", "index": 40, "content_block": search},
        {"type": "content_block_delta", "index": 40, "delta": delta},
        {"type": "content_block_stop", "index": 40},
    ]
    return [*events[:-2], *((str(each["type"]), each) for each in more), *events[-2:]]


def fresh(value: Any) -> Any:
    return json.loads(json.dumps(value))


def places(value: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    if path:
        yield path
    if len(path) > 20:
        return
    for key, each in value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ():
        yield from places(each, (*path, key))


def mutated(value: Any, chance: random.Random) -> Any:
    """A copy with one to three places replaced, dropped or doubled."""
    value = fresh(value)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        found = list(places(value))
        if not found or chance.random() < 0.01:
            return fresh(chance.choice(HOSTILE))
        path = chance.choice(found)
        holder = value
        for step in path[:-1]:
            holder = holder[step]
        match chance.randrange(8):
            case 0:
                del holder[path[-1]]
            case 1 if isinstance(holder, list):
                holder.append(fresh(holder[path[-1]]))
            case 2 if isinstance(holder, dict):
                holder[chance.choice(("new", "index", "type", "error", "usage"))] = fresh(chance.choice(HOSTILE))
            case _:
                holder[path[-1]] = fresh(chance.choice(HOSTILE))
    return value


def sent_back(answer: ChatResponse) -> None:
    """The answer goes on in a conversation, on targets of every dialect: its own model among them."""
    calls = answer.tool_calls
    results = (Message("tool", tuple(ToolResult(call.id, (Text("r"),)) for call in calls)),) if calls else ()
    request = ChatRequest(
        messages=(Message("user", (Text("q"),)), answer.message, *results, Message("user", (Text("n"),)))
    )
    for dialect in DIALECTS:
        target = Target(
            name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1", dialect=dialect
        )
        body = Outgoing(Try(target, request, False, Timeouts())).content
        json.loads(body, parse_constant=lambda constant: pytest.fail(f"{constant} was sent"))
    json.dumps(request.to_openai(), allow_nan=False)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_answer_itself_goes_round(dialect: str) -> None:
    wire = formats.of(dialect)
    answer = wire.decode_response(whole(dialect), target="a", origin="acme/m")
    assert answer.text is not None
    assert "hi" in answer.text
    assert [call.name for call in answer.tool_calls] == ["f", "g"]
    sent_back(answer)
    decoder = wire.StreamDecoder(target="a", origin="acme/m")
    events = [each for event, data in streamed(dialect) for each in decoder.feed(json.dumps(data), event)]
    assert fold([*events, *decoder.close()]).text == "hi"


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_mutated_whole_answer_ends_typed(dialect: str) -> None:
    wire, body, chance = formats.of(dialect), whole(dialect), random.Random(14)
    for _ in range(EACH):
        wrong = mutated(body, chance)
        before = repr(wrong)
        try:
            answer = wire.decode_response(wrong, target="a", origin="acme/m")
        except AgentRouteError:
            answer = None
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error} for {wrong!r:.500}")
        assert repr(wrong) == before, "the parsed body is not ours to change"
        if answer is not None:
            sent_back(answer)
            list(unfold(answer))


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_mutated_stream_ends_typed(dialect: str) -> None:
    wire, events, chance = formats.of(dialect), streamed(dialect), random.Random(41)
    for _ in range(EACH):
        wrong = list(events)
        for _ in range(chance.choice((1, 1, 2))):
            at = chance.randrange(len(wrong))
            match chance.randrange(6):
                case 0:
                    del wrong[at]
                case 1:
                    wrong.insert(chance.randrange(len(wrong) + 1), wrong[at])
                case _:
                    wrong[at] = (wrong[at][0], mutated(wrong[at][1], chance))
        texts = [(event, json.dumps(data)) for event, data in wrong]
        if chance.random() < 0.1:
            event, text = texts.pop()
            texts.append((event, text[: chance.randrange(len(text) + 1)]))
        decoder = wire.StreamDecoder(target="a", origin="acme/m")
        found: list[Any] = []
        try:
            for event, text in texts:
                found += decoder.feed(text, event)
            found += decoder.close()
        except AgentRouteError:
            fold(found)
            continue
        except Exception as error:
            pytest.fail(f"{type(error).__name__}: {error} for {texts!r:.500}")
        decoder.warnings()
        sent_back(fold(found))


ERRORS = (
    {
        "error": {
            "message": "no",
            "type": "invalid_request_error",
            "code": "x",
            "param": "a.b",
            "metadata": {"raw": "r"},
        }
    },
    {"type": "error", "error": {"type": "overloaded_error", "message": "busy"}, "request_id": "r"},
    [{"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "m", "details": [{"retryDelay": "3s"}]}}],
    {"detail": [{"loc": ["body", "tools", 0], "msg": "wrong", "type": "missing"}], "retry_after": 3},
)


@pytest.mark.parametrize("body", ERRORS)
def test_a_mutated_error_is_an_error(body: Any) -> None:
    chance = random.Random(4)
    for _ in range(EACH // 4):
        wrong = mutated(body, chance)
        status = chance.choice((None, 400, 401, 404, 413, 429, 500, 529))
        error = decode_error(status, {}, wrong if status is None else json.dumps(wrong).encode(), target="a")
        assert str(error).isprintable(), wrong
        assert error.retry_after is None or 0 <= error.retry_after < 1e9


def test_a_field_of_a_caller_is_not_changed() -> None:
    """The door stands before answers. What callers say that is no JSON is their error, not silently another value."""
    message = Message("user", (Text("q", Extra("openai_chat", {"cache": float("nan")})),))
    target = Target(name="a", provider="acme", model="m", tier="mid", base_url="http://localhost/v1")
    with pytest.raises(AgentRouteError, match="cannot be written as JSON"):
        Outgoing(Try(target, ChatRequest(messages=(message,)), False, Timeouts()))
