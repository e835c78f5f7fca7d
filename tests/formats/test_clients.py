"""Requests of coding tools, as they really send them: each is read, routed over four dialects, and written for each."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatRequest, Router, Target
from agentroute.catalog import resolve
from agentroute.events import Event, Finished, Started, ToolCallDelta, ToolCallStarted, fold, unfold
from agentroute.formats import Encoded, of
from agentroute.formats.foreign import foreign_tool
from agentroute.formats.forms import CallsBack
from agentroute.formats.sse import SseDecoder
from agentroute.history import repair
from agentroute.messages import ChatResponse, Extra, Message, Text, Tool, ToolCall
from agentroute.testing import ScriptedProvider, ScriptedReply, tool_call

RESPONSES = "openai_responses"
TEXT = {"type": "string"}
SPAWN = {"type": "function", "name": "spawn", "parameters": {"type": "object", "properties": {"task": TEXT}}}
GRAMMAR = {"type": "grammar", "syntax": "lark", "definition": "start: /.+/"}
EXEC = {"type": "custom", "name": "exec", "description": "Runs.", "format": GRAMMAR}
AGENTS = {"type": "namespace", "name": "agents", "description": "Helpers.", "tools": [SPAWN]}
SHELL = {"type": "namespace", "name": "functions", "description": "", "tools": [EXEC, {**SPAWN, "name": "wait"}]}
HELLO = {"type": "message", "role": "user", "content": "hello"}


def target(name: str, provider: str, model: str, dialect: str | None = None) -> Target:
    return resolve(Target(name=name, provider=provider, model=model, dialect=dialect, api_key="sk-test", tier="mid"))


POOL = {
    "openai_chat": target("chat", "openai", "gpt-4.1", "openai_chat"),
    "anthropic_messages": target("claude", "anthropic", "claude-opus-5-5"),
    "gemini": target("gemini", "google", "gemini-3.8-flash"),
    RESPONSES: target("responses", "openai", "gpt-6-sol", RESPONSES),
}
SHAPES: dict[str, tuple[str, dict[str, Any]]] = {
    "a namespace beside functions and a search": (
        RESPONSES,
        {"input": [HELLO], "tools": [{**SPAWN, "name": "ls"}, AGENTS, {"type": "web_search"}], "tool_choice": "auto"},
    ),
    "tools in an item of their own": (
        RESPONSES,
        {"input": [{"type": "additional_tools", "role": "developer", "tools": [SHELL, AGENTS]}, HELLO]},
    ),
    "free text called and answered": (
        RESPONSES,
        {
            "input": [
                HELLO,
                {
                    "type": "custom_tool_call",
                    "call_id": "c1",
                    "namespace": "functions",
                    "name": "exec",
                    "input": "ls -l",
                },
                {"type": "custom_tool_call_output", "call_id": "c1", "output": "hello.txt"},
            ],
            "tools": [SHELL],
        },
    ),
    "free text in chat completions": (
        "openai_chat",
        {
            "messages": [{"role": "user", "content": "hello"}],
            "tools": [{"type": "custom", "custom": {"name": "exec", "format": {"type": "text"}}}],
        },
    ),
    "cache marks, thinking and betas": (
        "anthropic_messages",
        {
            "max_tokens": 32000,
            "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]}],
            "tools": [{"name": "ls", "description": "d", "input_schema": {"type": "object", "properties": {}}}],
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "high"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015"}]},
            "betas": ["context-management-2025-06-27"],
        },
    ),
    "a schema in Google's capitals": (
        "gemini",
        {
            "contents": [{"role": "user", "parts": [{"text": "how hard?"}]}],
            "generationConfig": {
                "responseMimeType": "application/json",
                "responseJsonSchema": {"type": "OBJECT", "properties": {"score": {"type": "INTEGER"}}},
            },
        },
    ),
}


def written(request: ChatRequest, to: Target) -> tuple[Encoded, tuple[str, ...]]:
    repaired = repair(request, to)
    sent = of(to.dialect).encode_request(repaired.request, model=to.model, quirks=to.endpoint.quirks, rules=to.rules)
    return sent, (*repaired.changes, *sent.changes)


def check(dialect: str, body: dict[str, Any]) -> None:
    """Nothing is lost that a target can take: tools, texts, calls, results; what is lost is named."""
    request = replace(of(dialect).decode_request(body), model="auto")
    with Router(targets=list(POOL.values())) as router:
        assert router.route(request).candidates
    for name, to in POOL.items():
        sent, changes = written(request, to)
        back = of(name).decode_request(sent.body)
        kept = [tool for tool in request.tools if not foreign_tool(tool, name)]
        assert [sent.names.get(tool.name, tool.name) for tool in back.tools] == [tool.name for tool in kept]
        for tool in request.tools:
            assert tool in kept or any(f"the tool `{tool.name}` left out" in change for change in changes)
        said = json.dumps(sent.body, ensure_ascii=False)
        for message in request.messages:
            for part in message.parts:
                if isinstance(part, Text) and part.text.strip():
                    assert json.dumps(part.text, ensure_ascii=False)[1:-1] in said
        for what in ("tool_calls", "tool_results"):
            told, heard = ([each for m in r.messages for each in getattr(m, what)] for r in (request, back))
            assert len(told) == len(heard)
        assert [call.name for m in back.messages for call in m.tool_calls] == [
            call.name for m in request.messages for call in m.tool_calls
        ]
        if request.response_schema is not None:
            assert back.response_schema is not None or any("in the prompt" in change for change in changes)
        extra = request.extra
        for field in extra.fields if extra is not None else ():
            if name != dialect and field not in said and field != "max_tokens":  # an older name of the limit
                assert changes, f"{field} is gone without a word"


@pytest.mark.parametrize("shape", SHAPES)
def test_essential_shapes(shape: str) -> None:
    check(*SHAPES[shape])


@pytest.mark.requires("shared")
def test_recorded_shapes(shared: Path) -> None:
    seen = 0
    for path in sorted((shared / "clients").glob("*.jsonl")):
        for line in path.read_text().splitlines():
            row = json.loads(line)
            check(row["dialect"], row["body"])
            seen += 1
    assert seen >= 50


@pytest.mark.parametrize("shape", [name for name, (dialect, _) in SHAPES.items() if dialect == RESPONSES])
def test_a_target_of_the_same_dialect_gets_the_form_back(shape: str) -> None:
    body = SHAPES[shape][1]
    sent, _ = written(of(RESPONSES).decode_request(body), POOL[RESPONSES])
    assert [item.get("type") for item in sent.body["input"]] == [
        item["type"] if item["type"] != "message" else None for item in body["input"]
    ]
    for given, gone in zip(body.get("tools", ()), sent.body.get("tools", ()), strict=True):
        assert gone["type"] == given["type"]
        if given["type"] == "namespace":
            assert [tool["name"] for tool in gone["tools"]] == [tool["name"] for tool in given["tools"]]
            assert [tool for tool in gone["tools"] if tool["type"] == "custom"] == [
                tool for tool in given["tools"] if tool["type"] == "custom"
            ]


def answers(*calls: ToolCall) -> Iterator[Event]:
    yield Started("a", "m")
    for index, call in enumerate(calls):
        yield ToolCallStarted(index, call.id, call.name)
        for piece in (call.arguments[:5], call.arguments[5:]):
            yield ToolCallDelta(index, piece)
    yield Finished("tool_calls")


class TestCallsBack:
    tools = of(RESPONSES).decode_request({"input": "hi", "tools": [SHELL, AGENTS, {**SPAWN, "name": "a.b"}]}).tools
    calls = (
        ToolCall("1", "functions__exec", '{"input": "ls \\"a b\\"\\n"}'),
        ToolCall("2", "agents__spawn", '{"task": "t"}'),
        ToolCall("3", "a_b_123456", "{}"),
        ToolCall("4", "unknown", "{"),
    )

    def back(self, *calls: ToolCall) -> ChatResponse:
        reader = CallsBack(self.tools, {"a_b_123456": "a.b"})
        return fold(event for told in answers(*calls) for event in reader.read(told))

    def test_names_namespaces_and_free_text(self) -> None:
        called = self.back(*self.calls).tool_calls
        form = {"namespace": "functions", "name": "exec", "type": "custom_tool_call"}
        assert called[0] == ToolCall("1", "functions__exec", 'ls "a b"\n', Extra(RESPONSES, form))
        assert called[1].extra == Extra(RESPONSES, {"namespace": "agents", "name": "spawn"})
        assert [call.name for call in called[2:]] == ["a.b", "unknown"]

    @pytest.mark.parametrize("arguments", ["ls", '{"input": 1}', '{"input": "a", "more": 1}', "{", ""])
    def test_free_text_that_is_not_in_its_place_comes_as_it_is(self, arguments: str) -> None:
        (call,) = self.back(ToolCall("1", "functions__exec", arguments)).tool_calls
        assert call.arguments == arguments

    def test_the_client_is_answered_in_the_form_that_it_asked_in(self) -> None:
        response = self.back(*self.calls[:2])
        items = of(RESPONSES).encode_response(response, model="m")["output"]
        assert {key: items[0][key] for key in ("type", "namespace", "name", "input")} == {
            "type": "custom_tool_call",
            "namespace": "functions",
            "name": "exec",
            "input": 'ls "a b"\n',
        }
        assert {key: items[1][key] for key in ("type", "namespace", "name", "arguments")} == {
            "type": "function_call",
            "namespace": "agents",
            "name": "spawn",
            "arguments": '{"task": "t"}',
        }
        encoder, decoder, sse = of(RESPONSES).StreamEncoder(model="m"), of(RESPONSES).StreamDecoder(), SseDecoder()
        raw = b"".join(encoder.encode(event) for event in unfold(response))
        events = [event for name, data in sse.feed(raw) for event in decoder.feed(data, name)]
        assert fold([*events, *decoder.close()]).tool_calls == response.tool_calls
        history = {"input": [HELLO, *items], "tools": [SHELL, AGENTS]}
        again = of(RESPONSES).decode_request(history)
        assert [(call.name, call.arguments) for call in again.messages[1].tool_calls] == [
            (call.name, call.arguments) for call in response.tool_calls
        ]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("dialect", POOL)
def test_the_callers_own_names_come_back_over_the_wire(dialect: str, stream: bool) -> None:
    tool = Tool("admin.tools/list", "Lists.", {"type": "object", "properties": {}})
    request = ChatRequest((Message("user", (Text("list"),)),), tools=(tool,))
    new = next(iter(written(request, POOL[dialect])[0].names))
    facts = POOL[dialect]
    with ScriptedProvider(ScriptedReply(tool_calls=(tool_call(new),)), provider=facts.provider) as provider:
        here = Target(
            name="here",
            provider=facts.provider,
            model=facts.model,
            dialect=dialect,
            tier="mid",
            base_url=provider.base_url,
            api_key=provider.api_key,
        )
        with Router(targets=[here]) as router:
            if stream:
                running = router.stream(request)
                events = list(running)
                response = running.response
                assert [event.name for event in events if isinstance(event, ToolCallStarted)] == [tool.name]
            else:
                response = router.complete(request)
        assert response is not None
        assert [call.name for call in response.tool_calls] == [tool.name]
        assert new in json.dumps(provider.requests[0].body)
        assert tool.name not in json.dumps(provider.requests[0].body)
