"""Trajectories of SWE-agent and mini-swe-agent, and of what writes ATIF (Harbor, Terminal-Bench)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agentroute.messages import Message, ToolResult, Usage
from agentroute.replay.records import Trace

from .fields import Raw, count_of, dig, failed_exit, json_of, mapping, name_of, openai_usage, plain, time_of, usage_of
from .messages import Pairing, answer_of, messages_of, said, tools_of
from .thread import Thread

__all__ = ["atif", "is_atif", "is_mini", "is_swe_agent", "mini", "swe_agent"]


def is_swe_agent(raw: Raw) -> bool:
    return "trajectory" in raw and "info" in raw and ("history" in raw or isinstance(raw["trajectory"], list))


def swe_agent(raw: Raw) -> Iterator[Trace]:
    """The history, or without one the `query` and `response` of each step. A demonstration is prompt only."""
    config = mapping(json_of(raw.get("replay_config")))
    model = name_of(dig(config, "agent", "model"), "name") or name_of(dig(raw, "info", "config"), "model")
    thread, pairing = Thread("swe_agent", name_of(raw, "instance_id")), Pairing()
    _state_outcome(raw, thread)
    history = raw.get("history")
    for index, item in enumerate(map(mapping, history if isinstance(history, list) else ())):
        if item.get("role") == "assistant" and not item.get("is_demo"):
            thread.answer(answer_of(item, f"history[{index}]", pairing), None, model)
        else:
            thread.add(said(item, f"history[{index}]", pairing))
    for index, step in enumerate(map(mapping, () if history else raw["trajectory"])):
        query = step.get("query")
        asked = query if isinstance(query, list) else [{"role": "user", "content": plain(step.get("query"))}]
        known = len(thread.messages)
        if len(asked) < known:
            yield from thread.restart(messages_of(asked, f"trajectory[{index}].query", pairing))
        else:
            thread.add(messages_of(asked[known:], f"trajectory[{index}].query", pairing))
        thread.answer(answer_of(plain(step.get("response")), f"trajectory[{index}].response"), None, model)
    yield from thread.trace()


def is_mini(raw: Raw) -> bool:
    form = raw.get("trajectory_format")
    if isinstance(form, str) and form.startswith("mini"):
        return True
    return (
        isinstance(raw.get("messages"), list) and isinstance(raw.get("info"), Mapping) and "model_stats" in raw["info"]
    )


def mini(raw: Raw) -> Iterator[Trace]:
    """OpenAI messages with the whole response beside each answer; the last message tells how the run ended."""
    model = name_of(dig(raw, "info", "config", "model"), "model_name")
    thread, pairing = Thread("mini_swe_agent", name_of(raw, "instance_id")), Pairing()
    _state_outcome(raw, thread)
    for index, item in enumerate(map(mapping, raw["messages"])):
        extra = mapping(item.get("extra"))
        if item.get("role") == "exit" or "exit_status" in extra:
            continue
        if item.get("role") == "assistant":
            response = mapping(extra.get("response"))
            answer = answer_of(item, f"messages[{index}]", pairing)
            at = time_of(extra.get("timestamp")) or time_of(item.get("timestamp"))
            usage = openai_usage(response.get("usage") or extra.get("usage"))
            thread.answer(answer, usage, name_of(response, "model") or model, at, name_of(response, "id"))
            continue
        for message in said(item, f"messages[{index}]", pairing):
            thread.add([_returned(message, extra.get("returncode"))])
    yield from thread.trace()


def _returned(message: Message, code: Any) -> Message:
    results = message.tool_results
    if len(results) != 1 or results[0].is_error is not None:
        return message
    result = results[0]
    return Message(
        "tool", (ToolResult(result.tool_call_id, result.content, failed_exit(code, result.text), result.name),)
    )


def _state_outcome(raw: Raw, thread: Thread) -> None:
    status = name_of(raw.get("info"), "exit_status")
    if status is not None:
        thread.outcomes["exit_status"] = status


def is_atif(raw: Raw) -> bool:
    version = raw.get("schema_version")
    return isinstance(version, str) and version.startswith("ATIF")


def atif(raw: Raw) -> Iterator[Trace]:
    """Steps of an agent, each with the results of its calls in it."""
    agent = mapping(raw.get("agent"))
    thread, pairing = Thread("atif", name_of(raw, "session_id"), agent=name_of(agent, "name")), Pairing()
    thread.tools = tools_of(agent.get("tool_definitions"))
    for index, step in enumerate(map(mapping, raw.get("steps") or ())):
        where = f"steps[{index}]"
        if step.get("source") != "agent":
            role = "system" if step.get("source") == "system" else "user"
            thread.add(said({"role": role, "content": step.get("message")}, where, pairing))
            continue
        metrics = mapping(step.get("metrics"))
        answer = answer_of(
            {"role": "assistant", "content": step.get("message"), "tool_calls": step.get("tool_calls") or []},
            where,
            pairing,
        )
        if step.get("is_copied_context") is True:
            thread.add([answer])
        else:
            model = name_of(step, "model_name") or name_of(agent, "model_name")
            thread.answer(answer, _metrics(metrics), model, time_of(step.get("timestamp")), None)
        for result in map(mapping, dig(step, "observation", "results") or ()):
            call = {"role": "tool", "tool_call_id": result.get("source_call_id"), "content": result.get("content")}
            thread.add(said(call, f"{where}.observation", pairing))
    reward = dig(raw, "final_metrics", "extra", "reward")
    if isinstance(reward, int | float):
        thread.outcomes["reward"] = reward
    yield from thread.trace()


def _metrics(raw: Raw) -> Usage | None:
    return usage_of(
        count_of(raw, "prompt_tokens"), count_of(raw, "completion_tokens"), read=count_of(raw, "cached_tokens")
    )
