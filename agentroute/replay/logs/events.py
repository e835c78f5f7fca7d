"""Events of a listener in a framework that writes no logs itself: CrewAI's and LlamaIndex's model calls."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from agentroute.errors import RequestError
from agentroute.messages import ChatRequest, Usage
from agentroute.replay.records import Problem, RecordedCall, Trace

from .base import Place
from .fields import Raw, count_of, dig, json_of, mapping, name_of, openai_usage, served_by, time_of, usage_of
from .messages import Pairing, answer_of, messages_of, tools_of

__all__ = ["CrewAI", "LlamaIndex", "is_crewai", "is_llamaindex"]

_OPEN = 10_000
"""Calls that have begun and wait for their end, at most."""

_CREW = ("llm_call", "llm_stream", "tool_usage", "agent_execution", "task_", "crew_", "lite_agent", "flow_", "method_")


def is_crewai(raw: Raw) -> bool:
    kind = raw.get("type")
    return (
        isinstance(kind, str)
        and kind.startswith(_CREW)
        and ("event_id" in raw or "emission_sequence" in raw or "call_id" in raw)
    )


class CrewAI:
    """Joins the start of a call with its end by `call_id`."""

    def __init__(self) -> None:
        self._begun: dict[str, Raw] = {}
        self._failed: list[tuple[str | None, Any]] = []

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        kind, call = raw.get("type"), name_of(raw, "call_id") or name_of(raw, "started_event_id") or ""
        if kind == "llm_call_started":
            _keep(self._begun, call, raw)
        elif kind == "llm_call_failed":
            self._begun.pop(call, None)
            yield Problem(place.file, place.line, "crewai: a call that failed and has no answer", True)
        elif kind == "llm_call_completed":
            yield self._call(
                {**self._begun.pop(call, {}), **{key: held for key, held in raw.items() if held is not None}}
            )

    def close(self) -> tuple[Trace, ...]:
        return ()

    def _call(self, raw: Raw) -> Trace:
        pairing = Pairing()
        messages = messages_of(_unspoilt(raw.get("messages")), "messages", pairing)
        response = _unspoilt(raw.get("response"))
        listed = isinstance(response, list) and all(mapping(item).get("function") for item in response)
        answer = answer_of({"role": "assistant", "tool_calls": response} if listed else response, "response", pairing)
        agent = name_of(raw, "agent_role")
        told = mapping(raw.get("usage"))
        usage = openai_usage(told)
        read = count_of(told, "cached_prompt_tokens", "cached_tokens")
        if usage is not None and usage.cache_read_tokens is None and read is not None:
            usage = usage_of(usage.input_tokens, usage.output_tokens, read=read, reasoning=usage.reasoning_tokens)
        task = name_of(raw, "task_id") or name_of(raw, "parent_event_id")
        return _logged(
            "crewai",
            messages,
            answer,
            usage,
            name_of(raw, "model"),
            raw,
            tools=tools_of(_unspoilt(raw.get("tools"))),
            conversation=f"{task}/{agent}" if task and agent else task,
            agent=agent,
            answer_id=name_of(raw, "response_id") or name_of(raw, "call_id"),
        )


def is_llamaindex(raw: Raw) -> bool:
    name = raw.get("class_name")
    if isinstance(name, str) and name.startswith(("LLMChat", "LLMCompletion")) and name.endswith("Event"):
        return True
    return "span_id" in raw and "id_" in raw and ("model_dict" in raw or "response" in raw)


class LlamaIndex:
    """Joins the start of a call with its end by `span_id`; without `class_name` the fields tell which is which."""

    def __init__(self) -> None:
        self._begun: dict[str, Raw] = {}

    def read(self, raw: Raw, place: Place) -> Iterator[Trace | Problem]:
        span = name_of(raw, "span_id") or ""
        if "model_dict" in raw:
            _keep(self._begun, span, raw)
        elif "response" in raw and "InProgress" not in str(raw.get("class_name")):
            if raw["response"] is None:
                raise RequestError("`response` is null; the call has no answer")
            yield self._call(self._begun.pop(span, {}), raw)

    def close(self) -> tuple[Trace, ...]:
        return ()

    def _call(self, start: Raw, end: Raw) -> Trace:
        pairing = Pairing()
        asked = end.get("messages") or start.get("messages") or end.get("prompt") or start.get("prompt")
        messages = messages_of(asked, "messages", pairing)
        response = mapping(end["response"])
        raw = mapping(response.get("raw"))
        answer = answer_of(response.get("message") or response.get("text"), "response.message", pairing)
        usage = openai_usage(raw.get("usage")) or openai_usage(response.get("additional_kwargs"))
        details = mapping(start.get("model_dict"))
        session = name_of(mapping(start.get("tags")), "session", "session_id") or name_of(
            mapping(end.get("tags")), "session"
        )
        return _logged(
            "llamaindex",
            messages,
            answer,
            usage,
            served_by(name_of(details, "model", "model_name"), name_of(raw, "model")),
            start or end,
            tools=tools_of(dig(start, "additional_kwargs", "tools")),
            conversation=session,
            agent=None,
            answer_id=name_of(raw, "id"),
        )


def _logged(
    fmt: str,
    messages: list[Any],
    answer: Any,
    usage: Usage | None,
    model: str | None,
    raw: Raw,
    *,
    tools: Any,
    conversation: str | None,
    agent: str | None,
    answer_id: str | None,
) -> Trace:
    call = RecordedCall(len(messages), answer, usage, model, time_of(raw.get("timestamp")), answer_id)
    request = ChatRequest((*messages, answer), tools=tools)
    return Trace(fmt, request, (call,), False, answer_id, conversation, agent)


def _keep(begun: dict[str, Raw], key: str, raw: Raw) -> None:
    begun[key] = raw
    if len(begun) > _OPEN:
        del begun[next(iter(begun))]


def _unspoilt(raw: Any) -> Any:
    """CrewAI's `to_json()` writes nested texts as Python shows them: `"'lookup'"`."""
    if isinstance(raw, str):
        if len(raw) < 10_000_000 and raw[:1] in ("'", "[", "{") and raw[-1:] in ("'", "]", "}"):
            found = json_of(raw)
            if found is not raw:
                return found
            try:
                return _unspoilt(ast.literal_eval(raw)) if raw[:1] != "'" else ast.literal_eval(raw)
            except (ValueError, SyntaxError, RecursionError, MemoryError):
                return raw
        return raw
    if isinstance(raw, list):
        return [_unspoilt(item) for item in raw]
    if isinstance(raw, dict):
        return {_unspoilt(key): _unspoilt(item) for key, item in raw.items()}
    return raw
