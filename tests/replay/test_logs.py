"""Whatever JSON a line holds, it is a trace or a problem that is named; never a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agentroute import Router, Target
from agentroute.replay import replay
from agentroute.replay.html import page
from agentroute.replay.logs import NAMES
from agentroute.replay.records import Problem
from agentroute.replay.traces import Traces

KEYS = (
    *("messages", "request", "response", "body", "system", "tools", "tool_choice", "usage", "target_tier", "agent_llm"),
    *("domain", "task_id", "reward", "timestamp", "conversation_id", "agent", "role", "content", "tool_calls", "id"),
    *("type", "text", "name", "arguments", "function", "input", "tool_use_id", "tool_call_id", "choices", "message"),
    *(
        "error",
        "created",
        "prompt_tokens",
        "completion_tokens",
        "input_tokens",
        "output_tokens",
        "max_tokens",
        "source",
    ),
    *("prompt_tokens_details", "cached_tokens", "thinking", "requestor", "model", "response_format", "functions"),
)
WORDS = (
    *("user", "assistant", "tool", "system", "text", "tool_use", "tool_result", "thinking", "image", "function"),
    *("low", "high", "any", "", "2026-01-01", "../x", "\ud800"),
)
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(-2, 10**20), st.floats(allow_nan=True), st.sampled_from(WORDS)
)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=5)),
    max_leaves=12,
)
messages = st.lists(st.dictionaries(st.sampled_from(KEYS), values, max_size=5) | values, max_size=4)
bodies = st.builds(
    lambda line, listed: line | {"messages": listed}, st.dictionaries(st.sampled_from(KEYS), values), messages
)
lines = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), values),
    bodies,
    st.builds(lambda request, response: {"request": request, "response": response}, bodies, values),
)


@pytest.mark.parametrize("fmt", [None, *NAMES])
@given(line=lines)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_json_is_a_trace_or_a_named_problem(fmt: Any, line: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "any.jsonl"
    path.write_text(json.dumps(line) + "\n", encoding="utf-8")
    for _, _, item in Traces([path], fmt=fmt):
        if isinstance(item, Problem):
            assert item.reason
            continue
        assert item.calls
        assert all(0 <= call.n_messages <= len(item.request.messages) for call in item.calls)


ASK = {"role": "user", "content": "x"}
ANSWER = {"role": "assistant", "content": "y"}
ODD: tuple[dict[str, Any], ...] = (
    {"system": "s", "messages": [ASK], "tools": 5},
    {"system": "s", "messages": [ASK], "tools": {"a": 1}},
    {"system": 5, "messages": [ASK]},
    {"system": "s", "messages": [ASK], "max_tokens": -5},
    {"system": "s", "messages": [{"role": ["user"], "content": "x"}]},
    {"messages": [{"role": "user", "content": [{"type": ["x"]}]}]},
    {"messages": [{"role": ["user"], "content": "x"}]},
    {"messages": [ASK], "max_tokens": float("nan")},
    {"agent_llm": "m", "messages": [ASK, ANSWER | {"tool_calls": {"a": 1}}]},
    {"agent_llm": [1], "domain": ["x"], "reward": float("nan"), "messages": [ASK, ANSWER]},
    {"agent_llm": "m", "domain": "\0", "reward": 10**400, "messages": [ASK, ANSWER]},
    {"agent_llm": "m", "domain": "x" * 5000, "messages": [ASK, ANSWER]},
    {"request": {"messages": [ASK]}, "response": {"choices": [{"message": {"content": 5}}]}},
    {"request": {"messages": [ASK]}, "response": {"content": [5]}},
    {"request": {"messages": [ASK]}, "response": {"tool_calls": 5}},
    {"request": {"messages": [ASK]}, "response": "y", "timestamp": 10**400},
    {"request": {"messages": [ASK]}, "response": "y", "timestamp": 1e300},
    {"request": {"messages": [ASK]}, "response": "y", "timestamp": "9999-12-31T23:59:59+00:00"},
    {"messages": [ASK, ANSWER | {"usage": {"prompt_tokens": 10**30, "completion_tokens": -1}}]},
    {"messages": [{"role": "user", "content": "\ud800"}, {"role": "assistant", "content": "\udfff"}]},
    {"id": "\ud800\x1b[2J", "messages": [ASK], "target_tier": "low", "agent": "\udfff"},
    {"agent_llm": "\ud800", "domain": "\udfff", "messages": [ASK, ANSWER]},
    {"messages": [{"role": "tool", "tool_call_id": "orphan", "content": "x"}, ANSWER]},
)


@pytest.mark.parametrize("line", ODD, ids=[str(number) for number in range(len(ODD))])
def test_odd_lines_are_read_or_named_and_can_be_routed(line: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "odd.jsonl"
    path.write_text(json.dumps(line) + "\n" + json.dumps({"messages": [ASK, ANSWER]}), encoding="utf-8")
    report = replay(path, Router(targets=[Target(provider="openai", model="gpt-4.1")]))
    assert report.steps + report.malformed == 2
    page(report).encode("utf-8")
    json.dumps(report.to_dict(), ensure_ascii=False).encode("utf-8")
