"""Each format is read as what it is, and a line that cannot be read loses only itself."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agentroute import ChatRequest, ConfigError, Tier, ToolResult, Usage
from agentroute.messages import Reasoning
from agentroute.replay.records import Problem, Trace
from agentroute.replay.traces import Traces
from agentroute.routing.prefix import Prefix

Write = Callable[..., Path]

WEATHER_CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
CONVERSATION = [
    {"role": "system", "content": "You help."},
    {"role": "user", "content": "What is the weather in Oslo?"},
    {"role": "assistant", "content": None, "tool_calls": [WEATHER_CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "rain"},
    {"role": "assistant", "content": "It rains."},
]
TOOLS = [{"type": "function", "function": {"name": "weather", "description": "Weather of a city.", "parameters": {}}}]


def read(path: Path, fmt: Any = None) -> list[Trace | Problem]:
    return [item for _, _, item in Traces([path], fmt=fmt)]


def only(path: Path, fmt: Any = None) -> Trace:
    (item,) = read(path, fmt)
    assert isinstance(item, Trace), item
    return item


def prefixes(trace: Trace) -> list[int]:
    return [call.n_messages for call in trace.calls]


def test_every_assistant_message_of_a_conversation_is_a_step(write: Write) -> None:
    trace = only(write({"messages": CONVERSATION, "tools": TOOLS}))
    assert (trace.format, trace.whole, prefixes(trace)) == ("openai", True, [2, 4])
    assert [tool.name for tool in trace.request.tools] == ["weather"]
    assert trace.calls[0].answer is not None
    assert trace.calls[0].answer.tool_calls[0].parsed() == {"city": "Oslo"}
    assert trace.calls[1].usage is None


def test_usage_beside_a_message_of_a_conversation_is_its_own(write: Write) -> None:
    usage = {"prompt_tokens": 50, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 8}}
    trace = only(write({"messages": [*CONVERSATION[:-1], CONVERSATION[-1] | {"usage": usage}]}))
    assert [call.usage for call in trace.calls] == [None, Usage(50, 3, cache_read_tokens=8)]


def test_an_assistant_message_before_any_request_is_no_step(write: Write) -> None:
    greeting = {"role": "assistant", "content": "Hi! How can I help?"}
    trace = only(write({"messages": [greeting, *CONVERSATION[1:]]}))
    assert (trace.greetings, prefixes(trace)) == (1, [2, 4])


def test_a_conversation_that_nobody_answered_is_one_step(write: Write) -> None:
    trace = only(write({"messages": CONVERSATION[:2]}))
    assert prefixes(trace) == [2]
    assert trace.calls[0].answer is None


@pytest.mark.parametrize("wrapped", [True, False])
def test_a_logged_openai_call_is_one_step(write: Write, wrapped: bool) -> None:
    body = {"model": "gpt-4.1", "messages": CONVERSATION[:4], "tools": TOOLS, "temperature": 0}
    response = {
        "model": "gpt-4.1-2025-04-14",
        "created": 1_750_000_000,
        "choices": [{"message": {"role": "assistant", "content": "It rains."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 120, "completion_tokens": 9},
    }
    trace = only(write({"request": body, "response": response} if wrapped else body | {"response": response}))
    (call,) = trace.calls
    assert (trace.format, trace.whole, call.n_messages) == ("openai", False, 4)
    assert (call.usage, call.model, call.at) == (Usage(120, 9), "gpt-4.1", 1_750_000_000.0)
    assert call.answer is not None
    assert call.answer.text == "It rains."
    assert trace.request.model is None, "the recorded model must not pin the step"


def test_who_asks_and_when_is_read_where_the_log_says_so(write: Write) -> None:
    line = {
        "timestamp": "2026-01-02T03:04:05+00:00",
        "session_id": "s-1",
        "agent": "planner",
        "node": "plan",
        "request": {"messages": CONVERSATION[:2]},
        "response": {"choices": [{"message": {"content": "ok"}}]},
    }
    trace = only(write(line))
    assert (trace.conversation_id, trace.agent, trace.role, trace.node) == ("s-1", "planner", None, "plan")
    assert trace.calls[0].at == 1767323045.0


def test_milliseconds_are_told_from_seconds(write: Write) -> None:
    line = {"time": 1_767_323_045_000, "request": {"messages": CONVERSATION[:2]}, "response": None}
    assert only(write(line)).calls[0].at == 1767323045.0


def test_openai_batch_files_carry_bodies(write: Write) -> None:
    line = {
        "custom_id": "job-7",
        "body": {"messages": CONVERSATION[:2]},
        "response": {"status_code": 200, "body": {"choices": [{"message": {"content": "ok"}}]}},
    }
    trace = only(write(line))
    assert (trace.id, prefixes(trace)) == ("job-7", [2])
    assert trace.calls[0].answer is not None


ANTHROPIC_BODY = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 512,
    "system": [{"type": "text", "text": "You help."}],
    "tools": [{"name": "weather", "description": "Weather of a city.", "input_schema": {"type": "object"}}],
    "tool_choice": {"type": "any"},
    "messages": [
        {"role": "user", "content": "What is the weather in Oslo?"},
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "I need the weather.", "signature": "x"},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"city": "Oslo"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "is_error": True,
                    "content": [{"type": "text", "text": "down"}],
                },
                {"type": "text", "text": "Try again."},
            ],
        },
    ],
}


def test_a_logged_anthropic_call_is_one_step(write: Write) -> None:
    usage = {"input_tokens": 40, "cache_read_input_tokens": 900, "cache_creation_input_tokens": 60, "output_tokens": 12}
    response = {"type": "message", "model": "claude-sonnet-4-5", "content": [{"type": "text", "text": "Sorry."}]}
    trace = only(write({"request": ANTHROPIC_BODY, "response": response | {"usage": usage}}))
    (call,) = trace.calls
    roles = [message.role for message in trace.request.messages[: call.n_messages]]
    assert trace.format == "anthropic"
    assert roles == ["system", "user", "assistant", "tool", "user"]
    assert call.usage == Usage(1000, 12, cache_read_tokens=900, cache_write_tokens=60)
    assert isinstance(trace.request.messages[2].parts[0], Reasoning)
    (result,) = trace.request.messages[3].parts
    assert isinstance(result, ToolResult)
    assert (result.tool_call_id, result.is_error, result.text) == ("t1", True, "down")
    assert trace.request.tool_choice is not None
    assert trace.request.tool_choice.mode == "required"
    assert trace.request.sampling.max_output_tokens == 512


def test_a_document_in_a_log_has_a_size_and_no_text(write: Write) -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": "A" * 400_000}
    block = {"type": "document", "source": source}
    content = [block, {"type": "text", "text": "read"}, {"type": "tool_result", "tool_use_id": "c", "content": [block]}]
    trace = only(write({"system": "be", "messages": [{"role": "user", "content": content}]}))
    bulk = Prefix.of(trace.request.messages).whole.bulk
    assert (bulk.documents, bulk.pages, bulk.chars) == (2, 6.0, len("beread"))


def test_an_anthropic_conversation_has_a_step_for_each_answer(write: Write) -> None:
    messages = [*ANTHROPIC_BODY["messages"], {"role": "assistant", "content": "Sorry."}]  # type: ignore[misc]
    trace = only(write(ANTHROPIC_BODY | {"messages": messages}))
    assert (trace.format, trace.whole, prefixes(trace)) == ("anthropic", True, [2, 5])


TAU2 = {
    "domain": "airline",
    "task_id": "3",
    "agent_llm": "gpt-4.1",
    "reward": 1.0,
    "messages": [
        {"role": "assistant", "content": "Hi! How can I help you today?"},
        {"role": "user", "content": "My phone is dead.", "usage": {"prompt_tokens": 5, "completion_tokens": 5}},
        {
            "role": "assistant",
            "tool_calls": [{"id": "c1", "name": "look_up", "arguments": {"who": "me"}, "requestor": "assistant"}],
            "usage": {"prompt_tokens": 700, "completion_tokens": 20},
        },
        {"id": "c1", "role": "tool", "content": "Error: no such user", "error": True, "requestor": "assistant"},
        {"role": "assistant", "content": "Who are you?", "usage": {"prompt_tokens": 800, "completion_tokens": 10}},
        {"role": "user", "tool_calls": [{"id": "u1", "name": "look", "arguments": {}, "requestor": "user"}]},
        {"id": "u1", "role": "tool", "content": "a screen", "error": False, "requestor": "user"},
        {"role": "user", "content": "Me."},
        {"role": "assistant", "content": "Thanks.", "usage": {"prompt_tokens": 900, "completion_tokens": 5}},
    ],
}


def test_tau2_counts_model_calls_and_hides_what_the_agent_did_not_see(write: Write) -> None:
    path = write(TAU2)
    traces = Traces([path])
    ((_, _, trace),) = list(traces)
    assert isinstance(trace, Trace)
    assert (trace.format, trace.greetings, trace.reward, prefixes(trace)) == ("tau2", 1, 1.0, [2, 4, 6])
    assert [call.usage for call in trace.calls] == [Usage(700, 20), Usage(800, 10), Usage(900, 5)]
    assert [message.role for message in trace.request.messages[:6]] == [
        *("assistant", "user", "assistant", "tool", "assistant", "user")
    ]
    assert trace.request.messages[3].tool_results[0].is_error is True
    assert trace.request.messages[2].tool_calls[0].parsed() == {"who": "me"}
    assert "domain_airline.json" in next(iter(traces.notes))


def test_tau2_takes_policy_and_tools_from_the_domain_file_beside_it(write: Write, tmp_path: Path) -> None:
    tool = {"name": "look_up", "description": "Finds a user.", "signature": "(who: str) -> User"}
    domain = {"policy": "Be kind.", "tools": [tool]}
    (tmp_path / "domain_airline.json").write_text(json.dumps(domain), encoding="utf-8")
    traces = Traces([write(TAU2)])
    ((_, _, trace),) = list(traces)
    assert isinstance(trace, Trace)
    assert trace.request.messages[0].text == "Be kind."
    assert prefixes(trace) == [3, 5, 7]
    assert "(who: str) -> User" in trace.request.tools[0].description
    assert not traces.notes


def test_a_domain_name_cannot_leave_the_folder(write: Write, tmp_path: Path) -> None:
    (tmp_path / "sub" / "domain_x").mkdir(parents=True)
    (tmp_path / "other.json").write_text('{"policy": "other", "tools": []}', encoding="utf-8")
    (tmp_path / "sub" / "traces.jsonl").write_text(json.dumps(TAU2 | {"domain": "x/../../other"}), encoding="utf-8")
    (tmp_path / "sub" / "domain_x" / ".." / ".." / "other.json").resolve(strict=True)
    assert only(tmp_path / "sub" / "traces.jsonl").request.messages[0].role == "assistant"


@pytest.mark.parametrize(
    ("label", "tier"),
    [
        ("low", Tier.BUDGET),
        ("mid", Tier.MID),
        ("mid_high", Tier.STANDARD),
        ("high", Tier.PREMIUM),
        ("premium", Tier.PREMIUM),
    ],
)
def test_a_step_row_is_one_step_with_its_label(write: Write, label: str, tier: Tier) -> None:
    row = {"id": "r1", "messages": CONVERSATION[:4], "target_tier": label, "total_steps": 9, "notes": "n"}
    trace = only(write(row))
    assert (trace.format, trace.id, trace.needed, prefixes(trace)) == ("steps", "r1", tier, [4])


def test_a_step_row_keeps_its_outcome_fields_out_of_the_request(write: Write) -> None:
    row = {"messages": CONVERSATION[:4], "target_tier": "low", "total_steps": 9, "notes": "n", "benchmark": "b"}
    assert only(write(row)).request == ChatRequest.from_openai({"messages": CONVERSATION[:4]})


def test_the_format_can_be_forced(write: Write) -> None:
    row = {"messages": CONVERSATION, "target_tier": "low"}
    assert only(write(row), "openai").whole is True
    assert only(write({"messages": CONVERSATION}), "steps").calls[0].n_messages == 5
    with pytest.raises(ConfigError, match="'csv'"):
        read(write(row), "csv")


BAD_LINES = {
    "{oops": "not JSON",
    "[1, 2]": "a list, not an object",
    '{"a": 1}': "no list of `messages`",
    '{"messages": []}': "`messages` is empty",
    '{"messages": [{"role": "wizard", "content": "x"}]}': "messages[0].role",
    '{"messages": [7]}': "messages[0]",
    '{"messages": [{"role": "user", "content": "x"}], "tools": 5}': "tools",
    '{"messages": [{"role": "assistant", "content": "Hi"}]}': "without a model call",
    '{"request": {"messages": [{"role": "user", "content": "x"}]}, "response": {"error": "429"}}': "failed",
    '{"request": {"messages": [{"role": "user", "content": "x"}]}, "response": {"choices": []}}': "no `choices`",
    '{"messages": [{"role": "user", "content": "x"}], "target_tier": "huge"}': "target_tier",
    '{"messages": [{"role": "user", "content": "x"}], "target_tier": []}': "target_tier",
    '{"system": "s", "messages": [{"role": "user", "content": [{"type": "text"}]}]}': "messages[0].content[0].text",
    '{"system": "s", "messages": [{"role": "user", "content": 5}]}': "messages[0].content",
    '{"agent_llm": "m", "messages": [{"role": "user", "content": 5}]}': "messages[0].content",
    '{"agent_llm": "m", "messages": [{"role": "assistant", "tool_calls": [{}]}]}': "tool_calls[0].id",
    '{"agent_llm": "m", "messages": 4}': "`messages` is 4",
    '{"policy_version": "1", "request_digest": "d"}': "holds no prompt",
    '{"messages": ' + "[" * 100_000 + "]" * 100_000 + "}": "nested too deeply",
}


@pytest.mark.parametrize(("line", "reason"), BAD_LINES.items(), ids=list(BAD_LINES.values()))
def test_a_bad_line_is_named_and_loses_only_itself(write: Write, line: str, reason: str) -> None:
    good = {"messages": CONVERSATION}
    before, bad, after = read(write(good, line, good))
    assert isinstance(before, Trace)
    assert isinstance(after, Trace)
    assert isinstance(bad, Problem)
    assert (bad.file, bad.line) == ("traces.jsonl", 2)
    assert reason in bad.reason


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_bytes(b'{"messages": "\xff\xfe"}\n\n   \n' + json.dumps({"messages": CONVERSATION}).encode())
    bad, good = read(path)
    assert isinstance(bad, Problem)
    assert isinstance(good, Trace)


def test_a_line_too_long_to_hold_is_passed_over(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentroute.replay.values.MAX_VALUE_BYTES", 1000)
    long = {"messages": [{"role": "user", "content": "x" * 5000}]}
    short = {"messages": CONVERSATION[:2]}
    first, second, third = read(write(short, long, short))
    assert isinstance(first, Trace)
    assert isinstance(second, Problem)
    assert "longer than 1,000 bytes" in second.reason
    assert isinstance(third, Trace)


def test_gzip_is_told_by_its_content(tmp_path: Path) -> None:
    path = tmp_path / "no-suffix"
    path.write_bytes(gzip.compress((json.dumps({"messages": CONVERSATION}) + "\n").encode() * 3))
    assert len(read(path)) == 3


def test_a_truncated_gzip_keeps_what_came_before(tmp_path: Path) -> None:
    lines = [json.dumps({"messages": [{"role": "user", "content": f"{n} {hash((n, 'x'))}"}]}) for n in range(20_000)]
    whole = gzip.compress("\n".join(lines).encode())
    path = tmp_path / "t.jsonl.gz"
    path.write_bytes(whole[: len(whole) // 2])
    *kept, last = read(path)
    assert isinstance(last, Problem)
    assert "cannot be read from here on" in last.reason
    assert len(kept) == last.line - 1 > 5_000
    assert all(isinstance(item, Trace) for item in kept)


def test_progress_ends_at_the_size_of_all_files(write: Write) -> None:
    paths = [write({"messages": CONVERSATION}, name="a.jsonl"), write({"messages": CONVERSATION}, name="b.jsonl")]
    seen: list[tuple[int, int]] = []
    list(Traces(paths, on_progress=lambda done, total: seen.append((done, total))))
    total = sum(path.stat().st_size for path in paths)
    assert seen[-1] == (total, total)


def test_a_path_that_is_no_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"missing\.jsonl"):
        Traces([tmp_path / "missing.jsonl"])
    with pytest.raises(ConfigError, match="no traces"):
        Traces([])


@pytest.mark.requires("shared")
@pytest.mark.parametrize(
    ("file", "steps", "greetings"),
    [("tau2/traces.jsonl.gz", 2620, 227), ("step_tiers/steps.jsonl.gz", 177, 0)],
)
def test_recorded_data_is_counted_to_the_step(shared: Path, file: str, steps: int, greetings: int) -> None:
    traces = read(shared / "data" / file)
    assert all(isinstance(trace, Trace) for trace in traces)
    assert sum(len(trace.calls) for trace in traces if isinstance(trace, Trace)) == steps
    assert sum(trace.greetings for trace in traces if isinstance(trace, Trace)) == greetings
