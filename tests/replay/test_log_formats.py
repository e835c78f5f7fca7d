"""One small log of each format, and of the variants people have, is counted to the step."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from agentroute.replay import describe
from agentroute.replay.logs import NAMES

ASK = {"role": "user", "content": "How deep is the well?"}
CALL = {"id": "c1", "type": "function", "function": {"name": "measure", "arguments": '{"what": "well"}'}}
ASKED = {"role": "assistant", "content": "I measure.", "tool_calls": [CALL]}
RESULT = {
    "role": "tool",
    "tool_call_id": "c1",
    "content": "Traceback (most recent call last):\nRopeError: the rope is too short",
}
SAID = {"role": "assistant", "content": "Deeper than the rope."}
TOOL = {"type": "function", "function": {"name": "measure", "description": "Depth", "parameters": {"type": "object"}}}
T0 = "2026-03-01T10:00:00Z"
T1 = "2026-03-01T10:00:05Z"


def completion(
    message: Mapping[str, Any], given: int, wrote: int, answer_id: str, model: str = "m-1"
) -> dict[str, Any]:
    usage = {"prompt_tokens": given, "completion_tokens": wrote, "prompt_tokens_details": {"cached_tokens": 5}}
    choices = [{"index": 0, "message": dict(message), "finish_reason": "stop"}]
    return {"id": answer_id, "object": "chat.completion", "model": model, "choices": choices, "usage": usage}


def attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    def held(value: Any) -> dict[str, Any]:
        if isinstance(value, int):
            return {"intValue": str(value)}
        if isinstance(value, list):
            return {"arrayValue": {"values": [held(item) for item in value]}}
        if isinstance(value, Mapping):
            return {"kvlistValue": {"values": [{"key": key, "value": held(item)} for key, item in value.items()]}}
        return {"stringValue": value}

    return [{"key": key, "value": held(value)} for key, value in values.items()]


def span(number: int, parent: int | None, values: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    held = {
        "traceId": "t1",
        "spanId": f"s{number}",
        "name": "x",
        "startTimeUnixNano": str(1_772_359_200_000_000_000 + number),
        "attributes": attributes(values),
        **more,
    }
    return held if parent is None else held | {"parentSpanId": f"s{parent}"}


def spans(*found: Mapping[str, Any]) -> dict[str, Any]:
    return {"resourceSpans": [{"scopeSpans": [{"spans": list(found)}]}]}


def claude(uuid: str, parent: str | None, kind: str, content: Any, **more: Any) -> dict[str, Any]:
    message: dict[str, Any] = {"role": kind, "content": content}
    for name in ("id", "model", "usage"):
        if name in more:
            message[name] = more.pop(name)
    line = {"uuid": uuid, "parentUuid": parent, "sessionId": "s", "type": kind, "timestamp": T0, "message": message}
    return {**line, "isSidechain": False, **more}


def use(call_id: str, name: str = "Bash", **arguments: Any) -> list[dict[str, Any]]:
    return [{"type": "tool_use", "id": call_id, "name": name, "input": arguments}]


def came(call_id: str, text: str, **more: Any) -> list[dict[str, Any]]:
    return [{"type": "tool_result", "tool_use_id": call_id, "content": text, **more}]


FRESH = {"input_tokens": 10, "cache_read_input_tokens": 30, "cache_creation_input_tokens": 60, "output_tokens": 7}
ANSWER = {"id": "m1", "model": "claude-x", "usage": FRESH}


class Case(NamedTuple):
    files: Mapping[str, Any]
    counted: tuple[int, int, str | None, int | None, int | None, list[str] | None, int]
    """Conversations, steps, model of the first, input, output, tools of the first step, failed results."""


def codex(kind: str, **payload: Any) -> dict[str, Any]:
    return {"timestamp": T0, "type": kind, "payload": payload}


def counts(given: int, wrote: int) -> dict[str, Any]:
    last = {"input_tokens": given, "output_tokens": wrote, "cached_input_tokens": 5}
    return codex(
        "event_msg", type="token_count", info={"total_token_usage": {"input_tokens": given}, "last_token_usage": last}
    )


def generation(number: int, asked: Any, said: Any, **more: Any) -> dict[str, Any]:
    row = {"id": f"o{number}", "trace_id": "t", "type": "GENERATION", "parent_observation_id": "", "start_time": T0}
    usage = {"input": 20, "input_cached_tokens": 80, "output": 9, "total": 109}
    row |= {
        "input": json.dumps(asked),
        "output": json.dumps(said),
        "provided_model_name": "m-1",
        "usage_details": usage,
    }
    return {**row, **more}


def run(number: int, kind: str, parent: int | None, **more: Any) -> dict[str, Any]:
    above = None if parent is None else f"r{parent}"
    return {"id": f"r{number}", "run_type": kind, "trace_id": "t", "parent_run_id": above, "start_time": T0, **more}


LC_ASK = {"type": "human", "data": {"content": "How deep?", "type": "human"}}
LC_SAID = {
    "type": "ai",
    "data": {
        "content": "Deep.",
        "type": "ai",
        "id": "run-9",
        "usage_metadata": {"input_tokens": 50, "output_tokens": 4, "input_token_details": {"cache_read": 8}},
        "response_metadata": {"model_name": "m-1"},
    },
}
PART = {"role": "user", "parts": [{"text": "How deep?"}]}
PI_USE = {"input": 10, "output": 4, "cacheRead": 50, "cacheWrite": 0}

CASES: dict[str, Case] = {
    "claude_code": Case(
        {
            "s.jsonl": [
                {"type": "summary", "summary": "of another", "leafUuid": "z"},
                claude("1", None, "user", "How deep?"),
                claude("2", "1", "assistant", use("c1", command="a"), **ANSWER),
                claude("4", "2", "user", came("c1", "Exit code 2", is_error=True)),
                claude("3", "2", "assistant", use("c2", command="b"), **ANSWER),
                claude("5", "3", "user", came("c2", "fine")),
                claude("5", "3", "user", came("c2", "fine")),
                claude("6", "5", "assistant", "Deep.", **ANSWER | {"id": "m2"}),
            ]
        },
        (1, 2, "claude-x", 200, 14, None, 1),
    ),
    "claude_code of 2025, with a side chain inside and a rewind": Case(
        {
            "s.jsonl": [
                claude("1", None, "user", "How deep?"),
                claude("2", "1", "assistant", use("c1", "Task", prompt="Go", subagent_type="scout"), **ANSWER),
                claude("a", None, "user", "Go", isSidechain=True),
                claude("b", "a", "assistant", "Gone.", isSidechain=True, **ANSWER | {"id": "m9"}),
                claude("3", "2", "user", came("c1", "Gone.")),
                claude("4", "3", "assistant", "Deep.", **ANSWER | {"id": "m2"}),
                claude("5", "3", "user", "Measure again."),
                claude("6", "5", "assistant", "Deeper.", **ANSWER | {"id": "m3"}),
            ]
        },
        (2, 4, "claude-x", 400, 28, None, 0),
    ),
    "codex before usage records": Case(
        {
            "rollout.jsonl": [
                codex("session_meta", id="x", instructions="You measure."),
                codex("turn_context", model="gpt-x"),
                codex(
                    "response_item", type="message", role="user", content=[{"type": "input_text", "text": "How deep?"}]
                ),
                codex("response_item", type="function_call", name="shell", arguments='{"c": 1}', call_id="c1"),
                counts(90, 6),
                codex("event_msg", type="token_count", info=None),
                codex(
                    "response_item",
                    type="function_call_output",
                    call_id="c1",
                    output='{"output": "no rope", "metadata": {"exit_code": 2}}',
                ),
                counts(90, 6),
                codex(
                    "response_item",
                    type="message",
                    role="assistant",
                    content=[{"type": "output_text", "text": "Deep."}],
                ),
                counts(120, 3),
                codex("compacted", message="It is deep."),
                counts(0, 0),
            ]
        },
        (1, 2, "gpt-x", 210, 9, None, 1),
    ),
    "codex with bare items": Case(
        {
            "rollout.jsonl": [
                {"id": "x", "timestamp": T0, "instructions": "You measure."},
                {"record_type": "state"},
                {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "How deep?"}]},
                {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Deep."}]},
            ]
        },
        (1, 1, None, None, None, None, 0),
    ),
    "otlp with messages in attributes": Case(
        {
            "a.jsonl": [
                spans(
                    span(
                        3,
                        1,
                        {
                            "gen_ai.operation.name": "chat",
                            "gen_ai.request.model": "m-1",
                            "gen_ai.usage.input_tokens": 40,
                            "gen_ai.usage.output_tokens": 4,
                            "gen_ai.input.messages": [
                                {"role": "user", "parts": [{"type": "text", "content": "How deep?"}]}
                            ],
                            "gen_ai.output.messages": '[{"role": "assistant", "parts": [{"type": "text"}]}]',
                            "gen_ai.tool.definitions": '[{"type": "function", "name": "measure"}]',
                        },
                    )
                ),
                spans(span(1, None, {"gen_ai.operation.name": "invoke_agent", "gen_ai.usage.input_tokens": 40})),
            ]
        },
        (1, 1, "m-1", 40, 4, ["measure"], 0),
    ),
    "otlp of traceloop, numbered beyond nine": Case(
        {
            "a.jsonl": [
                spans(
                    span(
                        1,
                        None,
                        {
                            "llm.request.type": "chat",
                            "gen_ai.request.model": "m-1",
                            **{f"gen_ai.prompt.{n}.role": "user" if n % 2 == 0 else "assistant" for n in range(11)},
                            **{f"gen_ai.prompt.{n}.content": f"part {n}" for n in range(11)},
                            "gen_ai.completion.0.role": "assistant",
                            "gen_ai.completion.0.tool_calls.0.name": "measure",
                            "gen_ai.completion.0.tool_calls.0.arguments": "{}",
                            "llm.request.functions.0.name": "measure",
                            "gen_ai.usage.prompt_tokens": 40,
                            "gen_ai.usage.completion_tokens": 4,
                        },
                    )
                )
            ]
        },
        (1, 1, "m-1", 40, 4, ["measure"], 0),
    ),
    "otlp with events as log records before their span": Case(
        {
            "a.jsonl": [
                {
                    "resourceLogs": [
                        {
                            "scopeLogs": [
                                {
                                    "logRecords": [
                                        {
                                            "traceId": "t1",
                                            "spanId": "s1",
                                            "timeUnixNano": str(number),
                                            "eventName": name,
                                            "body": {"kvlistValue": {"values": attributes(body)}},
                                        }
                                        for number, (name, body) in enumerate(
                                            [
                                                ("gen_ai.user.message", {"content": "How deep?"}),
                                                (
                                                    "gen_ai.choice",
                                                    {"message": {"role": "assistant", "content": "Deep."}},
                                                ),
                                            ],
                                            1,
                                        )
                                    ]
                                }
                            ]
                        }
                    ]
                },
                spans(span(1, None, {"gen_ai.operation.name": "chat", "gen_ai.request.model": "m-1"})),
            ]
        },
        (1, 1, "m-1", None, None, None, 0),
    ),
    "otlp of the AI SDK": Case(
        {
            "a.jsonl": [
                spans(
                    span(1, None, {"ai.operationId": "ai.generateText", "ai.usage.promptTokens": 40}),
                    span(
                        2,
                        1,
                        {
                            "ai.operationId": "ai.generateText.doGenerate",
                            "ai.model.id": "m-1",
                            "ai.prompt.messages": json.dumps([ASK]),
                            "ai.prompt.tools": [json.dumps({"type": "function", "name": "measure"})],
                            "ai.response.toolCalls": '[{"toolCallId": "c1", "toolName": "measure", "args": "{}"}]',
                            "ai.usage.promptTokens": 40,
                            "ai.usage.completionTokens": 4,
                        },
                    ),
                )
            ]
        },
        (1, 1, "m-1", 40, 4, ["measure"], 0),
    ),
    "otlp without content": Case(
        {
            "a.jsonl": [
                spans(
                    span(
                        1,
                        None,
                        {
                            "gen_ai.operation.name": "chat",
                            "gen_ai.request.model": "m-1",
                            "gen_ai.usage.input_tokens": 40,
                        },
                    )
                )
            ]
        },
        (1, 1, "m-1", 40, None, None, 0),
    ),
    "langfuse": Case(
        {
            "observations_v2/1.jsonl": [
                generation(2, {"messages": [ASK, ASKED, RESULT], "tools": [TOOL]}, SAID, start_time=T1),
                generation(1, {"messages": [ASK], "tools": [TOOL]}, ASKED),
                generation(1, {"messages": [ASK], "tools": [TOOL]}, ASKED, updated_at="2026-03-02"),
            ],
            "scores/1.jsonl": [{"id": "s", "trace_id": "t", "name": "right", "value": 1, "data_type": "BOOLEAN"}],
        },
        (1, 2, "m-1", 200, 18, ["measure"], 1),
    ),
    "langfuse from its API": Case(
        {
            "traces.json": {
                "data": [
                    {"id": "o1", "traceId": "t", "type": "GENERATION", "startTime": T0, "model": "m-1"}
                    | {"input": [ASK], "output": "Deep.", "usageDetails": {"input": 30, "output": 3, "total": 33}}
                ]
            }
        },
        (1, 1, "m-1", 30, 3, None, 0),
    ),
    "langsmith of a wrapped client": Case(
        {
            "runs.json": {
                "runs": [
                    run(1, "chain", None, name="clerk"),
                    run(2, "tool", 1, name="measure", inputs={"what": "well"}, error="RopeError"),
                    run(
                        3,
                        "llm",
                        1,
                        name="ChatOpenAI",
                        inputs={"messages": [ASK, ASKED, {**RESULT, "content": "hm"}], "tools": [TOOL]},
                        outputs=completion(SAID, 60, 5, "a1"),
                        extra={"metadata": {"ls_model_name": "m-1"}},
                    ),
                    run(4, "llm", 1, name="ChatOpenAI", inputs={"messages": [ASK]}, error="RateLimitError(429)"),
                ]
            }
        },
        (1, 1, "m-1", 60, 5, ["measure"], 1),
    ),
    "openai_responses as a chain": Case(
        {
            "log.jsonl": [
                {
                    "request": {"model": "m-1", "input": "How deep?", **before},
                    "response": {
                        "id": f"resp_{number}",
                        "object": "response",
                        "model": "m-1-2026-01-01",
                        "output": [
                            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "x"}]}
                        ],
                        "usage": {"input_tokens": 20, "output_tokens": 2},
                    },
                }
                for number, before in enumerate([{}, {"previous_response_id": "resp_0"}])
            ]
        },
        (1, 2, "m-1", 40, 4, None, 0),
    ),
    "openinference": Case(
        {
            "spans.json": [
                {
                    "traceId": "t",
                    "spans": [
                        {
                            "span_id": "1",
                            "span_kind": "LLM",
                            "start_time": T0,
                            "attributes": {
                                "llm": {
                                    "model_name": "m-1",
                                    "token_count": {"prompt": 30.0, "completion": 3.0},
                                    "input_messages": [{"message": {"role": "user", "content": "How deep?"}}],
                                    "output_messages": [{"message": {"role": "assistant", "content": "Deep."}}],
                                    "tools": [{"tool": {"json_schema": json.dumps(TOOL)}}],
                                }
                            },
                            "context": {"trace_id": "t", "span_id": "1"},
                        }
                    ],
                }
            ]
        },
        (1, 1, "m-1", 30, 3, ["measure"], 0),
    ),
    "openai batch": Case(
        {
            "in.jsonl": [{"custom_id": f"r{n}", "body": {"model": "m-1", "messages": [ASK]}} for n in range(3)],
            "out.jsonl": [
                {
                    "custom_id": "r1",
                    "response": {"status_code": 200, "body": completion(SAID, 30, 3, "b1")},
                    "error": None,
                },
                {
                    "custom_id": "r0",
                    "response": {"status_code": 200, "body": completion(SAID, 30, 3, "b0")},
                    "error": None,
                },
            ],
        },
        (2, 2, "m-1", 60, 6, None, 0),
    ),
    "anthropic batch": Case(
        {
            "in.jsonl": [{"custom_id": "r0", "params": {"model": "claude-x", "max_tokens": 9, "messages": [ASK]}}],
            "out.jsonl": [
                {
                    "custom_id": "r0",
                    "result": {
                        "type": "succeeded",
                        "message": {
                            "id": "m",
                            "type": "message",
                            "role": "assistant",
                            "model": "claude-x-20260101",
                            "content": [{"type": "text", "text": "x"}],
                            "usage": FRESH,
                        },
                    },
                },
                {"custom_id": "r1", "result": {"type": "expired"}},
            ],
        },
        (1, 1, "claude-x", 100, 7, None, 0),
    ),
    "langchain in a document": Case({"m.json": [LC_ASK, LC_SAID]}, (1, 1, "m-1", 50, 4, None, 0)),
    "langchain, a list on each line": Case(
        {"m.jsonl": [[LC_ASK, LC_SAID], [LC_ASK, {**LC_SAID, "data": {**LC_SAID["data"], "id": "run-8"}}]]},  # type: ignore[dict-item]
        (2, 2, "m-1", 100, 8, None, 0),
    ),
    "langgraph": Case(
        {"d.json": {"thread_id": "t", "checkpoints": [{"messages": [LC_ASK]}, {"messages": [LC_ASK, LC_SAID]}]}},
        (1, 1, "m-1", 50, 4, None, 0),
    ),
    "cline": Case(
        {
            "task/api_conversation_history.json": [
                {"role": "user", "content": [{"type": "text", "text": "How deep?"}], "ts": 1_772_359_200_000},
                {
                    "role": "assistant",
                    "content": use("c1"),
                    "ts": 1_772_359_203_000,
                    "modelInfo": {"modelId": "claude-x"},
                },
                {"role": "user", "content": came("c1", "Traceback (most recent call last):\nRopeError: short")},
                {"role": "assistant", "content": "Deep.", "ts": 1_772_359_209_000},
            ],
            "task/ui_messages.json": [
                {"ts": 1_772_359_201_000 + n, "type": "say", "say": "api_req_started", "text": json.dumps(told)}
                for n, told in [
                    (0, {"tokensIn": 10, "tokensOut": 5, "cacheReads": 90, "cacheWrites": 0}),
                    (5000, {"tokensIn": 20, "tokensOut": 6, "cacheReads": 90, "cacheWrites": 0}),
                ]
            ],
        },
        (1, 2, "claude-x", 210, 11, None, 1),
    ),
    "gemini_cli in a document": Case(
        {
            "session.json": {
                "sessionId": "s",
                "projectHash": "h",
                "messages": [
                    {"id": "1", "type": "user", "content": "How deep?"},
                    {
                        "id": "2",
                        "type": "gemini",
                        "content": "I look.",
                        "model": "gemini-x",
                        "tokens": {"input": 50, "output": 4, "cached": 10, "thoughts": 2, "tool": 0},
                        "toolCalls": [
                            {
                                "id": "c1",
                                "name": "measure",
                                "args": {},
                                "status": "error",
                                "result": [{"functionResponse": {"id": "c1", "response": {"error": "short"}}}],
                            }
                        ],
                    },
                    {"id": "3", "type": "error", "content": "quota"},
                ],
            }
        },
        (1, 1, "gemini-x", 50, 6, None, 1),
    ),
    "gemini_cli, an answer that a rewind drops was answered": Case(
        {
            "session.jsonl": [
                {"sessionId": "s", "projectHash": "h"},
                {"id": "1", "type": "user", "content": "How deep?"},
                {"id": "2", "type": "gemini", "content": "x", "model": "g", "tokens": {"input": 50, "output": 4}},
                {"$rewindTo": "2"},
                {"id": "3", "type": "gemini", "content": "y", "model": "g", "tokens": {"input": 50, "output": 4}},
            ]
        },
        (1, 2, "g", 100, 8, None, 0),
    ),
    "qwen_code": Case(
        {
            "s.jsonl": [
                {"uuid": "1", "parentUuid": None, "sessionId": "s", "type": "user", "message": PART},
                {
                    "uuid": "2",
                    "parentUuid": "1",
                    "sessionId": "s",
                    "type": "assistant",
                    "model": "qwen-x",
                    "message": {"role": "model", "parts": [{"text": "Deep."}]},
                    "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 4, "totalTokenCount": 54},
                },
            ]
        },
        (1, 1, "qwen-x", 50, 4, None, 0),
    ),
    "pi, with an abandoned branch": Case(
        {
            "s.jsonl": [
                {"type": "session", "id": "s", "cwd": "/w", "timestamp": T0},
                {"type": "message", "id": "1", "parentId": None, "message": ASK},
                *(
                    {
                        "type": "message",
                        "id": str(number),
                        "parentId": "1",
                        "message": {**SAID, "model": "claude-x", "usage": PI_USE, "stopReason": stop},
                    }
                    for number, stop in [(2, "stop"), (3, "error"), (4, "stop")]
                ),
            ]
        },
        (1, 2, "claude-x", 120, 8, None, 0),
    ),
    "opencode as a tree of files": Case(
        {
            "storage/session/p/ses_1.json": {"id": "ses_1", "projectID": "p", "directory": "/w"},
            "storage/message/ses_1/msg_1.json": {"id": "msg_1", "sessionID": "ses_1", "role": "user"},
            "storage/message/ses_1/msg_2.json": {
                "id": "msg_2",
                "sessionID": "ses_1",
                "role": "assistant",
                "modelID": "claude-x",
                "tokens": {"input": 10, "output": 4, "reasoning": 2, "cache": {"read": 30, "write": 5}},
            },
            "storage/part/msg_1/prt_1.json": {
                "id": "prt_1",
                "sessionID": "ses_1",
                "messageID": "msg_1",
                "type": "text",
                "text": "How deep?",
            },
            "storage/part/msg_2/prt_2.json": {
                "id": "prt_2",
                "sessionID": "ses_1",
                "messageID": "msg_2",
                "type": "tool",
                "tool": "bash",
                "callID": "c1",
                "state": {"status": "completed", "input": {}, "output": "oops", "metadata": {"exit": 3}},
            },
        },
        (1, 1, "claude-x", 45, 6, None, 1),
    ),
    "openhands before 1.0": Case(
        {
            "output.jsonl": [
                {
                    "instance_id": "i",
                    "history": [
                        {"source": "user", "action": "message", "args": {"content": "How deep?"}},
                        *(
                            {
                                **event,
                                "tool_call_metadata": {
                                    "tool_call_id": "c1",
                                    "model_response": completion(ASKED, 40, 4, "r"),
                                },
                            }
                            for event in (
                                {"source": "agent", "action": "run"},
                                {"observation": "run", "content": "oops", "extras": {"metadata": {"exit_code": 4}}},
                            )
                        ),
                    ],
                }
            ]
        },
        (1, 1, "m-1", 40, 4, None, 1),
    ),
    "openhands": Case(
        {
            "run/base_state.json": {
                "id": "x",
                "execution_status": "finished",
                "agent": {"llm": {"model": "claude-x"}},
                "stats": {
                    "usage_to_metrics": {
                        "agent": {"token_usages": [{"response_id": "r", "prompt_tokens": 40, "completion_tokens": 4}]}
                    }
                },
            },
            "run/events/event-00000-a.json": {"id": "a", "kind": "MessageEvent", "source": "user", "llm_message": ASK},
            "run/events/event-00001-b.json": {
                "id": "b",
                "kind": "ActionEvent",
                "source": "agent",
                "llm_response_id": "r",
                "tool_name": "terminal",
                "tool_call_id": "c1",
                "tool_call": {"id": "c1", "name": "terminal", "arguments": "{}"},
            },
            "run/events/event-00002-c.json": {
                "id": "c",
                "kind": "AgentErrorEvent",
                "source": "agent",
                "tool_call_id": "c1",
                "error": "no such tool",
            },
        },
        (1, 1, "claude-x", 40, 4, None, 1),
    ),
    "swe_agent without a history, with a demonstration before": Case(
        {
            "a.traj": {
                "trajectory": [{"query": [ASK], "response": "I look."}, {"query": [ASK, SAID, ASK], "response": "x"}],
                "info": {"exit_status": "submitted"},
            }
        },
        (1, 2, None, None, None, None, 0),
    ),
    "mini_swe_agent": Case(
        {
            "a.traj.json": {
                "info": {"config": {"model": {"model_name": "m-1"}}, "exit_status": "Submitted"},
                "trajectory_format": "mini-swe-agent-1",
                "messages": [
                    ASK,
                    {**ASKED, "extra": {"response": completion(ASKED, 40, 4, "r")}},
                    {"role": "tool", "tool_call_id": "c1", "content": "oops", "extra": {"returncode": 2}},
                    {"role": "exit", "content": "diff"},
                ],
            }
        },
        (1, 1, "m-1", 40, 4, None, 1),
    ),
    "atif": Case(
        {
            "t.json": {
                "schema_version": "ATIF-v1.5",
                "agent": {"name": "a", "model_name": "m-1"},
                "steps": [
                    {"source": "user", "message": "How deep?"},
                    {
                        "source": "agent",
                        "message": "I look.",
                        "tool_calls": [{"tool_call_id": "c1", "function_name": "measure", "arguments": {}}],
                        "observation": {"results": [{"source_call_id": "c1", "content": "ERROR: too short"}]},
                        "metrics": {"prompt_tokens": 40, "completion_tokens": 4},
                    },
                ],
            }
        },
        (1, 1, "m-1", 40, 4, None, 1),
    ),
    "inspect with whole inputs, attachments and a scorer": Case(
        {
            "log.json": {
                "version": 2,
                "status": "success",
                "eval": {},
                "plan": {},
                "samples": [
                    {
                        "id": 1,
                        "epoch": 1,
                        "scores": {"match": {"value": "C"}},
                        "attachments": {"h": "How deep?"},
                        "events": [
                            {"event": "span_begin", "id": "sc", "type": "scorer", "name": "match"},
                            *(
                                {
                                    "event": "model",
                                    "span_id": place,
                                    "uuid": place,
                                    "model": "openai/m-1",
                                    "input": [{"role": "user", "content": "attachment://h"}],
                                    "tools": [{"name": "measure"}],
                                    "output": {
                                        "choices": [{"message": {"role": "assistant", "content": "x"}}],
                                        "usage": {
                                            "input_tokens": 10,
                                            "output_tokens": 4,
                                            "input_tokens_cache_read": 30,
                                        },
                                    },
                                }
                                for place in ("main", "sc")
                            ),
                        ],
                    }
                ],
            }
        },
        (1, 1, "openai/m-1", 40, 4, ["measure"], 0),
    ),
    "litellm of a bucket": Case(
        {
            "log.jsonl": [
                {
                    "id": "1",
                    "model": "m-1",
                    "messages": [ASK],
                    "response": completion(SAID, 40, 4, "a"),
                    "model_parameters": {"tools": [TOOL]},
                    "hidden_params": {},
                    "startTime": 1_772_359_200.0,
                },
                {"id": "2", "messages": [ASK], "status": "failure", "model_parameters": {}, "hidden_params": {}},
            ]
        },
        (1, 1, "m-1", 40, 4, ["measure"], 0),
    ),
    "helicone": Case(
        {
            "log.jsonl": [
                {"request_id": "1", "request_body": {"model": "m-1", "messages": [ASK]}, "response_status": 200}
                | {"response_body": completion(SAID, 40, 4, "a")},
                {"request_id": "2", "request_body": {"messages": [ASK]}, "response_body": {}, "response_status": 429},
            ]
        },
        (1, 1, "m-1", 40, 4, None, 0),
    ),
    "portkey": Case(
        {
            "log.jsonl": [
                {"ai_org": "o", "req_units": 40, "request": {"model": "m-1", "messages": [ASK]}, "trace_id": "t"}
                | {"response": completion(SAID, 40, 4, "a"), "response_status_code": 200}
            ]
        },
        (1, 1, "m-1", 40, 4, None, 0),
    ),
    "crewai through to_json": Case(
        {
            "events.jsonl": [
                {"type": "llm_call_started", "event_id": "1", "call_id": "c", "messages": [ASK], "tools": [TOOL]},
                {"type": "llm_call_completed", "event_id": "2", "call_id": "c", "messages": [ASK], "model": "m-1"}
                | {"response": "'Deep.'", "usage": {"prompt_tokens": 40, "completion_tokens": 4}},
            ]
        },
        (1, 1, "m-1", 40, 4, ["measure"], 0),
    ),
    "llamaindex without class names": Case(
        {
            "events.jsonl": [
                {"id_": "1", "span_id": "s", "messages": [ASK], "model_dict": {"model": "m-1"}}
                | {"additional_kwargs": {"tools": [TOOL]}},
                {"id_": "2", "span_id": "s", "messages": [ASK]}
                | {"response": {"message": SAID, "raw": completion(SAID, 40, 4, "a")}},
            ]
        },
        (1, 1, "m-1", 40, 4, ["measure"], 0),
    ),
    "sharegpt": Case(
        {
            "d.json": [{"conversations": [{"from": "human", "value": "How deep?"}, {"from": "gpt", "value": "Deep."}]}]
            * 2
        },
        (2, 2, None, None, None, None, 0),
    ),
    "openai_evals": Case(
        {
            "log.jsonl": [
                {"spec": {"completion_fns": ["m-1"], "eval_name": "e"}},
                {
                    "run_id": "r",
                    "event_id": 0,
                    "sample_id": "a",
                    "type": "sampling",
                    "data": {"prompt": "x", "sampled": "y"},
                },
                {"run_id": "r", "event_id": 1, "sample_id": "a", "type": "match", "data": {"correct": True}},
            ]
        },
        (1, 1, "m-1", None, None, None, 0),
    ),
    "aider's log of prompts": Case(
        {
            ".aider.llm.history": "TO LLM 2026-03-01T10:00:00\n-------\nUSER How deep?\nLLM RESPONSE\nASSISTANT Deep.\n"
            "TO LLM 2026-03-01T10:00:09\n-------\nUSER How deep?\nLLM RESPONSE x\nASSISTANT Deeper.\n"
        },
        (1, 2, None, None, None, None, 0),
    ),
    "aider's chat": Case(
        {
            ".aider.chat.history.md": "# aider chat started at 2026-03-01 10:00:00\n> Model: claude-x with diff\n"
            "#### How deep?\nDeep.\n> Tokens: 1.5k sent, 1k cache hit, 20 received.\n"
            "> The LLM did not conform to the edit format.\n"
        },
        (1, 1, "claude-x", 1500, 20, None, 1),
    ),
    "plain messages, one on each line": Case(
        {"m.jsonl": [ASK, ASKED, RESULT, SAID]}, (1, 2, None, None, None, None, 1)
    ),
}


def lay(files: Mapping[str, Any], folder: Path) -> Path:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, str):
            text = content
        elif path.suffix == ".jsonl":
            text = "".join(json.dumps(line) + "\n" for line in content)
        else:
            text = json.dumps(content, indent=2)
        path.write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_log_is_counted_to_the_step(name: str, tmp_path: Path) -> None:
    found = describe(lay(CASES[name].files, tmp_path))
    tools = None if found.tools_in_step_1 is None else list(found.tools_in_step_1)
    tokens = (found.input_tokens, found.output_tokens)
    counted = (found.conversations, found.steps, found.first_model, *tokens, tools, found.failed_results)
    assert counted == CASES[name].counted, found.problems


def test_no_format_is_without_a_case() -> None:
    known = {
        "steps",
        "tau2",
        "openai",
        "anthropic",
        "cline_ui",
        "openhands_history",
        "batch",
        "recording",
    }  # in test_traces, test_recording, or below
    named = {name.replace(" ", "_") for name in CASES}
    assert [fmt for fmt in NAMES if fmt not in known and not any(name.startswith(fmt) for name in named)] == []


@pytest.mark.requires("shared")
def test_shared_samples_are_counted_as_their_makers_count(shared: Path) -> None:
    fields = ("conversations", "steps", "first_model", "input_tokens", "output_tokens", "failed_results")
    wrong, seen = {}, 0
    for expected in sorted((shared / "cases" / "traces").glob("*/expected.json")):
        want = json.loads(expected.read_text(encoding="utf-8"))
        found = describe(expected.parent).to_dict()
        seen += 1
        if any(found[key] != want[key] for key in (*fields, "tools_in_step_1")):
            wrong[expected.parent.name] = {key: (found[key], want[key]) for key in fields}
    assert (seen > 20, wrong) == (True, {})


def test_bare_messages_of_an_old_codex_rollout_belong_to_it(tmp_path: Path) -> None:
    lines: list[dict[str, object]] = [
        {"id": "s", "timestamp": "2025-05-01T10:00:00Z", "instructions": "be good"},
        {"record_type": "state"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "list"}]},
        {"type": "function_call", "name": "shell", "arguments": "{}", "call_id": "c1"},
        {"type": "function_call_output", "call_id": "c1", "output": "Exit code: 2\nOutput:\nls: nope"},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "none"}]},
    ]
    path = tmp_path / "rollout.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    told = describe(path)
    assert (told.format, told.conversations, told.steps, told.failed_results) == ("codex", 1, 2, 1)
    assert told.malformed == 0


def test_results_that_stand_as_text_are_judged_too(tmp_path: Path) -> None:
    messages = [{"role": "user", "content": "Please solve this issue: x"}]
    for code in (2, 0, 1):
        messages += [
            {"role": "assistant", "content": f"I look.\n```bash\nls n{code}\n```"},
            {"role": "user", "content": f"<returncode>{code}</returncode>\n<output>\nls: n{code}\n</output>"},
        ]
    messages.append({"role": "assistant", "content": "Done."})
    path = tmp_path / "a.traj.json"
    path.write_text(json.dumps({"trajectory_format": "mini-swe-agent-1", "messages": messages, "info": {}}))
    told = describe(path)
    assert (told.format, told.steps, told.failed_results) == ("mini_swe_agent", 4, 2)


@pytest.mark.parametrize("packed", [False, True])
def test_usage_beside_a_cline_task_is_read_plain_and_packed(tmp_path: Path, packed: bool) -> None:
    task = [{"role": "user", "content": "hi", "ts": 1}, {"role": "assistant", "content": "hello", "ts": 2}]
    said = [{"type": "say", "say": "api_req_started", "ts": 1, "text": json.dumps({"tokensIn": 12, "tokensOut": 3})}]
    for name, data in (("api_conversation_history.json", task), ("ui_messages.json", said)):
        body = json.dumps(data).encode()
        (tmp_path / (name + ".gz" if packed else name)).write_bytes(gzip.compress(body) if packed else body)
    told = describe(tmp_path)
    assert (told.format, told.steps, told.input_tokens, told.output_tokens) == ("cline", 1, 12, 3)
